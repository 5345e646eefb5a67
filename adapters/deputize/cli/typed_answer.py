"""What a person types at a question, which may be answered elsewhere meanwhile: on the page of an approval."""

from __future__ import annotations

import sys
from collections.abc import Callable
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
