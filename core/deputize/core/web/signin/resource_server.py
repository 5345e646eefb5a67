"""An ASGI application as an OAuth protected resource: every request needs a token of the issuer (RFC 6750, 9728).

    guard = ResourceServer(tokens, resource="https://app.example.com/agents/mcp", scopes=["agents"])
    app.mount("/agents", guard.protect(server.app(user_of)))
    app.add_route(guard.metadata_path, guard.show_metadata)

Only this check sees the token: the application receives the request without it. An MCP server must not pass a client's
token to providers or anybody else (Model Context Protocol, "Token passthrough").
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deputize.core.errors import DeputizeError, SettingsError
from deputize.core.vault.grant import Secret, User
from deputize.core.web.cookies import LOOPBACK
from deputize.core.web.security_headers import plain_headers
from deputize.core.web.signin.access_tokens import AccessTokens

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger("deputize.web")

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
_USER: Final = "deputize.user"
_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)")
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+")


def user_of(scope: Mapping[str, Any]) -> User | None:
    """Return the user that a `ResourceServer` has found for this request, or None if no such guard checked it."""
    found = scope.get(_USER)
    return found if isinstance(found, User) else None


class _Refusal(NamedTuple):
    """The refusal of a request: a status, the error of RFC 6750 3.1 ("" without a token), and a description."""

    status: int
    error: str = ""
    words: str = ""


class ResourceServer:
    """A guard that accepts requests with a token that ``tokens`` verifies and that has all of ``scopes``.

    ``resource``: the address that clients call, https or on loopback; it is the ``resource`` of RFC 9728. Raises
    `SettingsError` for any other address, and for an invalid scope.
    """

    def __init__(self, tokens: AccessTokens, *, resource: str, scopes: Iterable[str] = (), name: str = "") -> None:
        parts = urlsplit(resource)
        local = parts.scheme == "http" and parts.hostname in LOOPBACK
        if (parts.scheme != "https" and not local) or not parts.hostname or parts.query or parts.fragment:
            raise SettingsError(f"The address {resource!r} cannot be called by clients: it must be https.")
        self.tokens, self.resource, self.scopes, self.name = tokens, resource, tuple(scopes), name
        if bad := [scope for scope in self.scopes if not _SCOPE.fullmatch(scope)]:
            raise SettingsError(f"{bad[0]!r} is not a valid scope.")
        self.metadata_path: Final = WELL_KNOWN + parts.path.rstrip("/")
        """The path of its metadata on the host of the resource (RFC 9728 3.1)."""
        self.metadata_url: Final = f"{parts.scheme}://{parts.netloc}{self.metadata_path}"

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The protected resource metadata of RFC 9728 2."""
        scopes = {"scopes_supported": list(self.scopes)} if self.scopes else {}
        name = {"resource_name": self.name} if self.name else {}
        return {
            "resource": self.resource,
            "authorization_servers": [self.tokens.issuer.url],
            "bearer_methods_supported": ["header"],
            **scopes,
            **name,
        }

    async def show_metadata(self, request: Request) -> Response:
        """Serve the metadata to anybody: ``app.add_route(guard.metadata_path, guard.show_metadata)``."""
        return JSONResponse(dict(self.metadata), headers={"access-control-allow-origin": "*"})

    def protect(self, app: ASGIApp) -> ASGIApp:
        """Return ``app``, guarded: callers need a token. `user_of` reads the user from the scope."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await app(scope, receive, send)
            elif scope["type"] != "http":
                await send({"type": "websocket.close", "code": 1008})
            elif isinstance(found := await self._caller(scope), User):
                rest = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
                await app({**scope, "headers": rest, _USER: found}, receive, send)
            else:
                await self._refuse(found, send)

        return guarded

    async def _caller(self, scope: Scope) -> User | _Refusal:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if not given:
            return _Refusal(401)
        found = _BEARER.fullmatch(given[0])
        if len(given) > 1 or found is None:
            return _Refusal(401, "invalid_token", "One bearer token is wanted.")
        try:
            caller = await self.tokens.caller(Secret(found[1].decode()))
        except DeputizeError as error:
            log.warning("%s while a token was looked at: %s", error.code, error.message)
            return _Refusal(503)
        if isinstance(caller, str):
            log.info("An access token %s.", caller)
            return _Refusal(401, "invalid_token", "The access token is not valid here.")
        if not caller.scopes.issuperset(self.scopes):
            return _Refusal(403, "insufficient_scope", "The access token lacks a scope.")
        return replace(caller.user, roles=caller.roles)

    async def _refuse(self, refusal: _Refusal, send: Send) -> None:
        words = {"error": refusal.error, "error_description": refusal.words, "scope": " ".join(self.scopes)}
        named = {name: value for name, value in words.items() if value} | {"resource_metadata": self.metadata_url}
        challenge = "Bearer " + ", ".join(f'{name}="{value}"' for name, value in named.items())
        more = (b"retry-after", b"5") if refusal.status == 503 else (b"www-authenticate", challenge.encode())
        await send({"type": "http.response.start", "status": refusal.status, "headers": plain_headers(more)})
        await send({"type": "http.response.body", "body": refusal.words.encode()})
