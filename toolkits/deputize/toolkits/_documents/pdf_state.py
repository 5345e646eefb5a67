"""The graphics state that PDF operators change (ISO 32000-1, 8.4 and 9.3), as far as it decides what is visible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

Matrix = tuple[float, float, float, float, float, float]
Box = tuple[float, float, float, float]
Colour = tuple[float, float, float]

IDENTITY: Final[Matrix] = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
SMALLEST: Final = 2.0
"""Points of the smallest readable text."""
_WHITE: Final = 0.96
_APART: Final = 0.04
_HAIR: Final = 1.0  # points
_INKS: Final = ("/Separation", "/DeviceN")


@dataclass(frozen=True, slots=True)
class State:
    """The graphics state. ``fill``: lightness from 0 to 1. ``rgb``: its colour. Both are None if unknown. ``alpha``:
    opacity. ``mode``, ``scale``, ``rise``: the operands of Tr, Tz and Ts. ``clip``: the box outside of which nothing is
    painted. ``ink``: True if colours are inks. ``masked``: True if a soft mask may remove everything."""

    ctm: Matrix = IDENTITY
    fill: float | None = 0.0
    device: bool = True
    alpha: float = 1.0
    mode: int = 0
    font: str = ""
    size: float = 0.0
    leading: float = 0.0
    rgb: Colour | None = (0.0, 0.0, 0.0)
    ink: bool = False
    scale: float = 1.0
    rise: float = 0.0
    clip: Box | None = None
    masked: bool = False

    @property
    def white(self) -> bool:
        """True if the fill is the colour of paper."""
        return self.fill is not None and self.fill >= _WHITE

    def with_colour(self, operator: bytes, operands: Sequence[Any]) -> State:
        """Return the state with the fill colour that one of the operators ``g rg k sc scn cs`` sets."""
        if operator == b"cs":
            name = str(operands[0]) if operands else ""
            device = name.startswith(("/DeviceGray", "/DeviceRGB", "/DeviceCMYK", "/Cal", "/ICC"))
            return replace(self, device=device, ink=name in _INKS, fill=0.0, rgb=(0.0, 0.0, 0.0))
        values = [_number(one) for one in operands if not str(one).startswith("/")]
        if self.ink and operator in (b"sc", b"scn") and operands and not any(values):
            return replace(self, fill=1.0, rgb=(1.0, 1.0, 1.0))  # no ink at all
        if len(values) < len(operands) or (operator in (b"sc", b"scn") and not self.device):
            return replace(self, fill=None, rgb=None)  # a pattern, or an ink of unknown colour
        light = {
            1: lambda v: v[0],
            3: lambda v: min(v),
            4: lambda v: 1.0 - max(v),
        }.get(len(values))
        return replace(self, fill=light(values) if light else None, rgb=_rgb(values), device=True, ink=False)

    def with_clip(self, box: Box) -> State:
        """Return the state clipped to this box."""
        left, bottom, right, top = self.clip or box
        return replace(self, clip=(max(left, box[0]), max(bottom, box[1]), min(right, box[2]), min(top, box[3])))


def _rgb(values: Sequence[float]) -> Colour | None:
    """Return red, green and blue of a grey, an RGB or a CMYK colour."""
    if len(values) == 4:
        cyan, magenta, yellow, black = values
        return ((1 - cyan) * (1 - black), (1 - magenta) * (1 - black), (1 - yellow) * (1 - black))
    three = [*values] * 3 if len(values) == 1 else values
    return (three[0], three[1], three[2]) if len(three) == 3 else None


def is_alike(one: Colour | None, other: Colour | None) -> bool:
    """True if two colours cannot be distinguished. False if a colour is unknown."""
    return one is not None and other is not None and all(abs(a - b) < _APART for a, b in zip(one, other, strict=True))


def is_visible_in(clip: Box, text: Box) -> bool:
    """True if a clip leaves more than a hair of a text visible."""
    wide = min(clip[2], text[2]) - max(clip[0], text[0])
    high = min(clip[3], text[3]) - max(clip[1], text[1])
    return wide > _HAIR and high > _HAIR


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def numbers(operands: Sequence[Any], count: int) -> list[float]:
    """Return the first operands as numbers, 0 for missing or invalid ones."""
    found = [_number(one) for one in operands[:count]]
    return found + [0.0] * (count - len(found))


def multiply(inner: Matrix, outer: Matrix) -> Matrix:
    """Return the matrix that applies ``inner``, then ``outer``."""
    a, b, c, d, e, f = inner
    g, h, i, j, k, m = outer
    return (a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m)


def matrix(operands: Sequence[Any]) -> Matrix:
    """Return the six operands of ``cm`` or ``Tm`` as a matrix."""
    a, b, c, d, e, f = numbers(operands, 6)
    return (a, b, c, d, e, f)


def bounds(points: Sequence[tuple[float, float]], by: Matrix) -> Box:
    """Return the smallest upright box around these points after the transformation."""
    a, b, c, d, e, f = by
    xs = [a * x + c * y + e for x, y in points]
    ys = [b * x + d * y + f for x, y in points]
    return (min(xs), min(ys), max(xs), max(ys))


def is_within(x: float, y: float, box: Box) -> bool:
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]
