"""Records of acts that were deleted or restored by others: no second mail without an approval, and an audit row."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deputize.core import (
    ApprovalRequired,
    Call,
    ConsentRequired,
    Deputy,
    InvalidInput,
    OutcomeUnknown,
    Policy,
    allow_all,
    ask_before_sending,
)
from deputize.core.acts.reconcile import LostRecord, lost_records
from deputize.core.audit import Audit
from deputize.core.consent.record import CONSENT_TTL
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from tests.core.approvals.test_mandates import KIT, MODIFY
from tests.support.faults import GMAIL_API, Line, answer
from tests.support.gmail_toolkit import ALL, MAIL, gmail
from tests.support.sandbox_deputy import build, connect

CALL = Call("t", "m", "c")


class Home:
    """A deputy with an audit on disk, and its store, which others can write."""

    def __init__(self, folder: Path) -> None:
        self.sandbox, self.store, self.folder = Sandbox(), MemoryStore(), folder / "audit"
        self.line = Line(self.sandbox.transport())

    async def begin(self, policy: Policy = ask_before_sending) -> Home:
        vault = await Vault.open(self.store, [os.urandom(32)])
        audit = Audit(self.folder, vault.keys.audit)
        self.deputy: Deputy = await build(
            self.sandbox, vault=vault, audit=audit, toolkits=[gmail], policy=policy, transport=self.line
        )
        await connect(self.deputy, self.sandbox, *ALL)
        return self

    async def send(self, call: Call = CALL) -> None:
        await self.deputy.act("gmail_send", MAIL, user="alice", call=call)

    async def allowed(self) -> None:
        with pytest.raises(ApprovalRequired) as asked:
            await self.send()
        assert asked.value.approval
        await self.deputy.decide(asked.value.approval, "approve", by="alice")

    async def remove(self, kind: str) -> None:
        for key, sealed in await self.store.scan(kind):
            await self.store.delete(kind, key, sealed)

    async def lost(self, later: float = 0.0) -> list[str]:
        await self.deputy.audit.settle()
        found = await lost_records(self.deputy.vault, self.folder, self.deputy.clock() + later)
        assert all(isinstance(one, LostRecord) and one.tool == "gmail_send" for one in found)
        return [one.kind for one in found]

    @property
    def sent(self) -> int:
        return len(self.sandbox.sent("alice@example.test"))


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    made = Home(tmp_path)
    yield made
    await made.deputy.close()


async def test_deleted_act_record_does_not_allow_the_same_approval_again(home: Home) -> None:
    await home.begin()
    await home.allowed()
    await home.send()
    assert home.sent == 1 and await home.lost() == []
    await home.remove("act")
    assert await home.lost() == ["act"]
    with pytest.raises(OutcomeUnknown):
        await home.send()
    assert home.sent == 1 and await home.lost() == ["act"]  # though there is a record again: it does not know


async def test_restored_approval_record_is_detected(home: Home) -> None:
    await home.begin()
    await home.allowed()
    before = dict(await home.store.scan("approval"))
    await home.send()
    for key, sealed in await home.store.scan("approval"):
        assert await home.store.swap("approval", key, sealed, before[key])
    assert await home.lost() == ["approval"]


async def test_deleted_act_record_without_approval_is_detected_until_expiry(home: Home) -> None:
    await home.begin(allow_all)
    await home.send()
    await home.send(Call("t", "m", "another"))
    await home.remove("act")
    assert await home.lost() == ["act", "act"] and await home.lost(90_000) == []


async def test_deleted_open_consent_is_detected_until_it_expires(home: Home) -> None:
    await home.begin()
    with pytest.raises(ConsentRequired):
        await home.deputy.act("gmail_send", MAIL, user="bob", call=CALL)
    await home.deputy.audit.settle()
    now = home.deputy.clock()
    assert await lost_records(home.deputy.vault, home.folder, now) == []
    await home.remove("consent")
    [lost] = await lost_records(home.deputy.vault, home.folder, now)
    assert lost.kind == "consent" and await lost_records(home.deputy.vault, home.folder, now + CONSENT_TTL) == []


async def test_edit_after_a_refusal_is_not_reported_as_missing(home: Home) -> None:
    await home.begin(allow_all)
    home.line.answers[GMAIL_API] = [answer(400)]
    with pytest.raises(InvalidInput):
        await home.send()
    await home.deputy.act("gmail_send", {**MAIL, "subject": "Dinner"}, user="alice", call=CALL)
    assert await home.lost() == []


async def test_refused_released_or_erased_acts_are_not_reported_as_missing(home: Home) -> None:
    await home.begin()
    await home.allowed()
    home.line.answers[GMAIL_API] = [answer(400)]
    with pytest.raises(InvalidInput):
        await home.send()
    assert await home.lost() == []
    await home.send()
    assert home.sent == 1 and await home.lost() == []
    await home.deputy.erase("alice")
    assert await home.lost() == []


async def test_restored_mandate_record_is_detected(tmp_path: Path) -> None:
    sandbox, store = Sandbox(), MemoryStore()
    vault = await Vault.open(store, [os.urandom(32)])
    audit = Audit(tmp_path / "audit", vault.keys.audit)
    async with await build(sandbox, vault=vault, audit=audit, apps=apps(), toolkits=[KIT]) as deputy:
        give_grant(sandbox, deputy, "alice", [MODIFY], provider="google", email="alice@example.test")
        until = deputy.clock() + 3600
        given = await deputy.create_mandate(
            "alice", tools=["gmail_tell"], targets=["@acme.example"], max_acts=1, expires_at=until
        )
        [(place, unused)] = await store.scan("mandate")

        async def lost() -> list[tuple[str, str]]:
            await audit.settle()
            found = await lost_records(vault, tmp_path / "audit", deputy.clock())
            return [(one.kind, one.tool) for one in found]

        async def put_back() -> None:
            [(_, now)] = await store.scan("mandate")
            await store.swap("mandate", place, now, unused)

        assert await lost() == []
        people = {"people": ["bob@acme.example"]}
        await deputy.act("gmail_tell", people, user="alice", call=Call("t", "m", "c"))
        assert await lost() == []
        await put_back()
        assert await lost() == [("mandate", "gmail_tell")]
        await deputy.revoke_mandate("alice", given)
        assert await lost() == [("mandate", "gmail_tell")]
        await put_back()
        assert await lost() == [("mandate", "gmail_tell"), ("mandate", "a mandate")]
