"""Toolkits of other packages: entry points of the group ``deputize.toolkits``.

An entry point is a `Toolkit`, or a module that exports one as ``TOOLKIT``; its name is the toolkit's. A plugin is code
that somebody installed and is believed as such, but a broken one must not take the others with it: it is named,
skipped and told of once in the log. None can take the place of what is built in.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from deputize.core.act.toolkit import Toolkit
from deputize.core.errors import SettingsError

GROUP = "deputize.toolkits"
MOST = 200
"""Characters of another package's error that are told."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry point that brings no toolkit. ``distribution``: what is installed, with its version."""

    name: str
    distribution: str
    reason: str

    def __str__(self) -> str:
        return f"The toolkit {self.name!r} of {self.distribution} is skipped: {self.reason}"


def built_in_names() -> list[str]:
    """The toolkits that come with deputize, where that part of it is installed."""
    try:
        home = importlib.import_module("deputize.toolkits")
    except ModuleNotFoundError:
        return []
    return sorted(module.name for module in pkgutil.iter_modules(home.__path__) if not module.name.startswith("_"))


def built_in(name: str) -> Toolkit:
    """The built-in toolkit of this name."""
    found: Toolkit = importlib.import_module(f"deputize.toolkits.{name}").TOOLKIT
    return found


def plugin_names() -> list[str]:
    """The names of all entry points, good and bad."""
    return sorted({point.name for point in _points()})


def plugin(name: str) -> Toolkit | None:
    """The toolkit of another package, or None where none has this name.

    Raises `SettingsError` for a broken one: whoever asks for it by name must know that it is not there.
    """
    bad: Skipped | None = None
    for found in _looked_at(point for point in _points() if point.name == name):
        if isinstance(found, Toolkit):
            return found
        bad = bad or found
    if bad is None:
        return None
    raise SettingsError(
        f"The toolkit {bad.name!r} cannot be used: {bad.reason}", hint=f"{bad.distribution} provides it."
    )


def plugins() -> dict[str, Toolkit]:
    """The toolkits of other packages. Each broken one is told of once, as a warning."""
    found: dict[str, Toolkit] = {}
    for one in _looked_at(_points()):
        if isinstance(one, Toolkit):
            found[one.name] = one
        else:
            _warn(one)
    return found


def skipped() -> list[Skipped]:
    """The entry points that bring no toolkit, and why."""
    return [one for one in _looked_at(_points()) if isinstance(one, Skipped)]


@cache
def _warn(one: Skipped) -> None:
    log.warning("%s", one)


def _points() -> list[EntryPoint]:
    """All entry points, in an order that does not depend on where they are installed."""
    return sorted(entry_points(group=GROUP), key=lambda point: (point.name, _distribution(point)))


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"


def _looked_at(points: Iterable[EntryPoint]) -> Iterator[Toolkit | Skipped]:
    """What each entry point brings; of several of one name the first."""
    taken: dict[str, str] = {}
    for point in points:
        where = _distribution(point)
        if point.name in taken:
            yield Skipped(point.name, where, f"{taken[point.name]} has a toolkit of this name already.")
            continue
        found = _brought(point)
        if isinstance(found, Toolkit):
            taken[point.name] = where
            yield found
        else:
            yield Skipped(point.name, where, found)


@cache
def _brought(point: EntryPoint) -> Toolkit | str:
    """The entry point's toolkit, or why it has none. Code that failed is not run again in this process."""
    if point.name in built_in_names():
        return "a toolkit of this name is built in."
    try:
        found = point.load()
    except (Exception, SystemExit) as e:  # whatever another package does when it is imported
        return f"{type(e).__name__}: {' '.join(str(e).split())[:MOST]}".rstrip(": ") + "."
    made = getattr(found, "TOOLKIT", None) if isinstance(found, ModuleType) else found
    if not isinstance(made, Toolkit):
        what = "exports no TOOLKIT" if isinstance(found, ModuleType) else f"is a {type(found).__name__}, no Toolkit"
        return f"{point.value} {what}."
    if made.name != point.name:
        return f"its toolkit is called {made.name!r}; the entry point must have the same name."
    return _collision(made) or made


def _collision(made: Toolkit) -> str:
    """Which tool of a built-in toolkit this one has as well: ``slack_send`` with ``message``, for example."""
    for name in built_in_names():
        if made.name.startswith(f"{name}_") and (same := made.tools.keys() & built_in(name).tools.keys()):
            return f"{min(same)} is a tool of the built-in {name}."
    return ""
