"""SOQL parser: SELECT with paths and subqueries, WHERE with AND, OR, NOT and parentheses, ORDER BY, LIMIT, OFFSET."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

_TOKEN = re.compile(r"\s*('(?:\\.|[^'\\])*'|[A-Za-z_][\w.]*(?::\d+)?|[-+]?[0-9][\w.:+-]*|<=|>=|!=|<>|[=<>(),])")
_STAMP = re.compile(r"\d{4}-\d\d-\d\d(T.*)?")
Condition = Callable[[Callable[[str], Any]], bool]


class Malformed(Exception):
    """The error of an invalid query."""


@dataclass
class Select:
    """A query. ``order``: fields, and whether each descends."""

    fields: list[str]
    kind: str
    where: Condition = field(default=lambda value: True)
    order: list[tuple[str, bool]] = field(default_factory=list)
    limit: int | None = None
    compared: list[str] = field(default_factory=list)
    children: list[Select] = field(default_factory=list)


def read(text: str, today: str) -> Select:
    """Parse a query. Raises `Malformed`."""
    reader = _Reader(_tokens(text), today)
    found = reader.select()
    if reader.word():
        raise Malformed(reader.word())
    return found


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Malformed(text[at : at + 10])
        found.append(match[1])
        at = match.end()
    return found


class _Reader:
    def __init__(self, tokens: list[str], today: str) -> None:
        self._tokens, self._at, self._today = tokens, 0, today
        self._compared: list[str] = []

    def word(self) -> str:
        return self._tokens[self._at].upper() if self._at < len(self._tokens) else ""

    def _take(self, *expected: str) -> str:
        if self._at >= len(self._tokens) or (expected and self.word() not in expected):
            raise Malformed(self.word())
        self._at += 1
        return self._tokens[self._at - 1]

    def _accept(self, *words: str) -> bool:
        if tuple(t.upper() for t in self._tokens[self._at : self._at + len(words)]) != words:
            return False
        self._at += len(words)
        return True

    def _name(self) -> str:
        name = self._take()
        if not re.fullmatch(r"[A-Za-z_][\w.]*", name):
            raise Malformed(name)
        return name

    def select(self) -> Select:
        self._take("SELECT")
        found = Select([], "")
        while True:
            if self._accept("("):
                found.children.append(self.select())
                self._take(")")
            else:
                name = self._name()
                if name.upper() == "COUNT" and self._accept("("):
                    self._take(")")
                    name = "COUNT()"
                found.fields.append(name)
            if not self._accept(","):
                break
        self._take("FROM")
        found.kind = self._name()
        if self._accept("WHERE"):
            self._compared = found.compared
            found.where = self._read_any()
        if self._accept("ORDER", "BY"):
            found.order = self._order()
        if self._accept("LIMIT"):
            found.limit = int(self._take())
        return found

    def _order(self) -> list[tuple[str, bool]]:
        order = []
        while True:
            name = self._name()
            descends = self._accept("DESC")
            self._accept("ASC")
            order.append((name, descends))
            self._accept("NULLS", "LAST")
            if not self._accept(","):
                return order

    def _read_any(self) -> Condition:
        parts = [self._read_all()]
        while self._accept("OR"):
            parts.append(self._read_all())
        return parts[0] if len(parts) == 1 else lambda value: any(part(value) for part in parts)

    def _read_all(self) -> Condition:
        parts = [self._read_condition()]
        while self._accept("AND"):
            parts.append(self._read_condition())
        return parts[0] if len(parts) == 1 else lambda value: all(part(value) for part in parts)

    def _read_condition(self) -> Condition:
        if self._accept("NOT"):
            inner = self._read_condition()
            return lambda value: not inner(value)
        if self._accept("("):
            inner = self._read_any()
            self._take(")")
            return inner
        name, sign = self._name(), self._take().upper()
        self._compared.append(name)
        if sign == "IN":
            wanted = self._values()
            return lambda value: _fold(value(name)) in [_fold(one) for one in wanted]
        if sign == "LIKE":
            pattern = _pattern(self._take())
            return lambda value: pattern.fullmatch(str(value(name) or "")) is not None
        if sign not in ("=", "!=", "<>", "<", "<=", ">", ">="):
            raise Malformed(sign)
        right = self._value()
        return lambda value: _compares(sign, value(name), right)

    def _values(self) -> list[Any]:
        self._take("(")
        values = [self._value()]
        while self._accept(","):
            values.append(self._value())
        self._take(")")
        return values

    def _value(self) -> Any:
        token = self._take()
        if token.startswith("'"):
            return re.sub(r"\\(.)", lambda escape: _unescape(escape[1]), token[1:-1])
        words = {"NULL": None, "TRUE": True, "FALSE": False}
        if token.upper() in words:
            return words[token.upper()]
        if days := date_literal_days(token.upper(), date.fromisoformat(self._today)):
            return days
        if _STAMP.fullmatch(token):
            return token
        try:
            return float(token)
        except ValueError:
            raise Malformed(token) from None


def _unescape(sign: str) -> str:
    """Return the character that a backslash and this sign encode. Raises `Malformed` for an unknown one."""
    if sign.lower() not in "nrtbf\"'\\":
        raise Malformed(f"\\{sign}")
    return {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}.get(sign.lower(), sign)


def _pattern(token: str) -> re.Pattern[str]:
    """Compile a literal after LIKE. Only there may a percent sign and an underscore be escaped."""
    if not token.startswith("'"):
        raise Malformed(token)
    signs = {"%": ".*", "_": "."}
    parts = re.findall(r"\\.|[^\\]", token[1:-1], re.DOTALL)
    plain = (part[1] if part[1:] in ("%", "_") else _unescape(part[1]) if len(part) == 2 else part for part in parts)
    made = (signs.get(part) or re.escape(one) for part, one in zip(parts, plain, strict=True))
    return re.compile("".join(made), re.DOTALL | re.IGNORECASE)


def _fold(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


@dataclass(frozen=True)
class Days:
    """The days of a date literal: from the first up to, but not including, the other."""

    first: str
    after: str


def date_literal_days(word: str, today: date) -> Days | None:
    """Return the days of a date literal, of those that the tests need."""
    counted = re.fullmatch(r"(LAST|NEXT)_N_DAYS:(\d+)", word)
    named = {"YESTERDAY": -1, "TODAY": 0, "TOMORROW": 1}
    if counted:
        count, last = int(counted[2]), counted[1] == "LAST"
        span = (-count, 1) if last else (1, count + 1)
    elif word in named:
        span = (named[word], named[word] + 1)
    elif word == "THIS_MONTH":
        first = today.replace(day=1)
        return Days(first.isoformat(), (first + timedelta(days=32)).replace(day=1).isoformat())
    else:
        return None
    first, after = (today + timedelta(days=one) for one in span)
    return Days(first.isoformat(), after.isoformat())


def _in_days(sign: str, value: Any, days: Days) -> bool:
    if value is None:
        return sign in ("!=", "<>")
    day = str(value)[:10]
    within = days.first <= day < days.after
    before, behind = day < days.first, day >= days.after
    signs = {"=": within, "!=": not within, "<>": not within, "<": before, ">": behind}
    return signs.get(sign, not behind if sign == "<=" else not before)


def _compares(sign: str, value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Days):
        return _in_days(sign, value, wanted)
    if sign in ("=", "!=", "<>"):
        return bool(plain(value) == plain(wanted)) == (sign == "=")
    if value is None or wanted is None:
        return False
    left, right = (_stamp(value), _stamp(wanted)) if isinstance(value, str) else (value, wanted)
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign])


def plain(value: Any) -> Any:
    """Return a value in the form that is compared and sorted."""
    return _stamp(value) if isinstance(value, str) else value


def _stamp(value: Any) -> str:
    """Return a time in one comparable form; other strings in lower case."""
    text = str(value)
    return re.sub(r"\.000|\+0000|Z$", "", text) if _STAMP.fullmatch(text) else text.casefold()
