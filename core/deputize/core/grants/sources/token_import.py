"""From tokens that came without a consent to a grant: sealed first, so that no crash leaves tokens nobody knows.

    tokens -> reply sealed (`received`) -> whose, and which scopes? -> vault -> reply removed -> what this replaces ends
                                            no -> tokens in the revocation queue -> reply removed -> tokens end

A process that dies in between leaves a reply without a consent: whoever settles what was left (`consent.redeem`) ends
its tokens at the provider, or finds the grant and removes it.
"""

from __future__ import annotations

import secrets

from deputize.core.audit.events import GrantObtained, GrantRevoked
from deputize.core.engine import Engine
from deputize.core.failures import Kind, outcome_of
from deputize.core.grants.end_grant import end_what_lies
from deputize.core.grants.refresh_request import OTHER_ACCOUNT
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.grants.token_reply_journal import Received, ReceivedReplies
from deputize.core.oauth.dpop import NOT_BOUND, unbound
from deputize.core.oauth.endpoint import Endpoint, Refusal
from deputize.core.oauth.token_reply import Tokens
from deputize.core.providers.origin import origin_of
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.grant import Account, Grant, User, facts_of
from deputize.core.vault.record import Record

DISCONNECTED = "disconnected"


@frozen(kw_only=True)
class ImportedTokens(Frozen):
    """Tokens, and what is known of them. ``asked``: for which scopes. ``subject``: the account's, if it has to be that
    one; ``named``: its subject or name, if it has to be so called; ``known``: the account, where nobody is asked.
    ``by``: who imported them. ``again``: even where the user has disconnected the account before. ``mark``: of the
    request (`in_progress`).
    """

    user: User
    tokens: Tokens
    asked_at: float
    source: str
    mark: Record
    asked: frozenset[str] = frozenset()
    subject: str = ""
    named: str = ""
    known: Account | None = None
    by: str = ""
    again: bool = False


class _Refused(Exception):
    """The tokens must not be kept."""


def is_called(account: Account, name: str) -> bool:
    """Whether somebody who says this name or subject means the account.

    Case counts for nothing in ASCII alone: otherwise the Kelvin sign is a k, and straße is strasse, and those are other
    accounts. What is all digits is an id: at GitHub anybody may take another's id as a login.
    """
    if name == account.subject:
        return True
    return not name.isdecimal() and _folded(name) == _folded(account.name)


def _folded(name: str) -> bytes:
    return name.encode(errors="backslashreplace").lower()  # of bytes, that changes ASCII only


class TokenImporter:
    """Puts tokens into the vault, or ends them."""

    def __init__(self, engine: Engine, queue: RevocationQueue) -> None:
        self.engine, self.vault, self.queue = engine, engine.vault, queue
        self.received = ReceivedReplies(engine)

    async def enter(self, endpoint: Endpoint, came: ImportedTokens) -> Grant:
        """The grant that these tokens are now. Raises `Refusal` where they are not kept; then they end.

        Whoever calls it has the user and the app for itself, by the lock that a consent is redeemed under.
        """
        provider, app = endpoint.provider, endpoint.app
        reply = Received(
            family=secrets.token_hex(16),
            consent="",
            key="",
            user=came.user,
            provider=provider.name,
            app=app.name,
            tokens=came.tokens,
            asked_at=came.asked_at,
            origin=origin_of(provider, app),
        )
        sealed = await self.received.put(reply)
        try:
            fresh = await self._judged(endpoint, came, reply)
            return await self._kept(came, fresh, sealed)
        except Refusal:
            await self._end(sealed)
            raise
        except _Refused as why:
            await self._end(sealed)
            raise Refusal(outcome_of(Kind.REAUTH, str(why))) from None

    async def _judged(self, endpoint: Endpoint, came: ImportedTokens, reply: Received) -> Grant:
        """The grant to be stored, if these are tokens to keep."""
        if unbound(endpoint.provider, came.tokens):
            raise _Refused(NOT_BOUND)
        account, extra = came.known, dict[str, str]()
        if account is None:
            account, extra = await endpoint.whoami(came.tokens, came.asked_at)
        if came.subject not in ("", account.subject) or not (came.named == "" or is_called(account, came.named)):
            raise _Refused(OTHER_ACCOUNT)
        return Grant(
            user=came.user,
            provider=reply.provider,
            app=reply.app,
            account=account,
            scopes=await endpoint.granted(came.tokens, came.asked),
            access_token=came.tokens.access,
            refresh_token=came.tokens.refresh,
            expires_at=came.asked_at + came.tokens.lifetime if came.tokens.lifetime else 0.0,
            obtained_at=came.asked_at,
            extra={**extra, **came.tokens.extra},
            origin=reply.origin,
            family=reply.family,
            proof_key=came.tokens.proof_key,
            source=came.source,
            epoch=came.mark.json["epoch"],
        )

    async def _kept(self, came: ImportedTokens, fresh: Grant, sealed: Received) -> Grant:
        key = self.vault.record_key(fresh)
        replaced = await end_what_lies(self.queue, key)

        async def replacing(before: Grant, after: Grant) -> None:
            if before.status == "revoked" and not came.again:
                raise _Refused(DISCONNECTED)  # meanwhile: revocation wins
            if entry := await self.queue.enqueue_replaced(before, after):
                replaced.append(entry)

        if await self.vault.get(came.mark.kind, came.mark.key) is None or self.vault.has_ended(fresh):
            raise _Refused(DISCONNECTED)
        grant = await self.vault.add(fresh, replacing)
        stopped = not await self.vault.delete(came.mark)
        replaced += await end_what_lies(self.queue, key)
        if stopped or self.vault.has_ended(fresh):  # meanwhile, alone or with many
            await self._take_back(grant)
            raise _Refused(DISCONNECTED)
        await self.received.remove(sealed)
        await self.queue.deliver(*replaced)
        await self.engine.audit.record(GrantObtained(facts_of(grant), sorted(grant.scopes), came.by))
        return grant

    async def _take_back(self, grant: Grant) -> None:
        """A tombstone for a grant that came in the moment of its disconnect, unless that has seen it itself."""
        if ended := await self.vault.replace(grant, grant.tombstone()):
            await self.engine.audit.record(GrantRevoked(facts_of(ended)))

    async def _end(self, sealed: Received) -> None:
        entry = await sealed.into(self.queue)
        await self.received.remove(sealed)
        await self.queue.deliver(entry)
