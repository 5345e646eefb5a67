"""A vault is copied to another store whole or not at all, and an interrupted copy continues."""

from __future__ import annotations

import pytest

from deputize.core import Conflict, SettingsError, StoreUnavailable
from deputize.core.vault.migrate import copy_records
from deputize.core.vault.record import FIRST, KINDS
from deputize.core.vault.stores import Store
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from tests.support.faults import FaultyStore, Meddler

KEY = b"k" * 32


async def a_vault() -> MemoryStore:
    store = MemoryStore()
    vault = await Vault.open(store, [KEY])
    for n in range(450):
        assert await vault.insert("person", f"p{n:03}", {"n": n}, None)
    assert await vault.insert("grant", "g", {"grant": True}, None)
    assert await vault.insert("meta", "chains", {})
    return store


async def everything(store: Store) -> list[tuple[str, str, bytes]]:
    return [(kind, *row) for kind in KINDS for row in await store.scan(kind)]


async def test_every_record_is_copied_encrypted_as_it_is() -> None:
    start, to = await a_vault(), MemoryStore()
    assert await copy_records(start, to) == 453 and await everything(to) == await everything(start)
    copied = await (await Vault.open(to, [KEY], begin=False)).get("grant", "g")
    assert copied and copied.json == {"grant": True}


async def test_interrupted_copy_is_not_a_vault_and_the_next_continues_it() -> None:
    start, to = await a_vault(), FaultyStore(MemoryStore())
    to.failing["insert", "person"] = 1
    with pytest.raises(StoreUnavailable):
        await copy_records(start, to)
    assert await to.get(*FIRST) is None
    await to.inner.insert("person", "p999", b"gone since")
    await to.inner.insert("person", "p001", b"another value then")
    assert await copy_records(start, to) == 453 and await everything(to) == await everything(start)


@pytest.mark.parametrize("at", [250, 470])
async def test_concurrent_write_during_a_copy_is_found_and_the_copy_is_not_a_vault(at: int) -> None:
    start, to = await a_vault(), FaultyStore(MemoryStore())
    old = await start.get("person", "p000") or b""
    to.meddler = Meddler(at, lambda: start.swap("person", "p000", old, b"new"))
    with pytest.raises(Conflict, match="while it was copied"):
        await copy_records(start, to)
    assert await to.get(*FIRST) is None


async def test_copy_from_an_empty_store_or_onto_a_vault_is_refused() -> None:
    with pytest.raises(SettingsError, match="no vault to copy"):
        await copy_records(MemoryStore(), MemoryStore())
    there = await a_vault()
    before = await everything(there)
    with pytest.raises(SettingsError, match="a vault already"):
        await copy_records(await a_vault(), there)
    assert await everything(there) == before
