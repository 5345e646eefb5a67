"""Models of the stores: what they promise, and what may happen to them, without a file and without a server.

A write is carried out by the store and not by the process that asked for it: it may be durable although its process
died before it knew.

    sqlite     writes of one process keep their order; a lock ends only with its holder or its process
    postgres   concurrent writes have no order; a cut connection loses answers, and all locks of its process at once,
               while the process continues; several reads, several writes, or a lock and reads, in one round trip
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final, Literal, TypeAlias

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.common import place, span
from deputize.core.vault.stores.protocol import HeldLock, RecordRead, RecordWrite
from tests.simulation.loop import EPOCH, LANE, Process, SimulatedLoop

Model: TypeAlias = Literal["sqlite", "postgres"]
MODELS: Final[tuple[Model, ...]] = ("sqlite", "postgres")
REPEATED_AFTER: Final = 0.1
"""Seconds after which the store for Postgres repeats a statement whose answer was lost."""
PATIENCE: Final = 8.0
"""Seconds after which it gives up."""
SKEW: Final = 2.5
"""Seconds by which the database's clock is ahead."""

Change: TypeAlias = Callable[[], int]
"""A write, or several together. Returns how many records it changed."""


@dataclass(eq=False)
class Lock:
    """A lock that is held. ``lost``: the store gave it up while its holder continues."""

    holder: Process | None
    lost: bool = False


@dataclass(eq=False)
class Disk:
    """What all processes share. ``down``: the processes that cannot reach it now; ``flaky``: the probability that an
    answer is lost; ``committed``: called with each record that is written, and its place."""

    loop: SimulatedLoop
    model: Model
    records: dict[str, bytes]
    locks: dict[str, Lock] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    flaky: float = 0.0
    trace: Callable[[str], None] | None = None
    committed: Callable[[str, bytes], None] | None = None
    _waiting: defaultdict[str, list[asyncio.Future[None]]] = field(default_factory=lambda: defaultdict(list))

    def insert(self, where: str, value: bytes) -> bool:
        if free := where not in self.records:
            self._put(where, value)
        return free

    def swap(self, where: str, old: bytes, new: bytes) -> bool:
        if same := self.records.get(where) == old:
            self._put(where, new)
        return same

    def _put(self, where: str, value: bytes) -> None:
        self.records[where] = value
        if self.committed:
            self.committed(where, value)

    def delete(self, where: str, old: bytes) -> bool:
        if same := self.records.get(where) == old:
            del self.records[where]
        return same

    def scan(self, kind: str, prefix: str, after: str, most: int | None) -> list[tuple[str, bytes]]:
        begin, end = span(kind, prefix, after)
        found = sorted([at for at in self.records if begin <= at < end])[:most]
        return [(at.partition("/")[2], self.records[at]) for at in found]

    def free(self, name: str, lock: Lock) -> None:
        """Free a lock, and wake all who wait for it."""
        if self.locks.get(name) is lock:
            del self.locks[name]
        for waiter in self._waiting.pop(name, ()):
            if not waiter.done():
                waiter.set_result(None)

    def drop_locks(self, holder: Process) -> None:
        """Free all locks of a process: it died, or its session was cut."""
        for name, lock in list(self.locks.items()):
            if lock.holder is holder:
                lock.lost = True
                self.free(name, lock)

    async def take(self, name: str, timeout: float, held_here: set[str]) -> Lock:
        """Take a lock. Raises TimeoutError after ``timeout`` seconds. ``held_here``: names that this process holds, or
        believes to hold."""
        deadline = self.loop.time() + timeout
        while name in self.locks or name in held_here:
            if self.loop.time() >= deadline:
                raise TimeoutError("The lock was not free in time.")
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._waiting[name].append(waiter)
            timer = self.loop.call_at(deadline, _release, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
        held_here.add(name)
        lock = self.locks[name] = Lock(LANE.get().process)
        return lock


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


@dataclass(eq=False)
class SimulatedStore:
    """The `Store` of one process."""

    disk: Disk
    process: Process
    backup = None
    _queue: list[tuple[Change, str, asyncio.Future[int]]] = field(default_factory=list)
    _writing: bool = False
    _held: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rng, self.loop = self.disk.loop.rng, self.disk.loop
        self.local_reads = self.in_order = self.disk.model == "sqlite"
        self.process.on_death += [self._queue.clear, lambda: self.disk.drop_locks(self.process)]
        if self.disk.model == "postgres":
            self.tails, self.read, self.write = self._tails, self._read_together, self._write_together
            self.lock_and_read = self._lock_and_read

    # ------------------------------------------------------------- reads

    async def get(self, kind: str, key: str) -> bytes | None:
        where = place(kind, key)
        if self.disk.down or self.disk.flaky or self.rng.random() < 0.3:
            await self._way()
            found = self.disk.records.get(where)
            await asyncio.sleep(0)
            return found
        return self.disk.records.get(where)

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        await self._way()
        found = self.disk.scan(kind, prefix, after, most)
        if self.rng.random() < 0.2:
            await asyncio.sleep(0)
        return found

    async def _tails(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        return [(key, value[-16:]) for key, value in await self.scan(kind, prefix)]

    async def _read_together(self, *wanted: RecordRead) -> list[Any]:
        await self._way()
        found = self._find(wanted)
        await asyncio.sleep(0)
        return found

    def _find(self, wanted: Sequence[RecordRead]) -> list[Any]:
        """Read as of one moment."""
        found: list[Any] = []
        for verb, kind, key in wanted:
            if verb == "get":
                found.append(self.disk.records.get(place(kind, key)))
            else:
                rows = self.disk.scan(kind, key, "", None)
                found.append([(at, value[-16:]) for at, value in rows] if verb == "tails" else rows)
        return found

    async def _way(self) -> None:
        """The way to the store, in one direction."""
        if self.disk.model == "postgres" and self.rng.random() < 0.3:
            await asyncio.sleep(self.rng.random() * 0.02)
        if self.process.name in self.disk.down:
            await asyncio.sleep(1.0 if self.disk.model == "sqlite" else PATIENCE)
            if self.process.name in self.disk.down:
                raise StoreUnavailable("The vault does not answer.")

    # ------------------------------------------------------------- writes

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        where = place(kind, key)
        return bool(
            await self._write(lambda: self.disk.insert(where, value), lambda: self._is(where, value), "insert", where)
        )

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        where = place(kind, key)
        return bool(
            await self._write(lambda: self.disk.swap(where, old, new), lambda: self._is(where, new), "swap", where)
        )

    async def delete(self, kind: str, key: str, old: bytes) -> bool:
        where = place(kind, key)
        return bool(await self._write(lambda: self.disk.delete(where, old), lambda: self._gone(where), "delete", where))

    async def _write_together(self, *puts: RecordWrite) -> int:
        placed = [(place(kind, key), old, new) for kind, key, old, new in puts]

        def write() -> int:
            for number, (where, old, new) in enumerate(placed):
                if not (self.disk.insert(where, new) if old is None else self.disk.swap(where, old, new)):
                    return number
            return len(placed)

        def repeated() -> int:
            return sum(1 for _ in takewhile(lambda one: self._is(one[0], one[2]), placed))

        return await self._write(write, repeated, "write", placed[0][0])

    def _is(self, where: str, value: bytes) -> bool:
        return self.disk.records.get(where) == value

    def _gone(self, where: str) -> bool:
        if where not in self.disk.records:
            raise StoreUnavailable("A record is gone, and it is unknown who deleted it.")
        return False

    async def _write(self, change: Change, repeated: Change, name: str, where: str) -> int:
        what = f"{self.process.name} {name} {where[:24]}"
        if self.disk.model == "postgres":
            return await self._statement(change, repeated, what)
        await self._way()
        future: asyncio.Future[int] = self.loop.create_future()
        self._queue.append((change, what, future))
        if not self._writing:
            self._writing = True
            self.loop.after(self.rng.random() * 0.004, self._commit)
        return await future

    def _commit(self) -> None:
        """Carry out the first writes that wait, in one transaction."""
        number = self.rng.randint(1, max(len(self._queue), 1))
        batch, self._queue[:number] = self._queue[:number], []
        for change, what, future in batch:
            done = self._changed(change, what)
            if not future.done():
                future.set_result(done)
        for _, what, _ in batch:
            self.process.mark(_kind(what))
        self._writing = bool(self._queue)
        if self._writing:
            self.loop.after(self.rng.random() * 0.004, self._commit)

    def _changed(self, change: Change, what: str) -> int:
        done = change()
        if self.disk.trace:
            self.disk.trace(f"{what}: {done}")
        return done

    async def _statement(self, change: Change, repeated: Change, what: str) -> int:
        """Run a statement as the store for Postgres does: again, if its answer was lost."""
        await self._way()
        done = await self._sent(change, what)
        if done is not None:
            return done
        if self.rng.random() < 0.3:
            await asyncio.sleep(PATIENCE)
            raise StoreUnavailable("The vault does not answer.", hint="The write may have happened.")
        await asyncio.sleep(REPEATED_AFTER)
        again = await self._sent(change, what, lossless=True)
        return again or repeated()

    async def _sent(self, change: Change, what: str, *, lossless: bool = False) -> int | None:
        """Send the statement once. Returns None if the connection was cut, before or after the server ran it."""
        answer: asyncio.Future[int | None] = self.loop.create_future()
        cut = not lossless and self.rng.random() < self.disk.flaky
        arrives = not cut or self.rng.random() < 0.5

        def run() -> None:
            done = self._changed(change, what) if arrives else False
            if arrives:
                self.process.mark(_kind(what))
            self.loop.after(self.rng.random() * 0.004, reply, None if cut else done)

        def reply(done: int | None) -> None:
            if not answer.done():
                answer.set_result(done)

        self.loop.after(self.rng.random() * 0.004, run)
        return await answer

    # ------------------------------------------------------------- locks

    def lock(self, name: str, timeout: float) -> AbstractAsyncContextManager[HeldLock | None]:
        return self._locked(name, timeout)

    @asynccontextmanager
    async def _locked(self, name: str, timeout: float) -> AsyncIterator[HeldLock | None]:
        await self._way()
        lock = await self.disk.take(name, timeout, self._held)
        try:
            yield SessionLock(self, lock) if self.disk.model == "postgres" else None
        finally:
            self._held.discard(name)
            self.disk.free(name, lock)

    @asynccontextmanager
    async def _lock_and_read(
        self, name: str, timeout: float, *wanted: RecordRead
    ) -> AsyncIterator[tuple[SessionLock, list[Any]]]:
        await self._way()
        lock = await self.disk.take(name, timeout, self._held)

        def free() -> None:
            self._held.discard(name)
            self.disk.free(name, lock)

        try:
            found = self._find(wanted)
            await self._way()  # the answer may come late
            if lock.lost:
                raise StoreUnavailable("The vault does not answer.")
            yield SessionLock(self, lock), found
        finally:
            self.loop.after(self.rng.random() * 0.02, free)  # nobody waits for that

    async def close(self) -> None:
        """The disk outlives its processes."""


def _kind(what: str) -> str:
    """The kind of record of a write."""
    return what.split()[2].partition("/")[0]


@dataclass
class SessionLock:
    """A held lock of the model of Postgres."""

    store: SimulatedStore
    lock: Lock

    async def confirm(self) -> float:
        """Return the database's clock, from the lock's session."""
        await self.store._way()
        if self.lock.lost:
            raise StoreUnavailable("The lock of this act was lost with its connection to the vault's database.")
        now = EPOCH + SKEW + self.store.loop.time()
        await asyncio.sleep(0)
        return now
