"""What the vault is told before old rows of its audit go, so that what is left proves as much as before.

Nothing can be taken out of a chain, so its first rows go, up to one. The vault says, sealed, which one that was of each
chain, and which chains are gone as a whole; `prove` takes its word for that and for nothing else. What rollback
detection goes by is said again in a new row (``grant.snapshot``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from deputize.core.audit import Audit
from deputize.core.audit.events import GrantSnapshot
from deputize.core.audit.key_rotation import closings
from deputize.core.audit.rows import Key, Row
from deputize.core.audit.trail import Part, Trail
from deputize.core.audit.verification import Dropped
from deputize.core.errors import Conflict
from deputize.core.vault.bulk_revocation import end_row
from deputize.core.vault.chain_heads import DROPPED, ChainHeads, dropped_from, prove
from deputize.core.vault.grant import facts_of
from deputize.core.vault.rollback import AuditedGenerations, all_grants, behind
from deputize.core.vault.vault import Vault

DAY: Final = 86400.0

MAX_CHAINS: Final = 1000
"""Chains without rows of which it is known where they would go on."""


class Cut(NamedTuple):
    """The last row of a chain that goes, whether nothing of the chain is left, and how many rows of a table go."""

    last: Row
    whole: bool
    rows: int = 0


def is_over(last: Row, before: int) -> bool:
    """Whether nobody writes the chain any more: it says so, or has been silent for a day longer."""
    return last.get("ended") is True or last["ts"] < before - DAY * 1e9


async def is_whole(vault: Vault, trail: Trail) -> bool:
    """Whether an audit may lose rows. One that is not whole, or tells of a rollback, is evidence."""
    return (await prove(vault, trail)).ok and not await behind(vault, trail)


async def carry(vault: Vault, audit: Audit, everything: AuditedGenerations, left: AuditedGenerations) -> None:
    """Say again how grants stand of which only rows tell that go."""
    for end in [one for one in everything.ends if one not in left.ends]:
        await audit.record(end_row(end))
    async for grant in all_grants(vault):
        known, still = everything.of(grant), left.of(grant)
        if known and (still is None or still.generation < known.generation):
            await audit.record(GrantSnapshot(facts_of(replace(grant, generation=known.generation)), known.revoked))


async def planned(vault: Vault, before: int, cuts: Mapping[str, Cut], left: Mapping[str, Sequence[Part]]) -> Dropped:
    """What the vault is to say was dropped. Chains that are gone are known as long as anything may
    miss them, and where those begin that may go on: a process that was silent for so long may still be there."""
    was = dropped_from(await vault.get(*DROPPED))
    ring = [Key(key) for key in vault.keys.audits]
    missed = {mark.writer for mark in await asyncio.to_thread(closings, left, ring)}
    missed |= {head.writer for head in await ChainHeads(vault).known() or ()}
    gone = {writer for writer, cut in cuts.items() if cut.whole}
    begins = {**was.begins, **{writer: (cut.last["seq"], cut.last["mac"]) for writer, cut in cuts.items()}}
    kept = {*[writer for writer in begins if writer not in left][-MAX_CHAINS:], *left, *cuts}
    return Dropped(
        max(before, was.until),
        {writer: begin for writer, begin in begins.items() if writer in kept},
        frozenset(gone) | (was.gone & missed),
    )


async def remember(vault: Vault, dropped: Dropped) -> None:
    """Tell the vault, before anything goes. Raises `Conflict` where another told it something meanwhile."""
    record = await vault.get(*DROPPED)
    content = {"until": dropped.until, "begins": dropped.begins, "gone": sorted(dropped.gone)}
    if not await (vault.swap(record, content) if record else vault.insert(*DROPPED, content)):
        raise Conflict("Another program drops rows of this audit now.", hint="Try again later.")


async def settle(vault: Vault, dropped: Dropped, cuts: Mapping[str, Cut]) -> None:
    """All of it is gone: nothing is known any more of chains that have ended, of which a part could have been left."""
    over = {writer for writer, cut in cuts.items() if cut.whole and cut.last.get("ended") is True}
    await remember(
        vault, dropped._replace(begins={one: begin for one, begin in dropped.begins.items() if one not in over})
    )
    await ChainHeads(vault).forget([writer for writer, cut in cuts.items() if cut.whole])
