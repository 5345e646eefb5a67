"""Points in time as people and models write them, and as results contain them: in UTC here; the runtime converts the
result to the user's zone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

from deputize.core.errors import InvalidInput
from deputize.core.tools.user_time import UTC_NAME, Form, UserTime

ZONE: Final = UTC_NAME
"""The zone of a result's times."""
YEARS: Final = (1900, 2500)
"""Accepted years, so that no sum of a time and a distance leaves the calendar."""
_FORMS = (
    "Use an ISO date or date-time, now, today, tomorrow, yesterday, a time of today such as 16:00, "
    "or a distance such as -7d, -1d2h or +2h (units m h d w)."
)
_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_DISTANCE = re.compile(r"[+-](?:[0-9]{1,6}[mhdw])+")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str, now: float, field: str, zone: tzinfo = UTC) -> datetime:
    """Return the moment of an ISO date (its first second), ISO date-time, now, today, yesterday, tomorrow, a time of
    today, or a distance from ``now``.

    A date, and a date-time without offset, are in ``zone``. Days of a distance are calendar days there; its hours are
    elapsed time. Raises `InvalidInput` that names ``field`` for any other text.
    """
    words = text.strip().lower()
    try:
        here = datetime.fromtimestamp(now, zone).replace(microsecond=0)
        found = _read(text.strip(), words, here).astimezone(UTC)
        if not YEARS[0] <= found.year <= YEARS[1]:
            raise ValueError(found.year)
        return found
    except (ValueError, OverflowError):
        raise InvalidInput(f"{field}: not a point in time.", hint=_FORMS) from None


def _read(text: str, words: str, here: datetime) -> datetime:
    if words == "now":
        return here
    if words in _DAYS:
        return (here + timedelta(days=_DAYS[words])).replace(hour=0, minute=0, second=0, fold=0)
    if clock := _CLOCK.fullmatch(words):
        return here.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, fold=0)
    if _DISTANCE.fullmatch(words):
        days, hours = _distance(words)
        return (here + days).astimezone(UTC) + hours
    return _iso(text, here.tzinfo or UTC)


def names_a_day(text: str | None) -> bool:
    """True if a text means different moments in different zones: a date, a time without offset, or today."""
    words = (text or "").strip()
    return words.lower() in _DAYS or bool(_CLOCK.fullmatch(words)) or _has_offset(words) is False


def moves_with_zone(text: str | None) -> bool:
    """True if a text means different days in different zones: all except a date and a time without offset."""
    words = (text or "").strip()
    return words.lower() in ("now", *_DAYS) or bool(_DISTANCE.fullmatch(words.lower())) or _has_offset(words) is True


def _has_offset(text: str) -> bool | None:
    """Return whether an ISO date or date-time has an offset, or None for any other text."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return None


def day(text: str, now: float, field: str, zone: tzinfo) -> str:
    """Return the day that a text means in ``zone``, as ``YYYY-MM-DD``. Raises `InvalidInput` as `moment` does."""
    return moment(text, now, field, zone).astimezone(zone).date().isoformat()


def _distance(words: str) -> tuple[timedelta, timedelta]:
    """Return a distance as whole calendar days and the remaining duration."""
    parts = re.findall(r"(\d+)([mhdw])", words)
    sign = -1 if words.startswith("-") else 1
    days, rest = (
        sum((timedelta(**{_UNITS[unit]: int(count)}) for count, unit in parts if unit in units), timedelta())
        for units in ("dw", "mh")
    )
    return sign * days, sign * rest


def _iso(text: str, zone: tzinfo) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        read = datetime.fromisoformat(text)
        return read if read.tzinfo else read.replace(tzinfo=zone)
    return datetime(day.year, day.month, day.day, tzinfo=zone)


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
