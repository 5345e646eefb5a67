"""Root keys change during operation: every record is resealed, none is lost, and every step is safe."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deputize.core import DeputizeError, InvalidInput, SettingsError, User, VaultError
from deputize.core.audit import Audit
from deputize.core.grants.refresh import GrantLost
from deputize.core.vault.grant import SecretBytes
from deputize.core.vault.rotation import (
    PAGES_PER_MARK,
    RESEALING,
    Resealed,
    begin_reseal,
    continue_reseal,
    key_uses,
    reseal,
)
from deputize.core.vault.seal import Sealer, id_of
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.core.vault.vault import KINDS, PAGE, Vault
from deputize.core.vault.vault_keys import VaultKeys
from deputize.sandbox import Sandbox
from tests.core.consent.test_consents import House
from tests.core.vault.test_sweeping import counted
from tests.support.faults import FaultyStore, Meddler
from tests.support.gmail_toolkit import ALL, gmail
from tests.support.key_source import KeysInMemory
from tests.support.sandbox_deputy import build, connect

FIRST, OLD, NEW = b"k" * 32, b"o" * 32, b"n" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault" / "vault.sqlite"


async def opened(path: Path, *keys: bytes) -> Vault:
    """Return the vault in a file, under these keys."""
    return await Vault.open(SqliteStore.open(path, create=not path.exists()), keys)


async def filled(path: Path, rows: int = 40) -> None:
    """Return a vault under the old key with records of every kind."""
    vault = await opened(path, OLD)
    for n in range(rows):
        assert await vault.insert(KINDS[1 + n % (len(KINDS) - 1)], f"row{n:03d}", {"n": n, "expires": 1e12}, None)
    await vault.close()


def sealers(path: Path) -> set[str]:
    """Return the ids of all keys that seal any record in the file, read without deputize's code."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT value FROM vault WHERE key LIKE '%/%'").fetchall()
    return {bytes(value)[2:10].hex() for (value,) in rows}


async def contents(vault: Vault) -> dict[tuple[str, str], int]:
    """Return all records but the first, and their numbers."""
    found = [record for kind in KINDS if kind != "meta" for record in await vault.scan(kind)]
    return {(record.kind, record.key): record.json["n"] for record in found}


# ------------------------------------------------------------- sealing anew


async def test_V6_every_record_is_reencrypted_with_the_new_key(path: Path) -> None:
    await filled(path)
    vault = await opened(path, NEW, OLD)
    house, before = vault.keys, await contents(vault)
    assert (await key_uses(vault))[id_of(OLD)] == 41
    assert await reseal(vault) == Resealed(41 - 1, 0)  # the first record is written anew on its own
    assert await key_uses(vault) == {id_of(NEW): 41} and sealers(path) == {id_of(NEW)}
    assert await reseal(vault) == Resealed(0, 0)
    await vault.close()
    alone = await opened(path, NEW)
    assert await contents(alone) == before and (alone.keys.index, alone.keys.audit) == (house.index, house.audit)
    await alone.close()


async def test_record_reencrypted_by_another_process_is_not_counted() -> None:
    store = MemoryStore()
    vault = await Vault.open(store, [OLD])
    for name in ("one", "two"):
        await vault.insert("act", name, {"expires": 1e12}, None)
    swap = store.swap

    async def overtaken(kind: str, key: str, old: bytes, new: bytes) -> bool:
        swapped = await swap(kind, key, old, new)
        return swapped and key != "two"  # another process wrote this very record first

    store.swap = overtaken  # type: ignore[method-assign]
    vault.rekey([NEW, OLD])
    assert await reseal(vault) == Resealed(1, 0)
    assert await key_uses(vault) == {id_of(NEW): 3}


async def test_V6_two_rotations_leave_nothing_under_the_first_key(path: Path) -> None:
    await filled(path)
    for keys in ((NEW, OLD), (FIRST, NEW, OLD)):
        vault = await opened(path, *keys)
        assert (await reseal(vault)).shut == 0
        await vault.close()
    assert sealers(path) == {id_of(FIRST)}


async def test_concurrent_rotations_leave_nothing_under_the_older_key() -> None:
    """The second one begins, and ends, at each step of the first one."""
    for at in range(1, 400):
        inner = MemoryStore()
        old = await Vault.open(inner, [OLD])
        for n in range(12):
            assert await old.insert("grant", f"row{n:03d}", {"n": n}, None)
        store = FaultyStore(inner)

        async def rotate(inner: MemoryStore = inner) -> None:
            assert (await reseal(await Vault.open(inner, [FIRST, NEW, OLD]))).shut == 0

        first = await Vault.open(store, Sealer([NEW, OLD], KeysInMemory([FIRST, NEW, OLD])))
        meddler = store.meddler = Meddler(at, rotate)
        await reseal(first)
        if not meddler.acted:
            assert at > 20
            return
        last = await Vault.open(inner, [FIRST, NEW, OLD])
        assert await key_uses(last) == {id_of(FIRST): 13}, f"step {at}"
        assert await last.get(*RESEALING) is None
        assert len(await (await Vault.open(inner, [FIRST])).scan("grant")) == 12
    raise AssertionError("it never ends")


async def test_rotation_keeps_the_marker_of_a_newer_one(path: Path) -> None:
    await filled(path)
    first = await Vault.open(SqliteStore.open(path, create=False), Sealer([NEW, OLD], KeysInMemory([FIRST, NEW, OLD])))
    newer = await opened(path, FIRST, NEW, OLD)
    begun = asyncio.Event()

    def go(anew: int) -> None:
        begun.set()

    sealing = asyncio.create_task(reseal(first, go))
    await begun.wait()
    mark = await begin_reseal(newer)
    await sealing
    assert mark and (left := await newer.get(*RESEALING)) and left.json["key"] == id_of(FIRST)
    await first.close()
    await newer.close()


async def test_V6_reencryption_changes_neither_generation_nor_content(path: Path) -> None:
    await filled(path, 9)
    vault = await opened(path, NEW, OLD)
    [record] = await vault.scan("grant")
    changed = await vault.swap(record, {"n": 77})
    assert changed
    await reseal(vault)
    [after] = await vault.scan("grant")
    assert (after.generation, after.plain) == (changed.generation, changed.plain)
    await vault.close()


async def test_V6_record_read_before_reencryption_can_be_written_or_deleted() -> None:
    store = MemoryStore()
    vault = await Vault.open(store, Sealer([OLD], KeysInMemory([NEW, OLD])))
    one, two = await vault.insert("grant", "one", {"n": 1}, None), await vault.insert("grant", "two", {"n": 2}, None)
    assert one and two
    await reseal(await Vault.open(store, [NEW, OLD]))
    assert (await vault.swap(one, {"n": 11})) and await vault.delete(two)
    assert not await vault.swap(one, {"n": 12}) and not await vault.delete(one)  # another's write still wins
    [left] = await vault.scan("grant")
    assert (left.json, left.generation) == ({"n": 11}, 2)


async def test_unknown_record_kind_is_not_written() -> None:
    vault = await Vault.open(MemoryStore(), [OLD])
    with pytest.raises(InvalidInput):
        await vault.insert("forgotten", "x", {})


# ------------------------------------------------------------- while others act


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = await House().begin()
    await made.connected(*ALL)
    made.sandbox.switches.rotate = made.sandbox.switches.reuse_kills_family = True
    yield made
    await made.deputy.close()


def _find_new_key(house: House) -> None:
    """Do what a key file does for a running program: read again, it has the new key too."""
    house.deputy.vault.sealer.source = KeysInMemory([NEW, FIRST])


async def test_V6_key_rotation_at_any_point_of_a_refresh_loses_no_token() -> None:
    at, acted, wrong = 1, True, []
    while acted:
        house = await House().begin()
        await house.connected(*ALL)
        house.sandbox.switches.rotate = house.sandbox.switches.reuse_kills_family = True
        _find_new_key(house)
        other = await Vault.open(house.store.inner, [NEW, FIRST])
        house.sandbox.expire_access_tokens()
        house.clock.now += 3600
        meddler = Meddler(at, partial(reseal, other))
        house.store.meddler = house.line.meddler = meddler
        with suppress(DeputizeError, GrantLost):
            await house.act()
        acted, house.store.meddler, house.line.meddler = meddler.acted, None, None
        await reseal(other)
        if not await house.act(message="m2") or set(await key_uses(other)) != {id_of(NEW)}:
            wrong.append(at)
        if await house.deputy.vault.scan("intent"):
            wrong.append(-at)
        await house.deputy.close()
        at += 1
    assert at > 6 and wrong == []


async def test_V6_key_rotation_at_any_point_of_a_consent_does_not_fail_it() -> None:
    at, acted, wrong = 1, True, []
    while acted:
        house = await House().begin()
        _find_new_key(house)
        asked = await house.ask(*ALL)
        started = await house.start(asked)
        back = await house.allowed(started)
        other = await Vault.open(house.store.inner, [NEW, FIRST])
        meddler = house.store.meddler = house.line.meddler = Meddler(at, partial(reseal, other))
        with suppress(DeputizeError):
            await house.finish(back, started)
        acted, house.store.meddler, house.line.meddler = meddler.acted, None, None
        if (await house.status(asked))[0] != "granted":
            wrong.append(at)
        await house.deputy.close()
        at += 1
    assert at > 6 and wrong == []


async def test_records_are_reencrypted_in_pages_with_progress(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = await opened(path, OLD)
    await asyncio.gather(*(vault.insert("act", f"row{n:04d}", {"expires": 1e12}, None) for n in range(3 * PAGE)))
    vault.rekey([NEW, OLD])
    groups, told, most = counted(monkeypatch), list[int](), 0
    scan = SqliteStore.scan

    async def noted(*asked: Any, **by: Any) -> Any:
        nonlocal most
        most = max(most, len(page := await scan(*asked, **by)))
        return page

    monkeypatch.setattr(SqliteStore, "scan", noted)
    assert (await reseal(vault, told.append)).anew == 3 * PAGE
    assert len(groups) < 2 * PAGE and told[-1] == 3 * PAGE and told == sorted(told) and len(told) >= 3
    assert await key_uses(vault) == {id_of(NEW): 3 * PAGE + 1} and most == PAGE
    await vault.close()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from deputize.core.vault.rotation import reseal
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.core.vault.vault import Vault

async def main():
    store = SqliteStore.open(Path(sys.argv[1]), create=False)
    vault = await Vault.open(store, [b"n" * 32, b"o" * 32])
    swap, left = store.swap, int(sys.argv[2])

    async def counted(*record):
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return await swap(*record)

    store.swap = counted
    await reseal(vault)

asyncio.run(main())
"""


async def test_interrupted_rotation_is_finished_in_the_background(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault, other = await opened(path, OLD), await opened(path, OLD, NEW)
    number = (PAGES_PER_MARK + 2) * PAGE
    await asyncio.gather(*(vault.insert("act", f"row{n:05d}", {"expires": 1e12}, None) for n in range(number)))
    vault.rekey([NEW, OLD])

    def die(anew: int) -> None:
        if anew > (PAGES_PER_MARK + 1) * PAGE - 1:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        await reseal(vault, die)
    mark = await vault.get(*RESEALING)
    assert mark and mark.json["after"] and (await key_uses(vault))[id_of(OLD)] == PAGE
    audit, asked = Audit(None, b"a" * 32), list[str]()
    await continue_reseal(other, audit)  # where the older key is in front nothing is sealed with it
    assert (await key_uses(vault))[id_of(OLD)] == PAGE
    scan = SqliteStore.scan

    async def noted(store: SqliteStore, kind: str, prefix: str = "", **by: Any) -> Any:
        asked.extend([by["after"]] if kind == "act" else [])
        return await scan(store, kind, prefix, **by)

    monkeypatch.setattr(SqliteStore, "scan", noted)
    await continue_reseal(vault, audit)
    assert asked[0] == mark.json["after"] and await vault.get(*RESEALING) is None
    assert await key_uses(vault) == {id_of(NEW): number + 1}
    [row] = audit.rows()
    assert (row["event"], row["records"], row.get("shut", 0)) == ("key.resealed", PAGE, 0)
    await continue_reseal(vault, audit)
    assert len(list(audit.rows())) == 1
    await other.close()
    await vault.close()


async def test_running_deputy_finishes_a_rotation_without_delaying_its_start(path: Path) -> None:
    await filled(path)
    early = await opened(path, NEW, OLD)
    await begin_reseal(early)
    async with await build(vault=await opened(path, NEW, OLD)) as deputy:
        assert (await key_uses(early))[id_of(OLD)] > 0  # it has begun, and nobody waited
        for _ in range(500):
            if id_of(OLD) in await key_uses(early):
                await asyncio.sleep(0.02)
        assert set(await key_uses(early)) == {id_of(NEW)} and len(await contents(deputy.vault)) == 40
    await early.close()


@pytest.mark.processes
@pytest.mark.parametrize("rows", [0, 1, 17])
async def test_V6_killed_rotation_continues_where_it_stopped(path: Path, rows: int) -> None:
    await filled(path)
    command = [sys.executable, "-c", KILLED, str(path), str(rows)]
    killed = await asyncio.to_thread(subprocess.run, command, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert sealers(path) == ({id_of(OLD)} if rows == 0 else {id_of(OLD), id_of(NEW)})
    vault = await opened(path, NEW, OLD)
    assert len(await contents(vault)) == 40
    written = 40 - (await reseal(vault)).anew
    assert max(rows - 8, 0) <= written <= rows, "some writes may have been under way"
    assert sealers(path) == {id_of(NEW)} and len(await contents(vault)) == 40
    await vault.close()


# ------------------------------------------------------------- wrong turns


async def test_V6_missing_key_is_named_and_nothing_is_lost(path: Path) -> None:
    await filled(path)
    before = path.read_bytes()
    with pytest.raises(VaultError) as caught:
        await opened(path, NEW)
    assert id_of(OLD) in caught.value.hint and id_of(NEW) in caught.value.hint
    assert OLD.hex() not in caught.value.hint and path.read_bytes() == before
    vault = await opened(path, OLD)
    assert len(await contents(vault)) == 40
    await vault.close()


async def test_V6_key_removed_too_early_is_named_by_each_record_that_needs_it(path: Path) -> None:
    await filled(path)
    vault = await opened(path, NEW, OLD)
    vault.rekey([NEW, OLD])
    await vault.renew_keys(lambda keys: keys.sealed_by(id_of(NEW)))  # the vault's own keys only
    await vault.close()
    early = await opened(path, NEW)
    with pytest.raises(VaultError) as caught:
        await early.scan("grant")
    assert id_of(OLD) in caught.value.hint
    assert (await key_uses(early))[id_of(OLD)] == 40
    done = await reseal(early)
    assert (done.anew, done.shut) == (0, 40) and (await key_uses(early))[id_of(OLD)] == 40
    await early.close()
    back = await opened(path, NEW, OLD)
    assert len(await contents(back)) == 40 and (await reseal(back)).anew == 40
    await back.close()


async def test_V6_older_key_before_its_replacement_is_refused(path: Path) -> None:
    await filled(path)
    behind = await opened(path, OLD, NEW)  # the new one is made known first
    await behind.close()
    vault = await opened(path, NEW, OLD)
    await reseal(vault)
    await vault.close()
    with pytest.raises(SettingsError) as caught:
        await opened(path, OLD, NEW)
    assert id_of(NEW) in caught.value.hint and sealers(path) == {id_of(NEW)}


async def test_V6_program_started_earlier_cannot_reencrypt_backwards() -> None:
    store = MemoryStore()
    before = await Vault.open(store, [OLD, NEW])
    await reseal(await Vault.open(store, [NEW, OLD]))
    with pytest.raises(SettingsError):
        await reseal(before)
    assert set(await key_uses(before)) == {id_of(NEW)}


async def test_V6_program_with_the_old_key_finds_the_new_one_in_the_source() -> None:
    sandbox, store, source = Sandbox(), MemoryStore(), KeysInMemory([OLD])
    vault = await Vault.open(store, Sealer.from_source(source))
    deputy = await build(sandbox, vault=vault, toolkits=[gmail])
    await connect(deputy, sandbox, *ALL)
    source.keys = [NEW, OLD]
    await reseal(await Vault.open(store, source.keys))
    assert await deputy.act("gmail_search", {}, user="alice")
    assert vault.sealer.ids == [id_of(NEW), id_of(OLD)]
    assert (await vault.find_grant(User("alice"), "google", "google")) is not None
    source.keys = [os.urandom(32)]
    await deputy.close()


async def test_V6_missing_key_is_named_and_old_records_work_without_a_source() -> None:
    store, gone = MemoryStore(), KeysInMemory(fails=SettingsError("The key file cannot be read."))
    vault = await Vault.open(store, Sealer([OLD], gone))
    assert await vault.insert("grant", "old", {"n": 1}, None)
    other = await Vault.open(store, [NEW, OLD])
    assert await other.insert("grant", "new", {"n": 2}, None)
    with pytest.raises(VaultError) as caught:
        await vault.get("grant", "new")
    assert id_of(NEW) in caught.value.hint
    assert (await vault.get("grant", "old")) is not None


def test_first_record_of_an_earlier_format_is_read() -> None:
    keys = VaultKeys.new("a" * 16)
    old = {name: getattr(keys, name).hex() for name in ("index", "ticket", "web", "audit")}
    import json

    found = VaultKeys.unpack(SecretBytes(json.dumps(old).encode()))
    assert (found.index, found.audit, found.old_audit, found.sealers) == (keys.index, keys.audit, (), ())
    assert VaultKeys.unpack(keys.with_new_audit().pack()).old_audit == (keys.audit,)
