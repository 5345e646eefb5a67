"""Pending writes are committed with one sync, and each writer gets its own result only: killed, locked or full disk."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.sqlite import file as sqlite_file
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.core.vault.stores.sqlite.writer import GROUP, Owner, Writer
from tests.core.vault.vault_processes import LOCKING, heard, running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault" / "vault.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore.open(path, create=True)
    yield store
    await store.close()


@contextmanager
def grouped(store: SqliteStore, monkeypatch: pytest.MonkeyPatch, *, waiting: int = 0) -> Iterator[list[int]]:
    """Return the sizes of the written groups. The first write is alone, and its sync takes until so many wait."""
    commit, sizes, first = Writer.commit, list[int](), threading.Event()

    def slow(writer: Writer, writes: Any) -> Any:
        sizes.append(len(writes))
        if len(sizes) == 1:
            first.set()
            late = time.monotonic() + 10.0
            while store._owner._jobs.qsize() < waiting and time.monotonic() < late:
                time.sleep(0.001)
        return commit(writer, writes)

    async def alone(owner: Owner, *given: Any) -> bool:
        told = asyncio.ensure_future(write(owner, *given))
        await asyncio.sleep(0)
        first.wait(10.0)
        return await told

    write = Owner.write
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "commit", slow)
        patch.setattr(Owner, "write", alone)
        yield sizes


async def test_writes_waiting_for_a_sync_share_one_commit(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    await asyncio.wrap_future(
        store._owner.submit(lambda: store._opened().connection.set_trace_callback(statements.append))
    )
    with grouped(store, monkeypatch, waiting=GROUP + 10) as sizes:
        assert all(await asyncio.gather(*(store.insert("test", f"{n}", b"1") for n in range(1 + GROUP + 10))))
    assert sizes == [1, GROUP, 10]
    assert [one for one in statements if not one.startswith("INSERT")] == ["BEGIN IMMEDIATE", "COMMIT"] * 2


async def test_grouped_writes_of_a_record_are_in_order(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with grouped(store, monkeypatch, waiting=6) as sizes:
        told = await asyncio.gather(
            store.insert("test", "first", b"1"),
            store.insert("test", "a", b"1"),
            store.insert("test", "a", b"other"),
            store.swap("test", "a", b"1", b"2"),
            store.swap("test", "a", b"1", b"3"),
            store.delete("test", "a", b"2"),
            store.insert("test", "a", b"4"),
        )
    assert told == [True, True, False, True, False, True, True] and sizes == [1, 6]
    assert await store.get("test", "a") == b"4"


async def test_write_that_fills_the_disk_fails_alone(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def limited() -> None:
        writer = store._opened()
        [(pages, *_)] = writer.ask("PRAGMA page_count")
        writer.ask(f"PRAGMA max_page_count={int(str(pages)) + 4}")

    await asyncio.wrap_future(store._owner.submit(limited))
    with grouped(store, monkeypatch, waiting=11) as sizes:
        small = [store.insert("test", key, b"1") for key in ("first", *map(str, range(10)))]
        told = await asyncio.gather(*small, store.insert("test", "big", bytes(100_000)), return_exceptions=True)
    assert sizes == [1, 11]
    assert told[:-1] == [True] * 11
    assert isinstance(told[-1], StoreUnavailable) and "full" in told[-1].message
    assert [key for key, _ in await store.scan("test")] == [*map(str, range(10)), "first"]


@pytest.mark.processes
async def test_locked_vault_error_is_raised_for_the_whole_group(store: SqliteStore, path: Path) -> None:
    with running(LOCKING, path):
        began = time.monotonic()
        told = await asyncio.gather(*(store.insert("test", f"{n}", b"1") for n in range(20)), return_exceptions=True)
    assert all(isinstance(one, StoreUnavailable) and "locked" in one.message for one in told)
    assert time.monotonic() - began < 2 * 2 * sqlite_file.BUSY_SECONDS + 2
    assert await store.scan("test") == []


async def test_unknown_error_reaches_its_own_writer_only(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "commit", wrong)
        with pytest.raises(ZeroDivisionError):
            await store.insert("test", "a", b"1")
    assert await store.insert("test", "a", b"1")


WRITING_AT_ONCE = """
from deputize.core.vault.stores.sqlite.writer import Writer

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

where, number = sys.argv[2], int(sys.argv[3])
changed, commit, asked = Writer._changed, Writer.commit, 0

def counted(writer, write):
    global asked
    asked += 1
    return die() if where == "statement" and asked >= number else changed(writer, write)

def whole(writer, writes):
    outcomes = commit(writer, writes)
    return die() if where == "answer" and asked >= number else outcomes

Writer._changed, Writer.commit = counted, whole

async def write(store, task):
    for n in range(1000):
        assert await store.insert("test", f"{task}.{n}", os.urandom(300))
        say(f"{task}.{n}")

async def main():
    store = SqliteStore.open(path, create=False)
    say("ready")
    await asyncio.gather(*(write(store, task) for task in range(16)))

asyncio.run(main())
"""


@pytest.mark.processes
@pytest.mark.parametrize("where", ["statement", "answer"])
@pytest.mark.parametrize("number", [1, 2, 9, 17, 40, 333])
async def test_group_killed_at_any_write_loses_nothing_acknowledged(path: Path, where: str, number: int) -> None:
    await SqliteStore.open(path, create=True).close()
    with running(WRITING_AT_ONCE, path, where, str(number)) as writer:
        assert writer.stdout
        told = await asyncio.to_thread(writer.stdout.read)
        assert writer.wait(30) == -signal.SIGKILL
    store = SqliteStore.open(path, create=False)
    kept = {key for key, _ in await store.scan("test")}
    assert set(told.split()) <= kept, "what was told to be written is not there"
    await store.close()


TWO_LOOPS = """
import threading

async def write(store, name):
    for n in range(100):
        assert await store.insert("test", f"{name}.{n}", b"1")

store = SqliteStore.open(path, create=False)
say("ready")
loops = [threading.Thread(target=lambda n=n: asyncio.run(write(store, n))) for n in range(4)]
for loop in loops:
    loop.start()
for loop in loops:
    loop.join()
asyncio.run(store.close())
say("done")
"""


@pytest.mark.processes
async def test_concurrent_writes_of_threads_and_processes_are_not_lost(store: SqliteStore, path: Path) -> None:
    with running(TWO_LOOPS, path) as other:
        await asyncio.gather(*(store.insert("test", f"here.{n}", b"1") for n in range(400)))
        assert await asyncio.to_thread(heard, other) == "done"
    assert len(await store.scan("test")) == 800
