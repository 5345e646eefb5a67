"""Linear: how texts that somebody wrote are shown, in part, alone and in rows."""

from __future__ import annotations

import re
from typing import Any, Final

from deputize.core import Continuation
from deputize.toolkits._shared.long_text import ALONE, Form, part, room, shortened
from deputize.toolkits._shared.markdown_hidden import UNCUT, without_unseen
from deputize.toolkits._shared.page import room_for, tokens
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.linear.base import LONGEST, Json

PIECE: Final = 2_000  # tokens of a document's text beside other things; one of fewer is always read whole
_LEAST: Final = 300  # tokens of it where it has many files
UPLOADS: Final = "https://uploads.linear.app/"
_UPLOADED: Final = re.compile(
    rf"!?\[((?:\\[\[\]\\]|[^\[\]\n\\]){{0,300}})\]\(({re.escape(UPLOADS)}[\w./%~-]{{1,400}})(?:\?[^()\s]{{0,1000}})?(?:\s[^()\n]{{0,300}})?\)"
)
_MAX_FILES: Final = 20
_FEW: Final = 3  # in a row
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
    """A part of a long text, as `deputize.toolkits._shared.long_text.part` gives it; the first with its ``files``.

    ``budget``: tokens of both.
    """
    if more and raw:
        more = Continuation(more.tool, **{**more.arguments, "raw": True})
    found = files(outside, text) if not offset and not raw else []
    limit = room(str(text or ""), offset, _beside(found, budget))
    told = part(FORM, outside, text, limit, offset, raw=raw, name=name, more=more)
    return told | ({"files": found} if found else {})


def read_whole(text: Any) -> int:
    """How many bytes of a text every read of it shows."""
    return room_for(str(text or ""), 0, _beside(files(Outside(), text), PIECE))


def _beside(found: list[Json], budget: int) -> int:
    return max(_LEAST, budget - tokens(found)) if found else budget


def files(outside: Outside, text: Any) -> list[Json]:
    """The files that a text shows or links to, of those that were uploaded to Linear."""
    found = {match[2]: match[1] for match in _UPLOADED.finditer(str(text or "")[:LONGEST])}
    return [
        {"name": outside.line(re.sub(r"\\(.)", r"\1", name), 80), "url": url}
        for url, name in list(found.items())[:_MAX_FILES]
    ]


def alone(text: Any, offset: int, *, raw: bool, name: str, more: Continuation) -> Json:
    """A part of a text that is read by itself."""
    outside = Outside()
    told = piece(outside, text, ALONE, offset, raw=raw, name=name, more=more)
    outside.mark(told)
    return told


def whole_row(row: Json, node: Json, offset: int, *, raw: bool, more: Continuation) -> Json:
    """A row whose body is read by itself."""
    return {name: value for name, value in row.items() if name not in ("cut", "more")} | alone(
        node.get("body"), offset, raw=raw, name="body", more=more
    )


def cut(
    outside: Outside, text: Any, limit: int = ROW_BODY, name: str = "body", *, more: Continuation | None = None
) -> Json:
    """The beginning of a text in a row, as ``name``; ``cut`` says that there is more, ``files`` what it links to."""
    found = files(outside, text)
    told = shortened(FORM, outside, text, limit, name, more=more)
    return told | ({"files": found[:_FEW]} if found else {})
