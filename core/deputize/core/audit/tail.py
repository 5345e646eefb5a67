"""The newest rows of some users, read backwards from the ends of the newest files, up to a number of bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from deputize.core.audit.compressed_file import DamagedFile, stored_status
from deputize.core.audit.reader import files_of, read_end, time_of
from deputize.core.audit.rows import Key, Row, age_of, parse_row
from deputize.core.audit.trail import Trail

MAX_READ_BYTES: Final = 2**25
"""Bytes of a folder to read at once."""


MAX_SEARCHED_USERS: Final = 8
"""Users whose names are searched for in a line before it is parsed. With more of them, parsing is faster."""


class Newest(NamedTuple):
    """Rows, newest first. ``whole``: True if all files were read entirely and no row was left out."""

    rows: list[Row]
    whole: bool


def read_newest(
    trail: Trail, users: Collection[str], ring: Sequence[Key], *, most_bytes: int = MAX_READ_BYTES
) -> Newest:
    """Return the rows with one of these user names. Raises `StoreUnavailable`.

    ``ring``: the keys with which a row may have been made. Missing rows are not detected.
    """
    marks = [f'"user":"{name}"'.encode() for name in users] if len(users) <= MAX_SEARCHED_USERS else [b'"user":"']
    rows: dict[tuple[str, int], Row] = {}  # a table may contain copies of a row
    whole = True
    for lines, all_of_it in _ends(trail, most_bytes) if isinstance(trail, Path) else [trail.newest(users, most_bytes)]:
        whole = whole and all_of_it
        for line in lines:
            if not any(mark in line for mark in marks) or not line.endswith(b"\n"):  # no newline: it is being written
                continue
            row = parse_row(line)
            if row is None or age_of(row, line, ring) is None:
                whole = False
            elif row.get("user") in users:
                rows[row["writer"], row["seq"]] = row
    return Newest(sorted(rows.values(), key=_time_and_number, reverse=True), whole)


def _time_and_number(row: Row) -> tuple[int, int]:
    return time_of(row), row["seq"]  # two rows of one writer may have the same time


def _ends(folder: Path, most_bytes: int) -> Iterator[tuple[list[bytes], bool]]:
    """Yield the last lines of each file, the last changed file first, and whether they are all of its lines."""
    left = most_bytes
    paths = [path for paths in files_of(folder).values() for path in paths] if folder.is_dir() else []
    for path in reversed(sorted(paths, key=_modification_time)):  # of two at the same time, the later number first
        try:
            data, all_of_it = read_end(path, left)
        except DamagedFile:
            data, all_of_it = b"", False
        left -= len(data)
        yield data.splitlines(keepends=True), all_of_it


def _modification_time(path: Path) -> float:
    return status.st_mtime if (status := stored_status(path)) else 0.0
