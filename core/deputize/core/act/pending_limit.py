"""As many questions as a person can read wait for one user: more are refused, and none gives way to another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from deputize.core.errors import RateLimited, StoreUnavailable
from deputize.core.vault.grant import User
from deputize.core.vault.vault import Vault

MOST_PENDING: Final = 20
"""Approvals that may wait for one user at a time: who finds hundreds reads none."""
STRIPES: Final = 64
LONGEST_WAIT: Final = 30.0


@asynccontextmanager
async def room_for_one_more(
    vault: Vault, user: User, wait_already: Callable[[User, int], Awaitable[bool]], life: float, home: str
) -> AsyncIterator[None]:
    """Ask this user one more question inside. ``wait_already``: whether so many wait for them.

    ``life``: seconds after which the newest no longer waits; ``home``: where our pages are. Raises `RateLimited` where
    as many wait already, among all processes.
    """
    stripe = int(vault.place(user)[:8], 16) % STRIPES
    try:
        async with vault.store.lock(f"approvals-{stripe:02d}", LONGEST_WAIT):
            if await wait_already(user, MOST_PENDING):
                raise RateLimited(
                    f"{MOST_PENDING} approvals wait for this user already, so this is not asked.",
                    retry_after=life,
                    hint=f"Let the user decide those that wait{f': {home}/connections' if home else ''}.",
                )
            yield
    except TimeoutError:
        raise StoreUnavailable("Too many acts are asked about; nothing was done.", hint="Try again.") from None
