"""One kept connection for threads that may wait: those that write the audit, and those that read it.

It is of no event loop, so rows can be written where no loop runs any more, as when a process ends. One on which no
answer comes is given up as the store's are, and a statement whose answer was lost is done again. So each must be one
that may be: a query, or an insert that leaves alone what is there.
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
from deputize.core.vault.stores.postgres.address import ANSWER, AWAY, SET_UP, UNREPLICATED, Address, refused, why
from deputize.core.vault.stores.postgres.timeline import NOT_SAID, TIMELINE

T = TypeVar("T")
PATIENCE: Final = 8.0
"""Seconds that one statement may take while the server is away."""
_PAUSE: Final = 0.1


class InDoubt(StoreUnavailable):
    """It may have been done: the server stays away, and has not answered."""


class AlreadyThere(VaultError):
    """A row of the same name lies there; nothing was changed."""


class _NoAnswer(Exception):
    pass


class _Bounded(psycopg.Connection[tuple[Any, ...]]):
    """Waits for an answer no longer than `ANSWER` seconds. ``unreplicated``: see `postgres_address.Connection`."""

    unreplicated = False

    def heard(self, notice: psycopg.errors.Diagnostic) -> None:
        self.unreplicated = self.unreplicated or notice.sqlstate == UNREPLICATED

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        return super().wait(_answered_by(gen, time.monotonic() + ANSWER), interval)


_inherited = list[_Bounded]()
"""Those of the process that this one was forked from: nothing may close them here."""


def _answered_by(gen: PQGen[T], deadline: float) -> PQGen[T]:
    """The same work; raises `_NoAnswer` where nothing was heard until then."""
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
    """Made when it is needed, and used by one thread at a time. Closed when nobody holds this object any more."""

    def __init__(self, address: Address) -> None:
        self._address, self._one = address, threading.Lock()
        self._open = list[_Bounded]()
        self._pid, self._timeline = os.getpid(), ""
        weakref.finalize(self, _hang_up, self._open, self._pid)

    def rows(self, sql: str, *values: object) -> Sequence[tuple[Any, ...]]:
        """What a query finds. Raises as `changed`."""
        return self._decided(sql, values)[0]

    def timeline(self) -> str:
        """The past of the server that is asked: see `postgres_timeline`. Raises as `changed`."""
        if not self._open or self._open[0].closed or self._pid != os.getpid():
            self.rows("SELECT 1")
        return self._timeline

    def changed(self, sql: str, *values: object) -> int:
        """How many rows a statement touched, when it was answered.

        Raises `InDoubt` or `StoreUnavailable` where the server stays away, `VaultError` where it refuses, and of these
        `AlreadyThere`.
        """
        return self._decided(sql, values)[1]

    def close(self) -> None:
        """Hang up; what comes later calls again."""
        with self._lock_of_this_process():
            _hang_up(self._open, self._pid)

    def _decided(self, sql: str, values: Sequence[object]) -> tuple[Sequence[tuple[Any, ...]], int]:
        deadline, sent = time.monotonic() + PATIENCE, False
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
                        raise _away(None, sent=True)
                    except (psycopg.Error, _NoAnswer) as error:
                        failure = self._lost(connection, error)
            if time.monotonic() + _PAUSE >= deadline:
                raise _away(failure, sent=sent)
            time.sleep(_PAUSE)

    def _lock_of_this_process(self) -> threading.Lock:
        """After a fork, one that no thread of the parent holds, and no connection of its."""
        if self._pid != os.getpid():
            _inherited.extend(self._open)
            self._open.clear()
            self._one, self._pid = threading.Lock(), os.getpid()
            weakref.finalize(self, _hang_up, self._open, self._pid)
        return self._one

    def _connected(self) -> _Bounded:
        if not self._open:
            made = _Bounded.connect(**self._address.parameters, autocommit=True)
            made.add_notice_handler(made.heard)
            self._open.append(made)
            made.execute(SET_UP)
            self._timeline = _past_of(made)
        return self._open[0]

    def _lost(self, connection: psycopg.Connection[Any], error: psycopg.Error | _NoAnswer) -> psycopg.Error | _NoAnswer:
        """The error, and the connection closed that is of no use any more. Raises what another try will not mend."""
        if (
            not isinstance(error, _NoAnswer)
            and not connection.closed
            and not isinstance(error, psycopg.errors.ReadOnlySqlTransaction)
        ):
            if isinstance(error, psycopg.OperationalError):
                raise StoreUnavailable("The vault's database could not do it now.", hint=why(error)) from None
            if isinstance(error, psycopg.errors.UniqueViolation):
                raise AlreadyThere("Such a row is there already.") from None
            raise refused(error) from None
        _hang_up(self._open, self._pid)
        return error


def _executed(
    connection: psycopg.Connection[Any], sql: str, values: Sequence[object]
) -> tuple[Sequence[tuple[Any, ...]], int]:
    cursor = connection.execute(sql.encode(), values)
    return (cursor.fetchall() if cursor.description else ()), cursor.rowcount


def _past_of(connection: psycopg.Connection[Any]) -> str:
    try:
        row = connection.execute(TIMELINE.encode()).fetchone()
    except NOT_SAID:
        return ""
    return str(row[0]) if row else ""


def _away(error: psycopg.Error | _NoAnswer | None, *, sent: bool) -> StoreUnavailable:
    if sent:
        return InDoubt("The vault's database does not answer.", hint="It may have been written all the same.")
    hint = why(error) if isinstance(error, psycopg.Error) else AWAY
    return StoreUnavailable("The vault's database does not answer.", hint=hint)


def _hang_up(connections: list[_Bounded], pid: int) -> None:
    if pid == os.getpid():
        while connections:
            connections.pop().close()  # closed and not cancelled: see `postgres_connections`
