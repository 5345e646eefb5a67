"""Storage of tokens that came without a consent. The reply is stored first, so that no crash leaves unknown tokens.

    tokens -> reply stored (`token_reply_journal`) -> account? scopes? -> vault -> reply removed -> replaced tokens
    revoked
                                                       no -> revocation queue -> reply removed -> tokens revoked

If a process dies in between, it leaves a reply without a consent. `consent.redeem` later revokes the reply's tokens, or
finds the grant and removes the reply.
"""

from __future__ import annotations

import secrets

from deputize.core.audit.events import GrantObtained, GrantRevoked
from deputize.core.failures import Kind, outcome_of
from deputize.core.grants.end_grant import finish_bulk_end
from deputize.core.grants.refresh_request import OTHER_ACCOUNT
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.grants.token_reply_journal import Received, ReceivedReplies
from deputize.core.oauth.dpop import NOT_BOUND, unbound
from deputize.core.oauth.endpoint import Endpoint, Refusal
from deputize.core.oauth.token_reply import Tokens
from deputize.core.providers.origin import origin_of
from deputize.core.shared_services import Services
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.grant import Account, Grant, User, grant_fields
from deputize.core.vault.record import Record

DISCONNECTED = "disconnected"


@frozen(kw_only=True)
class ImportedTokens(Frozen):
    """Tokens and the facts known about them. ``asked``: the requested scopes. ``subject``: the required subject, if
    any. ``named``: the required subject or name. ``known``: the account, if it need not be looked up. ``by``: name of
    the importer. ``again``: import even if the user disconnected the account before. ``mark``: the request's mark
    (`inflight_requests`).
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
    """The tokens must not be stored. ``subject``: their account, "" if that is unknown."""

    def __init__(self, why: str, subject: str = "") -> None:
        super().__init__(why)
        self.subject = subject


def is_called(account: Account, name: str) -> bool:
    """Return True if this name or subject identifies the account.

    Only the case of ASCII letters is ignored: full case folding makes the Kelvin sign a k, and straße strasse, which
    are other accounts. A name of digits only is an id: at GitHub anybody may choose another user's id as a login.
    """
    if name == account.subject:
        return True
    return not name.isdecimal() and _fold_case(name) == _fold_case(account.name)


def _fold_case(name: str) -> bytes:
    return name.encode(errors="backslashreplace").lower()  # on bytes, lower() changes ASCII only


class TokenImporter:
    """Importer of tokens, which stores or revokes them."""

    def __init__(self, services: Services, queue: RevocationQueue) -> None:
        self.services, self.vault, self.queue = services, services.vault, queue
        self.received = ReceivedReplies(services)

    async def enter(self, endpoint: Endpoint, came: ImportedTokens) -> Grant:
        """Store the tokens and return their grant. Raises `Refusal` after revoking tokens that must not be stored.

        The caller holds the lock of user and app under which consents are redeemed.
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
            fresh = await self._check(endpoint, came, reply)
            return await self._keep(came, fresh, sealed)
        except Refusal:
            await self._end(sealed)
            raise
        except _Refused as why:
            await self._end(sealed, why.subject)
            raise Refusal(outcome_of(Kind.REAUTH, str(why))) from None

    async def _check(self, endpoint: Endpoint, came: ImportedTokens, reply: Received) -> Grant:
        """Check the tokens and return the grant to store."""
        if unbound(endpoint.provider, came.tokens):
            raise _Refused(NOT_BOUND)
        account, extra = came.known, dict[str, str]()
        if account is None:
            account, extra = await endpoint.whoami(came.tokens, came.asked_at)
        if came.subject not in ("", account.subject) or not (came.named == "" or is_called(account, came.named)):
            raise _Refused(OTHER_ACCOUNT, account.subject)
        return Grant(
            user=came.user,
            provider=reply.provider,
            app=reply.app,
            account=account,
            scopes=await endpoint.granted(came.tokens, came.asked),
            access_token=came.tokens.access,
            refresh_token=came.tokens.refresh,
            expires_at=came.asked_at + came.tokens.lifetime if came.tokens.lifetime else 0.0,
            refresh_ends_at=came.tokens.refresh_end(came.asked_at),
            obtained_at=came.asked_at,
            extra={**extra, **came.tokens.extra},
            origin=reply.origin,
            family=reply.family,
            proof_key=came.tokens.proof_key,
            source=came.source,
            epoch=came.mark.json["epoch"],
        )

    async def _keep(self, came: ImportedTokens, fresh: Grant, sealed: Received) -> Grant:
        key = self.vault.record_key(fresh)
        replaced = await finish_bulk_end(self.queue, key)

        async def replacing(before: Grant, after: Grant) -> None:
            if before.status == "revoked" and not came.again:
                raise _Refused(DISCONNECTED, fresh.account.subject)  # meanwhile: revocation wins
            if entry := await self.queue.enqueue_replaced(before, after):
                replaced.append(entry)

        if await self.vault.get(came.mark.kind, came.mark.key) is None or self.vault.has_ended(fresh):
            raise _Refused(DISCONNECTED, fresh.account.subject)
        grant = await self.vault.add(fresh, replacing)
        stopped = not await self.vault.delete(came.mark)
        replaced += await finish_bulk_end(self.queue, key)
        if stopped or self.vault.has_ended(fresh):  # meanwhile, this one or all
            await self._take_back(grant, sealed)
            raise _Refused(DISCONNECTED, fresh.account.subject)
        await self.received.remove(sealed)
        await self.queue.deliver(*replaced)
        await self.services.audit.record(GrantObtained(grant_fields(grant), sorted(grant.scopes), came.by))
        return grant

    async def _take_back(self, grant: Grant, sealed: Received) -> None:
        """Write a tombstone for a grant that was stored during its disconnect, unless the disconnect has written it."""
        if ended := await self.vault.end_grant(grant, grant.tombstone(), sealed.row):
            await self.services.audit.record(GrantRevoked(grant_fields(ended)))

    async def _end(self, sealed: Received, subject: str = "") -> None:
        entry = await sealed.enqueue(self.queue, subject)
        await self.received.remove(sealed)
        await self.queue.deliver(entry)
