"""Rows that are older than the host keeps are dropped, by whole files, and what is left is as provable as before.

A file goes when all of its rows are old enough and nobody writes it any more; the vault is told first. An audit that is
not whole, or tells of a grant that was rolled back, is dropped nothing of: that is looked at first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deputize.core.audit import Audit
from deputize.core.audit.events import AuditDropped, VaultRestored
from deputize.core.audit.key_rotation import last_row
from deputize.core.audit.reader import files_of, lines_of
from deputize.core.audit.rows import Row
from deputize.core.vault.audit_pruning import DAY, Cut, carry, is_over, is_whole, planned, remember, settle
from deputize.core.vault.rollback import AuditedGenerations
from deputize.core.vault.vault import Vault

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
        if not await is_whole(self.vault, self.folder):
            log.warning(
                "No old rows of the audit are dropped, since it is not whole: see deputize audit verify, doctor."
            )
            return 0
        paths = {one.path for files in old.values() for one in files}
        everything = await AuditedGenerations.read(self.folder, self.vault)
        await carry(
            self.vault, self.audit, everything, await AuditedGenerations.read(self.folder, self.vault, without=paths)
        )
        self.audit.write(AuditDropped(before // 10**9, files=len(paths)))
        await self.audit.settle()
        left = await asyncio.to_thread(self._left, paths)
        cuts = {writer: Cut(files[-1].last, writer not in left) for writer, files in old.items()}
        now = await planned(self.vault, before, cuts, left)
        await remember(self.vault, now)
        await asyncio.to_thread(_remove, old.values())
        await settle(self.vault, now, cuts)
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
            if path is newest and (writer == self.audit.writer or not is_over(row, before)):
                return
            yield Old(path, row)

    def _left(self, going: Collection[Path]) -> dict[str, list[Path]]:
        """The files that stay, of each chain that has any."""
        left = {w: [path for path in paths if path not in going] for w, paths in files_of(self.folder).items()}
        return {writer: paths for writer, paths in left.items() if paths}


def _restored(path: Path) -> bool:
    """Whether the file tells that a backup was put back: where rollback detection begins."""
    return any(VaultRestored.event.encode() in line for _, line in lines_of(path))


def _remove(files: Iterable[list[Old]]) -> None:
    """The first of each chain first: what is left of one always follows what is gone."""
    for chain in files:
        for one in chain:
            one.path.unlink(missing_ok=True)
