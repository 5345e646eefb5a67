"""Recent writes that a process keeps, to repeat them after a failover: their order, their limit, and exceptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import permutations

import pytest

from deputize.core import User
from deputize.core.vault.stores import open_store
from deputize.core.vault.stores.postgres import timeline as postgres_timeline
from deputize.core.vault.stores.postgres.address import Address, Connection
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.vault.stores.postgres.store import PostgresStore
from deputize.core.vault.stores.postgres.timeline import (
    MAX_EARLIER_VALUES,
    MAX_RECENT_RECORDS,
    RECENT_WRITE_TTL,
    RecentWrites,
)
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.support.gmail_toolkit import READ, gmail
from tests.support.postgres import Server, postgres_server
from tests.support.sandbox_deputy import build, consent

pytestmark = pytest.mark.counterpart


@pytest.fixture(scope="module")
def made() -> Iterator[Server]:
    with postgres_server() as server:
        migrate(Address.of(server.url))
        yield server


@pytest.fixture
async def to(made: Server) -> AsyncIterator[Connection]:
    """Return a connection to the server that took over; it has only what a test puts there."""
    connection = await Address.of(made.url).connect()
    await connection.execute("TRUNCATE deputize_record")
    yield connection
    await connection.close()


async def put(to: Connection, key: str, value: bytes) -> None:
    await to.execute("INSERT INTO deputize_record VALUES (%s, %s)", (key, value))


async def there(to: Connection, key: str) -> bytes | None:
    row = await (await to.execute("SELECT value FROM deputize_record WHERE place = %s", (key,))).fetchone()
    return bytes(row[0]) if row else None


def recent(*writes: tuple[str, bytes | None, bytes | None]) -> RecentWrites:
    kept = RecentWrites()
    for write in writes:
        kept.add(*write)
    return kept


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_successive_writes_of_processes_end_in_the_latest_state_in_any_order(
    to: Connection, order: tuple[int, ...]
) -> None:
    """Consented by one, refreshed by another, revoked by a third: the last state was stored there."""
    everybody = [
        recent(("grant/a.b", b"1", b"2")),
        recent(("grant/a.b", b"2", b"3")),
        recent(("grant/a.b", b"3", b"revoked")),
    ]
    await put(to, "grant/a.b", b"1")
    for number in order:
        await everybody[number].rewrite_missing(to)
    for _ in range(2):
        for number in order:
            await everybody[number].rewrite_missing(to, everybody[number].left)
    assert await there(to, "grant/a.b") == b"revoked" and not everybody[2].left


@pytest.mark.parametrize("first", [0, 1])
async def test_removed_record_is_removed_again_after_another_rewrite(to: Connection, first: int) -> None:
    both = [recent(("outbox/a.b", None, b"1")), recent(("outbox/a.b", b"1", None))]
    for one in (both[first], both[1 - first]):
        await one.rewrite_missing(to)
    for one in both:
        await one.rewrite_missing(to, one.left)
    assert await there(to, "outbox/a.b") is None


async def test_only_records_known_to_this_process_are_removed(to: Connection) -> None:
    mine = recent(("outbox/a.b", b"1", None), ("outbox/c.d", b"1", None))
    await put(to, "outbox/a.b", b"1")
    await put(to, "outbox/c.d", b"of another")
    assert await mine.rewrite_missing(to) == 1
    assert await there(to, "outbox/a.b") is None and await there(to, "outbox/c.d") == b"of another"


async def test_older_own_write_does_not_replace_another_processs_later_one(to: Connection) -> None:
    one, other = recent(("grant/a.b", b"1", b"2"), ("grant/a.b", b"3", b"4")), recent(("grant/a.b", b"2", b"3"))
    await put(to, "grant/a.b", b"1")
    for recently in (other, one, other):
        await recently.rewrite_missing(to)
    assert await there(to, "grant/a.b") == b"4"


async def test_erased_user_is_rewritten_only_for_revocation(to: Connection) -> None:
    kinds = ("act", "grant", "intent", "chosen", "outbox", "received")
    mine = recent(*((f"{kind}/a.b", None, b"1") for kind in kinds), ("person/a.", None, b"1"), ("act/o.b", None, b"1"))
    await put(to, "erased/a.", b"sealed")
    await mine.rewrite_missing(to)
    found = await (await to.execute("SELECT place FROM deputize_record ORDER BY place")).fetchall()
    assert [key for (key,) in found] == ["act/o.b", "erased/a.", "outbox/a.b", "received/a.b"]


def test_recent_writes_are_limited_by_number_size_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    kept = RecentWrites(lambda: now)
    for number in range(MAX_RECENT_RECORDS + 500):
        kept.add(f"act/{number}", None, b"x" * 20)
    assert len(kept._places) == MAX_RECENT_RECORDS and kept._size == MAX_RECENT_RECORDS * 20
    monkeypatch.setattr(postgres_timeline, "MAX_RECENT_BYTES", 5000)
    kept.add("act/large", None, b"x" * 4000)
    assert kept._size <= 5000 and "act/large" in kept._places
    for number in range(5 * MAX_EARLIER_VALUES):
        kept.add("meta/hot", b"%d" % number, b"%d" % (number + 1))
    assert len(kept._places["meta/hot"].before) == MAX_EARLIER_VALUES
    kept.add("act/large", b"x", None)
    assert kept._size == sum(len(one.newest or b"") for one in kept._places.values())
    now = RECENT_WRITE_TTL + 1
    assert not kept and kept._size == 0 and not kept._places


async def test_recent_writes_are_kept_encrypted(made: Server, to: Connection) -> None:
    sandbox, store = Sandbox(), await asyncio.to_thread(open_store, made.url, create=True)
    deputy = await build(
        sandbox, vault=await Vault.open(store, [b"k" * 32]), toolkits=[gmail], transport=sandbox.transport()
    )
    [asked] = await deputy.connect("alice", "google", scopes=[READ])
    await consent(deputy, sandbox, asked)
    [grant] = await deputy.vault.list_grants(User("alice"))
    assert isinstance(store, PostgresStore) and store._inside and grant.refresh_token
    kept = store._inside._failover.recent._places
    assert any(key.startswith("grant/") for key in kept)
    held = b"".join(one.newest or b"" for one in kept.values()) + "".join(kept).encode()
    for word in (grant.refresh_token.reveal(), "alice", "example.test"):
        assert word.encode() not in held
    await deputy.close()
