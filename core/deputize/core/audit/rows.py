"""Rows: conversion of facts to one line of ASCII, its chaining to the row before, and parsing."""

from __future__ import annotations

import hmac
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from hashlib import blake2b
from json.encoder import encode_basestring_ascii as _quote
from typing import Any, Final, NamedTuple, TypeAlias

from deputize.core.errors import InvalidInput, SettingsError

Fact: TypeAlias = str | int | float | bool | Sequence[str] | None
Row: TypeAlias = dict[str, Any]

MAX_STRING_CHARACTERS = 4096  # characters of one string
ITEMS, ITEM = 100, 256  # strings of one list, and characters of each

MAX_INTEGER = 2**63  # limit of a row's number and time: of a table's column, and of calendars

MAC_SIZE = 16
_TAIL = len(',"mac":""}\n') + 2 * MAC_SIZE
_RESERVED = frozenset({"ts", "writer", "seq", "event", "prev", "mac"})


class Head(NamedTuple):
    """A row of a chain that was stored elsewhere, and its time (UTC ns). ``ended``: True if it is the last row."""

    writer: str
    seq: int
    mac: str
    ts: int
    ended: bool


class Key:
    """The uses of one audit key, separated from each other (hashlib: BLAKE2 personalization)."""

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, bytes) or not 32 <= len(key) <= blake2b.MAX_KEY_SIZE:
            raise SettingsError("An audit key must be 32 to 64 bytes.", hint="Make one with secrets.token_bytes(32).")
        self._row = blake2b(key=key, digest_size=16, person=b"deputize.row")
        self._value = blake2b(key=key, digest_size=16, person=b"deputize.value")
        self._first = blake2b(key=key, digest_size=16, person=b"deputize.first")
        self._checkpoint = blake2b(key=key, digest_size=MAC_SIZE, person=b"deputize.point")
        self.id = blake2b(key=key, digest_size=4, person=b"deputize.id").hexdigest()

    def row(self, prev: str, body: str) -> str:
        """Return the mac of a row."""
        mac = self._row.copy()
        mac.update((prev + body).encode("ascii"))
        return mac.hexdigest()

    def chain(self, writer: str, rows: Iterable[tuple[float, str]], seq: int, prev: str) -> tuple[list[str], int, str]:
        """Return lines for ``rows``, pairs of UTC seconds and a row's own part; and the next number and ``prev``."""
        lines = []
        for ts, text in rows:
            body = f'{{"ts":{int(ts * 1e6)}000,"writer":"{writer}","seq":{seq},{text},"prev":"{prev}"'
            prev = self.row(prev, body)
            lines.append(f'{body},"mac":"{prev}"}}\n')
            seq += 1
        return lines, seq, prev

    def first(self, writer: str) -> str:
        """Return the ``prev`` of a chain's first row."""
        mac = self._first.copy()
        mac.update(os.fsencode(writer))
        return mac.hexdigest()

    def checkpoint(self, content: bytes) -> bytes:
        """Return the mac of a checkpoint."""
        mac = self._checkpoint.copy()
        mac.update(content)
        return mac.digest()

    def value(self, parts: Sequence[str | bytes]) -> str:
        """Return the mac of some values, each after its length."""
        mac = self._value.copy()
        for part in parts:
            data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            mac.update(len(data).to_bytes(8, "big") + data)
        return mac.hexdigest()

    def has_made(self, row: Row, line: bytes) -> bool:
        """Return whether the row on this line was made with this key."""
        body, tail = line[:-_TAIL].decode("ascii"), line[-_TAIL:].decode("ascii")
        return tail == f',"mac":"{row["mac"]}"}}\n' and hmac.compare_digest(self.row(row["prev"], body), row["mac"])


EARLIER_EVENTS: Final[Mapping[str, str]] = {
    "approval.asked": "approval.requested",
    "consent.asked": "consent.requested",
    "connect.used": "connect.link_ended",
    "connect.other_app": "connect.app_mismatch",
    "connect.other_issuer": "connect.issuer_mismatch",
    "connect.late_code": "connect.device_code_late",
    "grant.carried": "grant.snapshot",
    "vault.begun_anew": "vault.recreated",
    "database.taken_over": "database.failed_over",
    "account.set_aside": "account.deselected",
    "revoke.gave_up": "revoke.abandoned",
}
"""Today's event names by those of earlier versions."""
EARLIER_DECISIONS: Final[Mapping[str, str]] = {"cut_off": "interrupted"}
"""The same for the outcome of a call."""


def age_of(row: Row, line: bytes, ring: Sequence[Key]) -> int | None:
    """Return the ring position of the key with which the row was made, or None."""
    return next((age for age, key in enumerate(ring) if key.has_made(row, line)), None)


def parse_row(line: bytes) -> Row | None:
    """Return the row of a line, with today's names of events and decisions, or None if it is not an audit row."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    texts, numbers = ("writer", "event", "prev", "mac"), ("ts", "seq")
    if not line.isascii() or not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in texts):
        return None
    if not all(type(row.get(name)) is int and 0 <= row[name] < MAX_INTEGER for name in numbers):
        return None
    if not (row["prev"].isascii() and row["mac"].isascii()):
        return None
    row["event"] = EARLIER_EVENTS.get(row["event"], row["event"])
    if "decision" in row and isinstance(row["decision"], str):
        row["decision"] = EARLIER_DECISIONS.get(row["decision"], row["decision"])
    return row


# the rest of the module runs in every act, so it is written for speed


def _real(value: float) -> str:
    return repr(value) if math.isfinite(value) else f'"{value}"'


def _list(values: Iterable[str]) -> str:
    return f"[{','.join(map(_quote, values))}]"


_FORMS: dict[type, Callable[[Any], str]] = {
    str: _quote,
    int: int.__repr__,
    float: _real,
    bool: {True: "true", False: "false"}.__getitem__,
    list: _list,
    tuple: _list,
}
_names: dict[str, str] = {}


def render(event: str, facts: Mapping[str, Fact], most: float = MAX_STRING_CHARACTERS) -> str:
    """Return the part of a row that the event determines, ``"event":...,facts``, without empty facts."""
    parts = ['"event":', _quote(event)]
    try:
        for name, value in facts.items():
            if isinstance(value, str):
                if value:
                    parts.append(_names[name])
                    parts.append(_quote(value))
            elif value or value == 0:
                parts.append(_names[name])
                parts.append(_FORMS[type(value)](value))
    except (KeyError, TypeError, ValueError):  # a new name, or a rarer type
        return _render_any(event, facts)
    text = "".join(parts)
    return text if len(text) <= most else _render_any(event, facts)


def _render_any(event: str, facts: Mapping[str, Fact]) -> str:
    """Render new names and values of any type and length. Raises InvalidInput for a reserved name."""
    if taken := _RESERVED.intersection(facts):
        raise InvalidInput(f"An audit fact cannot be called {min(taken)!r}.", fix_by="operator")
    if len(_names) > 1000:
        _names.clear()
    _names.update({name: f",{_quote(name)}:" for name in facts})
    return render(_cut(event), {name: _plain(value) for name, value in facts.items()}, math.inf)


def _plain(value: object) -> Fact:
    """Return the value, cut if it is long. An unknown object becomes its type, because its text may be secret."""
    match value:
        case None | bool():
            return value
        case str():
            return _cut(value)
        case int():
            return int.__int__(value) if value.bit_length() <= 64 else _cut(hex(value))
        case float():
            return float.__float__(value)
        case bytes() | bytearray() | memoryview():
            return f"<{type(value).__name__}>"
        case AbstractSet() | Sequence():
            items = [_cut(item, ITEM) if isinstance(item, str) else f"<{type(item).__name__}>" for item in value]
            items = sorted(items) if isinstance(value, AbstractSet) else items
            return items if len(items) <= ITEMS else [*items[:ITEMS], f"... {len(items) - ITEMS} more"]
    return f"<{type(value).__name__}>"


def _cut(text: str, most: int = MAX_STRING_CHARACTERS) -> str:
    text = str.__str__(text)
    mark = f"... {len(text)} characters"
    return text if len(text) <= most else text[: most - len(mark)] + mark
