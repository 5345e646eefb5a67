"""Whether the code of a tool can yield a `Show`: its own, or that of a function or class that it names."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from inspect import getattr_static
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from deputize.core.act.show import Show

_CORE: Final = "deputize.core."
_MOST: Final = 2000
"""Functions and classes that are searched, which takes a tenth of a second."""
_WORD: Final = re.compile(r"\w+")


def names_show(steps: Callable[..., Any]) -> bool:
    """True if a `Show` is named in the code of a tool, or in what that code names, the nearest first.

    Code of the core and of Python is not searched. A tool that names a `Show` may still not yield it in each of its
    branches.
    """
    seen = set[int]()
    found: list[Any] = [steps]
    for one in found:  # which grows meanwhile
        if one is Show or isinstance(one, Show):
            return True
        if isinstance(one, FunctionType | type) and _is_skipped(one.__module__ or ""):
            continue
        if id(one) not in seen and len(seen) < _MOST:
            seen.add(id(one))
            found += _named_by(one)
    return False


def _is_skipped(module: str) -> bool:
    return module.startswith(_CORE) or module.partition(".")[0] in sys.stdlib_module_names


def _named_by(one: Any) -> Iterator[Any]:
    """What a function, method or class names; of any other object, what its class does."""
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
            yield from (*(one.__defaults__ or ()), *(one.__kwdefaults__ or {}).values())
            yield from (cell.cell_contents for cell in one.__closure__ or () if cell != CellType())
            names = {name for code in _codes(one.__code__) for name in code.co_names}
            names |= {word for said in one.__annotations__.values() for word in _WORD.findall(str(said))}
            named = [one.__globals__[name] for name in sorted(names) if name in one.__globals__]
            yield from named
            modules = [vars(module) for module in named if isinstance(module, ModuleType)]
            yield from (module[name] for module in modules for name in sorted(names) if name in module)
        case _:
            yield from (type(one), getattr_static(one, "__wrapped__", None))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)
