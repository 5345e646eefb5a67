"""The readable text of a mail: for snippets, and for the words a search looks at."""

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
    """Every part that has content of its own."""
    return (part for part in message.walk() if not part.is_multipart())


def content(part: Message) -> bytes:
    """A part's bytes with its transfer encoding undone."""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def is_file(part: Message) -> bool:
    """Whether a part is an attachment rather than something to read."""
    return bool(part.get_filename()) or part.get_content_disposition() == "attachment"


def decoded(part: Message) -> str:
    """A text part as text, whatever its charset claims."""
    raw = content(part)
    try:
        return raw.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        return raw.decode("utf-8", "replace")


def readable(message: Message) -> str:
    """The plain text of a mail, or its HTML without the markup."""
    texts = [part for part in parts(message) if part.get_content_maintype() == "text" and not is_file(part)]
    for part in texts:
        if part.get_content_subtype() == "plain":
            return decoded(part)
    return "\n".join(_unmarked(decoded(part)) for part in texts)


def snippet(message: Message) -> str:
    """The first words of a mail, HTML-escaped as Gmail gives them."""
    words = SPACE.sub(" ", readable(message)).strip()
    cut = words if len(words) <= 200 else words[:200].rsplit(" ", 1)[0]
    return (
        cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;").replace("'", "&#39;")
    )


def header(message: Message, name: str) -> str:
    """One header, decoded and unfolded; nothing where it is absent."""
    wanted = name.lower()
    return next((_value(key, raw) for key, raw in message.raw_items() if key.lower() == wanted), "")


def headers(message: Message) -> Iterator[tuple[str, str]]:
    """All headers, decoded and unfolded."""
    return ((name, _value(name, raw)) for name, raw in message.raw_items())


def _value(name: str, raw: object) -> str:
    """A header's text; one that the parser chokes on is given as it was written."""
    try:
        value = str(default.header_fetch_parse(name, raw))  # type: ignore[arg-type]
    except (ValueError, LookupError, AttributeError):
        value = str(raw)
    return SPACE.sub(" ", value).strip()


def _unmarked(markup: str) -> str:
    return unescape(TAG.sub(" ", INVISIBLE.sub(" ", markup)))
