"""Attacks on jobs without a person: other users' mandates, the last use, clocks at their edges, and crashes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from deputize.core import (
    Act,
    ApprovalRequired,
    Call,
    ConsentRequired,
    Decision,
    DeputizeError,
    Deputy,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    PolicyDenied,
    RateLimited,
    User,
    Verdict,
    policy_file,
)
from deputize.core.approvals.pending import MAX_PENDING_UNATTENDED
from deputize.core.policy.policy import StoredPolicy
from tests.core.approvals.test_mandates import DAY, World, world
from tests.support.kill_points import Died, Fate

__all__ = ["world"]

JOB = User("alice", unattended=True)
BOB = {"people": ["bob@acme.example"]}
ONE = '[[budgets]]\nid = "NAME"\nwhen = { effect = "sends" }\nmax = 1\n'


def limited(folder: Path, default: str = "ask", name: str = "one") -> StoredPolicy:
    """Return a policy with a budget of one act a day."""
    path = folder / "policy.toml"
    path.write_text(f'version = 1\ndefault = "{default}"\n{ONE.replace("NAME", name)}# end\n')
    return policy_file(path)


async def run(world: World, call: str = "1", deputy: Deputy | None = None, forged: str = "") -> Any:
    """Make a call of the job. ``forged``: the name of one more argument."""
    given, origin = BOB | ({forged: "alice"} if forged else {}), Call("night", "m", call)
    return await (deputy or world.deputy).act("gmail_tell", given, user=JOB, call=origin)


# ----------------------------------------------------------------- whose mandate


@pytest.mark.parametrize("owner", [User("bob"), User("alice", "acme"), User("Alice"), User("alice ")])
async def test_job_never_acts_under_the_mandate_of_another_user_or_tenant(world: World, owner: User) -> None:
    until, tools, targets = world.clock.now + DAY, ["gmail_tell"], ["@acme.example"]
    theirs = await world.deputy.create_mandate(owner, tools=tools, targets=targets, max_acts=5, expires_at=until)
    with pytest.raises(ApprovalRequired):
        await run(world)
    with pytest.raises(NotFound):
        await world.deputy.revoke_mandate("alice", theirs)
    assert world.sent == 0 and [one.used for one in await world.deputy.mandates(owner)] == [0]


@pytest.mark.parametrize("forged", ["unattended", "mandate", "user", "tenant", "approved", "by", "agent", "account"])
async def test_argument_that_claims_authority_is_refused_and_uses_nothing(world: World, forged: str) -> None:
    await world.give()
    with pytest.raises(InvalidInput):
        await run(world, forged=forged)
    assert world.sent == 0 and await world.used() == [0]


@pytest.mark.parametrize("mandated", [False, True])
async def test_mandate_and_owner_never_answer_for_another_role(world: World, mandated: bool) -> None:
    """Four eyes hold at night: neither the user nor a mandate of the user replaces the other person."""

    def finance(act: Act) -> Verdict | Decision:
        return Decision(Verdict.ASK, approvers="finance")

    world.deputy.policy = finance
    if mandated:
        await world.give()
    with pytest.raises(ApprovalRequired) as waits:
        await run(world)
    for person in ("alice", User("alice", roles=frozenset({"finance"})), User("fin", "acme", frozenset({"finance"}))):
        with pytest.raises(DeputizeError):
            await world.deputy.decide(waits.value.approval, "approve", by=person)
    with pytest.raises(ApprovalRequired):
        await run(world)
    await world.deputy.decide(waits.value.approval, "approve", by=User("fin", roles=frozenset({"finance"})))
    await run(world)
    assert world.sent == 1 and await world.used() == ([0] if mandated else [])


async def test_request_that_finds_no_room_leaves_nothing_for_the_other_role(world: World) -> None:
    """A job that asks for something else each time cannot fill the page of those who approve."""
    world.deputy.policy = lambda act: Decision(Verdict.ASK, approvers="finance")
    for number in range(MAX_PENDING_UNATTENDED):
        with pytest.raises(ApprovalRequired):
            await run(world, str(number))
    for number in range(5):
        with pytest.raises(RateLimited):
            await run(world, f"more{number}")
    assert len(await world.deputy.vault.scan("role_approval")) == MAX_PENDING_UNATTENDED
    member = User("fin", roles=frozenset({"finance"}))
    assert len(await world.deputy.pending_of_others(member)) == MAX_PENDING_UNATTENDED


# ----------------------------------------------------------------- between check and act


async def end_mandate(world: World, rival: Deputy) -> None:
    [mandate] = await rival.mandates("alice")
    await rival.revoke_mandate("alice", mandate)


async def use_up(world: World, rival: Deputy) -> None:
    await run(world, "rival", deputy=rival)


async def offboard(world: World, rival: Deputy) -> None:
    await rival.offboard("alice", "has left")


async def disconnect(world: World, rival: Deputy) -> None:
    await rival.revoke("alice", "google")


async def let_expire(world: World, rival: Deputy) -> None:
    world.clock.now += DAY


CHANGES = [
    (end_mandate, ApprovalRequired),
    (use_up, ApprovalRequired),
    (let_expire, ApprovalRequired),
    (offboard, ConsentRequired | ApprovalRequired),
    (disconnect, ConsentRequired | ApprovalRequired),
]


@pytest.mark.parametrize(("change", "error"), CHANGES, ids=[one[0].__name__ for one in CHANGES])
async def test_change_in_another_process_between_check_and_act_is_seen(
    world: World, change: Callable[[World, Deputy], Coroutine[Any, Any, None]], error: Any
) -> None:
    await world.give(most=1)
    rival = await world.process()
    before, spend = world.sent, world.deputy.executor.mandates.spend

    async def spending(act: Act, account: Any) -> bool:
        world.deputy.executor.mandates.spend = spend  # type: ignore[method-assign]
        await change(world, rival)
        return await spend(act, account)

    assert await world.deputy.check_calls([("gmail_tell", BOB, Call("night", "m", "1"))], user=JOB) == [None]
    world.deputy.executor.mandates.spend = spending  # type: ignore[method-assign]
    with pytest.raises(DeputizeError) as refused:
        await run(world)
    assert isinstance(refused.value, error)
    assert world.sent - before == (change is use_up)
    await rival.close()


@pytest.mark.parametrize("change", [end_mandate, offboard, disconnect])
async def test_access_that_ends_after_the_count_sends_nothing_or_one(
    world: World, change: Callable[[World, Deputy], Coroutine[Any, Any, None]]
) -> None:
    """An act that has begun under a mandate continues, but nothing is sent with a grant that has ended."""
    await world.give()
    rival = await world.process()
    spend = world.deputy.executor.mandates.spend

    async def spent(act: Act, account: Any) -> bool:
        found = await spend(act, account)
        await change(world, rival)
        return found

    world.deputy.executor.mandates.spend = spent  # type: ignore[method-assign]
    if change is end_mandate:
        await run(world)
    else:
        with pytest.raises(ConsentRequired):
            await run(world)
    assert world.sent == (change is end_mandate)
    world.deputy.executor.mandates.spend = spend  # type: ignore[method-assign]
    with pytest.raises(DeputizeError):
        await run(world, "2")
    assert world.sent == (change is end_mandate)
    await rival.close()


@pytest.mark.parametrize("most", [1, 3])
async def test_rival_processes_spend_the_last_use_of_mandate_and_budget_once(
    world: World, tmp_path: Path, most: int
) -> None:
    """The mandate has more uses than the budget, or as many. What a loser took of the mandate is given back."""
    await world.give(most=most)
    rivals = [await world.process() for _ in range(4)]
    for rival in rivals:
        rival.policy = limited(tmp_path)
    random.Random(most).shuffle(rivals)  # noqa: S311
    ended = await asyncio.gather(
        *(run(world, f"{n}", deputy=rival) for n, rival in enumerate(rivals * 3)), return_exceptions=True
    )
    assert sum(isinstance(one, dict) for one in ended) == 1 == world.sent
    assert all(isinstance(one, dict | PolicyDenied | ApprovalRequired) for one in ended)
    assert await world.used() == [1]
    for rival in rivals:
        await rival.close()


# ----------------------------------------------------------------- crashes


async def test_crash_at_any_step_spends_at_most_one_use_of_mandate_and_budget(world: World, tmp_path: Path) -> None:
    ended = set[str]()
    for when in ("before", "after"):
        for at in range(1, 60):
            mandate, sent, fate, name = await world.give(most=1), world.sent, Fate(at, when), f"{when}{at}"
            dying = await world.process(fate)
            world.deputy.policy, dying.policy = (limited(tmp_path, name=name) for _ in range(2))
            try:
                await run(world, name, deputy=dying)
            except (Died, OutcomeUnknown, PolicyDenied):  # a policy whose process dies denies
                assert fate.dead
            try:
                await run(world, name)
            except OutcomeUnknown:
                ended.add("unknown")
            assert world.sent - sent <= 1 and await world.used() == [1]
            with pytest.raises((PolicyDenied, ApprovalRequired)):
                await run(world, f"{name}, another")
            assert world.sent - sent <= 1 and await world.used() == [1]
            await world.deputy.revoke_mandate("alice", mandate)
            ended.add(fate.last)
            if not fate.dead:
                break
    assert {"after swap mandate", "after insert budget", "before insert act", "unknown"} <= ended


# ----------------------------------------------------------------- clocks


async def test_mandate_counts_up_to_its_last_moment_and_not_at_it(world: World) -> None:
    mandate = await world.give(days=1)
    world.clock.now = mandate.expires_at - 0.001
    await run(world)
    world.clock.now = mandate.expires_at
    with pytest.raises(ApprovalRequired):
        await run(world, "2")
    assert world.sent == 1 and await world.deputy.mandates("alice") == []


async def test_ended_mandate_stays_ended_when_the_clock_is_set_back(world: World) -> None:
    mandate = await world.give(days=1)
    await world.deputy.revoke_mandate("alice", mandate)
    world.clock.now -= 7 * DAY
    with pytest.raises(ApprovalRequired):
        await run(world)
    assert world.sent == 0


async def test_clock_that_is_set_back_gives_no_use_of_a_mandate_back(world: World) -> None:
    await world.give(most=1, days=3)
    await run(world)
    for step in (-7 * DAY, 7 * DAY, 2 * DAY):
        world.clock.now += step
        with pytest.raises(ApprovalRequired):
            await run(world, f"{step}")
    assert world.sent == 1


async def test_act_at_the_end_of_a_period_is_given_back_to_its_own_period(world: World, tmp_path: Path) -> None:
    """An act that was counted a second before midnight, and refused after it, frees nothing in the new day."""
    world.deputy.policy = policy = limited(tmp_path, "allow")
    world.clock.now += DAY - world.clock.now % DAY - 1
    spend = policy.spend

    async def late(act: Act) -> Any:
        counted = await spend(act)
        world.clock.now += 2
        policy.spend = spend  # type: ignore[method-assign]
        await run(world, "first of the new day")
        return counted

    policy.spend = late  # type: ignore[method-assign]
    refuse = {"error": {"code": 400, "message": "no"}}
    real = world.deputy.executor.approvals.supersede

    async def superseding(act: Act, account: Any) -> bool:
        if act.call.id == "last of the old day":
            world.sandbox.switches.faults["POST", "/gmail/v1"] = [(400, {}, refuse)]
        return await real(act, account)

    world.deputy.executor.approvals.supersede = superseding  # type: ignore[method-assign]
    with pytest.raises(InvalidInput):
        await run(world, "last of the old day")
    with pytest.raises(PolicyDenied):
        await run(world, "second of the new day")
    world.clock.now -= 3
    await run(world, "again in the old day")
    released = world.rows("budget.released")
    assert len(released) == 1
