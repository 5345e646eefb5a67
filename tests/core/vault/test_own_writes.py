"""Cached reads survive this process's own writes of other kinds, and no write of another process."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deputize.core.vault.stores.sqlite.reader import Reader
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.core.vault.stores.sqlite.table import GET, SCAN
from deputize.core.vault.stores.sqlite.wal_index import HEADER, is_next
from deputize.core.vault.stores.sqlite.writer import Writer
from tests.core.vault.vault_processes import heard, running


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore.open(tmp_path / "vault" / "vault.db", create=True)
    store._owner._rest = lambda: True  # else the log is emptied at some moment
    await store.insert("grant", "a", b"0")
    yield store
    await store.close()


@pytest.fixture
def asked(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Return the reads that reached the reader's thread."""
    rows, asked = store._reader.rows, list[tuple[object, ...]]()

    def noting(*one: Any) -> Any:
        asked.append(one)
        return rows(*one)

    monkeypatch.setattr(store._reader, "rows", noting)
    return asked


async def known(store: SqliteStore) -> None:
    for _ in range(3):
        assert await store.get("grant", "a") == b"0" and len(await store.scan("grant")) == 1


def by_hand(store: SqliteStore, value: bytes) -> None:
    """Write as any other program does."""
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute("UPDATE vault SET value = ? WHERE key = 'grant/a'", (b"\x01" + value,))


async def test_write_of_another_kind_keeps_the_cache(store: SqliteStore, asked: list[tuple[object, ...]]) -> None:
    await known(store)
    asked.clear()
    for number in range(5):
        assert await store.insert("act", str(number), b"claimed")
        assert await store.swap("act", str(number), b"claimed", b"done")
        await known(store)
    assert await store.delete("act", "0", b"done")
    await known(store)
    assert asked == []


@pytest.mark.parametrize("how", ["swap", "insert", "delete"])
async def test_own_write_is_visible_in_the_cache(how: str, store: SqliteStore, asked: list[tuple[object, ...]]) -> None:
    await known(store)
    match how:
        case "swap":
            await store.swap("grant", "a", b"0", b"1")
        case "insert":
            await store.insert("grant", "b", b"1")
        case _:
            await store.delete("grant", "a", b"0")
    asked.clear()
    expected = {"swap": [("a", b"1")], "insert": [("a", b"0"), ("b", b"1")], "delete": []}[how]
    assert await store.scan("grant") == expected
    assert await store.get("grant", "a") == dict(expected).get("a")
    assert await store.get("grant", "b") == dict(expected).get("b")
    assert {statement for statement, *_ in asked} <= {SCAN, GET} and (GET, "grant/a") not in asked


@pytest.mark.parametrize("when", ["before", "after", "both", "alone"])
async def test_foreign_writes_are_seen(when: str, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the header's check before the own write, and the one after it."""
    commit = Writer.commit

    def meeting(self: Writer, writes: Sequence[Any]) -> Any:
        if when != "after":
            by_hand(store, b"before")
        outcomes = commit(self, writes) if when != "alone" else [False]
        if when in ("after", "both"):
            by_hand(store, b"after")
        return outcomes

    await known(store)
    monkeypatch.setattr(Writer, "commit", meeting)
    await store.insert("act", "1", b"claimed")
    assert await store.get("grant", "a") == (b"after" if when in ("after", "both") else b"before")


async def test_read_overtaken_by_a_write_is_not_cached(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's thread has read the old record, and is delayed; meanwhile this process writes the record."""
    rows, read, go_on = store._reader.rows, threading.Event(), threading.Event()

    def late(*one: Any) -> Any:
        found = rows(*one)
        read.set()
        assert go_on.wait(5)
        return found

    await store.insert("grant", "b", b"0")
    await store.get("act", "none")  # the mapping is there
    monkeypatch.setattr(store._reader, "rows", late)
    slow = asyncio.create_task(store.get("grant", "b"))
    await asyncio.to_thread(read.wait, 5)
    assert await store.swap("grant", "b", b"0", b"1")
    go_on.set()
    await slow
    monkeypatch.setattr(store._reader, "rows", rows)
    assert await store.get("grant", "b") == b"1"


async def test_ungrouped_writes_invalidate_the_cache(
    store: SqliteStore, asked: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await known(store)

    def alone(self: Writer, writes: Sequence[Any]) -> Any:
        return [self._alone(write) for write in writes]

    monkeypatch.setattr(Writer, "commit", alone)
    asked.clear()
    await asyncio.gather(store.insert("act", "1", b"x"), store.insert("act", "2", b"x"))
    await known(store)
    assert len(asked) in (0, 2), "none where both were transactions of a turn each"


@pytest.fixture
def collecting() -> Iterator[list[Any]]:
    """Call this at any garbage collection, which can happen at any allocation: as other threads may run then."""
    meddlers, before = list[Any](), gc.get_threshold()

    def come(*_: Any) -> None:
        for meddle in [*meddlers]:
            meddle()

    gc.callbacks.append(come)
    gc.set_threshold(1)
    yield meddlers
    gc.set_threshold(*before)
    gc.callbacks.remove(come)


async def test_read_in_another_thread_breaks_no_cached_record(store: SqliteStore, collecting: list[Any]) -> None:
    """Of a kind that was not read before."""
    await known(store)
    taken = [(number, number) for number in range(10_000)]  # so that each pair is allocated anew
    reader, before, asked = store._reader, store._reader.header(), iter(range(10**6))
    now = before[:8] + (int.from_bytes(before[8:12], sys.byteorder) + 1).to_bytes(4, sys.byteorder) + before[12:]
    reader.header = lambda: now  # type: ignore[method-assign]
    collecting.append(lambda: reader._known.rows_of(("", (f"kind{next(asked)}/a",))))
    reader.wrote(before, [("act/1", b"claimed")])
    collecting.clear()
    assert reader._known.header == now and reader._known._records["grant"] and next(asked) > 0 and taken


async def test_fork_breaks_no_written_record(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the writer, but not forever: then the index may vanish between any two reads of it."""
    await known(store)
    looks = iter([store._reader._index, None] * 4)
    with monkeypatch.context() as patches:
        patches.setattr(Reader, "_index", property(lambda _: next(looks)), raising=False)
        assert await store.insert("act", "1", b"claimed")
    await known(store)


def header(count: int, *, made: int = 1) -> bytes:
    begins = (3007000).to_bytes(4, sys.byteorder) + bytes(4) + count.to_bytes(4, sys.byteorder) + bytes([made])
    return begins.ljust(HEADER, b"\0")


def test_only_the_directly_following_transaction_keeps_the_cache() -> None:
    assert is_next(header(1), header(2)) and is_next(header(7), header(8))
    for before, now in ((7, 7), (7, 9), (8, 7), (0, 1), (2**32 - 1, 0)):
        assert not is_next(header(before), header(now))
    assert not is_next(header(1), header(2, made=0)) and not is_next(header(1, made=0), header(2))
    assert not is_next(b"", header(2)) and not is_next(header(1), b"")


RIVAL = """
db = sqlite3.connect(path, isolation_level=None, timeout=10)
say("ready")
for number in range(1, 2001):
    db.execute("UPDATE vault SET value = ? WHERE key = 'grant/a'", (b"\\x01" + str(number).encode(),))
    if number % 100 == 0:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    say(number)
"""


@pytest.mark.processes
async def test_writes_of_another_process_are_not_missed_during_own_writes(store: SqliteStore) -> None:
    """What the other process has committed is never newer than what is read here, though every act here writes, too."""
    said, written, stop = 0, list[str](), asyncio.Event()

    async def writing(kind: str) -> None:
        while not stop.is_set():
            key = str(len(written))
            assert await store.insert(kind, key, b"claimed")
            written.append(f"{kind}/{key}")

    tasks = [asyncio.create_task(writing(kind)) for kind in ("act", "approval")]
    checks = 0
    with running(RIVAL, store.path) as rival:
        while said < 2000:
            said = int(await asyncio.to_thread(heard, rival))
            for _ in range(2):
                value = await store.get("grant", "a")
                assert value is not None and int(value) >= said
                checks += 1
    stop.set()
    await asyncio.gather(*tasks)
    assert checks == 4000 and len(written) > 50
