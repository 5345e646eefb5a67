"""Markdown as models write it, in Slack's own notation (docs.slack.dev/messaging/formatting-message-text).

Everything is escaped before a token of ours is added: nothing that the model or a stranger wrote can become a link, a
mention or a call to everybody by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from deputize.core.errors import InvalidInput

LONGEST: Final = 12_000  # characters
_FENCE = re.compile(r"\s{0,3}(```+|~~~+)[^`]*")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s+(.*?)(?:\s+#+)?\s*")
_ITEM = re.compile(r"(\s*)[-*+]\s+(.*)")
_QUOTE = re.compile(r"\s{0,3}>\s?(.*)")
_ROW = re.compile(r"\s*\|.*\|\s*")
_RULE = re.compile(r"\s{0,3}([-*_])(?:\s*\1){2,}\s*")
_INLINE = re.compile(
    r"`(?P<code>[^`\n]+)`"
    r"|!?\[(?P<words>[^\[\]\n]*)\]\((?P<to>(?:https?://|mailto:)[^\s()<>|]{1,2000})\)"
    r"|(?P<url>https?://[^\s<>|()]{1,2000}[^\s<>|().,;:!?'\"])"
    r"|\*\*(?P<strong>\S(?:[^*\n]*[^*\s])?)\*\*"
    r"|(?<!\w)__(?P<strong_>[^\s_](?:[^_\n]*[^_\s])?)__(?!\w)"
    r"|(?<!\w)\*(?P<em>[^\s*](?:[^*\n]*[^*\s])?)\*(?!\w)"
    r"|(?<!\w)_(?P<em_>[^\s_](?:[^_\n]*[^_\s])?)_(?!\w)"
    r"|~~(?P<del>\S(?:[^~\n]*[^~\s])?)~~"
    r"|\\(?P<literal>[\\`*_{}\[\]()#+.!>~-])"
    r"|(?<![\w@.&/-])(?P<mention>@[A-Za-z0-9][\w.-]{0,79}(?<![.-])|#[\w-]{1,80})(?![\w@])"
)
_MARKS: Final = {"strong": "*", "em": "_", "del": "~"}
_DEEPEST: Final = 6


def escaped(text: str) -> str:
    """The three characters that mean something to Slack."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def to_mrkdwn(text: str, mentions: Mapping[str, str] | None = None, field: str = "body") -> str:
    """The text for Slack. ``mentions``: tokens by what stands for them, such as ``@bob``; other names stay text.

    Raises `InvalidInput` for an empty text, and for one that is too long for a message.
    """
    converted = "\n".join(_lines(_split(text), mentions or {})).strip("\n")
    if not converted.strip():
        raise InvalidInput(f"{field}: empty.")
    if len(converted) > LONGEST:
        raise InvalidInput(
            f"{field}: {len(converted)} characters; a message may have {LONGEST}.",
            hint="Send several messages in a thread, a file or a canvas.",
        )
    return converted


def _split(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").split("\n")


def _lines(lines: list[str], mentions: Mapping[str, str]) -> Iterator[str]:
    at = 0
    while at < len(lines):
        if opened := _FENCE.fullmatch(lines[at]):
            end = _closing(lines, at, opened[1])
            yield from ("```", *map(escaped, lines[at + 1 : end]), "```")
            at = end + 1
        elif _ROW.fullmatch(lines[at]):
            end = next((n for n in range(at, len(lines)) if not _ROW.fullmatch(lines[n])), len(lines))
            yield from ("```", *(escaped(line.strip()) for line in lines[at:end]), "```")
            at = end
        else:
            yield _line(lines[at], mentions)
            at += 1


def _closing(lines: list[str], at: int, fence: str) -> int:
    return next((n for n in range(at + 1, len(lines)) if lines[n].strip().startswith(fence)), len(lines))


def _line(line: str, mentions: Mapping[str, str]) -> str:
    if _RULE.fullmatch(line):
        return "\u2014" * 3
    if heading := _HEADING.fullmatch(line):
        return f"*{_inline(_without_stars(heading[1]), mentions)}*" if heading[1] else ""
    if quote := _QUOTE.fullmatch(line):
        return f"> {_inline(quote[1], mentions)}"
    if item := _ITEM.fullmatch(line):
        return f"{item[1]}\u2022 {_inline(item[2], mentions)}"
    return _inline(line, mentions)


def _without_stars(heading: str) -> str:
    return heading.replace("**", "").replace("__", "")


def _inline(text: str, mentions: Mapping[str, str], depth: int = 0) -> str:
    return "".join(_spans(text, mentions, depth))


def _spans(text: str, mentions: Mapping[str, str], depth: int) -> Iterator[str]:
    end = 0
    for found in _INLINE.finditer(text) if depth < _DEEPEST else ():
        yield escaped(text[end : found.start()])
        yield _span(found, mentions, lambda words: _inline(words, mentions, depth + 1))
        end = found.end()
    yield escaped(text[end:])


def _span(found: re.Match[str], mentions: Mapping[str, str], inner: Callable[[str], str]) -> str:
    kind = (found.lastgroup or "").rstrip("_")
    words = found[found.lastgroup or 0]
    if kind == "to":
        return f"<{escaped(words)}|{_label(found['words'])}>" if found["words"].strip() else f"<{escaped(words)}>"
    if kind == "url":
        return f"<{escaped(words)}>"
    if kind == "code":
        return f"`{escaped(words)}`"
    if kind == "mention":
        return mentions.get(words.casefold()) or escaped(words)
    if kind == "literal":
        return escaped(words)
    return f"{_MARKS[kind]}{inner(words)}{_MARKS[kind]}"


def _label(words: str) -> str:
    """What a link shows: one text, in which a bar would end the address."""
    return escaped(words.replace("|", "/"))


def names_in(text: str) -> set[str]:
    """What in a text may be a mention, in lower case: ``@handle`` and ``#channel``, but not in code or links."""
    found = set[str]()
    fence = ""
    for line in _split(text):
        opened = _FENCE.fullmatch(line)
        if fence or opened:
            fence = "" if fence and line.strip().startswith(fence) else fence or (opened[1] if opened else "")
        elif not _ROW.fullmatch(line):
            found |= _mentions(line, 0)
    return found


def _mentions(text: str, depth: int) -> set[str]:
    found = set[str]()
    for one in _INLINE.finditer(text) if depth < _DEEPEST else ():
        kind = (one.lastgroup or "").rstrip("_")
        if kind == "mention":
            found.add(one["mention"].casefold())
        elif kind in _MARKS:
            found |= _mentions(one[one.lastgroup or 0], depth + 1)
    return found
