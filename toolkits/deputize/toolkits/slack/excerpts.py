"""Long texts of Slack's: their beginnings in rows, and one read by itself, on to its end.

Offsets count the characters of a text in Slack's notation, in which nobody's name changes them.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final
from unicodedata import east_asian_width

from deputize.toolkits._shared.long_text import PART, Form, part, shortened
from deputize.toolkits._shared.text import Outside
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


def excerpt(reader: Reader, notation: str, characters: int) -> Json:
    """The beginning of a text, with its lines, as ``text``; with ``cut`` where that is not all."""
    return shortened(_form(reader), reader, notation.strip(), room(notation.strip(), characters), name="text")


def read_on(reader: Reader, notation: str, offset: int) -> Json:
    """A part of a text that is read by itself. Raises `InvalidInput` for an offset beyond its end."""
    return _without_digest(part(_form(reader), reader, notation.strip(), PART, offset))


def plain_part(outside: Outside, text: str, offset: int) -> Json:
    """The same of a text that has no notation, such as a file's."""
    return _without_digest(part(_PLAIN, outside, text, PART, offset))


def _form(reader: Reader) -> Form:
    return Form(partial(Reader, reader.names), lambda one, piece: str(one.mrkdwn(piece)), uncut=(TOKEN, _ENTITY))


def _without_digest(told: Json) -> Json:
    """Nothing here is replaced by whoever has read it."""
    return {name: value for name, value in told.items() if name != "text_digest"}
