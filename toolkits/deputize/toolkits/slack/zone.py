"""In which zone the user reads times: Slack says it of everybody, and it is asked where an argument depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

from deputize.core import Run, TimeZone
from deputize.toolkits._shared import times
from deputize.toolkits._shared.zone import in_zone
from deputize.toolkits.slack import api, users
from deputize.toolkits.slack.base import Asks, Caller


def learned(user: Mapping[str, Any]) -> Asks[tzinfo | None]:
    """What Slack says of the user's own zone, kept for all toolkits; None where it says none."""
    name = user.get("tz")
    if not isinstance(name, str) or not name:
        return None
    zone: tzinfo | None = yield TimeZone(name)
    return zone


def ask_zone(run: Run) -> Asks[object]:
    """What Slack calls the user's zone, if people may be read."""
    caller = Caller.of(run)
    if "users:read" not in caller.granted:
        return None
    answer = yield from api.optional(users.info(caller.user))
    return ((answer or {}).get("user") or {}).get("tz")


def for_times(run: Run, **moments: str | None) -> Asks[tzinfo]:
    """The zone in which these arguments are read: see `in_zone`."""
    return (yield from in_zone(run, ask_zone, **moments)).zone


def window(run: Run, after: str | None, before: str | None, since: float) -> Asks[tuple[int | None, int | None]]:
    """The window [after, before) in Unix seconds, in the user's zone. ``since``: from when distances count."""
    zone = yield from for_times(run, after=after, before=before)
    return times.window(after, before, since, zone)
