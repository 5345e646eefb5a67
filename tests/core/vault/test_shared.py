"""Concurrent acts share one opened grant: never an old one, never another user's, and none that outlives them."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import pytest

from deputize.core import Account, Secret, User, VaultError
from deputize.core.vault.grant import Grant
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.core.vault.token_ownership import EndedByProvider
from deputize.core.vault.vault import Vault

KEY, OTHER = b"k" * 32, b"o" * 32
ALICE, BOB = User("alice"), User("bob")


def grant() -> Grant:
    return Grant(ALICE, "google", "google", Account("1", "a@example.test"), frozenset({"s"}), Secret("older"))


async def test_concurrent_readers_share_one_open_grant() -> None:
    vault = await Vault.open(MemoryStore(), [KEY])
    await vault.add(grant())
    first, second = await vault.find_grant(ALICE, "google", "google"), await vault.find_grant(ALICE, "google", "google")
    assert first is not None and first is second and len(vault._shared) == 1
    del first, second
    gc.collect()
    assert len(vault._shared) == 0


async def test_write_of_another_process_is_seen_while_a_grant_is_open(tmp_path: Path) -> None:
    """Each program has its own store and connection; nothing notifies this one of the other's write."""
    here = await Vault.open(SqliteStore.open(tmp_path / "v" / "vault.sqlite", create=True), [KEY])
    there = await Vault.open(SqliteStore.open(tmp_path / "v" / "vault.sqlite", create=False), [KEY])
    await here.add(grant())
    held = await here.find_grant(ALICE, "google", "google")
    theirs = await there.find_grant(ALICE, "google", "google")
    assert held is not None and theirs is not None
    renewed = await there.replace(theirs, replace(theirs, access_token=Secret("newer")))
    seen = await here.find_grant(ALICE, "google", "google")
    assert renewed is not None and seen is not None
    assert seen.access_token == Secret("newer") and held.access_token == Secret("older")
    await there.end_grant(renewed, renewed.tombstone(), EndedByProvider())
    assert await here.find_grant(ALICE, "google", "google") is None
    await here.close()
    await there.close()


async def test_shared_grant_bytes_do_not_open_under_another_key() -> None:
    store = MemoryStore()
    vault = await Vault.open(store, [KEY])
    await vault.add(grant())
    held = await vault.find_grant(ALICE, "google", "google")
    [(_, sealed)] = await store.scan("grant")
    assert held and await store.insert("grant", vault.key_prefix(BOB, "google", "google", "1"), sealed)
    with pytest.raises(VaultError):
        await vault.find_grant(BOB, "google", "google")


async def test_shared_grant_does_not_outlive_its_keys() -> None:
    vault = await Vault.open(MemoryStore(), [KEY])
    await vault.add(grant())
    held = await vault.find_grant(ALICE, "google", "google")
    vault.rekey([OTHER])
    with pytest.raises(VaultError):
        await vault.find_grant(ALICE, "google", "google")
    assert held is not None
