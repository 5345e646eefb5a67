"""Attacks on a recorded approval: races at every step, other edits, changed keys, cancelled runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from deputize.core import Approval, ApprovalRequired, Call, Conflict, Declined, DeputizeError
from deputize.core.vault.rotation import reseal
from deputize.core.vault.stores.memory import MemoryStore
from deputize.sandbox.deputies import give_grant
from tests.core.approvals.test_mandates import MODIFY, World, world

__all__ = ["world"]

YES = ["approval.requested", "approval.approved", "approval.used"]


def told(world: World) -> list[str]:
    """Return the audit's events on approvals and acts, in order."""
    return [row["event"] for row in world.deputy.audit.rows() if row["event"].startswith(("approval.", "act."))]


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
    """Let the memory store yield to other tasks before and after each step."""
    for name in ("get", "insert", "swap", "delete"):
        monkeypatch.setattr(MemoryStore, name, turning(getattr(MemoryStore, name)))


async def new_worlds() -> AsyncIterator[World]:
    while True:
        world = World()
        world.deputy = await world.process()
        give_grant(world.sandbox, world.deputy, "alice", [MODIFY], provider="google", email="alice@example.test")
        async with world.deputy:
            yield world


async def approved(world: World, asked: Approval, after: int = 0) -> None:
    """Approve as Alice after this many loop iterations, and run the act."""
    for _ in range(after):
        await asyncio.sleep(0)
    await world.deputy.decide(asked, "approve", by="alice")
    await world.act("a")


@pytest.mark.parametrize("rival", ["reject", "edit", "approve"])
@pytest.mark.usefixtures("slow")
async def test_rival_decision_during_an_act_is_too_late_or_honoured(rival: Any) -> None:
    edit = {"people": ["bob@acme.example"], "text": "Edited"} if rival == "edit" else None
    turn, ended, outcomes = 0, False, set[bool]()
    async for one in new_worlds():
        asked = await one.asked(id="a")
        act = asyncio.create_task(approved(one, asked, after=12))
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
        if heeded and rival == "reject" and "approval.approved" in events:
            events.remove("approval.approved")  # a no is heeded after a yes, until the act begins
        assert events == ["approval.requested", f"approval.{answer}", *done]
        turn += 1
        if ended:
            break
    assert outcomes == {True, False} and turn > 10


async def test_second_edit_of_a_running_act_is_the_one_executed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first edit was never approved after its preview was shown."""
    deputy, first = world.deputy, await world.asked(id="a")
    one, two = ({"people": ["eve@evil.test"], "text": text} for text in ("One", "Two"))
    await deputy.decide(first, "edit", by="alice", arguments=one)
    asked = await world.asked(id="a")  # it reaches whom the first did not
    assert asked.id != first.id and asked.preview["text"] == "One"
    allowed = deputy.previewer.authorize

    async def allowing(*given: Any) -> Any:
        monkeypatch.undo()
        await deputy.decide(asked, "edit", by="alice", arguments=two)
        return await allowed(*given)

    monkeypatch.setattr(deputy.previewer, "authorize", allowing)
    with pytest.raises(ApprovalRequired):
        await world.act("a")
    assert sent(world) == []
    again = await world.asked(id="a")  # an edit of an edit is shown first
    assert again.preview["text"] == "Two" and again.changed_fields == ("text",)
    await deputy.decide(again, "approve", by="alice")
    await world.act("a")
    assert sent(world) == ["Two"]


async def test_approval_is_consumed_when_its_record_is_resealed_in_between(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, approvals = await world.asked(id="a"), world.deputy.approvals
    looked = approvals._load_or_ask

    async def sealed_anew(*given: Any) -> Any:
        row = await looked(*given)
        if len(given) == 2:  # to take it
            world.deputy.vault.rekey([b"n" * 32, b"k" * 32])
            await reseal(world.deputy.vault)
        return row

    monkeypatch.setattr(approvals, "_load_or_ask", sealed_anew)
    await approved(world, asked)
    assert sent(world) == ["Hi"]


async def test_cancelled_callers_decision_is_audited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_one_of_three_calls_without_ids_consumes_the_approval(world: World) -> None:
    async def call() -> Any:
        return await world.deputy.act("gmail_tell", {"people": ["bob@acme.example"]}, user="alice", call=Call("t"))

    with pytest.raises(ApprovalRequired) as asked:
        await call()
    await world.deputy.decide(asked.value.approval, "approve", by="alice")
    came = await asyncio.gather(*(call() for _ in range(3)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in came) == ["ApprovalRequired", "ApprovalRequired", "dict"]
    assert world.sent == 1 and [event for event in told(world) if event.startswith("approval.")][:3] == YES


@pytest.mark.parametrize("known", [True, False])
async def test_rejection_by_another_process_during_the_swap_is_declined(known: bool, world: World) -> None:
    call = Call("t", "m", "a") if known else Call("t")
    arguments, store = {"people": ["bob@acme.example"], "text": "Hi"}, world.deputy.vault.store
    with pytest.raises(ApprovalRequired) as waits:
        await world.deputy.act("gmail_tell", arguments, user="alice", call=call)
    asked, swap, met = waits.value.approval, store.swap, list[str]()
    await world.deputy.decide(asked, "approve", by="alice")

    async def swapping(kind: str, *rest: Any) -> bool:
        if kind == "approval" and not met:
            met.append("no")
            async with await world.process() as rival:
                await rival.decide(asked, "reject", by="alice", reason="Of the rival")
        return await swap(kind, *rest)

    store.swap = swapping  # type: ignore[method-assign, assignment]
    with pytest.raises(Declined) as declined:
        await world.deputy.act("gmail_tell", arguments, user="alice", call=call)
    assert met and declined.value.hint == "Of the rival" and sent(world) == []


@pytest.mark.parametrize("turns", range(14))
@pytest.mark.usefixtures("slow")
async def test_cancelled_run_sends_nothing_without_a_consumed_approval(turns: int, world: World) -> None:
    run = asyncio.create_task(approved(world, await world.asked(id="a")))
    for _ in range(3 * turns + 1):
        await asyncio.sleep(0)
    run.cancel()
    with suppress(asyncio.CancelledError):
        await run
    await asyncio.sleep(0.05)
    [row] = await world.deputy.vault.scan("approval")
    acts = [one.json["state"] for one in await world.deputy.vault.scan("act")]
    assert told(world).count("approval.approved") == (row.json["status"] != "pending")
    assert row.json["status"] == "used" or not world.sent
    assert row.json["status"] != "used" or acts
