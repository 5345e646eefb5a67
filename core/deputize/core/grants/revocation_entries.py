"""Entries of the revocation queue: the tokens that still have to be revoked, and the server of each.

An entry is one encrypted record. It is written before the token is deleted anywhere, and removed by the process that
sent the revocation (`deputize.core.grants.revocation_queue`).
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from deputize.core.oauth.app import FOREIGN_IMPORT
from deputize.core.oauth.provider import Provider
from deputize.core.oauth.token_reply import Tokens
from deputize.core.providers.origin import origin_of, pack_origin
from deputize.core.shared_services import Services
from deputize.core.vault.grant import Grant, Origin, User
from deputize.core.vault.vault import Record, Vault


class RevocationEntries:
    """Writer and reader of the queue's entries."""

    def __init__(self, services: Services) -> None:
        self.services, self.vault, self.clock = services, services.vault, services.clock
        self.providers, self.apps = services.providers, services.apps

    async def enqueue(
        self,
        user: User,
        provider: str,
        app: str,
        tokens: Tokens,
        *,
        alone: bool = False,
        asked_at: float | None = None,
        family: str = "",
        origin: Origin | None = None,
        subject: str = "",
    ) -> Record:
        """Store an entry for these tokens, durably. ``alone``: the revocation must not end other tokens.

        ``asked_at``: the start of the tokens' lifetime, default: now. ``origin``: the tokens' server, default: the
        app's. ``subject``: the tokens' account, "" if unknown; the entry then waits while its revocation might end a
        grant.
        """
        begun = self.clock() if asked_at is None else asked_at
        expires = begun + tokens.lifetime if tokens.lifetime else 0.0
        more: dict[str, Any] = {"replaced": True} if alone else {}
        more |= pack_origin(origin or self._origin(provider, app))
        more |= {"place": self.vault.key_prefix(user, provider, app, subject)} if subject else {}
        row = self.providers.get(provider)
        more |= {"held": True} if row and may_end_others(row) else {}
        return await self._note(user, provider, app, tokens, expires, family=family, **more)

    def _origin(self, provider: str, app: str) -> Origin | None:
        """Return the origin of tokens that were just issued."""
        row, one = self.providers.get(provider), self.apps.get(app)
        return origin_of(row, one) if row and one else None

    async def enqueue_grant(self, grant: Grant, *, leaked: bool = False, replaced: bool = False) -> Record | None:
        """Store an entry for a grant's tokens; None without tokens. A process that finds it also ends the grant.

        ``replaced``: the entry waits until no grant has the tokens. ``leaked``: others may have the tokens, so all are
        revoked at once and without the app, if the provider allows that.
        """
        if not grant.access_token and not grant.refresh_token:
            return None
        tokens = Tokens(grant.access_token, grant.refresh_token, None, 0.0)
        more: dict[str, Any] = {"place": self.vault.record_key(grant), "generation": grant.generation}
        more |= {"family": grant.family, **pack_origin(grant.origin), **({"replaced": True} if replaced else {})}
        row = self.providers.get(grant.provider)
        foreign = grant.source == FOREIGN_IMPORT  # the app cannot end another's
        if (leaked or foreign) and row and row.oauth.revoke_leaked_url:
            more["leaked"] = [one for one in (grant.access_token, grant.refresh_token) if one]
        return await self._note(grant.user, grant.provider, grant.app, tokens, grant.expires_at, **more)

    async def enqueue_replaced(self, before: Grant, after: Grant) -> Record | None:
        """Store an entry for the tokens of ``before``, which a newer consent replaces. If ``after`` keeps their refresh
        token, the entry is for the access token of ``after``, which no later refresh would end.

        Returns None if there is nothing to revoke, because the provider ends both at once or the tokens are the same.
        """
        same = (before.access_token, before.refresh_token) == (after.access_token, after.refresh_token)
        if same or not before.access_token or self._holds_older(before.provider):
            return None
        kept = before.refresh_token is not None and after.refresh_token == before.refresh_token
        ending = after if kept else before  # kept: no later refresh of that one ends what came without one
        tokens = Tokens(ending.access_token, None if kept else ending.refresh_token, None, 0.0)
        key, family = self.vault.record_key(before), "" if kept else ending.family
        held = {"held": True} if self._ends_with_grant(before.provider) else {}
        more = {"place": key, "replaced": True, "family": family, **held, **pack_origin(ending.origin)}
        return await self._note(before.user, before.provider, before.app, tokens, ending.expires_at, **more)

    async def enqueue_in(self, vault: Vault, grant: Grant, *, replaced: bool = False) -> None:
        """Store an entry in another vault; see `enqueue_grant`."""
        await RevocationEntries(replace(self.services, vault=vault)).enqueue_grant(grant, replaced=replaced)

    async def _note(self, user: User, provider: str, app: str, tokens: Tokens, expires: float, **more: Any) -> Record:
        whose = {"provider": provider, "app": app, "user": user.id, "tenant": user.tenant, "since": self.clock()}
        note = whose | self._to_send(provider, tokens, expires) | more
        while True:
            key = self.vault.key_prefix(user, provider, app) + secrets.token_hex(8)
            if entry := await self.vault.insert("outbox", key, note):
                return entry

    def _to_send(self, provider: str, tokens: Tokens, expires: float) -> dict[str, Any]:
        """Return the token to send. Adds the refresh token if the provider only revokes live access tokens."""
        row = self.providers.get(provider)
        by_form = row is None or row.oauth.revoke_by == "form"
        named = {"token": tokens.refresh if by_form and tokens.refresh else tokens.access, "expires": expires}
        return named | ({"refresh": tokens.refresh} if tokens.refresh and expires and not by_form else {})

    async def entries(self, key: str, *, leaked: bool = False) -> list[Record]:
        """Return the entries below this key. ``leaked``: mark them as leaked; see `enqueue_grant`."""
        found = (await self.vault.scan_openable("outbox", key))[0]
        return [await self.as_leaked(entry) for entry in found] if leaked else found

    async def as_leaked(self, entry: Record) -> Record:
        """Mark the entry as leaked if the provider can revoke leaked tokens, and return it."""
        note = entry.json
        row = self.providers.get(note["provider"])
        if row is None or not row.oauth.revoke_leaked_url or note.get("leaked"):
            return entry
        tokens = [token for token in (note["token"], note.get("refresh")) if token]
        return await self.vault.swap(entry, {**note, "leaked": tokens}) or entry

    def _holds_older(self, provider: str) -> bool:
        """Return True if the tokens of an older grant end only when a newer grant is revoked."""
        row = self.providers.get(provider)
        return row is not None and all_end_with_one(row)

    def _ends_with_grant(self, provider: str) -> bool:
        """Return True if revoking older tokens at this provider may end the account's newer tokens."""
        row = self.providers.get(provider)
        return row is not None and not all_end_with_one(row) and may_end_others(row)


def may_end_others(row: Provider) -> bool:
    """Return True if revoking older tokens of an account may end its newer tokens, or the reverse."""
    return not row.oauth.revoke_one_url and (row.oauth.revokes_all or row.oauth.ends_replaced == "with_grant")


def all_end_with_one(row: Provider) -> bool:
    """Return True if revoking any token of an account ends all tokens of the app, and none can be revoked alone."""
    return row.oauth.revokes_all and not row.oauth.revoke_one_url
