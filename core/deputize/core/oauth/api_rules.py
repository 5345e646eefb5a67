"""What the API behind an authorization server needs: where tokens may go, and what its answers say of an account."""

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
"""Headers of a request that say who sends it, where it goes and where it ends."""


@frozen
class ApiRules(ValueObject):
    """An API that tokens are good for.

    ``roots``: of the APIs by name; one may begin with a field of ``kept_fields``, as ``{instance_url}/services``.
    ``hosts``: where a token may go, as ``host`` or ``host:port``; `for_grant` adds those that roots begin with.
    ``identity``: how to learn whose account a token is; of an id_token's claims if ``oauth.jwks_url`` is set.
    ``permissions``: where rights are read if not from scopes. ``imports``: how tokens from elsewhere are read.
    ``kept_fields``: fields of a token reply that are kept with the grant, each with the pattern it must have.
    ``request_headers``: headers of its own that tools may set, in lower case, beside those of `act.request.HEADERS`;
    ``mcp-param-*`` for all that begin so.
    ``shared_hosts``: its hosts where everybody has pages: who names one means the whole address, not the host.
    ``incompatible_scopes``: scopes never to be asked for, and the API that a token with them, whatever else it has, is
    no good for.
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
        """The roots by API, without those that a grant brings."""
        return {api: root for api, root in self.roots.items() if _kept_part(root) not in self.kept_fields}

    def foreign_api(self) -> str:
        """The first API whose host no token may go to, so that each of its requests would be refused; or ""."""
        return next((api for api, url in self.own_roots().items() if urlsplit(url).netloc not in self.hosts), "")

    def for_grant(self, extra: Mapping[str, str]) -> ApiRules:
        """The API as a grant with this ``extra`` sees it: with its own roots, and their hosts."""
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
        """The same API with its addresses at other places."""
        rights = self.permissions
        return replace(
            self,
            roots=MappingProxyType({api: move(root) for api, root in self.roots.items()}),
            hosts=frozenset(urlsplit(move(f"https://{host}")).netloc for host in self.hosts),
            identity=replace(self.identity, url=move(self.identity.url)),
            permissions=rights._replace(url=move(rights.url)) if rights else None,
        )


def _kept_part(root: str) -> str:
    """The field that an API's root begins with: ``instance_url`` of ``{instance_url}/services``."""
    found = re.match(r"\{(\w+)\}/", root) if root.startswith("{") else None
    return found[1] if found else ""
