"""The embedded store: one SQLite file, written through sqlitedict by one thread, read past it.

sqlitedict 2.1.0 is used under rules that take its hazards away, and nowhere else. It unpickles what it reads unless it
is given a codec (CVE-2024-35515): ours passes bytes and nothing else. It writes without syncing, hands errors to the
wrong caller, and can wait for ever for a thread that is gone: here one thread owns it, sets and reads back what makes
writes durable, and waits for a bounded time. Its own exceptions in its own thread are avoided by looking first.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Final, Self, TypeVar
from weakref import WeakSet

from sqlitedict import SqliteDict

from deputize.core.errors import StoreUnavailable, VaultError
from deputize.core.vault.private_files import private_folder
from deputize.core.vault.stores import sqlite_file
from deputize.core.vault.stores.common import opaque, place, span
from deputize.core.vault.stores.filelocks import FileLocks
from deputize.core.vault.stores.sqlite_backup import SqliteBackup
from deputize.core.vault.stores.sqlite_file import BUSY_SECONDS, FORMAT, TABLE, told
from deputize.core.vault.stores.sqlite_reader import Reader, Rows
from deputize.core.vault.stores.writer_thread import Owner

logging.getLogger("sqlitedict").setLevel(logging.CRITICAL + 1)  # its tracebacks repeat what our errors tell
log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 4.0  # seconds a step may wait to begin, and again until it is done
PAGE = 200  # records read at a time, so that a long scan leaves the event loop to others

_VALUE = "CASE typeof(value) WHEN 'blob' THEN value END"  # text is read as nothing, which is refused
_GET = f'SELECT {_VALUE} FROM "{TABLE}" WHERE key = ?'  # noqa: S608
_SCAN = f'SELECT key, {_VALUE} FROM "{TABLE}" WHERE key >= ? AND key < ? ORDER BY key LIMIT ?'  # noqa: S608
_INSERT = f'INSERT INTO "{TABLE}" (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING'  # noqa: S608
_SWAP = f'UPDATE "{TABLE}" SET value = ? WHERE key = ? AND value = ?'  # noqa: S608
_DELETE = f'DELETE FROM "{TABLE}" WHERE key = ? AND value = ?'  # noqa: S608
_LATE = "What was being written may still arrive: read before writing again."
_NO_MORE = "--no more--"  # how sqlitedict ends an answer

_PRAGMAS = {"synchronous": 2, "busy_timeout": int(BUSY_SECONDS * 1000), "secure_delete": 1, "fullfsync": 1}


def pack(value: bytes) -> bytes:
    """A value as it lies in the table."""
    return FORMAT + opaque(value)


def unpack(stored: object) -> bytes:
    """The value in a table's cell. Raises `VaultError` for anything that `pack` did not make."""
    if not isinstance(stored, bytes) or not stored.startswith(FORMAT):
        raise VaultError("A record in the vault was not written by this program.")
    return stored[len(FORMAT) :]


class Lost(Exception):
    """sqlitedict's thread did not answer: it is gone, or its disk is."""


class Table:
    """sqlitedict's connection, opened in one way only. For the thread that owns it.

    Methods raise sqlite3.Error, and `Lost`, after which nothing but `close` may follow.
    """

    def __init__(self, path: Path) -> None:
        self.identity = sqlite_file.check(path)
        self._dict = SqliteDict(
            str(path), TABLE, autocommit=True, journal_mode="WAL", encode=pack, decode=unpack, outer_stack=False
        )
        self._connection = self._dict.conn
        try:
            for name, wanted in {**_PRAGMAS, "journal_mode": "wal"}.items():
                self.ask(f"PRAGMA {name}={wanted}")
                if self.ask(f"PRAGMA {name}") != [(wanted,)]:
                    raise StoreUnavailable(
                        "The vault cannot be written safely.", hint=f"SQLite refuses {name}={wanted}"
                    )
        except BaseException:
            self.close()
            raise

    def ask(self, statement: str, *values: object) -> Rows:
        """Run one statement, and return its rows. An error of the statement before it is raised here as well."""
        answers: Queue[Any] = Queue()
        self._connection.execute(statement, values, answers)
        rows: Rows = []
        deadline = time.monotonic() + PATIENCE
        while (row := self._next(answers, deadline)) != _NO_MORE:
            rows.append(row)
        self._connection.check_raise_error()
        return rows

    def _next(self, answers: Queue[Any], deadline: float) -> Any:
        while True:
            alive = self._connection.is_alive()  # before looking: it may answer and then end
            try:
                return answers.get(timeout=0.2 if alive else 0)
            except Empty:
                if not alive or time.monotonic() > deadline:
                    raise Lost from None

    def write(self, statement: str, *values: object) -> bool:
        """Run one writing statement. Whether it changed a record, durably."""
        self._connection.execute(statement, values)
        return self.ask("SELECT changes()") == [(1,)]

    def stored(self, where: str) -> bytes | None:
        """What lies in a record's cell, packed."""
        rows = self.ask(_GET, where)
        return rows[0][0] if rows else None

    def settle(self) -> bool:
        """Empty the log, so that what was replaced is gone from the disk. False while a reader is in the way."""
        self.ask("PRAGMA busy_timeout=0")
        busy = self.ask("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]
        self.ask(f"PRAGMA busy_timeout={_PRAGMAS['busy_timeout']}")
        return not busy

    def close(self) -> bool:
        """End sqlitedict's thread. False when it is still at something after a second."""
        self._dict.close(force=True)
        self._connection.join(1)
        return not self._connection.is_alive()


class SqliteStore:
    """A `Store` in one file with mode 0600, in a folder with mode 0700, for all processes of one machine.

    Reads happen in a thread of their own, and wait for no writer. A replaced or deleted value is gone from the disk,
    log included, half a second after the last write, or when the store is closed.
    """

    local_reads: Final = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()
        _stores.add(self)

    def _begin(self) -> None:
        self._reader = Reader(self.path)
        self._locks = FileLocks(self.path.parent / "locks")
        self._table: Table | None = None
        self._leaving: Table | None = None
        self._owner = Owner(self._settle)

    @classmethod
    def open(cls, path: Path, *, create: bool) -> Self:
        """Open the vault at ``path``; where there is none and ``create`` is True, make one. For the start: it may wait.

        Raises `StoreUnavailable` (none there, locked), `VaultError` (empty, damaged, something else), `SettingsError`
        (others may enter the folder or read the file).
        """
        path = Path(os.path.abspath(path))
        if create:
            private_folder(path.parent)
            if not os.path.lexists(path):
                sqlite_file.make(path)
        sqlite_file.check(path)
        private_folder(path.parent)
        if kind := sqlite_file.network_file_system(path):
            log.warning("The vault lies on %s: locks and durability do not hold on a network file system.", kind)
        store = cls(path)
        try:
            store._owner.submit(store._opened).result(2 * PATIENCE)
            store._reader.begin()
        except BaseException as error:
            store._owner.close(store._end)
            if isinstance(error, TimeoutError):
                raise StoreUnavailable("The vault does not answer.") from None
            raise
        return store

    async def get(self, kind: str, key: str) -> bytes | None:
        where = place(kind, key)
        rows = await self._reader.read(_GET, where)
        if rows is None:
            rows = await self._done(partial(self._reader.rows_patiently, _GET, where))
        return unpack(rows[0][0]) if rows else None

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        begin, end = span(kind, prefix, after)
        found: list[tuple[str, bytes]] = []
        while True:
            size = PAGE if most is None else min(PAGE, most - len(found))
            page = await self._reader.read(_SCAN, begin, end, size)
            if page is None:
                page = await self._done(partial(self._reader.rows_patiently, _SCAN, begin, end, size))
            found += [(at.partition("/")[2], unpack(stored)) for at, stored in page]
            if len(page) < size or len(found) == most:
                return found
            begin = page[-1][0] + "\0"  # the next possible key

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        where, stored = place(kind, key), pack(value)
        return await self._done(partial(self._write, where, stored, _INSERT, where, stored))

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        where, stored = place(kind, key), pack(new)
        return await self._done(partial(self._write, where, stored, _SWAP, stored, where, pack(old)))

    async def delete(self, kind: str, key: str, old: bytes) -> bool:
        where = place(kind, key)
        return await self._done(partial(self._write, where, None, _DELETE, where, pack(old)))

    def lock(self, name: str, timeout: float) -> AbstractAsyncContextManager[None]:
        return self._locks.hold(name, timeout)

    async def close(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self._owner.close(self._end)))

    async def _done(self, step: Callable[[], T]) -> T:
        """The outcome of a step of the owner. A cancelled caller does not cancel the step.

        A step that cannot begin in time is taken back, and so did not happen; one that began ends in bounded time.
        """
        asked = self._owner.submit(step)
        outcome = asyncio.wrap_future(asked)
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(outcome)
        except TimeoutError:
            if asked.cancel():
                raise StoreUnavailable("The vault has too much to do.", hint="Try again later.") from None
        return await asyncio.shield(outcome)

    @property
    def backup(self) -> SqliteBackup:
        """Copies of the vault as files, through SQLite."""
        return backup_at(self.path)

    # On the owner's thread.

    def _write(self, where: str, wanted: bytes | None, statement: str, *values: object) -> bool:
        try:
            return self._opened().write(statement, *values)
        except Lost:
            self._drop()
        except sqlite3.Error as error:
            raise told(error) from None
        try:  # whether it was written before the thread was lost, only the record itself can tell
            table = self._opened()
            return table.stored(where) == wanted or table.write(statement, *values)
        except (Lost, sqlite3.Error, StoreUnavailable):
            self._drop()
            raise StoreUnavailable("The vault does not answer.", hint=_LATE) from None

    def _opened(self) -> Table:
        """The table, opened anew after a fork, after it was lost, and when its file was replaced."""
        if self._leaving is not None:
            if not self._leaving.close():
                raise StoreUnavailable("The vault's disk does not answer.", hint=_LATE)
            self._leaving = None
        if self._table is not None and self._table.identity != _identity(self.path):
            self._drop()
            self._reader.forget()
        try:
            self._table = self._table or Table(self.path)
        except Lost:
            raise StoreUnavailable("The vault does not answer.") from None
        except sqlite3.Error as error:
            raise told(error) from None
        return self._table

    def _drop(self) -> None:
        if self._table is not None:
            table, self._table = self._table, None
            if not table.close():
                self._leaving = table

    def _settle(self) -> bool:
        try:
            return self._table is None or self._table.settle()
        except (Lost, sqlite3.Error):
            self._drop()
            return True

    def _end(self) -> None:
        self._reader.end()
        self._settle()
        self._drop()
        _stores.discard(self)

    # Around a fork: SQLite's locks belong to the process, and it does not notice that it became another one. A
    # connection opened in a child beside an inherited one would hold no lock at all, so all are closed before.

    def _before_fork(self) -> None:
        self._owner.pause(self._drop, PATIENCE)
        self._reader.pause()

    def _after_fork_in_parent(self) -> None:
        self._reader.go_on()
        self._owner.go_on()

    def _after_fork_in_child(self) -> None:
        _inherited.append((self._table, self._leaving))  # never to be closed here: the parent uses what they name
        self._begin()


def backup_at(path: Path) -> SqliteBackup:
    """Copies of the vault at this path, which need not exist."""
    return SqliteBackup(path, partial(SqliteStore.open, create=False))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


_stores: WeakSet[SqliteStore] = WeakSet()
_inherited: list[object] = []
_forking = threading.Lock()  # threads that fork at once take turns
_paused: list[SqliteStore] = []


def _before_fork() -> None:
    _forking.acquire()
    _paused[:] = _stores
    for store in _paused:
        store._before_fork()


def _after_fork(step: Callable[[SqliteStore], None]) -> None:
    for store in _paused:
        step(store)
    _paused.clear()
    _forking.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=partial(_after_fork, SqliteStore._after_fork_in_parent),
    after_in_child=partial(_after_fork, SqliteStore._after_fork_in_child),
)
