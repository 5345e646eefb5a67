"""Tests of a networked store while connections are cut and its server is down.

Nothing is lost or done twice, errors are typed, and the store works again without a restart.

    class TestAcmeOutages(OutageContract):
        @pytest.fixture
        async def store(self) -> AsyncIterator[Store]: ...

        @pytest.fixture
        async def other(self) -> AsyncIterator[Store]: ...  # the same vault, as another process has it

        @pytest.fixture
        def server(self) -> Outages: ...
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

import pytest

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores import Store

MAY: Final = "may"
"""The word in the hint of an error that leaves open whether a write was done."""


class Outages(Protocol):
    """Control of the server behind a store. Its methods may block."""

    def cut(self) -> None:
        """Close every connection; accept new ones."""
        ...

    def stop(self) -> None:
        """Stop the server."""
        ...

    def start(self) -> None:
        """Start the server again."""
        ...


class Tally:
    """Results of writes: ``done`` are the values that were written, ``open`` those that may have been."""

    def __init__(self) -> None:
        self.done, self.open, self.refused = set[bytes](), set[bytes](), Counter[str]()

    async def write(self, value: bytes, write: Awaitable[bool]) -> bool:
        """Return True if the write certainly happened."""
        try:
            if done := await write:
                self.done.add(value)
            return done
        except StoreUnavailable as refused:
            self.refused[str(refused)] += 1
            if MAY in refused.hint:
                self.open.add(value)
            return False


class OutageContract:
    """Tests of outages. ``store`` and ``other`` are empty, open, and closed by their fixtures."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        """Provide the store under test."""
        raise NotImplementedError("give the store that is to be tested")
        yield

    @pytest.fixture
    async def other(self) -> AsyncIterator[Store]:
        """Provide the same vault, opened once more."""
        raise NotImplementedError("give the same vault, opened once more")
        yield

    @pytest.fixture
    def server(self) -> Outages:
        """Provide the server behind both stores."""
        raise NotImplementedError("give the server that is behind the store")

    async def test_every_call_continues_on_a_new_connection(self, store: Store, server: Outages) -> None:
        await store.insert("test", "a", b"1")
        for call, wanted in (
            (lambda: store.get("test", "a"), b"1"),
            (lambda: store.swap("test", "a", b"1", b"2"), True),
            (lambda: store.swap("test", "a", b"1", b"3"), False),
            (lambda: store.insert("test", "a", b"4"), False),
            (lambda: store.insert("test", "b", b"5"), True),
            (lambda: store.scan("test"), [("a", b"2"), ("b", b"5")]),
        ):
            await asyncio.to_thread(server.cut)
            assert await call() == wanted

    async def test_delete_on_a_cut_connection_is_done_or_in_doubt(self, store: Store, server: Outages) -> None:
        tally = Tally()
        for n in range(10):
            key, value = f"k{n}", b"%d" % n
            await store.insert("test", key, value)
            await asyncio.to_thread(server.cut)
            await tally.write(value, store.delete("test", key, value))
            assert value in tally.done | tally.open and await store.get("test", key) is None

    async def test_lock_with_a_cut_connection_is_reported_lost_and_can_be_taken(
        self, store: Store, other: Store, server: Outages
    ) -> None:
        async with store.lock("one", 1) as lock:
            assert lock and abs(await lock.confirm() - time.time()) < 3600
            await asyncio.to_thread(server.cut)
            async with other.lock("one", 5) as theirs:
                with pytest.raises(StoreUnavailable):
                    await lock.confirm()
                assert theirs and await theirs.confirm()
                with pytest.raises(TimeoutError):
                    async with store.lock("two", 1), store.lock("one", 0.2):
                        raise AssertionError("two holders")
            with pytest.raises(StoreUnavailable):  # for good, though a new connection holds other locks by now
                await lock.confirm()
        async with store.lock("one", 1) as again:
            assert again and await again.confirm()

    async def test_errors_are_typed_while_the_server_is_away_and_calls_work_afterwards(
        self, store: Store, server: Outages
    ) -> None:
        await store.insert("test", "a", b"1")
        await asyncio.to_thread(server.stop)
        began = time.monotonic()
        ended = await asyncio.gather(
            store.get("test", "a"), store.insert("test", "b", b"1"), _take_lock(store), return_exceptions=True
        )
        assert [type(one) for one in ended] == [StoreUnavailable] * 3 and time.monotonic() - began < 20
        await asyncio.to_thread(server.start)
        assert await store.get("test", "a") == b"1" and await store.insert("test", "b", b"1") is True
        await _take_lock(store)

    async def test_cut_connections_under_load_lose_and_repeat_nothing(
        self, store: Store, other: Store, server: Outages
    ) -> None:
        async def meddle() -> None:
            for _ in range(12):
                await asyncio.sleep(random.uniform(0.02, 0.15))  # noqa: S311
                await asyncio.to_thread(server.cut)

        await self._under_load(store, other, meddle)

    async def test_restarted_server_under_load_loses_and_repeats_nothing(
        self, store: Store, other: Store, server: Outages
    ) -> None:
        async def meddle() -> None:
            for _ in range(2):
                await asyncio.sleep(0.3)
                await asyncio.to_thread(server.stop)
                await asyncio.sleep(0.2)
                await asyncio.to_thread(server.start)
            await asyncio.sleep(0.3)

        await self._under_load(store, other, meddle)

    async def _under_load(self, store: Store, other: Store, meddle: Callable[[], Awaitable[None]]) -> None:
        """Insert new records and replace one, in both stores, while ``meddle`` runs; then count."""
        over, tally, chain, numbers = asyncio.Event(), Tally(), Tally(), itertools.count()
        await store.insert("test", "chain", b"begin")

        async def insert(at: Store) -> None:
            while not over.is_set():
                value = b"%d" % next(numbers)
                await tally.write(value, at.insert("row", value.decode(), value))

        async def replace(at: Store) -> None:
            while not over.is_set():
                try:
                    old = await at.get("test", "chain") or b""
                except StoreUnavailable:
                    continue
                new = b"%d<" % next(numbers) + old
                await chain.write(new.partition(b"<")[0], at.swap("test", "chain", old, new))

        work = [asyncio.create_task(do(at)) for do in (insert, insert, replace) for at in (store, other)]
        await meddle()
        over.set()
        await asyncio.gather(*work)
        found = {value for _, value in await store.scan("row")}
        assert tally.done <= found <= tally.done | tally.open and len(tally.done) > 50
        links = (await store.get("test", "chain") or b"").split(b"<")[:-1]
        assert len(links) == len(set(links)) and chain.done <= set(links), "a write that was said to be done is gone"
        assert len(links) > 10


async def _take_lock(store: Store) -> None:
    async with store.lock("one", 5):
        await asyncio.sleep(0)
