"""Shipping of audit rows to collectors, by one process of a vault at a time; the others stand by.

The process that holds a collector's lock reads new rows, sends them in batches, and stores in the vault how far the
collector has acknowledged each chain. A crash between the acknowledgement and that record sends the batch again. Rows
that wait stay in the audit, so an outage costs no memory and loses nothing, as long as the rows are retained.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from deputize.core.audit.collectors import BatchRefused, Collector
from deputize.core.audit.cursor import GenuineRow, NewRows
from deputize.core.audit.export_formats import cut_row
from deputize.core.audit.export_settings import AuditExportSettings
from deputize.core.audit.rows import Key
from deputize.core.audit.trail import Trail
from deputize.core.background_loop import portal
from deputize.core.errors import AuditNotExported, Conflict, DeputizeError, InvalidInput, ProviderUnavailable
from deputize.core.vault.chain_heads import DROPPED, read_dropped
from deputize.core.vault.stores.protocol import HeldLock
from deputize.core.vault.vault import Record, Vault

KIND: Final = "shipped"
MAX_BATCH_ROWS: Final = 500
MAX_BATCH_BYTES: Final = 1 << 20
POLL_INTERVAL_SECONDS: Final = 1.0
"""Between two looks for new rows."""
STANDBY_INTERVAL_SECONDS: Final = 5.0
"""Between two attempts of a process that stands by to take over."""
FIRST_PAUSE_SECONDS: Final = 1.0
MAX_PAUSE_SECONDS: Final = 30.0
"""Pauses after a failed batch: the first, and the longest."""
STATE_INTERVAL_SECONDS: Final = 10.0
"""Between two records of the state; less if acts depend on it."""
MAX_CLOCK_SKEW_SECONDS: Final = 60.0
"""Seconds that the clocks of two machines may differ."""
UNWRITTEN_SECONDS: Final = 2.0
"""Rows may take so long from their time until readers see them."""

log = logging.getLogger("deputize")


class ExportState(NamedTuple):
    """How far a collector is. ``until``: it has acknowledged all rows from before that time. ``at``: the time of this
    record. Both are Unix seconds. ``error``: why the last batch failed."""

    name: str
    until: float = 0.0
    at: float = 0.0
    error: str = ""

    def lag(self, now: float) -> float:
        """Return the age in seconds of the oldest row that may not be acknowledged. A time from a clock that was ahead
        proves nothing: then that row may be from 1970."""
        return now if self.until > now + MAX_CLOCK_SKEW_SECONDS else max(0.0, now - self.until)


@dataclass(frozen=True, eq=False)
class Export:
    """A collector by its name in the settings, and the lag from which acts are refused (0: never)."""

    name: str
    collector: Collector
    max_lag: float = 0.0
    refuses: Literal["writes", "all"] = "writes"


@dataclass(eq=False)
class Shipper:
    """Ships the rows of one trail to one collector. ``clock``: Unix seconds."""

    vault: Vault
    trail: Trail
    export: Export
    clock: Callable[[], float] = time.time
    poll: float = POLL_INTERVAL_SECONDS
    first_pause: float = FIRST_PAUSE_SECONDS
    _state: ExportState = field(init=False)
    _records: dict[str, Record] = field(init=False, default_factory=dict)
    _damaged: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._state = ExportState(self.export.name)

    async def ship(self, *, once: bool = False) -> int:
        """Ship rows for as long as this process holds the lock. ``once``: until nothing is left. Return their number.

        Raises `TimeoutError` if another process holds the lock, `StoreUnavailable`, and `Conflict`. With ``once`` also
        `ProviderUnavailable` at the first batch that fails.
        """
        name = f"ship.{state_key(self.export.name, self.trail)}"
        async with self.vault.store.lock(name, 0.0) as held:
            rows, number = await self._rows(), 0
            while True:
                began, strange = self.clock(), rows.strange
                batch = await asyncio.to_thread(rows.read, MAX_BATCH_ROWS, MAX_BATCH_BYTES)
                if rows.strange > strange and (renewed := await self._with_newer_keys(rows)):
                    rows = renewed
                    continue
                self._tell_damaged(rows)
                if batch:
                    await self._deliver(batch, held, once=once)
                    number += len(batch)
                if rows.complete:
                    await self._note(began - UNWRITTEN_SECONDS)
                    if once:
                        await self._note(began - UNWRITTEN_SECONDS, at_once=True)
                        return number
                    await asyncio.sleep(self.poll)

    async def _rows(self) -> NewRows:
        """Return a reader of the rows that the collector has not acknowledged."""
        prefix, dropped = f"row.{self.export.name}.", read_dropped(await self.vault.get(*DROPPED))
        self._records = {}
        async for records, _ in self.vault.pages(KIND):
            for record in (one for one in records if one.key.startswith(prefix)):
                if (writer := record.key.removeprefix(prefix)) in dropped.gone:
                    await self.vault.delete(record)
                else:
                    self._records[writer] = record
        state = await read_state(self.vault, self.export.name, self.trail)
        self._state = state._replace(at=0.0)
        positions = {writer: int(record.json["next"]) for writer, record in self._records.items()}
        return NewRows(self.trail, [Key(key) for key in self.vault.keys.audits], positions)

    async def _with_newer_keys(self, rows: NewRows) -> NewRows | None:
        """Return a new reader if the audit has another key since, or None: then somebody else wrote the lines."""
        known = len(self.vault.keys.audits)
        await self.vault.renew_keys(lambda keys: keys)
        if len(self.vault.keys.audits) > known:
            return await self._rows()
        log.error("Lines of the audit that deputize did not write are not exported: deputize audit verify.")
        return None

    def _tell_damaged(self, rows: NewRows) -> None:
        for name in rows.damaged - self._damaged:
            log.error("The audit file %s is damaged, and its rows are not exported: deputize audit verify.", name)
        self._damaged |= rows.damaged

    async def _deliver(self, batch: Sequence[GenuineRow], held: HeldLock | None, *, once: bool) -> None:
        """Send a batch until the collector acknowledges it, and store that."""
        pause = self.first_pause
        while True:
            try:
                await self._send(batch, held)
            except ProviderUnavailable as failure:
                if not self._state.error:
                    log.error("The audit collector %s takes no rows: %s", self.export.name, failure.message)
                await self._note(self._state.until, failure.message, at_once=True)
                if once:
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE_SECONDS)
                if held:
                    await held.confirm()
            else:
                if self._state.error:
                    log.warning("The audit collector %s takes rows again.", self.export.name)
                    await self._note(self._state.until, at_once=True)
                return

    async def _send(self, batch: Sequence[GenuineRow], held: HeldLock | None, *, short: bool = False) -> None:
        """Send a batch. If the collector refuses its content, send its halves, and a single row with its long strings
        cut: one row must not hold up all others."""
        try:
            await self.export.collector.send([cut_row(made) for made in batch] if short else batch)
        except BatchRefused:
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._send(batch[:middle], held)
                return await self._send(batch[middle:], held)
            if short:
                raise
            return await self._send(batch, held, short=True)
        if held:
            await held.confirm()
        await self._acknowledge(batch)

    async def _acknowledge(self, batch: Sequence[GenuineRow]) -> None:
        """Store how far each chain is acknowledged. Raises `Conflict` if another process has stored something else."""
        ends: dict[str, int] = {}
        for made in batch:
            ends[made.writer] = max(ends.get(made.writer, 0), made.seq + 1)
        for writer, end in ends.items():
            known, content = self._records.get(writer), {"next": end}
            if known is not None and int(known.json["next"]) >= end:
                continue
            key = f"row.{self.export.name}.{writer}"
            stored = await (self.vault.swap(known, content) if known else self.vault.insert(KIND, key, content))
            if stored is None:
                raise Conflict(f"Another process ships to the collector {self.export.name!r}.")
            self._records[writer] = stored

    async def _note(self, until: float, error: str = "", *, at_once: bool = False) -> None:
        """Store the state, if that is due."""
        now, due = self.clock(), self._state.at
        proven = (one for one in (until, self._state.until) if one <= now + MAX_CLOCK_SKEW_SECONDS)
        state = ExportState(self.export.name, max(proven, default=0.0), now, error)
        interval = min(STATE_INTERVAL_SECONDS, self.export.max_lag / 4 or STATE_INTERVAL_SECONDS)
        if not at_once and 0 <= state.at - due < interval:
            return
        key = state_key(self.export.name, self.trail)
        content: dict[str, Any] = {"until": state.until, "at": state.at, "error": error}
        record = await self.vault.get(KIND, key)
        await (self.vault.swap(record, content) if record else self.vault.insert(KIND, key, content))
        self._state = state


def exports_of(settings: Mapping[str, AuditExportSettings]) -> list[Export]:
    """Return the collectors of the settings. Raises `SettingsError`; reads certificate files."""
    return [
        Export(name, one.collector(name), one.max_lag_seconds, one.max_lag_refuses) for name, one in settings.items()
    ]


class Shipping:
    """The shippers of one process, as tasks of the portal. Safe to start and stop twice."""

    def __init__(self, shippers: Sequence[Shipper], *, standby: float = STANDBY_INTERVAL_SECONDS) -> None:
        self.shippers, self._standby = shippers, standby
        self._task: asyncio.Task[None] | None = None

    async def lags(self) -> dict[str, float]:
        """Return the lag of each collector in seconds, whichever process ships."""
        return {
            one.export.name: (await read_state(one.vault, one.export.name, one.trail)).lag(one.clock())
            for one in self.shippers
        }

    async def start(self) -> None:
        """Start shipping, until `stop` or the end of the process."""
        await portal().hop(self._begin)

    async def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ship_all())

    async def stop(self) -> None:
        """Stop. A batch that is being sent is sent again by the next process."""
        with suppress(InvalidInput):  # the portal has ended, and the task with it
            await portal().hop(self._end)

    async def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        for shipper in self.shippers:
            await shipper.export.collector.close()

    async def _ship_all(self) -> None:
        await asyncio.gather(*map(self._ship_again, self.shippers))

    async def _ship_again(self, shipper: Shipper) -> None:
        while True:
            try:
                await shipper.ship()
            except TimeoutError:
                pass  # another process ships
            except DeputizeError as failure:  # from the store; the next turn tries again
                log.debug("Shipping to %s was interrupted: %s", shipper.export.name, failure.code)
            except Exception as failure:  # the error's text may be secret
                log.error("Shipping to %s failed: %s", shipper.export.name, type(failure).__name__)
            await asyncio.sleep(self._standby)


def state_key(name: str, trail: Trail) -> str:
    """Return the key of a collector's state. Each machine ships its own files, and one of all machines a table."""
    if not isinstance(trail, Path):
        return f"state.{name}"
    place = hashlib.blake2b(f"{platform.node()}\0{trail}".encode(errors="surrogatepass"), digest_size=6)
    return f"state.{name}.{place.hexdigest()}"


async def read_state(vault: Vault, name: str, trail: Trail) -> ExportState:
    """Return the stored state of a collector; one of 1970 if nothing was ever shipped."""
    record = await vault.get(KIND, state_key(name, trail))
    if record is None:
        return ExportState(name)
    content = record.json
    return ExportState(name, float(content["until"]), float(content["at"]), str(content["error"]))


class LagGate:
    """Refuses acts while a collector lags too much. ``states``: cached for a second."""

    def __init__(self, vault: Vault, trail: Trail, exports: Sequence[Export], clock: Callable[[], float]) -> None:
        self._vault, self._trail, self._clock = vault, trail, clock
        self._exports = [one for one in exports if one.max_lag]
        self._states: Mapping[str, ExportState] = {}
        self._read_at = -1.0

    async def check(self, *, writes: bool) -> None:
        """Raise `AuditNotExported` if a collector's lag forbids an act."""
        if not 0 <= time.monotonic() - self._read_at < 1.0:
            found = [await read_state(self._vault, one.name, self._trail) for one in self._exports]
            self._states, self._read_at = {one.name: one for one in found}, time.monotonic()
        for export in self._exports:
            state, now = self._states[export.name], self._clock()
            if state.lag(now) > export.max_lag and (writes or export.refuses == "all"):
                late = f"Rows of the audit from {state.lag(now):.0f} seconds ago have not"
                late = late if state.lag(now) < now else "No row of the audit has"
                reached = f"{late} reached the collector {export.name!r}"
                raise AuditNotExported(
                    f"{reached}, and acts are refused after {export.max_lag:g} seconds.",
                    hint=f"Nothing was done. The operator's deputize doctor says why: [audit_export.{export.name}].",
                )
