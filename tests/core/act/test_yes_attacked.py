"""Attacks on a yes at hand: by rivals at every turn, by other edits, by keys that change, by tasks that outlive it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from deputize.core import Approval, ApprovalRequired, Call, Conflict, DeputizeError, StoreUnavailable, Verdict
from deputize.core.act.approval import Decision
from deputize.core.vault.rotation import reseal
from deputize.core.vault.stores.memory import MemoryStore
from deputize.sandbox.deputies import give_grant
from tests.core.act.test_mandates import MODIFY, World, world
from tests.core.act.test_yes_at_hand import left, told

__all__ = ["world"]

YES = ["approval.asked", "approval.approved", "approval.used"]


async def said(world: World, asked: Approval) -> Any:
    yes = await world.deputy.yes_at_hand(asked, by="alice")
    assert yes is not None
    return yes


def sent(world: World) -> list[str]:
    return [mail.text.strip() for mail in world.sandbox.sent("alice@example.test")]


def turning(step: Any) -> Any:
    async def turned(self: MemoryStore, *given: Any) -> Any:
        await asyncio.sleep(0)
        try:
            return await step(self, *given)
        finally:
            await asyncio.sleep(0)

    return turned


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that lets others run before and after each step, in which it keeps its order."""
    for name in ("get", "insert", "swap", "delete"):
        monkeypatch.setattr(MemoryStore, name, turning(getattr(MemoryStore, name)))


async def new_worlds() -> AsyncIterator[World]:
    while True:
        world = World()
        world.deputy = await world.process()
        give_grant(world.sandbox, world.deputy, "alice", [MODIFY], provider="google", email="alice@example.test")
        async with world.deputy:
            yield world


async def approved(world: World, asked: Approval) -> None:
    if yes := await world.deputy.yes_at_hand(asked, by="alice"):
        async with yes:
            await world.act("a")


@pytest.mark.parametrize("rival", ["reject", "edit", "approve"])
@pytest.mark.usefixtures("slow")
async def test_whoever_answers_elsewhere_at_any_turn_is_told_it_is_too_late_or_is_heeded(rival: Any) -> None:
    edit = {"people": ["bob@acme.example"], "text": "Edited"} if rival == "edit" else None
    turn, ended, outcomes = 0, False, set[bool]()
    async for one in new_worlds():
        asked = await one.asked(id="a")
        act = asyncio.create_task(approved(one, asked))
        for _ in range(turn):
            await asyncio.sleep(0)
        ended, heeded = act.done(), True
        try:
            await one.deputy.decide(asked, rival, by="alice", arguments=edit)
        except Conflict:
            heeded = False
        await asyncio.gather(act, return_exceptions=True)
        with suppress(DeputizeError):
            await one.act("a")
        outcomes.add(heeded)
        assert sent(one) == {"reject": [], "edit": ["Edited"], "approve": ["Hi"]}[rival] if heeded else ["Hi"]
        events = [event for event in told(one) if event in {*YES, "approval.rejected", "approval.edited", "act.intent"}]
        answer = {"reject": "rejected", "edit": "edited", "approve": "approved"}[rival] if heeded else "approved"
        done = [] if heeded and rival == "reject" else ["approval.used", "act.intent"]
        assert events == ["approval.asked", f"approval.{answer}", *done]
        turn += 1
        if ended:
            break
    assert outcomes == {True, False} and turn > 10


@pytest.mark.parametrize("at_hand", [True, False])
async def test_another_edit_while_an_edited_act_is_under_way_is_the_one_that_is_done(
    at_hand: bool, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at hand: nobody has said yes to the first one after it was shown what it would do."""
    deputy, first = world.deputy, await world.asked(id="a")
    one, two = ({"people": ["eve@evil.test"], "text": text} for text in ("One", "Two"))
    await deputy.decide(first, "edit", by="alice", arguments=one)
    asked = await world.asked(id="a")  # it reaches whom the first did not
    assert asked.id != first.id and asked.preview["text"] == "One"
    allowed = deputy.planner.allowed

    async def allowing(*given: Any) -> Any:
        monkeypatch.undo()
        act = await allowed(*given) if at_hand else None
        await deputy.decide(asked, "edit", by="alice", arguments=two)
        return act or await allowed(*given)

    monkeypatch.setattr(deputy.planner, "allowed", allowing)
    with pytest.raises(ApprovalRequired):
        if at_hand:
            async with await said(world, asked):
                await world.act("a")
        else:
            await world.act("a")
    assert sent(world) == []
    again = await world.asked(id="a")  # an edit of an edit is shown first
    assert again.preview["text"] == "Two" and again.changed == ("text",)
    await deputy.decide(again, "approve", by="alice")
    await world.act("a")
    assert sent(world) == ["Two"]


async def test_a_row_that_is_sealed_anew_between_the_look_and_the_swap_is_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, approvals = await world.asked(id="a"), world.deputy.approvals
    looked = approvals._asked

    async def sealed_anew(*given: Any) -> Any:
        row = await looked(*given)
        if len(given) == 2:  # to take it
            world.deputy.vault.rekey([b"n" * 32, b"k" * 32])
            await reseal(world.deputy.vault)
        return row

    monkeypatch.setattr(approvals, "_asked", sealed_anew)
    async with await said(world, asked):
        await world.act("a")
    assert sent(world) == ["Hi"]


async def test_decision_is_in_the_audit_when_its_caller_is_cancelled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, swap, swapped = await world.asked(id="a"), MemoryStore.swap, asyncio.Event()

    async def slowly(self: MemoryStore, *given: Any) -> bool:
        done = await swap(self, *given)
        swapped.set()
        await asyncio.sleep(0.01)
        return done

    monkeypatch.setattr(MemoryStore, "swap", slowly)
    decision = asyncio.create_task(world.deputy.decide(asked, "approve", by="alice"))
    await swapped.wait()
    decision.cancel()
    with pytest.raises(asyncio.CancelledError):
        await decision
    await asyncio.sleep(0.05)
    assert [row.json["status"] for row in await world.deputy.vault.scan("approval")] == ["approved"]
    assert told(world).count("approval.approved") == 1


async def test_a_read_that_is_cancelled_as_it_takes_the_yes_leaves_the_yes_in_the_audit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deputy.policy = lambda act: Verdict.ASK
    asked, swap, taken = await world.asked(id="r", tool="read"), MemoryStore.swap, asyncio.Event()

    async def slowly(self: MemoryStore, *given: Any) -> bool:
        done = await swap(self, *given)
        taken.set()
        await asyncio.sleep(0.01)
        return done

    async def run() -> None:
        async with await said(world, asked):
            await world.act("r", "read")

    monkeypatch.setattr(MemoryStore, "swap", slowly)
    act = asyncio.create_task(run())
    await taken.wait()
    act.cancel()
    with pytest.raises(asyncio.CancelledError):
        await act
    await asyncio.sleep(0.05)
    after = await left(world)
    assert after["approvals"] == ["used"] and after["told"].count("approval.approved") == 1


async def test_a_task_that_outlives_a_yes_which_the_store_could_not_take_does_not_act_on_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go = await world.asked(id="a"), asyncio.Event()

    async def later() -> Any:
        await go.wait()
        return await world.act("a")

    async def full(*_: Any) -> bool:
        raise StoreUnavailable("The vault's disk is full.")

    yes, outliving = await said(world, asked), list[asyncio.Task[Any]]()
    with monkeypatch.context() as patches:
        patches.setattr(MemoryStore, "swap", full)
        with pytest.raises(StoreUnavailable):
            async with yes:
                outliving.append(asyncio.create_task(later()))
    go.set()
    with pytest.raises(ApprovalRequired):
        await outliving[0]
    assert sent(world) == [] and (await left(world))["approvals"] == ["pending"]


async def test_inside_of_one_yes_another_leaves_it_and_acts_of_others_take_neither(world: World) -> None:
    give_grant(world.sandbox, world.deputy, "bob", [MODIFY], provider="google", email="bob@example.test")
    one, two = await world.asked(id="a", text="One"), await world.asked(id="b", text="Two")
    async with await said(world, one), await said(world, two):
        await world.asked(id="a", text="One", user="bob")
        await world.asked(id="c", text="One")
        await world.act("a", text="One")
        await world.act("b", text="Two")
    assert sent(world) == ["One", "Two"]


async def test_of_calls_without_an_id_at_the_same_time_one_takes_the_yes(world: World) -> None:
    async def call() -> Any:
        return await world.deputy.act("gmail_tell", {"people": ["bob@acme.example"]}, user="alice", call=Call("t"))

    with pytest.raises(ApprovalRequired) as asked:
        await call()
    async with await said(world, asked.value.approval):
        came = await asyncio.gather(*(call() for _ in range(3)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in came) == ["ApprovalRequired", "ApprovalRequired", "dict"]
    assert world.sent == 1 and [event for event in told(world) if event.startswith("approval.")] == YES


@pytest.mark.parametrize("change", ["approved", "renewed", "edited", "rejected"])
@pytest.mark.parametrize("known", [True, False])
async def test_a_row_that_a_rival_moves_at_the_swap_is_looked_at_once_more(
    change: str, known: bool, world: World
) -> None:
    """A yes of another process is the same yes; what else came of the row is what the act is told."""
    call = Call("t", "m", "a") if known else Call("t")
    arguments, store = {"people": ["bob@acme.example"], "text": "Hi"}, world.deputy.vault.store
    with pytest.raises(ApprovalRequired) as waits:
        await world.deputy.act("gmail_tell", arguments, user="alice", call=call)
    asked, swap, met = waits.value.approval, store.swap, list[str]()

    async def swapping(kind: str, *rest: Any) -> bool:
        if kind == "approval" and not met:
            met.append(change)
            async with await world.process() as rival:
                match change:
                    case "renewed":
                        await rival.renew([asked], user="alice")
                    case "edited":
                        other = arguments | {"text": "Edited"}
                        await rival.decide(asked, "edit", by="alice", arguments=other)
                    case _:
                        decision: Decision = "approve" if change == "approved" else "reject"
                        await rival.decide(asked, decision, by="alice", reason="Of the rival")
        return await swap(kind, *rest)

    store.swap = swapping  # type: ignore[method-assign, assignment]
    came_to = ""
    async with await said(world, asked):
        try:
            await world.deputy.act("gmail_tell", arguments, user="alice", call=call)
        except DeputizeError as error:
            came_to = type(error).__name__
            if isinstance(error, ApprovalRequired):
                assert error.approval.status == ("pending" if change == "renewed" else "approved")
    assert met and came_to == {"approved": "", "rejected": "Declined"}.get(change, "ApprovalRequired")
    assert sent(world) == (["Hi"] if change == "approved" else [])
    if change == "approved":
        [row] = await world.deputy.vault.scan("approval")
        assert (row.json["status"], row.json["reason"]) == ("used", "Of the rival")
        assert "approval.approved" not in told(world), "the rival's audit says so"
        with suppress(ApprovalRequired):
            assert await world.deputy.act("gmail_tell", arguments, user="alice", call=call)
        assert sent(world) == ["Hi"]
