"""Locks among processes on one open file: one byte for each lock, released by the kernel when its holder dies.

The locks belong to the open file and not to the process (fcntl(2), F_OFD_SETLK). Two openings exclude each other even
in one process, and closing one releases nothing of the other. On a system without such locks, `filelocks` opens a file
for each lock.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.private_files import private_folder
from deputize.core.vault.stores.common import Names, wait_until

if TYPE_CHECKING:
    from deputize.core.vault.stores.sqlite.filelocks import FileLocks

FILE: Final = "all.lock"
_SET: Final[int] = getattr(fcntl, "F_OFD_SETLK", 0)


class RangeLocks:
    """Locks by name, for all processes of one machine that use the same folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._names = Names()
        self._guard = threading.Lock()
        self._opened: int | None = None
        self._uses = dict[int, int]()
        """Number of held and attempted locks, by descriptor."""
        self._ended = self._forgotten = False

    @asynccontextmanager
    async def hold(self, name: str, timeout: float) -> AsyncIterator[None]:
        """Hold a lock. Raises `TimeoutError` after ``timeout`` seconds, `StoreUnavailable` if its file is unusable."""
        taken: list[int] = []
        at = _byte(name)
        await wait_until(lambda: self._take(name, at, taken), timeout)
        try:
            yield
        finally:
            self._let_go(name, at, taken[0])

    def end(self) -> None:
        """Close the file now, or after its last lock is released."""
        with self._guard:
            self._ended = True
            self._retire()

    def forget(self) -> None:
        """Close the files in a forked child, which must keep no lock of its parent alive. Releases no lock."""
        self._forgotten = True
        for file in {*self._uses, *([] if self._opened is None else [self._opened])}:
            os.close(file)

    async def _take(self, name: str, at: int, taken: list[int]) -> bool:
        """Take the lock in this process first, then among all, without waiting. Only opening the file uses a thread."""
        if not self._names.take(name):
            return False
        file = None
        try:
            file = self._use()
            while file is None:
                await asyncio.to_thread(self._open)
                file = self._use()
            if _lock(file, at, fcntl.F_WRLCK):
                taken.append(file)
            return bool(taken)
        except OSError as error:
            raise self._useless(error) from None
        finally:
            if not taken:
                self._unuse(file)
                self._names.release(name)

    def _let_go(self, name: str, at: int, file: int) -> None:
        if not self._forgotten:
            _lock(file, at, fcntl.F_UNLCK)
            self._unuse(file)
        self._names.release(name)

    def _use(self) -> int | None:
        """Return the open file and count its use. None if it must be opened: at first, and after it was removed."""
        with self._guard:
            if self._opened is not None and not os.fstat(self._opened).st_nlink:
                self._retire()
            if self._opened is not None:
                self._uses[self._opened] += 1
            return self._opened

    def _unuse(self, file: int | None) -> None:
        if file is None:
            return
        with self._guard:
            self._uses[file] -= 1
            if self._ended and file == self._opened:
                self._opened = None
            self._close_unused(file)

    def _retire(self) -> None:
        """Stop using this file for new locks (with _guard held)."""
        file, self._opened = self._opened, None
        if file is not None:
            self._close_unused(file)

    def _close_unused(self, file: int) -> None:
        if file != self._opened and not self._uses[file]:
            del self._uses[file]
            os.close(file)

    def _open(self) -> None:
        """Open the lock file. It is never removed; otherwise two processes could hold the same lock."""
        private_folder(self._path.parent)
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._useless(error) from None
        with self._guard:
            if self._opened is None:
                self._opened = file
                self._uses[file] = 0
            else:  # another thread was quicker
                os.close(file)

    def _useless(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable("A lock file cannot be used.", hint=f"{self._path}: {error.strerror}")


def _byte(name: str) -> int:
    """Return the position of a name's lock. Nothing is written there, so the file stays empty."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 2


def _lock(file: int, at: int, how: int) -> bool:
    """Lock or unlock a byte without waiting. Return whether that succeeded."""
    try:
        fcntl.fcntl(file, _SET, struct.pack("hhqqi4x", how, os.SEEK_SET, at, 1, 0))
    except (BlockingIOError, PermissionError):  # both can mean that another process has it
        return False
    return True


@lru_cache
def supported() -> bool:
    """Return whether this system has such locks."""
    if not _SET:
        return False
    file = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        return _lock(file, 0, fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(file)


def locks_in(folder: Path) -> RangeLocks | FileLocks:
    """Return the locks in this folder. All processes of this system use the same kind."""
    if supported():
        return RangeLocks(folder)
    from deputize.core.vault.stores.sqlite.filelocks import FileLocks

    return FileLocks(folder)
