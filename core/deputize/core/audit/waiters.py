"""Whoever waits until rows are durable, in an event loop or a thread, and how they are told."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeAlias

from deputize.core.errors import StoreUnavailable

Waiter: TypeAlias = tuple[asyncio.AbstractEventLoop | None, "asyncio.Future[None] | concurrent.futures.Future[None]"]


def tell(waiters: Iterable[Waiter], reason: str) -> None:
    """Answer whoever waits, with one call into each event loop."""
    by_loop = defaultdict(list)
    for loop, future in waiters:
        by_loop[loop].append(future)
    for loop, futures in by_loop.items():
        if loop is None:
            _answer(futures, reason)
        else:
            with contextlib.suppress(RuntimeError):  # closed: nobody waits there any more
                loop.call_soon_threadsafe(_answer, futures, reason)


def _answer(futures: Iterable[asyncio.Future[None] | concurrent.futures.Future[None]], reason: str) -> None:
    for future in futures:
        if future.done():
            continue
        if reason:
            future.set_exception(StoreUnavailable(reason))
        else:
            future.set_result(None)
