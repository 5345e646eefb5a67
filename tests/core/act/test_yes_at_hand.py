"""A yes that comes with its act: written with the act's claim; where that comes to anything else, as before the act."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import httpx
import pytest

from deputize.core import Approval, Conflict, Declined, DeputizeError, NotFound, Verdict
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.stores.sqlite_writer import Writer
from deputize.core.vault.stores.writer_thread import Write
from deputize.sandbox.deputies import give_grant
from tests.core.act.test_mandates import MODIFY, World, world
from tests.core.act.test_use_up import CALL, deputy
from tests.support.graphs import SEND
from tests.support.kits import SENDING

__all__ = ["deputy", "world"]


async def answered(world: World, asked: Approval, run: Awaitable[Any], *, at_hand: bool) -> Any:
    """Alice says yes to this, before the act or with it; what the act came to."""
    yes = await world.deputy.yes_at_hand(asked, by="alice") if at_hand else None
    assert (yes is not None) == at_hand
    try:
        if yes is None:
            await world.deputy.decide(asked, "approve", by="alice")
            return await run
        async with yes:
            return await run
    except (DeputizeError, asyncio.CancelledError) as error:
        return type(error)


def told(world: World) -> list[str]:
    """What the audit says of approvals and acts, in its order."""
    return [row["event"] for row in world.deputy.audit.rows() if row["event"].startswith(("approval.", "act."))]


async def left(world: World) -> dict[str, Any]:
    """All that anybody can see afterwards."""
    rows = sorted(row.json["status"] for row in await world.deputy.vault.scan("approval"))
    acts = sorted(row.json["state"] for row in await world.deputy.vault.scan("act"))
    waits = [one.kind for one in await world.deputy.pending("alice") if isinstance(one, Approval)]
    return {"told": told(world), "approvals": rows, "acts": acts, "waits": waits, "sent": world.sent}


async def test_it_is_written_with_the_claim_in_one_transaction(deputy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeputizeError) as asked:
        await deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL)
    transactions, commit = list[list[str]](), Writer.commit

    def noting(self: Writer, writes: Sequence[Write]) -> Any:
        places = [str(value) for write in writes for value in write.values if isinstance(value, str)]
        transactions.append([kind for place in places if (kind := place.partition("/")[0]) in ("act", "approval")])
        return commit(self, writes)

    monkeypatch.setattr(Writer, "commit", noting)
    approval = asked.value.approval  # type: ignore[attr-defined]
    async with await deputy.yes_at_hand(approval, by="alice"):
        await deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL)
    kinds = [kind for one in transactions for kind in one]
    assert kinds == ["act", "approval", "act"] and len([one for one in transactions if one]) <= 3
    [row] = await deputy.vault.scan("approval")
    assert (row.json["status"], row.generation) == ("used", 2), "it was never written in between"
    assert [one["event"] for one in deputy.audit.rows() if one["event"].startswith("approval.")] == [
        "approval.asked",
        "approval.approved",
        "approval.used",
    ]


Meanwhile = Callable[[World], Awaitable[dict[str, Any]]]
"""What has happened to the world since it was asked; with what the call is made now."""


async def nothing(world: World) -> dict[str, Any]:
    return {}


async def denied(world: World) -> dict[str, Any]:
    world.deputy.policy = lambda act: Verdict.DENY
    return {}


async def allowed(world: World) -> dict[str, Any]:
    world.deputy.policy = lambda act: Verdict.ALLOW
    return {}


async def covered(world: World) -> dict[str, Any]:
    await world.give()
    return {}


async def another_call(world: World) -> dict[str, Any]:
    return {"id": "another"}


async def other_arguments(world: World) -> dict[str, Any]:
    return {"text": "Something else"}


def refusing(status: int) -> Meanwhile:
    """The provider answers the write so."""

    async def refuse(world: World) -> dict[str, Any]:
        inner = world.wire.inner

        class Refusing(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                if request.url.path.endswith(SENDING):
                    return httpx.Response(status, json={"error": {"code": status}})
                return await inner.handle_async_request(request)

        world.wire.inner = Refusing()
        return {}

    return refuse


async def broken(world: World) -> dict[str, Any]:
    world.deputy.planner.allowed = failing  # type: ignore[method-assign]
    return {}


async def failing(*_: Any, **__: Any) -> Any:
    raise NotFound("A bug.")


async def cancelled(world: World) -> dict[str, Any]:
    async def cut(*_: Any, **__: Any) -> Any:
        raise asyncio.CancelledError

    world.deputy.planner.allowed = cut  # type: ignore[method-assign]
    return {}


CASES = (nothing, denied, allowed, covered, another_call, other_arguments, broken, cancelled)


@pytest.mark.parametrize("case", [*CASES, refusing(400), refusing(403), refusing(429), refusing(500)])
async def test_everything_is_left_as_a_yes_before_the_act_leaves_it(case: Meanwhile) -> None:
    found = []
    for at_hand in (False, True):
        world = World()
        world.deputy = await world.process()
        give_grant(world.sandbox, world.deputy, "alice", [MODIFY], provider="google", email="alice@example.test")
        async with world.deputy:
            asked = await world.asked(id="a")
            call = {"id": "a"} | await case(world)
            first = await answered(world, asked, world.act(**call), at_hand=at_hand)
            found.append([first, await left(world)])
            with suppress(DeputizeError, asyncio.CancelledError):
                await world.act(**call)
            found[-1].append(await left(world))
    assert found[0] == found[1]


@pytest.mark.parametrize("at", ["store", "adapter"])
async def test_a_store_without_order_and_what_is_not_a_plain_open_yes_are_decided_first(
    at: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = await world.asked(id="a")
    if at == "store":
        monkeypatch.setattr(MemoryStore, "in_order", False)
        world.deputy.vault.store.in_order = False  # type: ignore[misc]
        assert await world.deputy.yes_at_hand(asked, by="alice") is None
        return
    assert await world.deputy.yes_at_hand(asked, by="bob") is None
    assert await world.deputy.yes_at_hand("no id", by="alice") is None
    await world.deputy.renew([asked], user="alice")
    assert await world.deputy.yes_at_hand(asked, by="alice") is None, "it has another id now"
    [asked] = [one for one in await world.deputy.pending("alice") if isinstance(one, Approval)]
    assert await world.deputy.yes_at_hand(asked, by="alice") is not None
    await world.deputy.decide(asked, "reject", by="alice")
    assert await world.deputy.yes_at_hand(asked, by="alice") is None
    late = await world.asked(id="b")
    world.clock.now += 4000
    assert await world.deputy.yes_at_hand(late, by="alice") is None


@pytest.mark.parametrize("change", ["renewed", "rejected", "expired", "edited", "approved"])
@pytest.mark.parametrize("when", ["handed along", "claimed"])
async def test_what_happens_to_the_row_meanwhile_wins(
    change: str, when: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``claimed``: the act has looked at the row, and is about to swap it."""
    asked, deputy = await world.asked(id="a"), world.deputy

    async def happens() -> None:
        match change:
            case "renewed":
                await deputy.renew([asked], user="alice")
            case "rejected":
                await deputy.decide(asked, "reject", by="alice")
            case "expired":
                world.clock.now += 4000
            case "edited":
                other = {"people": ["bob@acme.example"], "text": "Edited"}
                await deputy.decide(asked, "edit", by="alice", arguments=other)
            case _:
                await deputy.decide(asked, "approve", by="alice")

    yes = await deputy.yes_at_hand(asked, by="alice")
    assert yes is not None
    if when == "handed along":
        await happens()
    else:
        allowed = deputy.planner.allowed

        async def allowing(*given: Any) -> Any:
            one = await allowed(*given)
            await happens()
            return one

        monkeypatch.setattr(deputy.planner, "allowed", allowing)
    came_to: Any = None
    async with yes:
        try:
            await world.act("a")
        except DeputizeError as error:
            came_to = type(error)
    bodies = [mail.text.strip() for mail in world.sandbox.sent("alice@example.test")]
    events = [event for event in told(world) if event.startswith("approval.")]
    assert events.count("approval.approved") <= 1
    if change == "approved":
        assert bodies == ["Hi"] and events[1:] == ["approval.approved", "approval.used"]
    elif change == "edited":
        assert bodies in (["Edited"], []) and "approval.approved" not in events
    else:
        assert bodies == [] and came_to is not None and "approval.approved" not in events[:2]
    if change == "rejected":
        assert came_to is Declined and events == ["approval.asked", "approval.rejected"]


async def test_a_no_that_comes_between_the_look_and_the_swap_sends_nothing(world: World) -> None:
    asked, store = await world.asked(id="a"), world.deputy.vault.store
    swap, met = store.swap, list[str]()

    async def swapping(kind: str, *rest: Any) -> bool:
        if kind == "approval" and not met:
            met.append("no")
            await world.deputy.decide(asked, "reject", by="alice")
        return await swap(kind, *rest)

    store.swap = swapping  # type: ignore[method-assign, assignment]
    yes = await world.deputy.yes_at_hand(asked, by="alice")
    assert yes is not None
    async with yes:
        with pytest.raises(DeputizeError):
            await world.act("a")
    assert world.sent == 0 and [event for event in told(world) if event.startswith("approval.")] == [
        "approval.asked",
        "approval.rejected",
    ]
    with pytest.raises(Declined):
        await world.act("a")


async def test_who_waits_for_the_answer_is_woken_and_who_looks_sees_the_end(world: World) -> None:
    asked = await world.asked(id="a")
    waits = asyncio.create_task(world.deputy.approval(asked, by="alice", timeout=20))
    await asyncio.sleep(0.01)
    yes = await world.deputy.yes_at_hand(asked, by="alice", reason="Go on")
    assert yes is not None
    async with yes:
        await world.act("a")
    seen = await asyncio.wait_for(waits, 5)
    assert seen is not None and (seen.status, seen.reason) == ("used", "Go on")
    assert await world.deputy.pending("alice") == []
    with pytest.raises(Conflict, match="already sent"):
        await world.deputy.decide(asked, "reject", by="alice")


async def test_a_yes_that_no_act_takes_is_recorded_once_at_the_end_of_it(world: World) -> None:
    asked = await world.asked(id="a")
    yes = await world.deputy.yes_at_hand(asked, by="alice")
    assert yes is not None
    with pytest.raises(KeyError):
        async with yes:
            raise KeyError
    assert (await left(world))["approvals"] == ["approved"]
    await world.act("a")
    assert world.sent == 1 and told(world).count("approval.approved") == 1


async def test_a_claim_that_fails_leaves_the_yes_recorded(world: World) -> None:
    asked, store = await world.asked(id="a"), world.deputy.vault.store
    insert = store.insert

    async def full(kind: str, *rest: Any) -> bool:
        if kind == "act":
            raise NotFound("No room.")
        return await insert(kind, *rest)

    store.insert = full  # type: ignore[method-assign, assignment]
    yes = await world.deputy.yes_at_hand(asked, by="alice")
    assert yes is not None
    async with yes:
        with pytest.raises(NotFound):
            await world.act("a")
    store.insert = insert  # type: ignore[method-assign]
    assert (await left(world))["approvals"] == ["approved"] and world.sent == 0
    await world.act("a")
    assert told(world).count("approval.approved") == 1 and told(world).count("approval.used") == 1


@pytest.mark.parametrize("turns", range(12))
async def test_a_run_that_is_cancelled_at_any_turn_leaves_one_yes_and_no_write_without_it(
    turns: int, world: World
) -> None:
    asked = await world.asked(id="a")

    async def run() -> None:
        yes = await world.deputy.yes_at_hand(asked, by="alice")
        assert yes is not None
        async with yes:
            await world.act("a")

    task = asyncio.create_task(run())
    for _ in range(3 * turns + 1):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.05)
    [row] = await world.deputy.vault.scan("approval")
    acts = [one.json["state"] for one in await world.deputy.vault.scan("act")]
    assert told(world).count("approval.approved") == (row.json["status"] != "pending")
    assert row.json["status"] == "used" or not world.sent
    assert row.json["status"] != "used" or acts
