"""Old rows of the audit's table are deleted on its owner's order, and the rest verifies as before."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import psycopg
import pytest

from deputize.core.audit import Audit, read
from deputize.core.errors import Conflict, DeputizeError, SettingsError, VaultError
from deputize.core.vault.audit_pruning import DAY
from deputize.core.vault.audit_table_pruning import Pruned, prune
from deputize.core.vault.chain_heads import DROPPED, ChainHeads, verify_audit
from deputize.core.vault.encoding import encode
from deputize.core.vault.rollback import find_rolled_back
from deputize.core.vault.seal import Sealer
from deputize.core.vault.stores import open_store
from deputize.core.vault.stores.common import place
from deputize.core.vault.stores.postgres import audit as postgres_audit
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.audit import OwnedAudit, PostgresAudit
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.core.vault.test_audit_table_attacks import add, attack, forged
from tests.support.audit_table import execute, made, server, some, table
from tests.support.gmail_toolkit import gmail
from tests.support.postgres import USER, Server, postgres_server
from tests.support.sandbox_deputy import build, connect

__all__ = ["made", "server", "table"]

pytestmark = pytest.mark.counterpart

LONG_AGO = 500.0


@dataclass
class House:
    """A vault, its audit's table, and both as the role that owns them."""

    vault: Vault
    table: PostgresAudit
    owned: OwnedAudit
    heads: ChainHeads
    anchors: list[str] = field(default_factory=list)
    audits: list[Audit] = field(default_factory=list)

    def anchored(self, line: str) -> None:
        self.heads(line)
        self.anchors.append(line)

    def audit(self, days: float = 0.0) -> Audit:
        """Return an audit whose rows have this age."""
        key, clock = self.vault.keys.audit, lambda: time.time() - days * DAY
        self.audits.append(Audit(self.table, key, clock=clock, anchor=self.anchored, anchor_every=60.0))
        return self.audits[-1]

    async def written(self, audit: Audit, rows: int, *, close: bool = False) -> str:
        await asyncio.to_thread(some, audit, rows)
        await asyncio.to_thread(audit.close if close else audit.flush)
        await self.heads.settled()
        return audit.writer

    async def pruned(self, owned: OwnedAudit | None = None, days: float = 400.0) -> Pruned:
        audit = self.audit()
        try:
            before = int((time.time() - days * DAY) * 1e9)
            return await prune(self.vault, audit, self.table, owned or self.owned, before)
        finally:
            await asyncio.to_thread(audit.close)
            await self.heads.settled()

    async def found(self, *, anchors: bool = True) -> set[tuple[str, str]]:
        report = await verify_audit(self.vault, self.table, self.anchors if anchors else ())
        return {(one.kind, one.writer) for one in report.findings}

    def rows(self, writer: str) -> int:
        return len([row for row in read(self.table) if row["writer"] == writer])


@pytest.fixture
async def house(server: Server, table: PostgresAudit) -> AsyncIterator[House]:
    url = server.url.replace(f"{USER}@", "app@")
    vault = await Vault.open(await asyncio.to_thread(open_store, url, create=True), [b"r" * 32])
    owned = await asyncio.to_thread(OwnedAudit, Address.of(server.url))
    made = House(vault, table, owned, ChainHeads(vault))
    yield made
    for audit in made.audits:
        await asyncio.to_thread(audit.close)
    await made.heads.settled()
    owned.close()
    await vault.close()


async def test_old_rows_of_every_chain_are_dropped_and_the_rest_verifies(house: House) -> None:
    ended = await house.written(house.audit(LONG_AGO), 5, close=True)
    killed = await house.written(house.audit(LONG_AGO), 4)
    runs = house.audit(LONG_AGO)
    await house.written(runs, 6)
    runs._clock = time.time
    await house.written(runs, 3)
    young = await house.written(house.audit(), 2, close=True)
    assert await house.pruned() == Pruned(6 + 5 + 7, 1, 2)
    assert await house.found() == set() and {house.rows(ended), house.rows(killed)} == {0}
    assert (house.rows(runs.writer), house.rows(young)) == (4, 3)
    await house.written(runs, 3, close=True)
    assert await house.found() == set()
    assert await house.pruned() == Pruned(0, 0, 0)
    dropped = [row for row in read(house.table) if row["event"] == "audit.dropped"]
    assert [row["rows"] for row in dropped] == [18] and await house.found() == set()


async def test_silent_process_continues_and_a_starting_one_keeps_its_row(
    house: House,
) -> None:
    silent, pausing = house.audit(LONG_AGO), house.audit(400.5)
    await house.written(silent, 3)
    await house.written(pausing, 3)
    assert await house.pruned() == Pruned(7, 1, 1) and house.rows(pausing.writer) == 1
    for one in (silent, pausing):
        one._clock = time.time
        await house.written(one, 2, close=True)
    assert await house.found() == set()


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("DELETE FROM deputize_audit WHERE writer = %s AND seq = 9", "missing"),
        ("DELETE FROM deputize_audit WHERE writer = %s AND seq < 9", "beginning"),
        ("DELETE FROM deputize_audit WHERE writer = %s AND seq > 9", "truncated"),
        ("DELETE FROM deputize_audit WHERE writer = %s", "truncated"),
        ("UPDATE deputize_audit SET seq = 2 WHERE writer = %s AND seq = 9", "moved"),
    ],
)
async def test_truncation_beyond_the_dropped_rows_is_found(
    statement: str, kind: str, house: House, server: Server
) -> None:
    runs = house.audit(LONG_AGO)
    await house.written(runs, 5)
    runs._clock = time.time
    await house.written(runs, 8, close=True)
    await house.pruned()
    assert await house.found() == set()
    assert await asyncio.to_thread(execute, server, statement, runs.writer)
    assert kind in {kind for kind, _ in await house.found()}


async def test_unrecorded_truncation_is_found_and_stops_dropping(house: House, server: Server) -> None:
    writer = await house.written(house.audit(LONG_AGO), 5, close=True)
    await asyncio.to_thread(execute, server, "DELETE FROM deputize_audit WHERE seq < 3")
    assert await house.found() == {("beginning", writer)}
    with pytest.raises(VaultError, match="not whole"):
        await house.pruned()
    assert house.rows(writer) == 3


async def test_forged_row_stops_dropping(house: House, server: Server) -> None:
    writer = await house.written(house.audit(LONG_AGO), 5, close=True)
    add(server, "zz", 0, forged("zz", 0))
    with pytest.raises(VaultError, match="not whole"):
        await house.pruned()
    assert house.rows(writer) == 6
    assert await house.vault.get(*DROPPED) is None


async def test_application_role_cannot_vouch_for_dropped_rows(house: House, server: Server) -> None:
    """Not with a note of its own, not with one of another vault, and an older note covers less."""
    first = await house.written(house.audit(LONG_AGO), 5, close=True)
    at, change = place(*DROPPED), "UPDATE deputize_record SET value = %s WHERE place = %s"

    def sealed() -> bytes:
        with psycopg.connect(server.dsn) as admin:
            [(value,)] = admin.execute("SELECT value FROM deputize_record WHERE place = %s", (at,)).fetchall()
        return bytes(value)

    await house.pruned()
    earlier = sealed()
    runs = house.audit(LONG_AGO)
    await house.written(runs, 5)
    runs._clock = time.time
    await house.written(runs, 2, close=True)
    await house.pruned()
    good = sealed()
    other = Sealer([b"x" * 32]).seal("meta", "dropped", 9, encode({"gone": []}))
    for words in (b"", b'{"until":9,"begins":{},"gone":[]}', other, good[:-1] + bytes([good[-1] ^ 1])):
        attack(server, change, words, at)
        with pytest.raises(DeputizeError):
            await house.found()
    attack(server, change, earlier, at)
    assert await house.found(anchors=False) == {("beginning", runs.writer)}
    attack(server, "DELETE FROM deputize_record WHERE place = %s", at)
    assert await house.found(anchors=False) == {("beginning", runs.writer)}
    assert await house.found() == {("truncated", first)}
    attack(server, "INSERT INTO deputize_record VALUES (%s, %s)", at, good)
    assert await house.found() == set()


class Killed(Exception):
    """Stands for the kill of the process."""


class _Dying(OwnedAudit):
    """Deletes rows up to this number, and dies."""

    left: int

    def remove(self, writer: str, last: int) -> int:
        if last >= self.left:
            super().remove(writer, self.left - 1)
            raise Killed
        self.left -= last + 1
        return super().remove(writer, last)


@pytest.mark.parametrize("rows", [0, 3, 6, 8])
async def test_crash_while_dropping_leaves_a_verifiable_audit(rows: int, house: House, server: Server) -> None:
    for _ in range(2):
        await house.written(house.audit(LONG_AGO), 4, close=True)
    dying = await asyncio.to_thread(_Dying, Address.of(server.url))
    dying.left = rows
    with pytest.raises(Killed):
        await house.pruned(dying)
    dying.close()
    assert await house.found() == set()
    assert (await house.pruned()).rows == 10 - rows
    assert await house.found() == set()


async def test_programs_can_write_while_rows_are_dropped(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_audit, "ROWS_PER_DELETE", 7)
    for _ in range(3):
        await house.written(house.audit(LONG_AGO), 100, close=True)
    runs, over = house.audit(), threading.Event()

    def writes() -> None:
        while not over.is_set():
            some(runs, 5)
            runs.flush()

    writing = asyncio.create_task(asyncio.to_thread(writes))
    assert (await house.pruned()).rows == 3 * 101
    over.set()
    await writing
    await asyncio.to_thread(runs.close)
    await house.heads.settled()
    assert await house.found() == set()


async def test_concurrent_drop_is_a_conflict(house: House) -> None:
    await house.written(house.audit(LONG_AGO), 3, close=True)
    async with house.vault.store.lock("audit retention", 1.0):
        with pytest.raises(Conflict):
            await house.pruned()
    assert (await house.pruned()).rows == 4


async def test_application_role_cannot_drop_rows(server: Server, house: House) -> None:
    with pytest.raises(SettingsError, match="may only read the audit") as caught:
        await asyncio.to_thread(OwnedAudit, Address.of(server.url.replace(f"{USER}@", "app@")))
    assert "role that owns" in caught.value.hint


async def test_owner_of_another_database_drops_nothing(house: House) -> None:
    writer = await house.written(house.audit(LONG_AGO), 3, close=True)
    with postgres_server() as other:
        await asyncio.to_thread(migrate, Address.of(other.url))
        owned = await asyncio.to_thread(OwnedAudit, Address.of(other.url))
        with pytest.raises(SettingsError, match="another vault"):
            await house.pruned(owned)
        owned.close()
    assert house.rows(writer) == 4 and await house.vault.get(*DROPPED) is None and await house.found() == set()


async def test_generations_for_rollback_detection_are_repeated_before_dropping(house: House) -> None:
    sandbox = Sandbox()
    old = house.audit(LONG_AGO)
    deputy = await build(sandbox, vault=house.vault, audit=old, toolkits=[gmail])
    await connect(deputy, sandbox, "readonly")
    await connect(deputy, sandbox, "send")
    await connect(deputy, sandbox, "readonly", user="bob", as_="bob@example.test")
    await deputy.revoke("bob")
    await asyncio.to_thread(old.flush)
    await house.heads.settled()
    assert (await house.pruned()).rows > 3
    told = [row for row in read(house.table) if row["event"] == "grant.snapshot"]
    assert sorted((row["grant_gen"], row.get("revoked", False)) for row in told) == [(2, False), (2, True)]
    assert await find_rolled_back(house.vault, house.table) == [] and await house.found() == set()
