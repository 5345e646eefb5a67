"""What an MCP server says of its authorization, and the provider that this makes; as it was when it was taken up.

The operator believes a server when it is added, and that belief is kept: another authorization server, or other
endpoints, under the same name are an incident, and no token goes there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Self

from deputize.core.errors import SettingsError
from deputize.core.mcp.rules import MCP, MCP_HEADERS
from deputize.core.mcp.server import AccountTool, McpServer
from deputize.core.oauth.identity import Identity
from deputize.core.oauth.jose import ALGS
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.provider import Provider
from deputize.core.oauth.server_metadata import row_of, scopes_of
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.vault import Vault

API: Final = "mcp"
"""The API of a server that is its one address; the other one, of its name, is its origin."""
_HELD: Final = ("authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint")
_OFFLINE: Final = "offline_access"


@frozen
class Authorization(ValueObject):
    """Who authorizes for a server. ``resource``: what its tokens are for (RFC 8707). ``metadata``: the issuer's.

    ``asked``: the scopes that its challenge named; ``offered``: those that its own metadata names.
    """

    resource: str
    issuer: str
    asked: tuple[str, ...]
    offered: tuple[str, ...]
    metadata: Mapping[str, Any]

    def pack(self) -> dict[str, Any]:
        """As JSON for the vault."""
        return {
            "resource": self.resource,
            "issuer": self.issuer,
            "asked": list(self.asked),
            "offered": list(self.offered),
            "metadata": dict(self.metadata),
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """What `pack` wrote."""
        texts = {name: tuple(content[name]) for name in ("asked", "offered")}
        return cls(content["resource"], content["issuer"], metadata=content["metadata"], **texts)

    @property
    def places(self) -> Mapping[str, str]:
        """Where codes, credentials and tokens go."""
        ends = {name: str(self.metadata.get(name) or "") for name in _HELD}
        return {"resource": self.resource, "issuer": self.issuer, **ends}


class KnownServers:
    """The authorization of servers, sealed in a vault, as it was when each was taken up."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault

    async def read(self, server: McpServer) -> Authorization | None:
        """As it was; None for a server that is new here, or at another address than it was."""
        kept = await self.vault.get("meta", _place(server))
        return Authorization.of(kept.json) if kept else None

    async def write(self, server: McpServer, authorization: Authorization) -> None:
        """Keep it."""
        content = authorization.pack()
        while not await self.vault.insert("meta", _place(server), content):
            old = await self.vault.get("meta", _place(server))
            if old and (old.json == content or await self.vault.swap(old, content)):
                return

    async def forget(self, server: McpServer) -> None:
        """Believe it anew the next time: the operator has looked, or the server is removed."""
        while kept := await self.vault.get("meta", _place(server)):
            if await self.vault.delete(kept):
                return


def _place(server: McpServer) -> str:
    return f"mcp.{fingerprint(f'{server.name} {server.url}')}"


def check_unchanged(server: McpServer, before: Authorization, now: Authorization) -> None:
    """Raise `SettingsError` where a server leads elsewhere than it did, unless the operator has named its issuer."""
    if server.issuer and before.issuer != server.issuer:
        return
    for name, old in before.places.items():
        if (new := now.places[name]) != old:
            raise SettingsError(
                f"The MCP server {server.name} leads elsewhere than before: its {name} is {shown(new)}, it was "
                f"{shown(old)}. Nothing is sent there.",
                hint=f"Ask who runs {server.host} whether that is meant. deputize mcp pin {server.name} accepts it; "
                "grants that came from elsewhere have to be connected again.",
            )


def shown(said: object) -> str:
    """What a server said, as one short line of visible ASCII: an operator's terminal reads it."""
    return "".join(c if "!" <= c <= "~" else "?" for c in str(said)[:200]) or "nothing"


def provider_of(server: McpServer, said: Authorization) -> Provider:
    """The provider row: tokens of this issuer, for this resource, and for no other host than the server's.

    Raises `SettingsError` for an authorization server that cannot be used.
    """
    scopes, tool = scopes_of(said.metadata), server.identity
    named = tool is None and _names_accounts(said.metadata)
    wanted = server.scopes or said.asked
    row = row_of(
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
    basics = ("openid", *(one for one in ("email", "profile") if one in scopes)) if named else ()
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


_USERINFO: Final = "userinfo_endpoint"


def _shape(said: AccountTool) -> Identity:
    """Where in the result of the tool that names accounts the account stands."""
    return Identity("", "{" + said.subject + "}", "{" + said.name + "}" if said.name else "")


def label_of(server: McpServer) -> str:
    """The server's name as people read it."""
    return server.name.replace("_", " ").replace("-", " ").title()


def _names_accounts(metadata: Mapping[str, Any]) -> bool:
    """Whether it tells by an id_token who has consented. Its userinfo is no help: tokens are for the resource only."""
    algs = metadata.get("id_token_signing_alg_values_supported")
    signs = any(isinstance(alg, str) and alg in ALGS for alg in algs) if isinstance(algs, list) else True
    return bool(metadata.get("jwks_uri")) and signs and "openid" in scopes_of(metadata)
