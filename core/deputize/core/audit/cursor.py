"""Reading of the rows that a reader has not read yet: a position in each chain, and the cursor that stores all of them.

Only genuine rows are returned: those made with a key of the audit. A line that somebody else wrote is counted, and
`deputize.core.audit.verification` names it.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from deputize.core.audit.compressed_file import DamagedFile, stored_status
from deputize.core.audit.reader import files_of, lines_of
from deputize.core.audit.rows import MAX_INTEGER, Key, Row, age_of, parse_row
from deputize.core.audit.trail import Part, Trail
from deputize.core.errors import InvalidInput

MAX_CURSOR_BYTES: Final = 4 << 20
"""Bytes of a cursor's content: about 100,000 chains."""
MAX_LINE_BYTES: Final = 4 << 20
"""Bytes of a line. Genuine ones are shorter, as `deputize.core.audit.rows` cuts their values."""

MAX_FORGED_ROWS: Final = 1000
"""Forged rows of a chain in a table after which the rest is not read: its writer has begun a new chain by then."""


class GenuineRow(NamedTuple):
    """A row with its line, without the line end. ``uid``: unique in all audits; equal if the same row is read again."""

    row: Row
    line: bytes

    @property
    def writer(self) -> str:
        writer: str = self.row["writer"]
        return writer

    @property
    def seq(self) -> int:
        seq: int = self.row["seq"]
        return seq

    @property
    def uid(self) -> str:
        return f"{self.writer}.{self.seq}"


class NewRows:
    """The genuine rows of a trail from some positions on. ``positions``: by writer, the number of the next row.

    ``strange``: the number of lines so far that no key of the ring made. ``damaged``: files that cannot be read.
    ``complete``: True if the last `read` went through all chains.
    """

    def __init__(self, trail: Trail, ring: Sequence[Key], positions: Mapping[str, int] | None = None) -> None:
        self.trail, self.ring = trail, ring
        self.positions = dict(positions or {})
        self.strange, self.damaged, self.complete = 0, set[str](), True
        self._next = ""
        self._start = dict(self.positions)
        self._places = dict[str, tuple[int, int]]()
        self._ends = dict[str, object]()
        self._forged = dict[str, int]()

    def read(self, most_rows: int, most_bytes: int) -> list[GenuineRow]:
        """Return the next rows, chain by chain, fewer than ``most_bytes`` plus one row. An empty list: there is nothing
        more yet. Blocks. Raises `StoreUnavailable`."""
        found, size, self.complete = list[GenuineRow](), 0, False
        chains = sorted(self._changed_chains(), key=lambda chain: (chain[0] < self._next, chain[0]))
        for writer, parts, end in chains:
            for made in self._rows(writer, parts):
                found.append(made)
                size += len(made.line)
                if len(found) >= most_rows or size >= most_bytes:
                    self._next = f"{writer}~"  # the next read begins with another chain, so that none has to wait
                    return found
            self._ends[writer] = end
        self.complete = True
        return found

    def _changed_chains(self) -> Iterator[tuple[str, Sequence[Part], object]]:
        """Yield each chain that has changed since it was read to its end, and what identifies its state."""
        if isinstance(self.trail, Path):
            for writer, paths in files_of(self.trail).items() if self.trail.is_dir() else ():
                status = stored_status(paths[-1])
                end: object = len(paths), paths[-1].name, status and status.st_size
                if self._ends.get(writer) != end:
                    yield writer, paths, end
            return
        chains = self.trail.chains()
        for writer, last in self.trail.ends().items():
            changed = writer in self._forged or self._ends.get(writer) != last
            if changed and last >= self.positions.get(writer, 0) and writer in chains:
                yield writer, [chains[writer]], last

    def _rows(self, writer: str, parts: Sequence[Part]) -> Iterator[GenuineRow]:
        if isinstance(parts[0], Path):
            lines = self._lines_of_files(writer, [part for part in parts if isinstance(part, Path)])
        else:
            lines = self._lines_of_chain(writer, parts[0])
        for line in lines:
            if (row := self._genuine(writer, line)) is not None and row["seq"] >= self._start.get(writer, 0):
                self.positions[writer] = max(self.positions.get(writer, 0), row["seq"] + 1)
                yield GenuineRow(row, line.rstrip(b"\n"))

    def _lines_of_chain(self, writer: str, chain: Part) -> Iterator[bytes]:
        """Yield the lines of a chain in a table. One that was not made with the ring's keys may be before genuine ones
        that come later, so it is read again each time, and counted once."""
        strange = 0
        for at, line in lines_of(chain, self.positions.get(writer, 0)):
            if self._parse(writer, line) is not None:
                yield line
                continue
            strange += 1
            if at > self._forged.get(writer, -1):
                self._forged[writer] = at
                self.strange += 1
            if strange >= MAX_FORGED_ROWS:
                return

    def _lines_of_files(self, writer: str, paths: Sequence[Path]) -> Iterator[bytes]:
        numbers = [_number(path) for path in paths]
        number, at = self._places.get(writer) or (self._first_file(writer, paths), 0)
        for path in paths[next((i for i, one in enumerate(numbers) if one >= number), len(paths)) :]:
            at = at if _number(path) == number else 0
            try:
                for end, line in lines_of(path, at):
                    if not line.endswith(b"\n"):  # it is being written
                        break
                    self._places[writer] = _number(path), end
                    yield line
            except DamagedFile:
                self.damaged.add(path.name)
                self._places[writer] = _number(path) + 1, 0

    def _first_file(self, writer: str, paths: Sequence[Path]) -> int:
        """Return the number of the last file that begins before the position."""
        wanted = self.positions.get(writer, 0)
        for path in reversed(paths if wanted else ()):
            try:
                first = next((line for _, line in lines_of(path)), b"")
            except DamagedFile:
                continue
            row = self._genuine(writer, first) if first.endswith(b"\n") else None
            if row is not None and row["seq"] <= wanted:
                return _number(path)
        return _number(paths[0])

    def _genuine(self, writer: str, line: bytes) -> Row | None:
        row = self._parse(writer, line)
        self.strange += row is None
        return row

    def _parse(self, writer: str, line: bytes) -> Row | None:
        row = parse_row(line) if len(line) <= MAX_LINE_BYTES else None
        return row if row and row["writer"] == writer and age_of(row, line, self.ring) is not None else None


def _number(path: Path) -> int:
    return int(path.stem.rpartition(".")[2])


def pack_cursor(positions: Mapping[str, int], tenant: str = "") -> str:
    """Return the positions as one word. ``tenant``: the tenant whose rows were read."""
    data = json.dumps([tenant, positions], separators=(",", ":"), sort_keys=True).encode()
    return base64.urlsafe_b64encode(zlib.compress(data, 9)).decode().rstrip("=")


def unpack_cursor(cursor: str, tenant: str = "") -> dict[str, int]:
    """Return the positions in a cursor; none for an empty one.

    Raises `InvalidInput` for another text, and for the cursor of another tenant: it would skip rows.
    """
    if not cursor:
        return {}
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), MAX_CURSOR_BYTES)
        of, positions = json.loads(data) if unpacker.eof else (None, None)
    except (ValueError, TypeError, zlib.error, binascii.Error, RecursionError):
        of, positions = None, None
    if not isinstance(of, str) or not isinstance(positions, dict) or not all(map(_is_position, positions.values())):
        raise InvalidInput(
            "The cursor is not one that `deputize audit export` printed.",
            hint="Pass the whole cursor, or leave it out to export from the beginning.",
            fix_by="operator",
        )
    if of != tenant:
        raise InvalidInput(
            f"The cursor is of the tenant {of!r}, and the export is of {tenant!r}.",
            hint="Keep one cursor for each tenant.",
            fix_by="operator",
        )
    return positions


def _is_position(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_INTEGER
