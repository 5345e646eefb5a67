"""The newest rows of some users, read from the ends of the newest files up to a number of bytes."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from deputize.core.audit.reader import time_of
from deputize.core.audit.rows import Key, Row, age_of, parse_row
from deputize.core.audit.trail import Trail
from deputize.core.errors import StoreUnavailable

MAX_BYTES: Final = 2**25
"""Bytes of a folder to read at once."""


class Newest(NamedTuple):
    """Rows, newest first. ``whole``: all files were read entirely, and no row was left out."""

    rows: list[Row]
    whole: bool


def read_newest(trail: Trail, users: Collection[str], ring: Sequence[Key], *, most_bytes: int = MAX_BYTES) -> Newest:
    """Return the rows with one of these user names. Raises StoreUnavailable.

    ``ring``: the keys, one of which must have made a row. Missing rows are not detected.
    """
    marks = [f'"user":"{name}"'.encode() for name in users]
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
    return Newest(sorted(rows.values(), key=time_of, reverse=True), whole)


def _ends(folder: Path, most_bytes: int) -> Iterator[tuple[list[bytes], bool]]:
    """Yield the last lines of each file, the last changed file first, and whether these are all."""
    left = most_bytes
    for path in sorted(folder.glob("*.jsonl"), key=_changed, reverse=True):
        data, all_of_it = _end_of(path, left)
        left -= len(data)
        yield data.splitlines(keepends=True), all_of_it


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # removed meanwhile
        return 0.0


def _end_of(path: Path, most: int) -> tuple[bytes, bool]:
    """Return the last bytes of a file, and whether these are all."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - most, 0))
            return file.read(max(most, 0)), size <= most
    except FileNotFoundError:
        return b"", True
    except OSError as error:
        raise StoreUnavailable(f"The audit cannot be read: {error.strerror}.", hint=f"Check {path}.") from None
