"""Detection of writes to the vault by SQLite's shared memory, without a system call.

In write-ahead mode all processes map the file ``…-shm``. Its first 48 bytes identify the last transaction. They are
updated before a commit returns, and SQLite itself uses them to decide whether its cached pages are still valid
(https://www.sqlite.org/walformat.html#the_wal_index_header).

A mapping keeps file descriptors. When a process closes any descriptor of a file, the system drops all locks of the
process on it (https://www.sqlite.org/howtocorrupt.html, 2.2). So the descriptors are closed only after this process's
last connection to that vault; `file.connect` returns connections that are counted here.
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
"""Of SQLite 3.7.0 and all later releases; at the beginning of the header."""
_COUNT: Final = slice(8, 12)
"""The number of transactions that changed anything."""
_MADE: Final = 12
"""The byte that says that the header is initialized."""


class CountedConnection(sqlite3.Connection):
    """A connection that is counted until it is closed."""

    _vault: tuple[int, int] | None = None
    _shared = ""

    def count(self, path: Path) -> None:
        """Count the connection for this file. Call it before the first use of the connection."""
        with suppress(OSError):  # the file is gone, so nobody else will open it
            status = os.stat(path)
            self._vault, self._shared = (status.st_dev, status.st_ino), f"{os.path.realpath(path)}-shm"
            _count_in(self._vault)

    def close(self) -> None:
        super().close()
        with _turn:
            vault, self._vault = self._vault, None
        if vault is not None:
            _count_out(vault)

    def index(self) -> WalIndex | None:
        """Return the WAL index of this connection, or None before its first read. None also if the index is unusable,
        for example on a read-only disk, or left from before a change of mode."""
        with suppress(sqlite3.Error, OSError, ValueError):
            if self.execute("PRAGMA journal_mode").fetchone() == ("wal",):
                with _turn:
                    return WalIndex(_files[self._vault].mapping(self._shared)) if self._vault else None
        return None


class WalIndex:
    """The WAL index of a vault, valid while this process has a connection to the vault."""

    def __init__(self, mapped: mmap) -> None:
        self._mapped = mapped

    def header(self) -> bytes:
        """Return the current header, in a fraction of a microsecond; empty if closed."""
        try:
            return self._mapped[:HEADER]
        except ValueError:  # closed
            return b""


def is_understood(header: bytes) -> bool:
    """Return whether rows that were read under this header are valid until it changes."""
    return header[:4] == _VERSION and header[_MADE] == 1


def is_next(before: bytes, now: bytes) -> bool:
    """Return whether exactly one transaction is between these headers. False if the count was reset by a crash."""
    return is_understood(before) and is_understood(now) and 0 < _count(before) == _count(now) - 1


def _count(header: bytes) -> int:
    return int.from_bytes(header[_COUNT], sys.byteorder)


class _File:
    """A vault's connections in this process, under any of its names. SQLite too has one entry for all names."""

    def __init__(self) -> None:
        self.connections = 0
        self._descriptors: dict[tuple[int, int], int] = {}
        self._mapped: dict[tuple[int, int], mmap] = {}

    def mapping(self, path: str) -> mmap:
        """Return the mapped header, mapped again if the file was replaced. Raises `OSError` or `ValueError`. The next
        attempt reuses the descriptor, so that many attempts cost no more than one."""
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
    """Prevent a fork while a connection is being opened, because its file is not known yet."""
    _count_in(_OPENING)
    try:
        yield
    finally:
        _count_out(_OPENING)


def _count_in(vault: tuple[int, int]) -> None:
    with _turn:
        _files.setdefault(vault, _File()).connections += 1


def _count_out(vault: tuple[int, int]) -> None:
    with _turn:
        file = _files[vault]
        file.connections -= 1
        if not file.connections:
            _files.pop(vault).close()
            _turn.notify_all()


def _before_fork() -> None:
    """Take the lock after the last connection was closed. Otherwise a child could wait for ever for a lock that another
    thread held, this one or SQLite's, and SQLite would take the parent's locks for the child's. The stores have closed
    their connections by now. A backup in another thread is waited for, for a limited time."""
    _turn.acquire()
    _turn.wait_for(lambda: not _files, _FORK_SECONDS)


os.register_at_fork(before=_before_fork, after_in_parent=_turn.release, after_in_child=_turn.release)
