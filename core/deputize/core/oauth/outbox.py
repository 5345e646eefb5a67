"""Tokens that must end at the provider: told at once, or as soon as it can be reached. Source: RFC 7009.

What is owed is written down, sealed, before anything forgets the token; so a crash or a provider that is down leaves a
debt, never a live token that nobody knows.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from deputize.core.audit import Audit
from deputize.core.failures import Kind
from deputize.core.http import Http
from deputize.core.oauth.endpoint import Endpoint, Refusal
from deputize.core.oauth.flow import Tokens
from deputize.core.oauth.provider import App, Provider
from deputize.core.vault.grant import Grant, Secret, User
from deputize.core.vault.vault import Record, Vault

GIVE_UP: Final = 86400.0
REST: Final = 60.0
MARGIN: Final = 10.0

Upstream = Literal["done", "queued", "not_supported", "gave_up"]


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

    async def owe(
        self, user: User, provider: str, app: str, token: Secret | Tokens, grant: Grant | None = None
    ) -> Record:
        """Write down that this token must end. Durable when it returns. ``grant``: only if this one is gone by then.

        A grant's or a reply's access token is what must be named where the provider knows no other.
        """
        note = {"provider": provider, "app": app, "since": self.clock(), "user": user.id}
        if grant is not None:
            note |= {"place": self.vault.place_of(grant), "generation": grant.generation}
        note |= self._named(provider, token, grant)
        while True:
            key = self.vault.place(user, provider, app) + secrets.token_hex(8)
            if owed := await self.vault.insert("outbox", key, note):
                return owed

    def _named(self, provider: str, token: Secret | Tokens, grant: Grant | None) -> dict[str, Any]:
        """The token to tell the provider of; with it, what brings another where only a live access token is heard."""
        if grant is not None:
            tokens, expires = Tokens(grant.access_token, grant.refresh_token, None, 0.0), grant.expires_at
        elif isinstance(token, Tokens):
            tokens, expires = token, self.clock() + token.lifetime if token.lifetime else 0.0
        else:
            tokens, expires = Tokens(token, None, None, 0.0), 0.0
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
        note = {**note, "refresh": ""} | self._named(note["provider"], renewed, None)
        return await self.vault.swap(owed, note) or owed

    async def settle(self, owed: Record) -> Upstream:
        """Tell the provider. What cannot be told now stays written down, for a day."""
        note = owed.json
        if await self._never_happened(note):
            await self.vault.delete(owed)
            return "done"
        provider, app = self.providers.get(note["provider"]), self.apps.get(note["app"])
        upstream: Upstream = "not_supported"
        if provider and app:
            try:
                endpoint = Endpoint(self.http, provider, app, self.clock)
                owed = await self._living(owed, endpoint)
                done = await endpoint.revoke(Secret(owed.json["token"]))
                upstream = "done" if done else "not_supported"
            except Refusal as refusal:
                dead = refusal.outcome.kind is Kind.REAUTH  # the provider has ended it by itself
                waits = self.clock() < note["since"] + GIVE_UP
                upstream = "done" if dead else "queued" if waits else "gave_up"
        if upstream != "queued":
            await self.vault.delete(owed)
        self.audit.write(f"revoke.{upstream}", user=note["user"], provider=note["provider"], app=note["app"])
        return upstream

    async def _never_happened(self, note: dict[str, Any]) -> bool:
        """Whether the disconnect that wrote this down was cut off before the tombstone: the grant lives on."""
        grant = await self.vault.grant(note["place"]) if "place" in note else None
        return grant is not None and (grant.status, grant.generation) == ("active", note["generation"])

    async def end(self, user: User, provider: str, app: str, token: Secret | Tokens) -> Upstream:
        """End tokens that must not be kept, now or later."""
        return await self.settle(await self.owe(user, provider, app, token))

    async def retry(self) -> list[Upstream]:
        """Tell providers what could not be told before; how each went."""
        return [await self.settle(owed) for owed in await self.vault.scan("outbox")]

    async def pay(self) -> None:
        """The same, at most once a minute: for whoever passes by."""
        if self.clock() >= self._rest_until:
            self._rest_until = self.clock() + REST
            await self.retry()


def facts_of(grant: Grant, audit: Audit) -> dict[str, str | int | None]:
    """What an audit row says of a grant."""
    return {
        "tenant": grant.user.tenant or None,
        "user": grant.user.id,
        "provider": grant.provider,
        "app": grant.app,
        "account_hash": audit.digest(grant.account.subject),
        "grant_gen": grant.generation,
    }
