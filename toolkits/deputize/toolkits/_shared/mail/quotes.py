# ruff: noqa: RUF001 - the words of other languages
"""Quoted history: detection of earlier mails in a mail, and the mail without them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from deputize.toolkits._shared.mail.languages import header_of_line

_ORIGINAL = re.compile(
    r"-{2,} ?(?:original message|ursprüngliche nachricht|originalnachricht|message d['’]origine|message original"
    r"|mensaje original|mensagem original|messaggio originale|oorspronkelijk bericht|ursprungligt meddelande"
    r"|originalmeddelande|oprindelig meddelelse|opprinnelig melding|alkuperäinen viesti|исходное сообщение"
    r"|wiadomość oryginalna|orijinal mesaj|original-nachricht|原始邮件|邮件原件|元のメッセージ|원본 메시지"
    r"|الرسالة الأصلية|मूल संदेश) ?-{2,}",
    re.IGNORECASE,
)
_FORWARDED = re.compile(
    r"-{2,} ?(?:forwarded|weitergeleitete|message transféré|mensaje reenviado|mensagem (?:re)?encaminhada"
    r"|messaggio inoltrato|doorgestuurd bericht|vidarebefordrat meddelande|videresendt|перенаправленное|пересылаемое"
    r"|przekazana|転送|转发|轉寄|전달|رسالة معاد|अग्रेषित)"
    r"|(?:begin forwarded message|anfang der weitergeleiteten|début du message (?:transféré|réexpédié)"
    r"|inicio del mensaje reenviado|inizio messaggio inoltrato|início da mensagem re|begin doorgestuurd bericht"
    r"|vidarebefordrat brev|начало переадресованного|転送されたメッセージ|以下是转发的邮件|开始转发的邮件|بدء الرسالة)",
    re.IGNORECASE,
)
_WROTE = re.compile(
    r"(?:on|am|le|el|em|il|op|den|dne|w dniu|pe) .{4,300}"
    r"\b(?:wrote|schrieb|a écrit|escribió|escreveu|ha scritto|schreef|skrev|napisał\(?a?\)?|napsal\(?a?\)?|kirjoitti)"
    r".{0,120}[:：]"
    r"|.{4,300}(?:写道|寫道|のメール|пишет|пише|написал\(?а?\)?|yazdı|작성|ने लिखा|ezt írta|έγραψε|đã viết)\s*[:：]"
    r"|.{4,300}(?:تمت كتابة ما يلي بواسطة|كتب).{0,120}[:：]",
    re.IGNORECASE,
)
_DATED = re.compile(r".{0,200}\d.{0,200}<[^<>\s]{1,200}@[^<>\s]{1,200}>.{0,60}[:：]")  # in an unsupported language
_ATTRIBUTION_LINES: Final = 3  # clients break "On ... wrote:" into up to three lines
_HEAD_LINES: Final = 8  # lines of a quoted mail's head
_FOOTER = re.compile(r"_{20,}|--\xa0?")  # footer of a mailing list, or a signature
_RULE = re.compile(r"[_\-=\s]{5,}")


class Line(NamedTuple):
    """A line of a mail's text. ``quoted``: True if the markup says that the line is from an earlier mail."""

    text: str
    quoted: bool = False


def plain_lines(text: str) -> list[Line]:
    """Return the lines of a text/plain part."""
    return [Line(line.rstrip()) for line in text.split("\n")]


def without_history(lines: Sequence[Line], *, passed_on: bool = False) -> tuple[str, int]:
    """Return the text without quoted history, and the number of characters that were cut.

    History is cut only if nothing else follows it. A mail with answers between the quotes stays whole, and so does a
    mail that was forwarded or has no text of its own. ``passed_on``: its subject marks it as forwarded.
    """
    if passed_on:
        return _join(lines), 0
    quoted = _quote_flags(lines)
    first = quoted.index(True) if True in quoted else len(lines)
    own, history = lines[:first], lines[first:]
    below = next((n for n, line in enumerate(history) if n and _FOOTER.fullmatch(line.text)), len(history))
    answered = any(line.text and not flag for line, flag in zip(history[:below], quoted[first:], strict=False))
    silent = not any(line.text for line in own)
    near = [line.text.strip("> ") for line in (*own[-3:], *history[:2])]
    forwarded = any(_FORWARDED.match(text) for text in near)
    if answered or silent or forwarded:
        return _join(lines), 0
    return _join(own), len(_join(history))


def without_quotes(lines: Sequence[Line]) -> tuple[str, int]:
    """Return the text without quoted lines and forwarded text, and the number of characters that were removed."""
    flags = _quote_flags(lines)
    end = next((n for n, line in enumerate(lines) if _FORWARDED.match(line.text.strip("> "))), len(lines))
    own = [line for line, flag in zip(lines[:end], flags, strict=False) if not flag]
    return _join(own), len(_join(lines)) - len(_join(own))


def history_of(text: str) -> str:
    """Return the quoted history at the end of a plain text with its introduction, or ""."""
    lines = plain_lines(text.replace("\r\n", "\n"))
    flags = _quote_flags(lines)
    first = flags.index(True) if True in flags else len(lines)
    answered = any(line.text and not flag for line, flag in zip(lines[first:], flags[first:], strict=True))
    return "" if answered else _join(lines[first:])


def _join(lines: Sequence[Line]) -> str:
    return "\n".join(line.text for line in lines).strip("\n")


def _quote_flags(lines: Sequence[Line]) -> list[bool]:
    """Return for each line whether it is quoted, by its markup or its words."""
    flags = [line.quoted or line.text.startswith(">") for line in lines]
    for at, line in enumerate(lines):
        if _ORIGINAL.fullmatch(line.text.strip()) or _begins_head(lines, at):
            start = at - 1 if at and _RULE.fullmatch(lines[at - 1].text) else at
            return flags[:start] + [True] * (len(lines) - start)
        if not flags[at] and (length := _attribution(lines, at)):
            after = at + length
            follows = next((flags[n] for n in range(after, len(lines)) if lines[n].text), False)
            if follows:
                flags[at:after] = [True] * length
            elif not any(flags[after:]) and _is_sure(_words(lines[at:after])):
                return flags[:at] + [True] * (len(lines) - at)
    return flags


def _attribution(lines: Sequence[Line], at: int) -> int:
    """Return the number of lines from here that are an attribution such as "On Monday, Bob wrote:"; 0 if none."""
    words = ""
    for length, line in enumerate(lines[at : at + _ATTRIBUTION_LINES], 1):
        words = f"{words} {line.text.strip()}".strip()
        if not line.text or len(words) > 400:
            return 0
        if words[-1] in ":：" and (_WROTE.fullmatch(words) or _DATED.fullmatch(words)):
            return length
    return 0


def _words(lines: Sequence[Line]) -> str:
    return " ".join(line.text.strip() for line in lines).strip()


def _begins_head(lines: Sequence[Line], at: int) -> bool:
    """True if the head of an earlier mail begins here, in Outlook's form: sender, date and subject."""
    if header_of_line(lines[at].text) != "from":
        return False
    named = {"from"}
    for line in lines[at + 1 : at + _HEAD_LINES]:
        if not line.text.strip():
            break
        named.add(header_of_line(line.text))
    return {"from", "sent", "subject"} <= named or {"from", "to", "subject"} <= named


def _is_sure(words: str) -> bool:
    """True if an attribution is certain, even without a quote mark after it."""
    return bool(_WROTE.fullmatch(words)) and "@" in words and any(c.isdigit() for c in words)
