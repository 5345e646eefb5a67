"""Somebody else resumes a pause: LangGraph keeps what he said, and it must never count as the owner's answer."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.types import Command

from deputize.core import Deputy, PolicyDenied
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, Graph, approvals_of, asking, config, plain, tool_messages
from tests.support.house import build, connect

ALICE, MALLORY = Context("alice"), Context("mallory")


async def resume(graph: Graph, form: str, value: dict[str, Any], who: Context) -> Any:
    """Resume bare, or by a map of interrupt ids."""
    [pause] = (await graph.aget_state(config())).interrupts
    given = value if form == "bare" else {pause.id: value}
    return await graph.ainvoke(Command(resume=given), config(), context=who)


def decision(ask: dict[str, Any], what: str) -> dict[str, Any]:
    return {"decisions": {ask["approval_id"]: what}}


async def paused(deputy: Deputy, sandbox: Sandbox) -> Graph:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    return graph


@pytest.mark.parametrize("second", ["bare", "map"])
@pytest.mark.parametrize("first", ["bare", "map"])
@pytest.mark.parametrize("answer", ["wake", "reject", "approve"])
async def test_a_strangers_yes_is_never_the_owners(first: str, second: str, answer: str) -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        graph = await paused(deputy, sandbox)
        [ask] = await approvals_of(graph, config())
        for _ in range(2):
            with pytest.raises(PolicyDenied):
                await resume(graph, first, decision(ask, "approve"), MALLORY)
        value = {"wake": True} if answer == "wake" else decision(ask, answer)
        await resume(graph, second, value, ALICE)
        assert sandbox.sent("alice@example.test") == [], "the ids the stranger knew fit nothing any more"
        [asked_again] = await approvals_of(graph, config())
        assert asked_again["approval_id"] != ask["approval_id"]
        state = await resume(graph, "map", decision(asked_again, "approve"), ALICE)
        assert tool_messages(state)["send"].status == "success"
        assert len(sandbox.sent("alice@example.test")) == 1


@pytest.mark.parametrize("late", ["approve", "reject"])
async def test_a_decision_made_elsewhere_counts_and_a_late_one_does_not_block_the_graph(late: str) -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        graph = await paused(deputy, sandbox)
        [ask] = await approvals_of(graph, config())
        await deputy.decide(ask["approval_id"], "reject", by="alice")
        state = await resume(graph, "bare", decision(ask, late), ALICE)
        assert tool_messages(state)["send"].status == "error" and sandbox.sent("alice@example.test") == []
