"""Detection of a file's type by its bytes. Its name and declared type only count for text files."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from deputize.toolkits._documents.document import Document, Json, Unit, Unreadable
from deputize.toolkits._documents.docx import open_docx
from deputize.toolkits._documents.image import open_image
from deputize.toolkits._documents.package import Node, Package, parse_tree
from deputize.toolkits._documents.pdf import open_pdf
from deputize.toolkits._documents.plain import decode_text, open_html, open_mail, open_text
from deputize.toolkits._documents.pptx import open_pptx
from deputize.toolkits._documents.xlsx import open_xlsx

Member = Callable[[str], bytes | None]

_PICTURES: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"BM", b"\0\0\1\0")
_OTHERS: Final = {
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"{\\rtf": "rich text (RTF)",
    b"MZ": "a program",
    b"\x7fELF": "a program",
    b"OggS": "sound or video",
    b"ID3": "sound",
    b"RIFF": "sound or video",
    b"SQLite format 3\0": "a database",
}
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MAIN: Final = re.compile(
    r"(?:officedocument\.\w+ml|ms-(?:word|excel|powerpoint))\.(document|sheet|presentation|slideshow)"
)
_HTML: Final = re.compile(r"\s*(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE | re.DOTALL)
_HEADER: Final = re.compile(r"(?:[!-9;-~]{1,60}:[^\n]*\n(?:[ \t][^\n]*\n)*){3,}", re.IGNORECASE)
_TEXTS: Final = {
    **dict.fromkeys(("csv", "tsv", "json", "xml", "yaml", "md", "log", "ics", "vcf", "svg"), ""),
    "htm": "html",
    "eml": "mail",
}


def open_file(content: bytes, name: str, mime: str) -> tuple[Document, Member]:
    """Open a file. Return the document and a function that returns the bytes of an inner file. Raises `Unreadable`."""
    if not content:
        raise Unreadable("empty", "The file is empty.")
    if content.startswith(b"%PDF-") or (
        b"%PDF-" in content[:1024] and not content.startswith((b"PK", b"<", b"\xff\xd8"))
    ):
        return open_pdf(content), _no_member
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _open_zip(content)
    if content.startswith(_PICTURES) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP"):
        return open_image(content), _no_member
    if content.startswith(_OLE):
        raise _old_office(content)
    if what := next((what for mark, what in _OTHERS.items() if content.startswith(mark)), ""):
        raise Unreadable("unknown_kind", f"The file is {what}, which cannot be read here.")
    text = decode_text(content)
    if text is None:
        raise Unreadable("unknown_kind", "The file is of no kind that can be read here.")
    return _open_text(content, text, name.lower().rpartition(".")[2], mime.lower())


def _no_member(_: str) -> bytes | None:
    return None


def _open_text(content: bytes, text: str, ending: str, mime: str) -> tuple[Document, Member]:
    """Open a text by its content, or else by its declared type."""
    if _HTML.match(text) or ending in ("html", "htm") or mime == "text/html":
        return open_html(text), _no_member
    if (ending == "eml" or mime == "message/rfc822") and _HEADER.match(text.replace("\r\n", "\n")):
        return open_mail(content)
    kind = _TEXTS.get(ending, "text") or ending
    return open_text(kind, text), _no_member


# ----------------------------------------------------------------- zip


def _open_zip(content: bytes) -> tuple[Document, Member]:
    """Open an office file, or an archive with its list of files."""
    package = Package(content)
    if "[Content_Types].xml" not in package.infos:
        return _archive(package), lambda name: package.part(name) if name in package.infos else None
    main = package.find_linked("", "officeDocument")
    found = _MAIN.search(_type_of(package, main))
    if not main or not found:
        raise Unreadable("unknown_kind", "The file is of a kind of office file that cannot be read here.")
    opens = {"document": open_docx, "sheet": open_xlsx}.get(found[1], open_pptx)
    return opens(package, main), _no_member


def _type_of(package: Package, main: str) -> str:
    """Return the content type of the main part."""
    types: list[Node] = parse_tree(package.part("[Content_Types].xml")).children
    return next((one.get("ContentType") for one in types if one.get("PartName").lstrip("/") == main), "")


def _archive(package: Package) -> Document:
    members: list[Json] = [
        {"name": info.filename, "size": info.file_size} for info in package.infos.values() if not info.is_dir()
    ]
    return Document("zip", lambda _: Unit(), count=0, members=members)


def _old_office(content: bytes) -> Unreadable:
    """Return the error for a container of old office files, which is an encrypted new file or an old format."""
    if "EncryptedPackage".encode("utf-16-le") in content:
        return Unreadable("encrypted", "The office file is encrypted with a password.")
    return Unreadable("unknown_kind", "The file is of an old office format (doc, xls, ppt, msg): save it in a new one.")
