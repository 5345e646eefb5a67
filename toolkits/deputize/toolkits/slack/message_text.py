"""Text of a message as Slack displays it, in Slack's notation: its blocks or text, its attachments and its files.

If a message has blocks with words, people see its text only in notifications. Attachments (a bot's, a link preview or a
forwarded message) come last, each line after ``> ``. docs.slack.dev/messaging/formatting-message-text,
docs.slack.dev/legacy/legacy-messaging (secondary attachments).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from deputize.toolkits._shared import times
from deputize.toolkits.slack.block_text import as_plain, lines, pictures
from deputize.toolkits.slack.mrkdwn import link, unescape

TOKEN: Final = re.compile(r"<([^<>\n]{1,4000})>")
_EMOJI = re.compile(r":[\w+-]{1,60}:")
_WORD = re.compile(r"[^\W_]+")
_DEEPEST: Final = 3  # messages forwarded inside each other

Json = Mapping[str, Any]


def full_text(message: Json) -> str:
    """Return all text that a message displays."""
    return _full_text(message, 0)


def own_text(message: Json) -> str:
    """Return a message's text without attachments, which is the part that an edit replaces."""
    return "\n".join(lines(message.get("blocks"))) or str(message.get("text") or "")


def is_plain_text(message: Json) -> bool:
    """True if a message has no other structure than its notation, so that an edit can restore it."""
    return all(block.get("type") == "rich_text" for block in _dicts(message.get("blocks")))


def _full_text(message: Json, depth: int) -> str:
    blocks = message.get("blocks")
    own = list(lines(blocks)) or [str(message.get("text") or "")]
    attached = [f"> {line}" for one in _dicts(message.get("attachments")) for line in _attachment_lines(one, depth)]
    comments = [one for one in map(_comment, _dicts(message.get("files"))) if one and one not in own]
    return "\n".join(part for part in (*own, *pictures(blocks), *comments, *attached) if part)


def _dicts(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _comment(file: Json) -> str:
    comment = file.get("initial_comment")
    return str(comment.get("comment") or "") if isinstance(comment, dict) else ""


def has_block_words(message: Json) -> bool:
    return any(lines(message.get("blocks")))


def count_unseen(message: Json) -> int:
    """Count the letters of a message's text that are not displayed because the message has blocks with words."""
    if not message.get("text") or not has_block_words(message):
        return 0
    seen = set(_WORD.findall(unescape(full_text(message)).casefold()))
    return sum(len(word) for word in _words(str(message["text"])) if word not in seen)


def _words(text: str) -> list[str]:
    """Return the words of a text without names, links and emoji, which blocks write differently."""
    return _WORD.findall(unescape(_EMOJI.sub(" ", TOKEN.sub(" ", text))).casefold())


# ----------------------------------------------------------------- attachments


def _attachment_lines(attachment: Json, depth: int) -> Iterator[str]:
    """Yield the lines of an attachment, or of its fallback text if it has no lines."""
    if found := [line for part in _parts(attachment, depth) if part for line in part.split("\n")]:
        yield from found
    elif fallback := as_plain(attachment.get("fallback")):
        yield from fallback.split("\n")


def _parts(attachment: Json, depth: int) -> Iterator[str]:
    yield str(attachment.get("pretext") or "")
    yield _source(attachment)
    title = str(attachment.get("title") or "")
    url = str(attachment.get("title_link") or "")
    yield link(unescape(url), unescape(title)) if title else ""
    yield _body(attachment, depth)
    for field in _dicts(attachment.get("fields")):
        yield ": ".join(str(part) for part in (field.get("title"), field.get("value")) if part not in (None, ""))
    yield from lines(attachment.get("blocks"))
    yield from pictures(attachment.get("blocks"))
    if attachment.get("image_url") or attachment.get("thumb_url"):
        yield "[image]"
    yield " ".join(filter(None, map(_button, _dicts(attachment.get("actions")))))
    yield from (f"[file: {as_plain(one.get('title') or one.get('name'))}]" for one in _dicts(attachment.get("files")))
    if not _is_message(attachment):
        yield str(attachment.get("footer") or "")


def _is_message(attachment: Json) -> bool:
    """True if the attachment is another Slack message, forwarded or linked."""
    return bool(attachment.get("is_share") or attachment.get("is_msg_unfurl"))


def _source(attachment: Json) -> str:
    """Return the author and place of an attachment, and the address if it is a message."""
    names = (attachment.get("service_name"), attachment.get("author_name"), attachment.get("author_subname"))
    who = ", ".join(dict.fromkeys(as_plain(name) for name in names if name))
    if not _is_message(attachment):
        return who
    if user := attachment.get("author_id"):
        who = f"{who} ({as_plain(user)})" if who else as_plain(user)
    if place := attachment.get("channel_name"):
        who += f" in #{as_plain(place)}"
    seconds = str(attachment.get("ts") or "").partition(".")[0]
    at = f", {times.short(int(seconds) * 1000)} UTC" if seconds.isdigit() else ""
    url = unescape(str(attachment.get("from_url") or ""))
    return f"Message of {who or 'somebody'}{at}{' ' + link(url, '') if url else ''}:"


def _body(attachment: Json, depth: int) -> str:
    """Return the text of an attachment, or of the message that it contains."""
    inner = [one.get("message") for one in _dicts(attachment.get("message_blocks"))]
    if depth < _DEEPEST and (said := [_full_text(one, depth + 1) for one in inner if isinstance(one, dict)]):
        if any(said):
            return "\n".join(said)
    return str(attachment.get("text") or "")


def _button(action: Json) -> str:
    words, url = str(action.get("text") or ""), str(action.get("url") or "")
    return f"[{link(unescape(url), unescape(words))}]" if words else ""
