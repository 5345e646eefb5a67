"""What others wrote in Slack, as plain text: names instead of ids, links with their targets, nothing invisible.

docs.slack.dev/messaging/formatting-message-text. Between ``<`` and ``>`` Slack puts what is no text; ``&``, ``<`` and
``>`` that somebody typed come as entities and are turned back last, so that nobody can type what looks like a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from deputize.toolkits._shared.mail.headers import network_host
from deputize.toolkits._shared.text import Outside, clean
from deputize.toolkits.slack.block_text import dated
from deputize.toolkits.slack.message_text import TOKEN, all_said, unseen, words_of_blocks
from deputize.toolkits.slack.mrkdwn import unescaped

_URL = re.compile(r"https?://[^|]+")
_USER = re.compile(r"@([UW][A-Z0-9]{1,20})(?:\|([^<>]*))?")
_CHANNEL = re.compile(r"#([CGD][A-Z0-9]{1,20})(?:\|([^<>]*))?")
_HOST = re.compile(r"(?:https?://)?((?:[\w-]+\.)+[^\W\d_]{2,24})(?=[/:?#]|$)", re.IGNORECASE)


_CODE = r"```.*?```|`[^`\n]+`"
MARKED: Final = re.compile(
    r"(?<![\w*])\*(?=[^\s*])((?:<[^<>\n]{1,2000}>|[^*\n<]){1,300}?)(?<=[^\s*])\*(?![\w*])"
    r"|(?<![\w~])~(?=[^\s~])((?:<[^<>\n]{1,2000}>|[^~\n<]){1,300}?)(?<=[^\s~])~(?![\w~])"
)
"""Words that Slack shows bold or struck through."""
_MARKED_OR_CODE = re.compile(f"(?P<code>{_CODE}|<[^<>\n]*>)|{MARKED.pattern}", re.DOTALL)


def as_markdown(text: str) -> str:
    """Slack's bold and struck words in Markdown's signs for them: there a single asterisk is leaning, so words that are
    written back as they were read would change. Code and what is between brackets stay."""
    return _MARKED_OR_CODE.sub(_in_markdown, text)


def _in_markdown(found: re.Match[str]) -> str:
    if found["code"]:
        return found[0]
    mark = "**" if found[0].startswith("*") else "~~"
    return f"{mark}{found[2] or found[3]}{mark}"


class Reader(Outside):
    """Reads Slack's texts. ``names``: people by id; ``mismatch``: a link showed another host than it leads to."""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.names = names or {}
        self.mismatch = False

    def notation(self, message: Mapping[str, Any]) -> str:
        """What a message shows, in Slack's notation; what only its text says beside blocks is counted, or a doubt."""
        self.hidden += unseen(message)
        if message.get("blocks") and message.get("text") and not words_of_blocks(message):
            self.doubts.add("blocks without words")
        return all_said(message)

    def message(self, message: Mapping[str, Any]) -> str:
        """What a message shows, cleaned."""
        return self.mrkdwn(self.notation(message))

    def mrkdwn(self, text: str, *, marks: bool = True) -> str:
        """A text in Slack's notation, cleaned, as Markdown. ``marks``: whether any is bold: none of a topic is."""
        read = TOKEN.sub(lambda token: self._token(token[1]), as_markdown(text) if marks else text)
        return self.text(unescaped(read))

    def as_written(self, text: str) -> str:
        """A text in Slack's notation, read but not cleaned: a person sees what cannot be seen written out."""
        return unescaped(TOKEN.sub(lambda found: found[1] if _URL.fullmatch(found[1]) else self._token(found[1]), text))

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
        """A date, a user group, or all people of a place. Slack shows a date itself: its words may say another."""
        kind, *rest = parts
        if kind == "date" and len(rest) > 1 and (said := dated(rest[0], rest[1])):
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


def mentioned(texts: Iterable[str]) -> Iterator[str]:
    """The ids of people in these texts."""
    for text in texts:
        for token in TOKEN.finditer(text):
            if user := _USER.fullmatch(token[1]):
                yield user[1]
