"""How acts ended that the store could not be told: kept in memory, and told as soon as it takes something again.

A claim that stays in the store says that its act may have been done. This process knows better, as long as it lives:
a later run of the act finds the outcome, or that nothing happened, though the disk was full when it ended.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from deputize.core.errors import Conflict, StoreUnavailable
from deputize.core.vault.stores.protocol import Store

WAIT: Final = 20.0
"""Seconds for another run of the same act to end."""


class _Ending:
    def __init__(self, lock: str, write: Callable[[], Awaitable[None]], pid: int) -> None:
        self.lock, self.write, self.pid = lock, write, pid


class Unsaved:
    """The endings of one deputy's acts, by the places of their rows. No more can wait than acts were under way: none is
    claimed while the store takes nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._endings: dict[str, _Ending] = {}

    def __len__(self) -> int:
        return len(self._endings)

    def keep(self, key: str, lock: str, write: Callable[[], Awaitable[None]]) -> None:
        """Keep what was to be written of the act in this place, under the lock of its runs. ``write`` changes nothing
        where another run has gone on, and raises `Conflict` then."""
        self._endings[key] = _Ending(lock, write, os.getpid())

    async def settle(self, key: str) -> None:
        """Write how the act in this place ended, if that waits here. Raises `StoreUnavailable` while it cannot be."""
        waits = self._endings.get(key)
        if waits is None:
            return
        if waits.pid != os.getpid():  # a forked parent's, which writes it itself
            del self._endings[key]
            return
        with suppress(TimeoutError):  # a run is under way, and will find it
            async with self._store.lock(waits.lock, WAIT):
                await self._write(key)

    async def settle_all(self) -> None:
        """The same for all; what cannot be written yet goes on waiting."""
        with suppress(StoreUnavailable):
            for key in list(self._endings):
                await self.settle(key)

    async def _write(self, key: str) -> None:
        if ending := self._endings.pop(key, None):
            try:
                await ending.write()
            except Conflict:
                return  # another run says how it ended
            except BaseException:
                self._endings.setdefault(key, ending)
                raise
