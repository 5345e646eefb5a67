"""Discovery of toolkits: built-in ones, and those of other packages under ``deputize.toolkits``.

A package exports its toolkit as ``TOOLKIT`` (`deputize.core.plugins`). No tool may have a built-in tool's full name.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Final

from deputize.core.errors import InvalidInput, instead
from deputize.core.plugins import Plugins
from deputize.core.tools.find_people import FIND_PEOPLE
from deputize.core.tools.toolkit import Toolkit


@cache
def built_in_names() -> list[str]:
    """Return the names of the built-in toolkits, or nothing if that part of deputize is not installed. Reads files once
    only: a `Catalog` reads them when it is created, because tools may be looked up in an event loop."""
    try:
        home = importlib.import_module("deputize.toolkits")
    except ModuleNotFoundError:
        return []
    return sorted(module.name for module in pkgutil.iter_modules(home.__path__) if not module.name.startswith("_"))


def load_built_in(name: str) -> Toolkit:
    """Return the built-in toolkit of this name."""
    found: Toolkit = importlib.import_module(f"deputize.toolkits.{name}").TOOLKIT
    return found


def _collision(made: Toolkit) -> str:
    """Return an error message if a tool of this toolkit has the name of a built-in tool, else "". Examples:
    ``slack_send`` with ``message``, or a ``read_more``, which would receive the built-in toolkit's references."""
    if FIND_PEOPLE in made.offered:
        return f"{FIND_PEOPLE} is a tool of the core."
    for name in built_in_names():
        if made.name.startswith(f"{name}_") and (same := made.offered.keys() & load_built_in(name).offered.keys()):
            return f"{min(same)} is a tool of the built-in {name}."
    return ""


PLUGINS: Final = Plugins(
    "deputize.toolkits", Toolkit, noun="toolkit", export="TOOLKIT", built_in=built_in_names, check=_collision
)
"""The toolkits of other packages."""


def find_toolkits(*names: str) -> dict[str, Toolkit]:
    """Return the toolkits of these names, or all toolkits: built-in ones, then those of other packages.

    Raises `InvalidInput` for an unknown name, and `SettingsError` for a toolkit whose package is broken.
    """
    if not names:
        return {name: load_built_in(name) for name in built_in_names()} | PLUGINS.all()
    found: dict[str, Toolkit] = {}
    for name in names:
        kit = load_built_in(name) if name in built_in_names() else PLUGINS.find(name)
        if kit is None:
            hint = instead(name, toolkit_names())
            raise InvalidInput(f"No toolkit is called {name!r}.", hint=hint, fix_by="operator")
        found[name] = kit
    return found


def toolkit_names() -> list[str]:
    """Return the names of all installed toolkits, including broken ones, without loading any."""
    return sorted({*built_in_names(), *PLUGINS.names()})
