"""PDF: one unit per page: its text as pypdf extracts it, then form fields and notes."""

from __future__ import annotations

import io
import logging
import re
from typing import TYPE_CHECKING, Any

from deputize.toolkits._documents.document import Document, Unit, Unreadable, count_letters

if TYPE_CHECKING:
    from deputize.toolkits._documents.pdf_visible import VisibleText

NEEDS = "To read PDF files, the operator installs deputize[files]."
_NO_TABLE = b"\nstartxref\n0\n%%EOF\n"  # makes pypdf search for the objects itself, as viewers do
_WHITE = re.compile(r"(?<![\d.])1(?:\.0*)? (?:g|1(?:\.0*)? 1(?:\.0*)? rg)(?!\w)")  # text colour of a field
_HIDDEN_FLAGS = 0b100010  # hidden, not shown on a screen (ISO 32000-1, table 165)


def open_pdf(content: bytes) -> Document:
    """Open a PDF. Raises `Unreadable` if it needs a password or is damaged."""
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ImportError:
        raise Unreadable("not_installed", NEEDS) from None
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it logs faults of the file
    try:
        reader, count = _unlock(PdfReader(io.BytesIO(content)))
    except PyPdfError:
        try:
            reader, count = _unlock(PdfReader(io.BytesIO(content + _NO_TABLE)))
        except PyPdfError:
            raise Unreadable("damaged", "The PDF is damaged.") from None
    return Document("pdf", lambda number: _page(reader, number), count, "page", facts=_facts(reader))


def _unlock(reader: Any) -> tuple[Any, int]:
    """Return the reader and its number of pages."""
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("encrypted", "The PDF is encrypted with a password.")
    return reader, len(reader.pages)


def _facts(reader: Any) -> dict[str, Any]:
    try:
        title = str((reader.metadata or {}).get("/Title") or "")
    except (MemoryError, RecursionError):
        raise
    except Exception:  # pypdf raises many types for damaged files
        return {}
    return {"title": " ".join(title.split())[:200]} if title.strip() not in ("", "untitled") else {}


def _page(reader: Any, number: int) -> Unit:
    from pypdf.errors import LimitReachedError

    from deputize.toolkits._documents.pdf_visible import VisibleText

    page, unit = reader.pages[number], Unit()
    seen = VisibleText(reader, page)
    try:
        seen.remove_hidden()
        text = page.extract_text().strip()
    except LimitReachedError:
        raise Unreadable("too_complex", f"Page {number + 1} is too large once it is unpacked.") from None
    unit.hidden, unit.doubts = seen.hidden, seen.doubts
    unit.text = "\n".join(part for part in (text, *_annotations(page, seen, unit)) if part)
    if not unit.text and seen.has_picture:
        unit.text = "[a picture without text, such as a scan]"
    return unit


def _annotations(page: Any, seen: VisibleText, unit: Unit) -> list[str]:
    """Return the visible form fields and notes of the page."""
    said = []
    listed = page.get("/Annots")
    for one in (listed.get_object() if listed is not None else ()) or ():
        about = one.get_object()
        if not hasattr(about, "get") or int(about.get("/F", 0)) & _HIDDEN_FLAGS:
            continue
        if about.get("/Subtype") == "/Widget":
            words = _field(about)
        elif words := " ".join(str(about.get("/Contents") or "").split()):
            by = f" by {about['/T']}" if about.get("/T") else ""
            words = f"[note{by}: {words}]"
        if words and (seen.is_off(about) or _WHITE.search(str(about.get("/DA") or ""))):
            unit.hidden += count_letters(words)
        else:
            said.append(words)
    return [one for one in said if one]


def _field(about: Any) -> str:
    """Return a form field with its value."""
    name, value, kind, node = "", None, "", about
    for _ in range(20):
        name = name or str(node.get("/TU") or node.get("/T") or "")
        value = node.get("/V") if value is None else value
        kind = kind or str(node.get("/FT") or "")
        if "/Parent" not in node:
            break
        node = node["/Parent"].get_object()
    if kind == "/Btn":
        filled = "x" if str(about.get("/AS") or "/Off") != "/Off" else " "
    else:
        filled = " ".join(str(value).split()) if isinstance(value, str) else ""
    return f"[field {' '.join(name.split())}: {filled}]" if filled and kind in ("/Tx", "/Ch", "/Btn") else ""
