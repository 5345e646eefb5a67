"""Lists within a budget of tokens, and cursors to continue them.

A cursor is opaque. A digest binds it to its tool, account and filters, so that a foreign or miscopied one is refused.
The digest needs no key, because a cursor grants nothing: the provider checks the caller's own token, and every value in
a cursor is checked again.
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
_ENVELOPE: Final = 150  # tokens reserved for the fields around the rows
_DIGEST: Final = 16  # characters


_COSTS: Final = (  # tokens per byte of UTF-8; later bytes of a character cost nothing
    (b"abcdefghijklmnopqrstuvwxyz", 0.247),
    (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", 1.07),
    (b"0123456789", 0.68),
    (b'":,{}[]', 0.3),
    (b"!#$%&'()*+-./;<=>?@^_`|~", 1.07),
    (b"\\", 0.6),
    (b"\n\t\r", 0.85),  # escaped in JSON
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
    """Return the estimated tokens of a value as JSON: mostly a little more than o200k counts, and never much less.

    The price of each script is fitted to that tokenizer on results and mails in fourteen languages
    (`tests/counterparts/test_token_estimate.py`).
    """
    return _tokens(_compact(value))


def text_tokens(text: str) -> int:
    """Return the estimated tokens of a bare text."""
    return _tokens(text.encode(errors="replace"))


def _tokens(data: bytes) -> int:
    costs = _COSTS if data.isascii() else _COSTS + _OTHER_COSTS
    whole = len(data)
    return int(sum(cost * (whole - len(data.translate(None, which))) for which, cost in costs)) + 1


def room_for(text: str, start: int, budget: int) -> int:
    """Return how many bytes of the text from character ``start`` cost at most ``budget`` tokens."""
    size = 6 * budget
    piece = text[start : start + size].encode(errors="replace")[:size]
    while len(piece) > 16 and (cost := _tokens(piece)) > budget:
        piece = piece[: max(16, len(piece) * budget // cost - 1)]
    return len(piece)


def _compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def lean(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row without None, False, and empty texts, lists and objects. Zeros stay."""
    return {name: value for name, value in row.items() if value is not False and value not in (None, "", [], {})}


def room_of_rows(budget: int) -> int:
    """Return the tokens available for a list's rows. Rows that are mostly ids cost a twentieth more than estimated."""
    return budget * 19 // 20 - _ENVELOPE


class Rows:
    """Rows of a list up to its budget; the first row always fits."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.items: list[dict[str, Any]] = []
        self._left = room_of_rows(budget)

    def add(self, row: dict[str, Any], *, whole: bool = False) -> bool:
        """Add a row without its empty fields, or ``whole``. Return False, without adding, if the budget is spent."""
        if not whole:
            row = lean(row)
        self._left -= tokens(row)
        if self._left < 0 and self.items:
            return False
        self.items.append(row)
        return True


def write_cursor(bound_to: Iterable[Any], place: list[str | int]) -> str:
    """Return a cursor for this position in the list that ``bound_to`` (tool, account, filters: JSON) identifies."""
    kept = base64.urlsafe_b64encode(_compact(place)).decode().rstrip("=")
    return _digest(bound_to, kept) + kept


def read_cursor(bound_to: Iterable[Any], cursor: str, shape: tuple[type, ...]) -> list[Any]:
    """Return the position in a cursor. ``shape``: its types. Raises `InvalidInput` for another list's cursor."""
    digest, kept = cursor[:_DIGEST], cursor[_DIGEST:]
    if digest == _digest(bound_to, kept):
        place = _parse(kept)
        if isinstance(place, list) and tuple(type(part) for part in place) == shape and _is_sane(place):
            return place
    raise InvalidInput(
        "cursor: not a cursor of this list, or its filters differ.",
        hint="Pass `next` of the previous result unchanged, with the same filters.",
    )


def _parse(kept: str) -> Any:
    try:
        return json.loads(base64.b64decode(kept + "=" * (-len(kept) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None


def _is_sane(place: list[Any]) -> bool:
    return all(
        len(part) <= 512 and part.isascii() and part.isprintable() if isinstance(part, str) else 0 <= part < 1 << 53
        for part in place
    )


def _digest(bound_to: Iterable[Any], kept: str) -> str:
    whole = hashlib.sha256(_compact(["cursor-1", *bound_to, kept])).digest()
    return base64.urlsafe_b64encode(whole)[:_DIGEST].decode()
