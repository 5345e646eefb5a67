"""A closed deputy releases its connections, on whichever loop they are."""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar

import httpx

from deputize.sandbox import Sandbox
from tests.support.sandbox_deputy import Clock, build, connect


class Counted(httpx.AsyncBaseTransport):
    """A loop's transport that records its loop and whether it was closed."""

    made: ClassVar[list[Counted]] = []

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner, self.loop, self.closed = inner, asyncio.get_running_loop(), False
        self.made.append(self)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        assert asyncio.get_running_loop() is self.loop
        self.closed = True


async def test_connections_of_a_refresh_are_closed(monkeypatch: Any) -> None:
    monkeypatch.setattr(Counted, "made", [])
    sandbox, clock = Sandbox(), Clock(time.time())
    transport: Any = lambda: Counted(sandbox.transport())  # noqa: E731
    async with await build(sandbox, transport=transport, clock=clock) as deputy:
        await connect(deputy, sandbox, "readonly")
        clock.now += 4000.0
        await deputy.act("gmail_search_emails", {"query": "x"}, user="alice")
        assert len({one.loop for one in Counted.made}) == 2, "a refresh runs on the portal's loop"
    assert all(one.closed for one in Counted.made)
