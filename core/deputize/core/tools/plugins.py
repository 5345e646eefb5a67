"""Toolkits: those that are built in, and those of other packages under ``deputize.toolkits`` (`deputize.core.plugins`).

Another package's toolkit exports ``TOOLKIT``, and has no tool of the same full name as one that is built in.
"""

from __future__ import annotations

import importlib
from typing import Final

from deputize.core.errors import InvalidInput, instead
from deputize.core.plugins import Plugins
from deputize.core.tools.find_people import FIND_PEOPLE
from deputize.core.tools.toolkit import Toolkit


def built_in_names() -> list[str]:
    """The toolkits that come with deputize, where that part of it is installed."""
    import pkgutil  # with all that it imports, only where toolkits are looked for

    try:
        home = importlib.import_module("deputize.toolkits")
    except ModuleNotFoundError:
        return []
    return sorted(module.name for module in pkgutil.iter_modules(home.__path__) if not module.name.startswith("_"))


def built_in(name: str) -> Toolkit:
    """The built-in toolkit of this name."""
    found: Toolkit = importlib.import_module(f"deputize.toolkits.{name}").TOOLKIT
    return found


def _collision(made: Toolkit) -> str:
    """Which tool of a built-in toolkit this one has as well: ``slack_send`` with ``message``, for example; or the one
    that reads a built-in's texts on, whose references it would be given."""
    if FIND_PEOPLE in made.offered:
        return f"{FIND_PEOPLE} is a tool of the core."
    for name in built_in_names():
        if made.name.startswith(f"{name}_") and (same := made.offered.keys() & built_in(name).offered.keys()):
            return f"{min(same)} is a tool of the built-in {name}."
    return ""


PLUGINS: Final = Plugins(
    "deputize.toolkits", Toolkit, noun="toolkit", export="TOOLKIT", built_in=built_in_names, check=_collision
)
"""The toolkits of other packages."""


def find_toolkits(*names: str) -> dict[str, Toolkit]:
    """The toolkits of these names, or all there are: built in, then of other packages.

    Raises `InvalidInput` for a name nobody provides, `SettingsError` for one whose package is broken.
    """
    ours = built_in_names()
    if not names:
        return {name: built_in(name) for name in ours} | PLUGINS.all()
    found: dict[str, Toolkit] = {}
    for name in names:
        kit = built_in(name) if name in ours else PLUGINS.find(name)
        if kit is None:
            hint = instead(name, toolkit_names())
            raise InvalidInput(f"No toolkit is called {name!r}.", hint=hint, fix_by="operator")
        found[name] = kit
    return found


def toolkit_names() -> list[str]:
    """The names of all toolkits that are installed, good and bad. None is loaded."""
    return sorted({*built_in_names(), *PLUGINS.names()})
