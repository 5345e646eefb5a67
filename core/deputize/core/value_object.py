"""Frozen dataclasses that share their methods instead of compiling them for each class.

`dataclasses` compiles each method of each class from text when the class is created, which was a quarter of the core's
import time. ``@frozen`` has the effect of ``@dataclass(frozen=True, slots=True)`` without that cost. A class inherits
its methods from `Frozen`, `Printed` (both compare by identity) or `ValueObject`. Its ``__init__`` is compiled on first
use.
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
    """An object whose fields cannot be assigned. With slots, it is pickled by its fields, as in `dataclasses`. In a
    plain subclass, only the inherited fields are frozen."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    if not TYPE_CHECKING:  # a type checker would allow any assignment to a class with these

        def __setattr__(self, name: str, value: object) -> None:
            if _is_frozen(self, name):
                raise FrozenInstanceError(f"cannot assign to field {name!r}")
            super().__setattr__(name, value)

        def __delattr__(self, name: str) -> None:
            if _is_frozen(self, name):
                raise FrozenInstanceError(f"cannot delete field {name!r}")
            super().__delattr__(name)

    def __getstate__(self) -> Sequence[object]:
        return [getattr(self, field.name) for field in fields(self)]

    def __setstate__(self, state: Sequence[object] | dict[str, object]) -> None:
        values = state.items() if isinstance(state, dict) else zip((f.name for f in fields(self)), state, strict=True)
        for name, value in values:
            object.__setattr__(self, name, value)


class Printed(Frozen):
    """A frozen object with the ``repr`` of `dataclasses`, which omits the fields with ``repr=False``."""

    __slots__ = ()

    @recursive_repr()
    def __repr__(self) -> str:
        kind: Any = type(self)
        shown = (f"{name}={getattr(self, name)!r}" for name in _printed_names(kind))
        return f"{kind.__qualname__}({', '.join(shown)})"


class ValueObject(Printed):
    """A frozen object that equals another object of its class with equal fields, as in `dataclasses`.

    Fields with ``compare=False`` and ``hash=False`` are left out of comparison and hash.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        kind: Any = type(self)
        values = _compared_values(kind)
        return bool(values(self) == values(other))

    def __hash__(self) -> int:
        kind: Any = type(self)
        return hash(_hashed_values(kind)(self))


@overload
def frozen(kind: type[Kind]) -> type[Kind]: ...
@overload
def frozen(
    *, kw_only: bool = False, slots: bool = True, weakref_slot: bool = False
) -> Callable[[type[Kind]], type[Kind]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(kind: Any = None, **more: bool) -> Any:
    """Turn a class that inherits from `Frozen` into a frozen dataclass with slots. Its subclasses use
    ``@dataclass(frozen=True)``."""
    if kind is None:
        return lambda kind: frozen(kind, **more)
    made: Any = dataclass(kind, **{"slots": True} | more, init=False, eq=False, repr=False)
    made.__dataclass_params__.frozen = True  # else `dataclasses` derives no frozen class from it
    made.__init__ = _Uncompiled(made)
    if not more.get("slots", True):
        made.__getstate__ = object.__getstate__
    return made


class _Uncompiled:
    """Placeholder for a class's ``__init__``, which compiles and installs the method on the first call or inspection.
    ``help`` inspects it, and frameworks that pass arguments by signature."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def __get__(self, one: object, owner: object = None) -> Any:
        self.kind.__init__ = compiled = _compiled_init(self.kind)
        return compiled if one is None else compiled.__get__(one, owner)


class _Made:
    """Placeholder in signatures for a default made by a factory, displayed as in `dataclasses`."""

    def __repr__(self) -> str:
        return "<factory>"


_MADE: Final = _Made()


def _compiled_init(kind: Any) -> Any:
    """Return the ``__init__`` that `dataclasses` would compile for these fields, without its extra class."""
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
    home = sys.modules.get(kind.__module__)  # None if the module was removed while its classes are still used
    exec(f"{head}{body}\n return __init__", vars(home) if home else {}, found)  # noqa: S102 - names of fields
    compiled = found["make"](**known)
    compiled.__defaults__, compiled.__kwdefaults__ = tuple(by_place) or None, by_name or None
    compiled.__qualname__, compiled.__annotations__ = f"{kind.__qualname__}.__init__", types | {"return": None}
    return compiled


def _is_frozen(one: Frozen, name: str) -> bool:
    return name in one.__dataclass_fields__ or "__dataclass_fields__" in vars(type(one))


@cache
def _compared_values(kind: type[Any]) -> Callable[[object], object]:
    return attrgetter(*(field.name for field in fields(kind) if field.compare))


@cache
def _hashed_values(kind: type[Any]) -> Callable[[object], object]:
    return attrgetter(*(field.name for field in fields(kind) if (field.compare if field.hash is None else field.hash)))


@cache
def _printed_names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.repr)
