"""Acts read their records together if the store is a round trip away, and decide by nothing that is out of date."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pytest

from deputize.core import (
    ApprovalRequired,
    Audience,
    Call,
    ConsentRequired,
    Declined,
    Deputy,
    Effect,
    Preview,
    Request,
    Run,
    Steps,
    StoreUnavailable,
    Toolkit,
    Verdict,
    allow_all,
    any_of,
)
from deputize.core.vault import sealed_records as records
from deputize.core.vault.bulk_revocation import CACHE_TTL, PLACE
from deputize.core.vault.stores import RecordRead
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.support.cut_locks import CutLocksStore
from tests.support.faults import Line
from tests.support.gmail_toolkit import MAIL, READ, SEND, SENDING, raw
from tests.support.sandbox_deputy import build, connect

MESSAGES = ("gmail.googleapis.com", "/gmail/v1/users/me/messages")
SENT = ("gmail.googleapis.com", "/gmail/v1/users/me/messages/send")

T = TypeVar("T")
WANTED: Final[list[RecordRead]] = [("get", "call", "a"), ("scan", "call", "")]

kit = Toolkit("gmail", provider="google", shows=True)


@kit.tool(needs=[any_of(READ), any_of(SEND)], effect=Effect.SENDS)
def reply(to: str, subject: str, body: str, *, run: Run) -> Steps:
    """Send a mail after a look at the mailbox."""
    yield Request("GET", "/users/me/messages")
    yield Preview("Send this mail", audience=Audience.PEOPLE, people=[to], subject=subject, body=body)
    sent = yield Request("POST", SENDING, json={"raw": raw(to, subject, body)})
    return {"id": sent["id"]}


class FarStore(CutLocksStore):
    """A store that counts the round trips that serve one operation each."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead, self.single, self._batch = 0.0, list[str](), False

    async def get(self, kind: str, key: str) -> bytes | None:
        self._count(f"get {kind}")
        return await super().get(kind, key)

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        self._count(f"scan {kind}")
        return await super().scan(kind, prefix, after=after, most=most)

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        self._count(f"insert {kind}")
        return await super().insert(kind, key, value)

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        self._count(f"swap {kind}")
        return await super().swap(kind, key, old, new)

    def _count(self, step: str) -> None:
        if not self._batch:
            self.single.append(step)

    async def _read(self, wanted: tuple[RecordRead, ...]) -> list[Any]:
        self._batch = True
        try:
            return await super()._read(wanted)
        finally:
            self._batch = False

    async def write(self, *puts: Any) -> int:
        self._batch = True
        try:
            return await super().write(*puts)
        finally:
            self._batch = False


@dataclass
class World:
    """Two programs on one vault, and the first one's line to Gmail."""

    store: FarStore
    sandbox: Sandbox
    line: Line
    deputy: Deputy
    other: Deputy

    async def act(self, call: str = "1") -> Any:
        return await self.deputy.act("gmail_reply", MAIL, user="alice", call=Call("thread", "message", call))

    async def ask(self, call: str = "1") -> str:
        with pytest.raises(ApprovalRequired) as asked:
            await self.act(call)
        return asked.value.approval.id

    async def held_at_preview(self) -> asyncio.Task[Any]:
        """An act that holds its lock and waits for the answer that its preview needs."""
        self.line.held, self.line.waiting = MESSAGES, 0
        run = asyncio.create_task(self.act())
        await self.line.until_held()
        return run

    @property
    def mails(self) -> int:
        return len(self.sandbox.sent("alice@example.test"))


async def elsewhere(work: Coroutine[Any, Any, T]) -> T:
    """Do this as another process would, which shares nothing with this task."""
    return await asyncio.create_task(work, context=contextvars.Context())


@pytest.fixture
async def world() -> AsyncIterator[World]:
    store, sandbox = FarStore(), Sandbox()
    line = Line(sandbox.transport())
    vaults = [await Vault.open(store, [b"k" * 32]) for _ in range(2)]
    deputy = await build(sandbox, vault=vaults[0], toolkits=[kit], transport=line)
    other = await build(sandbox, vault=vaults[1], toolkits=[kit])
    await connect(deputy, sandbox, "readonly", "send")
    yield World(store, sandbox, line, deputy, other)
    await deputy.close()


async def test_approved_act_makes_no_round_trip_for_one_record_that_it_can_save(world: World) -> None:
    await world.ask("earlier")  # from then on the account is known
    world.deputy.vault.ended._due = 0.0
    world.store.single.clear()
    approval = await world.ask()
    assert world.store.single == ["insert approval"]
    await world.deputy.decide(approval, "approve", by="alice")
    world.store.single.clear()
    assert await world.act()
    new_recipient = ["get contacts", "insert contacts"]  # once for each person
    last_look = "get grant"  # just before the write, in case the user has been offboarded since
    assert world.store.single == [last_look, "swap act", *new_recipient] and world.mails == 1


async def test_rejection_while_the_preview_is_made_stops_the_act(world: World) -> None:
    approval = await world.ask()
    await world.other.decide(approval, "approve", by="alice")
    run = await world.held_at_preview()
    await world.other.decide(approval, "reject", by="alice")
    world.line.held = None
    with pytest.raises(Declined):
        await run
    assert world.mails == 0


async def test_mandate_that_ends_while_the_preview_is_made_covers_nothing(world: World) -> None:
    until = world.deputy.clock() + 3600
    tools, targets = ["gmail_reply"], [MAIL["to"]]
    given = await world.other.create_mandate("alice", tools=tools, targets=targets, max_acts=5, expires_at=until)
    run = await world.held_at_preview()
    await world.other.revoke_mandate("alice", given)
    world.line.held = None
    with pytest.raises(ApprovalRequired):
        await run
    assert world.mails == 0


async def test_value_that_was_read_ahead_serves_one_read_of_its_task_in_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = world.deputy.vault
    record = await vault.insert("call", "a", {"n": 1}, None)
    assert record
    async with vault.read_ahead(*WANTED):
        world.store.single.clear()
        await elsewhere(world.other.vault.swap(record, {"n": 2}))
        seen = [row.json["n"] for row in (await vault.get("call", "a"), await vault.get("call", "a")) if row]
        assert seen == [1, 2] and world.store.single == ["swap call", "get call"]
    monkeypatch.setattr(records, "READ_AHEAD_TTL", -1.0)
    async with vault.read_ahead(*WANTED):
        world.store.single.clear()
        await vault.get("call", "a")
        assert world.store.single == ["get call"]


async def test_task_reads_what_it_has_written_and_what_was_written_before_its_lock(world: World) -> None:
    vault = world.deputy.vault
    record = await vault.insert("call", "a", {"n": 1}, None)

    async def read() -> Any:
        row = await vault.get("call", "a")
        return row and row.json["n"]

    async def change(store: Vault, n: int) -> None:
        nonlocal record
        assert record
        record = await store.swap(record, {"n": n})

    async with vault.read_ahead(*WANTED):
        await change(vault, 2)
        assert await read() == 2
    async with vault.read_ahead(*WANTED):
        await asyncio.shield(change(vault, 3))  # as a write that a cancelled caller finishes
        assert await read() == 3
    async with vault.read_ahead(*WANTED):
        async with vault.read_ahead(*WANTED):
            await change(vault, 4)
        assert await read() == 4
    async with vault.read_ahead(*WANTED):
        async with vault.lock("one", 1):
            await elsewhere(change(world.other.vault, 5))
        assert await read() == 5
    async with vault.read_ahead(*WANTED):
        assert record and await vault.write(vault.prepare(record, "call", "a", {"n": 6})) == 1
        assert await read() == 6
    async with vault.read_ahead(*WANTED):
        record = await vault.get("call", "a")
        assert record and await vault.delete(record)
        assert await vault.scan("call") == []


async def test_task_started_during_read_ahead_reads_the_store(world: World) -> None:
    vault = world.deputy.vault
    record = await vault.insert("call", "a", {"n": 1}, None)
    assert record
    async with vault.read_ahead(*WANTED):
        await elsewhere(world.other.vault.swap(record, {"n": 2}))
        row = await asyncio.create_task(vault.get("call", "a"))
    assert row and row.json["n"] == 2


async def test_revocation_epoch_is_read_from_the_store_despite_read_ahead(world: World) -> None:
    vault = world.deputy.vault
    async with vault.read_ahead(("get", *PLACE), ("get", "call", "a")):
        await elsewhere(world.other.vault.ended.begin("acme"))
        assert await vault.ended.epoch() == 1


async def test_grant_that_a_bulk_revocation_ends_while_the_policy_decides_is_not_used(world: World) -> None:
    """As without reading ahead: half a second later every process knows it."""

    async def revoking(*_: Any) -> Verdict:
        await elsewhere(world.other.vault.ended.begin(None))
        await asyncio.sleep(CACHE_TTL + 0.1)
        return Verdict.ALLOW

    await world.ask("earlier")
    world.deputy.vault.ended._due = 0.0
    world.deputy.policy = revoking
    with pytest.raises(ConsentRequired):
        await world.act()
    assert world.mails == 0


async def test_unsaved_result_is_returned_after_the_grant_was_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deputy.policy = allow_all
    swap, kinds = FarStore.swap, list[str]()

    async def full(self: FarStore, kind: str, *rest: Any) -> bool:
        kinds.append(kind)
        if kind == "act":
            raise StoreUnavailable("The disk is full.")
        return await swap(self, kind, *rest)

    with monkeypatch.context() as patches:
        patches.setattr(FarStore, "swap", full)
        sent = await world.act()
    assert world.mails == 1 and len(world.deputy.ledger.unsaved) == 1
    await world.other.revoke("alice")
    assert await world.act() == sent and world.mails == 1


async def test_erased_user_leaves_no_account_in_the_memory(world: World) -> None:
    await world.ask()
    world.deputy.policy = allow_all
    await world.act("2")
    assert len(world.deputy.act_reads._last_subject) == 1
    await world.deputy.erase("bob")
    assert len(world.deputy.act_reads._last_subject) == 1
    await world.deputy.erase("alice")
    assert not world.deputy.act_reads._last_subject


async def test_write_of_several_records_goes_on_after_a_rotation_has_resealed_one(world: World) -> None:
    vault = world.deputy.vault
    old = await vault.insert("call", "a", {"n": 1}, None)
    assert old and await world.store.swap("call", "a", old.sealed, vault.sealer.seal("call", "a", 1, old.plain))
    first, second = vault.prepare(None, "act", "a", {"n": 1}, None), vault.prepare(old, "call", "a", {"n": 2})
    assert await vault.write(first, second) == 2
    record = await vault.get("call", "a")
    assert record and record.json["n"] == 2
    third = vault.prepare(record, "call", "a", {"n": 3})
    assert await vault.write(first, third) == 0 and await vault.write(third, first, third) == 1
