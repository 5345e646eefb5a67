"""Blocks that a message may have: text and structure, without buttons and without images of other sites.

docs.slack.dev/reference/block-kit/blocks. Nobody would handle a click on a button. An image makes Slack fetch an
address that the model chose. ``<!channel>`` notifies everybody.
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
from deputize.toolkits.slack.mrkdwn import unescape

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
_ADDRESSED: Final = frozenset({"link", "date"})  # may have an address: people see where it leads
_CALLS = re.compile(r"<!|(?<![\w.])@(?:here|channel|everyone)\b", re.IGNORECASE)
_HINT: Final = "Use section, header, divider, context, rich_text, markdown, or image with slack_file."


def check_blocks(blocks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the blocks in the form to send. Raises `InvalidInput` for blocks that may not be sent."""
    if len(blocks) > MAX_BLOCKS or len(json.dumps(blocks)) > LONGEST:
        raise InvalidInput(
            f"blocks: at most {MAX_BLOCKS} blocks, with {LONGEST} characters in all.",
            hint="Send several messages, or a file.",
        )
    for block in blocks:
        if not _is_of(_BLOCKS, block.get("type")):
            raise InvalidInput(f"blocks: {_type_label(block)} is not supported.", hint=_HINT)
        for part in _walk(block, 0):
            _check(part)
    return [_verbatim(block) for block in blocks]


def _type_label(part: dict[str, Any]) -> str:
    kind = part.get("type")
    return f'the type "{Outside().line(kind, 40)}"' if isinstance(kind, str) else "a block without a type"


def _is_of(kinds: frozenset[str], kind: object) -> bool:
    return isinstance(kind, str) and kind in kinds


def _verbatim(value: Any) -> Any:
    """Return the value with ``verbatim`` set on mrkdwn texts, so that Slack makes no names or links of plain words."""
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
        raise InvalidInput(f"blocks: {_type_label(part)} is not supported, or nobody would answer it.", hint=_HINT)
    elif any(str(name).endswith("_url") for name in part) or (
        "url" in part and not _is_of(_ADDRESSED, part.get("type"))
    ):
        raise InvalidInput("blocks: images from other sites are not allowed.", hint=_HINT)


def _walk(value: Any, depth: int) -> Iterator[Any]:
    """Yield every object and text inside the value, including itself."""
    if depth > _DEEPEST:
        raise InvalidInput("blocks: nested too deeply.", hint="Use fewer levels.")
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from _walk(one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            yield from _walk(one, depth + 1)
    elif isinstance(value, str):
        yield value


def fallback(blocks: Sequence[dict[str, Any]]) -> str:
    """Return the text that notifications display instead of the blocks."""
    words = " ".join(unescape("\n".join(lines(list(blocks)))).replace("<", "").replace(">", "").split())
    return words[:300].replace("&", "&amp;") or "A message"
