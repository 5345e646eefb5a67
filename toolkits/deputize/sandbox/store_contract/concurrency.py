"""Tests of concurrent use: one of several racing writes wins, and a lock has one holder."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from deputize.core.vault.stores import Batches, Store


async def add_one(store: Store, key: str = "counter") -> None:
    """Increment by compare-and-swap, with up to 1000 attempts."""
    for _ in range(1000):
        old = await store.get("test", key)
        if old is None:
            if await store.insert("test", key, b"1"):
                return
        elif await store.swap("test", key, old, b"%d" % (int(old) + 1)):
            return
    raise AssertionError("a thousand lost races")


async def add_one_slowly(store: Store, key: str = "counter") -> None:
    """Increment by a separate read and write, which is correct only without concurrent writers."""
    old = await store.get("test", key)
    await asyncio.sleep(0.001)
    if old is None:
        assert await store.insert("test", key, b"1")
    else:
        assert await store.swap("test", key, old, b"%d" % (int(old) + 1))


def in_threads(count: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``work`` in ``count`` threads, each with its own event loop. Raises the first error."""
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


class RaceContract:
    """Tests of concurrent writes by tasks and threads. Part of `StoreContract`."""

    async def test_one_of_many_concurrent_inserts_wins(self, store: Store) -> None:
        won = await asyncio.gather(*(store.insert("test", "race", b"%d" % n) for n in range(20)))
        assert won.count(True) == 1
        assert await store.get("test", "race") == b"%d" % won.index(True)

    async def test_one_of_many_concurrent_swaps_wins(self, store: Store) -> None:
        await store.insert("test", "race", b"old")
        won = await asyncio.gather(*(store.swap("test", "race", b"old", b"%d" % n) for n in range(20)))
        assert won.count(True) == 1
        assert await store.get("test", "race") == b"%d" % won.index(True)

    async def test_concurrent_swap_and_delete_have_one_winner(self, store: Store) -> None:
        for n in range(10):
            await store.insert("test", f"race{n}", b"old")
            swapped, deleted = await asyncio.gather(
                store.swap("test", f"race{n}", b"old", b"new"), store.delete("test", f"race{n}", b"old")
            )
            assert swapped != deleted
            assert await store.get("test", f"race{n}") == (b"new" if swapped else None)

    async def test_concurrent_tasks_lose_no_count(self, store: Store) -> None:
        await asyncio.gather(*(add_one(store) for _ in range(30)))
        assert await store.get("test", "counter") == b"30"

    async def test_concurrent_threads_and_loops_lose_no_count(self, store: Store) -> None:
        async def work() -> None:
            for _ in range(10):
                await add_one(store)

        await asyncio.to_thread(in_threads, 4, work)
        assert await store.get("test", "counter") == b"40"


class LockContract:
    """Tests of locks among tasks and threads, however their holders end. Part of `StoreContract`."""

    async def test_lock_excludes_tasks(self, store: Store) -> None:
        async def work() -> None:
            async with store.lock("one", 20):
                await add_one_slowly(store)

        await asyncio.gather(*(work() for _ in range(20)))
        assert await store.get("test", "counter") == b"20"

    async def test_lock_excludes_threads_and_their_loops(self, store: Store) -> None:
        async def work() -> None:
            for _ in range(5):
                async with store.lock("one", 20):
                    await add_one_slowly(store)

        await asyncio.to_thread(in_threads, 4, work)
        assert await store.get("test", "counter") == b"20"

    async def test_what_is_read_with_a_lock_is_what_its_last_holder_wrote(self, store: Store) -> None:
        if not isinstance(store, Batches):
            return
        batches: Batches = store

        async def work() -> None:
            for _ in range(5):
                async with batches.lock_and_read("one", 20, ("get", "test", "counter")) as (_, [old]):
                    await asyncio.sleep(0.001)
                    assert await batches.write(("test", "counter", old, b"%d" % (int(old or 0) + 1))) == 1

        await asyncio.gather(*(work() for _ in range(4)))
        assert await store.get("test", "counter") == b"20"

    async def test_control_work_without_the_lock_loses_counts(self, store: Store) -> None:
        with pytest.raises(AssertionError):
            await asyncio.gather(*(add_one_slowly(store) for _ in range(5)))

    async def test_held_lock_times_out_for_others_and_stays_held(self, store: Store) -> None:
        async with store.lock("one", 1):
            for timeout in (0.2, 0):
                began = time.monotonic()
                with pytest.raises(TimeoutError):
                    async with store.lock("one", timeout):
                        raise AssertionError("two holders")
                assert timeout <= time.monotonic() - began < timeout + 1
        async with store.lock("one", 0):
            await asyncio.sleep(0)

    async def test_lock_is_not_reentrant(self, store: Store) -> None:
        lock = store.lock("one", 0.05)
        async with lock:
            with pytest.raises(TimeoutError):
                async with store.lock("one", 0.05):
                    raise AssertionError("two holders")

    async def test_locks_with_other_names_are_free(self, store: Store) -> None:
        async with store.lock("one", 0), store.lock("two", 0), store.lock("A name / of ANY kind\n\u00e9", 0):
            await store.insert("test", "a", b"1")

    async def test_waiter_gets_the_lock_when_it_is_released(self, store: Store) -> None:
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

    async def test_error_in_the_holder_releases_the_lock(self, store: Store) -> None:
        with pytest.raises(ZeroDivisionError):
            async with store.lock("one", 0):
                _ = 1 / 0
        async with store.lock("one", 0):
            await asyncio.sleep(0)

    async def test_cancelled_holder_releases_the_lock(self, store: Store) -> None:
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

    async def test_cancelled_waiter_does_not_take_the_lock(self, store: Store) -> None:
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

    async def test_stopped_loop_of_a_waiter_does_not_take_the_lock(self, store: Store) -> None:
        async def wait() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.03), store.lock("one", 30):
                    raise AssertionError("two holders")

        async with store.lock("one", 1):
            await asyncio.to_thread(in_threads, 3, wait)
        async with store.lock("one", 0):
            await asyncio.sleep(0)
