"""Reads that bypass sqlitedict, so that an act's reads neither queue behind writers nor block an event loop.

One thread reads for all event loops, because a disk may stall in the middle of a statement.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeAlias

from deputize.core.batching_thread import AnsweringThread, ThreadEnded
from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.common import kind_at
from deputize.core.vault.stores.sqlite.file import connect, store_error
from deputize.core.vault.stores.sqlite.table import GET, Change
from deputize.core.vault.stores.sqlite.wal_index import CountedConnection, WalIndex, is_next, is_understood

Rows = list[tuple[Any, ...]]
Asked = tuple[str, tuple[str | int, ...]]
"""A statement and its values."""

Kept: TypeAlias = dict[Asked, Rows]

MAX_CACHED_ENTRIES: Final = 1024
MAX_ENTRY_BYTES: Final = 4 * 1024
"""Limits of the cache: records and ranges of each kind, and bytes of each entry."""
_WAITS = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Known:
    """A cache of rows, single records and ranges by kind, that is valid for one header of the WAL index."""

    def __init__(self, header: bytes) -> None:
        self.header = header
        self._records = defaultdict[str, Kept](dict)
        self._ranges = defaultdict[str, Kept](dict)

    def _alike(self, asked: Asked) -> Kept:
        statement, (key, *_) = asked
        return (self._records if statement is GET else self._ranges)[kind_at(key)]

    def rows_of(self, asked: Asked) -> Rows | None:
        """Return the cached rows, or None."""
        return self._alike(asked).get(asked)

    def keep(self, asked: Asked, rows: Rows) -> None:
        """Cache rows if they are few. Drops all other rows of the kind if there are too many."""
        alike = self._alike(asked)
        if _weight(rows) > MAX_ENTRY_BYTES:
            alike.pop(asked, None)
            return
        if len(alike) >= MAX_CACHED_ENTRIES:
            alike.clear()
        alike[asked] = rows

    def follow(self, header: bytes, changes: Sequence[Change]) -> None:
        """Update the cache after exactly these changes. Before the update is complete, concurrent readers see that the
        file's header differs from the cache's."""
        for key, value in changes:
            self._ranges.pop(kind_at(key), None)
            self.keep((GET, (key,)), [] if value is None else [(value,)])
        self.header = header


class Reader:
    """A read-only connection for all threads, opened on first use.

    Each statement sees the present content of the disk, from all writers: cached rows are used only while the WAL index
    proves that nobody has written since. Methods raise `StoreUnavailable` and `VaultError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = Lock()
        self._connection: CountedConnection | None = None
        self._index: WalIndex | None = None
        self._known = Known(b"")
        self._keeping = Lock()
        self._ended = False
        self._answering = AnsweringThread[Asked, Rows | None]("deputize reader", self._all)

    async def read(self, statement: str, *values: str | int) -> Rows | None:
        """Return cached rows, or the result of `rows` in the reader's thread."""
        asked = statement, values
        known = self.current_cache()
        if known is not None and (rows := known.rows_of(asked)) is not None:
            return rows
        before = known.header if known else b""
        try:
            rows = await self._answering.ask(asked)
        except ThreadEnded:
            raise _closed() from None
        if known is not None and rows is not None:
            with self._keeping:
                if known.header == before:  # else it may be older than a write in the cache
                    known.keep(asked, rows)
        return rows

    def current_cache(self) -> Known | None:
        """Return the cache if it is current, or None if that cannot be determined."""
        index, known = self._index, self._known
        if index is None:
            return None
        header = index.header()
        if not header or header != known.header:
            if not is_understood(header):
                return None
            self._known = known = Known(header)
        return known

    def header(self) -> bytes:
        """Return the current header of the WAL index, or nothing without an index."""
        index = self._index  # read once: a fork in another thread sets it to None
        return index.header() if index else b""

    def wrote(self, before: bytes, changes: Sequence[Change]) -> None:
        """Update the cache after one transaction of this process that made exactly these changes.

        ``before``: the header before it. If another process wrote in between, nothing is cached.
        """
        known, now = self._known, self.header()
        if before and before == known.header and is_next(before, now):
            with self._keeping:
                known.follow(now, changes)
            self._known = known  # a concurrent reader has replaced it

    def begin(self) -> None:
        """Start the thread in advance. The first read starts it too, but blocks its event loop for that time."""
        self._answering.begin()

    def _all(self, asked: Sequence[Asked]) -> list[Rows | BaseException | None]:
        return [self._tried(*query) for query in asked]

    def _tried(self, statement: str, values: tuple[str | int, ...]) -> Rows | BaseException | None:
        try:
            return self.rows(statement, *values)
        except BaseException as error:  # the caller gets it
            return error

    def rows(self, statement: str, *values: str | int) -> Rows | None:
        """Return the rows, in microseconds, or None if SQLite would have to wait."""
        with self._turn:
            try:
                if self._connection is None:
                    self._connection = self._open()
                rows = self._connection.execute(statement, values).fetchall()
                if self._index is None:
                    self._index = self._connection.index()
                return rows
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in _WAITS:
                    return None
                raise store_error(error, self._path) from None

    def rows_patiently(self, statement: str, *values: str | int) -> Rows:
        """Return the rows, waiting for a lock if necessary. Not for an event loop's thread."""
        try:
            with closing(connect(self._path)) as connection:
                return connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise store_error(error, self._path) from None

    def _open(self) -> CountedConnection:
        if self._ended:
            raise _closed()
        return connect(self._path, timeout=0)

    def _close(self) -> None:
        self._index, self._known = None, Known(b"")  # each new log begins with the same header
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def forget(self) -> None:
        """Close the connection; the next read opens another."""
        with self._turn:
            self._close()

    def end(self) -> None:
        """Close the connection for good. Later reads are refused."""
        self._ended = True
        self._answering.end()
        with self._turn:
            self._close()

    def pause(self) -> None:
        """Close the connection, and make readers wait until `go_on`."""
        self._turn.acquire()
        self._close()

    def go_on(self) -> None:
        """End a pause."""
        self._turn.release()


def _weight(rows: Rows) -> int:
    """Return the bytes in these rows, or a number above the limit."""
    found = 0
    for row in rows:
        found += sum(len(cell) for cell in row if isinstance(cell, bytes | str))
        if found > MAX_ENTRY_BYTES:
            break
    return found


def _closed() -> StoreUnavailable:
    return StoreUnavailable("The vault is closed.")
