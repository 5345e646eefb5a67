"""Whether anybody wrote to the vault, told from SQLite's shared memory, without a call to the system.

In write-ahead mode all processes map the file ``…-shm``. Its first 48 bytes name the last transaction: each is in there
before whoever made it is told that it is done, and by these bytes SQLite itself decides whether the pages that it holds
are still true (https://www.sqlite.org/walformat.html#the_wal_index_header).

A mapping keeps descriptors, and the system drops all locks that a process has on a file when the process closes any
descriptor of it (https://www.sqlite.org/howtocorrupt.html, 2.2). So they are closed only where this process has no
connection to that vault left; `sqlite_file.connect` gives connections that are counted here.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path
from threading import Lock
from typing import Final

HEADER: Final = 48
_VERSION: Final = (3007000).to_bytes(4, sys.byteorder)
"""Of SQLite 3.7.0 and all later releases; at the header's beginning."""
_MADE: Final = 12
"""The byte that says that the header is made."""


class CountedConnection(sqlite3.Connection):
    """A connection that is counted until it is closed."""

    _path: str | None = None

    def count(self, path: Path) -> None:
        """Say to which file it leads, before it is used."""
        self._path = os.path.realpath(path)
        with _turn:
            _files.setdefault(self._path, _File()).connections += 1

    def close(self) -> None:
        super().close()
        path, self._path = self._path, None
        if path is not None:
            _left(path)

    def index(self) -> WalIndex | None:
        """The WAL index that it uses; None before it has read, and where there is none that is understood: on a
        read-only disk, say."""
        with _turn, suppress(OSError, ValueError):
            return WalIndex(_files[self._path].mapping(f"{self._path}-shm")) if self._path else None
        return None


class WalIndex:
    """The WAL index of a vault, as long as this process has a connection to it."""

    def __init__(self, mapped: mmap) -> None:
        self._mapped = mapped

    def header(self) -> bytes:
        """The header as it is now, in a fraction of a microsecond; empty where it says nothing."""
        try:
            return self._mapped[:HEADER]
        except ValueError:  # closed
            return b""


def understood(header: bytes) -> bool:
    """Whether what was read while this header stood there is true as long as it stands there."""
    return header[:4] == _VERSION and header[_MADE] == 1


class _File:
    """What this process has of one vault."""

    def __init__(self) -> None:
        self.connections = 0
        self._which: tuple[int, int] | None = None
        self._descriptors: list[int] = []
        self._mapped: list[mmap] = []

    def mapping(self, path: str) -> mmap:
        """The header, mapped; anew where another file lies there. Raises OSError, ValueError."""
        status = os.stat(path)
        if self._which != (status.st_dev, status.st_ino):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            self._descriptors.append(descriptor)
            self._mapped.append(mmap(descriptor, HEADER, access=ACCESS_READ))
            self._which = status.st_dev, status.st_ino
        return self._mapped[-1]

    def close(self) -> None:
        for mapped in self._mapped:
            mapped.close()
        for descriptor in self._descriptors:
            os.close(descriptor)


_turn = Lock()
_files: dict[str, _File] = {}


def _left(path: str) -> None:
    with _turn:
        file = _files[path]
        file.connections -= 1
        if not file.connections:
            _files.pop(path).close()
