"""Scheduling of concurrent reads, so that all of them execute the same step at about the same time."""

from __future__ import annotations

import asyncio
from types import TracebackType


class BatchedReads:
    """Context manager around a read request. Before and after it, the task yields to the other reads in progress.

    Otherwise each act runs without a break from its response to its next request. With 32 acts, the processor's cache
    has then dropped the code of each step before the next act needs it. A single read never yields. Writes do not
    yield: a run could be cancelled at this point too, which would leave more writes with an unknown outcome.
    """

    def __init__(self) -> None:
        self._under_way = set[asyncio.Task[object] | None]()

    async def __aenter__(self) -> None:
        if self._under_way:
            await asyncio.sleep(0)
        self._under_way.add(asyncio.current_task())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._under_way.discard(asyncio.current_task())
        if self._under_way and error is None:
            await asyncio.sleep(0)
