"""The records that an act will need, read together, so that a store over a network is asked once for all of them.

An act reads twice: at its start, and again when it has its lock. A write of the act succeeds only if the stored record
has not changed since it was read (`deputize.core.vault.sealed_records`), so an outdated record allows nothing.

The key of an approval contains the account, which only the grant names. So the first read assumes the account of the
user's last act. If that is wrong, the approval is read separately, in one more round trip.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from deputize.core.approvals.mandates import Mandates
from deputize.core.approvals.service import Approvals
from deputize.core.grants.sources.service_account import owner_of
from deputize.core.idempotency.ledger import Ledger
from deputize.core.provenance.contacts import KnownContacts
from deputize.core.provenance.store import UntrustedRecord
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act
from deputize.core.tools.tool import Effect
from deputize.core.vault.grant import Account, User
from deputize.core.vault.stores import RecordRead

MAX_CACHED_ACCOUNTS: Final = 4096
"""Accounts of last acts that this process caches."""


class ActReads:
    """The reads of acts from the vault."""

    def __init__(
        self,
        services: Services,
        ledger: Ledger,
        approvals: Approvals,
        mandates: Mandates,
        provenance: UntrustedRecord,
        contacts: KnownContacts,
    ) -> None:
        self.vault, self.apps, self.zones = services.vault, services.apps, services.zones
        self.ledger, self.approvals, self.mandates, self.provenance = ledger, approvals, mandates, provenance
        self.contacts = contacts
        self._last_subject = dict[tuple[User, str, str | None], str]()

    @asynccontextmanager
    async def read_before_lock(self, act: Act, *, check_only: bool = False) -> AsyncIterator[None]:
        """Read the records that the act needs until it has its lock, or until its end if it takes no lock.
        ``check_only``: True if the act is not run."""
        if self.vault.batches is None:
            yield
            return
        async with self.vault.read_ahead(*self._list_before_lock(act, check_only=check_only)):
            if act.provider:
                await self.vault.ended.refresh()  # its age counts from here
            yield

    def _list_before_lock(self, act: Act, *, check_only: bool) -> list[RecordRead]:
        reads = [*self.ledger.reads(act), *self.zones.reads(act.user), *self.vault.data_keys.reads(act.user.tenant)]
        if act.provider:
            owner = owner_of(self.apps[act.app], act.user)
            reads += self.vault.ended.reads()
            reads.append(("scan", "grant", self.vault.key_prefix(owner, act.provider, act.app)))
        if act.effect is not Effect.READS:
            reads += self.approvals.reads(act, self._last_subject.get((act.user, act.app, act.account), ""))
            reads += self.provenance.reads(act) if check_only or not act.shows else []
            if check_only and act.shows:
                reads += [*self.mandates.reads(act.user), *self.contacts.reads(act.user)]
        return reads

    def list_with_lock(self, act: Act, account: Account) -> Sequence[RecordRead]:
        """Return the reads of a write that has its lock. Remembers the account for the user's next act."""
        if self.vault.batches is None:
            return ()
        whose = act.user, act.app, act.account
        self._last_subject.pop(whose, None)
        self._last_subject[whose] = account.subject
        while len(self._last_subject) > MAX_CACHED_ACCOUNTS:
            self._last_subject.pop(next(iter(self._last_subject)), None)
        reads = self.approvals.reads(act, account.subject)
        if not act.shows:
            return reads
        return [*reads, *self.provenance.reads(act), *self.mandates.reads(act.user), *self.contacts.reads(act.user)]

    def forget(self, user: User) -> None:
        """Drop the cached accounts of an erased user."""
        for whose in [whose for whose in list(self._last_subject) if whose[0] == user]:
            self._last_subject.pop(whose, None)
