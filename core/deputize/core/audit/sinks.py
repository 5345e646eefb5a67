"""Sinks of rows: memory, or append-only files of one writer."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections import deque
from pathlib import Path

from deputize.core.audit.trail import Sink, Trail
from deputize.core.errors import DeputizeError, SettingsError, StoreUnavailable

_log = logging.getLogger("deputize.core.audit")

MAX_ROWS = 100_000  # rows kept without a folder


class Memory:
    """Sink of a process without files: keeps the latest `MAX_ROWS` rows."""

    at_once, in_doubt = True, False

    def __init__(self) -> None:
        self.lines: deque[bytes] = deque(maxlen=MAX_ROWS)

    def turn(self) -> bool:
        """Return False, because there is no file to end."""
        return False

    def append(self, data: bytes) -> None:
        self.lines.extend(data.splitlines(keepends=True))

    def add(self, data: bytes) -> bool:
        """Store the lines. Always succeeds."""
        self.append(data)
        return True

    def mark(self) -> int:
        """Return 0, because nothing has to be synced."""
        return 0

    def sync(self, mark: int) -> None:
        """Do nothing."""

    def take_back(self) -> bool:
        """Return True, because nothing can fail."""
        return True

    def ends_after(self, size: int) -> bool:
        """Return False, because there is no file."""
        return False

    def close(self) -> None:
        """Do nothing."""


class Files:
    """The files of one writer. A file grows by whole groups until it is full, missing or failing; then the next begins.

    Written rows outlive the process, synced rows outlive the machine. `sync` may run while `add` does; the other
    methods are for one thread at a time.
    """

    at_once, in_doubt = True, False

    def __init__(self, folder: Path, writer: str, limit: int) -> None:
        self.folder, self._writer, self._limit = folder, writer, limit
        self._number, self._size, self._synced, self._fd = 0, 0, 0, -1
        self._named = False

    @property
    def _path(self) -> Path:
        return self.folder / f"{self._writer}.{self._number}.jsonl"

    def turn(self) -> bool:
        """End a file that is full or missing, durably. Return whether one was ended. After OSError call `take_back`."""
        ends = self._fd >= 0 and (self._size >= self._limit or self._is_missing())
        if ends:
            self.sync(self._size)
            self.close()
        return ends

    def append(self, data: bytes) -> None:
        """Write all of the data. After an `OSError` call `take_back`."""
        if self._fd < 0:
            self._begin()
        self._put(data)

    def add(self, data: bytes) -> bool:
        """Write all of the data into the current file at once, or return False and write none."""
        try:
            if self._fd < 0:
                self._begin()
            elif self._size >= self._limit or self._is_missing():
                return False
            self._put(data)
        except OSError:
            return False
        return True

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except BaseException:
            with contextlib.suppress(OSError):  # then a partial last line stays, which readers expect
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)

    def mark(self) -> int:
        """Return the number of bytes written, as the argument of `sync`."""
        return self._size if self._fd >= 0 else 0

    def sync(self, mark: int) -> None:
        """Make all bytes up to a mark durable. After an `OSError` call `take_back`."""
        if self._fd < 0 or mark <= self._synced:
            return
        if not self._named:
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)  # a file is durable when its name is
            finally:
                os.close(folder)
            self._named = True
        os.fsync(self._fd)
        self._synced = mark

    def ends_after(self, size: int) -> bool:
        """Return whether ``size`` more bytes fill the current file."""
        return (self._size if self._fd >= 0 else 0) + size >= self._limit

    def close(self) -> None:
        """End the current file, if any."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._number += 1
            os.close(fd)

    def _begin(self) -> None:
        self._size, self._synced, self._named = 0, 0, False
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with contextlib.suppress(OSError):  # a file system without locks: there nothing is compressed
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def _is_missing(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        except FileNotFoundError:
            return True

    def take_back(self) -> bool:
        """Cut the file to its state at the last sync, because after a failed sync the later bytes prove nothing."""
        if self._fd < 0:
            return True
        with contextlib.suppress(OSError):  # then a partial last line stays, which readers expect
            os.ftruncate(self._fd, self._synced)
            if self._synced == 0:
                os.unlink(self._path)
        with contextlib.suppress(OSError):
            self.close()
        return True


def sink_at(trail: Trail | None, writer: str, limit: int) -> Sink:
    """Return the sink for a writer. ``limit``: maximum bytes of a file."""
    if trail is None:
        return Memory()
    return Files(trail, writer, limit) if isinstance(trail, Path) else trail.sink(writer)


def write_error(error: Exception, trail: Trail | None, *, tell: bool) -> StoreUnavailable:
    """Return the error for rows that a sink did not store. ``tell``: also log it."""
    if isinstance(error, DeputizeError):
        reason, hint = error.message.rstrip("."), error.hint
    else:
        reason = str(error.strerror) if isinstance(error, OSError) else type(error).__name__
        hint = f"Free space at {trail}, or restore the folder."
    if tell:
        _log.error("Audit rows cannot be written, and wait in memory: %s", reason)
    return StoreUnavailable(f"The audit cannot be written: {reason}.", hint=hint)


def prepare_trail(trail: Trail | None) -> Trail | None:
    """Return the trail, after creating its folder if necessary. Raises `SettingsError` if others can access it."""
    return prepare_folder(trail) if isinstance(trail, Path) else trail


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:  # removed meanwhile
        return 0


def prepare_folder(folder: Path) -> Path:
    """Return the folder, after creating it if necessary. Raises `SettingsError` if others can access it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        modes = [folder.stat().st_mode, *map(_mode, folder.glob("*.jsonl*"))]
    except OSError as error:
        raise SettingsError(f"The audit folder cannot be used: {error.strerror}.", hint=f"Check {folder}.") from None
    if any(mode & 0o077 for mode in modes):
        raise SettingsError(
            "The audit folder or a file in it is accessible to other accounts.",
            hint=f"Give {folder} mode 0700 and its files 0600, and find out who read or wrote them.",
        )
    return folder
