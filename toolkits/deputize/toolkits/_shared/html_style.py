"""How an element of an HTML mail looks, as far as it decides whether a person sees its text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_NAMED = {"white": _WHITE, "black": _BLACK, "snow": (255, 250, 250), "ivory": (255, 255, 240), "red": (255, 0, 0)}
_CLOSE: Final = 16  # of 255, by which two colours may differ and still look the same
_TINY: Final = 1.0  # pixels
_UNIT_PIXELS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "in": 96.0, "cm": 37.8, "mm": 3.78, "rem": 16.0, "pc": 16.0}
_LENGTH = re.compile(r"(\d*\.?\d+)\s*([a-z%]*)")
_COLOUR = re.compile(r"#[0-9a-f]{3,8}\b|rgba?\([^)]*\)|\b[a-z]+\b")

Colour = tuple[int, int, int] | str


@dataclass(frozen=True, slots=True)
class Look:
    """What an element inherits or says. A colour of None is not set; a background of "" cannot be known."""

    gone: bool = False
    invisible: bool = False
    size: float = 16.0
    colour: Colour | None = None
    background: Colour | None = None
    classed: bool = False

    @property
    def unseen(self) -> bool:
        """Whether a person does not see the text."""
        return self.gone or self.invisible or self.size <= _TINY or self._blends

    @property
    def _blends(self) -> bool:
        """Text in the colour of its background. Without a word about them, a page is black on white."""
        if self.colour == "transparent":
            return True
        if self.background == "" or (self.colour is None and (self.background is None or self.classed)):
            return False
        return _alike(self.colour or _BLACK, self.background or _WHITE)


ROOT = Look()


def look(tag: str, attributes: Mapping[str, str], above: Look) -> Look:
    """The look of an element inside another."""
    css = _declarations(attributes.get("style", ""))
    shown = css.get("visibility")
    return Look(
        gone=above.gone or "hidden" in attributes or css.get("display") == "none" or _is_zero(css.get("opacity", "")),
        invisible=shown in ("hidden", "collapse") if shown else above.invisible,
        size=_size(css.get("font-size", ""), above.size),
        colour=_colour(css.get("color") or (attributes.get("color", "") if tag == "font" else "")) or above.colour,
        background=_background(css, attributes, above.background),
        classed=above.classed or "class" in attributes,
    )


def _declarations(style: str) -> dict[str, str]:
    plain = re.sub(r"/\*.*?\*/", "", style[:4000].lower(), flags=re.DOTALL).replace("!important", "")
    pairs = (one.partition(":") for one in plain.split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _is_zero(value: str) -> bool:
    return bool(re.fullmatch(r"0*\.?0+%?", value))


def _size(value: str, above: float) -> float:
    """A font size in pixels."""
    length = _LENGTH.fullmatch(value)
    if not length:
        return above if not value else 16.0
    count, unit = float(length[1]), length[2]
    if unit in ("em", "%"):
        return above * count / (100 if unit == "%" else 1)
    return count * _UNIT_PIXELS.get(unit, 16.0)


def _background(css: Mapping[str, str], attributes: Mapping[str, str], above: Colour | None) -> Colour | None:
    said = css.get("background-color") or css.get("background") or attributes.get("bgcolor", "").lower()
    pictured = "url(" in css.get("background", "") or "gradient" in css.get("background", "")
    if pictured or "background-image" in css or "background" in attributes:
        return ""
    colour = _colour(said)
    return above if colour in (None, "transparent") else colour


def _colour(value: str) -> Colour | None:
    """The first colour named in a value; None for none."""
    found = _COLOUR.search(value.lower())
    if not found or found[0] in ("inherit", "initial", "none", "unset", "currentcolor"):
        return None
    if found[0].startswith("#"):
        return _hexed(found[0][1:])
    if found[0].startswith("rgb"):
        return _mixed(found[0])
    return _NAMED.get(found[0], found[0])


def _hexed(digits: str) -> Colour | None:
    if len(digits) in (3, 4):
        digits = "".join(digit * 2 for digit in digits)
    if digits[6:] == "00":
        return "transparent"
    return (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)) if len(digits) in (6, 8) else None


def _mixed(function: str) -> Colour | None:
    numbers = re.findall(r"\d*\.?\d+", function)
    if len(numbers) == 4 and float(numbers[3]) == 0:
        return "transparent"
    red, green, blue = ([min(int(float(n)), 255) for n in numbers[:3]] + [0, 0, 0])[:3]
    return (red, green, blue)


def _alike(one: Colour, other: Colour) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return all(abs(a - b) <= _CLOSE for a, b in zip(one, other, strict=True))
