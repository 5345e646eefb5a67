"""HTML mail as the text a person sees: no markup, no pictures, nothing hidden, every link beside its words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from deputize.toolkits._shared.css_sheet import Sheet
from deputize.toolkits._shared.html_links import address_of, misleads, shortened
from deputize.toolkits._shared.html_pictures import LONGEST_ALT, described, is_dot
from deputize.toolkits._shared.html_shapes import Filling
from deputize.toolkits._shared.html_style import ROOT, Look, is_closed, look
from deputize.toolkits._shared.html_tree import Document, Element, TooComplex, parse
from deputize.toolkits._shared.mail.quotes import Line
from deputize.toolkits._shared.text import LARGEST

_SPACED = frozenset("p h1 h2 h3 h4 h5 h6 ul ol dl table blockquote pre hr".split())
_BLOCKS = _SPACED | frozenset(
    "div tr li dt dd body html section article header footer main aside nav address center fieldset form figure"
    " figcaption caption thead tbody tfoot details summary legend".split()
)
_STRUCK = frozenset({"del", "s", "strike"})
_NO_TEXT = frozenset({"style", "script"})  # what is in them is for programs
_ADDRESS = re.compile(r"<https?://[^>]*>")
_FAR = re.compile(r"[ \xa0]{100}")
_LETTERS = re.compile(r"[^\W\d_]{3}")
_CELL = "\x1f"
_LONGEST_LINK: Final = 200  # characters of an address beside its words, where a model reads them
_BULLET: Final = "- "
_TOO_LONG: Final = "[the rest of this mail is too long to be shown]"
_TOO_COMPLEX: Final = "[this HTML is made so that nobody can tell what a person sees of it: it is left out]"
_REPLY_IDS = ("divRplyFwdMsg", "appendonsend")


_Children = Iterator[Element | str]


@dataclass
class Page:
    """What an HTML body says. ``hidden``: characters a person would not have seen; ``doubts``: what its styles use that
    may hide more of it; ``mismatch``: a link that shows another host than it leads to; ``links``: the words of each
    link that is seen, by its whole address."""

    lines: list[Line] = field(default_factory=list)
    hidden: int = 0
    doubts: set[str] = field(default_factory=set)
    mismatch: bool = False
    links: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All lines, quoted history included."""
        return "\n".join(line.text for line in self.lines).strip("\n")


@dataclass(slots=True)
class _Begun:
    """What had been written when a box began that cuts off what does not fit in."""

    lines: int
    heights: float
    unbroken: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a text stands: its look, and whether it is history, in a quote, or laid out as written."""

    look: Look = ROOT
    quoted: bool = False
    depth: int = 0
    pre: bool = False
    box: _Begun | None = None


_FOLDED: Final = _Place(Look(hidden="details"))


def read_html(html: str, *, whole_links: bool = False) -> Page:
    """The page in an HTML body of any quality, in time linear in its length. The end of a giant is left out.

    ``whole_links``: long addresses are not shortened in its text, which is for people then.
    """
    if "<" not in html and "&" not in html:
        return Page([Line(" ".join(html[:LARGEST].split()))] + [Line(_TOO_LONG)] * (len(html) > LARGEST))
    try:
        document = parse(html[:LARGEST])
        reader = _Reader(Sheet.of(document), LARGEST if whole_links else _LONGEST_LINK)
        reader.read(document)
    except TooComplex:
        hidden = sum(len("".join(one.split())) for one in re.split(r"<[^>]*>?", html[:LARGEST]))
        return Page([Line(_TOO_COMPLEX)], hidden=hidden)
    document.root.free()
    cut = document.cut or len(html) > LARGEST
    reader.page.doubts |= {"styles in the rest"} if cut else set()
    return reader.finished(_TOO_LONG if cut else "")


class _Reader:
    """Fills a `Page`, element by element."""

    def __init__(self, sheet: Sheet, longest_link: int) -> None:
        self.page = Page()
        self._longest_link = longest_link
        self._sheet = sheet
        self._line: list[str] = []
        self._prefix, self._quoted = "", False
        self._link: tuple[str, list[str]] | None = None
        self._history = False  # a marker said that all the rest is quote
        self._cramped: int | None = None  # the last line that others may lie over
        self._heights = 0.0  # pixels that elements took besides their text
        self._unbroken = 0  # elements whose lines are not broken

    def read(self, document: Document) -> None:
        """All of a document. Raises `TooComplex`."""
        self.page.hidden += _letters(document.conditional)
        waiting: list[tuple[Element, _Place, _Children]] = [(document.root, _Place(), iter(document.root.children))]
        while waiting:
            element, place, children = waiting[-1]
            child = next(children, None)
            if child is None:
                waiting.pop()
                self._end(element, place)
            elif isinstance(child, str):
                self._text(child, _FOLDED if is_closed(element) else place)
            else:
                inner = self._start(child, place)
                waiting.append((child, inner, iter(() if child.tag in _NO_TEXT else child.children)))

    def finished(self, remark: str) -> Page:
        """The page, its last line and a remark included."""
        self._break()
        self.page.lines += [Line(remark)] if remark else []
        if self.page.lines:
            self.page.doubts |= self._sheet.doubts
        return self.page

    # ------------------------------------------------------------- elements

    def _start(self, element: Element, above: _Place) -> _Place:
        tag = element.tag
        if tag in _BLOCKS:
            self._break(spaced=tag in _SPACED)
        seen = look(element, self._sheet, above.look)
        place = _Place(
            seen,
            above.quoted or self._is_quote(element),
            above.depth + (tag == "blockquote"),
            above.pre or tag == "pre",
            _Begun(len(self.page.lines), self._heights, self._unbroken) if seen.box is not above.look.box else None,
        )
        if not above.look.hidden and seen.hidden in ("", tag):
            self._notice(element, seen, above.look)
        if element.raw:
            self.page.hidden += _letters(element.raw)
        if tag == "br":
            self._heights += 0.0 if self._line else seen.size
            self._break(empty=True)
        elif tag == "img":
            self._picture(element, place)
        elif tag == "li":
            self._line = []
            self._write(_BULLET, place)
        elif tag in ("td", "th") and self._line:
            self._line.append(_CELL)
        elif tag == "a" and not seen.unseen:
            self._link = (element.attributes.get("href", ""), [])
        elif tag in _STRUCK and not seen.unseen:
            self._write("~~", place)
        return place

    def _end(self, element: Element, place: _Place) -> None:
        tag = element.tag
        if tag == "a":
            self._end_link(place)
        elif tag in _STRUCK and not place.look.unseen:
            self._write("~~", place)
        if tag in _BLOCKS:
            self._break(spaced=tag in _SPACED)
        if place.box and place.look.box and not place.look.unseen:
            self._end_box(place.box, place.look.box, place.look)

    def _notice(self, element: Element, seen: Look, above: Look) -> None:
        """What an element may do to others: lie over them, or push them out of their box."""
        self.page.doubts |= seen.doubts - above.doubts
        self._heights += 0.0 if seen.box is not above.box else seen.tall
        self._unbroken += seen.nowrap and not above.nowrap
        if above.box and seen.wide > max(above.box[0], 1.0) * 1.3:
            self.page.doubts.add("overflow")
        if element.tag in ("col", "colgroup") and seen.invisible:
            self.page.doubts.add("visibility")
        if element.tag == "marquee":
            self.page.doubts.add("marquee")

    def _end_box(self, begun: _Begun, box: tuple[float, float], seen: Look) -> None:
        lines = [line.text for line in self.page.lines[begun.lines :]] + ["".join(self._line)]
        lines = [line for line in (_ADDRESS.sub("", line) for line in lines) if line.strip()]
        unbroken = seen.nowrap or self._unbroken > begun.unbroken
        pieces = lines if unbroken else [piece for line in lines for piece in re.split(r"[ \t-]", line)]
        filling = Filling(
            len(lines), sum(map(len, lines)), max(map(len, pieces), default=0), self._heights - begun.heights
        )
        if filling.overflows(box, seen.size):
            self.page.doubts.add("overflow")

    def _is_quote(self, element: Element) -> bool:
        """Whether an element holds quoted history; some say that all after them does."""
        attributes = element.attributes
        classes = {name.removeprefix("x_") for name in attributes.get("class", "").split()}
        if attributes.get("id", "").removeprefix("x_") in _REPLY_IDS:
            self._history = True
        cited = element.tag == "blockquote" and attributes.get("type", "").lower() == "cite"
        return cited or not classes.isdisjoint(("gmail_quote", "gmail_quote_container", "moz-cite-prefix"))

    def _picture(self, element: Element, place: _Place) -> None:
        """A picture's description, in brackets: it is not what a person sees, but what is said of it."""
        alt = element.attributes.get("alt", "").strip()
        if not alt:
            return
        if place.look.unseen or is_dot(element, place.look):
            self.page.hidden += _letters(alt)
            return
        self.page.hidden += _letters(alt[LONGEST_ALT:])
        self._text(f"[image: {described(element)}]", place)

    # ------------------------------------------------------------- text

    def _text(self, data: str, place: _Place) -> None:
        if place.look.unseen:
            self.page.hidden += _letters(data)
            return
        if data.strip():
            self.page.doubts |= place.look.doubt
            if place.look.cramped:
                if self._cramped not in (None, len(self.page.lines)):
                    self.page.doubts.add("line-height")
                self._cramped = len(self.page.lines)
            if place.look.symbols and _LETTERS.search(data):
                self.page.doubts.add("font-family")
        data = data.replace(_CELL, "")
        if "\xa0" in data or place.pre:
            self.page.doubts |= {"blanks"} if _FAR.search(data) and data.strip() else set()
        if place.pre:
            first, *rest = data.split("\n")
            self._write(first, place)
            for line in rest:
                self._break(empty=True)
                self._write(line, place)
        else:
            self._write(re.sub(r"[ \t\r\n\f]+", " ", data), place)

    def _write(self, text: str, place: _Place) -> None:
        """Append to the line, one blank between words."""
        if not text or place.look.unseen:
            return
        if not self._line:
            text = text if place.pre else text.lstrip(" ")
            self._prefix, self._quoted = "> " * min(place.depth, 10), place.quoted or self._history
        elif self._line[-1].endswith((" ", _CELL)) and not place.pre:
            text = text.lstrip(" ")
        if text:
            self._line.append(text)
            if self._link:
                self._link[1].append(text)

    def _break(self, *, spaced: bool = False, empty: bool = False) -> None:
        """End the line. ``spaced``: an empty one follows; ``empty``: even an empty one ends."""
        if self._line == [_BULLET]:
            return
        text = " | ".join(cell.rstrip() for cell in "".join(self._line).split(_CELL) if cell.strip())
        lines, self._line = self.page.lines, []
        if text:
            lines.append(Line(self._prefix + text, self._quoted))
        if (spaced or (empty and not text)) and lines and lines[-1].text:
            lines.append(Line("", self._quoted))

    def _end_link(self, place: _Place) -> None:
        """Put the address of a link beside its words, and compare the two."""
        if self._link is None:
            return
        (href, words), self._link = self._link, None
        shown = "".join(words).replace(_CELL, " ").strip()
        target = address_of(href)
        if target:
            self.page.links.setdefault(target, shown)
            target = shortened(target, self._longest_link)
        if target and target not in (shown, f"http://{shown}", f"https://{shown}", f"{shown}/"):
            self._write(f" <{target}>" if shown else f"<{target}>", place)
        self.page.mismatch = self.page.mismatch or misleads(shown, href)


def _letters(text: str) -> int:
    return len("".join(text.split()))
