"""Where rows go: into memory, or into files of one writer that only ever grow."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from pathlib import Path

from deputize.core.errors import SettingsError

KEPT = 100_000  # rows kept where there is no folder


class Memory:
    """Rows of a process that keeps no files: the latest `KEPT`."""

    def __init__(self) -> None:
        self.lines: deque[bytes] = deque(maxlen=KEPT)

    def append(self, data: bytes) -> None:
        self.lines.extend(data.splitlines(keepends=True))

    def ends_after(self, size: int) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing is open."""


class Files:
    """The files of one writer. One grows by whole groups until it is full, gone or failing; then the next begins."""

    def __init__(self, folder: Path, writer: str, limit: int) -> None:
        self.folder, self._writer, self._limit = folder, writer, limit
        self._number, self._size, self._fd = 0, 0, -1

    @property
    def _path(self) -> Path:
        return self.folder / f"{self._writer}.{self._number}.jsonl"

    def append(self, data: bytes) -> None:
        """All of the data, durable, or OSError and none of it."""
        if self._fd >= 0 and (self._size >= self._limit or self._gone()):
            self.close()
        try:
            if self._fd < 0:
                self._begin()
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            os.fsync(self._fd)
        except BaseException:
            self._take_back()
            raise
        self._size += len(data)

    def ends_after(self, size: int) -> bool:
        """Whether the file that grows ends once so many bytes more are in it."""
        return (self._size if self._fd >= 0 else 0) + size >= self._limit

    def close(self) -> None:
        """End the file that grows, if there is one."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._number += 1
            os.close(fd)

    def _begin(self) -> None:
        self._size = 0
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # a file is durable when its name is
        finally:
            os.close(folder)

    def _gone(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        except FileNotFoundError:
            return True

    def _take_back(self) -> None:
        """Leave the file as the last group left it, for good: after a failed sync its pages prove nothing."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):  # then a partial last line stays, which readers expect
            os.ftruncate(self._fd, self._size)
            if self._size == 0:
                os.unlink(self._path)
        with contextlib.suppress(OSError):
            self.close()


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:  # removed meanwhile
        return 0


def checked(folder: Path) -> Path:
    """The folder, made if need be. SettingsError if anybody else could read or write there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        modes = [folder.stat().st_mode, *map(_mode, folder.glob("*.jsonl"))]
    except OSError as error:
        raise SettingsError(f"The audit folder cannot be used: {error.strerror}.", hint=f"Check {folder}.") from None
    if any(mode & 0o077 for mode in modes):
        raise SettingsError(
            "The audit folder or a file in it is open to others than its owner.",
            hint=f"Give {folder} mode 0700 and its files 0600, and find out who looked or wrote.",
        )
    return folder
