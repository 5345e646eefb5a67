"""Helpers that answer an application's pauses, in every form and beside its own pauses, and their error messages."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from deputize.adapters.langgraph import RESUME, act_node, decisions_by_id, requests_in, resume_when_done
from deputize.core import Deputy, InvalidInput
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, asking, config, grant_all, plain, tool_messages
from tests.support.sandbox_deputy import connect
from tests.support.scripted_agents import begun

ALICE, MINE = Context("alice"), "alice@example.test"
SECOND = {**SEND, "id": "second", "args": {**SEND["args"], "subject": "Dinner"}}
of_values = pytest.mark.parametrize("value", ["name?", 7, ["name?"], {"type": 1}, {"q": "name?"}, None], ids=str)


def beside(node: Any, value: Any) -> Any:
    """Return a graph whose act node runs beside an application node that pauses with this value."""

    def host(state: MessagesState) -> None:
        interrupt(value)

    builder = StateGraph(MessagesState, context_schema=Context)
    for name, one in (("tools", node), ("host", host)):
        builder.add_node(name, one)
        builder.add_edge(START, name)
    return builder.compile(checkpointer=InMemorySaver())


@of_values
async def test_application_interrupt_beside_ours_is_left_open(value: Any, deputy: Deputy, sandbox: Sandbox) -> None:
    graph = beside(act_node(deputy, "gmail"), value)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    await grant_all(deputy, sandbox, graph, config())
    state = await resume_when_done(deputy, graph, config(), context=ALICE)
    [ask] = requests_in(state["__interrupt__"], "approval")
    await deputy.decide(ask["approval_id"], "approve", by="alice")
    state = await resume_when_done(deputy, graph, config(), context=ALICE, user="alice")
    assert [one.value for one in state["__interrupt__"]] == [value] and len(sandbox.sent(MINE)) == 1


@of_values
@pytest.mark.parametrize("user", [None, "alice"])
async def test_application_interrupts_alone_raise_invalid_input(user: Any, value: Any, deputy: Deputy) -> None:
    @tool
    def confirm() -> str:
        """Ask something."""
        return str(interrupt(value))

    graph = plain(deputy, [confirm])
    await graph.ainvoke(asking({"name": "confirm", "args": {}, "id": "confirm"}), config(), context=ALICE)
    with pytest.raises(InvalidInput, match="no pause that resume_when_done can wait for"):
        await resume_when_done(deputy, graph, config(), context=ALICE, user=user)
    state = await graph.ainvoke(Command(resume="Ann"), config(), context=ALICE)
    assert tool_messages(state)["confirm"].content == "Ann"


async def test_waiting_for_an_approval_needs_its_user(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    with pytest.raises(InvalidInput) as told:
        await resume_when_done(deputy, graph, config(), context=ALICE)
    assert "user=" in told.value.hint


async def test_pauses_are_read_from_a_graph_and_from_the_sdk(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    graph = beside(act_node(deputy, "gmail"), "name?")
    state = await graph.ainvoke(asking(SEND), config(), context=ALICE)
    pauses = state["__interrupt__"]
    told = [{"id": one.id, "value": one.value} for one in pauses]
    [ask] = requests_in(pauses, "approval")
    for same in (told, tuple(pauses), iter(pauses), {"task": told[:1], "other": told[1:]}):
        assert requests_in(same, "approval") == [ask]
    said = {"decisions": {ask["approval_id"]: "approve"}, "reason": ""}
    assert decisions_by_id(told, {"decisions": [{"type": "approve"}]}) == said
    assert requests_in([], "approval") == requests_in({}, "approval") == []
    assert requests_in(told, "consent") == [] and requests_in(told) == [ask]
    for wrong in (state, await graph.aget_state(config()), None, "pauses", 7, ["name?"], [{"id": "1"}], told[0]):
        with pytest.raises(InvalidInput, match="pause") as refused:
            requests_in(wrong, "approval")  # type: ignore[call-overload]
        assert "__interrupt__" in refused.value.hint
    with pytest.raises(InvalidInput, match="'approvals'"):
        requests_in(pauses, "approvals")  # type: ignore[call-overload]


@pytest.mark.parametrize("calls", [[SEND], [SEND, SECOND]], ids=["one", "two"])
async def test_mistyped_id_is_logged_and_an_answered_one_is_not(
    calls: Any, deputy: Deputy, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    state = await graph.ainvoke(asking(*calls), config(), context=ALICE)
    ids = [one["approval_id"] for one in requests_in(state["__interrupt__"], "approval")]
    with caplog.at_level(logging.WARNING, "deputize"):
        mistyped = {"decisions": dict.fromkeys([ids[0][:-1]], "approve")}
        state = await graph.ainvoke(Command(resume=mistyped), config(), context=ALICE)
    assert [one["approval_id"] for one in requests_in(state["__interrupt__"], "approval")] == ids
    assert [repr(ids[0][:-1]) in one.getMessage() for one in caplog.records] == [True] and not sandbox.sent(MINE)
    caplog.clear()
    yes = {"decisions": dict.fromkeys(ids, "approve")}
    with caplog.at_level(logging.WARNING, "deputize"):
        for _ in range(3):
            await graph.ainvoke(Command(resume=yes), config(), context=ALICE)
    assert len(sandbox.sent(MINE)) == len(calls) and not caplog.records


# ------------------------------------------------------------- values that are no answer


NO_ANSWERS: list[Any] = [
    RESUME,
    "look again",
    "",
    "approve",
    True,
    False,
    0,
    1,
    [],
    ["approve"],
    [{"type": "accept"}],
    {"type": "approve"},
    {"decision": "approve"},
    {"approve": True},
    {"decisions": [{"type": "approve"}]},
    {"decisions": "approve"},
    {"decisions": {"another": "approve"}},
    {"decisions": {"another": "yes"}},
    {"decisions": {7: "approve"}},
    {"decisions": {}, "reason": 7},
    UUID(int=7),
]
ALMOST = ("approve", "accept", "decision")
of_no_answers = pytest.mark.parametrize("value", NO_ANSWERS, ids=lambda value: str(value)[:40])


async def resumed(graph: Any, form: str, value: Any) -> Any:
    """Resume with this value, for whatever waits, or by the id of each interrupt."""
    pauses = (await graph.aget_state(config())).interrupts
    given = value if form == "bare" else {pause.id: value for pause in pauses}
    return await graph.ainvoke(Command(resume=given), config(), context=ALICE)


@of_no_answers
@pytest.mark.parametrize("form", ["bare", "by interrupt"])
@pytest.mark.parametrize("calls", [(SEND,), (SEND, SECOND)], ids=["one call", "two calls"])
@pytest.mark.parametrize("way", ["act_node", "create_agent"])
async def test_invalid_resume_value_decides_nothing_and_pauses_again(
    way: str, calls: Any, form: str, value: Any, deputy: Deputy, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    graph, start = begun(way, deputy, *calls)
    await graph.ainvoke(start, config(), context=ALICE)
    before = requests_in((await graph.aget_state(config())).interrupts, "consent")
    state = await resumed(graph, form, value)
    assert [ask["consent_id"] for ask in requests_in(state["__interrupt__"], "consent")] == [before[0]["consent_id"]]
    await grant_all(deputy, sandbox, graph, config())
    state = await resumed(graph, form, value)
    asks = requests_in(state["__interrupt__"], "approval")
    assert len(asks) == len(calls)
    for _ in range(3):  # also where the same value comes again and again
        caplog.clear()
        state = await resumed(graph, form, value)
        assert requests_in(state["__interrupt__"], "approval") == asks and sandbox.sent(MINE) == []
        assert len(caplog.messages) == any(word in str(value) for word in ALMOST), caplog.messages
    for ask in asks:
        await deputy.decide(ask["approval_id"], "approve", by="alice")
    state = await resumed(graph, form, value)
    assert "__interrupt__" not in state and len(sandbox.sent(MINE)) == len(calls)


@of_no_answers
async def test_mismatched_resume_value_decides_nothing_in_an_inbox(
    value: Any, deputy: Deputy, sandbox: Sandbox
) -> None:
    if value in ([{"type": "accept"}], {"type": "approve"}, {"decisions": [{"type": "approve"}]}):
        pytest.skip("There it is an answer.")
    await connect(deputy, sandbox, "send")
    graph = plain(deputy, interrupt_mode="hitl")
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    ask: Any = {}
    for _ in range(2):
        state = await resumed(graph, "bare", value)
        [ask] = requests_in(state["__interrupt__"], "approval")
        assert sandbox.sent(MINE) == []
    await deputy.decide(ask["approval_id"], "approve", by="alice")
    await resumed(graph, "bare", value)
    assert len(sandbox.sent(MINE)) == 1


async def test_log_names_only_the_mismatched_parts(
    deputy: Deputy, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    state = await graph.ainvoke(asking(SEND), config(), context=ALICE)
    [ask] = requests_in(state["__interrupt__"], "approval")
    await resumed(graph, "bare", {"decisions": {ask["approval_id"]: "ya29.secret"}})
    [line] = caplog.messages
    assert ask["approval_id"] in line and "'approve' or 'reject'" in line and "ya29.secret" not in caplog.text
    caplog.clear()
    await resumed(graph, "bare", {"decisions": {"a\nb" * 1000: "ya29.secret"}})
    [line] = caplog.messages
    assert "\n" not in line and len(line) < 800 and "ya29.secret" not in line


async def test_answer_beside_a_malformed_value_decides_nothing(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    state = await graph.ainvoke(asking(SEND, SECOND), config(), context=ALICE)
    first, second = requests_in(state["__interrupt__"], "approval")
    state = await resumed(graph, "bare", {"decisions": {first["approval_id"]: "approve", second["approval_id"]: "yes"}})
    assert requests_in(state["__interrupt__"], "approval") == [first, second] and sandbox.sent(MINE) == []


async def test_resume_value_by_interrupt_id_may_be_none(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    state = await graph.ainvoke(asking(SEND), config(), context=ALICE)
    state = await resumed(graph, "by interrupt", None)
    [ask] = requests_in(state["__interrupt__"], "approval")
    await deputy.decide(ask["approval_id"], "approve", by="alice")
    await resumed(graph, "by interrupt", None)
    assert len(sandbox.sent(MINE)) == 1
