"""What becomes of a tool's result before anybody reads it: times in the user's zone, references sealed.

It is written anew and not changed in place: a tool may return an object that it keeps for all of its users.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from typing import Any, Final

from deputize.core.tools.continuation import Continuation
from deputize.core.tools.user_time import UTC_NAME, UserTime, ZoneName
from deputize.core.zones import zone_name

DEEPEST: Final = 60
"""Levels of a result. What a provider nests deeper is nothing that a model reads, and would end the process's stack."""
PLAIN: Final = frozenset((str, int, float, bool, type(None)))
"""What is handed on as it is: nearly all of a result."""
_HOLDS: Final = (dict, list, tuple)
TOO_DEEP: Final = "[left out: nested too deeply]"


def handed_on(
    result: Any, zone: tzinfo | None, now: float, sealed: Callable[[Continuation], str], *, named: bool = False
) -> Any:
    """The result with each `UserTime` on the user's clock and each `Continuation` as ``sealed`` has it.

    ``zone``: the user's, None for the machine's own. ``now``: Unix seconds, for the name of a zone that has none. An
    object with times says in which zone they are, if that is not UTC and it does not say so itself. ``named``: it
    says so in any case. Tuples become lists.
    """
    handing = _HandingOn(zone, zone_name(zone, now), sealed)
    written = handing.value(result)
    if isinstance(written, dict) and (named or (handing.told and handing.name != UTC_NAME)):
        written.setdefault("time_zone", handing.name)
    return written


class _HandingOn:
    """Writes one result. ``told``: there was a time in it."""

    def __init__(self, zone: tzinfo | None, name: str, sealed: Callable[[Continuation], str]) -> None:
        self.zone, self.name, self.sealed = zone, name, sealed
        self.told = False

    def value(self, value: Any, depth: int = 0) -> Any:
        if not isinstance(value, _HOLDS):
            return self._text(value)
        if depth >= DEEPEST:
            return TOO_DEEP
        depth += 1
        if not isinstance(value, dict):
            return [one if type(one) in PLAIN else self.value(one, depth) for one in value]
        written = {}
        for name, one in value.items():  # no comprehension: a call less for each row of a result
            key = name if type(name) is str else self._text(name)
            written[key] = one if type(one) in PLAIN else self.value(one, depth)
        return written

    def _text(self, value: Any) -> Any:
        kind = type(value)
        if kind is UserTime:
            self.told = True
            return value.there(self.zone)
        if kind is Continuation:
            return self.sealed(value)
        return self.name if kind is ZoneName else value
