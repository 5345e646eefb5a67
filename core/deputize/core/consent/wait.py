"""Waiting until consents have ended, wherever that happens: in this process, in another one, in a browser."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from deputize.core.consent.consents import Consents
from deputize.core.errors import NotFound
from deputize.core.pending import Consent

POLL: Final = 0.15
"""Seconds between two looks: another process may end a consent, so there is nothing to be woken by."""


async def ends_of(consents: Consents, asked: Iterable[Consent | str], timeout: float) -> list[Consent]:
    """How each of these consents ended, in order; see `Deputy.wait`."""
    asked = list(asked)
    known = {one.id: _removed(one) for one in asked if isinstance(one, Consent)}
    ids = [one if isinstance(one, str) else one.id for one in asked]
    deadline = time.monotonic() + timeout
    while True:
        found = []
        for one in ids:
            now = await consents.status(one) or known.get(one)
            if now is None:
                raise NotFound("No consent has this id.", hint="Wait for those that were asked for within a day.")
            known[one] = _removed(now)
            found.append(now)
        if not any(one.status == "pending" for one in found) or time.monotonic() >= deadline:
            return found
        await asyncio.sleep(min(POLL, max(deadline - time.monotonic(), 0)))


def _removed(consent: Consent) -> Consent:
    """How it counts once nothing is known of it any more, as when its user was erased."""
    return replace(consent, status="failed", why="removed")
