"""Files and folders that only their owner may use: made so, checked so, durable."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from deputize.core.errors import SettingsError


def private_folder(folder: Path) -> None:
    """Make ``folder`` with mode 0700 where it is missing. Raises `SettingsError` where others may enter it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            "The folder for keys and vault cannot be made.", hint=f"{folder}: {error.strerror}"
        ) from None
    check_private(folder, folder.stat())


def check_private(path: Path, status: os.stat_result) -> None:
    """Raise `SettingsError` unless ``path`` is this account's and closed to everybody else."""
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
    """What is in a key file, ``most`` bytes of it. Raises `SettingsError` unless it is this account's, 0600 or less."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SettingsError("The key file cannot be read.", hint=f"{path}: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SettingsError("The key file is not a file.", hint=str(path))
        check_private(path, status)
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)


def new_file(path: Path) -> int:
    """A descriptor of a file that did not exist before, mode 0600. Raises FileExistsError, OSError."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def beside(path: Path) -> Path:
    """A name in the same folder under which a file is made before it is published."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")


def publish(made: Path, path: Path) -> bool:
    """Give a finished, synced file its name, for good. False where the name is taken; never replaces a file."""
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
