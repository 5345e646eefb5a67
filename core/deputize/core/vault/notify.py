"""Waiting for records that any process may write: the store notifies, or else the caller polls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from deputize.core.vault.stores import Store, Watch, Watches

POLL_INTERVAL_SECONDS: Final = 0.15
"""Seconds between two polls if the store does not notify."""
REMOTE_POLL_INTERVAL_SECONDS: Final = 1.0
"""The same if each poll goes over the network (`deputize.core.vault.stores.Store.local_reads`)."""

MAX_TIMEOUT_SECONDS: Final = 365 * 86400.0
"""Seconds that a wait takes at most: a larger number, even one beyond every float, is as long."""


def deadline(timeout: float) -> float:
    """Return the `time.monotonic` at which a wait of ``timeout`` seconds ends. A wait of NaN seconds ends at once."""
    return time.monotonic() + min(MAX_TIMEOUT_SECONDS, max(0.0, timeout))


@asynccontextmanager
async def watch_records(store: Store, *prefixes: tuple[str, str]) -> AsyncIterator[Watch]:
    """Watch records, each by kind and key prefix: see `Watches`."""
    if not isinstance(store, Watches):
        yield _Sleep(POLL_INTERVAL_SECONDS if store.local_reads else REMOTE_POLL_INTERVAL_SECONDS)
        return
    async with store.watch(*prefixes) as watch:
        yield watch


class _Sleep:
    """A `Watch` for a store that does not notify."""

    def __init__(self, every: float) -> None:
        self._every = every

    async def changed(self, timeout: float) -> None:
        await asyncio.sleep(min(self._every, timeout))
