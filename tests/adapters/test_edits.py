"""The user edits a call, in the resume value or on another surface; the edited call happens once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph.types import Command

from deputize.core import ApprovalPayload, Deputy, PolicyDenied
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, Graph, approvals_of, asking, config, plain, tool_messages
from tests.support.sandbox_deputy import connect
from tests.support.scripted_agents import agent

pytestmark = pytest.mark.connected("send")

ALICE, BOB = Context("alice"), Context("bob")
OTHER: dict[str, Any] = {**SEND["args"], "body": "No, sorry."}
WAYS = ("act_node", "create_agent")


def edit(ask: ApprovalPayload, arguments: dict[str, Any]) -> Command[Any]:
    """Return a resume value that edits the arguments."""
    return Command(resume={"decisions": {ask["approval_id"]: {"decision": "edit", "arguments": arguments}}})


async def paused(way: str, deputy: Deputy) -> tuple[Graph, ApprovalPayload]:
    """Return a graph that waits for Alice's approval of a mail, and its request."""
    graph = plain(deputy) if way == "act_node" else agent(deputy, SEND)
    start = asking(SEND) if way == "act_node" else {"messages": [("user", "go on")]}
    await graph.ainvoke(start, config(), context=ALICE)
    [ask] = await approvals_of(graph, config())
    return graph, ask


def bodies(sandbox: Sandbox) -> list[bool]:
    """Return for each sent mail whether it has the user's edited text."""
    return [b"No, sorry." in mail.raw for mail in sandbox.sent("alice@example.test")]


@pytest.mark.parametrize("way", WAYS)
async def test_edit_in_the_resume_value_happens_once(way: str, deputy: Deputy, sandbox: Sandbox) -> None:
    graph, ask = await paused(way, deputy)
    runs = [graph.ainvoke(edit(ask, OTHER), config(), context=ALICE) for _ in range(3)]
    states = await asyncio.gather(*runs)
    assert {tool_messages(state)["send"].status for state in states} == {"success"} and bodies(sandbox) == [True]


@pytest.mark.parametrize("way", WAYS)
async def test_wrong_edit_is_asked_again_and_a_right_one_counts(way: str, deputy: Deputy, sandbox: Sandbox) -> None:
    graph, ask = await paused(way, deputy)
    await graph.ainvoke(edit(ask, {**OTHER, "user": "bob", "to": []}), config(), context=ALICE)
    [again] = await approvals_of(graph, config())
    assert again["approval_id"] == ask["approval_id"] and "user" in again.get("fault", "") and bodies(sandbox) == []
    state = await graph.ainvoke(edit(again, OTHER), config(), context=ALICE)
    assert tool_messages(state)["send"].status == "success" and bodies(sandbox) == [True]


@pytest.mark.parametrize("way", WAYS)
async def test_edit_by_another_user_is_ignored(way: str, deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send", user="bob", as_="bob@example.test")
    graph, ask = await paused(way, deputy)
    with pytest.raises(PolicyDenied):
        await graph.ainvoke(edit(ask, OTHER), config(), context=BOB)
    await graph.ainvoke(Command(resume={"wake": True}), config(), context=ALICE)
    [again] = await approvals_of(graph, config())
    assert again["preview"]["text"] == SEND["args"]["body"] and bodies(sandbox) == []
    assert sandbox.sent("bob@example.test") == []


@pytest.mark.parametrize("way", WAYS)
async def test_edit_made_elsewhere_counts_at_the_next_resume(way: str, deputy: Deputy, sandbox: Sandbox) -> None:
    graph, ask = await paused(way, deputy)
    await deputy.decide(ask["approval_id"], "edit", by="alice", arguments=OTHER)
    await graph.ainvoke(Command(resume={"wake": True}), config(), context=ALICE)
    assert bodies(sandbox) == [True]


@pytest.mark.parametrize("odd", ["edit", {"decision": "edit"}, {"decision": "approve", "arguments": {}}, ["edit"]])
async def test_malformed_answer_decides_nothing_and_pauses_again(
    odd: Any, deputy: Deputy, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    graph, ask = await paused("act_node", deputy)
    await graph.ainvoke(Command(resume={"decisions": {ask["approval_id"]: odd}}), config(), context=ALICE)
    assert "decisions" in caplog.text and bodies(sandbox) == []
    assert await approvals_of(graph, config()) == [ask]
    await graph.ainvoke(edit(ask, OTHER), config(), context=ALICE)
    assert bodies(sandbox) == [True]
