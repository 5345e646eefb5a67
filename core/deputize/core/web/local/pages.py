"""The pages on loopback, for one person: the first process that needs them serves them, and later ones find it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import field
from typing import TYPE_CHECKING, Final

import httpx

from deputize.core.background_loop import Portal, portal
from deputize.core.errors import InvalidInput, ProviderUnavailable, SettingsError
from deputize.core.http import Http
from deputize.core.value_object import ValueObject, frozen
from deputize.core.web.signing_key import health

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from deputize.core.base_deputy import BaseDeputy
    from deputize.core.web.pages.brand import Brand

HOST: Final = "127.0.0.1"
CHECK_INTERVAL_SECONDS: Final = 1.0
"""Seconds between two checks of another process that serves our pages."""


@frozen
class _Server(ValueObject):
    """The server of the pages. ``ours``: this process's server, or None if another with the same vault serves them."""

    url: str
    portal: Portal
    ours: AbstractAsyncContextManager[str] | None = None
    seen: float = field(default_factory=time.monotonic)

    def is_up(self, here: Portal) -> bool:
        """Return True if this portal can rely on the server without another check."""
        return self.portal is here and (self.ours is not None or time.monotonic() < self.seen + CHECK_INTERVAL_SECONDS)


class LocalPages:
    """A server of the pages on the portal's loop, started on first use, on one port for the life of the process.

    If another process serves the same vault's pages on that port, that process is used until it ends. ``port`` 0 takes
    any free one. ``local``: nobody signs in, so a user's own pages have links of their own; see
    `deputize.core.web.pages.local_links`. ``brand``: the name and look of your application on the pages. A deputy
    creates its own server: ``Deputy(vault, apps, pages=LocalPages)``.
    """

    local: Final = True

    def __init__(self, deputy: BaseDeputy, port: int = 0, brand: Brand | None = None) -> None:
        self.deputy, self.brand = deputy, brand
        self._port = port
        self._server: _Server | None = None
        self._starting: asyncio.Task[_Server] | None = None

    async def base_url(self) -> str:
        """Return ``http://127.0.0.1:{port}``. Raises `SettingsError` if another program uses the port."""
        here, server = portal(), self._server
        if server is None or not server.is_up(here):
            server = await here.hop(lambda: self._start(here))
        return server.url

    async def close(self) -> None:
        """Stop this process's server when browsers have followed its last redirects. A later use starts it again."""
        server = self._server
        if server and server.ours and server.portal.pid == os.getpid():
            with suppress(InvalidInput):  # the portal has closed, and the server with it
                await server.portal.leave(server.ours)
        self._server = None  # afterwards: the last pages name the server's address

    async def _start(self, here: Portal) -> _Server:
        """Return the server, started once for all concurrent callers. Runs on the portal's loop only."""
        if self._server and self._server.is_up(here):
            return self._server
        if self._starting is None or self._starting.get_loop() is not asyncio.get_running_loop():
            self._starting = asyncio.create_task(self._serve(here))
        starting = self._starting
        try:
            server = await asyncio.shield(starting)
        finally:
            if self._starting is starting and starting.done():
                self._starting = None
        self._server, self._port = server, int(server.url.rpartition(":")[2])
        return server

    async def _serve(self, here: Portal) -> _Server:
        app, serve = await asyncio.to_thread(_application, self.deputy, self.brand)  # it imports, and reads templates
        try:
            served = serve(app, self._port)
            return _Server(await here.enter(served), here, served)
        except SettingsError:
            if not self._port or not await same_vault(self.deputy, self._port):
                raise _port_taken(self._port) from None
            return _Server(f"http://{HOST}:{self._port}", here)


def _port_taken(port: int) -> SettingsError:
    return SettingsError(
        f"The pages of local mode cannot be served on port {port} of {HOST}.",
        hint="Another program uses it: end that program, or set DEPUTIZE_PORT to a free port.",
    )


async def same_vault(deputy: BaseDeputy, port: int) -> bool:
    """Return True if the server on this port serves the same vault's local pages. It must answer a new challenge."""
    challenge, http = secrets.token_hex(16), Http()
    request = httpx.Request("GET", f"http://{HOST}:{port}/health", params={"challenge": challenge})
    try:
        answer = await http.send(request, timeout=2.0, max_bytes=4096)
    except ProviderUnavailable:
        return False
    finally:
        await http.close()
    with suppress(ValueError):
        return bool(json.loads(answer.content) == health(deputy.vault.keys.web, challenge, port=port))
    return False


def _application(
    deputy: BaseDeputy, brand: Brand | None
) -> tuple[ASGIApp, Callable[[ASGIApp, int], AbstractAsyncContextManager[str]]]:
    """Return the guarded pages and their server. Imported here: only a serving process needs a web framework."""
    try:
        import uvicorn  # noqa: F401

        from deputize.core.web.app import pages_app
        from deputize.core.web.local.server import redirect_localhost, require_host, require_own_account
    except ImportError as missing:
        raise SettingsError.without(missing, "web") from None
    pages = require_host(pages_app(deputy, verifier=None, local=True, brand=brand), {HOST})
    return require_own_account(redirect_localhost(pages, "/callback/[A-Za-z0-9_-]{1,100}")), _served


@asynccontextmanager
async def _served(app: ASGIApp, port: int) -> AsyncIterator[str]:
    from deputize.core.web.local.server import OpenRedirects, serve

    pages = OpenRedirects(app)
    async with serve(pages, port, HOST) as url:
        try:
            yield url
        finally:
            await pages.followed()
