"""Opening the user's browser without the link being visible in the list of processes.

Every account of the machine can read the arguments of a process. So the browser gets a file that redirects to the link:
mode 0600, in a folder of mode 0700, deleted after two minutes or with the command, as in Jupyter.
"""

from __future__ import annotations

import atexit
import html
import os
import shutil
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deputize.core.vault.private_files import new_file

LINK_FILE_TTL: Final = 120.0
"""Seconds that a browser has to start and read the file."""
ABANDONED_AFTER_SECONDS: Final = 3600.0
"""Seconds after which a folder counts as left by a killed command."""

_PREFIX: Final = "deputize-link-"
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={link}">
<title>deputize</title>
</head>
<body><p><a href="{link}">Go on</a></p></body>
</html>
"""


def open_browser(link: str, *, watched: bool = False) -> bool:
    """Open the user's browser at a link, if there is a browser and a user is present. Return whether that was tried.

    Text browsers would take over the terminal. ``watched``: True if a user is present although there is no terminal, as
    for a program started from a window.
    """
    desktop = sys.platform in ("darwin", "win32") and "SSH_CONNECTION" not in os.environ
    named = any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    if not (desktop or named) or not (watched or sys.stderr.isatty()):
        return False
    file = _write_redirect(link)
    return file is not None and webbrowser.open(file.as_uri())


def _write_redirect(link: str) -> Path | None:
    """Return a file that redirects to the link, or None if none can be written: the terminal shows the link too."""
    try:
        for folder in _stale_folders():
            shutil.rmtree(folder, ignore_errors=True)
        file = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_place())) / "open.html"
        with open(new_file(file), "w", encoding="utf-8") as page:
            page.write(_PAGE.format(link=html.escape(link)))
    except OSError:
        return None
    atexit.register(shutil.rmtree, file.parent, ignore_errors=True)
    gone = threading.Timer(LINK_FILE_TTL, shutil.rmtree, (file.parent,), {"ignore_errors": True})
    gone.daemon = True
    gone.start()
    return file


def _place() -> Path:
    """Return the folder for link files. Browsers from snaps read neither the system's temporary nor hidden folders."""
    return Path.home() if Path("/snap/bin").is_dir() else Path(tempfile.gettempdir())


def _stale_folders() -> Iterator[Path]:
    for folder in _place().glob(f"{_PREFIX}*"):
        status = folder.lstat()
        ours = not hasattr(os, "getuid") or status.st_uid == os.getuid()
        if ours and not folder.is_symlink() and status.st_mtime < time.time() - ABANDONED_AFTER_SECONDS:
            yield folder
