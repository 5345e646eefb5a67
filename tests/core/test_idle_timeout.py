"""A response whose events renew its timeout: it may take long, but not be silent, and comments are not events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from deputize.core.errors import ProviderUnavailable
from deputize.core.http import client
from deputize.core.http.client import Http

EVENT, PING = b"data: {}\n\n", b": ping\n\n"


class Slow(httpx.AsyncByteStream):
    """A part every 50 ms."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            await asyncio.sleep(0.05)
            yield part


class Server(httpx.AsyncBaseTransport):
    """A server that answers with these parts."""

    def __init__(self, *parts: bytes, mime: str = "text/event-stream") -> None:
        self.parts, self.mime = parts, mime

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": self.mime}, stream=Slow(*self.parts))


async def send(server: Server, events: list[float]) -> httpx.Response:
    async def on_event() -> None:
        events.append(time.monotonic())

    request = httpx.Request("POST", "https://a.example/mcp")
    return await Http(server).send(request, timeout=0.3, on_event=on_event)


async def test_events_renew_the_timeout() -> None:
    events: list[float] = []
    assert (await send(Server(*[EVENT] * 12), events)).content == EVENT * 12
    assert len(events) == 12


@pytest.mark.parametrize("server", [Server(*[PING] * 12), Server(*[EVENT] * 12, mime="application/json")])
async def test_comments_and_other_bodies_do_not_renew_it(server: Server) -> None:
    events: list[float] = []
    with pytest.raises(ProviderUnavailable) as late:
        await send(server, events)
    assert late.value.reason == "late" and events == []


async def test_endless_progress_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_STREAM_SECONDS", 0.6)
    began = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        await send(Server(*[EVENT] * 100), [])
    assert 0.5 < time.monotonic() - began < 3
