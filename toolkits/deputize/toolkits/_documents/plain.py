"""Texts: of any charset without its name, HTML, mails; what is no text is told by its bytes."""

from __future__ import annotations

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


def decoded(content: bytes) -> str | None:
    """Bytes as text; None for what is none."""
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
    """A text as it is."""
    return Document(kind, lambda _: Unit(text))


def open_html(text: str) -> Document:
    """A page as a browser shows it."""
    from deputize.toolkits._shared.html import read_html

    def read(_: int) -> Unit:
        page = read_html(text)
        return Unit(page.text, page.hidden, set(page.doubts))

    return Document("html", read)
