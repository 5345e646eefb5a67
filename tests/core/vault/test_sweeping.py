"""Expired records are deleted while the process runs: by pages, in one process at a time, without blocking anyone."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from deputize.core import Deputy
from deputize.core.settings import AppSettings, Settings
from deputize.core.vault import sweeper as sweeping
from deputize.core.vault.grant import SecretBytes
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.core.vault.stores.sqlite.writer import Writer
from deputize.core.vault.sweeper import SWEEP_INTERVAL_SECONDS, Sweeper
from deputize.core.vault.vault import EXPIRING, PAGE, Record, Vault
from tests.support.faults import FaultyStore
from tests.support.sandbox_deputy import Clock, build, new_vault

KEY = base64.urlsafe_b64encode(os.urandom(32)).decode()


async def no_file(record: Record) -> None:
    raise AssertionError("there are no files")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages follow each other at once."""
    monkeypatch.setattr(sweeping, "PAGE_PAUSE_SECONDS", 0)


async def filled(number: int, store: Any = None) -> tuple[Vault, Clock, Sweeper]:
    """Return a vault with this many expired results and as many valid ones."""
    clock = Clock(1_800_000_000.0)
    vault = await Vault.open(store or MemoryStore(), [b"k" * 32])
    for n in range(number):
        await vault.insert("act", f"a{n:05d}", {"state": "done", "expires": clock.now - 1}, None)
        await vault.insert(
            "act", f"b{n:05d}", {"state": "done", "expires": clock.now + 10 * SWEEP_INTERVAL_SECONDS}, None
        )
    return vault, clock, Sweeper(vault, no_file, clock)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of the groups of writes that are committed with one sync."""
    commit, groups = Writer.commit, list[int]()

    def noted(writer: Writer, writes: Any) -> Any:
        groups.append(len(writes))
        return commit(writer, writes)

    monkeypatch.setattr(Writer, "commit", noted)
    return groups


async def left(vault: Vault) -> int:
    return len(await vault.scan("act"))


@pytest.mark.parametrize("kind", EXPIRING)
async def test_expired_records_are_swept_and_others_stay(kind: str) -> None:
    clock, vault = Clock(1000.0), await new_vault()
    for key, expires in (("old", 999.0), ("now", 1000.0), ("new", 1001.0)):
        await vault.insert(kind, key, {"expires": expires}, None)
    assert await Sweeper(vault, no_file, clock).turn() == 2
    assert [record.key for record in await vault.scan(kind)] == ["new"]


async def test_sweeper_scans_in_pages() -> None:
    store = FaultyStore(MemoryStore())
    vault, _, sweeper = await filled(3 * PAGE, store)
    asked: list[int | None] = []
    scan = store.scan

    async def scanning(kind: str, prefix: str = "", *, after: str = "", most: int | None = None) -> Any:
        asked.append(most)
        return await scan(kind, prefix, after=after, most=most)

    store.scan = scanning  # type: ignore[method-assign]
    assert await sweeper.turn() == 3 * PAGE and set(asked) == {PAGE}
    store.scan = scan  # type: ignore[method-assign]
    assert await left(vault) == 3 * PAGE


async def test_one_process_sweeps_and_others_do_not_wait() -> None:
    vault, clock, sweeper = await filled(2 * PAGE)
    others = [Sweeper(vault, no_file, clock) for _ in range(5)]
    first = asyncio.create_task(sweeper.turn())
    await asyncio.sleep(0)
    assert await asyncio.wait_for(asyncio.gather(*(one.turn() for one in others)), 5) == [0] * 5
    assert await first == 2 * PAGE


async def test_recently_swept_records_are_not_scanned_again() -> None:
    vault, clock, sweeper = await filled(3)
    assert await sweeper.turn() == 3
    await vault.insert("act", "c", {"expires": clock.now}, None)
    assert await Sweeper(vault, no_file, clock).turn() == 0
    clock.now += SWEEP_INTERVAL_SECONDS
    assert await Sweeper(vault, no_file, clock).turn() == 1


async def test_interrupted_sweep_continues_where_it_stopped() -> None:
    store = FaultyStore(MemoryStore())
    vault, clock, sweeper = await filled(15 * PAGE, store)
    store.failing["delete", "act"] = 0
    deletes = 0
    delete = store.delete

    async def deleting(kind: str, key: str, old: bytes) -> bool:
        nonlocal deletes
        deletes += 1
        if deletes == 12 * PAGE:
            raise asyncio.CancelledError
        return await delete(kind, key, old)

    store.delete = deleting  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await sweeper.turn()
    asked: list[str] = []
    scan = store.scan

    async def scanning(kind: str, prefix: str = "", *, after: str = "", most: int | None = None) -> Any:
        asked.append(f"{kind}/{after}")
        return await scan(kind, prefix, after=after, most=most)

    store.scan = scanning  # type: ignore[method-assign]
    assert await Sweeper(vault, no_file, clock).turn() == 3 * PAGE + 1
    assert asked[0] == f"act/a{10 * PAGE - 1:05d}"


async def test_damaged_record_does_not_stop_the_sweep() -> None:
    store = MemoryStore()
    _, _, sweeper = await filled(PAGE, store)
    [(key, sealed), *_] = await store.scan("act")
    assert await store.swap("act", key, sealed, b"x" * len(sealed))
    assert await sweeper.turn() == PAGE - 1 and len(await store.scan("act")) == PAGE + 1


async def test_entered_deputy_sweeps_in_the_background_until_closed() -> None:
    vault = await new_vault()
    await vault.insert("act", "old", {"expires": 1.0}, None)
    async with await build(vault=vault) as deputy:
        deadline = time.monotonic() + 10
        while await left(vault):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)
    assert deputy.sweeper._task is None


def _settings(home: Path) -> Settings:
    google = AppSettings(client_id="x", client_secret=None)
    return Settings.load(home=home, key=KEY, apps={"google": google}, port=0)


def test_start_does_not_wait_for_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number = 2000
    monkeypatch.setattr(Sweeper, "_begin", _nothing)
    with Deputy.from_settings(_settings(tmp_path)) as first:
        for n in range(number):
            first.run(first.vault.insert("act", f"a{n:05d}", {"expires": 1.0}, None))
    opened: list[str] = []
    unsealed = Vault.unsealed

    def counting(self: Vault, kind: str, key: str, sealed: bytes) -> tuple[int, SecretBytes]:
        opened.append(kind)
        return unsealed(self, kind, key, sealed)

    monkeypatch.setattr(Vault, "unsealed", counting)
    with Deputy.from_settings(_settings(tmp_path)) as again:
        assert "act" not in opened
        assert again.run(left(again.vault)) == number


async def _nothing(sweeper: Sweeper) -> None:
    """No sweep begins."""


DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from deputize.core.vault import sweeper as sweeping
from deputize.core.vault.stores.sqlite.store import SqliteStore
from tests.support.sandbox_deputy import new_vault

count, delete = 0, SqliteStore.delete

async def deleting(self, kind, key, old):
    global count
    count += 1
    if count == 130:
        os.kill(os.getpid(), signal.SIGKILL)
    return await delete(self, kind, key, old)

async def main():
    vault = await new_vault(Path(sys.argv[1]), b"k" * 32)
    SqliteStore.delete = deleting
    await sweeping.Sweeper(vault, None, lambda: 2.0).turn()

asyncio.run(main())
"""


@pytest.mark.processes
async def test_killed_sweep_leaves_the_rest_to_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "vault" / "vault.sqlite"
    vault = await new_vault(path, b"k" * 32)
    for n in range(PAGE + 60):
        await vault.insert("act", f"a{n:05d}", {"expires": 1.0}, None)
    command = [sys.executable, "-c", DYING, str(path)]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert await left(vault) == 60  # the first page was gone, none of the second
    assert await Sweeper(vault, no_file, lambda: 2.0).turn() == 60 and await left(vault) == 0
    await vault.close()


async def test_page_of_deletions_shares_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore.open(tmp_path / "vault" / "vault.sqlite", create=True)
    vault, _, sweeper = await filled(2 * PAGE, store)
    groups = counted(monkeypatch)
    assert await sweeper.turn() == 2 * PAGE
    assert sum(groups) >= 2 * PAGE and len(groups) < PAGE
    await vault.close()
