"""Gmail's search syntax: conversion of a query to one predicate over mails.

Operators: from to cc bcc subject is in label category has filename after before newer older newer_than older_than
rfc822msgid, plain words, "phrases", -term, OR, (all of) and {any of}. Words match whole, ignoring case.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from deputize.sandbox.google.gmail import text
from deputize.sandbox.google.gmail.mailbox import CATEGORIES, Mail, Mailbox

Matches = Callable[[Mail], bool]

OPERATORS = (
    *("from", "to", "cc", "bcc", "subject", "is", "in", "label", "category", "has", "filename", "rfc822msgid"),
    *("after", "before", "newer", "older", "newer_than", "older_than"),
)
TOKEN = re.compile(
    rf"(?P<operator>-?(?:{'|'.join(OPERATORS)}):)(?=\S)|(?P<open>-?[({{])|(?P<close>[)}}])"
    r'|(?P<minus>-?)"(?P<phrase>[^"]*)"|(?P<word>[^\s(){}"]+)',
    re.IGNORECASE,
)
WORD = re.compile(r"\w+")
DATE = re.compile(r"(\d{4})[/-](\d{1,2})[/-](\d{1,2})")
AGE = re.compile(r"(\d+)([dmy])")
DAYS = {"d": 1, "m": 30, "y": 365}
STATES = {"unread": "UNREAD", "starred": "STARRED", "important": "IMPORTANT"}
PLACES = {"drafts": "DRAFT", "draft": "DRAFT", "sent": "SENT", "inbox": "INBOX", "trash": "TRASH", "spam": "SPAM"}
HIDDEN = {"SPAM", "TRASH"}


@dataclass(frozen=True)
class Query:
    """A parsed search; ``everywhere`` is True if it names spam or trash."""

    matches: Matches
    everywhere: bool


def search(box: Mailbox, q: str, now: float, *, labels: tuple[str, ...] = (), hidden: bool = False) -> list[Mail]:
    """Return the mails that match, newest first; spam and trash only if requested."""
    query = Reader(box, now).read(q)
    reaches = hidden or query.everywhere or bool(HIDDEN & set(labels))
    return [
        mail
        for mail in box.newest_first()
        if all(label in mail.labels for label in labels)
        and (reaches or not HIDDEN & set(mail.labels))
        and query.matches(mail)
    ]


class Reader:
    """Parser of one query: adjacent terms must all match, ``OR`` binds its two neighbours."""

    def __init__(self, box: Mailbox, now: float) -> None:
        self._box = box
        self._now = now
        self._everywhere = False
        self._tokens: list[re.Match[str]] = []
        self._next = 0

    def read(self, q: str) -> Query:
        """Parse a whole query; an empty one matches everything."""
        self._tokens, self._next = list(TOKEN.finditer(q)), 0
        found: list[Matches] = []
        while self._next < len(self._tokens):
            found += self._terms("")  # again, after an unmatched closing bracket
        return Query(_all_of(found), self._everywhere)

    def _terms(self, operator: str) -> list[Matches]:
        """Parse terms up to and including a closing bracket, or to the end."""
        found: list[Matches] = []
        joins = False
        while self._next < len(self._tokens):
            token = self._tokens[self._next]
            if token["close"] or token["word"] in ("OR", "AND"):
                self._next += 1
                if token["close"]:
                    break
                joins = token["word"] == "OR" and bool(found)
                continue
            term = self._term(operator)
            found.append(_any_of([found.pop(), term]) if joins else term)
            joins = False
        return found

    def _term(self, operator: str) -> Matches:
        token = self._tokens[self._next]
        self._next += 1
        before = self._everywhere
        inner = self._positive(operator, token)
        if not token[0].startswith("-") or token[0] == "-":
            return inner
        self._everywhere = before  # only a positive term includes spam and trash
        return _not(inner)

    def _positive(self, operator: str, token: re.Match[str]) -> Matches:
        if token["operator"]:
            name = token["operator"].strip("-:").lower()
            return self._term(name) if self._next < len(self._tokens) else _match_nothing
        if token["open"]:
            terms = self._terms(operator)
            return _any_of(terms) if token["open"].endswith("{") else _all_of(terms)
        if token["phrase"] is not None:
            return self._operation(operator, token["phrase"])
        return self._operation(operator, (token["word"] or "").lstrip("+-"))

    def _operation(self, operator: str, value: str) -> Matches:
        if operator in ("from", "to", "cc", "bcc", "subject"):
            return self._match_header(operator, value)
        if operator in ("is", "in", "label", "category"):
            return self._match_label(operator, value.lower())
        if operator in ("after", "newer", "before", "older", "newer_than", "older_than"):
            return self._match_date(operator, value.lower())
        if operator == "has":
            return _has_file if value.lower() == "attachment" else _match_nothing
        if operator == "filename":
            return lambda mail: any(_file_matches(name, value) for name in files(mail))
        if operator == "rfc822msgid":
            return lambda mail: mail.header("Message-ID").strip("<>") == value.strip("<>")
        return _has_phrase(value)

    def _match_header(self, operator: str, value: str) -> Matches:
        wanted = self._box.owner if value.lower() == "me" and operator != "subject" else value
        return lambda mail: has_phrase(wanted, mail.header(operator))

    def _match_label(self, operator: str, value: str) -> Matches:
        if operator == "is" and value == "read":
            return lambda mail: "UNREAD" not in mail.labels
        if operator == "in" and value == "anywhere":
            self._everywhere = True
            return lambda mail: True
        label = self._label(operator, value)
        self._everywhere |= label in HIDDEN
        return lambda mail: label in mail.labels

    def _label(self, operator: str, value: str) -> str:
        if operator == "is":
            return STATES.get(value, "")
        if operator == "category":
            name = "PERSONAL" if value == "primary" else value.upper()
            return f"CATEGORY_{name}" if name in CATEGORIES else ""
        return (PLACES.get(value) if operator == "in" else None) or self._box.find_label(value)

    def _match_date(self, operator: str, value: str) -> Matches:
        limit = self._moment(operator, value)
        if limit is None:
            return _match_nothing
        if operator in ("after", "newer", "newer_than"):
            return lambda mail: mail.at >= limit * 1000
        return lambda mail: mail.at < limit * 1000

    def _moment(self, operator: str, value: str) -> float | None:
        """Return epoch seconds: a date is midnight in California, as at Gmail; an age counts back from now."""
        if operator.endswith("_than"):
            age = AGE.fullmatch(value)
            return self._now - int(age[1]) * DAYS[age[2]] * 86400 if age else None
        if value.isdecimal():
            return float(value)
        date = DATE.fullmatch(value)
        try:
            return datetime(int(date[1]), int(date[2]), int(date[3]), tzinfo=_pacific()).timestamp() if date else None
        except ValueError:
            return None


def has_phrase(phrase: str, where: str) -> bool:
    """Return True if the words of ``phrase`` are adjacent in ``where``."""
    wanted, there = words(phrase), words(where)
    if not wanted:
        return False
    return any(there[start : start + len(wanted)] == wanted for start in range(len(there) - len(wanted) + 1))


def words(written: str) -> list[str]:
    """Split a text into words, in lower case."""
    return WORD.findall(written.lower())


def files(mail: Mail) -> list[str]:
    """Return the names of a mail's attachments."""
    return [part.get_filename() or "" for part in text.parts(mail.message) if text.is_file(part)]


def _file_matches(name: str, value: str) -> bool:
    return name.lower().endswith("." + value.lower().removeprefix(".")) or has_phrase(value, name)


def _has_file(mail: Mail) -> bool:
    return bool(files(mail))


def _has_phrase(phrase: str) -> Matches:
    def matches(mail: Mail) -> bool:
        places = (mail.subject, mail.text, mail.sender, mail.to, mail.header("Cc"), " ".join(files(mail)))
        return any(has_phrase(phrase, place) for place in places)

    return matches


def _match_nothing(mail: Mail) -> bool:
    return False


def _not(inner: Matches) -> Matches:
    return lambda mail: not inner(mail)


def _any_of(terms: list[Matches]) -> Matches:
    return lambda mail: any(term(mail) for term in terms)


def _all_of(terms: list[Matches]) -> Matches:
    return lambda mail: all(term(mail) for term in terms)


def _pacific() -> tzinfo:
    try:
        return ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:  # a machine without time zone data
        return timezone(timedelta(hours=-8))
