"""A stream that ends before its response is resumed: bounded, at its own server, for this response only."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import pytest

from deputize.core import Call, OutcomeUnknown, ProviderUnavailable, allow_all
from deputize.core.acts import sse_resume as resuming
from deputize.core.acts.sse_resume import Stopped, UntilResponse, can_resume, find_stop, resume_stream
from tests.support.foreign_mcp import LEGACY, MODERN, TOKEN, Foreign, definition, foreign_deputy, text

SEND = definition("send")
STREAM = {"content-type": "text/event-stream"}


def event(number: int | str, message: Mapping[str, Any] | None = None) -> str:
    return f"id: {number}\ndata: {json.dumps(message) if message else ''}\n\n"


def done(asked: Any, words: str = "did it") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": asked, "result": text(words)}


class Streams(httpx.AsyncBaseTransport):
    """A server whose call ends its stream after one event. ``rest``: the response to each GET for the rest."""

    def __init__(self, rest: Callable[[Any], httpx.Response], era: str = LEGACY) -> None:
        self.foreign, self.rest, self.gets = Foreign([SEND], era=era), rest, list[httpx.Request]()
        self.foreign.reply = self.cut
        self.asked: Any = None

    def cut(self, params: Mapping[str, Any], request: httpx.Request) -> httpx.Response:
        self.foreign.calls.append(params)
        self.asked = json.loads(request.content)["id"]
        return httpx.Response(200, headers=STREAM, content=f"retry: 20\n{event('e1')}".encode())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            self.gets.append(request)
            return self.rest(self.asked)
        return await self.foreign.handle_async_request(request)


def stream(*events: str) -> httpx.Response:
    return httpx.Response(200, headers=STREAM, content="".join(events).encode())


async def sending(server: Streams) -> Any:
    async with foreign_deputy(server.foreign, policy=allow_all, through=server) as deputy:
        return await deputy.act("other_send", {"to": "bob"}, user="alice", call=Call("t", "m", "1"))


async def test_interrupted_answer_is_resumed_in_its_session_and_the_call_is_done_once() -> None:
    server = Streams(lambda asked: stream(event("e2"), event("e3", done(asked))))
    assert (await sending(server))["text"] == "did it"
    (get,) = server.gets
    assert get.headers["last-event-id"] == "e1" and get.headers["mcp-session-id"] in server.foreign.sessions
    assert get.headers["accept"] == "text/event-stream" and get.headers["authorization"] == f"Bearer {TOKEN}"
    assert get.headers["mcp-protocol-version"] == LEGACY and len(server.foreign.calls) == 1


class BrokenStream(httpx.AsyncByteStream):
    """An event, and then a lost connection."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield event("e5").encode()
        raise httpx.ReadError("lost")


async def test_each_resume_continues_after_the_last_event() -> None:
    broken = httpx.Response(200, headers=STREAM, stream=BrokenStream())
    answers = iter(
        [stream(event("e2")), stream("id: e3\ndata: half"), stream(event("e4")), broken, stream(event("e6"))]
    )
    server = Streams(lambda asked: next(answers, None) or stream(event("e7", done(asked))))
    assert (await sending(server))["text"] == "did it", "the last try counts"
    assert [get.headers["last-event-id"] for get in server.gets] == ["e1", "e2", "e2", "e4", "e5", "e6"]
    assert len(server.gets) == resuming.MAX_RESUMES


@pytest.mark.parametrize(
    "rest",
    [
        lambda asked: stream(event("e2", done(asked + 1, "somebody else's"))),
        lambda asked: stream(event("e2", done(str(asked), "somebody else's"))),
        lambda asked: stream(event("e2", done(1, "somebody else's"))),  # the first one of another session, say
        lambda asked: stream(event("e2", {"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "no"}})),
        lambda asked: httpx.Response(405),
        lambda asked: httpx.Response(404),
        lambda asked: httpx.Response(401),
        lambda asked: httpx.Response(302, headers={"location": "https://evil.example/"}),
        lambda asked: httpx.Response(200, json=done(asked)),  # no stream
        lambda asked: stream(),
    ],
)
async def test_failed_resume_is_unknown_and_never_resent(rest: Callable[[Any], httpx.Response]) -> None:
    server = Streams(rest)
    with pytest.raises(OutcomeUnknown) as unknown:
        await sending(server)
    assert len(server.foreign.calls) == 1 and 1 <= len(server.gets) <= resuming.MAX_RESUMES
    assert "somebody else's" not in str(unknown.value)
    assert {get.url.host for get in server.gets} == {"mcp.other.example"}


async def test_modern_protocol_does_not_resume() -> None:
    server = Streams(lambda asked: stream(event("e2", done(asked))), era=MODERN)
    with pytest.raises(OutcomeUnknown):
        await sending(server)
    assert not server.gets


async def test_request_ids_differ_between_sessions() -> None:
    numbers = set()
    for _ in range(3):
        server = Streams(lambda asked: stream(event("e2", done(asked))))
        await sending(server)
        numbers.add(server.asked)
    assert len(numbers) == 3


@pytest.mark.parametrize(
    ("body", "stopped"),
    [
        (b"id: 7\ndata: {}\n\n", Stopped("7", 0.5)),
        (b"id: 7\r\ndata: {}\r\n\r\nid: 8\r\ndata: ", Stopped("7", 0.5)),
        (b"id: 7\ndata:\n\n: ping\n\ndata: {}\n\n", Stopped("7", 0.5)),
        (b"retry: 250\nid: 7\ndata:\n\n", Stopped("7", 0.25)),
        (b"retry: 9999999\nid: 7\ndata:\n\n", Stopped("7", 5.0)),
        (b"retry: -1\nid: 7\ndata:\n\n", Stopped("7", 0.5)),
        (b"id: 7\ndata: {}\n\nid:\ndata: {}\n\n", Stopped("", 0.5)),  # the server takes its id back
        (b"id: a\0b\ndata: {}\n\n", Stopped("", 0.5)),
        (b"id: \xc3\xa9\ndata: {}\n\n", Stopped("", 0.5)),
        (b"id: " + b"x" * 2000 + b"\ndata: {}\n\n", Stopped("", 0.5)),
        (b"data: {}\n\n", Stopped("", 0.5)),
        (b"id: 7", Stopped("", 0.5)),
        (b"", Stopped("", 0.5)),
    ],
)
def test_find_stop_returns_the_last_event_id(body: bytes, stopped: Stopped) -> None:
    assert find_stop(body) == stopped


@pytest.mark.parametrize("gap", ["\n\n", "\r\n\r\n", "\r\r"])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_stream_is_read_until_the_response_is_complete(gap: str, size: int) -> None:
    line = gap[: len(gap) // 2]
    parts = [f"id: 1{line}data: {{}}", f"id: 2{line}data: {json.dumps(done(5))}", f"data: {json.dumps(done(6))}", ""]
    body, heard = gap.join(parts).encode(), UntilResponse(6)
    told = [heard(body[at : at + size]) for at in range(0, len(body), size)]
    assert told[-1] and not any(told[:-1])
    assert not UntilResponse(7)(body)


async def test_resumes_are_limited_in_number_with_pauses() -> None:
    pauses, asked = list[float](), list[str]()

    async def fetch(last: str, seconds: float) -> httpx.Response:
        asked.append(last)
        raise ProviderUnavailable("gone", sent=True)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    first = stream(f"retry: 2000\n{event(7)}")
    assert can_resume(first, 1) and await resume_stream(first, 1, fetch, sleep) is first
    assert asked == ["7"] * resuming.MAX_RESUMES and pauses == [2.0] * resuming.MAX_RESUMES
    assert not can_resume(stream(event(7, done(1))), 1)
    for status, headers in ((500, STREAM), (200, {"content-type": "text/plain"})):
        assert not can_resume(httpx.Response(status, headers=headers, content=event(7).encode()), 1)


async def test_resumes_are_limited_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "RESUME_TIMEOUT_SECONDS", -1.0)

    async def fetch(last: str, seconds: float) -> httpx.Response:
        raise AssertionError("too late")

    async def sleep(seconds: float) -> None:
        """At once."""

    first = stream(event(7))
    assert await resume_stream(first, 1, fetch, sleep) is first
