"""From a code to a grant: the code is redeemed, once; whose token it is, is looked at; the grant is kept, or ended.

    code -> tokens -> account and scopes -> the right account? still wanted? -> vault -> tokens that this replaces end

Sources: RFC 6749 4.1.3, RFC 7636 4.5. Tokens that must not be kept are ended at the provider (RFC 7009).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from deputize.core.audit.events import GrantRevoked
from deputize.core.audit.facts import Obtained
from deputize.core.consent.record import ConsentRecord, EndStatus, refused
from deputize.core.consent.repository import ConsentRepository
from deputize.core.failures import Outcome
from deputize.core.grants.accounts import Accounts
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.oauth import flow
from deputize.core.oauth.endpoint import Endpoint, Refusal
from deputize.core.oauth.provider import Provider
from deputize.core.providers.origin import MOVED, origin_of
from deputize.core.vault.grant import Account, Grant, User
from deputize.core.vault.rollback import facts_of
from deputize.core.vault.vault import Record


@dataclass(frozen=True, slots=True)
class Redeemer:
    """Makes grants of codes."""

    repository: ConsentRepository
    queue: RevocationQueue

    async def redeem(self, record: ConsentRecord) -> None:
        """Redeem the code, look whose token it is, and keep the grant. Runs to its end once begun."""
        engine = self.repository.engine
        provider, app = self.repository.registered(record)
        if record.origin != origin_of(provider, app):  # a start with other settings came between
            await self.repository.end(record, "failed", MOVED)
            return
        [visit] = record.visits
        confirmed = await self.repository.save(record.confirmed())
        if confirmed is None:
            raise refused("raced")
        endpoint, asked_at = Endpoint(engine.http, provider, app, engine.clock), engine.clock()
        try:
            tokens = await endpoint.exchange(record.code, visit.verifier, record.redirect_uri, visit.nonce)
        except Refusal as refusal:
            await self.repository.end(confirmed, "failed", reason_of(refusal.outcome))
            return
        await self.keep_or_discard(confirmed, endpoint, tokens, asked_at)

    async def keep_or_discard(
        self, record: ConsentRecord, endpoint: Endpoint, tokens: flow.Tokens, asked_at: float
    ) -> None:
        """Keep tokens that are here, or end them. ``asked_at``: from when on their lifetime counts."""
        kept = False
        try:
            kept = await self._keep(record, endpoint, tokens, asked_at)
        finally:
            if not kept:
                await self.discard(record, tokens)

    async def discard(self, record: ConsentRecord, tokens: flow.Tokens) -> None:
        """End tokens that must not be kept, and no others of the account."""
        await self.queue.end(record.user, record.provider, record.app, tokens, alone=True)

    async def _keep(self, record: ConsentRecord, endpoint: Endpoint, tokens: flow.Tokens, asked_at: float) -> bool:
        """Put the tokens into the vault, if they are of the right account. False: they must not live on."""
        try:
            account, extra = await endpoint.whoami(tokens, asked_at)
            granted = await endpoint.granted(tokens, record.asked)
        except Refusal as refusal:
            await self.repository.end(record, "failed", reason_of(refusal.outcome))
            return False
        if why := await self._why_refused(record, endpoint.provider, account, granted):
            await self.repository.end(record, "failed", why)
            return await self._lives_on(record, endpoint.provider, account)
        if not await self._still_wanted(record):
            return False
        fresh = replace(
            _grant(record, account, granted, tokens, asked_at, extra),
            origin=origin_of(endpoint.provider, endpoint.app),
        )
        return await self._store(record, endpoint.provider, fresh)

    async def _store(self, record: ConsentRecord, provider: Provider, fresh: Grant) -> bool:
        """The grant into the vault, and the consent to its end. False: it was cancelled in the last moment."""
        vault, accounts = self.repository.engine.vault, self._accounts()
        before = await vault.find_whole(record.user, record.provider, record.app)
        replaced: list[Record] = []

        async def enqueue_replaced(old: Grant, new: Grant) -> None:
            if owed := await self.queue.enqueue_replaced(old, new):
                replaced.append(owed)

        grant = await vault.add(fresh, enqueue_replaced)
        if record.other == "switch":
            await accounts.prefer(grant)
        ended = await self._end_granted(record, provider, grant)
        if ended is None:  # revocation wins
            await self._take_back(grant)
            if record.other == "switch" and before:
                await accounts.prefer(before)
        await self.queue.deliver(*replaced)
        return ended is not None

    async def _end_granted(self, record: ConsentRecord, provider: Provider, grant: Grant) -> ConsentRecord | None:
        """End the consent as granted, in whole or in part; None where it has ended otherwise meanwhile."""
        missing = tuple(sorted(set(record.scopes) - provider.covered(grant.scopes)))
        obtained = Obtained(
            scopes_granted=sorted(grant.scopes),
            grant_gen=grant.generation,
            account_hash=self.repository.engine.audit.digest(grant.account.subject),
        )
        status: EndStatus = "partial" if missing else "granted"
        reason = "scope_missing" if missing else ""
        return await self.repository.end(
            record, status, reason, obtained=obtained, missing=missing, account=grant.account.name
        )

    async def _why_refused(
        self, record: ConsentRecord, provider: Provider, account: Account, granted: frozenset[str]
    ) -> str:
        """Why the tokens of this account must not be kept; empty if they may be."""
        if not _expected(account, record):
            return "account_mismatch"
        return "same_account" if record.other and await self._narrower(record, provider, account, granted) else ""

    def _accounts(self) -> Accounts:
        return Accounts(self.repository.engine)

    async def _take_back(self, grant: Grant) -> None:
        """End a grant that was just stored, unless a newer consent has taken its place."""
        vault, audit = self.repository.engine.vault, self.repository.engine.audit
        now: Grant | None = grant
        while now and now.access_token == grant.access_token and now.status != "revoked":
            if ended := await vault.replace(now, now.tombstone()):
                audit.write(GrantRevoked(facts_of(ended, audit)))
                return
            now = await vault.grant(vault.place_of(grant))

    async def _held(self, user: User, provider: str, app: str, account: Account) -> Grant | None:
        """The active grant of this very account, if there is one."""
        vault = self.repository.engine.vault
        held = await vault.grant(vault.place(user, provider, app, account.subject))
        return held if held and held.status == "active" else None

    async def _narrower(
        self, record: ConsentRecord, provider: Provider, account: Account, granted: frozenset[str]
    ) -> bool:
        """Whether this account is connected already, and for more: the new tokens would take from that."""
        held = await self._held(record.user, provider.name, record.app, account)
        kept = held.scopes - provider.incompatible_scopes.keys() if held else frozenset[str]()
        return not kept <= provider.covered(granted)

    async def _lives_on(self, record: ConsentRecord, provider: Provider, account: Account) -> bool:
        """Whether ending this account's new tokens would end a grant that is held here, too."""
        all_at_once = provider.revokes_all and not provider.revoke_one
        return all_at_once and await self._held(record.user, provider.name, record.app, account) is not None

    async def _still_wanted(self, record: ConsentRecord) -> bool:
        """Whether nobody has ended the consent meanwhile."""
        now = await self.repository.again(record)
        return now is not None and (now.id, now.status) == (record.id, "confirmed")


def _grant(
    record: ConsentRecord,
    account: Account,
    scopes: frozenset[str],
    tokens: flow.Tokens,
    asked_at: float,
    extra: Mapping[str, str],
) -> Grant:
    """The grant that these tokens are."""
    return Grant(
        user=record.user,
        provider=record.provider,
        app=record.app,
        account=account,
        scopes=scopes,
        access_token=tokens.access,
        refresh_token=tokens.refresh,
        expires_at=asked_at + tokens.lifetime if tokens.lifetime else 0.0,
        obtained_at=asked_at,
        extra={**extra, **tokens.extra},
    )


def _expected(account: Account, record: ConsentRecord) -> bool:
    """Whether this is the account that was there before, or that was named; any, where none was."""
    if record.subject:
        return account.subject == record.subject
    return record.account.casefold() in ("", account.name.casefold(), account.subject.casefold())


def reason_of(outcome: Outcome) -> str:
    """Why a consent failed, in the words of its record."""
    return "operator" if outcome.fix_by == "operator" else outcome.detail or str(outcome.kind)
