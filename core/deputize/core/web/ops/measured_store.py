"""A store wrapper that measures the time of each operation."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

from deputize.core.vault.stores.protocol import Backup, HeldLock, Store

T = TypeVar("T")

BEYOND: Final = ("on_failover", "timeline", "watch")
"""Methods beyond the protocol (`FailsOver`, `Watches`): ``isinstance`` does not find them by ``__getattr__``."""


class MeasuredStore(Store):
    """A store whose operations are timed. ``took`` gets seconds and the operation's name. Lock waits are not timed."""

    def __init__(self, store: Store, took: Callable[[float, str], None]) -> None:
        self._store, self._took = store, took
        for name in BEYOND:
            if hasattr(store, name):
                setattr(self, name, getattr(store, name))
        if tails := getattr(store, "tails", None):
            self.tails = lambda *place: self._time("scan", tails(*place))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)  # methods of stores in other packages

    @property
    def local_reads(self) -> bool:
        return self._store.local_reads

    @property
    def in_order(self) -> bool:
        return self._store.in_order

    @property
    def backup(self) -> Backup | None:
        return self._store.backup

    async def get(self, kind: str, key: str) -> bytes | None:
        return await self._time("get", self._store.get(kind, key))

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        return await self._time("insert", self._store.insert(kind, key, value))

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        return await self._time("swap", self._store.swap(kind, key, old, new))

    async def delete(self, kind: str, key: str, old: bytes) -> bool:
        return await self._time("delete", self._store.delete(kind, key, old))

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        return await self._time("scan", self._store.scan(kind, prefix, after=after, most=most))

    def lock(self, name: str, timeout: float) -> AbstractAsyncContextManager[HeldLock | None]:
        return self._store.lock(name, timeout)

    async def close(self) -> None:
        await self._store.close()

    async def _time(self, operation: str, work: Awaitable[T]) -> T:
        began = time.monotonic()
        try:
            return await work
        finally:
            self._took(time.monotonic() - began, operation)
