"""A failover to a standby that lacks the last commits: nothing is done twice, and what is lost is known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pytest

from deputize.core import Call, ConsentRequired, DeputizeError, Deputy, Secret, User, allow_all
from deputize.core.audit import Audit, read, verify
from deputize.core.errors import StoreUnavailable
from deputize.core.vault import failover
from deputize.core.vault.failover import follow_failovers
from deputize.core.vault.stores import Batches, open_store
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.audit import PostgresAudit
from deputize.core.vault.stores.postgres.checks import risks
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.support.gmail_toolkit import MAIL, READ, SEND, gmail
from tests.support.postgres import Server
from tests.support.postgres_standby import Standby, asked, primary_and_standby
from tests.support.sandbox_deputy import build, consent

pytestmark = pytest.mark.counterpart

KEY, ALICE = b"k" * 32, User("alice")


@dataclass
class Pair:
    primary: Server
    standby: Standby
    url: str


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr(failover, "REWRITE_SECONDS", 3.0)
    with primary_and_standby() as (primary, standby, url):
        migrate(Address.of(url))
        yield Pair(primary, standby, url)


@dataclass
class Machine:
    """One program with the vault."""

    deputy: Deputy
    table: PostgresAudit

    async def send(self, call: str) -> Any:
        return await self.deputy.act("gmail_send", MAIL, user="alice", call=Call("t", call, "c"))

    async def end(self) -> None:
        await self.deputy.close()


World: TypeAlias = tuple[Pair, Sandbox, Machine, Machine]


async def machine(pair: Pair, sandbox: Sandbox) -> Machine:
    vault = await Vault.open(await asyncio.to_thread(open_store, pair.url, create=True), [KEY])
    table = PostgresAudit(Address.of(pair.url))
    audit = Audit(table, vault.keys.audit)
    deputy = await build(
        sandbox, vault=vault, audit=audit, toolkits=[gmail], transport=sandbox.transport(), policy=allow_all
    )
    await follow_failovers(vault, audit, table, deputy.revocation_queue.enqueue_in)
    return Machine(deputy, table)


@pytest.fixture
async def world(pair: Pair) -> AsyncIterator[World]:
    sandbox = Sandbox()
    one, other = await machine(pair, sandbox), await machine(pair, sandbox)
    asked_for = await one.deputy.connect("alice", "google", scopes=[READ, SEND])
    assert (await consent(one.deputy, sandbox, asked_for[0])).status == "granted"
    yield pair, sandbox, one, other
    await one.end()
    await other.end()


def mails(sandbox: Sandbox) -> int:
    return len(sandbox.sent("alice@example.test"))


async def again(one: Machine, call: str) -> Any:
    """Repeat the same call as soon as the vault is reachable."""
    for _ in range(100):
        try:
            return await one.send(call)
        except DeputizeError as error:
            if error.code != "store_unavailable":
                return error
        await asyncio.sleep(0.2)
    raise AssertionError("It does not work again.")


async def test_acts_missing_on_an_asynchronous_standby_are_done_once(
    world: World,
) -> None:
    pair, sandbox, one, other = world
    assert await one.send("before")
    await asyncio.to_thread(pair.standby.cut_off)
    for number in range(4):
        await one.send(f"one {number}")
        await other.send(f"other {number}")
    assert mails(sandbox) == 9
    writing = asyncio.create_task(_writers(one, other))
    await asyncio.sleep(0.3)
    await asyncio.to_thread(pair.standby.take_over)
    tried = await writing
    calls = ["before", *(f"{who} {n}" for who in ("one", "other") for n in range(4)), *tried]
    sent = mails(sandbox)
    for call in calls:
        await again(other if call.startswith("one") else one, call)  # by the machine that did not do it
    ended = mails(sandbox)
    assert sent <= ended <= len(calls)
    for call in calls:
        await again(one, call)
    assert mails(sandbox) == ended  # each of them once, or not known how it ended
    report = await asyncio.to_thread(verify, one.table, [one.deputy.vault.keys.audit])
    assert report.ok, report.findings
    rows = await asyncio.to_thread(lambda: list(read(one.table)))
    taken = [row for row in rows if row["event"] == "database.failed_over"]
    assert len({row["writer"] for row in taken}) == 2 and sum(row["again"] for row in taken) >= 8
    restored = [row for row in rows if row["event"] == "vault.restored"]
    assert len(restored) == 1 and restored[0]["grants"] == 1


async def _writers(one: Machine, other: Machine) -> list[str]:
    """Run acts before, during and after the server's death; return those that were tried."""
    tried = list[str]()

    async def writer(machine: Machine, name: str) -> None:
        for number in range(12):
            tried.append(f"{name} late {number}")
            with suppress(DeputizeError):
                await machine.send(tried[-1])

    await asyncio.gather(*(writer(m, f"{n} {i}") for m, n in ((one, "one"), (other, "other")) for i in range(2)))
    return tried


async def test_rotated_refresh_token_survives_a_failover_and_is_confirmed_first(world: World) -> None:
    pair, _, one, other = world
    await asyncio.to_thread(pair.standby.cut_off)
    [grant] = await one.deputy.vault.list_grants(ALICE)
    rotated = replace(grant, refresh_token=Secret("rotated"), access_token=Secret("fresh"))
    assert await one.deputy.vault.replace(grant, rotated)
    await asyncio.to_thread(pair.standby.take_over)
    await looked_through(other)
    [now] = await other.deputy.vault.list_grants(ALICE)
    assert now.refresh_token and now.refresh_token.reveal() == "rotated" and now.expires_at == 1.0


async def test_disconnect_survives_a_failover(world: World) -> None:
    pair, sandbox, one, other = world
    await asyncio.to_thread(pair.standby.cut_off)
    await one.deputy.revoke("alice", "google")
    await asyncio.to_thread(pair.standby.take_over)
    refused = await again(other, "after")
    assert isinstance(refused, ConsentRequired) and mails(sandbox) == 0
    [now] = await other.deputy.vault.list_grants(ALICE)
    assert now.status == "revoked"


async def test_erased_user_stays_erased_after_a_failover(world: World) -> None:
    """The standby has everything, including the erasure: what other processes wrote before is not written again."""
    pair, sandbox, one, other = world
    await one.send("before")
    third = await machine(pair, sandbox)
    await third.deputy.erase("alice")
    await third.end()
    behind = "SELECT sent_lsn = replay_lsn FROM pg_stat_replication"
    while not await asyncio.to_thread(asked, pair.primary, behind):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    await asyncio.to_thread(pair.standby.take_over)
    await looked_through(other)
    await looked_through(one)
    vault = one.deputy.vault
    assert await vault.list_grants(ALICE) == []
    for kind in ("act", "grant", "person", "intent", "chosen"):
        assert await vault.store.scan(kind, vault.key_prefix(ALICE)) == [], kind
    assert isinstance(await again(other, "after"), ConsentRequired) and mails(sandbox) == 1


async def looked_through(one: Machine) -> None:
    """Wait until the vault can be used again, and has recorded the new timeline."""
    for _ in range(100):
        with suppress(StoreUnavailable):
            record = await one.deputy.vault.get(*failover.TIMELINE)
            if record and record.json["timeline"].endswith("00000002"):
                return
        await asyncio.sleep(0.2)
    raise AssertionError("It does not work again.")


async def test_rows_lost_with_the_server_are_reported_as_truncated(world: World) -> None:
    pair, _, one, _ = world
    anchors = list[str]()
    dead = Audit(one.table, one.deputy.vault.keys.audit, anchor=anchors.append)
    dead._append("act.intent", user="alice", call_id="1")
    await dead.settle()
    await asyncio.to_thread(pair.standby.cut_off)
    dead._append("act.intent", user="alice", call_id="2")
    await asyncio.to_thread(dead.close)
    await asyncio.to_thread(pair.standby.take_over)
    assert await again(one, "after")
    report = await asyncio.to_thread(verify, one.table, [one.deputy.vault.keys.audit], anchors=anchors)
    assert [(finding.kind, finding.writer) for finding in report.findings] == [("truncated", dead.writer)]


async def test_start_after_a_failover_doubts_records_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover, "REWRITE_SECONDS", 0.0)
    sandbox = Sandbox()
    one = await machine(pair, sandbox)
    asked_for = await one.deputy.connect("alice", "google", scopes=[READ, SEND])
    await consent(one.deputy, sandbox, asked_for[0])
    await one.end()
    await asyncio.to_thread(pair.standby.take_over)
    for _ in range(2):
        one = await machine(pair, sandbox)
        assert await one.send("a")
        await one.end()
    rows = await asyncio.to_thread(lambda: list(read(one.table)))
    assert len([row for row in rows if row["event"] == "vault.restored"]) == 1 and mails(sandbox) == 1


async def test_commit_without_a_synchronous_standby_is_not_reported_as_done(pair: Pair) -> None:
    """An operator cancels the wait for it: the server says that it has committed, and warns."""
    store, table = await asyncio.to_thread(open_store, pair.url, create=True), PostgresAudit(Address.of(pair.url))
    audit = Audit(table, KEY)
    audit._append("act.intent", call_id="1")
    await audit.settle()
    await store.insert("test", "a", b"1")
    asked(pair.primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")
    asked(pair.primary, "SELECT pg_reload_conf()")
    await asyncio.to_thread(pair.standby.follows)
    assert await store.insert("test", "b", b"1")
    await asyncio.to_thread(pair.standby.cut_off)
    audit._append("act.intent", call_id="2")
    writing = [asyncio.create_task(store.insert("test", "c", b"1")), asyncio.create_task(audit.settle())]
    ended = 0
    while ended < 2:
        await asyncio.sleep(0.1)
        ended += await asyncio.to_thread(_cancelled, pair.primary)
    found = await asyncio.gather(*writing, return_exceptions=True)
    assert [type(one) for one in found] == [StoreUnavailable] * 2
    assert isinstance(found[0], StoreUnavailable) and "may have happened" in found[0].hint
    asked(pair.primary, "ALTER SYSTEM SET synchronous_standby_names = ''")
    asked(pair.primary, "SELECT pg_reload_conf()")
    assert await store.get("test", "c") == b"1" and await store.insert("test", "d", b"1")
    await asyncio.to_thread(audit.close)
    assert [row["call_id"] for row in read(table)] == ["1", "2"] and verify(table, [KEY]).ok
    await store.close()


def _cancelled(server: Server) -> int:
    """Cancel the commits that wait for the standby; return their number."""
    found = asked(
        server,
        "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'deputize' AND wait_event = 'SyncRep'",
    )
    return int(str(found))


async def test_vault_is_unused_until_the_failover_check_finishes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, _, one, other = world
    monkeypatch.setattr("deputize.core.vault.stores.postgres.failover.CALL_TIMEOUT_SECONDS", 0.3)
    looks, may = list[int](), asyncio.Event()

    async def looking(again: int) -> None:
        assert await one.deputy.vault.get(*failover.TIMELINE)  # whoever looks through it may
        looks.append(again)
        if not may.is_set():
            raise ValueError("a fault of ours")

    one.deputy.vault.store.on_failover = looking  # type: ignore[attr-defined]
    await asyncio.to_thread(pair.standby.take_over)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await one.deputy.vault.list_grants(ALICE)
    may.set()
    for _ in range(50):
        with suppress(StoreUnavailable):
            assert await one.deputy.vault.list_grants(ALICE) and len(looks) >= 2
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("It is never used again.")
    await looked_through(other)


async def test_doctor_reports_what_a_failover_could_lose(pair: Pair) -> None:
    def said() -> str:
        return "\n".join(what for what, _ in risks(Address.of(pair.url)))

    def named(who: str) -> None:
        asked(pair.primary, f"ALTER SYSTEM SET synchronous_standby_names = '{who}'")
        asked(pair.primary, "SELECT pg_reload_conf()")

    assert "standbys: 1 asynchronous" in await asyncio.to_thread(said)
    await asyncio.to_thread(named, "another")
    await asyncio.sleep(0.5)
    assert "no standby is synchronous" in await asyncio.to_thread(said)
    await asyncio.to_thread(named, "*")
    await asyncio.sleep(0.5)
    assert "standby" not in await asyncio.to_thread(said)
    await asyncio.to_thread(pair.standby.cut_off)
    assert "none follows" in await asyncio.to_thread(said)
    await asyncio.to_thread(named, "")


async def test_lock_reads_what_this_process_wrote_although_the_new_server_lacks_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "deputize.core.vault.stores.postgres.failover.IDENTITY_CHECK_SECONDS", 60.0
    )  # the lock meets the server first
    store = await asyncio.to_thread(open_store, pair.url, create=True)
    assert isinstance(store, Batches)
    async with store.lock("act-0001", 5):
        await asyncio.to_thread(pair.standby.cut_off)
        assert await store.write(("act", "a", None, b"done")) == 1
    await asyncio.to_thread(pair.standby.take_over)
    found: Any = None
    for _ in range(100):
        with suppress(StoreUnavailable):
            async with store.lock_and_read("act-0001", 5, ("get", "act", "a")) as (_, [found]):
                break
        await asyncio.sleep(0.1)
    assert found == b"done"
    await store.close()
