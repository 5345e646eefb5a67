"""The one settings file that is read: who may have written it decides who receives tokens.

    the one that is named      --config PATH, or DEPUTIZE_CONFIG
    else deputize.toml         in the home (DEPUTIZE_HOME), or in the platform's folder for settings

One that merely lies in the working directory came with whatever was unpacked or cloned there, and is not believed.
"""

from __future__ import annotations

import logging
import os
import stat
import tomllib
from pathlib import Path
from typing import Any, Final

from deputize.core.errors import SettingsError

NAME: Final = "deputize.toml"
VARIABLE: Final = "DEPUTIZE_CONFIG"
ROOT: Final = 0
"""The account whose files are believed beside our own."""

log = logging.getLogger("deputize")
_told: set[Path] = set()


def config_file(home: Path, platform: Path) -> Path | None:
    """The file to read. Raises `SettingsError` where one is named that is not there."""
    if named := os.environ.get(VARIABLE):
        path = Path(named).expanduser()
        if not path.is_file():
            raise SettingsError(f"The settings file {named} is not there.", hint=f"It is named by {VARIABLE}.")
        return path
    return next((file for folder in (home, platform) if (file := folder / NAME).is_file()), None)


def unread(used: Path | None) -> Path | None:
    """A settings file in the working directory that is not the one in use."""
    found = Path(NAME).absolute()
    return found if found.is_file() and not (used and used.exists() and found.samefile(used)) else None


def tell_unread(used: Path | None) -> None:
    """Say so, once for each."""
    if (found := unread(used)) and found not in _told:
        _told.add(found)
        log.warning("./%s is not read: name it with %s or --config, if it is yours.", NAME, VARIABLE)


def read_config(path: Path) -> dict[str, Any]:
    """What the file says. Raises `SettingsError` where somebody else may have written it, or it is no TOML."""
    try:
        with path.open("rb") as file:
            _check(path, os.fstat(file.fileno()))
            _check_folder(path.absolute().parent)
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError("The settings file cannot be read.", hint=f"{path}: {error.strerror}") from None
    except ValueError as error:
        why = type(error).__name__
    raise SettingsError(f"{path.name} cannot be read: {why}.", hint=str(path))


def _check(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (os.geteuid(), ROOT):
        raise SettingsError("The settings file belongs to another account.", hint=f"Make a copy of your own of {path}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SettingsError("The settings file is one that others may write.", hint=f"Run: chmod go-w '{path}'")


def _check_folder(folder: Path) -> None:
    """A folder that everybody may write, without the sticky bit: anybody can put another file there."""
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise SettingsError(
            "The settings file lies in a folder that others may write.", hint=f"Run: chmod o-w '{folder}'"
        )
