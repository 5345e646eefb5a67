"""``q`` of Drive's lists: a small language of terms, ``and``, ``or``, ``not`` and parentheses."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from deputize.sandbox.google.drive.call import Call, Json, invalid
from deputize.sandbox.google.drive.records import content_of

Test = Callable[[Json], bool]
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<op><=|>=|!=|=|<|>|\(|\)|\{|\})|(?P<word>[A-Za-z][A-Za-z.]*))"
)
_TIMES = {"modifiedTime": "modifiedTime", "createdTime": "createdTime"}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def matcher(call: Call, query: str) -> Test:
    """Return the test of a query. Raise 400 for one that Drive does not understand."""
    tokens = _tokens(query)
    if not tokens:
        return lambda file: True
    test = _either(call, tokens)
    if tokens:
        raise _bad()
    return test


def _tokens(query: str) -> list[str]:
    found, at = [], 0
    while query[at:].strip():
        token = _TOKEN.match(query, at)
        if token is None:
            raise _bad()
        found.append(token[0].strip())
        at = token.end()
    return found


def _either(call: Call, tokens: list[str]) -> Test:
    tests = [_both(call, tokens)]
    while tokens[:1] == ["or"]:
        tokens.pop(0)
        tests.append(_both(call, tokens))
    return lambda file: any(test(file) for test in tests)


def _both(call: Call, tokens: list[str]) -> Test:
    tests = [_one(call, tokens)]
    while tokens[:1] == ["and"]:
        tokens.pop(0)
        tests.append(_one(call, tokens))
    return lambda file: all(test(file) for test in tests)


def _one(call: Call, tokens: list[str]) -> Test:
    first = _next(tokens)
    if first == "not":
        negated = _one(call, tokens)
        return lambda file: not negated(file)
    if first == "(":
        inner = _either(call, tokens)
        if _next(tokens) != ")":
            raise _bad()
        return inner
    if first.startswith("'"):
        if _next(tokens) != "in":
            raise _bad()
        return _contains(call, _text(first), _next(tokens))
    if first == "sharedWithMe":
        del tokens[: 2 if tokens[:2] == ["=", "true"] else 0]
        return lambda file: "sharedWithMeTime" in call.view(file)
    return _compared(call, first, _next(tokens), tokens)


def _contains(call: Call, value: str, field: str) -> Test:
    if field == "parents":
        wanted = call.root if value == "root" else value
        return lambda file: wanted in file["parents"]
    least = {"owners": ("owner",), "writers": ("writer", "organizer", "fileOrganizer", "owner")}.get(field)
    if field not in ("owners", "writers", "readers"):
        raise _bad()
    who = call.person.email if value == "me" else value.lower()

    def test(file: Json) -> bool:
        given = [one for one in call.permissions(file) if one.get("emailAddress") == who]
        return any(least is None or one["role"] in least for one in given)

    return test


def _compared(call: Call, field: str, operator: str, tokens: list[str]) -> Test:
    value = _next(tokens)
    if field in ("appProperties", "properties") and operator == "has":
        return _has(field, [value, *(_next(tokens) for _ in range(8))])
    if field in ("trashed", "starred") and operator in ("=", "!=") and value in ("true", "false"):
        wanted = (value == "true") == (operator == "=")
        return lambda file: bool(call.view(file)[field]) == wanted
    if not value.startswith("'"):
        raise _bad()
    text = _text(value)
    if field == "name" and operator == "contains":
        return lambda file: _begins_a_word(file["name"], text)
    if field == "fullText" and operator == "contains":
        return lambda file: _has_words(file, text)
    if field == "mimeType" and operator == "contains":
        return lambda file: file["mimeType"].startswith(text)
    if field in ("name", "mimeType") and operator in ("=", "!="):
        return lambda file: _OPERATORS[operator](file[field], text)
    if field in _TIMES and operator in _OPERATORS:
        moment = _moment(text)
        return lambda file: _OPERATORS[operator](_moment(file[_TIMES[field]]), moment)
    raise _bad()


def _has(field: str, tokens: Sequence[str]) -> Test:
    """Return the test of ``has { key='k' and value='v' }``."""
    if [*tokens[:3], *tokens[4:7], tokens[8]] != ["{", "key", "=", "and", "value", "=", "}"]:
        raise _bad()
    key, value = _text(tokens[3]), _text(tokens[7])
    return lambda file: (file.get(field) or {}).get(key) == value


def _begins_a_word(name: str, text: str) -> bool:
    words = text.lower().split()
    return all(re.search(rf"(?:^|\W|_){re.escape(word)}", name.lower()) for word in words)


def _has_words(file: Json, text: str) -> bool:
    data = content_of(file).decode(errors="replace") if file["mimeType"].startswith("text/") else ""
    rows = " ".join(str(cell) for sheet in file.get("sheets", ()) for row in sheet["rows"] for cell in row)
    whole = " ".join((file["name"], file.get("description") or "", file.get("text") or "", data, rows))
    words = re.findall(r"\w+", f"{whole} {file.get('index', '')}".lower())
    wanted = re.findall(r"\w+", text.lower())
    if text.startswith('"'):
        return bool(wanted) and any(words[n : n + len(wanted)] == wanted for n in range(len(words)))
    return bool(wanted) and {*wanted} <= {*words}


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise _bad() from None
    return found if found.tzinfo else datetime.fromisoformat(f"{text}+00:00")


def _text(token: str) -> str:
    if not token.startswith("'"):
        raise _bad()
    return re.sub(r"\\(.)", r"\1", token[1:-1])


def _next(tokens: list[str]) -> str:
    if not tokens:
        raise _bad()
    return tokens.pop(0)


def _bad() -> Exception:
    return invalid("Invalid Value", "invalid")
