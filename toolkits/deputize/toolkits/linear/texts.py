"""Linear: display of long texts, in parts, alone and in rows."""

from __future__ import annotations

import re
from typing import Any, Final

from deputize.core import Continuation
from deputize.toolkits._shared.long_text import ALONE, Form, part, room, shortened
from deputize.toolkits._shared.markdown_hidden import UNCUT, without_unseen
from deputize.toolkits._shared.page import room_for, tokens
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.linear.base import LONGEST, Json

PIECE: Final = 2_000  # tokens of a document's text beside other fields; a shorter one is always read whole
_LEAST: Final = 300  # tokens of it if it has many files
UPLOADS: Final = "https://uploads.linear.app/"
_UPLOADED: Final = re.compile(
    rf"!?\[((?:\\[\[\]\\]|[^\[\]\n\\]){{0,300}})\]\(({re.escape(UPLOADS)}[\w./%~-]{{1,400}})(?:\?[^()\s]{{0,1000}})?(?:\s[^()\n]{{0,300}})?\)"
)
_MAX_FILES: Final = 20
_FEW: Final = 3  # in a row
QUOTED: Final = 2_000  # bytes of a comment's quote, if it is read by itself
ROW_BODY: Final = 400  # bytes of a comment or an update in a row
_BAD_LINK: Final = re.compile(
    r"\[([^\[\]\n]{0,500})\]\(\s{0,9}<?(?:javascript|data|vbscript):(?:[^()\n]|\([^()\n]{0,200}\)){0,2000}\)",
    re.IGNORECASE,
)
_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)


def prose(outside: Outside, text: Any) -> str:
    """Return Markdown, cleaned, without hidden parts, and with images as words."""
    return _piece(outside, str(text or "")).strip()


def _piece(outside: Outside, text: str) -> str:
    cleaned = outside.text(text)
    shown = _COMMENT.sub("", cleaned)
    outside.hidden += len(cleaned) - len(shown)
    shown, unseen = without_unseen(_BAD_LINK.sub(r"\1", shown))
    outside.hidden += unseen
    return shown


FORM: Final = Form(outside=Outside, show=_piece, uncut=(_COMMENT, *UNCUT, _BAD_LINK))
"""The form of texts that are displayed, continued and edited."""


def piece(
    outside: Outside,
    text: Any,
    budget: int,
    offset: int = 0,
    *,
    raw: bool = False,
    name: str = "text",
    more: Continuation | None = None,
) -> Json:
    """Return a part of a long text, as `deputize.toolkits._shared.long_text.part` does; the first with its ``files``.

    ``budget``: tokens of both.
    """
    if more and raw:
        more = Continuation(more.tool, **{**more.arguments, "raw": True})
    found = files(outside, text) if not offset and not raw else []
    limit = room(str(text or ""), offset, _text_budget(found, budget))
    told = part(FORM, outside, text, limit, offset, raw=raw, name=name, more=more)
    return told | ({"files": found} if found else {})


def read_whole(text: Any) -> int:
    """Return the number of bytes of a text that every read displays."""
    return room_for(str(text or ""), 0, _text_budget(files(Outside(), text), PIECE))


def _text_budget(found: list[Json], budget: int) -> int:
    return max(_LEAST, budget - tokens(found)) if found else budget


def files(outside: Outside, text: Any) -> list[Json]:
    """Return the files at Linear that a text embeds or links to."""
    found = {match[2]: match[1] for match in _UPLOADED.finditer(str(text or "")[:LONGEST])}
    return [
        {"name": outside.line(re.sub(r"\\(.)", r"\1", name), 80), "url": url}
        for url, name in list(found.items())[:_MAX_FILES]
    ]


def read_alone(text: Any, offset: int, *, raw: bool, name: str, more: Continuation) -> Json:
    """Return a part of a text, as the only content of a result."""
    outside = Outside()
    told = piece(outside, text, ALONE, offset, raw=raw, name=name, more=more)
    outside.mark(told)
    return told


def whole_row(row: Json, node: Json, offset: int, *, raw: bool, more: Continuation) -> Json:
    """Return a row with a part of its body, as the only content of a result."""
    return {name: value for name, value in row.items() if name not in ("cut", "more")} | read_alone(
        node.get("body"), offset, raw=raw, name="body", more=more
    )


def cut(
    outside: Outside, text: Any, limit: int = ROW_BODY, name: str = "body", *, more: Continuation | None = None
) -> Json:
    """Return the beginning of a text for a row under ``name``, with its ``files``, and ``cut`` if the text goes on."""
    found = files(outside, text)
    told = shortened(FORM, outside, text, limit, name, more=more)
    return told | ({"files": found[:_FEW]} if found else {})
