"""A pause has the one link to all that its message asks, beside each one's own, in every framework."""

from __future__ import annotations

import pytest

from deputize.adapters.llamaindex import ApprovalRequest
from tests.adapters.test_swapped import WAYS, World, begun, graph_of, llama, send_draft, world
from tests.support import agents

__all__ = ["world"]


@pytest.mark.parametrize("way", WAYS)
async def test_all_calls_of_a_message_have_one_link(way: str, world: World) -> None:
    calls = [send_draft(await world.draft(), "one"), send_draft(await world.draft(), "two")]
    first, second = await begun(way, graph_of(way, world, *calls), *calls)
    assert first["link"] != second["link"] and first["step"] == second["step"] != ""
    assert first["step_link"] == second["step_link"] == f"{await world.deputy.pages.base_url()}/asks/{first['step']}"


@llama
async def test_an_event_has_the_link_of_its_run(world: World) -> None:
    handler = agents.agent("FunctionAgent", world.deputy, send_draft(await world.draft())).run("go on")
    [ask] = await agents.asked(handler)
    assert isinstance(ask, ApprovalRequest) and ask.step_link.endswith(f"/asks/{ask.step}") and ask.step
    await handler.cancel_run()
