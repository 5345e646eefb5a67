"""HTML of any quality as the tree a browser makes of it, in bounded time.

The parser is justhtml, which follows the HTML standard's tree construction: what a reader sees depends on which element
a stray end tag closes, and a sentence hidden in a browser must be hidden here. The standard's own algorithm takes
quadratic time for some markup, so what would cost that is refused before it is parsed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

MAX_TAGS: Final = 30_000
"""Tags of one page that are looked at; what follows them is left out."""
_DEEPEST: Final = 400  # elements inside each other
_MAX_REOPENED: Final = 200_000  # elements that formatting tags left open may make the parser repeat

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]{0,60})((?:[^>\"']|\"[^\"]*\"|'[^']*')*+)>?")
_VOID: Final = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_IMPLIED: Final = frozenset("p li td th tr dd dt option tbody thead tfoot html head body".split())  # may stay open
_FORMATTING: Final = frozenset("b big code em font i s small strike strong tt u".split())  # reopened by the standard
_INLINE: Final = _FORMATTING | {"span", "a", "br", "img", "wbr"}
_NO_WORDS = re.compile(r"<(style|xml)\b.*?</\1|<[^>]*>?|^\[[^]]*\]>?", re.DOTALL)
_RARE = re.compile(r"<(?:svg|math|select|template|frameset|textarea|xmp|iframe|no(?:embed|frames|script))\b", re.I)


class TooComplex(Exception):
    """Markup that nobody writes, and that would take more than a second to understand."""


@dataclass(slots=True, eq=False)
class Element:
    """An element. ``inner``: the children that are elements, ``nth``: its place among those of its parent; ``raw``: the
    text of a template; ``summary``: the first child of that name; ``shadowed``: a child brings a shadow tree, which is
    shown instead of the others."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    parent: Element | None = None
    children: list[Element | str] = field(default_factory=list)
    inner: list[Element] = field(default_factory=list)
    nth: int = 0
    foreign: bool = False
    raw: str = ""
    summary: Element | None = None
    shadowed: bool = False

    def walk(self) -> Iterator[Element]:
        """This element and all in it, in their order."""
        waiting: list[Element] = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting.extend(reversed(element.inner))

    def free(self) -> None:
        """Part this element and all in it from each other, so that they are freed without a garbage collection."""
        for element in list(self.walk()):
            element.parent = element.summary = None
            element.children, element.inner = [], []

    def text(self) -> str:
        """All text in it."""
        return self.raw + "".join(c for element in self.walk() for c in element.children if isinstance(c, str))


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed page. ``quirks``: it has no doctype, so browsers read its styles by older rules. ``cut``: its end is
    left out. ``conditional``: the text in conditional comments, which only old Outlooks show."""

    root: Element
    quirks: bool
    cut: bool
    conditional: str


def parse(html: str) -> Document:
    """The page in this HTML. Raises `TooComplex`."""
    from justhtml import JustHTML

    end = _checked(html)
    parsed = JustHTML(html[:end], sanitize=False, scripting_enabled=False)
    root, comments = _converted(parsed.root)
    quirks = not re.match(r"\s*(?:<!--.*?-->\s*)*<!doctype\s+html\s*>", html[:5000], re.IGNORECASE | re.DOTALL)
    return Document(root, quirks, end < len(html), " ".join(_NO_WORDS.sub(" ", one) for one in comments))


def _checked(html: str) -> int:
    """Where the last tag that is looked at ends. Raises `TooComplex` for what would take quadratic time."""
    tags = 0
    opened: Counter[str] = Counter()
    depth = 0
    formatting: list[tuple[str, str]] = []  # open, with nothing but inline elements since
    unsure: Counter[tuple[str, str]] = Counter()
    most = 3_000 if _RARE.search(html) else MAX_TAGS
    for found in _TAG.finditer(html):
        tags += 1
        if tags > most:
            if most < MAX_TAGS and depth > 50:
                raise TooComplex
            if tags > MAX_TAGS:
                return found.start()
        end, tag = found[1], found[2].lower()
        if tag in _FORMATTING and not end:
            formatting.append((tag, found[3]))
        elif tag in _FORMATTING and formatting and formatting[-1][0] == tag:
            formatting.pop()
        elif tag not in _INLINE or tag in _FORMATTING:
            unsure.update(formatting)
            formatting.clear()
        if tag not in _VOID and tag not in _IMPLIED:
            step = -1 if end else 1
            if step > 0 or opened[tag]:
                opened[tag] += step
                depth += step
        if depth > _DEEPEST:
            raise TooComplex
    unsure.update(formatting)
    if tags * sum(min(count, 3) for count in unsure.values()) > _MAX_REOPENED:
        raise TooComplex
    return len(html)


def _converted(document: Any) -> tuple[Element, list[str]]:
    """Our elements for the parser's nodes, and what stands in conditional comments."""
    root, comments = Element(""), list[str]()
    waiting: list[tuple[Any, Element]] = [(document, root)]
    while waiting:
        node, element = waiting.pop()
        for child in node.children or ():
            if child.name == "#text":
                element.children.append(child.data or "")
            elif child.name == "#comment":
                if str(child.data).lstrip().startswith("[if"):
                    comments.append(str(child.data))
            elif not child.name.startswith(("#", "!")):
                attributes = {name: value or "" for name, value in child.attrs.items()}
                made = Element(child.name, attributes, element, nth=len(element.inner))
                made.foreign = child.namespace != "html"
                element.children.append(made)
                element.inner.append(made)
                element.summary = element.summary or (made if made.tag == "summary" else None)
                element.shadowed |= made.tag == "template" and "shadowrootmode" in attributes
                if (content := getattr(child, "template_content", None)) is not None:
                    made.raw = content.to_text()
                waiting.append((child, made))
        if node.children:
            node.children.clear()  # so that it is freed at once, and not by a collection that stops the whole process
    return root, comments
