"""Linear: lists inside a detail. Each is cut to its budget, and notes name the lists that are cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from deputize.toolkits._shared.long_text import ALONE
from deputize.toolkits._shared.page import tokens
from deputize.toolkits.linear.base import Json
from deputize.toolkits.linear.texts import PIECE

BLOCK: Final = 1_850  # tokens of one block of a detail
DETAIL: Final = 3_700  # tokens of a detail with its blocks
_AROUND: Final = 200  # tokens of a text's fields: its continuation, its author
_LISTS_ALL: Final = {
    "comments": "linear_list_comments",
    "updates": "linear_list_updates",
    "issues": "linear_list_issues",
    "projects": "linear_list_projects",
    "labels": "linear_lookup",
    "members": "linear_lookup",
}

Blocks = Iterable[tuple[str, Sequence[Any], bool]]
"""Name, rows, and whether Linear has more of them than were requested."""


def is_cut(connection: Any) -> bool:
    """True if a connection has more rows than were requested."""
    return bool(((connection or {}).get("pageInfo") or {}).get("hasNextPage"))


def text_room(detail: Json) -> int:
    """Return the number of tokens left for the text of a detail without blocks."""
    return max(PIECE, min(ALONE, DETAIL - _AROUND - tokens(detail)))


def with_blocks(detail: Json, blocks: Blocks) -> Json:
    """Return a detail with its blocks, each cut to its budget. ``cut`` names the blocks that are cut."""
    cut_short = []
    for name, every, rest in blocks:
        left = min(BLOCK, DETAIL - tokens(detail))
        shown: list[Any] = []
        for row in every:
            left -= tokens(row)
            if left < 0:
                break
            shown.append(row)
        detail[name] = shown
        if rest or len(shown) < len(every):
            cut_short.append(_not_all(name, len(shown), len(every), rest))
    return detail | ({"truncated": True, "cut": cut_short} if cut_short else {})


def _not_all(name: str, shown: int, every: int, rest: bool) -> str:
    where = f" {_LISTS_ALL[name]} lists all." if name in _LISTS_ALL else ""
    return f"{name}: {shown} of {'more than ' if rest else ''}{every} are shown.{where}"
