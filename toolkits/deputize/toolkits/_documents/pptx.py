"""PowerPoint: one unit per visible slide: title, texts and tables, then the speaker notes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from deputize.toolkits._documents.colours import PAPER, colour, is_blended
from deputize.toolkits._documents.document import Document, Unit, count_letters
from deputize.toolkits._documents.package import Node, Package, parse_tree

_SMALLEST: Final = 200
"""Hundredths of a point of the smallest readable text."""
_THINNEST: Final = 5_000
_TITLES: Final = ("title", "ctrTitle")
_NO_BODY: Final = frozenset({"sldNum", "dt", "ftr", "sldImg", "hdr"})
_LONGEST_ALT: Final = 150


def open_pptx(package: Package, main: str) -> Document:
    """Open slides. Hidden slides are left out."""
    links = package.links(main)
    show = parse_tree(package.part(main))
    listed, size = show.child("sldIdLst"), show.child("sldSz")
    extent = (_whole(size, "cx"), _whole(size, "cy"))
    parts = [links[one.get("id")][1] for one in (listed.children if listed else []) if one.get("id") in links]
    seen = [part for part in parts if _root(package, part).get("show", "1") not in ("0", "false")]
    facts = {"hidden_slides": len(parts) - len(seen)} if len(seen) < len(parts) else {}
    return Document("pptx", lambda number: _read(package, seen[number], extent), len(seen), "slide", facts=facts)


def _root(package: Package, part: str) -> Node:
    return parse_tree(package.part(part))


def _read(package: Package, part: str, extent: tuple[int, int]) -> Unit:
    root = _root(package, part)
    slide = _Slide(extent=extent, behind=_fill(root.child("cSld", "bg", "bgPr")))
    slide.take(root)
    notes = _Slide(slide.unit, behind="")
    if found := package.find_linked(part, "notesSlide"):
        notes.take(_root(package, found))
    if said := " ".join(line for line in notes.lines if line.strip()):
        slide.lines.append(f"[speaker notes: {said}]")
    slide.unit.text = "\n".join(slide.lines)
    return slide.unit


@dataclass
class _Slide:
    """One slide. ``extent``: width and height, 0 if unknown. ``behind``: its own background, None if inherited."""

    unit: Unit = field(default_factory=Unit)
    lines: list[str] = field(default_factory=list)
    extent: tuple[int, int] = (0, 0)
    behind: str | None = None

    def take(self, node: Node, *, grouped: bool = False) -> None:
        """Add the texts of all shapes, including groups, in painting order."""
        for one in node.children:
            if one.tag == "Fallback":
                continue
            if one.tag in ("sp", "graphicFrame", "pic", "cxnSp"):
                self._shape(one, grouped=grouped)
            else:
                self.take(one, grouped=grouped or one.tag == "grpSp")

    def _shape(self, shape: Node, *, grouped: bool) -> None:
        about = next(shape.find_all("cNvPr"), Node("", {}))
        place = next(shape.find_all("ph"), None)
        kind = place.get("type", "body") if place else ""
        if about.get("hidden") in ("1", "true") or (not grouped and self._is_outside(shape)):
            self.unit.hidden += count_letters(shape.words())
            return
        if kind in _NO_BODY:
            return
        if shape.tag == "pic":
            said = " ".join(about.get("descr").split())[:_LONGEST_ALT]
            self.lines += [f"[image: {said}]"] if said else []
            return
        for row in shape.find_all("tr"):
            cells = [self._cell(cell) for cell in row.children if cell.tag == "tc"]
            self.lines.append("| " + " | ".join(cells) + " |")
        if body := shape.child("txBody"):
            own = _fill(shape.child("spPr"))
            lines = [line for line in self._paragraphs(body, own or self.behind) if line.strip()]
            self.lines += [f"# {' '.join(lines)}"] if lines and kind in _TITLES else lines

    def _is_outside(self, shape: Node) -> bool:
        """True if a shape is positioned outside the slide."""
        place = shape.child("spPr", "xfrm") or shape.child("xfrm")
        off, size = (place.child("off"), place.child("ext")) if place else (None, None)
        for at, long, all_ in (("x", "cx", self.extent[0]), ("y", "cy", self.extent[1])):
            start = _whole(off, at)
            if off and all_ and (start >= all_ or start + _whole(size, long) <= 0):
                return True
        return False

    def _cell(self, cell: Node) -> str:
        return " ".join(" ".join(self._paragraphs(cell, _fill(cell.child("tcPr")))).split())

    def _paragraphs(self, node: Node, behind: str | None) -> list[str]:
        return [self._paragraph(one, behind) for one in node.find_all("p")]

    def _paragraph(self, node: Node, behind: str | None) -> str:
        properties, said = node.child("pPr"), ""
        for one in node.children:
            if one.tag in ("r", "fld"):
                said += self._run(one, behind)
            elif one.tag == "br":
                said += "\n"
            else:
                said += one.words() if one.tag not in ("pPr", "endParaRPr") else ""
        level = properties.get("lvl") if properties else ""
        return "  " * (int(level) if level in tuple("12345678") else 0) + said

    def _run(self, node: Node, behind: str | None) -> str:
        about = node.child("rPr") or node
        size, own = about.get("sz"), _fill(about)
        tiny = size.isdecimal() and len(size) < 9 and int(size) < _SMALLEST
        clear = about.child("noFill") is not None or _is_clear(about.child("solidFill"))
        if (
            tiny
            or (clear and about.child("ln", "solidFill") is None)
            or (behind is not None and is_blended(own or "", behind))
        ):
            self.unit.hidden += count_letters(node.words())
            return ""
        if own and behind is None and is_blended(own, PAPER):
            self.unit.doubts.add("white text")
        return node.words()


def _fill(about: Node | None) -> str | None:
    """Return the single fill colour, or None if there is none or the theme decides."""
    solid = about.child("solidFill") if about else None
    for one in solid.children if solid else ():
        if one.tag == "srgbClr":
            return colour(one.get("val")) or None
        if one.get("val") in ("bg1", "lt1", "white"):
            return PAPER
    return None


def _is_clear(solid: Node | None) -> bool:
    """True if a colour is almost transparent. Its opacity is in thousandths of a percent."""
    alpha = next(solid.find_all("alpha"), None) if solid else None
    return alpha is not None and _whole(alpha, "val") < _THINNEST


def _whole(node: Node | None, name: str) -> int:
    text = node.get(name) if node else ""
    return int(text) if text.removeprefix("-").isdecimal() and len(text) < 12 else 0
