"""A store in memory that behaves as one in a database: its locks can be lost while their holder continues, as when a
session is cut, and it does several operations in one round trip."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.common import Names, wait_until
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.stores.protocol import RecordRead, RecordWrite


class CutLock:
    """A lock that a test can take away."""

    def __init__(self, store: CutLocksStore, name: str) -> None:
        self.store, self.name, self.lost = store, name, False

    async def confirm(self) -> float:
        self.store.asked += 1
        if self.lost:
            raise StoreUnavailable("The lock was lost.")
        return time.time() + self.store.ahead

    def cut(self) -> None:
        """Let another holder take the lock from now on."""
        self.lost = True
        self.store.names.release(self.name)


class CutLocksStore(MemoryStore):
    """A store with such locks.

    ``trips``: operations of one round trip each, without locks; ``ahead``: seconds by which the store's clock is ahead
    of this machine's; ``asked``: how often locks were checked.
    """

    in_order = False

    def __init__(self) -> None:
        super().__init__()
        self.trips = list[tuple[Any, ...]]()
        self.names, self.held, self.ahead, self.asked = Names(), list[CutLock](), 3600.0, 0

    def lock(self, name: str, timeout: float) -> AbstractAsyncContextManager[CutLock]:  # type: ignore[override]
        return self._cuttable(name, timeout)

    @asynccontextmanager
    async def _cuttable(self, name: str, timeout: float) -> AsyncIterator[CutLock]:
        async def take() -> bool:
            return self.names.take(name)

        await wait_until(take, timeout)
        lock = CutLock(self, name)
        self.held.append(lock)
        try:
            yield lock
        finally:
            with suppress(ValueError):
                self.held.remove(lock)
            if not lock.lost:
                self.names.release(name)

    async def read(self, *wanted: RecordRead) -> list[Any]:
        """See `Batches.read`."""
        self.trips.append(wanted)
        return await self._read(wanted)

    async def _read(self, wanted: tuple[RecordRead, ...]) -> list[Any]:
        return [await getattr(self, verb)(kind, key) for verb, kind, key in wanted]

    async def tails(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """See `Tails.tails`."""
        return [(name, value[-16:]) for name, value in await self.scan(kind, prefix)]

    async def write(self, *puts: RecordWrite) -> int:
        """See `Batches.write`."""
        self.trips.append(puts)
        for number, (kind, key, old, new) in enumerate(puts):
            if not await (self.insert(kind, key, new) if old is None else self.swap(kind, key, old, new)):
                return number
        return len(puts)

    @asynccontextmanager
    async def lock_and_read(
        self, name: str, timeout: float, *wanted: RecordRead
    ) -> AsyncIterator[tuple[CutLock, list[Any]]]:
        """See `Batches.lock_and_read`."""
        async with self.lock(name, timeout) as held:
            yield held, await self._read(wanted)

    def cut(self) -> None:
        """End the session that holds all locks."""
        while self.held:
            self.held.pop().cut()
