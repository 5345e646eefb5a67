"""Checks of a vault's SQLite files for damage that SQLite itself does not report.

A flipped bit in an index hides rows from every query; ``PRAGMA integrity_check`` finds that. A flipped bit in the
write-ahead log is worse: SQLite treats the first frame with a wrong checksum as the end of the log, and drops all later
transactions, including durable ones. So the log is checked before SQLite reads it. If transactions follow a damaged
frame, the log is copied beside the vault, because SQLite will overwrite it
(https://www.sqlite.org/fileformat2.html#the_write_ahead_log).
"""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing, suppress
from glob import escape
from pathlib import Path
from struct import Struct, unpack
from typing import Final

from deputize.core.vault.private_files import new_file
from deputize.core.vault.record import KINDS
from deputize.core.vault.stores.sqlite.file import FORMAT, MARK, TABLE, connect

MAX_LINES: Final = 10
"""Lines of one check that are returned."""

_HEADER: Final = Struct(">8I")
_FRAME: Final = Struct(">6I")
_MAGIC: Final = 0x377F0682  # the last bit says in which byte order checksums are computed
_VERSION: Final = 3007000
_LOG_HINT: Final = "Restore a backup: what is newer in this vault stays. Then delete that file."

log = logging.getLogger("deputize")


def check_log(path: Path) -> int:
    """Return the number of transactions in the vault's log that SQLite will ignore because of damage. If there are any,
    keeps a copy of the log. Call it before the vault is opened."""
    lost = _lost_for_sure(path.with_name(f"{path.name}-wal"))
    if lost:
        kept = _keep_copy(path)
        log.error("The vault's log is damaged: %d transactions are lost. Its copy: %s", lost, kept or "none")
    return lost


def find_damage(path: Path) -> list[tuple[str, str]]:
    """Return the damage in the vault's files, each with a remedy. Reads the whole vault."""
    found = [(f"The vault's log was damaged, and transactions are lost: {file}", _LOG_HINT) for file in _copies(path)]
    lines = check_file(path) or _check_records(path)
    remedy = "Restore a backup (deputize vault restore): what can be read in this vault and is newer stays."
    return found + [(line, remedy) for line in lines]


def check_file(path: Path) -> list[str]:
    """Return the faults that SQLite finds in the structure of a file."""
    try:
        with closing(connect(path)) as db:
            db.text_factory = lambda text: text.decode("utf-8", "replace")
            lines = [str(line) for (line,) in db.execute(f"PRAGMA integrity_check({MAX_LINES})")]
    except sqlite3.Error as error:
        return [f"The vault's file is damaged: {error}"]
    return [f"The vault's file is damaged: {line}" for line in lines if line != "ok"]


def _check_records(path: Path) -> list[str]:
    """Return the faulty rows that a scan of their kind of records would miss."""
    lost = list[str]()
    try:
        with closing(connect(path)) as db:
            db.text_factory = bytes
            rows = db.execute(f'SELECT key, typeof(key), substr(value, 1, 1), typeof(value) FROM "{TABLE}" NOT INDEXED')  # noqa: S608
            for key, key_type, first, value_type in rows:
                name = key.decode("ascii", "replace") if isinstance(key, bytes) else str(key)
                if (key_type, value_type, first) != (b"text", b"blob", FORMAT):
                    lost.append(f"A row is not a record: {name[:80]!r}")
                elif name.partition("/")[0] not in KINDS and name != MARK[0]:
                    lost.append(f"A record is of no known kind: {name[:80]!r}")
    except sqlite3.Error as error:
        lost.append(f"The vault's file is damaged: {error}")
    return lost[:MAX_LINES]


def _lost_for_sure(file: Path) -> int:
    """Return the count once two checks in a row agree, because another process may be writing to the log."""
    before = -1
    for _ in range(5):
        lost = _lost_transactions(file)
        if lost in (0, before):
            return lost
        before = lost
        time.sleep(0.05)
    return 0


def _lost_transactions(file: Path) -> int:
    try:
        content = file.read_bytes()
    except OSError:
        return 0
    if len(content) <= _HEADER.size:
        return 0
    magic, version, size, _, *salt, one, two = _HEADER.unpack_from(content)
    order = ">" if magic & 1 else "<"
    whole = magic | 1 == _MAGIC | 1 and version == _VERSION
    if not (whole and _checksum(content[:24], (0, 0), order) == (one, two)):  # SQLite ignores such a log
        size = _page_size(file.with_name(file.name.removesuffix("-wal")))
        frames = _frames(content, size)
        return sum(frame[1] != 0 for frame in frames if frame[2:4] == frames[0][2:4])
    before, frames = (one, two), _frames(content, size)
    for number, frame in enumerate(frames):
        begin = _HEADER.size + number * (_FRAME.size + size)
        page = content[begin + _FRAME.size : begin + _FRAME.size + size]
        if list(frame[2:4]) == salt and _checksum(content[begin : begin + 8] + page, before, order) == frame[4:]:
            before = (frame[4], frame[5])
            continue
        return _count_commits(frames[number:], salt) or _was_commit(
            content[begin : begin + 8], page, before, order, frame, salt
        )
    return 0


def _frames(content: bytes, size: int) -> list[tuple[int, ...]]:
    """Return the heads of all whole frames: page, size of the file after a commit or 0, two salts, two checksums."""
    step = _FRAME.size + size
    return [_FRAME.unpack_from(content, at) for at in range(_HEADER.size, len(content) - step + 1, step)]


def _count_commits(frames: list[tuple[int, ...]], salt: list[int]) -> int:
    """Return the number of this log's transactions in these frames. Frames from an earlier use of the log have another
    salt, and an unfinished transaction has no commit."""
    return sum(frame[1] != 0 for frame in frames if _is_like(frame, salt))


def _is_like(frame: tuple[int, ...], salt: list[int]) -> bool:
    """Return whether a frame has the log's salt, with at most one flipped bit."""
    return ((frame[2] ^ salt[0]).bit_count() + (frame[3] ^ salt[1]).bit_count()) <= 1


def _was_commit(
    head: bytes, page: bytes, before: tuple[int, int], order: str, frame: tuple[int, ...], salt: list[int]
) -> int:
    """Return 1 if the frame becomes a valid commit when one bit of its head is flipped back, else 0."""
    if list(frame[2:4]) != salt:
        return 0
    number = int.from_bytes(head)
    return int(any(_checksum((number ^ 1 << bit).to_bytes(8) + page, before, order) == frame[4:] for bit in range(32)))


def _checksum(content: bytes, before: tuple[int, int], order: str) -> tuple[int, int]:
    one, two = before
    words = iter(unpack(f"{order}{len(content) // 4}I", content))
    for first in words:
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + next(words) + one) & 0xFFFFFFFF
    return one, two


def _page_size(file: Path) -> int:
    with suppress(OSError), file.open("rb") as opened:
        size = int.from_bytes(opened.read(18)[16:18])
        return 65536 if size == 1 else size or 4096
    return 4096


def _copies(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{escape(path.name)}.damaged-log-*"))


def _keep_copy(path: Path) -> Path | None:
    """Copy the log beside the vault, unless there is a copy already, and return the path of the copy."""
    with suppress(OSError):
        content = path.with_name(f"{path.name}-wal").read_bytes()
        for kept in _copies(path):
            if kept.read_bytes() == content:
                return kept
        made = path.with_name(f"{path.name}.damaged-log-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        with open(new_file(made), "wb") as file:
            file.write(content)
        return made
    return None
