"""Who did what, for whom, by whose consent: one line per event, chained under a key.

`Audit` writes, `read` shows, `verify` proves. Each process is a writer with a chain of its own, in files
``{writer}.{n}.jsonl`` that only ever grow. A row is one line of JSON, in ASCII:

    {"ts": UTC ns, "writer": ..., "seq": 0, 1, 2..., "event": ..., facts..., "prev": ..., "mac": ...}

``mac`` is keyed BLAKE2b over ``prev`` and the exact bytes of the line before ``,"mac":``; ``prev`` is the mac of the
row before, across files; the first is derived from the writer. So whoever can write the files, but lacks the key,
cannot edit, remove, add or move a row unseen, except at the end, or a whole chain: that takes heads kept elsewhere
(``anchor``; those of all chains lie in the vault, see `deputize.core.vault.chain_heads`).

Rows wait in memory and one thread makes all that wait durable with one write and one sync, at the latest half a
second after the first, at once when somebody awaits `Audit.settle`. A crash loses at most what nobody awaited in that
time; an unwritable disk loses nothing up to `WAITING` rows, then the oldest, and the row ``audit.lost`` says how many.
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
        """What proves a trail, which who writes one never needs."""
        if name not in ("Finding", "Report", "verify"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from deputize.core.audit import verification

        return getattr(verification, name)


__all__ = ["Audit", "Fact", "Finding", "Head", "Mode", "Report", "Row", "read", "verify"]
