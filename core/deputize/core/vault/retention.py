"""Rows that are older than the host keeps are dropped, by whole files, and what is left is as provable as before.

Nothing can be taken out of a chain, so a file goes when all of its rows are old enough and nobody writes it any more.
The vault is told first, sealed: up to which row each chain is dropped, and which chains as a whole. `prove` takes its
word for that and for nothing else. What rollback detection goes by is said again in a new row (``grant.carried``).

An audit that is not whole, or tells of a grant that was rolled back, is dropped nothing of: that is looked at first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from deputize.core.audit import Audit
from deputize.core.audit.events import AuditDropped, GrantCarried, VaultRestored
from deputize.core.audit.key_rotation import closings, last_row
from deputize.core.audit.reading import files_of, lines_of
from deputize.core.audit.rows import Key, Row
from deputize.core.audit.verifying import Dropped
from deputize.core.vault.chain_heads import DROPPED, ChainHeads, dropped_from, prove
from deputize.core.vault.ended import end_row
from deputize.core.vault.grant import facts_of
from deputize.core.vault.rollback import AuditedGenerations, all_grants, behind
from deputize.core.vault.vault import Vault

DAY: Final = 86400.0
"""Seconds between two looks, and those that a chain without an end has been silent for before it counts as ended."""

MOST: Final = 1000
"""Chains of which it is known where they go on."""

log = logging.getLogger("deputize")


class Old(NamedTuple):
    """A file that may go, and its last row."""

    path: Path
    last: Row


@dataclass(eq=False, repr=False)
class Retention:
    """Drops what is older than ``days`` from the audit of a vault. ``clock``: Unix seconds."""

    vault: Vault
    audit: Audit
    folder: Path
    days: int
    clock: Callable[[], float] = time.time
    _next: float = 0.0

    async def turn(self) -> int:
        """Drop what is due, once a day and in one process at a time; how many files were dropped."""
        if self.clock() < self._next or not await asyncio.to_thread(self.folder.is_dir):
            return 0
        self._next = self.clock() + DAY
        try:
            async with self.vault.store.lock("audit retention", 0.0):
                return await self._drop()
        except TimeoutError:
            return 0

    async def _drop(self) -> int:
        before = int((self.clock() - self.days * DAY) * 1e9)
        old = await asyncio.to_thread(self._old, before)
        if not old:
            return 0
        if not (await prove(self.vault, self.folder)).ok or await behind(self.vault, self.folder):
            log.warning(
                "No old rows of the audit are dropped, since it is not whole: see deputize audit verify, doctor."
            )
            return 0
        paths = {one.path for files in old.values() for one in files}
        await self._carry(paths)
        self.audit.write(AuditDropped(before // 10**9, len(paths)))
        await self.audit.settle()
        gone = await asyncio.to_thread(self._note, old, before)
        await self._remember(before, old, gone)
        await asyncio.to_thread(_remove, old.values())
        await ChainHeads(self.vault).forget(gone)
        return len(paths)

    def _old(self, before: int) -> dict[str, list[Old]]:
        """The first files of each chain that may go."""
        found = {writer: list(self._first(writer, paths, before)) for writer, paths in files_of(self.folder).items()}
        return {writer: files for writer, files in found.items() if files}

    def _first(self, writer: str, paths: Iterable[Path], before: int) -> Iterator[Old]:
        *earlier, newest = paths
        for path in (*earlier, newest):
            row, _ = last_row([path])
            if row is None or row["ts"] >= before or _restored(path):
                return
            if path is newest and (writer == self.audit.writer or not self._ended(row, before)):
                return
            yield Old(path, row)

    def _ended(self, last: Row, before: int) -> bool:
        """Whether nobody writes the chain any more: it says so, or has been silent for a day longer."""
        return last.get("ended") is True or last["ts"] < before - DAY * 1e9

    async def _carry(self, paths: set[Path]) -> None:
        """Say again how grants stand of which only these files tell."""
        everything = await AuditedGenerations.read(self.folder, self.vault)
        left = await AuditedGenerations.read(self.folder, self.vault, without=paths)
        for end in [one for one in everything.ends if one not in left.ends]:
            await self.audit.tell(end_row(end))
        async for grant in all_grants(self.vault):
            known, still = everything.of(grant), left.of(grant)
            if known and (still is None or still.generation < known.generation):
                facts = facts_of(replace(grant, generation=known.generation))
                await self.audit.tell(GrantCarried(facts, known.revoked))

    def _note(self, old: Mapping[str, list[Old]], before: int) -> list[str]:
        """The chains of which nothing is left."""
        return [writer for writer, paths in files_of(self.folder).items() if len(old.get(writer, ())) == len(paths)]

    async def _remember(self, before: int, old: Mapping[str, list[Old]], gone: list[str]) -> None:
        """Tell the vault, before anything goes. Chains that are gone are known as long as anything may miss them, and
        where those begin that may go on: a process that was silent for so long may still be there."""
        record = await self.vault.get(*DROPPED)
        was = dropped_from(record)
        missed = await asyncio.to_thread(self._missed, old)
        missed |= {head.writer for head in await ChainHeads(self.vault).known() or ()}
        lasts = {writer: files[-1].last for writer, files in old.items()}
        over = {writer for writer in gone if lasts[writer].get("ended") is True}
        begins = {**was.begins, **{writer: (last["seq"], last["mac"]) for writer, last in lasts.items()}}
        kept = [(writer, begin) for writer, begin in begins.items() if writer not in over]
        now = Dropped(
            max(before, was.until),
            dict(kept[-MOST:]),
            frozenset(gone) | (was.gone & missed),
        )
        content = {"until": now.until, "begins": now.begins, "gone": sorted(now.gone)}
        await (self.vault.swap(record, content) if record else self.vault.insert(*DROPPED, content))

    def _missed(self, old: Mapping[str, list[Old]]) -> set[str]:
        """The chains that rows vouch for which stay."""
        going = {one.path for files in old.values() for one in files}
        left = {
            writer: [path for path in paths if path not in going] for writer, paths in files_of(self.folder).items()
        }
        return {mark.writer for mark in closings(left, [Key(key) for key in self.vault.keys.audits])}


def _restored(path: Path) -> bool:
    """Whether the file tells that a backup was put back: where rollback detection begins."""
    return any(VaultRestored.event.encode() in line for _, line in lines_of(path))


def _remove(files: Iterable[list[Old]]) -> None:
    """The first of each chain first: what is left of one always follows what is gone."""
    for chain in files:
        for one in chain:
            one.path.unlink(missing_ok=True)
