"""A rejection or a pending request holds for its act, even if the policy would meanwhile allow it without approval."""

from __future__ import annotations

import httpx
import pytest

from deputize.core import Act, Approval, Conflict, Declined, InvalidInput, User, Verdict
from tests.core.approvals.test_mandates import World, world
from tests.support.gmail_toolkit import SENDING

__all__ = ["world"]


async def test_rejected_act_is_declined_when_policy_no_longer_asks(world: World) -> None:
    asked = await world.asked(id="a")
    await world.deputy.decide(asked, "reject", by="alice", reason="Not this one")
    world.deputy.policy = lambda act: Verdict.ALLOW
    with pytest.raises(Declined) as declined:
        await world.act("a")
    assert world.sent == 0 and declined.value.hint == "Not this one"
    await world.act("another")
    assert world.sent == 1


async def test_pending_approval_of_a_completed_act_is_closed_and_rejection_is_too_late(world: World) -> None:
    asked = await world.asked(id="a")
    world.deputy.policy = lambda act: Verdict.ALLOW
    await world.act("a")
    assert [one for one in await world.deputy.pending("alice") if isinstance(one, Approval)] == []
    with pytest.raises(Conflict, match="already sent"):
        await world.deputy.decide(asked, "reject", by="alice")


async def test_approval_is_pending_again_after_its_act_was_refused(world: World) -> None:
    """The policy let the act begin, its user looked at it meanwhile, and the provider refused it."""
    asked, inner, seen = await world.asked(id="a"), world.wire.inner, list[int]()

    class Refusing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if not request.url.path.endswith(SENDING):
                return await inner.handle_async_request(request)
            seen.append(len(await world.deputy.pending("alice")))
            return httpx.Response(400, json={"error": {"code": 400}})

    world.wire.inner = Refusing()
    world.deputy.policy = lambda act: Verdict.ALLOW
    with pytest.raises(InvalidInput):
        await world.act("a")
    assert seen == [0] and [one.id for one in await world.deputy.pending("alice")] == [asked.id]


async def test_second_run_does_not_supersede_the_first_runs_approval(world: World) -> None:
    """Otherwise the request would be lost once both were refused: the second would count as already used."""
    asked, acts = await world.asked(id="a"), list[Act]()

    def policy(act: Act) -> Verdict:
        acts.append(act)
        return Verdict.ASK

    world.deputy.policy = policy
    await world.asked(id="a")
    [grant] = await world.deputy.vault.list_grants(User("alice"))
    approvals = world.deputy.approvals
    assert [await approvals.supersede(acts[-1], grant.account) for _ in range(2)] == [True, False]
    assert await world.deputy.pending("alice") == []
    await approvals.release(acts[-1], grant.account)
    assert [one.id for one in await world.deputy.pending("alice")] == [asked.id]


async def test_approval_stays_approved_when_an_earlier_unasked_run_was_refused(world: World) -> None:
    """The policy let the first run begin, the user approved after its refusal, and the second was refused, too."""
    asked, acts = await world.asked(id="a"), list[Act]()

    def policy(act: Act) -> Verdict:
        acts.append(act)
        return Verdict.ASK

    world.deputy.policy = policy
    await world.asked(id="a")
    [grant] = await world.deputy.vault.list_grants(User("alice"))
    approvals = world.deputy.approvals
    assert await approvals.supersede(acts[-1], grant.account)
    await approvals.release(acts[-1], grant.account)
    await world.deputy.decide(asked, "approve", by="alice")
    await approvals.consume(acts[-1], grant.account)
    await approvals.release(acts[-1], grant.account)
    [row] = await world.deputy.vault.scan("approval")
    assert row.json["status"] == "approved"
