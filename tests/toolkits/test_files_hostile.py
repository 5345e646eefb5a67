"""Hostile files lead to an error, quickly, and reveal nothing hidden."""

from __future__ import annotations

import io
import struct
import time
import zipfile
import zlib
from collections.abc import Callable

import pytest

from deputize.core import InvalidInput
from deputize.sandbox import Sandbox
from tests.support.sandbox_deputy import build
from tests.toolkits.made_files import FONT, asked, docx, line, objects, office, pdf, run, stream, text, xlsx, zipped

ENTITIES = "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
LAUGHS = f'<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">{ENTITIES}]><document><body><p><r><t>&j;</t></r></p></body></document>'
OUTSIDE = (
    '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><document><body><p><r><t>&a;</t></r></p></body></document>'
)


def word(document: str | bytes) -> bytes:
    return office("word/document.xml", {"word/document.xml": document})  # type: ignore[dict-item]


def flate(size: int) -> bytes:
    squeezed = zlib.compressobj(9)
    piece = b"0 0 m " * 100_000
    return b"".join(squeezed.compress(piece) for _ in range(size // len(piece))) + squeezed.flush()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def huge_picture() -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1_000_000)) + chunk(b"IEND", b"")


def encrypted_zip() -> bytes:
    made = bytearray(word("<document/>"))
    at = made.index(b"PK\x01\x02")
    while at >= 0:  # the flag of each row of its directory
        made[at + 8] |= 1
        at = made.find(b"PK\x01\x02", at + 4)
    return bytes(made)


PAGES = b"<</Type/Catalog/Pages 2 0 R>>"
FORM = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 5 0 R>>%b>>" % FONT
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "billion laughs": (lambda: word(LAUGHS), "unsafe"),
    "an entity from outside": (lambda: word(OUTSIDE), "unsafe"),
    "laughs in a relation": (lambda: zipped({"[Content_Types].xml": "<Types/>", "_rels/.rels": LAUGHS}), "unsafe"),
    "a zip bomb": (lambda: word(b"<document><p>" + b"a" * 60_000_000), "too_complex"),
    "elements without end": (lambda: word("<document><body>" + "<a>" * 5_000), "too_complex"),
    "a paragraph without end": (
        lambda: word("<document><body><p>" + "<r/>" * 310_000 + "</p></body></document>"),
        "too_complex",
    ),
    "ten thousand files": (lambda: zipped({f"{n}": "" for n in range(10_001)}), "too_complex"),
    "half a zip": (lambda: word("<document/>")[:200], "damaged"),
    "no XML": (lambda: word("words"), "damaged"),
    "an encrypted zip": (encrypted_zip, "encrypted"),
    "an encrypted office file": (
        lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
        "encrypted",
    ),
    "an old office file": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "unknown_kind"),
    "pages in pages": (lambda: objects(PAGES, b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 9>>"), "damaged"),
    "objects without end": (
        lambda: b"%PDF-1.4\n" + b"".join(b"%d 0 obj<</A 1>>endobj\n" % n for n in range(99_999)),
        "damaged",
    ),
    "brackets without end": (lambda: objects(b"<</Type/Catalog/X " + b"[" * 50_000), "damaged"),
    "a page that unpacks without end": (
        lambda: objects(
            PAGES,
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Resources<<%b>>/Contents 4 0 R>>" % FONT,
            stream(flate(90_000_000), b"/Filter/FlateDecode"),
        ),
        "too_complex",
    ),
    "nothing": (lambda: b"", "empty"),
    "a program": (lambda: b"MZ\x90\0", "unknown_kind"),
    "bytes": (lambda: bytes(range(256)) * 4, "unknown_kind"),
    "half a picture": (lambda: b"\x89PNG\r\n\x1a\n", "damaged"),
}


@pytest.mark.parametrize("how", REFUSED)
def test_hostile_file_is_refused_with_a_message(how: str) -> None:
    make, reason = REFUSED[how]
    content, begun = make(), time.process_time()
    found = asked(content)
    assert found.get("error") == reason and len(found["words"]) < 200, found
    assert time.process_time() - begun < 10


def test_encrypted_pdf_is_refused_unless_its_password_is_empty() -> None:
    from pypdf import PdfReader, PdfWriter

    for password, error in (("secret", "encrypted"), ("", None)):
        writer, made = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(line("words"))))), io.BytesIO()
        writer.encrypt(password, "owner", algorithm="AES-256")
        writer.write(made)
        found = asked(made.getvalue())
        assert found.get("error") == error and (error or found["parts"][0]["text"] == "words")


def test_huge_picture_is_described_without_decoding() -> None:
    found = asked(huge_picture())
    assert found["facts"]["width"] == found["facts"]["height"] == 100_000


@pytest.mark.processes
def test_nested_pdf_forms_terminate() -> None:
    made = pdf(b"/X Do " * 30, resources=b"/XObject<</X 5 0 R>>", more=(stream(b"/X Do " * 30 + line("deep"), FORM),))
    assert "forms in forms" in asked(made)["parts"][0]["doubts"]


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.png", "a.txt", "a.html", "a.exe", "a"])
def test_file_type_is_decided_by_content_alone(name: str) -> None:
    assert asked(pdf(line("x")), name, mime="text/html")["kind"] == "pdf"
    assert asked(docx(f"<p>{run('x')}</p>"), name, mime="application/pdf")["kind"] == "docx"
    assert asked(xlsx({"S": ""}), name)["kind"] == "xlsx"


def test_file_of_two_types_is_read_as_one() -> None:
    both = pdf(line("a page")) + docx(f"<p>{run('a document')}</p>")
    assert asked(both)["kind"] == "pdf" and "a document" not in text(both)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("%PDF-1.4", "x")
    assert asked(archive.getvalue())["kind"] == "zip"


def test_archive_member_names_lead_nowhere() -> None:
    content = zipped({"../../etc/passwd": "theirs", "/abs": "x", "C:\\x": "y"})
    assert text(content, member="../../etc/passwd") == "theirs"
    assert asked(content, member="/etc/passwd")["error"] == "no_member"


@pytest.mark.processes
async def test_compression_bomb_leaves_the_deputy_working_and_is_not_described() -> None:
    async with await build(Sandbox()) as deputy:
        bomb = word(b"<document><p>" + b"a" * 60_000_000)
        handle = (await deputy.store_file("alice", "bomb.docx", "x/y", bomb))["file"]
        with pytest.raises(InvalidInput) as e:
            await deputy.act("files_read", {"file": handle}, user="alice")
        assert e.value.reason == "too_complex" and "bomb.docx" in str(e.value) and "aaa" not in str(e.value)
        fine = (await deputy.store_file("alice", "a.txt", "text/plain", b"fine"))["file"]
        assert (await deputy.act("files_read", {"file": fine}, user="alice"))["text"] == "fine"


@pytest.mark.parametrize("kind", ["docx", "xlsx", "pdf", "text"])
def test_text_for_models_only_is_removed_from_every_file_type(kind: str) -> None:
    from tests.toolkits.test_files_read import Reader, words

    hidden = "se\u200bcr\u00adet\U000e0041 \u202eword"
    made = {
        "docx": docx(f"<p>{run(hidden)}</p>"),
        "xlsx": xlsx({f"S{hidden}": f'<sheetData><row r="1">{words("A1", hidden)}</row></sheetData>'}),
        "pdf": pdf(line("x"), about=b"").replace(b"(x)", b"(secret word)"),
        "text": hidden.encode(),
    }[kind]
    found = Reader(made, f"a\u200b{kind}.x").read()
    assert "secret word" in found["text"] and found["untrusted"] is True
    assert all(sign not in str(found) for sign in ("\u200b", "\u00ad", "\U000e0041", "\u202e"))
