"""Postprocessing of a tool's result: times in the user's zone, signed references.

The result is copied, not changed in place, because a tool may return an object that it shares between users.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from typing import Any, Final

from deputize.core.time_zones import zone_name
from deputize.core.tools.continuation import Continuation
from deputize.core.tools.user_time import UTC_NAME, UserTime, ZoneName

MAX_RESULT_DEPTH: Final = 60
"""Maximum nesting of a result. Deeper data is of no use to a model and would overflow the stack."""
PLAIN: Final = frozenset((str, int, float, bool, type(None)))
"""Types that are copied as they are: nearly all of a result."""
_HOLDS: Final = (dict, list, tuple)
TOO_DEEP: Final = "[left out: nested too deeply]"


def postprocess(
    result: Any, zone: tzinfo | None, now: float, sealed: Callable[[Continuation], str], *, named: bool = False
) -> Any:
    """Return the result with each `UserTime` in the user's zone and each `Continuation` replaced by ``sealed``.

    ``zone``: the user's, None for the machine's. ``now``: Unix seconds, to name a zone that has no name. An object with
    times gets the zone's name, unless the zone is UTC or the object names it already; with ``named``, always. Tuples
    become lists.
    """
    handing = _Postprocessing(zone, zone_name(zone, now), sealed)
    written = handing.value(result)
    if isinstance(written, dict) and (named or (handing.told and handing.name != UTC_NAME)):
        written.setdefault("time_zone", handing.name)
    return written


class _Postprocessing:
    """Postprocessing of one result. ``told``: True if the result contains a time."""

    def __init__(self, zone: tzinfo | None, name: str, sealed: Callable[[Continuation], str]) -> None:
        self.zone, self.name, self.sealed = zone, name, sealed
        self.told = False

    def value(self, value: Any, depth: int = 0) -> Any:
        if not isinstance(value, _HOLDS):
            return self._text(value)
        if depth >= MAX_RESULT_DEPTH:
            return TOO_DEEP
        depth += 1
        if not isinstance(value, dict):
            return [one if type(one) in PLAIN else self.value(one, depth) for one in value]
        written = {}
        for name, one in value.items():  # a plain loop for speed
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
