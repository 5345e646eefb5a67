"""PDF: a unit for each page, its text as pypdf lays it out, then what its forms and notes say."""

from __future__ import annotations

import io
import logging
import re
from typing import TYPE_CHECKING, Any

from deputize.toolkits._documents.document import Document, Unit, Unreadable, letters

if TYPE_CHECKING:
    from deputize.toolkits._documents.pdf_visible import VisibleText

NEEDS = "To read PDF files, the operator installs deputize[files]."
_NO_TABLE = b"\nstartxref\n0\n%%EOF\n"  # as viewers do, pypdf then looks for the objects itself
_WHITE = re.compile(r"(?<![\d.])1(?:\.0*)? (?:g|1(?:\.0*)? 1(?:\.0*)? rg)(?!\w)")  # how a field writes its text
_HIDDEN_FLAGS = 0b100010  # hidden, not shown on a screen (ISO 32000-1, table 165)


def open_pdf(content: bytes) -> Document:
    """A PDF that was opened. Raises `Unreadable` for one with a password, and one that is none."""
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ImportError:
        raise Unreadable("not_installed", NEEDS) from None
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it says what is wrong with a file
    try:
        reader, count = _opened(PdfReader(io.BytesIO(content)))
    except PyPdfError:
        try:
            reader, count = _opened(PdfReader(io.BytesIO(content + _NO_TABLE)))
        except PyPdfError:
            raise Unreadable("damaged", "The PDF is damaged.") from None
    return Document("pdf", lambda number: _page(reader, number), count, "page", facts=_facts(reader))


def _opened(reader: Any) -> tuple[Any, int]:
    """The reader and how many pages it has."""
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("encrypted", "The PDF is encrypted with a password.")
    return reader, len(reader.pages)


def _facts(reader: Any) -> dict[str, Any]:
    """What the file says of itself."""
    try:
        title = str((reader.metadata or {}).get("/Title") or "")
    except (MemoryError, RecursionError):
        raise
    except Exception:  # whatever pypdf makes of a file that is wrong
        return {}
    return {"title": " ".join(title.split())[:200]} if title.strip() not in ("", "untitled") else {}


def _page(reader: Any, number: int) -> Unit:
    from pypdf.errors import LimitReachedError

    from deputize.toolkits._documents.pdf_visible import VisibleText

    page, unit = reader.pages[number], Unit()
    seen = VisibleText(reader, page)
    try:
        seen.take_out()
        text = page.extract_text().strip()
    except LimitReachedError:
        raise Unreadable("too_complex", f"Page {number + 1} is too large once it is unpacked.") from None
    unit.hidden, unit.doubts = seen.hidden, seen.doubts
    unit.text = "\n".join(part for part in (text, *_annotations(page, seen, unit)) if part)
    if not unit.text and seen.has_picture:
        unit.text = "[a picture without text, such as a scan]"
    return unit


def _annotations(page: Any, seen: VisibleText, unit: Unit) -> list[str]:
    """What a form's fields hold, and notes on the page, as far as they are seen."""
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
            unit.hidden += letters(words)
        else:
            said.append(words)
    return [one for one in said if one]


def _field(about: Any) -> str:
    """A field of a form, with what was filled in."""
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
