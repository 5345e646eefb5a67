"""Handling of a vault whose database failed over to a server with another history, as with a restored backup.

The last writes that the earlier server acknowledged may be missing. Each live process repeats its recent writes
(`deputize.core.vault.stores.postgres.timeline`), including audit rows. Then one of them distrusts the other records, as
`deputize.core.vault.restore` describes: it drops open requests, and grants are confirmed before use. The record
``timeline`` names the history with which the vault was last seen, so a start that meets another one does the same.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Final

from deputize.core.audit import Audit
from deputize.core.audit.events import DatabaseFailedOver
from deputize.core.audit.trail import Trail
from deputize.core.vault.restore import Enqueue, distrust, record_generations
from deputize.core.vault.rollback import AuditedGenerations
from deputize.core.vault.stores import FailsOver
from deputize.core.vault.vault import Vault

TIMELINE: Final = ("meta", "timeline")
REWRITE_SECONDS: Final = 5.0
"""Seconds for other processes to write again what they wrote: a few times what they need to notice."""
_LOCK_TIMEOUT_SECONDS: Final = 300.0


async def follow_failovers(vault: Vault, audit: Audit, trail: Trail, enqueue: Enqueue) -> None:
    """Distrust the vault if its database has another history than last time, at the start and after each failover."""
    store = vault.store
    if isinstance(store, FailsOver):
        await _look(store, vault, audit, trail, enqueue)
        store.on_failover = partial(_taken_over, store, vault, audit, trail, enqueue)


async def _taken_over(store: FailsOver, vault: Vault, audit: Audit, trail: Trail, enqueue: Enqueue, again: int) -> None:
    audit.write(DatabaseFailedOver(await store.timeline(), again))
    await audit.settle()  # this also writes the rows that the server may lack
    await _look(store, vault, audit, trail, enqueue)


async def _look(store: FailsOver, vault: Vault, audit: Audit, trail: Trail, enqueue: Enqueue) -> None:
    now = {"timeline": await store.timeline()}
    if not now["timeline"]:
        return
    async with vault.store.lock("timeline", _LOCK_TIMEOUT_SECONDS):
        record = await vault.get(*TIMELINE)
        if record is not None and record.json == now:
            return
        if record is not None:
            await asyncio.sleep(REWRITE_SECONDS)
            doubted = await distrust(vault, await AuditedGenerations.read(trail, vault), enqueue)
            await record_generations(vault, audit, time.time(), doubted)
            await audit.settle()
            record = await vault.get(*TIMELINE)
        await (vault.swap(record, now) if record else vault.insert(*TIMELINE, now))
