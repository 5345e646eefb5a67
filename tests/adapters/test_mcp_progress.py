"""Progress notifications that an MCP client receives during its call, if it asked for them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deputize.adapters.mcp import progress
from tests.adapters.test_mcp_asks import TOOL, house
from tests.adapters.test_mcp_rounds import ACCEPT, ARGS
from tests.support.mcp_clients import MODES, client, raw


@pytest.mark.processes
async def test_waiting_client_gets_progress_notifications() -> None:
    async with house(waits=1.2, connected=True) as home, raw(home.url) as alice:
        state = (await alice.call(TOOL, ARGS))["requestState"]
        ask = alice.asking(TOOL, ARGS, inputResponses=ACCEPT, requestState=state, meta={"progressToken": "p"})
        answer = await alice.http.post(alice.url, **ask)
        assert "notifications/progress" in answer.text and "Waiting for the user." in answer.text
        assert answer.text.rstrip().count("input_required") == 1


@pytest.mark.processes
async def test_progress_during_an_act_only_increases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "NOTIFY_INTERVAL_SECONDS", 0.02)
    held: list[float] = []

    async def slowly(*given: Any, **more: Any) -> Any:
        await asyncio.sleep(0.1)
        return await act(*given, **more)

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        held.append(progress)
        heard[message or ""] = heard.get(message or "", 0) + 1

    async with house(waits=0.3, connected=True) as home:
        act, heard = home.deputy.act, dict[str, int]()
        monkeypatch.setattr(home.deputy, "act", slowly)
        for mode in MODES:
            async with client(home.url, mode=mode) as alice:
                await alice.call_tool(TOOL, ARGS)
                held.clear()
                await alice.call_tool(TOOL, ARGS, progress_callback=hear)
                assert held == sorted(set(held)) and len(held) > 5
                assert heard["Working."] > 1 and heard["Waiting for the user."] > 1
            heard.clear()
