"""What others wrote in Slack, as plain text: names instead of ids, links with their targets, nothing invisible.

docs.slack.dev/messaging/formatting-message-text. Between ``<`` and ``>`` Slack puts what is no text; ``&``, ``<`` and
``>`` that somebody typed come as entities and are turned back last, so that nobody can type what looks like a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from deputize.toolkits._shared.mail.headers import network_host
from deputize.toolkits._shared.text import Outside, clean

_TOKEN = re.compile(r"<([^<>\n]{1,4000})>")
_URL = re.compile(r"https?://[^|]+")
_USER = re.compile(r"@([UW][A-Z0-9]{1,20})(?:\|([^<>]*))?")
_CHANNEL = re.compile(r"#([CGD][A-Z0-9]{1,20})(?:\|([^<>]*))?")
_HOST = re.compile(r"(?:https?://)?((?:[\w-]+\.)+[^\W\d_]{2,24})(?=[/:?#]|$)", re.IGNORECASE)
_EMOJI = re.compile(r":[\w+-]{1,60}:")
_WORD = re.compile(r"[^\W_]+")
_DEEPEST: Final = 12
_ENTITIES: Final = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))


class Reader(Outside):
    """Reads Slack's texts. ``names``: people by id; ``mismatch``: a link showed another host than it leads to."""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.names = names or {}
        self.mismatch = False

    def message(self, message: Mapping[str, Any]) -> str:
        """What a message shows, cleaned; what only its text says beside blocks is counted, or is a doubt."""
        self.hidden += unseen(message)
        if message.get("blocks") and message.get("text") and not any(_texts(message["blocks"])):
            self.doubts.add("blocks without words")
        return self.mrkdwn(text_of(message))

    def mrkdwn(self, text: str) -> str:
        """A text in Slack's notation, cleaned."""
        read = _TOKEN.sub(lambda token: self._token(token[1]), text)
        return self.text(unescaped(read))

    def as_written(self, text: str) -> str:
        """A text in Slack's notation, read but not cleaned: a person sees what cannot be seen written out."""
        return unescaped(
            _TOKEN.sub(lambda found: found[1] if _URL.fullmatch(found[1]) else self._token(found[1]), text)
        )

    def _token(self, inner: str) -> str:
        if user := _USER.fullmatch(inner):
            return f"@{self.names.get(user[1]) or user[2] or 'user'} ({user[1]})"
        if channel := _CHANNEL.fullmatch(inner):
            return f"#{channel[2] or channel[1]}"
        target, _, words = inner.partition("|")
        if target.startswith("!"):
            return words or f"@{target[1:].partition('^')[0]}"
        return self._link(target, words)

    def _link(self, target: str, words: str) -> str:
        if target.startswith("mailto:"):
            return words or target.removeprefix("mailto:")
        if not words or words == target:
            return f"<{target}>"
        self.mismatch = self.mismatch or misleads(words, target)
        return f"{words} <{target}>"


def _address(inner: str) -> str:
    """The address that a token is, and nothing else; "" for any other."""
    return inner if _URL.fullmatch(inner) else ""


def unescaped(text: str) -> str:
    """``&``, ``<`` and ``>`` as they were typed."""
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    return text


def misleads(words: str, target: str) -> bool:
    """Whether a link's words are a host's address, or hold one, and it leads to another."""
    try:
        host = network_host((urlsplit(target).hostname or "").lower()).removeprefix("www.")
    except ValueError:
        host = ""
    shown = clean(words)[0].split()
    parts = shown if len(shown) == 1 else [one for one in shown if "://" in one or "www." in one.lower()]
    hosts = [found[1].lower() for one in parts if (found := _HOST.match(one.strip("\"'().,;")))]
    named = [network_host(one).removeprefix("www.") for one in hosts]
    return any(host != one and not host.endswith(f".{one}") for one in named)


def text_of(message: Mapping[str, Any]) -> str:
    """What a message shows: its text, unless its blocks say something else; then these, and its attachments."""
    text = str(message.get("text") or "")
    if text and not unseen(message):
        return text
    parts = [*_texts(message.get("blocks")), *map(_attached, message.get("attachments") or ())]
    return "\n".join(part for part in parts if part)


def unseen(message: Mapping[str, Any]) -> int:
    """Letters of a message's text that its blocks do not show: where it has blocks, people see the text nowhere."""
    shown = set(_words("\n".join(_texts(message.get("blocks")))))
    return sum(len(word) for word in _words(str(message.get("text") or "")) if word not in shown) if shown else 0


def _words(text: str) -> list[str]:
    """The words of a text in Slack's notation, without names, links and emoji, which blocks write otherwise."""
    return _WORD.findall(unescaped(_EMOJI.sub(" ", _TOKEN.sub(" ", text))).casefold())


def _attached(attachment: Any) -> str:
    if not isinstance(attachment, dict):
        return ""
    own = [str(attachment.get(name) or "") for name in ("pretext", "title", "text")]
    return "\n".join([part for part in own if part] or [str(attachment.get("fallback") or "")])


def _texts(block: Any, depth: int = 0) -> Iterator[str]:
    """Every text inside blocks, in order."""
    if isinstance(block, list) and depth < _DEEPEST:
        for one in block:
            yield from _texts(one, depth + 1)
    elif isinstance(block, dict) and depth < _DEEPEST:
        if isinstance(block.get("text"), str):
            yield block["text"]
        elif block.get("type") == "link":
            yield f"<{block.get('url', '')}>"
        elif block.get("type") == "user":
            yield f"<@{block.get('user_id', '')}>"
        for name in ("text", "fields", "elements"):
            if not isinstance(block.get(name), str):
                yield from _texts(block.get(name), depth + 1)


def mentioned(texts: Iterable[str]) -> Iterator[str]:
    """The ids of people in these texts."""
    for text in texts:
        for token in _TOKEN.finditer(text):
            if user := _USER.fullmatch(token[1]):
                yield user[1]
