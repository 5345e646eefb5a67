"""A small balancer on loopback, as an ASGI application: each request goes to the next server, never sticky.

It checks each server's /readyz, and skips those that are not ready or unreachable. It never resends a request: one
whose server disconnects is answered 502.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

LOOKS_EVERY = 0.1
HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"upgrade"}


@dataclass
class RoundRobin:
    """The balancer.

    ``servers``: their addresses. ``led``: method, path and server of each request. ``failed``: those without an answer.
    ``looks``: whether it checks /readyz.
    """

    servers: list[str]
    looks: bool = True
    led: list[tuple[str, str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    ready: set[str] = field(default_factory=set)
    _turn: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope, receive)
            await (await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        for _ in self.servers:
            server = self._next()
            path = request.url.path
            headers = [(name, value) for name, value in request.headers.raw if name not in HOP_BY_HOP]
            asked = self._http.build_request(
                request.method, f"{server}{path}?{request.url.query}".rstrip("?"), headers=headers, content=body
            )
            try:
                answer = await self._http.send(asked, stream=True)
            except httpx.ConnectError:  # nothing was sent
                self.ready.discard(server)
                continue
            except httpx.TransportError as error:
                self.failed.append(f"{request.method} {path} at {server}: {type(error).__name__}")
                return PlainTextResponse("Bad gateway", 502)
            self.led.append((request.method, path, server))
            return self._passed_on(answer, f"{request.method} {path} at {server}")
        return PlainTextResponse("No server is ready", 503)

    def _next(self) -> str:
        ready = [one for one in self.servers if not self.looks or one in self.ready] or self.servers
        self._turn += 1
        return ready[self._turn % len(ready)]

    def _passed_on(self, answer: httpx.Response, what: str) -> Response:
        async def body() -> AsyncIterator[bytes]:
            try:
                async for part in answer.aiter_raw():
                    yield part
            except httpx.TransportError as error:
                self.failed.append(f"{what}: cut off, {type(error).__name__}")
                raise
            finally:
                await answer.aclose()

        passed = StreamingResponse(body(), answer.status_code)
        passed.raw_headers = [(name, value) for name, value in answer.headers.raw if name.lower() not in HOP_BY_HOP]
        return passed

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Check its servers for the block."""
        none_kept = CookieJar(
            DefaultCookiePolicy(allowed_domains=[])
        )  # else one browser's would go with another's request
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=60, limits=limits, cookies=none_kept) as self._http:
            looking = asyncio.create_task(self._look())
            try:
                yield
            finally:
                looking.cancel()
                with suppress(asyncio.CancelledError):
                    await looking

    async def _look(self) -> None:
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=3, limits=limits) as http:
            while True:
                for server in self.servers:
                    try:
                        good = (await http.get(f"{server}/readyz")).status_code == 200
                    except httpx.TransportError:
                        good = False
                    (self.ready.add if good else self.ready.discard)(server)
                await asyncio.sleep(LOOKS_EVERY)
