"""Lists within a budget of tokens, and the cursors that go on where a list ended.

A cursor is opaque and bound by a digest to its tool, account and filters, so that one from elsewhere, or altered by a
model that copies badly, is refused. The digest needs no key, since a cursor gives no authority: whoever forges one
says "start there" to a provider that checks the caller's own token, and every value in it is checked again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from deputize.core.errors import InvalidInput

BUDGET: Final = 4_000  # tokens of a whole result
_ENVELOPE: Final = 150  # tokens kept free for what surrounds the rows
_DIGEST: Final = 16  # characters


_COSTS: Final = (  # of a byte of UTF-8, by its first: letters, digits, signs, what ends a line, then other scripts
    (b"abcdefghijklmnopqrstuvwxyz", 0.247),
    (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", 1.07),
    (b"0123456789", 0.68),
    (b'":,{}[]', 0.3),
    (b"!#$%&'()*+-./;<=>?@^_`|~", 1.07),
    (b"\\", 0.6),
    (b"\n\t\r", 0.85),  # as JSON writes it
)
_OTHER_COSTS: Final = (
    (bytes(range(0xC4, 0xC6)), 2.0),  # Polish, Czech, Turkish ...
    (bytes(range(0xD0, 0xD4)), 0.32),  # Cyrillic
    (bytes([*range(0xC6, 0xD0), *range(0xD4, 0xE0)]), 0.48),  # Greek, Hebrew, Arabic, Armenian
    (b"\xe0", 0.53),  # Indic, Thai
    (bytes(range(0xE3, 0xEA)), 0.8),  # Chinese, Japanese
    (bytes(range(0xEA, 0xEE)), 0.64),  # Korean
    (b"\xe1\xe2\xee\xef", 0.83),
    (bytes(range(0xF0, 0xF5)), 1.95),  # emoji
)


def tokens(value: Any) -> int:
    """About how many tokens a value costs as JSON: mostly a little more than o200k counts, and never much less.

    Each script has its price, as fitted to what that tokenizer counts in results and mails of fourteen languages
    (`tests/counterparts/test_token_estimate.py`).
    """
    return _tokens(_compact(value))


def text_tokens(text: str) -> int:
    """The same for a text by itself."""
    return _tokens(text.encode(errors="replace"))


def _tokens(data: bytes) -> int:
    costs = _COSTS if data.isascii() else _COSTS + _OTHER_COSTS
    whole = len(data)
    return int(sum(cost * (whole - len(data.translate(None, which))) for which, cost in costs)) + 1


def room_for(text: str, start: int, budget: int) -> int:
    """How many bytes of the text from character ``start`` on cost about ``budget`` tokens, and no more."""
    size = 6 * budget
    piece = text[start : start + size].encode(errors="replace")[:size]
    while len(piece) > 16 and (cost := _tokens(piece)) > budget:
        piece = piece[: max(16, len(piece) * budget // cost - 1)]
    return len(piece)


def _compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def lean(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without what is empty: no value, no text, an empty list or object, no. A zero is a value."""
    return {name: value for name, value in row.items() if value is not False and value not in (None, "", [], {})}


def room_of_rows(budget: int) -> int:
    """Tokens that the rows of a list may cost: those of little but ids cost a twentieth more than is estimated."""
    return budget * 19 // 20 - _ENVELOPE


class Rows:
    """Rows of a list, as many as its budget holds; the first always fits."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.items: list[dict[str, Any]] = []
        self._left = room_of_rows(budget)

    def add(self, row: dict[str, Any], *, whole: bool = False) -> bool:
        """Take a row without what is empty in it, or ``whole``. False, and not taken, if the budget is spent."""
        if not whole:
            row = lean(row)
        self._left -= tokens(row)
        if self._left < 0 and self.items:
            return False
        self.items.append(row)
        return True


def write_cursor(bound_to: Iterable[Any], place: list[str | int]) -> str:
    """A cursor for this place in the list that ``bound_to`` (tool, account, filters: JSON) describes."""
    kept = base64.urlsafe_b64encode(_compact(place)).decode().rstrip("=")
    return _digest(bound_to, kept) + kept


def read_cursor(bound_to: Iterable[Any], cursor: str, shape: tuple[type, ...]) -> list[Any]:
    """The place a cursor stands for, its parts of the types in ``shape``. Raises `InvalidInput` for any other."""
    digest, kept = cursor[:_DIGEST], cursor[_DIGEST:]
    if digest == _digest(bound_to, kept):
        place = _parsed(kept)
        if isinstance(place, list) and tuple(type(part) for part in place) == shape and _sane(place):
            return place
    raise InvalidInput(
        "cursor: not a cursor of this list, or its filters differ.",
        hint="Pass `next` of the previous result unchanged, with the same filters.",
    )


def _parsed(kept: str) -> Any:
    try:
        return json.loads(base64.b64decode(kept + "=" * (-len(kept) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None


def _sane(place: list[Any]) -> bool:
    return all(
        len(part) <= 512 and part.isascii() and part.isprintable() if isinstance(part, str) else 0 <= part < 1 << 53
        for part in place
    )


def _digest(bound_to: Iterable[Any], kept: str) -> str:
    whole = hashlib.sha256(_compact(["cursor-1", *bound_to, kept])).digest()
    return base64.urlsafe_b64encode(whole)[:_DIGEST].decode()
