"""Word: paragraphs with headings and numbers, tables by rows, notes, comments; hidden text is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from deputize.toolkits._documents.document import Document, Unit, count_letters
from deputize.toolkits._documents.docx_numbers import Numbering
from deputize.toolkits._documents.docx_styles import Look, Styles
from deputize.toolkits._documents.package import Node, Package, scan

_DELETED: Final = frozenset({"del", "moveFrom"})
_NO_TEXT: Final = frozenset({"pPr", "rPr", "instrText", "Fallback", "sectPr", "tblPr", "tblGrid", "tcPr", "proofErr"})
_SIGNS: Final = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}
_LONGEST_ALT: Final = 150
_LOWEST: Final = 40  # twentieths of a point


def open_docx(package: Package, main: str) -> Document:
    reader = _Reader(package, main)
    return Document("docx", lambda _: reader.read())


@dataclass
class _Reader:
    """A reader of one document, used once. ``unit`` collects its text."""

    package: Package
    main: str
    unit: Unit = field(default_factory=Unit)

    def __post_init__(self) -> None:
        self.links = self.package.links(self.main)
        self.styles = Styles.of(self.package.part(self.package.find_linked(self.main, "styles")))
        self.numbering = Numbering.of(self.package.part(self.package.find_linked(self.main, "numbering")))
        self.blocks: list[str] = []
        self.deletions = 0

    def read(self) -> Unit:
        """Read header, body, footnotes and comments."""
        self._part("header", "header")
        self.blocks += self._lines(self.main)
        self._part("footer", "footer")
        self._notes("footnotes", "footnote", "footnote")
        self._notes("endnotes", "endnote", "endnote")
        self._notes("comments", "comment", "comment")
        if self.deletions:
            self.blocks.append(f"[{self.deletions} tracked deletions are left out]")
        self.unit.text = "\n".join(self.blocks).strip("\n")
        return self.unit

    def _part(self, kind: str, name: str) -> None:
        """Add the text of every page, once."""
        seen: set[str] = set()
        for target in [target for what, target in self.links.values() if what == kind]:
            said = " ".join(line for line in self._lines(target) if line.strip())
            if said and said not in seen:
                seen.add(said)
                self.blocks.append(f"[{name}: {said}]")

    def _lines(self, part: str) -> list[str]:
        """Return the lines of all paragraphs and tables of a part."""
        lines: list[str] = []
        scan(self.package.part(part), {"p", "tbl"}, lambda node: lines.extend(self._block(node, self.styles.base)))
        return lines

    def _notes(self, kind: str, tag: str, name: str) -> None:
        """Add footnotes, endnotes or comments, each after its number."""

        def take(node: Node) -> None:
            lines = [line for one in node.children for line in self._block(one, self.styles.base)]
            said = " ".join(line for line in lines if line.strip())
            if said and node.get("type") not in ("separator", "continuationSeparator"):
                by = f" by {node.get('author')}" if node.get("author") else ""
                self.blocks.append(f"[{name} {node.get('id')}{by}: {said}]")

        scan(self.package.part(self.package.find_linked(self.main, kind)), {tag}, take)

    # ------------------------------------------------------------- blocks

    def _block(self, node: Node, look: Look) -> list[str]:
        """Return the lines of a paragraph, a table, or a container of them."""
        if node.tag == "p":
            return self._paragraph(node, look)
        if node.tag == "tbl":
            return self._table(node, look)
        if node.tag in _NO_TEXT or node.tag in _DELETED:
            self.unit.hidden += count_letters(node.words() + node.words("delText"))
            return []
        return [line for one in node.children for line in self._block(one, look)]

    def _table(self, table: Node, look: Look) -> list[str]:
        rows = []
        style = table.child("tblPr", "tblStyle")
        look = self.styles.paragraph(style.get("val"), look) if style else look
        for row in (
            table.find_all("tr") if table.child("tr") is None else (one for one in table.children if one.tag == "tr")
        ):
            if row.child("trPr", "hidden") or row.child("trPr", "del") or _is_flat(row.child("trPr", "trHeight")):
                self.unit.hidden += count_letters(row.words())
                continue
            cells = []
            for cell in (one for one in row.find_all("tc")):
                seen = look.with_shading(cell.child("tcPr", "shd"))
                lines = [line for one in cell.children for line in self._block(one, seen)]
                cells.append(" ".join(" ".join(lines).split()))
            rows.append("| " + " | ".join(cells) + " |")
        return [*rows, ""]

    def _paragraph(self, node: Node, above: Look) -> list[str]:
        properties = node.child("pPr")
        style = properties.child("pStyle") if properties else None
        name = style.get("val") if style else self.styles.default
        look = self.styles.paragraph(name, above)
        look = look.with_shading(properties.child("shd") if properties else None)
        text = self._inline(node, look)
        if not text.strip():
            return [""] if not above.behind else []
        level = self.styles.heading(name)
        number = self.numbering.next(properties.child("numPr") if properties else None, self.styles.number(name))
        start = "#" * min(level, 6) + " " if level else ""
        return [*([""] if level else []), f"{start}{number}{text.strip()}"]

    # ------------------------------------------------------------- text

    def _inline(self, node: Node, look: Look) -> str:
        said = []
        for one in node.children:
            if one.tag == "r":
                said.append(self._run(one, look))
            elif one.tag in _DELETED:
                self.deletions += 1
                self.unit.hidden += count_letters(one.words("delText") + one.words())
            elif one.tag == "hyperlink":
                said.append(self._hyperlink(one, look))
            elif one.tag == "t":
                said.append(one.text)
            elif one.tag not in _NO_TEXT:
                said.append(self._inline(one, look))
        return "".join(said)

    def _hyperlink(self, node: Node, look: Look) -> str:
        words, (kind, target) = self._inline(node, look), self.links.get(node.get("id"), ("", ""))
        return f"{words} <{target}>" if kind == "hyperlink" and target.strip("/") != words.strip() else words

    def _run(self, node: Node, look: Look) -> str:
        seen = self.styles.run(node.child("rPr"), look)
        text = "".join(self._piece(one, seen) for one in node.children)
        if seen.hidden:
            self.unit.hidden += count_letters(text)
            return ""
        return text

    def _piece(self, node: Node, look: Look) -> str:
        if node.tag == "t":
            return node.text
        if node.tag in _SIGNS:
            return _SIGNS[node.tag]
        if node.tag in ("footnoteReference", "endnoteReference", "commentReference"):
            return f"[{node.tag.removesuffix('Reference')} {node.get('id')}]"
        if node.tag == "delText":
            self.unit.hidden += count_letters(node.text)
            return ""
        if node.tag in ("anchor", "inline", "shape") and _is_unseen(node):
            self.unit.hidden += count_letters(node.words())
            return ""
        if node.tag == "docPr":
            return _picture(node)
        if node.tag == "txbxContent":
            return "\n" + "\n".join(self._block(node, self.styles.base)) + "\n"
        if node.tag in _NO_TEXT:
            return ""
        return "".join(self._piece(one, look) for one in node.children)


def _picture(node: Node) -> str:
    said = " ".join((node.get("descr") or node.get("title")).split())
    return f"[image: {said[:_LONGEST_ALT]}]" if said else ""


def _is_unseen(node: Node) -> bool:
    """True if a picture or box is hidden, in current markup or VML."""
    about = node.child("docPr")
    hidden = about is not None and about.get("hidden").lower() in ("1", "true", "on")
    return hidden or "visibility:hidden" in "".join(node.get("style").lower().split())


def _is_flat(height: Node | None) -> bool:
    """True if a row is too low for its text. Heights are in twentieths of a point."""
    value = height.get("val") if height and height.get("hRule") == "exact" else ""
    return value.isdecimal() and int(value) < _LOWEST
