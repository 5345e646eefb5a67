"""Questions that have ended, for applications whose paused runs wait for them: `BaseDeputy.ended_questions`.

A paused run keeps no process alive that could resume it. So the stream reads the records of the vault, whichever
process wrote them: first the questions that ended earlier, then each one as it ends. Nothing is acknowledged. A
question is delivered again to the next listener for as long as its record is kept, so a crash loses no delivery.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from deputize.core.approvals.record import ApprovalRecord, Status
from deputize.core.approvals.service import Approvals
from deputize.core.consent.consents import Consents
from deputize.core.consent.record import REDEEM_TTL, REDEEMING, ConsentRecord
from deputize.core.consent.waiter import current_consent
from deputize.core.errors import StoreUnavailable, VaultError
from deputize.core.question_feed import QuestionChange, QuestionStatus
from deputize.core.shared_services import Services
from deputize.core.vault.grant import User
from deputize.core.vault.notify import watch_records
from deputize.core.vault.record import Record
from deputize.core.vault.stores.protocol import HeldLock

LISTENER_TIMEOUT_SECONDS: Final = 60.0
"""Between two reports in the log that another process listens."""
RECHECK_SECONDS: Final = 30.0
"""Between two checks of all pending consents: a grant that came without a consent ends them too."""
PACE_SECONDS: Final = 1.0
"""Between two readings of the vault, at least."""
OUTAGE_PAUSE_SECONDS: Final = 1.0
"""Before the vault is read again after it could not be reached."""
FIRST_RETRY_SECONDS: Final = 60.0
MAX_RETRY_SECONDS: Final = 3600.0
"""Before a function that failed is called again: at first, doubled each time, and at most."""
RETRIES_END_SECONDS: Final = 86400.0
"""Seconds after which a function that fails is not called again."""

Place: TypeAlias = tuple[str, str]
"""Kind and key of a record."""
OnEndedQuestion: TypeAlias = Callable[[QuestionChange], Awaitable[object]]
log = logging.getLogger("deputize")


class EndedQuestions:
    """The questions of one vault that have ended."""

    def __init__(self, services: Services, consents: Consents, approvals: Approvals) -> None:
        self.services, self.consents, self.approvals = services, consents, approvals
        self._closed = False

    def close(self) -> None:
        """End the streams."""
        self._closed = True

    async def stream(self, name: str) -> AsyncGenerator[QuestionChange]:
        """Yield each question that has ended. See `BaseDeputy.ended_questions`."""
        vault, listener = self.services.vault, _Listener(self.services, self.consents, self.approvals)
        while not self._closed:
            try:
                async with (
                    vault.lock(f"ended questions {name!a}", LISTENER_TIMEOUT_SECONDS) as held,
                    watch_records(vault.store, ("approval", ""), ("consent", "")) as watch,
                ):
                    while not self._closed:
                        for place in await listener.changed_places(held):
                            for one in await listener.read(place):
                                yield one
                        await asyncio.sleep(PACE_SECONDS)
                        await watch.changed(listener.seconds_left())
            except TimeoutError:
                log.debug("Another process receives the questions that have ended.")
            except StoreUnavailable as failure:
                if not self._closed:
                    log.warning("Questions that have ended cannot be read: %s", failure)
                    await asyncio.sleep(OUTAGE_PAUSE_SECONDS)


class _Listener:
    """What one stream has read and yielded.

    ``known``: marks of the records that were seen. ``unread``: records that must be read, also those whose reading was
    interrupted by an outage. ``told``: the ends that were yielded, by record. ``due``: when a question ends by itself,
    by the deputy's clock. ``unmet``: consents that another link may still end.
    """

    def __init__(self, services: Services, consents: Consents, approvals: Approvals) -> None:
        self.services, self.consents, self.approvals = services, consents, approvals
        self.known, self.told = dict[Place, bytes](), dict[Place, set[tuple[str, ...]]]()
        self.due, self.unmet, self.unread, self.rechecked = dict[Place, float](), set[Place](), set[Place](), 0.0

    async def changed_places(self, held: HeldLock | None) -> list[Place]:
        """Return the records that have changed, or whose time has come. Raises `StoreUnavailable` if another process
        may listen by now."""
        if held is not None:
            await held.confirm()
        vault, now = self.services.vault, self.services.clock()
        marks = {(kind, key): mark for kind in ("approval", "consent") for key, mark in await vault.marks(kind)}
        for gone in self.known.keys() - marks.keys():
            self._forget(gone)
        changed = [place for place, mark in marks.items() if self.known.get(place) != mark]
        self.known = marks
        self.unread.update(changed)
        apps = {_app_of(place) for place in changed if place[0] == "consent"}
        due = {place for place, at in self.due.items() if at <= now}
        due |= {place for place in self.unmet if _app_of(place) in apps}
        if time.monotonic() >= self.rechecked + RECHECK_SECONDS:
            self.rechecked = time.monotonic()
            due |= self.unmet
        self.unread |= due
        return [*changed, *(self.unread - {*changed})]

    def _forget(self, place: Place) -> None:
        self.told.pop(place, None)
        self.due.pop(place, None)
        self.unmet.discard(place)
        self.unread.discard(place)

    def seconds_left(self) -> float:
        """Return the seconds until the next question ends by itself, at most until the next check."""
        now = self.services.clock()
        return max(0.0, min([at - now for at in self.due.values()], default=RECHECK_SECONDS))

    async def read(self, place: Place) -> list[QuestionChange]:
        """Return the ends in this record that were not returned before. After `StoreUnavailable`, they are returned by
        the next call for it."""
        self.due.pop(place, None)
        self.unmet.discard(place)
        kind, key = place
        new = dict[tuple[str, ...], QuestionChange]()
        try:
            row = await self.services.vault.get(kind, key)
            if row is not None:
                ends = self._ends_of_approval if kind == "approval" else self._ends_of_consent
                new = await ends(place, row)
        except VaultError as damaged:
            log.warning("A question cannot be read: %s", damaged.code)
        self.unread.discard(place)
        self.told.setdefault(place, set()).update(new)
        return [*new.values()]

    async def _ends_of_approval(self, place: Place, row: Record) -> dict[tuple[str, ...], QuestionChange]:
        record = ApprovalRecord.of(row)
        if not record.thread or not record.requester:
            return {}
        if record.waits(self.services.clock()):
            self.due[place] = record.expires
            return {}
        change: QuestionStatus = "decided"
        if record.decision is Status.PENDING:
            change = "superseded" if record.status is Status.USED else "expired"
        tenant, id = record.requester
        if self._was_told(place, end := (record.id, change, record.decision.value)):
            return {}
        shown = await self.approvals.public(User(id, tenant), record)
        return {end: QuestionChange(change, User(id, tenant), shown, record.thread)}

    async def _ends_of_consent(self, place: Place, row: Record) -> dict[tuple[str, ...], QuestionChange]:
        record, found = ConsentRecord.of(row), dict[tuple[str, ...], QuestionChange]()
        for one in record.versions():
            now = await current_consent(self.consents, one.id) if one.threads else None
            if now is None:
                continue
            if now.status in ("pending", "expired"):
                self.unmet.add(place)
            if now.status == "pending":
                late = one.returned + REDEEM_TTL if one.status in REDEEMING else 0.0
                self.due[place] = max(late, one.ticket_expires, one.visit_expires)
                continue
            change: QuestionStatus = "expired" if now.status == "expired" else "decided"
            for thread in one.threads:
                if not self._was_told(place, end := (now.id, change, now.status, now.reason_code, thread)):
                    found[end] = QuestionChange(change, record.user, now, thread)
        return found

    def _was_told(self, place: Place, end: tuple[str, ...]) -> bool:
        return end in self.told.get(place, ())


def _app_of(place: Place) -> str:
    """Return the prefix that the keys of a user's consents at one app share."""
    return place[1].rpartition(".")[0]


async def handle_each(changes: AsyncGenerator[QuestionChange], function: OnEndedQuestion, max_concurrent: int) -> None:
    """Call a function with each change, and again after it failed. See `BaseDeputy.handle_ended_questions`."""
    async with aclosing(changes), asyncio.TaskGroup() as tasks:
        handler = _Handler(function, asyncio.Semaphore(max_concurrent), tasks)
        async for one in changes:
            await handler.add(_Work(one, time.monotonic() + RETRIES_END_SECONDS))
        handler.over.set()


@dataclass(eq=False)
class _Work:
    """A change to handle. ``ends``: when it is not tried again, by the monotonic clock. ``pause``: seconds until the
    next try if this one fails."""

    change: QuestionChange
    ends: float
    pause: float = field(default_factory=lambda: FIRST_RETRY_SECONDS)


class _Handler:
    """Calls a function with changes: those of one conversation one after another, so that it occupies one place.

    ``room``: how many calls may run. ``over``: set if no retry is wanted any more.
    """

    def __init__(self, function: OnEndedQuestion, room: asyncio.Semaphore, tasks: asyncio.TaskGroup) -> None:
        self.function, self.room, self.tasks, self.over = function, room, tasks, asyncio.Event()
        self._waiting: dict[tuple[str, str, str], deque[_Work]] = {}

    async def add(self, work: _Work) -> None:
        """Handle a change in the background. Waits for room, unless a call of its conversation runs."""
        about = work.change
        conversation = about.user.tenant, about.user.id, about.thread
        if (waiting := self._waiting.get(conversation)) is not None:
            waiting.append(work)
            return
        self._waiting[conversation] = deque([work])
        await self.room.acquire()
        self.tasks.create_task(self._handle(conversation))

    async def _handle(self, conversation: tuple[str, str, str]) -> None:
        """Call the function with the changes of a conversation. `add` has acquired the room."""
        waiting = self._waiting[conversation]
        try:
            while waiting:
                if not await self._call(work := waiting.popleft()):
                    self.tasks.create_task(self._repeat(work))
        finally:
            del self._waiting[conversation]
            self.room.release()

    async def _call(self, work: _Work) -> bool:
        """Call the function, and return whether it returned."""
        try:
            await self.function(work.change)
        except (Exception, asyncio.CancelledError) as failure:  # its text may contain the question
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError from None
            log.warning("handle_ended_questions: %s; called again in %g s.", type(failure).__name__, work.pause)
            return False
        return True

    async def _repeat(self, work: _Work) -> None:
        if time.monotonic() >= work.ends:
            return
        try:
            async with asyncio.timeout(work.pause):
                await self.over.wait()
        except TimeoutError:
            await self.add(_Work(work.change, work.ends, min(2 * work.pause, MAX_RETRY_SECONDS)))
