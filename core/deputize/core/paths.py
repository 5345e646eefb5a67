"""Paths that people write in settings and commands."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from deputize.core.errors import SettingsError

CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
"""Variable with the folder of the systemd unit's credentials (https://systemd.io/CREDENTIALS/)."""


def usable_path(path: str | Path, *, hint: str = "Name a file or a folder that can exist.") -> Path:
    """Return the path with ``~`` expanded. The path need not exist. Raises `SettingsError` for a path that cannot
    exist: an unknown user's home, a name that is too long, a zero byte."""
    try:
        full = Path(path).expanduser()
        try:
            full.stat()
        except OSError as e:
            if e.errno == errno.ENAMETOOLONG:  # other errors are reported by whoever opens the file
                raise ValueError(e.strerror) from None
        return full
    except (RuntimeError, ValueError) as e:
        reason = str(e)
    raise SettingsError(f"The path {str(path)[:80]!r} cannot be used: {reason}.", hint=hint)
