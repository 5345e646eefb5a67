"""Long Slack texts: their beginnings in rows, and single texts read in parts.

Offsets count characters in Slack's notation, which does not depend on anybody's name.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final
from unicodedata import east_asian_width

from deputize.core import Continuation
from deputize.toolkits._shared.long_text import ALONE, PART, Form, digest, part, shortened
from deputize.toolkits._shared.page import text_tokens
from deputize.toolkits._shared.text import Outside, clip
from deputize.toolkits.slack.base import Json
from deputize.toolkits.slack.message_text import TOKEN
from deputize.toolkits.slack.text import MARKED, Reader

_ENTITY: Final = re.compile("&(?:lt|gt|amp);")
_PLAIN: Final = Form(Outside, lambda outside, piece: str(outside.text(piece)))


def byte_limit(text: str, characters: int) -> int:
    """Return the size in bytes of a text's first ``characters``. A wide character counts as two."""
    width = 0
    for at, character in enumerate(text):
        width += 2 if east_asian_width(character) in "WF" else 1
        if width > characters:
            return len(text[:at].encode(errors="replace"))
    return len(text.encode(errors="replace"))


def excerpt(reader: Reader, notation: str, characters: int, more: Continuation | None = None) -> Json:
    """Return the beginning of a text as ``text``. If cut, also ``cut`` and ``more``, the call that reads the rest."""
    text = notation.strip()
    if not is_cut(reader, text, characters):
        return {"text": reader.mrkdwn(text).strip()}
    limit = byte_limit(Reader(reader.names).mrkdwn(text).strip(), characters)
    return shortened(_form(reader), reader, text, limit, name="text", more=more)


def is_cut(reader: Reader, notation: str, characters: int) -> bool:
    """True if a row contains only the beginning of a text."""
    whole = Reader(reader.names).mrkdwn(notation).strip()
    return byte_limit(whole, characters) < len(whole.encode(errors="replace"))


def read_part(reader: Reader, notation: str, offset: int, more: Continuation, row: int | None = None) -> Json:
    """Return one part of a text. The last part has the digest if a row of ``row`` characters cuts the text.

    Raises `InvalidInput` for an offset beyond the end.
    """
    text = notation.strip()
    told = part(_form(reader), reader, text, PART, offset, more=more)
    return _with_digest(told, text, needed=row is not None and is_cut(reader, text, row))


def plain_part(outside: Outside, text: str, offset: int, more: Continuation, *, edited: bool = False) -> Json:
    """Return one part of a text without notation, such as a file's. ``edited``: add the digest if the text takes
    several parts."""
    told = part(_PLAIN, outside, text, PART, offset, more=more)
    return _with_digest(told, text, needed=edited and needs_parts(text))


def needs_parts(text: str) -> bool:
    """True if a text is longer than one result."""
    return text_tokens(text) > ALONE


def read_call(conversation: object, ts: object) -> Continuation | None:
    """Return the call that reads a whole message, or None if the message is not known."""
    return (
        Continuation("slack_get_messages", conversation=str(conversation), ts=str(ts)) if conversation and ts else None
    )


def one_line(reader: Reader, limit: int, conversation: object, **texts: object) -> Json:
    """Return topics and similar texts on one line each, in ``limit`` bytes. ``more`` reads them whole if one is cut."""
    whole = {name: " ".join(reader.mrkdwn(str(text or ""), marks=False).split()) for name, text in texts.items()}
    told: Json = {name: clip(text, limit) for name, text in whole.items()}
    return told | (
        {"more": Continuation("slack_get_conversation", conversation=str(conversation))} if told != whole else {}
    )


def _form(reader: Reader) -> Form:
    return Form(
        partial(Reader, reader.names), lambda one, piece: str(one.mrkdwn(piece)), uncut=(TOKEN, _ENTITY, MARKED)
    )


def _with_digest(told: Json, text: str, *, needed: bool) -> Json:
    """Add the digest of the whole displayed text to the last part."""
    told = {name: value for name, value in told.items() if name != "text_digest"}
    return told | ({"text_digest": digest(text)} if needed and "next_offset" not in told else {})
