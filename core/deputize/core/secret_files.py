"""Secrets in files: Kubernetes and Compose mount them, systemd passes them as credentials.

Each secret setting has a second setting for a file that contains the secret: ``client_secret_file`` for
``client_secret``, and ``..._FILE`` in the environment. A name without a folder is a credential of the systemd unit
(https://systemd.io/CREDENTIALS/), in ``$CREDENTIALS_DIRECTORY``.

The writer of such a file decides which secret is used. So only this account and root may own or write the file, its
folder, and the links to it that Kubernetes creates. Otherwise another account's link could name a file of root's whose
one line everybody knows. A file that others can read causes a warning, not an error: its owner may differ from the
account that starts this program.
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
from deputize.core.paths import CREDENTIALS, usable_path

MAX_SECRET_BYTES: Final = 65536
"""Maximum size of a secret."""
_MAX_STEPS: Final = 256
"""Path components on the way to a file, including those of links."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

log = logging.getLogger("deputize")
_reported: set[Path] = set()


def with_secret(values: Any, name: str) -> Any:
    """Return the settings of a table with the secret ``name`` replaced by the content of the file in ``name_file``.

    Raises `SettingsError` if both are set, and the errors of `read_secret`.
    """
    path = values.get(f"{name}_file") if isinstance(values, Mapping) else None
    if not path:
        return values
    if values.get(name):
        raise SettingsError(f"{name} and {name}_file are both set.", hint="Remove one of them.")
    return {other: value for other, value in values.items() if other != f"{name}_file"} | {
        name: read_secret(Path(str(path)), f"{name}_file")
    }


def read_secret(path: Path, setting: str) -> str:
    """Return the only line of a file, without its line end. ``setting``: name of the setting, for errors.

    Raises `SettingsError` if the file is missing, empty or has more lines, or if another account may have written it.
    """
    path = _full_path(usable_path(path), setting)
    try:
        place = _resolve_links(setting, path)
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        raise _unfit(setting, path, f"cannot be read: {error.strerror}") from None
    try:
        _check(setting, path, os.fstat(descriptor))
        _check_folder(setting, place.parent)
        content = os.read(descriptor, MAX_SECRET_BYTES + 1)
    finally:
        os.close(descriptor)
    try:
        text = content.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _unfit(setting, path, "holds something else than text") from None
    if not text.strip():
        raise _unfit(setting, path, "is empty")
    if len(content) > MAX_SECRET_BYTES or len(text.splitlines()) > 1:
        raise _unfit(setting, path, "holds more than one line")
    if _CONTROL.search(text):
        raise _unfit(setting, path, "holds control characters")
    return text


def _resolve_links(setting: str, path: Path) -> Path:
    """Return the file behind all links. Raises `OSError` if it is missing, `SettingsError` for another's link."""
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


def _full_path(path: Path, setting: str) -> Path:
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
    if status.st_mode & stat.S_IROTH and path not in _reported:
        _reported.add(path)
        log.warning("%s: every account here can read %s. Run: chmod o-r, or defaultMode: 0400.", setting, path)


def _check_folder(setting: str, folder: Path) -> None:
    """Raise `SettingsError` if everybody can write to the folder (no sticky bit): they could replace the file."""
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise _unfit(setting, folder, "lies in a folder that others may write", f"Run: chmod o-w '{folder}'")


def _unfit(setting: str, path: Path, what: str, hint: str = "") -> SettingsError:
    return SettingsError(f"The file that {setting} names {what}.", hint=hint or str(path))
