"""Consents of all users in one vault: found by link, `state` or id, saved by compare-and-swap, ended, and displayed.

Index rows lead from the hashes of tickets, states and ids to a record. A ticket is derived from the record's id and
issue number with the vault's own key, so it is the same after a restart and is not stored.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any, Literal, NoReturn

from deputize.core.audit.common_fields import Obtained
from deputize.core.audit.events import ENDS, MISUSES, Misuse
from deputize.core.consent.record import (
    OPENABLE,
    PENDING,
    ConsentRecord,
    EndStatus,
    Who,
    refuse_link,
)
from deputize.core.errors import InvalidInput
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.provider import App, Provider
from deputize.core.providers.origin import moved, origin_change
from deputize.core.question_feed import QuestionStatus
from deputize.core.shared_services import Services
from deputize.core.user_requests import Consent
from deputize.core.vault.grant import Grant, Secret, User

Index = Literal["ticket", "asked", "state"]
"""Kinds of rows that lead to a consent: from its link, from its id, and from the state a browser comes back with."""


class ConsentRepository:
    """The consents in a vault: looked up, saved and ended."""

    def __init__(self, services: Services) -> None:
        self.services = services

    # ------------------------------------------------------------- finding

    def key(self, user: User, app: App, scopes: tuple[str, ...], account: str) -> str:
        """Return the key of the consent for these scopes. Equal needs have equal keys.

        Raises `InvalidInput` for an account or a scope that is not valid Unicode.
        """
        try:
            asked = "\n".join((account, *scopes)).encode()
        except UnicodeEncodeError:
            raise InvalidInput(
                "The account or a scope contains a lone surrogate (invalid Unicode).", hint="Send valid Unicode text."
            ) from None
        digest = hashlib.sha256(asked).hexdigest()[:32]
        return self.services.vault.key_prefix(user, app.provider, app.name) + digest

    def owner(self, record: ConsentRecord) -> str:
        """Return the prefix of the keys of the user's consents and grants at this app."""
        return self.services.vault.key_prefix(record.user, record.provider, record.app)

    def ticket(self, record: ConsentRecord) -> str:
        """Return the opaque part of the consent's link."""
        mac = hmac.digest(self.services.vault.keys.ticket, f"{record.id}\n{record.issue}".encode(), "sha256")
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    async def get(self, key: str) -> ConsentRecord | None:
        """Return the consent with this key, or None. The key "" stands for tokens that came without a consent."""
        row = await self.services.vault.get("consent", key) if key else None
        return await self._refresh_status(ConsentRecord.of(row)) if row else None

    async def _refresh_status(self, record: ConsentRecord) -> ConsentRecord:
        """Wait until the consent's app is registered. Return the consent, cancelled if a bulk revocation ended it."""
        await self.services.registry.wait_until_loaded(record.app)
        ended = self.services.vault.ended
        await ended.refresh()
        if record.status in PENDING and ended.has_ended(record.user.tenant, record.epoch):
            return record.end("cancelled", "disconnected", self.services.clock())
        return record

    async def reload(self, record: ConsentRecord) -> ConsentRecord | None:
        """Return the current version of this record, or None."""
        return await self.get(record.place.key)

    async def list_for_user(self, user: User) -> list[ConsentRecord]:
        """Return all remembered consents of a user."""
        vault = self.services.vault
        return [
            await self._refresh_status(ConsentRecord.of(row))
            for row in await vault.scan("consent", vault.key_prefix(user))
        ]

    async def find_by_ticket(self, ticket: str, who: Who) -> ConsentRecord:
        """Return the consent of a link. Raises the same `InvalidInput` for any link that cannot be used.

        If another signed-in user opens the link, the consent ends.
        """
        record, now = await self._find_by("ticket", fingerprint(ticket)), self.services.clock()
        if record is None:
            raise refuse_link("unknown_ticket")
        current = hmac.compare_digest(self.ticket(record), ticket)
        if record.status in OPENABLE and (record.is_late(now) or not current):
            raise refuse_link("expired_ticket")
        if not record.is_for(who):
            if isinstance(who, User):
                await self.refuse_misuse(record, "user_mismatch")
            raise refuse_link("nobody")
        return record

    async def find_by_state(self, state: Secret) -> ConsentRecord | None:
        """Return the consent of the visit with this ``state``, or None if newer visits replaced that visit."""
        digest = fingerprint(state)
        record = await self._find_by("state", digest) if state else None
        overtaken = record is not None and record.visit_of(digest) is None and record.status in PENDING
        return None if overtaken else record

    async def find_by_id(self, consent_id: str) -> ConsentRecord | None:
        """Return the consent with this id, or None if a newer consent for the same need replaced it."""
        return await self._find_by("asked", fingerprint(consent_id))

    async def find_remembered(self, consent_id: str) -> ConsentRecord | None:
        """Return the consent with this id, pending or ended, or None if it is unknown."""
        record = await self._find_by("asked", fingerprint(consent_id), same=False)
        return record.version_with_id(consent_id) if record else None

    async def _find_by(self, index: Index, digest: str, *, same: bool = True) -> ConsentRecord | None:
        """Return the consent of an index row, or None. ``same``: None also if a newer consent replaced it."""
        row = await self.services.vault.get(index, digest)
        if row is None or row.json["expires"] < self.services.clock():
            return None
        record = await self.get(row.json["key"])
        return record if record and (record.id == row.json["id"] or not same) else None

    # ------------------------------------------------------------- saving

    async def save(self, record: ConsentRecord) -> ConsentRecord | None:
        """Save the record over the row it was read from. Returns None, changing nothing, if the row has changed."""
        row = await self.services.vault.swap(record.place, record.pack())
        return ConsentRecord.of(row) if row else None

    async def insert(self, key: str, record: ConsentRecord) -> ConsentRecord | None:
        """Store a first consent under this key. Returns None if the key already has one."""
        vault = self.services.vault
        row = await vault.insert("consent", key, record.pack(), await vault.data_keys.get(record.user.tenant))
        return ConsentRecord.of(row) if row else None

    async def index(self, key: str, record: ConsentRecord) -> None:
        """Store the index rows of ticket and id, which contain only hashes, before the record itself is stored."""
        await self._point("ticket", self.ticket(record), key, record, record.expires)
        await self._point("asked", record.id, key, record, record.expires)

    async def index_state(self, state: Secret, record: ConsentRecord, expires: float) -> None:
        """Store the index row for the ``state`` of a visit."""
        await self._point("state", state, record.place.key, record, expires)

    async def _point(self, index: Index, name: Secret | str, key: str, record: ConsentRecord, expires: float) -> None:
        vault, digest = self.services.vault, fingerprint(name)
        row: dict[str, Any] = {"key": key, "id": record.id, "expires": expires}
        while not await vault.insert(index, digest, row):
            old = await vault.get(index, digest)
            if old and (old.json["expires"] >= expires or await vault.swap(old, row)):
                return

    # ------------------------------------------------------------- ending

    async def refuse_misuse(self, record: ConsentRecord, why: Misuse) -> NoReturn:
        """Audit a misuse of this consent, end it unless it is being redeemed, and raise the refusal."""
        await self.audit_misuse(why, record)
        if record.status in OPENABLE:
            await self.end(record, "failed", why)
        raise refuse_link(why)

    async def audit_misuse(self, why: Misuse, record: ConsentRecord | None = None) -> None:
        """Record in the audit that a request fits no consent, or not this one."""
        await self.services.audit.record(MISUSES[why](record.facts() if record else None))

    async def end(
        self, record: ConsentRecord, status: EndStatus, reason: str, *, obtained: Obtained | None = None, **facts: Any
    ) -> ConsentRecord | None:
        """Move the consent to a final state, and audit that. Returns None if it was ended in another way in between.

        ``obtained``: the grant that it led to. ``facts``: see `ConsentRecord.end`.
        """
        began = record
        while not (stored := await self.save(record.end(status, reason, self.services.clock(), **facts))):
            again = await self.reload(record)
            if again is None or (again.id, again.status) != (began.id, began.status):
                return None
            record = again
        await self.services.audit.record(ENDS[status](stored.facts(), list(stored.scopes), reason, obtained))
        await self.tell("decided", stored)
        return stored

    async def tell(self, change: QuestionStatus, record: ConsentRecord, ask: str = "") -> None:
        """Report a change of the consent to the application: see `QuestionFeed`."""
        if self.services.question_feed.functions:
            self.services.question_feed.tell(change, record.user, await self.to_public(record, ask))

    # ------------------------------------------------------------- what belongs to it

    def get_provider_and_app(self, record: ConsentRecord) -> tuple[Provider, App]:
        """Return the provider and the app of a consent. Raises the error of `refuse_link` if the settings lack them."""
        provider, app = self.services.providers.get(record.provider), self.services.apps.get(record.app)
        if provider is None or app is None:
            raise refuse_link("unknown_app")
        return provider, app

    async def check_origin(self, user: User, app: App) -> None:
        """Raise `InvalidInput` if a grant of this app came from another server than the app leads to now. Until the
        user disconnects that grant, the new server receives no client secret, and nothing is stored for it."""
        row = self.services.providers[app.provider]
        for grant in await self.services.vault.list_grants(user, app.provider, app.name):
            if grant.status != "revoked" and origin_change(grant.origin, row, app) == "place":
                raise moved(grant, row)

    async def scopes_to_ask(self, record: ConsentRecord, provider: Provider) -> frozenset[str]:
        """Return the scopes to request: the missing scopes, and the current grant's scopes that must not get lost."""
        held = await self._grant_of(record)
        kept = held.scopes - provider.apis.incompatible_scopes.keys() if held else frozenset[str]()
        return frozenset(record.scopes) | kept

    async def _grant_of(self, record: ConsentRecord) -> Grant | None:
        """Return the active grant of the account that must consent, or None."""
        if not record.subject:
            return None
        vault = self.services.vault
        grant = await vault.get_grant(vault.key_prefix(record.user, record.provider, record.app, record.subject))
        return grant if grant and grant.status != "revoked" else None

    async def to_public(self, record: ConsentRecord, ask: str = "") -> Consent:
        """Return the consent in its public form. ``ask``: id of the user's request; default: the newest request."""
        step = ask or (record.asks[-1] if record.asks else "")
        provider = self.services.providers.get(record.provider)
        status = record.public_status(self.services.clock())
        return Consent(
            id=record.id,
            provider=record.provider,
            app=record.app,
            scopes=record.scopes,
            scope_descriptions=tuple(self.services.registry.words(record.provider, scope) for scope in record.scopes),
            link=f"{await self.services.pages.base_url()}/connect/{self.ticket(record)}",
            expires_at=record.ticket_expires,
            agent=record.agent,
            account=record.account,
            status=status,
            reason_code=record.why if status == "pending" else record.reason,
            request_id=step,
            request_link=self.services.step_link(step),
            label=provider.label if provider else record.provider,
        )
