"""Lists of a user's approvals, and the limit for pending ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakKeyDictionary

from deputize.core.approvals.record import ApprovalRecord, Status
from deputize.core.approvals.repository import ApprovalRepository
from deputize.core.errors import RateLimited, StoreUnavailable
from deputize.core.shared_services import Services
from deputize.core.user_requests import Approval
from deputize.core.vault.grant import User
from deputize.core.vault.stores import RecordRead, Store

MAX_PENDING_APPROVALS: Final = 20
"""Pending approvals of one user. A user who has hundreds stops reading them. Further ones are refused, and none is
dropped."""
MAX_PENDING_UNATTENDED: Final = 10
"""The same for a request of an unattended run, whose approvals wait for days. It leaves room for the runs that the user
watches."""
STRIPES: Final = 64
LOCK_TIMEOUT_SECONDS: Final = 30.0
MAX_CACHED_DECISIONS: Final = 40_000
"""Decided approvals of the last hour, about 250 bytes each, that need not be opened again to count the pending ones."""
MAX_CACHED_USERS: Final = 4096
"""Users whose number of pending approvals is cached."""
_may_wait: WeakKeyDictionary[object, dict[str, int]] = WeakKeyDictionary()


class ApprovalLists:
    """The approvals of each user in one vault."""

    def __init__(self, services: Services, rows: ApprovalRepository) -> None:
        self.services, self.vault, self.clock, self.rows = services, services.vault, services.clock, rows
        self._answered: dict[str, bytes] = {}

    async def list_pending(self, user: User) -> list[Approval]:
        """Return the user's pending approvals."""
        return await self._public(user, await self._load_pending(user))

    async def records_by_request(self, user: User, step: str) -> list[ApprovalRecord]:
        """Return the approvals that one model message requested, decided or pending, in order."""
        rows = await self.rows.of_user(user)
        here = (row for row in rows if row.step == step and row.expires > self.clock())
        return sorted(here, key=lambda row: row.turn)

    async def count_approved_alike(self, user: User, approval_id: str) -> int:
        """Return the number of other approvals by the user that a mandate with this approval would have made needless.

        They have the same agent, tool, account and targets. They count as long as they are stored: an hour from the
        request. Returns 0 if no mandate is possible.
        """
        rows = [row for row in await self.rows.of_user(user) if row.expires > self.clock()]
        this = next((row for row in rows if row.id == approval_id), None)
        if this is None or not this.repeatable():
            return 0
        given = (row for row in rows if row.decision is Status.APPROVED and row.id != approval_id)
        return sum(row.is_like(this) for row in given)

    async def _public(self, user: User, rows: Iterable[ApprovalRecord]) -> list[Approval]:
        ordered = sorted(rows, key=lambda row: row.turn)
        return [row.public(self.services.home, await self.services.zones.of(user)) for row in ordered]

    @asynccontextmanager
    async def room_for_one_more(self, user: User, life: float) -> AsyncIterator[None]:
        """Hold the lock under which one more approval may be requested. ``life``: seconds until that one expires.

        Raises `RateLimited` if the limit of an attended or an unattended run is reached, counted over all processes.
        """
        most = MAX_PENDING_UNATTENDED if user.unattended else MAX_PENDING_APPROVALS
        stripe, home = int(self.vault.key_prefix(user)[:8], 16) % STRIPES, self.services.home
        try:
            async with self.vault.lock(f"approvals-{stripe:02d}", LOCK_TIMEOUT_SECONDS, *self._reads(user)):
                if await self._wait_already(user, most):
                    raise RateLimited(
                        f"{most} approvals are pending for this user, so no other can be requested.",
                        retry_after=life,
                        hint=f"Let the user decide the pending ones{f': {home}/connections' if home else ''}.",
                    )
                yield
        except TimeoutError:
            raise StoreUnavailable(
                f"Could not lock the user's pending approvals within {LOCK_TIMEOUT_SECONDS:g} s. Nothing was done.",
                hint="Try again.",
            ) from None

    def _reads(self, user: User) -> list[RecordRead]:
        """Return what `_wait_already` reads."""
        return [("tails", "approval", self.vault.key_prefix(user))]

    async def _wait_already(self, user: User, most: int) -> bool:
        """Return True if the user has ``most`` pending approvals. Otherwise count one more. The caller holds the lock.

        The vault is not read if only this process has written since the last count and the cached number is below the
        limit. No record is decrypted if the number of records is below the limit.
        """
        record_key = self.vault.key_prefix(user)
        known = _may_wait_in(self.vault.store)
        if (number := known.get(record_key, most)) >= most:
            marks = await self.vault.marks("approval", record_key)
            number = sum(self._answered.get(key) != mark for key, mark in marks)
            if number >= most:
                number = len(await self._load_pending(user))
        known[record_key] = number + 1
        return number >= most

    async def _load_pending(self, user: User) -> list[ApprovalRecord]:
        waiting = list[ApprovalRecord]()
        for record in await self.rows.of_user(user, self._answered):
            if record.waits(self.clock()):
                waiting.append(record)
            elif record.status is not Status.PENDING:
                self._remember(record)
        return waiting

    def _remember(self, record: ApprovalRecord) -> None:
        """Remember a decided record by its stored bytes, so that it is not decrypted again."""
        while len(self._answered) >= MAX_CACHED_DECISIONS:
            del self._answered[next(iter(self._answered))]  # only the oldest, so that few records are opened again
        self._answered[record.place.key] = record.place.mark


def _may_wait_in(store: Store) -> dict[str, int]:
    """Return the cached upper bounds of pending approvals, by user. A write of another process empties the cache."""
    unshared = getattr(store, "unshared", lambda: None)()
    known = {} if unshared is None else _may_wait.setdefault(unshared, {})
    if len(known) >= MAX_CACHED_USERS:
        known.clear()
    return known
