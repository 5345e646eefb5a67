"""Word's styles, as far as they define headings and hidden text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final

from deputize.toolkits._documents.colours import PAPER, colour, is_blended
from deputize.toolkits._documents.package import Node, scan

SMALLEST: Final = 4
"""Half points of the smallest readable text."""
NARROWEST: Final = 10
"""Percent of a letter's width of the narrowest readable text."""
_HEADING: Final = re.compile(r"heading ([1-9])|(title)", re.IGNORECASE)
_OFF: Final = frozenset({"0", "false", "off", "none"})


@dataclass(frozen=True, slots=True)
class Look:
    """The look of a text. ``colour``: "" for automatic; ``behind``: the background, "" for the page's."""

    vanished: bool = False
    colour: str = ""
    tiny: bool = False
    narrow: bool = False
    behind: str = ""

    @property
    def hidden(self) -> bool:
        """True if the text is invisible."""
        return self.vanished or self.tiny or self.narrow or is_blended(self.colour, self.behind)

    def with_shading(self, shading: Node | None) -> Look:
        """Return the look on the background that a ``shd`` element sets."""
        return self if shading is None else replace(self, behind=shade(shading))

    def with_run(self, properties: Node | None) -> Look:
        """Return the look with these run properties."""
        look = self
        for one in properties.children if properties else ():
            value = one.get("val")
            if one.tag in ("vanish", "specVanish", "webHidden"):
                look = replace(look, vanished=value.lower() not in _OFF)
            elif one.tag == "color":
                paper = one.get("themeColor") in ("background1", "light1")
                look = replace(look, colour=PAPER if paper else colour(value))
            elif one.tag == "sz" and value.isdecimal():
                look = replace(look, tiny=int(value) < SMALLEST)
            elif one.tag == "w" and value.isdecimal():
                look = replace(look, narrow=int(value) < NARROWEST)
            elif one.tag == "highlight":
                look = replace(look, behind=colour(value))
            elif one.tag == "shd":
                look = look.with_shading(one)
        return look


def shade(shading: Node) -> str:
    """Return the colour of a ``shd`` element, "" for the page's; a solid pattern's colour covers all."""
    return colour(shading.get("color" if shading.get("val") == "solid" else "fill"))


@dataclass
class _Style:
    name: str = ""
    above: str = ""
    level: int = 0
    number: Node | None = None
    run: Node | None = None
    shading: Node | None = None


@dataclass
class Styles:
    """A document's styles by id. ``default``: the style of paragraphs without one. ``base``: look of all text."""

    styles: dict[str, _Style] = field(default_factory=dict)
    default: str = ""
    base: Look = field(default_factory=Look)

    @classmethod
    def of(cls, xml: bytes) -> Styles:
        """Parse the styles part, which may be missing."""
        found = cls()
        scan(xml, {"style", "docDefaults"}, found._take)
        return found

    def _take(self, node: Node) -> None:
        if node.tag == "docDefaults":
            self.base = Look().with_run(node.child("rPrDefault", "rPr"))
            return
        name, above, outline = node.child("name"), node.child("basedOn"), node.child("pPr", "outlineLvl")
        style = _Style(name.get("val") if name else "", above.get("val") if above else "")
        if heading := _HEADING.fullmatch(style.name.strip()):
            style.level = int(heading[1] or 1)
        elif outline and outline.get("val").isdecimal() and int(outline.get("val")) < 9:
            style.level = int(outline.get("val")) + 1
        style.number, style.run = node.child("pPr", "numPr"), node.child("rPr")
        style.shading = node.child("pPr", "shd") or node.child("tcPr", "shd")
        self.styles[node.get("styleId")] = style
        if node.get("type") == "paragraph" and node.get("default") in ("1", "true"):
            self.default = node.get("styleId")

    def _ancestry(self, name: str) -> list[_Style]:
        """Return a style and the styles on which it is based, the base first."""
        found: list[_Style] = []
        while (style := self.styles.get(name)) and style not in found and len(found) < 20:
            found.append(style)
            name = style.above
        return found[::-1]

    def heading(self, name: str) -> int:
        """Return the level of a heading, or 0."""
        return next((style.level for style in reversed(self._ancestry(name)) if style.level), 0)

    def number(self, name: str) -> Node | None:
        """Return the numbering of a style's paragraphs."""
        return next((style.number for style in reversed(self._ancestry(name)) if style.number), None)

    def paragraph(self, name: str, look: Look) -> Look:
        """Return the look of text in a paragraph or table of this style."""
        for style in self._ancestry(name):
            look = look.with_shading(style.shading).with_run(style.run)
        return look

    def run(self, properties: Node | None, look: Look) -> Look:
        """Return the look of a run in a paragraph of this look."""
        style = properties.child("rStyle") if properties else None
        return (self.paragraph(style.get("val"), look) if style else look).with_run(properties)
