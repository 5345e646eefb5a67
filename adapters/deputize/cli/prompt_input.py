"""The user's typed input: with line editing, and for questions that the user may answer on a page instead."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Final

POLL_INTERVAL_SECONDS: Final = 0.5
"""Seconds between two checks for an answer elsewhere."""


class AnsweredElsewhere(Exception):
    """Raised when a question was answered elsewhere, so that no input is needed."""


def typed_line(elsewhere: Callable[[], bool]) -> str | None:
    """Return the next line, stripped, or None at the end of the input. Raises `AnsweredElsewhere` once ``elsewhere``
    returns True.

    Without a terminal, and on Windows, it only waits for the line.
    """
    if sys.platform != "win32" and sys.stdin.isatty():
        _wait_for_line(elsewhere)
    line = sys.stdin.readline()
    return line.strip() if line else None


def _wait_for_line(elsewhere: Callable[[], bool]) -> None:
    import select
    import termios

    while not select.select([sys.stdin], [], [], POLL_INTERVAL_SECONDS)[0]:
        if elsewhere():
            termios.tcflush(sys.stdin, termios.TCIFLUSH)  # half a line must not answer the next question
            raise AnsweredElsewhere


def line_editing() -> ModuleType | None:
    """Return GNU readline, which `input` uses after its import, or None without a terminal or without readline.

    Its history has only messages to the model, while the demo runs, and never answers to questions.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    try:
        import readline
    except ImportError:  # Windows
        return None
    readline.set_auto_history(False)
    return readline
