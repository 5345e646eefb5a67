"""What a store is: sealed bytes under a kind and a key, compare-and-swap, and locks that die with their holder."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Store(Protocol):
    """Where sealed records lie. Three are built in: memory, sqlite (the default) and, for more machines, Postgres.

    A record's place is ``(kind, key)``: both short strings of ``[a-z0-9._-]``. Values are opaque bytes. Every write
    is durable when it returns (memory: for the life of the process). Any method may be called from any thread and
    event loop, and raises `StoreUnavailable` (did not happen) or `VaultError` (not a store of ours, damaged).
    """

    async def get(self, kind: str, key: str) -> bytes | None:
        """The value, or None. This is on the path of every act: it waits for no writer, and blocks no event loop."""
        ...

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        """Put a new record. False, and nothing changed, where one is."""
        ...

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        """Replace exactly ``old``. False, and nothing changed, where the value is another or none."""
        ...

    async def delete(self, kind: str, key: str, old: bytes) -> bool:
        """Remove exactly ``old``. False, and nothing changed, where the value is another or none."""
        ...

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        """All records of a kind whose key begins with ``prefix``, in key order.

        ``after``: only keys behind this one, which need not be there; ``most``: so many at most, for work by pages.
        """
        ...

    def lock(self, name: str, timeout: float) -> AbstractAsyncContextManager[None]:
        """Exclusive among all tasks, threads and processes of this store; freed by the system if its holder dies.

        Raises TimeoutError after ``timeout`` seconds; never takes a lock away from a holder. Not re-entrant.
        """
        ...

    async def close(self) -> None:
        """Finish what was asked, then let go of files and threads. Safe to call twice."""
        ...
