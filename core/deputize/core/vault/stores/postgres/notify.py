"""Notification of waiting tasks about written records: NOTIFY for a few kinds, and one LISTEN per process.

Commits with NOTIFY take one lock for the whole server, so only kinds for which tasks wait notify. Nothing depends on
delivery: a notified task reads the record, and it reads again after some time anyway, more often while the listener is
disconnected. https://www.postgresql.org/docs/current/sql-notify.html
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

import psycopg

from deputize.core.errors import DeputizeError
from deputize.core.vault.stores.common import span
from deputize.core.vault.stores.postgres.address import Address, Connection
from deputize.core.vault.stores.postgres.connections import Lost, open_connection

AWAITED: Final = frozenset({"approval", "consent", "grant"})
"""Kinds that tasks wait for."""
CONNECTED_POLL_SECONDS: Final = 30.0
"""Seconds between two reads of a waiting task while notifications arrive."""
DISCONNECTED_POLL_SECONDS: Final = 1.0
"""The same while the listener is disconnected; also between two tries to connect."""
PACE: Final = 0.1
"""The minimum, however many notifications arrive: anyone with access to the database may notify."""
_CHANNEL: Final = "deputize"
NOTIFY: Final = f"pg_notify('{_CHANNEL}', place)::text"
"""The expression that notifies of a changed record, in a query of its place."""


def with_notify(sql: str) -> str:
    """Return the statement, extended by a notification if it changes a record. Its row count stays the same."""
    return f"WITH done AS ({sql} RETURNING place) SELECT {NOTIFY} FROM done"  # noqa: S608


def is_awaited(where: str) -> bool:
    """Return whether tasks wait for records of this kind."""
    return where.partition("/")[0] in AWAITED


class PlaceWatch:
    """The `Watch` of one waiting task."""

    def __init__(self, prefixes: tuple[tuple[str, str], ...]) -> None:
        self._prefixes = tuple(span(*prefix)[0] for prefix in prefixes)
        self.listener: Listener | None = None
        self._loop, self._woken, self._looked = asyncio.get_running_loop(), asyncio.Event(), 0.0

    async def changed(self, timeout: float) -> None:
        """Implement `Watch.changed`."""
        hears = self.listener is not None and self.listener.hears
        with suppress(TimeoutError):
            async with asyncio.timeout(min(timeout, CONNECTED_POLL_SECONDS if hears else DISCONNECTED_POLL_SECONDS)):
                await self._woken.wait()
                await asyncio.sleep(self._looked + PACE - time.monotonic())
        self._woken.clear()
        self._looked = time.monotonic()

    def wake(self, where: str = "") -> None:
        """Wake the task after a write to this place, or to any place if empty. May be called from any thread."""
        if not where or where.startswith(self._prefixes):
            with suppress(RuntimeError):  # its loop has ended
                self._loop.call_soon_threadsafe(self._woken.set)


class Listener:
    """The listener of a process, on the portal's loop, from the first waiting task until the store is closed."""

    def __init__(self, address: Address) -> None:
        self._address, self.hears = address, False
        self._watches = set[PlaceWatch]()
        self._task: asyncio.Task[None] | None = None

    def add(self, watch: PlaceWatch) -> None:
        """Start notifying this watch."""
        self._watches.add(watch)
        watch.listener = self
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listens())

    def drop(self, watch: PlaceWatch) -> None:
        """Stop notifying this watch."""
        self._watches.discard(watch)

    async def _listens(self) -> None:
        while True:
            with suppress(psycopg.Error, OSError, Lost, DeputizeError):
                connection = await open_connection(self._address)
                try:
                    await self._hear(connection)
                finally:
                    self.hears = False
                    await connection.close()
            self._wake()  # to look more often
            await asyncio.sleep(DISCONNECTED_POLL_SECONDS)

    async def _hear(self, connection: Connection) -> None:
        await connection.execute(f"LISTEN {_CHANNEL}".encode())
        self.hears = True
        self._wake()  # earlier writes sent no notification here
        async for notice in connection.notifies():
            if notice.payload.partition("/")[0] in AWAITED:
                self._wake(notice.payload)

    def _wake(self, where: str = "") -> None:
        for watch in list(self._watches):
            watch.wake(where)

    async def end(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
