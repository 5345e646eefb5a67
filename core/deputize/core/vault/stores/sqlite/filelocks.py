"""Locks among processes: one file each, locked by the kernel, which releases the lock when its holder dies."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.private_files import private_folder
from deputize.core.vault.stores.common import Names, wait_until


class FileLocks:
    """Locks by name, for all processes of one machine that use the same folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = Names()

    @asynccontextmanager
    async def hold(self, name: str, timeout: float) -> AsyncIterator[None]:
        """Hold a lock. Raises `TimeoutError` after ``timeout`` seconds, `StoreUnavailable` if its file is unusable."""
        file = await asyncio.to_thread(self._file, name)
        await wait_until(lambda: self._take(name, file), timeout)
        try:
            yield
        finally:
            self._let_go(name, file)

    def end(self) -> None:
        """Do nothing, because each file is open only while it is locked."""

    def forget(self) -> None:
        """Do nothing in a forked child, because the parent releases its own locks."""

    async def _take(self, name: str, file: FileLock) -> bool:
        """Take the lock in this process first, which is fast; then among all processes, off the event loop."""
        if not self._names.take(name):
            return False
        trying = asyncio.ensure_future(asyncio.to_thread(_try, file))
        try:
            taken = await asyncio.shield(trying)
        except asyncio.CancelledError:
            trying.add_done_callback(lambda _: self._let_go(name, file))  # its thread may still take the file
            raise
        except BaseException:
            self._names.release(name)
            raise
        if not taken:
            self._names.release(name)
        return taken

    def _let_go(self, name: str, file: FileLock) -> None:
        try:
            file.release()
        finally:
            self._names.release(name)

    def _file(self, name: str) -> FileLock:
        """Return the lock file for a name. It is never removed; otherwise two processes could hold the same lock."""
        private_folder(self._folder)
        path = self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.lock"
        return FileLock(path, thread_local=False, fallback_to_soft=False, mode=0o600)


def _try(file: FileLock) -> bool:
    try:
        file.acquire(blocking=False)
    except Timeout:
        return False
    except OSError:
        raise StoreUnavailable("A lock file cannot be used.", hint=str(file.lock_file)) from None
    return True
