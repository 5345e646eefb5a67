"""What every store has to do. A store's tests inherit `StoreContract` and give it a `store`.

class TestMyStore(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        store = MyStore(...)
        yield store
        await store.close()
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from deputize.core.errors import InvalidInput, StoreUnavailable
from deputize.core.vault.stores import Store


async def add_one(store: Store, key: str = "counter") -> None:
    """Count up by compare-and-swap alone, as often as it takes."""
    for _ in range(1000):
        old = await store.get("test", key)
        if old is None:
            if await store.insert("test", key, b"1"):
                return
        elif await store.swap("test", key, old, b"%d" % (int(old) + 1)):
            return
    raise AssertionError("a thousand lost races")


async def add_one_slowly(store: Store, key: str = "counter") -> None:
    """Count up by reading and writing apart, which is right only while nobody else does."""
    old = await store.get("test", key)
    await asyncio.sleep(0.001)
    if old is None:
        assert await store.insert("test", key, b"1")
    else:
        assert await store.swap("test", key, old, b"%d" % (int(old) + 1))


def in_threads(count: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``work`` in as many threads, each with an event loop of its own. Raises the first error."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


class StoreContract:
    """The tests. ``store`` is empty, open, and closed by its fixture."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        raise NotImplementedError("give the store that is to be tested")
        yield

    # records

    async def test_what_was_inserted_is_read(self, store: Store) -> None:
        assert await store.get("grant", "alice") is None
        assert await store.insert("grant", "alice", b"one")
        assert await store.get("grant", "alice") == b"one"

    async def test_an_insert_never_replaces(self, store: Store) -> None:
        value = b"one"
        assert await store.insert("grant", "alice", value)
        assert not await store.insert("grant", "alice", b"two")
        assert not await store.insert("grant", "alice", value)
        assert await store.get("grant", "alice") == b"one"

    async def test_a_swap_replaces_exactly_the_old_value(self, store: Store) -> None:
        assert not await store.swap("grant", "alice", b"one", b"two")
        assert await store.get("grant", "alice") is None
        await store.insert("grant", "alice", b"one")
        assert not await store.swap("grant", "alice", b"on", b"two")
        assert await store.get("grant", "alice") == b"one"
        assert await store.swap("grant", "alice", b"one", b"two")
        assert not await store.swap("grant", "alice", b"one", b"three")
        assert await store.get("grant", "alice") == b"two"

    async def test_a_swap_for_the_same_value_succeeds(self, store: Store) -> None:
        await store.insert("grant", "alice", b"one")
        assert await store.swap("grant", "alice", b"one", b"one")

    async def test_a_delete_removes_exactly_the_old_value(self, store: Store) -> None:
        assert not await store.delete("grant", "alice", b"one")
        await store.insert("grant", "alice", b"one")
        assert not await store.delete("grant", "alice", b"two")
        assert await store.get("grant", "alice") == b"one"
        assert await store.delete("grant", "alice", b"one")
        assert await store.get("grant", "alice") is None
        assert not await store.delete("grant", "alice", b"one")
        assert await store.insert("grant", "alice", b"again")

    @pytest.mark.parametrize("value", [b"", b"\0", bytes(range(256)), b"\x80\x04N.", "é".encode(), bytes(2**20)])
    async def test_any_bytes_come_back_as_they_were(self, store: Store, value: bytes) -> None:
        await store.insert("grant", "alice", value)
        assert await store.get("grant", "alice") == value
        assert await store.scan("grant") == [("alice", value)]
        assert await store.swap("grant", "alice", value, value + b"!")
        assert await store.delete("grant", "alice", value + b"!")

    @pytest.mark.parametrize("value", ["text", None, 1, bytearray(b"b"), memoryview(b"m"), [b"x"]])
    async def test_nothing_but_bytes_is_kept(self, store: Store, value: Any) -> None:
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
    async def test_names_are_short_words(self, store: Store, name: str) -> None:
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

    async def test_kinds_are_apart(self, store: Store) -> None:
        for kind in ("grant", "grants", "grant.x", "gran", "grant-", "grant_"):
            assert await store.insert(kind, "alice", kind.encode())
        assert await store.get("grant", "alice") == b"grant"
        assert await store.scan("grant") == [("alice", b"grant")]
        assert not await store.delete("gran", "alice", b"grant")

    # scan

    async def test_a_scan_is_in_key_order_whatever_the_order_of_writing(self, store: Store) -> None:
        keys = ["a", "a-", "a.", "a0", "a9", "a_", "aa", "b", "-", ".", "0", "_", "z"]
        for key in random.sample(keys, len(keys)):
            await store.insert("test", key, key.encode())
        assert await store.scan("test") == [(key, key.encode()) for key in sorted(keys)]

    @pytest.mark.parametrize("most", [1, 2, 199, 200, 201, 450, 1000])
    async def test_scans_by_pages_find_each_record_once_and_no_more_than_they_are_asked_for(
        self, store: Store, most: int
    ) -> None:
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

    async def test_a_scan_finds_the_prefix_itself_and_all_behind_it(self, store: Store) -> None:
        for key in ("al", "alic", "alice", "alice.google", "alice.slack", "alicf", "b", "zalice"):
            await store.insert("test", key, b"x")
        assert [key for key, _ in await store.scan("test", "alice")] == ["alice", "alice.google", "alice.slack"]
        assert await store.scan("test", "alice.github") == []
        assert await store.scan("nothing") == []

    async def test_a_long_scan_is_whole(self, store: Store) -> None:
        keys = [f"{n:03}" for n in range(450)]
        for part in range(0, len(keys), 50):
            await asyncio.gather(*(store.insert("test", key, key.encode()) for key in keys[part : part + 50]))
        assert await store.scan("test") == [(key, key.encode()) for key in keys]
        assert len(await store.scan("test", "1")) == 100

    # races

    async def test_of_many_inserts_at_once_one_wins(self, store: Store) -> None:
        won = await asyncio.gather(*(store.insert("test", "race", b"%d" % n) for n in range(20)))
        assert won.count(True) == 1
        assert await store.get("test", "race") == b"%d" % won.index(True)

    async def test_of_many_swaps_at_once_one_wins(self, store: Store) -> None:
        await store.insert("test", "race", b"old")
        won = await asyncio.gather(*(store.swap("test", "race", b"old", b"%d" % n) for n in range(20)))
        assert won.count(True) == 1
        assert await store.get("test", "race") == b"%d" % won.index(True)

    async def test_swap_and_delete_at_once_have_one_winner(self, store: Store) -> None:
        for n in range(10):
            await store.insert("test", f"race{n}", b"old")
            swapped, deleted = await asyncio.gather(
                store.swap("test", f"race{n}", b"old", b"new"), store.delete("test", f"race{n}", b"old")
            )
            assert swapped != deleted
            assert await store.get("test", f"race{n}") == (b"new" if swapped else None)

    async def test_no_count_is_lost_among_tasks(self, store: Store) -> None:
        await asyncio.gather(*(add_one(store) for _ in range(30)))
        assert await store.get("test", "counter") == b"30"

    async def test_no_count_is_lost_among_threads_and_their_loops(self, store: Store) -> None:
        async def work() -> None:
            for _ in range(10):
                await add_one(store)

        await asyncio.to_thread(in_threads, 4, work)
        assert await store.get("test", "counter") == b"40"

    # locks

    async def test_a_lock_excludes_tasks(self, store: Store) -> None:
        async def work() -> None:
            async with store.lock("one", 20):
                await add_one_slowly(store)

        await asyncio.gather(*(work() for _ in range(20)))
        assert await store.get("test", "counter") == b"20"

    async def test_a_lock_excludes_threads_and_their_loops(self, store: Store) -> None:
        async def work() -> None:
            for _ in range(5):
                async with store.lock("one", 20):
                    await add_one_slowly(store)

        await asyncio.to_thread(in_threads, 4, work)
        assert await store.get("test", "counter") == b"20"

    async def test_without_the_lock_the_same_work_loses_counts(self, store: Store) -> None:
        with pytest.raises(AssertionError):
            await asyncio.gather(*(add_one_slowly(store) for _ in range(5)))

    async def test_a_held_lock_times_out_for_others_and_stays_held(self, store: Store) -> None:
        async with store.lock("one", 1):
            for patience in (0.2, 0):
                began = time.monotonic()
                with pytest.raises(TimeoutError):
                    async with store.lock("one", patience):
                        raise AssertionError("two holders")
                assert patience <= time.monotonic() - began < patience + 1
        async with store.lock("one", 0):
            await asyncio.sleep(0)

    async def test_a_lock_is_not_reentrant(self, store: Store) -> None:
        lock = store.lock("one", 0.05)
        async with lock:
            with pytest.raises(TimeoutError):
                async with store.lock("one", 0.05):
                    raise AssertionError("two holders")

    async def test_locks_of_other_names_are_free(self, store: Store) -> None:
        async with store.lock("one", 0), store.lock("two", 0), store.lock("A name / of ANY kind\n\u00e9", 0):
            await store.insert("test", "a", b"1")

    async def test_a_waiter_gets_the_lock_when_it_is_freed(self, store: Store) -> None:
        order: list[str] = []

        async def waiter() -> None:
            async with store.lock("one", 5):
                order.append("waiter")

        async with store.lock("one", 1):
            task = asyncio.create_task(waiter())
            await asyncio.sleep(0.05)
            order.append("holder")
        await asyncio.wait_for(task, 5)
        assert order == ["holder", "waiter"]

    async def test_an_error_while_holding_frees_the_lock(self, store: Store) -> None:
        with pytest.raises(ZeroDivisionError):
            async with store.lock("one", 0):
                _ = 1 / 0
        async with store.lock("one", 0):
            await asyncio.sleep(0)

    async def test_a_task_cancelled_while_holding_frees_the_lock(self, store: Store) -> None:
        async def hold(entered: asyncio.Event) -> None:
            async with store.lock("one", 1):
                entered.set()
                await asyncio.sleep(30)

        for _ in range(5):
            entered = asyncio.Event()
            task = asyncio.create_task(hold(entered))
            await asyncio.wait_for(entered.wait(), 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with store.lock("one", 0):
            await asyncio.sleep(0)

    async def test_a_task_cancelled_while_waiting_takes_nothing(self, store: Store) -> None:
        async def wait() -> None:
            async with store.lock("one", 30):
                raise AssertionError("two holders")

        async with store.lock("one", 1):
            tasks = [asyncio.create_task(wait()) for _ in range(10)]
            for task in tasks:
                await asyncio.sleep(0.003)
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ended)
        async with store.lock("one", 0):
            await asyncio.sleep(0)

    async def test_tasks_cancelled_at_any_moment_leave_the_lock_free(self, store: Store) -> None:
        async def work() -> None:
            async with store.lock("one", 30):
                await add_one_slowly(store)

        tasks = [asyncio.create_task(work()) for _ in range(20)]
        for n, task in enumerate(tasks[::2]):
            await asyncio.sleep(0.001 * n)
            task.cancel()
        await asyncio.wait(tasks, timeout=20)
        done = sum(not task.cancelled() and task.exception() is None for task in tasks)
        assert 10 <= done <= 20
        async with store.lock("one", 5):  # a write whose caller was cancelled may still be on its way
            await add_one(store)
        assert done < int(await store.get("test", "counter") or 0) <= 21

    async def test_a_loop_that_is_stopped_while_waiting_takes_nothing(self, store: Store) -> None:
        async def wait() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.03), store.lock("one", 30):
                    raise AssertionError("two holders")

        async with store.lock("one", 1):
            await asyncio.to_thread(in_threads, 3, wait)
        async with store.lock("one", 0):
            await asyncio.sleep(0)

    # the end

    async def test_closing_twice_is_closing_once(self, store: Store) -> None:
        await store.insert("test", "a", b"1")
        await asyncio.gather(store.close(), store.close())
        await store.close()

    async def test_a_closed_store_says_so(self, store: Store) -> None:
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

    async def test_closing_finishes_what_was_asked(self, store: Store) -> None:
        asked = [asyncio.create_task(store.insert("test", f"{n}", b"1")) for n in range(20)]
        await asyncio.sleep(0)
        await store.close()
        assert await asyncio.gather(*asked) == [True] * 20
