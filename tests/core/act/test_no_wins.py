"""A no, or a question that waits, holds for its act, also where the policy would by now let that happen unasked."""

from __future__ import annotations

import pytest

from deputize.core import Approval, Conflict, Declined, Verdict
from tests.core.act.test_mandates import World, world

__all__ = ["world"]


async def test_after_a_no_it_does_not_happen_though_only_the_user_would_see_it_now(world: World) -> None:
    asked = await world.asked(id="a")
    await world.deputy.decide(asked, "reject", by="alice", reason="Not this one")
    world.deputy.policy = lambda act: Verdict.ALLOW
    with pytest.raises(Declined) as declined:
        await world.act("a")
    assert world.sent == 0 and declined.value.hint == "Not this one"
    await world.act("another")
    assert world.sent == 1


async def test_a_question_about_what_happened_unasked_waits_no_more_and_a_no_is_told_the_truth(world: World) -> None:
    asked = await world.asked(id="a")
    world.deputy.policy = lambda act: Verdict.ALLOW
    await world.act("a")
    assert [one for one in await world.deputy.pending("alice") if isinstance(one, Approval)] == []
    with pytest.raises(Conflict, match="already sent"):
        await world.deputy.decide(asked, "reject", by="alice")
