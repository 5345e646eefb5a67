"""Audit log: who did what, for whom, by whose consent. One line per event, chained under a key.

`Audit` writes, `read` reads, `verify` proves. Each process is a writer with a chain of its own, in append-only files
``{writer}.{n}.jsonl``. A row is one line of JSON, in ASCII:

    {"ts": UTC ns, "writer": ..., "seq": 0, 1, 2..., "event": ..., facts..., "prev": ..., "mac": ...}

``mac`` is keyed BLAKE2b over ``prev`` and the exact bytes of the line before ``,"mac":``. ``prev`` is the mac of the
row before, also across files; the first ``prev`` is derived from the writer. So an attacker who can write the files,
but lacks the key, cannot edit, remove, add or move a row unnoticed. The exceptions are rows at the end, or a whole
chain. Heads that are stored elsewhere reveal these too (``anchor``; the vault has the heads of all chains, see
`deputize.core.vault.chain_heads`).

Rows wait in memory. One thread makes all waiting rows durable with one write and one sync: at most half a second after
the first, or at once if a caller awaits `Audit.settle`. A crash loses at most the rows of that time that nobody
awaited. While the disk is unwritable, up to `WAITING` rows wait; then the oldest are lost, and the row ``audit.lost``
counts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deputize.core.audit.reader import read
from deputize.core.audit.rows import Fact, Head, Row
from deputize.core.audit.writer import Audit, Mode

if TYPE_CHECKING:
    from deputize.core.audit.verification import Finding, Report, verify
else:

    def __getattr__(name: str) -> Any:
        """Import the verification on first use: processes that only write never need it."""
        if name not in ("Finding", "Report", "verify"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from deputize.core.audit import verification

        return getattr(verification, name)


__all__ = ["Audit", "Fact", "Finding", "Head", "Mode", "Report", "Row", "read", "verify"]
