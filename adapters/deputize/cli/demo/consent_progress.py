"""Each of several consents is told of as soon as it has ended, while something else waits for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from deputize.core import Consent, Deputy, NotFound


@asynccontextmanager
async def ticking(
    deputy: Deputy, consents: Iterable[str], seconds: float, tell: Callable[[Consent], None]
) -> AsyncIterator[None]:
    """Inside, call ``tell`` with each of these consents that ends, at most ``seconds`` long."""
    tasks = [asyncio.create_task(_tell_of(deputy, one, seconds, tell)) for one in consents]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _tell_of(deputy: Deputy, consent: str, seconds: float, tell: Callable[[Consent], None]) -> None:
    with suppress(NotFound):  # it was removed meanwhile
        for ended in await deputy.wait([consent], timeout=seconds):
            if ended.status not in ("pending", "expired"):
                tell(ended)
