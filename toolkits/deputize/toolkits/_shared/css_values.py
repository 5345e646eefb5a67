"""CSS values that decide whether a person sees a text: lengths in pixels, numbers, colours.

A value that browsers ignore is None, because an earlier declaration then applies. For a value that browsers support and
deputize does not, `Unknown` is raised.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final, NamedTuple

WIDTH: Final = 1280.0
"""Width in pixels of the assumed window; phones differ and are not considered."""
_WINDOWS: Final = ("v", "sv", "lv", "dv", "cq")  # an unnamed container is the window too
_PIXELS: Final = {
    **{"px": 1.0, "pt": 4 / 3, "in": 96.0, "cm": 37.8, "mm": 3.78, "pc": 16.0, "q": 0.945, "rem": 16.0},
    **{"rex": 8.0, "rch": 8.0, "rcap": 11.2, "ric": 16.0},
    **{f"{kind}{side}": WIDTH / 100 for kind in _WINDOWS for side in ("w", "i", "max")},
    **{f"{kind}{side}": 8.0 for kind in _WINDOWS for side in ("h", "b", "min")},
}
_OF_SIZE: Final = {"em": 1.0, "ex": 0.5, "ch": 0.5, "lh": 1.2, "cap": 0.7, "ic": 1.0, "rlh": 1.2}
_NUMBER: Final = r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?"
_LENGTH = re.compile(rf"({_NUMBER})([a-z%]*)")
_TOKEN = re.compile(rf"\s*(?:({_NUMBER})([a-z%]*)|([a-z-]+)?(\()|([-+*/,)]))\s*")
_LONGEST: Final = 2_000
_MATH: Final = ("calc", "min", "max", "clamp")


class Unknown(Exception):
    """A value that browsers support and deputize does not."""


class Colour(NamedTuple):
    """Red, green, blue and opacity, each from 0 to 1."""

    red: float
    green: float
    blue: float
    alpha: float = 1.0

    def over(self, below: Colour) -> Colour:
        """Return this colour blended over an opaque one."""
        a = self.alpha
        mixed = [top * a + under * (1 - a) for top, under in zip(self[:3], below[:3], strict=True)]
        return Colour(mixed[0], mixed[1], mixed[2])

    def contrast(self, other: Colour) -> float:
        """Return the contrast ratio (WCAG 2.2): 1 for no contrast, 21 for black on white."""
        dark, light = sorted((self._luminance, other._luminance))
        return (light + 0.05) / (dark + 0.05)

    @property
    def _luminance(self) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in self[:3]]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


WHITE: Final = Colour(1, 1, 1)
BLACK: Final = Colour(0, 0, 0)
_SYSTEM: Final = {
    **dict.fromkeys("canvas field window buttonface menu infobackground threedface".split(), WHITE),
    **dict.fromkeys("canvastext fieldtext windowtext buttontext menutext infotext captiontext text".split(), BLACK),
}
_SYSTEM_UNKNOWN: Final = frozenset(
    "accentcolor accentcolortext activetext buttonborder graytext highlight highlighttext linktext mark marktext"
    " selecteditem selecteditemtext visitedtext activeborder activecaption appworkspace background buttonhighlight"
    " buttonshadow inactiveborder inactivecaption inactivecaptiontext scrollbar threeddarkshadow threedhighlight"
    " threedlightshadow threedshadow windowframe".split()
)


@lru_cache(1000)
def colour(value: str) -> Colour | None:
    """Return a CSS colour, or None. Raises `Unknown` for a system colour or one that cannot be converted."""
    from tinycss2.color4 import parse_color

    if value in _SYSTEM:
        return _SYSTEM[value]
    if value in _SYSTEM_UNKNOWN or value.startswith(("-webkit-", "-internal-")):
        raise Unknown("colour")
    if "," in value and ("none" in value or not value.startswith(("rgb", "hsl"))):
        raise Unknown("colour")  # only the legacy functions have commas, without ``none``; tinycss2 accepts more
    parsed = parse_color(value[:200])
    if parsed is None or isinstance(parsed, str):
        return None
    try:
        red, green, blue = (min(max(c or 0.0, 0.0), 1.0) for c in parsed.to("srgb").coordinates)
    except NotImplementedError as error:
        raise Unknown("colour") from error
    return Colour(red, green, blue, min(max(parsed.alpha, 0.0), 1.0))


def legacy_colour(value: str) -> Colour | None:
    """Return the colour in an attribute such as ``bgcolor``, where browsers accept anything (HTML, 2.3.6), or None."""
    value = value.strip().lower()
    if not value or value == "transparent":
        return None
    named = None if "(" in value or value in _SYSTEM or value in _SYSTEM_UNKNOWN or value[0] == "-" else colour(value)
    if named:
        return named
    digits = re.sub(r"[^0-9a-f]", "0", value.removeprefix("#")[:128])
    third = max(math.ceil(len(digits) / 3), 1)
    digits = digits.ljust(third * 3, "0")
    parts = [digits[at : at + third][-8:] for at in range(0, third * 3, third)]
    while len(parts[0]) > 2 and all(part[0] == "0" for part in parts):
        parts = [part[1:] for part in parts]
    return colour("#" + "".join(part[:2].rjust(2, "0") for part in parts))


def number(value: str) -> float | None:
    """Return a number, or a percentage as a fraction, or None for any other value."""
    if found := _LENGTH.fullmatch(value):
        return float(found[1]) / 100 if found[2] == "%" else float(found[1]) if not found[2] else None
    return _calculate(value, 16.0, 1.0, lengths=0)


def pixels(value: str, size: float, whole: float = WIDTH) -> float | None:
    """Return a length in pixels, or None for any other value. ``size``: the font size. ``whole``: the length of 100 %.

    Raises `Unknown` for an unsupported function.
    """
    if found := _LENGTH.fullmatch(value):
        return _to_pixels(float(found[1]), found[2], size, whole)
    return _calculate(value, size, whole, lengths=1)


def _to_pixels(count: float, unit: str, size: float, whole: float) -> float | None:
    if unit == "%":
        return count * whole / 100
    if unit in _OF_SIZE:
        return count * size * _OF_SIZE[unit]
    if not unit:
        return 0.0 if count == 0 else None
    return count * _PIXELS[unit] if unit in _PIXELS else None


def _calculate(value: str, size: float, whole: float, lengths: int) -> float | None:
    """Return the value of a function such as ``calc()``, or None. ``lengths``: 1 for a length, 0 for a number."""
    if "(" not in value:
        return None
    tokens = list(_TOKEN.finditer(value[:_LONGEST]))
    if sum(len(token[0]) for token in tokens) != len(value) or not value.startswith(_MATH):
        raise Unknown(value.partition("(")[0][:30])
    try:
        found = _Sum(tokens, size, whole, per_cent=lengths).whole()
    except (IndexError, ZeroDivisionError, RecursionError) as error:
        raise Unknown("calc") from error
    if found.lengths != lengths:
        raise Unknown("calc")
    return found.value


class _Term(NamedTuple):
    """A number, or a length in pixels (``lengths`` is 1)."""

    value: float
    lengths: int


class _Sum:
    """The value of a CSS math function (CSS Values 4, 10), with units converted to pixels.

    Raises `Unknown` for input that browsers might ignore: numbers added to lengths, signs without blanks around them.
    """

    def __init__(self, tokens: list[re.Match[str]], size: float, whole: float, per_cent: int) -> None:
        self._tokens, self._at, self._size, self._whole, self._per_cent = tokens, 0, size, whole, per_cent

    def whole(self) -> _Term:
        found = self._value()
        _require(self._at == len(self._tokens))
        return found

    def _value(self) -> _Term:
        token = self._tokens[self._at]
        self._at += 1
        if token[1]:
            count, unit = float(token[1]), token[2]
            if not unit:
                return _Term(count, 0)
            measured = _to_pixels(count, unit, self._size, self._whole)
            _require(measured is not None)
            return _Term(measured or 0.0, self._per_cent if unit == "%" else 1)
        _require(bool(token[4]) and token[3] in (None, *_MATH))
        terms = [self._sum()]
        while self._tokens[self._at][5] == ",":
            self._at += 1
            terms.append(self._sum())
        _require(self._tokens[self._at][5] == ")" and len({term.lengths for term in terms}) == 1)
        self._at += 1
        values = [term.value for term in terms]
        _require(len(values) == {"clamp": 3, "calc": 1, None: 1}.get(token[3], len(values)))
        chosen = (
            max(values[0], min(values[1:]))
            if token[3] == "clamp"
            else min(values)
            if token[3] == "min"
            else max(values)
        )
        return _Term(chosen, terms[0].lengths)

    def _sum(self) -> _Term:
        total = self._product()
        while (sign := self._tokens[self._at])[5] in ("+", "-"):
            _require(self._tokens[self._at - 1][0][-1:].isspace() and sign[0][-1:].isspace())
            self._at += 1
            more = self._product()
            _require(more.lengths == total.lengths)
            total = _Term(total.value - more.value if sign[5] == "-" else total.value + more.value, total.lengths)
        return total

    def _product(self) -> _Term:
        total = self._value()
        while (sign := self._tokens[self._at][5]) in ("*", "/"):
            self._at += 1
            factor = self._value()
            value = total.value * factor.value if sign == "*" else total.value / factor.value
            total = _Term(value, total.lengths + (factor.lengths if sign == "*" else -factor.lengths))
        return total


def _require(known: bool) -> None:
    if not known:
        raise Unknown("calc")
