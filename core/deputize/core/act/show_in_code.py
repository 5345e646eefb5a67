"""Whether the code of a tool can yield a `Show`: its own, or that of a function or class that it names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any, Final

from deputize.core.act.show import Show

_CORE: Final = "deputize.core."
_WORD: Final = re.compile(r"\w+")


def names_show(steps: Callable[..., Any]) -> bool:
    """True if a `Show` is named in the code of a tool, or in what that code names, however far away.

    Code of the core is not searched, since each tool uses it. A `Show` that is found may still not be yielded in each
    course of the tool.
    """
    seen = set[int]()
    left: list[Any] = [steps]
    while left:
        one = left.pop()
        if one is Show or isinstance(one, Show):
            return True
        module = one.__module__ if isinstance(one, FunctionType | type) else ""
        if id(one) not in seen and not str(module).startswith(_CORE):
            seen.add(id(one))
            left += _named_by(one)
    return False


def _named_by(one: Any) -> Iterator[Any]:
    """What a function, method or class names. Anything else names nothing."""
    match one:
        case partial():
            yield one.func
        case MethodType() | classmethod() | staticmethod():
            yield one.__func__
        case property():
            yield one.fget
        case type():
            yield from (*one.__bases__, *vars(one).values())
        case FunctionType():
            yield getattr(one, "__wrapped__", None)
            yield from (cell.cell_contents for cell in one.__closure__ or () if cell != CellType())
            names = {name for code in _codes(one.__code__) for name in code.co_names}
            names |= {word for said in one.__annotations__.values() for word in _WORD.findall(str(said))}
            yield from (one.__globals__[name] for name in names if name in one.__globals__)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)
