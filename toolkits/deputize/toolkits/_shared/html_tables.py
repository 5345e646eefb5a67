"""Tables of data in HTML mail: which they are, and their rows with a text for each column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from deputize.toolkits._shared.html_tree import Element

_LONGEST_CELL: Final = 300  # characters; longer texts are columns of a page, not of a table
_LONGEST_REPEATED: Final = 60  # characters of a merged cell that are repeated
_MAX_COLUMNS: Final = 50
_MAX_REPEATED: Final = 20_000  # characters of one table
_PAGE_PARTS: Final = frozenset("table ul ol dl pre blockquote h1 h2 h3 h4 h5 h6 form".split())


def is_data_table(table: Element) -> bool:
    """True for a table of at least two rows with at least two short texts each. Other tables lay out a page."""
    if table.attributes.get("role", "").strip().lower() in ("presentation", "none"):
        return False
    rows = 0
    for element in table.walk():
        if element is not table and element.tag in _PAGE_PARTS:
            return False
        if element.tag == "tr":
            texts = [_text(cell) for cell in element.inner if cell.tag in ("td", "th")]
            if any(len(text) > _LONGEST_CELL for text in texts):
                return False
            rows += sum(map(bool, texts)) >= 2
    return rows >= 2


def _text(cell: Element) -> str:
    return cell.text().strip() or next((one.tag for one in cell.walk() if one.tag == "img"), "")


@dataclass(slots=True)
class Grid:
    """The columns of a table while its rows are read. The text of a merged cell stands in each column and row that the
    cell covers, so that all rows have the same columns."""

    in_cell: bool = False
    _cells: list[str] = field(default_factory=list)
    _covered: dict[int, tuple[int, str]] = field(default_factory=dict)  # rows left and text, by column
    _repeated: int = 0

    def add(self, cell: Element, text: str) -> None:
        """Add the text of a cell to the row."""
        self._cover()
        again = self._repeat(text)
        columns, rows = _span(cell, "colspan"), _span(cell, "rowspan")
        for nth in range(min(columns, max(_MAX_COLUMNS - len(self._cells), 1))):
            if rows > 1:
                self._covered[len(self._cells)] = rows - 1, again
            self._cells.append(again if nth else text)

    def end_row(self) -> str:
        """End the row and return its text, or "" for a row without text."""
        self._cover()
        while self._covered and max(self._covered) >= len(self._cells):
            self._cells.append("")
            self._cover()
        cells, self._cells = self._cells, []
        while cells and not cells[-1]:
            cells.pop()
        return " | ".join(cells)

    def _cover(self) -> None:
        """Add the columns that merged cells of earlier rows cover here."""
        while (column := len(self._cells)) in self._covered:
            left, text = self._covered.pop(column)
            if left > 1:
                self._covered[column] = left - 1, text
            self._cells.append(self._repeat(text))

    def _repeat(self, text: str) -> str:
        if len(text) > _LONGEST_REPEATED or self._repeated > _MAX_REPEATED:
            return ""
        self._repeated += len(text)
        return text


def _span(cell: Element, name: str) -> int:
    digits = cell.attributes.get(name, "").strip()
    return max(int(digits), 1) if digits.isdecimal() and len(digits) <= 4 else 1
