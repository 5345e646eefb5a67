"""Refresh of grants, by one request at a time for each grant, however many callers, threads and processes need a token.

Three layers work together: one task per grant in this process, one lock per grant in the store (released by the system
if its holder dies), and the generation of the record as the fence. In this order:

    task -> lock -> re-read (fresh? use it) -> intent, durable -> POST -> swap, durable -> intent deleted -> hand out

If the lock can be lost while its holder continues, the intent is a lease (`Intent`): no other process sends the token
until the lease ends, and a process that wrote an intent reads the grant again before it sends anything.

An open intent that is found later means that a process sent this refresh token and never stored new tokens. The token
is tried once more. If the provider refuses it, the rotation was lost and the user is asked again. A grant without a
refresh token may be obtained again from its app's source (`grants.sources`), in the same order. Sources: RFC 6749 6,
RFC 9700 4.14.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import suppress
from dataclasses import replace
from typing import Final

from deputize.core.audit.events import (
    Event,
    GrantCleared,
    GrantEndsSoon,
    GrantMarkedLost,
    GrantSuspected,
    ProviderRefusesTokens,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenSaveFailed,
)
from deputize.core.background_loop import portal
from deputize.core.errors import InvalidInput, ProviderUnavailable, StoreUnavailable
from deputize.core.failures import Kind, outcome_of
from deputize.core.grants.backoff import UNSENT, Backoff, Circuits, Pause, second_try_delay
from deputize.core.grants.grant_end import end_of, must_be_told
from deputize.core.grants.refresh_intent import Intent
from deputize.core.grants.refresh_request import (
    GRANT_DEAD,
    Ask,
    apply_reply,
    death_reason,
    has_refresh_token,
    merge_refreshed,
    must_revoke_on_end,
    not_saved_error,
    refresh_request,
    refusal_reason,
    token_refused_error,
)
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.grants.sources.acquire import GrantSources
from deputize.core.grants.sources.session import NotObtained
from deputize.core.oauth.endpoint import Endpoint, Refusal, Unanswered
from deputize.core.oauth.messages import Tokens
from deputize.core.oauth.provider import App, Provider
from deputize.core.oauth.registry import UNKNOWN_CLIENT
from deputize.core.providers.origin import MOVED, moved, origin_change, origin_of
from deputize.core.shared_services import Services
from deputize.core.vault.grant import Grant, Secret, grant_fields
from deputize.core.vault.stores import HeldLock
from deputize.core.vault.token_ownership import EndedByProvider, NextOwner
from deputize.core.vault.vault import Record

LOCK_TIMEOUT_SECONDS: Final = 30.0
REQUEST_TIMEOUT_SECONDS: Final = 60.0
"""Seconds that a token request may take. It runs alone in the background, and is not sent twice at a time."""
CALLER_TIMEOUT_SECONDS: Final = 20.0
"""Seconds that a caller waits for it."""
REFRESH_MARGIN_SECONDS: Final = 60.0
"""A token is refreshed this long before it expires. `REFRESH_MARGIN_SHARE` applies if that is less."""
REFRESH_MARGIN_SHARE: Final = 0.2
"""The share of a token's lifetime, for tokens that live for less than five minutes."""
SAVE_TRIES: Final = 86_400  # about a day: a token that is dropped takes its grant with it
REJECTED: Final = "rejected"
_REFUSED: Final = outcome_of(Kind.TRANSIENT)


class GrantLost(Exception):
    """A grant is dead or deleted; ``reason`` says why. Only a new consent helps."""

    def __init__(self, reason: str, grant: Grant | None = None) -> None:
        super().__init__(reason)
        self.reason, self.grant = reason, grant


class Refresher:
    """Source of grants with a valid access token."""

    def __init__(self, services: Services, revocation_queue: RevocationQueue) -> None:
        self.vault, self.http, self.audit, self.revocation_queue = (
            services.vault,
            services.http,
            services.audit,
            revocation_queue,
        )
        self.registry, self.providers, self.apps = services.registry, services.providers, services.apps
        self._in_flight, self._running, self._unsaved = services.in_flight, dict[str, asyncio.Task[Grant]](), set[str]()
        self._backoff, self.clock = Backoff(services.clock), services.clock
        self.sources = GrantSources(services, revocation_queue, self.end)
        self._refusals, self._circuits, self._id = (
            Backoff(services.clock),
            Circuits(services.clock),
            secrets.token_hex(8),
        )

    def is_valid(self, grant: Grant) -> bool:
        """Return True if the token need not be refreshed yet: see `REFRESH_MARGIN_SECONDS`."""
        if not grant.expires_at:
            return True
        lifetime = max(grant.expires_at - grant.obtained_at, 0.0)
        margin = min(REFRESH_MARGIN_SECONDS, REFRESH_MARGIN_SHARE * lifetime)
        return self.clock() < grant.expires_at - margin

    async def get_live(self, grant: Grant, failed: Secret | None = None) -> Grant:
        """Return the grant with a valid token. ``failed``: the access token that the provider just refused.

        Raises `GrantLost`, `RateLimited`, `ProviderUnavailable` or `StoreUnavailable`. Cancelling the caller does not
        cancel the refresh.
        """
        if grant.status != "active":
            raise GrantLost(grant.reason, grant)
        if self.is_valid(grant) and grant.access_token != failed:
            return await self._announce_end(grant)
        key = self.vault.record_key(grant)
        try:
            again = await self.sources.renewal_request(grant)
        except NotObtained as none:
            if self._is_usable(grant, failed):
                return grant
            if self._is_unexpired(grant):  # only refused, which may be an outage: it works again afterwards
                raise GrantLost(none.reason, grant) from None
            raise await self.end(grant, none.reason, replaced=True) from None
        return await self._announce_end(await portal().hop(lambda: self._join(key, failed, again)))

    async def _announce_end(self, grant: Grant) -> Grant:
        """Record that the grant ends soon, once, and return the grant. The record in the vault is written first, so
        that only one of many processes and calls announces it."""
        provider, app = self.providers.get(grant.provider), self.apps.get(grant.app)
        end = end_of(grant, provider, app) if provider and app else None
        if end is None or not must_be_told(grant, end, self.clock()):
            return grant
        with suppress(StoreUnavailable):
            if told := await self.vault.replace(grant, replace(grant, end_told_at=end.at)):
                await self._tell(GrantEndsSoon(grant_fields(told), int(end.at), end.reason))
                return told
        return grant

    async def _join(self, key: str, failed: Secret | None, again: Ask | None = None) -> Grant:
        """Return the result of this process's only refresh of the grant. Runs on the portal's loop only."""
        while True:
            task = self._running.get(key)
            if task is None or task.done():
                # in a task of its own: it is finished at exit even if no caller waits any more
                hop = self._in_flight.run(lambda: self._refresh_locked(key, failed, again))
                self._running[key] = task = asyncio.create_task(hop)
                task.add_done_callback(lambda done: self._forget(key, done))
                return await self._wait_for(task, key, failed)
            grant = await self._wait_for(task, key, failed)
            if grant.access_token != failed:
                return grant

    async def _wait_for(self, task: asyncio.Task[Grant], key: str, failed: Secret | None) -> Grant:
        """Return the refreshed grant, or after some time the old one if usable. Raises the refresh's error."""
        done, _ = await asyncio.wait((task,), timeout=CALLER_TIMEOUT_SECONDS)
        if done:
            return task.result()
        grant = await self.vault.get_grant(key)
        if grant and self._is_usable(grant, failed):
            return grant
        if key in self._unsaved:
            raise not_saved_error()
        raise ProviderUnavailable("The provider is slow to refresh the grant.", hint="Try again in a minute.")

    def _forget(self, key: str, task: asyncio.Task[Grant]) -> None:
        if self._running.get(key) is task:
            del self._running[key]
            self._unsaved.discard(key)
        if not task.cancelled():
            task.exception()  # retrieved even if all callers have given up

    async def _refresh_locked(self, key: str, failed: Secret | None, again: Ask | None) -> Grant:
        try:
            async with self.vault.store.lock(f"grant-{key}", LOCK_TIMEOUT_SECONDS) as lock:
                return await self._refresh(key, failed, again, lock)
        except TimeoutError:
            grant = await self.vault.get_grant(key)
            if grant and self._is_usable(grant, failed):
                return grant
            raise ProviderUnavailable("Another process is still refreshing this grant.") from None

    async def _refresh(self, key: str, failed: Secret | None, again: Ask | None, lock: HeldLock | None) -> Grant:
        grant = await self.vault.get_grant(key)
        if grant is None or grant.status != "active":
            raise GrantLost(grant.reason if grant else "disconnected", grant)
        if self.is_valid(grant) and grant.access_token != failed:
            return grant  # another process refreshed it
        await self.registry.wait_until_loaded(grant.app)
        self._check_origin(grant)
        if (refused := self.is_valid(grant)) and (
            self._refusals.pause(key) or not self._circuits.admits_refresh(grant.provider)
        ):
            raise self._refusal_error(grant, again)
        if (ask := refresh_request(grant, again)) is None:
            return await self._unrenewable(grant, failed)
        if pause := self._backoff.pause(key):
            return self._serve_meanwhile(grant, failed, pause)
        intent = self._intent(grant, lock)
        await intent.write(self.clock(), LOCK_TIMEOUT_SECONDS)
        if not await self._holds_same(key, grant):  # the last holder stored new tokens, or saw that all grants ended
            await intent.end()
            return await self._refresh(key, failed, again, lock)
        asked_at = self.clock()
        try:
            tokens = await self._ask(grant, ask, intent, urgent=not self._is_usable(grant, failed))
        except Refusal as refusal:
            outcome, unanswered = refusal.outcome, isinstance(refusal, Unanswered)
        else:
            self._backoff.reset(key)
            if why := refusal_reason(self._row(grant)[0], grant, tokens):
                refused_entry = await self.revocation_queue.enqueue(grant.user, grant.provider, grant.app, tokens)
                try:
                    return await self._mark_dead(grant, why, intent)
                finally:  # not before: this very grant might end with them
                    await self.revocation_queue.deliver(refused_entry)
            try:
                saved, left = await self._save(
                    grant, apply_reply(grant, tokens, asked_at, origin_of(*self._row(grant)))
                )
            except GrantLost:
                await intent.end()
                raise
            if refused:
                self._refusals.record_failure(key, _REFUSED)
            await intent.end()
            await self.revocation_queue.deliver(*([left] if left else []))
            return saved
        reason = outcome.detail or str(outcome.kind)
        await self._tell(TokenRefreshFailed(grant_fields(grant), reason))
        if reason == UNKNOWN_CLIENT:
            await self.registry.renew(self.apps[grant.app])
            self._check_origin(grant)
        taken = unanswered or intent.reopened
        if outcome.kind is Kind.REAUTH:
            why = death_reason(grant, reason, unanswered=taken)
            return await self._mark_dead(
                grant, why, intent, told=reason == GRANT_DEAD and has_refresh_token(grant) and not taken
            )
        taken |= outcome.kind is Kind.TRANSIENT and outcome.detail != UNSENT
        await (intent.leave() if taken else intent.end())
        return self._serve_meanwhile(grant, failed, self._backoff.record_failure(key, outcome))

    async def _holds_same(self, key: str, grant: Grant) -> bool:
        """Return True if the stored grant still has the same tokens, and no bulk revocation has ended it until now."""
        await self.vault.ended.refresh(fresh=True)
        now = await self.vault.get_grant(key)
        return now is not None and (now.access_token, now.refresh_token) == (grant.access_token, grant.refresh_token)

    def _intent(self, grant: Grant, lock: HeldLock | None) -> Intent:
        """Return the intent to write before this grant is refreshed."""
        bound = grant.proof_key is not None or self._row(grant)[0].oauth.dpop  # it may be sent again with a nonce
        key, token = self.vault.record_key(grant), grant.refresh_token or grant.access_token
        holder, seconds = (
            f"{self._id}-{os.getpid()}",
            REQUEST_TIMEOUT_SECONDS * (1 + bound),
        )  # a forked child is another holder
        return Intent(self.vault, key, token, holder=holder, lock=lock, seconds=seconds)

    async def _unrenewable(self, grant: Grant, failed: Secret | None) -> Grant:
        """Return a grant that cannot be refreshed, while its token is valid. If the token has expired, end the grant
        and raise `GrantLost`."""
        if self._is_usable(grant, failed):
            return grant
        if not self._is_unexpired(grant):
            return await self._mark_dead(grant, "expired")
        self._refusals.record_failure(self.vault.record_key(grant), _REFUSED)
        error = GrantLost(REJECTED, grant) if await self._is_unknown(grant) else self._refusal_error(grant, None)
        await self.suspect(grant, error.reason)
        raise error

    async def _is_unknown(self, grant: Grant) -> bool:
        """Return True if the provider's token check does not know the token. A 401 of the API is not enough for
        that."""
        try:
            return await Endpoint(self.http, *self._row(grant), self.clock).is_of_app(grant.access_token) is False
        except Refusal:
            return False

    async def suspect(self, grant: Grant, reason: str) -> None:
        """Record that the API refuses the grant's token. It may be an outage, so the grant keeps its tokens, and the
        next act tries them again. Only the token endpoint can report that a grant is dead."""
        with suppress(StoreUnavailable):
            if grant.reason != reason and await self.vault.replace(grant, replace(grant, reason=reason)):
                await self._tell(GrantSuspected(grant_fields(grant), reason))
        if self._circuits.record_refusal(grant.provider, self.vault.record_key(grant)):
            await self._tell(ProviderRefusesTokens(grant.provider))

    def has_doubts(self, grant: Grant) -> bool:
        """Return True if `clear` would record anything."""
        return grant.is_suspect or bool(self._refusals) or bool(self._circuits)

    async def clear(self, grant: Grant) -> Grant:
        """Record that the API accepts the grant's token, and return the grant.

        Until this is called, acts that meet a refusal do not refresh the grant again, except after a growing pause.
        """
        self._refusals.reset(self.vault.record_key(grant))
        self._circuits.close(grant.provider)
        with suppress(StoreUnavailable):
            if grant.is_suspect and (cleared := await self.vault.replace(grant, replace(grant, reason=""))):
                await self._tell(GrantCleared(grant_fields(cleared)))
                return cleared
        return grant

    def _refusal_error(self, grant: Grant, again: Ask | None) -> GrantLost | ProviderUnavailable:
        """Return the error for callers while the API refuses the token. If the token cannot be renewed and the provider
        cannot check it, the user is asked for consent. The grant stays until the user has consented again."""
        row, renewable = self._row(grant)[0], refresh_request(grant, again) is not None
        if not (renewable or row.oauth.revoke_by == "app"):
            return GrantLost(REJECTED, grant)
        return token_refused_error(row.label, refreshed=renewable)

    async def _mark_dead(self, grant: Grant, reason: str, intent: Intent | None = None, *, told: bool = False) -> Grant:
        """Mark the grant dead, then delete the intent. In the other order, a crash would lose the reason.

        The tokens are also revoked at the provider, unless the provider has just reported their family as dead
        (``told``). After a lost rotation, tokens that never arrived are still valid there, and the old token may
        identify the family to end.
        """
        lost: Record | None = None
        if not told or must_revoke_on_end(grant):
            lost = await self.revocation_queue.enqueue_grant(grant, replaced=True)
        try:
            newer = await self._end_with(grant, reason, lost or EndedByProvider())
        except GrantLost:
            if intent:
                await intent.end()
            await self.revocation_queue.deliver(*([lost] if lost else []))
            raise
        if intent:
            await intent.end()
        if lost:
            await self.vault.delete(lost)  # not lost: another process saved the new tokens
        return newer

    async def _ask(self, grant: Grant, ask: Ask, intent: Intent, *, urgent: bool) -> Tokens:
        """Send a token request, and a second one with the same token if `Backoff.allows_second_try` permits it."""
        endpoint = Endpoint(self.http, *self._row(grant), self.clock, REQUEST_TIMEOUT_SECONDS)
        try:
            return await ask(endpoint)
        except Refusal as refusal:
            first = refusal.outcome
            if not self._backoff.allows_second_try(self.vault.record_key(grant), first, urgent=urgent):
                raise
        await asyncio.sleep(second_try_delay())
        if not await intent.allows_another():
            raise Refusal(first)
        try:
            return await ask(endpoint)
        except Refusal as refusal:
            if first.detail == UNSENT:
                raise
            raise Unanswered(refusal.outcome) from None

    def _row(self, grant: Grant) -> tuple[Provider, App]:
        provider, app = self.providers.get(grant.provider), self.apps.get(grant.app)
        if provider is None or app is None:
            raise InvalidInput(
                f"The app {grant.app!r} of this grant is not in the settings any more.", fix_by="operator"
            )
        return provider, app

    def _check_origin(self, grant: Grant) -> None:
        """Raise if the current token endpoint, or its app, differs from the one that issued this grant."""
        provider, app = self._row(grant)
        if where := origin_change(grant.origin, provider, app):
            raise moved(grant, provider) if where == "place" else GrantLost(MOVED, grant)

    async def _save(self, old: Grant, new: Grant) -> tuple[Grant, Record | None]:
        """Store the new tokens before any caller uses them. The lock is held until the store accepts the tokens.

        Also returns a queue entry for replaced tokens that must be revoked separately.
        """
        left: Record | None = None
        noted = not must_revoke_on_end(old)
        for attempt in range(SAVE_TRIES):
            try:
                if not noted:
                    left, noted = await self.revocation_queue.enqueue_replaced(old, new), True
                if saved := await self.vault.replace(old, new):
                    break
                current = await self.vault.get_grant(self.vault.record_key(old))
                if current is None or current.status != "active":
                    raise await self._end_overtaken(old, new, current)
                if (current.access_token, current.refresh_token) == (new.access_token, new.refresh_token):
                    saved = current  # by the previous attempt, whose answer was lost
                    break
                if current.refresh_token != old.refresh_token:  # a newer consent brought tokens of its own
                    return current, await self.revocation_queue.enqueue_replaced(new, current)
                old, new = current, merge_refreshed(old, current, new)  # the row was only touched: our token counts
            except StoreUnavailable:
                self._unsaved.add(self.vault.record_key(old))
                if attempt < 60 or attempt % 60 == 0:  # then once a minute
                    await self._tell(TokenSaveFailed(grant_fields(old), attempt))
                await asyncio.sleep(min(0.05 * 2 ** min(attempt, 5), 1.0))
        else:
            raise not_saved_error()
        await self._tell(TokenRefreshed(grant_fields(saved)))
        return saved, left

    async def _tell(self, event: Event) -> None:
        """Record the event. A store outage is ignored: the audit writes the row later, and callers get their token."""
        with suppress(StoreUnavailable):
            await self.audit.record(event)

    async def _end_overtaken(self, old: Grant, new: Grant, current: Grant | None) -> GrantLost:
        """Handle a revocation during the refresh: the grant stays revoked, and the new tokens are revoked too."""
        lifetime = max(new.expires_at - new.obtained_at, 0.0)
        tokens = Tokens(new.access_token, new.refresh_token, None, lifetime)
        await self.revocation_queue.end(old.user, old.provider, old.app, tokens, subject=old.account.subject)
        return GrantLost(current.reason if current else "disconnected", current)

    def _is_usable(self, grant: Grant, failed: Secret | None) -> bool:
        """Return True if callers may use the old token while no new one can be obtained."""
        return grant.status == "active" and self._is_unexpired(grant) and grant.access_token != failed

    def _is_unexpired(self, grant: Grant) -> bool:
        return not grant.expires_at or self.clock() < grant.expires_at

    def _serve_meanwhile(self, grant: Grant, failed: Secret | None, pause: Pause) -> Grant:
        if self._is_usable(grant, failed):
            return grant
        raise pause.error()

    async def end(self, grant: Grant, reason: str, *, replaced: bool = False) -> GrantLost:
        """Mark the grant dead and revoke its tokens at the provider. Otherwise the next consent would bring the same
        grant back. ``replaced``: the grant gets no tombstone; see `RevocationQueue.enqueue_grant`."""
        queued = await self.revocation_queue.enqueue_grant(grant, replaced=replaced)
        try:
            await self._end_with(grant, reason, queued)
            lost = GrantLost(reason, grant)  # a newer generation is left alone
        except GrantLost as error:
            lost = error
        if queued:
            await self.revocation_queue.deliver(queued)
        return lost

    async def _end_with(self, grant: Grant, reason: str, next_owner: NextOwner) -> Grant:
        """Mark the grant dead and raise `GrantLost`. Returns a grant with newer tokens if one was stored first."""
        while (dead := await self.vault.end_grant(grant, grant.dead(reason), next_owner)) is None:
            current = await self.vault.get_grant(self.vault.record_key(grant))
            if current is None or current.status != "active":
                raise GrantLost(current.reason if current else "disconnected", current)
            if (current.access_token, current.refresh_token) != (grant.access_token, grant.refresh_token):
                return current  # another process was faster, and has newer tokens
            grant = current
        await self.audit.record(GrantMarkedLost(grant_fields(dead), reason))
        raise GrantLost(reason, dead)
