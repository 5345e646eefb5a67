"""Reads and lock files wait for disks in threads: the event loop continues, and no request is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.sqlite.store import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore.open(tmp_path / "vault" / "vault.db", create=True)
    await store.insert("grant", "alice", b"1")
    yield store
    await store.close()


async def test_hanging_disk_does_not_block_the_event_loop(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, go_on = store._reader.rows, threading.Event()

    def late(*asked: Any) -> Any:
        go_on.wait(10)
        return rows(*asked)

    monkeypatch.setattr(store._reader, "rows", late)
    reading = asyncio.create_task(store.get("grant", "alice"))
    began = time.monotonic()
    await asyncio.sleep(0.05)
    assert not reading.done() and time.monotonic() - began < 5
    go_on.set()
    assert await reading == b"1"


async def test_concurrent_reads_from_many_loops_get_their_own_rows(store: SqliteStore) -> None:
    for number in range(20):
        await store.insert("test", f"k{number}", b"%d" % number)

    async def some() -> list[bytes | None]:
        return await asyncio.gather(*(store.get("test", f"k{n % 20}") for n in range(200)))

    found = await asyncio.gather(*(asyncio.to_thread(lambda: asyncio.run(some())) for _ in range(4)))
    assert found == [[b"%d" % (n % 20) for n in range(200)]] * 4


async def test_cancelled_read_does_not_affect_others(store: SqliteStore) -> None:
    reads = [asyncio.create_task(store.get("grant", "alice")) for _ in range(20)]
    await asyncio.sleep(0)
    for one in reads[::2]:
        one.cancel()
    ended = await asyncio.gather(*reads, return_exceptions=True)
    assert ended[1::2] == [b"1"] * 10 and all(isinstance(one, asyncio.CancelledError) for one in ended[::2])


async def test_reads_racing_close_are_answered_or_refused(store: SqliteStore) -> None:
    reads = [asyncio.create_task(store.get("grant", "alice")) for _ in range(50)]
    closing = asyncio.create_task(store.close())
    reads += [asyncio.create_task(store.get("grant", "alice")) for _ in range(50)]
    async with asyncio.timeout(10):
        ended = await asyncio.gather(*reads, return_exceptions=True)
        await closing
    assert all(one == b"1" or isinstance(one, StoreUnavailable) for one in ended)
    with pytest.raises(StoreUnavailable):
        await store.get("grant", "alice")
    thread = store._reader._answering._thread
    assert thread is not None
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()
