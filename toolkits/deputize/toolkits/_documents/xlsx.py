"""Excel: one unit per visible sheet, its rows with the addresses of their cells; results, not formulas."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from deputize.toolkits._documents.document import Document, Unit, count_letters
from deputize.toolkits._documents.package import Node, Package, StopScan, parse_tree, scan
from deputize.toolkits._documents.xlsx_styles import CellStyles, Style, font_colour, is_unseen_on, parse_number

MAX_CHARACTERS: Final = 4_000_000
"""Most characters of one sheet."""
_ADDRESS: Final = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_GAP: Final = 2  # most empty cells in a row that are written
Words = str | list[tuple[str, str]]
_NARROWEST: Final = 0.5  # characters of a column's width
_LOWEST: Final = 2.0  # points of a row's height
_TRUTH: Final = {"0": "FALSE", "1": "TRUE"}


def open_xlsx(package: Package, main: str) -> Document:
    """Open a workbook. Hidden sheets are left out, but counted."""
    book, links = parse_tree(package.part(main)), package.links(main)
    listed = book.child("sheets")
    sheets = [one for one in (listed.children if listed else []) if links.get(one.get("id"), ("",))[0] == "worksheet"]
    seen = [one for one in sheets if one.get("state", "visible") == "visible"]
    properties = book.child("workbookPr")
    from_1904 = properties is not None and properties.get("date1904") in ("1", "true")
    styles = CellStyles.of(package.part(package.find_linked(main, "styles")), from_1904=from_1904)
    strings: list[Words] = []
    scan(package.part(package.find_linked(main, "sharedStrings")), {"si"}, lambda node: strings.append(_runs(node)))
    facts = {"hidden_sheets": len(sheets) - len(seen)} if len(seen) < len(sheets) else {}

    def read(number: int) -> Unit:
        return _Sheet(package, links[seen[number].get("id")][1], styles, strings).read()

    return Document("xlsx", read, len(seen), "sheet", [" ".join(one.get("name").split()) for one in seen], facts)


def _runs(node: Node) -> Words:
    """Return a cell's text without phonetic hints, in parts with their fonts if it has any."""
    node.children = [one for one in node.children if one.tag not in ("rPh", "phoneticPr")]
    if not any(font_colour(one) for one in node.find_all("rPr")):
        return node.words()
    return [
        (one.words() if one.tag == "r" else one.text, font_colour(one.child("rPr") or one)) for one in node.children
    ]


@dataclass
class _Sheet:
    package: Package
    part: str
    styles: CellStyles
    strings: list[Words]
    unit: Unit = field(default_factory=Unit)

    def __post_init__(self) -> None:
        self.lines: list[str] = []
        self.length = 0
        self.unseen: set[int] = set()
        self.unseen_rows = 0
        self.all_unseen = False

    def read(self) -> Unit:
        """Return the visible rows, then the comments and the texts of text boxes."""
        scan(self.package.part(self.part), {"sheetFormatPr", "col", "row"}, self._take)
        if self.unseen_rows or self.unseen:
            self.lines.append(f"[left out, since hidden: rows {self.unseen_rows}, columns {len(self.unseen)}]")
        self._read_extras()
        self.unit.text = "\n".join(self.lines)
        return self.unit

    def _take(self, node: Node) -> None:
        if node.tag == "sheetFormatPr":
            self.all_unseen = node.get("zeroHeight") in ("1", "true")
        elif node.tag == "col":
            if node.get("hidden") in ("1", "true") or parse_number(node.get("width"), 9.0) < _NARROWEST:
                first, last = (_whole(node.get(name)) for name in ("min", "max"))
                self.unseen.update(range(first, min(last, 16_384) + 1))
        elif self.length < MAX_CHARACTERS:
            self._take_row(node)
        else:
            self.lines.append("[the rest of this sheet is too long to be shown]")
            raise StopScan

    def _take_row(self, row: Node) -> None:
        hidden = row.get("hidden") in ("1", "true") or parse_number(row.get("ht"), 15.0) < _LOWEST
        hidden = hidden or (self.all_unseen and row.get("hidden") not in ("0", "false"))
        line, last, before = "", -9, 0
        for cell in row.children:
            column, address = self._place(cell, before, row)
            before = column
            style = self.styles.style(cell.get("s"))
            text = " ".join(self._text_of(cell, style).split())
            if not text:
                continue
            if hidden or column in self.unseen or style.hides(cell.get("t", "n"), (cell.child("v") or cell).text):
                self.unit.hidden += count_letters(text)
                continue
            gap = column - last - 1
            line += " | " * (gap + 1) + text if 0 <= gap <= _GAP else f"{' | ' if line else ''}{address}: {text}"
            last = column
        if hidden and row.children:
            self.unseen_rows += 1
        if line:
            self.lines.append(line)
            self.length += len(line)

    def _place(self, cell: Node, before: int, row: Node) -> tuple[int, str]:
        """Return a cell's column, from 1, and its address. Without an address, it is the next column."""
        if found := _ADDRESS.fullmatch(cell.get("r")):
            return _column(found[1]), cell.get("r")
        return before + 1, f"{_name(before + 1)}{row.get('r') or '?'}"

    def _text_of(self, cell: Node, style: Style) -> str:
        kind, value, formula = cell.get("t", "n"), cell.child("v"), cell.child("f")
        if kind == "inlineStr":
            return self._visible_text(_runs(cell.child("is") or cell), style)
        if value is None or not value.text:
            return f"={formula.text}" if formula and formula.text else ""
        if kind == "s":
            at = _whole(value.text)
            return self._visible_text(self.strings[at], style) if at < len(self.strings) else ""
        if kind == "b":
            return _TRUTH.get(value.text, value.text)
        return self.styles.format_number(value.text, style) if kind == "n" else value.text

    def _visible_text(self, words: Words, style: Style) -> str:
        """Return the visible part of a text whose parts may have their own colours."""
        if isinstance(words, str):
            return words
        unseen = [text for text, font in words if font and is_unseen_on(font, style.fill)]
        self.unit.hidden += count_letters("".join(unseen))
        return "".join(text for text, font in words if not font or not is_unseen_on(font, style.fill))

    def _read_extras(self) -> None:
        """Add the comments, and the texts of text boxes."""
        for kind, part in self.package.links(self.part).values():
            if kind == "comments":
                authors: list[str] = []
                scan(self.package.part(part), {"author", "comment"}, partial(self._comment, authors))
            elif kind == "drawing":
                scan(self.package.part(part), {"sp"}, self._box)

    def _comment(self, authors: list[str], node: Node) -> None:
        if node.tag == "author":
            authors.append(node.text)
            return
        at, said = _whole(node.get("authorId")), " ".join(node.words().split())
        by = f" by {authors[at]}" if at < len(authors) and authors[at] else ""
        self.lines.append(f"[comment {node.get('ref')}{by}: {said}]")

    def _box(self, node: Node) -> None:
        said = " ".join(node.words().split())
        if any(one.get("hidden") in ("1", "true") for one in node.find_all("cNvPr")):
            self.unit.hidden += count_letters(said)
        elif said:
            self.lines.append(f"[box: {said}]")


def _column(name: str) -> int:
    number = 0
    for letter in name:
        number = number * 26 + ord(letter) - 64
    return number


def _name(column: int) -> str:
    name = ""
    while column > 0:
        column, left = divmod(column - 1, 26)
        name = chr(65 + left) + name
    return name


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 9 else 0
