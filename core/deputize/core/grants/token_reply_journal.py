"""Token replies between a code and a grant: sealed before anything else happens to them, so that no crash loses one.

    reply -> received, durable -> account and scopes -> grant stored, or tokens in the revocation queue -> removed

Whoever finds one can finish its consent (`deputize.core.consent.redeem`). Lost is only what was in flight: a reply
that never came, or that came to a process which died before it could write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import field, replace
from typing import Any, Final, Self

from deputize.core.engine import Engine
from deputize.core.errors import StoreUnavailable
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.token_reply import Tokens
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.grant import Grant, Origin, User
from deputize.core.vault.record import Record

SEAL_TRIES: Final = 20
"""How often a store that refuses is asked to keep a reply; about a quarter of a minute."""


@frozen(kw_only=True)
class Received(Frozen):
    """One token reply. ``family``: what its tokens, and those they are refreshed to, are known by.

    ``consent``, ``key``: id and place of the consent, "" where there was none (`deputize.core.grants.sources`);
    ``device``: fingerprint of the device code that brought it.
    ``asked_at``: from when on the tokens' lifetime counts (Unix seconds).
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
        """As JSON for the vault."""
        whose = {name: getattr(self, name) for name in _PLAIN}
        tokens: dict[str, Any] = {"access": self.tokens.access, "lifetime": self.tokens.lifetime}
        tokens |= {"refresh": self.tokens.refresh} if self.tokens.refresh else {}
        tokens |= {} if self.tokens.scopes is None else {"scopes": sorted(self.tokens.scopes)}
        more = {name: value for name in _MORE if (value := getattr(self.tokens, name))}
        origin = {"origin": self.origin.pack()} if self.origin else {}
        return {**whose, "user": self.user.id, "tenant": self.user.tenant, "tokens": tokens | more, **origin}

    async def into(self, queue: RevocationQueue, beside: Grant | None = None) -> Record:
        """An entry in the revocation queue, for these tokens and no others of the account. ``beside``: the grant of the
        account, which must not end with them."""
        return await queue.enqueue(
            self.user,
            self.provider,
            self.app,
            self.tokens,
            alone=True,
            asked_at=self.asked_at,
            family=self.family,
            origin=self.origin,
            beside=beside,
        )

    @classmethod
    def of(cls, row: Record) -> Self:
        """The reply in this row of the vault."""
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
_MORE: Final = ("extra", "id_token", "nonce", "proof_key")


class ReceivedReplies:
    """The replies of all users that are not kept or ended yet, in one vault."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.vault = engine, engine.vault

    async def put(self, reply: Received) -> Received:
        """Keep the reply, durably; as it lies there. Asks a store that refuses again and again; raises
        `StoreUnavailable` in the end."""
        key = self._place(reply.user, reply.provider, reply.app, reply.consent) + reply.family
        attempt = 0
        while True:
            try:
                return replace(reply, row=await self.vault.insert("received", key, reply.pack()))
            except StoreUnavailable:
                attempt += 1
                if attempt == SEAL_TRIES:
                    raise
                await self.engine.sleep(min(0.05 * 2 ** (attempt - 1), 1.0))

    def _place(self, user: User, provider: str, app: str, consent: str) -> str:
        """Below whose place, and which consent's."""
        return self.vault.key_prefix(user, provider, app) + fingerprint(consent)[:32] + "."

    async def of(self, user: User, provider: str, app: str, consent: str) -> list[Received]:
        """What came for this consent: one reply, or two where a link and a code were both followed."""
        return [reply async for reply in self.below(self._place(user, provider, app, consent))]

    async def below(self, key: str = "") -> AsyncIterator[Received]:
        """Those below this place, which is a user's, or everybody's. One that does not open is left alone, as is one
        of a later version."""
        async for rows, _ in self.vault.pages("received", after=key):
            for row in rows:
                if not row.key.startswith(key):
                    return
                if reply := readable(row):
                    yield reply

    async def again(self, reply: Received) -> Received | None:
        """The reply as it lies there now; None where it was kept or ended."""
        row = await self.vault.get("received", reply.row.key) if reply.row else None
        return readable(row) if row else None

    async def remove(self, reply: Received) -> None:
        """It was kept, or is in the revocation queue."""
        if reply.row:
            await self.vault.delete(reply.row)


def readable(row: Record) -> Received | None:
    """The reply in this row; None for a form that this version does not know."""
    try:
        return Received.of(row)
    except (KeyError, TypeError, ValueError):
        return None
