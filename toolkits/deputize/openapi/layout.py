"""Python as ruff formats it: a call, list or signature on one line where it fits, else one part a line.

All that is not written here is a literal made by `literal`, so that no text of a description is ever code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

WIDTH: Final = 120
_ESCAPES: Final = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_PLAIN: Final = frozenset(map(chr, [*range(0x20, 0x7F), *range(0xC0, 0xD7), *range(0xD8, 0xF7), *range(0xF8, 0x100)]))
"""What stands as it is; the rest is escaped, since letters of other scripts pass for ours, and some are not seen."""


@dataclass(frozen=True, slots=True)
class Group:
    """Parts between brackets. ``open`` and ``close``: what stands before and behind them on the same line."""

    open: str
    parts: Sequence[Part]
    close: str

    def flat(self) -> str:
        """On one line."""
        return f"{self.open}{', '.join(map(flat, self.parts))}{self.close}"


Part = str | Group


def flat(part: Part) -> str:
    """A part on one line."""
    return part if isinstance(part, str) else part.flat()


def laid_out(part: Part, indent: int = 0, room: int = 0) -> str:
    """A part in lines. ``indent``: columns before the first; ``room``: columns that what follows it needs."""
    line = flat(part)
    if isinstance(part, str) or not part.parts or indent + len(line) + room <= WIDTH:
        return " " * indent + line
    inside = [f"{laid_out(one, indent + 4, 1)}," for one in part.parts]
    return "\n".join([" " * indent + part.open, *inside, " " * indent + part.close])


def literal(value: Any) -> str:
    """A text, number, truth value or None as a literal, in double quotes where that needs fewer escapes."""
    if not isinstance(value, str):
        return repr(value)
    quote = "'" if value.count('"') > value.count("'") else '"'
    return quote + "".join(f"\\{one}" if one == quote else escaped(one) for one in value) + quote


def escaped(one: str) -> str:
    """A character inside a literal; quotes are the caller's."""
    if one in _ESCAPES:
        return _ESCAPES[one]
    if one in _PLAIN:
        return one
    code = ord(one)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def literals(values: Sequence[Any]) -> list[str]:
    """Several literals."""
    return [literal(value) for value in values]


def tuple_of(start: str, values: Sequence[Any]) -> Group:
    """A tuple; one of a single value has its comma."""
    return Group(f"{start}(", literals(values), ",)" if len(values) == 1 else ")")
