"""In which zone the user reads times: Slack says it of everybody, and it is asked where an argument depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any

from deputize.core import Run, TimeZone
from deputize.toolkits._shared import times
from deputize.toolkits.slack import api, users
from deputize.toolkits.slack.base import Asks, Caller


def learned(user: Mapping[str, Any]) -> Asks[tzinfo | None]:
    """What Slack says of the user's own zone, kept for all toolkits; None where it says none."""
    name = user.get("tz")
    if not isinstance(name, str) or not name:
        return None
    zone: tzinfo | None = yield TimeZone(name)
    return zone


def for_times(run: Run, *texts: str | None) -> Asks[tzinfo]:
    """The zone in which these arguments are read. Slack is asked where nobody knows it yet, one of them depends on it,
    and people may be read; else it is what the run says."""
    caller = Caller.of(run)
    if run.zone is not UTC or "users:read" not in caller.granted or not any(map(times.names_a_day, texts)):
        return run.zone
    answer = yield from api.optional(users.info(caller.user))
    return (yield from learned((answer or {}).get("user") or {})) or run.zone


def window(run: Run, after: str | None, before: str | None, since: float) -> Asks[tuple[int | None, int | None]]:
    """The window [after, before) in Unix seconds, in the user's zone. ``since``: from when distances count."""
    zone = yield from for_times(run, after, before)
    return times.window(after, before, since, zone)
