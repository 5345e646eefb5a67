"""Blocking connection for threads that write or read the audit.

It belongs to no event loop, so rows can be written after the last loop has ended, for example while a process exits. As
in the store, the connection is closed if the server does not answer, and a statement whose answer was lost is repeated.
So every statement must be safe to repeat: a query, or an insert that leaves existing rows unchanged.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen

from deputize.core.errors import StoreUnavailable, VaultError
from deputize.core.vault.stores.postgres.address import ANSWER_SECONDS, AWAY, SET_UP, UNREPLICATED, Address, explain
from deputize.core.vault.stores.postgres.connections import statement_error
from deputize.core.vault.stores.postgres.timeline import NOT_SAID, TIMELINE

T = TypeVar("T")
STATEMENT_SECONDS: Final = 8.0
"""Seconds that one statement may take while the server is away."""
_RETRY_PAUSE_SECONDS: Final = 0.1


class InDoubt(StoreUnavailable):
    """Error for a statement that may have succeeded, because the server has not answered."""


class AlreadyThere(VaultError):
    """Error for a row whose key exists already. Nothing was changed."""


class _NoAnswer(Exception):
    pass


class _Bounded(psycopg.Connection[tuple[Any, ...]]):
    """A connection that waits `ANSWER_SECONDS` for an answer. ``unreplicated``: see `address.Connection`."""

    unreplicated = False

    def on_notice(self, notice: psycopg.errors.Diagnostic) -> None:
        self.unreplicated = self.unreplicated or notice.sqlstate == UNREPLICATED

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        return super().wait(_limit_wait(gen, time.monotonic() + ANSWER_SECONDS), interval)


_inherited = list[_Bounded]()
"""Connections of the process that this one was forked from: nothing may close them here."""


def _limit_wait(gen: PQGen[T], deadline: float) -> PQGen[T]:
    """Run the generator, but raise `_NoAnswer` if nothing arrives before the deadline."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > deadline:
                raise _NoAnswer
            wanted = gen.send(ready)
    except StopIteration as ended:
        result: T = ended.value
        return result


class KeptConnection:
    """A connection opened on first use, and used by one thread at a time. It is closed with this object."""

    def __init__(self, address: Address) -> None:
        self._address, self._one = address, threading.Lock()
        self._open = list[_Bounded]()
        self._pid, self._timeline = os.getpid(), ""
        weakref.finalize(self, _hang_up, self._open, self._pid)

    def rows(self, sql: str, *values: object) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a query. Raises the errors of `changed`."""
        return self._decided(sql, values)[0]

    def timeline(self) -> str:
        """Return the history of the connected server: see `timeline`. Raises the errors of `changed`."""
        if not self._open or self._open[0].closed or self._pid != os.getpid():
            self.rows("SELECT 1")
        return self._timeline

    def changed(self, sql: str, *values: object) -> int:
        """Run a statement and return the number of rows it changed.

        Raises `InDoubt` or `StoreUnavailable` if the server stays unreachable, `VaultError` if it refuses, and its
        subclass `AlreadyThere`.
        """
        return self._decided(sql, values)[1]

    def close(self) -> None:
        """Close the connection. A later call opens another."""
        with self._lock_of_this_process():
            _hang_up(self._open, self._pid)

    def _decided(self, sql: str, values: Sequence[object]) -> tuple[Sequence[tuple[Any, ...]], int]:
        deadline, sent = time.monotonic() + STATEMENT_SECONDS, False
        failure: psycopg.Error | _NoAnswer
        while True:
            with self._lock_of_this_process():
                try:
                    connection = self._connected()
                except (psycopg.OperationalError, _NoAnswer) as error:
                    _hang_up(self._open, self._pid)
                    failure = error
                else:
                    sent = True
                    try:
                        done = _executed(connection, sql, values)
                        if not connection.unreplicated:
                            return done
                        _hang_up(self._open, self._pid)
                        raise _no_answer_error(None, sent=True)
                    except (psycopg.Error, _NoAnswer) as error:
                        failure = self._lost(connection, error)
            if time.monotonic() + _RETRY_PAUSE_SECONDS >= deadline:
                raise _no_answer_error(failure, sent=sent)
            time.sleep(_RETRY_PAUSE_SECONDS)

    def _lock_of_this_process(self) -> threading.Lock:
        """Return the lock. After a fork, creates a new one and drops the parent's connection."""
        if self._pid != os.getpid():
            _inherited.extend(self._open)
            self._open.clear()
            self._one, self._pid = threading.Lock(), os.getpid()
            weakref.finalize(self, _hang_up, self._open, self._pid)
        return self._one

    def _connected(self) -> _Bounded:
        if not self._open:
            made = _Bounded.connect(**self._address.parameters, autocommit=True)
            made.add_notice_handler(made.on_notice)
            self._open.append(made)
            made.execute(SET_UP)
            self._timeline = _read_timeline(made)
        return self._open[0]

    def _lost(self, connection: psycopg.Connection[Any], error: psycopg.Error | _NoAnswer) -> psycopg.Error | _NoAnswer:
        """Close a useless connection and return the error. Raises errors that another attempt cannot fix."""
        if (
            not isinstance(error, _NoAnswer)
            and not connection.closed
            and not isinstance(error, psycopg.errors.ReadOnlySqlTransaction)
        ):
            if isinstance(error, psycopg.errors.UniqueViolation):
                raise AlreadyThere("The row exists already.") from None
            raise statement_error(error) from None
        _hang_up(self._open, self._pid)
        return error


def _executed(
    connection: psycopg.Connection[Any], sql: str, values: Sequence[object]
) -> tuple[Sequence[tuple[Any, ...]], int]:
    cursor = connection.execute(sql.encode(), values)
    return (cursor.fetchall() if cursor.description else ()), cursor.rowcount


def _read_timeline(connection: psycopg.Connection[Any]) -> str:
    try:
        row = connection.execute(TIMELINE.encode()).fetchone()
    except NOT_SAID:
        return ""
    return str(row[0]) if row else ""


def _no_answer_error(error: psycopg.Error | _NoAnswer | None, *, sent: bool) -> StoreUnavailable:
    if sent:
        return InDoubt("The vault's database does not answer.", hint="The write may have happened.")
    hint = explain(error) if isinstance(error, psycopg.Error) else AWAY
    return StoreUnavailable("The vault's database does not answer.", hint=hint)


def _hang_up(connections: list[_Bounded], pid: int) -> None:
    if pid == os.getpid():
        while connections:
            connections.pop().close()  # closed and not cancelled: see `connections`
