"""Attacks on an approval given with the resume: what is stored if the store could not write it, and callbacks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from deputize.core import Call, DeputizeError, StoreUnavailable
from deputize.core.vault.stores.memory import MemoryStore
from deputize.sandbox import Sandbox
from tests.adapters.test_alone_yes import ALICE, BOB, MINE, World, begun
from tests.support.graphs import SEND, approvals_of, asking, config, tool_messages
from tests.support.sandbox_deputy import Clock, build, connect

HIS = "bob@example.test"
HIS_EDIT = {"decision": "edit", "arguments": {**SEND["args"], "body": "His."}}
YES = ["approval.requested", "approval.approved", "approval.used"]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    sandbox, clock = Sandbox(), Clock(time.time())
    async with await build(sandbox, clock=clock) as deputy:
        await connect(deputy, sandbox, "send", user="bob", as_=HIS)
        yield await begun(sandbox, deputy, clock)


async def lost(world: World, monkeypatch: pytest.MonkeyPatch, form: str = "bare") -> None:
    """Alice approves, and the store cannot write approvals."""
    swap = MemoryStore.swap

    async def full(self: MemoryStore, kind: str, *given: Any) -> bool:
        if kind == "approval":
            raise StoreUnavailable("The vault's disk is full.")
        return await swap(self, kind, *given)

    with monkeypatch.context() as patches:
        patches.setattr(MemoryStore, "swap", full)
        assert await world.resume(form=form) == "store_unavailable"


async def approvals_told(world: World) -> list[str]:
    return [event for event in (await world.left())["told"] if event.startswith("approval.")]


@pytest.mark.parametrize("form", ["bare", "map"])
async def test_blocking_run_uses_an_approval_that_was_not_stored(
    form: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lost(world, monkeypatch, form)
    state = await asyncio.to_thread(world.graph.invoke, None, config(), context=ALICE)
    assert tool_messages(state)["send"].status == "success"
    assert len(world.sandbox.sent(MINE)) == 1 and await approvals_told(world) == YES


@pytest.mark.parametrize("form", ["bare", "map", "nothing"])
async def test_rejection_on_the_page_after_an_unstored_approval_holds(
    form: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lost(world, monkeypatch)
    [waits] = await world.deputy.pending("alice")
    await world.deputy.decide(waits.id, "reject", by="alice")
    if form == "nothing":
        state = await world.graph.ainvoke(None, config(), context=ALICE)
        assert tool_messages(state)["send"].artifact["error"] == "declined"
    else:
        assert await world.resume(form=form) == ("error", "declined")
    assert not world.sandbox.sent(MINE)


async def test_stored_answer_is_useless_to_others_or_elsewhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await breaks(world, monkeypatch, "bare")
    saver: Any = world.graph.checkpointer
    kept = [saver.serde.loads_typed(one[2]) for writes in saver.writes.values() for one in writes.values()]
    [note] = [
        one for said in kept if isinstance(said, list) for one in said if isinstance(one, dict) and "heard" in one
    ]
    with pytest.raises(DeputizeError):
        await world.graph.ainvoke(Command(resume=note), config(), context=BOB)
    for number, who in enumerate((ALICE, BOB)):
        where = config(f"other {number}")
        await world.graph.ainvoke(asking(SEND), where, context=who)
        whose = (await world.graph.aget_state(where)).interrupts[0].value["owner"]
        for forged in (note, {"heard": note["heard"] | {"task": whose["task"]}}, {"heard": whose | {"attempt": 1}}):
            answer: Command[Any] = Command(resume=forged)
            for given in (answer, None):
                await world.graph.ainvoke(given, where, context=who)
        assert (await world.graph.aget_state(where)).interrupts, "it waits for its own answer"
    assert not world.sandbox.sent(MINE) and not world.sandbox.sent(HIS)
    state = await world.graph.ainvoke(None, config(), context=ALICE)
    assert tool_messages(state)["send"].status == "success" and not world.sandbox.sent(HIS)


@pytest.mark.parametrize("his", ["bare", "map"])
@pytest.mark.parametrize("form", ["bare", "map"])
@pytest.mark.parametrize("run", ["blocking", "async"])
@pytest.mark.parametrize("what", ["approve", "reject", HIS_EDIT], ids=["approve", "reject", "edit"])
async def test_answer_by_another_user_is_ignored_when_the_owners_was_not_stored(
    what: Any, run: str, form: str, his: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LangGraph keeps the answer of a failed run with its task, and a bare one also beside the checkpoint.

    Bob's resume replaces only the one beside the checkpoint, which no later run hears.
    """
    await lost(world, monkeypatch, form)
    assert await world.resume(what, BOB, form=his) == "policy_denied"
    if run == "blocking":
        await asyncio.to_thread(world.graph.invoke, None, config(), context=ALICE)
    else:
        await world.graph.ainvoke(None, config(), context=ALICE)
    assert await approvals_told(world) == YES, "her own yes"
    assert [mail.text.strip() for mail in world.sandbox.sent(MINE)] == [SEND["args"]["body"]]


@pytest.mark.parametrize("what", ["approve", "reject", HIS_EDIT], ids=["approve", "reject", "edit"])
async def test_answer_by_another_user_is_ignored_when_the_pause_was_not_stored(
    what: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = InMemorySaver.aput

    async def cut(self: InMemorySaver, where: Any, *given: Any) -> Any:
        if where["configurable"].get("checkpoint_ns"):
            raise ConnectionError("The line was cut.")
        return await put(self, where, *given)

    asked = [one["approval_id"] for one in await approvals_of(world.graph, config())]
    with monkeypatch.context() as patches:
        patches.setattr(InMemorySaver, "aput", cut)
        await world.graph.ainvoke(Command(resume={"wake": True}), config(), context=ALICE)
    assert await world.resume(what, BOB, asked) == "policy_denied"
    await world.graph.ainvoke(None, config(), context=ALICE)
    assert not world.sandbox.sent(MINE) and await approvals_told(world) == ["approval.requested"]


EDIT = {"decision": "edit", "arguments": {**SEND["args"], "body": "Edited."}}


async def breaks(world: World, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Alice approves, which is recorded, and then something fails before the mail is sent."""

    async def failing(*_: Any, **__: Any) -> Any:
        raise ConnectionError("A bug.")

    with monkeypatch.context() as patches:
        patches.setattr(world.deputy.previewer, "authorize", failing)
        with pytest.raises(ConnectionError):
            await world.resume(form=form)


@pytest.mark.usefixtures("whoever_resumes")
@pytest.mark.parametrize("first", ["bare", "map"])
@pytest.mark.parametrize("form", ["bare", "map"])
@pytest.mark.parametrize("what", ["reject", "approve", EDIT], ids=["reject", "approve", "edit"])
@pytest.mark.parametrize("why", [lost, breaks])
async def test_later_answer_to_an_open_pause_replaces_the_first(
    why: Any, what: Any, form: str, first: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await why(world, monkeypatch, first)
    came = await world.resume(what, form=form)
    said = [mail.text.strip() for mail in world.sandbox.sent(MINE)]
    if what == "reject":
        assert (came, said, (await world.left())["rows"]) == (("error", "declined"), [], ["rejected"])
    else:  # of two answers that are recorded the first one counts, as on the page
        edited = what == EDIT and why is lost
        assert (came[0], said) == ("success", ["Edited." if edited else SEND["args"]["body"]])
    await world.graph.ainvoke(None, config(), context=ALICE)
    assert len(world.sandbox.sent(MINE)) == len(said)


@pytest.mark.usefixtures("whoever_resumes")
@pytest.mark.parametrize("form", ["bare", "map"])
@pytest.mark.parametrize("why", [lost, breaks])
async def test_answer_in_another_form_decides_nothing(
    why: Any, form: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await why(world, monkeypatch, form)
    came = await world.resume("perhaps", form=form)
    if why is breaks:  # her yes is in the vault, which every resume reads
        assert came == ("success", "") and len(world.sandbox.sent(MINE)) == 1
    else:
        assert isinstance(came, list) and not world.sandbox.sent(MINE), "asked again"
        assert await world.resume("reject", form=form) == ("error", "declined")
        assert not world.sandbox.sent(MINE)


@pytest.mark.usefixtures("whoever_resumes")
@pytest.mark.parametrize("form", ["bare", "map"])
async def test_rejection_by_another_user_after_the_approval_is_ignored(
    form: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await breaks(world, monkeypatch, form)
    assert await world.resume("reject", BOB, form=form) == "policy_denied"
    state = await world.graph.ainvoke(None, config(), context=ALICE)
    assert tool_messages(state)["send"].status == "success" and len(world.sandbox.sent(MINE)) == 1
    assert "approval.rejected" not in await approvals_told(world)


@pytest.mark.usefixtures("whoever_resumes")
@pytest.mark.parametrize("durability", ["async", "exit"])
async def test_pause_whose_inner_graph_failed_belongs_to_its_owner(
    durability: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: Any, **__: Any) -> Any:
        raise ConnectionError("A bug.")

    wake: Command[Any] = Command(resume={"wake": True})
    with monkeypatch.context() as patches:
        patches.setattr(world.deputy, "check_calls", failing)
        with pytest.raises(ConnectionError):
            await world.graph.ainvoke(wake, config(), context=ALICE, durability=durability)
    assert await world.resume("approve", BOB) == "policy_denied"
    assert await world.deputy.pending("bob") == []
    await world.graph.ainvoke(None, config(), context=ALICE)
    assert not world.sandbox.sent(MINE), "his yes is nobody's"
    assert await world.resume() == ("success", "") and not world.sandbox.sent(HIS)


@pytest.mark.parametrize("what", ["same", "other", "bob", "reject"])
async def test_call_in_a_callback_acts_as_outside_the_graph(what: str, world: World) -> None:
    [row], came = [row.json for row in await world.deputy.vault.scan("approval")], list[str]()
    message = (await world.graph.aget_state(config())).values["messages"][1].id
    call = Call(row["thread"], message, "other" if what == "other" else "send")

    class Acts(AsyncCallbackHandler):
        async def on_tool_start(self, *_: Any, **__: Any) -> None:
            try:
                if what == "reject":
                    await world.deputy.decide(row["id"], "reject", by="alice")
                else:
                    await world.deputy.act(
                        SEND["name"], SEND["args"], user=what if what == "bob" else "alice", call=call
                    )
                came.append("done")
            except DeputizeError as error:
                came.append(error.code)

    said: Any = Command(resume={"decisions": {row["id"]: "approve"}})
    state = await world.graph.ainvoke(said, {**config(), "callbacks": [Acts()]}, context=ALICE)
    status = tool_messages(state)["send"].status
    assert (came, status) == {
        "same": (["done"], "success"),
        "other": (["approval_required"], "success"),
        "bob": (["approval_required"], "success"),
        "reject": (["done"], "error"),
    }[what]
    assert len(world.sandbox.sent(MINE)) == (what != "reject") and not world.sandbox.sent(HIS)
