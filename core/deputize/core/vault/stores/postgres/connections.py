"""Connection pool: a few connections, each used by one statement at a time, and errors for an unreachable server.

After any error, a connection is closed, and all idle ones with it, because a restarted server has closed them too. If
the server does not answer, the connection is closed and the statement is not cancelled: a commit that waits for a
standby reports success if it is cancelled (https://www.postgresql.org/docs/current/warm-standby.html,
SYNCHRONOUS-REPLICATION).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors

from deputize.core.errors import StoreUnavailable, VaultError
from deputize.core.vault.stores.postgres.address import (
    ANSWER_SECONDS,
    AWAY,
    CONNECT_SECONDS,
    CROWDED,
    CROWDED_WORDS,
    READ_ONLY,
    Address,
    Connection,
    explain,
    refusal,
)

T = TypeVar("T")
Meets = Callable[[Connection], Awaitable[None]]
Passed = Callable[[], Awaitable[None]]
Rows = Sequence[tuple[Any, ...]]
Statement = tuple[str, Sequence[object]]
"""SQL and its values."""
MAX_CONNECTIONS: Final = 8
"""Connections for records, of each process; one more holds its locks."""
CHECK_TIMEOUT_SECONDS: Final = 60.0
"""Seconds for the check of a new connection before its first use: after a failover, many records are written again."""
MAYBE: Final = "The write may have happened."
_FULL: Final = ("The disk of the vault's database is full.", "Make room on it. No restart is needed.")
_READ_ONLY: Final = ("The vault's database is read-only now.", READ_ONLY)
_CROWDED: Final = ("The vault's database has no connection left.", CROWDED)


def find_fault(error: BaseException) -> tuple[str, str]:
    """Return message and hint for an error; two empty strings if its class is explanation enough.

    A refused connection has no SQLSTATE here, so it is recognized by its text if the server writes English.
    """
    if isinstance(error, errors.DiskFull):
        return _FULL
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return _READ_ONLY
    text = str(error) if isinstance(error, psycopg.OperationalError) else ""
    if isinstance(error, errors.TooManyConnections) or any(words in text for words in CROWDED_WORDS):
        return _CROWDED
    return _READ_ONLY if "session is read-only" in text else ("", "")


def statement_error(error: psycopg.Error) -> StoreUnavailable | VaultError:
    """Return the error for a statement that the server aborted (no room, a lock, a timeout) or refused permanently."""
    if not isinstance(error, psycopg.OperationalError):
        return refusal(error)
    message, hint = find_fault(error)
    message = message or "The vault's database could not run the statement."
    return StoreUnavailable(message, hint=f"{hint} {explain(error)}".strip())


def no_answer_error(sent: bool, fault: tuple[str, str] = ("", "")) -> StoreUnavailable:
    """Return the error for a server that did not answer. ``sent``: True if an attempt may have succeeded. ``fault``:
    the last one, from `find_fault`."""
    message, hint = fault
    message = message or "The vault's database does not answer."
    return StoreUnavailable(message, hint=f"{hint or AWAY} {MAYBE if sent else ''}".strip())


def add_doubt(error: StoreUnavailable) -> StoreUnavailable:
    """Return the error with a hint that an earlier attempt may have succeeded."""
    return error if MAYBE in error.hint else StoreUnavailable(error.message, hint=f"{error.hint} {MAYBE}".strip())


class Lost(Exception):
    """Error for a broken connection. ``sent``: True if the statement was sent, so that it may have run. ``fault``: the
    cause, from `find_fault`."""

    def __init__(self, *, sent: bool, fault: tuple[str, str] = ("", "")) -> None:
        super().__init__()
        self.sent, self.fault = sent, fault


class Connections:
    """A pool of at most ``most`` connections. ``meet``: awaited with each new connection before its first use."""

    def __init__(self, address: Address, most: int, meet: Meets) -> None:
        self._address, self._idle, self._meet = address, list[Connection](), meet
        self._room = asyncio.Semaphore(most)

    @asynccontextmanager
    async def one(self, timeout: float) -> AsyncIterator[Connection]:
        """Yield a connection for one statement. Raises `StoreUnavailable` if none becomes free in time, and `Lost` if a
        new one cannot be opened."""
        try:
            async with asyncio.timeout(timeout):
                await self._room.acquire()
        except TimeoutError:
            raise StoreUnavailable("The vault is overloaded.", hint="Try again later.") from None
        try:
            connection = await self._open()
            try:
                yield connection
            except BaseException:
                if connection.closed:
                    await self.drop_idle()
                raise
            finally:
                if not connection.closed:
                    self._idle.append(connection)
        finally:
            self._room.release()

    async def _open(self) -> Connection:
        while self._idle:
            if not (kept := self._idle.pop()).closed:
                return kept
        return await meet_connection(self._address, self._meet)

    async def drop_idle(self) -> None:
        """Close idle connections."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()


async def open_connection(address: Address) -> Connection:
    """Return a new connection. Raises `Lost` if the server is unreachable, full or shutting down.

    Raises `VaultError` for causes that another attempt cannot fix: a password, a role, a missing database.
    """
    try:
        async with asyncio.timeout(2 * CONNECT_SECONDS):
            return await address.connect()
    except (psycopg.OperationalError, OSError, TimeoutError) as error:
        raise Lost(sent=False, fault=find_fault(error)) from None


async def meet_connection(address: Address, meet: Meets) -> Connection:
    """Return a new connection after ``meet`` has checked it. Raises as `open_connection`, and `Lost` if the check
    fails."""
    made = await open_connection(address)
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            await meet(made)
    except (psycopg.Error, OSError, TimeoutError):
        await made.close()
        raise Lost(sent=False) from None
    except BaseException:
        await made.close()
        raise
    return made


async def await_answer(connection: Connection, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a statement. After `ANSWER_SECONDS`, closes the connection and raises `Lost`."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait((task,), timeout=ANSWER_SECONDS)
    except BaseException:
        await _abandon(connection, task)
        raise
    if not done:
        await _abandon(connection, task)
        raise Lost(sent=True)
    return task.result()


async def _abandon(connection: Connection, task: asyncio.Future[Any]) -> None:
    connection.pgconn.finish()  # first, so that the cancelled task sends no cancel request
    task.cancel()
    with suppress(asyncio.CancelledError, psycopg.Error, OSError):
        await task
    await connection.close()
