"""From a code to a token reply, once; and from wherever a process that died has left a consent, to its end.

    code, kept -> code sent, no longer kept -> reply sealed (`received`) -> grant kept or tokens ended (`keep`)

One process at a time goes on with a consent, under a lock that is free again when it dies; whoever looks at a consent
between two of these steps goes on from there. Where a process died between sending the code and sealing the reply,
nobody has the tokens, if there are any: the consent ends as ``interrupted``, and the user is asked again.
Sources: RFC 6749 4.1.3, RFC 7636 4.5.
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
from deputize.core.grants.revocation_entries import all_end_with_one
from deputize.core.grants.token_reply_journal import Received, ReceivedReplies
from deputize.core.oauth.endpoint import Endpoint, Refusal
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.registry import UNKNOWN_CLIENT
from deputize.core.oauth.token_reply import Tokens
from deputize.core.providers.origin import MOVED, origin_of
from deputize.core.vault.grant import Secret, User

LOCK_WAIT: Final = 30.0
"""Seconds to wait until another consent of the user for the same app has been redeemed."""
INTERRUPTED: Final = "interrupted"

log = logging.getLogger("deputize")


class Redeemer:
    """Makes grants of codes."""

    def __init__(self, repository: ConsentRepository, received: ReceivedReplies, keeper: GrantWriter) -> None:
        self.repository, self.received, self.keeper = repository, received, keeper

    async def go_on(self, found: ConsentRecord, timeout: float = 0.0) -> None:
        """Bring a consent whose code is here to its end; nothing where another process is at work on it.

        Runs to its end once begun. ``timeout``: seconds to wait for another one of this user and app.
        """
        async with self._alone(found.user, found.provider, found.app, timeout) as alone:
            if not alone or await self._finished(found):
                return
            record = await self.repository.again(found)
            if record is not None and record.id == found.id and record.status == "returned":
                await self._redeem(record)
            elif record is not None and record.id == found.id and record.status == "confirmed":
                await self.repository.end(record, "failed", INTERRUPTED)

    async def settle(self, key: str = "", timeout: float = 0.0) -> None:
        """Finish what processes that died have left below this place, which is a user's, or everybody's.

        ``timeout``: seconds to wait for a process that is at work on one, until it has finished or died, too.
        """
        async for reply in self.received.below(key):
            async with self._alone(reply.user, reply.provider, reply.app, timeout) as alone:
                now = await self.received.again(reply) if alone else None
                try:
                    await (self.keeper.keep_or_end(now) if now else _nothing())
                except VaultError as damaged:  # a grant of theirs does not open; the others are not to wait for it
                    log.warning("A consent cannot be finished: %s", damaged.code)

    @asynccontextmanager
    async def _alone(self, user: User, provider: str, app: str, timeout: float) -> AsyncIterator[bool]:
        """Whether nobody else redeems a consent of this user for this app, as long as the block lasts."""
        vault = self.repository.engine.vault
        async with AsyncExitStack() as lock:
            try:
                name = f"consent-{vault.key_prefix(user, provider, app)}"
                await lock.enter_async_context(vault.store.lock(name, timeout))
                alone = True
            except TimeoutError:
                alone = False
            yield alone

    async def _finished(self, record: ConsentRecord) -> bool:
        """Whether a reply is here: then it is kept or ended now."""
        replies = await self.received.of(record.user, record.provider, record.app, record.id)
        for reply in replies:
            await self.keeper.keep_or_end(reply)
        return bool(replies)

    async def _redeem(self, record: ConsentRecord) -> None:
        """Send the code, seal the reply, and keep it or end it."""
        engine = self.repository.engine
        provider, app = engine.providers.get(record.provider), engine.apps.get(record.app)
        if provider is None or app is None:
            return  # the settings know them no more: the code will have expired when they do
        if record.origin != origin_of(provider, app):  # a start with other settings came between
            await self.repository.end(record, "failed", MOVED)
            return
        [visit] = record.visits
        confirmed = await self.repository.save(record.confirmed())
        if confirmed is None:
            return  # cancelled: its page says so
        endpoint, asked_at = Endpoint(engine.http, provider, app, engine.clock), engine.clock()
        try:
            tokens = await endpoint.exchange(record.code, visit.verifier, record.redirect_uri, visit.nonce)
        except Refusal as refusal:
            await self.repository.end(confirmed, "failed", reason := reason_of(refusal.outcome))
            if reason == UNKNOWN_CLIENT:
                await engine.registry.renewed(app)
            return
        await self._take(confirmed, endpoint, tokens, asked_at)

    async def take_from_device(
        self, record: ConsentRecord, endpoint: Endpoint, tokens: Tokens, asked_at: float, code: Secret
    ) -> None:
        """The device code was entered, and brought tokens: keep them, if the consent still waits for them."""
        await self._seal(record, endpoint, tokens, asked_at, code)
        async with self._alone(record.user, record.provider, record.app, LOCK_WAIT) as alone:
            if alone:
                await self._finished(record)

    async def _take(self, record: ConsentRecord, endpoint: Endpoint, tokens: Tokens, asked_at: float) -> None:
        await self._seal(record, endpoint, tokens, asked_at)
        await self._finished(record)

    async def _seal(
        self, record: ConsentRecord, endpoint: Endpoint, tokens: Tokens, asked_at: float, code: Secret | None = None
    ) -> None:
        """Seal the reply. Where the store takes nothing for long, the tokens end at the provider while they are known,
        unless a grant that is held there would end with them."""
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
    """Somebody else did it."""
