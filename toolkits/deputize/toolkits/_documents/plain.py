"""Texts of any charset, HTML and mails; binary files are detected by their bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from deputize.toolkits._documents.document import Document, Unit

_MARKS: Final = (  # longest first
    (b"\xff\xfe\x00\x00", "utf_32"),
    (b"\x00\x00\xfe\xff", "utf_32"),
    (b"\xff\xfe", "utf_16"),
    (b"\xfe\xff", "utf_16"),
    (b"\xef\xbb\xbf", "utf_8_sig"),
)
_CONTROLS: Final = bytes(set(range(32)) - {8, 9, 10, 12, 13, 27})


def decode_text(content: bytes) -> str | None:
    """Decode bytes, or return None if they are not text."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return content.decode(name, "replace")
    if len(content.translate(None, _CONTROLS)) < len(content):
        return None
    try:
        return content.decode()
    except UnicodeDecodeError as wrong:
        if wrong.end >= len(content) - 3 and wrong.start > 64:
            return content[: wrong.start].decode()
    return content.decode("cp1252", "replace")


def open_text(kind: str, text: str) -> Document:
    return Document(kind, lambda _: Unit(text))


def open_html(text: str) -> Document:
    """Open HTML as a browser shows it."""
    from deputize.toolkits._shared.html import read_html

    def read(_: int) -> Unit:
        page = read_html(text)
        return Unit(page.text, page.hidden, set(page.doubts))

    return Document("html", read)


def open_mail(content: bytes) -> tuple[Document, Callable[[str], bytes | None]]:
    """Open a mail. Return the document, and a function that returns the bytes of a file inside it."""
    from deputize.toolkits._shared.html import read_html
    from deputize.toolkits._shared.mail_raw import RawMail

    mail = RawMail.of(content)
    date = next((one.partition(": ")[2] for one in mail.other if one.lower().startswith("date: ")), _date(content))
    head = [f"{name}: {', '.join(map(str, people))}" for name, people in mail.people.items() if people]
    head += [f"Date: {date}"] * bool(date) + [f"Subject: {mail.subject}"]

    def read(_: int) -> Unit:
        page = read_html(mail.html) if mail.html else None
        body = page.text if page and page.text.strip() else mail.plain
        unit = Unit("\n".join((*head, "", body)))
        if page:
            unit.hidden, unit.doubts = page.hidden, set(page.doubts)
        return unit

    files = {one.name: one.data for one in mail.files}
    members = [{"name": one.name, "size": len(one.data)} for one in mail.files]
    return Document("mail", read, members=members), files.get


def _date(content: bytes) -> str:
    head = content[:64_000].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    lines = [line for line in head.split(b"\n") if line.lower().startswith(b"date:")]
    return lines[0][5:].decode("ascii", "replace").strip() if lines else ""
