"""The end of everybody's grants, or of all in a tenant: here with one write, the rest by pages.

    revocation epoch, durable -> mandates -> tombstones, each with an entry in the revocation queue
                              -> consents cancelled -> tombstones for what slipped in between -> providers

With the first write all has ended, in every process within `FRESH` seconds (`deputize.core.vault.bulk_revocation`); the
rest is what each end needs besides. It is done by whoever began it, or where that process died, by any other in the
background: the vault says how far it came, and every step may be done twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final, Protocol, TypeAlias

from deputize.core.audit.events import GrantRevoked
from deputize.core.engine import Engine
from deputize.core.grants.end_grant import QUEUED, Ended, end_grant
from deputize.core.grants.revocation_queue import RevocationQueue, Upstream
from deputize.core.grants.sources import inflight_requests as under_way
from deputize.core.oauth.endpoint import LEAKED_AT_ONCE
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.bulk_revocation import EndOfMany, end_row
from deputize.core.vault.grant import Grant, User, facts_of
from deputize.core.vault.record import PAGE, Record

LOCK: Final = "ends of many"
PATIENCE: Final = 600.0
"""Seconds to wait for another process that follows up an end."""
MARKED: Final = 10
"""Pages after which it is noted how far the follow-up came."""

EndMandates: TypeAlias = Callable[[str | None], Awaitable[None]]
"""Ends the mandates of a tenant, None: of everybody."""


class WaitingConsents(Protocol):
    """The consents of all users, which end with the grants that they were for."""

    async def cancel(self, user: User, provider: str, app: str) -> int:
        """End those of this user and app that wait."""
        ...

    async def cancel_all(self, end: EndOfMany) -> int:
        """End those that waited when many grants ended."""
        ...

    async def settle(self, key: str = "") -> None:
        """Keep or end the tokens that came for consents below this place."""
        ...


@frozen
class Revoked(ValueObject):
    """One disconnected account. ``upstream``: how far the revocation at the provider came."""

    provider: str
    account: str
    upstream: Upstream


class EndProgress:
    """How far a follow-up came: how many grants have their tombstone, how many did not open, and how many revocations
    came how far. ``tell`` is called after each page."""

    def __init__(self, tell: Callable[[EndProgress], object] | None = None) -> None:
        self.tell = tell
        self.stones = self.damaged = 0
        self.upstream = Counter[Upstream]()

    def ended(self, stone: Grant, entry: Record | None) -> None:
        """A grant has its tombstone."""
        self.stones += 1

    def came(self, entry: Record, upstream: Upstream) -> None:
        """A revocation was sent, or could not be."""
        self.upstream[upstream] += 1

    def page(self) -> None:
        """A page is done."""
        if self.tell:
            self.tell(self)


class EndedAccounts(EndProgress):
    """The same, with the accounts by their names: the first ``most`` of them, all where that is None."""

    def __init__(self, tell: Callable[[EndProgress], object] | None = None, most: int | None = None) -> None:
        super().__init__(tell)
        self.most = most
        self.found: dict[str, Revoked] = {}

    def ended(self, stone: Grant, entry: Record | None) -> None:
        super().ended(stone, entry)
        if self.most is not None and len(self.found) >= self.most:
            return
        key = entry.key if entry else f"{self.stones}"
        self.found[key] = Revoked(stone.provider, stone.account.name, QUEUED if entry else "done")

    def came(self, entry: Record, upstream: Upstream) -> None:
        super().came(entry, upstream)
        if known := self.found.get(entry.key):
            self.found[entry.key] = replace(known, upstream=upstream)


class MassRevocation:
    """Ends grants of many users, in one vault. ``end_mandates``: ends their mandates, too."""

    def __init__(
        self, engine: Engine, consents: WaitingConsents, queue: RevocationQueue, end_mandates: EndMandates | None = None
    ) -> None:
        self.vault, self.audit = engine.vault, engine.audit
        self.consents, self.queue, self.end_mandates = consents, queue, end_mandates
        self._told_of = set[int]()

    async def end(self, tenant: str | None, *, leaked: bool, progress: EndProgress) -> None:
        """End all of them here with one write, then follow it up, to the end. Cut off, others go on with it."""
        async with AsyncExitStack() as turn:
            alone = await self._alone(turn, 0.0)
            await self.begin(tenant, leaked=leaked)
            if alone or await self._alone(turn, PATIENCE):
                await self._follow_all(progress)

    async def begin(self, tenant: str | None, *, leaked: bool) -> EndOfMany:
        """End all of them here: durable, and in force, when it returns."""
        end = await self.vault.ended.begin(tenant, leaked=leaked)
        await self._tell(end)
        return end

    async def _tell(self, end: EndOfMany) -> None:
        await self.audit.record(end_row(end))
        self._told_of.add(end.epoch)

    async def follow(self, progress: EndProgress | None = None) -> None:
        """Follow up what was left half-done, unless another process is at it: for the background."""
        if not (await self.vault.ended.look(fresh=True)).open:
            return
        async with AsyncExitStack() as turn:
            if await self._alone(turn, 0.0):
                await self._follow_all(progress or EndProgress())

    async def _alone(self, turn: AsyncExitStack, timeout: float) -> bool:
        try:
            await turn.enter_async_context(self.vault.store.lock(LOCK, timeout))
        except TimeoutError:
            return False
        return True

    async def _follow_all(self, progress: EndProgress) -> None:
        while still := (await self.vault.ended.look(fresh=True)).open:
            await self._follow(still[0], progress)

    async def _follow(self, end: EndOfMany, progress: EndProgress) -> None:
        """All stages of one end, from where it was cut off."""
        if end.stage == 0 and end.epoch not in self._told_of:
            await self._tell(end)  # whoever began it died before that, or may have
        for number, stage in enumerate(self._stages()):
            if number < end.stage:
                continue
            end = await self.vault.ended.note(end, number) if number > end.stage else end
            pages = 0
            async for last in stage(end, progress):
                progress.page()
                pages += 1
                if pages % MARKED == 0:
                    end = await self.vault.ended.note(end, number, last)
        await self.vault.ended.finished(end)

    def _stages(self) -> tuple[Callable[[EndOfMany, EndProgress], AsyncIterator[str]], ...]:
        return self._mandates, self._grants, self._consents, self._grants, self._providers

    async def _mandates(self, end: EndOfMany, _: EndProgress) -> AsyncIterator[str]:
        if self.end_mandates:
            await self.end_mandates(end.tenant)
        yield ""

    async def _grants(self, end: EndOfMany, progress: EndProgress) -> AsyncIterator[str]:
        """Tombstones for all that live. Yields the last key of each page."""
        progress.damaged = 0
        async for records, shut in self.vault.pages("grant", after=end.after):
            progress.damaged += shut
            found = [Grant.unpack(record.plain, record.generation) for record in records]
            living = [one for one in found if one.status != "revoked" and end.covers(one.user.tenant, one.epoch)]
            for stone, entry in await self._end_together(living, end):
                progress.ended(stone, entry)
            yield records[-1].key if records else end.after

    async def _end_together(self, grants: list[Grant], end: EndOfMany) -> list[Ended]:
        """The tombstones of a page, which share their syncs, and their rows. Where some cannot be written the others
        are, and told, before the error is."""
        work = (end_grant(self.queue, grant, leaked=end.leaked) for grant in grants)
        tried = await asyncio.gather(*work, return_exceptions=True)
        ended = [one for some in tried if not isinstance(some, BaseException) for one in some]
        await asyncio.gather(*(self.audit.record(GrantRevoked(facts_of(stone), QUEUED)) for stone, _ in ended))
        for one in tried:
            if isinstance(one, BaseException):
                raise one
        return ended

    async def _consents(self, end: EndOfMany, _: EndProgress) -> AsyncIterator[str]:
        """What was pending or under way is cancelled, and tokens that came for it end."""
        await self.consents.cancel_all(end)
        await under_way.stop_all(self.vault, end)
        await self.consents.settle()
        yield ""

    async def _providers(self, end: EndOfMany, progress: EndProgress) -> AsyncIterator[str]:
        """All revocations are sent, and how far each came is told. Yields the last key of each page."""
        size = LEAKED_AT_ONCE // 2 if end.leaked else PAGE
        async for records, _ in self.vault.pages("outbox", size, after=end.after):
            entries = [record for record in records if _of(record.json, end.tenant)]
            if end.leaked:
                entries = [await self.queue.as_leaked(entry) for entry in entries]
            for entry, upstream in zip(entries, await self.queue.deliver(*entries), strict=True):
                progress.came(entry, upstream)
            yield records[-1].key if records else end.after


def _of(content: Mapping[str, Any], tenant: str | None) -> bool:
    """Whether this belongs to a user of the tenant; None is all tenants."""
    return tenant is None or content["tenant"] == tenant
