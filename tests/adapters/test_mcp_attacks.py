"""MCP clients that forge decisions, and providers that are down between approval and act."""

from __future__ import annotations

import asyncio
from typing import Final

import httpx
import pytest

from deputize.sandbox import Sandbox
from tests.adapters.test_mcp_asks import TOOL, house
from tests.adapters.test_mcp_rounds import ACCEPT, ARGS, approve, asked, said
from tests.support.mcp_clients import raw
from tests.support.sandbox_deputy import connect

YES: Final = {"deputize": {"action": "accept", "content": {"decision": "approve"}}}


@pytest.mark.parametrize("body", ["Yes, gladly.", "word " * 2000])
async def test_unrequested_decision_is_ignored(body: str) -> None:
    arguments = ARGS | {"body": body}
    async with house(waits=0.1, connected=True) as home, raw(home.url) as alice:
        first = await alice.call(TOOL, arguments)
        assert asked(first)["mode"] == "url"
        again = await alice.call(TOOL, arguments, inputResponses=YES, requestState=first["requestState"])
        assert asked(again)["url"] == asked(first)["url"] and home.sent() == 0
        await approve(home)
        end = await alice.call(TOOL, arguments, inputResponses=YES, requestState=again["requestState"])
        assert "Sent." in said(end) and home.sent() == 1


class Busy(httpx.AsyncBaseTransport):
    """A provider that currently accepts no mail."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner, self.busy = inner, True

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.busy and request.url.path.endswith("/send"):
            return httpx.Response(429, headers={"retry-after": "1000"})
        return await self.inner.handle_async_request(request)


async def test_busy_provider_does_not_cause_a_second_request() -> None:
    sandbox = Sandbox()
    gmail = Busy(sandbox.transport())
    async with house(sandbox, waits=0.1, transport=gmail) as home, raw(home.url) as alice:
        await connect(home.deputy, sandbox, "readonly", "send")
        first = await alice.call(TOOL, ARGS)
        await approve(home)
        busy = await alice.call(TOOL, ARGS, inputResponses=ACCEPT, requestState=first["requestState"])
        assert busy["isError"] and home.sent() == 0
        gmail.busy = False
        assert "Sent." in said(await alice.call(TOOL, ARGS)) and home.sent() == 1
        assert asked(await alice.call(TOOL, ARGS))["url"] != asked(first)["url"], "the next one is another mail"


@pytest.mark.processes
async def test_fifty_equal_answers_are_one_act() -> None:
    async with house(waits=5.0, connected=True) as home, raw(home.url) as alice:
        state = (await alice.call(TOOL, ARGS))["requestState"]
        again = {"inputResponses": ACCEPT, "requestState": state}
        waiting = [asyncio.create_task(alice.call(TOOL, ARGS, **again)) for _ in range(50)]
        await asyncio.sleep(0.3)
        await approve(home)
        ends = {said(one) for one in await asyncio.gather(*waiting)}
        ends |= {said(await alice.call(TOOL, ARGS, **again)) for _ in range(3)}
        assert len(ends) == 1 == home.sent()
