"""Journal of token replies: each is stored before any other step, so that no crash loses its tokens.

    reply -> received, durable -> account and scopes -> grant stored, or tokens in the revocation queue -> removed

Any process that finds a reply can finish its consent (`deputize.core.consent.redeem`). Only replies in transit are
lost: one that never came, or that came to a process that died before it could write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import field, replace
from typing import Any, Final, Self

from deputize.core.errors import StoreUnavailable
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.token_reply import Tokens
from deputize.core.shared_services import Services
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.grant import Origin, User
from deputize.core.vault.record import Record

SEAL_TRIES: Final = 20
"""Attempts to store a reply if the store refuses; about 15 seconds."""


@frozen(kw_only=True)
class Received(Frozen):
    """A token reply. ``family``: the id of its tokens and of all tokens refreshed from them.

    ``consent``, ``key``: id and key of the consent, "" without a consent (`deputize.core.grants.sources`). ``device``:
    fingerprint of the device code that led to the reply. ``asked_at``: start of the tokens' lifetime (Unix seconds).
    """

    family: str
    consent: str
    key: str
    user: User
    provider: str
    app: str
    tokens: Tokens
    asked_at: float
    device: str = ""
    origin: Origin | None = None
    row: Record | None = field(default=None, repr=False, compare=False)

    def pack(self) -> dict[str, Any]:
        """Return the reply as JSON for the vault."""
        whose = {name: getattr(self, name) for name in _PLAIN}
        tokens: dict[str, Any] = {"access": self.tokens.access, "lifetime": self.tokens.lifetime}
        tokens |= {"refresh": self.tokens.refresh} if self.tokens.refresh else {}
        tokens |= {} if self.tokens.scopes is None else {"scopes": sorted(self.tokens.scopes)}
        more = {name: value for name in _MORE if (value := getattr(self.tokens, name))}
        origin = {"origin": self.origin.pack()} if self.origin else {}
        return {**whose, "user": self.user.id, "tenant": self.user.tenant, "tokens": tokens | more, **origin}

    async def enqueue(self, queue: RevocationQueue, subject: str = "") -> Record:
        """Store a revocation entry for these tokens alone. ``subject``: their account, "" if that is unknown."""
        return await queue.enqueue(
            self.user,
            self.provider,
            self.app,
            self.tokens,
            alone=True,
            asked_at=self.asked_at,
            family=self.family,
            origin=self.origin,
            subject=subject,
        )

    @classmethod
    def of(cls, row: Record) -> Self:
        """Return the reply in this record."""
        content = row.json
        tokens = content["tokens"]
        return cls(
            **{name: content[name] for name in _PLAIN},
            user=User(content["user"], content["tenant"]),
            tokens=Tokens(
                access=tokens["access"],
                refresh=tokens.get("refresh"),
                scopes=frozenset(tokens["scopes"]) if "scopes" in tokens else None,
                lifetime=tokens["lifetime"],
                **{name: tokens[name] for name in _MORE if name in tokens},
            ),
            origin=Origin.unpack(content["origin"]) if content.get("origin") else None,
            row=row,
        )


_PLAIN: Final = ("family", "consent", "key", "provider", "app", "asked_at", "device")
_MORE: Final = ("extra", "id_token", "nonce", "proof_key", "refresh_lifetime")


class ReceivedReplies:
    """The replies of all users in one vault whose tokens are neither stored as a grant nor revoked."""

    def __init__(self, services: Services) -> None:
        self.services, self.vault = services, services.vault

    async def put(self, reply: Received) -> Received:
        """Store the reply durably, and return it with its record. Raises `StoreUnavailable` if several tries fail."""
        key = self._place(reply.user, reply.provider, reply.app, reply.consent) + reply.family
        attempt = 0
        while True:
            try:
                data_key = await self.vault.data_keys.get(reply.user.tenant)
                return replace(reply, row=await self.vault.insert("received", key, reply.pack(), data_key))
            except StoreUnavailable:
                attempt += 1
                if attempt == SEAL_TRIES:
                    raise
                await self.services.sleep(min(0.05 * 2 ** (attempt - 1), 1.0))

    def _place(self, user: User, provider: str, app: str, consent: str) -> str:
        """Return the key prefix of the replies for this user, app and consent."""
        return self.vault.key_prefix(user, provider, app) + fingerprint(consent)[:32] + "."

    async def find(self, user: User, provider: str, app: str, consent: str) -> list[Received]:
        """Return the replies for this consent: one, or two if the user followed both a link and a code."""
        return [reply async for reply in self.list_below(self._place(user, provider, app, consent))]

    async def list_below(self, key: str = "") -> AsyncIterator[Received]:
        """Yield the replies below this key, a user's prefix or empty for all users. Skips replies that cannot be
        decrypted, or that a later version stored."""
        async for rows, _ in self.vault.pages("received", after=key):
            for row in rows:
                if not row.key.startswith(key):
                    return
                if reply := read_reply(row):
                    yield reply

    async def reload(self, reply: Received) -> Received | None:
        """Return the stored reply, or None if its tokens were stored as a grant or revoked."""
        row = await self.vault.get("received", reply.row.key) if reply.row else None
        return read_reply(row) if row else None

    async def remove(self, reply: Received) -> None:
        """Delete a reply whose tokens are in a grant or in the revocation queue."""
        if reply.row:
            await self.vault.delete(reply.row)


def read_reply(row: Record) -> Received | None:
    """Return the reply in this record, or None for a form that this version does not know."""
    try:
        return Received.of(row)
    except (KeyError, TypeError, ValueError):
        return None
