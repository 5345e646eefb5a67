"""Store for more than one machine, at ``postgresql://role@host/database``: a table, and locks of its sessions.

    any thread, any loop -> the portal's loop -> a pooled connection, one statement  (`statements`)
                                              -> the session with all locks          (`locks`)

A connection belongs to one event loop, so all are on the portal's. A replaced or deleted value stays in the server's
internal data (old versions of rows, the write-ahead log, standbys, base backups) as long as the server keeps it. After
a leak of that data, change the key and revoke the grants at the provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Self, TypeVar

import psycopg

from deputize.core.background_loop import Portal, portal
from deputize.core.errors import DeputizeError, StoreUnavailable
from deputize.core.vault.record import FIRST
from deputize.core.vault.stores.common import Names, opaque, place, span, wait_until
from deputize.core.vault.stores.postgres.address import SET_UP, Address
from deputize.core.vault.stores.postgres.audit import PostgresAudit
from deputize.core.vault.stores.postgres.checks import check, risks
from deputize.core.vault.stores.postgres.connections import MAX_CONNECTIONS, Rows, statement_error
from deputize.core.vault.stores.postgres.failover import Failover, Looks
from deputize.core.vault.stores.postgres.integrity import find_damage
from deputize.core.vault.stores.postgres.key_list import PostgresKeyList
from deputize.core.vault.stores.postgres.locks import LockSession, PostgresLocks
from deputize.core.vault.stores.postgres.notify import Listener, PlaceWatch
from deputize.core.vault.stores.postgres.statements import GET, SCAN, TAILS, batch_of, sort_batch
from deputize.core.vault.stores.protocol import RecordRead, RecordWrite, Store, StoreType

T = TypeVar("T")

RECORDS_PER_QUERY: Final = 1000
_LOWEST: Final = "\1"  # sorts before every character of a key; Postgres' texts cannot hold NUL
CLOSE_TIMEOUT_SECONDS: Final = 10.0
"""Seconds that closing waits for pending calls."""


class PostgresStore:
    """A `Store` for all processes of all machines that reach one Postgres server."""

    local_reads = False
    in_order = False
    backup = None

    def __init__(self, address: Address) -> None:
        self._address = address
        self._names = Names()
        self._closed = False
        self._inside: _Inside | None = None
        self.on_failover: Looks | None = None

    @classmethod
    def open(cls, address: Address) -> Self:
        """Open the vault at this address, whose tables must exist. Blocks, so call it at the start only.

        Raises `SettingsError` (locks do not work there, no tables, another version), `StoreUnavailable` (no connection)
        or `VaultError` (no right to read).
        """
        portal().run(check(address))
        return cls(address)

    async def get(self, kind: str, key: str) -> bytes | None:
        rows = await self._rows(GET, place(kind, key))
        return bytes(rows[0][0]) if rows else None

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        return await self._paged(SCAN, *span(kind, prefix, after), most)

    async def tails(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        return await self._paged(TAILS, *span(kind, prefix, ""), None)

    async def _paged(self, statement: str, begin: str, end: str, most: int | None) -> list[tuple[str, bytes]]:
        begin, end = begin.replace("\0", _LOWEST), end.replace("\0", _LOWEST)
        found: list[tuple[str, bytes]] = []
        while True:
            size = RECORDS_PER_QUERY if most is None else min(RECORDS_PER_QUERY, most - len(found))
            rows = await self._rows(statement, begin, end, size)
            found += [(at.partition("/")[2], bytes(value)) for at, value in rows]
            if len(rows) < size or len(found) == most:
                return found
            begin = rows[-1][0] + _LOWEST

    async def _rows(self, statement: str, *values: object) -> Rows:
        return await self._do(lambda at: at.statements.rows(statement, *values))

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        where, value = place(kind, key), opaque(value)
        return await self._do(lambda at: at.wrote(at.statements.insert(where, value), where, None, value))

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        where, old, new = place(kind, key), opaque(old), opaque(new)
        return await self._do(lambda at: at.wrote(at.statements.swap(where, old, new), where, old, new))

    async def delete(self, kind: str, key: str, old: bytes) -> bool:
        where, old = place(kind, key), opaque(old)
        return await self._do(lambda at: at.wrote(at.statements.delete(where, old), where, old, None))

    async def find_damage(self) -> list[tuple[str, str]]:
        """Implement `Inspects.find_damage`."""
        return await asyncio.to_thread(find_damage, self._address)

    async def read(self, *wanted: RecordRead) -> list[Any]:
        """Implement `Batches.read`."""
        return await self._do(lambda at: at.statements.read(*wanted))

    async def write(self, *puts: RecordWrite) -> int:
        """Implement `Batches.write`."""
        placed = [
            (place(kind, key), opaque(old) if old is not None else None, opaque(new)) for kind, key, old, new in puts
        ]
        return await self._do(lambda at: at.write(placed))

    @asynccontextmanager
    async def lock(self, name: str, timeout: float) -> AsyncIterator[SessionLock]:
        async with self.lock_and_read(name, timeout) as (held, _):
            yield held

    async def close(self) -> None:
        self._closed = True
        if (inside := self._inside) and inside.home is portal():
            await inside.home.hop(inside.end)

    async def _do(self, step: Callable[[_Inside], Coroutine[Any, Any, T]]) -> T:
        """Run a step on the portal's loop. It runs to its end even if the caller is cancelled."""
        if self._closed:
            raise StoreUnavailable("The vault is closed.")
        home = portal()
        return await home.hop(lambda: self._begin(home).do(step))

    def _begin(self, home: Portal) -> _Inside:
        """Return the open connections on the portal's loop. Opens new ones after a fork or if the portal was closed."""
        if self._inside is None or self._inside.home is not home:
            self._inside = _Inside(self._address, home, lambda: self.on_failover)
        return self._inside

    async def timeline(self) -> str:
        """Implement `FailsOver.timeline`."""
        return await self._do(lambda at: at.timeline())

    @asynccontextmanager
    async def watch(self, *prefixes: tuple[str, str]) -> AsyncIterator[PlaceWatch]:
        """Implement `Watches.watch`."""
        watch = PlaceWatch(prefixes)
        await self._do(lambda at: at.listen(watch))
        try:
            yield watch
        finally:
            with suppress(DeputizeError):
                await self._do(lambda at: at.listen(watch, end=True))

    @asynccontextmanager
    async def lock_and_read(
        self, name: str, timeout: float, *wanted: RecordRead
    ) -> AsyncIterator[tuple[SessionLock, list[Any]]]:
        """Implement `Batches.lock_and_read`. The lock is freed without waiting for the server's answer."""
        taken: list[SessionLock] = []
        await wait_until(lambda: self._take(name, taken, wanted), timeout)
        try:
            yield taken[0], taken[0].found
        finally:
            taken[0].begin_to_free()  # before anything that this process sends next on the session
            self._names.release(name)

    async def _take(self, name: str, taken: list[SessionLock], wanted: Sequence[RecordRead]) -> bool:
        """Take the lock in this process first (the server grants a session the same lock twice), then at the server."""
        if self._closed:
            raise StoreUnavailable("The vault is closed.")
        if not self._names.take(name):
            return False
        outcome = Future[SessionLock | None]()
        try:
            held = await self._do(lambda at: at.take(name, outcome, wanted))
        except BaseException:  # it may still be taken, though nobody waits any more
            outcome.add_done_callback(lambda done: self._unwanted(name, done))
            raise
        if held is None:
            self._names.release(name)
        else:
            taken.append(held)
        return held is not None

    def _unwanted(self, name: str, done: Future[SessionLock | None]) -> None:
        held = None if done.exception() else done.result()
        if held is not None:
            held.begin_to_free()  # before the next attempt, as above
        self._names.release(name)


class SessionLock:
    """A held lock: the `HeldLock` of this store. ``found``: the records that were read after it was taken."""

    def __init__(self, name: str, inside: _Inside, session: LockSession, found: list[Any]) -> None:
        self._name, self._inside, self._session, self.found = name, inside, session, found

    async def confirm(self) -> float:
        """Implement `HeldLock.confirm`."""
        return await self._inside.home.hop(lambda: self._inside.locks.confirm(self._session))

    def begin_to_free(self) -> None:
        """Release the lock without waiting, even if the caller is cancelled."""
        with suppress(DeputizeError):  # else freed with its connection, or its process
            self._inside.home.begin(self._free())

    async def _free(self) -> None:
        await self._inside.finish(self._inside.locks.free(self._name, self._session))


class _Inside:
    """All open connections on the portal's loop. All methods are called on that loop."""

    def __init__(self, address: Address, home: Portal, looks: Callable[[], Looks | None]) -> None:
        self.home, self._failover = home, Failover(address, MAX_CONNECTIONS, looks)
        self.locks = PostgresLocks(address, self._failover.past.meet, self._failover.wait_until_usable)
        self._listener = Listener(address)
        self.statements = self._failover.statements
        self._asked = set[asyncio.Event]()
        _open.add(self)

    async def do(self, step: Callable[[_Inside], Coroutine[Any, Any, T]]) -> T:
        """Run a step once the store may be used."""

        async def begun() -> T:
            await _register(self.home)
            await self._failover.wait_until_usable()
            return await step(self)

        return await self.finish(begun())

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that must end before the connections are closed: one that waits on a closed connection would go on
        with the next that gets its file descriptor."""
        ended = asyncio.Event()
        self._asked.add(ended)
        try:
            return await work
        finally:
            self._asked.discard(ended)
            ended.set()

    async def wrote(self, write: Awaitable[bool], key: str, old: bytes | None, new: bytes | None) -> bool:
        """Await a write and return its result. A successful write is remembered for some minutes."""
        if done := await write:
            self._failover.recent.add(key, old, new)
            self._failover.wrote()
        return done

    async def write(self, puts: Sequence[tuple[str, bytes | None, bytes]]) -> int:
        """Make several writes, and remember those that were made."""
        made = await self.statements.write(*puts)
        for key, old, new in puts[:made]:
            self._failover.recent.add(key, old, new)
        self._failover.wrote()
        return made

    async def listen(self, watch: PlaceWatch, *, end: bool = False) -> None:
        """Start notifying this watch, or stop with ``end``."""
        self._listener.drop(watch) if end else self._listener.add(watch)

    async def timeline(self) -> str:
        """Return the server's history as last seen."""
        await self.statements.rows("SELECT 1")
        return self._failover.past.timeline

    async def take(
        self, name: str, outcome: Future[SessionLock | None], wanted: Sequence[RecordRead]
    ) -> SessionLock | None:
        """Take the lock and read, or return None if another process has the lock. Sets ``outcome`` too."""
        try:
            taken = await self.locks.take(name, *([batch_of(wanted)] if wanted else []))
        except BaseException as error:
            outcome.set_exception(error)
            raise
        held = None
        if taken:
            session, rows = taken
            found = sort_batch(wanted, rows[0]) if rows else []
            held = SessionLock(name, self, session, found)
        outcome.set_result(held)
        return held

    async def end(self) -> None:
        """Finish pending calls, then close all connections."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                for ended in list(self._asked):
                    await ended.wait()
        await self._failover.end()
        await self._listener.end()
        await self.locks.end()
        await self.statements.connections.drop_idle()
        _open.discard(self)


_open = set[_Inside]()
"""Instances that have not ended. Those of a parent process stay after a fork, so that nothing closes them here."""
_registered: Portal | None = None


async def _register(home: Portal) -> None:
    """Register with this portal to end all open instances when the portal closes."""
    global _registered
    if _registered is not home:
        _registered = home
        await home.enter(_ended_at_last(home))


@asynccontextmanager
async def _ended_at_last(home: Portal) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for inside in [inside for inside in _open if inside.home is home]:
            await inside.end()


def _open_store(url: str, create: bool) -> Store:
    """Open the store. Its tables are created by `deputize store init`, because the programs' role may not do so."""
    return PostgresStore.open(Address.of(url))


def _exists(url: str) -> bool:
    """Return whether the tables exist and contain the first record of a vault."""
    with Address.of(url).connect_waiting() as connection:
        try:
            connection.execute(SET_UP)  # limits the wait for a locked table
            return connection.execute(GET, (place(*FIRST),)).fetchone() is not None
        except psycopg.errors.UndefinedTable:
            return False
        except psycopg.Error as error:
            raise statement_error(error) from None


STORE: Final = StoreType(
    "postgresql",
    open=_open_store,
    exists=_exists,
    risks=lambda url: risks(Address.of(url)),
    audit=lambda url: PostgresAudit(Address.of(url)),
    key_list=lambda url: PostgresKeyList(Address.of(url)),
)
