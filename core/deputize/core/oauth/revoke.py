"""Revocation that wins: a local tombstone first, then everything else. Source: RFC 7009.

    tombstone, durable -> pending consents cancelled -> tombstone for what slipped in between -> provider -> audit

Once the tombstone is written no act starts with the grant in any process, and neither a refresh nor a consent that is
on its way can bring it back. The provider may be down: what is owed to it waits in the outbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from deputize.core.audit import Audit
from deputize.core.errors import VaultError
from deputize.core.oauth.consent import Consents
from deputize.core.oauth.outbox import Outbox, Upstream
from deputize.core.oauth.provider import App
from deputize.core.vault.grant import Grant, User
from deputize.core.vault.told import facts_of
from deputize.core.vault.vault import Record, Vault, called

Ended: TypeAlias = tuple[Grant, Record | None]
"""A grant after its end, and what is still owed to its provider."""


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

    async def disconnect(
        self, user: User, provider: str = "", app: str = "", account: str | None = None, *, leaked: bool = False
    ) -> list[Revoked]:
        """End the user's grants: all, or those at one provider, of one app, or of one account (name or subject).

        ``leaked``: others may have the tokens; see `Outbox.owe_grant`. Raises `VaultError` where a grant of theirs does
        not open, when all others have ended.
        """
        told = await self._tell(await self._end_here(user, provider, app, account, leaked))
        return await self._all_of(told, self.vault.place(user))

    async def disconnect_all(self, tenant: str | None = None, *, leaked: bool = False) -> list[Revoked]:
        """End the grants of all users there are, or of all of one tenant: first all of them here, then upstream.

        Places are keyed digests and show no tenant, so every grant and every pending consent is opened to see whose it
        is. It can be cut off anywhere and done again. Raises `VaultError` where a grant does not open, when all others
        have ended.
        """
        ended: list[Ended] = []
        for user in await self._users(tenant):
            ended += await self._end_here(user, "", "", None, leaked)
        return await self._all_of(await self._tell(ended), "")

    async def _users(self, tenant: str | None) -> list[User]:
        met = [grant.user for grant in await self._grants("") if grant.status != "revoked"]
        asked = [record.json for record in (await self.vault.scan_open("consent"))[0]]
        met += [User(content["user"], content["tenant"]) for content in asked]
        return [user for user in dict.fromkeys(met) if tenant in (None, user.tenant)]

    async def _grants(self, place: str) -> list[Grant]:
        """The grants there that open: a damaged one must not keep the others alive."""
        records, _ = await self.vault.scan_open("grant", place)
        return [Grant.unpack(record.plain, record.generation) for record in records]

    async def _all_of(self, told: list[Revoked], place: str) -> list[Revoked]:
        if shut := (await self.vault.scan_open("grant", place))[1]:
            raise VaultError(
                f"Disconnected {len(told)}, but {shut} grants in the vault do not open: whose they are cannot be seen.",
                hint="deputize key list shows whether a key is missing. Their tokens can be ended at the providers.",
            )
        return told

    async def _end_here(self, user: User, provider: str, app: str, account: str | None, leaked: bool) -> list[Ended]:
        ended = await self._bury(user, provider, app, account, leaked)
        if not provider:
            await self.consents.cancel(user, "", "")
        for one in self.apps.values():
            if one.provider == provider and app in ("", one.name):
                await self.consents.cancel(user, provider, one.name)
        return ended + await self._bury(user, provider, app, account, leaked)

    async def _bury(self, user: User, provider: str, app: str, account: str | None, leaked: bool) -> list[Ended]:
        """Tombstones for all that match; what each grant still owes to the provider."""
        ended = []
        found = await self._grants(self.vault.place(user, provider if app else "", app))
        theirs = [grant for grant in found if provider in ("", grant.provider)]
        for grant in theirs if account is None else called(theirs, account):
            if grant.status != "revoked":
                ended += await self._end(grant, leaked)
        return ended

    async def _end(self, grant: Grant, leaked: bool) -> list[Ended]:
        while True:
            owed = await self.outbox.owe_grant(grant, leaked=leaked)
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

    async def _tell(self, ended: list[Ended]) -> list[Revoked]:
        debts = [owed for _, owed in ended if owed]
        told = dict(zip([owed.key for owed in debts], await self.outbox.settle(*debts), strict=True))
        return [self._revoked(grant, told[owed.key] if owed else "done") for grant, owed in ended]

    def _revoked(self, grant: Grant, upstream: Upstream) -> Revoked:
        self.audit.write("grant.revoked", **facts_of(grant, self.audit), upstream=upstream)
        return Revoked(grant.provider, grant.account.name, upstream)

    async def retry(self) -> list[Upstream]:
        """Tell providers what could not be told before; how each went."""
        return await self.outbox.retry()
