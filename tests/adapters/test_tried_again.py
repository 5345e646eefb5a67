"""A pause created in a retry of a node belongs to its owner and is resumed like any other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, Send

from deputize.adapters.langgraph import act_node
from deputize.core import Deputy, PolicyDenied
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND, Context, approvals_of, asking, config, tool_messages

pytestmark = [
    pytest.mark.usefixtures("whoever_resumes"),
    pytest.mark.connected("readonly", "send"),
    pytest.mark.connected("readonly", "send", user="bob", as_="bob@example.test"),
]

ALICE, BOB = Context("alice"), Context("bob")
MINE, HIS = "alice@example.test", "bob@example.test"
WAKE: Command[Any] = Command(resume={"wake": True})
SECOND = {**SEND, "id": "second", "args": {**SEND["args"], "subject": "Dinner"}}

TRIED_AGAIN = RetryPolicy(initial_interval=0.01, jitter=False, max_attempts=5, retry_on=ConnectionError)


class Line:
    """A connection that fails this many times, and then works."""

    def __init__(self, cut: int) -> None:
        self.cut = cut

    def __call__(self) -> None:
        if self.cut:
            self.cut -= 1
            raise ConnectionError("The line was cut.")


def looks_over(line: Line, deputy: Deputy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the gate's check fail while this line is cut."""
    prepare = deputy.check_calls

    async def prepared(*given: Any, **more: Any) -> Any:
        line()
        return await prepare(*given, **more)

    monkeypatch.setattr(deputy, "check_calls", prepared)


def retried(node: Any) -> Any:
    """Return a graph START -> this node, with a retry policy."""
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("tools", node, retry_policy=TRIED_AGAIN)
    builder.add_edge(START, "tools")
    builder.add_edge("tools", END)
    return builder.compile(checkpointer=InMemorySaver())


async def said(graph: Any, form: str, what: str = "approve") -> Any:
    [pause] = (await graph.aget_state(config())).interrupts
    answer = {"decisions": {one["approval_id"]: what for one in await approvals_of(graph, config())}}
    return {"bare": Command(resume=answer), "map": Command(resume={pause.id: answer}), "nothing": None}[form]


async def refused(graph: Any, deputy: Deputy, form: str) -> None:
    with pytest.raises(PolicyDenied):
        await graph.ainvoke(await said(graph, form), config(), context=BOB)
    assert await deputy.pending("bob") == []


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("form", ["bare", "map", "nothing"])
@pytest.mark.parametrize("calls", [[SEND], [SEARCH, SEND], [SEND, SECOND]], ids=["one", "read and write", "two"])
async def test_pause_of_a_retried_node_belongs_to_its_owner(
    calls: Any, form: str, times: int, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, line = retried(act_node(deputy, "gmail")), Line(times)
    looks_over(line, deputy, monkeypatch)
    await graph.ainvoke(asking(*calls), config(), context=ALICE)
    assert not line.cut
    await refused(graph, deputy, form)
    line.cut = times
    await graph.ainvoke(None, config(), context=ALICE)
    await refused(graph, deputy, form)
    assert not sandbox.sent(MINE), "his yes is nobody's"
    line.cut = times
    state = await graph.ainvoke(await said(graph, "bare"), config(), context=ALICE)
    while (await graph.aget_state(config())).interrupts:
        state = await graph.ainvoke(await said(graph, "map"), config(), context=ALICE)
    assert {one.status for one in tool_messages(state).values()} == {"success"}
    assert len(sandbox.sent(MINE)) == sum(call["name"] == SEND["name"] for call in calls)
    assert not sandbox.sent(HIS)


@pytest.mark.parametrize("what", ["approve", "reject"])
@pytest.mark.parametrize("calls", [[SEND], [SEND, SECOND]], ids=["one", "two"])
async def test_pause_of_a_retried_blocking_node_is_answered_once(
    calls: Any, what: str, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, line = retried(act_node(deputy, "gmail")), Line(1)
    looks_over(line, deputy, monkeypatch)

    async def run(given: Any) -> Any:
        return await asyncio.to_thread(graph.invoke, given, config(), context=ALICE)

    await run(asking(*calls))
    assert not line.cut
    await refused(graph, deputy, "bare")
    await run(WAKE)
    state = await run(await said(graph, "bare", what))
    assert len(tool_messages(state)) == len(calls)
    assert len(sandbox.sent(MINE)) == (len(calls) if what == "approve" else 0)


@pytest.mark.parametrize("cut", ["before the first", "between them", "after both"])
async def test_two_nodes_in_one_retried_node_both_continue(cut: str, deputy: Deputy, sandbox: Sandbox) -> None:
    acting = act_node(deputy, "gmail")
    lines = {when: Line(0) for when in ("before the first", "between them", "after both")}

    async def both(state: MessagesState, config: RunnableConfig) -> Any:
        given = [{"messages": [AIMessage("", id=call["id"], tool_calls=[call])]} for call in (SEND, SECOND)]
        lines["before the first"]()
        first = await acting.ainvoke(given[0], config)
        lines["between them"]()
        second = await acting.ainvoke(given[1], config)
        lines["after both"]()
        return {"messages": [first["messages"][-1], second["messages"][-1]]}

    graph = retried(both)
    lines[cut].cut = 2
    await graph.ainvoke(asking(SEND, SECOND), config(), context=ALICE)
    for sent in (0, 1):
        assert len(sandbox.sent(MINE)) == sent
        lines[cut].cut += 2 * (lines[cut].cut == 0)
        await refused(graph, deputy, "nothing")
        await graph.ainvoke(WAKE, config(), context=ALICE)
        await graph.ainvoke(await said(graph, "bare"), config(), context=ALICE)
    assert [str(mail.message["subject"]) for mail in sandbox.sent(MINE)] == ["Lunch", "Dinner"]
    assert (await graph.aget_state(config())).interrupts == () and not sandbox.sent(HIS)


@pytest.mark.parametrize("inside", [False, True], ids=["", "in an inner graph"])
async def test_each_parallel_retried_task_belongs_to_its_owner(
    inside: bool, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, calls = Line(2), [{**SEND, "type": "tool_call"}, {**SECOND, "type": "tool_call"}]
    looks_over(line, deputy, monkeypatch)

    def fan(state: MessagesState) -> list[Send]:
        return [Send("tools", [call]) for call in calls]

    def around(node: Any, saver: Any, ways: Any = None) -> Any:
        builder = StateGraph(MessagesState, context_schema=Context)
        builder.add_node("tools", node, retry_policy=TRIED_AGAIN)
        _ = builder.add_conditional_edges(START, ways, ["tools"]) if ways else builder.add_edge(START, "tools")
        builder.add_edge("tools", END)
        return builder.compile(checkpointer=saver)

    graph = around(act_node(deputy, "gmail"), None if inside else InMemorySaver(), fan)
    if inside:
        graph = around(graph, InMemorySaver())
    await graph.ainvoke({"messages": [AIMessage("", id="m", tool_calls=calls)]}, config(), context=ALICE)
    for left in (2, 1):
        line.cut = left
        with pytest.raises(PolicyDenied):
            await graph.ainvoke(None, config(), context=BOB)
        assert await deputy.pending("bob") == []
        await graph.ainvoke(None, config(), context=ALICE)
        pauses = (await graph.aget_state(config())).interrupts
        assert len(pauses) == left and len(sandbox.sent(MINE)) == 2 - left
        ids = [one["approval_id"] for one in pauses[0].value["approvals"]]
        yes = {pauses[0].id: {"decisions": dict.fromkeys(ids, "approve")}}
        await graph.ainvoke(Command(resume=yes), config(), context=ALICE)
    assert sorted(str(mail.message["subject"]) for mail in sandbox.sent(MINE)) == ["Dinner", "Lunch"]
    assert (await graph.aget_state(config())).interrupts == () and not sandbox.sent(HIS)
