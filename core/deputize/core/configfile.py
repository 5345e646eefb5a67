"""Location of the settings file. Whoever can write this file decides who receives tokens.

    a named file               --config PATH, or DEPUTIZE_CONFIG
    else deputize.toml         in the home (DEPUTIZE_HOME), or in the platform's folder for settings

A settings file in the working directory is ignored: it may have come with a downloaded archive or a clone.
"""

from __future__ import annotations

import logging
import os
import stat
import tomllib
from pathlib import Path
from typing import Any, Final

from deputize.core.errors import SettingsError
from deputize.core.paths import CREDENTIALS, usable_path

NAME: Final = "deputize.toml"
VARIABLE: Final = "DEPUTIZE_CONFIG"
ROOT: Final = 0
"""The account whose files are trusted besides the current user's."""

log = logging.getLogger("deputize")
_reported: set[Path] = set()


def config_file(home: Path, platform: Path) -> Path | None:
    """Return the settings file to read, or None. Raises `SettingsError` if the named file does not exist."""
    if value := os.environ.get(VARIABLE):
        path = usable_path(value, hint=f"Correct or unset {VARIABLE}.")
        if not path.is_file():
            raise SettingsError(f"The settings file {value} does not exist.", hint=f"Correct or unset {VARIABLE}.")
        return path
    return next((file for folder in (home, platform) if (file := folder / NAME).is_file()), None)


def find_unread_file(used: Path | None) -> Path | None:
    """Return the settings file in the working directory if another file or none is in use, or None."""
    found = Path(NAME).absolute()
    return found if found.is_file() and not (used and used.exists() and found.samefile(used)) else None


def tell_unread(used: Path | None) -> None:
    """Log a warning about a settings file in the working directory that is not read, once per file."""
    if (found := find_unread_file(used)) and found not in _reported:
        _reported.add(found)
        log.warning("./%s is not read. If it is yours, name it with %s or --config.", NAME, VARIABLE)


def read_config(path: Path) -> dict[str, Any]:
    """Return the parsed content, in which a relative path begins at the folder of the file.

    Raises `SettingsError` if it is not TOML or another account may have written it.
    """
    try:
        with path.open("rb") as file:
            check_writers(path, os.fstat(file.fileno()))
            check_folder(path.absolute().parent)
            return _with_whole_paths(tomllib.load(file), path.absolute().parent)
    except OSError as error:
        raise SettingsError("The settings file cannot be read.", hint=f"{path}: {error.strerror}") from None
    except ValueError as error:
        reason = type(error).__name__
    raise SettingsError(f"{path.name} cannot be read: {reason}.", hint=str(path))


def _with_whole_paths(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a table with whole paths. A name without a folder stays if it can be a credential of a systemd unit."""
    found = dict(table)
    for name, value in table.items():
        if isinstance(value, dict):
            found[name] = _with_whole_paths(value, folder)
        elif isinstance(value, str) and value and (name == "brand_logo" or name.endswith("_file")):
            is_credential = CREDENTIALS in os.environ and value == Path(value).name
            found[name] = value if is_credential or value.startswith("~") else str(folder / value)
    return found


def check_writers(path: Path, status: os.stat_result, what: str = "settings file") -> None:
    """Raise `SettingsError` if another account may have written this file."""
    if status.st_uid not in (os.geteuid(), ROOT):
        raise SettingsError(f"The {what} belongs to another account.", hint=f"Make your own copy of {path}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SettingsError(f"The {what} is one that others may write.", hint=f"Run: chmod go-w '{path}'")


def check_folder(folder: Path, what: str = "settings file") -> None:
    """Raise `SettingsError` if everybody can write to the folder (no sticky bit): they could replace the file."""
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise SettingsError(f"The {what} is in a folder that others may write.", hint=f"Run: chmod o-w '{folder}'")
