"""An act is undone by an act of its own, once, and only while nobody has changed the object since."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deputize.core import (
    Act,
    ApprovalRequired,
    Call,
    Conflict,
    Deputy,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    PolicyDenied,
    Verdict,
)
from deputize.core.approvals.service import Decision
from deputize.core.audit import Audit, read
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from tests.support.sandbox_deputy import Clock, build, new_vault
from tests.support.undo_toolkit import KIT, MODIFY


@dataclass
class Inbox:
    """One mail of Alice's, and a deputy that stars it."""

    sandbox: Sandbox
    deputy: Deputy
    mail: str
    clock: Clock
    audit: Path

    def rows(self, event: str) -> list[dict[str, Any]]:
        """Return the audit rows of events with this prefix."""
        self.deputy.audit.flush()
        return [row for row in read(self.audit) if row["event"].startswith(event)]

    async def act(self, tool: str = "gmail_star", call: str = "c", user: str = "alice", **more: Any) -> Any:
        return await self.deputy.act(tool, {"id": self.mail, **more}, user=user, call=Call("t", "m", call))

    async def undoable(self) -> list[str]:
        return [one.id for one in await self.deputy.undoable("alice")]

    @property
    def starred(self) -> bool:
        [mail] = (mail for mail in self.sandbox.mailbox("alice@example.test").mails() if mail.id == self.mail)
        return "STARRED" in mail.labels


@pytest.fixture
async def inbox(tmp_path: Path) -> AsyncIterator[Inbox]:
    sandbox = Sandbox()
    clock, vault = Clock(sandbox.clock()), await new_vault()
    audit = Audit(tmp_path, vault.keys.audit, clock=clock)
    async with await build(sandbox, vault=vault, audit=audit, apps=apps(), toolkits=[KIT], clock=clock) as deputy:
        give_grant(sandbox, deputy, "alice", [MODIFY], provider="google", email="alice@example.test")
        yield Inbox(sandbox, deputy, sandbox.mailbox("alice@example.test").mails()[0].id, clock, tmp_path)


async def test_act_is_undone_once_by_the_call_its_tool_stored(inbox: Inbox) -> None:
    await inbox.act()
    assert inbox.starred
    [one] = await inbox.deputy.undoable("alice")
    assert (one.tool, one.what, one.where, one.account) == ("gmail_star", "Star a mail", "Inbox", "alice@example.test")
    assert one.at == inbox.clock.now and one.until == one.at + 86400
    first = await inbox.deputy.undo("alice", one.id)
    assert not inbox.starred and "STARRED" not in first["labels"]
    await inbox.act(call="other")
    assert await inbox.deputy.undo("alice", f" {one.id.upper()} ") == first
    assert inbox.starred, "the same undo again is the one that was done"


async def test_concurrent_undos_of_one_act_undo_it_once(inbox: Inbox) -> None:
    await inbox.act()
    [one] = await inbox.undoable()
    first, second = await asyncio.gather(*(inbox.deputy.undo("alice", one) for _ in range(2)))
    assert first == second and not inbox.starred
    assert len(await inbox.undoable()) == 1, "the undoing, and not what was undone"


async def test_undone_act_can_be_repeated_and_its_old_undo_is_a_conflict(inbox: Inbox) -> None:
    await inbox.act()
    [first] = await inbox.undoable()
    await inbox.deputy.undo("alice", first)
    [back] = await inbox.undoable()
    await inbox.deputy.undo("alice", back)
    assert inbox.starred
    [again] = await inbox.undoable()
    with pytest.raises(Conflict, match="done again") as caught:
        await inbox.deputy.undo("alice", first)
    assert caught.value.reason == "already_done" and again in caught.value.hint
    await inbox.deputy.undo("alice", again)
    assert not inbox.starred


async def test_undo_of_a_changed_object_is_refused_without_asking(inbox: Inbox) -> None:
    await inbox.act()
    [one] = await inbox.undoable()
    mail = inbox.sandbox._world.mailboxes["alice@example.test"].mails[inbox.mail]
    mail.labels.append("IMPORTANT")
    inbox.deputy.policy = lambda act: Verdict.ASK
    with pytest.raises(Conflict, match=r"It has been changed since: labels\. Nothing was undone\.") as caught:
        await inbox.deputy.undo("alice", one)
    assert caught.value.reason == "stale" and inbox.starred
    assert await inbox.deputy.pending("alice") == []
    mail.labels.remove("IMPORTANT")
    inbox.deputy.policy = lambda act: Verdict.ALLOW
    await inbox.deputy.undo("alice", one)
    assert not inbox.starred, "a refusal is no outcome"


async def test_undo_of_an_object_changed_during_approval_is_refused(inbox: Inbox) -> None:
    await inbox.act()
    [one] = await inbox.undoable()
    inbox.deputy.policy = lambda act: Verdict.ASK
    with pytest.raises(ApprovalRequired) as caught:
        await inbox.deputy.undo("alice", one)
    await inbox.deputy.decide(caught.value.approval, "approve", by="alice")
    inbox.sandbox._world.mailboxes["alice@example.test"].mails[inbox.mail].labels.append("IMPORTANT")
    with pytest.raises(Conflict, match="changed since"):
        await inbox.deputy.undo("alice", one)
    assert inbox.starred


async def test_policy_decides_about_an_undo_and_sees_what_it_undoes(inbox: Inbox) -> None:
    await inbox.act()
    [one] = await inbox.undoable()
    seen: list[str] = []

    def policy(act: Act) -> Verdict:
        seen.append(act.call.undoes.act if act.call.undoes else "")
        return Verdict.ASK if act.show else Verdict.ALLOW

    inbox.deputy.policy = policy
    with pytest.raises(ApprovalRequired) as caught:
        await inbox.deputy.undo("alice", one)
    assert caught.value.approval.summary.endswith(" wants to star a mail at Google as alice@example.test: Inbox")
    assert set(seen) == {one} and inbox.starred
    await inbox.deputy.decide(caught.value.approval, "approve", by="alice")
    await inbox.deputy.undo("alice", one)
    assert not inbox.starred
    inbox.deputy.policy = lambda act: Verdict.DENY
    with pytest.raises(PolicyDenied):
        await inbox.act(call="x")


async def test_rejection_of_an_undo_counts_for_one_attempt(inbox: Inbox) -> None:
    await inbox.act()
    [one] = await inbox.undoable()
    inbox.deputy.policy = lambda act: Verdict.ASK
    asked = set[str]()
    answers: tuple[Decision, ...] = ("reject", "reject", "approve")
    for decision in answers:
        with pytest.raises(ApprovalRequired) as caught:
            await inbox.deputy.undo("alice", one)
        asked.add(caught.value.approval.id)
        await inbox.deputy.decide(caught.value.approval, decision, by="alice")
        assert inbox.starred
    await inbox.deputy.undo("alice", one)
    assert not inbox.starred and len(asked) == 3


async def test_only_the_acts_own_user_can_undo_it(inbox: Inbox) -> None:
    await inbox.act()
    [one] = await inbox.undoable()
    assert await inbox.deputy.undoable("bob") == []
    with pytest.raises(NotFound, match="No act with the id"):
        await inbox.deputy.undo("bob", one)
    assert inbox.starred


async def test_irreversible_act_says_so_and_reversible_ones_are_documented(inbox: Inbox) -> None:
    await inbox.act()
    [can] = await inbox.undoable()
    await inbox.act("gmail_trash", "t")
    [cannot] = {row["act_id"] for row in inbox.rows("act.") if row["tool"] == "gmail_trash"}
    with pytest.raises(Conflict, match="gmail_trash cannot be undone") as caught:
        await inbox.deputy.undo("alice", cannot)
    assert caught.value.reason == "not_undoable" and can in caught.value.hint
    with pytest.raises(NotFound) as unknown:
        await inbox.deputy.undo("alice", "0123456789ab")
    assert can in unknown.value.hint


async def test_act_cannot_be_undone_after_a_day(inbox: Inbox) -> None:
    await inbox.act()
    [one] = await inbox.undoable()
    inbox.clock.now += 86401
    assert await inbox.undoable() == []
    with pytest.raises(NotFound, match="it has expired") as caught:
        await inbox.deputy.undo("alice", one)
    assert "24 hours" in caught.value.hint and "Nothing can be undone now" in caught.value.hint


async def test_interrupted_act_is_not_undone(inbox: Inbox) -> None:
    await inbox.act()
    [one] = await inbox.undoable()
    [row] = await inbox.deputy.vault.scan("act")
    await inbox.deputy.vault.swap(row, row.json | {"state": "claimed"})
    with pytest.raises(OutcomeUnknown, match="outcome of this act is unknown"):
        await inbox.deputy.undo("alice", one)


async def test_undo_with_a_precondition_needs_a_tool_with_preview(inbox: Inbox) -> None:
    await inbox.act(undo="gmail_blind")
    [one] = await inbox.undoable()
    with pytest.raises(InvalidInput, match="makes no preview"):
        await inbox.deputy.undo("alice", one)


async def test_undo_is_yielded_after_the_preview_with_plain_values(inbox: Inbox) -> None:
    with pytest.raises(InvalidInput, match="yields an Undo before it shows"):
        await inbox.act("gmail_hasty")
    with pytest.raises(OutcomeUnknown, match="could not be recorded"):
        await inbox.act("gmail_strange", "s")


async def test_audit_links_the_undo_with_its_act(inbox: Inbox) -> None:
    await inbox.act()
    [one] = await inbox.undoable()
    await inbox.deputy.undo("alice", one)
    assert [(row["act_id"] == one, row.get("undoes")) for row in inbox.rows("act.")] == [(True, None)] * 2 + [
        (False, one)
    ] * 2
