"""Readable text of a mail, for snippets and search."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import Message
from email.policy import default
from html import unescape

INVISIBLE = re.compile(r"<(style|script|head|title)\b.*?</\1\s*>|<!--.*?-->", re.DOTALL | re.IGNORECASE)
TAG = re.compile(r"<[^>]*>")
SPACE = re.compile(r"\s+")


def parts(message: Message) -> Iterator[Message]:
    """Return the parts that have content of their own."""
    return (part for part in message.walk() if not part.is_multipart())


def content(part: Message) -> bytes:
    """Return a part's bytes without the transfer encoding."""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def is_file(part: Message) -> bool:
    """Return True if a part is an attachment."""
    return bool(part.get_filename()) or part.get_content_disposition() == "attachment"


def decode_text(part: Message) -> str:
    """Decode a text part, even if its charset is unknown."""
    raw = content(part)
    try:
        return raw.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        return raw.decode("utf-8", "replace")


def readable(message: Message) -> str:
    """Return the plain text of a mail, or its HTML without the markup."""
    texts = [part for part in parts(message) if part.get_content_maintype() == "text" and not is_file(part)]
    for part in texts:
        if part.get_content_subtype() == "plain":
            return decode_text(part)
    return "\n".join(_strip_markup(decode_text(part)) for part in texts)


def snippet(message: Message) -> str:
    """Return the first 200 characters at most of a mail, HTML-escaped as Gmail does."""
    words = SPACE.sub(" ", readable(message)).strip()
    cut = words if len(words) <= 200 else words[:200].rsplit(" ", 1)[0]
    return (
        cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;").replace("'", "&#39;")
    )


def header(message: Message, name: str) -> str:
    """Return one header, decoded and unfolded, or "" if it is absent."""
    wanted = name.lower()
    return next((_value(key, raw) for key, raw in message.raw_items() if key.lower() == wanted), "")


def headers(message: Message) -> Iterator[tuple[str, str]]:
    """Return all headers, decoded and unfolded."""
    return ((name, _value(name, raw)) for name, raw in message.raw_items())


def _value(name: str, raw: object) -> str:
    """Return a header's text; as written if the parser fails."""
    try:
        value = str(default.header_fetch_parse(name, raw))  # type: ignore[arg-type]
    except (ValueError, LookupError, AttributeError):
        value = str(raw)
    return SPACE.sub(" ", value).strip()


def _strip_markup(markup: str) -> str:
    return unescape(TAG.sub(" ", INVISIBLE.sub(" ", markup)))
