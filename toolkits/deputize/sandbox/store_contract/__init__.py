"""Tests of what every store must do: a store's own tests inherit `StoreContract` and provide a ``store``.

    class TestAcmeStore(StoreContract):
        @pytest.fixture
        async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
            store = AcmeStore.open(f"acme://{tmp_path}/vault", create=True)
            yield store
            await store.close()

They need pytest-asyncio with ``asyncio_mode = "auto"``. A store must also work between processes and after a crash;
these tests cannot show that.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deputize.core.errors import SettingsError, StoreUnavailable
from deputize.core.vault.stores import Store
from deputize.sandbox.store_contract.concurrency import LockContract, RaceContract
from deputize.sandbox.store_contract.records import RecordContract

__all__ = ["StoreContract"]


class StoreContract(RecordContract, RaceContract, LockContract):
    """The tests. ``store`` is empty, open, and closed by its fixture."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        """Provide the store under test."""
        raise NotImplementedError("give the store that is to be tested")
        yield

    # abilities

    async def test_traits_of_the_store_are_declared(self, store: Store) -> None:
        assert store.local_reads in (True, False)
        assert store.backup is None or callable(store.backup.copy)

    async def test_backup_is_a_private_copy_that_can_be_restored(self, store: Store, tmp_path: Path) -> None:
        if (backup := store.backup) is None:
            pytest.skip("this store makes no copies")
        await store.insert("test", "a", b"1")
        await store.insert("test", "b", b"1")
        to = tmp_path / "copy"
        await asyncio.to_thread(backup.copy, to, {("test", "a"): lambda old: old + b"!"})
        assert stat.S_IMODE(to.stat().st_mode) == 0o600
        assert await store.scan("test") == [("a", b"1"), ("b", b"1")]
        with pytest.raises(SettingsError):
            await asyncio.to_thread(backup.copy, to, {})
        assert await store.swap("test", "b", b"1", b"2") and await store.insert("test", "c", b"1")
        async with backup.draft(to) as draft:
            assert await draft.store.scan("test") == [("a", b"1!"), ("b", b"1")]
            assert await draft.store.insert("test", "d", b"1")
            await draft.publish({})
        assert await store.scan("test") == [("a", b"1!"), ("b", b"1"), ("d", b"1")]

    async def test_unpublished_draft_changes_nothing(self, store: Store, tmp_path: Path) -> None:
        if (backup := store.backup) is None:
            pytest.skip("this store makes no copies")
        await asyncio.to_thread(backup.copy, tmp_path / "copy", {})
        await store.insert("test", "a", b"1")
        async with backup.draft(tmp_path / "copy") as draft:
            assert await draft.store.insert("test", "b", b"1")
        assert await store.scan("test") == [("a", b"1")]

    # the end

    async def test_second_close_does_nothing(self, store: Store) -> None:
        await store.insert("test", "a", b"1")
        await asyncio.gather(store.close(), store.close())
        await store.close()

    async def test_closed_store_raises_an_error(self, store: Store) -> None:
        await store.insert("test", "a", b"1")
        await store.close()
        for refused in (
            store.get("test", "a"),
            store.scan("test"),
            store.insert("test", "b", b"1"),
            store.swap("test", "a", b"1", b"2"),
            store.delete("test", "a", b"1"),
        ):
            with pytest.raises(StoreUnavailable, match="closed"):
                await refused

    async def test_close_finishes_pending_calls(self, store: Store) -> None:
        asked = [asyncio.create_task(store.insert("test", f"{n}", b"1")) for n in range(20)]
        await asyncio.sleep(0)
        await store.close()
        assert await asyncio.gather(*asked) == [True] * 20
