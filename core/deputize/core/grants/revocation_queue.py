"""Queue of tokens to revoke at the provider (RFC 7009): sent at once, or as soon as the provider can be reached.

An encrypted entry is written before the token is deleted anywhere. So a crash or a provider outage leaves an entry,
never a live token without a record. Only the process that sent the revocation removes the entry:

    a disconnect      enqueued before the tombstone. A process that finds the entry while the grant still lives finishes
                      both: the process that began was interrupted, or is one step behind
    a newer consent   enqueues the tokens that it replaces before it overwrites them. They are revoked alone, once no
                      grant has them, if the provider can revoke one token alone. If revoking them might end the newer
                      grant, they wait until that has ended too (`OAuthEndpoints.ends_replaced`)
    anything else     sent at once

At some providers, revoking one token ends all tokens of the app for that account. A newer grant then includes the older
one, and revoking the older would end the newer. Such an entry is superseded by that grant. If the account of the tokens
is unknown, the entry waits until the user has no grant of the app that might end with them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from deputize.core.audit.common_fields import OfApp
from deputize.core.audit.events import REVOKES, GrantRevoked, RevokeReplaced
from deputize.core.errors import VaultError
from deputize.core.failures import Kind
from deputize.core.grants.consent_lock import consent_lock, is_held, is_lost
from deputize.core.grants.revocation_entries import RevocationEntries, may_end_others
from deputize.core.oauth.endpoint import LEAKED_AT_ONCE, Endpoint, Refusal, end_leaked
from deputize.core.oauth.messages import Tokens
from deputize.core.oauth.provider import Provider
from deputize.core.providers.origin import origin_change, origin_in
from deputize.core.shared_services import Services
from deputize.core.vault.grant import Grant, User, grant_fields
from deputize.core.vault.vault import Record

ABANDON_AFTER_SECONDS: Final = 86400.0
"""Seconds after which an entry is abandoned: audited once, and then tried once a day."""
MAX_CONCURRENT_REVOCATIONS: Final = 8
"""The number of concurrent revocation requests."""
FLUSH_INTERVAL_SECONDS: Final = 60.0
"""Seconds between two flushes, however many callers want one."""
EXCHANGE_TIMEOUT_SECONDS: Final = 5.0
"""Seconds for which a revocation waits for an exchange of the same user and app; then it stays in the queue."""
EXPIRY_MARGIN_SECONDS: Final = 10.0
"""Seconds before its end from which an access token counts as expired."""

Upstream = Literal["done", "queued", "moved", "not_supported", "abandoned"]
"""The state of a revocation. ``moved``: the settings lead to another server than the tokens came from, so nothing was
sent; the entry stays for as long as they do."""


class RevocationQueue(RevocationEntries):
    """The entries of all users in one vault, and their delivery."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.audit, self.http = services.audit, services.http
        self._next_flush = 0.0

    async def _with_live_token(self, entry: Record, endpoint: Endpoint) -> Record:
        """Return the entry with an access token that has not expired. A new pair is stored before it is used."""
        note = entry.json
        if not note.get("refresh") or self.clock() < note["expires"] - EXPIRY_MARGIN_SECONDS:
            return entry
        tokens = await endpoint.refresh(note["refresh"])
        renewed = replace(tokens, refresh=tokens.refresh or note.pop("refresh"))
        expires = self.clock() + tokens.lifetime if tokens.lifetime else 0.0
        note = {**note, "refresh": ""} | self._to_send(note["provider"], renewed, expires)
        return await self.vault.swap(entry, note) or entry

    async def deliver(self, *entries: Record) -> list[Upstream]:
        """Send the revocations and return the state of each. Revocations that cannot be sent now stay in the queue."""
        results: dict[str, Upstream] = {}
        for begin in range(0, len(entries), LEAKED_AT_ONCE // 2):
            results |= await self._deliver_batch(entries[begin : begin + LEAKED_AT_ONCE // 2])
        return [results[entry.key] for entry in entries]

    async def _deliver_batch(self, entries: Sequence[Record]) -> dict[str, Upstream]:
        results: dict[str, Upstream] = {}
        plain: list[Record] = []
        leaked: defaultdict[str, list[Record]] = defaultdict(list)
        for begin in range(0, len(entries), MAX_CONCURRENT_REVOCATIONS):
            await asyncio.sleep(0)
            some = entries[begin : begin + MAX_CONCURRENT_REVOCATIONS]
            for entry, waits in zip(some, await asyncio.gather(*map(self._must_wait, some)), strict=True):
                if waits is not None:
                    results[entry.key] = waits
                elif self._has_moved(entry.json):
                    results[entry.key] = await self._settle(entry, "moved")
                elif entry.json.get("leaked") and entry.json["provider"] in self.providers:
                    leaked[entry.json["provider"]].append(entry)
                else:
                    plain.append(entry)
        for provider, found in leaked.items():
            results |= await self._send_leaked(self.providers[provider], found)
        for begin in range(0, len(plain), MAX_CONCURRENT_REVOCATIONS):
            some = plain[begin : begin + MAX_CONCURRENT_REVOCATIONS]
            results |= zip((entry.key for entry in some), await asyncio.gather(*map(self._send, some)), strict=True)
        return results

    async def _must_wait(self, entry: Record) -> Upstream | None:
        """Return the state of an entry that must not be sent now, or None if it may be sent.

        Finishes a disconnect that was interrupted between the entry and the tombstone.
        """
        note = entry.json
        await self.services.registry.wait_until_loaded(note["app"])
        try:
            while (grant := await self._active(note)) and (_has_token(grant, note) or _is_of_family(grant, note)):
                if note.get("replaced"):
                    return "queued"  # the newer consent is not stored yet, or never was
                newer = None if _has_token(grant, note) else await self.enqueue_grant(grant)
                if stone := await self.vault.end_grant(grant, grant.tombstone(), newer or entry):
                    await self.audit.record(GrantRevoked(grant_fields(stone), "queued"))
                await self.deliver(*([newer] if newer else []))
        except VaultError:
            return self._state_later(note)  # the grant's tokens cannot be read
        if grant and "place" in note and self._holds_older(grant.provider):
            return await self._settle_superseded(entry)
        row = self.providers.get(note["provider"])
        held = grant and row and may_end_others(row) and not note.get("leaked")
        return "queued" if held else None

    async def _active(self, note: Mapping[str, Any]) -> Grant | None:
        """Return the active grant of the entry's account. If the account is unknown, return an active grant of the user
        and app that may be of the account, preferably one with the tokens."""
        if "place" in note:
            found = [await self.vault.get_grant(note["place"])]
        else:
            whose = User(note["user"], note["tenant"])
            found = [*await self.vault.list_grants(whose, note["provider"], note["app"])]
        active = [grant for grant in found if grant and grant.status == "active"]
        same = (grant for grant in active if _has_token(grant, note) or _is_of_family(grant, note))
        return next(same, active[0] if active else None)

    async def _settle_superseded(self, entry: Record) -> Upstream:
        await self.audit.record(RevokeReplaced(await self._owner_facts(entry.json), self.audit.digest(entry.key)))
        await self.vault.delete(entry)
        return "done"

    async def _send(self, entry: Record) -> Upstream:
        """Send one revocation. If it could end other tokens, no code of the user and app is exchanged meanwhile: a
        newer grant is then either stored before, so that the entry waits, or issued after."""
        note = entry.json
        row = self.providers.get(note["provider"])
        where = (self.vault, User(note["user"], note["tenant"]), note["provider"], note["app"])
        if row is None or not (row.oauth.revokes_all or may_end_others(row)) or is_held(*where):
            return await self._request(entry)
        try:
            async with consent_lock(*where, EXCHANGE_TIMEOUT_SECONDS):
                waits = await self._must_wait(entry)
                return waits if waits is not None else await self._request(entry)
        except TimeoutError:
            return await self._settle(entry, self._state_later(note))

    async def _request(self, entry: Record) -> Upstream:
        note = entry.json
        provider, app = self.providers.get(note["provider"]), self.apps.get(note["app"])
        if provider is None or app is None:
            return await self._settle(entry, self._state_later(note))  # not in the settings now; it may be later
        try:
            endpoint = Endpoint(self.http, provider, app, self.clock)
            entry = await self._with_live_token(entry, endpoint)
            alone = bool(note.get("replaced")) or await self._active(note) is not None
            if await is_lost(self.vault, User(note["user"], note["tenant"]), note["provider"], note["app"]):
                return await self._settle(entry, self._state_later(note))  # others may have stored a grant meanwhile
            done = await endpoint.revoke(entry.json["token"], alone=alone)
            upstream: Upstream = "done" if done else "not_supported"
        except Refusal as refusal:
            upstream = self._after(note, refusal)
        return await self._settle(entry, upstream)

    async def _send_leaked(self, provider: Provider, entries: list[Record]) -> dict[str, Upstream]:
        """Send all entries in one request; each has at most two tokens."""
        tokens = [token for entry in entries for token in entry.json["leaked"]]
        refused: Refusal | None = None
        try:
            await end_leaked(self.http, provider, tokens, self.clock())
        except Refusal as refusal:
            refused = refusal
        return {
            entry.key: await self._settle(entry, self._after(entry.json, refused) if refused else "done")
            for entry in entries
        }

    def _has_moved(self, note: dict[str, Any]) -> bool:
        """Return True if the settings now name another server than the one that issued the tokens. It must not receive
        them."""
        row, app = self.providers.get(note["provider"]), self.apps.get(note["app"])
        return bool(row and app and origin_change(origin_in(note), row, app) == "place")

    def _after(self, note: dict[str, Any], refusal: Refusal) -> Upstream:
        """Return the state after a refused revocation. It is done if the provider had already ended the token."""
        return "done" if refusal.outcome.kind is Kind.REAUTH else self._state_later(note)

    def _state_later(self, note: dict[str, Any]) -> Upstream:
        return "queued" if self.clock() < note["since"] + ABANDON_AFTER_SECONDS else "abandoned"

    async def _settle(self, entry: Record, upstream: Upstream) -> Upstream:
        note = entry.json
        audited = "tried" in note
        if note.get("held") and upstream in ("queued", "abandoned"):  # it counts from this first try
            await self.vault.swap(entry, {**note, "held": False, "since": self.clock()})
            upstream = "queued"
        elif upstream == "abandoned":
            await self.vault.swap(entry, {**note, "tried": self.clock()})
        if upstream != "abandoned" or not audited:
            whose, leaked = await self._owner_facts(note), True if note.get("leaked") else None
            await self.audit.record(REVOKES[upstream](whose, self.audit.digest(entry.key), leaked))
        if upstream in ("done", "not_supported"):  # after its row: without one, the entry would be missed
            await self.vault.delete(entry)
        return upstream

    async def _owner_facts(self, note: Mapping[str, Any]) -> OfApp:
        """Return the owner's audit fields. They are empty for an erased user, because a row must not name the user
        again."""
        app = {name: note.get(name) or "" for name in ("tenant", "user", "provider", "app")}
        names = self.audit.names
        if names and not await names.has_key(app["tenant"], app["user"]):
            app["user"] = ""
        return OfApp(**app)

    async def end(self, user: User, provider: str, app: str, tokens: Tokens, *, subject: str = "") -> Upstream:
        """Revoke tokens that must not be stored: at once, or as soon as the provider can be reached. ``subject``: the
        tokens' account, "" if unknown."""
        return (await self.deliver(await self.enqueue(user, provider, app, tokens, subject=subject)))[0]

    async def retry(self) -> list[Upstream]:
        """Send all waiting entries, a page at a time, and return the state of each."""
        return [one async for page, _ in self.vault.pages("outbox") for one in await self.deliver(*page)]

    async def flush(self, *, but: str = "-") -> None:
        """Send the due entries, at most once a minute. An abandoned entry is due once a day.

        ``but``: leave out the entries below this key, which the caller handles.
        """
        if not 0 < self._next_flush - self.clock() <= FLUSH_INTERVAL_SECONDS:  # the clock may have been set back
            self._next_flush = self.clock() + FLUSH_INTERVAL_SECONDS
            async for page, _ in self.vault.pages("outbox"):
                due = [entry for entry in page if self.clock() >= entry.json.get("tried", 0.0) + ABANDON_AFTER_SECONDS]
                await self.deliver(*(entry for entry in due if not entry.key.startswith(but)))


def _has_token(grant: Grant, note: Mapping[str, Any]) -> bool:
    """Return True if the grant holds this token."""
    return note["token"] in (grant.access_token, grant.refresh_token)


def _is_of_family(grant: Grant, note: Mapping[str, Any]) -> bool:
    """Return True if the grant has a token of the same family. The provider then ends both if it ends one of them."""
    return bool(grant.family) and grant.family == note.get("family")
