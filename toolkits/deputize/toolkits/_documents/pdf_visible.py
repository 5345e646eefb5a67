"""Removal of invisible text from a PDF page before its text is extracted.

Text is invisible if it is painted as invisible, in the colour of its background, smaller than two points, outside the
page or a clip, in a layer that is off, or under an opaque box that was painted later. Invisible text over a picture
that fills the page is a scanner's OCR: it stays, and is reported as a doubt. So is white text over a picture.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from pypdf import PageObject, PdfReader
from pypdf.generic import (
    ArrayObject,
    ContentStream,
    DecodedStreamObject,
    DictionaryObject,
    NameObject,
    TextStringObject,
)

from deputize.toolkits._documents.pdf_layers import dictionary
from deputize.toolkits._documents.pdf_marks import Paint, PaintedText
from deputize.toolkits._documents.pdf_painted import Painted
from deputize.toolkits._documents.pdf_state import SMALLEST, State, is_alike, is_within, numbers


@dataclass
class VisibleText:
    """The visible text of a page. ``hidden``: number of removed characters. ``doubts``: features that may hide more."""

    reader: PdfReader
    page: PageObject
    hidden: int = 0
    doubts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        box = self.page.cropbox
        self.box = (float(box.left), float(box.bottom), float(box.right), float(box.top))
        self.painted = Painted(self.reader, self.box, doubts=self.doubts)

    @property
    def has_picture(self) -> bool:
        """True if the page has a picture."""
        return any(one.picture for one in self.painted.paints)

    def remove_hidden(self) -> None:
        """Remove invisible text from the page."""
        contents = self.page.get("/Contents")
        if contents is None:
            return
        stream = ContentStream(contents.get_object(), self.reader, "bytes")
        self.painted.walk(stream, dictionary(self.page.get("/Resources")), State(), 0)
        hidden: dict[int, list[PaintedText]] = {}
        for order, one in enumerate(self.painted.texts):
            if self._is_hidden(order, one):
                self.hidden += one.count
                hidden.setdefault(id(one.stream), []).append(one)
        _blank_texts(stream, hidden.get(id(stream), ()))
        self.page[NameObject("/Contents")] = stream  # so that it is not parsed again
        for form in self.painted.forms:
            if found := hidden.get(id(form.stream)):
                _blank_texts(form.stream, found)
                form.resources[NameObject(form.name)] = _copy_form(form.about, form.stream.get_data())

    def is_off(self, about: DictionaryObject) -> bool:
        """True if an annotation is in a layer that is off, or its text belongs on the page and has no room there.

        Other notes are visible, because viewers list them beside the page.
        """
        left, bottom, right, top = self.box
        one, two, three, four = numbers(about.get("/Rect") or (), 4)
        flat = abs(three - one) < SMALLEST or abs(four - two) < SMALLEST
        outside = max(one, three) < left or min(one, three) > right or max(two, four) < bottom or min(two, four) > top
        on_page = about.get("/Subtype") in ("/Widget", "/FreeText")
        return (on_page and (flat or outside)) or self.painted.layers.hide(about.get("/OC"))

    def _is_hidden(self, order: int, one: PaintedText) -> bool:
        x, y = one.at
        start = bisect_right(self.painted.paints, order, key=lambda paint: paint.after)
        before, later = self.painted.paints[:start], self.painted.paints[start:]
        over = [paint for paint in later if is_within(x, y, paint.box) and not self._is_scan(paint)]
        if any(paint.exact for paint in over):
            return True
        self.doubts |= {"something painted over text"} if over else set()
        if one.wrong == "white":
            under = next((paint for paint in reversed(before) if is_within(x, y, paint.box)), None)
            if under and (under.picture or not under.exact):
                self.doubts.add("white text over a picture")
            return under is None or (under.white and under.exact)
        if one.wrong == "invisible" and any(paint.picture and self._is_scan(paint) for paint in self.painted.paints):
            self.doubts.add("text that a scanner has read")
            return False
        return bool(one.wrong) or self._is_blended(one, before)

    def _is_blended(self, one: PaintedText, before: Sequence[Paint]) -> bool:
        """True if a text has the colour of the box below it. Boxes of one path may form a frame."""
        x, y = one.at
        found = [paint for paint in before if is_within(x, y, paint.box)] if one.rgb else []
        if not found or not is_alike(one.rgb, found[-1].rgb):
            return False
        sure = found[-1].exact and not one.follows and sum(paint.path == found[-1].path for paint in found) == 1
        self.doubts |= set() if sure else {"text in the colour of a shape below it"}
        return sure

    def _is_scan(self, paint: Paint) -> bool:
        """True if a picture fills most of the page."""
        wide, high = self.box[2] - self.box[0], self.box[3] - self.box[1]
        area = (paint.box[2] - paint.box[0]) * (paint.box[3] - paint.box[1])
        return paint.picture and area > 0.5 * wide * high


def _blank_texts(stream: ContentStream, hidden: Sequence[PaintedText]) -> None:
    """Make these operations of a stream paint nothing."""
    if not hidden:
        return
    operations = list(stream.operations)
    for one in hidden:
        operands, operator = operations[one.operation]
        blank = ArrayObject() if operator == b"TJ" else TextStringObject("")
        operations[one.operation] = ([*operands[:-1], blank], operator)
    stream.operations = operations


def _copy_form(about: DictionaryObject, data: bytes) -> DecodedStreamObject:
    """Return a copy of a form with other operators."""
    made = DecodedStreamObject()
    made.update({key: value for key, value in about.items() if key not in ("/Filter", "/DecodeParms", "/Length")})
    made.set_data(data)
    return made
