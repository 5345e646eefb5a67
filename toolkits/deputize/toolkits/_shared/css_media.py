"""Evaluation of media queries for a desktop reader: a wide, light screen (Media Queries 4)."""

from __future__ import annotations

import re
from typing import Final

from deputize.toolkits._shared.css_values import WIDTH, Unknown, pixels

_HEIGHT: Final = 800.0
_IS: Final = {
    **{"prefers-color-scheme": "light", "orientation": "landscape", "hover": "hover", "pointer": "fine"},
    **{"any-hover": "hover", "any-pointer": "fine", "scripting": "none", "update": "fast", "grid": "0"},
    **{"prefers-reduced-motion": "no-preference", "prefers-contrast": "no-preference", "forced-colors": "none"},
    **{"inverted-colors": "none", "display-mode": "browser", "overflow-block": "scroll", "overflow-inline": "scroll"},
}
_SIZES: Final = {"width": WIDTH, "device-width": WIDTH, "height": _HEIGHT, "device-height": _HEIGHT}
_RATIOS: Final = ("resolution", "device-pixel-ratio")
_RANGE = re.compile(r"(?:([^<>=]+)(<=?|>=?|=))?\s*([a-z-]+)\s*(?:(<=?|>=?|=)([^<>=]+))?")
_AFTER: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}


def matches_screen(query: str) -> bool | None:
    """Return whether one query of a list matches, True for an empty list, None if unknown."""
    query = re.sub(r"/\*.*?\*/", " ", query.lower(), flags=re.DOTALL)[:2_000].strip()
    if query.count("(") > 50:
        return None
    each = [_evaluate(part.strip()) for part in query.split(",")] if query else [True]
    return True if True in each else None if None in each else False


def _evaluate(query: str) -> bool | None:
    negated = bool(re.match(r"not\s+(?!\()", query))
    query = re.sub(r"^(?:not\s+(?!\()|only\s+)", "", query)
    kind = re.match(r"[a-z-]+(?!\()\b", query)
    result: bool | None = True
    if kind and kind[0] not in ("not", "and", "or"):
        query = re.sub(r"^\s*and\b", "", query[kind.end() :]).strip()
        result = kind[0] in ("all", "screen")
    if query and result:
        result = _condition(query)
    return None if result is None else result is not negated


def _condition(text: str) -> bool | None:
    """Evaluate bracketed features, joined by ``and``, ``or`` or ``not``. Return None if unknown."""
    text = text.strip()
    if found := re.match(r"not\b", text):
        inner = _condition(text[found.end() :])
        return None if inner is None else not inner
    parts = _split_condition(text)
    if parts is None:
        return None
    words, pieces = parts
    values = [_feature(piece) for piece in pieces]
    if "or" in words:
        return True if True in values else None if None in values else False
    return False if False in values else None if None in values else True


def _split_condition(text: str) -> tuple[list[str], list[str]] | None:
    """Return the words between bracketed pieces, and the pieces; None if the text is malformed."""
    words: list[str] = []
    pieces: list[str] = []
    depth, start, between = 0, 0, ""
    for at, c in enumerate(text):
        if c == "(":
            if depth == 0:
                words.append(between.strip())
                start, between = at + 1, ""
            depth += 1
        elif c == ")":
            depth -= 1
            if depth == 0:
                pieces.append(text[start:at])
        elif depth == 0:
            between += c
    return (words[1:], pieces) if depth == 0 and pieces and not between.strip() else None


def _feature(piece: str) -> bool | None:
    piece = piece.strip()
    if piece.startswith("(") or piece.startswith("not"):
        return _condition(piece)
    name, colon, value = (part.strip() for part in piece.partition(":"))
    bare = name.removeprefix("-webkit-")
    side = "min" if bare.startswith("min-") else "max" if bare.startswith("max-") else ""
    plain = bare.removeprefix(f"{side}-") if side else bare
    if plain in _RATIOS:
        return _ratio(value, side)
    if plain in _SIZES and colon:
        return _compare(_SIZES[plain], {"min": ">=", "max": "<=", "": "="}[side], value)
    if plain in _IS:
        return _IS[plain] == value if colon else _IS[plain] not in ("none", "0", "no-preference")
    ranged = _RANGE.fullmatch(piece)
    if ranged and ranged[3] in _SIZES:
        actual = _SIZES[ranged[3]]
        left = _compare(actual, _AFTER[ranged[2]], ranged[1].strip()) if ranged[1] else True
        right = _compare(actual, ranged[4], ranged[5].strip()) if ranged[5] else True
        return None if left is None or right is None else left and right
    if plain == "color" and not colon:
        return True
    return False if name.startswith(("-ms-", "-moz-", "-o-", "min--moz-", "max--moz-")) else None


def _ratio(value: str, side: str) -> bool | None:
    found = re.fullmatch(r"([\d.]+)(dppx|x|dpi|dpcm)?", value)
    if found is None:
        return None
    count = float(found[1]) / {"dpi": 96, "dpcm": 37.8}.get(found[2] or "", 1)
    return count <= 1 if side == "min" else count >= 1 if side == "max" else count == 1


def _compare(actual: float, sign: str, value: str) -> bool | None:
    try:
        wanted = pixels(value, 16.0)
    except Unknown:
        return None
    if wanted is None:
        return None
    equal = actual == wanted
    beyond = {">": actual > wanted, "<": actual < wanted}.get(sign[0], False)
    return beyond or (equal and "=" in sign)
