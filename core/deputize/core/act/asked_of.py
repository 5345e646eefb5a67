"""What a user is being asked, and was: their approvals as a list, for pages and for who wants to ask one more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from deputize.core.act.approval_row import public, waits
from deputize.core.engine import Engine
from deputize.core.pending import Approval
from deputize.core.vault.grant import User
from deputize.core.vault.stores import Store
from deputize.core.vault.vault import Record

MOST_REMEMBERED: Final = 40_000
"""Answered questions of the last hour, at 250 bytes each, which are looked at no more where open ones are counted."""
MOST_USERS: Final = 4096
"""Users of whom it is remembered how many questions may wait for them."""
_may_wait: WeakKeyDictionary[object, dict[str, int]] = WeakKeyDictionary()


class AskedOf:
    """The approvals of each user, in one vault."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.vault, self.clock = engine, engine.vault, engine.clock
        self._answered: dict[str, bytes] = {}

    async def waiting(self, user: User) -> list[Approval]:
        """What the user is being asked now."""
        return [await self._public(user, content) for content in sorted(await self._waiting(user), key=_turn)]

    async def wait_already(self, user: User, most: int) -> bool:
        """Whether so many wait for the user. Where not, one more will: to be called under the lock for who asks.

        Nothing is looked at where only this process has written since it last was, and has not asked for so many; and
        nothing opened where not even so many may wait.
        """
        place = self.vault.place(user)
        known = _may_wait_in(self.vault.store)
        if (number := known.get(place, most)) >= most:
            marks = await self.vault.marks("approval", place)
            number = sum(self._answered.get(key) != mark for key, mark in marks)
            if number >= most:
                number = len(await self._waiting(user))
        known[place] = number + 1
        return number >= most

    async def _waiting(self, user: User) -> list[Mapping[str, Any]]:
        waiting = list[Mapping[str, Any]]()
        for record in await self.vault.scan("approval", self.vault.place(user), known=self._answered):
            if waits(content := record.json, self.clock()):
                waiting.append(content)
            elif content["status"] != "pending":
                self._remember(record)
        return waiting

    async def of_step(self, user: User, step: str) -> list[Approval]:
        """What this step has asked the user, answered or not, in the order in which it was asked."""
        rows = [r.json for r in await self.vault.scan("approval", self.vault.place(user)) if r.json.get("step") == step]
        return [await self._public(user, c) for c in sorted(rows, key=_turn) if c["expires"] > self.clock()]

    def _remember(self, record: Record) -> None:
        """What has been answered waits no more in the same bytes: it need not be opened again."""
        while len(self._answered) >= MOST_REMEMBERED:
            del self._answered[next(iter(self._answered))]  # the oldest; all at once would open a user's rows again
        self._answered[record.key] = record.mark

    async def _public(self, user: User, content: Mapping[str, Any]) -> Approval:
        return public(content, self.engine.home, await self.engine.zones.of(user))


def _may_wait_in(store: Store) -> dict[str, int]:
    """By user, how many may wait for them at most; forgotten as soon as another process has written there."""
    unshared = getattr(store, "unshared", lambda: None)()
    known = {} if unshared is None else _may_wait.setdefault(unshared, {})
    if len(known) >= MOST_USERS:
        known.clear()
    return known


def _turn(content: Mapping[str, Any]) -> tuple[float, int, str]:
    """Where a question stands among others; those of one tick of the clock by their calls, "9" before "10"."""
    return float(content["asked"]), len(content["call"]), content["call"]
