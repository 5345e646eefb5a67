"""What a client hears while its call lasts, if it asked for that with a ``progressToken``.

Many clients give up on a call that is silent for a minute, and begin to count anew with each word. Seconds since the
call began stand in for progress: they only grow, as the specification wants it, however often one call has to wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

from deputize.adapters.mcp.elicitation import Context

__all__ = ["began", "telling"]

TELLS_EVERY: Final = 5.0
"""Seconds between two words."""

_began: ContextVar[float] = ContextVar("began")


def began() -> None:
    """A call begins, in this task."""
    _began.set(time.monotonic())


@asynccontextmanager
async def telling(ctx: Context, words: str, *, at_once: bool = False) -> AsyncIterator[None]:
    """Tell the client of this request, again and again, what is going on."""
    start = _began.get()

    async def tell() -> None:
        while True:
            await asyncio.sleep(TELLS_EVERY)
            await say()

    async def say() -> None:
        await ctx.session.report_progress(time.monotonic() - start, None, words)

    if at_once:
        await say()
    teller = asyncio.create_task(tell())
    try:
        yield
    finally:
        teller.cancel()
        await asyncio.wait([teller])
