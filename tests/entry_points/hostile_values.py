"""Values that nobody expects, and the rule for what may come of them."""

from __future__ import annotations

import math
import traceback
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from random import Random
from types import UnionType
from typing import Any, Final, TypeVar

from deputize.core import Account, Approval, Call, Consent, DeputizeError, MandateOffer, Secret, User, errors

T = TypeVar("T")

CODES: Final = {one.code for one in vars(errors).values() if isinstance(one, type) and issubclass(one, DeputizeError)}

CANARY: Final = "canary-client-secret-4711"
LONE: Final = "a\ud800b"
"""Half of a surrogate pair: a Python string that is no Unicode text, and JSON can bring it."""
DIGITS: Final = "9" * 5000
"""More digits than Python turns into a number or back."""

TEXTS: Final = (
    *(LONE, "a\0b", "x" * 100_000, "~nobody0/x"),
    *("", " ", "\0", "\ud800", "\x1f", "\n", "a\r\nSet-Cookie: b", "\u202egpj.exe", "\u200b", "\U0010ffff"),
    *("é" * 3000, DIGITS, "-1", "1e400", "nan", "true", "[]", "{", "{}", "{0.__class__}", "%s%n", "%00", "*"),
    *("../../etc/passwd", "/", "/dev/null/x", "https://[", "http://user:pw@host:99999/", "javascript:alert(1)"),
    *("bob", "bob@example.test", "' OR 1=1 --", "<script>", "=cmd|' /C calc'!A0", "__class__"),
)
"""The first four have found the most."""
NUMBERS: Final = (True, 0, -1, 2**63, 10**400, 1.5, -0.0, math.nan, math.inf, -math.inf)


def nested(depth: int) -> Any:
    """A list in a list, and so on."""
    made: Any = []
    for _ in range(depth):
        made = [made]
    return made


def _objects() -> tuple[Any, ...]:
    """The classes of our own that a parameter may expect, with hostile fields."""
    consent = {
        "provider": LONE,
        "app": LONE,
        "scopes": (),
        "scope_descriptions": (),
        "link": "",
        "expires_at": math.nan,
    }
    return (
        *(User(text) for text in ("", "\0", LONE, "bob")),
        *(User("alice", tenant) for tenant in ("\0", LONE, "other")),
        *(User(odd) for odd in (None, -7, b"alice", ["alice"])),  # type: ignore[arg-type]
        *(Call(text, text, text, text) for text in TEXTS),
        *(Call(odd, odd, odd, odd) for odd in (None, 5, b"a", ["a"], {"a": 1})),  # type: ignore[arg-type]
        *(Consent(id=text, **consent) for text in ("", LONE, "x" * 100_000)),  # type: ignore[arg-type]
        *(Approval(id=text, tool=LONE, effect="") for text in ("", LONE, "x" * 100_000)),
        *(MandateOffer(most, until) for most in (0, -1, 10**400, 1) for until in (math.nan, math.inf, 10.0**30, -1.0)),
        Account(LONE, LONE),
        Secret(CANARY),
    )


@cache
def pool() -> tuple[Any, ...]:
    """Every hostile value: texts, numbers, values of other types, and each text in a list, a mapping and a pair. Those
    that have found the most come first."""
    return (
        *(*TEXTS[:4], math.nan, 10**400, None, 5, b"alice", ["a"], {"a": 1}, [LONE]),
        *TEXTS[4:],
        *NUMBERS,
        *(..., b"\xff", [], (), {}, set(), object(), Exception, print, nested(500)),
        *({1: 2}, {None: None}, {"a": object()}, {"a": nested(500)}, {"a": math.nan}, {"a": 10**400}, {"a": b"\xff"}),
        *([None], [5], [["a"]], [b"a"], [object()], [{}], ["a"] * 2000, {LONE}, (LONE, {}), (LONE, {}, None)),
        *([text] for text in TEXTS),
        *({text: text} for text in TEXTS),
        *([(text, {text: text}, Call(text, text, text))] for text in TEXTS),
        *_objects(),
    )


def fits(value: Any, annotation: Any) -> bool:
    """Return True if a type checker would accept the value for a parameter with this annotation."""
    origin, of = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any or isinstance(annotation, TypeVar):
        return True
    if annotation is None or annotation is type(None):
        return value is None
    if origin is typing.Literal:
        return any(type(value) is type(one) and value == one for one in of)
    if origin in (typing.Union, UnionType):
        return any(fits(value, one) for one in of)
    if origin is tuple and ... not in of:
        return isinstance(value, tuple) and len(value) == len(of) and all(map(fits, value, of))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, origin) and all(fits(k, of[0]) and fits(v, of[1]) for k, v in value.items())
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return isinstance(value, origin) and all(fits(one, of[0]) for one in value)
    if origin is not None:  # a Callable, a Coroutine
        return isinstance(value, origin)
    if annotation is float:
        return type(value) in (int, float)
    if annotation is int:
        return type(value) is int
    if isinstance(annotation, type) and is_dataclass(annotation) and isinstance(value, annotation):
        hints = typing.get_type_hints(type(value))
        return all(fits(getattr(value, one.name), hints[one.name]) for one in fields(value))
    return isinstance(value, annotation)


def is_documented(error: BaseException) -> bool:
    """Return True for an error of `docs/errors.md`, with a text that any terminal can print."""
    if not isinstance(error, DeputizeError) or error.code not in CODES:
        return False
    try:
        return bool(f"{error}{error.hint}".encode())
    except UnicodeEncodeError:
        return False


def place_of(error: BaseException) -> str:
    """Return the type of an error and the last line of deputize that it passed."""
    lines = [line for line in traceback.extract_tb(error.__traceback__) if "/deputize/" in line.filename]
    where = f" at {lines[-1].filename.rpartition('/deputize/')[2]}:{lines[-1].lineno}" if lines else ""
    return f"{type(error).__name__}{where}"


def shortly(value: Any) -> str:
    """Return a value as a line of a report."""
    try:
        text = repr(value)
    except ValueError:  # more digits than Python prints
        text = f"10**{int(math.log10(abs(value)))}"
    return text if len(text) < 60 else f"{text[:40]}... ({len(text)} characters)"


@dataclass
class Report:
    """What came of all cases: how many there were, and each fault with the first value that shows it."""

    calls: int = 0
    faults: dict[str, str] = field(default_factory=dict)

    def fault(self, where: str, what: str, value: Any) -> None:
        """Note a fault once for each place."""
        self.faults.setdefault(f"{where}: {what}", shortly(value))

    def __str__(self) -> str:
        return "\n".join(f"{fault}    for {value}" for fault, value in sorted(self.faults.items()))


def some(random: Random, cases: Iterable[T], share: float, *, always: int = 0) -> list[T]:
    """Return a share of the cases in random order, after the first ``always`` of them."""
    found = list(cases)
    left = found[always:]
    return found[:always] + random.sample(left, round(len(left) * share))
