"""Approvals of runs that nobody watches: they wait for days, leave room for others, and are judged again when used."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deputize.core import (
    Act,
    Approval,
    ApprovalRequired,
    Call,
    Decision,
    Deputy,
    NotFound,
    OutcomeUnknown,
    PolicyDenied,
    RateLimited,
    SettingsError,
    User,
    Verdict,
    allow_all,
    policy_file,
)
from deputize.core.approvals.pending import MAX_PENDING_APPROVALS, MAX_PENDING_UNATTENDED
from deputize.core.approvals.record import APPROVAL_TTL, UNATTENDED_APPROVAL_TTL
from deputize.core.settings import Settings
from deputize.sandbox import Sandbox
from tests.core.mcp_client.test_asking_the_user import LINK, asks, replies
from tests.support.foreign_mcp import Foreign, definition, foreign_deputy, text
from tests.support.gmail_toolkit import ALL, MAIL, gmail
from tests.support.sandbox_deputy import Clock, build, connect

ALICE = User("alice", unattended=True)
NIGHT = 'version = 1\ndefault = "ask"\n[[rules]]\nid = "n"\nwhen = { unattended = true }\nthen = "deny"\n# end\n'


@pytest.fixture
def clock() -> Clock:
    return Clock(1_800_000_000.0)


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    return Sandbox(clock=clock)


@pytest.fixture
async def deputy(sandbox: Sandbox, clock: Clock) -> AsyncIterator[Deputy]:
    async with await build(sandbox, toolkits=[gmail], clock=clock) as deputy:
        for user in ("alice", "bob"):
            await connect(deputy, sandbox, *ALL, user=user)
        yield deputy


class _Full:
    """A list of pending approvals without room."""

    full = True

    @asynccontextmanager
    async def __call__(self, user: User, life: float) -> AsyncIterator[None]:
        if self.full:
            raise RateLimited("10 approvals are pending.", retry_after=life)
        yield


async def act(deputy: Deputy, call: str = "1", user: User = ALICE) -> Any:
    return await deputy.act("gmail_send", MAIL, user=user, call=Call("night", "m", call))


async def asked(deputy: Deputy, call: str = "1", user: User = ALICE) -> Approval:
    with pytest.raises(ApprovalRequired) as needed:
        await act(deputy, call, user)
    assert needed.value.unattended == user.unattended
    assert ("Nobody is there to answer now." in str(needed.value)) == user.unattended
    return needed.value.approval


async def test_approval_waits_over_a_weekend_and_the_next_run_acts_once(
    deputy: Deputy, sandbox: Sandbox, clock: Clock
) -> None:
    waits = await asked(deputy)
    assert waits.expires_at == clock.now + UNATTENDED_APPROVAL_TTL
    clock.now += UNATTENDED_APPROVAL_TTL - 60
    assert (await asked(deputy)).id == waits.id  # the job runs again and asks nothing new
    assert [one.id for one in await deputy.pending("alice")] == [waits.id]
    await deputy.decide(waits, "approve", by="alice")
    for _ in range(3):
        await act(deputy)
    assert len(sandbox.sent("alice@example.test")) == 1


async def test_approval_that_nobody_answers_ends_and_does_nothing(
    deputy: Deputy, sandbox: Sandbox, clock: Clock
) -> None:
    waits = await asked(deputy)
    clock.now += UNATTENDED_APPROVAL_TTL
    assert await deputy.pending("alice") == []
    with pytest.raises(NotFound):
        await deputy.decide(waits, "approve", by="alice")
    assert (await asked(deputy)).id != waits.id and not sandbox.sent("alice@example.test")


async def test_used_approval_does_not_act_again_after_its_outcome_is_forgotten(
    deputy: Deputy, sandbox: Sandbox, clock: Clock
) -> None:
    await deputy.decide(await asked(deputy), "approve", by="alice")
    await act(deputy)
    clock.now += 2 * 86400  # the outcome is stored for a day, the approval for four
    with pytest.raises(OutcomeUnknown):
        await act(deputy)
    assert len(sandbox.sent("alice@example.test")) == 1


async def test_approval_of_an_attended_run_waits_an_hour(deputy: Deputy, clock: Clock) -> None:
    assert (await asked(deputy, user=User("alice"))).expires_at == clock.now + APPROVAL_TTL


async def test_policy_judges_again_when_the_approved_act_runs(deputy: Deputy, sandbox: Sandbox, tmp_path: Path) -> None:
    await deputy.decide(await asked(deputy), "approve", by="alice")
    (tmp_path / "policy.toml").write_text(NIGHT)
    deputy.policy = policy_file(tmp_path / "policy.toml")
    with pytest.raises(PolicyDenied):
        await act(deputy)
    assert not sandbox.sent("alice@example.test")
    await act(deputy, user=User("alice"))  # the user's own run
    assert len(sandbox.sent("alice@example.test")) == 1


async def test_unattended_approvals_leave_room_for_the_runs_of_the_user(deputy: Deputy) -> None:
    for number in range(MAX_PENDING_UNATTENDED):
        await asked(deputy, str(number))
    with pytest.raises(RateLimited, match=f"{MAX_PENDING_UNATTENDED} approvals are pending") as refused:
        await act(deputy, "more")
    assert refused.value.retry_after == UNATTENDED_APPROVAL_TTL
    for number in range(MAX_PENDING_APPROVALS - MAX_PENDING_UNATTENDED):
        await asked(deputy, f"own{number}", User("alice"))
    with pytest.raises(RateLimited, match="20 approvals are pending"):
        await act(deputy, "own", User("alice"))
    await asked(deputy, user=replace(ALICE, id="bob"))


async def test_only_the_user_or_the_asked_role_sees_and_answers(sandbox: Sandbox, clock: Clock) -> None:
    def finance(act: Act) -> Verdict | Decision:
        return Decision(Verdict.ASK, approvers="finance")

    async with await build(sandbox, toolkits=[gmail], clock=clock, policy=finance) as deputy:
        await connect(deputy, sandbox, *ALL)
        waits = await asked(deputy)
        eve, auditor, member, stranger = (
            User("eve"),
            User("ada", roles=frozenset({"auditor", "operator"})),
            User("fin", roles=frozenset({"finance"})),
            User("fin", "other", roles=frozenset({"finance"})),
        )
        for person in (eve, auditor, stranger):
            assert await deputy.pending(person) == [] == await deputy.pending_of_others(person)
            with pytest.raises(NotFound):
                await deputy.decide(waits, "approve", by=person)
        rows = [row for row in deputy.audit.rows() if row["event"] == "approval.requested"]
        assert [row["approval_id"] for row in rows] == [waits.id]  # an auditor sees this
        assert [one.id for one in await deputy.pending_of_others(member)] == [waits.id]
        clock.now += 2 * 86400
        await deputy.decide(waits, "approve", by=member)
        await act(deputy)
    assert len(sandbox.sent("alice@example.test")) == 1


@pytest.mark.parametrize("seconds", [0, 3599, 2592001, -1, float("nan")])
def test_setting_has_bounds(seconds: float) -> None:
    with pytest.raises(SettingsError, match="unattended_approval_seconds"):
        Settings.load(unattended_approval_seconds=seconds)


async def test_answer_that_leads_to_a_question_too_many_is_not_used_up() -> None:
    """The user answered the first question of a call. The second finds no room: the answer counts for a later run."""
    foreign = Foreign([definition("send")], reply=replies(asks(LINK), asks(LINK, "two"), asks(LINK, "two"), text("ok")))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:
        call = ("other_send", {"to": "bob"})
        with pytest.raises(ApprovalRequired) as first:
            await deputy.act(*call, user=ALICE, call=Call("night", "m", "1"))
        await deputy.questions.reply(first.value.approval.id, "accept", by=User("alice"))
        deputy.approvals.room_for_one_more = full = _Full()
        with pytest.raises(RateLimited):
            await deputy.act(*call, user=ALICE, call=Call("night", "m", "1"))
        full.full = False
        with pytest.raises(ApprovalRequired) as second:
            await deputy.act(*call, user=ALICE, call=Call("night", "m", "1"))
        await deputy.questions.reply(second.value.approval.id, "accept", by=User("alice"))
        assert (await deputy.act(*call, user=ALICE, call=Call("night", "m", "1")))["text"] == "ok"
    states = [params.get("requestState") for method, params, _ in foreign.asked if method == "tools/call"]
    assert states == [None, "state-1", "state-1", "two"]


async def test_question_of_an_unattended_run_counts_against_its_own_limit() -> None:
    foreign = Foreign([definition("send")], reply=lambda params, request: asks(LINK))
    async with foreign_deputy(foreign, policy=allow_all) as deputy:

        async def question(call: str, user: User) -> None:
            with pytest.raises(ApprovalRequired) as waits:
                await deputy.act("other_send", {"to": "bob"}, user=user, call=Call("night", "m", call))
            assert waits.value.approval.kind == "question" and waits.value.unattended == user.unattended

        for number in range(MAX_PENDING_UNATTENDED):
            await question(str(number), ALICE)
        for _ in range(2):
            with pytest.raises(RateLimited, match=f"{MAX_PENDING_UNATTENDED} approvals are pending"):
                await deputy.act("other_send", {"to": "bob"}, user=ALICE, call=Call("night", "m", "more"))
        for number in range(MAX_PENDING_APPROVALS - MAX_PENDING_UNATTENDED):
            await question(f"own{number}", User("alice"))
        with pytest.raises(RateLimited, match=f"{MAX_PENDING_APPROVALS} approvals are pending"):
            await deputy.act("other_send", {"to": "bob"}, user=User("alice"), call=Call("night", "m", "own"))
        await deputy.decide((await deputy.pending("alice"))[0].id, "reject", by="alice")
        await question("more", User("alice"))  # the refused call left no claim
