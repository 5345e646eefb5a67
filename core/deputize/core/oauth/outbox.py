"""Tokens that must end at the provider: told at once, or as soon as it can be reached. Source: RFC 7009.

What is owed is written down, sealed, before anything forgets the token; so a crash or a provider that is down leaves a
debt, never a live token that nobody knows.
"""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from deputize.core.audit import Audit
from deputize.core.failures import Kind
from deputize.core.http import Http
from deputize.core.oauth.endpoint import LEAKED_AT_ONCE, Endpoint, Refusal, end_leaked
from deputize.core.oauth.flow import Tokens
from deputize.core.oauth.origin import differs, noted, origin_in, origin_of
from deputize.core.oauth.provider import App, Provider
from deputize.core.vault.grant import Grant, Origin, Secret, User
from deputize.core.vault.vault import Record, Vault

GIVE_UP: Final = 86400.0
REST: Final = 60.0
MARGIN: Final = 10.0

Upstream = Literal["done", "queued", "moved", "not_supported", "gave_up"]
"""How far a provider knows. ``moved``: the settings lead elsewhere than where the tokens came from, so nobody was told;
it stays written down for as long as they do."""


@dataclass
class Outbox:
    """What providers must still hear. Debts of all users, in one vault."""

    vault: Vault
    providers: Mapping[str, Provider]
    apps: Mapping[str, App]
    http: Http
    audit: Audit
    clock: Callable[[], float] = time.time
    _rest_until: float = field(default=0.0)

    async def owe(self, user: User, provider: str, app: str, tokens: Tokens) -> Record:
        """Write down that these tokens must end. Durable when it returns."""
        expires = self.clock() + tokens.lifetime if tokens.lifetime else 0.0
        return await self._note(user, provider, app, tokens, expires, **noted(self._origin(provider, app)))

    def _origin(self, provider: str, app: str) -> Origin | None:
        """Where tokens come from that were given just now."""
        row, one = self.providers.get(provider), self.apps.get(app)
        return origin_of(row, one) if row and one else None

    async def owe_grant(self, grant: Grant, *, leaked: bool = False) -> Record | None:
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
            more["leaked"] = [one.reveal() for one in (grant.access_token, grant.refresh_token) if one]
        return await self._note(grant.user, grant.provider, grant.app, tokens, grant.expires_at, **more)

    async def owe_in(self, vault: Vault, grant: Grant) -> None:
        """The same, written down in another vault."""
        await replace(self, vault=vault).owe_grant(grant)

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
        named = {"token": tokens.refresh if by_form and tokens.refresh else tokens.access}
        if tokens.refresh and expires and not by_form:
            named["refresh"] = tokens.refresh
        return {name: value.reveal() for name, value in named.items()} | {"expires": expires}

    async def _living(self, owed: Record, endpoint: Endpoint) -> Record:
        """The debt with an access token that lives; the new pair is written down before it is used."""
        note = owed.json
        if not note.get("refresh") or self.clock() < note["expires"] - MARGIN:
            return owed
        tokens = await endpoint.refresh(Secret(note["refresh"]))
        renewed = replace(tokens, refresh=tokens.refresh or Secret(note.pop("refresh")))
        expires = self.clock() + tokens.lifetime if tokens.lifetime else 0.0
        note = {**note, "refresh": ""} | self._named(note["provider"], renewed, expires)
        return await self.vault.swap(owed, note) or owed

    async def settle(self, *debts: Record) -> list[Upstream]:
        """Tell the providers; how each debt stands, in order. What cannot be told now stays written down, for a day."""
        told: dict[str, Upstream] = {}
        leaked: defaultdict[str, list[Record]] = defaultdict(list)
        for owed in debts:
            note = owed.json
            if await self._never_happened(note):
                await self.vault.delete(owed)
                told[owed.key] = "done"
            elif self._moved(note):
                told[owed.key] = await self._told(owed, "moved")
            elif note.get("leaked") and note["provider"] in self.providers:
                leaked[note["provider"]].append(owed)
            else:
                told[owed.key] = await self._tell(owed)
        for provider, found in leaked.items():
            told |= await self._tell_leaked(self.providers[provider], found)
        return [told[owed.key] for owed in debts]

    async def _tell(self, owed: Record) -> Upstream:
        note = owed.json
        provider, app = self.providers.get(note["provider"]), self.apps.get(note["app"])
        upstream: Upstream = "not_supported"
        if provider and app:
            try:
                endpoint = Endpoint(self.http, provider, app, self.clock)
                owed = await self._living(owed, endpoint)
                done = await endpoint.revoke(Secret(owed.json["token"]))
                upstream = "done" if done else "not_supported"
            except Refusal as refusal:
                upstream = self._stands(note, refusal)
        return await self._told(owed, upstream)

    async def _tell_leaked(self, provider: Provider, debts: list[Record]) -> dict[str, Upstream]:
        """All in as few requests as the provider takes; each debt is of two tokens at most."""
        told: dict[str, Upstream] = {}
        for begin in range(0, len(debts), LEAKED_AT_ONCE // 2):
            some = debts[begin : begin + LEAKED_AT_ONCE // 2]
            tokens = [Secret(token) for owed in some for token in owed.json["leaked"]]
            refused: Refusal | None = None
            try:
                await end_leaked(self.http, provider, tokens, self.clock())
            except Refusal as refusal:
                refused = refusal
            for owed in some:
                told[owed.key] = await self._told(owed, self._stands(owed.json, refused) if refused else "done")
        return told

    def _moved(self, note: dict[str, Any]) -> bool:
        """Whether the settings lead to another server than the tokens came from, which must not get them."""
        row, app = self.providers.get(note["provider"]), self.apps.get(note["app"])
        return bool(row and app and differs(origin_in(note), row, app) == "place")

    def _stands(self, note: dict[str, Any], refusal: Refusal) -> Upstream:
        if refusal.outcome.kind is Kind.REAUTH:
            return "done"  # the provider has ended it by itself
        return "queued" if self.clock() < note["since"] + GIVE_UP else "gave_up"

    async def _told(self, owed: Record, upstream: Upstream) -> Upstream:
        if upstream not in ("queued", "moved"):
            await self.vault.delete(owed)
        note = owed.json
        who = {name: note.get(name) or None for name in ("tenant", "user", "provider", "app")}
        self.audit.write(f"revoke.{upstream}", **who, leaked=True if note.get("leaked") else None)
        return upstream

    async def _never_happened(self, note: dict[str, Any]) -> bool:
        """Whether the disconnect that wrote this down was cut off before the tombstone: the grant lives on."""
        grant = await self.vault.grant(note["place"]) if "place" in note else None
        return grant is not None and (grant.status, grant.generation) == ("active", note["generation"])

    async def end(self, user: User, provider: str, app: str, tokens: Tokens) -> Upstream:
        """End tokens that must not be kept, now or later."""
        return (await self.settle(await self.owe(user, provider, app, tokens)))[0]

    async def retry(self) -> list[Upstream]:
        """Tell providers what could not be told before; how each went."""
        return await self.settle(*await self.vault.scan("outbox"))

    async def pay(self) -> None:
        """The same, at most once a minute: for whoever passes by."""
        if self.clock() >= self._rest_until:
            self._rest_until = self.clock() + REST
            await self.retry()
