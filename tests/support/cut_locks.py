"""A store in memory whose locks can be lost while their holder continues, as when a session is cut."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.common import Names, wait_until
from deputize.core.vault.stores.memory import MemoryStore


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

    ``ahead``: seconds by which the store's clock is ahead of this machine's; ``asked``: how often locks were checked.
    """

    def __init__(self) -> None:
        super().__init__()
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

    def cut(self) -> None:
        """End the session that holds all locks."""
        while self.held:
            self.held.pop().cut()
