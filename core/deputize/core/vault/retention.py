"""Upkeep of an audit in files: closed files are compressed, and whole files of old rows are dropped.

The remaining rows prove as much as before. A file may be dropped if all of its rows are old enough and nobody writes it
any more. The vault records the drop first. Nothing is dropped from an audit with gaps or with signs of a rollback: that
must be examined first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from deputize.core.audit import Audit
from deputize.core.audit.compressed_file import DamagedFile, compressed_path, stored_status
from deputize.core.audit.compression import closed_files, compress_file, part_path
from deputize.core.audit.events import AuditDropped, VaultRestored
from deputize.core.audit.key_rotation import last_row
from deputize.core.audit.reader import files_of, lines_of
from deputize.core.audit.rows import Key, Row
from deputize.core.vault.audit_pruning import DAY, Cut, carry, is_over, is_whole, plan, remember, settle
from deputize.core.vault.rollback import AuditedGenerations
from deputize.core.vault.vault import Vault

COMPRESSION_INTERVAL_SECONDS: Final = 600.0
"""Seconds between two searches for closed files. The first is that long after the start: no short program does it."""

log = logging.getLogger("deputize")


class Old(NamedTuple):
    """A file that may be dropped, and its last row."""

    path: Path
    last: Row


@dataclass(eq=False, repr=False)
class Retention:
    """Compresses an audit's files, and drops rows older than ``days`` (0: none). ``clock``: Unix seconds."""

    vault: Vault
    audit: Audit
    folder: Path
    days: int
    clock: Callable[[], float] = time.time
    _next: float = 0.0
    _next_compression: float = field(init=False)

    def __post_init__(self) -> None:
        self._next_compression = self.clock() + COMPRESSION_INTERVAL_SECONDS

    async def compress(self) -> int:
        """Compress closed files, one process at a time, and return how many were compressed."""
        if self.clock() < self._next_compression or not await asyncio.to_thread(self.folder.is_dir):
            return 0
        self._next_compression = self.clock() + COMPRESSION_INTERVAL_SECONDS
        ring, count = [Key(key) for key in self.vault.keys.audits], 0
        try:
            async with self.vault.store.lock("audit compression", 0.0):
                for path in await asyncio.to_thread(closed_files, self.folder, self.clock()):
                    count += await asyncio.to_thread(compress_file, path, ring)
        except TimeoutError:
            return 0
        except OSError as error:
            log.warning("Closed audit files in %s cannot be compressed: %s", self.folder, error.strerror)
        return count

    async def turn(self) -> int:
        """Drop old files, once a day and in one process at a time, and return how many were dropped."""
        if not self.days or self.clock() < self._next or not await asyncio.to_thread(self.folder.is_dir):
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
                "Old rows of the audit are kept, because it is not whole: run deputize audit verify, deputize doctor."
            )
            return 0
        paths = {file.path for files in old.values() for file in files}
        everything = await AuditedGenerations.read(self.folder, self.vault)
        await carry(
            self.vault, self.audit, everything, await AuditedGenerations.read(self.folder, self.vault, without=paths)
        )
        self.audit.write(AuditDropped(before // 10**9, files=len(paths)))
        await self.audit.settle()
        left = await asyncio.to_thread(self._remaining_files, paths)
        cuts = {writer: Cut(files[-1].last, writer not in left) for writer, files in old.items()}
        now = await plan(self.vault, before, cuts, left)
        await remember(self.vault, now)
        await asyncio.to_thread(_remove, old.values())
        await settle(self.vault, now, cuts)
        return len(paths)

    def _old(self, before: int) -> dict[str, list[Old]]:
        """Return the files that may be dropped, by chain."""
        found = {writer: list(self._first(writer, paths, before)) for writer, paths in files_of(self.folder).items()}
        return {writer: files for writer, files in found.items() if files}

    def _first(self, writer: str, paths: Iterable[Path], before: int) -> Iterator[Old]:
        *earlier, newest = paths
        for path in (*earlier, newest):
            status = stored_status(path)
            if status is None or status.st_mtime_ns >= before:  # spares reading it
                return
            try:
                row, _ = last_row([path])
                if row is None or row["ts"] >= before or _has_restore(path):
                    return
            except DamagedFile:  # evidence, and a finding
                return
            if path is newest and (writer == self.audit.writer or not is_over(row, before)):
                return
            yield Old(path, row)

    def _remaining_files(self, going: Collection[Path]) -> dict[str, list[Path]]:
        """Return the files that stay, by chain, without empty chains."""
        left = {w: [path for path in paths if path not in going] for w, paths in files_of(self.folder).items()}
        return {writer: paths for writer, paths in left.items() if paths}


def _has_restore(path: Path) -> bool:
    """Return whether the file records a restored backup, because rollback detection begins there."""
    return any(VaultRestored.event.encode() in line for _, line in lines_of(path))


def _remove(files: Iterable[list[Old]]) -> None:
    """Remove the files of each chain in order, so that the remaining rows always follow the removed ones."""
    for chain in files:
        for file in chain:
            for path in (file.path, packed := compressed_path(file.path), part_path(packed)):
                path.unlink(missing_ok=True)
