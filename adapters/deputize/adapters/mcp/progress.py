"""Progress notifications during a call, if the client sent a ``progressToken``.

Many clients give up on a call that is silent for a minute, and restart their timer with each notification. The progress
value is the seconds since the call began. So it only grows, as the specification requires, even if a call waits several
times.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

from deputize.adapters.mcp.elicitation import Context

__all__ = ["report_progress", "start_progress"]

NOTIFY_INTERVAL_SECONDS: Final = 5.0
"""Seconds between two notifications."""

_began: ContextVar[float] = ContextVar("start_progress")


def start_progress() -> None:
    """Record the start of a call, in this task."""
    _began.set(time.monotonic())


@asynccontextmanager
async def report_progress(ctx: Context, words: str, *, at_once: bool = False) -> AsyncIterator[None]:
    """Notify the client of this request repeatedly inside the block."""
    start = _began.get()

    async def tell() -> None:
        while True:
            await asyncio.sleep(NOTIFY_INTERVAL_SECONDS)
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
