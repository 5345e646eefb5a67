"""Python code in ruff's format: a call, list or signature on one line if it fits, else one part per line.

All text of a description becomes a literal made by `literal`, so it is never code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

WIDTH: Final = 120
_ESCAPES: Final = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_PLAIN: Final = frozenset(map(chr, [*range(0x20, 0x7F), *range(0xC0, 0xD7), *range(0xD8, 0xF7), *range(0xF8, 0x100)]))
"""Letters that stay; others are escaped, because some look like Latin ones, and some are invisible."""


@dataclass(frozen=True, slots=True)
class Group:
    """Parts between brackets. ``open`` and ``close``: the text before and after the parts."""

    open: str
    parts: Sequence[Part]
    close: str

    def flat(self) -> str:
        return f"{self.open}{', '.join(map(flat, self.parts))}{self.close}"


Part = str | Group


def flat(part: Part) -> str:
    return part if isinstance(part, str) else part.flat()


def lay_out(part: Part, indent: int = 0, room: int = 0) -> str:
    """Return a part in lines. ``indent``: columns before the first line. ``room``: columns needed after the part."""
    line = flat(part)
    if isinstance(part, str) or not part.parts or indent + len(line) + room <= WIDTH:
        return " " * indent + line
    inside = [f"{lay_out(one, indent + 4, 1)}," for one in part.parts]
    return "\n".join([" " * indent + part.open, *inside, " " * indent + part.close])


def literal(value: Any) -> str:
    """Return a string, number, boolean or None as a literal, with the quotes that need fewer escapes."""
    if not isinstance(value, str):
        return repr(value)
    quote = "'" if value.count('"') > value.count("'") else '"'
    return quote + "".join(f"\\{one}" if one == quote else escape(one) for one in value) + quote


def escape(one: str) -> str:
    """Escape a character inside a literal, except quotes."""
    if one in _ESCAPES:
        return _ESCAPES[one]
    if one in _PLAIN:
        return one
    code = ord(one)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def literals(values: Sequence[Any]) -> list[str]:
    return [literal(value) for value in values]


def tuple_of(start: str, values: Sequence[Any]) -> Group:
    """Return a tuple; one of a single value has its comma."""
    return Group(f"{start}(", literals(values), ",)" if len(values) == 1 else ")")
