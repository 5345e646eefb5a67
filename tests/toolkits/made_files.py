"""Files as people send them, generated here: office files part by part, PDFs object by object."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any, Final

from deputize.toolkits._documents.reader import parse

Json = dict[str, Any]

_MAIN: Final = {
    "word/document.xml": "wordprocessingml.document.main+xml",
    "xl/workbook.xml": "spreadsheetml.sheet.main+xml",
    "ppt/presentation.xml": "presentationml.presentation.main+xml",
}
_TYPE: Final = "application/vnd.openxmlformats-officedocument."
_KIND: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"


def zipped(parts: Mapping[str, str | bytes]) -> bytes:
    """Return a zip of these files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return made.getvalue()


def links(**targets: str) -> str:
    """Return relationships: by id, ``kind target``; an external address has a scheme."""
    rows = []
    for name, one in targets.items():
        kind, _, target = one.partition(" ")
        mode = ' TargetMode="External"' if "://" in target else ""
        rows.append(f'<Relationship Id="{name}" Type="{_KIND}{kind}" Target="{target}"{mode}/>')
    return f"<Relationships>{''.join(rows)}</Relationships>"


def office(main: str, parts: Mapping[str, str]) -> bytes:
    """Return an office file with this main part."""
    types = f'<Types><Override PartName="/{main}" ContentType="{_TYPE}{_MAIN[main]}"/></Types>'
    return zipped({"[Content_Types].xml": types, "_rels/.rels": links(r0=f"officeDocument {main}")} | dict(parts))


def docx(body: str, parts: Mapping[str, str] | None = None, **to: str) -> bytes:
    """Return a Word file with this body, ``w:`` left out."""
    document = f'<document xmlns:r="{_KIND}"><body>{body}</body></document>'
    made = {"word/document.xml": document, "word/_rels/document.xml.rels": links(**to)}
    return office("word/document.xml", made | dict(parts or {}))


def run(text: str, properties: str = "") -> str:
    """Return a run of text."""
    return f"<r><rPr>{properties}</rPr><t>{text}</t></r>"


def xlsx(
    sheets: Mapping[str, str],
    *,
    styles: str = "",
    states: Mapping[str, str] | None = None,
    strings: str = "",
    parts: Mapping[str, str] | None = None,
) -> bytes:
    """Return an Excel file: by name, the content of ``worksheet``."""
    listed = "".join(
        f'<sheet name="{name}" state="{(states or {}).get(name, "visible")}" r:id="r{n}"/>'
        for n, name in enumerate(sheets)
    )
    to = {f"r{n}": f"worksheet worksheets/sheet{n}.xml" for n in range(len(sheets))}
    made = {
        "xl/workbook.xml": f'<workbook xmlns:r="{_KIND}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": links(**to, st="styles styles.xml", ss="sharedStrings sharedStrings.xml"),
        "xl/styles.xml": f"<styleSheet>{styles}</styleSheet>",
        "xl/sharedStrings.xml": f"<sst>{strings}</sst>",
    }
    made |= {
        f"xl/worksheets/sheet{n}.xml": f"<worksheet>{inner}</worksheet>" for n, inner in enumerate(sheets.values())
    }
    return office("xl/workbook.xml", made | dict(parts or {}))


def rows(*lines: str) -> str:
    """Return rows of a sheet."""
    return f"<sheetData>{''.join(lines)}</sheetData>"


def pptx(*slides: str, notes: str = "") -> bytes:
    """Return a PowerPoint file with these slides; notes belong to the first."""
    listed = "".join(f'<sldId id="{n}" r:id="r{n}"/>' for n in range(len(slides)))
    parts = {
        "ppt/presentation.xml": f'<presentation xmlns:r="{_KIND}"><sldIdLst>{listed}</sldIdLst>'
        '<sldSz cx="12192000" cy="6858000"/></presentation>',
        "ppt/_rels/presentation.xml.rels": links(**{f"r{n}": f"slide slides/slide{n}.xml" for n in range(len(slides))}),
    }
    parts |= {f"ppt/slides/slide{n}.xml": one for n, one in enumerate(slides)}
    if notes:
        parts["ppt/slides/_rels/slide0.xml.rels"] = links(n="notesSlide ../notesSlides/n.xml")
        parts["ppt/notesSlides/n.xml"] = notes
    return office("ppt/presentation.xml", parts)


# ----------------------------------------------------------------- PDF

FONT: Final = b"/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>"


def stream(data: bytes, about: bytes = b"") -> bytes:
    """Return a PDF stream."""
    return b"<</Length %d%s>>stream\n%b\nendstream" % (len(data), about, data)


def objects(*found: bytes) -> bytes:
    """Return a PDF of these objects, the catalog first."""
    made, places = b"%PDF-1.4\n", []
    for number, one in enumerate(found, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%b\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return made + b"xref\n0 %d\n0000000000 65535 f \n%btrailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF" % (
        len(found) + 1,
        table,
        len(found) + 1,
        len(made),
    )


def pdf(*pages: bytes, resources: bytes = b"", about: bytes = b"", more: tuple[bytes, ...] = ()) -> bytes:
    """Return a PDF whose pages paint this. Further objects begin at number 3 + twice the pages."""
    kids = b" ".join(b"%d 0 R" % (3 + 2 * n) for n in range(len(pages)))
    found = [b"<</Type/Catalog/Pages 2 0 R%b>>" % about, b"<</Type/Pages/Kids[%b]/Count %d>>" % (kids, len(pages))]
    for n, page in enumerate(pages):
        where = b"/Parent 2 0 R/MediaBox[0 0 600 800]/Contents %d 0 R" % (4 + 2 * n)
        found += [b"<</Type/Page%b/Resources<<%b%b>>>>" % (where, FONT, resources), stream(page)]
    return objects(*found, *more)


def line(text: str, x: int = 50, y: int = 700, size: float = 12) -> bytes:
    """Return a line of text on a page."""
    return b"BT /F %g Tf %d %d Td (%b) Tj ET\n" % (size, x, y, text.encode())


# ----------------------------------------------------------------- reading


def asked(content: bytes, name: str = "x", **more: Any) -> Json:
    """Return what the reader returns for a file, in this process."""
    question = {"name": name, "mime": "", "member": "", "start": "1", "offset": 0, "room": 18_000, "find": None}
    return parse(question | more, content)


def text(content: bytes, name: str = "x", **more: Any) -> str:
    """Return the text of a file that is read to its end at once."""
    return "\n".join(one["text"] for one in asked(content, name, **more)["parts"])
