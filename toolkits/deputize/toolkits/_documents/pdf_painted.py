"""What the operators of a PDF page paint, in order: texts, boxes and pictures, also in forms (ISO 32000-1, 8, 9)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pypdf import PdfReader
from pypdf.generic import ArrayObject, ContentStream, DictionaryObject, NameObject

from deputize.toolkits._documents.pdf_state import (
    IDENTITY,
    SMALLEST,
    Box,
    Matrix,
    State,
    around,
    matrix,
    numbers,
    times,
)

_SHOWS: Final = frozenset({b"Tj", b"TJ", b"'", b'"'})
_COLOURS: Final = frozenset({b"g", b"rg", b"k", b"sc", b"scn", b"cs"})
_FILLS: Final = frozenset({b"f", b"F", b"f*", b"B", b"B*", b"b", b"b*"})
_DEEPEST: Final = 6
_MOST: Final = 2_000  # boxes of a page
_MOST_FORMS: Final = 300
_MOST_TEXTS: Final = 200_000
_UNIT: Final = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
_INVISIBLE: Final = (3, 7)


@dataclass
class PaintedText:
    """A text that was painted: by which operation, where, how many characters, and what may be wrong with it."""

    stream: ContentStream
    operation: int
    at: tuple[float, float]
    count: int
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Paint:
    """A box that was painted after so many texts. ``exact``: it has no other shape; ``white``: as paper is."""

    after: int
    box: Box
    picture: bool = False
    white: bool = False
    exact: bool = True


@dataclass
class Form:
    """A form that the page paints: under which name, in which resources."""

    resources: DictionaryObject
    name: str
    stream: ContentStream
    about: DictionaryObject


@dataclass
class Painted:
    """What a page with this crop ``box`` paints. ``doubts``: where not all of it is known."""

    reader: PdfReader
    box: Box
    texts: list[PaintedText] = field(default_factory=list)
    paints: list[Paint] = field(default_factory=list)
    forms: list[Form] = field(default_factory=list)
    doubts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.off = _layers_off(self.reader)

    def walk(self, stream: ContentStream, resources: DictionaryObject, state: State, depth: int) -> None:
        walk = _Walk(self, stream, resources, state, depth)
        for index, (operands, operator) in enumerate(stream.operations):
            walk.step(index, operands if isinstance(operands, list) else [], operator)

    def paint(self, box: Box, **what: bool) -> None:
        """Remember a box that others may lie under or over; what is as thin as a line covers nothing."""
        if box[2] - box[0] < SMALLEST or box[3] - box[1] < SMALLEST:
            return
        if len(self.paints) >= _MOST:
            self.doubts.add("very many shapes")
            return
        self.paints.append(Paint(len(self.texts), box, **what))

    def form(self, walk: _Walk, where: DictionaryObject, name: str) -> None:
        """Go through a form, or remember a picture."""
        about = dictionary(where.get(name))
        if about.get("/Subtype") == "/Image":
            whole = not any(name in about for name in ("/SMask", "/Mask", "/ImageMask"))
            self.paint(around(_UNIT, walk.state.ctm), picture=True, exact=whole)
        elif about.get("/Subtype") == "/Form" and (walk.depth >= _DEEPEST or len(self.forms) >= _MOST_FORMS):
            self.doubts.add("forms in forms")
        elif about.get("/Subtype") == "/Form":
            inner = ContentStream(about, self.reader, "bytes")
            moved = times(matrix(about.get("/Matrix", IDENTITY)), walk.state.ctm)
            self.forms.append(Form(where, name, inner, about))
            resources = dictionary(about.get("/Resources")) or walk.resources
            self.walk(inner, resources, replace(walk.state, ctm=moved), walk.depth + 1)


class _Walk:
    """One stream's operators, in order."""

    def __init__(
        self, page: Painted, stream: ContentStream, resources: DictionaryObject, state: State, depth: int
    ) -> None:
        self.page, self.stream, self.resources, self.state, self.depth = page, stream, resources, state, depth
        self.kept: list[State] = []
        self.line: Matrix = IDENTITY
        self.boxes: list[Box] = []
        self.points: list[tuple[float, float]] = []
        self.layers: list[bool] = []

    def step(self, index: int, operands: list[Any], operator: bytes) -> None:
        """What one operator changes, paints or shows."""
        state = self.state
        if operator in _SHOWS:
            if operator in (b"'", b'"'):
                self._down(0.0, -state.leading)
            self._show(index, operands)
        elif operator == b"q":
            self.kept += [state] if len(self.kept) < 1000 else []
        elif operator == b"Q":
            self.state = self.kept.pop() if self.kept else state
        elif operator == b"cm":
            self.state = replace(state, ctm=times(matrix(operands), state.ctm))
        elif operator in _COLOURS:
            self.state = self._coloured(operator, operands)
        elif operator == b"gs":
            self._extended(operands)
        elif operator in (b"BDC", b"BMC"):
            self.layers.append(operator == b"BDC" and self._is_off(operands))
        elif operator == b"EMC":
            self.layers[-1:] = []
        elif operator == b"Do" and operands:
            self.page.form(self, dictionary(self.resources.get("/XObject")), str(operands[0]))
        elif operator == b"INLINE IMAGE":
            self.page.paint(around(_UNIT, state.ctm), picture=True)
        elif not self._text(operands, operator):
            self._path(operands, operator)

    def _text(self, operands: list[Any], operator: bytes) -> bool:
        """Operators of texts that show none."""
        state = self.state
        if operator == b"BT":
            self.line = IDENTITY
        elif operator == b"Tm":
            self.line = matrix(operands)
        elif operator in (b"Td", b"TD"):
            x, y = numbers(operands, 2)
            self.state = replace(state, leading=-y) if operator == b"TD" else state
            self._down(x, y)
        elif operator == b"T*":
            self._down(0.0, -state.leading)
        elif operator == b"TL":
            self.state = replace(state, leading=numbers(operands, 1)[0])
        elif operator == b"Tf" and len(operands) > 1:
            self.state = replace(state, font=str(operands[0]), size=numbers(operands[1:], 1)[0])
        elif operator == b"Tr":
            self.state = replace(state, mode=int(numbers(operands, 1)[0]))
        else:
            return False
        return True

    def _down(self, x: float, y: float) -> None:
        self.line = times((1.0, 0.0, 0.0, 1.0, x, y), self.line)

    def _path(self, operands: list[Any], operator: bytes) -> None:
        """Operators that make a path or fill one."""
        if operator == b"re":
            x, y, wide, high = numbers(operands, 4)
            corners = ((x, y), (x + wide, y), (x, y + high), (x + wide, y + high))
            self.boxes.append(around(corners, self.state.ctm))
        elif operator in (b"m", b"l", b"c", b"v", b"y") and len(operands) > 1:
            x, y = numbers(operands[-2:], 2)
            self.points.append((x, y))
        elif operator in _FILLS or operator in (b"S", b"s", b"n"):
            if operator in _FILLS and self.state.alpha > 0.9:
                for box in self.boxes:
                    self.page.paint(box, white=self.state.white)
                if self.points:
                    self.page.paint(around(self.points, self.state.ctm), white=self.state.white, exact=False)
            self.boxes, self.points = [], []
        elif operator == b"sh":
            self.page.paint(self.page.box, exact=False)

    def _show(self, index: int, operands: list[Any]) -> None:
        count = sum(map(_length, operands))
        font = dictionary(dictionary(self.resources.get("/Font")).get(self.state.font))
        count //= 2 if font.get("/Subtype") == "/Type0" else 1
        if count and len(self.page.texts) < _MOST_TEXTS:
            a, _, c, d, x, y = times(self.line, self.state.ctm)
            size = self.state.size * math.hypot(c, d)
            at = (x + 0.2 * size * _sign(a), y + 0.3 * size * _sign(d))
            self.page.texts.append(PaintedText(self.stream, index, at, count, self._wrong(at, abs(size), count)))

    def _wrong(self, at: tuple[float, float], size: float, count: int) -> str:
        left, bottom, right, top = self.page.box
        x, y = at
        outside = x > right or y > top + 1 or y < bottom - size or x + size * count < left
        for why, so in (
            ("layer", any(self.layers)),
            ("outside", outside),
            ("tiny", size < SMALLEST),
            ("transparent", self.state.alpha < 0.05),
            ("invisible", self.state.mode in _INVISIBLE),
            ("white", self.state.white and self.state.mode not in (1, 5)),
        ):
            if so:
                return why
        return ""

    def _coloured(self, operator: bytes, operands: list[Any]) -> State:
        """With a colour, whose space may be one of the page's resources."""
        if operator == b"cs" and operands:
            spaces = dictionary(self.resources.get("/ColorSpace"))
            space = spaces.get(str(operands[0]))
            space = space.get_object() if space is not None else None
            operands = [space[0]] if isinstance(space, ArrayObject) and space else operands
        return self.state.coloured(operator, operands)

    def _extended(self, operands: list[Any]) -> None:
        found = dictionary(dictionary(self.resources.get("/ExtGState")).get(str(operands[0]) if operands else ""))
        if "/ca" in found:
            self.state = replace(self.state, alpha=numbers([found["/ca"]], 1)[0])
        if found.get("/BM", "/Normal") not in ("/Normal", "/Compatible"):
            self.state = replace(self.state, alpha=min(self.state.alpha, 0.5))

    def _is_off(self, operands: list[Any]) -> bool:
        if len(operands) < 2 or operands[0] != "/OC":
            return False
        layer = dictionary(self.resources.get("/Properties")).get(str(operands[1]))
        return getattr(layer, "indirect_reference", None) in self.page.off or layer in self.page.off


def _layers_off(reader: PdfReader) -> list[Any]:
    """References of the layers that are not shown when the file is opened (ISO 32000-1, 8.11)."""
    root = dictionary(reader.trailer.get("/Root"))
    off = dictionary(dictionary(root.get("/OCProperties")).get("/D")).get("/OFF")
    found = off.get_object() if off is not None else []
    return list(found) if isinstance(found, ArrayObject) else []


def dictionary(value: Any) -> DictionaryObject:
    """A dictionary behind a reference; an empty one for anything else."""
    found = value.get_object() if value is not None and hasattr(value, "get_object") else value
    return found if isinstance(found, DictionaryObject) else DictionaryObject()


def _length(value: Any) -> int:
    """How many characters are shown, without blanks."""
    if isinstance(value, ArrayObject | list):
        return sum(map(_length, value))
    if isinstance(value, NameObject) or not isinstance(value, str | bytes):
        return 0
    return len(value.replace(" ", "") if isinstance(value, str) else value.replace(b" ", b""))


def _sign(value: float) -> float:
    return -1.0 if value < 0 else 1.0
