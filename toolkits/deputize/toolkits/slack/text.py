"""Slack texts of other people as plain text: names for ids, links with their targets, nothing invisible.

docs.slack.dev/messaging/formatting-message-text. Slack puts tokens between ``<`` and ``>``. A typed ``&``, ``<`` or
``>`` is an entity. Entities are decoded last, so that nobody can type text that looks like a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from deputize.toolkits._shared.mail.headers import network_host
from deputize.toolkits._shared.text import Outside, clean
from deputize.toolkits.slack.block_text import format_date
from deputize.toolkits.slack.message_text import TOKEN, count_unseen, full_text, has_block_words
from deputize.toolkits.slack.mrkdwn import unescape

_URL = re.compile(r"https?://[^|]+")
_USER = re.compile(r"@([UW][A-Z0-9]{1,20})(?:\|([^<>]*))?")
_CHANNEL = re.compile(r"#([CGD][A-Z0-9]{1,20})(?:\|([^<>]*))?")
_HOST = re.compile(r"(?:https?://)?((?:[\w-]+\.)+[^\W\d_]{2,24})(?=[/:?#]|$)", re.IGNORECASE)


_CODE = r"```.*?```|`[^`\n]+`"
MARKED: Final = re.compile(
    r"(?<![\w*])\*(?=[^\s*])((?:<[^<>\n]{1,2000}>|[^*\n<]){1,300}?)(?<=[^\s*])\*(?![\w*])"
    r"|(?<![\w~])~(?=[^\s~])((?:<[^<>\n]{1,2000}>|[^~\n<]){1,300}?)(?<=[^\s~])~(?![\w~])"
)
"""Words that Slack displays bold or struck through."""
_MARKED_OR_CODE = re.compile(f"(?P<code>{_CODE}|<[^<>\n]*>)|{MARKED.pattern}", re.DOTALL)


def as_markdown(text: str) -> str:
    """Convert Slack's bold and struck words to Markdown, so that a text can be written back in the form in which it was
    read. Code and bracketed text stay unchanged."""
    return _MARKED_OR_CODE.sub(_markdown_mark, text)


def _markdown_mark(found: re.Match[str]) -> str:
    if found["code"]:
        return found[0]
    mark = "**" if found[0].startswith("*") else "~~"
    return f"{mark}{found[2] or found[3]}{mark}"


class Reader(Outside):
    """A reader of Slack's texts. ``names``: people by id. ``mismatch``: the words of a link named a wrong host."""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.names = names or {}
        self.mismatch = False

    def notation(self, message: Mapping[str, Any]) -> str:
        """Return a message's text in Slack's notation. Counts text that blocks hide, and notes a doubt."""
        self.hidden += count_unseen(message)
        if message.get("blocks") and message.get("text") and not has_block_words(message):
            self.doubts.add("blocks without words")
        return full_text(message)

    def message(self, message: Mapping[str, Any]) -> str:
        """Return a message's cleaned text."""
        return self.mrkdwn(self.notation(message))

    def mrkdwn(self, text: str, *, marks: bool = True) -> str:
        """Convert a text in Slack's notation to clean Markdown. ``marks``: False for a topic, which has no bold."""
        read = TOKEN.sub(lambda token: self._token(token[1]), as_markdown(text) if marks else text)
        return self.text(unescape(read))

    def as_written(self, text: str) -> str:
        """Return a text without cleaning. A person sees invisible characters written out."""
        return unescape(TOKEN.sub(lambda found: found[1] if _URL.fullmatch(found[1]) else self._token(found[1]), text))

    def _token(self, inner: str) -> str:
        if user := _USER.fullmatch(inner):
            return f"@{self.names.get(user[1]) or user[2] or 'user'} ({user[1]})"
        if channel := _CHANNEL.fullmatch(inner):
            return f"#{channel[2] or channel[1]}"
        target, _, words = inner.partition("|")
        if target.startswith("!"):
            return self._special(target[1:].split("^"), words)
        return self._link(target, words)

    def _special(self, parts: Sequence[str], words: str) -> str:
        """Return a date, a user group, or a mention of everybody. Slack formats dates itself, so the words may lie."""
        kind, *rest = parts
        if kind == "date" and len(rest) > 1 and (said := format_date(rest[0], rest[1])):
            return self._link(rest[2], said) if len(rest) > 2 else said
        if kind == "subteam" and rest:
            return f"{words or '@group'} ({rest[0]})"
        return words or f"@{kind}"

    def _link(self, target: str, words: str) -> str:
        if target.startswith("mailto:"):
            return words or target.removeprefix("mailto:")
        if not words or words == target:
            return f"<{target}>"
        self.mismatch = self.mismatch or misleads(words, target)
        return f"{words} <{target}>"


def misleads(words: str, target: str) -> bool:
    """True if a link's words are, or contain, the address of another host."""
    try:
        host = network_host((urlsplit(target).hostname or "").lower()).removeprefix("www.")
    except ValueError:
        host = ""
    shown = clean(words)[0].split()
    parts = shown if len(shown) == 1 else [one for one in shown if "://" in one or "www." in one.lower()]
    hosts = [found[1].lower() for one in parts if (found := _HOST.match(one.strip("\"'().,;")))]
    named = [network_host(one).removeprefix("www.") for one in hosts]
    return any(host != one and not host.endswith(f".{one}") for one in named)


def mentioned_ids(texts: Iterable[str]) -> Iterator[str]:
    """Yield the ids of people in these texts."""
    for text in texts:
        for token in TOKEN.finditer(text):
            if user := _USER.fullmatch(token[1]):
                yield user[1]
