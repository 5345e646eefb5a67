"""Calls that take long: progress is asked for, keeps the claim of a write alive, and a lost claim leaves it unknown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import pytest

from deputize.core import Call, OutcomeUnknown, StoreUnavailable, allow_all
from deputize.core.acts.provider_requests import _ClaimKeeper
from deputize.core.idempotency.ledger import Entry
from deputize.core.mcp_client.server_config import McpServer
from tests.support.foreign_mcp import LEGACY, MODERN, URL, Foreign, definition, foreign_deputy, text


class Steps(httpx.AsyncByteStream):
    """Progress every 100 ms, then the response."""

    def __init__(self, id: int, token: Any) -> None:
        progress = {"jsonrpc": "2.0", "method": "notifications/progress"}
        told = [progress | {"params": {"progressToken": token, "progress": n}} for n in range(6)]
        self.messages = [*told, {"jsonrpc": "2.0", "id": id, "result": text("done")}]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for message in self.messages:
            await asyncio.sleep(0.1)
            yield f"data: {json.dumps(message)}\n\n".encode()


def slowly(params: Mapping[str, Any], request: httpx.Request) -> httpx.Response:
    message = json.loads(request.content)
    stream = Steps(message["id"], params["_meta"]["progressToken"])
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)


SLOW = McpServer("other", URL, idle_timeout_seconds=0.4)


@pytest.mark.parametrize("era", [MODERN, LEGACY])
async def test_progress_is_asked_for_and_keeps_the_claim(era: str, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = list[bool]()
    claim: Callable[..., Any] = Entry.claim

    async def counted(entry: Entry, seconds: float) -> None:
        claims.append(True)
        await claim(entry, seconds)

    monkeypatch.setattr(Entry, "claim", counted)
    foreign = Foreign([definition("send")], era=era, reply=slowly)
    async with foreign_deputy(foreign, server=SLOW, policy=allow_all) as deputy:
        got = await deputy.act("other_send", {"to": "bob"}, user="alice", call=Call("t", "m", "1"))
    assert got == {"untrusted": True, "text": "done"} and foreign.count("tools/call") == 1
    assert len(claims) > 1 if era == MODERN else claims  # the older era may be resumed for 30 seconds more


async def test_lost_claim_leaves_the_outcome_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = list[float]()
    claim: Callable[..., Any] = Entry.claim

    async def lost(entry: Entry, seconds: float) -> None:
        claims.append(seconds)
        if len(claims) > 1:
            raise StoreUnavailable("The lock is lost.")
        await claim(entry, seconds)

    monkeypatch.setattr(Entry, "claim", lost)
    foreign = Foreign([definition("send")], reply=slowly)
    async with foreign_deputy(foreign, server=SLOW, policy=allow_all) as deputy:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await deputy.act("other_send", {"to": "bob"}, user="alice", call=Call("t", "m", "1"))
    assert foreign.count("tools/call") == 1 and len(claims) == 2


async def test_claim_covers_the_time_between_two_extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    now, claims = [100.0], list[tuple[float, float]]()
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    async def claim(seconds: float, *, under_way: bool) -> None:
        claims.append((now[0] - 100, seconds))

    keeper = _ClaimKeeper(claim, 60.0)
    until = 100 + keeper.seconds
    for _ in range(100):
        now[0] += 7
        await keeper()
        until = max(until, 100 + sum(claims[-1]) if claims else 0)
        assert now[0] + 60 <= until
    assert len(claims) <= 700 / 30
