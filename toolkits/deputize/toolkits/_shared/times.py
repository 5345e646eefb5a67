"""Points in time as people and models write them, and as results contain them: in UTC here; the runtime converts the
result to the user's zone."""

from __future__ import annotations

from datetime import UTC, datetime, time, tzinfo
from typing import Final

from deputize.core.errors import InvalidInput
from deputize.core.tools.user_time import UTC_NAME, Form, UserTime
from deputize.toolkits._shared import when

ZONE: Final = UTC_NAME
"""The zone of a result's times."""
YEARS: Final = (1900, 2500)
"""Accepted years, so that no sum of a time and a distance leaves the calendar."""


def moment(text: str, now: float, field: str, zone: tzinfo = UTC, *, coming: bool = False) -> datetime:
    """Return the moment that a text means, in any form of `deputize.toolkits._shared.when`; of a day its first second.

    A day, and a time without offset, are in ``zone``. Days of a distance are calendar days there; its hours are
    elapsed time. ``coming``: see `when.parse`. Raises `InvalidInput` that names ``field`` for any other text.
    """
    found = point(text, now, field, zone, coming=coming)
    try:
        if not isinstance(found, datetime):
            found = datetime.combine(found, time())
        at = (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        at = None
    if at is None or not YEARS[0] <= at.year <= YEARS[1]:
        raise InvalidInput(f"{field}: not a point in time.", hint=when.FORMS)
    return at


def point(text: str, now: float, field: str, zone: tzinfo = UTC, *, coming: bool = False) -> when.Point:
    """Return the day, local time or moment that a text means. Raises `InvalidInput` that names ``field``."""
    return when.read(text, datetime.fromtimestamp(now, zone), field, coming=coming)


def names_a_day(text: str | None) -> bool:
    """True if a text means different moments in different zones: a date, a time without offset, or today."""
    found = _parsed(text)
    return found is not None and found.zoned


def moves_with_zone(text: str | None) -> bool:
    """True if a text means different days in different zones: all except a date and a time without offset."""
    found = _parsed(text)
    return found is not None and not found.dated


def clock(text: str) -> time | None:
    """Return the hour of a text that names nothing else, such as ``16:00``, or None."""
    found = _parsed(text)
    return found.clock if found else None


def _parsed(text: str | None) -> when.When | None:
    try:
        return when.parse(text or "", "")
    except InvalidInput:
        return None


def day(text: str, now: float, field: str, zone: tzinfo) -> str:
    """Return the day that a text means in ``zone``, as ``YYYY-MM-DD``. Raises `InvalidInput` as `moment` does."""
    return moment(text, now, field, zone).astimezone(zone).date().isoformat()


def window(after: str | None, before: str | None, now: float, zone: tzinfo = UTC) -> tuple[int | None, int | None]:
    """Return the half-open window [after, before) in Unix seconds. ``zone``: time zone of times without offset.

    Raises `InvalidInput` for an empty window.
    """
    start = int(moment(after, now, "after", zone).timestamp()) if after else None
    end = int(moment(before, now, "before", zone).timestamp()) if before else None
    if start is not None and end is not None and start >= end:
        raise InvalidInput("after: must be earlier than before.", hint="after is the earlier end of the window.")
    return start, end


def short(milliseconds: str | int) -> str:
    """Return the time for a row, ``YYYY-MM-DD HH:MM``, or "" for an invalid one."""
    return _format(milliseconds, "short")


def full(milliseconds: str | int) -> str:
    """Return the time for a detail, ISO 8601 with offset, or "" for an invalid one."""
    return _format(milliseconds, "full")


def _format(milliseconds: str | int, form: Form) -> str:
    try:
        return UserTime.of(int(milliseconds) // 1000, form)
    except (ValueError, OverflowError, OSError):
        return ""
