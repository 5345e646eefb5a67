"""Long texts of Slack's: their beginnings in rows, and one read by itself, on to its end.

Offsets count the characters of a text in Slack's notation, in which nobody's name changes them.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final
from unicodedata import east_asian_width

from deputize.core import More
from deputize.toolkits._shared.long_text import PART, Form, part, shortened
from deputize.toolkits._shared.text import Outside, clip
from deputize.toolkits.slack.base import Json
from deputize.toolkits.slack.message_text import TOKEN
from deputize.toolkits.slack.text import Reader

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


def excerpt(reader: Reader, notation: str, characters: int, more: More | None = None) -> Json:
    """The beginning of a text, with its lines, as ``text``; with ``cut`` where that is not all, and ``more``: the call
    that reads it."""
    text = notation.strip()
    whole = Reader(reader.names).mrkdwn(text).strip()
    limit = room(whole, characters)
    if limit >= len(whole.encode(errors="replace")):
        return {"text": reader.mrkdwn(text).strip()}
    return shortened(_form(reader), reader, text, limit, name="text", more=more)


def read_on(reader: Reader, notation: str, offset: int, more: More) -> Json:
    """A part of a text that is read by itself. Raises `InvalidInput` for an offset beyond its end."""
    return _without_digest(part(_form(reader), reader, notation.strip(), PART, offset, more=more))


def plain_part(outside: Outside, text: str, offset: int, more: More) -> Json:
    """The same of a text that has no notation, such as a file's."""
    return _without_digest(part(_PLAIN, outside, text, PART, offset, more=more))


def of_message(conversation: object, ts: object) -> More | None:
    """The call that reads a message whole; None where it is not known which one."""
    return More("slack_get_messages", conversation=str(conversation), ts=str(ts)) if conversation and ts else None


def about(reader: Reader, limit: int, conversation: object, **texts: object) -> Json:
    """Topics and the like on one line each, in ``limit`` bytes; with ``more`` where one is cut, which reads them
    whole."""
    whole = {name: " ".join(reader.mrkdwn(str(text or "")).split()) for name, text in texts.items()}
    told: Json = {name: clip(text, limit) for name, text in whole.items()}
    return told | ({"more": More("slack_get_conversation", conversation=str(conversation))} if told != whole else {})


def _form(reader: Reader) -> Form:
    return Form(partial(Reader, reader.names), lambda one, piece: str(one.mrkdwn(piece)), uncut=(TOKEN, _ENTITY))


def _without_digest(told: Json) -> Json:
    """Nothing here is replaced by whoever has read it."""
    return {name: value for name, value in told.items() if name != "text_digest"}
