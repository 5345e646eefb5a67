"""Storage of token replies: each becomes a grant or is revoked, in whatever process and after any number of restarts.

    reply -> account and scopes -> right account? still wanted? -> vault -> consent ended -> replaced tokens revoked
                                            no -> tokens in the revocation queue -> reply removed -> tokens revoked

Each step finds the records of the step before. So a crash between two of them has one of two outcomes: the grant is
stored and its consent granted, or neither. Tokens that must not be stored are revoked at the provider (RFC 7009).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from deputize.core.audit.common_fields import Obtained
from deputize.core.audit.events import GrantRevoked
from deputize.core.audit.pseudonyms import Subject
from deputize.core.consent.record import CUT_OFF, ConsentRecord, EndStatus
from deputize.core.consent.repository import ConsentRepository
from deputize.core.failures import Outcome
from deputize.core.grants.accounts import Accounts
from deputize.core.grants.end_grant import finish_bulk_end
from deputize.core.grants.revocation_entries import may_end_others
from deputize.core.grants.revocation_queue import ABANDON_AFTER_SECONDS, RevocationQueue
from deputize.core.grants.token_reply_journal import Received, ReceivedReplies
from deputize.core.oauth.dpop import NOT_BOUND, unbound
from deputize.core.oauth.endpoint import Endpoint, Refusal
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.provider import Provider
from deputize.core.oauth.refusals import REMEDIES
from deputize.core.providers.origin import MOVED, origin_of
from deputize.core.vault.grant import Account, Grant, User, grant_fields
from deputize.core.vault.record import Record


class GrantWriter:
    """Writer of grants from token replies. The caller holds the consent's lock (`redeem`)."""

    def __init__(self, repository: ConsentRepository, received: ReceivedReplies, queue: RevocationQueue) -> None:
        self.repository, self.received, self.queue = repository, received, queue

    async def keep_or_end(self, reply: Received) -> None:
        """Store the tokens if their consent still waits for them, else revoke them; then remove the reply."""
        endpoint = await self._endpoint(reply)
        record = await self._find_waiting_consent(reply)
        if record is None:
            entries = await self._end_unless_kept(reply, endpoint)
        elif endpoint is None:
            return  # the settings no longer have the app: the tokens cannot be used or revoked
        else:
            entries = await self._keep(record, endpoint, reply)
        if entries is None:
            return  # a later attempt may find out
        await self.received.remove(reply)
        await self.queue.deliver(*entries)

    async def _endpoint(self, reply: Received) -> Endpoint | None:
        services = self.repository.services
        await services.registry.wait_until_loaded(reply.app)
        provider, app = services.providers.get(reply.provider), services.apps.get(reply.app)
        return Endpoint(services.http, provider, app, services.clock) if provider and app else None

    async def _find_waiting_consent(self, reply: Received) -> ConsentRecord | None:
        """Return the consent if it waits for these tokens, or None."""
        record = await self.repository.get(reply.key)
        while record and record.id == reply.consent:
            if record.status == "confirmed":
                return record
            if not (reply.device and record.device and fingerprint(record.device.code) == reply.device):
                return None
            if confirmed := await self.repository.save(record.confirm_by_device(self.repository.services.clock())):
                return confirmed
            record = await self.repository.reload(record)
        return None

    async def _end_unless_kept(self, reply: Received, endpoint: Endpoint | None) -> list[Record] | None:
        """Return queue entries for received tokens whose consent no longer waits for them; [] if a grant has them.

        Returns None, for a later try, if the provider does not name the tokens' account now and their revocation might
        end a grant. Revokes a grant that was stored for a consent that was cancelled before it was closed."""
        record = await self.repository.get(reply.key)
        mine = record if record and record.id == reply.consent else None
        if mine and _was_granted(mine, reply):
            return []
        if stored := await self._find_stored_grant(reply):
            if mine is None:
                return []  # its consent is forgotten, or the same need was asked for again
            await self._take_back(reply)
            return await self._enqueue(reply, stored.account)
        if reply.device:
            await self.repository.audit_misuse("late_code", record)
        if endpoint is None or _has_moved(reply, endpoint) or not may_end_others(endpoint.provider):
            return await self._enqueue(reply)
        try:
            account, _ = await self._account(endpoint, reply, record)
        except Refusal:
            return await self._enqueue_unnamed(reply, endpoint.provider)
        return await self._enqueue(reply, account)

    async def _keep(self, record: ConsentRecord, endpoint: Endpoint, reply: Received) -> list[Record] | None:
        """Store the tokens if they belong to the right account, and return nothing. Otherwise return their queue entry,
        or None if the provider does not name their account now and revoking them might end a grant."""
        provider = endpoint.provider
        if stored := await self._find_stored_grant(
            reply
        ):  # it was checked before: a provider that fails now changes nothing
            return await self._store(record, provider, reply, stored)
        if _has_moved(reply, endpoint):
            await self.repository.end(record, "failed", MOVED)
            return await self._enqueue(reply)
        if unbound(provider, reply.tokens):
            await self.repository.end(record, "failed", NOT_BOUND)
            return await self._enqueue(reply)
        try:
            account, extra = await self._account(endpoint, reply, record)
            granted = await endpoint.granted(reply.tokens, record.asked)
        except Refusal as refusal:
            await self.repository.end(record, "failed", reason_of(refusal.outcome))
            return await self._enqueue_unnamed(reply, provider)
        if why := await self._refusal_reason(record, provider, account, granted):
            await self.repository.end(record, "failed", why)
            return await self._enqueue(reply, account)
        if not await self._is_still_wanted(record):
            return [] if await self._was_granted_meanwhile(reply) else await self._enqueue(reply, account)
        return await self._store(record, provider, reply, _grant(reply, account, granted, extra))

    async def _account(
        self, endpoint: Endpoint, reply: Received, record: ConsentRecord | None
    ) -> tuple[Account, dict[str, str]]:
        """Return the account of the tokens. Raises `Refusal`. If the provider never names accounts, it is the expected
        or the connected account, else a new account for each grant."""
        provider, late = endpoint.provider, self.repository.services.registry.late.get(reply.app)
        if late and (named := await late.account_of(reply.tokens.access)):
            return named, {}
        if not provider.apis.identity.nameless:
            return await endpoint.whoami(reply.tokens, reply.asked_at)
        if record and record.other:
            return nameless_account(provider.label, reply.family, one_more=True), {}
        if record and record.subject:
            return Account(record.subject, record.account), {}
        held = await self.repository.services.vault.find_undamaged(reply.user, reply.provider, reply.app)
        return (held.account if held else nameless_account(provider.label, reply.family)), {}

    async def _store(self, record: ConsentRecord, provider: Provider, reply: Received, fresh: Grant) -> list[Record]:
        """Store the grant unless it is stored already, and end the consent. Return a queue entry for the tokens if the
        consent was just cancelled."""
        vault, accounts = self.repository.services.vault, Accounts(self.repository.services)
        before = await vault.find_undamaged(record.user, record.provider, record.app)
        key = vault.record_key(fresh := replace(fresh, epoch=record.epoch))
        replaced = await finish_bulk_end(self.queue, key)

        async def enqueue_replaced(old: Grant, new: Grant) -> None:
            if entry := await self.queue.enqueue_replaced(old, new):
                replaced.append(entry)

        grant = await self._find_stored_grant(reply) or await vault.add(fresh, enqueue_replaced)
        if record.other == "switch":
            await accounts.prefer(grant)
        granted = await self._end_granted(record, provider, grant, reply.family) is not None
        if not granted and not (granted := await self._was_granted_meanwhile(reply)):  # revocation wins
            await self._take_back(reply)
            if record.other == "switch" and before:
                await accounts.prefer(before)
        replaced += await finish_bulk_end(self.queue, key)  # it may have ended with many grants meanwhile
        await self.queue.deliver(*replaced)
        return [] if granted else await self._enqueue(reply, fresh.account)

    async def _find_stored_grant(self, reply: Received) -> Grant | None:
        """Return the active grant with these tokens, or with tokens refreshed from them, or None."""
        for grant in await self.repository.services.vault.list_grants(reply.user, reply.provider, reply.app):
            if grant.status == "active" and _is_of_family(grant, reply):
                return grant
        return None

    async def _end_granted(
        self, record: ConsentRecord, provider: Provider, grant: Grant, family: str
    ) -> ConsentRecord | None:
        """End the consent as granted or partial. Return None if it was ended in another way in between."""
        missing = tuple(sorted(set(record.scopes) - provider.implied_scopes(grant.scopes)))
        obtained = Obtained(
            scopes_granted=sorted(grant.scopes),
            grant_gen=grant.generation,
            account_hash=Subject(grant.account.subject),
        )
        status: EndStatus = "partial" if missing else "granted"
        reason = "scope_missing" if missing else ""
        facts = {"missing": missing, "account": grant.account.name, "family": family}
        return await self.repository.end(record, status, reason, obtained=obtained, **facts)

    async def _refusal_reason(
        self, record: ConsentRecord, provider: Provider, account: Account, granted: frozenset[str]
    ) -> str:
        """Return the reason why the tokens of this account must be refused, or ""."""
        if not _is_expected(account, record):
            return "account_mismatch"
        return "same_account" if record.other and await self._is_narrower(record, provider, account, granted) else ""

    async def _take_back(self, reply: Received) -> None:
        """Revoke the grant that has these tokens, unless a newer consent replaced it."""
        vault, audit = self.repository.services.vault, self.repository.services.audit
        while grant := await self._find_stored_grant(reply):
            refreshed = (grant.access_token, grant.refresh_token) != (reply.tokens.access, reply.tokens.refresh)
            entry = await self.queue.enqueue_grant(grant) if refreshed else None
            if ended := await vault.end_grant(grant, grant.tombstone(), entry or reply.row):
                await audit.record(GrantRevoked(grant_fields(ended)))
            await self.queue.deliver(*([entry] if entry else []))

    async def _find_active_grant(self, user: User, provider: str, app: str, account: Account) -> Grant | None:
        """Return the active grant of this account, or None."""
        vault = self.repository.services.vault
        held = await vault.get_grant(vault.key_prefix(user, provider, app, account.subject))
        return held if held and held.status == "active" else None

    async def _is_narrower(
        self, record: ConsentRecord, provider: Provider, account: Account, granted: frozenset[str]
    ) -> bool:
        """Return True if this account is connected with more scopes, which the new tokens would take away."""
        held = await self._find_active_grant(record.user, provider.name, record.app, account)
        kept = held.scopes - provider.apis.incompatible_scopes.keys() if held else frozenset[str]()
        return not kept <= provider.implied_scopes(granted)

    async def _enqueue(self, reply: Received, account: Account | None = None) -> list[Record]:
        """Return a queue entry for tokens that are not stored. ``account``: their account, if the provider named it."""
        named = account is not None and account.subject != reply.family  # the subject of a nameless account
        return [await reply.enqueue(self.queue, account.subject if account and named else "")]

    async def _enqueue_unnamed(self, reply: Received, provider: Provider) -> list[Record] | None:
        """Return a queue entry for tokens whose account the provider does not name now. None: the reply stays stored
        until it expires, because revoking its tokens might end a grant of the user."""
        services, lifetime = self.repository.services, reply.tokens.lifetime or ABANDON_AFTER_SECONDS
        if may_end_others(provider) and services.clock() < reply.asked_at + lifetime:
            grants = await services.vault.list_grants(reply.user, reply.provider, reply.app)
            if any(grant.status == "active" for grant in grants):
                return None
        return await self._enqueue(reply)

    async def _is_still_wanted(self, record: ConsentRecord) -> bool:
        """Return True unless the consent has ended in between."""
        await self.repository.services.vault.ended.refresh(fresh=True)
        now = await self.repository.reload(record)
        return now is not None and (now.id, now.status) == (record.id, "confirmed")

    async def _was_granted_meanwhile(self, reply: Received) -> bool:
        """Return True if another process granted the consent with these tokens. Both may run at once if one lost its
        lock."""
        record = await self.repository.get(reply.key)
        return record is not None and record.id == reply.consent and _was_granted(record, reply)


def nameless_account(label: str, subject: str, *, one_more: bool = False) -> Account:
    """Return an account for a provider that names none. ``one_more``: add a suffix that tells it apart from others."""
    return Account(subject, f"an account of {label}" + (f" ({subject[:4]})" if one_more else ""))


def _was_granted(record: ConsentRecord, reply: Received) -> bool:
    return record.status not in CUT_OFF and record.family == reply.family


def _has_moved(reply: Received, endpoint: Endpoint) -> bool:
    """Return True if the settings now lead to another server, which must receive no token."""
    return reply.origin != origin_of(endpoint.provider, endpoint.app)


def _is_of_family(grant: Grant, reply: Received) -> bool:
    """Return True if the grant came from these tokens, even if it still has an earlier refresh token."""
    return grant.family == reply.family or grant.access_token == reply.tokens.access


def _grant(reply: Received, account: Account, scopes: frozenset[str], extra: Mapping[str, str]) -> Grant:
    """Return the grant for these tokens."""
    tokens, asked_at = reply.tokens, reply.asked_at
    return Grant(
        user=reply.user,
        provider=reply.provider,
        app=reply.app,
        account=account,
        scopes=scopes,
        access_token=tokens.access,
        refresh_token=tokens.refresh,
        expires_at=asked_at + tokens.lifetime if tokens.lifetime else 0.0,
        refresh_ends_at=tokens.refresh_end(asked_at),
        obtained_at=asked_at,
        extra={**extra, **tokens.extra},
        origin=reply.origin,
        family=reply.family,
        proof_key=tokens.proof_key,
    )


def _is_expected(account: Account, record: ConsentRecord) -> bool:
    """Return True if this is the earlier or the named account, or if neither exists.

    Subjects are case-sensitive (OpenID Connect Core 2, Salesforce's ids). Names are not.
    """
    if record.subject or not record.account:
        return record.subject in ("", account.subject)
    return record.account == account.subject or record.account.casefold() == account.name.casefold()


def reason_of(outcome: Outcome) -> str:
    """Return the reason code for a consent that failed with this outcome."""
    if outcome.fix_by == "operator":
        return outcome.detail if outcome.detail in REMEDIES else "operator"
    return outcome.detail or str(outcome.kind)
