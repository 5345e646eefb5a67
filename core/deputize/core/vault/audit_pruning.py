"""The vault's record of dropped audit rows, with which the remaining rows prove as much as before.

Only the first rows of a chain can be dropped. The vault stores, encrypted, the last dropped row of each chain, and the
names of chains that are dropped entirely. `prove` accepts exactly that. Facts that rollback detection needs are
repeated in a new row (``grant.snapshot``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from deputize.core.audit import Audit
from deputize.core.audit.events import GrantSnapshot
from deputize.core.audit.key_rotation import closing_marks
from deputize.core.audit.rows import Key, Row
from deputize.core.audit.trail import Part, Trail
from deputize.core.audit.verification import Dropped
from deputize.core.errors import Conflict
from deputize.core.vault.bulk_revocation import end_event
from deputize.core.vault.chain_heads import DROPPED, ChainHeads, read_dropped, verify_audit
from deputize.core.vault.grant import grant_fields
from deputize.core.vault.rollback import AuditedGenerations, all_grants, find_rolled_back
from deputize.core.vault.vault import Vault

DAY: Final = 86400.0

MAX_CHAINS: Final = 1000
"""Chains without rows whose point of continuation is remembered."""


class Cut(NamedTuple):
    """The last row to drop from a chain, whether the whole chain is dropped, and the number of rows (tables only)."""

    last: Row
    whole: bool
    rows: int = 0


def is_over(last: Row, before: int) -> bool:
    """Return True if the chain has ended: its last row closes it or is more than a day older than ``before``."""
    return last.get("ended") is True or last["ts"] < before - DAY * 1e9


async def is_whole(vault: Vault, trail: Trail) -> bool:
    """Return whether rows of an audit may be dropped. An audit with gaps, or with signs of a rollback, is evidence."""
    return (await verify_audit(vault, trail)).ok and not await find_rolled_back(vault, trail)


async def carry(vault: Vault, audit: Audit, everything: AuditedGenerations, left: AuditedGenerations) -> None:
    """Write new rows with the states of grants that only the rows to drop contain."""
    for end in [one for one in everything.ends if one not in left.ends]:
        await audit.record(end_event(end))
    async for grant in all_grants(vault):
        known, still = everything.of(grant), left.of(grant)
        if known and (still is None or still.generation < known.generation):
            await audit.record(GrantSnapshot(grant_fields(replace(grant, generation=known.generation)), known.revoked))


async def plan(vault: Vault, before: int, cuts: Mapping[str, Cut], left: Mapping[str, Sequence[Part]]) -> Dropped:
    """Return the vault's new record of dropped rows. Dropped chains stay in it as long as something may miss them. For
    a chain that may continue, the record contains the point of continuation, because a process that was silent for long
    may still run."""
    was = read_dropped(await vault.get(*DROPPED))
    ring = [Key(key) for key in vault.keys.audits]
    missed = {mark.writer for mark in await asyncio.to_thread(closing_marks, left, ring)}
    missed |= {head.writer for head in await ChainHeads(vault).load() or ()}
    gone = {writer for writer, cut in cuts.items() if cut.whole}
    begins = {**was.begins, **{writer: (cut.last["seq"], cut.last["mac"]) for writer, cut in cuts.items()}}
    kept = {*[writer for writer in begins if writer not in left][-MAX_CHAINS:], *left, *cuts}
    return Dropped(
        max(before, was.until),
        {writer: begin for writer, begin in begins.items() if writer in kept},
        frozenset(gone) | (was.gone & missed),
    )


async def remember(vault: Vault, dropped: Dropped) -> None:
    """Store the record in the vault, before rows are removed. Raises `Conflict` if another program changed it."""
    record = await vault.get(*DROPPED)
    content = {"until": dropped.until, "begins": dropped.begins, "gone": sorted(dropped.gone)}
    if not await (vault.swap(record, content) if record else vault.insert(*DROPPED, content)):
        raise Conflict("Another program is dropping rows of this audit.", hint="Try again later.")


async def settle(vault: Vault, dropped: Dropped, cuts: Mapping[str, Cut]) -> None:
    """Remove ended chains from the record, after all of their rows were removed."""
    over = {writer for writer, cut in cuts.items() if cut.whole and cut.last.get("ended") is True}
    begins = {writer: begin for writer, begin in dropped.begins.items() if writer not in over}
    await remember(vault, dropped._replace(begins=begins))
    await ChainHeads(vault).forget([writer for writer, cut in cuts.items() if cut.whole])
