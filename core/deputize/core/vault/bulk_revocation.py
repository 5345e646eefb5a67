"""Ends of many grants at once: one sealed row says which, and what of that is still to be followed up.

Each end of many begins a new **revocation epoch**, a number. A grant carries the epoch in which its consent was asked
for, however often it is refreshed, so that one write ends all grants there are, and those that are on their way, and
none that is asked for later. No clock is compared: servers whose clocks differ agree, and a backup that is put back
takes over the epochs (`deputize.core.vault.restore`). What each grant's end needs besides, its tombstone and the
revocation at its provider, follows by pages (`deputize.core.grants.mass_revocation`): the row says how far that came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, fields, replace
from typing import Any, Final

from deputize.core.audit.events import GrantsEnded
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.record import Record
from deputize.core.vault.records import Records

PLACE: Final = ("meta", "ended")
"""Kind and key of the row."""
FRESH: Final = 0.5
"""Seconds after which it is read again: within them, an end by another process is noticed."""


@frozen
class EndOfMany(ValueObject):
    """One end. ``tenant`` None: of all users. ``leaked``: others may have the tokens.

    ``stage`` and ``after``: how far its follow-up came, and the key behind which the stage goes on.
    """

    epoch: int
    tenant: str | None
    leaked: bool = False
    stage: int = 0
    after: str = ""

    def covers(self, tenant: str, epoch: int) -> bool:
        """Whether it ends what a user of this tenant asked for in this epoch."""
        return epoch < self.epoch and self.tenant in (None, tenant)


@frozen
class EndsOfMany(ValueObject):
    """The row's content. ``everybody``, ``tenants``: the epoch before which all ends; ``open``: what is still to be
    followed up, oldest first."""

    epoch: int = 0
    everybody: int = 0
    tenants: Mapping[str, int] = field(default_factory=dict)
    open: tuple[EndOfMany, ...] = ()

    def over(self, tenant: str, epoch: int) -> bool:
        """Whether what a user of this tenant asked for in this epoch has ended."""
        return epoch < self.epoch and epoch < max(self.everybody, self.tenants.get(tenant, 0))

    def and_(self, end: EndOfMany) -> EndsOfMany:
        """With this end, and its follow-up to be done."""
        epoch, still = max(self.epoch, end.epoch), (*self.open, end)
        if end.tenant is None:
            later = {name: at for name, at in self.tenants.items() if at > end.epoch}
            return EndsOfMany(epoch, max(self.everybody, end.epoch), later, still)
        at = max(end.epoch, self.tenants.get(end.tenant, 0))
        return EndsOfMany(epoch, self.everybody, {**self.tenants, end.tenant: at}, still)

    def knows(self, end: EndOfMany) -> bool:
        """Whether all that it ends has ended."""
        return end.epoch <= (
            self.everybody if end.tenant is None else max(self.everybody, self.tenants.get(end.tenant, 0))
        )

    def every(self) -> list[EndOfMany]:
        """All of them, to be followed up from the beginning."""
        found = [EndOfMany(self.everybody, None)] if self.everybody else []
        return [*found, *(EndOfMany(at, tenant) for tenant, at in self.tenants.items())]

    def pack(self) -> dict[str, Any]:
        """As JSON for the vault."""
        still = [{field.name: getattr(one, field.name) for field in fields(EndOfMany)} for one in self.open]
        return {"epoch": self.epoch, "everybody": self.everybody, "tenants": dict(self.tenants), "open": still}

    @classmethod
    def of(cls, record: Record | None) -> EndsOfMany:
        """What the row says; nothing where there is none."""
        if record is None:
            return cls()
        content = record.json
        still = tuple(EndOfMany(**one) for one in content["open"])
        return cls(content["epoch"], content["everybody"], content["tenants"], still)


class EndedGrants:
    """The ends of many in one vault, as far as this process knows them: never older than `FRESH` seconds after `look`,
    and never taken back."""

    def __init__(self, records: Records, clock: Callable[[], float] = time.monotonic) -> None:
        self._records, self._clock, self._due = records, clock, 0.0
        self.ends = EndsOfMany()

    def over(self, tenant: str, epoch: int) -> bool:
        """Whether what a user of this tenant asked for in this epoch has ended."""
        return epoch < self.ends.epoch and self.ends.over(tenant, epoch)

    async def look(self, *, fresh: bool = False) -> EndsOfMany:
        """Know what other processes have ended; ``fresh``: up to this moment."""
        if fresh or self._clock() >= self._due:
            due = self._clock() + FRESH
            self._know(EndsOfMany.of(await self._records.get(*PLACE)))
            self._due = due
        return self.ends

    async def epoch(self) -> int:
        """The epoch of now, for what is about to be asked for."""
        return (await self.look(fresh=True)).epoch

    async def begin(self, tenant: str | None, *, leaked: bool = False) -> EndOfMany:
        """End all grants that were asked for before now, of everybody or of all users of one tenant: one write, durable
        when it returns."""
        await self._change(lambda ends: ends.and_(EndOfMany(self._next(ends), tenant, leaked)))
        return self.ends.open[-1]

    def _next(self, ends: EndsOfMany) -> int:
        return max(ends.epoch, self.ends.epoch) + 1

    async def take_over(self, ends: Iterable[EndOfMany]) -> None:
        """Know ends that another copy of this vault knew, or its audit; each is followed up here."""
        more = list(ends)

        def merged(now: EndsOfMany) -> EndsOfMany:
            for end in more:
                now = now if now.knows(end) else now.and_(end)
            return now

        await self._change(merged)

    async def note(self, end: EndOfMany, stage: int, after: str = "") -> EndOfMany:
        """How far the follow-up of an end came."""
        new = replace(end, stage=stage, after=after)
        await self._change(lambda ends: _with(ends, end, [new]))
        return new

    async def finished(self, end: EndOfMany) -> None:
        """Its follow-up is done."""
        await self._change(lambda ends: _with(ends, end, []))

    async def _change(self, change: Callable[[EndsOfMany], EndsOfMany]) -> None:
        while True:
            record = await self._records.get(*PLACE)
            before = EndsOfMany.of(record)
            after = change(before)
            if after == before:
                return self._know(after)
            content = after.pack()
            stored = self._records.swap(record, content) if record else self._records.insert(*PLACE, content)
            if await stored is not None:
                return self._know(after)

    def _know(self, ends: EndsOfMany) -> None:
        if ends.epoch >= self.ends.epoch:
            self.ends = ends


def end_row(end: EndOfMany) -> GrantsEnded:
    """What the audit says of an end, from which it is known again where a backup was put back."""
    everybody = end.tenant is None
    return GrantsEnded(end.epoch, everybody=everybody, leaked=end.leaked or None, tenant=end.tenant or "")


def _with(ends: EndsOfMany, end: EndOfMany, instead: list[EndOfMany]) -> EndsOfMany:
    still = [new for one in ends.open for new in (instead if _same(one, end) else [one])]
    return replace(ends, open=tuple(still))


def _same(one: EndOfMany, other: EndOfMany) -> bool:
    return (one.epoch, one.tenant) == (other.epoch, other.tenant)
