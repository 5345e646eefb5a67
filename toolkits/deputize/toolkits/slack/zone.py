"""The user's time zone, which Slack knows. It is read only if an argument depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

from deputize.core import Run, TimeZone
from deputize.toolkits._shared import times
from deputize.toolkits._shared.zone import in_zone
from deputize.toolkits.slack import api, users
from deputize.toolkits.slack.base import Asks, Caller


def save_zone(user: Mapping[str, Any]) -> Asks[tzinfo | None]:
    """Save the user's time zone at Slack for all toolkits. Return the zone, or None."""
    name = user.get("tz")
    if not isinstance(name, str) or not name:
        return None
    zone: tzinfo | None = yield TimeZone(name)
    return zone


def ask_zone(run: Run) -> Asks[object]:
    """Return the name of the user's time zone at Slack, or None if the grant may not read people."""
    caller = Caller.of(run)
    if "users:read" not in caller.granted:
        return None
    answer = yield from api.optional(users.info(caller.user))
    return ((answer or {}).get("user") or {}).get("tz")


def read_zone(run: Run, **moments: str | None) -> Asks[tzinfo]:
    """Return the time zone in which these arguments are read, see `in_zone`."""
    return (yield from in_zone(run, ask_zone, **moments)).zone


def window(run: Run, after: str | None, before: str | None, since: float) -> Asks[tuple[int | None, int | None]]:
    """Return the window [after, before) in Unix seconds. ``since``: the time from which distances are counted."""
    zone = yield from read_zone(run, after=after, before=before)
    return times.window(after, before, since, zone)
