"""Linear: how texts that somebody wrote are shown, in part, alone and in rows."""

from __future__ import annotations

import re
from typing import Any, Final

from deputize.toolkits._shared.long_text import Form, part, shortened
from deputize.toolkits._shared.markdown_hidden import UNCUT, without_unseen
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.linear.base import Json

PIECE: Final = 6_000  # bytes of a document's text in one result
QUOTED: Final = 2_000  # bytes of what a comment quotes, where it is read by itself
ROW_BODY: Final = 400  # bytes of a comment or an update in a row
_BAD_LINK: Final = re.compile(
    r"\[([^\[\]\n]{0,500})\]\(\s{0,9}<?(?:javascript|data|vbscript):(?:[^()\n]|\([^()\n]{0,200}\)){0,2000}\)",
    re.IGNORECASE,
)
_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)


def prose(outside: Outside, text: Any) -> str:
    """Markdown that somebody wrote: cleaned, without what its page would hide, pictures as their words."""
    return _piece(outside, str(text or "")).strip()


def _piece(outside: Outside, text: str) -> str:
    cleaned = outside.text(text)
    shown = _COMMENT.sub("", cleaned)
    outside.hidden += len(cleaned) - len(shown)
    shown, unseen = without_unseen(_BAD_LINK.sub(r"\1", shown))
    outside.hidden += unseen
    return shown


FORM: Final = Form(outside=Outside, show=_piece, uncut=(_COMMENT, *UNCUT, _BAD_LINK))
"""How texts are shown, read on and edited."""


def piece(outside: Outside, text: Any, limit: int, offset: int = 0, *, raw: bool = False, name: str = "text") -> Json:
    """A part of a long text, as `deputize.toolkits._shared.long_text.part` gives it."""
    return part(FORM, outside, text, limit, offset, raw=raw, name=name)


def alone(text: Any, offset: int, *, raw: bool, name: str) -> Json:
    """A part of a text that is read by itself."""
    outside = Outside()
    told = piece(outside, text, PIECE, offset, raw=raw, name=name)
    outside.mark(told)
    return told


def whole_row(row: Json, node: Json, offset: int, *, raw: bool) -> Json:
    """A row whose body is read by itself."""
    return {name: value for name, value in row.items() if name != "cut"} | alone(
        node.get("body"), offset, raw=raw, name="body"
    )


def cut(outside: Outside, text: Any, limit: int = ROW_BODY, name: str = "body") -> Json:
    """The beginning of a text in a row, as ``name``; ``cut`` says that there is more."""
    return shortened(FORM, outside, text, limit, name)
