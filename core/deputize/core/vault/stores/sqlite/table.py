"""Table in sqlitedict's format: its statements, the form of its cells, and the only use of sqlitedict.

sqlitedict 2.1.0 defines the file's form. It opens each vault before any other code does, and reads its content with the
codec of this module. Acts bypass it, on connections of `reader` and `writer`, because it writes without syncing, hands
errors to the wrong caller, and can wait for ever for a thread that is gone. Without a codec it unpickles what it reads
(CVE-2024-35515); this codec passes bytes and nothing else. Checking the file first avoids errors in sqlitedict's own
thread. Only one thread calls sqlitedict here, for a bounded time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from queue import Empty, Queue
from typing import Any, TypeAlias

from sqlitedict import SqliteDict

from deputize.core.errors import StoreUnavailable, VaultError
from deputize.core.vault.stores.common import opaque
from deputize.core.vault.stores.sqlite.file import FORMAT, MARK, TABLE, connect
from deputize.core.vault.stores.sqlite.wal_index import CountedConnection

logging.getLogger("sqlitedict").setLevel(logging.CRITICAL + 1)  # its tracebacks repeat deputize's errors

WRITE_TIMEOUT_SECONDS = 4.0  # seconds a write may wait to begin, and again until it is done

_VALUE = "CASE typeof(value) WHEN 'blob' THEN value END"  # text is read as NULL, which is refused
GET = f'SELECT {_VALUE} FROM "{TABLE}" WHERE key = ?'  # noqa: S608
SCAN = f'SELECT key, {_VALUE} FROM "{TABLE}" WHERE key >= ? AND key < ? ORDER BY key LIMIT ?'  # noqa: S608
_TAIL = f"substr(substr({_VALUE}, {len(FORMAT) + 1}), -16)"
TAILS = f'SELECT key, {_TAIL} FROM "{TABLE}" WHERE key >= ? AND key < ? ORDER BY key LIMIT ?'  # noqa: S608
INSERT = f'INSERT INTO "{TABLE}" (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING'  # noqa: S608
SWAP = f'UPDATE "{TABLE}" SET value = ? WHERE key = ? AND value = ?'  # noqa: S608
DELETE = f'DELETE FROM "{TABLE}" WHERE key = ? AND value = ?'  # noqa: S608
Change: TypeAlias = tuple[str, bytes | None]
"""A place and its new value; None for a deleted record."""
_never_closed: list[CountedConnection] = []
_LOOK = "Check the disk of its file, and which programs have it open."
_NO_MORE = "--no more--"  # how sqlitedict ends an answer


def pack(value: bytes) -> bytes:
    """Return a value in the table's form."""
    return FORMAT + opaque(value)


def unpack(stored: object) -> bytes:
    """Return the value in a cell. Raises `VaultError` for a cell that is not from `pack`."""
    if not isinstance(stored, bytes) or not stored.startswith(FORMAT):
        raise VaultError("A record in the vault was not written by this program.")
    return stored[len(FORMAT) :]


def change_by(statement: str, values: Sequence[Any]) -> Change:
    """Return the change that `INSERT`, `SWAP` or `DELETE` makes with these values."""
    if statement == SWAP:
        return values[1], values[0]
    return values[0], values[1] if statement == INSERT else None


def dictionary(path: Path) -> SqliteDict:
    """Open the vault with sqlitedict, with a codec that executes nothing. The caller closes it."""
    return SqliteDict(
        str(path), TABLE, autocommit=True, journal_mode="WAL", encode=pack, decode=unpack, outer_stack=False
    )


def check_as_sqlitedict(path: Path) -> None:
    """Open the vault with sqlitedict and read its first row, after `file.check` has passed.

    Raises sqlite3.Error, `VaultError` if it reads another row, and `StoreUnavailable` if it does not answer.
    """
    with closing(connect(path)):  # counted, as sqlitedict's own is not
        _check_as_sqlitedict(path)


def _check_as_sqlitedict(path: Path) -> None:
    opened = dictionary(path)
    connection = opened.conn
    try:
        answers: Queue[Any] = Queue()
        connection.execute(GET, MARK[:1], answers)
        deadline, rows = time.monotonic() + WRITE_TIMEOUT_SECONDS, list[Any]()
        while (row := _next(connection, answers, deadline)) != _NO_MORE:
            rows.append(row)
        connection.check_raise_error()
        if rows != [MARK[1:]]:
            raise VaultError("The file is not a vault of this version.", hint=str(path))
    finally:
        opened.close(force=True)
        connection.join(1)
        if connection.is_alive():
            _never_closed.append(connect(path))  # counted for good, because the end of the other is unknown


def _next(connection: Any, answers: Queue[Any], deadline: float) -> Any:
    while True:
        alive = connection.is_alive()  # read first: it may answer and then end
        try:
            return answers.get(timeout=0.2 if alive else 0)
        except Empty:
            if not alive or time.monotonic() > deadline:
                raise StoreUnavailable("The vault does not answer.", hint=_LOOK) from None
