"""HTML of any quality as the tree that a browser builds, in bounded time.

The parser is justhtml, which follows the tree construction of the HTML standard. That matters, because a stray end tag
decides what a reader sees, and a sentence hidden in a browser must be hidden here. The standard's algorithm takes
quadratic time for some markup, which is refused before parsing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

MAX_TAGS: Final = 30_000
"""Tags of one page that are read; the rest is dropped."""
_DEEPEST: Final = 400  # nested elements
_MAX_REOPENED: Final = 200_000  # elements that the parser may repeat for open formatting tags

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]{0,60})((?:[^>\"']|\"[^\"]*\"|'[^']*')*+)>?")
_VOID: Final = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_IMPLIED: Final = frozenset("p li td th tr dd dt option tbody thead tfoot html head body".split())  # may stay open
_FORMATTING: Final = frozenset("b big code em font i s small strike strong tt u".split())  # reopened by the standard
_INLINE: Final = _FORMATTING | {"span", "a", "br", "img", "wbr"}
_NO_WORDS = re.compile(r"<(style|xml)\b.*?</\1|<[^>]*>?|^\[[^]]*\]>?", re.DOTALL)
_RARE = re.compile(r"<(?:svg|math|select|template|frameset|textarea|xmp|iframe|no(?:embed|frames|script))\b", re.I)


class TooComplex(Exception):
    """Markup that would take more than a second to parse, and that nobody writes by hand."""


@dataclass(slots=True, eq=False)
class Element:
    """An element. ``inner``: child elements. ``nth``: its index among its siblings. ``raw``: the text of a template.
    ``summary``: the first child of that name. ``shadowed``: True if a child has a shadow tree, which is displayed
    instead of the others."""

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
        """Yield this element and all its descendants in document order."""
        waiting: list[Element] = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting.extend(reversed(element.inner))

    def free(self) -> None:
        """Remove all references between the elements, so that they are freed without garbage collection."""
        for element in list(self.walk()):
            element.parent = element.summary = None
            element.children, element.inner = [], []

    def text(self) -> str:
        return self.raw + "".join(c for element in self.walk() for c in element.children if isinstance(c, str))


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed page. ``quirks``: no doctype, so browsers use older style rules. ``cut``: True if the end was dropped.
    ``conditional``: text in conditional comments, which only old versions of Outlook display."""

    root: Element
    quirks: bool
    cut: bool
    conditional: str


def parse(html: str) -> Document:
    """Parse HTML. Raises `TooComplex`."""
    from justhtml import JustHTML

    end = _check_cost(html)
    parsed = JustHTML(html[:end], sanitize=False, scripting_enabled=False)
    root, comments = _convert(parsed.root)
    quirks = not re.match(r"\s*(?:<!--.*?-->\s*)*<!doctype\s+html\s*>", html[:5000], re.IGNORECASE | re.DOTALL)
    return Document(root, quirks, end < len(html), " ".join(_NO_WORDS.sub(" ", one) for one in comments))


def _check_cost(html: str) -> int:
    """Return the position where the last read tag ends. Raises `TooComplex` for markup that takes quadratic time."""
    tags = 0
    opened: Counter[str] = Counter()
    depth = 0
    formatting: list[tuple[str, str]] = []  # open, followed only by inline elements
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


def _convert(document: Any) -> tuple[Element, list[str]]:
    """Convert the parser's nodes. Return the root and the conditional comments."""
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
            node.children.clear()  # freed at once, because a garbage collection would pause the process
    return root, comments
