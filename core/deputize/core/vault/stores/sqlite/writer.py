"""Writes that bypass sqlitedict: a connection that makes a group of writes durable with one transaction and one sync.

Groups only save time: if one write of a group fails, each is done by itself, so that the error reaches its own caller
and no other write is lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.sqlite import file as sqlite_file
from deputize.core.vault.stores.sqlite.file import BUSY_SECONDS, connect, store_error
from deputize.core.vault.stores.sqlite.reader import Rows
from deputize.core.vault.stores.sqlite.writer_thread import Outcome, Write

PRAGMAS: Final[dict[str, int | str]] = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: a write is on the disk when it returns
    "busy_timeout": int(BUSY_SECONDS * 1000),
    "secure_delete": 1,
    "fullfsync": 1,
}


class Writer:
    """A connection for the one thread that writes. Methods raise sqlite3.Error; opening one also raises
    `StoreUnavailable` and `VaultError`."""

    def __init__(self, path: Path) -> None:
        self.path, self.identity = path, sqlite_file.check(path)
        self.connection = connect(path, mode="rw")
        try:
            for name, wanted in PRAGMAS.items():
                self.ask(f"PRAGMA {name}={wanted}")
                if self.ask(f"PRAGMA {name}") != [(wanted,)]:
                    raise StoreUnavailable(
                        "The vault cannot be written safely.", hint=f"SQLite refuses {name}={wanted}"
                    )
        except BaseException:
            self.connection.close()
            raise

    def ask(self, statement: str) -> Rows:
        """Return the rows of a statement."""
        return self.connection.execute(statement).fetchall()

    def commit(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        """Return the outcome of each write. Changed records are durable."""
        if len(writes) == 1:
            return [self._alone(writes[0])]
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            return [store_error(error, self.path) for _ in writes]
        try:
            changed = [self._changed(write) for write in writes]
            self.connection.execute("COMMIT")
            return changed
        except sqlite3.Error:
            if self.connection.in_transaction:  # if the disk is full, SQLite has rolled back itself
                self.connection.execute("ROLLBACK")
        return [self._alone(write) for write in writes]

    def _alone(self, write: Write) -> Outcome:
        try:
            return self._changed(write)
        except sqlite3.Error as error:
            return store_error(error, self.path)

    def _changed(self, write: Write) -> bool:
        with closing(self.connection.execute(write.statement, write.values)) as done:
            return done.rowcount == 1

    def settle(self) -> bool:
        """Empty the log, so that replaced values are gone from the disk. Return False while a reader is in the way."""
        self.ask("PRAGMA busy_timeout=0")
        [(busy, *_)] = self.ask("PRAGMA wal_checkpoint(TRUNCATE)")
        self.ask(f"PRAGMA busy_timeout={PRAGMAS['busy_timeout']}")
        return not busy

    def close(self) -> None:
        """Close the file."""
        self.connection.close()
