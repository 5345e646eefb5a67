"""From "something is missing" to a link the user can follow, and back: which consents there are, and for what.

The same need finds the same pending consent, in every process and after every restart; a refusal is remembered for the
request that led to it. A consent is completed by a browser (`browser`) or by a code that is entered elsewhere
(`device`); both end in `redeem`. `record` is the state machine they move in, `repository` where its states lie.
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
    FORMER,
    KEPT,
    PENDING,
    REDEEM_LIFE,
    REDEEMING,
    TICKET_LIFE,
    AnyLocalUser,
    ConsentRecord,
    Other,
    Who,
)
from deputize.core.consent.redeem import LOCK_WAIT, Redeemer
from deputize.core.consent.repository import ConsentRepository
from deputize.core.engine import Engine
from deputize.core.errors import RateLimited
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.grants.sources.service_account import refuse_to_ask
from deputize.core.grants.token_reply_journal import ReceivedReplies
from deputize.core.oauth.provider import App
from deputize.core.user_requests import Consent
from deputize.core.value_object import Printed, frozen
from deputize.core.vault.bulk_revocation import EndOfMany
from deputize.core.vault.grant import Grant, User

__all__ = [
    "REDEEM_LIFE",
    "TICKET_LIFE",
    "AnyLocalUser",
    "Consents",
    "Details",
    "DeviceCode",
    "Started",
    "Who",
]

MAX_PENDING: Final = 20


@frozen
class Details(Printed):
    """What the pages say of a consent beyond a `Consent`.

    ``missing``: the scopes that the user left out. ``redeeming``: the browser is back, and its code is being redeemed.
    ``other``, ``instead``: it is for one more account, or for one to act from now on instead of this one.
    ``return_to``: the address of the application that its page leads back to, if the user came with one.
    """

    user: User
    missing: tuple[str, ...]
    redeeming: bool
    other: Other
    instead: str
    return_to: str


class Consents:
    """Consents of all users, in one vault."""

    def __init__(self, engine: Engine, queue: RevocationQueue) -> None:
        self.repository, self._queue = ConsentRepository(engine), queue
        received = ReceivedReplies(engine)
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
        why: str = "",
        claims: str = "",
        agent: str = "",
        insist: bool = False,
        other: Other = "",
    ) -> Consent:
        """The pending consent for these scopes: the one there is, or a new one.

        ``enough``: what it is for, as groups of scopes of each of which one suffices; else all scopes are needed.
        ``held`` is the grant that lacks them: its account must come back. ``ask`` names the request of the user that
        led here; a consent that was refused is not asked again for the same one, unless the user ``insist``s.
        ``claims``: what the provider wants to be asked for, word for word. ``other``: any account may come back, as
        ``another`` one or to ``switch`` to; nobody but the user wants that. Raises `Declined`, `ScopeNotGranted` or
        `AccountMismatch` then, `RateLimited` above 20 pending consents, and `InvalidInput` where the app leads to
        another server than a grant of the user came from, or is of a service account, for which no user can consent.
        """
        repository, engine = self.repository, self.repository.engine
        scopes, enough = tuple(scopes), tuple(enough)
        refuse_to_ask(app, engine.providers[app.provider], scopes, enough)
        await engine.audit.learn(user.tenant, user.id)
        epoch = await engine.vault.ended.epoch()
        await repository.check_origin(user, app)
        wanted = tuple(sorted(set(scopes) or (() if held else engine.providers[app.provider].oauth.fallback_scopes)))
        groups = tuple(dict.fromkeys(tuple(sorted(group)) for group in enough)) or tuple((scope,) for scope in wanted)
        key = repository.key(user, app, wanted, f"{account}\0{other}" if other else account)
        subject, name = ("", account) if other else await self._expected(user, app, account, held)
        async with self._turn(key):
            while True:
                pending = await check_answers(repository, user, app, None if insist else wanted, ask, why)
                record, now = await self._gone_on(await repository.at(key)), engine.clock()
                if record and record.live(now):
                    if kept := await self._keep(key, record, ask, why, groups, claims):
                        return await repository.public(kept, ask)
                    continue
                if pending >= MAX_PENDING:
                    raise RateLimited("Too many consents are waiting for this user.", retry_after=TICKET_LIFE)
                new = ConsentRecord(
                    id=secrets.token_urlsafe(16),
                    user=user,
                    provider=app.provider,
                    app=app.name,
                    scopes=wanted,
                    enough=groups,
                    agent=agent or engine.agent,
                    subject=subject,
                    account=name,
                    other=other,
                    instead=held.account.name if held and other == "switch" else "",
                    why=why,
                    claims=claims,
                    asks=(ask,) if ask else (),
                    ticket_expires=now + TICKET_LIFE,
                    expires=now + KEPT,
                    epoch=epoch,
                )
                if stored := await self._take_place(key, new, record):
                    await engine.audit.record(ConsentRequested(stored.facts(), list(wanted), why))
                    return await repository.public(stored, ask)

    def _turn(self, key: str) -> asyncio.Lock:
        """One after the other, in each event loop: of many that change one row at once, all but one begin anew, so that
        their work grows with the square of their number."""
        return self._turns.setdefault((id(asyncio.get_running_loop()), key), asyncio.Lock())

    async def _expected(self, user: User, app: App, account: str, held: Grant | None) -> tuple[str, str]:
        """Subject and name of the account that must come back, as far as they are known.

        A connection's id stands for its account after a disconnect, too; no page and no provider could do with it.
        """
        grants = await self.repository.engine.vault.grants(user, app.provider, app.name) if account else []
        meant = held or next((grant for grant in grants if grant.connection_id == account), None)
        return (meant.account.subject, meant.account.name) if meant else ("", account)

    async def _take_place(self, key: str, new: ConsentRecord, old: ConsentRecord | None) -> ConsentRecord | None:
        """Save a new consent, over one for the same that has ended; None if somebody else was faster."""
        if old:
            new = new.copy_with(row=old.row, before=(*old.before[1 - FORMER :], old.former()))
        await self.repository.index(key, new)
        return await (self.repository.save(new) if old else self.repository.insert(key, new))

    async def _keep(
        self, key: str, record: ConsentRecord, ask: str, why: str, enough: tuple[tuple[str, ...], ...], claims: str
    ) -> ConsentRecord | None:
        """The pending consent, knowing this ask, with a ticket that opens. None if it moved meanwhile."""
        now = self.repository.engine.clock()
        known = (not ask or ask in record.asks) and (not why or why == record.why)
        known = known and record.enough_for(enough) and claims in ("", record.claims)
        late = record.late(now) and record.status not in REDEEMING
        if known and not late and now < record.expires - KEPT / 2:
            return record
        kept = record if known else record.asked_by(ask, why, enough)
        kept = (kept.renewed(now) if late else kept).copy_with(expires=now + KEPT, claims=claims or kept.claims)
        await self.repository.index(key, kept)
        return await self.repository.save(kept)

    # ------------------------------------------------------------- completing

    async def open(self, ticket: str, who: Who) -> Consent:
        """The consent behind a link: see `AuthorizationFlow.open`. One that was cut off while its code was redeemed
        goes on."""
        consent = await self._browser.open(ticket, who)
        return await self.status(consent.id) or consent

    async def start(self, ticket: str, who: Who, return_to: str = "") -> Started:
        """Connect was pressed: see `AuthorizationFlow.start`."""
        return await self._browser.start(ticket, who, return_to)

    async def decline(self, ticket: str, who: Who) -> None:
        """Cancel was pressed: see `AuthorizationFlow.decline`."""
        await self._browser.decline(ticket, who)

    def finish(self, app_name: str, params: Mapping[str, str], who: Who, nonce: str) -> Coroutine[Any, Any, str]:
        """The browser is back from the provider: see `AuthorizationFlow.finish`."""
        return self._browser.finish(app_name, params, who, nonce)

    async def connect_by_device_code(
        self, consent_id: str, user: User, tell: Callable[[DeviceCode], None], sleep: Sleep
    ) -> Consent:
        """Finish a consent with a code that is entered elsewhere: see `Device.connect_by_device_code`."""
        return await self._device.connect_by_device_code(consent_id, user, tell, sleep)

    # ------------------------------------------------------------- looking

    async def status(self, consent_id: str) -> Consent | None:
        """The consent of this id as it stands now, or ended; None if there never was one, or it is long gone."""
        await self._gone_on(await self.repository.by_id(consent_id))
        record = await self.repository.remembered(consent_id)
        return await self.repository.public(record) if record else None

    async def details(self, consent_id: str) -> Details | None:
        """What the pages say of this consent beside its status; None if the same was asked for anew meanwhile."""
        record = await self.repository.by_id(consent_id)
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

    async def _gone_on(self, record: ConsentRecord | None) -> ConsentRecord | None:
        """The consent as it stands now: one that a process which died has left half-done is finished first."""
        if record is None or record.status not in REDEEMING:
            return record
        await self.repository.engine.in_flight.run(partial(self._redeemer.go_on, record))
        return await self.repository.again(record)

    async def recover(self, user: User | None = None) -> None:
        """What any process may do for those that died: finish their consents, everybody's or this user's, and send the
        revocations that are due."""
        await self.settle(self.repository.engine.vault.key_prefix(user) if user else "")
        await self._queue.flush()

    async def settle(self, key: str = "", *, wait: bool = False) -> None:
        """Finish what processes that died have left below this place, which is a user's, or everybody's: tokens that
        came are kept where their consent still waits for them, and end where it does not. ``wait``: for those, too,
        that another process is at work on, up to `LOCK_WAIT`."""
        await self.repository.engine.in_flight.run(partial(self._redeemer.settle, key, LOCK_WAIT if wait else 0.0))

    async def waiting(self, user: User) -> list[Consent]:
        """What the user is being asked now."""
        found, now = await self.repository.of_user(user), self.repository.engine.clock()
        return [await self.repository.public(record) for record in found if record.live(now)]

    # ------------------------------------------------------------- cancelling

    async def cancel(self, user: User, provider: str, app: str) -> int:
        """End what is pending for this user and app; how many consents that were."""
        vault, ended = self.repository.engine.vault, 0
        rows, _ = await vault.scan_open("consent", vault.key_prefix(user, provider, app))
        for row in rows:  # one that does not open cannot be completed either
            ended += await self._cancel(ConsentRecord.of(row))
        return ended

    async def cancel_all(self, end: EndOfMany) -> int:
        """End what was pending of all users before many ended; how many consents that were."""
        ended = 0
        async for rows, _ in self.repository.engine.vault.pages("consent"):
            for record in ConsentRecord.readable(rows):
                if end.covers(record.user.tenant, record.epoch):
                    ended += await self._cancel(record)
        return ended

    async def _cancel(self, found: ConsentRecord) -> int:
        """End this consent, if it is pending, and whatever takes its place at the same time; how many those were."""
        ended = 0
        record: ConsentRecord | None = found
        while record and record.status in PENDING:
            if await self.repository.end(record, "cancelled", "disconnected"):
                ended += 1
            record = await self.repository.again(record)
        return ended
