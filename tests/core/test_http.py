"""Requests and responses, and what is known without a response: the same over both transports."""

from __future__ import annotations

import asyncio
import gc
import gzip
import logging
import os
import socket
import ssl
import struct
import sys
import threading
import time
import tracemalloc
import zlib
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deputize.core.errors import InvalidInput, ProviderUnavailable, SettingsError
from deputize.core.http import FastTransport, Http, LeanRequest, Transport
from tests.support.ports import free_port

TOKEN = "canary-token-alice"
HEADERS = [("authorization", f"Bearer {TOKEN}"), ("x-kind", "a")]
Answer = Callable[["Server", asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A loopback server that records every received byte, and answers as instructed."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.ended = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                length = next((int(h[15:]) for h in head.split("\r\n") if h.lower().startswith("content-length:")), 0)
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(length))
                await self.answer(self, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.ended.set()
        finally:
            writer.close()


@asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(answer)
    listener = await asyncio.start_server(server.talk, "127.0.0.1", 0, ssl=tls, limit=2**24)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()


def saying(body: bytes = b"ok", *headers: str, status: str = "200 OK", length: bool = True) -> Answer:
    lines = [f"HTTP/1.1 {status}", *headers, *([f"Content-Length: {len(body)}"] if length else [])]

    async def answer(_: Server, writer: asyncio.StreamWriter) -> None:
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    return answer


async def hanging_up(_: Server, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def resetting(_: Server, writer: asyncio.StreamWriter) -> None:
    line = writer.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def silent(server: Server, _: asyncio.StreamWriter) -> None:
    await server.ended.wait()


async def dripping(_: Server, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _i in range(1000):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


def plain_httpx() -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(trust_env=False)


@pytest.fixture(params=[FastTransport, plain_httpx], ids=["aiohttp", "httpx"])
async def http(request: pytest.FixtureRequest) -> AsyncIterator[Http]:
    http = Http(request.param)
    yield http
    await http.close()


@pytest.fixture(params=[httpx.Request, LeanRequest], ids=["parsed", "lean"])
def make(request: pytest.FixtureRequest) -> Callable[..., httpx.Request]:
    def made(method: str, url: str, content: bytes = b"") -> httpx.Request:
        kind: type[httpx.Request] = request.param
        return kind(method, url, headers=HEADERS, content=content)

    return made


async def failing(http: Http, request: httpx.Request, **limits: Any) -> ProviderUnavailable:
    with pytest.raises(ProviderUnavailable) as caught:
        await http.send(request, **limits)
    return caught.value


async def until(fact: Callable[[], bool]) -> None:
    for _ in range(1000):
        if fact():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it never came true")


# ------------------------------------------------------------------ what leaves


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_request_is_sent_as_written(http: Http, make: Callable[..., httpx.Request], method: str) -> None:
    async with serving(saying()) as server:
        await http.send(make(method, server.url + "/a/%2e%2e/x%2Fy?q=%27z&r=a%20b"))
    lines = server.heads[0].rstrip().split("\r\n")
    expected = {f"host: 127.0.0.1:{server.port}", f"authorization: bearer {TOKEN}", "x-kind: a"}
    if method in ("POST", "PUT", "PATCH"):
        expected.add("content-length: 0")
    assert lines[0] == f"{method} /a/%2e%2e/x%2Fy?q=%27z&r=a%20b HTTP/1.1"
    assert {line.lower() for line in lines[1:]} - {"content-length: 0"} == expected - {"content-length: 0"}
    assert {line.lower() for line in lines[1:]} >= expected


@pytest.mark.parametrize("size", [0, 1, 3 * 2**20])
async def test_body_of_any_size_arrives_complete(http: Http, make: Callable[..., httpx.Request], size: int) -> None:
    body = os.urandom(size)
    async with serving(saying()) as server:
        await http.send(make("POST", server.url, content=body))
    assert server.bodies == [body]


async def test_streamed_body_arrives_complete_also_when_resent(http: Http) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one,"
        yield b"two"

    async with serving(saying()) as server:
        request = httpx.Request("POST", server.url, headers={"content-length": "7"}, content=parts())
        await request.aread()
        await http.send(request)
        await http.send(request)
    assert server.bodies == [b"one,two"] * 2


async def test_body_of_unknown_length_is_sent_with_its_length() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one,"
        yield b"two"

    http = Http(FastTransport)
    async with serving(saying()) as server:
        request = httpx.Request("POST", server.url, content=parts())
        await http.send(request)
        await http.send(request)
        await http.close()
    assert server.bodies == [b"one,two"] * 2
    assert "transfer-encoding" not in server.heads[0].lower()


async def test_credentials_in_the_url_become_no_header(http: Http) -> None:
    async with serving(saying()) as server:
        await http.send(httpx.Request("GET", f"http://alice:secret@127.0.0.1:{server.port}/x"))
    assert server.heads[0].startswith("GET /x HTTP/1.1\r\n")
    assert "authorization" not in server.heads[0].lower()


async def test_line_break_in_a_header_is_never_sent(http: Http) -> None:
    async with serving(saying()) as server:
        request = httpx.Request("GET", server.url, headers={"x-name": "a\r\nx-evil: 1"})
        await failing(http, request)
        assert server.heads == []


async def test_proxies_and_credentials_of_the_environment_are_ignored(
    http: Http, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login alice password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with serving(saying()) as server:
        assert (await http.send(httpx.Request("GET", server.url))).content == b"ok"
    assert "authorization" not in server.heads[0].lower()


async def test_headers_set_on_a_lean_request_are_sent(http: Http) -> None:
    async with serving(saying()) as server:
        request = LeanRequest("POST", server.url, HEADERS, b"{}")
        request.headers["authorization"] = "Bearer other"
        await http.send(request)
    assert "bearer other" in server.heads[0].lower()
    assert TOKEN not in server.heads[0]
    assert server.bodies == [b"{}"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/relative",
        "ftp://example.test/",
        "https:///x",
        "https://alice@example.test/",
        "https://example.test\\@decoy.test/",
        "https://example.test/a b",
        "https://example.test/a\r\nx: y",
        "https://example.test/\x00",
        "https://example.test/ü",
        "https://exämple.test/",
        "https://example.test/#part",
        "https://example.test:99999999/",
        "HTTPS://example.test/\n",
    ],
)
def test_lean_request_refuses_an_ambiguous_url(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        LeanRequest("GET", url)
    assert caught.value.fix_by == "operator"
    assert not url or url not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "netloc"),
    [
        ("https://api.example.test", "api.example.test"),
        ("https://API.example.test/x//evil.test", "api.example.test"),
        ("http://127.0.0.1:81?next=https://evil.test/@a", "127.0.0.1:81"),
        ("http://[::1]:81/x", "[::1]:81"),
    ],
)
def test_lean_request_has_the_host_every_parser_sees(url: str, netloc: str) -> None:
    request = LeanRequest("GET", url)
    assert (request.scheme, request.netloc) == (url[: url.index(":")], netloc)
    assert request.url.netloc.decode() == netloc


# ------------------------------------------------------------------ what comes back


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "401 Unauthorized", "429 Slow", "503 Away"])
async def test_answer_of_any_status_is_returned_unchanged(http: Http, status: str) -> None:
    location = "Location: http://127.0.0.1:1/elsewhere"
    async with serving(saying(b'{"a":1}', "X-One: 1", "X-One: 2", location, status=status)) as server:
        answer = await http.send(httpx.Request("GET", server.url))
    assert (answer.status_code, answer.json(), answer.text) == (int(status[:3]), {"a": 1}, '{"a":1}')
    assert answer.headers.get_list("x-one") == ["1", "2"]
    assert await answer.aread() == answer.read() == b'{"a":1}'
    assert len(server.heads) == 1


READ = httpx.MockTransport(lambda request: httpx.Response(200, content=b"ok", request=request))
UNREAD = httpx.MockTransport(lambda request: httpx.Response(200, stream=httpx.ByteStream(b"ok"), request=request))


@pytest.mark.parametrize("transport", [FastTransport, plain_httpx, READ, UNREAD])
async def test_response_does_not_know_its_request(transport: Transport) -> None:
    http = Http(transport)
    async with serving(saying()) as server:
        answer = await http.send(httpx.Request("GET", server.url, headers=HEADERS))
        await http.close()
    assert answer.content == b"ok"
    assert TOKEN not in repr(vars(answer))
    with pytest.raises(RuntimeError, match="has not been set"):
        _ = answer.request


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b"plain " * 50)),
        ("x-gzip", gzip.compress(b"plain " * 50)),
        ("GZIP", gzip.compress(b"plain " * 50)),
        ("deflate", zlib.compress(b"plain " * 50)),
        ("deflate", zlib.compress(b"plain " * 50, wbits=-15)),
        ("identity", b"plain " * 50),
    ],
    ids=["gzip", "x-gzip", "upper case", "zlib", "raw deflate", "identity"],
)
async def test_content_encoding_is_decoded(http: Http, coding: str, body: bytes) -> None:
    async with serving(saying(body, f"Content-Encoding: {coding}", "X-Other: kept")) as server:
        answer = await http.send(httpx.Request("GET", server.url))
    assert answer.content == await answer.aread() == b"plain " * 50
    assert "content-encoding" not in answer.headers
    assert answer.headers["x-other"] == "kept"


async def test_decoded_mock_answer_is_not_decoded_again() -> None:
    packed = gzip.compress(b"plain")
    mock = httpx.MockTransport(lambda _: httpx.Response(200, content=packed, headers={"content-encoding": "gzip"}))
    answer = await Http(mock).send(httpx.Request("GET", "https://api.example.test"))
    assert (answer.content, answer.read()) == (b"plain", b"plain")


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"not gzip at all"),
        ("gzip", gzip.compress(b"plain")[:-6]),
        ("deflate", b"\x78\x9cbroken"),
        ("br", b"who asked"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"plain"))),
    ],
    ids=["no gzip", "cut off", "no deflate", "unknown coding", "twice"],
)
async def test_undecodable_body_counts_as_sent(http: Http, coding: str, body: bytes) -> None:
    async with serving(saying(body, f"Content-Encoding: {coding}")) as server:
        error = await failing(http, httpx.Request("POST", server.url))
    assert error.sent
    assert "unusable" in str(error)


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Same")])
async def test_answer_without_body_is_not_decoded(http: Http, method: str, status: str) -> None:
    async with serving(saying(b"", "Content-Encoding: gzip", status=status, length=False)) as server:
        answer = await http.send(httpx.Request(method, server.url))
    assert (answer.status_code, answer.content) == (int(status[:3]), b"")


async def test_compression_bomb_is_refused_before_it_fills_memory(http: Http) -> None:
    bomb = gzip.compress(bytes(64 * 2**20), compresslevel=1)
    async with serving(saying(bomb, "Content-Encoding: gzip")) as server:
        await http.send(httpx.Request("GET", server.url), max_bytes=65 * 2**20)
        tracemalloc.start()
        error = await failing(http, httpx.Request("GET", server.url), max_bytes=2**20)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert error.sent
    assert len(bomb) < 2**20
    assert peak < 8 * 2**20


async def test_byte_limit_is_exact(http: Http) -> None:
    async with serving(saying(bytes(1000))) as server:
        assert len((await http.send(httpx.Request("GET", server.url), max_bytes=1000)).content) == 1000
        error = await failing(http, httpx.Request("GET", server.url), max_bytes=999)
    assert (error.sent, "999" in str(error)) == (True, True)


async def test_endless_body_is_cut_and_its_connection_closed(http: Http) -> None:
    written = 0

    async def endless(_: Server, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _i in range(1000):
            writer.write(bytes(2**16))
            await writer.drain()
            written += 2**16

    async with serving(endless) as server:
        error = await failing(http, httpx.Request("GET", server.url), max_bytes=2**18)
        await asyncio.wait_for(server.ended.wait(), 5)
    assert error.sent
    assert written < 2**24  # what the sockets hold, and not all of it


async def test_long_headers_are_accepted(http: Http) -> None:
    async with serving(saying(b"ok", "X-Long: " + "x" * 30_000)) as server:
        answer = await http.send(httpx.Request("GET", server.url))
    assert len(answer.headers["x-long"]) == 30_000


async def test_cookie_of_one_user_is_not_sent_with_the_next_call(http: Http) -> None:
    async with serving(saying(b"ok", "Set-Cookie: session=alice; Path=/")) as server:
        by_name = f"http://localhost:{server.port}/"
        first = await http.send(httpx.Request("GET", by_name))
        await http.send(httpx.Request("GET", by_name))
    assert first.headers["set-cookie"].startswith("session=alice")
    assert len(server.heads) == 2
    assert not any("cookie" in head.lower() for head in server.heads)


async def test_connections_are_reused_and_many_calls_run_concurrently(http: Http) -> None:
    async with serving(saying()) as server:
        for _ in range(5):
            await http.send(httpx.Request("GET", server.url))
        assert server.connections == 1
        answers = await asyncio.gather(*(http.send(httpx.Request("GET", server.url)) for _ in range(60)))
    assert {a.content for a in answers} == {b"ok"}
    assert server.connections <= 60


# ------------------------------------------------------------------ what is known when nothing comes back


@pytest.mark.parametrize("end", [hanging_up, resetting])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("used_before", [False, True], ids=["fresh", "reused"])
async def test_D9_connection_lost_after_sending_counts_as_sent_and_is_sent_once(
    http: Http, end: Answer, method: str, used_before: bool
) -> None:
    async with serving(saying()) as server:
        if used_before:
            await http.send(httpx.Request("GET", server.url))
        server.answer = end
        error = await failing(http, httpx.Request(method, server.url, headers=HEADERS))
        await asyncio.sleep(0.01)
    assert error.sent
    assert [head.split()[0] for head in server.heads] == ["GET"] * used_before + [method]
    assert server.connections == 1


async def test_D9_refused_connection_counts_as_unsent(http: Http) -> None:
    error = await failing(http, httpx.Request("POST", f"http://127.0.0.1:{free_port()}/x?q=private"))
    assert not error.sent
    assert "127.0.0.1" in str(error)
    assert "private" not in str(error)


async def test_D9_unknown_host_counts_as_unsent(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert not (await failing(http, httpx.Request("POST", "http://api.example.test/"))).sent


async def test_D9_connect_timeout_counts_as_unsent(http: Http) -> None:
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for waiting in (first, second):  # the queue is full now; further ones get no answer
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        error = await failing(http, httpx.Request("POST", f"http://127.0.0.1:{deaf.getsockname()[1]}"), timeout=1.0)
    assert not error.sent  # it is, where the whole time had been over


async def test_D9_full_pool_counts_as_unsent(http: Http) -> None:
    async with serving(silent) as server:
        others = [asyncio.create_task(http.send(httpx.Request("GET", server.url))) for _ in range(100)]
        await until(lambda: len(server.heads) == 100)
        error = await failing(http, httpx.Request("POST", server.url), timeout=0.5)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        server.ended.set()
    assert not error.sent
    assert len(server.heads) == 100


@pytest.mark.parametrize("answer", [silent, dripping])
async def test_D6_read_timeout_counts_as_sent(http: Http, answer: Answer) -> None:
    async with serving(answer) as server:
        began = time.monotonic()
        error = await failing(http, httpx.Request("GET", server.url), timeout=2.0)  # 0.8 of it to connect
        assert 1.9 < time.monotonic() - began < 30
        server.ended.set()
    assert error.sent
    assert "2 seconds" in str(error)


@pytest.mark.parametrize("ends", ["breaks off", "too late"])
@pytest.mark.parametrize("cut", [True, False], ids=["cut", "whole"])
@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
async def test_events_before_a_broken_stream_are_returned(http: Http, ends: str, cut: bool, kind: str) -> None:
    async def breaking(server: Server, writer: asyncio.StreamWriter) -> None:
        for part in (f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 99\r\n\r\ndata: 1\n\n", "data: 2"):
            writer.write(part.encode())
            await writer.drain()
            await asyncio.sleep(0.02)
        if ends == "too late":
            await server.ended.wait()
        writer.close()

    async with serving(breaking) as server:
        sending = http.send(httpx.Request("GET", server.url), cut=cut, timeout=0.3)
        if cut and kind == "text/event-stream":
            answer = await sending
            assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
            assert answer.content == b"data: 1\n\ndata: 2"
        else:
            with pytest.raises(ProviderUnavailable):
                await sending
        server.ended.set()


@pytest.mark.parametrize(
    "reply", [b"not http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", b""]
)
async def test_D9_reply_that_is_not_http_counts_as_sent(http: Http, reply: bytes) -> None:
    async def answer(_: Server, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        writer.close()

    async with serving(answer) as server:
        assert (await failing(http, httpx.Request("GET", server.url))).sent


async def test_unknown_scheme_counts_as_unsent(http: Http) -> None:
    assert not (await failing(http, httpx.Request("GET", "gopher://api.example.test/"))).sent


@pytest.mark.parametrize("fault", [ValueError("x"), RuntimeError("x"), OSError("x"), httpx.ReadError("x")])
async def test_any_transport_exception_counts_as_sent(fault: Exception) -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        raise fault

    assert (await failing(Http(httpx.MockTransport(broken)), httpx.Request("GET", "https://api.example.test"))).sent


async def test_synchronous_stream_is_a_transport_error() -> None:
    mock = httpx.MockTransport(lambda _: httpx.Response(200, content=iter([b"a"])))
    assert (await failing(Http(mock), httpx.Request("GET", "https://api.example.test"))).sent


async def test_deputize_errors_from_a_transport_are_not_wrapped() -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        raise SettingsError("no")

    with pytest.raises(SettingsError):
        await Http(httpx.MockTransport(broken)).send(httpx.Request("GET", "https://api.example.test"))


async def test_L4_transport_error_holds_nothing_of_the_request(http: Http) -> None:
    async with serving(hanging_up) as server:
        error = await failing(http, httpx.Request("GET", f"{server.url}/?q=private", headers=HEADERS))
    assert error.__cause__ is None
    assert error.__context__ is None
    assert set(vars(error)) - {"__notes__"} == {"message", "hint", "sent", "reason"}
    assert getattr(error, "__notes__", []) == [error.hint]
    assert TOKEN not in repr(vars(error))
    assert "private" not in repr(vars(error))


async def test_cancelled_caller_leaves_no_frame_with_headers(http: Http) -> None:
    async with serving(silent) as server:
        task = asyncio.create_task(http.send(httpx.Request("GET", server.url, headers=HEADERS)))
        await until(lambda: bool(server.heads))
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        server.ended.set()
    assert caught.traceback[-1].name == "send"
    assert task.cancelled()


async def test_log_lines_show_no_url_or_token(http: Http, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(saying()) as server:
        await http.send(httpx.Request("GET", f"{server.url}/?q=private", headers=HEADERS))
        server.answer = hanging_up
        await failing(http, httpx.Request("GET", f"{server.url}/?q=private", headers=HEADERS))
    assert not [r for r in caplog.records if r.name == "httpx"]
    assert "private" not in caplog.text
    assert TOKEN not in caplog.text


# ------------------------------------------------------------------ idle connections, TLS


class Elsewhere:
    """A server on its own loop that closes a connection after its first response, while the test's loop is busy."""

    def __init__(self) -> None:
        self.methods: list[bytes] = []
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)
        self._up.set()
        await self._stop.wait()
        server.close()
        await asyncio.sleep(0.05)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.methods.append((await reader.readuntil(b"\r\n\r\n")).split()[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()

    def __enter__(self) -> Elsewhere:
        self._thread.start()
        self._up.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)


async def test_write_does_not_use_an_idle_connection_closed_meanwhile(http: Http) -> None:
    with Elsewhere() as server:
        url = f"http://127.0.0.1:{server.port}/"
        await asyncio.gather(*(http.send(httpx.Request("GET", url)) for _ in range(5)))
        time.sleep(0.3)  # noqa: ASYNC251 - the loop must not see them close
        answer = await http.send(httpx.Request("POST", url))
    assert answer.content == b"ok"
    assert server.methods == [b"GET"] * 5 + [b"POST"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def served_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("kind", ["aiohttp", "httpx"])
async def test_trusted_tls_connection_is_reused(kind: str, certificate: Path, served_tls: ssl.SSLContext) -> None:
    trust = ssl.create_default_context(cafile=str(certificate))
    http = Http(lambda: FastTransport(trust) if kind == "aiohttp" else httpx.AsyncHTTPTransport(verify=trust))
    async with serving(saying(), served_tls) as server:
        for _ in range(3):
            assert (await http.send(httpx.Request("POST", f"https://127.0.0.1:{server.port}/"))).content == b"ok"
        await http.close()
        await asyncio.wait_for(server.ended.wait(), 5)
    assert server.connections == 1


async def test_D9_untrusted_certificate_counts_as_unsent(http: Http, served_tls: ssl.SSLContext) -> None:
    async with serving(saying(), served_tls) as server:
        error = await failing(http, httpx.Request("POST", f"https://127.0.0.1:{server.port}/", headers=HEADERS))
    assert not error.sent
    assert server.heads == []


# ------------------------------------------------------------------ loops


class Counted(httpx.MockTransport):
    def __init__(self) -> None:
        super().__init__(lambda _: httpx.Response(200, content=b"ok"))
        self.closed_on: list[asyncio.AbstractEventLoop] = []

    async def aclose(self) -> None:
        self.closed_on.append(asyncio.get_running_loop())


@pytest.fixture
def made() -> list[Counted]:
    return []


@pytest.fixture
def counting(made: list[Counted]) -> Callable[[], Counted]:
    def make() -> Counted:
        made.append(Counted())
        return made[-1]

    return make


async def ask(http: Http, times: int = 1) -> asyncio.AbstractEventLoop:
    for _ in range(times):
        await http.send(httpx.Request("GET", "https://api.example.test"))
    return asyncio.get_running_loop()


def test_factory_creates_and_closes_one_transport_per_loop(
    counting: Callable[[], Counted], made: list[Counted]
) -> None:
    http = Http(counting)
    loops = [asyncio.run(ask(http, 3)) for _ in range(2)]
    assert [transport.closed_on for transport in made] == [[loops[0]], [loops[1]]]


async def test_transport_instance_is_shared_by_every_loop() -> None:
    shared = Counted()
    http = Http(shared)
    await ask(http)
    await asyncio.to_thread(lambda: asyncio.run(ask(http)))
    assert shared.closed_on == []
    await http.close()
    assert len(shared.closed_on) == 1


async def test_close_closes_the_running_loops_transport(counting: Callable[[], Counted], made: list[Counted]) -> None:
    http = Http(counting)
    loop = await ask(http)
    await http.close()
    await http.close()
    await ask(http)
    assert [transport.closed_on for transport in made] == [[loop], []]
    await http.close()


async def test_close_closes_transports_of_ended_loops(counting: Callable[[], Counted], made: list[Counted]) -> None:
    http = Http(counting)

    def abrupt() -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(ask(http))
        loop.close()
        return loop

    kept = await asyncio.to_thread(abrupt)
    assert (kept.is_closed(), made[0].closed_on) == (True, [])
    await http.close()
    assert len(made[0].closed_on) == 1


async def test_garbage_collected_http_closes_its_transport(
    counting: Callable[[], Counted], made: list[Counted]
) -> None:
    http = Http(counting)
    await ask(http)
    del http
    gc.collect()
    await asyncio.sleep(0.01)
    assert len(made[0].closed_on) == 1


async def test_loops_in_many_threads_share_one_http(http: Http) -> None:
    async def several(url: str) -> list[bytes]:
        answers = await asyncio.gather(*(http.send(httpx.Request("GET", url)) for _ in range(10)))
        return [answer.content for answer in answers]

    async with serving(saying()) as server:
        works = [asyncio.to_thread(lambda: asyncio.run(several(server.url))) for _ in range(4)]
        assert await asyncio.gather(*works, several(server.url)) == [[b"ok"] * 10] * 5


TWO_RUNS = """
import asyncio, gc, sys
import httpx
from deputize.core.http import FastTransport, Http

async def main(http):
    answers = await asyncio.gather(*(http.send(httpx.Request("GET", sys.argv[2])) for _ in range(3)))
    return [a.content for a in answers]

http = Http({"fast": FastTransport, "plain": httpx.AsyncHTTPTransport, "default": None}[sys.argv[1]])
before = "aiohttp" in sys.modules
assert asyncio.run(main(http)) == [b"ok"] * 3
assert asyncio.run(main(http)) == [b"ok"] * 3
del http
gc.collect()
print(before, "aiohttp" in sys.modules)
"""


@pytest.mark.processes
@pytest.mark.parametrize(("kind", "loads"), [("fast", True), ("plain", False), ("default", True)])
async def test_repeated_runs_leave_nothing_open(kind: str, loads: bool) -> None:
    async with serving(saying()) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", TWO_RUNS, kind, server.url, stdout=PIPE, stderr=PIPE
        )
        said, complained = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, said.split(), complained) == (0, [b"False", str(loads).encode()], b"")


# ------------------------------------------------------------------ with and without aiohttp


@pytest.fixture
def without_aiohttp(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    yield


async def test_httpx_is_used_without_aiohttp(without_aiohttp: None) -> None:
    with pytest.raises(ImportError):
        FastTransport()
    http = Http()
    async with serving(saying()) as server:
        assert (await http.send(httpx.Request("GET", server.url))).content == b"ok"
        await http.close()


async def test_aiohttp_version_that_may_send_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import aiohttp

    made = aiohttp.ClientSession.__init__

    def without_switch(self: aiohttp.ClientSession, *given: Any, **named: Any) -> None:
        made(self, *given, **named)
        del self._retry_connection

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", without_switch)
    with pytest.raises(SettingsError, match="aiohttp"):
        await Http(FastTransport).send(httpx.Request("GET", "http://127.0.0.1:1"))
    gc.collect()


async def test_fast_transport_works_in_an_httpx_client() -> None:
    async with serving(saying(gzip.compress(b"plain"), "Content-Encoding: gzip")) as server:
        async with httpx.AsyncClient(transport=FastTransport()) as client:
            assert (await client.get(server.url)).text == "plain"
            server.answer = hanging_up
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(server.url)
            with pytest.raises(httpx.LocalProtocolError):
                await client.get(server.url, headers={"x-name": "a\nb"})
        with pytest.raises(httpx.ConnectError):
            async with httpx.AsyncClient(transport=FastTransport()) as client:
                await client.get(f"http://127.0.0.1:{free_port()}")
