"""Tokens that must end at the provider: told at once, or as soon as it can be reached. Source: RFC 7009.

What is owed is written down, sealed, before anything forgets the token; so a crash or a provider that is down leaves a
debt, never a live token that nobody knows. A debt is removed by whoever has told the provider, and by nobody else:

    a disconnect      written down before the tombstone. Who finds it while the grant still lives finishes both: the
                      process that began was cut off, or is one step behind
    a newer consent   the tokens that it replaces, written down before they are. They are told once no grant holds them
                      any more, and alone, where the provider can end them alone
    anything else     told at once

Where ending one token ends all that the account has given the app, and no token can be ended alone, a newer grant holds
what an older one did: to tell of the older one would end the newer. Such a debt goes over into that grant.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

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
"""Seconds after which it is said that the provider could not be told; from then on it is tried as rarely."""
TOGETHER: Final = 8
"""How many debts are told at the same time."""
REST: Final = 60.0
MARGIN: Final = 10.0

Upstream = Literal["done", "queued", "moved", "not_supported", "gave_up"]
"""How far a provider knows. ``moved``: the settings lead elsewhere than where the tokens came from, so nobody was told;
it stays written down for as long as they do."""


class RevocationQueue:
    """What providers must still hear. Debts of all users, in one vault."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.vault, self.audit = engine, engine.vault, engine.audit
        self.providers, self.apps, self.http, self.clock = engine.providers, engine.apps, engine.http, engine.clock
        self._rest_until = 0.0

    async def enqueue(self, user: User, provider: str, app: str, tokens: Tokens, *, alone: bool = False) -> Record:
        """Write down that these tokens must end; ``alone``: and no others. Durable when it returns."""
        expires = self.clock() + tokens.lifetime if tokens.lifetime else 0.0
        more = {"replaced": True} if alone else {}
        return await self._note(user, provider, app, tokens, expires, **more, **noted(self._origin(provider, app)))

    def _origin(self, provider: str, app: str) -> Origin | None:
        """Where tokens come from that were given just now."""
        row, one = self.providers.get(provider), self.apps.get(app)
        return origin_of(row, one) if row and one else None

    async def enqueue_grant(self, grant: Grant, *, leaked: bool = False) -> Record | None:
        """Write down that a grant's tokens must end, if it is gone by then; None for one without tokens.

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

    async def owe_replaced(self, before: Grant, after: Grant) -> Record | None:
        """Write down what a newer consent leaves behind: the tokens before it, or its own once they are replaced.

        None where nothing is: the provider ends both with one, or they are the same.
        """
        same = (before.access_token, before.refresh_token) == (after.access_token, after.refresh_token)
        if same or not before.access_token or self._holds_older(before.provider):
            return None
        kept = before.refresh_token is not None and after.refresh_token == before.refresh_token
        ending = after if kept else before  # kept: no later refresh of that one ends what came without one
        tokens = Tokens(ending.access_token, None if kept else ending.refresh_token, None, 0.0)
        place = self.vault.place_of(before)
        more = {"place": place, "replaced": True, **noted(ending.origin)}
        return await self._note(before.user, before.provider, before.app, tokens, ending.expires_at, **more)

    async def enqueue_in(self, vault: Vault, grant: Grant) -> None:
        """The same, written down in another vault."""
        await RevocationQueue(replace(self.engine, vault=vault)).enqueue_grant(grant)

    async def _note(self, user: User, provider: str, app: str, tokens: Tokens, expires: float, **more: Any) -> Record:
        whose = {"provider": provider, "app": app, "user": user.id, "tenant": user.tenant, "since": self.clock()}
        note = whose | self._named(provider, tokens, expires) | more
        while True:
            key = self.vault.place(user, provider, app) + secrets.token_hex(8)
            if owed := await self.vault.insert("outbox", key, note):
                return owed

    def _named(self, provider: str, tokens: Tokens, expires: float) -> dict[str, Any]:
        """The token to tell the provider of; with it, what brings another where only a live access token is heard."""
        row = self.providers.get(provider)
        by_form = row is None or row.revoke_by == "form"
        named = {"token": tokens.refresh if by_form and tokens.refresh else tokens.access, "expires": expires}
        return named | ({"refresh": tokens.refresh} if tokens.refresh and expires and not by_form else {})

    async def _living(self, owed: Record, endpoint: Endpoint) -> Record:
        """The debt with an access token that lives; the new pair is written down before it is used."""
        note = owed.json
        if not note.get("refresh") or self.clock() < note["expires"] - MARGIN:
            return owed
        tokens = await endpoint.refresh(note["refresh"])
        renewed = replace(tokens, refresh=tokens.refresh or note.pop("refresh"))
        expires = self.clock() + tokens.lifetime if tokens.lifetime else 0.0
        note = {**note, "refresh": ""} | self._named(note["provider"], renewed, expires)
        return await self.vault.swap(owed, note) or owed

    async def deliver(self, *debts: Record) -> list[Upstream]:
        """Tell the providers; how each debt stands, in order. What cannot be told now stays written down."""
        told: dict[str, Upstream] = {}
        for begin in range(0, len(debts), LEAKED_AT_ONCE // 2):
            told |= await self._settle(debts[begin : begin + LEAKED_AT_ONCE // 2])
        return [told[owed.key] for owed in debts]

    async def _settle(self, debts: Sequence[Record]) -> dict[str, Upstream]:
        told: dict[str, Upstream] = {}
        plain: list[Record] = []
        leaked: defaultdict[str, list[Record]] = defaultdict(list)
        for number, owed in enumerate(debts):
            if number % TOGETHER == 0:
                await asyncio.sleep(0)
            if (stands := await self._stays(owed)) is not None:
                told[owed.key] = stands
            elif self._moved(owed.json):
                told[owed.key] = await self._told(owed, "moved")
            elif owed.json.get("leaked") and owed.json["provider"] in self.providers:
                leaked[owed.json["provider"]].append(owed)
            else:
                plain.append(owed)
        for provider, found in leaked.items():
            told |= await self._tell_leaked(self.providers[provider], found)
        for begin in range(0, len(plain), TOGETHER):
            some = plain[begin : begin + TOGETHER]
            told |= zip((owed.key for owed in some), await asyncio.gather(*map(self._tell, some)), strict=True)
        return told

    async def _stays(self, owed: Record) -> Upstream | None:
        """How a debt stands that must not be told now; None: the provider may hear of it.

        Finishes a disconnect that was cut off between the debt and the tombstone.
        """
        note = owed.json
        try:
            named = note["token"]
            while (grant := await self._active(note)) and named in (grant.access_token, grant.refresh_token):
                if note.get("replaced"):
                    return "queued"  # the newer consent is not stored yet, or never was
                if buried := await self.vault.replace(grant, grant.tombstone()):
                    self.audit.write("grant.revoked", **facts_of(buried, self.audit), upstream="queued")
        except VaultError:
            return self._later(note)  # nobody can see what the grant holds
        return await self._gone_over(owed) if grant and self._holds_older(grant.provider) else None

    async def _active(self, note: Mapping[str, Any]) -> Grant | None:
        """The grant that lives where the debt comes from."""
        grant = await self.vault.grant(note["place"]) if "place" in note else None
        return grant if grant and grant.status == "active" else None

    def _holds_older(self, provider: str) -> bool:
        """Whether ending a newer grant there ends what an older one held, and nothing else can."""
        row = self.providers.get(provider)
        return row is not None and row.revokes_all and not row.revoke_one

    async def _gone_over(self, owed: Record) -> Upstream:
        await self.vault.delete(owed)
        self.audit.write("revoke.replaced", **_whose(owed.json))
        return "done"

    async def _tell(self, owed: Record) -> Upstream:
        note = owed.json
        provider, app = self.providers.get(note["provider"]), self.apps.get(note["app"])
        if provider is None or app is None:
            return await self._told(owed, self._later(note))  # not set up now: it may be again
        try:
            endpoint = Endpoint(self.http, provider, app, self.clock)
            owed = await self._living(owed, endpoint)
            alone = bool(note.get("replaced")) or await self._active(note) is not None
            done = await endpoint.revoke(owed.json["token"], alone=alone)
            upstream: Upstream = "done" if done else "not_supported"
        except Refusal as refusal:
            upstream = self._stands(note, refusal)
        return await self._told(owed, upstream)

    async def _tell_leaked(self, provider: Provider, debts: list[Record]) -> dict[str, Upstream]:
        """All in one request; each debt is of two tokens at most."""
        tokens = [token for owed in debts for token in owed.json["leaked"]]
        refused: Refusal | None = None
        try:
            await end_leaked(self.http, provider, tokens, self.clock())
        except Refusal as refusal:
            refused = refusal
        return {
            owed.key: await self._told(owed, self._stands(owed.json, refused) if refused else "done") for owed in debts
        }

    def _moved(self, note: dict[str, Any]) -> bool:
        """Whether the settings lead to another server than the tokens came from, which must not get them."""
        row, app = self.providers.get(note["provider"]), self.apps.get(note["app"])
        return bool(row and app and differs(origin_in(note), row, app) == "place")

    def _stands(self, note: dict[str, Any], refusal: Refusal) -> Upstream:
        return "done" if refusal.outcome.kind is Kind.REAUTH else self._later(note)  # ended by the provider itself

    def _later(self, note: dict[str, Any]) -> Upstream:
        return "queued" if self.clock() < note["since"] + GIVE_UP else "gave_up"

    async def _told(self, owed: Record, upstream: Upstream) -> Upstream:
        note = owed.json
        said = "tried" in note
        if upstream == "gave_up":
            await self.vault.swap(owed, {**note, "tried": self.clock()})
        elif upstream not in ("queued", "moved"):
            await self.vault.delete(owed)
        if upstream != "gave_up" or not said:
            self.audit.write(f"revoke.{upstream}", **_whose(note), leaked=True if note.get("leaked") else None)
        return upstream

    async def owed(self, place: str, *, leaked: bool = False) -> list[Record]:
        """What is owed there; ``leaked``: to be told as others may have the tokens, see `enqueue_grant`."""
        found = (await self.vault.scan_open("outbox", place))[0]
        return [await self.as_leaked(owed) for owed in found] if leaked else found

    async def as_leaked(self, owed: Record) -> Record:
        """The debt, to be told as others may have the tokens, where the provider allows that."""
        note = owed.json
        row = self.providers.get(note["provider"])
        if row is None or not row.revoke_leaked or note.get("leaked"):
            return owed
        tokens = [token for token in (note["token"], note.get("refresh")) if token]
        return await self.vault.swap(owed, {**note, "leaked": tokens}) or owed

    async def end(self, user: User, provider: str, app: str, tokens: Tokens, *, alone: bool = False) -> Upstream:
        """End tokens that must not be kept, now or later; ``alone``: and no others."""
        return (await self.deliver(await self.enqueue(user, provider, app, tokens, alone=alone)))[0]

    async def retry(self) -> list[Upstream]:
        """Tell providers what could not be told before; how each went."""
        return await self.deliver(*(await self.vault.scan_open("outbox"))[0])

    async def flush(self, *, but: str = "-") -> None:
        """Tell what is due, at most once a minute: for whoever passes by. What was given up is due once a day.

        ``but``: the place whose debts whoever calls sees to.
        """
        if self.clock() >= self._rest_until:
            self._rest_until = self.clock() + REST
            debts = (await self.vault.scan_open("outbox"))[0]
            due = [owed for owed in debts if self.clock() >= owed.json.get("tried", 0.0) + GIVE_UP]
            await self.deliver(*(owed for owed in due if not owed.key.startswith(but)))


def _whose(note: Mapping[str, Any]) -> dict[str, Any]:
    return {name: note.get(name) or None for name in ("tenant", "user", "provider", "app")}
