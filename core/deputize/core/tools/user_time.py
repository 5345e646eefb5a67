"""Times in a tool's result, as the user's clock shows them.

A tool says when something was in UTC; whoever hands its result on writes it in the user's zone and names the zone, so
that no tool has to know it and a model never mixes two clocks.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Final, Literal, Self

Form = Literal["short", "full"]


class UserTime(str):
    """A time in a result: a text in UTC which is written in the user's zone when the result is handed on.

    ``at``: Unix seconds. ``form``: "short" for ``YYYY-MM-DD HH:MM``, as in rows; "full" for ISO 8601 with offset.
    """

    at: float
    form: Form

    @classmethod
    def of(cls, at: float | str | datetime, form: Form = "full") -> Self:
        """Of Unix seconds, RFC 3339 or a datetime with a zone. Raises `ValueError` and `OverflowError` for others."""
        if isinstance(at, str):
            at = datetime.fromisoformat(at)
        if isinstance(at, datetime):
            if at.utcoffset() is None:
                raise ValueError("A time needs a zone.")
            at = at.timestamp()
        one = cls(_written(at, UTC, form))
        one.at, one.form = float(at), form
        return one

    def there(self, zone: tzinfo | None) -> str:
        """The same in this zone; None is the machine's own."""
        return str(self) if zone is UTC else _written(self.at, zone, self.form)


def on_clock(at: float, zone: tzinfo | None) -> datetime:
    """This moment (Unix seconds) in the zone, None for the machine's own; in UTC where it has no such year: providers
    write 9999-12-31 for "never"."""
    here = datetime.fromtimestamp(at, UTC)
    try:
        return here.astimezone(zone)
    except (OverflowError, ValueError):
        return here


def _written(at: float, zone: tzinfo | None, form: Form) -> str:
    there = on_clock(at, zone)
    if form == "full":
        return there.isoformat(timespec="seconds")
    return f"{there:%Y-%m-%d %H:%M}" + (" UTC" if there.tzinfo is UTC is not zone else "")


class ZoneName(str):
    """The name of the zone in which a result's times are: UTC, until the result is handed on."""


UTC_NAME: Final = ZoneName("UTC")
