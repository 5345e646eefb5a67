"""Consents of all users: from missing scopes to a link for the user, and back.

Equal needs lead to the same pending consent in every process and after every restart. A refusal is remembered for the
request that led to it. The user completes a consent in a browser (`authorization_flow`) or by a code on another device
(`device`); both end in `redeem`. `record` is the state machine, `repository` stores it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

from deputize.core.audit.events import ConsentRequested
from deputize.core.consent.already_answered import check_answers
from deputize.core.consent.authorization_flow import AuthorizationFlow, Started
from deputize.core.consent.device import Device, DeviceCode, Sleep
from deputize.core.consent.grant_writer import GrantWriter
from deputize.core.consent.record import (
    CONSENT_LINK_TTL,
    CONSENT_TTL,
    MAX_FORMER,
    PENDING,
    REDEEM_TTL,
    REDEEMING,
    AnyLocalUser,
    ConsentRecord,
    Other,
    Who,
)
from deputize.core.consent.redeem import Redeemer
from deputize.core.consent.repository import ConsentRepository
from deputize.core.errors import RateLimited
from deputize.core.grants.consent_lock import LOCK_TIMEOUT_SECONDS
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.grants.sources.service_account import refuse_to_ask
from deputize.core.grants.token_reply_journal import ReceivedReplies
from deputize.core.oauth.provider import App
from deputize.core.shared_services import Services
from deputize.core.user_requests import Consent
from deputize.core.value_object import Printed, frozen
from deputize.core.vault.bulk_revocation import BulkRevocation
from deputize.core.vault.grant import Grant, User

__all__ = [
    "CONSENT_LINK_TTL",
    "REDEEM_TTL",
    "AnyLocalUser",
    "Consents",
    "Details",
    "DeviceCode",
    "Started",
    "Who",
]

MAX_PENDING_CONSENTS: Final = 20


@frozen
class Details(Printed):
    """Details of a consent for the pages, in addition to a `Consent`.

    ``missing``: the scopes that the user left out. ``redeeming``: True while the code is being redeemed. ``other``: set
    if the consent adds an account, or replaces the default account ``instead``. ``return_to``: the address of your
    application to which the page links at the end, if the user came from there.
    """

    user: User
    missing: tuple[str, ...]
    redeeming: bool
    other: Other
    instead: str
    return_to: str


class Consents:
    """The consents of all users in one vault."""

    def __init__(self, services: Services, queue: RevocationQueue) -> None:
        self.repository, self._queue = ConsentRepository(services), queue
        received = ReceivedReplies(services)
        self._turns = WeakValueDictionary[tuple[int, str], asyncio.Lock]()
        self._redeemer = redeemer = Redeemer(self.repository, received, GrantWriter(self.repository, received, queue))
        self._browser, self._device = AuthorizationFlow(self.repository, redeemer), Device(self.repository, redeemer)

    # ------------------------------------------------------------- asking

    async def require(
        self,
        user: User,
        app: App,
        scopes: Iterable[str],
        *,
        enough: Iterable[frozenset[str]] = (),
        held: Grant | None = None,
        account: str = "",
        ask: str = "",
        thread: str = "",
        why: str = "",
        claims: str = "",
        agent: str = "",
        insist: bool = False,
        other: Other = "",
    ) -> Consent:
        """Return the pending consent for these scopes. Creates a consent if none is pending.

        ``enough``: groups of scopes, of which one scope each suffices; default: all scopes are needed. ``held``: the
        grant that lacks the scopes, whose account must consent. ``ask``: id of the user's request that led here; if a
        consent was refused, the same request does not ask again unless ``insist``. ``thread``: the conversation that
        waits for the consent. ``claims``: claims to request from the provider, verbatim. ``other``: the user may
        choose any account, as ``another`` one or to ``switch`` to; only users request that.

        Raises `Declined`, `ScopeNotGranted` or `AccountMismatch` if the user already answered, and `RateLimited` above
        20 pending consents. Raises `InvalidInput` if the app now leads to another server than the one that issued a
        grant of the user, or if the app is a service account's, for which no user can consent.
        """
        repository, services = self.repository, self.repository.services
        scopes, enough = tuple(scopes), tuple(enough)
        refuse_to_ask(app, services.providers[app.provider], scopes, enough)
        await services.audit.learn(user.tenant, user.id)
        epoch = await services.vault.ended.epoch()
        await repository.check_origin(user, app)
        wanted = tuple(sorted(set(scopes) or (() if held else services.providers[app.provider].oauth.fallback_scopes)))
        groups = tuple(dict.fromkeys(tuple(sorted(group)) for group in enough)) or tuple((scope,) for scope in wanted)
        key = repository.key(user, app, wanted, f"{account}\0{other}" if other else account)
        subject, name = ("", account) if other else await self._find_expected_account(user, app, account, held)
        async with self._turn(key):
            while True:
                pending = await check_answers(repository, user, app, None if insist else wanted, ask, why)
                record, now = await self._resume(await repository.get(key)), services.clock()
                if record and record.is_live(now):
                    if kept := await self._keep(key, record, ask, thread, why, groups, claims):
                        return await repository.to_public(kept, ask)
                    continue
                if pending >= MAX_PENDING_CONSENTS:
                    raise RateLimited("Too many consents are waiting for this user.", retry_after=CONSENT_LINK_TTL)
                new = ConsentRecord(
                    id=secrets.token_urlsafe(16),
                    user=user,
                    provider=app.provider,
                    app=app.name,
                    scopes=wanted,
                    enough=groups,
                    agent=agent or services.agent,
                    subject=subject,
                    account=name,
                    other=other,
                    instead=held.account.name if held and other == "switch" else "",
                    why=why,
                    claims=claims,
                    asks=(ask,) if ask else (),
                    threads=(thread,) if thread else (),
                    ticket_expires=now + CONSENT_LINK_TTL,
                    expires=now + CONSENT_TTL,
                    epoch=epoch,
                )
                if stored := await self._take_place(key, new, record):
                    await services.audit.record(ConsentRequested(stored.facts(), list(wanted), why))
                    await repository.tell("asked", stored, ask)
                    return await repository.to_public(stored, ask)

    def _turn(self, key: str) -> asyncio.Lock:
        """Return the lock of a record in this event loop. Without this lock, all but one of many concurrent changes
        would be repeated, and the work would grow with the square of their number."""
        return self._turns.setdefault((id(asyncio.get_running_loop()), key), asyncio.Lock())

    async def _find_expected_account(self, user: User, app: App, account: str, held: Grant | None) -> tuple[str, str]:
        """Return subject and name of the account that must consent, as far as they are known.

        A connection id identifies its account even after a disconnect. Pages and providers cannot use the id itself.
        """
        grants = await self.repository.services.vault.list_grants(user, app.provider, app.name) if account else []
        meant = held or next((grant for grant in grants if grant.connection_id == account), None)
        return (meant.account.subject, meant.account.name) if meant else ("", account)

    async def _take_place(self, key: str, new: ConsentRecord, old: ConsentRecord | None) -> ConsentRecord | None:
        """Save a new consent in place of an ended one for the same need. Returns None if another process was faster."""
        if old:
            new = new.copy_with(row=old.row, before=(*old.before[1 - MAX_FORMER :], old.to_former()))
        await self.repository.index(key, new)
        return await (self.repository.save(new) if old else self.repository.insert(key, new))

    async def _keep(
        self,
        key: str,
        record: ConsentRecord,
        ask: str,
        thread: str,
        why: str,
        enough: tuple[tuple[str, ...], ...],
        claims: str,
    ) -> ConsentRecord | None:
        """Return the pending consent with this request and a valid ticket, or None if the consent has changed."""
        now = self.repository.services.clock()
        known = (not ask or ask in record.asks) and (not why or why == record.why)
        known = known and record.has_enough_for(enough) and claims in ("", record.claims)
        known = known and (not thread or thread in record.threads)
        late = record.is_late(now) and record.status not in REDEEMING
        if known and not late and now < record.expires - CONSENT_TTL / 2:
            return record
        kept = record if known else record.add_request(ask, thread, why, enough)
        kept = (kept.renew_ticket(now) if late else kept).copy_with(
            expires=now + CONSENT_TTL, claims=claims or kept.claims
        )
        await self.repository.index(key, kept)
        saved = await self.repository.save(kept)
        if saved is not None and saved.issue != record.issue:
            await self.repository.tell("asked", saved, ask)
        return saved

    # ------------------------------------------------------------- completing

    async def open(self, ticket: str, who: Who) -> Consent:
        """Return the consent of a link, see `AuthorizationFlow.open`. An interrupted redemption is finished first."""
        consent = await self._browser.open(ticket, who)
        return await self.status(consent.id) or consent

    async def start(self, ticket: str, who: Who, return_to: str = "") -> Started:
        """Handle a press of Connect: see `AuthorizationFlow.start`."""
        return await self._browser.start(ticket, who, return_to)

    async def decline(self, ticket: str, who: Who) -> None:
        """Handle a press of Cancel: see `AuthorizationFlow.decline`."""
        await self._browser.decline(ticket, who)

    def finish(self, app_name: str, params: Mapping[str, str], who: Who, nonce: str) -> Coroutine[Any, Any, str]:
        """Handle the callback from the provider: see `AuthorizationFlow.finish`."""
        return self._browser.finish(app_name, params, who, nonce)

    async def connect_by_device_code(
        self, consent_id: str, user: User, tell: Callable[[DeviceCode], None], sleep: Sleep
    ) -> Consent:
        """Complete a consent with a code that is entered on another device: see `Device.connect_by_device_code`."""
        return await self._device.connect_by_device_code(consent_id, user, tell, sleep)

    # ------------------------------------------------------------- looking

    async def status(self, consent_id: str) -> Consent | None:
        """Return the consent of this id, pending or ended, or None if it is unknown or forgotten."""
        await self._resume(await self.repository.find_by_id(consent_id))
        record = await self.repository.find_remembered(consent_id)
        return await self.repository.to_public(record) if record else None

    async def get_details(self, consent_id: str) -> Details | None:
        """Return the details of a consent, or None if a newer consent for the same need replaced it."""
        record = await self.repository.find_by_id(consent_id)
        if record is None:
            return None
        return Details(
            record.user,
            record.missing,
            redeeming=record.status in REDEEMING,
            other=record.other,
            instead=record.instead,
            return_to=record.return_to,
        )

    async def _resume(self, record: ConsentRecord | None) -> ConsentRecord | None:
        """Return the current record, after finishing a redemption that a dead process left unfinished."""
        if record is None or record.status not in REDEEMING:
            return record
        await self.repository.services.in_flight.run(partial(self._redeemer.resume, record))
        return await self.repository.reload(record)

    async def recover(self, user: User | None = None) -> None:
        """Finish consents that dead processes left, of all users or of this user, and send the due revocations."""
        await self.settle(self.repository.services.vault.key_prefix(user) if user else "")
        await self._queue.flush()

    async def settle(self, key: str = "", *, wait: bool = False) -> None:
        """Finish consents that dead processes left. ``key``: a user's key prefix, or empty for all users. Received
        tokens are stored if their consent still waits for them, and revoked otherwise. ``wait``: include consents that
        another process is redeeming, and wait up to `LOCK_TIMEOUT_SECONDS` seconds for them."""
        await self.repository.services.in_flight.run(
            partial(self._redeemer.settle, key, LOCK_TIMEOUT_SECONDS if wait else 0.0)
        )

    async def list_pending(self, user: User) -> list[Consent]:
        """Return the pending consents of this user."""
        found, now = await self.repository.list_for_user(user), self.repository.services.clock()
        return [await self.repository.to_public(record) for record in found if record.is_live(now)]

    # ------------------------------------------------------------- cancelling

    async def cancel(self, user: User, provider: str, app: str) -> None:
        """Cancel the pending consents of this user and app."""
        vault = self.repository.services.vault
        rows, _ = await vault.scan_openable("consent", vault.key_prefix(user, provider, app))
        for row in rows:  # a record that does not open cannot be completed either
            await self._cancel(ConsentRecord.of(row))

    async def cancel_all(self, end: BulkRevocation) -> None:
        """Cancel the consents that were pending when many grants ended."""
        async for rows, _ in self.repository.services.vault.pages("consent"):
            for record in ConsentRecord.read_all(rows):
                if end.covers(record.user.tenant, record.epoch):
                    await self._cancel(record)

    async def _cancel(self, found: ConsentRecord) -> None:
        """Cancel this consent if it is pending, and any consent that replaces it in between."""
        record: ConsentRecord | None = found
        while record and record.status in PENDING:
            await self.repository.end(record, "cancelled", "disconnected")
            record = await self.repository.reload(record)
