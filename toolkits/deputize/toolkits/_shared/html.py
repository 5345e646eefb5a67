"""HTML mail as the text that a person sees: without markup and hidden text, each link's address beside its words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from deputize.toolkits._shared.css_sheet import Sheet
from deputize.toolkits._shared.html_links import is_misleading, link_address, shorten
from deputize.toolkits._shared.html_shapes import Filling
from deputize.toolkits._shared.html_style import LONGEST_ALT, ROOT, Look, describe_picture, is_closed, is_dot, look
from deputize.toolkits._shared.html_tables import Grid, is_data_table
from deputize.toolkits._shared.html_tree import Document, Element, TooComplex, parse
from deputize.toolkits._shared.mail.quotes import Line
from deputize.toolkits._shared.text import LARGEST

_SPACED = frozenset("p h1 h2 h3 h4 h5 h6 ul ol dl table blockquote pre hr".split())
_BLOCKS = _SPACED | frozenset(
    "div tr li dt dd body html section article header footer main aside nav address center fieldset form figure"
    " figcaption caption thead tbody tfoot details summary legend".split()
)
_STRUCK = frozenset({"del", "s", "strike"})
_NO_TEXT = frozenset({"style", "script"})  # their content is for programs
_ADDRESS = re.compile(r"<https?://[^>]*>")
_FAR = re.compile(r"[ \xa0]{100}")
_LETTERS = re.compile(r"[^\W\d_]{3}")
_CELL = "\x1f"
_LONGEST_LINK: Final = 200  # characters of a link's address in text for models
_BULLET: Final = "- "
_TOO_LONG: Final = "[the rest of this mail is too long to be shown]"
_TOO_COMPLEX: Final = "[this HTML is made so that nobody can tell what a person sees of it: it is left out]"
_REPLY_IDS = ("divRplyFwdMsg", "appendonsend")


_Children = Iterator[Element | str]


@dataclass
class Page:
    """The text of an HTML body. ``hidden``: number of characters that a person would not see; ``unseen``: their text.
    ``doubts``: styles that may hide more. ``mismatch``: True if a link's words name another host than its own.
    ``links``: the words of each visible link, by its whole address."""

    lines: list[Line] = field(default_factory=list)
    hidden: int = 0
    unseen: list[str] = field(default_factory=list)
    doubts: set[str] = field(default_factory=set)
    mismatch: bool = False
    links: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All lines, including quoted history."""
        return "\n".join(line.text for line in self.lines).strip("\n")

    def hide(self, text: str) -> None:
        """Record a text that a person would not see."""
        if letters := _count_letters(text):
            self.hidden += letters
            self.unseen.append(" ".join(text.split()))


@dataclass(slots=True)
class _BoxStart:
    """The state of the output at the start of a box that cuts off overflow."""

    lines: int
    heights: float
    unbroken: int
    joined: int


@dataclass(frozen=True, slots=True)
class _Place:
    """The context of a text: its look, and whether it is history, in a quote, or preformatted."""

    look: Look = ROOT
    quoted: bool = False
    depth: int = 0
    pre: bool = False
    box: _BoxStart | None = None


_FOLDED: Final = _Place(Look(hidden="details"))


def read_html(html: str, *, whole_links: bool = False) -> Page:
    """Return the page of an HTML body of any quality, in linear time. The end of a very long body is dropped.

    ``whole_links``: do not shorten long addresses, for text that people read.
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
    return reader.finish(_TOO_LONG if cut else "")


class _Reader:
    """A builder of a `Page`, element by element."""

    def __init__(self, sheet: Sheet, longest_link: int) -> None:
        self.page = Page()
        self._longest_link = longest_link
        self._sheet = sheet
        self._line: list[str] = []
        self._prefix, self._quoted = "", False
        self._link: tuple[str, list[str]] | None = None
        self._history = False  # a marker declared the rest as quoted
        self._cramped: int | None = None  # the last line that others may overlap
        self._heights = 0.0  # pixels of elements besides their text
        self._unbroken = 0  # elements without line breaks
        self._grid: Grid | None = None  # of the table of data that is read
        self._joined = 0  # line ends within its cells, which are blanks here

    def read(self, document: Document) -> None:
        """Read a document. Raises `TooComplex`."""
        self.page.hide(document.conditional)
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

    def finish(self, remark: str) -> Page:
        """Return the page with its last line and a remark."""
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
            _BoxStart(len(self.page.lines), self._heights, self._unbroken, self._joined)
            if seen.box is not above.look.box
            else None,
        )
        if not above.look.hidden and seen.hidden in ("", tag):
            self._notice(element, seen, above.look)
        if element.raw:
            self.page.hide(element.raw)
        if tag == "br":
            self._heights += 0.0 if self._line else seen.size
            self._break(empty=True)
        elif tag == "img":
            self._picture(element, place)
        elif tag == "li":
            self._line = []
            self._write(_BULLET, place)
        elif tag == "table" and is_data_table(element):
            self._grid = Grid()
        elif tag in ("td", "th") and self._grid:
            self._grid.in_cell = not seen.hidden
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
        elif self._grid and tag in ("td", "th", "tr", "table"):
            self._end_grid(element, self._grid, shown=not place.look.hidden)
        if tag in _BLOCKS:
            self._break(spaced=tag in _SPACED)
        if place.box and place.look.box and not place.look.unseen:
            self._end_box(place.box, place.look.box, place.look)

    def _end_grid(self, element: Element, grid: Grid, *, shown: bool) -> None:
        """End a cell, a row or the whole of a table of data. A row that is not shown covers no merged cells."""
        if element.tag == "table":
            self._grid = None
        elif element.tag == "tr":
            if shown and (text := grid.end_row()):
                self._line = []
                self.page.lines.append(Line(self._prefix + text, self._quoted))
        elif grid.in_cell:
            grid.add(element, "".join(self._line).strip())
            grid.in_cell, self._line = False, []

    def _notice(self, element: Element, seen: Look, above: Look) -> None:
        """Record how an element may affect others: it may cover them, or push them out of their box."""
        self.page.doubts |= seen.doubts - above.doubts
        self._heights += 0.0 if seen.box is not above.box else seen.tall
        self._unbroken += seen.nowrap and not above.nowrap
        if above.box and seen.wide > max(above.box[0], 1.0) * 1.3:
            self.page.doubts.add("overflow")
        if element.tag in ("col", "colgroup") and seen.invisible:
            self.page.doubts.add("visibility")
        if element.tag == "marquee":
            self.page.doubts.add("marquee")

    def _end_box(self, begun: _BoxStart, box: tuple[float, float], seen: Look) -> None:
        lines = [line.text for line in self.page.lines[begun.lines :]] + ["".join(self._line)]
        lines = [line for line in (_ADDRESS.sub("", line) for line in lines) if line.strip()]
        unbroken = seen.nowrap or self._unbroken > begun.unbroken
        pieces = lines if unbroken else [piece for line in lines for piece in re.split(r"[ \t-]", line)]
        filling = Filling(
            len(lines) + self._joined - begun.joined,
            sum(map(len, lines)),
            max(map(len, pieces), default=0),
            self._heights - begun.heights,
        )
        if filling.overflows(box, seen.size):
            self.page.doubts.add("overflow")

    def _is_quote(self, element: Element) -> bool:
        """Return True for an element with quoted history. Some elements mark all later text as history."""
        attributes = element.attributes
        classes = {name.removeprefix("x_") for name in attributes.get("class", "").split()}
        if attributes.get("id", "").removeprefix("x_") in _REPLY_IDS:
            self._history = True
        cited = element.tag == "blockquote" and attributes.get("type", "").lower() == "cite"
        return cited or not classes.isdisjoint(("gmail_quote", "gmail_quote_container", "moz-cite-prefix"))

    def _picture(self, element: Element, place: _Place) -> None:
        """Write a picture's description in brackets, because a person sees the picture, not the description."""
        alt = element.attributes.get("alt", "").strip()
        if not alt:
            return
        if place.look.unseen or is_dot(element, place.look):
            self.page.hide(alt)
            return
        self.page.hide(alt[LONGEST_ALT:])
        self._text(f"[image: {describe_picture(element)}]", place)

    # ------------------------------------------------------------- text

    def _text(self, data: str, place: _Place) -> None:
        if place.look.unseen:
            self.page.hide(data)
            return
        if data.strip():
            self.page.doubts |= place.look.doubt
            if place.look.cramped:
                at = len(self.page.lines) + self._joined
                if self._cramped not in (None, at):
                    self.page.doubts.add("line-height")
                self._cramped = at
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
        """Append text to the line, with one blank between words."""
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
        """End the line. ``spaced``: add an empty line. ``empty``: keep the line even if it is empty."""
        if self._line == [_BULLET]:
            return
        if self._grid and self._grid.in_cell:
            self._joined += 1
            self._line += [" "] if self._line and not self._line[-1].endswith(" ") else []
            return
        text = " | ".join(cell.rstrip() for cell in "".join(self._line).split(_CELL) if cell.strip())
        lines, self._line = self.page.lines, []
        if text:
            lines.append(Line(self._prefix + text, self._quoted))
        if (spaced or (empty and not text)) and lines and lines[-1].text:
            lines.append(Line("", self._quoted))

    def _end_link(self, place: _Place) -> None:
        """Write a link's address beside its words, and compare the two."""
        if self._link is None:
            return
        (href, words), self._link = self._link, None
        shown = "".join(words).replace(_CELL, " ").strip()
        target = link_address(href)
        if target:
            self.page.links.setdefault(target, shown)
            target = shorten(target, self._longest_link)
        if target and target not in (shown, f"http://{shown}", f"https://{shown}", f"{shown}/"):
            self._write(f" <{target}>" if shown else f"<{target}>", place)
        self.page.mismatch = self.page.mismatch or is_misleading(shown, href)


def _count_letters(text: str) -> int:
    return len("".join(text.split()))
