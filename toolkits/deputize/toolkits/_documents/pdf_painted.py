"""Interpreter of a PDF page's operators: painted texts, boxes and pictures, also in forms (ISO 32000-1, 8, 9)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pypdf import PdfReader
from pypdf.generic import ArrayObject, ContentStream, DictionaryObject, NameObject

from deputize.toolkits._documents.pdf_layers import Layers, dictionary
from deputize.toolkits._documents.pdf_marks import Form, Paint, PaintedText
from deputize.toolkits._documents.pdf_state import (
    IDENTITY,
    SMALLEST,
    Box,
    Matrix,
    State,
    bounds,
    is_visible_in,
    matrix,
    multiply,
    numbers,
)

_SHOWS: Final = frozenset({b"Tj", b"TJ", b"'", b'"'})
_COLOURS: Final = frozenset({b"g", b"rg", b"k", b"sc", b"scn", b"cs"})
_FILLS: Final = frozenset({b"f", b"F", b"f*", b"B", b"B*", b"b", b"b*"})
_DEEPEST: Final = 6
_MAX_BOXES: Final = 2_000  # boxes of a page
_MAX_FORMS: Final = 300
_MAX_TEXTS: Final = 200_000
_UNIT: Final = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
_INVISIBLE: Final = (3, 7)
_OUTLINED: Final = (1, 2, 5, 6)  # modes that draw an outline
_WIDTH: Final = 0.5  # of a letter, and its height, as fractions of the size
_HEIGHT: Final = 0.7
_NARROWEST: Final = 0.3  # points of the widest unreadable letter


@dataclass
class Painted:
    """The painted content of a page with this crop ``box``. ``doubts``: features that could not be interpreted."""

    reader: PdfReader
    box: Box
    texts: list[PaintedText] = field(default_factory=list)
    paints: list[Paint] = field(default_factory=list)
    forms: list[Form] = field(default_factory=list)
    doubts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.layers = Layers(self.reader)
        self.paths = 0

    def walk(
        self, stream: ContentStream, resources: DictionaryObject, state: State, depth: int, *, off: bool = False
    ) -> None:
        """Interpret a stream. ``off``: True if it is in a hidden layer."""
        walk = _Walk(self, stream, resources, state, depth, off=off)
        for index, (operands, operator) in enumerate(stream.operations):
            walk.step(index, operands if isinstance(operands, list) else [], operator)

    def paint(self, box: Box, **what: Any) -> None:
        """Record a box that may cover or underlie others. A box as thin as a line covers nothing."""
        if box[2] - box[0] < SMALLEST or box[3] - box[1] < SMALLEST:
            return
        if len(self.paints) >= _MAX_BOXES:
            self.doubts.add("very many shapes")
            return
        self.paints.append(Paint(len(self.texts), box, **what))

    def form(self, walk: _Walk, where: DictionaryObject, name: str) -> None:
        """Interpret a form, or record a picture."""
        about = dictionary(where.get(name))
        if about.get("/Subtype") == "/Image":
            whole = not any(name in about for name in ("/SMask", "/Mask", "/ImageMask"))
            self.paint(bounds(_UNIT, walk.state.ctm), picture=True, exact=whole)
        elif about.get("/Subtype") == "/Form" and (walk.depth >= _DEEPEST or len(self.forms) >= _MAX_FORMS):
            self.doubts.add("forms in forms")
        elif about.get("/Subtype") == "/Form":
            inner = ContentStream(about, self.reader, "bytes")
            moved = multiply(matrix(about.get("/Matrix", IDENTITY)), walk.state.ctm)
            self.forms.append(Form(where, name, inner, about))
            resources = dictionary(about.get("/Resources")) or walk.resources
            state = replace(walk.state, ctm=moved)
            if len(corners := numbers(about.get("/BBox") or (), 4)) == 4 and any(corners):
                state = state.with_clip(bounds([(x, y) for x in corners[::2] for y in corners[1::2]], moved))
            off = any(walk.layers) or self.layers.hide(about.get("/OC"))
            self.walk(inner, resources, state, walk.depth + 1, off=off)


class _Walk:
    """The interpretation of one stream."""

    def __init__(
        self, page: Painted, stream: ContentStream, resources: DictionaryObject, state: State, depth: int, *, off: bool
    ) -> None:
        self.page, self.stream, self.resources, self.state, self.depth = page, stream, resources, state, depth
        self.kept: list[State] = []
        self.line: Matrix = IDENTITY
        self.boxes: list[Box] = []
        self.points: list[tuple[float, float]] = []
        self.layers = [True] if off else []
        self.outer = len(self.layers)
        self.clips = self.follows = False

    def step(self, index: int, operands: list[Any], operator: bytes) -> None:
        """Apply one operator."""
        state = self.state
        if operator in _SHOWS:
            if operator in (b"'", b'"'):
                self._move_line(0.0, -state.leading)
            self._show(index, operands)
        elif operator == b"q":
            self.kept += [state] if len(self.kept) < 1000 else []
        elif operator == b"Q":
            self.state = self.kept.pop() if self.kept else state
        elif operator == b"cm":
            self.state = replace(state, ctm=multiply(matrix(operands), state.ctm))
        elif operator in _COLOURS:
            self.state = self._with_colour(operator, operands)
        elif operator == b"gs":
            self._apply_state(operands)
        elif operator in (b"BDC", b"BMC"):
            self.layers.append(operator == b"BDC" and self._is_off(operands))
        elif operator == b"EMC":
            self.layers[self.outer :] = self.layers[self.outer : -1]
        elif operator == b"Do" and operands:
            self.page.form(self, dictionary(self.resources.get("/XObject")), str(operands[0]))
        elif operator == b"INLINE IMAGE":
            self.page.paint(bounds(_UNIT, state.ctm), picture=True)
        elif not self._text(operands, operator):
            self._path(operands, operator)

    def _text(self, operands: list[Any], operator: bytes) -> bool:
        """Apply a text operator that paints no text. Return False for other operators."""
        state = self.state
        if operator == b"BT":
            self._set_line(IDENTITY)
        elif operator == b"Tm":
            self._set_line(matrix(operands))
        elif operator in (b"Td", b"TD"):
            x, y = numbers(operands, 2)
            self.state = replace(state, leading=-y) if operator == b"TD" else state
            self._move_line(x, y)
        elif operator == b"T*":
            self._move_line(0.0, -state.leading)
        elif operator == b"TL":
            self.state = replace(state, leading=numbers(operands, 1)[0])
        elif operator == b"Tf" and len(operands) > 1:
            self.state = replace(state, font=str(operands[0]), size=numbers(operands[1:], 1)[0])
        elif operator == b"Tr":
            self.state = replace(state, mode=int(numbers(operands, 1)[0]))
        elif operator == b"Tz":
            self.state = replace(state, scale=numbers(operands, 1)[0] / 100)
        elif operator == b"Ts":
            self.state = replace(state, rise=numbers(operands, 1)[0])
        else:
            return False
        return True

    def _move_line(self, x: float, y: float) -> None:
        self._set_line(multiply((1.0, 0.0, 0.0, 1.0, x, y), self.line))

    def _set_line(self, line: Matrix) -> None:
        self.line, self.follows = line, False

    def _path(self, operands: list[Any], operator: bytes) -> None:
        """Apply an operator that builds or fills a path."""
        if operator == b"re":
            x, y, wide, high = numbers(operands, 4)
            corners = ((x, y), (x + wide, y), (x, y + high), (x + wide, y + high))
            self.boxes.append(bounds(corners, self.state.ctm))
        elif operator in (b"m", b"l", b"c", b"v", b"y") and len(operands) > 1:
            x, y = numbers(operands[-2:], 2)
            self.points.append((x, y))
        elif operator in (b"W", b"W*"):
            self.clips = True
        elif operator in _FILLS or operator in (b"S", b"s", b"n"):
            self._finish_path(fills=operator in _FILLS)
        elif operator == b"sh":
            self.page.paint(self.page.box, exact=False)

    def _finish_path(self, *, fills: bool) -> None:
        """Record the painting of the path, and apply its clip."""
        state, boxes = self.state, self.boxes
        around_points = [bounds(self.points, state.ctm)] if self.points else []
        if fills and state.alpha > 0.9:
            self.page.paths += 1
            what = {"white": state.white, "rgb": state.rgb, "path": self.page.paths}
            for box in boxes:
                self.page.paint(box, **what)
            for box in around_points:
                self.page.paint(box, exact=False, **what)
        if self.clips and (all_ := [*boxes, *around_points]):
            self.state = state.with_clip(bounds([corner for box in all_ for corner in (box[:2], box[2:])], IDENTITY))
        self.boxes, self.points, self.clips = [], [], False

    def _show(self, index: int, operands: list[Any]) -> None:
        count = sum(map(_length, operands))
        font = dictionary(dictionary(self.resources.get("/Font")).get(self.state.font))
        count //= 2 if font.get("/Subtype") == "/Type0" else 1
        if count and len(self.page.texts) < _MAX_TEXTS:
            a, b, c, d, x, y = multiply(self.line, self.state.ctm)
            size, rise = self.state.size * math.hypot(c, d), self.state.rise
            wide = abs(self.state.size * self.state.scale) * math.hypot(a, b)
            at = (x + rise * c + 0.2 * size * _sign(a), y + rise * d + 0.3 * size * _sign(d))
            rgb = None if self.state.mode in _OUTLINED else self.state.rgb
            wrong = self._reason_unseen(at, abs(size), wide, count)
            self.page.texts.append(PaintedText(self.stream, index, at, count, wrong, rgb, self.follows))
            self.page.doubts |= {"text under a mask"} if self.state.masked else set()
            self.follows = True

    def _text_box(self, count: int) -> Box:
        """Return the approximate box of a text of ``count`` characters."""
        size, rise = self.state.size, self.state.rise
        right, top = _WIDTH * size * self.state.scale * count, rise + _HEIGHT * size
        corners = [(0.0, rise), (right, rise), (0.0, top), (right, top)]
        return bounds(corners, multiply(self.line, self.state.ctm))

    def _reason_unseen(self, at: tuple[float, float], size: float, wide: float, count: int) -> str:
        left, bottom, right, top = self.page.box
        x, y = at
        outside = x > right or y > top + 1 or y < bottom - size or x + size * count < left
        clip = self.state.clip
        for why, so in (
            ("layer", any(self.layers)),
            ("outside", outside),
            ("clipped", clip is not None and not self.follows and not is_visible_in(clip, self._text_box(count))),
            ("tiny", size < SMALLEST or wide < _NARROWEST),
            ("transparent", self.state.alpha < 0.05),
            ("invisible", self.state.mode in _INVISIBLE),
            ("white", self.state.white and self.state.mode not in (1, 5)),
        ):
            if so:
                return why
        return ""

    def _with_colour(self, operator: bytes, operands: list[Any]) -> State:
        """Return the state with a colour, whose space may be in the page's resources."""
        if operator == b"cs" and operands:
            spaces = dictionary(self.resources.get("/ColorSpace"))
            space = spaces.get(str(operands[0]))
            space = space.get_object() if space is not None else None
            operands = [space[0]] if isinstance(space, ArrayObject) and space else operands
        return self.state.with_colour(operator, operands)

    def _apply_state(self, operands: list[Any]) -> None:
        found = dictionary(dictionary(self.resources.get("/ExtGState")).get(str(operands[0]) if operands else ""))
        if "/SMask" in found:
            self.state = replace(self.state, masked=str(found["/SMask"]) != "/None")
        if "/ca" in found:
            self.state = replace(self.state, alpha=numbers([found["/ca"]], 1)[0])
        if found.get("/BM", "/Normal") not in ("/Normal", "/Compatible"):
            self.state = replace(self.state, alpha=min(self.state.alpha, 0.5))

    def _is_off(self, operands: list[Any]) -> bool:
        if len(operands) < 2 or operands[0] != "/OC":
            return False
        return self.page.layers.hide(dictionary(self.resources.get("/Properties")).get(str(operands[1])))


def _length(value: Any) -> int:
    """Return the number of painted characters, without blanks."""
    if isinstance(value, ArrayObject | list):
        return sum(map(_length, value))
    if isinstance(value, NameObject) or not isinstance(value, str | bytes):
        return 0
    return len(value.replace(" ", "") if isinstance(value, str) else value.replace(b" ", b""))


def _sign(value: float) -> float:
    return -1.0 if value < 0 else 1.0
