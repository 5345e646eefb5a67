"""How frozen dataclasses compare, hash and print, written once.

`dataclasses` compiles each method of each class from text when the class is made, which was an eighth of what importing
the core costs. A class that takes these says so: ``@dataclass(frozen=True, slots=True, eq=False, repr=False)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, fields
from functools import cache
from operator import attrgetter
from reprlib import recursive_repr
from typing import Any, ClassVar


class ValueObject:
    """A frozen dataclass that is equal to another of its class with equal fields, as `dataclasses` has it.

    Fields with ``compare=False``, ``hash=False`` and ``repr=False`` are left out of comparison, hash and repr.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        kind: Any = type(self)
        values = _compared(kind)
        return bool(values(self) == values(other))

    def __hash__(self) -> int:
        kind: Any = type(self)
        return hash(_hashed(kind)(self))

    @recursive_repr()
    def __repr__(self) -> str:
        kind: Any = type(self)
        shown = (f"{name}={getattr(self, name)!r}" for name in _printed(kind))
        return f"{kind.__qualname__}({', '.join(shown)})"


@cache
def _compared(kind: type[Any]) -> Callable[[object], object]:
    return attrgetter(*(field.name for field in fields(kind) if field.compare))


@cache
def _hashed(kind: type[Any]) -> Callable[[object], object]:
    return attrgetter(*(field.name for field in fields(kind) if (field.compare if field.hash is None else field.hash)))


@cache
def _printed(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.repr)
