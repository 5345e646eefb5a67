"""Reading past sqlitedict: what an act looks up must not queue behind writers, nor hold up an event loop.

One thread reads for all event loops, since a disk may stand still in the middle of a statement.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any

from deputize.core.answering import AnsweringThread, ThreadEnded
from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.sqlite_file import connect, store_error

Rows = list[tuple[Any, ...]]
Asked = tuple[str, tuple[str | int, ...]]
"""A statement and its values."""

_WAITS = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Reader:
    """A read-only connection for all threads, opened when it is first needed.

    Each statement sees what is on the disk when it runs, whoever wrote it. Methods raise `StoreUnavailable` and
    `VaultError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = Lock()
        self._connection: sqlite3.Connection | None = None
        self._ended = False
        self._answering = AnsweringThread[Asked, Rows | None]("deputize reader", self._all)

    async def read(self, statement: str, *values: str | int) -> Rows | None:
        """See `rows`; in the reader's own thread."""
        try:
            return await self._answering.ask((statement, values))
        except ThreadEnded:
            raise _closed() from None

    def begin(self) -> None:
        """Start the thread. Else the first read does, which takes an event loop longer than a read."""
        self._answering.begin()

    def _all(self, asked: Sequence[Asked]) -> list[Rows | BaseException | None]:
        return [self._tried(*one) for one in asked]

    def _tried(self, statement: str, values: tuple[str | int, ...]) -> Rows | BaseException | None:
        try:
            return self.rows(statement, *values)
        except BaseException as error:  # whatever it is, it belongs to whoever asked
            return error

    def rows(self, statement: str, *values: str | int) -> Rows | None:
        """The rows, in microseconds; None where SQLite would have to wait."""
        with self._turn:
            try:
                if self._connection is None:
                    self._connection = self._open()
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in _WAITS:
                    return None
                raise store_error(error, self._path) from None

    def rows_patiently(self, statement: str, *values: str | int) -> Rows:
        """The rows, after waiting for whoever holds the vault. Not for an event loop's thread."""
        try:
            with closing(connect(self._path)) as connection:
                return connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise store_error(error, self._path) from None

    def _open(self) -> sqlite3.Connection:
        if self._ended:
            raise _closed()
        return connect(self._path, patience=0)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def forget(self) -> None:
        """Close the connection; the next read opens another."""
        with self._turn:
            self._close()

    def end(self) -> None:
        """Close the connection for good. What is asked afterwards is refused."""
        self._ended = True
        self._answering.end()
        with self._turn:
            self._close()

    def pause(self) -> None:
        """Close the connection, and let readers wait until `go_on`."""
        self._turn.acquire()
        self._close()

    def go_on(self) -> None:
        """End a pause."""
        self._turn.release()


def _closed() -> StoreUnavailable:
    return StoreUnavailable("The vault is closed.")
