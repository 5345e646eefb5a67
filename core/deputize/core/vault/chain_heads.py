"""The heads of the audit's chains, kept sealed in the vault: what a missing file, or a cut chain, is found by.

A chain proves every row but its end, and nothing of a chain that is gone. So each process's audit hands its anchors
here: one with its first rows, one a minute while it writes, one that says that the chain has ended. The record holds
the newest of each chain. Where it has grown long, a process that starts writes the heads of chains that have ended into
its own chain (``chain.closed``) and takes them out of the record: from then on that chain vouches for them.

Not found: rows that a killed process wrote in its last minute, and an older record put back together with the files of
that time. Lines kept on another machine (``DEPUTIZE_AUDIT_ANCHOR_FILE``) find both.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from deputize.core.audit import Audit, Head
from deputize.core.audit.events import ChainClosed
from deputize.core.audit.trail import Trail, is_there
from deputize.core.background_loop import portal
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.core.vault.vault import Record, Vault

if TYPE_CHECKING:
    from deputize.core.audit.verification import Dropped, Report

KEY: Final = "chains"
DROPPED: Final = ("meta", "dropped")
"""Where the vault says what was dropped of the audit, since it was old: see `deputize.core.vault.retention`."""
EVERY: Final = 60.0
"""Seconds between two anchors of a process that writes."""
MAX_HEADS: Final = 64
"""Heads that the record holds before those of ended chains are moved out of it."""
ABANDONED: Final = 86400.0
"""Seconds after which a chain that did not say so counts as ended, too: its process was killed."""

log = logging.getLogger("deputize")


class ChainHeads:
    """Keeps heads in one vault. An instance is an ``anchor`` of `deputize.core.audit.Audit`."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self._saving: set[Future[None]] = set()
        self._pid = os.getpid()

    def __call__(self, line: str) -> None:
        """Keep this anchor's place as its chain's head, and do not wait. Where that cannot be, the last one counts."""
        row = json.loads(line)
        head = Head(row["writer"], row["seq"], row["mac"], row["ts"], row.get("ended", False))
        if self._pid != os.getpid():
            self._saving, self._pid = set(), os.getpid()
        with suppress(InvalidInput):  # the process is ending
            saving = portal().begin(self._save(head))
            self._saving.add(saving)
            saving.add_done_callback(self._saving.discard)

    async def _save(self, head: Head) -> None:
        try:
            await self._change({head.writer: head})
        except DeputizeError as failure:
            log.debug("The head of an audit chain could not be kept: %s", failure.code)

    async def settled(self) -> None:
        """Wait until what was handed over is kept, or could not be."""
        if self._pid != os.getpid():  # in a forked child that has handed nothing over: those are the parent's
            return
        waiting = [asyncio.wrap_future(one) for one in list(self._saving)]
        await asyncio.gather(*waiting, return_exceptions=True)

    async def known(self) -> list[Head] | None:
        """The heads of all chains that the record holds; None where there is no record."""
        record = await self.vault.get("meta", KEY)
        return None if record is None else [Head(*one) for one in record.json["heads"]]

    async def fold(self, audit: Audit, now: float) -> None:
        """Have ``audit`` vouch for chains that have ended, where there are many. ``now``: Unix seconds."""
        heads = await self.known() or []
        if len(heads) <= MAX_HEADS:
            return
        ended = [one for one in heads if one.ended or one.ts / 1e9 < now - ABANDONED]
        for one in ended:
            audit.write(ChainClosed(one.writer, one.seq, one.mac))
        await audit.settle()
        if head := audit.head():
            await self._change({head.writer: head}, ended)

    async def take_over(self, other: ChainHeads) -> None:
        """Know what another vault's record knows: a backup that is put back takes that of the vault it replaces."""
        if record := await other.vault.get(*DROPPED):
            ours = await self.vault.get(*DROPPED)
            await (self.vault.swap(ours, record.plain) if ours else self.vault.insert(*DROPPED, record.plain))
        await self._change({head.writer: head for head in await other.known() or ()})

    async def _change(self, more: Mapping[str, Head], without: Iterable[Head] = ()) -> None:
        while True:
            record = await self.vault.get("meta", KEY)
            heads: dict[str, Head] = {one[0]: Head(*one) for one in record.json["heads"]} if record else {}
            heads |= {writer: head for writer, head in more.items() if head.seq >= heads.get(writer, head).seq}
            for one in without:
                if heads.get(one.writer) == one:
                    del heads[one.writer]
            content: dict[str, Any] = {"heads": list(heads.values())}
            made = await (self.vault.swap(record, content) if record else self.vault.insert("meta", KEY, content))
            if made is not None:
                return

    async def forget(self, writers: Collection[str]) -> None:
        """Take out chains that were dropped, since they were old."""
        heads = await self.known() or ()
        await self._change({}, [head for head in heads if head.writer in writers])


def dropped_from(record: Record | None) -> Dropped:
    """What was dropped of the audit, by its record in the vault."""
    from deputize.core.audit.verification import Dropped

    content = record.json if record else {}
    begins = {writer: (int(seq), str(mac)) for writer, (seq, mac) in content.get("begins", {}).items()}
    return Dropped(content.get("until", 0), begins, frozenset(content.get("gone", ())))


async def prove(vault: Vault, trail: Trail, anchors: Iterable[str] = ()) -> Report:
    """Walk the audit of this vault, and hold it to what the vault knows of it; ``anchors`` as in `verify`.

    A finding ``gone``: the folder is not there, or the vault's record of heads, though there was one. Raises
    `StoreUnavailable` where there is no folder and nothing that tells of one.
    """
    from deputize.core.audit.verification import Finding, Report, verify  # not for each process that hands in its heads

    heads, there = await ChainHeads(vault).known(), await asyncio.to_thread(is_there, trail)
    dropped = dropped_from(await vault.get(*DROPPED))
    if not there and not heads and await vault.store.scan("grant", most=1):
        return Report(0, 0, (Finding("gone", "", 0, "the whole audit; the vault holds grants that it must tell"),), ())
    report = await asyncio.to_thread(
        verify, trail, vault.keys.audits, anchors=list(anchors), heads=heads or (), dropped=dropped
    )
    ended = report.writers > len(report.open)
    if heads is None and ended:  # each that has ended has told the vault
        lost = Finding("gone", "", 0, "the vault's record of the heads of chains")
        return report._replace(findings=(*report.findings, lost))
    return report
