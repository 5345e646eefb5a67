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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path
from threading import Condition, Lock
from typing import Final

HEADER: Final = 48
_VERSION: Final = (3007000).to_bytes(4, sys.byteorder)
"""Of SQLite 3.7.0 and all later releases; at the header's beginning."""
_COUNT: Final = slice(8, 12)
"""The number of transactions: in it each counts that changed anything."""
_MADE: Final = 12
"""The byte that says that the header is made."""


class CountedConnection(sqlite3.Connection):
    """A connection that is counted until it is closed."""

    _vault: tuple[int, int] | None = None
    _shared = ""

    def count(self, path: Path) -> None:
        """Say to which file it leads, before it is used."""
        with suppress(OSError):  # gone, so it leads to what nobody else will open
            status = os.stat(path)
            self._vault, self._shared = (status.st_dev, status.st_ino), f"{os.path.realpath(path)}-shm"
            _came(self._vault)

    def close(self) -> None:
        super().close()
        with _turn:
            vault, self._vault = self._vault, None
        if vault is not None:
            _left(vault)

    def index(self) -> WalIndex | None:
        """The WAL index that it uses; None before it has read, and where there is none that is understood: on a
        read-only disk, say. Not what an earlier log left beside a vault that is in another mode by now."""
        with suppress(sqlite3.Error, OSError, ValueError):
            if self.execute("PRAGMA journal_mode").fetchone() == ("wal",):
                with _turn:
                    return WalIndex(_files[self._vault].mapping(self._shared)) if self._vault else None
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


def follows(before: bytes, now: bytes) -> bool:
    """Whether just one transaction lies between these headers. A count that begins anew, as after a crash, is none."""
    return understood(before) and understood(now) and 0 < _count(before) == _count(now) - 1


def _count(header: bytes) -> int:
    return int.from_bytes(header[_COUNT], sys.byteorder)


class _File:
    """What this process has of one vault, whatever names lead there: SQLite, too, keeps one for all of them."""

    def __init__(self) -> None:
        self.connections = 0
        self._descriptors: dict[tuple[int, int], int] = {}
        self._mapped: dict[tuple[int, int], mmap] = {}

    def mapping(self, path: str) -> mmap:
        """The header, mapped; anew where another file lies there. Raises OSError, ValueError: then the next try has the
        same descriptor, so that many cost no more than one."""
        status = os.stat(path)
        which = status.st_dev, status.st_ino
        if which not in self._descriptors:
            self._descriptors[which] = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        if which not in self._mapped:
            self._mapped[which] = mmap(self._descriptors[which], HEADER, access=ACCESS_READ)
        return self._mapped[which]

    def close(self) -> None:
        for mapped in self._mapped.values():
            mapped.close()
        for descriptor in self._descriptors.values():
            os.close(descriptor)


_FORK_SECONDS: Final = 4.0
_OPENING: Final = (0, 0)
_turn = Condition(Lock())
_files: dict[tuple[int, int], _File] = {}


@contextmanager
def opening() -> Iterator[None]:
    """While a connection is opened, of which is not known yet to which file it leads: no fork comes in between."""
    _came(_OPENING)
    try:
        yield
    finally:
        _left(_OPENING)


def _came(vault: tuple[int, int]) -> None:
    with _turn:
        _files.setdefault(vault, _File()).connections += 1


def _left(vault: tuple[int, int]) -> None:
    with _turn:
        file = _files[vault]
        file.connections -= 1
        if not file.connections:
            _files.pop(vault).close()
            _turn.notify_all()


def _before_fork() -> None:
    """Take the turn, when the last connection is gone. A child would wait for ever for what another thread had at that
    moment, this turn or SQLite's own; and beside a connection that it inherits, SQLite takes the parent's locks for the
    child's. Those of the stores are gone by now; a backup in another thread is waited for, but not for ever."""
    _turn.acquire()
    _turn.wait_for(lambda: not _files, _FORK_SECONDS)


os.register_at_fork(before=_before_fork, after_in_parent=_turn.release, after_in_child=_turn.release)
