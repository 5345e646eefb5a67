"""Failover of a store in use: if the server has another history, all callers wait until the vault was checked."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import psycopg

from deputize.core.errors import DeputizeError, StoreUnavailable
from deputize.core.vault.stores.postgres.address import Address, Connection
from deputize.core.vault.stores.postgres.connections import Lost
from deputize.core.vault.stores.postgres.statements import CALL_TIMEOUT_SECONDS, Statements
from deputize.core.vault.stores.postgres.timeline import Past, RecentWrites

Looks = Callable[[int], Awaitable[None]]
IDENTITY_CHECK_SECONDS: Final = 2.0
"""Seconds between two checks of the server's identity, while there are recent writes that another might lack."""
_RETRY_PAUSE_SECONDS: Final = 1.0
REWRITE_TIMEOUT_SECONDS: Final = 3.0
"""Seconds in which other processes may write again the values that this process's writes followed."""
_BETWEEN: Final = 0.3
_looking: Final = contextvars.ContextVar("deputize_looking", default=False)
"""True in the task that all others wait for."""

log = logging.getLogger("deputize")


class Failover:
    """The failover handling of one store, on one event loop. ``looks``: if the server has another history, awaited
    until it succeeds, with the number of records that were written again; all other calls wait. ``statements`` use
    ``most`` connections."""

    def __init__(self, address: Address, most: int, looks: Callable[[], Looks | None]) -> None:
        self.recent = RecentWrites()
        self.past = Past(self.recent, "", self._changed)
        self.statements = Statements(address, most, self.meet, self.wait_until_usable)
        self._looks = looks
        self._through: asyncio.Event | None = None
        self._looking: asyncio.Task[None] | None = None
        self._pulse: asyncio.Task[None] | None = None

    async def meet(self, connection: Connection) -> None:
        """Check a new connection before its first use. Raises `Lost` if the vault must not be used yet."""
        await self.past.meet(connection)
        if self._through is not None and not _looking.get():
            raise Lost(sent=False)

    async def wait_until_usable(self) -> None:
        """Wait until the store may be used. Raises `StoreUnavailable` if that takes too long."""
        if self._through is None or _looking.get():
            return
        try:
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                await self._through.wait()
        except TimeoutError:
            raise StoreUnavailable(
                "The vault's database failed over to another server, which is being checked.", hint="Try again later."
            ) from None

    def _changed(self, count: int) -> None:
        if (looks := self._looks()) is not None:
            self._through = through = asyncio.Event()
            self._looking = asyncio.create_task(self._looked(looks, count, through))

    async def _looked(self, looks: Looks, count: int, through: asyncio.Event) -> None:
        _looking.set(True)
        following = asyncio.create_task(self._follow_others())
        try:
            await self._look(looks, count)
        finally:
            following.cancel()
        if self._through is through:
            self._through = None
        through.set()

    async def _look(self, looks: Looks, count: int) -> None:
        while True:
            try:
                return await looks(count)
            except Exception as error:  # any error: nobody may use the vault before it is checked
                reason = error.code if isinstance(error, DeputizeError) else type(error).__name__
                log.error("The vault could not be checked after a failover: %s", reason)
                await asyncio.sleep(_RETRY_PAUSE_SECONDS)

    async def _follow_others(self) -> None:
        """Repeat this process's writes that were made after another process's writes, once that process has repeated
        its writes."""
        until = time.monotonic() + REWRITE_TIMEOUT_SECONDS
        while self.recent.left and time.monotonic() < until:
            await asyncio.sleep(_BETWEEN)
            with suppress(DeputizeError, Lost, psycopg.Error):
                async with self.statements.connections.one(_BETWEEN) as connection:
                    if count := await self.recent.rewrite_missing(connection, self.recent.left):
                        log.warning("After other processes, %d more records were written again there.", count)

    def wrote(self) -> None:
        """Start regular checks after a write, so that a failover is noticed in time even without further calls."""
        if self.recent and (self._pulse is None or self._pulse.done()):
            self._pulse = asyncio.create_task(self._looks_often())

    async def _looks_often(self) -> None:
        while self.recent:
            await asyncio.sleep(IDENTITY_CHECK_SECONDS)
            with suppress(DeputizeError):
                await self.statements.rows("SELECT 1")

    async def end(self) -> None:
        """Stop the checks."""
        for task in filter(None, (self._pulse, self._looking)):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
