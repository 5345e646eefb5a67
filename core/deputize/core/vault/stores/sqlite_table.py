"""sqlitedict's connection, opened and asked in one way only.

sqlitedict 2.1.0 is used under rules that take its hazards away, and nowhere else. It unpickles what it reads unless it
is given a codec (CVE-2024-35515): ours passes bytes and nothing else. It writes without syncing, hands errors to the
wrong caller, and can wait for ever for a thread that is gone: here one thread owns it, sets and reads back what makes
writes durable, and waits for a bounded time. Its own exceptions in its own thread are avoided by looking first.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from sqlitedict import SqliteDict

from deputize.core.errors import StoreUnavailable, VaultError
from deputize.core.vault.stores import sqlite_file
from deputize.core.vault.stores.common import opaque
from deputize.core.vault.stores.sqlite_file import BUSY_SECONDS, FORMAT, TABLE
from deputize.core.vault.stores.sqlite_reader import Rows

logging.getLogger("sqlitedict").setLevel(logging.CRITICAL + 1)  # its tracebacks repeat what our errors tell

PATIENCE = 4.0  # seconds a step may wait to begin, and again until it is done

_VALUE = "CASE typeof(value) WHEN 'blob' THEN value END"  # text is read as nothing, which is refused
GET = f'SELECT {_VALUE} FROM "{TABLE}" WHERE key = ?'  # noqa: S608
SCAN = f'SELECT key, {_VALUE} FROM "{TABLE}" WHERE key >= ? AND key < ? ORDER BY key LIMIT ?'  # noqa: S608
INSERT = f'INSERT INTO "{TABLE}" (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING'  # noqa: S608
SWAP = f'UPDATE "{TABLE}" SET value = ? WHERE key = ? AND value = ?'  # noqa: S608
DELETE = f'DELETE FROM "{TABLE}" WHERE key = ? AND value = ?'  # noqa: S608
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
        rows = self.ask(GET, where)
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
