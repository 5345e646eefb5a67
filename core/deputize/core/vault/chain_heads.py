"""Heads of the audit's chains, encrypted in the vault, which reveal a missing file or a cut chain.

A chain proves all of its rows except its end, and nothing about a chain that is missing. So each process's audit stores
its anchors here: one with its first rows, one a minute while it writes, and one at the end of the chain. The record has
the newest anchor of each chain. If the record has become long, a starting process writes the heads of ended chains into
its own chain (``chain.closed``) and removes them from the record. From then on that chain proves them.

Not detected: rows that a killed process wrote in its last minute, and an older record restored together with the files
of that time. Lines stored on another machine (``DEPUTIZE_AUDIT_ANCHOR_FILE``) reveal both.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from deputize.core.audit import Audit, Head
from deputize.core.audit.events import ChainClosed
from deputize.core.audit.trail import Trail, is_there
from deputize.core.background_loop import portal
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.core.vault.pseudonyms import People
from deputize.core.vault.vault import Record, Vault

if TYPE_CHECKING:
    from deputize.core.audit.verification import Dropped, Report

KEY: Final = "chains"
DROPPED: Final = ("meta", "dropped")
"""Kind and key of the record of dropped audit rows: see `deputize.core.vault.retention`."""
MAX_HEADS: Final = 64
"""Heads in the record before those of ended chains are moved out of it."""
ABANDONED_AFTER_SECONDS: Final = 86400.0
"""Seconds after which a silent chain counts as ended too: its process was killed."""

log = logging.getLogger("deputize")


class ChainHeads:
    """The chain heads of one vault. An instance is an ``anchor`` of `deputize.core.audit.Audit`."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self._saving: set[Future[None]] = set()
        self._pid = os.getpid()

    def __call__(self, line: str) -> None:
        """Store this anchor as its chain's head, without waiting. If that fails, the last stored head remains."""
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
        """Wait until all pending heads are stored or have failed."""
        if self._pid != os.getpid():  # in a forked child: the pending heads are the parent's
            return
        waiting = [asyncio.wrap_future(saving) for saving in list(self._saving)]
        await asyncio.gather(*waiting, return_exceptions=True)

    async def load(self) -> list[Head] | None:
        """Return the heads of all chains in the record, or None without a record."""
        record = await self.vault.get("meta", KEY)
        return None if record is None else [Head(*head) for head in record.json["heads"]]

    async def fold(self, audit: Audit, now: float) -> None:
        """Move the heads of ended chains into this audit's chain if there are many. ``now``: Unix seconds."""
        heads = await self.load() or []
        if len(heads) <= MAX_HEADS:
            return
        ended = [head for head in heads if head.ended or head.ts / 1e9 < now - ABANDONED_AFTER_SECONDS]
        for old in ended:
            audit.write(ChainClosed(old.writer, old.seq, old.mac))
        await audit.settle()
        if head := audit.head():
            await self._change({head.writer: head}, ended)

    async def take_over(self, other: ChainHeads) -> None:
        """Add all heads of another vault, which a restored backup replaces."""
        if record := await other.vault.get(*DROPPED):
            ours = await self.vault.get(*DROPPED)
            await (self.vault.swap(ours, record.plain) if ours else self.vault.insert(*DROPPED, record.plain))
        await self._change({head.writer: head for head in await other.load() or ()})

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
        """Remove the heads of chains that were dropped because of their age."""
        heads = await self.load() or ()
        await self._change({}, [head for head in heads if head.writer in writers])


def read_dropped(record: Record | None) -> Dropped:
    """Return the rows and chains that were dropped from the audit, from the vault's record of them."""
    from deputize.core.audit.verification import Dropped

    content = record.json if record else {}
    begins = {writer: (int(seq), str(mac)) for writer, (seq, mac) in content.get("begins", {}).items()}
    return Dropped(content.get("until", 0), begins, frozenset(content.get("gone", ())))


async def verify_audit(vault: Vault, trail: Trail, anchors: Iterable[str] = (), *, full: bool = False) -> Report:
    """Verify the audit of this vault, and compare it with the vault; ``anchors`` and ``full`` as in `verify`.

    The finding ``gone``: the folder, or the vault's record of heads, is missing although there was one. Raises
    `StoreUnavailable` if there is no folder and no trace of one.
    """
    from deputize.core.audit.verification import Finding, Report, verify  # only needed here

    heads, there = await ChainHeads(vault).load(), await asyncio.to_thread(is_there, trail)
    dropped, people = read_dropped(await vault.get(*DROPPED)), await People.of(vault)
    if not there and not heads and await vault.store.scan("grant", most=1):
        return Report(0, 0, (Finding("gone", "", 0, "the whole audit; the vault holds grants that it must tell"),), ())
    report = await asyncio.to_thread(
        partial(verify, full=full, resolve=people.resolve_row),
        *(trail, vault.keys.audits),
        anchors=list(anchors),
        heads=heads or (),
        dropped=dropped,
    )
    ended = report.writers > len(report.open)
    if heads is None and ended:  # each chain that ended had stored its head
        lost = Finding("gone", "", 0, "the vault's record of the heads of chains")
        return report._replace(findings=(*report.findings, lost))
    return report
