"""Streamable HTTP: the ASGI app, its callers, and its allowed host names.

``user_of`` identifies each request's user before the body is read. A session of the older protocols belongs to the user
who opened it; for any other user it does not exist (see `sessions`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any, Final, TypeAlias

from mcp.server import Server
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from deputize.adapters.mcp.sessions import Sessions, TakesAnswer
from deputize.adapters.operator_warnings import warn_operator
from deputize.core import AnyUser, DeputizeError, Secret, User

__all__ = ["UNAUTHORIZED", "UserOf", "mcp_app", "user_in"]

UserOf: TypeAlias = Callable[[Scope], AnyUser | Awaitable[AnyUser]]
"""Names the caller by the ASGI scope, never by the body; None for no user."""

USER: Final = "deputize.user"
"""The scope key of a request's user."""

FUNCTION: Final = "The application's function user_of"
"""The source of the user, as error messages name it."""

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")

UNAUTHORIZED: Final[ASGIApp] = PlainTextResponse("Unauthorized", 401, {"WWW-Authenticate": "Bearer"})
"""The answer without a user, if there is no authorization server to name (RFC 6750, 3)."""


def _no_contents(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


logging.getLogger("sse_starlette.sse").addFilter(_no_contents)
"""At DEBUG it logs whole answers: consent links, and what tools have read."""


def user_in(request: Any) -> User | None:
    """Return the user of a request that came through `mcp_app`, or None."""
    user = request.scope.get(USER) if isinstance(request, Request) else None
    return user if isinstance(user, User) else None


def mcp_app(
    server: Server[Any],
    user_of: UserOf,
    *,
    path: str,
    hosts: Iterable[str],
    unauthorized: ASGIApp,
    finish: Callable[[], Awaitable[None]],
    key: Secret,
    takes: TakesAnswer,
) -> Starlette:
    """Return ``server`` as an ASGI app at ``path``, to run alone or to mount.

    ``unauthorized`` answers requests without a user. ``key`` encrypts session names. ``takes``: see `Sessions`.
    ``hosts``: allowed host names besides loopback's. Other hosts, and pages of other origins, are refused (421, 403): a
    page could point its own name to this server (DNS rebinding). ``finish`` is awaited at shutdown, for calls whose
    clients have disconnected.
    """
    endpoint = _Endpoint(server, user_of, [*LOOPBACK, *hosts], unauthorized, finish, key, takes)
    return Starlette(routes=[Route(path, endpoint)], lifespan=endpoint.lifespan)


class _Endpoint:
    """The endpoint. Sessions run from the host's start, or from the first request if the app is mounted."""

    def __init__(
        self,
        server: Server[Any],
        user_of: UserOf,
        hosts: list[str],
        unauthorized: ASGIApp,
        finish: Callable[[], Awaitable[None]],
        key: Secret,
        takes: TakesAnswer,
    ) -> None:
        self._user_of, self._unauthorized, self._finish = user_of, unauthorized, finish
        self._manager = StreamableHTTPSessionManager(server, security_settings=_only(hosts))
        self._sessions = Sessions(self._manager.handle_request, key, takes)
        self._running: asyncio.Task[None] | None = None
        self._started, self._over = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = await self._user(scope)
        if user is None:
            await self._unauthorized(scope, receive, send)
            return
        await self._start()
        await self._sessions({**scope, USER: user, "user": _owner(user)}, receive, send, user)

    async def _user(self, scope: Scope) -> User | None:
        """Return the caller, or None, also if your application's function refuses. A value that is no user is logged:
        the client only reads 401."""
        try:
            named = self._user_of(scope)
            return User.of(await named if isawaitable(named) else named, by=FUNCTION)
        except DeputizeError as error:
            warn_operator(error, no_user="", what="A request was answered with 401.")
            return None

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Run sessions from the start to the end of the app."""
        await self._start()
        try:
            yield
        finally:
            self._over.set()
            if self._running is not None:
                await self._running
            await self._finish()

    async def _start(self) -> None:
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        if not self._started.is_set():
            await self._started.wait()

    async def _run(self) -> None:
        """Run the sessions in a separate task, because the SDK requires that one task enters and leaves them."""
        async with self._manager.run():
            self._started.set()
            await self._over.wait()


def _owner(user: User) -> AuthenticatedUser:
    """Return the user in the form in which the SDK compares session owners. The token is left out, because it is not
    needed here."""
    return AuthenticatedUser(
        AccessToken(token="", client_id="", scopes=[], subject=user.id, claims={"iss": user.tenant})
    )


def _only(hosts: list[str]) -> TransportSecuritySettings:
    return TransportSecuritySettings(
        allowed_hosts=[form for host in hosts for form in (host, f"{host}:*")],
        allowed_origins=[
            form
            for host in hosts
            for scheme in ("http", "https")
            for form in (f"{scheme}://{host}", f"{scheme}://{host}:*")
        ],
    )
