"""Both ways of locking among processes: byte ranges of one open file; a file for each lock on other systems."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores import Store
from deputize.core.vault.stores.sqlite import filelocks, range_locks
from deputize.core.vault.stores.sqlite.filelocks import FileLocks
from deputize.core.vault.stores.sqlite.range_locks import FILE, RangeLocks
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.sandbox.store_contract.concurrency import LockContract
from tests.core.vault.vault_processes import go_on, heard, running


class TestFileLocks(LockContract):
    @pytest.fixture
    async def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
        monkeypatch.setattr(range_locks, "supported", lambda: False)
        store = SqliteStore.open(tmp_path / "vault.db", create=True)
        assert isinstance(store._locks, FileLocks)
        yield store
        await store.close()


@pytest.fixture(params=[RangeLocks, FileLocks])
def locks(request: pytest.FixtureRequest, tmp_path: Path) -> RangeLocks | FileLocks:
    made: RangeLocks | FileLocks = request.param(tmp_path / "locks")
    return made


def opened(folder: Path) -> list[str]:
    """Return the files of this folder that this process has open."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(os.readlink(descriptor))
    return [name for name in found if name.startswith(str(folder))]


async def test_two_stores_in_one_process_exclude_each_other(
    tmp_path: Path,
) -> None:
    one, other = RangeLocks(tmp_path), RangeLocks(tmp_path)
    async with one.hold("a", 0), other.hold("b", 0):
        with pytest.raises(TimeoutError):
            async with other.hold("a", 0):
                raise AssertionError("two holders")
    async with one.hold("a", 0):
        other.end()
        third = RangeLocks(tmp_path)
        with pytest.raises(TimeoutError):
            async with third.hold("a", 0):
                raise AssertionError("two holders")
    third.end()
    one.end()
    assert opened(tmp_path) == []


async def test_file_locked_while_its_store_closes_stays_locked_until_released(tmp_path: Path) -> None:
    one, other = RangeLocks(tmp_path), RangeLocks(tmp_path)
    async with one.hold("a", 0):
        one.end()
        with pytest.raises(TimeoutError):
            async with other.hold("a", 0):
                raise AssertionError("two holders")
    async with other.hold("a", 0), one.hold("b", 0):
        pass
    other.end()
    assert opened(tmp_path) == []


async def test_ten_thousand_locks_use_one_descriptor(tmp_path: Path) -> None:
    locks = RangeLocks(tmp_path)
    for n in range(10_000):
        async with locks.hold(f"{n}", 0):
            pass
    assert len(opened(tmp_path)) == 1 and (tmp_path / FILE).stat().st_size == 0
    locks.end()


async def test_processes_exclude_each_other_after_the_lock_file_was_removed(tmp_path: Path) -> None:
    old = RangeLocks(tmp_path)
    async with old.hold("a", 0):
        (tmp_path / FILE).unlink()
    new = RangeLocks(tmp_path)
    async with new.hold("a", 0):
        with pytest.raises(TimeoutError):
            async with old.hold("a", 0):
                raise AssertionError("two holders")
    old.end()
    new.end()


async def test_cancelled_lock_request_frees_the_lock(
    locks: RangeLocks | FileLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is opened, or locked, in a thread, which finishes even if nobody waits any more."""
    begun, go = threading.Event(), threading.Event()
    at: tuple[Any, str] = (filelocks, "_try") if isinstance(locks, FileLocks) else (RangeLocks, "_open")
    step = getattr(*at)

    def late(what: Any) -> Any:
        begun.set()
        go.wait(10)
        return step(what)

    async def take() -> None:
        async with locks.hold("a", 1):
            raise AssertionError("it was cancelled before")

    with monkeypatch.context() as patch:
        patch.setattr(*at, late)
        taking = asyncio.create_task(take())
        assert await asyncio.to_thread(begun.wait, 10)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        go.set()
    async with locks.hold("a", 5):
        pass
    locks.end()


async def test_system_without_range_locks_is_detected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert isinstance(range_locks.locks_in(tmp_path), RangeLocks) == range_locks.supported()
    for patched in (0, 999):  # none in this Python, none in this kernel
        monkeypatch.setattr(range_locks, "_SET", patched)
        range_locks.supported.cache_clear()
        assert isinstance(range_locks.locks_in(tmp_path), FileLocks)
    monkeypatch.undo()
    range_locks.supported.cache_clear()


async def test_symlinked_lock_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")
    (tmp_path / "locks").mkdir(0o700)
    (tmp_path / "locks" / FILE).symlink_to(tmp_path / "other")
    with pytest.raises(StoreUnavailable, match="lock file"):
        async with RangeLocks(tmp_path / "locks").hold("a", 0):
            raise AssertionError("locked another file")


FORKING_WHILE_LOCKED = """
async def hold():
    async with store.lock("alice", 1):
        if not os.fork():
            os.close(1)
            time.sleep(20)
            os._exit(0)
        say("ready")
        wait()

store = SqliteStore.open(path, create=True)
asyncio.run(hold())
say("freed")
wait()
"""


@pytest.mark.processes
async def test_child_holds_no_lock_of_a_killed_parent(tmp_path: Path) -> None:
    path = tmp_path / "vault" / "vault.db"
    with running(FORKING_WHILE_LOCKED, path) as parent:
        store = SqliteStore.open(path, create=False)
        with pytest.raises(TimeoutError):
            async with store.lock("alice", 0):
                raise AssertionError("two holders")
        parent.kill()
        parent.wait(10)
        async with store.lock("alice", 1):
            pass
        await store.close()


@pytest.mark.processes
async def test_lock_held_across_a_fork_is_freed_by_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "vault" / "vault.db"
    with running(FORKING_WHILE_LOCKED, path) as parent:
        go_on(parent)
        assert heard(parent) == "freed"
        store = SqliteStore.open(path, create=False)
        async with store.lock("alice", 1):
            pass
        await store.close()
