"""Each act under a mandate counts as a use of it, and a concurrent rejection ends it in any order."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import MandateOffer
from tests.core.approvals.test_mandates import DAY, World, world

__all__ = ["world"]


async def test_daily_equal_calls_of_a_job_each_use_the_mandate(world: World) -> None:
    await world.give(most=2, days=80)
    for used in (1, 2):
        await world.act("nightly")
        await world.act("nightly")
        assert await world.used() == [used] and world.sent == used
        world.clock.now += DAY
    await world.asked(id="nightly")
    assert world.sent == 2 and await world.used() == [2]


async def test_rejection_between_approval_and_mandate_ends_both(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, decide = await world.asked(id="a"), world.deputy.approvals.decide

    async def deciding(approval_id: str, decision: Any, **more: Any) -> Any:
        decided = await decide(approval_id, decision, **more)
        monkeypatch.undo()
        await world.deputy.decide(asked, "reject", by="alice")
        return decided

    monkeypatch.setattr(world.deputy.approvals, "decide", deciding)
    await world.deputy.decide(asked, "approve", by="alice", mandate=MandateOffer(2, world.clock.now + DAY))
    assert await world.deputy.mandates("alice") == []
    await world.asked()


@pytest.mark.parametrize("tenant", [None, "", "another"])
async def test_revoke_all_ends_mandates_of_its_tenant(world: World, tenant: str | None) -> None:
    await world.give()
    await world.deputy.revoke_all(tenant=tenant)
    counting, ended = await world.deputy.mandates("alice"), world.rows("mandate.ended")
    assert (len(counting), len(ended)) == ((1, 0) if tenant == "another" else (0, 1))
    assert all(row["user"] == world.rows("mandate.given")[0]["user"] for row in ended)
