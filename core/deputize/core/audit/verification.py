"""Verification of a trail: every chain is walked, and each mismatch is a finding."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from deputize.core.audit.events import ChainAnchor
from deputize.core.audit.key_rotation import Mark, closing_marks, rotation_marks
from deputize.core.audit.reader import files_of, lines_of, time_of
from deputize.core.audit.rows import Head as Head
from deputize.core.audit.rows import Key, Row, age_of, parse_row
from deputize.core.audit.trail import Part, Trail, is_there
from deputize.core.errors import SettingsError


class Finding(NamedTuple):
    """A fault of a chain, and its position.

    ``kind``: ``partial`` (a last line that a crash left unfinished: tolerated), ``unreadable``, ``foreign`` (another
    writer's row), ``altered`` (its mac does not fit), ``missing`` (rows before this one), ``moved`` (not its place),
    ``broken`` (does not continue the row before), ``beginning`` (the first rows are gone and no anchor vouches for the
    rest), ``truncated`` (the end is gone), ``anchor`` (an anchor that is forged, or contradicts the rows),
    ``unknown_key`` (no given key made this chain), ``old_key`` (ends under an older key, and no ``key.rotated`` row
    closed it there: start an `Audit` with ``old_keys``).
    """

    kind: str
    writer: str
    seq: int
    detail: str


class Dropped(NamedTuple):
    """The rows that the vault recorded as dropped because they were old. ``until``: earlier rows may be missing, UTC
    ns.

    ``begins``: the last dropped row, and its mac, of chains that continue. ``gone``: chains that do not.
    """

    until: int = 0
    begins: Mapping[str, tuple[int, str]] = MappingProxyType({})
    gone: frozenset[str] = frozenset()


class Report(NamedTuple):
    """The result of `verify`. ``orphans``: ``act.intent`` rows without an outcome, including those of acts that are
    running now. ``open``: writers whose chain does not say that it has ended: they run, or were killed."""

    rows: int
    writers: int
    findings: tuple[Finding, ...]
    orphans: tuple[Row, ...]
    open: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True if nothing was changed, as far as keys and anchors can tell."""
        return all(finding.kind == "partial" for finding in self.findings)


def verify(
    trail: Trail,
    keys: Sequence[bytes],
    *,
    anchors: Iterable[str] = (),
    heads: Iterable[Head] = (),
    dropped: Dropped | None = None,
) -> Report:
    """Walk every chain of a trail. ``keys``: the audit key, then older ones, newest first. ``anchors``: lines that
    ``anchor`` was given, with any log prefix. ``heads``: of chains that must exist, from the vault. ``dropped``: rows
    that may be missing, from the vault. Raises SettingsError for a bad key, StoreUnavailable. A missing folder is a
    finding if there are heads."""
    if not keys:
        raise SettingsError("The audit cannot be verified without its key.")
    ring = [Key(key) for key in keys]
    kept = [Mark(head.writer, head.seq, head.mac, -1) for head in heads]
    files: Mapping[str, Sequence[Part]] = files_of(trail) if not kept or is_there(trail) else {}
    old = dropped or Dropped()
    outside, findings = _outside(anchors, ring, files, old.until)
    given = [*rotation_marks(files, ring), *closing_marks(files, ring), *outside, *kept]
    known = [mark for mark in given if mark.writer in files or mark.writer not in old.gone]
    marks: defaultdict[str, dict[int, Mark]] = defaultdict(dict)
    for mark in sorted(known, key=lambda mark: -mark.age):
        marks[mark.writer][mark.seq] = mark  # the mark under the newest key wins
    writers = sorted({*files, *(mark.writer for mark in known)})
    chains = [_Chain(writer, ring, marks[writer], old.begins.get(writer)) for writer in writers]
    for chain in chains:
        for path in files.get(chain.writer, ()):
            for _, line in lines_of(path):
                chain.take(line)
        findings += chain.end()
    newest = min((chain.age for chain in chains if chain.age is not None), default=0)
    findings += [finding for chain in chains for finding in chain.unclosed(newest)]
    open_ = tuple(chain.writer for chain in chains if chain.rows and not chain.ended)
    return Report(sum(chain.rows for chain in chains), len(files), tuple(findings), _orphans(chains), open_)


class _Chain:
    """One writer's rows, checked one by one."""

    def __init__(
        self, writer: str, ring: Sequence[Key], marks: Mapping[int, Mark], dropped: tuple[int, str] | None
    ) -> None:
        self.writer, self.ring, self.marks, self.dropped = writer, ring, marks, dropped
        self.rows, self.seq, self.mac = 0, -1, ""
        self.age: int | None = None
        self.ended = False
        self.findings: list[Finding] = []
        self.intents: defaultdict[str, list[Row]] = defaultdict(list)
        self.results: Counter[str] = Counter()

    def take(self, line: bytes) -> None:
        """Check the next line."""
        row = parse_row(line)
        if not line.endswith(b"\n"):
            self._find("partial", self.seq + 1, "an unfinished last line")
        elif row is None:
            self._find("unreadable", self.seq + 1, "a line that is not a row")
        elif row["writer"] != self.writer:
            self._find("foreign", row["seq"], "a row of another writer")
        else:
            self.rows += 1
            genuine = self._genuine(row, line)
            if self._in_place(row) or (genuine and row["seq"] > self.seq):
                self.seq, self.mac = row["seq"], row["mac"]
            self.ended = genuine and row.get("ended") is True and row["event"] == ChainAnchor.event
            if genuine:
                self._pair(row)

    def end(self) -> list[Finding]:
        """Return all findings, after the last line."""
        if self.rows and self.age is None:
            return [Finding("unknown_key", self.writer, 0, "none of the keys made this chain")]
        last = max(filter(self._mark, self.marks), default=-1)
        if last > self.seq:
            self._find("truncated", self.seq + 1, f"the rows up to {last} are gone")
        return self.findings

    def unclosed(self, newest: int) -> list[Finding]:
        """Return a finding if the chain is under an older key than others, and its end not closed under a newer one."""
        if self.age is None or self.age <= newest or self._vouched(self.seq):
            return []
        return [Finding("old_key", self.writer, self.seq, "an older key, and no key.rotated row closed it here")]

    def _mark(self, seq: int) -> Mark | None:
        """Return the mark of a row from outside, or from another chain under the same key or a newer one."""
        mark = self.marks.get(seq)
        return mark if mark and mark.age <= (0 if self.age is None else self.age) else None

    def _vouched(self, seq: int) -> Mark | None:
        """Return the mark of a row by a newer key than this chain's. Other marks may accuse a chain, not excuse it."""
        mark = self._mark(seq)
        return mark if mark and mark.age < (0 if self.age is None else self.age) else None

    def _find(self, kind: str, seq: int, detail: str) -> None:
        self.findings.append(Finding(kind, self.writer, seq, detail))

    def _genuine(self, row: Row, line: bytes) -> bool:
        """Return whether the chain's key made the row unchanged. The first genuine row decides which key that is."""
        if self.age is None:
            self.age = age_of(row, line, self.ring)
        genuine = self.age is not None and self.ring[self.age].made(row, line)
        if not genuine:
            self._find("altered", row["seq"], "its mac does not fit")
        return genuine

    def _in_place(self, row: Row) -> bool:
        """Return whether the row continues the chain, and add a finding if not."""
        seq, prev = row["seq"], row["prev"]
        mark, before = self._mark(seq), self._vouched(seq - 1)
        if mark and mark.mac != row["mac"]:
            self._find("anchor", seq, "an anchor names another row")
        if self.seq < 0 and seq > 0:
            vouched = (before is not None and before.mac == prev) or self._follows_dropped(seq, prev)
            return vouched or self._wrong("beginning", seq, f"the rows before {seq} are gone and no anchor ends there")
        if seq > self.seq + 1:
            return self._wrong("missing", self.seq + 1, f"rows {self.seq + 1} to {seq - 1}")
        if seq <= self.seq:
            return self._wrong("moved", seq, f"comes after row {self.seq}")
        due = self.mac or (prev if self.age is None else self.ring[self.age].first(self.writer))
        return prev == due or self._wrong("broken", seq, "does not continue the row before it")

    def _follows_dropped(self, seq: int, prev: str) -> bool:
        """Return whether all rows before this one were dropped, or would have been without an interruption."""
        last, mac = self.dropped or (-1, "")
        return seq <= last or (seq - 1 == last and prev == mac)

    def _wrong(self, kind: str, seq: int, detail: str) -> bool:
        self._find(kind, seq, detail)
        return False

    def _pair(self, row: Row) -> None:
        """Close the latest open intent of a result's act, unless the outcome is unknown."""
        if row["event"] == "act.intent":
            self.intents[_act(row)].append(row)
        elif row["event"] == "act.result" and row.get("decision") != "outcome_unknown":
            if _act(row) in self.intents:
                self.intents[_act(row)].pop()
                if not self.intents[_act(row)]:
                    del self.intents[_act(row)]
            elif row.get("decision") == "done":
                self.results[_act(row)] += 1  # written by another process, from the recorded outcome


def _act(row: Row) -> str:
    """Return the key that rows of the same act share."""
    return repr(row.get("act") or [row.get(name) for name in ("tenant", "user", "thread", "run", "call_id", "tool")])


def _orphans(chains: Iterable[_Chain]) -> tuple[Row, ...]:
    results = sum((chain.results for chain in chains), Counter[str]())
    open_ = [row for chain in chains for act, rows in chain.intents.items() for row in rows[results[act] :]]
    return tuple(sorted(open_, key=time_of))


def _outside(
    anchors: Iterable[str], ring: Sequence[Key], files: Collection[str], until: int
) -> tuple[list[Mark], list[Finding]]:
    """Return the marks of anchors, except those of dropped chains that are missing, and findings for forged anchors."""
    marks, findings = [], []
    for text in filter(str.strip, anchors):
        line = text[text.find("{") :].strip().encode("ascii", "replace") + b"\n"
        row = parse_row(line)
        if row and age_of(row, line, ring) is not None:
            if row["ts"] >= until or row["writer"] in files:
                marks.append(Mark(row["writer"], row["seq"], row["mac"], -1))
        else:
            findings.append(Finding("anchor", row["writer"] if row else "", row["seq"] if row else 0, "not ours"))
    return marks, findings
