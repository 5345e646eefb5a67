"""Response streams of the SDK's server that are cut in transit, and resumed where they ended, if events have ids."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from deputize.core import Call, Deputy, OutcomeUnknown, allow_all
from deputize.core.mcp_client import protocol
from tests.counterparts.test_foreign_servers import act, deputy_at, running

pytestmark = pytest.mark.counterpart


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running("sdk --events") as address:
        yield address


@pytest.fixture(autouse=True)
def legacy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the 2025-11-25 protocol, whose streams can be resumed."""
    monkeypatch.setattr(protocol.Link, "open", lambda link: link._initialize())


class _Cut(httpx.AsyncByteStream):
    """A body that breaks off after its first part, or before it."""

    def __init__(self, inner: Any, before: bool) -> None:
        self.inner, self.before = inner, before

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self.inner:
            if not self.before:
                yield part
            raise httpx.ReadError("cut")

    async def aclose(self) -> None:
        await self.inner.aclose()


class CutLine(httpx.AsyncBaseTransport):
    """A network on which responses to tool calls break off, and as many of the GETs after them.

    ``before``: before any part arrived.
    """

    def __init__(self, gets: int = 0, *, before: bool = False) -> None:
        self.wire, self.asked = httpx.AsyncHTTPTransport(trust_env=False), list[httpx.Request]()
        self.gets, self.before = gets, before

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self.wire.handle_async_request(request)
        get, call = request.method == "GET", b'"tools/call"' in request.content
        self.asked += [request] if get or call else []
        if call or (get and sum(one.method == "GET" for one in self.asked) <= self.gets):
            return httpx.Response(answer.status_code, headers=answer.headers, stream=_Cut(answer.stream, self.before))
        return answer

    async def aclose(self) -> None:
        await self.wire.aclose()


async def sent(deputy: Deputy, number: str) -> str:
    return str((await act(deputy, "sent", number))["data"]["id"])


@pytest.mark.parametrize("tool", ["send", "drop", "hold", "look"])
async def test_answer_of_a_cut_stream_is_fetched_and_the_call_done_once(url: str, tool: str) -> None:
    line = CutLine()
    async with deputy_at(url, policy=allow_all) as plain:
        before = await sent(plain, "1")
        async with deputy_at(url, policy=allow_all, transport=line) as deputy:
            to = f"cut {tool}"
            assert (await act(deputy, tool, "2", to=to))["data"]["id"].startswith(tool)
            posts, gets = ([one for one in line.asked if one.method == way] for way in ("POST", "GET"))
            assert len(posts) == 1 and 1 <= len(gets) <= 4
            assert {one.headers["mcp-session-id"] for one in gets} == {posts[0].headers["mcp-session-id"]}
            assert all(one.headers["last-event-id"] and one.headers["authorization"] for one in gets)
        did = (await sent(plain, "3")).removeprefix(before).lstrip(",")
        assert did == {"look": "", "hold": f"{to} begun,{to}"}.get(tool, to)


async def test_repeatedly_cut_stream_is_unknown_and_never_resent(url: str) -> None:
    line = CutLine(gets=100)
    async with deputy_at(url, policy=allow_all, transport=line, sleep=lambda seconds: _none()) as deputy:
        with pytest.raises(OutcomeUnknown):
            await act(deputy, "hold", "1", to="never heard")
        with pytest.raises(OutcomeUnknown):
            await act(deputy, "hold", "1", to="never heard")
        assert [one.method for one in line.asked].count("POST") == 1 and len(line.asked) <= 8


async def _none() -> None:
    """No pause."""


async def test_cut_write_without_event_ids_is_unknown() -> None:
    line = CutLine(before=True)
    with running("sdk") as url:
        async with deputy_at(url, policy=allow_all, transport=line) as deputy:
            with pytest.raises(OutcomeUnknown):
                await deputy.act("other_slow", {"to": "bob"}, user="alice", call=Call("t", "m", "1"))
            assert [one.method for one in line.asked] == ["POST"]
