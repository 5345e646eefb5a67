"""Long texts of Slack's: their beginnings in rows, and one read by itself, on to its end.

Offsets count the characters of a text in Slack's notation, in which nobody's name changes them.
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


def room(text: str, characters: int) -> int:
    """How many bytes so many characters of a text have: in any script as many words; a wide one counts as two."""
    width = 0
    for at, character in enumerate(text):
        width += 2 if east_asian_width(character) in "WF" else 1
        if width > characters:
            return len(text[:at].encode(errors="replace"))
    return len(text.encode(errors="replace"))


def excerpt(reader: Reader, notation: str, characters: int, more: Continuation | None = None) -> Json:
    """The beginning of a text, with its lines, as ``text``; with ``cut`` where that is not all, and ``more``: the call
    that reads it."""
    text = notation.strip()
    if not is_cut(reader, text, characters):
        return {"text": reader.mrkdwn(text).strip()}
    limit = room(Reader(reader.names).mrkdwn(text).strip(), characters)
    return shortened(_form(reader), reader, text, limit, name="text", more=more)


def is_cut(reader: Reader, notation: str, characters: int) -> bool:
    """Whether a row shows only the beginning of a text."""
    whole = Reader(reader.names).mrkdwn(notation).strip()
    return room(whole, characters) < len(whole.encode(errors="replace"))


def read_on(reader: Reader, notation: str, offset: int, more: Continuation, row: int | None = None) -> Json:
    """A part of a text that is read by itself; with the digest at its end, where a row of ``row`` characters cuts it.

    Raises `InvalidInput` for an offset beyond its end.
    """
    text = notation.strip()
    told = part(_form(reader), reader, text, PART, offset, more=more)
    return _with_digest(told, text, needed=row is not None and is_cut(reader, text, row))


def plain_part(outside: Outside, text: str, offset: int, more: Continuation, *, edited: bool = False) -> Json:
    """The same of a text that has no notation, such as a file's. ``edited``: with the digest where it takes several
    parts."""
    told = part(_PLAIN, outside, text, PART, offset, more=more)
    return _with_digest(told, text, needed=edited and in_parts(text))


def in_parts(text: str) -> bool:
    """Whether a text that is read by itself is longer than one result."""
    return text_tokens(text) > ALONE


def of_message(conversation: object, ts: object) -> Continuation | None:
    """The call that reads a message whole; None where it is not known which one."""
    return (
        Continuation("slack_get_messages", conversation=str(conversation), ts=str(ts)) if conversation and ts else None
    )


def about(reader: Reader, limit: int, conversation: object, **texts: object) -> Json:
    """Topics and the like on one line each, in ``limit`` bytes; with ``more`` where one is cut, which reads them
    whole."""
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
    """The digest of a whole text beside its last part: of all that people see, whatever notation is read otherwise."""
    told = {name: value for name, value in told.items() if name != "text_digest"}
    return told | ({"text_digest": digest(text)} if needed and "next_offset" not in told else {})
