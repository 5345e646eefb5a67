"""Makes office files, in the parser process: Word files from Markdown, Excel files from rows.

Text stays text: no cell becomes a formula, a link or a number that was a string; only an ISO date becomes a date, which
is shown in the same way. Numbers of lists are written as text, because Word would count through all lists of a file.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from deputize.toolkits._shared.markdown import parse as parse_markdown


def _module(name: str) -> Any:
    """Return an installed module, or None."""
    try:
        return import_module(name)
    except ImportError:
        return None


_docx, _shared, _xlsxwriter = map(_module, ("docx", "docx.shared", "xlsxwriter"))
_INSTALLED: Final = bool(_docx and _xlsxwriter)
_TEMPLATE: Final = Path(_docx.__file__).parent.joinpath("templates", "default.docx").read_bytes() if _docx else b""
"""Read when this is imported, because the parser process may read no files later."""

if TYPE_CHECKING:
    from docx.text.paragraph import Paragraph
    from markdown_it.token import Token

_LARGEST: Final = 2**53
"""Numbers from here on are written as text, because Excel would round them."""
_ISO_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DAY_FORMAT: Final = {"num_format": "yyyy-mm-dd"}
_INDENT: Final = 18  # points for each level of a list

Json = dict[str, Any]


def parse(question: Json, content: bytes) -> Json:
    """Answer a ``question`` {kind, text, rows} with {data}: the file in base64; or with {error: "not_installed"}."""
    if not _INSTALLED:
        return {"error": "not_installed"}
    made = make_xlsx(question["rows"]) if question["kind"] == "xlsx" else make_docx(question["text"])
    return {"data": base64.b64encode(made).decode()}


def make_xlsx(rows: Sequence[Sequence[Any]]) -> bytes:
    """Return an Excel file with one sheet. The first row is bold and stays visible."""
    into = io.BytesIO()
    as_is = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with _xlsxwriter.Workbook(into, {"in_memory": True, **as_is}) as book:
        sheet, bold, day = book.add_worksheet(), book.add_format({"bold": True}), book.add_format(_DAY_FORMAT)
        for n, row in enumerate(rows):
            for column, value in enumerate(row):
                cell = str(value) if _is_too_long(value) else value
                if n and (date_cell := _day(cell)):
                    sheet.write_datetime(n, column, date_cell, day)
                elif isinstance(cell, str):
                    sheet.write_string(n, column, cell, None if n else bold)
                elif cell is not None:
                    sheet.write(n, column, cell, None if n else bold)
        sheet.freeze_panes(1, 0)
        sheet.autofit()
    return into.getvalue()


def _day(cell: Any) -> date | None:
    """Return the date of an ISO date from 1901 on; Excel counts no days before 1900."""
    try:
        found = date.fromisoformat(cell) if isinstance(cell, str) and _ISO_DATE.fullmatch(cell) else None
    except ValueError:
        return None
    return found if found and found.year > 1900 else None


def _is_too_long(value: Any) -> bool:
    return isinstance(value, int) and abs(value) >= _LARGEST


def make_docx(text: str) -> bytes:
    """Return a Word file of Markdown: headings, lists, tables, quotes, code, bold, italic, struck text. A link is its
    words with its address in brackets."""
    document = _docx.Document(io.BytesIO(_TEMPLATE))
    _Writer(document).write(parse_markdown(text, tables=True))
    into = io.BytesIO()
    document.save(into)
    return into.getvalue()


class _Writer:
    """Writes the block tokens of markdown-it to a document. ``lists``: for each open list its next number, or None for
    bullets."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.lists: list[int | None] = []
        self.mark = ""
        self.quotes = 0
        self.heading = 0

    def write(self, tokens: Sequence[Token]) -> None:
        rest = iter(tokens)
        for token in rest:
            if token.type == "table_open":
                self._table(rest)
            elif token.type == "inline":
                _runs(self._paragraph(), token.children or ())
            elif token.type in ("fence", "code_block"):
                run = self._paragraph().add_run(token.content.rstrip("\n"))
                run.font.name, run.font.size = "Courier New", _shared.Pt(9)
            elif token.type == "hr":
                self.document.add_paragraph("\u2014" * 20)
            else:
                self._structure(token)

    def _structure(self, token: Token) -> None:
        """Note where the next paragraph is: in which lists, quotes or heading."""
        match token.type:
            case "bullet_list_open":
                self.lists.append(None)
            case "ordered_list_open":
                self.lists.append(int(token.attrGet("start") or 1))
            case "bullet_list_close" | "ordered_list_close":
                self.lists.pop()
            case "list_item_open":
                self.mark = "\u2022\t" if (number := self.lists[-1]) is None else f"{number}.\t"
                self.lists[-1] = None if number is None else number + 1
            case "blockquote_open" | "blockquote_close":
                self.quotes += 1 if token.type == "blockquote_open" else -1
            case "heading_open" | "heading_close":
                self.heading = int(token.tag[1:]) if token.type == "heading_open" else 0

    def _paragraph(self) -> Paragraph:
        if self.heading:
            return self.document.add_heading(level=self.heading)  # type: ignore[no-any-return]
        made: Paragraph = self.document.add_paragraph(style="Quote" if self.quotes else None)
        if self.lists:
            made.paragraph_format.left_indent = _shared.Pt(_INDENT * len(self.lists))
            made.paragraph_format.first_line_indent = _shared.Pt(-_INDENT) if self.mark else None
            made.add_run(self.mark)
            self.mark = ""
        return made

    def _table(self, rest: Iterator[Token]) -> None:
        """Write a table. Takes its tokens from ``rest``."""
        rows: list[list[Sequence[Token]]] = []
        for token in rest:
            if token.type == "table_close":
                break
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "inline":
                rows[-1].append(token.children or ())
        table = self.document.add_table(len(rows), max(map(len, rows)), style="Table Grid")
        for row, cells in zip(rows, table.rows, strict=True):
            for children, cell in zip(row, cells.cells, strict=False):
                _runs(cell.paragraphs[0], children)


_MARKS: Final[dict[str, Callable[[Any, bool], None]]] = {
    "strong": lambda run, on: setattr(run, "bold", on or None),
    "em": lambda run, on: setattr(run, "italic", on or None),
    "s": lambda run, on: setattr(run.font, "strike", on or None),
}


def _runs(paragraph: Paragraph, children: Sequence[Token]) -> None:
    """Write the inline tokens of a paragraph."""
    on = dict.fromkeys(_MARKS, 0)
    links: list[tuple[str, int]] = []
    for token in children:
        kind, _, edge = token.type.rpartition("_")
        if kind in on and edge in ("open", "close"):
            on[kind] += 1 if edge == "open" else -1
        elif token.type == "link_open":
            links.append((str(token.attrGet("href") or ""), len(paragraph.text)))
        elif token.type == "link_close":
            address, start = links.pop()
            if paragraph.text[start:] != address:
                paragraph.add_run(f" ({address})")
        elif token.type in ("softbreak", "hardbreak"):
            paragraph.add_run().add_break()
        else:
            run = paragraph.add_run(token.content)
            for name, mark in _MARKS.items():
                mark(run, bool(on[name]))
            if token.type == "code_inline":
                run.font.name = "Courier New"
