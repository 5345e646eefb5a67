"""How much of a text is shown at once: as many tokens as there is room for, up to the end of a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deputize.toolkits._shared.page import tokens
from deputize.toolkits._shared.text import window

ALONE: Final = 3_400
"""Tokens of a text that is read by itself."""
IN_ROW: Final = 300
"""Tokens of a text in a row, at least, where rows have to share."""
EXCERPT: Final = 300
"""Bytes of a few words in a list: what Gmail gives as a snippet."""


def piece(text: str, offset: int, room: int) -> tuple[str, int | None]:
    """The part of a text that starts at character ``offset`` and costs at most ``room`` tokens, and the next offset.

    The offset is None at the end. A part is never empty before it.
    """
    low, high = 1, max(min(len(text[offset : offset + 12 * room].encode(errors="replace")), 12 * room), 1)
    while low < high:
        middle = (low + high + 1) // 2
        if tokens(window(text, offset, middle)[0]) <= room:
            low = middle
        else:
            high = middle - 1
    return window(text, offset, low)


def level(costs: Sequence[int], budget: int) -> int:
    """What each of these may cost at most, so that all fit: who needs less leaves the rest to the others."""
    for at, cost in enumerate(sorted(costs)):
        share = budget // (len(costs) - at)
        if cost > share:
            return share
        budget -= cost
    return max(costs, default=0)
