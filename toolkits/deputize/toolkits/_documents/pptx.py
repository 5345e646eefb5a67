"""PowerPoint: a unit for each slide that is shown, its title, texts and tables, then the speaker's notes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from deputize.toolkits._documents.document import Document, Unit, letters
from deputize.toolkits._documents.package import Node, Package, tree

_SMALLEST: Final = 200
"""Hundredths of a point: what is smaller nobody reads."""
_TITLES: Final = ("title", "ctrTitle")
_NO_BODY: Final = frozenset({"sldNum", "dt", "ftr", "sldImg", "hdr"})
_LONGEST_ALT: Final = 150


def open_pptx(package: Package, main: str) -> Document:
    """Slides that were opened. Those that are hidden are no units."""
    links = package.links(main)
    listed = tree(package.part(main)).child("sldIdLst")
    parts = [links[one.get("id")][1] for one in (listed.children if listed else []) if one.get("id") in links]
    seen = [part for part in parts if _root(package, part).get("show", "1") not in ("0", "false")]
    facts = {"hidden_slides": len(parts) - len(seen)} if len(seen) < len(parts) else {}
    return Document("pptx", lambda number: _read(package, seen[number]), len(seen), "slide", facts=facts)


def _root(package: Package, part: str) -> Node:
    return tree(package.part(part))


def _read(package: Package, part: str) -> Unit:
    slide = _Slide()
    slide.take(_root(package, part))
    notes = _Slide(slide.unit)
    if found := package.linked(part, "notesSlide"):
        notes.take(_root(package, found))
    if said := " ".join(line for line in notes.lines if line.strip()):
        slide.lines.append(f"[speaker notes: {said}]")
    slide.unit.text = "\n".join(slide.lines)
    return slide.unit


@dataclass
class _Slide:
    unit: Unit = field(default_factory=Unit)
    lines: list[str] = field(default_factory=list)

    def take(self, node: Node) -> None:
        """The texts of all shapes in it, groups included, in the order in which they are painted."""
        for one in node.children:
            if one.tag == "Fallback":
                continue
            if one.tag in ("sp", "graphicFrame", "pic", "cxnSp"):
                self._shape(one)
            else:
                self.take(one)

    def _shape(self, shape: Node) -> None:
        about = next(shape.all("cNvPr"), Node("", {}))
        place = next(shape.all("ph"), None)
        kind = place.get("type", "body") if place else ""
        if about.get("hidden") in ("1", "true"):
            self.unit.hidden += letters(shape.words())
            return
        if kind in _NO_BODY:
            return
        if shape.tag == "pic":
            said = " ".join(about.get("descr").split())[:_LONGEST_ALT]
            self.lines += [f"[image: {said}]"] if said else []
            return
        for row in shape.all("tr"):
            cells = [" ".join(" ".join(self._paragraphs(cell)).split()) for cell in row.children if cell.tag == "tc"]
            self.lines.append("| " + " | ".join(cells) + " |")
        if body := shape.child("txBody"):
            lines = [line for line in self._paragraphs(body) if line.strip()]
            self.lines += [f"# {' '.join(lines)}"] if lines and kind in _TITLES else lines

    def _paragraphs(self, node: Node) -> list[str]:
        return [self._paragraph(one) for one in node.all("p")]

    def _paragraph(self, node: Node) -> str:
        properties, said = node.child("pPr"), ""
        for one in node.children:
            if one.tag in ("r", "fld"):
                said += self._run(one)
            elif one.tag == "br":
                said += "\n"
            else:
                said += one.words() if one.tag not in ("pPr", "endParaRPr") else ""
        level = properties.get("lvl") if properties else ""
        return "  " * (int(level) if level in tuple("12345678") else 0) + said

    def _run(self, node: Node) -> str:
        size = (node.child("rPr") or node).get("sz")
        if size.isdecimal() and len(size) < 9 and int(size) < _SMALLEST:
            self.unit.hidden += letters(node.words())
            return ""
        return node.words()
