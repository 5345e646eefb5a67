"""A web server inside a program: reachable from this machine only, silent, and closed when it should be."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from deputize.core.background_loop import Portal
from deputize.core.errors import SettingsError
from deputize.core.http import Http
from deputize.core.web.local.server import require_host, serve

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


async def greeting(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})


async def get(url: str, **headers: str) -> httpx.Response:
    http = Http()
    try:
        return await http.send(httpx.Request("GET", url, headers=headers), timeout=5)
    finally:
        await http.close()


def listens(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        return sock.connect_ex((host, port)) == 0


async def begun(context: AbstractAsyncContextManager[str]) -> str:
    async with context as url:
        return url


# ------------------------------------------------------------------ serving


async def test_application_is_served_and_its_port_is_freed_immediately() -> None:
    http = Http()
    async with serve(greeting) as url:
        answer = await http.send(httpx.Request("GET", url + "/any?code=x"))
        port = httpx.URL(url).port or 0
        assert url == f"http://127.0.0.1:{port}"
    assert answer.content == b"hello"
    assert "server" not in answer.headers
    assert not listens(port)
    async with serve(greeting, port) as again:  # though the server ended the connection
        assert again == url
        assert (await http.send(httpx.Request("GET", again))).content == b"hello"
    await http.close()


async def test_local_server_listens_on_one_address_only() -> None:
    async with serve(greeting) as url:
        port = httpx.URL(url).port or 0
        assert listens(port)
        assert not listens(port, "127.0.0.2")


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_local_server_supports_ipv6_loopback() -> None:
    async with serve(greeting, host="::1") as url:
        assert url.startswith("http://[::1]:")
        assert (await get(url)).content == b"hello"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "localhost", "", "127.0.0.2"])  # noqa: S104
async def test_local_server_refuses_other_addresses(host: str) -> None:
    with pytest.raises(SettingsError) as caught:
        await begun(serve(greeting, host=host))
    assert "127.0.0.1" in caught.value.hint


async def test_taken_port_error_names_port_and_setting() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SettingsError) as caught:
            await begun(serve(greeting, port))
    assert str(port) in str(caught.value)
    assert "taken" in str(caught.value)
    assert "DEPUTIZE_PORT" in caught.value.hint


@pytest.mark.parametrize(("fault", "says"), [(errno.EADDRINUSE, "taken"), (errno.EACCES, "denied")])
async def test_port_taken_at_the_last_moment_is_named(monkeypatch: pytest.MonkeyPatch, fault: int, says: str) -> None:
    def late(*_: object) -> None:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(socket.socket, "listen", late)
    with pytest.raises(SettingsError, match=says):
        await begun(serve(greeting))


async def test_application_that_fails_to_start_is_reported() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with pytest.raises(SettingsError, match="did not start"):
        await begun(serve(broken))


async def test_missing_uvicorn_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SettingsError) as caught:
        await begun(serve(greeting))
    assert 'pip install "deputize[web]"' in caught.value.hint


async def test_local_server_keeps_the_programs_signals_and_tasks() -> None:
    before, tasks = signal.getsignal(signal.SIGINT), asyncio.all_tasks()
    async with serve(greeting) as url:
        await get(url)
        assert signal.getsignal(signal.SIGINT) is before
    assert signal.getsignal(signal.SIGINT) is before
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks


async def test_log_lines_show_no_callback_content(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serve(greeting) as url:
        await get(url + "/callback/google?code=canary-code&state=canary-state")
    assert "canary" not in caplog.text


@pytest.mark.processes
async def test_endless_request_does_not_delay_shutdown() -> None:
    asked = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked.set()
            await asyncio.sleep(60)

    async with serve(endless) as url:
        waiting = asyncio.create_task(get(url))
        await asyncio.wait_for(asked.wait(), 5)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_cancelled_program_stops_its_server() -> None:
    up: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def program() -> None:
        async with serve(greeting) as url:
            up.set_result(url)
            await asyncio.Event().wait()

    task = asyncio.create_task(program())
    port = httpx.URL(await up).port or 0
    assert listens(port)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not listens(port)


@pytest.fixture
def door() -> Iterator[Portal]:
    door = Portal()
    yield door
    door.close()


async def test_server_on_the_background_loop_answers_while_the_callers_loop_blocks(door: Portal) -> None:
    url = await door.enter(serve(greeting))
    answer = door.run(get(url))  # blocks this loop
    assert answer.content == b"hello"
    await asyncio.to_thread(door.close)
    assert not listens(httpx.URL(url).port or 0)


# ------------------------------------------------------------------ whose name is asked for


async def asked(app: ASGIApp, *hosts: bytes, kind: str = "http") -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await app({"type": kind, "headers": [(b"accept", b"*/*"), *((b"host", h) for h in hosts)]}, receive, send)
    return sent


OURS = require_host(greeting, ["127.0.0.1:8736", "localhost", "[::1]:8736", "Deputy.example.test"])


@pytest.mark.parametrize(
    "host",
    [
        b"127.0.0.1:8736",
        b"localhost",
        b"LOCALHOST:1",
        b"[::1]:8736",
        b"deputy.example.test",
        b"deputy.example.test:443",
    ],
)
async def test_request_for_our_host_name_passes(host: bytes) -> None:
    sent = await asked(OURS, host)
    assert [m["type"] for m in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 200


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        (b"",),
        (b"evil.example.test",),
        (b"evil.example.test:8736",),
        (b"127.0.0.1",),
        (b"127.0.0.1:8737",),
        (b"127.0.0.1:8736.evil.example.test",),
        (b"localhost:evil.example.test",),
        (b"localhost:",),
        (b"localhost.evil.example.test",),
        (b"localhost@evil.example.test",),
        (b"::1",),
        (b"localhost", b"evil.example.test"),
        (b"localhost", b"localhost"),
        (b"l\xf6calhost",),
    ],
)
async def test_request_for_another_host_name_is_status_400(hosts: tuple[bytes, ...]) -> None:
    sent = await asked(OURS, *hosts)
    assert [m["type"] for m in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 400


async def test_websocket_for_another_host_is_closed_and_lifespan_passes() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    guarded = require_host(app, ["localhost"])
    assert await asked(guarded, b"evil.example.test", kind="websocket") == [{"type": "websocket.close", "code": 1008}]
    await guarded({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    await asked(guarded, b"localhost", kind="websocket")
    assert seen == ["lifespan", "websocket"]


async def test_rebound_host_name_is_refused_over_the_network() -> None:
    async with serve(require_host(greeting, ["127.0.0.1"])) as url:
        assert (await get(url)).status_code == 200
        refused = await get(url, host="evil.example.test")
    assert refused.status_code == 400
    assert b"evil" not in refused.content
