"""Text of a file by its media type: plain text, and HTML as a browser shows it."""

from __future__ import annotations

from typing import Final

from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.text import Outside

_READABLE: Final = ("text/", "application/json", "application/xml")


def file_text(content: bytes, mime: str, outside: Outside) -> str | None:
    """Return the text that a person would read; None for other types. Hidden text is counted in ``outside``."""
    if not mime.startswith(_READABLE):
        return None
    text = content.decode(errors="replace")
    if "html" not in mime:
        return text
    page = read_html(text)
    outside.hidden += page.hidden
    outside.doubts |= page.doubts
    return page.text
