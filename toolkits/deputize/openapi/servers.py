"""Address of an API: the provider's root for a description's server, and the prefix of paths below it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from deputize.core.errors import InvalidInput, instead
from deputize.openapi.description import CannotTranslate, Description, Json

_VARIABLE: Final = re.compile(r"\{([^{}]*)\}")
_ADDRESS: Final = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?")


@dataclass(frozen=True, slots=True)
class Servers:
    """The server of a description. ``api``: the name of the provider's root. ``address``: the description's server.
    ``between``: the prefix of its paths below the root."""

    api: str
    address: str
    between: str = ""

    def prefix(self, item: Json, operation: Json) -> str:
        """Return the prefix of a path. Raises `CannotTranslate` if another server serves the operation."""
        for told in (operation, item):
            if isinstance(there := told.get("servers"), list) and there:
                if not (own := address_in({"servers": there})) or not self.address or not self._is_here(own):
                    raise CannotTranslate("it is served at another address, which gets no token of this API")
                break
        return self.between

    def _is_here(self, address: str) -> bool:
        return address.startswith(("https://", "http://")) and address == self.address


def address_in(told: Mapping[str, Any]) -> str:
    """Return the first server's address, with defaults for its variables, or "" if there is none."""
    listed = told.get("servers")
    first = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
    variables = first.get("variables") if isinstance(first.get("variables"), dict) else {}

    def default(found: re.Match[str]) -> str:
        one = (variables or {}).get(found[1])
        return str(one.get("default", "")) if isinstance(one, dict) else found[0]

    url = first.get("url")
    return _VARIABLE.sub(default, url).rstrip("/") if isinstance(url, str) else ""


def provider_servers(description: Description, roots: Mapping[str, str], provider: str, api: str = "") -> Servers:
    """Return the servers of an existing provider. ``roots``: the provider's. Raises `InvalidInput`.

    ``api``: the root that the operator names, whatever the description's address.
    """
    address = address_in(description.root)
    if api:
        if api not in roots:
            raise InvalidInput(f"{provider} has no API called {api[:60]!r}.", hint=instead(api, roots))
        return Servers(api, address)
    fits = [name for name, root in roots.items() if address == root or address.startswith(f"{root.rstrip('/')}/")]
    if not fits:
        there = ", ".join(f"{name} ({root})" for name, root in roots.items())
        raise InvalidInput(
            f"The description's server {address[:120]!r} is none of {provider}'s APIs: {there}.",
            hint="If it is one of them: --api NAME.",
        )
    best = max(fits, key=lambda name: len(roots[name]))
    return Servers(best, address, address[len(roots[best].rstrip("/")) :])


def own_servers(description: Description, name: str, given: str = "") -> Servers:
    """Return the servers of a provider that is generated too. Raises `InvalidInput` unless the address is https."""
    address = given.rstrip("/") or address_in(description.root)
    if not _ADDRESS.fullmatch(address) or "/.." in address or not urlsplit(address).hostname:
        raise InvalidInput(
            f"The description's server {address[:120]!r} is not an https address.", hint="Give --server https://..."
        )
    return Servers(name, address)
