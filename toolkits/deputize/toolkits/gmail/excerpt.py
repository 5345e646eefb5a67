"""Excerpts: the start of a text that fits a number of tokens, cut at the end of a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deputize.toolkits._shared.page import tokens
from deputize.toolkits._shared.text import window

ALONE: Final = 3_400
"""Tokens of a text that is the whole result."""
IN_ROW: Final = 300
"""Minimum tokens of a text in a row, when rows share the budget."""
EXCERPT: Final = 300
"""Bytes of a snippet in a list."""


def piece(text: str, offset: int, room: int) -> tuple[str, int | None]:
    """Return the part of ``text`` from character ``offset`` that costs at most ``room`` tokens, and the next offset.

    The offset is None at the end. A part before the end is never empty.
    """
    low, high = 1, max(min(len(text[offset : offset + 12 * room].encode(errors="replace")), 12 * room), 1)
    while low < high:
        middle = (low + high + 1) // 2
        if tokens(window(text, offset, middle)[0]) <= room:
            low = middle
        else:
            high = middle - 1
    return window(text, offset, low)


def fair_share(costs: Sequence[int], budget: int) -> int:
    """Return the most that each item may cost so that all fit. Items that need less leave the rest to the others."""
    for at, cost in enumerate(sorted(costs)):
        share = budget // (len(costs) - at)
        if cost > share:
            return share
        budget -= cost
    return max(costs, default=0)
