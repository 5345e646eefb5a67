"""Revocation of the grants of all users, or of one tenant: in the vault with one write, at the providers page by page.

    revocation epoch, durable -> mandates -> tombstones, each with an entry in the revocation queue
                              -> consents cancelled -> tombstones for late grants -> providers

The first write ends all grants, in every process within `CACHE_TTL` (`deputize.core.vault.bulk_revocation`). A
follow-up does the rest: in the process that began, or, if that process died, in the background of any other one. The
vault stores the progress, and every step may be repeated.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final, Protocol, TypeAlias

from deputize.core.audit.events import GrantRevoked
from deputize.core.grants.end_grant import QUEUED, Ended, end_grant
from deputize.core.grants.revocation_queue import RevocationQueue, Upstream
from deputize.core.grants.sources import inflight_requests as under_way
from deputize.core.oauth.endpoint import LEAKED_AT_ONCE
from deputize.core.shared_services import Services
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.bulk_revocation import BulkRevocation, end_event
from deputize.core.vault.grant import Grant, User, grant_fields
from deputize.core.vault.record import PAGE, Record

LOCK: Final = "ends of many"
LOCK_TIMEOUT_SECONDS: Final = 600.0
"""Seconds to wait for a follow-up by another process."""
PAGES_PER_MARK: Final = 10
"""Pages after which the progress of a follow-up is stored."""

EndMandates: TypeAlias = Callable[[str | None], Awaitable[None]]
"""Ends the mandates of a tenant, or all if it is None."""


class WaitingConsents(Protocol):
    """The consents of all users, which are cancelled together with the grants they were for."""

    async def cancel(self, user: User, provider: str, app: str) -> None:
        """Cancel the pending consents of this user and app."""
        ...

    async def cancel_all(self, end: BulkRevocation) -> None:
        """Cancel the consents that were pending at a bulk revocation."""
        ...

    async def settle(self, key: str = "") -> None:
        """Store or revoke the tokens that were received for consents below this key."""
        ...


@frozen
class Revoked(ValueObject):
    """A disconnected account. ``upstream``: the state of the revocation at the provider."""

    provider: str
    account: str
    upstream: Upstream


class EndProgress:
    """Progress of a follow-up: the number of tombstones, of grants that could not be decrypted, and of revocations by
    their state. ``tell``: called after each page."""

    def __init__(self, tell: Callable[[EndProgress], object] | None = None) -> None:
        self.tell = tell
        self.stones = self.damaged = 0
        self.upstream = Counter[Upstream]()

    def count_tombstone(self, stone: Grant, entry: Record | None) -> None:
        """Count a tombstone."""
        self.stones += 1

    def count_revocation(self, entry: Record, upstream: Upstream) -> None:
        """Count a revocation that was sent, or that could not be sent."""
        self.upstream[upstream] += 1

    def page(self) -> None:
        """Report the progress after a page."""
        if self.tell:
            self.tell(self)


class EndedAccounts(EndProgress):
    """Progress with the names of the accounts. ``most``: the number of accounts to name, None for all."""

    def __init__(self, tell: Callable[[EndProgress], object] | None = None, most: int | None = None) -> None:
        super().__init__(tell)
        self.most = most
        self.found: dict[str, Revoked] = {}

    def count_tombstone(self, stone: Grant, entry: Record | None) -> None:
        super().count_tombstone(stone, entry)
        if self.most is not None and len(self.found) >= self.most:
            return
        key = entry.key if entry else f"{self.stones}"
        self.found[key] = Revoked(stone.provider, stone.account.name, QUEUED if entry else "done")

    def count_revocation(self, entry: Record, upstream: Upstream) -> None:
        super().count_revocation(entry, upstream)
        if known := self.found.get(entry.key):
            self.found[entry.key] = replace(known, upstream=upstream)


class MassRevocation:
    """Revocation of the grants of many users in one vault. ``end_mandates``: ends their mandates too."""

    def __init__(
        self,
        services: Services,
        consents: WaitingConsents,
        queue: RevocationQueue,
        end_mandates: EndMandates | None = None,
    ) -> None:
        self.vault, self.audit = services.vault, services.audit
        self.consents, self.queue, self.end_mandates = consents, queue, end_mandates
        self._told_of = set[int]()

    async def end(self, tenant: str | None, *, leaked: bool, progress: EndProgress) -> None:
        """End all grants in the vault with one write, then run the follow-up. If it is interrupted, other processes
        continue it."""
        async with AsyncExitStack() as turn:
            alone = await self._try_lock(turn, 0.0)
            await self.begin(tenant, leaked=leaked)
            if alone or await self._try_lock(turn, LOCK_TIMEOUT_SECONDS):
                await self._follow_all(progress)

    async def begin(self, tenant: str | None, *, leaked: bool) -> BulkRevocation:
        """End all grants in the vault. When this returns, the end is durable and in force."""
        end = await self.vault.ended.begin(tenant, leaked=leaked)
        await self._tell(end)
        return end

    async def _tell(self, end: BulkRevocation) -> None:
        await self.audit.record(end_event(end))
        self._told_of.add(end.epoch)

    async def follow(self, progress: EndProgress | None = None) -> None:
        """Complete interrupted follow-ups in the background, unless another process is doing so."""
        if not (await self.vault.ended.refresh(fresh=True)).open:
            return
        async with AsyncExitStack() as turn:
            if await self._try_lock(turn, 0.0):
                await self._follow_all(progress or EndProgress())

    async def _try_lock(self, turn: AsyncExitStack, timeout: float) -> bool:
        try:
            await turn.enter_async_context(self.vault.store.lock(LOCK, timeout))
        except TimeoutError:
            return False
        return True

    async def _follow_all(self, progress: EndProgress) -> None:
        while still := (await self.vault.ended.refresh(fresh=True)).open:
            await self._follow(still[0], progress)

    async def _follow(self, end: BulkRevocation, progress: EndProgress) -> None:
        """Run all stages of a follow-up, from where it was interrupted."""
        if end.stage == 0 and end.epoch not in self._told_of:
            await self._tell(end)  # the process that began it may have died before that
        for number, stage in enumerate(self._stages()):
            if number < end.stage:
                continue
            end = await self.vault.ended.save_progress(end, number) if number > end.stage else end
            pages = 0
            async for last in stage(end, progress):
                progress.page()
                pages += 1
                if pages % PAGES_PER_MARK == 0:
                    end = await self.vault.ended.save_progress(end, number, last)
        await self.vault.ended.finish(end)

    def _stages(self) -> tuple[Callable[[BulkRevocation, EndProgress], AsyncIterator[str]], ...]:
        return self._mandates, self._grants, self._consents, self._grants, self._providers

    async def _mandates(self, end: BulkRevocation, _: EndProgress) -> AsyncIterator[str]:
        if self.end_mandates:
            await self.end_mandates(end.tenant)
        yield ""

    async def _grants(self, end: BulkRevocation, progress: EndProgress) -> AsyncIterator[str]:
        """Write tombstones for all active grants. Yields the last key of each page."""
        progress.damaged = 0
        async for records, shut in self.vault.pages("grant", after=end.after):
            progress.damaged += shut
            found = [Grant.unpack(record.plain, record.generation) for record in records]
            living = [one for one in found if one.status != "revoked" and end.covers(one.user.tenant, one.epoch)]
            for stone, entry in await self._end_together(living, end):
                progress.count_tombstone(stone, entry)
            yield records[-1].key if records else end.after

    async def _end_together(self, grants: list[Grant], end: BulkRevocation) -> list[Ended]:
        """Write the tombstones of a page, which share their syncs to disk, and the audit rows. If some tombstones
        cannot be written, the others are written and audited before the error is raised."""
        work = (end_grant(self.queue, grant, leaked=end.leaked) for grant in grants)
        tried = await asyncio.gather(*work, return_exceptions=True)
        ended = [one for some in tried if not isinstance(some, BaseException) for one in some]
        await asyncio.gather(*(self.audit.record(GrantRevoked(grant_fields(stone), QUEUED)) for stone, _ in ended))
        for one in tried:
            if isinstance(one, BaseException):
                raise one
        return ended

    async def _consents(self, end: BulkRevocation, _: EndProgress) -> AsyncIterator[str]:
        """Cancel pending consents and token requests, and revoke the tokens received for them."""
        await self.consents.cancel_all(end)
        await under_way.stop_all_requests(self.vault, end)
        await self.consents.settle()
        yield ""

    async def _providers(self, end: BulkRevocation, progress: EndProgress) -> AsyncIterator[str]:
        """Send all revocations and report the state of each. Yields the last key of each page."""
        size = LEAKED_AT_ONCE // 2 if end.leaked else PAGE
        async for records, _ in self.vault.pages("outbox", size, after=end.after):
            entries = [record for record in records if _is_of_tenant(record.json, end.tenant)]
            if end.leaked:
                entries = [await self.queue.as_leaked(entry) for entry in entries]
            for entry, upstream in zip(entries, await self.queue.deliver(*entries), strict=True):
                progress.count_revocation(entry, upstream)
            yield records[-1].key if records else end.after


def _is_of_tenant(content: Mapping[str, Any], tenant: str | None) -> bool:
    """Return True if the record belongs to a user of the tenant. None means all tenants."""
    return tenant is None or content["tenant"] == tenant
