"""Calendar: when everybody is free, and who is busy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Alias, Need, Request, Run, Steps, any_of
from deputize.core.act.tool import Arguments
from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits._shared import times
from deputize.toolkits._shared.mail.headers import person
from deputize.toolkits._shared.page import Rows
from deputize.toolkits._shared.people import addresses_of
from deputize.toolkits.calendar import api
from deputize.toolkits.calendar.base import (
    CALENDAR,
    EVENTS_FREEBUSY,
    FREEBUSY,
    PRIMARY,
    READONLY,
    WHOLE,
    Asks,
    Json,
    Zone,
)
from deputize.toolkits.calendar.rows import own_name
from deputize.toolkits.calendar.when import duration as read_duration
from deputize.toolkits.calendar.when import moment_of, stamp, zone_called

AT_ONCE: Final = 50  # calendars that one request takes
_LONGEST: Final = timedelta(days=60)  # of one request
_FARTHEST: Final = timedelta(days=366)
_STEP: Final = timedelta(minutes=15)
_A_DAY: Final = 3
_HOURS: Final = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])\s*-\s*([01]?[0-9]|2[0-4]):([0-5][0-9])")

Span = tuple[datetime, datetime]
People = list[str]
_MOST_PEOPLE: Final = 200


def _needs(arguments: Arguments) -> Sequence[Need]:
    method = "calendar.freebusy.query"
    if arguments["attendees"] or arguments["rooms"]:
        return [any_of(EVENTS_FREEBUSY, READONLY, WHOLE, method=method)]
    return [any_of(FREEBUSY, EVENTS_FREEBUSY, READONLY, WHOLE, method=method)]


@CALENDAR.tool(
    needs=_needs,
    aliases=[
        Alias(
            "GoogleCalendar.FindTimeSlotsWhenEveryoneIsFree",
            {"email_addresses": "attendees", "start_date": "after", "end_date": "before"},
            sets={"duration": "30m"},
        )
    ],
)
def find_times(
    attendees: Annotated[People | None, Field(description="the user is always included")] = None,
    rooms: Annotated[People | None, Field(description="any one must be free")] = None,
    duration: Annotated[str | None, Field(description="30m; omit to see busy times")] = None,
    after: str | None = None,
    before: Annotated[str | None, Field(description="default after+7d")] = None,
    hours: str = "09:00-17:00",
    weekends: bool = False,
    buffer: str | None = None,
    time_zone: Zone = None,
    limit: Annotated[int, Field(ge=1, le=50)] = 10,
    *,
    run: Run,
) -> Steps:
    """Find slots when everyone and a room are free, or see who is busy."""
    own = own_name(run.account)
    named = _addresses((yield from addresses_of(attendees, "attendees", run.account)), "attendees")
    people = list(dict.fromkeys([PRIMARY, *(one for one in named if one != own)]))
    halls = [one for one in dict.fromkeys(_addresses(rooms, "rooms")) if one not in people]
    length, pause = _length(duration, "duration"), _length(buffer, "buffer") or timedelta()
    zone = zone_called(time_zone) if time_zone else (yield from api.zone_of(PRIMARY, run.granted))
    zone = zone or _offset_of(after)
    window = _window(after, before, run.now, zone)
    busy, unknown = yield from _busy([*people, *halls], (window[0] - pause, window[1] + pause))
    if len(unknown) == len(people) + len(halls):
        raise NotFound("None of these calendars can be seen.", hint="Check the addresses, or ask for access.")
    result: Json = {"time_zone": str(zone), "unknown": [own if who == PRIMARY else who for who in unknown]}
    if length is None:
        spans_of = {own if who == PRIMARY else who: spans for who, spans in busy.items()}
        return _answer(_blocks(spans_of, window, zone), limit, result)
    taken = _union([span for who in people for span in busy.get(who, ())], pause)
    free_rooms = {hall: _union(busy[hall], pause) for hall in halls if hall in busy}
    days = Hours.of(hours, zone, weekends=weekends)
    slots = _ranked(_slots(days, window, length, taken, free_rooms if halls else None), zone)
    return _answer((_slot(one, zone) for one in slots), limit, result)


def _answer(rows: Iterable[Json], limit: int, result: Json) -> Json:
    kept = Rows()
    for row in rows:
        if len(kept.items) == limit or not kept.add(row):
            return {"items": kept.items, **result, "truncated": True}
    return {"items": kept.items, **result, "truncated": False}


def _addresses(named: Sequence[str] | None, field: str) -> list[str]:
    if len(named or ()) > _MOST_PEOPLE:
        raise InvalidInput(f"{field}: at most {_MOST_PEOPLE}.")
    return [person(one, f"{field}[{at}]").address.lower() for at, one in enumerate(named or ())]


def _length(text: str | None, field: str) -> timedelta | None:
    if not text:
        return None
    found = read_duration(text)
    length = timedelta(days=found[0]) + found[1] if found else timedelta()
    if not timedelta() < length <= timedelta(days=7):
        raise InvalidInput(f"{field}: must be a duration such as 30m or 1h30m, of at most 7 days.")
    return length


def _offset_of(after: str | None) -> tzinfo:
    """The offset in ``after``, where no zone is known. Never a zone by silence."""
    try:
        zone = datetime.fromisoformat((after or "").strip()).tzinfo
    except ValueError:
        zone = None
    if zone is None:
        raise InvalidInput("hours: need a time zone.", hint="Give time_zone, such as Europe/Berlin.")
    return zone


def _window(after: str | None, before: str | None, now: float, zone: tzinfo) -> Span:
    start = times.moment(after, now, "after", zone) if after else datetime.fromtimestamp(now, UTC)
    end = times.moment(before, now, "before", zone) if before else (start.astimezone(zone) + timedelta(days=7))
    end = end.astimezone(UTC)
    if end <= start or end - start > _FARTHEST:
        raise InvalidInput("after, before: after must be earlier than before, by at most a year.")
    return start, end


# ----------------------------------------------------------------- asking Google


def _busy(calendars: Sequence[str], window: Span) -> Asks[tuple[dict[str, list[Span]], list[str]]]:
    """When each calendar is busy, and which of them cannot be seen. freebusy.query, at most 60 days each."""
    requests, start = [], window[0]
    while start < window[1]:
        end = min(start + _LONGEST, window[1])
        requests += [_query(calendars[at : at + AT_ONCE], start, end) for at in range(0, len(calendars), AT_ONCE)]
        start = end
    busy: dict[str, list[Span]] = {}
    seen, unseen = set[str](), set[str]()
    for at in range(0, len(requests), 10):
        for answer in (yield requests[at : at + 10]):
            for who, told in (answer.get("calendars") or {}).items():
                if told.get("errors"):
                    unseen.add(who.lower())
                elif who.lower() in calendars:
                    seen.add(who.lower())
                    busy.setdefault(who.lower(), []).extend(map(_span, told.get("busy") or ()))
    seen -= unseen  # who cannot be seen all the time is not free the rest of it
    return {who: spans for who, spans in busy.items() if who in seen}, [one for one in calendars if one not in seen]


def _query(calendars: Sequence[str], start: datetime, end: datetime) -> Request:
    body = {
        "timeMin": stamp(start),
        "timeMax": stamp(end),
        "items": [{"id": one} for one in calendars],
        "calendarExpansionMax": AT_ONCE,
    }
    return Request("POST", "/freeBusy", json=body, repeat="read")


def _span(period: Mapping[str, Any]) -> Span:
    ends = [moment_of({"dateTime": period.get(name)}, UTC) for name in ("start", "end")]
    start, end = (one.at if one else datetime.max.replace(tzinfo=UTC) for one in ends)
    return start, end


def _union(spans: Iterable[Span], pause: timedelta) -> list[Span]:
    """Busy blocks that touch as one, with a pause around each."""
    joined: list[Span] = []
    for start, end in sorted((start - pause, end + pause) for start, end in spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


# ----------------------------------------------------------------- slots


@dataclass(frozen=True, slots=True)
class Hours:
    """The hours of a day in which people meet, in a zone; they may go past midnight."""

    start: time
    length: timedelta
    zone: tzinfo
    weekends: bool

    @classmethod
    def of(cls, text: str, zone: tzinfo, *, weekends: bool) -> Hours:
        """Hours such as ``09:00-17:00``. Raises `InvalidInput` for any other form."""
        found = _HOURS.fullmatch(text.strip())
        minutes = [int(found[at]) * 60 + int(found[at + 1]) for at in (1, 3)] if found else [0, 0]
        if not found or max(minutes) > 1440 or minutes[0] == 1440 or minutes[0] == minutes[1]:
            raise InvalidInput("hours: must look like 09:00-17:00.")
        length = timedelta(minutes=minutes[1] - minutes[0] + (1440 if minutes[1] < minutes[0] else 0))
        return cls(time(minutes[0] // 60, minutes[0] % 60), length, zone, weekends)

    def within(self, window: Span) -> Iterator[Span]:
        """These hours of each day, as far as they lie in the window."""
        day = window[0].astimezone(self.zone).date() - timedelta(days=1)
        while (start := self._at(day, timedelta())) < window[1]:
            end = min(self._at(day, self.length), window[1])
            if (self.weekends or day.weekday() < 5) and end > window[0]:
                yield max(start, window[0]), end
            day += timedelta(days=1)

    def _at(self, day: date, later: timedelta) -> datetime:
        return (datetime.combine(day, self.start) + later).replace(tzinfo=self.zone).astimezone(UTC)


Slot = tuple[datetime, datetime, str]


def _slots(
    hours: Hours, window: Span, length: timedelta, taken: Sequence[Span], rooms: Mapping[str, Sequence[Span]] | None
) -> Iterator[Slot]:
    """Every quarter of an hour at which all are free for so long, and a room too where one is wanted."""
    for start, end in hours.within(window):
        at = _aligned(start, hours.zone)
        while at + length <= end:
            if _free(at, at + length, taken):
                if rooms is None:
                    yield at, at + length, ""
                elif room := next((one for one, busy in rooms.items() if _free(at, at + length, busy)), ""):
                    yield at, at + length, room
            at += _STEP


def _aligned(at: datetime, zone: tzinfo) -> datetime:
    """The next full quarter of an hour on the wall."""
    wall = at.astimezone(zone)
    over = timedelta(minutes=wall.minute % 15, seconds=wall.second, microseconds=wall.microsecond)
    return at + (_STEP - over if over else over)


def _free(start: datetime, end: datetime, taken: Sequence[Span]) -> bool:
    return all(end <= busy[0] or start >= busy[1] for busy in taken)


def _ranked(slots: Iterable[Slot], zone: tzinfo) -> Iterator[Slot]:
    """The earliest first, at most three of a day before the days that follow, and those left over last."""
    kept: list[Slot] = []
    seen: dict[date, int] = {}
    for slot in slots:
        day = slot[0].astimezone(zone).date()
        seen[day] = seen.get(day, 0) + 1
        if seen[day] <= _A_DAY:
            yield slot
        elif len(kept) < 50:
            kept.append(slot)
    yield from kept


def _slot(slot: Slot, zone: tzinfo) -> Json:
    start, end = (f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in slot[:2])
    return {"start": start, "end": end, "room": slot[2]}


def _blocks(busy: Mapping[str, Sequence[Span]], window: Span, zone: tzinfo) -> Iterator[Json]:
    """Who is busy when, the earliest first."""
    found = [(max(s, window[0]), min(e, window[1]), who) for who, spans in busy.items() for s, e in spans]
    for start, end, who in sorted(one for one in found if one[0] < one[1]):
        yield {"who": who, **{name: value for name, value in _slot((start, end, ""), zone).items() if value}}
