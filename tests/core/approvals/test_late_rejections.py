"""A rejection wins until the write has begun; a later one is told the real state."""

from __future__ import annotations

import httpx
import pytest

from deputize.core import Approval, Call, Conflict, InvalidInput, OutcomeUnknown, User
from tests.core.approvals.test_mandates import World, world

__all__ = ["world"]
BOB = {"people": ["bob@acme.example"]}


async def approved(world: World, id: str = "a") -> Approval:
    asked = await world.asked(id=id)
    await world.deputy.decide(asked, "approve", by="alice")
    return asked


async def said_no(world: World, approval: Approval) -> Conflict:
    with pytest.raises(Conflict) as late:
        await world.deputy.decide(approval, "reject", by="alice")
    assert late.value.reason == "already_decided"
    return late.value


async def test_late_rejection_reports_the_send_time_in_every_later_run(world: World) -> None:
    approval = await approved(world)
    await world.act("a")
    world.clock.now += 300
    assert str(await said_no(world, approval)) == "Too late: it was already sent at 08:00 UTC."
    assert [row["approval_id"] for row in world.rows("approval.too_late")] == [approval.id]
    assert await world.act("a") == {
        "note": "The user rejected this, but too late: it was already sent at 08:00 UTC.",
        "told": BOB["people"],
    }
    now = await world.deputy.get_approval(approval, by="alice")
    assert now and (now.status, now.outcome, now.ended_at) == ("used", "done", world.clock.now - 300)
    assert world.sent == 1


async def test_result_is_unchanged_without_a_rejection(world: World) -> None:
    approval = await approved(world)
    await world.act("a")
    with pytest.raises(Conflict, match="already sent"):
        await world.deputy.decide(approval, "approve", by="alice")
    assert await world.act("a") == {"told": BOB["people"]}


async def test_rejection_during_the_write_reports_that_it_has_started(world: World) -> None:
    approval, inner, heard = await approved(world), world.wire.inner, list[str]()

    class Between(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            heard.append(str(await said_no(world, approval)))
            return await inner.handle_async_request(request)

    world.wire.inner = Between()
    assert await world.act("a") == {"told": BOB["people"]}
    assert heard == ["Too late: it has begun."]


async def test_rejection_after_an_unknown_outcome_reports_that(world: World) -> None:
    approval = await approved(world)
    world.sandbox.switches.drop_after_commit.append("/gmail/v1")
    with pytest.raises(OutcomeUnknown):
        await world.act("a")
    late = await said_no(world, approval)
    assert str(late) == "Too late: it was begun at 08:00 UTC, and nobody knows whether it was sent."
    assert "Check at the provider" in late.hint
    with pytest.raises(OutcomeUnknown):
        await world.act("a")


async def test_rejection_of_an_act_done_by_mandate_is_too_late(world: World) -> None:
    waiting = await world.asked(id="a")
    await world.give()
    await world.act("a")
    assert "already sent at 08:00 UTC" in str(await said_no(world, waiting))


async def test_rejection_before_the_write_wins_over_the_pages_approval(
    world: World,
) -> None:
    approval = await approved(world)
    world.sandbox.switches.faults["POST", "/gmail/v1"] = [(400, {}, {"error": {"code": 400, "message": "no"}})]
    with pytest.raises(InvalidInput):
        await world.act("a")
    assert (await world.deputy.decide(approval, "reject", by="alice")).status == "rejected"
    [way] = await world.deputy.check_calls([("gmail_tell", BOB, Call("t", "m", "a"))], user=User("alice"))
    assert way is not None and way.code == "declined" and world.sent == 1
