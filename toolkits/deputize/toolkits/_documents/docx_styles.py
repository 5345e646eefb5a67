"""Word's styles, as far as they say what is a heading and what nobody sees."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final

from deputize.toolkits._documents.package import Node, each

SMALLEST: Final = 4
"""Half points: what is smaller nobody reads."""
_HEADING: Final = re.compile(r"heading ([1-9])|(title)", re.IGNORECASE)
_OFF: Final = frozenset({"0", "false", "off", "none"})


@dataclass(frozen=True, slots=True)
class Look:
    """How a text looks. ``behind``: the colour behind it, "" for the page's."""

    vanished: bool = False
    white: bool = False
    tiny: bool = False
    behind: str = ""

    @property
    def hidden(self) -> bool:
        """Whether nobody sees it."""
        return self.vanished or self.tiny or (self.white and not self.behind)

    def under(self, properties: Node | None) -> Look:
        """With what these run properties say."""
        if properties is None:
            return self
        look = self
        for one in properties.children:
            value = one.get("val")
            if one.tag in ("vanish", "specVanish", "webHidden"):
                look = replace(look, vanished=value.lower() not in _OFF)
            elif one.tag == "color":
                white = value.upper() == "FFFFFF" or one.get("themeColor") in ("background1", "light1")
                look = replace(look, white=white)
            elif one.tag == "sz" and value.isdecimal():
                look = replace(look, tiny=int(value) < SMALLEST)
            elif one.tag == "highlight":
                look = replace(look, behind="" if value in ("none", "white") else value)
            elif one.tag == "shd":
                fill = one.get("fill").upper()
                look = replace(look, behind="" if fill in ("", "AUTO", "FFFFFF") else fill)
        return look


@dataclass
class _Style:
    name: str = ""
    above: str = ""
    level: int = 0
    number: Node | None = None
    run: Node | None = None


@dataclass
class Styles:
    """A document's styles by id. ``default``: the one of paragraphs that name none."""

    styles: dict[str, _Style] = field(default_factory=dict)
    default: str = ""

    @classmethod
    def of(cls, xml: bytes) -> Styles:
        """Read from its part, which may be missing."""
        found = cls()
        each(xml, {"style"}, found._take)
        return found

    def _take(self, node: Node) -> None:
        name, above, outline = node.child("name"), node.child("basedOn"), node.child("pPr", "outlineLvl")
        style = _Style(name.get("val") if name else "", above.get("val") if above else "")
        if heading := _HEADING.fullmatch(style.name.strip()):
            style.level = int(heading[1] or 1)
        elif outline and outline.get("val").isdecimal() and int(outline.get("val")) < 9:
            style.level = int(outline.get("val")) + 1
        style.number, style.run = node.child("pPr", "numPr"), node.child("rPr")
        self.styles[node.get("styleId")] = style
        if node.get("type") == "paragraph" and node.get("default") in ("1", "true"):
            self.default = node.get("styleId")

    def _line(self, name: str) -> list[_Style]:
        """A style and those it is based on, the last first."""
        found: list[_Style] = []
        while (style := self.styles.get(name)) and style not in found and len(found) < 20:
            found.append(style)
            name = style.above
        return found[::-1]

    def heading(self, name: str) -> int:
        """The level of a heading; 0 for any other paragraph."""
        return next((style.level for style in reversed(self._line(name)) if style.level), 0)

    def number(self, name: str) -> Node | None:
        """How paragraphs of a style are numbered."""
        return next((style.number for style in reversed(self._line(name)) if style.number), None)

    def paragraph(self, name: str, look: Look) -> Look:
        """How the text of a paragraph of this style looks."""
        for style in self._line(name):
            look = look.under(style.run)
        return look

    def run(self, properties: Node | None, look: Look) -> Look:
        """How a run looks in a paragraph that looks so."""
        style = properties.child("rStyle") if properties else None
        return (self.paragraph(style.get("val"), look) if style else look).under(properties)
