"""Opening the person's browser at a link, so that no list of processes shows it.

What a process is started with can be read by every account of the machine. So the browser is given a file that leads on
to the link: mode 0600, in a folder of 0700, gone after two minutes or with the command, as Jupyter does it.
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
"""Seconds a browser has to start and to read the file."""
FORGOTTEN: Final = 3600.0
"""Seconds after which a folder is one that a killed command left."""

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
    """Open the person's browser at a link, where there is one and somebody looks; whether that was tried.

    Text browsers would take the terminal. ``watched``: somebody looks though there is no terminal, as at a program that
    a window has started.
    """
    desktop = sys.platform in ("darwin", "win32") and "SSH_CONNECTION" not in os.environ
    named = any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    if not (desktop or named) or not (watched or sys.stderr.isatty()):
        return False
    file = _leading_to(link)
    return file is not None and webbrowser.open(file.as_uri())


def _leading_to(link: str) -> Path | None:
    """A file that leads a browser on to the link; None where none can be written: the terminal shows the link, too."""
    try:
        for folder in _forgotten():
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
    """Browsers from snaps read neither the system's folder for temporary files nor any hidden one."""
    return Path.home() if Path("/snap/bin").is_dir() else Path(tempfile.gettempdir())


def _forgotten() -> Iterator[Path]:
    for folder in _place().glob(f"{_PREFIX}*"):
        status = folder.lstat()
        ours = not hasattr(os, "getuid") or status.st_uid == os.getuid()
        if ours and not folder.is_symlink() and status.st_mtime < time.time() - FORGOTTEN:
            yield folder
