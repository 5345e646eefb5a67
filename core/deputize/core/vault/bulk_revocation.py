"""Bulk revocation: one encrypted record ends many grants at once, and stores the remaining follow-up work.

Each bulk revocation begins a new **revocation epoch**, a number. A grant has the epoch in which its consent was
requested, and keeps it when refreshed. So one write ends all existing grants and those in progress, but none that is
requested later. No clocks are compared: servers with different clocks agree, and a restored backup takes over the
epochs (`deputize.core.vault.restore`). The follow-up writes a tombstone for each grant and revokes it at its provider,
in pages (`deputize.core.grants.mass_revocation`). The record stores the progress.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, fields, replace
from typing import Any, Final

from deputize.core.audit.events import GrantsEnded
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.record import Record
from deputize.core.vault.sealed_records import Records
from deputize.core.vault.stores.protocol import RecordRead

PLACE: Final = ("meta", "ended")
"""Kind and key of the record."""
CACHE_TTL: Final = 0.5
"""Seconds after which the record is read again, so that a bulk revocation by another process is noticed."""


@frozen
class BulkRevocation(ValueObject):
    """One bulk revocation. ``tenant``: None for all users. ``leaked``: True if others may have the tokens.

    ``stage``: progress of the follow-up; ``after``: the key after which the stage continues.
    """

    epoch: int
    tenant: str | None
    leaked: bool = False
    stage: int = 0
    after: str = ""

    def covers(self, tenant: str, epoch: int) -> bool:
        """Return whether it ends a grant of this tenant that was requested in this epoch."""
        return epoch < self.epoch and self.tenant in (None, tenant)


@frozen
class BulkRevocations(ValueObject):
    """The record's content. ``everybody``, ``tenants``: the epoch before which all grants have ended. ``open``: bulk
    revocations with unfinished follow-up, oldest first."""

    epoch: int = 0
    everybody: int = 0
    tenants: Mapping[str, int] = field(default_factory=dict)
    open: tuple[BulkRevocation, ...] = ()

    def over(self, tenant: str, epoch: int) -> bool:
        """Return whether a grant of this tenant that was requested in this epoch has ended."""
        return epoch < self.epoch and epoch < max(self.everybody, self.tenants.get(tenant, 0))

    def with_end(self, end: BulkRevocation) -> BulkRevocations:
        """Return the content with this bulk revocation added, and its whole follow-up still to do."""
        epoch, still = max(self.epoch, end.epoch), (*self.open, end)
        if end.tenant is None:
            later = {name: at for name, at in self.tenants.items() if at > end.epoch}
            return BulkRevocations(epoch, max(self.everybody, end.epoch), later, still)
        at = max(end.epoch, self.tenants.get(end.tenant, 0))
        return BulkRevocations(epoch, self.everybody, {**self.tenants, end.tenant: at}, still)

    def knows(self, end: BulkRevocation) -> bool:
        """Return whether all grants that this bulk revocation ends have already ended."""
        return end.epoch <= (
            self.everybody if end.tenant is None else max(self.everybody, self.tenants.get(end.tenant, 0))
        )

    def list_ends(self) -> list[BulkRevocation]:
        """Return all bulk revocations, each with its whole follow-up still to do."""
        found = [BulkRevocation(self.everybody, None)] if self.everybody else []
        return [*found, *(BulkRevocation(at, tenant) for tenant, at in self.tenants.items())]

    def pack(self) -> dict[str, Any]:
        """Return the content as JSON for the vault."""
        still = [{field.name: getattr(end, field.name) for field in fields(BulkRevocation)} for end in self.open]
        return {"epoch": self.epoch, "everybody": self.everybody, "tenants": dict(self.tenants), "open": still}

    @classmethod
    def of(cls, record: Record | None) -> BulkRevocations:
        """Return the content of the record, empty if there is none."""
        if record is None:
            return cls()
        content = record.json
        still = tuple(BulkRevocation(**end) for end in content["open"])
        return cls(content["epoch"], content["everybody"], content["tenants"], still)


class BulkRevocationState:
    """The bulk revocations of one vault in this process's cache, at most `CACHE_TTL` seconds old after `refresh`."""

    def __init__(self, records: Records, clock: Callable[[], float] = time.monotonic) -> None:
        self._records, self._clock, self._due = records, clock, 0.0
        self.ends = BulkRevocations()

    def has_ended(self, tenant: str, epoch: int) -> bool:
        """Return whether a grant of this tenant that was requested in this epoch has ended."""
        return epoch < self.ends.epoch and self.ends.over(tenant, epoch)

    async def refresh(self, *, fresh: bool = False) -> BulkRevocations:
        """Read the record again if the cache is older than `CACHE_TTL` seconds, or if ``fresh``."""
        if fresh:
            self._records.drop_read_ahead()
        if fresh or self._clock() >= self._due:
            due = self._clock() + CACHE_TTL
            self._know(BulkRevocations.of(await self._records.get(*PLACE)))
            self._due = due
        return self.ends

    def reads(self) -> list[RecordRead]:
        """Return what `refresh` reads now."""
        return [("get", *PLACE)] if self._clock() >= self._due else []

    async def epoch(self) -> int:
        """Return the current epoch, for a grant that is about to be requested."""
        return (await self.refresh(fresh=True)).epoch

    async def begin(self, tenant: str | None, *, leaked: bool = False) -> BulkRevocation:
        """End all grants requested before now, of all users or of one tenant, with one write. Durable on return."""
        await self._change(lambda ends: ends.with_end(BulkRevocation(self._next(ends), tenant, leaked)))
        return self.ends.open[-1]

    def _next(self, ends: BulkRevocations) -> int:
        return max(ends.epoch, self.ends.epoch) + 1

    async def take_over(self, ends: Iterable[BulkRevocation]) -> None:
        """Add bulk revocations from another copy of this vault or from its audit. Their follow-up is done here too."""
        more = list(ends)

        def merged(now: BulkRevocations) -> BulkRevocations:
            for end in more:
                now = now if now.knows(end) else now.with_end(end)
            return now

        await self._change(merged)

    async def save_progress(self, end: BulkRevocation, stage: int, after: str = "") -> BulkRevocation:
        """Store the progress of a follow-up."""
        new = replace(end, stage=stage, after=after)
        await self._change(lambda ends: _with(ends, end, [new]))
        return new

    async def finish(self, end: BulkRevocation) -> None:
        """Remove a bulk revocation whose follow-up is done."""
        await self._change(lambda ends: _with(ends, end, []))

    async def _change(self, change: Callable[[BulkRevocations], BulkRevocations]) -> None:
        while True:
            record = await self._records.get(*PLACE)
            before = BulkRevocations.of(record)
            after = change(before)
            if after == before:
                return self._know(after)
            content = after.pack()
            stored = self._records.swap(record, content) if record else self._records.insert(*PLACE, content)
            if await stored is not None:
                return self._know(after)

    def _know(self, ends: BulkRevocations) -> None:
        if ends.epoch >= self.ends.epoch:
            self.ends = ends


def end_event(end: BulkRevocation) -> GrantsEnded:
    """Return the audit row of a bulk revocation, from which a restored backup can add it again."""
    everybody = end.tenant is None
    return GrantsEnded(end.epoch, everybody=everybody, leaked=end.leaked or None, tenant=end.tenant or "")


def _with(ends: BulkRevocations, end: BulkRevocation, instead: list[BulkRevocation]) -> BulkRevocations:
    still = [new for old in ends.open for new in (instead if _same(old, end) else [old])]
    return replace(ends, open=tuple(still))


def _same(one: BulkRevocation, other: BulkRevocation) -> bool:
    return (one.epoch, one.tenant) == (other.epoch, other.tenant)
