"""The store that lives as long as its process, and what every store does alike: places, and waiting for a lock."""

from __future__ import annotations

import asyncio
import heapq
import random
import re
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache

from deputize.core.errors import InvalidInput, StoreUnavailable

_WORD = re.compile(r"[a-z0-9._-]{1,255}")
_AFTER_ALL = "\x7f"  # sorts behind every letter a key may have


@lru_cache(maxsize=4096)
def place(kind: str, key: str) -> str:
    """The text under which a record lies. Raises `InvalidInput` for names a store does not take."""
    if not _WORD.fullmatch(kind) or not _WORD.fullmatch(key):
        raise InvalidInput("Kind and key of a record are short words of a-z, 0-9, dot, line, dash.", fix_by="operator")
    return f"{kind}/{key}"


def span(kind: str, prefix: str, after: str = "") -> tuple[str, str]:
    """First place, and end, of all records whose key begins with ``prefix`` and lies behind ``after``."""
    begin = place(kind, prefix) if prefix else place(kind, "-").removesuffix("-")
    following = place(kind, after) + "\0" if after else ""  # the next possible key
    return max(begin, following), begin + _AFTER_ALL


def opaque(value: bytes) -> bytes:
    """The value, if it is bytes: nothing else is ever kept, so nothing has to be decoded."""
    if not isinstance(value, bytes):
        raise InvalidInput("A store keeps bytes only.", fix_by="operator")
    return value


class Names:
    """Names taken in this process, one holder each, whichever task, thread or event loop it runs in."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._guard = threading.Lock()

    def take(self, name: str) -> bool:
        """Whether the name was free, and is now the caller's. Never waits."""
        with self._guard:
            if name in self._taken:
                return False
            self._taken.add(name)
            return True

    def give_back(self, name: str) -> None:
        """Free a name that `take` gave."""
        with self._guard:
            self._taken.remove(name)


async def wait_until(taken: Callable[[], Awaitable[bool]], patience: float) -> None:
    """Try until it succeeds. Raises TimeoutError after ``patience`` seconds; cancelled, it has taken nothing."""
    deadline = time.monotonic() + patience
    while not await taken():
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("The lock was not free in time.")
        await asyncio.sleep(min(left, random.uniform(0.005, 0.02)))  # noqa: S311


class MemoryStore:
    """Records in this process. For tests and for trying out: what it keeps is gone when the process ends."""

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
    async def _locked(self, name: str, patience: float) -> AsyncIterator[None]:
        async def take() -> bool:
            return self._names.take(name)

        await wait_until(take, patience)
        try:
            yield
        finally:
            self._names.give_back(name)

    async def close(self) -> None:
        with self._guard:
            self._records = None
