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


def tokens(value: Any) -> int:
    """About how many tokens a value costs as JSON: a quarter of its bytes."""
    return len(_compact(value)) // 4 + 1


def _compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def lean(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without what is empty: no value, no text, an empty list or object, no. A zero is a value."""
    return {name: value for name, value in row.items() if value is not False and value not in (None, "", [], {})}


class Rows:
    """Rows of a list, as many as its budget holds; the first always fits."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.items: list[dict[str, Any]] = []
        self._left = budget - _ENVELOPE

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
