"""LangChain's decision format: translated by the application with the ids that were shown, and refused in a resume."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.types import Command, Interrupt

from deputize.adapters.langgraph import RESUME, decisions_by_id
from deputize.core import InvalidInput, PolicyDenied
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, Graph, approvals_of, asking, config, plain
from tests.support.sandbox_deputy import build, connect
from tests.support.scripted_agents import agent

ALICE, MALLORY = Context("alice"), Context("mallory")
APPROVE = {"decisions": [{"type": "approve"}]}


def pause(*asks: dict[str, Any]) -> Interrupt:
    return Interrupt({"type": "deputize.approval", "v": 1, "approvals": list(asks)}, id="1")


ONE, OTHER = {"approval_id": "a", "tool": "gmail_send_email"}, {"approval_id": "b", "tool": "slack_send_message"}
EDITED = {"decision": "edit", "arguments": {"subject": "x"}}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (APPROVE, "approve"),
        ({"decisions": [{"type": "reject", "message": "not him"}]}, "reject"),
        ({"decisions": [{"type": "edit", "edited_action": {"name": ONE["tool"], "args": {"subject": "x"}}}]}, EDITED),
        ([{"type": "accept", "args": None}], "approve"),
        ([{"type": "ignore", "args": None}], "reject"),
        ([{"type": "edit", "args": {"action": ONE["tool"], "args": {"subject": "x"}}}], EDITED),
        ({"type": "approve"}, "approve"),
        ({"decisions": [{"type": "respond", "message": "not him"}]}, "reject"),
        ([{"type": "response", "args": "not him"}], "reject"),
        ([{"type": "accept", "approval_id": "a"}], "approve"),
    ],
)
def test_langchain_or_agent_inbox_answer_is_converted_to_a_decision_by_id(answer: Any, said: Any) -> None:
    found = decisions_by_id([pause(ONE)], answer)
    assert found.get("decisions") == {"a": said}
    assert found.get("reason") == ("not him" if "not him" in str(answer) else "")


@pytest.mark.parametrize(("kind", "said"), [("approve", "approve"), ("ignore", "reject")])
def test_several_approvals_may_get_the_same_decision(kind: str, said: str) -> None:
    answer = {"decisions": [{"type": kind}, {"type": kind}]}
    assert decisions_by_id([pause(ONE, OTHER)], answer).get("decisions") == {"a": said, "b": said}
    assert decisions_by_id([pause(ONE), pause(OTHER)], answer).get("decisions") == {"a": said, "b": said}


def test_several_decisions_name_their_approvals_in_any_order() -> None:
    edit = {"type": "edit", "edited_action": {"args": {"subject": "x"}}, "approval_id": "a"}
    answer = {"decisions": [{"type": "approve", "approval_id": "b"}, edit]}
    assert decisions_by_id([pause(ONE, OTHER)], answer).get("decisions") == {"a": EDITED, "b": "approve"}


NO, YES = {"type": "reject"}, {"type": "approve"}


@pytest.mark.parametrize(
    "said",
    [
        [NO, YES],
        [YES, {"type": "edit", "edited_action": {"args": {"subject": "x"}}}],
        [{"type": "edit", "edited_action": {"args": {"subject": "x"}}}] * 2,
        [YES, {"type": "response", "args": "not him"}],
    ],
)
def test_several_approvals_cannot_be_decided_by_order(said: Any) -> None:
    with pytest.raises(InvalidInput, match="only their order") as refused:
        decisions_by_id([pause(ONE, OTHER)], said)
    assert "approval_id" in refused.value.hint


@pytest.mark.parametrize("ids", [("a", "a"), ("a", "c"), ("a", None)])
def test_decision_for_an_unshown_approval_is_refused(ids: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidInput, match="approvals that were not shown"):
        decisions_by_id([pause(ONE, OTHER)], [{"type": "approve", "approval_id": one} for one in ids])


def test_mistyped_decision_is_named() -> None:
    with pytest.raises(InvalidInput, match="'aprove'"):
        decisions_by_id([pause(ONE, OTHER)], {"decisions": [{"type": "aprove"}] * 2})


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"decisions": []}, "0 decisions for 1 approvals"),
        ({}, "has no decisions"),
        ({"approve": True}, "has no decisions"),
        ({"decisions": [{"type": "approve"}] * 2}, "2 decisions for 1 approvals"),
        ({"decisions": {"a": "approve"}}, "no list"),
        ("approve", "no list"),
        (["approve"], "no list"),
        ({"decisions": [{"type": "respond"}]}, "'respond'"),
        ([{"type": "response", "args": {"text": "x"}}], "'response'"),
        ([{"type": "cancel"}], "'cancel'"),
        ({"decisions": [{"type": "edit", "edited_action": {"name": "gmail_trash", "args": {}}}]}, "not the tool"),
        ({"decisions": [{"type": "edit"}]}, "'edit'"),
    ],
)
def test_mismatched_answer_is_refused_with_a_message(answer: Any, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as refused:
        decisions_by_id([pause(ONE)], answer)
    assert refused.value.fix_by == "operator" and refused.value.hint


@pytest.mark.parametrize("way", ["act_node", "create_agent"])
@pytest.mark.parametrize("odd", [APPROVE, [{"type": "accept"}], "approve", True])
async def test_framework_answer_as_resume_value_decides_nothing(
    sandbox: Sandbox, way: str, odd: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "send")
        graph = plain(deputy) if way == "act_node" else agent(deputy, SEND)
        await graph.ainvoke(asking(SEND), config(), context=ALICE)
        await graph.ainvoke(Command(resume=odd), config(), context=ALICE)
        assert ("approval_id" in caplog.text) == (odd is not True)
        assert ("decisions_by_id" in caplog.text) == (odd in (APPROVE, [{"type": "accept"}]))
        assert sandbox.sent("alice@example.test") == []
        pauses = (await graph.aget_state(config())).interrupts
        await graph.ainvoke(Command(resume=decisions_by_id(pauses, APPROVE)), config(), context=ALICE)
        assert len(sandbox.sent("alice@example.test")) == 1


async def resumed(graph: Graph, form: str, value: Any, who: Context) -> Any:
    [one] = (await graph.aget_state(config())).interrupts
    return await graph.ainvoke(Command(resume=value if form == "bare" else {one.id: value}), config(), context=who)


@pytest.mark.parametrize("second", ["bare", "map"])
@pytest.mark.parametrize("first", ["bare", "map"])
async def test_approval_without_id_by_another_user_answers_nothing(sandbox: Sandbox, first: str, second: str) -> None:
    deputy = await build(sandbox)
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    with pytest.raises(PolicyDenied):
        await resumed(graph, first, APPROVE, MALLORY)
    await resumed(graph, second, RESUME, ALICE)  # LangGraph may hand on the stranger's value
    assert sandbox.sent("alice@example.test") == []
    for _ in range(2):  # the wake that was refused may come first
        for ask in await approvals_of(graph, config()):
            await resumed(graph, "bare", {"decisions": {ask["approval_id"]: "approve"}}, ALICE)
    assert len(sandbox.sent("alice@example.test")) == 1
