"""A process that dies at any step, in memory: from then on nothing it does reaches the store or the network.

`Fate` counts the steps of one process, writes and requests, and ends it before or after one of them. What it held in
memory is lost, what was written stays, and its locks are free: as with ``kill -9``, without a process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

import httpx

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores import HeldLock
from deputize.core.vault.stores.protocol import Batches, RecordWrite, Store

When: TypeAlias = Literal["before", "after"]


class Died(Exception):
    """The process has ended."""


@dataclass
class Fate:
    """Ends a process at its ``at``-th step of this name, or of any; ``before`` or ``after`` it was executed.

    ``steps``: those started; ``under_way``: those that have not ended; ``carried_out``: those that ended and
    did not fail.
    """

    at: int = 0
    when: When = "before"
    name: str = ""
    steps: list[str] = field(default_factory=list)
    dead: bool = False
    under_way: list[str] = field(default_factory=list)
    carried_out: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[None]:
        """Count one step of the process."""
        with self.passes(name):
            yield

    @contextmanager
    def passes(self, name: str) -> Iterator[None]:
        """Count one step in code that does not await."""
        if self.dead:
            raise Died
        self.steps.append(name)
        last = self.name in ("", name) and self._met() == self.at
        if last and self.when == "before":
            self.die()
        self.under_way.append(name)
        try:
            yield
        finally:
            self.under_way.remove(name)
        self.carried_out.append(name)
        if last or self.dead:
            self.die()

    def _met(self) -> int:
        return self.steps.count(self.name) if self.name else len(self.steps)

    def die(self) -> None:
        """End the process now."""
        self.dead = True
        raise Died

    @property
    def last(self) -> str:
        """Return the last step."""
        return f"{self.when} {self.steps[-1]}" if self.dead else ""

    @property
    def done(self) -> str:
        """Return the last step that was executed."""
        return next(iter(self.steps[::-1][0 if self.when == "after" else 1 :]), "")


@dataclass
class Hiccup(Fate):
    """A process that survives: its ``at``-th step is refused, before or after it was executed, and no other."""

    def die(self) -> None:
        """Raise the refusal of the store or the network."""
        if self.steps[-1].split()[0].isupper():
            raise httpx.ReadError("lost")
        raise StoreUnavailable("The vault is locked by another program.")


@dataclass
class MortalStore:
    """A store as this process sees it: only writes are steps."""

    inner: Store
    fate: Fate

    def __post_init__(self) -> None:
        self.local_reads, self.in_order = self.inner.local_reads, self.inner.in_order
        self.backup = self.inner.backup
        if isinstance(inner := self.inner, Batches):
            self.read, self.write = inner.read, partial(self._write, inner)
            self.lock_and_read = inner.lock_and_read

    async def _write(self, inner: Batches, *puts: RecordWrite) -> int:
        name = ", ".join(f"{'insert' if old is None else 'swap'} {kind}" for kind, _, old, _ in puts)
        async with self.fate.step(name):
            return await inner.write(*puts)

    async def get(self, kind: str, key: str) -> bytes | None:
        self._alive()
        return await self.inner.get(kind, key)

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        async with self.fate.step(f"insert {kind}"):
            return await self.inner.insert(kind, key, value)

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        async with self.fate.step(f"swap {kind}"):
            return await self.inner.swap(kind, key, old, new)

    async def delete(self, kind: str, key: str, old: bytes) -> bool:
        async with self.fate.step(f"delete {kind}"):
            return await self.inner.delete(kind, key, old)

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        self._alive()
        return await self.inner.scan(kind, prefix, after=after, most=most)

    def lock(self, name: str, timeout: float) -> AbstractAsyncContextManager[HeldLock | None]:
        self._alive()
        return self.inner.lock(name, timeout)

    async def close(self) -> None:
        """Do nothing: the store outlives the process."""

    def _alive(self) -> None:
        if self.fate.dead:
            raise Died


@dataclass
class MortalLine(httpx.AsyncBaseTransport):
    """The network as this process sees it."""

    inner: httpx.AsyncBaseTransport
    fate: Fate

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async with self.fate.step(f"{request.method} {request.url.host}{request.url.path}"):
            reply = await self.inner.handle_async_request(request)
            await reply.aread()
            return reply
