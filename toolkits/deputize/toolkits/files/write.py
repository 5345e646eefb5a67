"""Files: make a file from text or rows, to attach, upload or share. Only the user has it until then."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Final

from pydantic import Field, WithJsonSchema

from deputize.core import File, Keep, ParseFile, Steps
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.document_text import NOT_INSTALLED
from deputize.toolkits._shared.steps import Asks
from deputize.toolkits.files.read import FILES

WRITER: Final = "deputize.toolkits._documents.writer"
_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
TYPES: Final = {
    **{"txt": "text/plain", "md": "text/markdown", "csv": "text/csv", "tsv": "text/tab-separated-values"},
    **{"json": "application/json", "ics": "text/calendar", "html": "text/html"},
    **{"xlsx": f"{_OFFICE}.spreadsheetml.sheet", "docx": f"{_OFFICE}.wordprocessingml.document"},
}
"""Media types of the kinds of files, by the extension of a name."""
_TABLES: Final = ("csv", "tsv", "xlsx")
_MAX_CHARACTERS: Final = 400_000
_MAX_ROWS, _MAX_COLUMNS, _MAX_CELLS = 10_000, 200, 100_000
_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_FORMULA: Final = re.compile(r"\s*(?:=|[-+@].*[(|!])", re.DOTALL)

Cell = Annotated[str | int | float | bool | None, WithJsonSchema({"type": ["string", "number", "boolean", "null"]})]


@FILES.tool(aliases=["create_file", "write_file"])
def write(
    name: Annotated[str, Field(description="ends in txt, md, csv, tsv, json, ics, html, xlsx or docx", max_length=120)],
    text: Annotated[str | None, Field(description="docx: Markdown", max_length=_MAX_CHARACTERS)] = None,
    rows: Annotated[list[list[Cell]] | None, Field(description="of csv, tsv, xlsx; header first")] = None,
) -> Steps:
    """Make a file to attach, upload or share: text, a table, Excel, Word. Returns its handle."""
    kind = PurePosixPath(name).suffix.lower().removeprefix(".")
    if kind not in TYPES:
        raise InvalidInput(f"name: {kind or 'no extension'}: not a kind of file that it makes.", hint=_KINDS)
    if (text is None) == (rows is None):
        raise InvalidInput("text, rows: give one of them.", hint="rows for csv, tsv and xlsx; text for all but xlsx.")
    if rows is not None:
        _check_rows(rows, kind)
        content = (yield from _make(kind, rows=rows)) if kind == "xlsx" else _separated(rows, kind).encode()
    else:
        content = yield from _content_of_text(str(text), kind)
    return dict((yield Keep(File(name, TYPES[kind], content))))


_KINDS: Final = f"It makes {', '.join(TYPES)}."


def _content_of_text(text: str, kind: str) -> Asks[bytes]:
    """Return the file of a text: exactly its UTF-8, but lines of calendar files end in CRLF (RFC 5545, 3.1)."""
    if found := _CONTROLS.search(text):
        raise InvalidInput(
            f"text: the control character U+{ord(found[0]):04X} at {found.start()}.", hint="Leave it out."
        )
    if kind == "xlsx":
        raise InvalidInput("text: an xlsx file is made from rows.", hint='rows=[["Name", "Amount"], ["Rent", 1200]]')
    if kind == "docx":
        return (yield from _make(kind, text=text))
    if kind == "json":
        _check_json(text)
    elif kind in _TABLES:
        _check_formulas(csv.reader(io.StringIO(text, newline=""), delimiter=_DELIMITERS[kind], strict=False))
    elif kind == "ics":
        if not text.lstrip().startswith("BEGIN:VCALENDAR"):
            raise InvalidInput("text: a calendar file begins with BEGIN:VCALENDAR.", hint="See RFC 5545.")
        text = re.sub(r"\r\n?|\n", "\r\n", text)
    return text.encode()


def _check_json(text: str) -> None:
    try:
        json.loads(text)
    except (ValueError, RecursionError) as wrong:
        place = f" in line {wrong.lineno}, column {wrong.colno}" if isinstance(wrong, json.JSONDecodeError) else ""
        raise InvalidInput(f"text: not JSON{place}.", hint="Correct it, or use the extension txt.") from None


_DELIMITERS: Final = {"csv": ",", "tsv": "\t"}


def _separated(rows: Sequence[Sequence[Cell]], kind: str) -> str:
    """Return rows as text (RFC 4180). An empty cell for None; true and false in lower case."""
    into = io.StringIO()
    writer = csv.writer(into, delimiter=_DELIMITERS[kind])
    writer.writerows([str(cell).lower() if isinstance(cell, bool) else cell for cell in row] for row in rows)
    return into.getvalue()


def _check_rows(rows: Sequence[Sequence[Cell]], kind: str) -> None:
    if kind not in _TABLES:
        raise InvalidInput(f"rows: only for {', '.join(_TABLES)}.", hint=f"Give a {kind} file as text.")
    if not rows or len(rows) > _MAX_ROWS or max(map(len, rows)) > _MAX_COLUMNS or sum(map(len, rows)) > _MAX_CELLS:
        limits = f"{_MAX_ROWS} rows, {_MAX_COLUMNS} columns, {_MAX_CELLS} cells"
        raise InvalidInput(f"rows: none, or more than {limits}.", hint="Make several files.")
    for n, row in enumerate(rows, 1):
        for cell in row:
            if isinstance(cell, str) and _CONTROLS.search(cell):
                raise InvalidInput(f"rows: a control character in row {n}.", hint="Leave it out.")
    if kind != "xlsx":  # there, text stays text
        _check_formulas(rows)


def _check_formulas(rows: Any) -> None:
    """Raise `InvalidInput` for a cell that a spreadsheet would run as a formula, which can send data to a server."""
    try:
        for n, row in enumerate(rows, 1):
            for cell in row:
                if isinstance(cell, str) and _FORMULA.match(cell):
                    raise InvalidInput(
                        f"row {n}: {cell[:40]!r} would run as a formula when a spreadsheet opens the file.",
                        hint="Give the value, or begin the cell with an apostrophe.",
                    )
    except csv.Error as wrong:
        raise InvalidInput(f"text: not readable as a table: {wrong}.", hint="Give rows instead.") from None


def _make(kind: str, text: str = "", rows: Sequence[Sequence[Cell]] = ()) -> Asks[bytes]:
    found = yield ParseFile(WRITER, {"kind": kind, "text": text, "rows": list(rows)}, b"")
    if found.get("error"):
        raise InvalidInput(f"{kind} files cannot be made here.", hint=NOT_INSTALLED, fix_by="operator")
    return base64.b64decode(found["data"])
