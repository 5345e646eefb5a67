"""What a person types: with line editing, and at a question that may be answered elsewhere meanwhile, on a page."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Final

EVERY: Final = 0.5
"""Seconds between two looks whether it was answered elsewhere."""


class AnsweredElsewhere(Exception):
    """Nobody need type anything any more."""


def typed_line(elsewhere: Callable[[], bool]) -> str | None:
    """The next line, stripped; None at the end of the input. Raises `AnsweredElsewhere` once ``elsewhere`` says so.

    Where nobody sits at a terminal, and on Windows, the line alone is waited for.
    """
    if sys.platform != "win32" and sys.stdin.isatty():
        _wait_for_line(elsewhere)
    line = sys.stdin.readline()
    return line.strip() if line else None


def _wait_for_line(elsewhere: Callable[[], bool]) -> None:
    import select
    import termios

    while not select.select([sys.stdin], [], [], EVERY)[0]:
        if elsewhere():
            termios.tcflush(sys.stdin, termios.TCIFLUSH)  # half a line must not answer the next question
            raise AnsweredElsewhere


def line_editing() -> ModuleType | None:
    """GNU readline, which `input` uses once it is imported; None without a terminal, and where Python has none.

    Only what the person says to the model is remembered, and only while the demo runs: no answer to a question.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    try:
        import readline
    except ImportError:  # Windows
        return None
    readline.set_auto_history(False)
    return readline
