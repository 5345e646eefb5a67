"""Outcomes of acts that the store could not take. They stay in memory until it takes writes again.

A claim that stays in the store means that its act may have been done. This process knows the outcome as long as it
lives: a later run of the act finds it, or that nothing happened, even if the disk was full when the act ended.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from deputize.core.errors import Conflict, StoreUnavailable
from deputize.core.vault.stores.protocol import Store

WAIT: Final = 20.0
"""Seconds to wait for another run of the same act."""


class _Ending:
    def __init__(self, lock: str, write: Callable[[], Awaitable[None]], pid: int) -> None:
        self.lock, self.write, self.pid = lock, write, pid


class DeferredOutcomes:
    """Unsaved outcomes of one deputy's acts, by record key. No more can wait than acts were in progress, because no act
    is claimed while the store takes no writes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._endings: dict[str, _Ending] = {}

    def __len__(self) -> int:
        return len(self._endings)

    def keep(self, key: str, lock: str, write: Callable[[], Awaitable[None]]) -> None:
        """Keep the write of an outcome for this record key and lock. ``write`` raises `Conflict`, and changes nothing,
        if another run has taken over."""
        self._endings[key] = _Ending(lock, write, os.getpid())

    async def settle(self, key: str) -> None:
        """Write the outcome for this key if one waits. Raises `StoreUnavailable` while the store cannot take it."""
        waits = self._endings.get(key)
        if waits is None:
            return
        if waits.pid != os.getpid():  # from before a fork: the parent writes it
            del self._endings[key]
            return
        with suppress(TimeoutError):  # a run in progress will find it
            async with self._store.lock(waits.lock, WAIT):
                await self._write(key)

    async def settle_all(self) -> None:
        """Write all outcomes. Those that the store cannot take keep waiting."""
        with suppress(StoreUnavailable):
            for key in list(self._endings):
                await self.settle(key)

    async def _write(self, key: str) -> None:
        if ending := self._endings.pop(key, None):
            try:
                await ending.write()
            except Conflict:
                return  # another run writes the outcome
            except BaseException:
                self._endings.setdefault(key, ending)
                raise
