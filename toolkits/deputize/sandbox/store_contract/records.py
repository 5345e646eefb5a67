"""Tests of records: opaque bytes under a kind and a key, changed by compare-and-swap, read in key order."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from deputize.core.errors import InvalidInput
from deputize.core.vault.stores import Batches, Store, Tails


class RecordContract:
    """Tests by one task at a time. Part of `StoreContract`."""

    async def test_inserted_record_is_read(self, store: Store) -> None:
        assert await store.get("grant", "alice") is None
        assert await store.insert("grant", "alice", b"one")
        assert await store.get("grant", "alice") == b"one"

    async def test_insert_never_replaces(self, store: Store) -> None:
        value = b"one"
        assert await store.insert("grant", "alice", value)
        assert not await store.insert("grant", "alice", b"two")
        assert not await store.insert("grant", "alice", value)
        assert await store.get("grant", "alice") == b"one"

    async def test_swap_replaces_the_expected_value_only(self, store: Store) -> None:
        assert not await store.swap("grant", "alice", b"one", b"two")
        assert await store.get("grant", "alice") is None
        await store.insert("grant", "alice", b"one")
        assert not await store.swap("grant", "alice", b"on", b"two")
        assert await store.get("grant", "alice") == b"one"
        assert await store.swap("grant", "alice", b"one", b"two")
        assert not await store.swap("grant", "alice", b"one", b"three")
        assert await store.get("grant", "alice") == b"two"

    async def test_swap_to_the_same_value_succeeds(self, store: Store) -> None:
        await store.insert("grant", "alice", b"one")
        assert await store.swap("grant", "alice", b"one", b"one")

    async def test_delete_removes_the_expected_value_only(self, store: Store) -> None:
        assert not await store.delete("grant", "alice", b"one")
        await store.insert("grant", "alice", b"one")
        assert not await store.delete("grant", "alice", b"two")
        assert await store.get("grant", "alice") == b"one"
        assert await store.delete("grant", "alice", b"one")
        assert await store.get("grant", "alice") is None
        assert not await store.delete("grant", "alice", b"one")
        assert await store.insert("grant", "alice", b"again")

    @pytest.mark.parametrize("value", [b"", b"\0", bytes(range(256)), b"\x80\x04N.", "é".encode(), bytes(2**20)])
    async def test_any_bytes_are_read_unchanged(self, store: Store, value: bytes) -> None:
        await store.insert("grant", "alice", value)
        assert await store.get("grant", "alice") == value
        assert await store.scan("grant") == [("alice", value)]
        assert await store.swap("grant", "alice", value, value + b"!")
        assert await store.delete("grant", "alice", value + b"!")

    @pytest.mark.parametrize("value", ["text", None, 1, bytearray(b"b"), memoryview(b"m"), [b"x"]])
    async def test_values_other_than_bytes_are_refused(self, store: Store, value: Any) -> None:
        await store.insert("grant", "alice", b"one")
        for refused in (
            store.insert("grant", "bob", value),
            store.swap("grant", "alice", b"one", value),
            store.swap("grant", "alice", value, b"one"),
            store.delete("grant", "alice", value),
        ):
            with pytest.raises(InvalidInput):
                await refused
        assert await store.scan("grant") == [("alice", b"one")]

    @pytest.mark.parametrize("name", ["", "A", "a/b", "a b", "a\0", "a\n", "é", "a%", "a" * 256])
    async def test_invalid_kinds_and_keys_are_refused(self, store: Store, name: str) -> None:
        for refused in (
            store.get("grant", name),
            store.get(name, "alice"),
            store.insert("grant", name, b"one"),
            store.insert(name, "alice", b"one"),
            store.swap("grant", name, b"one", b"two"),
            store.delete("grant", name, b"one"),
            store.scan(name),
        ):
            with pytest.raises(InvalidInput) as caught:
                await refused
            assert caught.value.fix_by == "operator"
        if name:
            with pytest.raises(InvalidInput):
                await store.scan("grant", name)

    async def test_equal_keys_of_different_kinds_are_different_records(self, store: Store) -> None:
        for kind in ("grant", "grants", "grant.x", "gran", "grant-", "grant_"):
            assert await store.insert(kind, "alice", kind.encode())
        assert await store.get("grant", "alice") == b"grant"
        assert await store.scan("grant") == [("alice", b"grant")]
        assert not await store.delete("gran", "alice", b"grant")

    async def test_scan_is_in_key_order(self, store: Store) -> None:
        keys = ["a", "a-", "a.", "a0", "a9", "a_", "aa", "b", "-", ".", "0", "_", "z"]
        for key in random.sample(keys, len(keys)):
            await store.insert("test", key, key.encode())
        assert await store.scan("test") == [(key, key.encode()) for key in sorted(keys)]

    @pytest.mark.parametrize("number", [0, 1, 3, 199, 200, 201, 401])
    async def test_tails_equal_the_ends_of_scanned_values(self, store: Store, number: int) -> None:
        if not isinstance(store, Tails):
            return
        for n in range(number):
            await store.insert("test", f"user.{n:03d}", bytes(range(n % 256)))
        for other in ("user-", "userx", "use"):
            await store.insert("test", other, b"other" * 9)
        for prefix in ("", "user.", "user", "user.001", "nobody"):
            assert await store.tails("test", prefix) == [(k, v[-16:]) for k, v in await store.scan("test", prefix)]

    async def test_a_batch_of_reads_returns_what_each_read_returns(self, store: Store) -> None:
        if not isinstance(store, Batches):
            return
        for key in ("al", "alice", "alice.google", "alice.slack", "b"):
            await store.insert("test", key, key.encode() * 20)
        await store.insert("tests", "alice", b"another kind")
        assert await store.read(("scan", "test", "alice"), ("get", "test", "b"), ("get", "test", "c")) == [
            await store.scan("test", "alice"), await store.get("test", "b"), None
        ]  # fmt: skip
        assert await store.read(("tails", "test", "al"), ("scan", "nothing", ""), ("scan", "test", "")) == [
            [(key, value[-16:]) for key, value in await store.scan("test", "al")], [], await store.scan("test")
        ]  # fmt: skip

    async def test_a_batch_of_writes_stops_at_the_first_that_does_not_apply(self, store: Store) -> None:
        if not isinstance(store, Batches):
            return
        assert await store.write(("act", "a", None, b"1"), ("approval", "a", None, b"1")) == 2
        assert await store.write(("approval", "a", b"1", b"2"), ("act", "a", b"1", b"2"), ("act", "b", None, b"1")) == 3
        assert await store.write(("act", "a", None, b"3"), ("approval", "a", b"2", b"3")) == 0
        assert await store.write(("act", "c", None, b"1"), ("approval", "a", b"1", b"3"), ("act", "d", None, b"1")) == 1
        assert await store.scan("act") == [("a", b"2"), ("b", b"1"), ("c", b"1")]
        assert await store.scan("approval") == [("a", b"2")]

    @pytest.mark.parametrize("most", [1, 2, 199, 200, 201, 450, 1000])
    async def test_paged_scan_finds_each_record_once_within_the_limit(self, store: Store, most: int) -> None:
        keys = [f"k{n:03d}" for n in range(450 if most > 2 else 9)]
        for key in keys:
            assert await store.insert("test", key, key.encode())
        await store.insert("tesu", "k", b"another kind")
        found: list[str] = []
        while page := await store.scan("test", after=found[-1] if found else "", most=most):
            assert len(page) <= most
            found += [key for key, _ in page]
        assert found == keys
        assert [key for key, _ in await store.scan("test", "k00", after="k003", most=3)] == ["k004", "k005", "k006"]
        assert await store.scan("test", "k00", after="k5") == [] and await store.scan("test", most=0) == []

    async def test_scan_finds_the_prefix_and_all_keys_below_it(self, store: Store) -> None:
        for key in ("al", "alic", "alice", "alice.google", "alice.slack", "alicf", "b", "zalice"):
            await store.insert("test", key, b"x")
        assert [key for key, _ in await store.scan("test", "alice")] == ["alice", "alice.google", "alice.slack"]
        assert await store.scan("test", "alice.github") == []
        assert await store.scan("nothing") == []

    async def test_long_scan_is_complete(self, store: Store) -> None:
        keys = [f"{n:03}" for n in range(450)]
        for part in range(0, len(keys), 50):
            await asyncio.gather(*(store.insert("test", key, key.encode()) for key in keys[part : part + 50]))
        assert await store.scan("test") == [(key, key.encode()) for key in keys]
        assert len(await store.scan("test", "1")) == 100
