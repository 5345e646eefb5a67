"""An MCP server behind its own authorization server, made with FastMCP or with MCP's SDK of either line: PORT KIND.

What answers at ``/authorize``, ``/token``, ``/register``, ``/revoke`` and ``/mcp``, and refuses there, is theirs; here
are its tools, and for the SDK what a token is. ``require`` makes the server want one scope more of everybody.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

READ, WRITE = "tools:read", "tools:write"
SCOPES = [READ, WRITE]
COUNTS = {"refreshes": 0, "registrations": 0, "reuses": 0}
SENT: list[str] = []


def tools(server: Any, auth: Any, token: Callable[[], Any], required: list[str]) -> None:
    """The tools of either; those that only read say so."""

    def whoami() -> dict[str, Any]:
        """Whose token came, by its digest, and how often anybody has refreshed one or registered."""
        came = token()
        digest = hashlib.sha256(came.token.encode()).hexdigest()[:16]
        return {
            "token": digest,
            "client": came.client_id,
            "scopes": sorted(came.scopes),
            "live": len(auth.refresh_tokens),
            "sent": SENT,
            **COUNTS,
        }

    def end_all() -> str:
        """End every token there is."""
        auth.access_tokens.clear()
        auth.refresh_tokens.clear()
        return "ended"

    def require(scope: str) -> str:
        """Want this scope, too, from now on; none for as at first."""
        required[:] = [READ, scope] if scope else [READ]
        return "required"

    def send(to: str) -> dict[str, Any]:
        """Send something."""
        SENT.append(to)
        return {"id": f"send-{len(SENT)}"}

    for reads in (whoami, end_all, require):
        server.tool(annotations={"readOnlyHint": True})(reads)
    server.tool()(send)


def fastmcp(port: int) -> None:
    """FastMCP, with the authorization server that it has for tests."""
    of_auth: Any = import_module("fastmcp.server.auth")
    options: Any = import_module("fastmcp.server.auth.auth")
    memory: Any = import_module("fastmcp.server.auth.providers.in_memory").InMemoryOAuthProvider

    class Counting(memory):  # type: ignore[misc]
        async def exchange_refresh_token(self, *asked: Any) -> Any:
            COUNTS["refreshes"] += 1
            return await super().exchange_refresh_token(*asked)

        async def register_client(self, client: Any) -> None:
            COUNTS["registrations"] += 1
            await super().register_client(client)

    auth = Counting(
        base_url=f"http://127.0.0.1:{port}",
        required_scopes=[READ],
        client_registration_options=options.ClientRegistrationOptions(
            enabled=True, valid_scopes=SCOPES, default_scopes=[READ]
        ),
        revocation_options=options.RevocationOptions(enabled=True),
    )
    server: Any = import_module("fastmcp").FastMCP("guarded", auth=auth)
    token = import_module("fastmcp.server.dependencies").get_access_token
    tools(server, auth, token, auth.required_scopes)

    def publish(to: str) -> dict[str, Any]:
        """Publish something, which only whoever may write is shown at all."""
        SENT.append(to)
        return {"id": f"publish-{len(SENT)}"}

    server.tool(auth=of_auth.require_scopes(WRITE))(publish)
    server.run(transport="http", host="127.0.0.1", port=port, show_banner=False, log_level="ERROR")


def sdk(port: int) -> None:
    """The SDK, of version 2 or before it, whose handlers ask a store of tokens: `Tokens`."""
    options: Any = import_module("mcp.server.auth.settings")
    here = f"http://127.0.0.1:{port}"
    said = options.AuthSettings(
        issuer_url=here,
        resource_server_url=f"{here}/mcp",
        required_scopes=[READ],
        client_registration_options=options.ClientRegistrationOptions(
            enabled=True, valid_scopes=SCOPES, default_scopes=[READ]
        ),
        revocation_options=options.RevocationOptions(enabled=True),
        validate_token_resource=True,
    )
    auth, where = Tokens(), {"host": "127.0.0.1", "port": port}
    how: dict[str, Any] = {"auth": said, "auth_server_provider": auth, "log_level": "ERROR"}
    try:
        server: Any = import_module("mcp.server.mcpserver").MCPServer("guarded", **how)
    except ImportError:  # before version 2
        server, where = import_module("mcp.server.fastmcp").FastMCP("guarded", **how, **where), {}
    token = import_module("mcp.server.auth.middleware.auth_context").get_access_token
    tools(server, auth, token, server.settings.auth.required_scopes)
    server.run(transport="streamable-http", **where)


class Tokens:
    """What the SDK's authorization server keeps. Refresh tokens are good once: a second use of one ends its family, as
    RFC 9700 4.14 wants it."""

    def __init__(self) -> None:
        self.clients: dict[str, Any] = {}
        self.codes: dict[str, Any] = {}
        self.access_tokens: dict[str, Any] = {}
        self.refresh_tokens: dict[str, Any] = {}
        self.used: dict[str, str] = {}
        self.family: dict[str, str] = {}

    async def get_client(self, client_id: str) -> Any:
        return self.clients.get(client_id)

    async def register_client(self, client: Any) -> None:
        COUNTS["registrations"] += 1
        self.clients[client.client_id] = client

    async def authorize(self, client: Any, params: Any) -> str:
        """It asks nobody."""
        made: Any = import_module("mcp.server.auth.provider")
        code = secrets.token_urlsafe(24)
        asked = params.model_dump(exclude={"state", "scopes"})
        self.codes[code] = made.AuthorizationCode(
            code=code,
            client_id=client.client_id,
            scopes=params.scopes or [READ],
            expires_at=time.time() + 60,
            subject=secrets.token_hex(4),
            **asked,
        )
        return str(made.construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state))

    async def load_authorization_code(self, client: Any, code: str) -> Any:
        return self.codes.get(code)

    async def exchange_authorization_code(self, client: Any, code: Any) -> Any:
        del self.codes[code.code]
        return self._issued(code, code.scopes, secrets.token_hex(4))

    async def load_refresh_token(self, client: Any, token: str) -> Any:
        if family := self.used.get(token):
            COUNTS["reuses"] += 1
            self._end(family)
        return self.refresh_tokens.get(token)

    async def exchange_refresh_token(self, client: Any, token: Any, scopes: list[str]) -> Any:
        COUNTS["refreshes"] += 1
        family = self.used[token.token] = self.family[token.token]
        del self.refresh_tokens[token.token]
        return self._issued(token, scopes, family)

    async def load_access_token(self, token: str) -> Any:
        return self.access_tokens.get(token)

    async def revoke_token(self, token: Any) -> None:
        self._end(self.family.get(token.token, ""))

    def _issued(self, of: Any, scopes: list[str], family: str) -> Any:
        made: Any = import_module("mcp.server.auth.provider")
        same = {"client_id": of.client_id, "resource": getattr(of, "resource", None)}
        access = made.AccessToken(
            token=secrets.token_urlsafe(24), scopes=scopes, expires_at=int(time.time()) + 3600, **same
        )
        refresh = made.RefreshToken(token=secrets.token_urlsafe(24), scopes=scopes, **same)
        self.access_tokens[access.token], self.refresh_tokens[refresh.token] = access, refresh
        self.family |= {access.token: family, refresh.token: family}
        return import_module("mcp.shared.auth").OAuthToken(
            access_token=access.token,
            refresh_token=refresh.token,
            token_type="Bearer",
            expires_in=3600,
            scope=" ".join(scopes),
        )

    def _end(self, family: str) -> None:
        for kept in (self.access_tokens, self.refresh_tokens):
            for token in [one for one in kept if self.family[one] == family]:
                del kept[token]


if __name__ == "__main__":
    {"fastmcp": fastmcp, "sdk": sdk}[sys.argv[2]](int(sys.argv[1]))
