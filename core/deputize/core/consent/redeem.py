"""Redemption of codes, once each, and recovery of consents that a dead process left in any state.

    code stored -> code removed and sent -> reply stored (`token_reply_journal`) -> grant stored or tokens revoked

One process at a time works on a consent, under a lock that is released if the process dies. The next process that reads
a consent between two of these steps continues from there. If a process died between sending the code and storing the
reply, the tokens, if any, are lost: the consent ends as ``interrupted``, and the user is asked again. If the lock can
be lost while its holder continues (`HeldLock`), the holder also has a lease, and no other process ends the consent
before the lease does. Sources: RFC 6749 4.1.3, RFC 7636 4.5.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from deputize.core.consent.grant_writer import GrantWriter, reason_of
from deputize.core.consent.record import ConsentRecord
from deputize.core.consent.repository import ConsentRepository
from deputize.core.errors import StoreUnavailable, VaultError
from deputize.core.grants.consent_lock import LOCK_TIMEOUT_SECONDS, consent_lock
from deputize.core.grants.revocation_entries import all_end_with_one
from deputize.core.grants.token_reply_journal import Received, ReceivedReplies
from deputize.core.oauth.endpoint import Endpoint, Refusal
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.registry import UNKNOWN_CLIENT
from deputize.core.oauth.token_reply import Tokens
from deputize.core.providers.origin import MOVED, origin_of
from deputize.core.vault.grant import Secret, User
from deputize.core.vault.stores import HeldLock

LEASE_SECONDS: Final = 60.0
"""Seconds in which a code is sent, twice at most, and its reply sealed."""
INTERRUPTED: Final = "interrupted"

log = logging.getLogger("deputize")


class Turn:
    """The right of one process to redeem the consents of one user and app. ``lock``: the lock, if it can be lost."""

    def __init__(self, lock: HeldLock | None) -> None:
        self.lock = lock

    async def take_lease(self) -> float:
        """Return the end of a lease that begins now, or 0.0 if no lease is needed. Raises `StoreUnavailable` if the
        lock was lost: nothing may be sent then."""
        return await self.lock.confirm() + LEASE_SECONDS if self.lock else 0.0

    async def has_ended(self, lease: float) -> bool:
        """Return True if the lease has ended, after which its holder sends no request."""
        return self.lock is None or await self.lock.confirm() >= lease


class Redeemer:
    """Redeemer of codes for grants."""

    def __init__(self, repository: ConsentRepository, received: ReceivedReplies, keeper: GrantWriter) -> None:
        self.repository, self.received, self.keeper = repository, received, keeper

    async def resume(self, found: ConsentRecord, timeout: float = 0.0) -> None:
        """Finish a consent whose code is stored. Does nothing if another process is working on it.

        Once started, it runs to its end. ``timeout``: seconds to wait for another redemption of this user and app.
        """
        async with self._try_lock(found.user, found.provider, found.app, timeout) as turn:
            if turn is None or await self._finish_received(found):
                return
            record = await self.repository.reload(found)
            if record is not None and record.id == found.id and record.status == "returned":
                await self._redeem(record, turn)
            elif record is not None and record.id == found.id and record.status == "confirmed":
                if await turn.has_ended(record.lease):
                    await self.repository.end(record, "failed", INTERRUPTED)

    async def settle(self, key: str = "", timeout: float = 0.0) -> None:
        """Finish consents that dead processes left. ``key``: a user's key prefix, or empty for all users.

        ``timeout``: seconds to wait until a process that is working on a consent has finished or died.
        """
        async for reply in self.received.list_below(key):
            async with self._try_lock(reply.user, reply.provider, reply.app, timeout) as turn:
                now = await self.received.reload(reply) if turn else None
                try:
                    await (self.keeper.keep_or_end(now) if now else _nothing())
                except VaultError as damaged:  # a grant of the user does not open; other users must not wait for it
                    log.warning("A consent cannot be finished: %s", damaged.code)

    @asynccontextmanager
    async def _try_lock(self, user: User, provider: str, app: str, timeout: float) -> AsyncIterator[Turn | None]:
        """Yield this process's turn, or None if another process redeems a consent of this user and app."""
        vault, turn = self.repository.services.vault, None
        async with AsyncExitStack() as lock:
            try:
                turn = Turn(await lock.enter_async_context(consent_lock(vault, user, provider, app, timeout)))
            except TimeoutError:
                pass
            yield turn

    async def _finish_received(self, record: ConsentRecord) -> bool:
        """Store or revoke the tokens in the stored replies of a consent. Return False if there are none."""
        replies = await self.received.find(record.user, record.provider, record.app, record.id)
        for reply in replies:
            await self.keeper.keep_or_end(reply)
        return bool(replies)

    async def _redeem(self, record: ConsentRecord, turn: Turn) -> None:
        """Send the code, store the reply, then store or revoke its tokens."""
        services = self.repository.services
        provider, app = services.providers.get(record.provider), services.apps.get(record.app)
        if provider is None or app is None:
            return  # the settings no longer have them: the code will have expired when they do
        if record.origin != origin_of(provider, app):  # the deputy was restarted with other settings
            await self.repository.end(record, "failed", MOVED)
            return
        [visit] = record.visits
        confirmed = await self.repository.save(record.confirm(await turn.take_lease()))
        if confirmed is None:
            return  # cancelled, as its page shows
        endpoint, asked_at = Endpoint(services.http, provider, app, services.clock), services.clock()
        try:
            tokens = await endpoint.exchange(record.code, visit.verifier, record.redirect_uri, visit.nonce)
        except Refusal as refusal:
            await self.repository.end(confirmed, "failed", reason := reason_of(refusal.outcome))
            if reason == UNKNOWN_CLIENT:
                await services.registry.renew(app)
            return
        await self._take(confirmed, endpoint, tokens, asked_at)

    async def take_from_device(
        self, record: ConsentRecord, endpoint: Endpoint, tokens: Tokens, asked_at: float, code: Secret
    ) -> None:
        """Store the tokens of an entered device code if the consent still waits for them."""
        await self._seal(record, endpoint, tokens, asked_at, code)
        async with self._try_lock(record.user, record.provider, record.app, LOCK_TIMEOUT_SECONDS) as turn:
            if turn:
                await self._finish_received(record)

    async def _take(self, record: ConsentRecord, endpoint: Endpoint, tokens: Tokens, asked_at: float) -> None:
        await self._seal(record, endpoint, tokens, asked_at)
        await self._finish_received(record)

    async def _seal(
        self, record: ConsentRecord, endpoint: Endpoint, tokens: Tokens, asked_at: float, code: Secret | None = None
    ) -> None:
        """Store the reply, encrypted. If the store stays unavailable, the tokens are revoked at the provider while this
        process knows them, unless a stored grant would end with them."""
        reply = Received(
            family=secrets.token_hex(16),
            consent=record.id,
            key=record.row.key if record.row else "",
            user=record.user,
            provider=record.provider,
            app=record.app,
            tokens=tokens,
            asked_at=asked_at,
            device=fingerprint(code) if code else "",
            origin=record.origin,
        )
        try:
            await self.received.put(reply)
        except StoreUnavailable:
            if not (all_end_with_one(endpoint.provider) and record.subject):
                await self._end_unsealed(endpoint, tokens)
            raise

    async def _end_unsealed(self, endpoint: Endpoint, tokens: Tokens) -> None:
        try:
            await endpoint.revoke(tokens.refresh or tokens.access, alone=True)
        except Refusal as refusal:
            log.error("Tokens that could neither be kept nor ended: %s", refusal.outcome.kind)


async def _nothing() -> None:
    """Do nothing, because another process completed the work."""
