"""An MCP server's authorization metadata, stored when the server is added, and the provider made from it.

The operator trusts the server at that time. If another authorization server or other endpoints appear under the same
name later, that is an incident, and no token is sent there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Self

from deputize.core.errors import SettingsError
from deputize.core.mcp_client.rules import MCP, MCP_HEADERS
from deputize.core.mcp_client.server_config import AccountTool, McpServer
from deputize.core.oauth.identity import NAMELESS, Identity
from deputize.core.oauth.jose import ALGS
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.provider import ApiRules, OAuthEndpoints, Provider
from deputize.core.oauth.server_metadata import provider_from_metadata, scopes_of
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.vault import Vault

API: Final = "mcp"
"""The API with the server's own URL as its root; the other API, named like the server, has its origin."""
_HELD: Final = ("authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint")
_OFFLINE: Final = "offline_access"


@frozen
class Authorization(ValueObject):
    """The authorization of a server. ``resource``: the resource of its tokens (RFC 8707). ``metadata``: the issuer's.

    ``asked``: the scopes in the server's challenge. ``offered``: the scopes in the server's own metadata.
    """

    resource: str
    issuer: str
    asked: tuple[str, ...]
    offered: tuple[str, ...]
    metadata: Mapping[str, Any]

    def pack(self) -> dict[str, Any]:
        """Return the authorization as JSON for the vault."""
        return {
            "resource": self.resource,
            "issuer": self.issuer,
            "asked": list(self.asked),
            "offered": list(self.offered),
            "metadata": dict(self.metadata),
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """Return the authorization in JSON from `pack`."""
        texts = {name: tuple(content[name]) for name in ("asked", "offered")}
        return cls(content["resource"], content["issuer"], metadata=content["metadata"], **texts)

    @property
    def places(self) -> Mapping[str, str]:
        """The URLs that receive codes, credentials and tokens."""
        ends = {name: str(self.metadata.get(name) or "") for name in _HELD}
        return {"resource": self.resource, "issuer": self.issuer, **ends}


class KnownServers:
    """The authorization of each server at the time when it was added, encrypted in a vault."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault

    async def read(self, server: McpServer) -> Authorization | None:
        """Return a server's stored authorization, or None if the server is new or its URL has changed."""
        kept = await self.vault.get("meta", _record_key(server))
        return Authorization.of(kept.json) if kept else None

    async def write(self, server: McpServer, authorization: Authorization) -> None:
        """Store a server's authorization."""
        content = authorization.pack()
        while not await self.vault.insert("meta", _record_key(server), content):
            old = await self.vault.get("meta", _record_key(server))
            if old and (old.json == content or await self.vault.swap(old, content)):
                return

    async def forget(self, server: McpServer) -> None:
        """Delete a server's authorization, so that the next one is trusted. For a checked or a removed server."""
        while kept := await self.vault.get("meta", _record_key(server)):
            if await self.vault.delete(kept):
                return


def _record_key(server: McpServer) -> str:
    return f"mcp.{fingerprint(f'{server.name} {server.url}')}"


def check_unchanged(server: McpServer, before: Authorization, now: Authorization) -> None:
    """Raise `SettingsError` if a server's authorization has changed, unless the operator has named its issuer."""
    if server.issuer and before.issuer != server.issuer:
        return
    for name, old in before.places.items():
        if (new := now.places[name]) != old:
            raise SettingsError(
                f"The MCP server {server.name} leads elsewhere than before: its {name} is {shown(new)}, it was "
                f"{shown(old)}. Nothing is sent there.",
                hint=f"Ask who runs {server.host} whether that is intended. deputize mcp pin {server.name} accepts it; "
                "grants that came from elsewhere have to be connected again.",
            )


def shown(said: object) -> str:
    """Return a server's text as one short line of visible ASCII, for the operator's terminal."""
    return "".join(c if "!" <= c <= "~" else "?" for c in str(said)[:200]) or "nothing"


def provider_of(server: McpServer, said: Authorization) -> Provider:
    """Return the provider definition: tokens of this issuer, for this resource, and for the server's host only.

    Raises `SettingsError` for an authorization server that cannot be used.
    """
    scopes, tool = scopes_of(said.metadata), server.identity
    named = tool is None and _names_accounts(said.metadata)
    wanted = server.scopes or said.asked
    row = provider_from_metadata(
        said.issuer,
        said.metadata if named else {k: v for k, v in said.metadata.items() if k not in ("jwks_uri", _USERINFO)},
        name=server.name,
        label=label_of(server),
        api={server.name: server.origin, API: server.resource},
        resource=said.resource,
        par=False,
        audience="issuer",
        dpop=False,
        nameless=not named,
        plain_http=server.local,
    )
    basics = ("openid", *(scope for scope in ("email", "profile") if scope in scopes)) if named else ()
    offline = (_OFFLINE,) if _OFFLINE in scopes and (wanted or said.offered or basics) else ()
    return replace(
        row,
        oauth=replace(
            row.oauth,
            always_scopes=tuple(dict.fromkeys((*basics, *wanted, *offline))),
            fallback_scopes=() if wanted else said.offered,
            login_hint="",
        ),
        apis=replace(
            row.apis,
            identity=_shape(tool) if tool else row.apis.identity,
            hosts=frozenset({server.host}),
            request_headers=MCP_HEADERS,
        ),
        rules=MCP,
    )


def provider_with_key(server: McpServer) -> Provider:
    """Return the provider of a server that takes a key, or signs nobody in. Its own address stands for the place of the
    sign-in, so that a grant is for this server only."""
    tool = server.identity
    return Provider(
        server.name,
        label_of(server),
        OAuthEndpoints(server.resource, server.resource),
        ApiRules(
            {server.name: server.origin, API: server.resource},
            frozenset({server.host}),
            _shape(tool) if tool else NAMELESS,
            request_headers=MCP_HEADERS,
            credential=server.credential,
        ),
        rules=MCP,
        plain_http=server.local,
    )


_USERINFO: Final = "userinfo_endpoint"


def _shape(said: AccountTool) -> Identity:
    """Return where the account is in the result of the account tool."""
    return Identity("", "{" + said.subject + "}", "{" + said.name + "}" if said.name else "")


def label_of(server: McpServer) -> str:
    """Return the server's name for people."""
    return server.name.replace("_", " ").replace("-", " ").title()


def _names_accounts(metadata: Mapping[str, Any]) -> bool:
    """Return True if an id_token identifies the account. Userinfo cannot do so: tokens are for the resource only."""
    algs = metadata.get("id_token_signing_alg_values_supported")
    signs = any(isinstance(alg, str) and alg in ALGS for alg in algs) if isinstance(algs, list) else True
    return bool(metadata.get("jwks_uri")) and signs and "openid" in scopes_of(metadata)
