"""Reads of many acts at the same time go step by step together."""

from __future__ import annotations

import asyncio
from types import TracebackType


class InStep:
    """``async with`` around a request: it leaves, and its answer is used, when the others have come as far.

    An act that waits for nothing else runs from its answer to the next act's request in one go, and with 32 of them the
    code of every step has left the processor's cache before it is needed again. One that is alone gives way to nobody.
    Writes do not take part: a turn more in which a run can be cancelled would leave one more in doubt.
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
