"""Revocation that wins: a local tombstone first, then everything else. Source: RFC 7009.

    tombstone, durable -> consents and requests under way end -> tombstone for what slipped in -> provider -> audit

Once the tombstone is written no act starts with the grant in any process, and neither a refresh nor a consent that is
on its way can bring it back. The provider may be down: its tokens wait in the revocation queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from deputize.core.audit.events import GrantRevoked
from deputize.core.consent.consents import Consents
from deputize.core.engine import Engine
from deputize.core.errors import VaultError
from deputize.core.grants.accounts import Accounts
from deputize.core.grants.revocation_queue import RevocationQueue, Upstream
from deputize.core.grants.sources import under_way
from deputize.core.oauth.endpoint import LEAKED_AT_ONCE
from deputize.core.value_object import ValueObject
from deputize.core.vault.grant import Grant, User, facts_of
from deputize.core.vault.vault import PAGE, Record, called

Ended: TypeAlias = tuple[Grant, Record | None]
"""A grant after its end, and its entry in the revocation queue."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Revoked(ValueObject):
    """One disconnected account. ``upstream``: how far the revocation at the provider came."""

    provider: str
    account: str
    upstream: Upstream


class Revoker:
    """Ends grants, here at once and at the provider as soon as it can be reached."""

    def __init__(self, engine: Engine, accounts: Accounts, consents: Consents, outbox: RevocationQueue) -> None:
        self.vault, self.registry, self.apps, self.audit = engine.vault, engine.registry, engine.apps, engine.audit
        self.accounts, self.consents, self.outbox = accounts, consents, outbox

    async def disconnect(
        self, user: User, provider: str = "", app: str = "", account: str | None = None, *, leaked: bool = False
    ) -> list[Revoked]:
        """End the user's grants: all, or those at one provider, of one app, or of one account (name or subject).
        Marks which of those that are left acts from then on.

        ``leaked``: others may have the tokens; see `RevocationQueue.enqueue_grant`. Raises `InvalidInput` for a
        provider that neither the settings know nor the user has had a grant of; `VaultError` where a grant of theirs
        does not open, when all others have ended.
        """
        place = self.vault.place(user)
        await self._check_provider(place, provider)
        await self.outbox.flush(but=place)
        ended = await self._end_here(user, provider, app, account, leaked)
        revoked = await self._send(ended)
        await self.consents.settle(place)
        tried = {entry.key for _, entry in ended if entry}
        await self.outbox.deliver(*(o for o in await self.outbox.entries(place, leaked=leaked) if o.key not in tried))
        whole = _whole(revoked, (await self.vault.scan_open("grant", place))[1])
        await self.accounts.choose_next(user, {one.provider for one in whole})
        return whole

    async def _check_provider(self, place: str, name: str) -> None:
        """A grant outlives its provider's row in the settings, and its user may end it all the same."""
        if name and name not in self.registry.providers:
            if not any(grant.provider == name for grant in await self._grants(place)):
                self.registry.provider(name)

    async def disconnect_all(self, tenant: str | None = None, *, leaked: bool = False) -> list[Revoked]:
        """End the grants of all users there are, or of all of one tenant: first all of them here, then upstream.

        Places are keyed digests and show no tenant, so every grant and every pending consent is opened to see whose it
        is, a page at a time. It can be cut off anywhere and done again. Raises `VaultError` where a grant does not
        open, when all others have ended.
        """
        ended: dict[str, Revoked] = {}
        await self._end_everybody(tenant, leaked, ended)
        await self.consents.cancel_all(tenant)
        await under_way.stop_all(self.vault, tenant)
        shut = await self._end_everybody(tenant, leaked, ended)  # what slipped in between
        await self.consents.settle()
        await self._send_everybody(tenant, leaked, ended)
        return _whole(list(ended.values()), shut)

    async def _end_everybody(self, tenant: str | None, leaked: bool, ended: dict[str, Revoked]) -> int:
        """Tombstones for all that live. Adds what ended, by the key of its entry; how many grants do not open."""
        shut = 0
        async for records, closed in self.vault.pages("grant"):
            shut += closed
            found = [Grant.unpack(record.plain, record.generation) for record in records]
            living = [one for one in found if one.status != "revoked" and tenant in (None, one.user.tenant)]
            for stone, entry in await self._end_together(living, leaked):
                upstream: Upstream = "queued" if entry else "done"
                key = entry.key if entry else self.vault.place_of(stone)
                ended[key] = Revoked(stone.provider, stone.account.name, upstream)
        return shut

    async def _end_together(self, grants: list[Grant], leaked: bool) -> list[Ended]:
        """The tombstones of a page, which share their syncs, and their rows. Where some cannot be written the others
        are, and told, before the error is."""
        tried = await asyncio.gather(*(self._end(grant, leaked) for grant in grants), return_exceptions=True)
        ended = [one for some in tried if not isinstance(some, BaseException) for one in some]
        await asyncio.gather(*(self.audit.tell(GrantRevoked(facts_of(stone), "queued")) for stone, _ in ended))
        for one in tried:
            if isinstance(one, BaseException):
                raise one
        return ended

    async def _send_everybody(self, tenant: str | None, leaked: bool, ended: dict[str, Revoked]) -> None:
        """Send all revocations, and note how far each came."""
        async for records, _ in self.vault.pages("outbox", LEAKED_AT_ONCE // 2 if leaked else PAGE):
            entries = [record for record in records if _of(record.json, tenant)]
            if leaked:
                entries = [await self.outbox.as_leaked(entry) for entry in entries]
            for entry, upstream in zip(entries, await self.outbox.deliver(*entries), strict=True):
                if entry.key in ended:
                    ended[entry.key] = replace(ended[entry.key], upstream=upstream)

    async def _grants(self, place: str) -> list[Grant]:
        """The grants there that open: a damaged one must not keep the others alive."""
        records, _ = await self.vault.scan_open("grant", place)
        return [Grant.unpack(record.plain, record.generation) for record in records]

    async def _end_here(self, user: User, provider: str, app: str, account: str | None, leaked: bool) -> list[Ended]:
        ended = await self._end_found(user, provider, app, account, leaked)
        if not provider:
            await self.consents.cancel(user, "", "")
            await under_way.stop(self.vault, self.vault.place(user))
        for one in list(self.apps.values()):
            if one.provider == provider and app in ("", one.name):
                await self.consents.cancel(user, provider, one.name)
                await under_way.stop(self.vault, self.vault.place(user, provider, one.name))
        return ended + await self._end_found(user, provider, app, account, leaked)

    async def _end_found(self, user: User, provider: str, app: str, account: str | None, leaked: bool) -> list[Ended]:
        """Tombstones for all that match, each with its entry in the queue."""
        ended = []
        found = await self._grants(self.vault.place(user, provider if app else "", app))
        theirs = [grant for grant in found if provider in ("", grant.provider)]
        for grant in theirs if account is None else called(theirs, account):
            if grant.status != "revoked":
                ended += await self._end(grant, leaked)
        return ended

    async def _end(self, grant: Grant, leaked: bool) -> list[Ended]:
        """The grant's tombstone. An entry is withdrawn only once the same is enqueued anew: who finds one without a
        tombstone finishes both."""
        before: Record | None = None
        while True:
            entry = await self.outbox.enqueue_grant(grant, leaked=leaked)
            if before:
                await self.vault.delete(before)  # of tokens that a refresh has exchanged, or of a generation touched
            if stone := await self.vault.replace(grant, grant.tombstone()):
                return [(stone, entry)]
            current = await self.vault.grant(self.vault.place_of(grant))
            if current is None or current.status == "revoked":
                return [(current or grant, entry)] if entry else []
            before, grant = entry, current

    async def _send(self, ended: list[Ended]) -> list[Revoked]:
        entries = [entry for _, entry in ended if entry]
        upstream = dict(zip([entry.key for entry in entries], await self.outbox.deliver(*entries), strict=True))
        return [await self._revoked(grant, upstream[entry.key] if entry else "done") for grant, entry in ended]

    async def _revoked(self, grant: Grant, upstream: Upstream) -> Revoked:
        await self.audit.tell(GrantRevoked(facts_of(grant), upstream))
        return Revoked(grant.provider, grant.account.name, upstream)

    async def retry(self) -> list[Upstream]:
        """Send the revocations that could not be sent before; how far each came."""
        return await self.outbox.retry()


def _of(content: Mapping[str, Any], tenant: str | None) -> bool:
    """Whether this belongs to a user of the tenant; None is all tenants."""
    return tenant is None or content["tenant"] == tenant


def _whole(revoked: list[Revoked], shut: int) -> list[Revoked]:
    if shut:
        raise VaultError(
            f"Disconnected {len(revoked)}, but {shut} grants in the vault do not open: whose they are cannot be seen.",
            hint="deputize key list shows whether a key is missing. Their tokens can be ended at the providers.",
        )
    return revoked
