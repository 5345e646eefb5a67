"""The API behind an authorization server: which hosts may get tokens, and how its replies identify an account."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from deputize.core.oauth.identity import NO_IMPORTS, Identity, Imports, Permissions
from deputize.core.value_object import ValueObject, frozen

NEVER_SET: Final = frozenset(
    (
        "authorization",
        "proxy-authorization",
        "cookie",
        "host",
        "content-length",
        "connection",
        "transfer-encoding",
        "upgrade",
    )
)
"""Request headers that determine the sender, the destination or the length."""


@frozen
class ApiRules(ValueObject):
    """An API that accepts the provider's tokens.

    ``roots``: base URLs of its APIs by name. One may begin with a field of ``kept_fields``:
    ``{instance_url}/services``. ``hosts``: where a token may be sent, as ``host`` or ``host:port``; `for_grant` adds
    the hosts of a grant's roots. ``identity``: how to identify the account of a token, from an id_token's claims if
    ``oauth.jwks_url`` is set. ``permissions``: where permissions are read if not from scopes. ``imports``: how imported
    tokens are recognized. ``kept_fields``: fields of a token reply that are stored with the grant, each with its
    required pattern. ``request_headers``: further headers that tools may set, in lower case, besides those of
    `act.request.HEADERS`; ``mcp-param-*`` stands for all with this prefix. ``shared_hosts``: hosts where anybody can
    have pages. Naming one means the whole URL, not the host. ``incompatible_scopes``: scopes that are never requested,
    each with the API that rejects a token with that scope, whatever other scopes it has.
    """

    roots: Mapping[str, str]
    hosts: frozenset[str]
    identity: Identity
    permissions: Permissions | None = None
    imports: Imports = NO_IMPORTS
    kept_fields: Mapping[str, str] = field(default_factory=dict)
    request_headers: frozenset[str] = frozenset()
    shared_hosts: frozenset[str] = frozenset()
    incompatible_scopes: Mapping[str, str] = field(default_factory=dict)

    def own_roots(self) -> dict[str, str]:
        """Return the roots by API, without those that depend on a grant."""
        return {api: root for api, root in self.roots.items() if _kept_part(root) not in self.kept_fields}

    def foreign_api(self) -> str:
        """Return the first API whose host may not get tokens, so that all its requests would be refused; or ""."""
        return next((api for api, url in self.own_roots().items() if urlsplit(url).netloc not in self.hosts), "")

    def for_grant(self, extra: Mapping[str, str]) -> ApiRules:
        """Return the rules for a grant with this ``extra``: with its own roots and their hosts."""
        if not self.kept_fields:
            return self
        own = {api: name for api, root in self.roots.items() if (name := _kept_part(root)) in self.kept_fields}
        if not own:
            return self
        good = {api: extra[n] for api, n in own.items() if re.fullmatch(self.kept_fields[n], extra.get(n, ""))}
        roots = {api: start + self.roots[api][len(own[api]) + 2 :] for api, start in good.items()}
        hosts = self.hosts | {urlsplit(root).netloc for root in roots.values()}
        return replace(self, roots=MappingProxyType({**self.own_roots(), **roots}), hosts=hosts)

    def moved(self, move: Callable[[str], str]) -> ApiRules:
        """Return the same API with its URLs changed by ``move``."""
        rights = self.permissions
        return replace(
            self,
            roots=MappingProxyType({api: move(root) for api, root in self.roots.items()}),
            hosts=frozenset(urlsplit(move(f"https://{host}")).netloc for host in self.hosts),
            identity=replace(self.identity, url=move(self.identity.url)),
            permissions=rights._replace(url=move(rights.url)) if rights else None,
        )


def _kept_part(root: str) -> str:
    """Return the field that a root begins with: ``instance_url`` for ``{instance_url}/services``."""
    found = re.match(r"\{(\w+)\}/", root) if root.startswith("{") else None
    return found[1] if found else ""
