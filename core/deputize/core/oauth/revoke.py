"""Revocation that wins: a local tombstone first, then everything else. Source: RFC 7009.

    tombstone, durable -> pending consents cancelled -> tombstone for what slipped in between -> provider -> audit

Once the tombstone is written no act starts with the grant in any process, and neither a refresh nor a consent that is
on its way can bring it back. The provider may be down: what is owed to it waits in the outbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deputize.core.audit import Audit
from deputize.core.oauth.consent import Consents
from deputize.core.oauth.outbox import Outbox, Upstream, facts_of
from deputize.core.oauth.provider import App
from deputize.core.vault.grant import Grant, User
from deputize.core.vault.vault import Record, Vault


@dataclass(frozen=True, slots=True)
class Revoked:
    """One disconnected account. ``upstream`` says how far the provider knows."""

    provider: str
    account: str
    upstream: Upstream


@dataclass
class Revoker:
    """Ends grants, here at once and at the provider as soon as it can be reached."""

    vault: Vault
    apps: Mapping[str, App]
    audit: Audit
    consents: Consents
    outbox: Outbox

    async def disconnect(self, user: User, provider: str, app: str = "", account: str | None = None) -> list[Revoked]:
        """End the user's grants at a provider: all of them, or one app's, or one account's (name or subject)."""
        buried = await self._bury(user, provider, app, account)
        for one in self.apps.values():
            if one.provider == provider and app in ("", one.name):
                await self.consents.cancel(user, provider, one.name)
        buried += await self._bury(user, provider, app, account)
        return [await self._tell(grant, owed) for grant, owed in buried]

    async def _bury(
        self, user: User, provider: str, app: str, account: str | None
    ) -> list[tuple[Grant, Record | None]]:
        """Tombstones for all that match; what each grant still owes to the provider."""
        ended = []
        for grant in await self.vault.grants(user, provider if app else "", app):
            mine = grant.provider == provider and account in (None, grant.account.name, grant.account.subject)
            if mine and grant.status != "revoked":
                ended += await self._end(grant)
        return ended

    async def _end(self, grant: Grant) -> list[tuple[Grant, Record | None]]:
        while True:
            token = grant.refresh_token or grant.access_token
            owed = await self.outbox.owe(grant.user, grant.provider, grant.app, token, grant) if token else None
            buried = None
            try:
                buried = await self.vault.replace(grant, grant.tombstone())
            finally:
                if owed and not buried:
                    await self.vault.delete(owed)
            if buried:
                return [(buried, owed)]
            current = await self.vault.grant(self.vault.place_of(grant))
            if current is None or current.status == "revoked":
                return []
            grant = current

    async def _tell(self, grant: Grant, owed: Record | None) -> Revoked:
        upstream = await self.outbox.settle(owed) if owed else "done"
        self.audit.write("grant.revoked", **facts_of(grant, self.audit), upstream=upstream)
        return Revoked(grant.provider, grant.account.name, upstream)

    async def retry(self) -> list[Upstream]:
        """Tell providers what could not be told before; how each went."""
        return await self.outbox.retry()
