"""Times of events: zones of the IANA database, days and moments, and the hours that a clock skips or shows twice.

A moment goes to Google as the time on the wall with its zone, so that it stays there when a government changes the
rules. Minutes and hours of a duration are added as time that passes, days as days on the wall.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.times import YEARS

_FORMS: Final = "Use an ISO date (all day) or an ISO date-time such as 2026-12-01T10:00."
_DURATION: Final = re.compile(r"(?:[0-9]{1,5}[mhdw])+")
_ISO_DURATION: Final = re.compile(r"p(?:\d{1,5}w)?(?:\d{1,5}d)?(?:t(?=\d)(?:\d{1,5}h)?(?:\d{1,5}m)?)?", re.ASCII)
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


_ZONES: Final = {name: ZoneInfo(name) for name in available_timezones()}
"""All there are, read while the toolkit is loaded: the rules of each are a file, and tools run on an event loop."""


def zone_called(name: str, field: str = "time_zone") -> ZoneInfo:
    """The zone of this IANA name. Raises `InvalidInput` for any other."""
    if (zone := _ZONES.get(name.strip())) is not None:
        return zone
    raise InvalidInput(
        f"{field}: {name.strip()[:40]!r} is not a time zone.",
        hint="Use an IANA name such as Europe/Berlin or America/New_York.",
    )


AnyDay = TypeVar("AnyDay", date, datetime)
_FIRST, _LAST = date(1, 1, 3), date(9999, 12, 29)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time of an event: a day (``local`` is a date), or a time on the wall in ``zone``.

    ``zone`` is a fixed offset where the caller gave one and no zone was known. ``twice``: the clock shows this time
    twice that day, and the first is meant.
    """

    local: date | datetime
    zone: tzinfo | None = None

    @property
    def all_day(self) -> bool:
        """Whether it is a day."""
        return not isinstance(self.local, datetime)

    @property
    def day(self) -> date:
        """The day on the wall."""
        return self.local.date() if isinstance(self.local, datetime) else self.local

    @property
    def time(self) -> time:
        """The time on the wall; midnight for a day."""
        return self.local.time() if isinstance(self.local, datetime) else time()

    @property
    def at(self) -> datetime:
        """The moment in UTC; a day begins at midnight there."""
        if not isinstance(self.local, datetime):
            return datetime(self.local.year, self.local.month, self.local.day, tzinfo=UTC)
        return self.local.replace(tzinfo=self.zone).astimezone(UTC)

    @property
    def offset(self) -> timedelta | None:
        """By how much the clock there differs from UTC; None for a day."""
        return self.local.replace(tzinfo=self.zone).utcoffset() if isinstance(self.local, datetime) else None

    @property
    def twice(self) -> bool:
        """Whether the clock shows this time twice that day."""
        return isinstance(self.local, datetime) and _offset(self.local, 0, self.zone) != _offset(
            self.local, 1, self.zone
        )

    @property
    def resource(self) -> dict[str, Any]:
        """As Google takes it."""
        if not isinstance(self.local, datetime):
            return {"date": self.local.isoformat()}
        stamp = self.local.replace(tzinfo=self.zone)
        if not isinstance(self.zone, ZoneInfo):
            return {"dateTime": stamp.isoformat(timespec="seconds")}
        shown = stamp if self.twice else self.local.replace(fold=0)
        return {"dateTime": shown.isoformat(timespec="seconds"), "timeZone": self.zone.key}

    def plus(self, days: int, rest: timedelta = timedelta()) -> Moment:
        """So many days later on the wall, and then so much time."""
        if not isinstance(self.local, datetime) or self.zone is None:
            return Moment(self.local + timedelta(days=days))
        wall = (
            self.local + timedelta(days=days) if days else self.local
        )  # adding forgets which of two equal hours it is
        later = wall.replace(tzinfo=self.zone).astimezone(UTC) + rest
        return Moment.of(later, self.zone)

    @classmethod
    def of(cls, at: datetime, zone: tzinfo) -> Moment:
        """This moment on the wall of a zone."""
        return cls(at.astimezone(zone).replace(tzinfo=None), zone)


def _offset(local: datetime, fold: int, zone: tzinfo | None) -> timedelta | None:
    return local.replace(tzinfo=zone, fold=fold).utcoffset()


def needs_zone(text: str | None) -> bool:
    """Whether a time of an event can only be understood in a zone."""
    read = _parsed(text or "")
    return isinstance(read, datetime) and read.tzinfo is None


def _parsed(text: str) -> date | datetime | None:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()).replace(microsecond=0)
    except ValueError:
        return None


def read_moment(text: str, zone: tzinfo | None, field: str) -> Moment:
    """The day or moment a text means. ``zone``: of a time without offset, and to show others in, if known.

    Raises `InvalidInput` for what is neither, and for a time that the clocks skip there.
    """
    read = _parsed(text)
    if read is None or not YEARS[0] <= read.year <= YEARS[1]:
        raise InvalidInput(f"{field}: {text.strip()[:40]!r} is not a date or date-time.", hint=_FORMS)
    if not isinstance(read, datetime):
        return Moment(read)
    try:
        if read.tzinfo is not None:
            offset = read.utcoffset() or timedelta()
            return Moment.of(read, zone or timezone(offset))
        if zone is None:
            raise InvalidInput(
                f"{field}: {text.strip()[:40]!r} needs a time zone.", hint="Give time_zone, such as Europe/Berlin."
            )
        return _on_the_wall(read, zone, field)
    except OverflowError:
        raise InvalidInput(f"{field}: {text.strip()[:40]!r} is not a date or date-time.", hint=_FORMS) from None


def _on_the_wall(local: datetime, zone: tzinfo, field: str) -> Moment:
    early, late = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    if early.astimezone(zone).replace(tzinfo=None) != local and late.astimezone(zone).replace(tzinfo=None) != local:
        around = " or ".join(one.astimezone(zone).strftime("%H:%M") for one in (early, late))
        raise InvalidInput(
            f"{field}: {local:%Y-%m-%dT%H:%M} does not exist on that day (clocks change).",
            hint=f"Did the user mean {around}?",
        )
    return Moment(local, zone)


def duration(text: str) -> tuple[int, timedelta] | None:
    """A duration such as ``1h30m``, ``2d`` or ``PT30M`` as days and the rest; None for what is none."""
    words = text.strip().lower()
    if _ISO_DURATION.fullmatch(words):
        words = words[1:].replace("t", "")
    if not _DURATION.fullmatch(words):
        return None
    parts = [(int(count), unit) for count, unit in re.findall(r"(\d+)([mhdw])", words)]
    days = sum(count * (7 if unit == "w" else 1) for count, unit in parts if unit in "dw")
    rest = sum((timedelta(**{_UNITS[unit]: count}) for count, unit in parts if unit in "mh"), timedelta())
    return days, rest


def _like(start: Moment) -> str:
    return start.day.isoformat() if start.all_day else full(start)


def read_end(text: str, start: Moment, zone: tzinfo | None) -> Moment:
    """The end of an event that starts then, as Google counts it: a day of an all-day event is the first that is free.

    Raises `InvalidInput` for an end before the start, and for a day where a time is due, or the other way round.
    """
    try:
        if (length := duration(text)) is not None:
            if start.all_day and (length[1] or not length[0]):
                raise InvalidInput(
                    f"end: an all-day event lasts whole days, not {text.strip()[:40]!r}.",
                    hint="Such as 1d, or its last day.",
                )
            return start.plus(*length)
        end = read_moment(text, start.zone or zone, "end")
        if end.all_day != start.all_day:
            raise InvalidInput(
                f"start, end: must both be dates, or both date-times; end is {text.strip()[:40]!r}.",
                hint=f"Such as {_like(start)}, or a length such as {'1d' if start.all_day else '30m'}.",
            )
        if end.all_day:
            end = end.plus(1)  # they name the last day
        elif end.twice and end.at < start.at and isinstance(end.local, datetime):
            end = Moment(end.local.replace(fold=1), end.zone)
    except OverflowError:
        raise InvalidInput(f"end: {text.strip()[:40]!r} is too far in the future.", hint="Years go to 2500.") from None
    if end.at < start.at or (end.all_day and end.at == start.at):
        raise InvalidInput(
            f"end: {text.strip()[:40]!r} is earlier than start, {full(start)}.", hint="Or give a length such as 30m."
        )
    return end


# ----------------------------------------------------------------- what Google says


def moment_of(resource: Mapping[str, Any] | None, zone: tzinfo) -> Moment | None:
    """The time of an event of the API, shown in its own zone, else in ``zone``; None for none."""
    resource = resource or {}
    read = _parsed(str(resource.get("dateTime") or resource.get("date") or "").replace("Z", "+00:00"))
    if read is None:
        return None
    read = _within(read)
    if not isinstance(read, datetime):
        return Moment(read)
    own = _known(str(resource.get("timeZone") or "")) or zone
    return Moment(read, own) if read.tzinfo is None else Moment.of(read, own)


def _within(read: AnyDay) -> AnyDay:
    """This time, or one two days from the end of the calendar: anybody may invite to what lasts until 9999-12-31, which
    is in no year at all in some zones."""
    day = read.date() if isinstance(read, datetime) else read
    near = min(max(day, _FIRST), _LAST)
    return read if day == near else read.replace(year=near.year, month=near.month, day=near.day)


def _known(name: str) -> ZoneInfo | None:
    try:
        return zone_called(name) if name else None
    except InvalidInput:
        return None


def known_zone(name: Any) -> ZoneInfo | None:
    """The zone that Google names, if there is one of that name here."""
    return _known(str(name or ""))


def named(zone: tzinfo) -> ZoneInfo | None:
    """A zone of the user's that somebody named, as an event can have it; None for UTC, which stands for none, and for a
    machine's own."""
    return zone if isinstance(zone, ZoneInfo) and zone.key != "UTC" else None


def short(moment: Moment | None, zone: tzinfo) -> str:
    """A row's time in ``zone``: ``YYYY-MM-DD HH:MM``, or the day."""
    if moment is None:
        return ""
    return moment.local.isoformat() if moment.all_day else f"{moment.at.astimezone(zone):%Y-%m-%d %H:%M}"


def full(moment: Moment | None) -> str:
    """A detail's time: ISO 8601 with offset, or the day."""
    if moment is None or not isinstance(moment.local, datetime):
        return moment.local.isoformat() if moment else ""
    return moment.local.replace(tzinfo=moment.zone).isoformat(timespec="minutes")


def stamp(at: datetime) -> str:
    """A moment as query parameters take it (RFC 3339, UTC)."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
