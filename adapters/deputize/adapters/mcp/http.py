"""Streamable HTTP: the ASGI app, who calls, and by which names of hosts it may be called.

Each request is somebody's: whoever ``user_of`` names, before anything is read of the body. A session of the older
protocols belongs to the user who opened it; for anybody else it does not exist (see `sessions`).
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
from deputize.core import AnyUser, DeputizeError, Secret, User

__all__ = ["UNAUTHORIZED", "UserOf", "mcp_app", "user_in"]

UserOf: TypeAlias = Callable[[Scope], AnyUser | Awaitable[AnyUser]]
"""Who makes a request, by its ASGI scope; None for nobody. Never by what stands in its body."""

USER: Final = "deputize.user"
"""Where the scope of a request says whose it is."""

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")

UNAUTHORIZED: Final[ASGIApp] = PlainTextResponse("Unauthorized", 401, {"WWW-Authenticate": "Bearer"})
"""The answer to nobody, where there is no authorization server to point at (RFC 6750, 3)."""


def _no_contents(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


logging.getLogger("sse_starlette.sse").addFilter(_no_contents)
"""At DEBUG it writes each answer whole: links to consents, and what tools have read."""


def user_in(request: Any) -> User | None:
    """The user of a request that came through `mcp_app`; None for any other."""
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
    """``server`` at ``path``, to be served by itself or mounted. ``unauthorized`` answers whoever is nobody. ``key``
    seals names of sessions. ``takes``: see `Sessions`.

    ``hosts``: the names it may be called by beside loopback's. A request for another one, or from a page of another
    origin, is refused (421, 403): a page could have made its own name lead here (DNS rebinding). ``finish`` is awaited
    at the host's end: for what was begun by clients that have hung up.
    """
    endpoint = _Endpoint(server, user_of, [*LOOPBACK, *hosts], unauthorized, finish, key, takes)
    return Starlette(routes=[Route(path, endpoint)], lifespan=endpoint.lifespan)


class _Endpoint:
    """Sessions are run from the start of the host on, or from the first request where this is mounted in another."""

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
        """Who calls. Nobody, too, where the host's function refuses them."""
        try:
            named = self._user_of(scope)
            return User.of(await named if isawaitable(named) else named)
        except DeputizeError:
            return None

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """From the host's start to its end."""
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
        """In a task of its own: what runs the sessions has to be left by the task that entered it."""
        async with self._manager.run():
            self._started.set()
            await self._over.wait()


def _owner(user: User) -> AuthenticatedUser:
    """The user as the SDK compares owners of sessions; it has no token, which is nobody's business past this point."""
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
