"""Free ranges: meeting hours minus busy times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import groupby
from typing import Final

from deputize.core.errors import InvalidInput
from deputize.toolkits.calendar.base import Json

_HOURS: Final = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])\s*-\s*([01]?[0-9]|2[0-4]):([0-5][0-9])")
_QUARTER: Final = timedelta(minutes=15)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Hours:
    """The meeting hours of a day in a zone. They may pass midnight."""

    start: time
    length: timedelta
    zone: tzinfo
    weekends: bool

    @classmethod
    def of(cls, text: str, zone: tzinfo, *, weekends: bool) -> Hours:
        """Parse hours such as ``09:00-17:00``. Raises `InvalidInput` for any other form."""
        found = _HOURS.fullmatch(text.strip())
        minutes = [int(found[at]) * 60 + int(found[at + 1]) for at in (1, 3)] if found else [0, 0]
        if not found or max(minutes) > 1440 or minutes[0] == 1440 or minutes[0] == minutes[1]:
            raise InvalidInput(
                f"hours: {text.strip()[:20]!r} is not a range of hours.",
                hint="Such as 09:00-17:00, or 22:00-02:00 past midnight, or 00:00-24:00 for all day.",
            )
        length = timedelta(minutes=minutes[1] - minutes[0] + (1440 if minutes[1] < minutes[0] else 0))
        return cls(time(minutes[0] // 60, minutes[0] % 60), length, zone, weekends)

    def spans_within(self, window: Span) -> Iterator[Span]:
        """Yield these hours of each day, clipped to the window."""
        day = window[0].astimezone(self.zone).date() - timedelta(days=1)
        while (start := self._instant(day, timedelta())) < window[1]:
            end = min(self._instant(day, self.length), window[1])
            if (self.weekends or day.weekday() < 5) and end > window[0]:
                yield max(start, window[0]), end
            day += timedelta(days=1)

    def _instant(self, day: date, later: timedelta) -> datetime:
        return (datetime.combine(day, self.start) + later).replace(tzinfo=self.zone).astimezone(UTC)


def union(spans: Iterable[Span], pause: timedelta = timedelta()) -> list[Span]:
    """Return the spans sorted, with touching ones joined, and a pause around each. Empty spans are dropped."""
    joined: list[Span] = []
    for start, end in sorted((start - pause, end + pause) for start, end in spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        elif end > start:
            joined.append((start, end))
    return joined


def intersect(one: Sequence[Span], other: Sequence[Span]) -> list[Span]:
    """Return the time that is in both lists."""
    shared = ((max(a[0], b[0]), min(a[1], b[1])) for a in one for b in other if a[0] < b[1] and b[0] < a[1])
    return union(shared)


def subtract(hours: Iterable[Span], taken: Sequence[Span], length: timedelta) -> Iterator[Span]:
    """Yield the parts of ``hours`` outside ``taken`` that last at least ``length``. ``taken``: a result of `union`."""
    for start, end in hours:
        at = start
        for busy, over in taken:
            if over <= at:
                continue
            if busy >= end:
                break
            if busy - at >= length:
                yield at, busy
            at = over
        if end - at >= length:
            yield at, end


def next_quarter(at: datetime) -> datetime:
    """Return the next full quarter of an hour."""
    over = timedelta(minutes=at.minute % 15, seconds=at.second, microseconds=at.microsecond)
    return at + (_QUARTER - over if over else over)


# ----------------------------------------------------------------- rows


def day_rows(
    field: str, spans: Mapping[str, Iterable[Span]], zones: Sequence[tzinfo], *, lasting: bool
) -> Iterator[Json]:
    """Yield one row per day with its ranges in ``field``, by name if they have names.

    ``zones``: the first is the zone of the days; times in the others are added. ``lasting``: include the length of each
    range.
    """
    named = sorted((span, name) for name, found in spans.items() for span in found)
    for day, ranges in groupby(named, lambda one: one[0][0].astimezone(zones[0]).date()):
        row: Json = {"date": day.isoformat(), "weekday": _DAYS[day.weekday()]}
        for span, name in ranges:
            found = row.setdefault(field, {}).setdefault(name, []) if name else row.setdefault(field, [])
            found.append(_range(span, zones, lasting=lasting))
        yield row


def _range(span: Span, zones: Sequence[tzinfo], *, lasting: bool) -> str:
    more = [f"{_clocks(span, zone)} {zone}" for zone in zones[1:]]
    more = [format_length(span[1] - span[0]), *more] if lasting else more
    return _clocks(span, zones[0]) + (f" ({', '.join(more)})" if more else "")


def _clocks(span: Span, zone: tzinfo) -> str:
    start, end = (at.astimezone(zone) for at in span)
    day = "" if start.date() == end.date() else f"{end:%Y-%m-%d} "
    return f"{_clock(start)}-{day}{_clock(end)}"


def _clock(at: datetime) -> str:
    """Return the local time, with its offset if a clock change repeats the time that day."""
    twice = at.utcoffset() != at.replace(fold=1 - at.fold).utcoffset()
    return f"{at:%H:%M%z}" if twice else f"{at:%H:%M}"


def format_length(length: timedelta) -> str:
    """Return a length in the form of arguments, such as 1h30m."""
    hours, minutes = divmod(int(length.total_seconds()) // 60, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes or not hours else "")
