"""What PDF's operators make of the graphics state (ISO 32000-1, 8.4 and 9.3), as far as it decides what is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

Matrix = tuple[float, float, float, float, float, float]
Box = tuple[float, float, float, float]

IDENTITY: Final[Matrix] = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
SMALLEST: Final = 2.0
"""Points: what is smaller nobody reads."""
_WHITE: Final = 0.96


@dataclass(frozen=True, slots=True)
class State:
    """``fill``: how light it is, 0 to 1; None where that is not known. ``alpha``: how opaque; ``mode``: Tr's."""

    ctm: Matrix = IDENTITY
    fill: float | None = 0.0
    device: bool = True
    alpha: float = 1.0
    mode: int = 0
    font: str = ""
    size: float = 0.0
    leading: float = 0.0

    @property
    def white(self) -> bool:
        """Whether it is the colour of paper."""
        return self.fill is not None and self.fill >= _WHITE

    def coloured(self, operator: bytes, operands: Sequence[Any]) -> State:
        """With the fill colour that one of ``g rg k sc scn cs`` sets."""
        if operator == b"cs":
            name = str(operands[0]) if operands else ""
            return replace(self, device=name.startswith(("/Device", "/Cal", "/ICC")), fill=0.0)
        values = [_number(one) for one in operands if not str(one).startswith("/")]
        if len(values) < len(operands) or (operator in (b"sc", b"scn") and not self.device):
            return replace(self, fill=None)  # a pattern, or an ink whose colour is not known
        light = {
            1: lambda v: v[0],
            3: lambda v: min(v),
            4: lambda v: 1.0 - max(v),
        }.get(len(values))
        return replace(self, fill=light(values) if light else None, device=True)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def numbers(operands: Sequence[Any], count: int) -> list[float]:
    """The first operands as numbers; zeros for what is missing or none."""
    found = [_number(one) for one in operands[:count]]
    return found + [0.0] * (count - len(found))


def times(inner: Matrix, outer: Matrix) -> Matrix:
    """First ``inner``, then ``outer``."""
    a, b, c, d, e, f = inner
    g, h, i, j, k, m = outer
    return (a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m)


def matrix(operands: Sequence[Any]) -> Matrix:
    """The six operands of ``cm`` or ``Tm``."""
    a, b, c, d, e, f = numbers(operands, 6)
    return (a, b, c, d, e, f)


def around(points: Sequence[tuple[float, float]], by: Matrix) -> Box:
    """The smallest upright box around these points, once they are moved."""
    a, b, c, d, e, f = by
    xs = [a * x + c * y + e for x, y in points]
    ys = [b * x + d * y + f for x, y in points]
    return (min(xs), min(ys), max(xs), max(ys))


def within(x: float, y: float, box: Box) -> bool:
    """Whether a point lies in a box."""
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]
