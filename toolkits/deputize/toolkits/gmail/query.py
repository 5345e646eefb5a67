"""Converts search arguments to Gmail's ``q`` (support.google.com/mail/answer/7190)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

AUTOMATED: Final = "-category:{promotions social updates forums} -from:{noreply no-reply donotreply}"
_OUT_OF_SIGHT = re.compile(r"(?<![-\w])in:(?:spam|trash|anywhere)\b", re.IGNORECASE)
_TERM = re.compile(r'-?(?:\w+:)?"[^"]*"|[^\s(){}]+')


def build_query(
    query: str = "",
    *,
    sender: Sequence[str] = (),
    to: Sequence[str] = (),
    subject: str = "",
    text: str = "",
    after: int | None = None,
    before: int | None = None,
    unread: bool | None = None,
    skip_automated: bool = False,
    written_to: str = "",
) -> str:
    """Return one ``q`` of all arguments, or "". No argument's value can act as an operator."""
    terms = [
        _people("from", sender),
        _people("to", to),
        f"{{{' '.join(_people(name, [written_to]) for name in ('to', 'cc', 'bcc'))}}}" if written_to else "",
        _subject(subject),
        _words(text),
        f"after:{after}" if after is not None else "",
        f"before:{before}" if before is not None else "",
        "" if unread is None else "is:unread" if unread else "is:read",
        AUTOMATED if skip_automated else "",
        _visible(query),
    ]
    return " ".join(term for term in terms if term)


def includes_hidden(query: str) -> bool:
    """True if a query asks for spam or trash, which Gmail excludes by default."""
    return bool(_OUT_OF_SIGHT.search(query))


def is_selective(query: str) -> bool:
    """True if a query has a term that selects emails, not only exclusions or terms that match all."""
    terms = [term.lower() for term in _TERM.findall(_visible(query))]
    chosen = [term for term in terms if not term.startswith("-") and term not in ("or", "and", "in:anywhere", "in:all")]
    return any(re.search(r"\w", term) for term in chosen)


def _visible(text: str) -> str:
    return "".join(c if unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") else " " for c in text).strip()


def _value(text: str) -> str:
    """Return a value for an operator, in quotes if the value has characters that Gmail interprets."""
    text = " ".join(_visible(text).replace('"', " ").split())
    return f'"{text}"' if re.search(r"[\s(){}:]", text) or text.startswith("-") else text


def _people(operator: str, people: Sequence[str]) -> str:
    named = [re.sub(r"^[^<>]*<([^<>]+)>\s*$", r"\1", one.strip()) for one in people]
    terms = [f"{operator}:{value}" for one in named if (value := _value(one))]
    return "{" + " ".join(terms) + "}" if len(terms) > 1 else "".join(terms)


def _subject(subject: str) -> str:
    """Return a condition on the subject: words in any order, or an exact phrase if quoted."""
    words = _words(subject)
    if not words:
        return ""
    return f"subject:{words}" if re.fullmatch(r'"[^"]*"', words) else f"subject:({words})"


def _words(text: str) -> str:
    """Return the words without operators. A quoted phrase stays a phrase."""
    pieces: list[str] = []
    for at, piece in enumerate(_visible(text).split('"')):
        words = re.sub(r"[(){}:]", " ", piece).split()
        if at % 2 and words:
            pieces.append(f'"{" ".join(words)}"')
        else:
            pieces += [plain for word in words if (plain := word.lstrip("-+")) not in ("", "OR", "AND", "AROUND")]
    return " ".join(pieces)
