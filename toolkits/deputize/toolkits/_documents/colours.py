"""Colours as office files write them: whether a text stands out from what is behind it."""

from __future__ import annotations

import re
from typing import Final

PAPER: Final = "FFFFFF"
"""What is behind a text where nothing says otherwise."""
_NEAR: Final = 12  # of 255, in each of red, green and blue: nobody tells these apart
_HEX: Final = re.compile(r"(?:[0-9A-F]{2})?([0-9A-F]{6})")
_NAMED: Final = {  # ECMA-376 17.18.40, as Word highlights with
    **{"WHITE": PAPER, "BLACK": "000000", "YELLOW": "FFFF00", "GREEN": "00FF00", "CYAN": "00FFFF", "BLUE": "0000FF"},
    **{"MAGENTA": "FF00FF", "RED": "FF0000", "DARKBLUE": "000080", "DARKCYAN": "008080", "DARKGREEN": "008000"},
    **{"DARKMAGENTA": "800080", "DARKRED": "800000", "DARKYELLOW": "808000", "DARKGRAY": "808080"},
    **{"LIGHTGRAY": "C0C0C0"},
}


def colour(text: str) -> str:
    """A colour as six digits; "" for none, for one that is left to the program and for one that is not known."""
    found = _HEX.fullmatch(text.upper())
    return found[1] if found else _NAMED.get(text.upper(), "")


def merges(text: str, behind: str) -> bool:
    """Whether a text of this colour is not seen on that one, "" being paper. One of no colour is black, or fits."""
    return bool(text) and all(
        abs(int(text[at : at + 2], 16) - int((behind or PAPER)[at : at + 2], 16)) <= _NEAR for at in (0, 2, 4)
    )
