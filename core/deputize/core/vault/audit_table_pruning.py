"""Retention for an audit in a table. Only the role that owns the table can remove rows; programs may only add them.

The first rows of each chain are removed, up to the first row that is young enough, whoever writes the chain. First the
remaining rows are verified, then the vault records the cut, then the rows are removed. After an interruption at any
point the audit is whole, and the next run continues.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from deputize.core.audit import Audit, verify
from deputize.core.audit.events import AuditDropped
from deputize.core.audit.reader import lines_of
from deputize.core.audit.rows import parse_row
from deputize.core.audit.trail import AuditTable, Sink, TableChain
from deputize.core.audit.verification import Dropped
from deputize.core.errors import Conflict, VaultError
from deputize.core.vault.audit_pruning import Cut, carry, is_over, is_whole, plan, remember, settle
from deputize.core.vault.chain_heads import ChainHeads
from deputize.core.vault.rollback import AuditedGenerations
from deputize.core.vault.vault import Vault

_LOOK: Final = "deputize audit verify, deputize doctor"


class Removes(Protocol):
    """A table, opened by the role that may remove its rows."""

    def refuse_other(self, writer: str) -> None:
        """Raise `SettingsError` if this chain, which has just begun, is missing: then this is another table."""
        ...

    def remove(self, writer: str, last: int) -> int:
        """Remove the first rows of a chain, up to this number. Return how many were removed. Blocks."""
        ...


class Pruned(NamedTuple):
    """The result of `prune`: dropped rows, shortened chains, and chains removed entirely."""

    rows: int
    begun: int
    gone: int


async def prune(vault: Vault, audit: Audit, table: AuditTable, by: Removes, before: int) -> Pruned:
    """Drop rows written before a time, UTC ns. Raises `VaultError` if the audit is not whole, and `Conflict` if another
    program is dropping rows."""
    try:
        async with vault.store.lock("audit retention", 0.0) as held:
            cuts = await asyncio.to_thread(_find_cuts, table, before)
            if not cuts:
                return Pruned(0, 0, 0)
            now = await _verify_cuts(vault, audit, table, cuts, before)
            audit.write(AuditDropped(before // 10**9, rows=sum(cut.rows for cut in cuts.values())))
            await audit.settle()
            await asyncio.to_thread(by.refuse_other, audit.writer)
            if held is not None:
                await held.confirm()
            await remember(vault, now)
            rows = await asyncio.to_thread(_remove, by, cuts)
            await settle(vault, now, cuts)
            gone = len(_whole_chains(cuts))
            return Pruned(rows, len(cuts) - gone, gone)
    except TimeoutError:
        raise Conflict("Another program is dropping rows of this audit.", hint="Try again later.") from None


async def _verify_cuts(vault: Vault, audit: Audit, table: AuditTable, cuts: Mapping[str, Cut], before: int) -> Dropped:
    """Verify the table and the remaining rows, write snapshots of grants, and return the vault's record of the drop."""
    if not await is_whole(vault, table):
        raise VaultError("The audit is not whole, or it shows a rollback. No row was dropped.", hint=_LOOK)
    left = _Left(table, {writer: cut.last["seq"] for writer, cut in cuts.items()}, _whole_chains(cuts))
    now = await plan(vault, before, cuts, {writer: [chain] for writer, chain in left.chains().items()})
    heads = await ChainHeads(vault).load() or ()
    report = await asyncio.to_thread(verify, left, vault.keys.audits, heads=heads, dropped=now)
    if not report.whole:
        kinds = ", ".join(sorted({finding.kind for finding in report.findings}))
        raise VaultError(f"The remaining rows could not be verified: {kinds}. No row was dropped.", hint=_LOOK)
    everything = await AuditedGenerations.read(table, vault)
    await carry(vault, audit, everything, await AuditedGenerations.read(left, vault))
    return now


def _remove(by: Removes, cuts: Mapping[str, Cut]) -> int:
    return sum(by.remove(writer, cut.last["seq"]) for writer, cut in cuts.items())


def _whole_chains(cuts: Mapping[str, Cut]) -> frozenset[str]:
    return frozenset(writer for writer, cut in cuts.items() if cut.whole)


def _find_cuts(table: AuditTable, before: int) -> dict[str, Cut]:
    found = {writer: _find_cut(chain, before) for writer, chain in table.chains().items()}
    return {writer: cut for writer, cut in found.items() if cut}


def _find_cut(chain: TableChain, before: int) -> Cut | None:
    """Return where the old rows of a chain end, or None. A chain that may continue keeps its last row."""
    last = earlier = None
    rows, whole = 0, True
    for _, line in lines_of(chain):
        row = parse_row(line)
        if row is None or row["ts"] >= before:
            whole = False
            break
        last, earlier = row, last
        rows += 1
    if whole and last and not is_over(last, before):
        last, whole, rows = earlier, False, rows - 1
    return Cut(last, whole, rows) if last else None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class _Rest:
    """The rows of a chain from a number on, as a `TableChain`."""

    chain: TableChain
    begin: int

    def lines(self, at: int = 0) -> Iterator[tuple[int, bytes]]:
        return self.chain.lines(max(at, self.begin))

    def last(self) -> bytes:
        return self.chain.last()


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class _Left:
    """The table as it will be after the removal, as an `AuditTable`."""

    table: AuditTable
    lasts: Mapping[str, int]
    gone: Collection[str]

    @property
    def address(self) -> str:
        return self.table.address

    def holds_rows(self) -> bool:
        return bool(self.chains())

    def chains(self) -> Mapping[str, TableChain]:
        return {
            writer: _Rest(chain, self.lasts.get(writer, -1) + 1)
            for writer, chain in self.table.chains().items()
            if writer not in self.gone
        }

    def ends(self) -> Mapping[str, int]:
        return {writer: last for writer, last in self.table.ends().items() if writer not in self.gone}

    def newest(self, users: Collection[str], most_bytes: int) -> tuple[list[bytes], bool]:
        return self.table.newest(users, most_bytes)

    def sink(self, writer: str) -> Sink:
        return self.table.sink(writer)

    def take_over(self, writer: str, lines: Sequence[bytes]) -> int:
        return self.table.take_over(writer, lines)
