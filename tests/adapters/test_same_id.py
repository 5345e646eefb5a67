"""One id for several calls, and edited histories: no call is answered with another call's success."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

from deputize.adapters.llamaindex import ApprovalResponse
from deputize.core import Deputy
from deputize.sandbox import Sandbox
from tests.support import llamaindex_agents
from tests.support.graphs import SEND, Context, Graph, approvals_of, asking, config, plain
from tests.support.scripted_agents import agent

pytestmark = pytest.mark.connected("send")

ALICE = Context("alice")
CAROL: dict[str, Any] = {**SEND, "args": {**SEND["args"], "to": ["carol@example.test"]}}


def receivers(sandbox: Sandbox) -> list[str]:
    return sorted("carol" if b"carol@" in mail.raw else "bob" for mail in sandbox.sent("alice@example.test"))


def graph_of(way: str, deputy: Deputy) -> tuple[Graph, dict[str, Any]]:
    """Return a graph in which a model requests both mails under one id, and its input."""
    if way == "act_node":
        return plain(deputy), asking(SEND, CAROL)
    return agent(deputy, SEND, CAROL), {"messages": [("user", "go on")]}


async def decided(graph: Graph, **by_receiver: str) -> Any:
    """Return the state after these decisions about the graph's current requests."""
    asks = {ask["preview"]["to"].partition("@")[0]: ask for ask in await approvals_of(graph, config())}
    answers = {asks[who]["approval_id"]: decision for who, decision in by_receiver.items()}
    return await graph.ainvoke(Command(resume={"decisions": answers}), config(), context=ALICE)


def told(state: dict[str, Any]) -> list[str]:
    return sorted(m.status for m in state["messages"] if isinstance(m, ToolMessage))


@pytest.mark.parametrize("way", ["act_node", "create_agent"])
async def test_two_calls_with_one_id_are_requested_separately_and_done_once(
    deputy: Deputy, sandbox: Sandbox, way: str
) -> None:
    graph, start = graph_of(way, deputy)
    await graph.ainvoke(start, config(), context=ALICE)
    state = await decided(graph, bob="approve", carol="approve")
    assert receivers(sandbox) == ["bob", "carol"] and told(state) == ["success", "success"]
    artifacts = [m.artifact["id"] for m in state["messages"] if isinstance(m, ToolMessage)]
    assert len(set(artifacts)) == 2


@pytest.mark.parametrize("way", ["act_node", "create_agent"])
@pytest.mark.parametrize("together", [True, False])
async def test_rejection_of_one_call_does_not_reject_the_other(
    deputy: Deputy, sandbox: Sandbox, way: str, together: bool
) -> None:
    graph, start = graph_of(way, deputy)
    await graph.ainvoke(start, config(), context=ALICE)
    if together:
        state = await decided(graph, bob="reject", carol="approve")
    else:
        await decided(graph, bob="reject")
        state = await decided(graph, carol="approve")
    assert receivers(sandbox) == ["carol"] and told(state) in (["error", "success"], ["error"])


async def test_forked_act_with_another_recipient_is_requested_and_sent(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    first = await decided(graph, bob="approve")
    states = [one async for one in graph.aget_state_history(config())]
    before = next(one for one in states if one.next == ("tools",))
    message = first["messages"][1]
    assert isinstance(message, AIMessage)
    forked = await graph.aupdate_state(
        before.config, {"messages": [AIMessage("", id=message.id, tool_calls=[dict(CAROL)])]}, as_node="__start__"
    )
    await graph.ainvoke(None, forked, context=ALICE)
    assert receivers(sandbox) == ["bob"]
    state = await decided(graph, carol="approve")
    assert receivers(sandbox) == ["bob", "carol"] and told(state) == ["success"]


async def test_replayed_completed_act_is_not_sent_again(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    first = await decided(graph, bob="approve")
    states = [one async for one in graph.aget_state_history(config())]
    before = next(one for one in states if one.next == ("tools",))
    again = await graph.ainvoke(None, before.config, context=ALICE)
    assert receivers(sandbox) == ["bob"] and again["messages"][-1].artifact == first["messages"][-1].artifact


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning")
async def test_llamaindex_sends_both_of_two_calls_with_one_id(deputy: Deputy, sandbox: Sandbox) -> None:
    handler = llamaindex_agents.agent("FunctionAgent", deputy, SEND, CAROL).run("go on")
    for request in await llamaindex_agents.asked(handler, 2):
        handler.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by="alice", decision="approve"))
    await llamaindex_agents.ended(handler)
    assert receivers(sandbox) == ["bob", "carol"]
