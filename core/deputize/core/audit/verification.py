"""Verification of a trail: every chain is checked row by row, and each mismatch is a finding."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from deputize.core.audit.checkpoint import Checkpoint, OpenActs, find_checkpoints
from deputize.core.audit.compressed_file import DamagedFile
from deputize.core.audit.events import ChainAnchor, RestoreAccepted, VaultRestored
from deputize.core.audit.key_rotation import Mark, closing_marks, rotation_marks
from deputize.core.audit.ocsf import anchor_in
from deputize.core.audit.reader import files_of, lines_of, time_of
from deputize.core.audit.rows import Head as Head
from deputize.core.audit.rows import Key, Row, age_of, parse_row
from deputize.core.audit.trail import Part, Trail, is_there
from deputize.core.audit.verify_permissions import Misuse, find_misuses
from deputize.core.errors import SettingsError


class Gap(NamedTuple):
    """Rows that are missing in a chain: from ``first``, after the row with the mac ``before`` ("" if there is none), to
    ``last``, whose mac is known from an anchor or from the next row."""

    writer: str
    first: int
    last: int
    before: str
    mac: str

    def __str__(self) -> str:
        return ":".join(map(str, self))


class Finding(NamedTuple):
    """A fault of a chain, and its position. ``gap``: the missing rows, if a restore can have removed them.

    ``kind``: ``partial`` (a last line that a crash left unfinished: tolerated), ``unreadable``, ``damaged`` (a
    compressed file that cannot be read to its end), ``foreign`` (another writer's row), ``altered`` (its mac does not
    fit), ``missing`` (rows before this one), ``moved`` (in the wrong place), ``broken`` (does not continue the row
    before), ``beginning`` (the first rows are missing and no anchor vouches for the rest), ``truncated`` (the end is
    missing), ``anchor`` (an anchor that is forged, or contradicts the rows), ``unknown_key`` (no given key made this
    chain), ``old_key`` (ends under an older key, and no ``key.rotated`` row closed it there: start an `Audit` with
    ``old_keys``), ``restored`` (a backup was put in the vault's place, and no operator has accepted that).
    """

    kind: str
    writer: str
    seq: int
    detail: str
    gap: Gap | None = None


class Dropped(NamedTuple):
    """The rows that the vault recorded as dropped because of their age. ``until``: earlier rows may be missing, UTC ns.

    ``begins``: the last dropped row and its mac, by chain that continues. ``gone``: chains that were dropped entirely.
    """

    until: int = 0
    begins: Mapping[str, tuple[int, str]] = MappingProxyType({})
    gone: frozenset[str] = frozenset()


class Report(NamedTuple):
    """The result of `verify`. ``orphans``: ``act.intent`` rows without an outcome, including those of running acts.
    ``open``: writers whose chain has no end row: they are running, or were killed. ``by_checkpoint``: the rows that a
    checkpoint of their file proved. ``since``: time of the oldest row, UTC ns. ``accepted``: ``restore.accepted`` rows,
    by which an operator accepted the loss of rows. Those rows are not findings. ``misuses``: acts without a permission
    that counted. ``replayed``: those that an operator accepted after a restore. ``unproven``: those that the rows do
    not prove, because a clock was set back.
    """

    rows: int
    writers: int
    findings: tuple[Finding, ...]
    orphans: tuple[Row, ...]
    open: tuple[str, ...] = ()
    by_checkpoint: int = 0
    since: int = 0
    accepted: tuple[Row, ...] = ()
    misuses: tuple[Misuse, ...] = ()
    replayed: tuple[Misuse, ...] = ()
    unproven: tuple[Misuse, ...] = ()

    def judged_acts(self) -> Iterator[tuple[Misuse, str]]:
        """Yield each misuse with its kind, or with the reason why it is not a finding."""
        yield from ((one, one.kind.replace("_", " ")) for one in self.misuses)
        yield from ((one, "replayed, accepted") for one in self.replayed)
        yield from ((one, "not proved, a clock was set back") for one in self.unproven)

    @property
    def whole(self) -> bool:
        """True if no change of the rows was detected with these keys and anchors."""
        return all(finding.kind == "partial" for finding in self.findings)

    @property
    def ok(self) -> bool:
        """True if the rows are whole and each act in them had a permission."""
        return self.whole and not self.misuses


def verify(
    trail: Trail,
    keys: Sequence[bytes],
    *,
    anchors: Iterable[str] = (),
    heads: Iterable[Head] = (),
    dropped: Dropped | None = None,
    full: bool = False,
    resolve: Callable[[Row], Row] | None = None,
) -> Report:
    """Verify every chain of a trail, and the permission of every act in it.

    ``keys``: the audit key, then older keys, newest first. ``anchors``: lines that ``anchor`` received, or that a
    collector received as rows or OCSF events, with any log prefix. ``heads``: the vault's list of chains that must
    exist. ``dropped``: the vault's list of rows that may be missing. ``full``: also check the rows of files that a
    checkpoint proves. ``resolve``: replaces the pseudonyms in a row by ids; only ids are compared. Raises
    `SettingsError` for a bad key, and `StoreUnavailable`. A missing folder is a finding if there are heads.
    """
    if not keys:
        raise SettingsError("The audit cannot be verified without its key.")
    ring = [Key(key) for key in keys]
    kept = [Mark(head.writer, head.seq, head.mac, -1) for head in heads]
    files: Mapping[str, Sequence[Part]] = files_of(trail) if not kept or is_there(trail) else {}
    old = dropped or Dropped()
    outside, findings = _read_anchors(anchors, ring, files, old.until)
    checkpoints = {} if full else find_checkpoints(files, ring)
    given = [*rotation_marks(files, ring), *closing_marks(files, ring, checkpoints), *outside, *kept]
    known = [mark for mark in given if mark.writer in files or mark.writer not in old.gone]
    marks: defaultdict[str, dict[int, Mark]] = defaultdict(dict)
    for mark in sorted(known, key=lambda mark: -mark.age):
        marks[mark.writer][mark.seq] = mark  # the mark under the newest key wins
    writers = sorted({*files, *(mark.writer for mark in known)})
    chains = [_Chain(writer, ring, marks[writer], old.begins.get(writer)) for writer in writers]
    for chain in chains:
        for part in files.get(chain.writer, ()):
            if not ((point := checkpoints.get(part)) and chain.go_on_from(point)):
                chain.take_all(part)
        findings += chain.end()
    newest = min((chain.age for chain in chains if chain.age is not None), default=0)
    findings += [finding for chain in chains for finding in chain.find_unclosed(newest)]
    accepted = sorted((row for chain in chains for row in chain.accepted), key=time_of)
    gone = {gap for row in accepted for gap in row.get("gaps", ())}
    last = accepted[-1]["ts"] if accepted else -1
    findings = [finding for finding in findings if finding.gap is None or str(finding.gap) not in gone]
    findings += [finding for chain in chains for finding in chain.find_unaccepted(last)]
    open_ = tuple(chain.writer for chain in chains if chain.rows and not chain.ended)
    misuses = find_misuses(trail, ring, resolve) if files else []
    replays = {ref for row in accepted for ref in row.get("replayed", ())}
    agreed = [one for one in misuses if one.replayed and one.ref in replays]
    return Report(
        sum(chain.rows for chain in chains),
        len(files),
        tuple(findings),
        _orphans(chains),
        open_,
        sum(chain.by_checkpoint for chain in chains),
        min((chain.since for chain in chains if chain.since), default=0),
        tuple(accepted),
        tuple(one for one in misuses if one.proven and one not in agreed),
        tuple(agreed),
        tuple(one for one in misuses if not one.proven and one not in agreed),
    )


class _Chain:
    """One writer's rows, checked one by one."""

    def __init__(
        self, writer: str, ring: Sequence[Key], marks: Mapping[int, Mark], dropped: tuple[int, str] | None
    ) -> None:
        self.writer, self.ring, self.marks, self.dropped = writer, ring, marks, dropped
        self.rows, self.by_checkpoint, self.since = 0, 0, 0
        self.seq, self.mac = -1, ""
        self.age: int | None = None
        self.ended = False
        self.findings: list[Finding] = []
        self.acts = OpenActs()
        self.accepted: list[Row] = []
        self.restored: list[Row] = []

    def go_on_from(self, point: Checkpoint) -> bool:
        """Accept all rows of a file by its checkpoint. Return False, without accepting any row, if the rows must be
        checked one by one: they do not continue the chain, or a mark names a row that is not in the checkpoint."""
        if point.writer != self.writer or self.age not in (None, point.age):
            return False
        self.age = point.age
        marks = (self._mark(seq) for seq in self.marks if point.seq <= seq <= point.last)
        if not self._fits(point.seq, point.prev) or any(m and point.macs.get(m.seq) != m.mac for m in marks):
            return False
        rows = point.last - point.seq + 1
        self.rows, self.by_checkpoint, self.since = self.rows + rows, self.by_checkpoint + rows, self.since or point.ts
        self.seq, self.mac, self.ended = point.last, point.macs[point.last], point.ended
        self.acts.add(point.acts)
        return True

    def take_all(self, part: Part) -> None:
        """Check each line of a file, or of a chain in a table."""
        try:
            for _, line in lines_of(part):
                self.take(line)
        except DamagedFile as error:
            self._find("damaged", self.seq + 1, error.message)

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
            if self._check_place(row) or (genuine and row["seq"] > self.seq):
                self.seq, self.mac = row["seq"], row["mac"]
            self.ended = genuine and row.get("ended") is True and row["event"] == ChainAnchor.event
            if genuine:
                self.since = self.since or row["ts"]
                self.acts.take(row)
                self.accepted += [row] if row["event"] == RestoreAccepted.event else []
                self.restored += [row] if row["event"] == VaultRestored.event and row.get("found") else []

    def end(self) -> list[Finding]:
        """Return all findings, after the last line."""
        if self.rows and self.age is None:
            return [Finding("unknown_key", self.writer, 0, "none of the keys made this chain")]
        last = max(filter(self._mark, self.marks), default=-1)
        if last > self.seq:
            gone = Gap(self.writer, self.seq + 1, last, self.mac, self.marks[last].mac)
            self._find("truncated", self.seq + 1, f"the rows up to {last} are gone", gone)
        return self.findings

    def find_unaccepted(self, accepted: int) -> list[Finding]:
        """Return a finding for each backup that was put in the vault's place after the last acceptance (UTC ns)."""
        detail = "a backup was put in the vault's place, and no operator has accepted that"
        return [Finding("restored", self.writer, row["seq"], detail) for row in self.restored if row["ts"] > accepted]

    def find_unclosed(self, newest: int) -> list[Finding]:
        """Return a finding if the chain has an older key than other chains, and no newer key closed its end."""
        if self.age is None or self.age <= newest or self._find_vouching_mark(self.seq):
            return []
        return [Finding("old_key", self.writer, self.seq, "an older key, and no key.rotated row closed it here")]

    def _mark(self, seq: int) -> Mark | None:
        """Return the mark of a row from an anchor, or from another chain under the same key or a newer one, or None."""
        mark = self.marks.get(seq)
        return mark if mark and mark.age <= (0 if self.age is None else self.age) else None

    def _find_vouching_mark(self, seq: int) -> Mark | None:
        """Return the mark of a row by a newer key than this chain's, or None. Other marks can only accuse a chain."""
        mark = self._mark(seq)
        return mark if mark and mark.age < (0 if self.age is None else self.age) else None

    def _find(self, kind: str, seq: int, detail: str, gap: Gap | None = None) -> None:
        self.findings.append(Finding(kind, self.writer, seq, detail, gap))

    def _genuine(self, row: Row, line: bytes) -> bool:
        """Return whether the row is unchanged since the chain's key made it. The first genuine row decides the key."""
        if self.age is None:
            self.age = age_of(row, line, self.ring)
        genuine = self.age is not None and self.ring[self.age].has_made(row, line)
        if not genuine:
            self._find("altered", row["seq"], "its mac does not fit")
        return genuine

    def _check_place(self, row: Row) -> bool:
        """Return whether the row continues the chain. Adds a finding if not, or if an anchor names another row here."""
        seq = row["seq"]
        mark = self._mark(seq)
        if mark and mark.mac != row["mac"]:
            self._find("anchor", seq, "an anchor names another row")
        if self._fits(seq, row["prev"]):
            return True
        if self.seq < 0 and seq > 0:
            gone = Gap(self.writer, 0, seq - 1, "", row["prev"])
            return self._wrong("beginning", seq, f"the rows before {seq} are gone and no anchor ends there", gone)
        if seq > self.seq + 1:
            gone = Gap(self.writer, self.seq + 1, seq - 1, self.mac, row["prev"])
            return self._wrong("missing", self.seq + 1, f"rows {self.seq + 1} to {seq - 1}", gone)
        if seq <= self.seq:
            return self._wrong("moved", seq, f"comes after row {self.seq}")
        return self._wrong("broken", seq, "does not continue the row before it")

    def _fits(self, seq: int, prev: str) -> bool:
        """Return whether a row of this number and ``prev`` continues the chain, or may be its first."""
        if self.seq < 0 < seq:
            before = self._find_vouching_mark(seq - 1)
            return (before is not None and before.mac == prev) or self._follows_dropped(seq, prev)
        due = self.mac or (prev if self.age is None else self.ring[self.age].first(self.writer))
        return seq == self.seq + 1 and prev == due

    def _follows_dropped(self, seq: int, prev: str) -> bool:
        """Return whether all rows before this one were dropped, or only an interruption prevented that."""
        last, mac = self.dropped or (-1, "")
        return seq <= last or (seq - 1 == last and prev == mac)

    def _wrong(self, kind: str, seq: int, detail: str, gap: Gap | None = None) -> bool:
        self._find(kind, seq, detail, gap)
        return False


def _orphans(chains: Iterable[_Chain]) -> tuple[Row, ...]:
    """Return the intents without an outcome in their chain or in that of another process."""
    done = Counter(act for chain in chains for act, done in chain.acts.outcomes if done)
    open_ = [row for chain in chains for act, rows in chain.acts.intents.items() for row in rows[done[act] :]]
    return tuple(sorted(open_, key=time_of))


def _read_anchors(
    anchors: Iterable[str], ring: Sequence[Key], files: Collection[str], until: int
) -> tuple[list[Mark], list[Finding]]:
    """Return the marks of anchors, except those of dropped chains that are missing, and findings for forged anchors."""
    marks, findings = [], []
    for text in filter(str.strip, anchors):
        found = text[text.find("{") :].strip()
        if '"class_uid"' in found and (raw := anchor_in(found)) is not None:  # an OCSF event: that of an anchor has it
            if not raw:
                continue
            found = raw
        line = found.encode("ascii", "replace") + b"\n"
        row = parse_row(line)
        if row and age_of(row, line, ring) is not None:
            if row["ts"] >= until or row["writer"] in files:
                marks.append(Mark(row["writer"], row["seq"], row["mac"], -1))
        else:
            findings.append(Finding("anchor", row["writer"] if row else "", row["seq"] if row else 0, "not ours"))
    return marks, findings
