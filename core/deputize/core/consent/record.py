"""The sealed record of one consent: how it is found, how it moves, and what is shown of it.

    created -> opened -> returned -> confirmed -> granted | partial
       any  -> denied | failed | cancelled

``created`` a ticket exists; ``opened`` the verified user pressed Connect: state, verifier and nonce exist; ``returned``
the browser is back with a code, which is held; ``confirmed`` the user was verified again: the code is redeemed, once.
It moves by compare-and-swap only. Final states hold neither code nor verifier. Tickets, states and ids lead to the
record by their hashes; a ticket is derived from the record's id and issue, so that it is the same after a restart.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final, Literal, NoReturn

from deputize.core.engine import Engine
from deputize.core.errors import InvalidInput
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.provider import App, Provider
from deputize.core.pending import Consent, ConsentStatus
from deputize.core.providers.origin import differs, moved
from deputize.core.vault.grant import Grant, User
from deputize.core.vault.vault import Record

TICKET_LIFE: Final = 600.0
"""Seconds a link can be opened, and seconds between pressing Connect and coming back."""
REDEEM_LIFE: Final = 60.0
KEPT: Final = 86400.0

PENDING: Final = frozenset({"created", "opened", "returned", "confirmed"})
REDEEMING: Final = frozenset({"returned", "confirmed"})
_PUBLIC: Mapping[str, ConsentStatus] = dict.fromkeys(PENDING, "pending")
_SECRETS: Final = ("visits", "code", "device")

Content = dict[str, Any]


class AnyLocalUser:
    """Stands for "whoever sits at this machine": only for pages that nobody else can reach."""


Who = User | AnyLocalUser | None
Other = Literal["", "another", "switch"]
"""Whether a consent is meant for another account than the one there is: one more, or one to act from now on."""


def refused(reason: str) -> InvalidInput:
    """One answer for every link and callback that cannot be used, whatever the reason; the audit has the reason."""
    return InvalidInput(
        "This link cannot be used.",
        hint="Go back to where you were asked and open the newest link.",
        fix_by="user",
        reason=reason,
    )


class Records:
    """Consents of all users as records in one vault."""

    def __init__(
        self,
        engine: Engine,
        outbox: RevocationQueue,
    ) -> None:
        self.engine, self.outbox, self.vault, self.http = engine, outbox, engine.vault, engine.http
        self.providers, self.apps, self.audit = engine.providers, engine.apps, engine.audit
        self.pages, self.agent, self.clock = engine.pages, engine.agent, engine.clock

    # ------------------------------------------------------------- finding

    def _key(self, user: User, app: App, scopes: tuple[str, ...], account: str) -> str:
        digest = hashlib.sha256("\n".join((account, *scopes)).encode()).hexdigest()[:32]
        return self.vault.place(user, app.provider, app.name) + digest

    def _ticket(self, content: Content) -> str:
        mac = hmac.digest(self.vault.keys.ticket, f"{content['id']}\n{content['issue']}".encode(), "sha256")
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    async def _name(self, key: str, content: Content) -> None:
        """Let the ticket and the id lead to the record, before it is there. Neither is stored, only their hashes."""
        row = {"key": key, "id": content["id"], "expires": content["expires"]}
        for kind, name in (("ticket", self._ticket(content)), ("asked", content["id"])):
            await self._point(kind, fingerprint(name), row)

    async def _point(self, kind: str, digest: str, row: Content) -> None:
        """Let the name with this fingerprint lead there."""
        while not await self.vault.insert(kind, digest, row):
            old = await self.vault.get(kind, digest)
            if old and (old.json["expires"] >= row["expires"] or await self.vault.swap(old, row)):
                return

    async def _by(self, kind: str, digest: str) -> Record | None:
        """The record that a ticket, a state or an id leads to, by its fingerprint, if it is still the same consent."""
        row = await self.vault.get(kind, digest)
        if row is None or row.json["expires"] < self.clock():
            return None
        record = await self.vault.get("consent", row.json["key"])
        if record is None or record.json["id"] != row.json["id"]:
            return None
        states = [visit["state"] for visit in record.json.get("visits", ())]
        overtaken = kind == "state" and digest not in states
        return None if overtaken and record.json["status"] in PENDING else record

    async def _ticketed(self, ticket: str, who: Who) -> Record:
        record = await self._by("ticket", fingerprint(ticket))
        if record is None:
            raise refused("unknown_ticket")
        content = record.json
        current = hmac.compare_digest(self._ticket(content), ticket)
        if content["status"] in ("created", "opened") and (self._late(content) or not current):
            raise refused("expired_ticket")
        if not is_them(who, content):
            if isinstance(who, User):
                await self._burn(record, "user_mismatch")
            raise refused("nobody")
        return record

    # ------------------------------------------------------------- judging

    def _live(self, content: Content) -> bool:
        """Whether the consent can still be completed; an expired ticket can be issued anew."""
        if content["status"] in REDEEMING:
            return bool(self.clock() < content["returned"] + REDEEM_LIFE)
        return content["status"] in ("created", "opened")

    def _late(self, content: Content) -> bool:
        """Whether the link opens no more, and nobody is on the way back from the provider either."""
        return bool(self.clock() >= max(content["ticket_expires"], content.get("visit_expires", 0)))

    def _row(self, content: Content) -> tuple[Provider, App]:
        provider, app = self.providers.get(content["provider"]), self.apps.get(content["app"])
        if provider is None or app is None:
            raise refused("unknown_app")
        return provider, app

    async def _stay(self, user: User, app: App) -> None:
        """Raise `InvalidInput` where a grant of this app comes from another server than the app leads to now: neither
        its place in the vault nor the client's secret goes there before it was disconnected."""
        row = self.providers[app.provider]
        for grant in await self.vault.grants(user, app.provider, app.name):
            if grant.status != "revoked" and differs(grant.origin, row, app) == "place":
                raise moved(grant, row)

    async def _held(self, content: Content) -> Grant | None:
        """The grant of the account that must come back, if it still holds."""
        if not content["subject"]:
            return None
        user = User(content["user"], content["tenant"])
        grant = await self.vault.grant(self.vault.place(user, content["provider"], content["app"], content["subject"]))
        return grant if grant and grant.status != "revoked" else None

    # ------------------------------------------------------------- ending

    async def _burn(self, record: Record, why: str) -> NoReturn:
        """Somebody misused this consent: end it, unless it is being redeemed; say so in the audit, and refuse."""
        self._suspect(why, self._facts(record.json))
        if record.json["status"] in ("created", "opened"):
            await self._end(record, "failed", why)
        raise refused(why)

    def _suspect(self, why: str, facts: Content) -> None:
        self.audit.write(f"connect.{why}", **facts)

    async def _end(self, record: Record, status: str, reason: str, **more: Any) -> Record | None:
        """Into a final state, with nothing secret left in the record. None: it has ended otherwise meanwhile."""
        names = {"granted": "scopes_granted", "generation": "grant_gen", "account_hash": "account_hash"}
        facts = {told: more.pop(name, None) for name, told in names.items()}
        began = record.json
        while True:
            content = forget(record.json) | {"status": status, "reason": reason, "finished": self.clock(), **more}
            if stored := await self.vault.swap(record, content):
                break
            again = await self.vault.get(record.kind, record.key)
            if again is None or (again.json["id"], again.json["status"]) != (began["id"], began["status"]):
                return None
            record = again
        required = content["scopes"]
        self.audit.write(
            f"consent.{status}", **self._facts(content), scopes_required=required, reason=reason or None, **facts
        )
        return stored

    # ------------------------------------------------------------- showing

    async def _public(self, content: Content) -> Consent:
        provider = self.providers.get(content["provider"])
        status = _PUBLIC.get(content["status"], content["status"])
        if status == "pending" and not self._live(content):
            status = "failed"
        elif status == "pending" and self._late(content) and content["status"] not in REDEEMING:
            status = "expired"
        return Consent(
            id=content["id"],
            provider=content["provider"],
            app=content["app"],
            scopes=tuple(content["scopes"]),
            words=tuple(provider.words(scope) if provider else scope for scope in content["scopes"]),
            link=f"{await self.pages.base_url()}/connect/{self._ticket(content)}",
            expires_at=content["ticket_expires"],
            agent=content["agent"],
            account=content["account"],
            status=status,
            why=content["why"] if status == "pending" else content.get("reason", ""),
        )

    def _facts(self, content: Content) -> Content:
        return {
            "tenant": content["tenant"] or None,
            "user": content["user"],
            "agent": content["agent"] or None,
            "provider": content["provider"],
            "app": content["app"],
            "consent_id": content["id"],
        }


def is_them(who: Who, content: Content) -> bool:
    """Whether this is the user the consent was asked of."""
    if isinstance(who, User):
        return (who.id, who.tenant) == (content["user"], content["tenant"])
    return isinstance(who, AnyLocalUser)


def forget(content: Content) -> Content:
    """The content without anything that could still be used."""
    return {key: value for key, value in content.items() if key not in _SECRETS}
