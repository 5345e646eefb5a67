"""Statements on the vault's records. Each is its own transaction, and is repeated if its answer was lost.

After a lost answer, it is unknown whether a write happened. Repeating the write decides that: the server first finishes
the statement of the broken connection, and of two equal writes one changes nothing. If the repetition changes nothing
and its value is stored, the first write succeeded, because encrypted values are never equal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import psycopg

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.common import place, span
from deputize.core.vault.stores.postgres.address import Address, Connection, is_lost
from deputize.core.vault.stores.postgres.connections import (
    Connections,
    Lost,
    Meets,
    Passed,
    Rows,
    Statement,
    add_doubt,
    await_answer,
    find_fault,
    no_answer_error,
    statement_error,
)
from deputize.core.vault.stores.postgres.notify import NOTIFY, is_awaited, with_notify
from deputize.core.vault.stores.protocol import RecordRead

GET: Final = "SELECT value FROM deputize_record WHERE place = %s"
INSERT: Final = "INSERT INTO deputize_record (place, value) VALUES (%s, %s) ON CONFLICT DO NOTHING"
SWAP: Final = "UPDATE deputize_record SET value = %s WHERE place = %s AND value = %s"
DELETE: Final = "DELETE FROM deputize_record WHERE place = %s AND value = %s"
TAILS: Final = (
    "SELECT place, substr(value, greatest(length(value) - 15, 1)) FROM deputize_record"
    " WHERE place >= %s AND place < %s ORDER BY place LIMIT %s"
)
SCAN: Final = "SELECT place, value FROM deputize_record WHERE place >= %s AND place < %s ORDER BY place LIMIT %s"
_BATCH: Final = {
    "get": "SELECT {n}, place, value FROM deputize_record WHERE place = ANY(%s)",
    "scan": "SELECT {n}, place, value FROM deputize_record WHERE place >= %s AND place < %s",
    "tails": "SELECT {n}, place, substr(value, greatest(length(value) - 15, 1)) FROM deputize_record"
    " WHERE place >= %s AND place < %s",
}

_TOLD: Final = {sql: with_notify(sql) for sql in (INSERT, SWAP, DELETE)}

CALL_TIMEOUT_SECONDS: Final = 8.0
"""Seconds that one call may take while the server is away."""
_RETRY_PAUSE_SECONDS: Final = 0.1


class Statements:
    """A store's statements, on one event loop. ``passed``: awaited before a statement is repeated."""

    def __init__(self, address: Address, most: int, meet: Meets, passed: Passed) -> None:
        self.connections, self._passed = Connections(address, most, meet), passed

    async def rows(self, sql: str, *values: object) -> Rows:
        """Return the rows of a query. Raises `StoreUnavailable` for a lost server, `VaultError` if it refuses."""
        return (await self._decided(sql, values))[0][0]

    async def insert(self, key: str, value: bytes) -> bool:
        """Insert a value. Return whether the place was free. Raises the errors of `rows`."""
        changed, repeated = await self._changes(_notifying(INSERT, key), key, value)
        return changed or (repeated and await self._lies_there(key, value))

    async def swap(self, key: str, old: bytes, new: bytes) -> bool:
        """Replace the old value. Return whether it was stored. Raises the errors of `rows`."""
        changed, repeated = await self._changes(_notifying(SWAP, key), new, key, old)
        return changed or (repeated and await self._lies_there(key, new))

    async def delete(self, key: str, old: bytes) -> bool:
        """Delete the old value. Return whether it was stored. Raises the errors of `rows`, also if it is unknown who
        deleted it."""
        changed, repeated = await self._changes(_notifying(DELETE, key), key, old)
        if not changed and repeated and not await self.rows(GET, key):
            raise StoreUnavailable(
                "The connection to the vault's database was cut: a record is gone, and it is unknown who deleted it."
            )
        return changed

    async def read(self, *wanted: RecordRead) -> list[Any]:
        """Return what each of these reads finds. Raises as `rows`."""
        sql, values = batch_of(wanted)
        return sort_batch(wanted, await self.rows(sql, *values))

    async def write(self, *puts: tuple[str, bytes | None, bytes]) -> int:
        """Insert or swap the values of these places in order, until one does not apply. Return how many were made.
        Raises as `rows`."""
        sql, values = _chain_of(puts)
        (made, _), repeated = await self._decided(sql, values)
        if made or not repeated:
            return len(made)
        count = 0  # an earlier try made them, or nobody
        for key, _, new in puts:
            if not await self._lies_there(key, new):
                break
            count += 1
        return count

    async def _lies_there(self, key: str, value: bytes) -> bool:
        return [bytes(row[0]) for row in await self.rows(GET, key)] == [value]

    async def _changes(self, sql: str, *values: object) -> tuple[bool, bool]:
        """Return whether the statement changed a record, and whether an earlier attempt may have done so."""
        (_, changed), repeated = await self._decided(sql, values)
        return changed == 1, repeated

    async def _decided(self, sql: str, values: Sequence[object]) -> tuple[tuple[Rows, int], bool]:
        """Return rows and row count of the first answered attempt, and whether an earlier attempt was sent."""
        deadline, sent = time.monotonic() + CALL_TIMEOUT_SECONDS, False
        while True:
            try:
                return await self._once(sql, values, deadline), sent
            except StoreUnavailable as error:
                raise add_doubt(error) if sent else error from None
            except Lost as lost:
                sent = sent or (lost.sent and not sql.startswith("SELECT"))
                if time.monotonic() + _RETRY_PAUSE_SECONDS >= deadline:
                    raise no_answer_error(sent, lost.fault) from None
                await asyncio.sleep(_RETRY_PAUSE_SECONDS)
                await self._passed()

    async def _once(self, sql: str, values: Sequence[object], deadline: float) -> tuple[Rows, int]:
        """Return rows and row count. Raises `Lost` if the connection broke."""
        async with self.connections.one(max(deadline - time.monotonic(), 0.1)) as connection:
            try:
                done = await await_answer(connection, _executed(connection, sql, values))
                if connection.unreplicated:
                    await connection.close()
                    raise no_answer_error(sent=True)
                return done
            except psycopg.Error as error:
                if is_lost(error, connection):
                    await connection.close()
                    sent = not isinstance(error, psycopg.errors.ReadOnlySqlTransaction)  # refused before it ran
                    raise Lost(sent=sent, fault=find_fault(error)) from None
                raise statement_error(error) from None


def batch_of(wanted: Sequence[RecordRead]) -> Statement:
    """Return the statement for several reads. Its rows have the number of the read, or -1 for all records by key."""
    gets = [place(kind, key) for verb, kind, key in wanted if verb == "get"]
    sqls, values = ([_BATCH["get"].format(n=-1)], list[object]([gets])) if gets else ([], [])
    for n, (verb, kind, key) in enumerate(wanted):
        if verb != "get":
            sqls.append(_BATCH[verb].format(n=n))
            values += span(kind, key)
    return " UNION ALL ".join(sqls), values


def sort_batch(wanted: Sequence[RecordRead], rows: Rows) -> list[Any]:
    """Return what each read found, from the rows of `batch_of`'s statement."""
    by_place = {where: bytes(value) for n, where, value in rows if n < 0}
    scans: dict[int, list[tuple[str, bytes]]] = {n: [] for n, (verb, *_) in enumerate(wanted) if verb != "get"}
    for n, where, value in rows:
        if n >= 0:
            scans[n].append((where.partition("/")[2], bytes(value)))
    return [
        by_place.get(place(kind, key)) if verb == "get" else sorted(scans[n])
        for n, (verb, kind, key) in enumerate(wanted)
    ]


def _chain_of(puts: Sequence[tuple[str, bytes | None, bytes]]) -> Statement:
    """Return the statement for several writes, each of which waits for the one before. It has a row for each that was
    made."""
    steps, values, made = list[str](), list[object](), list[str]()
    for n, (key, old, new) in enumerate(puts):
        before = f"EXISTS (SELECT FROM made{n - 1})" if n else "TRUE"
        if old is None:
            step = f"INSERT INTO deputize_record (place, value) SELECT %s, %s WHERE {before} ON CONFLICT DO NOTHING"
            values += key, new
        else:
            step = f"{SWAP} AND {before}"
            values += new, key, old
        steps.append(f"made{n} AS ({step} RETURNING place)")
        made.append(f"SELECT {NOTIFY if is_awaited(key) else 'place'} FROM made{n}")  # noqa: S608
    return f"WITH {', '.join(steps)} {' UNION ALL '.join(made)}", values


def _notifying(sql: str, key: str) -> str:
    return _TOLD[sql] if is_awaited(key) else sql


async def _executed(connection: Connection, sql: str, values: Sequence[object]) -> tuple[Rows, int]:
    cursor = await connection.execute(sql.encode(), values, binary=True)
    return (await cursor.fetchall() if cursor.description else ()), cursor.rowcount
