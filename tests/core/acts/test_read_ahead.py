"""Acts read their records together if the store is a round trip away, and decide by nothing that is out of date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from deputize.core import (
    ApprovalRequired,
    Audience,
    Call,
    Declined,
    Deputy,
    Effect,
    Preview,
    Request,
    Run,
    Steps,
    Toolkit,
    any_of,
)
from deputize.core.vault import records
from deputize.core.vault.stores import Wanted
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.support.cut_locks import CutLocksStore
from tests.support.faults import Line
from tests.support.gmail_toolkit import MAIL, READ, SEND, SENDING, raw
from tests.support.sandbox_deputy import build, connect

MESSAGES = ("gmail.googleapis.com", "/gmail/v1/users/me/messages")
SENT = ("gmail.googleapis.com", "/gmail/v1/users/me/messages/send")

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

    async def _read(self, wanted: tuple[Wanted, ...]) -> list[Any]:
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
    assert world.store.single == ["swap act"] and world.mails == 1


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
    wanted: list[Wanted] = [("get", "call", "a"), ("scan", "call", "")]
    record = await vault.insert("call", "a", {"n": 1})
    assert record
    async with vault.read_ahead(*wanted):
        world.store.single.clear()
        await vault.swap(record, {"n": 2})
        seen = [row.json["n"] for row in (await vault.get("call", "a"), await vault.get("call", "a")) if row]
        assert seen == [1, 2] and world.store.single == ["swap call", "get call"]
        async with vault.lock("one", 1):  # whoever waited for a lock reads what its last holder wrote
            assert [row.json["n"] for row in await vault.scan("call")] == [2]
    assert [row.json["n"] for row in await vault.scan("call")] == [2]
    monkeypatch.setattr(records, "FRESH", -1.0)
    async with vault.read_ahead(*wanted):
        world.store.single.clear()
        await vault.get("call", "a")
        assert world.store.single == ["get call"]


async def test_write_of_several_records_goes_on_after_a_rotation_has_resealed_one(world: World) -> None:
    vault = world.deputy.vault
    old = await vault.insert("call", "a", {"n": 1})
    assert old and await world.store.swap("call", "a", old.sealed, vault.sealer.seal("call", "a", 1, old.plain))
    first, second = vault.prepare(None, "act", "a", {"n": 1}), vault.prepare(old, "call", "a", {"n": 2})
    assert await vault.write(first, second) == 2
    record = await vault.get("call", "a")
    assert record and record.json["n"] == 2
    third = vault.prepare(record, "call", "a", {"n": 3})
    assert await vault.write(first, third) == 0 and await vault.write(third, first, third) == 1
