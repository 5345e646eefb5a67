"""Reading past sqlitedict: what an act looks up must not queue behind writers, nor hold up an event loop.

One thread reads for all event loops, since a disk may stand still in the middle of a statement. What is asked for while
it reads is answered in one go, so that many acts at once cost few changes of threads.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Final

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.sqlite_file import connect, store_error

Rows = list[tuple[Any, ...]]
Asked = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Rows | None]", str, tuple[str | int, ...]]
Answer = tuple["asyncio.Future[Rows | None]", Rows | None, BaseException | None]

BATCH: Final = 64
_WAITS = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Reader:
    """A read-only connection for all threads, opened when it is first needed.

    Each statement sees what is on the disk when it runs, whoever wrote it. Methods raise `StoreUnavailable` and
    `VaultError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn, self._gate = Lock(), Lock()
        self._connection: sqlite3.Connection | None = None
        self._ended = False
        self._asked: SimpleQueue[Asked | None] = SimpleQueue()
        self._thread: Thread | None = None

    async def read(self, statement: str, *values: str | int) -> Rows | None:
        """See `rows`; in the reader's own thread."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Rows | None] = loop.create_future()
        self._ask((loop, answer, statement, values))
        return await answer

    def begin(self) -> None:
        """Start the thread. Else the first read does, which takes an event loop longer than a read."""
        with self._gate:
            self._start()

    def _ask(self, asked: Asked) -> None:
        with self._gate:  # held for no longer than this anywhere: the thread itself never takes it
            if self._ended:
                raise StoreUnavailable("The vault is closed.")
            self._start()
            self._asked.put(asked)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._serve, name="deputize reader", daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        """Answer what was asked until `end`; whoever asks afterwards is refused before."""
        while self._answered(self._batch()):
            pass

    def _batch(self) -> list[Asked | None]:
        batch = [self._asked.get()]
        while len(batch) < BATCH and not self._asked.empty():
            batch.append(self._asked.get())
        return batch

    def _answered(self, batch: list[Asked | None]) -> bool:
        """Answer these, for each event loop all at once. Whether more will come."""
        answers: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
        for loop, answer, statement, values in filter(None, batch):
            answers.setdefault(loop, []).append((answer, *self._tried(statement, values)))
        for loop, ready in answers.items():
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_hand_over, ready)
        return None not in batch

    def _tried(self, statement: str, values: tuple[str | int, ...]) -> tuple[Rows | None, BaseException | None]:
        try:
            return self.rows(statement, *values), None
        except BaseException as error:  # whatever it is, it belongs to whoever asked
            return None, error

    def rows(self, statement: str, *values: str | int) -> Rows | None:
        """The rows, in microseconds; None where SQLite would have to wait."""
        with self._turn:
            try:
                if self._connection is None:
                    self._connection = self._open()
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in _WAITS:
                    return None
                raise store_error(error, self._path) from None

    def rows_patiently(self, statement: str, *values: str | int) -> Rows:
        """The rows, after waiting for whoever holds the vault. Not for an event loop's thread."""
        try:
            with closing(connect(self._path)) as connection:
                return connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise store_error(error, self._path) from None

    def _open(self) -> sqlite3.Connection:
        if self._ended:
            raise StoreUnavailable("The vault is closed.")
        return connect(self._path, patience=0)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def forget(self) -> None:
        """Close the connection; the next read opens another."""
        with self._turn:
            self._close()

    def end(self) -> None:
        """Close the connection for good. What is asked afterwards is refused."""
        with self._gate:
            if not self._ended:
                self._ended = True
                self._asked.put(None)
        with self._turn:
            self._close()

    def pause(self) -> None:
        """Close the connection, and let readers wait until `go_on`."""
        self._turn.acquire()
        self._close()

    def go_on(self) -> None:
        """End a pause."""
        self._turn.release()


def _hand_over(answers: list[Answer]) -> None:
    for waiting, rows, error in answers:
        if waiting.done():  # cancelled
            continue
        if error is None:
            waiting.set_result(rows)
        else:
            waiting.set_exception(error)
