"""Statements on the vault's records. Each is its own transaction, and is repeated if its answer was lost.

After a lost answer, it is unknown whether a write happened. Repeating the write decides that: the server first finishes
the statement of the broken connection, and of two equal writes one changes nothing. If the repetition changes nothing
and its value is stored, the first write succeeded, because encrypted values are never equal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import psycopg

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.postgres.address import Address, Connection, is_lost
from deputize.core.vault.stores.postgres.connections import (
    Connections,
    Lost,
    Meets,
    add_doubt,
    await_answer,
    find_fault,
    no_answer_error,
    statement_error,
)
from deputize.core.vault.stores.postgres.notify import AWAITED, with_notify

GET: Final = "SELECT value FROM deputize_record WHERE place = %s"
INSERT: Final = "INSERT INTO deputize_record (place, value) VALUES (%s, %s) ON CONFLICT DO NOTHING"
SWAP: Final = "UPDATE deputize_record SET value = %s WHERE place = %s AND value = %s"
DELETE: Final = "DELETE FROM deputize_record WHERE place = %s AND value = %s"
TAILS: Final = (
    "SELECT place, substr(value, greatest(length(value) - 15, 1)) FROM deputize_record"
    " WHERE place >= %s AND place < %s ORDER BY place LIMIT %s"
)
SCAN: Final = "SELECT place, value FROM deputize_record WHERE place >= %s AND place < %s ORDER BY place LIMIT %s"

_TOLD: Final = {sql: with_notify(sql) for sql in (INSERT, SWAP, DELETE)}

CALL_TIMEOUT_SECONDS: Final = 8.0
"""Seconds that one call may take while the server is away."""
_RETRY_PAUSE_SECONDS: Final = 0.1
Rows = Sequence[tuple[Any, ...]]
Passed = Callable[[], Awaitable[None]]


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
                sent = sent or (lost.sent and sql not in (GET, SCAN, TAILS))
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


def _notifying(sql: str, key: str) -> str:
    return _TOLD[sql] if key.partition("/")[0] in AWAITED else sql


async def _executed(connection: Connection, sql: str, values: Sequence[object]) -> tuple[Rows, int]:
    cursor = await connection.execute(sql.encode(), values, binary=True)
    return (await cursor.fetchall() if cursor.description else ()), cursor.rowcount
