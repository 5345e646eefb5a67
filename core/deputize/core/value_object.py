"""Frozen dataclasses without what `dataclasses` compiles for each of them: what can be shared stands here once.

`dataclasses` compiles each method of each class from text when the class is made, which was a quarter of what importing
the core costs. ``@frozen`` is ``@dataclass(frozen=True, slots=True)`` but for that: a class takes its methods from
`Frozen`, `Printed` (both equal to themselves alone) or `ValueObject`, and has its ``__init__`` compiled when it is
first looked for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from functools import cache
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, dataclass_transform, overload

Kind = TypeVar("Kind", bound="Frozen")


class Frozen:
    """What no one can assign to, and is pickled by its fields alone where it has slots, as `dataclasses` has it: to
    what merely derives from it, only its fields cannot be assigned."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    if not TYPE_CHECKING:  # a type checker would let anything be assigned to what has these

        def __setattr__(self, name: str, value: object) -> None:
            if _is_frozen(self, name):
                raise FrozenInstanceError(f"cannot assign to field {name!r}")
            super().__setattr__(name, value)

        def __delattr__(self, name: str) -> None:
            if _is_frozen(self, name):
                raise FrozenInstanceError(f"cannot delete field {name!r}")
            super().__delattr__(name)

    def __getstate__(self) -> Sequence[object]:
        return [getattr(self, one.name) for one in fields(self)]

    def __setstate__(self, state: Sequence[object] | dict[str, object]) -> None:
        named = state.items() if isinstance(state, dict) else zip((f.name for f in fields(self)), state, strict=True)
        for name, value in named:
            object.__setattr__(self, name, value)


class Printed(Frozen):
    """Printed as `dataclasses` has it, without the fields with ``repr=False``."""

    __slots__ = ()

    @recursive_repr()
    def __repr__(self) -> str:
        kind: Any = type(self)
        shown = (f"{name}={getattr(self, name)!r}" for name in _printed(kind))
        return f"{kind.__qualname__}({', '.join(shown)})"


class ValueObject(Printed):
    """Equal to another of its class with equal fields, as `dataclasses` has it.

    Fields with ``compare=False`` and ``hash=False`` are left out of comparison and hash.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        kind: Any = type(self)
        values = _compared(kind)
        return bool(values(self) == values(other))

    def __hash__(self) -> int:
        kind: Any = type(self)
        return hash(_hashed(kind)(self))


@overload
def frozen(kind: type[Kind]) -> type[Kind]: ...
@overload
def frozen(
    *, kw_only: bool = False, slots: bool = True, weakref_slot: bool = False
) -> Callable[[type[Kind]], type[Kind]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(kind: Any = None, **more: bool) -> Any:
    """A frozen dataclass with slots, of a class that takes its methods from here. What derives from it is made with
    ``@dataclass(frozen=True)``."""
    if kind is None:
        return lambda kind: frozen(kind, **more)
    made: Any = dataclass(kind, **{"slots": True} | more, init=False, eq=False, repr=False)
    made.__dataclass_params__.frozen = True  # for `dataclasses`, which else derives no frozen class from it
    made.__init__ = _Uncompiled(made)
    if not more.get("slots", True):
        made.__getstate__ = object.__getstate__
    return made


class _Uncompiled:
    """Stands for the ``__init__`` of a class until somebody makes one, or asks what it takes (``help``, a framework
    that hands in what a signature names): then it is compiled, and stands in its place."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def __get__(self, one: object, owner: object = None) -> Any:
        self.kind.__init__ = compiled = _compiled_init(self.kind)
        return compiled if one is None else compiled.__get__(one, owner)


class _Made:
    """What stands for a default that is made for each one anew, as `dataclasses` shows it."""

    def __repr__(self) -> str:
        return "<factory>"


_MADE: Final = _Made()


def _compiled_init(kind: Any) -> Any:
    """The ``__init__`` that `dataclasses` compiles for these fields, without the class that it needs for that."""
    known: dict[str, Any] = {"_set": object.__setattr__, "_made": _MADE}
    types, by_place, by_name = dict[str, Any](), list[Any](), dict[str, Any]()
    taken, named, lines = ["self"], list[str](), list[str]()
    for one in fields(kind):
        name, value, default = one.name, one.name, one.default
        if one.default_factory is not MISSING:
            known[make := f"_make_{name}"] = one.default_factory
            value, default = f"{make}() if {name} is _made else {name}" if one.init else f"{make}()", _MADE
        elif not one.init and default is not MISSING:
            known[value := f"_default_{name}"] = default
        if one.init:
            types[name] = one.type
            (named if one.kw_only else taken).append(name)
            if default is not MISSING:
                by_name |= {name: default} if one.kw_only else {}
                by_place += [] if one.kw_only else [default]
            elif by_place and not one.kw_only:
                raise TypeError(f"non-default argument {name!r} follows default argument")
        if one.init or default is not MISSING:
            lines.append(f"  _set(self, {name!r}, {value})")
    if hasattr(kind, "__post_init__"):
        lines.append("  self.__post_init__()")
    arguments = ", ".join([*taken, *(["*", *named] if named else [])])
    head, body = f"def make({', '.join(known)}):\n def __init__({arguments}):\n", "\n".join(lines) or "  pass"
    found: dict[str, Any] = {}
    home = sys.modules.get(kind.__module__)  # None for what was taken out there, and is still used
    exec(f"{head}{body}\n return __init__", vars(home) if home else {}, found)  # noqa: S102 - names of fields
    compiled = found["make"](**known)
    compiled.__defaults__, compiled.__kwdefaults__ = tuple(by_place) or None, by_name or None
    compiled.__qualname__, compiled.__annotations__ = f"{kind.__qualname__}.__init__", types | {"return": None}
    return compiled


def _is_frozen(one: Frozen, name: str) -> bool:
    return name in one.__dataclass_fields__ or "__dataclass_fields__" in vars(type(one))


@cache
def _compared(kind: type[Any]) -> Callable[[object], object]:
    return attrgetter(*(field.name for field in fields(kind) if field.compare))


@cache
def _hashed(kind: type[Any]) -> Callable[[object], object]:
    return attrgetter(*(field.name for field in fields(kind) if (field.compare if field.hash is None else field.hash)))


@cache
def _printed(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.repr)
