"""Secrets that are handed in as files: Kubernetes and Compose mount them, systemd keeps them as credentials.

Next to each setting that is a secret stands one that names a file with it: ``client_secret_file`` for
``client_secret``, in the environment ``..._FILE``. A name without a folder is a credential of the systemd unit
(https://systemd.io/CREDENTIALS/), in ``$CREDENTIALS_DIRECTORY``.

Who may have written such a file says which secret is used, so it is ours or root's, and nobody else may write it. The
same holds for links that lead to it, as they do in Kubernetes, and for its folder: somebody else's link could name a
file of root's whose one line everybody knows. That others can read it is told, not refused: the file's owner may be
somebody else than who starts this.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from deputize.core.errors import SettingsError

CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
MAX_BYTES: Final = 65536
"""Bytes of a secret."""
_MAX_STEPS: Final = 256
"""Names on the way to a file, those in links among them."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

log = logging.getLogger("deputize")
_told: set[Path] = set()


def with_secret(said: Any, name: str) -> Any:
    """The settings of a table, in which the secret ``name`` is what the file holds that ``name_file`` names.

    Raises `SettingsError` where both are given, and as `read_secret` does.
    """
    named = said.get(f"{name}_file") if isinstance(said, Mapping) else None
    if not named:
        return said
    if said.get(name):
        raise SettingsError(f"{name} and {name}_file are both set.", hint="Take one of them away.")
    return {other: value for other, value in said.items() if other != f"{name}_file"} | {
        name: read_secret(Path(str(named)), f"{name}_file")
    }


def read_secret(path: Path, setting: str) -> str:
    """The one line in a file, without its end. ``setting``: what named it, for errors.

    Raises `SettingsError` where it is missing, empty, more than a line, or such that somebody else may have written it.
    """
    path = _found(path.expanduser(), setting)
    try:
        place = _behind_links(setting, path)
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        raise _unfit(setting, path, f"cannot be read: {error.strerror}") from None
    try:
        _check(setting, path, os.fstat(descriptor))
        _check_folder(setting, place.parent)
        content = os.read(descriptor, MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    try:
        text = content.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _unfit(setting, path, "holds something else than text") from None
    if not text.strip():
        raise _unfit(setting, path, "is empty")
    if len(content) > MAX_BYTES or len(text.splitlines()) > 1:
        raise _unfit(setting, path, "holds more than one line")
    if _CONTROL.search(text):
        raise _unfit(setting, path, "holds control characters")
    return text


def _behind_links(setting: str, path: Path) -> Path:
    """The file itself, found step by step. Raises `OSError` where nothing is, `SettingsError` for somebody's link."""
    whole = path.absolute()
    place, left = Path(whole.anchor), [*reversed(whole.parts[1:])]
    for _ in range(_MAX_STEPS):
        if not left:
            return place
        name = left.pop()
        step = place.parent if name == ".." else place / name
        status = os.lstat(step)
        if not stat.S_ISLNK(status.st_mode):
            place = step
            continue
        if status.st_uid not in (os.geteuid(), 0):
            raise _unfit(setting, path, "is reached by a link of another account", f"Name the file itself: {step}")
        target = Path(os.readlink(step))
        place = Path(target.anchor) if target.is_absolute() else place
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _found(path: Path, setting: str) -> Path:
    if path.is_absolute():
        return path
    folder = os.environ.get(CREDENTIALS, "")
    if len(path.parts) != 1 or not folder:
        hint = f"Give it in full, or by its name alone in a systemd unit with LoadCredential= ({CREDENTIALS})."
        raise SettingsError(f"{setting} is not the whole path of a file: {path}.", hint=hint)
    return Path(folder) / path


def _check(setting: str, path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _unfit(setting, path, "is not a file")
    if status.st_uid not in (os.geteuid(), 0):
        raise _unfit(setting, path, "belongs to another account", f"Run: chown {os.geteuid()} '{path}'")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _unfit(setting, path, "may be written by others", f"Run: chmod go-w '{path}'")
    if status.st_mode & stat.S_IROTH and path not in _told:
        _told.add(path)
        log.warning("%s: every account here can read %s. Run: chmod o-r, or defaultMode: 0400.", setting, path)


def _check_folder(setting: str, folder: Path) -> None:
    """One that everybody may write, without the sticky bit: anybody can put another of our files there."""
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise _unfit(setting, folder, "lies in a folder that others may write", f"Run: chmod o-w '{folder}'")


def _unfit(setting: str, path: Path, what: str, hint: str = "") -> SettingsError:
    return SettingsError(f"The file that {setting} names {what}.", hint=hint or str(path))
