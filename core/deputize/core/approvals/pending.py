"""What a user is being asked, and was: their approvals as a list, for pages and for who wants to ask one more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakKeyDictionary

from deputize.core.approvals.record import ApprovalRecord, Status
from deputize.core.approvals.repository import ApprovalRepository
from deputize.core.engine import Engine
from deputize.core.errors import RateLimited, StoreUnavailable
from deputize.core.user_requests import Approval
from deputize.core.vault.grant import User
from deputize.core.vault.stores import Store

MAX_PENDING: Final = 20
"""Approvals that may wait for one user at a time: who finds hundreds reads none. More are refused, and none gives way
to another."""
STRIPES: Final = 64
MAX_WAIT: Final = 30.0
MAX_REMEMBERED: Final = 40_000
"""Answered questions of the last hour, at 250 bytes each, which are looked at no more where open ones are counted."""
MAX_USERS: Final = 4096
"""Users of whom it is remembered how many questions may wait for them."""
_may_wait: WeakKeyDictionary[object, dict[str, int]] = WeakKeyDictionary()


class AskedOf:
    """The approvals of each user, in one vault."""

    def __init__(self, engine: Engine, rows: ApprovalRepository) -> None:
        self.engine, self.vault, self.clock, self.rows = engine, engine.vault, engine.clock, rows
        self._answered: dict[str, bytes] = {}

    async def waiting(self, user: User) -> list[Approval]:
        """What the user is being asked now."""
        return await self._public(user, await self._waiting(user))

    async def of_step(self, user: User, step: str) -> list[Approval]:
        """What this step has asked the user, answered or not, in the order in which it was asked."""
        rows = await self.rows.of_user(user)
        return await self._public(user, (row for row in rows if row.step == step and row.expires > self.clock()))

    async def _public(self, user: User, rows: Iterable[ApprovalRecord]) -> list[Approval]:
        ordered = sorted(rows, key=lambda row: row.turn)
        return [row.public(self.engine.home, await self.engine.zones.of(user)) for row in ordered]

    @asynccontextmanager
    async def room_for_one_more(self, user: User, life: float) -> AsyncIterator[None]:
        """Ask this user one more question inside. ``life``: seconds after which the newest no longer waits.

        Raises `RateLimited` where as many wait already as a person can read, among all processes.
        """
        stripe, home = int(self.vault.key_prefix(user)[:8], 16) % STRIPES, self.engine.home
        try:
            async with self.vault.store.lock(f"approvals-{stripe:02d}", MAX_WAIT):
                if await self._wait_already(user, MAX_PENDING):
                    raise RateLimited(
                        f"{MAX_PENDING} approvals wait for this user already, so this is not asked.",
                        retry_after=life,
                        hint=f"Let the user decide those that wait{f': {home}/connections' if home else ''}.",
                    )
                yield
        except TimeoutError:
            raise StoreUnavailable("Too many acts are asked about; nothing was done.", hint="Try again.") from None

    async def _wait_already(self, user: User, most: int) -> bool:
        """Whether so many wait for the user. Where not, one more will: to be called under the lock for who asks.

        Nothing is looked at where only this process has written since it last was, and has not asked for so many; and
        nothing opened where not even so many may wait.
        """
        record_key = self.vault.key_prefix(user)
        known = _may_wait_in(self.vault.store)
        if (number := known.get(record_key, most)) >= most:
            marks = await self.vault.marks("approval", record_key)
            number = sum(self._answered.get(key) != mark for key, mark in marks)
            if number >= most:
                number = len(await self._waiting(user))
        known[record_key] = number + 1
        return number >= most

    async def _waiting(self, user: User) -> list[ApprovalRecord]:
        waiting = list[ApprovalRecord]()
        for record in await self.rows.of_user(user, self._answered):
            if record.waits(self.clock()):
                waiting.append(record)
            elif record.status is not Status.PENDING:
                self._remember(record)
        return waiting

    def _remember(self, record: ApprovalRecord) -> None:
        """What has been answered waits no more in the same bytes: it need not be opened again."""
        while len(self._answered) >= MAX_REMEMBERED:
            del self._answered[next(iter(self._answered))]  # the oldest; all at once would open a user's rows again
        self._answered[record.place.key] = record.place.mark


def _may_wait_in(store: Store) -> dict[str, int]:
    """By user, how many may wait for them at most; forgotten as soon as another process has written there."""
    unshared = getattr(store, "unshared", lambda: None)()
    known = {} if unshared is None else _may_wait.setdefault(unshared, {})
    if len(known) >= MAX_USERS:
        known.clear()
    return known
