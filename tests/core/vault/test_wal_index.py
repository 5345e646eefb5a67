"""Reads are repeated from memory, and yet every read sees all writes before it: by any process, and whatever happens to
log, file and process. SQLite's own locks survive our access to its shared memory."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.sqlite import backup as sqlite_backup
from deputize.core.vault.stores.sqlite import file as sqlite_file
from deputize.core.vault.stores.sqlite import reader as sqlite_reader
from deputize.core.vault.stores.sqlite import wal_index as sqlite_wal_index
from deputize.core.vault.stores.sqlite import writer as sqlite_writer
from deputize.core.vault.stores.sqlite.file import connect
from deputize.core.vault.stores.sqlite.store import SqliteStore
from tests.core.vault.vault_processes import heard, running
from tests.support.blocking import noted

ALL = "SELECT * FROM vault"
CHECKPOINTS = [f"PRAGMA wal_checkpoint({how})" for how in ("PASSIVE", "RESTART", "TRUNCATE")]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore.open(tmp_path / "vault" / "vault.db", create=True)
    store._owner._rest = lambda: True  # else the log is emptied at some moment
    await store.insert("test", "k", b"0")
    yield store
    await store.close()


@pytest.fixture
def asked(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> Counter[object]:
    """Return the reads that reached the reader's thread."""
    rows, asked = store._reader.rows, Counter[object]()
    monkeypatch.setattr(store._reader, "rows", lambda *one: (asked.update([one]), rows(*one))[1])
    return asked


async def read(store: SqliteStore) -> bytes | None:
    """Return the result of all three reads: the first may open a connection, the second is cached, the third comes from
    memory."""
    (value,) = {await store.get("test", "k") for _ in range(3)}
    return value


def by_hand(store: SqliteStore, value: bytes, then: str = ALL) -> None:
    """Write as any other program does."""
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute("UPDATE vault SET value = ? WHERE key = 'test/k'", (b"\x01" + value,))
        db.execute(then).fetchall()


async def write(store: SqliteStore, value: bytes, way: str) -> None:
    if way == "another store":
        other = SqliteStore.open(store.path, create=False)
        await write(other, value, "itself")
        await other.close()
    elif way == "itself":
        assert await store.swap("test", "k", await store.get("test", "k") or b"", value)
    elif way == "restored":
        sqlite_file.copy(store.path, backup := store.path.with_name("backup"), {"test/k": lambda _: b"\x01" + value})
        sqlite_backup._overwrite(backup, store.path, {})
        sqlite_file.remove(backup)
    else:
        by_hand(store, value, way)
        await store._done(store._settle)


def shared(store: SqliteStore) -> int:
    return store.path.with_name("vault.db-shm").stat().st_ino


def locked(inode: int) -> bool:
    """Return True if this process prevents others from recreating this shared memory."""
    return re.search(rf" {os.getpid()} \S+:{inode} 128 128$", Path("/proc/locks").read_text(), re.M) is not None


@pytest.mark.parametrize("way", ["itself", "another store", "restored", ALL, "VACUUM", *CHECKPOINTS])
async def test_each_write_is_seen_and_unchanged_reads_come_from_memory(
    store: SqliteStore, asked: Counter[object], way: str
) -> None:
    for n in range(1, 6):
        await write(store, b"%d" % n, way)
        assert await read(store) == b"%d" % n and locked(shared(store))
        asked.clear()
        assert await read(store) == b"%d" % n and not asked


async def test_many_event_loops_see_each_finished_write(store: SqliteStore) -> None:
    written, behind = [0], list[tuple[int, int]]()

    async def watch() -> None:
        for _ in range(300):
            least = written[-1]
            if (found := int(await store.get("test", "k") or b"")) < least:
                behind.append((found, least))
            await asyncio.sleep(0.001)

    watching = [asyncio.create_task(asyncio.to_thread(asyncio.run, watch())) for _ in range(3)]
    for n in range(1, 150):
        await write(store, b"%d" % n, ("itself", ALL, CHECKPOINTS[-1])[n % 3])
        written.append(n)
    await asyncio.gather(*watching)
    assert behind == []


async def test_write_during_a_fork_is_seen(store: SqliteStore, asked: Counter[object]) -> None:
    for n in range(1, 4):
        store._before_fork()
        by_hand(store, b"%d" % n)
        store._after_fork_in_parent()
        assert await read(store) == b"%d" % n
    by_hand(store, b"4")
    assert [await read(store) for _ in range(9)] == [b"4"] * 9 and asked.total() == 7


@pytest.mark.parametrize("forked", [False, True])
async def test_replaced_file_is_read_after_a_write_without_effect(store: SqliteStore, forked: bool) -> None:
    for step in (store._before_fork, store._after_fork_in_parent) if forked else ():
        step()
    assert await read(store) == b"0"
    sqlite_file.copy(store.path, other := store.path.with_name("other"), {"test/k": lambda _: b"\x01new"})
    sqlite_file.remove(store.path)
    other.rename(store.path)
    assert not await store.insert("test", "k", b"1")
    assert await read(store) == b"new"


async def test_writes_in_another_journal_mode_are_seen(store: SqliteStore) -> None:
    store._before_fork()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute(CHECKPOINTS[-1]).fetchall()
        shutil.copy(index := store.path.with_name("vault.db-shm"), left := store.path.with_name("left"))
        db.execute("PRAGMA journal_mode=DELETE").fetchall()
    left.rename(index)
    store._after_fork_in_parent()
    for n in range(1, 4):
        by_hand(store, b"%d" % n)
        assert await read(store) == b"%d" % n


ANOTHER = """
db, how = sqlite3.connect(path, isolation_level=None), sys.argv[2]
db.execute("PRAGMA cache_size=1")
if how in ("middle", "header"):
    db.execute("BEGIN IMMEDIATE")
    db.executemany("INSERT INTO vault VALUES (?, zeroblob(9000))", [(f"test/{n}",) for n in range(20)])
db.execute("UPDATE vault SET value = ? WHERE key = 'test/k'", (b"\\1new",))
how == "header" and os.pwrite(os.open(f"{path}-shm", os.O_RDWR), bytes(8), 40)  # the sum of what is written last
how == "closed" and db.close()
say("ready")
wait()
"""


@pytest.mark.processes
@pytest.mark.parametrize(("how", "left"), [("middle", b"0"), ("header", b"0"), ("closed", b"new")])
async def test_killed_process_leaves_exactly_its_committed_writes(store: SqliteStore, how: str, left: bytes) -> None:
    assert await read(store) == b"0"
    inode = shared(store)
    with running(ANOTHER, store.path, how) as other:
        other.kill()
        other.wait(10)
    assert await read(store) == left
    by_hand(store, b"after")
    assert await read(store) == b"after" and shared(store) == inode and locked(inode)


FORKING = r"""
from contextlib import closing
from threading import Event, Thread
from deputize.core.vault.stores.sqlite.file import connect
from deputize.core.vault.stores.sqlite.wal_index import _turn, opening

async def change(old, new):
    used = store or SqliteStore.open(path, create=False)
    for value in (old, new):
        assert [await used.get("test", "k") for _ in range(3)] == [value] * 3
        await used.swap("test", "k", old, new)
    assert any(f" {os.getpid()} " in line and line.endswith(" 128 128\n") for line in open("/proc/locks"))
    await used.close()

def use():
    with eval(sys.argv[2]) as db:
        store and db.execute("SELECT * FROM vault").fetchall()
        begun.set()
        time.sleep(0.2)
        ended.set()

store = SqliteStore.open(path, create=False) if "connect" in sys.argv[2] else None
begun, ended, loop = Event(), Event(), asyncio.new_event_loop()
[loop.run_until_complete(store.get("test", "k")) for _ in range(3) if store]
Thread(target=use).start()
if begun.wait() and not (pid := os.fork()):
    signal.alarm(5)
    asyncio.run(change(b"0", b"1"))
    os._exit(not ended.is_set())
say("ready")
assert os.waitpid(pid, 0)[1] == 0
loop.run_until_complete(change(b"1", b"2"))
say("done")
"""


@pytest.mark.processes
@pytest.mark.parametrize("other", ["_turn", "opening()", "closing(connect(path))"])
async def test_fork_during_a_read_keeps_locks_and_sees_changes(store: SqliteStore, other: str) -> None:
    assert await read(store) == b"0"
    with running(FORKING, store.path, other) as program:
        assert await asyncio.to_thread(heard, program) == "done"
    assert await read(store) == b"2"


async def test_closing_another_connection_keeps_the_readers_locks(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await read(store) == b"0" and locked(inode := shared(store))
    assert store._reader.rows_patiently(ALL)
    with closing(connect(store.path)) as closed_twice:
        closed_twice.execute(ALL).fetchall()
        closed_twice.close()
    monkeypatch.setitem(sqlite_writer.PRAGMAS, "synchronous", 7)
    with pytest.raises(StoreUnavailable, match="safely"):
        SqliteStore.open(store.path, create=False)
    store._reader.forget()
    assert locked(inode) and await read(store) == b"0"


@pytest.mark.parametrize("moved", [False, True])
async def test_vault_opened_under_two_names_keeps_its_locks(store: SqliteStore, moved: bool) -> None:
    await read(store)
    inode, folder, also = shared(store), store.path.parent, store.path.parent.with_name("also")
    folder.rename(also) if moved else also.symlink_to(folder)
    with closing(connect(also / store.path.name)) as other:
        other.execute(ALL).fetchall()
        await store.close()
        assert locked(inode)


async def test_vault_closed_during_its_backup_keeps_its_locks(store: SqliteStore) -> None:
    held = list[bool]()

    def change(cell: bytes) -> bytes:
        asyncio.run(store.close())
        held.append(locked(shared(store)))
        return cell

    await read(store)
    await asyncio.to_thread(sqlite_file.copy, store.path, store.path.with_name("copy"), {"test/k": change})
    assert held == [True]


async def test_threads_opening_and_closing_lose_no_lock_or_descriptor(store: SqliteStore) -> None:
    await store.close()
    before, lost = len(os.listdir("/proc/self/fd")), list[int]()

    def use() -> None:
        for n in range(125):
            with closing(connect(store.path)) as db:
                db.execute(ALL).fetchall()
                if db.index() is None or not locked(shared(store)):
                    lost.append(n)

    await asyncio.gather(*(asyncio.to_thread(use) for _ in range(4)))
    assert lost == [] and len(os.listdir("/proc/self/fd")) <= before + 3


@pytest.mark.parametrize("missing", ["mmap", "_VERSION"])
async def test_every_read_queries_the_database_without_a_shared_index(
    store: SqliteStore, asked: Counter[object], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(sqlite_wal_index, missing, lambda *_, **__: os.stat("/nowhere"))
    used = set[int]()
    for n in range(6):
        by_hand(store, b"%d" % n)
        assert await read(store) == b"%d" % n and asked.total() == 3 * (n + 1)
        used.add(len(os.listdir("/proc/self/fd")))
    assert max(used) - min(used) < 3, "a descriptor a look would be six; what other tests left may end in between"


async def test_cache_blocks_nothing_and_ends_with_its_vault(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {(await store.scan("test")).pop() for _ in range(3)} == {("k", await read(store))}
    with monkeypatch.context() as patches, noted():
        patches.setattr(store._reader, "rows", None)
        assert await store.scan("test") == [("k", b"0")] and await store.get("test", "k") == b"0"
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.get("test", "k")


async def test_cache_size_is_bounded(store: SqliteStore, asked: Counter[object]) -> None:
    await store.insert("test", "large", bytes(sqlite_reader.MAX_ENTRY_BYTES))
    for key in (keys := [*map(str, range(sqlite_reader.MAX_CACHED_ENTRIES + 10)), *["large"] * 3]):
        await store.get("test", key)
    assert asked.total() == len(keys) and len(store._reader._known._records["test"]) < 20
