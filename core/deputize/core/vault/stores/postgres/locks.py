"""Locks among processes in Postgres. All locks of a process are in one session, and end with it.

The server also frees a lock if the session breaks while the holder continues: after a restart, a failover, a network
timeout. So a holder can check its lock (`SessionLock.confirm`). Advisory locks:
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress

import psycopg

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.postgres.address import Address, Connection, explain
from deputize.core.vault.stores.postgres.connections import (
    Lost,
    Meets,
    Passed,
    Rows,
    Statement,
    await_answer,
    meet_connection,
    no_answer_error,
    statement_error,
)

_TRY = "SELECT set_config('deputize.taken', pg_try_advisory_lock(%s)::text, false)"
_IF_TAKEN = "SELECT * FROM ({}) AS found WHERE current_setting('deputize.taken') = 'true'"
"""Of a query after `_TRY`: whoever waits for a lock asks often, and the server then reads nothing."""
_FREE = "SELECT pg_advisory_unlock(%s)"
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_ABORTED = psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable
"""Errors of a statement that leave the session as it is."""


def lock_number(name: str) -> int:
    """Return the number of a name's lock: one of 2**64, hashed with deputize's own prefix, because all users of a
    database share the numbers. Two names with the same number would only wait for each other."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=b"deputize.lock").digest()
    return int.from_bytes(digest, signed=True)


class LockSession:
    """One session. ``lost``: True if others may hold its locks by now."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.lost = connection, False

    async def rows(self, *queries: Statement) -> list[Rows]:
        """Return the rows of queries that are sent as one message. Each begins when the one before has ended, and sees
        what others have committed until then. Raises `Lost` now and from then on if the session has ended."""
        if self.lost or self.connection.closed:
            self.lost = True
            raise Lost(sent=False)

        async def asked() -> list[Rows]:
            cursor = psycopg.AsyncClientCursor(self.connection)  # several statements cannot have parameters
            sql, values = "; ".join(sql for sql, _ in queries), [value for _, those in queries for value in those]
            await cursor.execute(sql.encode(), values)
            found: list[Rows] = [await cursor.fetchall()]
            while cursor.nextset():
                found.append(await cursor.fetchall())
            return found

        try:
            return await await_answer(self.connection, asked())
        except psycopg.Error as error:
            lost = isinstance(error, psycopg.OperationalError) and not isinstance(error, _ABORTED)
            if not (lost or self.connection.closed):
                raise
            await self.end()
            raise Lost(sent=True) from None
        except (Lost, OSError):
            await self.end()
            raise Lost(sent=True) from None

    async def end(self) -> None:
        """End the session, which releases its locks."""
        self.lost = True
        await self.connection.close()


class PostgresLocks:
    """All locks of this process, on one event loop. ``meet`` is awaited with each new session, and ``passed`` before a
    lock is taken, because records are read on the session too."""

    def __init__(self, address: Address, meet: Meets, passed: Passed) -> None:
        self._address, self._meet, self._passed = address, meet, passed
        self._session: LockSession | None = None
        self._one = asyncio.Lock()

    async def take(self, name: str, *more: Statement) -> tuple[LockSession, list[Rows]] | None:
        """Take the lock. Return its session and the rows of the queries ``more``, or None if another process holds it.

        Raises `StoreUnavailable` if the server cannot be reached, and `VaultError` if it refuses.
        """
        try:
            session = await self._live()
            await self._passed()  # a new session may have met a server that must be checked first
            [[taken]], *found = await self._try(name, session, more)
            return (session, found) if taken == "true" else None
        except Lost as lost:
            raise no_answer_error(False, lost.fault) from None
        except psycopg.Error as error:
            raise statement_error(error) from None

    async def _try(self, name: str, session: LockSession, more: Sequence[Statement]) -> list[Rows]:
        reads = [(_IF_TAKEN.format(sql), values) for sql, values in more]
        try:
            return await session.rows((_TRY, (lock_number(name),)), *reads)
        except psycopg.Error:
            await self.free(name, session)  # it may have been taken before a read failed
            raise

    async def free(self, name: str, session: LockSession) -> None:
        """Release the lock. The locks of a lost session are free already."""
        with suppress(Lost, psycopg.Error):
            await session.rows((_FREE, (lock_number(name),)))

    async def _live(self) -> LockSession:
        async with self._one:
            if self._session is None or self._session.lost or self._session.connection.closed:
                if self._session:
                    await self._session.end()
                self._session = LockSession(await meet_connection(self._address, self._meet))
            return self._session

    async def confirm(self, session: LockSession) -> float:
        """Return the server's clock, read in the lock's session. Raises `StoreUnavailable` if the session has ended."""
        try:
            [[[now]]] = await session.rows((_NOW, ()))
            return float(now)
        except Lost:
            raise StoreUnavailable(
                "The lock of this act was lost with its connection to the vault's database. Nothing more was sent.",
                hint="Try again: deputize looks up what was done before.",
            ) from None
        except psycopg.Error as error:
            raise StoreUnavailable("The vault's database does not answer.", hint=explain(error)) from None

    async def end(self) -> None:
        """End the session, which releases all locks."""
        if self._session:
            await self._session.end()
