"""What has expired goes, and what was left half-done is finished, while the process runs: in the background, by pages,
in one process at a time.

No act and no start waits for it. Where it was cut off, by the end of the process or the store, the next one goes on:
a record of the vault says how far it came, and when all of it was swept last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from deputize.core.background_loop import portal
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.core.vault.vault import EXPIRING, Record, Vault

EVERY: Final = 600.0
"""Seconds between the end of one sweep and the next, among all processes."""
PAUSE: Final = 0.01
"""Seconds between two pages, which leaves the store to others."""
MARKED: Final = 10
"""Pages after which it is noted how far it came."""
KINDS: Final = (*EXPIRING, "file")

log = logging.getLogger("deputize")

Remove = Callable[[Record], Awaitable[object]]


class Sweeper:
    """Removes expired records of one vault. ``clock``: Unix seconds; ``remove_file`` takes a file with its pieces.

    ``recover`` is called at each turn: it finishes what processes that died have left. ``jobs`` are other upkeep, each
    of which is called again and again beside it, and finds out whether there is any.
    """

    def __init__(
        self,
        vault: Vault,
        remove_file: Remove,
        clock: Callable[[], float] = time.time,
        every: float = EVERY,
        recover: Callable[[], Awaitable[object]] | None = None,
        jobs: Sequence[Callable[[], Awaitable[object]]] = (),
    ) -> None:
        self.vault, self.remove_file, self.clock, self.every = vault, remove_file, clock, every
        self.recover, self.jobs = recover, [*jobs]
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Sweep from now on, as long as the process or until `stop`. Safe to call twice."""
        if self._task is None or self._task.done():
            await portal().hop(self._begin)

    async def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._again_and_again())

    async def stop(self) -> None:
        """Stop, after the record that is being removed."""
        if self._task is not None:
            with contextlib.suppress(InvalidInput):  # the portal has ended, and the task with it
                await portal().hop(self._end)

    async def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _again_and_again(self) -> None:
        await asyncio.gather(*(self._repeatedly(work) for work in (self.turn, *self.jobs)))

    async def _repeatedly(self, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await work()
            except DeputizeError as failure:  # of the store; the next time it is tried again
                log.debug("Upkeep of the vault was cut off: %s", failure.code)
            except Exception as failure:  # a record that nobody of us wrote; what it says may be secret
                log.error("Upkeep of the vault failed: %s", type(failure).__name__)
            await asyncio.sleep(self.every / 10)

    async def turn(self) -> int:
        """Recover, and sweep once if that is due, unless somebody else is at it; how many records were removed."""
        try:
            async with self.vault.store.lock("sweep", 0.0):
                if self.recover:
                    await self.recover()
                return await self._sweep()
        except TimeoutError:
            return 0

    async def _sweep(self) -> int:
        mark = await self.vault.get("meta", "sweep")
        came: dict[str, Any] = mark.json if mark else {}
        if 0 <= self.clock() - came.get("done", -self.every) < self.every:
            return 0
        gone, first = 0, came.get("kind", KINDS[0])
        for kind in KINDS[KINDS.index(first) if first in KINDS else 0 :]:
            pages, after = 0, came.get("after", "") if kind == first else ""
            async for records, _ in self.vault.pages(kind, after=after):
                gone += sum(await asyncio.gather(*map(self._removed, records)))
                pages += 1
                if pages % MARKED == 0 and records:
                    mark = await self._note(mark, {"kind": kind, "after": records[-1].key})
                await asyncio.sleep(PAUSE)
        await self._note(mark, {"done": self.clock()})
        return gone

    async def _removed(self, record: Record) -> bool:
        if record.json.get("expires", self.clock() + 1) > self.clock():
            return False
        if record.kind != "file":
            return await self.vault.delete(record)
        await self.remove_file(record)
        return True

    async def _note(self, mark: Record | None, content: dict[str, Any]) -> Record | None:
        return await (self.vault.swap(mark, content) if mark else self.vault.insert("meta", "sweep", content))
