"""Revocation of grants: a tombstone in the vault first, then revocation at the provider. Source: RFC 7009.

    tombstone, durable -> consents and open requests end -> tombstones for late grants -> provider -> audit

After the tombstone is written, no process starts an act with the grant, and no refresh or consent in progress can
restore it. If the provider is down, its tokens wait in the revocation queue. `mass_revocation` ends grants of many
users.
"""

from __future__ import annotations

from deputize.core.audit.events import GrantRevoked
from deputize.core.errors import VaultError
from deputize.core.grants.accounts import Accounts
from deputize.core.grants.end_grant import Ended, end_grant
from deputize.core.grants.mass_revocation import EndedAccounts, MassRevocation, Revoked, WaitingConsents
from deputize.core.grants.revocation_queue import RevocationQueue, Upstream
from deputize.core.grants.sources import inflight_requests as under_way
from deputize.core.shared_services import Services
from deputize.core.vault.grant import Grant, User, grant_fields
from deputize.core.vault.vault import grants_of_account

__all__ = ["Revoked", "Revoker"]


class Revoker:
    """Revocation of grants: in the vault at once, and at the provider as soon as it can be reached."""

    def __init__(
        self,
        services: Services,
        accounts: Accounts,
        consents: WaitingConsents,
        revocation_queue: RevocationQueue,
        many: MassRevocation,
    ) -> None:
        self.vault, self.registry, self.apps, self.audit = (
            services.vault,
            services.registry,
            services.apps,
            services.audit,
        )
        self.accounts, self.consents, self.revocation_queue, self.many = accounts, consents, revocation_queue, many

    async def disconnect(
        self, user: User, provider: str = "", app: str = "", account: str | None = None, *, leaked: bool = False
    ) -> list[Revoked]:
        """End the user's grants: all, or those at one provider, of one app, or of one account (name or subject).

        Marks a new default among the remaining accounts. ``leaked``: others may have the tokens; see
        `RevocationQueue.enqueue_grant`. Raises `InvalidInput` if neither the settings nor the user's grants contain the
        provider. Raises `VaultError` if a grant of the user cannot be decrypted, after all others have ended.
        """
        key = self.vault.key_prefix(user)
        await self._check_provider(key, provider)
        await self.revocation_queue.flush(but=key)
        ended = await self._end_here(user, provider, app, account, leaked)
        revoked = await self._send(ended)
        await self.consents.settle(key)
        tried = {entry.key for _, entry in ended if entry}
        await self.revocation_queue.deliver(
            *(o for o in await self.revocation_queue.entries(key, leaked=leaked) if o.key not in tried)
        )
        whole = _whole(revoked, (await self.vault.scan_openable("grant", key))[1])
        await self.accounts.choose_next(user, {one.provider for one in whole})
        return whole

    async def _check_provider(self, key: str, name: str) -> None:
        """Raise `InvalidInput` for an unknown provider. A grant of the user makes a provider known without settings."""
        if name and name not in self.registry.providers:
            if not any(grant.provider == name for grant in await self._grants(key)):
                self.registry.provider(name)

    async def disconnect_all(
        self, tenant: str | None = None, *, leaked: bool = False, progress: EndedAccounts | None = None
    ) -> list[Revoked]:
        """End the grants of all users, or of one tenant: here with one write, then at the providers.

        An interrupted revocation is finished in the background. ``progress``: called after each page, and decides how
        many accounts to name. Raises `VaultError` if a grant cannot be decrypted, after all others have ended.
        """
        progress = progress or EndedAccounts()
        await self.many.end(tenant, leaked=leaked, progress=progress)
        return _whole(list(progress.found.values()), progress.damaged, progress.stones)

    async def _grants(self, key: str) -> list[Grant]:
        """Return the grants that can be decrypted. Skips damaged ones, so that they do not prevent the end of
        others."""
        records, _ = await self.vault.scan_openable("grant", key)
        return [Grant.unpack(record.plain, record.generation) for record in records]

    async def _end_here(self, user: User, provider: str, app: str, account: str | None, leaked: bool) -> list[Ended]:
        ended = await self._end_found(user, provider, app, account, leaked)
        if not provider:
            await self.consents.cancel(user, "", "")
            await under_way.stop_requests(self.vault, self.vault.key_prefix(user))
        for one in list(self.apps.values()):
            if one.provider == provider and app in ("", one.name):
                await self.consents.cancel(user, provider, one.name)
                await under_way.stop_requests(self.vault, self.vault.key_prefix(user, provider, one.name))
        return ended + await self._end_found(user, provider, app, account, leaked)

    async def _end_found(self, user: User, provider: str, app: str, account: str | None, leaked: bool) -> list[Ended]:
        """Write tombstones for all matching grants, each with its entry in the queue."""
        ended = []
        found = await self._grants(self.vault.key_prefix(user, provider if app else "", app))
        theirs = [grant for grant in found if provider in ("", grant.provider)]
        for grant in theirs if account is None else grants_of_account(theirs, account):
            if grant.status != "revoked":
                ended += await end_grant(self.revocation_queue, grant, leaked=leaked)
        return ended

    async def _send(self, ended: list[Ended]) -> list[Revoked]:
        entries = [entry for _, entry in ended if entry]
        upstream = dict(
            zip([entry.key for entry in entries], await self.revocation_queue.deliver(*entries), strict=True)
        )
        return [await self._as_revoked(grant, upstream[entry.key] if entry else "done") for grant, entry in ended]

    async def _as_revoked(self, grant: Grant, upstream: Upstream) -> Revoked:
        await self.audit.record(GrantRevoked(grant_fields(grant), upstream))
        return Revoked(grant.provider, grant.account.name, upstream)

    async def retry(self) -> list[Upstream]:
        """Send the revocations that could not be sent before, and return the state of each."""
        return await self.revocation_queue.retry()


def _whole(revoked: list[Revoked], shut: int, number: int = 0) -> list[Revoked]:
    if shut:
        raise VaultError(
            f"Disconnected {number or len(revoked)}, but {shut} grants in the vault do not open: "
            "their users and accounts are unknown.",
            hint="deputize key list shows whether a key is missing. You can revoke their tokens at the providers.",
        )
    return revoked
