"""Times of events: zones of the IANA database, days and moments, and hours that a clock change skips or repeats.

Google receives a moment as local time with its zone, so that it keeps its local time if a government changes the rules.
Minutes and hours of a duration are added as elapsed time, days as calendar days.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared import times, when
from deputize.toolkits._shared.times import YEARS

_FORMS: Final = "A date is an event of all day. " + when.FORMS


_ZONES: Final = {name: ZoneInfo(name) for name in available_timezones()}
"""All zones, loaded with the toolkit: each is read from a file, and tools run on an event loop."""


def parse_zone(name: str, field: str = "time_zone") -> ZoneInfo:
    """Return the zone of this IANA name. Raises `InvalidInput` for other names."""
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
    """A time of an event: a day (``local`` is a date), or a local time in ``zone``.

    ``zone`` is a fixed offset if the caller gave one and no zone was known. If a clock change repeats the time, the
    first one is meant unless ``local.fold`` is 1.
    """

    local: date | datetime
    zone: tzinfo | None = None

    @property
    def all_day(self) -> bool:
        return not isinstance(self.local, datetime)

    @property
    def day(self) -> date:
        """The local day."""
        return self.local.date() if isinstance(self.local, datetime) else self.local

    @property
    def time(self) -> time:
        """The local time; midnight for a day."""
        return self.local.time() if isinstance(self.local, datetime) else time()

    @property
    def at(self) -> datetime:
        """The moment in UTC; a day begins at midnight UTC."""
        if not isinstance(self.local, datetime):
            return datetime(self.local.year, self.local.month, self.local.day, tzinfo=UTC)
        return self.local.replace(tzinfo=self.zone).astimezone(UTC)

    @property
    def offset(self) -> timedelta | None:
        """The offset from UTC; None for a day."""
        return self.local.replace(tzinfo=self.zone).utcoffset() if isinstance(self.local, datetime) else None

    @property
    def is_ambiguous(self) -> bool:
        """True if a clock change repeats this time that day."""
        return isinstance(self.local, datetime) and _offset(self.local, 0, self.zone) != _offset(
            self.local, 1, self.zone
        )

    @property
    def resource(self) -> dict[str, Any]:
        """The time in Google's form."""
        if not isinstance(self.local, datetime):
            return {"date": self.local.isoformat()}
        stamp = self.local.replace(tzinfo=self.zone)
        if not isinstance(self.zone, ZoneInfo):
            return {"dateTime": stamp.isoformat(timespec="seconds")}
        shown = stamp if self.is_ambiguous else self.local.replace(fold=0)
        return {"dateTime": shown.isoformat(timespec="seconds"), "timeZone": self.zone.key}

    def plus(self, days: int, rest: timedelta = timedelta()) -> Moment:
        """Return the moment that is ``days`` calendar days and then ``rest`` of elapsed time later."""
        if not isinstance(self.local, datetime) or self.zone is None:
            return Moment(self.local + timedelta(days=days))
        wall = self.local + timedelta(days=days) if days else self.local  # addition resets fold
        later = wall.replace(tzinfo=self.zone).astimezone(UTC) + rest
        return Moment.of(later, self.zone)

    @classmethod
    def of(cls, at: datetime, zone: tzinfo) -> Moment:
        """Return a moment as local time of a zone."""
        return cls(at.astimezone(zone).replace(tzinfo=None), zone)


def _offset(local: datetime, fold: int, zone: tzinfo | None) -> timedelta | None:
    return local.replace(tzinfo=zone, fold=fold).utcoffset()


def needs_zone(text: str | None) -> bool:
    """True if the text names an hour without an offset, or a day by a word such as tomorrow."""
    iso = _parse(text or "")
    return times.names_a_day(text) and (iso is None or isinstance(iso, datetime))


def _parse(text: str) -> date | datetime | None:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()).replace(microsecond=0)
    except ValueError:
        return None


def read_moment(text: str, zone: tzinfo | None, field: str, now: float) -> Moment:
    """Return the day or moment in ``text``. ``zone``: time zone of times without offset, and of displayed times.

    Raises `InvalidInput` for other text, and for a time that a clock change skips.
    """
    try:
        read = times.point(text, now, field, zone or UTC)
    except InvalidInput as refused:
        raise _not_a_time(text, field, refused) from None
    if not YEARS[0] <= read.year <= YEARS[1]:
        raise _not_a_time(text, field)
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
        return _wall_moment(read, zone, field)
    except OverflowError:
        raise _not_a_time(text, field) from None


def _not_a_time(text: str, field: str, refused: InvalidInput | None = None) -> InvalidInput:
    if refused is not None and refused.hint != when.FORMS:
        return refused
    return InvalidInput(f"{field}: {text.strip()[:40]!r} is not a date or date-time.", hint=_FORMS)


def _wall_moment(local: datetime, zone: tzinfo, field: str) -> Moment:
    early, late = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    if early.astimezone(zone).replace(tzinfo=None) != local and late.astimezone(zone).replace(tzinfo=None) != local:
        around = " or ".join(one.astimezone(zone).strftime("%H:%M") for one in (early, late))
        raise InvalidInput(
            f"{field}: {local:%Y-%m-%dT%H:%M} does not exist on that day (clocks change).",
            hint=f"Did the user mean {around}?",
        )
    return Moment(local, zone)


def _example(start: Moment) -> str:
    return start.day.isoformat() if start.all_day else full(start)


def read_end(text: str, start: Moment, zone: tzinfo | None, now: float) -> Moment:
    """Return the end as Google counts it: for an all-day event the first day after it. An hour alone is on the day of
    the start.

    Raises `InvalidInput` for an end before the start, and for a day instead of a time or the reverse.
    """
    try:
        if (length := when.parse_length(text)) is not None:
            if start.all_day and (length[1] or not length[0]):
                raise InvalidInput(
                    f"end: an all-day event lasts whole days, not {text.strip()[:40]!r}.",
                    hint="Such as 1d, or its last day.",
                )
            return start.plus(*length)
        clock = times.clock(text)
        told = text if clock is None or start.all_day else datetime.combine(start.day, clock).isoformat()
        end = read_moment(told, start.zone or zone, "end", now)
        if end.all_day != start.all_day:
            raise InvalidInput(
                f"start, end: must both be dates, or both date-times; end is {text.strip()[:40]!r}.",
                hint=f"Such as {_example(start)}, or a length such as {'1d' if start.all_day else '30m'}.",
            )
        if end.all_day:
            end = end.plus(1)  # callers name the last day
        elif end.is_ambiguous and end.at < start.at and isinstance(end.local, datetime):
            end = Moment(end.local.replace(fold=1), end.zone)
    except OverflowError:
        raise InvalidInput(f"end: {text.strip()[:40]!r} is too far in the future.", hint="Years go to 2500.") from None
    if end.at < start.at or (end.all_day and end.at == start.at):
        raise InvalidInput(
            f"end: {text.strip()[:40]!r} is earlier than start, {full(start)}.", hint="Or give a length such as 30m."
        )
    return end


# ----------------------------------------------------------------- times from Google


def moment_of(resource: Mapping[str, Any] | None, zone: tzinfo) -> Moment | None:
    """Return an API time in its own zone, else in ``zone``, or None without a time."""
    resource = resource or {}
    read = _parse(str(resource.get("dateTime") or resource.get("date") or "").replace("Z", "+00:00"))
    if read is None:
        return None
    read = _clamp(read)
    if not isinstance(read, datetime):
        return Moment(read)
    own = known_zone(resource.get("timeZone")) or zone
    return Moment(read, own) if read.tzinfo is None else Moment.of(read, own)


def _clamp(read: AnyDay) -> AnyDay:
    """Return the time at least two days from the calendar's ends, because 9999-12-31 does not exist in some zones."""
    day = read.date() if isinstance(read, datetime) else read
    near = min(max(day, _FIRST), _LAST)
    return read if day == near else read.replace(year=near.year, month=near.month, day=near.day)


def known_zone(name: Any) -> ZoneInfo | None:
    """Return the zone of this name, or None if it is unknown here."""
    return _ZONES.get(str(name or "").strip())


def named_zone(zone: tzinfo) -> ZoneInfo | None:
    """Return the user's zone if an event can have it: not UTC, which stands for unknown, nor the machine's own zone."""
    return zone if isinstance(zone, ZoneInfo) and zone.key != "UTC" else None


def short(moment: Moment | None, zone: tzinfo) -> str:
    """Return the time for a row, in ``zone``: ``YYYY-MM-DD HH:MM``, or the day."""
    if moment is None:
        return ""
    return moment.local.isoformat() if moment.all_day else f"{moment.at.astimezone(zone):%Y-%m-%d %H:%M}"


def full(moment: Moment | None) -> str:
    """Return the time for a detail: ISO 8601 with offset, or the day."""
    if moment is None or not isinstance(moment.local, datetime):
        return moment.local.isoformat() if moment else ""
    return moment.local.replace(tzinfo=moment.zone).isoformat(timespec="minutes")


def stamp(at: datetime) -> str:
    """Return a moment for query parameters (RFC 3339, UTC)."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
