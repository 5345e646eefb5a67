"""``interrupt_mode="hitl"``: inboxes answer pauses by position, and no answer counts for another request."""

from __future__ import annotations

import time
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware.human_in_the_loop import HITLRequest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import TypeAdapter

from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import Deputy, PolicyDenied
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND, Context, Graph, asking, config, grant_all, plain, tool_messages
from tests.support.sandbox_deputy import Clock, build, connect
from tests.support.scripted_agents import calling

ALICE, BOB = Context("alice"), Context("bob")
OTHER: dict[str, Any] = {**SEND, "id": "other", "args": {**SEND["args"], "body": "No, sorry."}}
YES, NO = {"type": "approve"}, {"type": "reject", "message": "not now"}
WAYS = ("act_node", "create_agent")


def begun(way: str, deputy: Deputy, *calls: dict[str, Any]) -> tuple[Graph, Any]:
    """Return a graph, and its input."""
    if way == "act_node":
        return plain(deputy, interrupt_mode="hitl"), asking(*calls)
    middleware = [DeputyMiddleware(deputy, "gmail", interrupt_mode="hitl")]
    saver = InMemorySaver()
    made: Graph = create_agent(calling(*calls), middleware=middleware, context_schema=Context, checkpointer=saver)
    return made, {"messages": [("user", "go on")]}


async def said(graph: Graph, *decisions: dict[str, Any], who: Context = ALICE) -> Any:
    """Resume as Agent Chat UI does: without an interrupt id."""
    return await graph.ainvoke(Command(resume={"decisions": list(decisions)}), config(), context=who)


async def shown(graph: Graph) -> list[str]:
    """Return the names of the requested actions, as LangChain's own type has them."""
    found = []
    for pause in (await graph.aget_state(config())).interrupts:
        TypeAdapter(HITLRequest).validate_python(pause.value)
        found += [request["name"] for request in pause.value["action_requests"]]
    return found


def bodies(sandbox: Sandbox) -> list[str]:
    return ["No" if b"No, sorry." in mail.raw else "Yes" for mail in sandbox.sent("alice@example.test")]


@pytest.mark.parametrize("way", WAYS)
async def test_each_decision_counts_for_the_request_at_its_position(way: str, deputy: Deputy, sandbox: Sandbox) -> None:
    graph, start = begun(way, deputy, SEND, OTHER, SEARCH)
    await graph.ainvoke(start, config(), context=ALICE)
    assert await shown(graph) == ["connect_google"]
    await said(graph, YES)
    assert await shown(graph) == ["connect_google"], "a yes to a consent proves nothing"
    await grant_all(deputy, sandbox, graph, config())
    await said(graph, YES)
    assert await shown(graph) == ["gmail_send_email"] * 2 and bodies(sandbox) == []
    state = await said(graph, NO, YES)
    assert bodies(sandbox) == ["No"]
    assert {call: m.status for call, m in tool_messages(state).items()} == {
        "send": "error", "other": "success", "search": "success"
    }  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
async def test_declined_consent_ends_its_call_and_the_rest_runs(way: str, deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    graph, start = begun(way, deputy, SEND, SEARCH)
    await graph.ainvoke(start, config(), context=ALICE)
    state = await said(graph, NO)
    answers = tool_messages(state)
    assert answers["send"].status == "error" and "does not want to connect" in str(answers["send"].content)
    assert answers["search"].status == "success" and await shown(graph) == []


@pytest.mark.parametrize("way", WAYS)
async def test_repeated_approval_does_not_count_for_the_next_request(
    way: str, deputy: Deputy, sandbox: Sandbox
) -> None:
    """The same button pressed twice; a run without an answer; a wake-up by interrupt id."""
    graph, start = begun(way, deputy, SEND)
    await graph.ainvoke(start, config(), context=ALICE)
    await grant_all(deputy, sandbox, graph, config())
    await said(graph, YES)
    assert await shown(graph) == ["gmail_send_email"] and bodies(sandbox) == []
    await graph.ainvoke(None, config(), context=ALICE)
    [pause] = (await graph.aget_state(config())).interrupts
    await graph.ainvoke(Command(resume={pause.id: {"wake": True}}), config(), context=ALICE)
    assert await shown(graph) == ["gmail_send_email"] and bodies(sandbox) == []


@pytest.mark.parametrize("way", WAYS)
async def test_approval_of_an_expired_request_is_ignored(
    way: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: Any, **__: Any) -> Any:
        raise ConnectionError("A bug.")

    async with await build(sandbox, clock=(clock := Clock(time.time()))) as deputy:
        await connect(deputy, sandbox, "send")
        graph, start = begun(way, deputy, SEND)
        await graph.ainvoke(start, config(), context=ALICE)
        with monkeypatch.context() as patches:
            patches.setattr(deputy.previewer, "authorize", failing)
            with pytest.raises(ConnectionError):
                await said(graph, YES)
        clock.now += 4000
        await said(graph, YES)
        assert await shown(graph) == ["gmail_send_email"] and not bodies(sandbox)
        await said(graph, YES)
        assert await shown(graph) == [] and bodies(sandbox) == ["Yes"]


@pytest.mark.parametrize("way", WAYS)
async def test_approval_by_another_user_is_refused_and_not_kept(way: str, deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    graph, start = begun(way, deputy, SEND)
    await graph.ainvoke(start, config(), context=ALICE)
    with pytest.raises(PolicyDenied):
        await said(graph, YES, who=BOB)
    for _ in range(2):
        await graph.ainvoke(None, config(), context=ALICE)
    [pause] = (await graph.aget_state(config())).interrupts
    await graph.ainvoke(Command(resume={pause.id: {"wake": True}}), config(), context=ALICE)
    assert bodies(sandbox) == [] and await shown(graph) == ["gmail_send_email"]
    await said(graph, YES)
    if not bodies(sandbox):  # renewed since it was shown: asked once more
        await said(graph, YES)
    assert bodies(sandbox) == ["Yes"]


@pytest.mark.parametrize("way", WAYS)
async def test_mismatched_answer_decides_nothing_and_pauses_again(
    way: str, deputy: Deputy, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    await connect(deputy, sandbox, "send")
    graph, start = begun(way, deputy, SEND, OTHER)
    await graph.ainvoke(start, config(), context=ALICE)
    await said(graph, YES)
    assert "1 decisions for 2 requests" in caplog.text
    assert await shown(graph) == ["gmail_send_email"] * 2 and bodies(sandbox) == []
    await said(graph, YES, NO)
    assert bodies(sandbox) == ["Yes"]


async def test_decision_by_position_is_ignored_in_the_default_mode(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    await graph.ainvoke({"messages": [AIMessage("", id="m", tool_calls=[SEND])]}, config(), context=ALICE)
    state = await said(graph, YES)
    assert bodies(sandbox) == [] and state["__interrupt__"]
