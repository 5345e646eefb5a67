"""HTML mail as the text a person sees: no markup, no pictures, nothing hidden, every link beside its words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Final
from urllib.parse import SplitResult, urlsplit

from deputize.toolkits._shared.html_style import ROOT, Look, look
from deputize.toolkits._shared.mail.headers import network_host
from deputize.toolkits._shared.mail.quotes import Line
from deputize.toolkits._shared.text import LARGEST

_UNSEEN = frozenset({"style", "script", "head", "title", "template", "object", "svg", "math", "select", "textarea"})
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_SPACED = frozenset("p h1 h2 h3 h4 h5 h6 ul ol dl table blockquote pre hr".split())
_BLOCKS = _SPACED | frozenset(
    "div tr li dt dd body html section article header footer main aside nav address center fieldset form figure"
    " figcaption caption thead tbody tfoot".split()
)
_ENDS_ITSELF = frozenset({"p", "li", "tr", "td", "th", "dt", "dd", "a"})  # a second one ends the first
_CONTAINERS = frozenset({"table", "ul", "ol", "dl", "blockquote", "div"})
_CELL = "\x1f"
_DEEPEST: Final = 100  # open elements an end tag is looked for in
_LONGEST_LINK: Final = 200
_MOST_ELEMENTS: Final = 30_000  # what follows them is left out, so that no mail takes more than a second
_BULLET: Final = "- "
_TOO_LONG: Final = "[the rest of this mail is too long to be shown]"
_REPLY_IDS = ("divRplyFwdMsg", "appendonsend")
_HOST = re.compile(r"(?:https?://)?((?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_]{2,})(?:[:/?#]\S*)?", re.IGNORECASE)
_FILE = re.compile(r"\.(?:pdf|docx?|xlsx?|pptx?|zip|png|jpe?g|gif|js|txt|html?|csv|md|ics)$", re.IGNORECASE)


@dataclass
class Page:
    """What an HTML body says. ``hidden``: characters a person would not have seen; ``mismatch``: a link that shows
    another host than it leads to."""

    lines: list[Line] = field(default_factory=list)
    hidden: int = 0
    mismatch: bool = False

    @property
    def text(self) -> str:
        """All lines, quoted history included."""
        return "\n".join(line.text for line in self.lines).strip("\n")


@dataclass(frozen=True, slots=True)
class _Open:
    """An element that is open."""

    tag: str
    look: Look = ROOT
    unseen: bool = False
    quoted: bool = False
    depth: int = 0
    pre: bool = False


def read_html(html: str) -> Page:
    """The page in an HTML body of any quality, in time linear in its length. The end of a giant is left out."""
    reader = _Reader()
    try:
        reader.feed(tags_only(html[:LARGEST]))
        reader.close()
    except _Full:
        return reader.finished(_TOO_LONG)
    return reader.finished(_TOO_LONG if len(html) > LARGEST else "")


class _Full(Exception):
    """The page has as many elements as are looked at."""


def tags_only(html: str) -> str:
    """Without comments, declarations and unfinished tags, on which html.parser spends quadratic time."""
    kept, at = [], 0
    while (start := html.find("<!--", at)) >= 0:
        kept.append(html[at:start])
        end = html.find("-->", start + 2)
        at = end + 3 if end >= 0 else len(html)
    kept.append(html[at:])
    tags = re.sub(r"<[!?][^>]*>?", "", "".join(kept))
    last = tags.rfind(">") + 1
    return tags[:last] + tags[last:].replace("<", "&lt;")


class _Reader(HTMLParser):
    """Fills a `Page`, element by element."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._open = [_Open("")]
        self._line: list[str] = []
        self._prefix, self._quoted = "", False
        self._link: tuple[str, list[str]] | None = None
        self._history = False  # a marker said that all the rest is quote
        self._elements = 0

    def finished(self, remark: str) -> Page:
        """The page, its last line and a remark included."""
        self._break()
        self.page.lines += [Line(remark)] if remark else []
        return self.page

    # ------------------------------------------------------------- elements

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self._elements += 1
        if self._elements > _MOST_ELEMENTS:
            raise _Full
        named = {name: value or "" for name, value in attrs}
        if tag in _ENDS_ITSELF:
            self._end_open(tag)
        if tag in _BLOCKS:
            self._break(spaced=tag in _SPACED)
        element = self._element(tag, named)
        if tag in _VOID:
            return self._void(tag, named, element)
        self._open.append(element)
        if tag == "li":
            self._line = []
            self._write(_BULLET)
        elif tag in ("td", "th") and self._line:
            self._line.append(_CELL)
        elif tag == "a" and not element.unseen:
            self._link = (named.get("href", ""), [])

    def _element(self, tag: str, named: dict[str, str]) -> _Open:
        above = self._open[-1]
        quoted = above.quoted or self._is_quote(tag, named)
        return replace(
            above,
            tag=tag,
            look=look(tag, named, above.look),
            unseen=above.unseen or tag in _UNSEEN,
            quoted=quoted,
            depth=above.depth + (tag == "blockquote"),
            pre=above.pre or tag == "pre",
        )

    def _is_quote(self, tag: str, named: dict[str, str]) -> bool:
        """Whether an element holds quoted history; some say that all after them does."""
        classes = {name.removeprefix("x_") for name in named.get("class", "").split()}
        if named.get("id", "").removeprefix("x_") in _REPLY_IDS:
            self._history = True
        cited = tag == "blockquote" and named.get("type", "").lower() == "cite"
        return cited or not classes.isdisjoint(("gmail_quote", "gmail_quote_container", "moz-cite-prefix"))

    def _void(self, tag: str, named: dict[str, str], element: _Open) -> None:
        if tag == "br":
            self._break(empty=True)
        elif tag == "img" and (alt := named.get("alt", "").strip()):
            self._open.append(element)
            self.handle_data(f"[image: {alt}]")
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            self._close(tag, self._open[-_DEEPEST:])

    def _end_open(self, tag: str) -> None:
        """End an open element of this tag, if none that may hold another stands between."""
        inside: list[_Open] = []
        for element in reversed(self._open[-_DEEPEST:]):
            inside.append(element)
            if element.tag == tag:
                return self._close(tag, inside)
            if element.tag in _CONTAINERS:
                return

    def _close(self, tag: str, near: Sequence[_Open]) -> None:
        if all(element.tag != tag for element in near):
            return
        while True:
            ended = self._open.pop()
            if ended.tag == "a":
                self._end_link()
            if ended.tag in _BLOCKS:
                self._break(spaced=ended.tag in _SPACED)
            if ended.tag == tag:
                return

    # ------------------------------------------------------------- text

    def handle_data(self, data: str) -> None:
        element = self._open[-1]
        if element.unseen:
            return
        if element.look.unseen:
            self.page.hidden += len("".join(data.split()))
            return
        data = data.replace(_CELL, "")
        if element.pre:
            first, *rest = data.split("\n")
            self._write(first)
            for line in rest:
                self._break(empty=True)
                self._write(line)
        else:
            self._write(re.sub(r"[ \t\r\n\f]+", " ", data))

    def _write(self, text: str) -> None:
        """Append to the line, one blank between words."""
        if not text or self._open[-1].look.unseen or self._open[-1].unseen:
            return
        if not self._line:
            element = self._open[-1]
            text = text if element.pre else text.lstrip(" ")
            self._prefix, self._quoted = "> " * min(element.depth, 10), element.quoted or self._history
        elif self._line[-1].endswith((" ", _CELL)) and not self._open[-1].pre:
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

    # ------------------------------------------------------------- links

    def _end_link(self) -> None:
        """Put the address of a link beside its words, and compare the two."""
        if self._link is None:
            return
        (href, words), self._link = self._link, None
        shown = "".join(words).replace(_CELL, " ").strip()
        target = _address(href)
        if target and target not in (shown, f"http://{shown}", f"https://{shown}", f"{shown}/"):
            self._write(f" <{target}>" if shown else f"<{target}>")
        self.page.mismatch = self.page.mismatch or _misleads(shown, _split(href))


def _split(href: str) -> SplitResult | None:
    try:
        split = urlsplit(re.sub(r"[\x00-\x20]+", "", href))
        return split if split.scheme in ("http", "https") and split.hostname else None
    except ValueError:
        return None


def _address(href: str) -> str:
    """A link's address to show: web only, without user names, shortened if it is very long."""
    split = _split(href)
    if split is None:
        return ""
    host = network_host(split.netloc.rpartition("@")[2])
    whole = split._replace(netloc=host).geturl().translate({ord("<"): "%3C", ord(">"): "%3E"})
    return whole if len(whole) <= _LONGEST_LINK else f"{split.scheme}://{host}{split.path[:60]}\u2026"


def _misleads(shown: str, split: SplitResult | None) -> bool:
    """Whether the words of a link are, or hold, the address of another host than the link's."""
    if split is None or not split.hostname:
        return False
    words = [shown] if " " not in shown else [w for w in shown.split() if "://" in w or w.lower().startswith("www.")]
    target = network_host(split.hostname)
    for word in words:
        named = _HOST.fullmatch(word.strip(".,;()[]\"'"))
        if named and not _FILE.search(word) and not _same_site(network_host(named[1].lower()), target):
            return True
    return False


def _same_site(one: str, other: str) -> bool:
    one, other = one.removeprefix("www."), other.removeprefix("www.")
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")
