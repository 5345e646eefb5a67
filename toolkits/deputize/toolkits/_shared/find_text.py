"""Search in a text that is too long to read: the places of some words, with the lines around them.

The parser process of files uses it, so it imports nothing else of deputize.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Final

AROUND: Final = 2
"""Lines before and after a match that are shown with it."""
_HYPHENATED: Final = r"(?:-[ \t]*\n[ \t]*|\xad\s*)?"
_LINE: Final = 240  # characters of a line around the match


def find_in(text: str, find: str) -> list[int]:
    """Return where the words occur, ignoring case. A blank in ``find`` is any run of blanks and line ends. A word may
    be hyphenated at the end of a line."""
    pattern = r"\s+".join(_HYPHENATED.join(map(re.escape, word)) for word in find.split())
    return [match.start() for match in re.finditer(pattern, text, re.IGNORECASE)] if pattern else []


def excerpts(text: str, places: Sequence[int], around: int = AROUND) -> Iterator[tuple[int, dict[str, Any]]]:
    """Return each place and the lines around it: ``text``, the place's ``line`` (from 1), and the ``offset`` of the
    first of these lines. A place in lines that were shown with the one before is in that excerpt."""
    starts = [0, *(end.end() for end in re.finditer("\n", text))]
    shown = -1
    for place in places:
        line = bisect_right(starts, place) - 1
        if line <= shown:
            continue
        shown = min(line + around, len(starts) - 1)
        first = max(line - around, 0)
        lines = [_cut(text, starts, n, place if n == line else None) for n in range(first, shown + 1)]
        yield place, {"line": line + 1, "offset": starts[first], "text": "\n".join(lines)}


def _cut(text: str, starts: Sequence[int], line: int, place: int | None) -> str:
    """Return a line, or the part of a long one around the place."""
    start = starts[line]
    end = starts[line + 1] - 1 if line + 1 < len(starts) else len(text)
    if end - start <= _LINE:
        return text[start:end]
    begin = max(start, min((place or 0) - _LINE // 3, end - _LINE))
    return ("\u2026" if begin > start else "") + text[begin : begin + _LINE] + "\u2026" * (begin + _LINE < end)
