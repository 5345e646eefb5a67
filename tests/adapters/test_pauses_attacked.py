"""Attacks on pauses left open by failed runs: in the inner graph, past its wait, and with malformed answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from deputize.adapters.langgraph import Answers, act_node
from deputize.core import Deputy, PolicyDenied, StoreUnavailable
from deputize.core.vault.stores.memory import MemoryStore
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, approvals_of, asking, config, plain, tool_messages
from tests.support.sandbox_deputy import Clock, build, connect

pytestmark = pytest.mark.usefixtures("whoever_resumes")
ALICE, BOB = Context("alice"), Context("bob")
MINE, HIS = "alice@example.test", "bob@example.test"
WAKE: Command[Any] = Command(resume={"wake": True})
EDIT = {"decision": "edit", "arguments": {**SEND["args"], "body": "Edited."}}
TWO = [SEND, {**SEND, "id": "second", "args": {**SEND["args"], "subject": "Dinner"}}]


@pytest.fixture
async def deputy(sandbox: Sandbox) -> AsyncIterator[Deputy]:
    async with await build(sandbox, clock=Clock(time.time())) as deputy:
        await connect(deputy, sandbox, "readonly", "send")
        await connect(deputy, sandbox, "readonly", "send", user="bob", as_=HIS)
        yield deputy


async def said(graph: Any, form: str, what: Any) -> Command[Any]:
    """Return this answer to everything the graph currently asks."""
    [pause, *_] = (await graph.aget_state(config())).interrupts
    answer = {"decisions": {one["approval_id"]: what for one in await approvals_of(graph, config())}}
    return Command(resume={pause.id: answer} if form == "map" else answer)


async def breaks(
    graph: Any, given: Any, deputy: Deputy, monkeypatch: pytest.MonkeyPatch, where: str = "check_calls"
) -> None:
    """Fail Alice's run in the gate, or in the act."""

    async def failing(*_: Any, **__: Any) -> Any:
        raise ConnectionError("A bug.")

    with monkeypatch.context() as patches:
        patches.setattr(deputy if where == "check_calls" else deputy.previewer, where, failing)
        with pytest.raises(ConnectionError):
            await graph.ainvoke(given, config(), context=ALICE)


@pytest.mark.parametrize("form", ["bare", "map", "nothing"])
@pytest.mark.parametrize("calls", [[SEND], TWO], ids=["one", "two"])
async def test_pause_whose_gate_failed_belongs_to_its_owner(
    calls: Any, form: str, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(*calls), config(), context=ALICE)
    await graph.ainvoke(WAKE, config(), context=ALICE)
    await breaks(graph, WAKE, deputy, monkeypatch)
    his = None if form == "nothing" else await said(graph, form, "approve")
    with pytest.raises(PolicyDenied):
        await graph.ainvoke(his, config(), context=BOB)
    assert await deputy.pending("bob") == []
    await graph.ainvoke(None, config(), context=ALICE)
    assert not sandbox.sent(MINE), "his yes is nobody's"
    while (await graph.aget_state(config())).interrupts:
        await graph.ainvoke(await said(graph, "map", "approve"), config(), context=ALICE)
    assert len(sandbox.sent(MINE)) == len(calls) and not sandbox.sent(HIS)


@pytest.mark.parametrize("where", ["check_calls", "authorize"])
@pytest.mark.parametrize("form", ["bare", "map"])
@pytest.mark.parametrize("calls", [[SEND], TWO], ids=["one", "two"])
async def test_rejection_after_a_failed_inner_graph_holds(
    calls: Any, form: str, where: str, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(*calls), config(), context=ALICE)
    await graph.ainvoke(WAKE, config(), context=ALICE)
    yes, no = await said(graph, form, "approve"), await said(graph, form, "reject")
    await breaks(graph, yes, deputy, monkeypatch, where)
    with pytest.raises(PolicyDenied):
        await graph.ainvoke(no, config(), context=BOB)
    assert {row.json["status"] for row in await deputy.vault.scan("approval")} == {"approved"}
    resume: Any = no.resume
    for answer in [resume] if form == "bare" else resume.values():
        answer["reason"] = "It can wait."
    state = await graph.ainvoke(no, config(), context=ALICE)
    assert all("It can wait." in one.text for one in tool_messages(state).values())
    assert {one.artifact["error"] for one in tool_messages(state).values()} == {"declined"}
    assert not sandbox.sent(MINE)


@pytest.mark.parametrize("where", ["check_calls", "authorize"])
@pytest.mark.parametrize("calls", [[SEND], TWO], ids=["one", "two"])
async def test_rejection_by_another_user_after_a_failed_inner_graph_is_ignored(
    calls: Any, where: str, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(*calls), config(), context=ALICE)
    await graph.ainvoke(WAKE, config(), context=ALICE)
    yes, no = await said(graph, "map", "approve"), await said(graph, "bare", "reject")
    await breaks(graph, yes, deputy, monkeypatch, where)
    with pytest.raises(PolicyDenied):
        await graph.ainvoke(no, config(), context=BOB)
    state = await graph.ainvoke(None, config(), context=ALICE)
    assert {one.status for one in tool_messages(state).values()} == {"success"}
    assert len(sandbox.sent(MINE)) == len(calls)


swap = MemoryStore.swap


async def full(self: MemoryStore, kind: str, *more: Any) -> bool:
    """A store that cannot write approvals."""
    if kind == "approval":
        raise StoreUnavailable("The vault's disk is full.")
    return await swap(self, kind, *more)


async def lost(graph: Any, given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alice answers, and the answer cannot be stored."""
    with monkeypatch.context() as patches:
        patches.setattr(MemoryStore, "swap", full)
        with pytest.raises(StoreUnavailable):
            await graph.ainvoke(given, config(), context=ALICE)


@pytest.mark.parametrize("form", ["bare", "map"])
async def test_rejection_as_our_model_class_is_accepted(
    form: str, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    [pause] = (await graph.aget_state(config())).interrupts
    [ask] = await approvals_of(graph, config())
    await lost(graph, await said(graph, form, "approve"), monkeypatch)
    no = Answers(decisions={ask["approval_id"]: "reject"})
    state = await graph.ainvoke(Command(resume={pause.id: no} if form == "map" else no), config(), context=ALICE)
    assert tool_messages(state)["send"].artifact == {"error": "declined"} and not sandbox.sent(MINE)


@pytest.mark.parametrize("odd", [{1: "a", "b": 2}, {("a",): 1}, {1, 2}, float("nan")], ids=str)
async def test_answer_with_unknown_extra_fields_is_accepted(
    odd: Any, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    [ask] = await approvals_of(graph, config())
    state = await graph.ainvoke(
        Command(resume={"decisions": {ask["approval_id"]: "approve"}, "more": odd}), config(), context=ALICE
    )
    assert tool_messages(state)["send"].status == "success" and len(sandbox.sent(MINE)) == 1


async def test_application_interrupt_keeps_its_equal_resume_value(deputy: Deputy, sandbox: Sandbox) -> None:
    acting, heard = act_node(deputy, "gmail"), list[Any]()

    async def node(state: MessagesState, config: RunnableConfig) -> Any:
        first = interrupt("sure?")
        done = await acting.ainvoke(state, config)
        heard.append((first, interrupt("last")))
        return done

    async def beside(state: MessagesState) -> Any:
        heard.append(interrupt("beside?"))

    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("tools", node)
    builder.add_node("beside", beside)
    for one in ("tools", "beside"):
        builder.add_edge(START, one)
        builder.add_edge(one, END)
    graph: Any = builder.compile(checkpointer=InMemorySaver())
    await graph.ainvoke(asking(SEND), config(), context=ALICE)

    async def answer(**words: Any) -> None:
        pauses = (await graph.aget_state(config())).interrupts
        named = {"sure?": "sure", "beside?": "beside", "last": "last"}
        found = {one.id: words.get(named.get(str(one.value), "ours")) for one in pauses}
        given = {id: said for id, said in found.items() if said is not None}
        await graph.ainvoke(Command(resume=given), config(), context=ALICE)

    await answer(sure=True)
    [ask] = await approvals_of(graph, config())
    await answer(ours={"decisions": {ask["approval_id"]: "approve"}}, beside=True)
    await answer(last="three")
    assert heard == [True, (True, "three")] and len(sandbox.sent(MINE)) == 1


@pytest.mark.parametrize("first", ["approve", EDIT], ids=["approve", "edit"])
@pytest.mark.parametrize("forms", ["bare bare", "bare map", "map bare", "map map"])
@pytest.mark.parametrize("deep", [False, True], ids=["", "in the inner graph"])
async def test_rejection_replaces_an_approval_that_a_blocking_run_could_not_store(
    deep: bool, forms: str, first: Any, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, (before, after) = plain(deputy), forms.split()

    async def run(given: Any) -> Any:
        return await asyncio.to_thread(graph.invoke, given, config(), context=ALICE)

    await run(asking(SEND))
    if deep:
        await run(WAKE)
    with monkeypatch.context() as patches:
        patches.setattr(MemoryStore, "swap", full)
        with pytest.raises(StoreUnavailable):
            await run(await said(graph, before, first))
    await run(await said(graph, after, "reject"))
    assert not sandbox.sent(MINE)
    assert [row.json["status"] for row in await deputy.vault.scan("approval")] == ["rejected"]


@pytest.mark.parametrize("forms", ["bare bare", "bare map", "map bare", "map map"])
@pytest.mark.parametrize("what", ["perhaps", "wake", "reject"])
@pytest.mark.parametrize("calls", [[SEND], TWO], ids=["one", "two"])
async def test_only_the_next_answer_counts_when_the_first_was_not_stored(
    calls: Any, what: str, forms: str, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, (before, after) = plain(deputy), forms.split()
    await graph.ainvoke(asking(*calls), config(), context=ALICE)
    await lost(graph, await said(graph, before, "approve"), monkeypatch)
    if what == "wake":
        [pause] = (await graph.aget_state(config())).interrupts
        given: Command[Any] = Command(resume={pause.id: WAKE.resume}) if after == "map" else WAKE
    else:
        given = await said(graph, after, what)
    state = await graph.ainvoke(given, config(), context=ALICE)
    assert not sandbox.sent(MINE)
    if what == "reject":
        assert {one.artifact["error"] for one in tool_messages(state).values()} == {"declined"}
    else:
        await graph.ainvoke(None, config(), context=ALICE)
        assert {row.json["status"] for row in await deputy.vault.scan("approval")} == {"pending"}
        await graph.ainvoke(await said(graph, after, "approve"), config(), context=ALICE)
        assert len(sandbox.sent(MINE)) == len(calls)


@pytest.mark.parametrize("calls", [[SEND], TWO], ids=["one", "two"])
async def test_rejection_by_position_counts_when_the_approval_was_not_stored(
    calls: Any, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = plain(deputy, interrupt_mode="hitl")
    await graph.ainvoke(asking(*calls), config(), context=ALICE)
    yes, no = ({"decisions": [{"type": what}] * len(calls)} for what in ("approve", "reject"))
    await lost(graph, Command(resume=yes), monkeypatch)
    state = await graph.ainvoke(Command(resume=no), config(), context=ALICE)
    assert {one.artifact["error"] for one in tool_messages(state).values()} == {"declined"}
    assert not sandbox.sent(MINE)


@pytest.mark.parametrize("fails", [1, 2, 3, "store"])
async def test_approval_by_another_user_is_ignored_when_the_checkpointer_fails(
    fails: Any, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, put, left = plain(deputy), InMemorySaver.aput_writes, [fails]
    await graph.ainvoke(asking(SEND), config(), context=ALICE)

    async def cut(self: InMemorySaver, *given: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise ConnectionError("The line was cut.")
        await put(self, *given)

    his = await said(graph, "bare", "approve")
    with monkeypatch.context() as patches:
        store = fails == "store"
        patches.setattr(*(MemoryStore, "swap", full) if store else (InMemorySaver, "aput_writes", cut))
        with pytest.raises((ConnectionError, PolicyDenied, StoreUnavailable)):
            await graph.ainvoke(his, config(), context=BOB)
    await graph.ainvoke(None, config(), context=ALICE)
    assert not sandbox.sent(MINE)
