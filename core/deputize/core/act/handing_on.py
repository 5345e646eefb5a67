"""What becomes of a tool's result before anybody reads it: times in the user's zone, references sealed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import tzinfo
from typing import Any

from deputize.core.act.more import More
from deputize.core.act.user_time import UTC_NAME, UserTime, ZoneName
from deputize.core.zones import zone_name


def handed_on(result: Any, zone: tzinfo | None, now: float, sealed: Callable[[More], str]) -> Any:
    """The result, itself changed: each `UserTime` on the user's clock, each `More` as ``sealed`` has it.

    ``zone``: the user's, None for the machine's own. ``now``: Unix seconds, for the name of a zone that has none. An
    object with times says in which zone they are, if that is not UTC and it does not say so itself.
    """
    if not isinstance(result, dict | list):
        return result
    name = zone_name(zone, now)
    if _written([("", result)], result, zone, name, sealed) and isinstance(result, dict) and name != UTC_NAME:
        result.setdefault("time_zone", name)
    return result


def _written(
    parts: Iterable[tuple[Any, Any]], into: Any, zone: tzinfo | None, name: str, sealed: Callable[[More], str]
) -> bool:
    """Write these parts of an object or list anew, and all in them; whether there was a time."""
    told = False
    for place, value in parts:
        kind = type(value)
        if kind is dict:
            told |= _written(value.items(), value, zone, name, sealed)
        elif kind is list:
            told |= _written(enumerate(value), value, zone, name, sealed)
        elif kind is UserTime:
            into[place], told = value.there(zone), True
        elif kind is More:
            into[place] = sealed(value)
        elif kind is ZoneName:
            into[place] = name
    return told
