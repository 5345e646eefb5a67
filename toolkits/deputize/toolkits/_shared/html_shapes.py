"""Geometry of an element's text: moved, scaled, or in a box that cuts it off."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from deputize.toolkits._shared.css_cascade import Values
from deputize.toolkits._shared.css_values import Unknown, number, pixels

_THIN: Final = 3.0  # pixels: a box of this size shows nothing
_SLIGHT: Final = 40.0  # pixels that a text may move without a doubt
_FUNCTION = re.compile(r"([a-z0-9-]+)\(([^()]*(?:\([^()]*\)[^()]*)*)\)")
_SIDES: Final = (("left", "right"), ("top", "bottom"))
_NO_LIMIT: Final = float("inf")


@dataclass(slots=True)
class Shape:
    """The effect of one element's styles on the geometry of its text."""

    hidden: str = ""
    across: float = 0.0
    down: float = 0.0
    indent: float = 0.0
    scale: float = 1.0
    opacity: float = 1.0
    box: tuple[float, float] | None = None
    doubts: frozenset[str] = frozenset()

    def doubt(self, what: str) -> None:
        """Record a property that cannot be evaluated."""
        self.doubts |= {what}


def shape_of(values: Values, size: float, kind: str, box: tuple[float, float] | None) -> Shape:
    """Return the shape of an element. ``size``: font size. ``kind``: block, cell or inline. ``box``: box around it."""
    shape = Shape(box=box)
    if values.given:
        _apply_position(shape, values, size)
        _transform(shape, values, size)
        _clip(shape, values, size)
        _filter(shape, values)
        if kind != "inline":
            _box(shape, values, size, kind)
        _check_pushed_out(shape, values, size)
    return shape


def _apply_position(shape: Shape, values: Values, size: float) -> None:
    """Apply margins, positions, indents and letter spacing."""
    across, down = values.length("margin-left", 0, size), values.length("margin-top", 0, size)
    position = values.get("position", "static")
    if position != "static":
        far = 600.0 if position in ("absolute", "fixed") else 0.0
        across += _offset(values, "left", "right", size, far)
        down += _offset(values, "top", "bottom", size, far)
    if position in ("absolute", "fixed"):
        shape.doubt("position")
    elif position != "static" and max(map(abs, (_offset(values, *pair, size, 0.0) for pair in _SIDES))) > 5:
        shape.doubt("position")
    if values.get("z-index", "auto").startswith("-"):
        shape.doubt("z-index")
    indent = values.length("text-indent", 0, size)
    room = max(across, 0) + values.length("padding-left", 0, size)
    shape.indent = indent + room if indent < 0 else indent
    if position in ("static", "relative") and across > 0:
        across = across if across > 600 else 0.0
    shape.across, shape.down = across, down
    sides = [values.length(f"margin-{side}", 0, size) for side in ("top", "right", "bottom", "left")]
    if min(sides) < -5:
        shape.doubt("margin")
    if values.length("width", 0, size) > 1_300 or values.length("padding-left", 0, size) > 800:
        shape.doubt("width")
    if across < -_SLIGHT or down < -_SLIGHT or shape.indent < -_SLIGHT:
        shape.doubt("margin" if position == "static" and shape.indent >= -_SLIGHT else "position")
    if across > 800 or down > 5_000 or shape.indent > 800:
        shape.doubt("position")
    if values.length("letter-spacing", 0, size) < min(-0.35 * size, -0.1):
        shape.hidden = shape.hidden or "letter-spacing"
    if values.length("word-spacing", 0, size) < min(-2 * size, -20):
        shape.hidden = shape.hidden or "word-spacing"
    for name, most in (("letter-spacing", 100), ("word-spacing", 50)):
        if values.length(name, 0, size) > most:
            shape.doubt(name)
    if total_height(values, size) > 5_000:
        shape.doubt("height")


def _offset(values: Values, near: str, away: str, size: float, far: float) -> float:
    """Return the shift from one side, or from the opposite side if only that is set and further than ``far``."""
    if values.get(near, "auto") != "auto":
        return values.length(near, 0, size)
    back = values.length(away, 0, size)
    return -back if abs(back) > far else 0.0


def _transform(shape: Shape, values: Values, size: float) -> None:
    for name, arguments in _FUNCTION.findall(values.get("transform", "")):
        _one_transform(shape, name, [one.strip() for one in arguments.split(",")], size)
    if scaled := values.get("scale"):
        _one_transform(shape, "scale", scaled.split(), size)
    if moved := values.get("translate"):
        _one_transform(shape, "translate", moved.split(), size)


def _one_transform(shape: Shape, name: str, arguments: list[str], size: float) -> None:
    try:
        if name.startswith("translate"):
            _translate(shape, name.removeprefix("translate"), [pixels(one, size, 600) or 0.0 for one in arguments])
        elif name.startswith("scale") or name == "matrix":
            numbers = [1.0 if (found := number(one)) is None else found for one in arguments]
            shape.scale *= min(map(abs, (numbers[0], numbers[3]) if name == "matrix" else numbers[:2]))
            if name == "matrix":
                _translate(shape, "", numbers[4:])
        elif name not in ("rotate", "rotatez"):
            if name in ("rotatex", "rotatey") and abs(_degrees(arguments[0]) % 180 - 90) < 6:
                shape.hidden = shape.hidden or "transform"
            shape.doubt("transform")
    except (Unknown, IndexError, ValueError):
        shape.doubt("transform")


def _translate(shape: Shape, axis: str, lengths: list[float]) -> None:
    across = lengths[0] if axis in ("", "x", "3d") else 0.0
    down = lengths[0] if axis == "y" else lengths[1] if axis in ("", "3d") and len(lengths) > 1 else 0.0
    shape.across, shape.down = shape.across + across, shape.down + down
    if max(abs(across), abs(down)) > 5:
        shape.doubt("transform")


def _degrees(angle: str) -> float:
    found = re.fullmatch(r"(-?[\d.]+)(deg|turn|rad|grad)?", angle)
    return float(found[1]) * {"turn": 360, "rad": 57.3, "grad": 0.9}.get(found[2] or "", 1.0) if found else 0.0


def _clip(shape: Shape, values: Values, size: float) -> None:
    """Apply ``clip`` and ``clip-path``. Text clipped to nothing is hidden; any other shape is a doubt."""
    clip = values.get("clip", "auto")
    if clip != "auto" and values.get("position") in ("absolute", "fixed"):
        lengths = _lengths(re.sub(r"[,()]|rect", " ", clip).split(), size)
        if len(lengths) == 4 and (lengths[2] - lengths[0] <= _THIN or lengths[1] - lengths[3] <= _THIN):
            shape.hidden = "clip"
        shape.doubt("clip")
    path = values.get("clip-path", "none")
    for name, arguments in _FUNCTION.findall(path):
        words = re.sub(r"\bround\b.*|,", " ", arguments).split()
        if name == "inset" and words:
            sides = _lengths(words, size)
            sides = [sides[0], sides[1 % len(sides)], sides[2 % len(sides)], sides[-1]] if sides else []
            if sides and (sides[0] + sides[2] >= 95 or sides[1] + sides[3] >= 95):
                shape.hidden = "clip-path"
        elif name in ("circle", "ellipse") and _lengths(words[:1], size) in ([0.0], [1.0]):
            shape.hidden = "clip-path"
        elif name == "polygon" and len({*zip(words[::2], words[1::2], strict=False)}) < 3:
            shape.hidden = "clip-path"
    if path not in ("none", "border-box", "margin-box", "padding-box"):
        shape.doubt("clip-path")


def _lengths(words: list[str], size: float) -> list[float]:
    try:
        return [pixels(word, size, 100) or 0.0 for word in words]
    except Unknown:
        return []


def _filter(shape: Shape, values: Values) -> None:
    for name, arguments in _FUNCTION.findall(values.get("filter", "")):
        if name == "opacity":
            shape.opacity *= number(arguments.strip() or "1") or 0.0
        elif name not in ("drop-shadow", "grayscale", "sepia", "hue-rotate", "saturate", "alpha", "progid"):
            shape.doubt("filter")
    if values.get("animation") or values.get("animation-name"):
        shape.doubt("animation")
    if values.get("-webkit-line-clamp", "none") != "none":
        shape.doubt("line-clamp")


def _box(shape: Shape, values: Values, size: float, kind: str) -> None:
    """Apply the box that cuts off overflow."""
    if all(values.get(name, "visible") == "visible" for name in ("overflow-x", "overflow-y")):
        if kind == "block" and values.get("background-color", "transparent") != "transparent":
            width, height = (_limit(values, side, size, cell=False) for side in ("width", "height"))
            shape.box = (width, height) if min(width, height) < _NO_LIMIT else shape.box
        return
    width = _limit(values, "width", size, cell=kind == "cell")
    height = _limit(values, "height", size, cell=kind == "cell")
    if kind == "page":
        shape.doubt("overflow")
        return
    if kind == "cell":
        return
    if kind == "fixed cell":
        width, height = min(width, 100.0), _NO_LIMIT
    line = values.length("line-height", size, size, size)
    if number(values.get("line-height", "x")) is not None:
        line = (number(values.get("line-height")) or 0.0) * size
    if width <= _THIN or height <= max(_THIN, size * 0.25) or line <= _THIN:
        shape.hidden = shape.hidden or "overflow"
    if values.get("flex-basis", "auto") not in ("auto", "content"):
        shape.doubt("flex")
    outer = shape.box or (_NO_LIMIT, _NO_LIMIT)
    shape.box = (min(width, outer[0]), min(height, outer[1]))


def _limit(values: Values, side: str, size: float, cell: bool) -> float:
    """Return the largest size of a box, infinite if it grows with its content."""
    whole = _NO_LIMIT if side == "height" else 600.0
    named = (side,) if cell else (side, f"max-{side}")
    given = [values.length(name, _NO_LIMIT, size, 600.0) for name in named if _is_fixed(values.get(name), whole)]
    least = values.length(f"min-{side}", 0.0, size)
    return max(min(given, default=_NO_LIMIT), least)


def _is_fixed(value: str, whole: float) -> bool:
    """True if a size applies. A percentage of an unknown height does not apply, except 0."""
    return bool(value) and (whole != _NO_LIMIT or not value.endswith("%") or value.startswith("0"))


def _check_pushed_out(shape: Shape, values: Values, size: float) -> None:
    """Record a doubt if styles push text out of its box."""
    if shape.box is None:
        return
    width, height = shape.box
    names = ("padding-top", "margin-top", "top", "padding-bottom")
    pushed = max(values.length("line-height", 0.0, size, size) / 2, *(values.length(name, 0.0, size) for name in names))
    aside = max(shape.across, shape.indent, values.length("padding-left", 0.0, size))
    if pushed >= height * 0.6 or aside >= width * 0.6:
        shape.doubt("overflow")
    if shape.across < -5 or shape.down < -5:
        shape.doubt("overflow")


def total_height(values: Values, size: float) -> float:
    """Return the height of an element without its content."""
    names = ("padding-top", "padding-bottom", "margin-top", "margin-bottom", "border-top-width", "border-bottom-width")
    own = max(values.length("height", 0.0, size, 0.0), values.length("min-height", 0.0, size, 0.0))
    return own + sum(max(values.length(name, 0.0, size), 0.0) for name in names)


@dataclass(slots=True)
class Filling:
    """The content of a box: lines, characters, the longest unbreakable piece, and other heights."""

    lines: int = 0
    characters: int = 0
    longest: int = 0
    heights: float = 0.0

    def overflows(self, box: tuple[float, float], size: float) -> bool:
        """True if the content may need more room than the box has."""
        width, height = box
        if self.characters == 0:
            return False
        rows = max(self.characters * size * 0.5 / min(max(width, 1.0), 600.0), float(self.lines), 1.0)
        return rows * size * 0.9 + self.heights > height or self.longest * size * 0.4 > width
