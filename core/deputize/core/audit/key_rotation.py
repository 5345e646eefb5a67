"""Marks by which chains vouch for others: under an older key (``key.rotated``), or ended (``chain.closed``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from deputize.core.audit.compressed_file import BLOCK, DamagedFile
from deputize.core.audit.events import ChainClosed, KeyRotated
from deputize.core.audit.reader import files_of, lines_of, read_end
from deputize.core.audit.rows import Key, Row, age_of, parse_row
from deputize.core.audit.trail import Part, Trail
from deputize.core.value_object import Printed, frozen

if TYPE_CHECKING:
    from deputize.core.audit.checkpoint import Checkpoint

_CLOSED = ChainClosed.event.encode()
_NONE: Final[Mapping[Part, Checkpoint]] = MappingProxyType({})


@frozen
class Mark(Printed):
    """A statement about the mac that a row had. ``age``: position of the key that vouches; -1 for an anchor."""

    writer: str
    seq: int
    mac: str
    age: int


def closing_rows(trail: Trail, keys: Sequence[Key]) -> Iterator[KeyRotated]:
    """Yield a row to close each chain that ends under an older key and has no such row yet."""
    files: Mapping[str, Sequence[Part]] = files_of(trail)
    closed = {(mark.writer, mark.seq, mark.mac) for mark in rotation_marks(files, keys)}
    for writer, paths in files.items():
        row, line = last_row(paths)
        age = age_of(row, line, keys) if row else None
        if row and age and (writer, row["seq"], row["mac"]) not in closed:
            yield KeyRotated(keys[0].id, keys[age].id, writer, row["seq"], row["mac"])


def rotation_marks(files: Mapping[str, Sequence[Part]], ring: Sequence[Key]) -> list[Mark]:
    """Return the marks of ``key.rotated`` rows, which are at the beginning of chains."""
    marks = []
    for paths in files.values():
        for line in _readable_lines(paths[0]):
            row = parse_row(line)
            if row is None or row["event"] != KeyRotated.event:
                break
            seq, age = row.get("closed_seq"), age_of(row, line, ring)
            if isinstance(seq, int) and age is not None:
                marks.append(Mark(str(row.get("closed")), seq, str(row.get("closed_mac")), age))
    return marks


def closing_marks(
    files: Mapping[str, Sequence[Part]], ring: Sequence[Key], checkpoints: Mapping[Part, Checkpoint] = _NONE
) -> list[Mark]:
    """Return the marks of ``chain.closed`` rows at any place in a chain. Files with a checkpoint are not read."""
    marks = []
    for part in (part for parts in files.values() for part in parts):
        if point := checkpoints.get(part):
            marks += [Mark(*closed, point.age) for closed in point.closed]
            continue
        for line in _readable_lines(part):
            row = parse_row(line) if _CLOSED in line else None
            if row and row["event"] == ChainClosed.event and (age := age_of(row, line, ring)) is not None:
                marks.append(Mark(str(row["closed"]), int(row["closed_seq"]), str(row["closed_mac"]), age))
    return marks


def _readable_lines(part: Part) -> Iterator[bytes]:
    """Yield the lines before any damage, which `verify` reports as a finding."""
    with suppress(DamagedFile):
        for _, line in lines_of(part):
            yield line


def last_row(parts: Iterable[Part]) -> tuple[Row | None, bytes]:
    """Return the last complete row of a chain, and its line."""
    for part in reversed(list(parts)):
        end = read_end(part, 16 * BLOCK)[0] if isinstance(part, Path) else part.last()
        for line in reversed(end.splitlines(keepends=True)):
            if line.endswith(b"\n") and (row := parse_row(line)):
                return row, line
    return None, b""
