"""Blocks that a message may have: text and structure. Nothing that somebody could press, and nothing fetched.

docs.slack.dev/reference/block-kit/blocks. A button would have nobody behind it, a picture's address is a request that
Slack makes to wherever the model says, and ``<!channel>`` calls everybody.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Final

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.slack.block_text import lines
from deputize.toolkits.slack.mrkdwn import unescaped

MAX_BLOCKS: Final = 50
LONGEST: Final = 13_000  # characters of all of them
_DEEPEST: Final = 12
_BLOCKS: Final = frozenset({"section", "header", "divider", "context", "image", "rich_text", "markdown"})
_PARTS: Final = frozenset(
    {
        *("plain_text", "mrkdwn", "text", "link", "emoji", "user", "channel", "date", "color", "image"),
        *("rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote"),
    }
)
_ADDRESSED: Final = frozenset({"link", "date"})  # what may have an address: people see where it leads
_CALLS = re.compile(r"<!|(?<![\w.])@(?:here|channel|everyone)\b", re.IGNORECASE)
_HINT: Final = "Use section, header, divider, context, rich_text, markdown, or image with slack_file."


def checked(blocks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks, if they are fit to be sent. Raises `InvalidInput`."""
    if len(blocks) > MAX_BLOCKS or len(json.dumps(blocks)) > LONGEST:
        raise InvalidInput(f"blocks: at most {MAX_BLOCKS} blocks, with {LONGEST} characters in all.")
    for block in blocks:
        if not _is_of(_BLOCKS, block.get("type")):
            raise InvalidInput(f"blocks: {_named(block)} is not supported.", hint=_HINT)
        for part in _inside(block, 0):
            _check(part)
    return [_verbatim(block) for block in blocks]


def _named(part: dict[str, Any]) -> str:
    kind = part.get("type")
    return f'the type "{Outside().line(kind, 40)}"' if isinstance(kind, str) else "a block without a type"


def _is_of(kinds: frozenset[str], kind: object) -> bool:
    return isinstance(kind, str) and kind in kinds


def _verbatim(value: Any) -> Any:
    """The same, but that Slack makes nothing out of plain words: no names, no links."""
    if isinstance(value, list):
        return [_verbatim(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {name: _verbatim(one) for name, one in value.items()}
    return made | ({"verbatim": True} if made.get("type") == "mrkdwn" else {})


def _check(part: Any) -> None:
    if isinstance(part, str):
        if _CALLS.search(unicodedata.normalize("NFKC", part)):
            raise InvalidInput(
                "blocks: must not mention everybody (<!channel>, <!here>, <!everyone>).",
                hint="Leave out <!channel> and the like; @channel in body calls everybody.",
            )
    elif "type" in part and not _is_of(_BLOCKS | _PARTS, part["type"]):
        raise InvalidInput(f"blocks: {_named(part)} is not supported, or nobody would answer it.", hint=_HINT)
    elif any(str(name).endswith("_url") for name in part) or (
        "url" in part and not _is_of(_ADDRESSED, part.get("type"))
    ):
        raise InvalidInput("blocks: images from other sites are not allowed.", hint=_HINT)


def _inside(value: Any, depth: int) -> Iterator[Any]:
    """Every object and text inside, itself included."""
    if depth > _DEEPEST:
        raise InvalidInput("blocks: nested too deeply.")
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from _inside(one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            yield from _inside(one, depth + 1)
    elif isinstance(value, str):
        yield value


def fallback(blocks: Sequence[dict[str, Any]]) -> str:
    """What notifications say instead of the blocks."""
    words = " ".join(unescaped("\n".join(lines(list(blocks)))).replace("<", "").replace(">", "").split())
    return words[:300].replace("&", "&amp;") or "A message"
