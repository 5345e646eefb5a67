"""Reader of a trail: its files or chains, their lines, and all rows by time."""

from __future__ import annotations

import heapq
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

from deputize.core.audit.compressed_file import block, compressed_path, unpack
from deputize.core.audit.rows import Key, Row, age_of, parse_row
from deputize.core.audit.trail import AuditTable, Part, TableChain, Trail
from deputize.core.errors import StoreUnavailable


def read(trail: Trail, *, follow: bool = False, poll: float = 0.5, ring: Sequence[Key] = ()) -> Iterator[Row]:
    """Yield the rows of a folder or a table, by time, over all writers. Missing rows are not detected.

    An unfinished line is left out, and an unreadable line becomes a row ``unreadable``. With a ``ring``, each row made
    with none of its keys has ``"unproven": True``. With ``follow`` it never ends, and reads new rows every ``poll``
    seconds. Raises `StoreUnavailable`.
    """
    at: dict[Part, int] = {}
    while True:
        chains = [_rows(writer, parts, at, ring) for writer, parts in files_of(trail).items()]
        yield from heapq.merge(*chains, key=time_of)
        if not follow:
            return
        time.sleep(poll)


def time_of(row: Row) -> int:
    """Return the time of a row, in nanoseconds."""
    ts: int = row["ts"]
    return ts


def _rows(writer: str, parts: Iterable[Part], at: dict[Part, int], ring: Sequence[Key]) -> Iterator[Row]:
    ts = 0
    for part in parts:
        for end, line in lines_of(part, at.get(part, 0)):
            if line.endswith(b"\n"):
                at[part] = end
                row = parse_row(line) or {"ts": ts, "writer": writer, "event": "unreadable"}
                if ring and (row["event"] == "unreadable" or age_of(row, line, ring) is None):
                    row["unproven"] = True
                ts = row["ts"]
                yield row


@overload
def files_of(trail: Path) -> dict[str, list[Path]]: ...
@overload
def files_of(trail: AuditTable) -> dict[str, list[TableChain]]: ...
@overload
def files_of(trail: Trail) -> dict[str, list[Path]] | dict[str, list[TableChain]]: ...


def files_of(trail: Trail) -> dict[str, list[Path]] | dict[str, list[TableChain]]:
    """Return the files of each writer in order, or its chain in a table. Raises `StoreUnavailable` without a folder.

    Compression does not change the path of a file here.
    """
    if not isinstance(trail, Path):
        return {writer: [chain] for writer, chain in trail.chains().items()}
    if not trail.is_dir():
        raise StoreUnavailable("There is no audit folder.", hint=f"Looked for {trail}.")
    found: defaultdict[str, list[tuple[int, Path]]] = defaultdict(list)
    # in this order: a file that is compressed meanwhile is in one of the two lists
    for path in (*trail.glob("*.jsonl"), *(path.with_suffix("") for path in trail.glob("*.jsonl.gz"))):
        writer, _, number = path.stem.rpartition(".")
        if writer and number.isdecimal():
            found[writer].append((int(number), path))
    return {writer: [path for _, path in sorted({*numbered})] for writer, numbered in sorted(found.items())}


def lines_of(part: Part, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file from byte ``at``, each with the offset after it, or of a chain from number ``at``.

    No file is open between blocks. Raises `DamagedFile` for a compressed one.
    """
    return _lines_of_file(part, at) if isinstance(part, Path) else part.lines(at)


def _lines_of_file(path: Path, at: int) -> Iterator[tuple[int, bytes]]:
    rest = bytearray()  # so that the time for a huge line stays linear
    for more in _blocks(path, at):
        first, *whole = more.split(b"\n")
        rest += first
        for following in whole:
            at += len(rest) + 1
            yield at, bytes(rest) + b"\n"
            rest = bytearray(following)
    if rest:
        yield at + len(rest), bytes(rest)


def _blocks(path: Path, at: int) -> Iterator[bytes]:
    while more := block(path, at):
        at += len(more)
        yield more
    if not path.exists():  # compressed, maybe a moment ago
        yield from unpack(path, at)


def read_end(path: Path, size: int) -> tuple[bytes, bool]:
    """Return the last bytes of a file, and if that is all of it. Raises `StoreUnavailable` and `DamagedFile`."""
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(max(length - size, 0))
            return file.read(size), length <= size
    except FileNotFoundError:  # compressed, or removed meanwhile
        if size <= 0:
            return b"", not compressed_path(path).exists()
        data = b"".join(unpack(path, 0))
        return data[-size:], len(data) <= size
    except OSError as error:
        raise StoreUnavailable(f"The audit cannot be read: {error.strerror}.", hint=f"Check {path}.") from None
