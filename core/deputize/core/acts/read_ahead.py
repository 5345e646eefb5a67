"""The records that an act reads, read together from a store that is a round trip away (`Records.read_ahead`).

An act reads twice: at its start, and once it holds its lock. What decides about the act is read under the lock. The
key of an approval contains the account, which the grant names. So the first read guesses the account of the last act,
and a wrong guess costs a round trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from deputize.core.approvals.mandates import Mandates
from deputize.core.approvals.service import Approvals
from deputize.core.engine import Engine
from deputize.core.grants.sources.service_account import owner_of
from deputize.core.idempotency.ledger import Ledger
from deputize.core.provenance.store import UntrustedRecord
from deputize.core.tools.act import Act
from deputize.core.tools.tool import Effect
from deputize.core.vault.grant import Account, User
from deputize.core.vault.stores import Wanted

MAX_ACCOUNTS: Final = 4096
"""Accounts of users that are remembered."""


class ActReads:
    """What acts read from the vault."""

    def __init__(
        self, engine: Engine, ledger: Ledger, approvals: Approvals, mandates: Mandates, provenance: UntrustedRecord
    ) -> None:
        self.vault, self.apps, self.zones = engine.vault, engine.apps, engine.zones
        self.ledger, self.approvals, self.mandates, self.provenance = ledger, approvals, mandates, provenance
        self._subjects = dict[tuple[User, str, str | None], str]()

    def read_first(self, act: Act, *, checks: bool = False) -> AbstractAsyncContextManager[None]:
        """Read what the act needs until it has its lock, or until its end if it only reads. ``checks``: it is only
        checked, which takes no lock."""
        return self.vault.read_ahead(*(self._first(act, checks=checks) if self.vault.batches else ()))

    def _first(self, act: Act, *, checks: bool) -> list[Wanted]:
        wanted = [*self.ledger.reads(act), *self.zones.reads(act.user)]
        if act.provider:
            owner = owner_of(self.apps[act.app], act.user)
            wanted += self.vault.ended.reads()
            wanted.append(("scan", "grant", self.vault.key_prefix(owner, act.provider, act.app)))
        if act.effect is not Effect.READS:
            subject = self._subjects.get((act.user, act.app, act.account), "")
            wanted += self.approvals.reads(act, subject)
            wanted += self.provenance.reads(act) if checks or not act.shows else []
            wanted += self.mandates.reads(act.user) if checks and act.shows else []
        return wanted

    def wanted_with_lock(self, act: Act, account: Account) -> Sequence[Wanted]:
        """Return what a write reads again, or first, once it has its lock."""
        if not self.vault.batches:
            return ()
        self._remember(act, account)
        wanted = self.approvals.reads(act, account.subject)
        return [*wanted, *self.provenance.reads(act), *self.mandates.reads(act.user)] if act.shows else wanted

    def _remember(self, act: Act, account: Account) -> None:
        whose = act.user, act.app, act.account
        self._subjects.pop(whose, None)
        self._subjects[whose] = account.subject
        while len(self._subjects) > MAX_ACCOUNTS:
            self._subjects.pop(next(iter(self._subjects)), None)
