"""Dates of quoted mails."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Final

_DAYS: Final = "Mon Tue Wed Thu Fri Sat Sun".split()
_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def format_date(milliseconds: str | int, zone: tzinfo = UTC) -> str:
    """Return a date such as ``Tue, 24 Nov 2026 at 15:00``, with its zone only if that is UTC; "" if invalid."""
    try:
        at = datetime.fromtimestamp(int(milliseconds) // 1000, zone)
    except (ValueError, OverflowError, OSError):
        return ""
    named = " UTC" if zone is UTC else ""
    return f"{_DAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]} {at.year} at {at:%H:%M}{named}"
