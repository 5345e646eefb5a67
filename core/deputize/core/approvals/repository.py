"""Typed records in one vault, loaded by key and saved by compare-and-swap; and the use of approvals by acts.

Two records are written before a write is sent: the act's claim, then the use of its approval. In this order, every used
approval has a record of the act that used it. If the store can write both in one round trip, it receives them together
(`Records.write`). If the store keeps the order of its writes, both are requested at once and share one sync to disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeAlias, TypeVar

from deputize.core.approvals.record import ApprovalRecord
from deputize.core.audit import Audit
from deputize.core.audit.events import ApprovalReleased, Event
from deputize.core.errors import DeputizeError, StoreUnavailable
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act
from deputize.core.vault.data_key import DataKey
from deputize.core.vault.grant import User
from deputize.core.vault.record import Record, StoredRecord
from deputize.core.vault.sealed_records import PreparedWrite

Kind = TypeVar("Kind", bound=StoredRecord)
Retry: TypeAlias = Callable[[], Awaitable[None]]

log = logging.getLogger("deputize.core.acts")


class Claim:
    """The claim of one act. ``make``: makes the claim durable, together with a write that follows it, and returns False
    if that write does not apply. It calls the store before it awaits anything else. ``keep``: takes a write that the
    store rejected, and retries it before the next run of the act reads."""

    def __init__(self, make: Callable[[PreparedWrite | None], Awaitable[bool]], keep: Callable[[Retry], None]) -> None:
        self.make, self.keep = make, keep


class Repository(Generic[Kind]):
    """Typed records of one kind, loaded by key and saved by compare-and-swap."""

    def __init__(self, services: Services, kind: type[Kind]) -> None:
        self.vault, self.audit, self.kind = services.vault, services.audit, kind

    async def load(self, key: str) -> Kind | None:
        """Return the record at this key, or None."""
        row = await self.vault.get(self.kind.KIND, key)
        return self.kind.of(row) if row else None

    async def of_user(self, user: User, known: Mapping[str, bytes] | None = None) -> list[Kind]:
        """Return all records of a user, except the ``known`` ones: see `Records.scan`."""
        rows = await self.vault.scan(self.kind.KIND, self.vault.key_prefix(user), known=known)
        return [self.kind.of(row) for row in rows]

    async def put(self, key: str, record: Kind, data_key: DataKey | None = None) -> Kind | None:
        """Save the record in place of the row from which it was read, or as a new record at ``key``. If the stored row
        has changed since, nothing is saved and None is returned. ``data_key``: see `Records.insert`."""
        content = record.pack()
        row = await (
            self.vault.swap(record.row, content)
            if record.row
            else self.vault.insert(record.KIND, key, content, data_key)
        )
        return record.copy_with(row=row) if row else None

    async def swap(
        self, record: Kind, transition: Callable[[Kind], tuple[Kind, Event | None] | None]
    ) -> tuple[Kind | None, bool]:
        """Make the transition, save it and audit it. Return the stored record, and True if the transition was made.

        If the record changed in between, it is loaded and ``transition`` is called again. ``transition`` returns None
        or raises to leave the record unchanged. A save that has begun is completed and audited, even if the caller is
        cancelled.
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


async def record_before(audit: Audit, event: Event) -> None:
    """Write an audit row durably before the vault changes. If the row cannot be written, log that and continue, because
    the user has a right to the change."""
    try:
        await audit.record(event)
        await audit.hand_over_async()
    except DeputizeError as failure:
        log.warning("The audit row %s could not be written: %s", event.event, failure.code)


class ApprovalRepository(Repository[ApprovalRecord]):
    """The approvals of all users, and their use by acts."""

    def __init__(self, services: Services) -> None:
        super().__init__(services, ApprovalRecord)

    async def release(self, key: str, user: User) -> None:
        """Release the approval at this key, because its act did nothing. The release is audited first. Otherwise, if
        the process is killed in between, the approval would seem to be used twice."""
        record = await self.load(key)
        if record and record.may("release"):
            await record_before(self.audit, ApprovalReleased(record.facts(user)))
            await self.swap(record, lambda found: found.release() if found.may("release") else None)

    async def consume(self, record: ApprovalRecord, act: Act, claim: Claim | None) -> bool:
        """Use the approval after the claim. Return False if it is no longer available. If the claim raises, the
        approval stays available."""
        used, event = record.consume(act)
        if claim is not None and self.vault.batches is not None:
            write = self.vault.prepare(used.place, used.KIND, used.place.key, used.pack())
            consumed = await asyncio.shield(claim.make(write))
        elif claim is not None and getattr(self.vault.store, "in_order", False):
            consumed = await asyncio.shield(self._claim_and_consume(used, claim))
        else:
            if claim is not None:
                await claim.make(None)
            consumed = await self.put(used.place.key, used) is not None
        if consumed and event:
            await self.audit.record(event)
        return consumed

    async def _claim_and_consume(self, used: ApprovalRecord, claim: Claim) -> bool:
        """Run both writes to their end, even if the caller is cancelled: an approval used without a claim would be
        lost.

        The approval is encrypted before the claim is requested. Otherwise other threads could run during the
        encryption, and the store would write the claim alone.
        """
        swapping = self.vault.start_swap(used.place, used.pack())
        claimed, swapped = await asyncio.gather(claim.make(None), swapping, return_exceptions=True)
        if isinstance(claimed, BaseException):
            if isinstance(swapped, Record):
                await self._restore(swapped, used.place, claim)
            raise claimed
        if isinstance(swapped, BaseException):
            raise swapped
        return swapped is not None

    async def _restore(self, used: Record, before: Record, claim: Claim) -> None:
        """Restore the approval now, or as soon as the store, which may be full, accepts writes again."""

        async def write() -> None:
            await self.vault.swap(used, before.json)

        try:
            await write()
        except StoreUnavailable:
            claim.keep(write)
