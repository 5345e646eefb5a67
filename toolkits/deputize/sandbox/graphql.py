"""Parser of a GraphQL document: one operation, fields with aliases, arguments, variables, inline and named fragments.

GraphQL specification, section 2; of directives ``@include`` and ``@skip`` (3.13). Block strings are not supported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(r'\s*(?:,|#[^\n]*)*\s*(\.\.\.|"(?:\\.|[^"\\\n])*"|-?\d+(?:\.\d+)?|[_A-Za-z]\w*|[{}()\[\]:!$=@])')
_REST = re.compile(r"(?:[\s,]|#[^\n]*)*")
_WORDS = {"true": True, "false": False, "null": None}


class InvalidDocument(Exception):
    """The error of an invalid document; the message says why."""


@dataclass
class Field:
    """One selected field, under its name in the reply."""

    name: str
    alias: str
    arguments: dict[str, Any]
    fields: list[Field] = field(default_factory=list)


def read_document(document: str, variables: Mapping[str, Any]) -> tuple[str, list[Field]]:
    """Return ``query`` or ``mutation``, and its fields. Raises `InvalidDocument`."""
    return _Reader(_tokens(document), variables).document()


def _tokens(document: str) -> list[str]:
    found, at = [], 0
    while at < len(document):
        match = _TOKEN.match(document, at)
        if match is None:
            if _REST.fullmatch(document, at):
                break
            raise InvalidDocument("Syntax Error: Unexpected character.")
        found.append(match[1])
        at = match.end()
    return found


class _Reader:
    def __init__(self, tokens: list[str], variables: Mapping[str, Any]) -> None:
        self._tokens, self._at, self._variables = tokens, 0, variables
        self._fragments: dict[str, int] = {}

    def document(self) -> tuple[str, list[Field]]:
        starts: list[tuple[str, int]] = []
        while self._at < len(self._tokens):
            kind = self._take() if self._peek() != "{" else "query"
            if kind == "fragment":
                name = self._take()
                self._fragments[name] = self._skip_to_selection()
            elif kind in ("query", "mutation"):
                starts.append((kind, self._skip_to_selection()))
            else:
                raise InvalidDocument(f"Syntax Error: Unexpected Name {kind!r}.")
        if len(starts) != 1:
            raise InvalidDocument("Must provide one operation.")
        kind, self._at = starts[0]
        return kind, self._selection(())

    def _skip_to_selection(self) -> int:
        """Return the start of the next selection, and move behind the selection."""
        depth = 0
        while self._peek() != "{" or depth:
            depth += {"(": 1, ")": -1}.get(self._take(), 0)
        start = self._at
        braces = 0
        while True:
            braces += {"{": 1, "}": -1}.get(self._take(), 0)
            if not braces:
                return start

    def _selection(self, inside: tuple[str, ...]) -> list[Field]:
        self._expect("{")
        fields: list[Field] = []
        while self._peek() != "}":
            fields += self._spread(inside) if self._peek() == "..." else self._field(inside)
        self._expect("}")
        return fields

    def _spread(self, inside: tuple[str, ...]) -> list[Field]:
        self._expect("...")
        if self._peek() in ("on", "{"):
            if self._peek() == "on":
                self._at += 2
            return self._selection(inside)
        name = self._take()
        if name not in self._fragments or name in inside:
            raise InvalidDocument(f'Unknown fragment "{name}".')
        back, self._at = self._at, self._fragments[name]
        fields = self._selection((*inside, name))
        self._at = back
        return fields

    def _field(self, inside: tuple[str, ...]) -> list[Field]:
        name = alias = self._take()
        if self._peek() == ":":
            self._at += 1
            name = self._take()
        arguments = self._pairs("(", ")") if self._peek() == "(" else {}
        wanted = self._is_included()
        fields = self._selection(inside) if self._peek() == "{" else []
        return [Field(name, alias, arguments, fields)] if wanted else []

    def _is_included(self) -> bool:
        """Return True if the directives here include the field."""
        wanted = True
        while self._peek() == "@":
            self._at += 1
            name, said = self._take(), self._pairs("(", ")")
            if name not in ("include", "skip"):
                raise InvalidDocument(f'Unknown directive "@{name}".')
            wanted = wanted and bool(said.get("if")) == (name == "include")
        return wanted

    def _pairs(self, opens: str, closes: str) -> dict[str, Any]:
        self._expect(opens)
        pairs: dict[str, Any] = {}
        while self._peek() != closes:
            name = self._take()
            self._expect(":")
            known, value = self._value()
            if known:
                pairs[name] = value
        self._expect(closes)
        return pairs

    def _value(self) -> tuple[bool, Any]:
        """Return whether there is a value, and the value. A missing variable counts as no value."""
        if self._peek() == "$":
            self._at += 1
            name = self._take()
            return name in self._variables, self._variables.get(name)
        if self._peek() == "{":
            return True, self._pairs("{", "}")
        if self._peek() == "[":
            return True, self._list()
        token = self._take()
        if token[0] in '"-0123456789':
            return True, json.loads(token)
        return True, _WORDS.get(token, token)

    def _list(self) -> list[Any]:
        self._expect("[")
        values = []
        while self._peek() != "]":
            values.append(self._value()[1])
        self._expect("]")
        return values

    def _peek(self) -> str:
        if self._at >= len(self._tokens):
            raise InvalidDocument("Syntax Error: Unexpected <EOF>.")
        return self._tokens[self._at]

    def _take(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _expect(self, token: str) -> None:
        if (found := self._take()) != token:
            raise InvalidDocument(f"Syntax Error: Expected {token!r}, found {found!r}.")
