"""Texts that Gmail keeps for the user as HTML: signatures, the automatic reply, bodies of drafts.

They are shown in words, or as they are stored (``raw``). Words written back would lose layout, links and pictures, so
what has more than words is replaced only by whoever says its digest. Offsets count the characters of what is read.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Any, Final

from deputize.core import More
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.long_text import ALONE, Form, check_read, digest, part
from deputize.toolkits._shared.mail.compose import Text, written
from deputize.toolkits._shared.page import text_tokens
from deputize.toolkits._shared.text import Outside

_PLAIN: Final = Form(outside=Outside, show=Outside.text)
_LINES: Final = re.compile(r"</?(?:html|body|div|p|br)(?:\s+dir=\"(?:ltr|rtl|auto)\")?\s*/?>", re.IGNORECASE)
_MARKUP: Final = re.compile(r"<[A-Za-z/!?]|&[A-Za-z#]")
_TAG: Final = re.compile(r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>|<!--", re.IGNORECASE)


def stored_part(
    stored: str, outside: Outside, limit: int | None, more: More, offset: int = 0, *, raw: bool, name: str
) -> dict[str, Any]:
    """A part of a text, as `deputize.toolkits._shared.long_text.part` gives it."""
    if raw or not _MARKUP.search(stored):
        more = More(more.tool, **more.arguments, raw=True) if raw else more
        return part(_PLAIN, outside, stored, limit, offset, raw=raw, name=name, more=more)
    shown = part(_PLAIN, outside, _words(stored, outside), limit, offset, name=name, more=more)
    shown.pop("text_digest", None)
    return shown | ({"text_digest": digest(stored)} if "next_offset" not in shown and only_words(stored) else {})


def _words(stored: str, outside: Outside) -> str:
    page = read_html(stored)
    outside.hidden += page.hidden
    outside.doubts |= page.doubts
    return page.text.strip()


def only_words(stored: str) -> bool:
    """Whether its words and lines are all that a text has: nothing is lost where they are written anew."""
    bare = _LINES.sub(" ", stored)
    shown = Outside().text(_words(stored, Outside()) if _MARKUP.search(stored) else stored)
    return not _TAG.search(bare) and "".join(unescape(bare).split()) == "".join(shown.split())


def check_replaced(name: str, stored: str, if_text: str | None, reads: str, shown: int | None = None) -> None:
    """Raises what `check_read` raises before all of a text is replaced. ``shown``: as many bytes of its words are in a
    row; None where it is read alone."""
    words = _words(stored, Outside()) if _MARKUP.search(stored) else stored
    long = len(words.encode(errors="replace")) > shown if shown else text_tokens(words) > ALONE
    has_more = bool(stored.strip()) and (long or not only_words(stored))
    hint = f"Read it with {reads}, on from more to its end, and pass text_digest as if_text."
    check_read(name, stored, if_text, hint, cut=has_more)


def as_stored(body: str) -> Text:
    """A body as it is kept: HTML as it stands, all else is Markdown.

    Raises `InvalidInput` for HTML that would load something from elsewhere.
    """
    return written(body, "html" if has_tags(body) else "auto")


def has_tags(body: str) -> bool:
    """Whether a body is taken as HTML."""
    return bool(_TAG.search(body))
