"""Store in memory, whose records end with the process."""

from __future__ import annotations

import heapq
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.common import Names, opaque, place, span, wait_until
from deputize.core.vault.stores.protocol import StoreType


class MemoryStore:
    """Records in this process, for tests and trials."""

    local_reads = True
    in_order = True
    backup = None

    def __init__(self) -> None:
        self._records: dict[str, bytes] | None = {}
        self._guard = threading.Lock()
        self._names = Names()

    def _open(self) -> dict[str, bytes]:
        if self._records is None:
            raise StoreUnavailable("The vault is closed.")
        return self._records

    async def get(self, kind: str, key: str) -> bytes | None:
        return self._open().get(place(kind, key))

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        where, value = place(kind, key), opaque(value)
        with self._guard:
            records = self._open()
            if free := where not in records:
                records[where] = value
            return free

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        where, old, new = place(kind, key), opaque(old), opaque(new)
        with self._guard:
            records = self._open()
            if same := records.get(where) == old:
                records[where] = new
            return same

    async def delete(self, kind: str, key: str, old: bytes) -> bool:
        where, old = place(kind, key), opaque(old)
        with self._guard:
            records = self._open()
            if same := records.get(where) == old:
                del records[where]
            return same

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        begin, end = span(kind, prefix, after)
        with self._guard:
            found = ((at.partition("/")[2], v) for at, v in self._open().items() if begin <= at < end)
            return sorted(found) if most is None else heapq.nsmallest(most, found)

    def lock(self, name: str, timeout: float) -> AbstractAsyncContextManager[None]:
        return self._locked(name, timeout)

    @asynccontextmanager
    async def _locked(self, name: str, timeout: float) -> AsyncIterator[None]:
        async def take() -> bool:
            return self._names.take(name)

        await wait_until(take, timeout)
        try:
            yield
        finally:
            self._names.release(name)

    async def close(self) -> None:
        with self._guard:
            self._records = None


STORE: Final = StoreType("memory", open=lambda url, create: MemoryStore(), exists=lambda url: False, durable=False)
