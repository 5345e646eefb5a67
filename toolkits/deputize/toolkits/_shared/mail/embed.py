"""Embedding of another sender's HTML in a mail: the visible content with its layout, without effects on the rest.

The HTML is written again from the tree that a browser builds, so that none of its tags closes a tag of the mail.
Invisible content, such as tracking pictures, is dropped: the user who approves a forwarded mail has seen all of it.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from deputize.toolkits._shared.css_sheet import Sheet
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.html_style import ROOT, Look, describe_picture, is_closed, is_dot, look
from deputize.toolkits._shared.html_tree import Element, TooComplex, parse
from deputize.toolkits._shared.mail.embed_css import declarations, scope_rules
from deputize.toolkits._shared.text import clean

LARGEST: Final = 300_000
"""Largest HTML that is embedded, in characters."""
_GONE: Final = frozenset(
    "script iframe frame frameset object embed applet link meta base title template svg math audio video noscript"
    " input select textarea dialog canvas param source track".split()
)
_UNWRAPPED: Final = frozenset({"html", "head", "form", "button", "label", "fieldset", "slot", ""})
_VOID: Final = frozenset({"area", "br", "col", "hr", "img", "wbr"})
_NAME: Final = re.compile(r"[a-z][a-z0-9:-]{0,40}")
_LINKED: Final = re.compile(r"(?:https?|mailto|tel):|#", re.IGNORECASE)
_PICTURED: Final = re.compile(r"https?://|data:image/", re.IGNORECASE)
_ATTRIBUTES: Final = frozenset(
    "align bgcolor border cellpadding cellspacing class clear color colspan dir face height hspace id lang name nowrap"
    " noshade open role rowspan scope size span start type valign value vspace width".split()
)


@dataclass
class Embedded:
    """An HTML fragment, and the original content ids of the pictures that it displays."""

    html: str
    pictures: set[str] = field(default_factory=set)


def embed_page(page: str, pictures: Mapping[str, str]) -> Embedded | None:
    """Return the page as a fragment, or None if it is too large or complex, or if a missing rule would change its
    visible text.

    ``pictures``: new content ids of the mail's pictures, by their original ones.
    """
    if len(page) > LARGEST:
        return None
    try:
        document = parse(page)
        writer = _Writer(
            Sheet.of(document), f"original-{hashlib.sha256(page.encode(errors='replace')).hexdigest()[:8]}"
        )
        if document.cut:
            return None
        writer.write(document.root, pictures)
    except TooComplex:
        return None
    there, here = read_html(page), read_html(writer.whole())
    same = not here.hidden and here.text.split() == there.text.split()
    return Embedded(writer.whole(), writer.used) if same else None


class _Writer:
    """A writer of a tree as HTML, element by element."""

    def __init__(self, sheet: Sheet, mark: str) -> None:
        self.used = set[str]()
        self._sheet = sheet
        self._mark = mark
        self._styles: list[str] = []
        self._out: list[str] = []

    def whole(self) -> str:
        """Return the fragment in an element of its own, which bounds its styles and clips its painting."""
        rules = "\n".join(filter(None, self._styles))
        styles = f"<style>\n{rules}\n</style>\n" if rules else ""
        return f'{styles}<div class="{self._mark}" style="overflow:auto">{"".join(self._out).strip()}</div>'

    def write(self, root: Element, pictures: Mapping[str, str]) -> None:
        """Write a tree. Raises `TooComplex`."""
        waiting: list[tuple[str, Element, Look, Iterator[Element | str]]] = [("", root, ROOT, iter(root.children))]
        while waiting:
            end, element, seen, children = waiting[-1]
            child = next(children, None)
            if child is None:
                self._out.append(end)
                waiting.pop()
            elif isinstance(child, str):
                if not seen.unseen and not is_closed(element):
                    self._out.append(html.escape(clean(child)[0], quote=False))
            elif child.tag == "style" and not child.foreign:
                self._styles.append(scope_rules(child.text(), f".{self._mark}"))
            elif child.tag not in _GONE and not child.foreign:
                inner = look(child, self._sheet, seen)
                waiting.append((self._start(child, inner, pictures), child, inner, iter(child.children)))

    def _start(self, element: Element, seen: Look, pictures: Mapping[str, str]) -> str:
        """Write the start tag of an element. Return its end tag, or ""."""
        tag = "div" if element.tag == "body" else element.tag
        if tag in _UNWRAPPED or not _NAME.fullmatch(tag):
            return ""
        if tag == "img":
            if not seen.unseen and not is_dot(element, seen):
                self._picture(element, pictures)
            return ""
        self._out.append(f"<{tag}{''.join(_attributes(element))}>")
        return "" if tag in _VOID else f"</{tag}>"

    def _picture(self, element: Element, pictures: Mapping[str, str]) -> None:
        """Write a remote picture unchanged, a picture of the mail with its new id, any other as its description."""
        source = element.attributes.get("src", "").strip()
        text = describe_picture(element)
        own = source[4:].strip() if source[:4].lower() == "cid:" else ""
        if own in pictures:
            self.used.add(own)
            source = f"cid:{pictures[own]}"
        elif not _PICTURED.match(source):
            self._out.append(html.escape(f"[image: {text}]", quote=False) if text else "")
            return
        alt = html.escape(clean(text)[0])
        self._out.append(f'<img src="{html.escape(source)}" alt="{alt}"{"".join(_attributes(element))}>')


def _attributes(element: Element) -> Iterator[str]:
    for name, value in element.attributes.items():
        if name == "style":
            value = declarations(value)
        elif name == "href" and element.tag in ("a", "area"):
            value = re.sub(r"[\x00-\x20]+", "", value)
            value = value if _LINKED.match(value) else ""
        elif name == "background":
            value = value if _PICTURED.match(value.strip()) else ""
        elif name not in _ATTRIBUTES:
            continue
        if value or name in ("nowrap", "open"):
            yield f' {name}="{html.escape(clean(value)[0])}"'
    if (
        element.tag == "body"
        and (colour := element.attributes.get("bgcolor", ""))
        and "style" not in element.attributes
    ):
        yield f' style="background-color: {html.escape(colour)}"' if re.fullmatch(r"#?\w{3,20}", colour) else ""
