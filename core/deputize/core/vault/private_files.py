"""Files and folders that only their owner may use: creation, permission checks, durability."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from deputize.core.errors import SettingsError
from deputize.core.paths import usable_path

_UNPUBLISHED: Final = r"\..+\.[0-9a-f]{16}\.new(-wal|-shm|-journal)?"
"""Names that `temporary_path` gives, and the names of SQLite's files beside them."""
_LOCK_TRIES: Final = 20


def private_folder(folder: Path) -> None:
    """Make ``folder`` with mode 0700 if it is missing. Raises `SettingsError` if others may enter it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            "The folder for keys and vault cannot be made.", hint=f"{folder}: {error.strerror}"
        ) from None
    check_private(folder, folder.stat())


def check_private(path: Path, status: os.stat_result) -> None:
    """Raise `SettingsError` unless this account owns ``path`` and nobody else has access."""
    folder = stat.S_ISDIR(status.st_mode)
    what, mode = ("folder", 0o700) if folder else ("file", 0o600)
    if status.st_uid != os.geteuid():
        raise SettingsError(
            f"A {what} for keys and vault belongs to another account.",
            hint=f"Choose a {what} of your own, or run: chown {os.geteuid()} '{path}'",
        )
    if stat.S_IMODE(status.st_mode) & ~mode & 0o777:
        shared = status.st_mode & stat.S_ISVTX  # such as /tmp: closing it would hurt others
        raise SettingsError(
            f"A {what} for keys and vault is open to other accounts.",
            hint="Keep them in a folder of their own." if shared else f"Run: chmod {mode:o} '{path}'",
        )


def read_private(path: Path, most: int) -> bytes:
    """Return the first ``most`` bytes of a key file.

    Raises `SettingsError` unless this account owns the file with mode 0600 or less, or root with 0440 or less.
    Kubernetes and systemd provide such files, which a group or an access list may read.
    """
    try:
        descriptor = os.open(usable_path(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SettingsError("The key file cannot be read.", hint=f"{path}: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SettingsError("The key file is not a file.", hint=str(path))
        if not (status.st_uid == 0 and stat.S_IMODE(status.st_mode) & ~0o440 == 0):
            check_private(path, status)
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)


def new_file(path: Path) -> int:
    """Create a file, mode 0600, and return its descriptor. Raises `FileExistsError` or another `OSError`."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


@contextmanager
def temporary_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``, for a file to be published. The name is unused again after the block.

    Files that killed processes left under such names in this folder are removed, unless another process is creating a
    file there now. Raises `OSError` if there is no such folder.
    """
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    made = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        if _locked(folder, fcntl.LOCK_EX):
            _remove_unpublished(path.parent)
        for _ in range(_LOCK_TRIES):  # a removal by another process takes no longer; a longer lock is ignored
            if _locked(folder, fcntl.LOCK_SH):
                break
            time.sleep(0.01)
        try:
            yield made
        finally:
            _remove_unpublished(path.parent, made.name)
    finally:
        os.close(folder)


def _locked(folder: int, how: int) -> bool:
    """Lock the folder and return whether that succeeded: shared to create files, exclusive to remove leftovers. A lock
    on the file itself would disturb SQLite on some systems."""
    with suppress(OSError):  # held by others, or a file system without such locks
        fcntl.flock(folder, how | fcntl.LOCK_NB)
        return True
    return False


def _remove_unpublished(folder: Path, begin: str = "") -> None:
    """Remove this account's files with mode 0600 whose names are from `temporary_path` and have this prefix."""
    for name in os.listdir(folder):
        if name.startswith(begin) and re.fullmatch(_UNPUBLISHED, name):
            file = folder / name
            with suppress(FileNotFoundError):
                status = file.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077:
                    file.unlink()


def publish(made: Path, path: Path) -> bool:
    """Give a finished, synced file its final name. Return False if the name is taken: no file is ever replaced."""
    try:
        os.link(made, path)
    except FileExistsError:
        return False
    made.unlink()
    sync(path.parent)
    return True


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
