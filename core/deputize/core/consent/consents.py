"""From "something is missing" to a link the user can follow, and back: which consents there are, and for what.

The same need finds the same pending consent, in every process and after every restart; a refusal is remembered for the
request that led to it. How a browser walks through one is in `browser`, the record it moves in `record`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final

from deputize.core.consent.browser import Started
from deputize.core.consent.device import DeviceCode, Devices
from deputize.core.consent.record import (
    KEPT,
    PENDING,
    REDEEM_LIFE,
    REDEEMING,
    TICKET_LIFE,
    AnyLocalUser,
    Content,
    Other,
    Who,
    forget,
)
from deputize.core.errors import AccountMismatch, Declined, RateLimited, ScopeNotGranted
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.provider import App
from deputize.core.pending import Consent
from deputize.core.vault.grant import Grant, User
from deputize.core.vault.vault import Record

__all__ = [
    "REDEEM_LIFE",
    "TICKET_LIFE",
    "AnyLocalUser",
    "Consents",
    "DeviceCode",
    "Started",
    "Who",
]

MOST_PENDING: Final = 20
FORMER: Final = 8
"""How many earlier consents for the same a record remembers the end of, for whoever still waits for one."""


class Consents(Devices):
    """Consents of all users, in one vault."""

    async def require(
        self,
        user: User,
        app: App,
        scopes: Iterable[str],
        *,
        held: Grant | None = None,
        account: str = "",
        ask: str = "",
        why: str = "",
        agent: str = "",
        insist: bool = False,
        other: Other = "",
    ) -> Consent:
        """The pending consent for these scopes: the one there is, or a new one.

        ``held`` is the grant that lacks them: its account must come back. ``ask`` names the request of the user that
        led here; a consent that was refused is not asked again for the same one, unless the user ``insist``s.
        ``other``: any account may come back, as ``another`` one or to ``switch`` to; nobody but the user wants that.
        Raises `Declined`, `ScopeNotGranted` or `AccountMismatch` then, `RateLimited` above 20 pending consents, and
        `InvalidInput` where the app leads to another server than a grant of the user came from.
        """
        await self._stay(user, app)
        wanted = tuple(sorted(set(scopes)))
        key = self._key(user, app, wanted, f"{account}\0{other}" if other else account)
        while True:
            pending = await self._look(user, app, () if insist else wanted, ask, why)
            record = await self.vault.get("consent", key)
            if record and self._live(record.json):
                if kept := await self._kept(record, ask, why):
                    return await self._public(kept)
                continue
            if pending >= MOST_PENDING:
                raise RateLimited("Too many consents are waiting for this user.", retry_after=TICKET_LIFE)
            content = self._new(user, app, wanted, held, account, ask, why, agent, other)
            if record:
                content["before"] = [*record.json.get("before", ())[1 - FORMER :], _ended(record.json)]
            await self._name(key, content)
            stored = await (self.vault.swap(record, content) if record else self.vault.insert("consent", key, content))
            if stored:
                self.audit.write(
                    "consent.asked", **self._facts(content), scopes_required=list(wanted), reason=why or None
                )
                return await self._public(stored.json)

    async def _look(self, user: User, app: App, wanted: tuple[str, ...], ask: str, why: str) -> int:
        """How many consents are pending for the user; raises if one for these scopes was just refused."""
        pending = 0
        for record in await self.vault.scan("consent", self.vault.place(user)):
            content = record.json
            pending += self._live(content) and not self._late(content)
            if content["provider"] == app.provider and content["app"] == app.name:
                self._stop_if_refused(app, content, wanted, ask, why)
        return pending

    def _stop_if_refused(self, app: App, content: Content, wanted: tuple[str, ...], ask: str, why: str) -> None:
        status = content["status"]
        same = ask in content["asks"] if ask else content.get("finished", 0) > self.clock() - TICKET_LIFE
        missing = tuple(s for s in content.get("missing") or content["scopes"] if s in wanted)
        in_vain = status == "granted" and why == "scope_missing"  # granted, and the API refuses all the same
        if status in PENDING or (status == "granted" and not in_vain) or not same or not missing:
            return
        provider = self.providers[app.provider]
        if status == "partial" or in_vain:
            words = ", ".join(provider.words(s) for s in missing)
            raise ScopeNotGranted(f"The user did not allow this at {provider.label}: {words}.", scopes=missing)
        if status in ("denied", "cancelled"):
            raise Declined(f"The user declined to connect {provider.label}.")
        if content.get("reason") == "account_mismatch":
            raise AccountMismatch(f"Another {provider.label} account came back than {content['account']}.")

    def _new(
        self,
        user: User,
        app: App,
        scopes: tuple[str, ...],
        held: Grant | None,
        account: str,
        ask: str,
        why: str,
        agent: str,
        other: Other,
    ) -> Content:
        now, pinned = self.clock(), None if other else held
        return {
            "id": secrets.token_urlsafe(16),
            "user": user.id,
            "tenant": user.tenant,
            "provider": app.provider,
            "app": app.name,
            "scopes": list(scopes),
            "agent": agent or self.agent,
            "subject": pinned.account.subject if pinned else "",
            "account": pinned.account.name if pinned else account,
            "other": other,
            "instead": held.account.name if held and other == "switch" else "",
            "why": why,
            "asks": [ask] if ask else [],
            "status": "created",
            "issue": 1,
            "ticket_expires": now + TICKET_LIFE,
            "expires": now + KEPT,
        }

    async def _kept(self, record: Record, ask: str, why: str) -> Content | None:
        """The pending consent, knowing this ask, with a ticket that opens. None if it moved meanwhile."""
        content, now = record.json, self.clock()
        known = (not ask or ask in content["asks"]) and (not why or why == content["why"])
        late = self._late(content) and content["status"] not in REDEEMING
        if known and not late and now < content["expires"] - KEPT / 2:
            return content
        if not known:
            content["asks"] = [*(a for a in content["asks"][-31:] if a != ask), *([ask] if ask else [])]
            content["why"] = why or content["why"]
        if late:
            content = forget(content)
            content |= {"issue": content["issue"] + 1, "status": "created", "ticket_expires": now + TICKET_LIFE}
        content["expires"] = now + KEPT
        await self._name(record.key, content)
        stored = await self.vault.swap(record, content)
        return stored.json if stored else None

    # ------------------------------------------------------------- looking

    async def status(self, consent_id: str) -> Consent | None:
        """The consent of this id as it stands now, or ended; None if there never was one, or it is long gone."""
        row = await self.vault.get("asked", fingerprint(consent_id))
        record = await self.vault.get("consent", row.json["key"]) if row else None
        if row is None or record is None or row.json["expires"] < self.clock():
            return None
        former = {one["id"]: one for one in record.json.get("before", ())}  # the same was asked anew meanwhile
        content = record.json if record.json["id"] == consent_id else former.get(consent_id)
        return await self._public(record.json | content) if content else None

    async def waiting(self, user: User) -> list[Consent]:
        """What the user is being asked now."""
        records = await self.vault.scan("consent", self.vault.place(user))
        return [await self._public(r.json) for r in records if self._live(r.json)]

    async def cancel(self, user: User, provider: str, app: str) -> int:
        """End what is pending for this user and app; how many consents that were."""
        ended = 0
        waiting, _ = await self.vault.scan_open("consent", self.vault.place(user, provider, app))
        for found in waiting:  # one that does not open cannot be completed either
            ended += await self.cancel_one(found)
        return ended

    async def cancel_one(self, found: Record) -> int:
        """End this consent, if it is pending, and whatever takes its place at the same time; how many those were."""
        ended = 0
        record: Record | None = found
        while record and record.json["status"] in PENDING:
            if await self._end(record, "cancelled", "disconnected"):
                ended += 1
            record = await self.vault.get(record.kind, record.key)
        return ended


def _ended(content: Content) -> Content:
    """How a consent ended, for whoever waits for it when the same is asked anew."""
    kept = ("id", "issue", "status", "reason", "returned", "account", "agent", "ticket_expires", "visit_expires")
    return {name: content[name] for name in kept if name in content}
