"""In every framework a pause has one link to all requests of its message, beside the link of each request."""

from __future__ import annotations

import pytest

from deputize.adapters.llamaindex import ApprovalRequest
from tests.adapters.test_swapped import WAYS, World, begun, graph_of, llama, send_draft, world
from tests.support import llamaindex_agents

__all__ = ["world"]


@pytest.mark.parametrize("way", WAYS)
async def test_all_calls_of_a_message_share_one_request_link(way: str, world: World) -> None:
    calls = [send_draft(await world.draft(), "one"), send_draft(await world.draft(), "two")]
    first, second = await begun(way, graph_of(way, world, *calls), *calls)
    assert first["link"] != second["link"] and first["request_id"] == second["request_id"] != ""
    assert (
        first["request_link"]
        == second["request_link"]
        == f"{await world.deputy.pages.base_url()}/asks/{first['request_id']}"
    )


@llama
async def test_event_has_the_request_link_of_its_run(world: World) -> None:
    handler = llamaindex_agents.agent("FunctionAgent", world.deputy, send_draft(await world.draft())).run("go on")
    [ask] = await llamaindex_agents.asked(handler)
    assert isinstance(ask, ApprovalRequest) and ask.request_link.endswith(f"/asks/{ask.request_id}") and ask.request_id
    await handler.cancel_run()
