"""Scheduling of concurrent reads, so that they run in step with each other."""

from __future__ import annotations

import asyncio
from types import TracebackType


class BatchedReads:
    """Context manager around a read request: before and after it, the task yields to the other reads in progress.

    Without it, each act runs from its response to the next act's request in one go. With 32 acts, the code of every
    step has left the processor's cache before it is needed again. A single read never yields. Writes do not take part:
    another point at which a run can be cancelled would leave more writes with an unknown outcome.
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
