"""Checkpoints: proof, in the header of a compressed file, that all rows of the file were verified before.

The process that compresses a file checks each row first. The checkpoint contains what the rest of the verification
needs from the rows: the place of the first row in the chain, the macs of the last row and of anchors, and the open
acts. Its own mac is made with the key of the rows and covers the checkpoint and every byte of the file. So
`deputize.core.audit.verification` reads each byte, but does not check each row. Without the key nobody can create a
checkpoint, change it, or move it to other rows. If a checkpoint does not prove its file, each row is verified.
"""

from __future__ import annotations

import hmac
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from deputize.core.audit.compressed_file import read_header
from deputize.core.audit.events import ActIntent, ActResult, ChainAnchor, ChainClosed, RestoreAccepted, VaultRestored
from deputize.core.audit.rows import MAC_SIZE, Key, Row, age_of, parse_row
from deputize.core.audit.trail import Part


class OpenActs:
    """Intents without an outcome, and outcomes whose intent must be in an earlier file or another chain."""

    def __init__(self, intents: Iterable[Row] = (), outcomes: Iterable[tuple[str, bool]] = ()) -> None:
        self.intents = defaultdict[str, list[Row]](list)
        for row in intents:
            self.intents[_act(row)].append(row)
        self.outcomes = [*outcomes]
        """The act of each, and whether it was done."""

    def take(self, row: Row) -> None:
        """Add an intent, or close the latest open intent of a result's act, unless the outcome is unknown."""
        if row["event"] == ActIntent.event:
            self.intents[_act(row)].append(row)
        elif row["event"] == ActResult.event and row.get("decision") != "outcome_unknown":
            done = row.get("decision") == "done"
            # other results belong to calls that never began to write
            self._close(_act(row), done, bool(row.get("answered_by")) or (done and row.get("effect") != "reads"))

    def add(self, later: OpenActs) -> None:
        """Add the acts of later rows."""
        for act, done in later.outcomes:
            self._close(act, done, True)
        for act, rows in later.intents.items():
            self.intents[act] += rows

    def _close(self, act: str, done: bool, keep: bool) -> None:
        if act in self.intents:
            self.intents[act].pop()
            if not self.intents[act]:
                del self.intents[act]
        elif keep:
            self.outcomes.append((act, done))


def _act(row: Row) -> str:
    """Return a digest of the fields that rows of the same act share."""
    parts = row.get("act") or [row.get(name) for name in ("tenant", "user", "thread", "run", "call_id", "tool")]
    return blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


class Checkpoint(NamedTuple):
    """Facts about the rows of one file, all genuine and consecutive. ``seq``, ``prev``, ``ts``: values of the first
    row. ``macs``: macs of the anchors and the last row, by number. ``closed``: ends of other chains that rows vouch
    for. ``age``: position in the ring of the key that made the checkpoint and all rows."""

    writer: str
    seq: int
    prev: str
    ts: int
    macs: Mapping[int, str]
    ended: bool
    closed: Sequence[tuple[str, int, str]]
    acts: OpenActs
    age: int

    @property
    def last(self) -> int:
        """The number of the last row."""
        return max(self.macs)

    def sign(self, key: Key, digest: bytes) -> bytes:
        """Return the checkpoint as bytes, for the digest of its file."""
        intents = [row for rows in self.acts.intents.values() for row in rows]
        content = [*self[:4], list(self.macs.items()), *self[5:7], intents, self.acts.outcomes]
        packed = zlib.compress(json.dumps(content).encode())
        return key.checkpoint(digest + packed) + packed


def check_rows(writer: str, lines: Iterable[bytes], ring: Sequence[Key]) -> Checkpoint | None:
    """Return the checkpoint for the rows of a file. None if a row is not genuine, does not follow the one before, or is
    about a restore."""
    first: Row | None = None
    age: int | None = None
    last, mac, ended = -1, "", False
    macs, closed, acts = dict[int, str](), list[tuple[str, int, str]](), OpenActs()
    for line in lines:
        row = parse_row(line) if line.endswith(b"\n") else None
        if row is None or row["writer"] != writer:
            return None
        age = age_of(row, line, ring) if first is None else age
        if age is None or not ring[age].has_made(row, line):
            return None
        if row["event"] in (RestoreAccepted.event, VaultRestored.event):
            return None  # rare, and every verification needs the row itself
        if first is None:
            first = row
        elif (row["seq"], row["prev"]) != (last + 1, mac):
            return None
        last, mac = row["seq"], row["mac"]
        is_anchor = row["event"] == ChainAnchor.event
        ended = is_anchor and row.get("ended") is True
        if is_anchor:
            macs[last] = mac
        elif row["event"] == ChainClosed.event:
            closed.append((str(row["closed"]), int(row["closed_seq"]), str(row["closed_mac"])))
        else:
            acts.take(row)
    if first is None or age is None:
        return None
    return Checkpoint(writer, first["seq"], first["prev"], first["ts"], macs | {last: mac}, ended, closed, acts, age)


def find_checkpoints(files: Mapping[str, Sequence[Part]], ring: Sequence[Key]) -> dict[Part, Checkpoint]:
    """Return the checkpoints that prove their files."""
    parts = [part for parts in files.values() for part in parts if isinstance(part, Path) and not part.exists()]
    return {part: found for part in parts if (found := _prove(part, ring))}


def _prove(path: Path, ring: Sequence[Key]) -> Checkpoint | None:
    if not (header := read_header(path)):
        return None
    (mac, packed), digest = (header[0][:MAC_SIZE], header[0][MAC_SIZE:]), header[1]
    for age, key in enumerate(ring):
        if hmac.compare_digest(mac, key.checkpoint(digest + packed)):
            writer, seq, prev, ts, macs, ended, closed, intents, outcomes = json.loads(zlib.decompress(packed))
            return Checkpoint(writer, seq, prev, ts, dict(macs), ended, closed, OpenActs(intents, outcomes), age)
    return None
