"""Shutdown of a server: it is told first, then its calls end, then it exits."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import httpx
import pytest
import uvicorn
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from deputize.cli import graceful_shutdown as leaving
from deputize.cli.graceful_shutdown import Leaving, LeavingServer
from deputize.cli.idle_timeout import BoundedConnection
from tests.support.ports import free_port

pytestmark = pytest.mark.processes  # most of it waits


@dataclass
class House:
    """A server whose calls are answered in streams, as in the older MCP protocols.

    ``said``: the shutdown messages, in order.
    """

    base: str
    said: list[str]
    serving: asyncio.Task[None]

    async def call(self, seconds: float) -> str:
        async with httpx.AsyncClient(timeout=20) as http:
            return (await http.post(f"{self.base}/call", params={"takes": seconds})).text

    async def listen(self) -> float:
        """Return how long an endless stream was open."""
        began = time.monotonic()
        async with httpx.AsyncClient(timeout=20) as http:
            await http.get(f"{self.base}/listen")
        return time.monotonic() - began

    async def reached(self) -> bool:
        async with httpx.AsyncClient(timeout=20) as http:
            try:
                return (await http.get(f"{self.base}/")).status_code == 200
            except httpx.TransportError:
                return False


@asynccontextmanager
async def house(
    drain: float = 0.0, grace: int = 10, idle: int = 75, over: Callable[[], object] = lambda: None
) -> AsyncIterator[House]:
    async def words(seconds: float) -> AsyncIterator[str]:
        yield "begun"
        await asyncio.sleep(seconds)
        yield "done"

    async def call(request: Request) -> Response:
        return EventSourceResponse(words(float(request.query_params["takes"])))

    async def listen(request: Request) -> Response:
        return EventSourceResponse(words(3600.0))

    async def up(request: Request) -> Response:
        return PlainTextResponse("ok")

    def ended() -> None:
        said.append("over")
        over()

    said = list[str]()
    end = Leaving(lambda: said.append("told"), ended)
    routes = [Route("/call", call, methods=["POST"]), Route("/listen", listen), Route("/", up)]
    app, port = end.closing_streams(Starlette(routes=routes)), free_port()
    config = uvicorn.Config(
        app,
        port=port,
        log_config=None,
        lifespan="off",
        http=BoundedConnection,
        timeout_keep_alive=idle,
        timeout_graceful_shutdown=grace,
    )
    server = LeavingServer(config, end, drain)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    yield House(f"http://127.0.0.1:{port}", said, serving)
    if not serving.done():
        os.kill(os.getpid(), signal.SIGINT)
    await asyncio.wait_for(serving, 20)


async def test_shutdown_answers_started_calls_and_closes_endless_streams() -> None:
    async with house() as one:
        calls, stream = asyncio.create_task(one.call(1.5)), asyncio.create_task(one.listen())
        await asyncio.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await stream < 1.3, "its client goes elsewhere at once"
        assert not calls.done() and "data: done" in await calls, "sse-starlette would have cut it off"
        await one.serving
        assert one.said == ["told", "over"]


async def test_shutdown_is_announced_before_serving_stops() -> None:
    async with house(drain=0.8) as one:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # once more changes nothing
        await asyncio.sleep(0.2)
        assert set(one.said) == {"told"} and await one.reached() and "data: done" in await one.call(0.1)
        await one.serving
        assert one.said[-1] == "over" and not await one.reached()


@pytest.mark.parametrize("ignored", [False, True])
async def test_closed_terminal_stops_the_server_unless_started_with_nohup(ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        async with house() as one:
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.5)
            assert (one.said == []) == ignored
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_ctrl_c_stops_without_the_drain_delay() -> None:
    async with house(drain=60) as one:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(one.serving, 10)


async def test_endless_call_is_cut_off_at_shutdown() -> None:
    async with house(grace=1) as one:
        call = asyncio.create_task(one.call(3600))
        await asyncio.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(one.serving, 10)
        with pytest.raises(httpx.TransportError):
            await call


ASKED = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
"""A whole request; cut after any byte it is an incomplete head."""


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def opened(one: House, *said: bytes) -> Line:
    """Return a connection on which these requests were sent, each after the response to the previous one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(one.base.rpartition(":")[2]))
    for part in said:
        writer.write(part)
        if part == ASKED:
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    return reader, writer


async def closed(line: Line) -> None:
    """Check that the other side closes the connection without sending more."""
    reader, writer = line
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    with suppress(ConnectionResetError):
        await writer.wait_closed()


@pytest.mark.parametrize("said", [(), (ASKED[:9],), (ASKED,), (ASKED, ASKED, ASKED[:9])])
async def test_connection_without_a_request_is_closed(said: tuple[bytes, ...]) -> None:
    async with house(idle=1) as one:
        line, began = await opened(one, *said), time.monotonic()
        await closed(line)
        assert time.monotonic() - began > 0.5, "it may be used again for a time"
        assert await one.reached()


async def test_slow_request_head_does_not_keep_a_connection() -> None:
    async with house(idle=1) as one:
        line, began = await opened(one), time.monotonic()
        for byte in ASKED[:20]:
            if line[0].at_eof():
                break
            line[1].write(bytes([byte]))
            await asyncio.sleep(0.3)
        await closed(line)
        assert time.monotonic() - began < 4


async def test_call_may_take_longer_than_the_idle_timeout() -> None:
    async with house(idle=1) as one:
        assert "data: done" in await one.call(2.0)


async def test_idle_connections_do_not_delay_shutdown() -> None:
    async with house() as one:
        kept = [await opened(one, *said) for said in [(), (ASKED[:9],), (ASKED,), (ASKED, ASKED[:9])] * 10]
        began = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.gather(*map(closed, kept))
        await one.serving
        assert time.monotonic() - began < 3


async def test_request_in_transit_at_shutdown_is_answered() -> None:
    """A proxy opens a connection per request, and cannot know whether a sent request was begun."""
    async with house() as one:
        lines = [await opened(one, *said) for said in [(), (ASKED[:9],)]]
        os.kill(os.getpid(), signal.SIGTERM)
        while "over" not in one.said:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert not await one.reached()
        for (reader, writer), rest in zip(lines, (ASKED, ASKED[9:]), strict=True):
            writer.write(rest)
            answer = await asyncio.wait_for(reader.read(), 5)
            assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"ok")
            writer.close()
        await one.serving


async def test_connection_in_the_backlog_at_shutdown_is_answered() -> None:
    came = list[socket.socket]()

    def come() -> None:
        """Between the server's last accept and its exit."""
        for _ in range(20):
            came.append(socket.create_connection(("127.0.0.1", port)))
            came[-1].sendall(ASKED)

    async with house(over=come) as one:
        port = int(one.base.rpartition(":")[2])
        os.kill(os.getpid(), signal.SIGTERM)
        await one.serving
    for who in came:
        with who:
            assert who.recv(4096).startswith(b"HTTP/1.1 200")
    assert len(came) == 20


def come(one: House, came: list[socket.socket], count: int = 20) -> None:
    """Open this many connections, with a request on each."""
    for _ in range(count):
        came.append(socket.create_connection(("127.0.0.1", int(one.base.rpartition(":")[2]))))
        came[-1].sendall(ASKED)


async def test_waiting_connections_are_accepted_when_descriptors_are_free() -> None:
    came, (soft, hard) = list[socket.socket](), resource.getrlimit(resource.RLIMIT_NOFILE)

    def few() -> None:
        come(one, came)
        os.close(free := os.dup(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 3, hard))

    try:
        async with house(over=lambda: few()) as one:
            call = asyncio.create_task(one.call(1.5))
            await asyncio.sleep(0.3)
            os.kill(os.getpid(), signal.SIGTERM)
            assert "data: done" in await call
            await one.serving
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for who in came:
        with who:
            assert who.recv(4096).startswith(b"HTTP/1.1 200")
    assert len(came) == 20


@pytest.mark.parametrize("fault", ["ECONNABORTED", "EINTR", "EPROTO"])
async def test_client_that_disconnected_in_the_backlog_blocks_nobody(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    came, accept, faults = list[socket.socket](), socket.socket.accept, [getattr(errno, fault)] * 3

    def accepted(door: socket.socket) -> object:
        if faults:
            raise OSError(faults.pop(), "gone")
        return accept(door)

    def ends() -> None:
        come(one, came, 5)
        monkeypatch.setattr(socket.socket, "accept", accepted)

    async with house(over=lambda: ends()) as one:
        os.kill(os.getpid(), signal.SIGTERM)
        await one.serving
    for who in came:
        with who:
            assert who.recv(4096).startswith(b"HTTP/1.1 200")
    assert len(came) == 5 and not faults


@pytest.mark.parametrize("fault", ["EMFILE", "ENOMEM", "EINVAL"])
async def test_shutdown_finishes_calls_when_no_connection_can_be_accepted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    def accepted(door: socket.socket) -> object:
        raise OSError(getattr(errno, fault), "nothing is left")

    monkeypatch.setattr(leaving, "DESCRIPTOR_TIMEOUT_SECONDS", 0.3)
    async with house(over=lambda: monkeypatch.setattr(socket.socket, "accept", accepted)) as one:
        call = asyncio.create_task(one.call(1.5))
        await asyncio.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)
        assert "data: done" in await call
        await asyncio.wait_for(one.serving, 5)
    assert "The server ends" in caplog.text
