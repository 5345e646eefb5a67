"""What Slack shows of a message, in its own notation: its blocks or its text, what is attached to it, and its files.

Where a message has blocks with words, people see its text nowhere but in notifications. What is attached, be it a
bot's, a preview of a link or another message that was forwarded, stands behind it, each line after ``> ``.
docs.slack.dev/messaging/formatting-message-text, docs.slack.dev/legacy/legacy-messaging (secondary attachments).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from deputize.toolkits._shared import times
from deputize.toolkits.slack.block_text import lines, pictures, plain
from deputize.toolkits.slack.mrkdwn import link, unescaped

TOKEN: Final = re.compile(r"<([^<>\n]{1,4000})>")
_EMOJI = re.compile(r":[\w+-]{1,60}:")
_WORD = re.compile(r"[^\W_]+")
_DEEPEST: Final = 3  # messages that were forwarded inside of each other

Json = Mapping[str, Any]


def all_said(message: Json) -> str:
    """All that a message shows."""
    return _all_of(message, 0)


def own_words(message: Json) -> str:
    """What a message itself says, without what is attached to it: what an edit replaces."""
    return "\n".join(lines(message.get("blocks"))) or str(message.get("text") or "")


def is_plain_text(message: Json) -> bool:
    """Whether a message is a text with no more structure than its notation has: an edit brings it back as it was."""
    return all(block.get("type") == "rich_text" for block in _dicts(message.get("blocks")))


def _all_of(message: Json, depth: int) -> str:
    blocks = message.get("blocks")
    own = list(lines(blocks)) or [str(message.get("text") or "")]
    attached = [f"> {line}" for one in _dicts(message.get("attachments")) for line in _attached(one, depth)]
    comments = [one for one in map(_comment, _dicts(message.get("files"))) if one and one not in own]
    return "\n".join(part for part in (*own, *pictures(blocks), *comments, *attached) if part)


def _dicts(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _comment(file: Json) -> str:
    comment = file.get("initial_comment")
    return str(comment.get("comment") or "") if isinstance(comment, dict) else ""


def words_of_blocks(message: Json) -> bool:
    """Whether a message has blocks with words."""
    return any(lines(message.get("blocks")))


def unseen(message: Json) -> int:
    """Letters of a message's text that are shown nowhere, because it has blocks with words."""
    if not message.get("text") or not words_of_blocks(message):
        return 0
    seen = set(_WORD.findall(unescaped(all_said(message)).casefold()))
    return sum(len(word) for word in _words(str(message["text"])) if word not in seen)


def _words(text: str) -> list[str]:
    """The words of a text in Slack's notation, without names, links and emoji, which blocks write otherwise."""
    return _WORD.findall(unescaped(_EMOJI.sub(" ", TOKEN.sub(" ", text))).casefold())


# ----------------------------------------------------------------- what is attached


def _attached(attachment: Json, depth: int) -> Iterator[str]:
    """The lines of something attached; its fallback, where it has none."""
    if found := [line for part in _parts(attachment, depth) if part for line in part.split("\n")]:
        yield from found
    elif fallback := plain(attachment.get("fallback")):
        yield from fallback.split("\n")


def _parts(attachment: Json, depth: int) -> Iterator[str]:
    yield str(attachment.get("pretext") or "")
    yield _source(attachment)
    title = str(attachment.get("title") or "")
    url = str(attachment.get("title_link") or "")
    yield link(unescaped(url), unescaped(title)) if title else ""
    yield _body(attachment, depth)
    for field in _dicts(attachment.get("fields")):
        yield ": ".join(str(part) for part in (field.get("title"), field.get("value")) if part not in (None, ""))
    yield from lines(attachment.get("blocks"))
    yield from pictures(attachment.get("blocks"))
    if attachment.get("image_url") or attachment.get("thumb_url"):
        yield "[image]"
    yield " ".join(filter(None, map(_button, _dicts(attachment.get("actions")))))
    yield from (f"[file: {plain(one.get('title') or one.get('name'))}]" for one in _dicts(attachment.get("files")))
    if not _is_message(attachment):
        yield str(attachment.get("footer") or "")


def _is_message(attachment: Json) -> bool:
    """Whether another message of Slack's is shown, forwarded or linked to."""
    return bool(attachment.get("is_share") or attachment.get("is_msg_unfurl"))


def _source(attachment: Json) -> str:
    """Who wrote it, and where: of a message with its address, by which it can be read on."""
    names = (attachment.get("service_name"), attachment.get("author_name"), attachment.get("author_subname"))
    who = ", ".join(dict.fromkeys(plain(name) for name in names if name))
    if not _is_message(attachment):
        return who
    if user := attachment.get("author_id"):
        who = f"{who} ({plain(user)})" if who else plain(user)
    if place := attachment.get("channel_name"):
        who += f" in #{plain(place)}"
    seconds = str(attachment.get("ts") or "").partition(".")[0]
    at = f", {times.short(int(seconds) * 1000)} UTC" if seconds.isdigit() else ""
    url = unescaped(str(attachment.get("from_url") or ""))
    return f"Message of {who or 'somebody'}{at}{' ' + link(url, '') if url else ''}:"


def _body(attachment: Json, depth: int) -> str:
    """What it says itself; a message, as that is shown."""
    inner = [one.get("message") for one in _dicts(attachment.get("message_blocks"))]
    if depth < _DEEPEST and (said := [_all_of(one, depth + 1) for one in inner if isinstance(one, dict)]):
        if any(said):
            return "\n".join(said)
    return str(attachment.get("text") or "")


def _button(action: Json) -> str:
    words, url = str(action.get("text") or ""), str(action.get("url") or "")
    return f"[{link(unescaped(url), unescaped(words))}]" if words else ""
