"""What becomes of a store in use whose server has another past: all wait until its user has looked through it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from deputize.core.errors import DeputizeError, StoreUnavailable
from deputize.core.vault.stores.postgres_address import Connection
from deputize.core.vault.stores.postgres_connections import Lost
from deputize.core.vault.stores.postgres_statements import PATIENCE, Statements
from deputize.core.vault.stores.postgres_timeline import Past, RecentWrites

Looks = Callable[[int], Awaitable[None]]
PULSE: Final = 2.0
"""Seconds between two looks whether the server is still the same, while something is kept that it might lack."""
_PAUSE: Final = 1.0
_looking: Final = contextvars.ContextVar("deputize_looking", default=False)
"""Whether this is the one that the others wait for."""

log = logging.getLogger("deputize")


class Failover:
    """Of one store, on one event loop. ``looks``: is awaited when the server has another past, with how many records
    were written again; everything else waits for that. Tried again where it fails."""

    def __init__(self, timeline: str, looks: Callable[[], Looks | None]) -> None:
        self.recent = RecentWrites()
        self.past = Past(self.recent, timeline, self._changed)
        self._looks = looks
        self._through: asyncio.Event | None = None
        self._looking: asyncio.Task[None] | None = None
        self._pulse: asyncio.Task[None] | None = None

    async def meet(self, connection: Connection) -> None:
        """A new connection, before its first use. Raises `Lost` where nothing is to be asked there yet."""
        await self.past.meet(connection)
        if self._through is not None and not _looking.get():
            raise Lost(sent=False)

    async def passed(self) -> None:
        """Wait until the store may be used. Raises `StoreUnavailable` where that takes long."""
        if self._through is None or _looking.get():
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await self._through.wait()
        except TimeoutError:
            raise StoreUnavailable(
                "Another server has taken over the vault's database, and is looked through.", hint="Try again later."
            ) from None

    def _changed(self, count: int) -> None:
        if (looks := self._looks()) is not None:
            self._through = through = asyncio.Event()
            self._looking = asyncio.create_task(self._looked(looks, count, through))

    async def _looked(self, looks: Looks, count: int, through: asyncio.Event) -> None:
        _looking.set(True)
        while True:
            try:
                await looks(count)
                break
            except DeputizeError as error:
                log.error("The vault could not be looked through after a failover: %s", error.code)
                await asyncio.sleep(_PAUSE)
        if self._through is through:
            self._through = None
        through.set()

    def wrote(self, statements: Statements) -> None:
        """Something was written: see to it that another server is noticed in time, though nothing is asked."""
        if self.recent and (self._pulse is None or self._pulse.done()):
            self._pulse = asyncio.create_task(self._looks_often(statements))

    async def _looks_often(self, statements: Statements) -> None:
        while self.recent:
            await asyncio.sleep(PULSE)
            with suppress(DeputizeError):
                await statements.rows("SELECT 1")

    async def end(self) -> None:
        """Look no more."""
        for task in filter(None, (self._pulse, self._looking)):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
