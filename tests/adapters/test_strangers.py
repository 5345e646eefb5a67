"""Another user resumes a pause: LangGraph keeps the value, and it must never count as the owner's answer."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from deputize.adapters.langgraph import RESUME
from deputize.adapters.langgraph.resume_scope import NO_TASK
from deputize.core import ApprovalPayload, Deputy, PolicyDenied
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, Graph, approvals_of, asking, config, plain, tool_messages
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
@pytest.mark.parametrize("saver", ["kept", "dropping", "failing"])
@pytest.mark.parametrize("durability", ["exit", "async", "sync"])
async def test_owners_approval_counts_after_another_users_which_is_ignored(
    durability: Any,
    saver: str,
    calls: Any,
    way: str,
    first: str,
    monkeypatch: pytest.MonkeyPatch,
    sandbox: Sandbox,
    deputy: Deputy,
) -> None:
    """If the checkpointer cannot remove the other user's answer, the approvals get new ids instead."""
    await connect(deputy, sandbox, "send")
    graph, start = begun(way, deputy, *calls)
    await graph.ainvoke(start, config(), context=ALICE, durability=durability)
    asks = await approvals_of(graph, config())
    yes = {"decisions": {ask["approval_id"]: "approve" for ask in asks}}

    async def failing(self: Any, config: Any, writes: Any, task: str, path: str = "") -> None:
        if task == NO_TASK and writes == [("__resume__", RESUME)]:
            if saver == "dropping":
                return
            raise ConnectionError("The database is gone.")
        await put(self, config, writes, task, path)

    put = InMemorySaver.aput_writes
    with monkeypatch.context() as patches:
        if saver != "kept":
            patches.setattr(InMemorySaver, "aput_writes", failing)
        for _ in range(2):
            with pytest.raises((PolicyDenied, ConnectionError)):
                await resume(graph, first, yes, MALLORY, durability=durability)
    runs: list[Any] = [None, None, Command(resume=RESUME)]
    for given in runs:
        await graph.ainvoke(given, config(), context=ALICE, durability=durability)
        assert sandbox.sent("alice@example.test") == []
    if saver != "kept" and first == "bare":
        yes = {"decisions": {ask["approval_id"]: "approve" for ask in await approvals_of(graph, config())}}
    await graph.ainvoke(Command(resume=yes), config(), context=ALICE)
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
