"""Points in time as people and models write them, and as results show them. Everything is in UTC."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from deputize.core.errors import InvalidInput

ZONE: Final = "UTC"
_FORMS = "Use an ISO date or date-time, now, today, or a distance such as -7d, -1d2h or +2h (units m h d w)."
_DISTANCE = re.compile(r"[+-](?:[0-9]{1,6}[mhdw])+")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str, now: float, field: str) -> datetime:
    """The time a text means: ISO date (its first second), ISO date-time, now, today, or a distance from ``now``.

    Raises `InvalidInput`, naming ``field``, for anything else.
    """
    words = text.strip().lower()
    here = datetime.fromtimestamp(now, UTC).replace(microsecond=0)
    try:
        if words == "now":
            return here
        if words == "today":
            return here.replace(hour=0, minute=0, second=0)
        if _DISTANCE.fullmatch(words):
            return here + _distance(words)
        return _iso(text.strip())
    except (ValueError, OverflowError):
        raise InvalidInput(f"{field}: not a point in time.", hint=_FORMS) from None


def _distance(words: str) -> timedelta:
    parts = re.findall(r"(\d+)([mhdw])", words)
    total = sum((timedelta(**{_UNITS[unit]: int(count)}) for count, unit in parts), timedelta())
    return -total if words.startswith("-") else total


def _iso(text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        read = datetime.fromisoformat(text)
        return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def window(after: str | None, before: str | None, now: float) -> tuple[int | None, int | None]:
    """The half-open window [after, before) in Unix seconds. Raises `InvalidInput` for one that holds nothing."""
    start = int(moment(after, now, "after").timestamp()) if after else None
    end = int(moment(before, now, "before").timestamp()) if before else None
    if start is not None and end is not None and start >= end:
        raise InvalidInput("after must lie before before.", hint="after is the earlier end of the window.")
    return start, end


def short(milliseconds: str | int) -> str:
    """A row's time, ``YYYY-MM-DD HH:MM`` in `ZONE`; empty for what is no time."""
    read = _utc(milliseconds)
    return read.strftime("%Y-%m-%d %H:%M") if read else ""


def full(milliseconds: str | int) -> str:
    """A detail's time, ISO 8601 with offset; empty for what is no time."""
    read = _utc(milliseconds)
    return read.isoformat(timespec="seconds") if read else ""


def _utc(milliseconds: str | int) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(milliseconds) // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
