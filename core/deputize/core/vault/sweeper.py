"""Background sweeping: one process at a time removes expired records and finishes interrupted work, in pages.

No act and no start waits for it. After an interruption the next sweep continues: a record of the vault stores the
progress and the time of the last full sweep.
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

SWEEP_INTERVAL_SECONDS: Final = 600.0
"""From the end of one sweep to the next, among all processes."""
UPKEEP_INTERVAL_SECONDS: Final = 60.0
"""Between two turns of each job in one process. A turn does nothing if no work is due."""
PAGE_PAUSE_SECONDS: Final = 0.01
"""Between two pages, which leaves the store to others."""
PAGES_PER_MARK: Final = 10
"""Between two updates of the progress."""
KINDS: Final = (*EXPIRING, "file")
UNUSED_APPROVAL_TTL: Final = 86400.0
"""Seconds for which an expired approval that no act used is kept, so that a program that was down learns of its end."""

log = logging.getLogger("deputize")

Remove = Callable[[Record], Awaitable[object]]


class Sweeper:
    """Removes expired records of one vault. ``clock``: Unix seconds. ``remove_file``: removes a file with its pieces.

    ``recover``: called in each turn to finish the work of processes that died. ``jobs``: other upkeep, called
    repeatedly; each job checks itself whether there is work.
    """

    def __init__(
        self,
        vault: Vault,
        remove_file: Remove,
        clock: Callable[[], float] = time.time,
        recover: Callable[[], Awaitable[object]] | None = None,
        jobs: Sequence[Callable[[], Awaitable[object]]] = (),
    ) -> None:
        self.vault, self.remove_file, self.clock = vault, remove_file, clock
        self.recover, self.jobs = recover, [*jobs]
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start sweeping, until `stop` or the end of the process. Safe to call twice."""
        if self._task is None or self._task.done():
            await portal().hop(self._begin)

    async def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._again_and_again())

    async def stop(self) -> None:
        """Stop sweeping, after the removal in progress."""
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
            except DeputizeError as failure:  # from the store; the next turn tries again
                log.debug("Upkeep of the vault was interrupted: %s", failure.code)
            except Exception as failure:  # such as a foreign record; the error's text may be secret
                log.error("Upkeep of the vault failed: %s", type(failure).__name__)
            await asyncio.sleep(UPKEEP_INTERVAL_SECONDS)

    async def turn(self) -> int:
        """Recover, and sweep once if that is due and no other process sweeps. Return how many records were removed."""
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
        if 0 <= self.clock() - came.get("done", -SWEEP_INTERVAL_SECONDS) < SWEEP_INTERVAL_SECONDS:
            return 0
        gone, first = 0, came.get("kind", KINDS[0])
        for kind in KINDS[KINDS.index(first) if first in KINDS else 0 :]:
            pages, after = 0, came.get("after", "") if kind == first else ""
            async for records, _ in self.vault.pages(kind, after=after):
                gone += sum(await asyncio.gather(*map(self._removed, records)))
                pages += 1
                if pages % PAGES_PER_MARK == 0 and records:
                    mark = await self._note(mark, {"kind": kind, "after": records[-1].key})
                await asyncio.sleep(PAGE_PAUSE_SECONDS)
        await self._note(mark, {"done": self.clock()})
        return gone

    async def _removed(self, record: Record) -> bool:
        if record.json.get("expires", self.clock() + 1) + _kept_after_expiry(record) > self.clock():
            return False
        if record.kind != "file":
            return await self.vault.delete(record)
        await self.remove_file(record)
        return True

    async def _note(self, mark: Record | None, content: dict[str, Any]) -> Record | None:
        return await (self.vault.swap(mark, content) if mark else self.vault.insert("meta", "sweep", content))


def _kept_after_expiry(record: Record) -> float:
    """Return for how many seconds a record is kept after its expiry. A provider's question is not: the answer may be
    confidential."""
    if record.kind != "approval" or record.json.get("status") == "used" or "question" in record.json:
        return 0.0
    return UNUSED_APPROVAL_TTL
