"""Writes that bypass sqlitedict: a connection for them, and the thread that owns it and writes for all callers.

Writes that are requested while the thread writes form the next group, made durable with one transaction and one sync.
So many writers cost one sync, and a single writer waits for nobody. If one write of a group fails, each is repeated
alone, so that the error reaches its own caller and no other write is lost.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, Final, TypeAlias, TypeVar

from deputize.core.batching_thread import hand_out
from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.sqlite import file as sqlite_file
from deputize.core.vault.stores.sqlite.file import BUSY_SECONDS, connect, store_error
from deputize.core.vault.stores.sqlite.reader import Rows

PRAGMAS: Final[dict[str, int | str]] = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: a write is on the disk when it returns
    "busy_timeout": int(BUSY_SECONDS * 1000),
    "secure_delete": 1,
    "fullfsync": 1,
}
T = TypeVar("T")

REST_SECONDS: Final = 0.5
GROUP: Final = 500  # writes that are made durable together, at most

LATE: Final = "The write may still take effect: read before writing again."

Step: TypeAlias = tuple["Future[Any]", Callable[[], Any]]


@dataclass(slots=True, eq=False, repr=False)
class Write:
    """One writing statement, and a future with True if it changed a record."""

    statement: str
    values: tuple[object, ...]
    answer: asyncio.Future[bool]
    late: asyncio.TimerHandle | None = None
    begun: bool = False
    taken_back: bool = False


Outcome: TypeAlias = bool | BaseException
"""Whether a write changed a record, durably; or the error that prevented it."""


class Owner:
    """Runs steps and groups of writes one after another, in a thread that starts with the first of them.

    ``commit``: makes a group of writes durable, and returns the outcome of each. Unlike an executor, the thread still
    works while the interpreter exits. ``rest``: called while the thread is idle, until it returns True.
    """

    def __init__(self, commit: Callable[[Sequence[Write]], Sequence[Outcome]], rest: Callable[[], bool]) -> None:
        self._commit, self._rest = commit, rest
        self._jobs: SimpleQueue[Write | Step | None] = SimpleQueue()
        self._gate = Lock()
        self._thread: Thread | None = None
        self._last: Future[None] | None = None
        self._go_on = Event()

    async def write(self, timeout: float, statement: str, *values: object) -> bool:
        """Run the statement. Return whether it changed a record, durably. A cancelled caller does not cancel it.

        Raises `StoreUnavailable` once closed, and if the statement cannot begin within ``timeout`` seconds: then it is
        withdrawn and did not happen. A statement that began and takes that long again may still take effect.
        """
        loop = asyncio.get_running_loop()
        write = Write(statement, values, loop.create_future())
        with self._gate:
            self._open()
            self._put(write)
        write.late = loop.call_later(timeout, self._take_back, write, timeout)
        try:
            return await write.answer
        finally:
            write.late.cancel()

    def submit(self, step: Callable[[], T]) -> Future[T]:
        """Queue a step. Its future can be cancelled until it begins. Raises `StoreUnavailable` once closed."""
        future: Future[T] = Future()
        with self._gate:
            self._open()
            self._put((future, step))
        return future

    def close(self, last: Callable[[], None]) -> Future[None]:
        """Finish all queued work, then run ``last`` and end. Safe to call twice."""
        with self._gate:
            if self._last is None:
                self._last = Future()
                self._put((self._last, last))
                self._jobs.put(None)
            return self._last

    def pause(self, first: Callable[[], None], timeout: float) -> None:
        """Finish all queued work, run ``first``, then stop until `go_on`. Waits ``timeout`` seconds at most."""
        still = Event()
        go_on = self._go_on = Event()

        def stand() -> None:
            try:
                first()
            finally:
                still.set()
                go_on.wait()

        with self._gate:
            if self._thread is None or self._last is not None:
                return
            self._put((Future[None](), stand))
        still.wait(timeout)

    def go_on(self) -> None:
        """End a pause."""
        self._go_on.set()

    def _open(self) -> None:
        if self._last is not None:
            raise StoreUnavailable("The vault is closed.")

    def _put(self, job: Write | Step) -> None:
        self._jobs.put(job)
        if self._thread is None:
            self._thread = Thread(target=self._run, name="deputize vault", daemon=True)
            self._thread.start()

    def _take_back(self, write: Write, timeout: float) -> None:
        """Withdraw a write that has waited too long. If it has begun, wait for it once more."""
        with self._gate:
            write.taken_back = not write.begun
        if not write.taken_back:
            write.late = write.answer.get_loop().call_later(timeout, _time_out, write)
        elif not write.answer.done():
            write.answer.set_exception(StoreUnavailable("The vault is overloaded.", hint="Try again later."))

    def _run(self) -> None:
        rested, jobs = True, deque[Write | Step | None]()
        while True:
            try:
                self._more(jobs, timeout=None if rested else REST_SECONDS)
            except Empty:
                rested = self._rest()
                continue
            rested = False
            if writes := self._start_writes(jobs):
                hand_out(zip((write.answer for write in writes), self._outcomes(writes), strict=True))
            elif jobs and not _run_step(jobs.popleft()):
                return
            del writes  # else they live on while this thread waits

    def _outcomes(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        try:
            return self._commit(writes)
        except BaseException as error:  # the callers get it
            return [error] * len(writes)

    def _more(self, jobs: deque[Write | Step | None], timeout: float | None) -> None:
        """Fetch queued jobs. Waits for one if there is none."""
        if not jobs:
            jobs.append(self._jobs.get(timeout=timeout))
        while not self._jobs.empty():
            jobs.append(self._jobs.get())

    def _start_writes(self, jobs: deque[Write | Step | None]) -> list[Write]:
        """Return the writes at the front of the queue that were not withdrawn. From now on they cannot be withdrawn."""
        writes: list[Write] = []
        with self._gate:
            while jobs and isinstance(first := jobs[0], Write) and len(writes) < GROUP:
                jobs.popleft()
                if not first.taken_back:
                    first.begun = True
                    writes.append(first)
        return writes


def _run_step(job: Write | Step | None) -> bool:
    """Run a step. Return False for None, which ends the thread."""
    if not isinstance(job, tuple):
        return False
    future, step = job
    if future.set_running_or_notify_cancel():
        _run_into(future, step)
    return True


def _run_into(future: Future[Any], step: Callable[[], Any]) -> None:
    try:
        result = step()
    except BaseException as error:  # the caller gets it
        future.set_exception(error)
    else:
        future.set_result(result)


def _time_out(write: Write) -> None:
    if not write.answer.done():
        write.answer.set_exception(StoreUnavailable("The vault does not answer.", hint=LATE))


class Writer:
    """A connection for the thread that writes. Methods raise sqlite3.Error. Opening also raises `StoreUnavailable` and
    `VaultError`."""

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
        """Commit the writes and return the outcome of each. Changed records are durable."""
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
        """Empty the log, so that replaced values are erased from the disk. Return False while a reader prevents it."""
        self.ask("PRAGMA busy_timeout=0")
        [(busy, *_)] = self.ask("PRAGMA wal_checkpoint(TRUNCATE)")
        self.ask(f"PRAGMA busy_timeout={PRAGMAS['busy_timeout']}")
        return not busy

    def close(self) -> None:
        """Close the file."""
        self.connection.close()
