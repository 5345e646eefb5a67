"""Consent requests of one message's calls, combined: one consent and one link for each app.

LlamaIndex delivers each call separately, up to four at a time. The first delivery waits a few turns of the event loop
until the others have arrived, and checks all calls together. The group of calls of a consent is stored with the run, so
that a later check, as after a restart, requests the same scopes and not a part of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from deputize.adapters.llamaindex.redelivery import Delivery
from deputize.core import Call, ConsentRequired, DeputizeError, DeputyProtocol, NotFound

__all__ = ["Blocker", "Together"]

Asked: TypeAlias = tuple[str, Mapping[str, Any], Call]
Blocker: TypeAlias = DeputizeError | None
Look: TypeAlias = Callable[[list[Asked]], Awaitable[list[Blocker]]]

CALLS_AT_ONCE: Final = 4
"""How many calls of a message LlamaIndex delivers at once, by default."""
TURNS: Final = 25
QUIET_SECONDS: Final = 0.01
"""Turns of the event loop, then seconds, without a further call: the rest are calls of your application's tools."""
CALLS_OF_MESSAGE: Final = "num_tool_calls"
"""The store key of the number of calls in a message. Without it, each call asks for itself."""


@dataclass
class _Gathering:
    """Calls that are delivered together, and the error that blocks each."""

    calls: list[Asked]
    found: asyncio.Future[list[Blocker]]

    async def complete(self, expected: int) -> None:
        """Wait until all expected calls have arrived, or until no further call arrives."""
        for _ in range(TURNS):
            if len(self.calls) >= expected:
                return
            await asyncio.sleep(0)
        here = 0
        while here < len(self.calls) < expected:
            here = len(self.calls)
            await asyncio.sleep(QUIET_SECONDS)


@dataclass
class Together:
    """One delivery of a call, and the calls that share its request. ``speaks``: True if it streams their request."""

    deputy: DeputyProtocol
    agent: str
    app: str
    delivery: Delivery
    asked: Asked
    speaks: bool = True

    async def blocker(self) -> Blocker:
        """Return the error that blocks the call, or None. A consent covers all calls that share its request."""
        consent = await self.delivery.get("lacks")
        if not consent:
            return await self._gathered() if self.delivery.first else await self.alone()
        if await self._status(consent) not in ("pending", "expired", ""):
            return await self.alone()
        kept = await self.delivery.ctx.store.get(_slot(consent), default=[])
        calls = [(tool, arguments, replace(self.delivery.call, id=call)) for tool, arguments, call in kept]
        return await self._kept(calls, await self._look(calls))

    async def alone(self) -> Blocker:
        """Return the error that blocks this call, or None, without regard to other calls."""
        [blocker] = await self._look([self.asked])
        return blocker

    async def remember(self, consent: str) -> None:
        """Record that the call waits for this consent."""
        await self.delivery.set("lacks", consent)

    async def still_waits(self, consent: str) -> bool:
        """Return whether the consent is still pending, because the event came too early."""
        return await self._status(consent) == "pending"

    async def _gathered(self) -> Blocker:
        expected = min(await self.delivery.ctx.store.get(CALLS_OF_MESSAGE, default=1), CALLS_AT_ONCE)
        if expected < 2:
            return await self._kept([self.asked], await self._look([self.asked]))
        open_ones, key = self.delivery.run.gathering, (id(self.deputy), self.delivery.user, self.agent, self.app)
        gathering = open_ones.get(key)
        if gathering is not None:
            gathering.calls.append(self.asked)
            return self._own(gathering.calls, await asyncio.shield(gathering.found))
        gathering = open_ones[key] = _Gathering([self.asked], asyncio.get_running_loop().create_future())
        found: list[Blocker] = []
        try:
            await gathering.complete(expected)
            del open_ones[key]  # a later call asks separately
            found = await self._look(gathering.calls)
            return await self._kept(gathering.calls, found)
        finally:
            open_ones.pop(key, None)
            gathering.found.set_result(found or [None] * len(gathering.calls))  # none: each act reports what it lacks

    async def _kept(self, calls: list[Asked], found: list[Blocker]) -> Blocker:
        """Store in the run which calls share a consent request. Return this call's blocker."""
        for consent in {one.consent.id for one in found if isinstance(one, ConsentRequired)}:
            kept = await self.delivery.ctx.store.get(_slot(consent), default=[])
            known = {call for _, _, call in kept}
            lacking = [call for call, one in zip(calls, found, strict=True) if _asks(one, consent)]
            new = [[tool, dict(arguments), call.id] for tool, arguments, call in lacking if call.id not in known]
            await self.delivery.ctx.store.set(_slot(consent), [*kept, *new])
        return self._own(calls, found)

    def _own(self, calls: list[Asked], found: list[Blocker]) -> Blocker:
        """Return this call's blocker. The first call that lacks a consent streams the request for all."""
        each = list(zip((call.id for _, _, call in calls), found, strict=True))
        mine = next((one for call, one in each if call == self.delivery.call.id), None)
        if isinstance(mine, ConsentRequired):
            first = next(call for call, one in each if _asks(one, mine.consent.id))
            self.speaks = first == self.delivery.call.id
        return mine

    async def _look(self, calls: list[Asked]) -> list[Blocker]:
        return await self.deputy.check_calls(calls, user=self.delivery.user, app=self.app, agent=self.agent)

    async def _status(self, consent: str) -> str:
        """Return the consent's status, also if another link ended it, or "" for an unknown consent."""
        with suppress(NotFound):
            [now] = await self.deputy.wait_for_consents([consent], timeout=0)
            return now.status
        return ""


def _slot(consent: str) -> str:
    """Return the store key of the calls that share a consent."""
    return f"deputize_asked_{consent}"


def _asks(blocker: Blocker, consent: str) -> bool:
    return isinstance(blocker, ConsentRequired) and blocker.consent.id == consent
