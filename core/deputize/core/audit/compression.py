"""Compression of closed audit files: never during an act, and safe to interrupt at any point.

A file is closed if its chain continues in another file, or if no process has it open. A writer holds a shared lock on
its file, and the compressing process an exclusive lock (flock(2)). So neither a writer nor another compressor can touch
the file, and no lock outlives its process. The original is removed last, after its copy is durable.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import stat
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from deputize.core.audit.checkpoint import check_rows
from deputize.core.audit.compressed_file import MAX_FILE_BYTES, compressed_path, pack
from deputize.core.audit.reader import files_of
from deputize.core.audit.rows import Key

MIN_SIZE: Final = 4096
"""Bytes: a smaller file would free nothing."""
IDLE_CHAIN_SECONDS: Final = 600.0
"""Seconds without a row after which the last file of a chain may be closed."""
_AT_ONCE: Final = 64
"""Rows between two pauses, so that other threads of this process are not held up."""
_PAUSE_SECONDS: Final = 0.001


def closed_files(folder: Path, now: float) -> list[Path]:
    """Return the uncompressed files that may be closed. ``now``: Unix seconds."""
    found = []
    for paths in files_of(folder).values():
        for path in paths:
            with contextlib.suppress(FileNotFoundError):  # compressed, or removed
                status = path.lstat()
                followed = path is not paths[-1] or status.st_mtime < now - IDLE_CHAIN_SECONDS
                if followed and stat.S_ISREG(status.st_mode) and MIN_SIZE <= status.st_size <= MAX_FILE_BYTES:
                    found.append(path)
    return found


def compress_file(path: Path, ring: Sequence[Key]) -> bool:
    """Replace a closed file by its compressed form, with a checkpoint. Return whether it was replaced.

    A file is unchanged if a process has it open, or if one of its rows is not genuine, because it is evidence then.
    Raises `OSError`.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # in use, or a file system without locks
            return False
        if not _is_same(path, file):
            return False
        data, status = file.read(MAX_FILE_BYTES + 1), os.fstat(file.fileno())
        checked = check_rows(path.stem.rpartition(".")[0], _pace(io.BytesIO(data)), ring)
        if checked is None:
            return False
        packed = pack(data, lambda digest: checked.sign(ring[checked.age], digest))
        if zlib.decompress(packed, zlib.MAX_WBITS | 16) != data:
            return False
        _write(compressed_path(path), packed, status)
        if os.fstat(file.fileno()).st_size != len(data):
            return False
        if not _is_same(path, file):  # dropped meanwhile, being old
            compressed_path(path).unlink(missing_ok=True)
            return False
        path.unlink()
    return True


def _is_same(path: Path, file: io.BufferedReader) -> bool:
    """Return True if the path still leads to the open file: nobody compressed or removed the file before it was
    locked."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _pace(lines: Iterable[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        if number % _AT_ONCE == 0:
            time.sleep(_PAUSE_SECONDS)
        yield line


def _write(path: Path, data: bytes, like: os.stat_result) -> None:
    """Write a file durably, or not at all, with the times of the file ``like``, because readers order files by time."""
    part = part_path(path)
    part.unlink(missing_ok=True)
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.utime(file.fileno(), ns=(like.st_atime_ns, like.st_mtime_ns))
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def part_path(path: Path) -> Path:
    """Return the path of a compressed file while it is written."""
    return path.with_name(f"{path.name}.part")
