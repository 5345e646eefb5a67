"""Queue of tokens still to be revoked at the provider (RFC 7009): sent at once, or as soon as it can be reached.

An entry is written, sealed, before anything forgets the token; so a crash, or a provider that is down, leaves an entry
and never a live token that nobody knows. Only whoever has sent the revocation removes the entry:

    a disconnect      enqueued before the tombstone. Who finds the entry while the grant still lives finishes both: the
                      process that began was cut off, or is one step behind
    a newer consent   the tokens that it replaces, enqueued before they are written over. They are revoked once no grant
                      holds them any more, and alone, where the provider can revoke one token alone; or held until the
                      newer grant has ended, too, where to revoke them might end that (`Provider.ends_replaced`)
    anything else     sent at once

Where revoking one token ends all that the account has given the app, and no token can be revoked alone, a newer grant
holds what an older one did: to revoke the older one would end the newer. Such an entry is superseded by that grant.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from deputize.core.audit.events import REVOKES, GrantRevoked, RevokeReplaced
from deputize.core.audit.facts import OfApp
from deputize.core.engine import Engine
from deputize.core.errors import VaultError
from deputize.core.failures import Kind
from deputize.core.oauth.endpoint import LEAKED_AT_ONCE, Endpoint, Refusal, end_leaked
from deputize.core.oauth.flow import Tokens
from deputize.core.oauth.provider import Provider
from deputize.core.providers.origin import differs, noted, origin_in, origin_of
from deputize.core.vault.grant import Grant, Origin, User
from deputize.core.vault.rollback import facts_of
from deputize.core.vault.vault import Record, Vault

GIVE_UP: Final = 86400.0
"""Seconds after which an entry is given up: audited once, and tried once a day from then on."""
TOGETHER: Final = 8
"""Revocation requests at the same time."""
FLUSH_EVERY: Final = 60.0
"""Seconds between two flushes, however many ask for one."""
MARGIN: Final = 10.0
"""Seconds before its end from which an access token counts as expired."""

Upstream = Literal["done", "queued", "moved", "not_supported", "gave_up"]
"""How far a revocation came. ``moved``: the settings lead to another server than the tokens came from, so nothing was
sent; the entry stays for as long as they do."""


class RevocationQueue:
    """The entries of all users, in one vault."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.vault, self.audit = engine, engine.vault, engine.audit
        self.providers, self.apps, self.http, self.clock = engine.providers, engine.apps, engine.http, engine.clock
        self._next_flush = 0.0

    async def enqueue(self, user: User, provider: str, app: str, tokens: Tokens, *, alone: bool = False) -> Record:
        """An entry for these tokens; ``alone``: they end and no others. Durable when it returns."""
        expires = self.clock() + tokens.lifetime if tokens.lifetime else 0.0
        more = {"replaced": True} if alone else {}
        return await self._note(user, provider, app, tokens, expires, **more, **noted(self._origin(provider, app)))

    def _origin(self, provider: str, app: str) -> Origin | None:
        """The origin of tokens that were issued just now."""
        row, one = self.providers.get(provider), self.apps.get(app)
        return origin_of(row, one) if row and one else None

    async def enqueue_grant(self, grant: Grant, *, leaked: bool = False) -> Record | None:
        """An entry for a grant's tokens, sent only if the grant is gone by then; None for one without tokens.

        ``leaked``: others may have them, so all are ended at once and without the app, where the provider allows that.
        """
        if not grant.access_token and not grant.refresh_token:
            return None
        tokens = Tokens(grant.access_token, grant.refresh_token, None, 0.0)
        more: dict[str, Any] = {"place": self.vault.place_of(grant), "generation": grant.generation}
        more |= noted(grant.origin)
        row = self.providers.get(grant.provider)
        if leaked and row and row.revoke_leaked:
            more["leaked"] = [one for one in (grant.access_token, grant.refresh_token) if one]
        return await self._note(grant.user, grant.provider, grant.app, tokens, grant.expires_at, **more)

    async def enqueue_replaced(self, before: Grant, after: Grant) -> Record | None:
        """An entry for what a newer consent leaves behind: the tokens before it, or its own once they are replaced.

        None where there is nothing: the provider ends both with one, or they are the same.
        """
        same = (before.access_token, before.refresh_token) == (after.access_token, after.refresh_token)
        if same or not before.access_token or self._holds_older(before.provider):
            return None
        kept = before.refresh_token is not None and after.refresh_token == before.refresh_token
        ending = after if kept else before  # kept: no later refresh of that one ends what came without one
        tokens = Tokens(ending.access_token, None if kept else ending.refresh_token, None, 0.0)
        place = self.vault.place_of(before)
        held = {"held": True} if self._ends_with_grant(before.provider) else {}
        more = {"place": place, "replaced": True, **held, **noted(ending.origin)}
        return await self._note(before.user, before.provider, before.app, tokens, ending.expires_at, **more)

    async def enqueue_in(self, vault: Vault, grant: Grant) -> None:
        """The same in another vault."""
        await RevocationQueue(replace(self.engine, vault=vault)).enqueue_grant(grant)

    async def _note(self, user: User, provider: str, app: str, tokens: Tokens, expires: float, **more: Any) -> Record:
        whose = {"provider": provider, "app": app, "user": user.id, "tenant": user.tenant, "since": self.clock()}
        note = whose | self._to_send(provider, tokens, expires) | more
        while True:
            key = self.vault.place(user, provider, app) + secrets.token_hex(8)
            if entry := await self.vault.insert("outbox", key, note):
                return entry

    def _to_send(self, provider: str, tokens: Tokens, expires: float) -> dict[str, Any]:
        """The token to send; beside it a refresh token where only a live access token can be revoked."""
        row = self.providers.get(provider)
        by_form = row is None or row.revoke_by == "form"
        named = {"token": tokens.refresh if by_form and tokens.refresh else tokens.access, "expires": expires}
        return named | ({"refresh": tokens.refresh} if tokens.refresh and expires and not by_form else {})

    async def _with_live_token(self, entry: Record, endpoint: Endpoint) -> Record:
        """The entry with an access token that has not expired; a new pair is stored before it is used."""
        note = entry.json
        if not note.get("refresh") or self.clock() < note["expires"] - MARGIN:
            return entry
        tokens = await endpoint.refresh(note["refresh"])
        renewed = replace(tokens, refresh=tokens.refresh or note.pop("refresh"))
        expires = self.clock() + tokens.lifetime if tokens.lifetime else 0.0
        note = {**note, "refresh": ""} | self._to_send(note["provider"], renewed, expires)
        return await self.vault.swap(entry, note) or entry

    async def deliver(self, *entries: Record) -> list[Upstream]:
        """Send the revocations; how far each came, in order. What cannot be sent now stays in the queue."""
        results: dict[str, Upstream] = {}
        for begin in range(0, len(entries), LEAKED_AT_ONCE // 2):
            results |= await self._deliver_batch(entries[begin : begin + LEAKED_AT_ONCE // 2])
        return [results[entry.key] for entry in entries]

    async def _deliver_batch(self, entries: Sequence[Record]) -> dict[str, Upstream]:
        results: dict[str, Upstream] = {}
        plain: list[Record] = []
        leaked: defaultdict[str, list[Record]] = defaultdict(list)
        for number, entry in enumerate(entries):
            if number % TOGETHER == 0:
                await asyncio.sleep(0)
            if (waits := await self._must_wait(entry)) is not None:
                results[entry.key] = waits
            elif self._moved(entry.json):
                results[entry.key] = await self._settled(entry, "moved")
            elif entry.json.get("leaked") and entry.json["provider"] in self.providers:
                leaked[entry.json["provider"]].append(entry)
            else:
                plain.append(entry)
        for provider, found in leaked.items():
            results |= await self._send_leaked(self.providers[provider], found)
        for begin in range(0, len(plain), TOGETHER):
            some = plain[begin : begin + TOGETHER]
            results |= zip((entry.key for entry in some), await asyncio.gather(*map(self._send, some)), strict=True)
        return results

    async def _must_wait(self, entry: Record) -> Upstream | None:
        """What becomes of an entry that must not be sent now; None: it may be.

        Finishes a disconnect that was cut off between the entry and the tombstone.
        """
        note = entry.json
        try:
            named = note["token"]
            while (grant := await self._active(note)) and named in (grant.access_token, grant.refresh_token):
                if note.get("replaced"):
                    return "queued"  # the newer consent is not stored yet, or never was
                if stone := await self.vault.replace(grant, grant.tombstone()):
                    self.audit.write(GrantRevoked(facts_of(stone, self.audit), "queued"))
        except VaultError:
            return self._later(note)  # nobody can see what the grant holds
        if grant and self._holds_older(grant.provider):
            return await self._superseded(entry)
        held = grant and self._ends_with_grant(grant.provider) and not note.get("leaked")
        return "queued" if held else None

    async def _active(self, note: Mapping[str, Any]) -> Grant | None:
        """The live grant of the account that the entry is of."""
        grant = await self.vault.grant(note["place"]) if "place" in note else None
        return grant if grant and grant.status == "active" else None

    def _holds_older(self, provider: str) -> bool:
        """Whether ending a newer grant there ends what an older one held, and nothing else can."""
        row = self.providers.get(provider)
        return row is not None and row.revokes_all and not row.revoke_one

    def _ends_with_grant(self, provider: str) -> bool:
        """Whether ending older tokens there may end the newer ones of the account."""
        row = self.providers.get(provider)
        return row is not None and not row.revoke_one and row.ends_replaced == "with_grant"

    async def _superseded(self, entry: Record) -> Upstream:
        await self.vault.delete(entry)
        self.audit.write(RevokeReplaced(_whose(entry.json)))
        return "done"

    async def _send(self, entry: Record) -> Upstream:
        note = entry.json
        provider, app = self.providers.get(note["provider"]), self.apps.get(note["app"])
        if provider is None or app is None:
            return await self._settled(entry, self._later(note))  # not set up now: it may be again
        try:
            endpoint = Endpoint(self.http, provider, app, self.clock)
            entry = await self._with_live_token(entry, endpoint)
            alone = bool(note.get("replaced")) or await self._active(note) is not None
            done = await endpoint.revoke(entry.json["token"], alone=alone)
            upstream: Upstream = "done" if done else "not_supported"
        except Refusal as refusal:
            upstream = self._after(note, refusal)
        return await self._settled(entry, upstream)

    async def _send_leaked(self, provider: Provider, entries: list[Record]) -> dict[str, Upstream]:
        """All in one request; each entry has two tokens at most."""
        tokens = [token for entry in entries for token in entry.json["leaked"]]
        refused: Refusal | None = None
        try:
            await end_leaked(self.http, provider, tokens, self.clock())
        except Refusal as refusal:
            refused = refusal
        return {
            entry.key: await self._settled(entry, self._after(entry.json, refused) if refused else "done")
            for entry in entries
        }

    def _moved(self, note: dict[str, Any]) -> bool:
        """Whether the settings lead to another server than the tokens came from, which must not get them."""
        row, app = self.providers.get(note["provider"]), self.apps.get(note["app"])
        return bool(row and app and differs(origin_in(note), row, app) == "place")

    def _after(self, note: dict[str, Any], refusal: Refusal) -> Upstream:
        """What a refused revocation means: done, where the provider has ended the token itself."""
        return "done" if refusal.outcome.kind is Kind.REAUTH else self._later(note)

    def _later(self, note: dict[str, Any]) -> Upstream:
        return "queued" if self.clock() < note["since"] + GIVE_UP else "gave_up"

    async def _settled(self, entry: Record, upstream: Upstream) -> Upstream:
        note = entry.json
        audited = "tried" in note
        if note.get("held") and upstream in ("queued", "gave_up"):  # it counts from this first try
            await self.vault.swap(entry, {**note, "held": False, "since": self.clock()})
            upstream = "queued"
        elif upstream == "gave_up":
            await self.vault.swap(entry, {**note, "tried": self.clock()})
        elif upstream not in ("queued", "moved"):
            await self.vault.delete(entry)
        if upstream != "gave_up" or not audited:
            self.audit.write(REVOKES[upstream](_whose(note), leaked=True if note.get("leaked") else None))
        return upstream

    async def entries(self, place: str, *, leaked: bool = False) -> list[Record]:
        """The entries below this place; ``leaked``: to be sent as others may have the tokens, see `enqueue_grant`."""
        found = (await self.vault.scan_open("outbox", place))[0]
        return [await self.as_leaked(entry) for entry in found] if leaked else found

    async def as_leaked(self, entry: Record) -> Record:
        """The entry, to be sent as others may have the tokens, where the provider allows that."""
        note = entry.json
        row = self.providers.get(note["provider"])
        if row is None or not row.revoke_leaked or note.get("leaked"):
            return entry
        tokens = [token for token in (note["token"], note.get("refresh")) if token]
        return await self.vault.swap(entry, {**note, "leaked": tokens}) or entry

    async def end(self, user: User, provider: str, app: str, tokens: Tokens, *, alone: bool = False) -> Upstream:
        """End tokens that must not be kept, now or later; ``alone``: and no others."""
        return (await self.deliver(await self.enqueue(user, provider, app, tokens, alone=alone)))[0]

    async def retry(self) -> list[Upstream]:
        """Send all that could not be sent before; how far each came."""
        return await self.deliver(*(await self.vault.scan_open("outbox"))[0])

    async def flush(self, *, but: str = "-") -> None:
        """Send what is due, at most once a minute. An entry that was given up is due once a day.

        ``but``: leave out the entries below this place, which the caller sees to.
        """
        if self.clock() >= self._next_flush:
            self._next_flush = self.clock() + FLUSH_EVERY
            entries = (await self.vault.scan_open("outbox"))[0]
            due = [entry for entry in entries if self.clock() >= entry.json.get("tried", 0.0) + GIVE_UP]
            await self.deliver(*(entry for entry in due if not entry.key.startswith(but)))


def _whose(note: Mapping[str, Any]) -> OfApp:
    return OfApp(**{name: note.get(name) or "" for name in ("tenant", "user", "provider", "app")})
