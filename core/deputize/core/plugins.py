"""Plugins: toolkits, providers and stores that other packages add through entry points.

An entry point is the object itself, or a module that exports it under the group's constant (``TOOLKIT``, ``PROVIDER``,
``STORE``). The entry point and the object have the same name. Installed plugins are trusted code. A broken plugin does
not affect the others: it is skipped, logged once and listed by ``deputize doctor``. No plugin can replace a built-in
object.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from deputize.core.errors import SettingsError
from deputize.core.value_object import ValueObject, frozen

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

LONGEST_REASON = 200
"""Characters of another package's error that are shown."""
UNKNOWN: Final = "an unknown distribution"

log = logging.getLogger("deputize")


class Named(Protocol):
    """An object that a package can add."""

    @property
    def name(self) -> str:
        """The object's name, equal to the name of its entry point."""
        ...


T = TypeVar("T", bound=Named)


@frozen
class Skipped(ValueObject):
    """An entry point that cannot be used. ``noun``: toolkit, ...; ``distribution``: its package and version."""

    noun: str
    name: str
    distribution: str
    reason: str

    def __str__(self) -> str:
        return f"The {self.noun} {self.name!r} of {self.distribution} is skipped: {self.reason}"


def nothing_to_say(_: object) -> str:
    """Return "": the check for groups without a check of their own."""
    return ""


class Plugins(Generic[T]):
    """The entry points of one group.

    ``group``: the group's name, such as ``deputize.toolkits``. ``kind``: the class of the objects. ``noun``: the word
    for them in messages. ``export``: their constant in a module. ``built_in``: names that are taken. ``check``: returns
    why an object of the right class cannot be used, or "".
    """

    def __init__(
        self,
        group: str,
        kind: type[T],
        *,
        noun: str,
        export: str,
        built_in: Callable[[], Iterable[str]],
        check: Callable[[T], str] = nothing_to_say,
    ) -> None:
        self.group = group
        self.noun = noun
        self._kind = kind
        self._export = export
        self._built_in = built_in
        self._check = check
        self._loaded: dict[EntryPoint, T | str] = {}
        self._warned = set[Skipped]()

    def names(self) -> list[str]:
        """Return the names of all entry points, usable or not. Loads none."""
        return sorted({point.name for point, _ in self._points()})

    def find(self, name: str) -> T | None:
        """Return the object that another package adds under this name, or None. Loads no other entry point.

        Raises `SettingsError` if the entry point is broken.
        """
        bad: Skipped | None = None
        for found in self._examine(one for one in self._points() if one[0].name == name):
            if not isinstance(found, Skipped):
                return found
            bad = bad or found
        if bad is None:
            return None
        raise SettingsError(
            f"The {self.noun} {bad.name!r} cannot be used: {bad.reason}", hint=f"{bad.distribution} provides it."
        )

    def all(self) -> dict[str, T]:
        """Return all usable objects by name. Each broken one is logged once, as a warning."""
        found: dict[str, T] = {}
        for plugin in self._examine(self._points()):
            if isinstance(plugin, Skipped):
                self._warn(plugin)
            else:
                found[plugin.name] = plugin
        return found

    def skipped(self) -> list[Skipped]:
        """Return the entry points that cannot be used, with the reasons."""
        return [plugin for plugin in self._examine(self._points()) if isinstance(plugin, Skipped)]

    def forget(self) -> None:
        """Read every entry point again, for tests that install packages while they run."""
        _installed.cache_clear()
        self._loaded.clear()
        self._warned.clear()

    def _warn(self, skipped: Skipped) -> None:
        if skipped not in self._warned:
            self._warned.add(skipped)
            log.warning("%s", skipped)

    def _points(self) -> list[tuple[EntryPoint, str]]:
        """Return all entry points with their distributions. They are read again if `sys.path` has changed."""
        return [found for found in _installed(tuple(sys.path)) if found[0].group == self.group]

    def _examine(self, points: Iterable[tuple[EntryPoint, str]]) -> Iterator[T | Skipped]:
        """Yield the object of each entry point, or why it is skipped. Of equal names, the first is used."""
        taken: dict[str, str] = {}
        for point, where in points:
            if point.name in taken:
                reason = f"{taken[point.name]} has a {self.noun} of this name already."
                yield Skipped(self.noun, point.name, where, reason)
                continue
            found = self._load_once(point)
            if isinstance(found, str):
                yield Skipped(self.noun, point.name, where, found)
            else:
                taken[point.name] = where
                yield found

    def _load_once(self, point: EntryPoint) -> T | str:
        """Return the object, or the reason why it cannot be loaded. A failed load is not repeated in this process."""
        if point not in self._loaded:
            self._loaded[point] = self._load(point)
        return self._loaded[point]

    def _load(self, point: EntryPoint) -> T | str:
        if point.name in self._built_in():
            return f"a {self.noun} of this name is built in."
        try:
            return self._check_loaded(point, point.load())
        except (Exception, SystemExit) as e:  # anything another package raises when it is imported or inspected
            return f"{type(e).__name__}: {' '.join(str(e).split())[:LONGEST_REASON]}".rstrip(": ") + "."

    def _check_loaded(self, point: EntryPoint, found: object) -> T | str:
        """Return the loaded object if it can be used, or the reason why not."""
        in_module = isinstance(found, ModuleType)
        made = getattr(found, self._export, None) if in_module else found
        if not isinstance(made, self._kind):
            wanted = self._kind.__name__
            what = f"exports no {self._export}" if in_module else f"is a {type(found).__name__}, no {wanted}"
            return f"{point.value} {what}."
        if made.name != point.name:
            return f"its {self.noun} is called {made.name!r}; the entry point must have the same name."
        return self._check(made) or made


@lru_cache(maxsize=1)
def _installed(path: tuple[str, ...]) -> list[tuple[EntryPoint, str]]:
    """Return the entry points of all of deputize's groups, each with the name and version of its distribution. The
    order does not depend on where they are installed. ``path``: `sys.path`.

    Reading costs one file per installed package, so all groups are read together. A deputy reads its providers before
    it serves an event loop. Looking up toolkits in the loop then reads no file.
    """
    from importlib.metadata import entry_points  # costs a third of what importing the core costs

    every = entry_points()
    ours = [one for group in every.groups if group.startswith("deputize.") for one in every.select(group=group)]
    named = [(point, f"{point.dist.name} {point.dist.version}" if point.dist else UNKNOWN) for point in ours]
    return sorted(named, key=lambda found: (found[0].name, found[1]))


def find_function(setting: str, name: str, hint: str) -> Callable[[Any], Any]:
    """Return the function of one argument at ``package.module:function``. Raises `SettingsError` with the hint if it
    cannot be loaded."""
    from pkgutil import resolve_name  # imported late, because few settings need it

    try:
        found: Callable[[Any], Any] = resolve_name(name)
        inspect.signature(found).bind(None)
    except (Exception, SystemExit) as e:  # an import runs arbitrary code
        hint = f"Set {setting} to package.module:function, which {hint}."
        raise SettingsError(f"The {setting} {name!r} cannot be used: {type(e).__name__}.", hint=hint) from e
    return found
