# ruff: noqa: RUF001 - the words of other languages
"""Quoted history: which lines of a mail are the mails before it, and the mail without them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_ORIGINAL = re.compile(
    r"-{2,} ?(?:original message|ursprüngliche nachricht|message d['’]origine|mensaje original|mensagem original"
    r"|messaggio originale|oorspronkelijk bericht|ursprungligt meddelande|oprindelig meddelelse) ?-{2,}",
    re.IGNORECASE,
)
_FORWARDED = re.compile(r"-{2,} ?(?:forwarded|weitergeleitete|message transféré|mensaje reenviado)", re.IGNORECASE)
_WROTE = re.compile(
    r"(?:on|am|le|el|em|il|op|den|dne|w dniu|pe) .{4,300}"
    r"\b(?:wrote|schrieb|a écrit|escribió|escreveu|ha scritto|schreef|skrev|napisał\(?a?\)?|napsal\(?a?\)?|kirjoitti)"
    r".{0,120}[:：]"
    r"|.{4,300}(?:写道|寫道|のメール|пишет|написал\(?а?\)?|yazdı|작성)\s*[:：]",
    re.IGNORECASE,
)
_ATTRIBUTION_LINES: Final = 3  # clients break "On ... wrote:" into up to three lines


class Line(NamedTuple):
    """A line of a mail's text; ``quoted`` if its markup says that it is from an earlier mail."""

    text: str
    quoted: bool = False


def plain_lines(text: str) -> list[Line]:
    """The lines of a text/plain part."""
    return [Line(line.rstrip()) for line in text.split("\n")]


def without_history(lines: Sequence[Line]) -> tuple[str, int]:
    """The text without quoted history, and how many characters were cut.

    It is cut only where nothing but quote follows: with answers between the quotes everything stays, as it does for a
    mail that was forwarded or says nothing of its own.
    """
    quoted = _quoted(lines)
    first = quoted.index(True) if True in quoted else len(lines)
    own, history = lines[:first], lines[first:]
    answered = any(line.text and not flag for line, flag in zip(history, quoted[first:], strict=True))
    silent = not any(line.text for line in own)
    forwarded = any(_FORWARDED.match(line.text.strip("> ")) for line in history[:2])
    if answered or silent or forwarded:
        return _joined(lines), 0
    return _joined(own), len(_joined(history))


def _joined(lines: Sequence[Line]) -> str:
    return "\n".join(line.text for line in lines).strip("\n")


def _quoted(lines: Sequence[Line]) -> list[bool]:
    """Which lines are quote, by their markup or their words."""
    flags = [line.quoted or line.text.startswith(">") for line in lines]
    for at, line in enumerate(lines):
        if _ORIGINAL.fullmatch(line.text.strip()):
            return flags[:at] + [True] * (len(lines) - at)
        if not flags[at] and (length := _attribution(lines, at)):
            after = at + length
            follows = next((flags[n] for n in range(after, len(lines)) if lines[n].text), False)
            if follows:
                flags[at:after] = [True] * length
            elif not any(flags[after:]) and _dated("".join(one.text for one in lines[at:after])):
                return flags[:at] + [True] * (len(lines) - at)
    return flags


def _attribution(lines: Sequence[Line], at: int) -> int:
    """How many lines from here are an attribution such as "On Monday, Bob wrote:"; 0 if none."""
    words = ""
    for length, line in enumerate(lines[at : at + _ATTRIBUTION_LINES], 1):
        words = f"{words} {line.text.strip()}".strip()
        if not line.text or len(words) > 400:
            return 0
        if words[-1] in ":：" and _WROTE.fullmatch(words):
            return length
    return 0


def _dated(words: str) -> bool:
    return "@" in words and any(c.isdigit() for c in words)
