"""Typed records in one vault: found by their place and saved by compare-and-swap; and approvals, used up with a claim.

Two rows are written before a write leaves: the act's claim, and the yes that it happens on, which is used up. The claim
comes first, so that there is no moment with a yes that is used up and nothing that tells by whom. Where a store keeps
the order of what it is asked for, both are asked for at once and share a sync.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeAlias, TypeVar

from deputize.core.approvals.record import ApprovalRecord
from deputize.core.audit.events import Event
from deputize.core.engine import Engine
from deputize.core.errors import StoreUnavailable
from deputize.core.tools.act import Act
from deputize.core.vault.grant import User
from deputize.core.vault.record import Record, StoredRecord

Kind = TypeVar("Kind", bound=StoredRecord)
Write: TypeAlias = Callable[[], Awaitable[None]]


class Claim:
    """Of one act. ``make`` makes it durable; it asks the store for that before it waits for anything. ``keep`` is given
    what the store could not be told, to be told before the next run of the act looks."""

    def __init__(self, make: Write, keep: Callable[[Write], None]) -> None:
        self.make, self.keep = make, keep


class Repository(Generic[Kind]):
    """Typed records of one kind: found by their place, saved by compare-and-swap."""

    def __init__(self, engine: Engine, kind: type[Kind]) -> None:
        self.vault, self.audit, self.kind = engine.vault, engine.audit, kind

    async def load(self, key: str) -> Kind | None:
        """The record in this place."""
        row = await self.vault.get(self.kind.KIND, key)
        return self.kind.of(row) if row else None

    async def of_user(self, user: User, known: Mapping[str, bytes] | None = None) -> list[Kind]:
        """All records of a user, but for those that are ``known``: see `Records.scan`."""
        rows = await self.vault.scan(self.kind.KIND, self.vault.key_prefix(user), known=known)
        return [self.kind.of(row) for row in rows]

    async def put(self, key: str, record: Kind) -> Kind | None:
        """The record, saved over the row that it holds, or as the first one at ``key``. None, and nothing changed, if
        something else lies there now."""
        content = record.pack()
        saving = self.vault.swap(record.row, content) if record.row else self.vault.insert(record.KIND, key, content)
        row = await saving
        return record.copy_with(row=row) if row else None

    async def swap(
        self, record: Kind, transition: Callable[[Kind], tuple[Kind, Event | None] | None]
    ) -> tuple[Kind | None, bool]:
        """Make the transition, save it and audit it: the record as it lies there then, and whether that was done.

        A record that has moved meanwhile is read again and judged again. ``transition``: None, or an error, for one
        that is to stay as it is. Once a save has begun it ends, and is audited, also where the caller is cancelled.
        """
        found: Kind | None = record
        while found is not None and (change := transition(found)) is not None:
            if made := await asyncio.shield(self._make(*change)):
                return made, True
            found = await self.load(found.place.key)
        return found, False

    async def _make(self, record: Kind, event: Event | None) -> Kind | None:
        made = await self.put(record.place.key, record)
        if made and event:
            await self.audit.record(event)
        return made


class ApprovalRepository(Repository[ApprovalRecord]):
    """Approvals of all users, which acts use up with a claim."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, ApprovalRecord)

    async def release(self, key: str) -> None:
        """The act that used the approval in this place did nothing."""
        if record := await self.load(key):
            await self.swap(record, lambda found: found.release() if found.may("release") else None)

    async def consume(self, record: ApprovalRecord, act: Act, claim: Claim | None) -> bool:
        """Whether this yes was still there, and is used up now, after the claim. Raises what the claim does: then the
        yes is there again."""
        used, event = record.consume(act)
        if claim is not None and getattr(self.vault.store, "in_order", False):
            consumed = await asyncio.shield(self._together(used, claim))
        else:
            if claim is not None:
                await claim.make()
            consumed = await self.put(used.place.key, used) is not None
        if consumed and event:
            await self.audit.record(event)
        return consumed

    async def _together(self, used: ApprovalRecord, claim: Claim) -> bool:
        """Both, to their end, also where whoever asked was cancelled: a yes without its claim would be lost.

        The yes is sealed before the claim is asked for: sealing lets other threads run, and the store would begin with
        the claim alone.
        """
        swapping = self.vault.swapping(used.place, used.pack())
        claimed, swapped = await asyncio.gather(claim.make(), swapping, return_exceptions=True)
        if isinstance(claimed, BaseException):
            if isinstance(swapped, Record):
                await self._undone(swapped, used.place, claim)
            raise claimed
        if isinstance(swapped, BaseException):
            raise swapped
        return swapped is not None

    async def _undone(self, used: Record, before: Record, claim: Claim) -> None:
        """The yes is there again; at the latest when the store, which may be full by now, takes something again."""

        async def write() -> None:
            await self.vault.swap(used, before.json)

        try:
            await write()
        except StoreUnavailable:
            claim.keep(write)
