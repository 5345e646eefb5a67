"""Colours in office files, and detection of text that blends with its background."""

from __future__ import annotations

import re
from typing import Final

PAPER: Final = "FFFFFF"
"""The default background of a text."""
_NEAR: Final = 12  # of 255, in each of red, green and blue: not distinguishable
_HEX: Final = re.compile(r"(?:[0-9A-F]{2})?([0-9A-F]{6})")
_NAMED: Final = {  # ECMA-376 17.18.40, as Word highlights with
    **{"WHITE": PAPER, "BLACK": "000000", "YELLOW": "FFFF00", "GREEN": "00FF00", "CYAN": "00FFFF", "BLUE": "0000FF"},
    **{"MAGENTA": "FF00FF", "RED": "FF0000", "DARKBLUE": "000080", "DARKCYAN": "008080", "DARKGREEN": "008000"},
    **{"DARKMAGENTA": "800080", "DARKRED": "800000", "DARKYELLOW": "808000", "DARKGRAY": "808080"},
    **{"LIGHTGRAY": "C0C0C0"},
}


def colour(text: str) -> str:
    """Return a colour as six digits, or "" for none, an automatic or an unknown one."""
    found = _HEX.fullmatch(text.upper())
    return found[1] if found else _NAMED.get(text.upper(), "")


def is_blended(text: str, behind: str) -> bool:
    """True if text of this colour is invisible on the background, "" being paper. Text of colour "" is visible."""
    return bool(text) and all(
        abs(int(text[at : at + 2], 16) - int((behind or PAPER)[at : at + 2], 16)) <= _NEAR for at in (0, 2, 4)
    )
