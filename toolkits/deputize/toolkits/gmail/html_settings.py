"""Texts that Gmail stores as HTML: signatures, the automatic reply, bodies of drafts.

They are read as plain text, or as stored (``raw``). Plain text written back would lose layout, links and pictures. So a
text with more than plain text is replaced only if the caller passes its digest. Offsets count characters of the text
that is read.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Any, Final

from deputize.core import Continuation
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.long_text import ALONE, Form, check_read, digest, part
from deputize.toolkits._shared.mail.compose import Text, render_body
from deputize.toolkits._shared.mail_raw import RawMail
from deputize.toolkits._shared.page import text_tokens
from deputize.toolkits._shared.text import Outside

_PLAIN: Final = Form(outside=Outside, show=Outside.text)
_LINES: Final = re.compile(r"</?(?:html|body|div|p|br)(?:\s+dir=\"(?:ltr|rtl|auto)\")?\s*/?>", re.IGNORECASE)
_MARKUP: Final = re.compile(r"<[A-Za-z/!?]|&[A-Za-z#]")
_TAG: Final = re.compile(r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>|<!--", re.IGNORECASE)


def draft_part(draft_id: str, mail: RawMail, offset: int) -> dict[str, Any]:
    """Return a part of a draft's body as stored. It may quote untrusted content."""
    more, outside = Continuation("gmail_get_email", draft_id=draft_id, part="raw"), Outside()
    told = part(_PLAIN, outside, draft_body(mail), None, offset, raw=True, name="body", more=more)
    outside.mark(told)
    return told | {"format": "html" if mail.html else "plain"}


def stored_part(
    stored: str, outside: Outside, limit: int | None, more: Continuation, offset: int = 0, *, raw: bool, name: str
) -> dict[str, Any]:
    """Return a part of a text, as `deputize.toolkits._shared.long_text.part` does."""
    if raw or not _MARKUP.search(stored):
        more = Continuation(more.tool, **more.arguments, raw=True) if raw else more
        return part(_PLAIN, outside, stored, limit, offset, raw=raw, name=name, more=more)
    shown = part(_PLAIN, outside, _visible_text(stored, outside), limit, offset, name=name, more=more)
    shown.pop("text_digest", None)
    return shown | ({"text_digest": digest(stored)} if "next_offset" not in shown and is_plain_text(stored) else {})


def _visible_text(stored: str, outside: Outside) -> str:
    page = read_html(stored)
    outside.hidden += page.hidden
    outside.doubts |= page.doubts
    return page.text.strip()


def is_plain_text(stored: str) -> bool:
    """True if a text has only words and line breaks, so that rewriting it as plain text loses nothing."""
    bare = _LINES.sub(" ", stored)
    shown = Outside().text(_visible_text(stored, Outside()) if _MARKUP.search(stored) else stored)
    return not _TAG.search(bare) and "".join(unescape(bare).split()) == "".join(shown.split())


def check_replacement(name: str, stored: str, if_text: str | None, reads: str, shown: int | None = None) -> None:
    """Check with `check_read`, before all of a text is replaced. ``shown``: bytes of its text in a row; None if it is
    read alone."""
    words = _visible_text(stored, Outside()) if _MARKUP.search(stored) else stored
    cut = bool(stored.strip()) and (_is_long(words, shown) or not is_plain_text(stored))
    check_read(name, stored, if_text, _HOW.format(reads), cut=cut)


def check_draft(mail: RawMail, own: Text, if_text: str | None) -> None:
    """Check with `check_read`, before the body of a draft is replaced. ``own``: the body above its quote. HTML that
    deputize generated from Markdown counts as plain text."""
    ours = own.html and _is_same(own.html, as_stored(own.plain).html if not has_tags(own.plain) else "")
    free = is_plain_text(own.html) if own.html else Outside().text(own.plain).split() == own.plain.split()
    words = _visible_text(own.html, Outside()) if own.html else own.plain
    cut = bool((own.html or own.plain).strip()) and (_is_long(words, None) or not (ours or free))
    check_read("body", draft_body(mail), if_text, _HOW.format("gmail_get_email part=raw"), cut=cut)


def draft_body(mail: RawMail) -> str:
    return mail.html or mail.plain


def _is_same(one: str, other: str) -> bool:
    return "".join(_LINES.sub(" ", one).split()) == "".join(_LINES.sub(" ", other).split())


def _is_long(words: str, shown: int | None) -> bool:
    return len(words.encode(errors="replace")) > shown if shown else text_tokens(words) > ALONE


_HOW: Final = "Read it with {}, on from more to its end, and pass text_digest as if_text."


def as_stored(body: str) -> Text:
    """Return a body as Gmail stores it: HTML unchanged, other text converted from Markdown.

    Raises `InvalidInput` for HTML that would load remote content.
    """
    return render_body(body, "html" if has_tags(body) else "auto")


def has_tags(body: str) -> bool:
    return bool(_TAG.search(body))
