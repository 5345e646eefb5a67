"""Another user resumes a pause: LangGraph keeps the value, and it must never count as the owner's answer."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import MessagesState
from langgraph.types import Command

from deputize.adapters.langgraph import RESUME, act_node
from deputize.core import ApprovalPayload, Deputy, PolicyDenied
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, Graph, approvals_of, asking, config, plain, tool_messages, wired
from tests.support.sandbox_deputy import connect
from tests.support.scripted_agents import begun

ALICE, MALLORY = Context("alice"), Context("mallory")
OTHER = {**SEND, "id": "other", "args": {**SEND["args"], "subject": "Dinner"}}


async def resume(graph: Graph, form: str, value: dict[str, Any], who: Context, **how: Any) -> Any:
    """Resume bare, or by a map of interrupt ids."""
    [pause] = (await graph.aget_state(config())).interrupts
    given = value if form == "bare" else {pause.id: value}
    return await graph.ainvoke(Command(resume=given), config(), context=who, **how)


def decision(ask: ApprovalPayload, what: str) -> dict[str, Any]:
    return {"decisions": {ask["approval_id"]: what}}


async def paused(deputy: Deputy, sandbox: Sandbox) -> Graph:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    return graph


@pytest.mark.parametrize("second", ["bare", "map"])
@pytest.mark.parametrize("first", ["bare", "map"])
@pytest.mark.parametrize("answer", ["wake", "reject", "approve"])
async def test_approval_by_another_user_never_counts_for_the_owner(
    first: str, second: str, answer: str, sandbox: Sandbox, deputy: Deputy
) -> None:
    graph = await paused(deputy, sandbox)
    [ask] = await approvals_of(graph, config())
    for _ in range(2):
        with pytest.raises(PolicyDenied):
            await resume(graph, first, decision(ask, "approve"), MALLORY)
    value = RESUME if answer == "wake" else decision(ask, answer)
    state = await resume(graph, second, value, ALICE)
    if answer == "wake":
        assert sandbox.sent("alice@example.test") == []
        assert await approvals_of(graph, config()) == [ask]
        state = await resume(graph, "map", decision(ask, "approve"), ALICE)
    assert tool_messages(state)["send"].status == ("error" if answer == "reject" else "success")
    assert len(sandbox.sent("alice@example.test")) == (answer != "reject")


@pytest.mark.parametrize("first", ["map", "bare"])
@pytest.mark.parametrize("way", ["create_agent", "act_node"])
@pytest.mark.parametrize("calls", [(SEND,), (SEND, OTHER)], ids=["one call", "two calls"])
@pytest.mark.parametrize("durability", ["exit", "async", "sync"])
async def test_owners_approval_counts_after_another_users_which_is_ignored(
    durability: Any,
    calls: Any,
    way: str,
    first: str,
    sandbox: Sandbox,
    deputy: Deputy,
) -> None:
    await connect(deputy, sandbox, "send")
    graph, start = begun(way, deputy, *calls)
    await graph.ainvoke(start, config(), context=ALICE, durability=durability)
    asks = await approvals_of(graph, config())
    yes = {"decisions": {ask["approval_id"]: "approve" for ask in asks}}

    for _ in range(2):
        with pytest.raises(PolicyDenied):
            await resume(graph, first, yes, MALLORY, durability=durability)
    runs: list[Any] = [None, None, Command(resume=RESUME)]
    for given in runs:
        await graph.ainvoke(given, config(), context=ALICE, durability=durability)
        assert sandbox.sent("alice@example.test") == []
    assert await approvals_of(graph, config()) == asks
    await graph.ainvoke(Command(resume=yes), config(), context=ALICE)
    assert len(sandbox.sent("alice@example.test")) == len(calls)


@pytest.mark.parametrize("calls", [(SEND,), (SEND, OTHER)], ids=["one call", "two calls"])
@pytest.mark.parametrize("what", ["approve", "reject"])
@pytest.mark.parametrize("mode", ["by_id", "hitl"])
async def test_bare_answer_of_a_run_that_failed_before_it_was_refused_counts_for_nobody(
    mode: Any, what: str, calls: Any, sandbox: Sandbox, deputy: Deputy
) -> None:
    """No node of deputize has seen the value, nor who sent it."""
    await connect(deputy, sandbox, "send")
    acting, fails = act_node(deputy, "gmail", interrupt_mode=mode), [False]

    async def node(state: MessagesState, config: RunnableConfig) -> Any:
        if fails[0]:
            raise ConnectionError("The line was cut.")
        return await acting.ainvoke(state, config)

    graph = wired(node)
    await graph.ainvoke(asking(*calls), config(), context=ALICE)
    [pause] = (await graph.aget_state(config())).interrupts
    asks = await deputy.pending("alice")
    by_id, by_position = {"decisions": {ask.id: what for ask in asks}}, {"decisions": [{"type": what}] * len(calls)}
    answer = by_id if mode == "by_id" else by_position
    fails[0] = True
    with pytest.raises(ConnectionError):
        await graph.ainvoke(Command(resume=answer), config(), context=MALLORY)
    fails[0] = False
    runs: list[Any] = [None, Command(resume={pause.id: RESUME}), None]
    for given in runs:
        await graph.ainvoke(given, config(), context=ALICE)
        assert await deputy.pending("alice") == asks
    yes = {"decisions": {ask.id: "approve" for ask in asks}}
    state = await graph.ainvoke(Command(resume=yes), config(), context=ALICE)
    assert {one.status for one in tool_messages(state).values()} == {"success"}
    assert len(sandbox.sent("alice@example.test")) == len(calls)


@pytest.mark.parametrize("late", ["approve", "reject"])
async def test_decision_made_elsewhere_counts_and_a_late_one_does_not_block_the_graph(
    late: str, sandbox: Sandbox, deputy: Deputy
) -> None:
    graph = await paused(deputy, sandbox)
    [ask] = await approvals_of(graph, config())
    await deputy.decide(ask["approval_id"], "reject", by="alice")
    state = await resume(graph, "bare", decision(ask, late), ALICE)
    assert tool_messages(state)["send"].status == "error" and sandbox.sent("alice@example.test") == []
