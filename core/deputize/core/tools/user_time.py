"""Times in a tool's result, in the user's time zone.

A tool returns times in UTC. Postprocessing converts them to the user's zone and adds the zone's name. So tools need not
know the zone, and a model never sees times of two zones.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Final, Literal, Self

Form = Literal["short", "full"]


class UserTime(str):
    """A time in a result: a string in UTC, which postprocessing converts to the user's zone.

    ``at``: Unix seconds. ``form``: "short" for ``YYYY-MM-DD HH:MM``, as in lists; "full" for ISO 8601 with offset.
    """

    at: float
    form: Form

    @classmethod
    def of(cls, at: float | str | datetime, form: Form = "full") -> Self:
        """Return a time from Unix seconds, an RFC 3339 string or a datetime. Raises `ValueError` if the zone is
        missing, and `OverflowError` for a time out of range."""
        if isinstance(at, str):
            at = datetime.fromisoformat(at)
        if isinstance(at, datetime):
            if at.utcoffset() is None:
                raise ValueError("A time needs a zone.")
            at = at.timestamp()
        one = cls(_format(at, UTC, form))
        one.at, one.form = float(at), form
        return one

    def there(self, zone: tzinfo | None) -> str:
        """Return the time in this zone, None for the machine's."""
        return str(self) if zone is UTC else _format(self.at, zone, self.form)


def on_clock(at: float, zone: tzinfo | None) -> datetime:
    """Return these Unix seconds as a datetime in the zone, None for the machine's. The result is in UTC if the year is
    out of range in the zone: providers write 9999-12-31 for "never"."""
    here = datetime.fromtimestamp(at, UTC)
    try:
        return here.astimezone(zone)
    except (OverflowError, ValueError):
        return here


def _format(at: float, zone: tzinfo | None, form: Form) -> str:
    there = on_clock(at, zone)
    if form == "full":
        return there.isoformat(timespec="seconds")
    return f"{there:%Y-%m-%d %H:%M}" + (" UTC" if there.tzinfo is UTC is not zone else "")


class ZoneName(str):
    """The name of the zone of a result's times: UTC, until postprocessing replaces it."""


UTC_NAME: Final = ZoneName("UTC")
