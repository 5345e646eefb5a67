"""Embedded store: one SQLite file in sqlitedict's format, written by one thread and read by another.

Its address is a path, or ``sqlite:///absolute/path``. `table` describes the role of sqlitedict and its rules.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from glob import escape
from pathlib import Path
from typing import Final, Self, TypeVar
from urllib.parse import unquote, urlsplit
from weakref import WeakSet

from deputize.core.errors import SettingsError, StoreUnavailable, VaultError
from deputize.core.paths import usable_path
from deputize.core.vault.private_files import private_folder
from deputize.core.vault.stores.common import place, span
from deputize.core.vault.stores.protocol import StoreType
from deputize.core.vault.stores.sqlite import file as sqlite_file
from deputize.core.vault.stores.sqlite import integrity
from deputize.core.vault.stores.sqlite import table as sqlite_table
from deputize.core.vault.stores.sqlite.backup import SqliteBackup
from deputize.core.vault.stores.sqlite.file import store_error
from deputize.core.vault.stores.sqlite.range_locks import locks_in
from deputize.core.vault.stores.sqlite.reader import Reader, Rows
from deputize.core.vault.stores.sqlite.table import (
    DELETE,
    GET,
    INSERT,
    SCAN,
    SWAP,
    TAILS,
    change_by,
    check_as_sqlitedict,
    pack,
    unpack,
)
from deputize.core.vault.stores.sqlite.writer import LATE, Outcome, Owner, Write, Writer

log = logging.getLogger("deputize")

T = TypeVar("T")

RECORDS_PER_QUERY = 200  # records read at a time, so that a long scan yields the event loop
_HINT: Final = "Write memory:, sqlite:///absolute/path or a plain path."


class SqliteStore:
    """A `Store` in one file with mode 0600, in a folder with mode 0700, for all processes of one machine.

    Reads happen in a separate thread and wait for no writer. A replaced or deleted value is erased from the disk,
    including the log, half a second after the last write, or when the store is closed.
    """

    local_reads = True
    in_order = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()
        _stores.add(self)

    def _begin(self) -> None:
        self._reader = Reader(self.path)
        self._locks = locks_in(self.path.parent / "locks")
        self._writer: Writer | None = None
        self._owner = Owner(self._commit, self._settle)

    @classmethod
    def open(cls, path: Path, *, create: bool) -> Self:
        """Open the vault at ``path``. ``create``: create it if it is missing. May block: for the start only.

        Raises `StoreUnavailable` (no vault, locked), `VaultError` (empty, damaged, not a vault) or `SettingsError`
        (others may enter the folder or read the file).
        """
        path = Path(os.path.abspath(path))
        if create:
            private_folder(path.parent)
            if not os.path.lexists(path):
                sqlite_file.make(path)
        integrity.check_log(path)  # before SQLite reads it
        sqlite_file.check(path)
        private_folder(path.parent)
        if kind := sqlite_file.network_file_system(path):
            log.warning("The vault is on %s: locks and durability are not guaranteed on a network file system.", kind)
        store = cls(path)
        try:
            store._owner.submit(store._first_opened).result(2 * sqlite_table.WRITE_TIMEOUT_SECONDS)
            store._reader.begin()
        except BaseException as error:
            store._owner.close(store._end)
            if isinstance(error, TimeoutError):
                raise StoreUnavailable(
                    "The vault does not answer.", hint=f"Check the disk of {path}, and which programs have it open."
                ) from None
            raise
        return store

    async def get(self, kind: str, key: str) -> bytes | None:
        where = place(kind, key)
        rows = await self._reader.read(GET, where)
        if rows is None:
            rows = await self._done(partial(self._reader.rows_patiently, GET, where))
        return unpack(rows[0][0]) if rows else None

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        rows = await self._rows(SCAN, *span(kind, prefix, after), most)
        return [(at.partition("/")[2], unpack(stored)) for at, stored in rows]

    def unshared(self) -> object | None:
        return self._reader.current_cache()

    async def tails(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        rows = await self._rows(TAILS, *span(kind, prefix, ""), None)
        return [(at.partition("/")[2], tail or b"") for at, tail in rows]

    async def _rows(self, statement: str, begin: str, end: str, most: int | None) -> Rows:
        found: Rows = []
        while True:
            size = RECORDS_PER_QUERY if most is None else min(RECORDS_PER_QUERY, most - len(found))
            page = await self._reader.read(statement, begin, end, size)
            if page is None:
                page = await self._done(partial(self._reader.rows_patiently, statement, begin, end, size))
            for row in page:
                if not isinstance(row[0], str):
                    raise VaultError(
                        "The vault's file is damaged: the key of a record is not a text.",
                        hint="Restore it from a backup: deputize vault restore.",
                    )
            found += page
            if len(page) < size or len(found) == most:
                return found
            begin = page[-1][0] + "\0"  # the next possible key

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        return await self._write(INSERT, place(kind, key), pack(value))

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        return await self._write(SWAP, pack(new), place(kind, key), pack(old))

    async def delete(self, kind: str, key: str, old: bytes) -> bool:
        return await self._write(DELETE, place(kind, key), pack(old))

    async def _write(self, statement: str, *values: object) -> bool:
        return await self._owner.write(sqlite_table.WRITE_TIMEOUT_SECONDS, statement, *values)

    async def find_damage(self) -> list[tuple[str, str]]:
        """Implement `Inspects.find_damage`."""
        return await asyncio.to_thread(integrity.find_damage, self.path)

    def lock(self, name: str, timeout: float) -> AbstractAsyncContextManager[None]:
        return self._locks.hold(name, timeout)

    async def close(self) -> None:
        try:
            async with asyncio.timeout(2 * sqlite_table.WRITE_TIMEOUT_SECONDS):
                await asyncio.shield(asyncio.wrap_future(self._owner.close(self._end)))
        except TimeoutError:
            raise StoreUnavailable("The vault does not answer.", hint=LATE) from None

    async def _done(self, step: Callable[[], T]) -> T:
        """Run a step on the owner's thread and return its result. If the step cannot begin in time, it is withdrawn."""
        asked = self._owner.submit(step)
        outcome = asyncio.wrap_future(asked)
        try:
            async with asyncio.timeout(sqlite_table.WRITE_TIMEOUT_SECONDS):
                return await asyncio.shield(outcome)
        except TimeoutError:
            if asked.cancel():
                raise StoreUnavailable("The vault is overloaded.", hint="Try again later.") from None
        return await asyncio.shield(outcome)

    @property
    def backup(self) -> SqliteBackup:
        """The backup interface of the vault, through SQLite."""
        return backup_at(self.path)

    # On the owner's thread.

    def _commit(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        writer, before = self._opened(), self._reader.header()
        outcomes = writer.commit(writes)
        done = [write for write, outcome in zip(writes, outcomes, strict=True) if outcome is True]
        if done and all(
            one.values[0] != one.values[-1] for one in done
        ):  # a swap for the same value is not a transaction
            self._reader.wrote(before, [change_by(one.statement, one.values) for one in done])
        return outcomes

    def _first_opened(self) -> None:
        """Open the vault with sqlitedict, then for writing."""
        sqlite_file.check(self.path)
        try:
            check_as_sqlitedict(self.path)
        except sqlite3.Error as error:
            raise store_error(error, self.path) from None
        self._opened()

    def _opened(self) -> Writer:
        """Return the connection. It is opened again after a fork, and after the file was replaced."""
        if self._writer is not None and self._writer.identity != _identity(self.path):
            self._drop()
        if self._writer is None:
            try:
                self._writer = Writer(self.path)
            except sqlite3.Error as error:
                raise store_error(error, self.path) from None
            finally:
                self._reader.forget()  # it may have the earlier file open
        return self._writer

    def _drop(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()

    def _settle(self) -> bool:
        try:
            return self._writer is None or self._writer.settle()
        except sqlite3.Error:
            self._drop()
            return True

    def _end(self) -> None:
        self._locks.end()
        self._reader.end()
        self._settle()
        self._drop()
        _stores.discard(self)

    # Around a fork: SQLite's locks belong to the process, and it does not notice that it became another one. A
    # connection opened in a child beside an inherited one would hold no lock at all, so all are closed before.

    def _before_fork(self) -> None:
        self._owner.pause(self._drop, sqlite_table.WRITE_TIMEOUT_SECONDS)
        self._reader.pause()

    def _after_fork_in_parent(self) -> None:
        self._reader.go_on()
        self._owner.go_on()

    def _after_fork_in_child(self) -> None:
        self._locks.forget()
        _inherited.append(self._writer)  # never closed here: the parent uses the same files
        self._begin()


def backup_at(path: Path) -> SqliteBackup:
    """Return the backup interface for this path, which need not exist."""
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


def path_of(url: str) -> Path:
    """Return the path of the vault's file. Raises `SettingsError` for an address without a path."""
    url = url.strip()
    if "://" not in url:
        if not url or url.endswith("/"):
            raise SettingsError("The vault's address names no file.", hint=_HINT)
        return usable_path(url)
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or parts.query or parts.fragment or not path.strip("/"):
        raise SettingsError("The vault's address names no file, or more than one.", hint=_HINT)
    return usable_path("/" + path.lstrip("/"))


def _set_aside(url: str, ending: str) -> list[Path]:
    path = path_of(url)
    left = [path.with_name(path.name + part) for part in ("", "-wal", "-shm")]
    return [file.rename(file.with_name(f"{file.name}.{ending}")) for file in left if file.exists()]


def _moved(url: str) -> Path | None:
    path = path_of(url)
    return max(path.parent.glob(f"{escape(path.name)}.moved-*Z"), default=None)


STORE: Final = StoreType(
    "sqlite",
    open=lambda url, create: SqliteStore.open(path_of(url), create=create),
    exists=lambda url: path_of(url).exists(),
    backup=lambda url: backup_at(path_of(url)),
    set_aside=_set_aside,
    moved=_moved,
)
