"""Calendar: find when everybody is free, and who is busy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Alias, Need, Request, Run, Steps, any_of
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times, when
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
from deputize.toolkits.calendar.event_times import moment_of, parse_zone, stamp
from deputize.toolkits.calendar.free_ranges import (
    Hours,
    Span,
    day_rows,
    format_length,
    intersect,
    next_quarter,
    subtract,
    union,
)
from deputize.toolkits.calendar.rows import own_address

AT_ONCE: Final = 50  # calendars in one request
_LONGEST: Final = timedelta(days=60)  # window of one request
_FARTHEST: Final = timedelta(days=366)
_MAX_PEOPLE: Final = 200
_MAX_ZONES: Final = 5
_QUERY: Final = "calendar.freebusy.query"

People = list[str]


def _needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["attendees"] or arguments["rooms"]:
        return [reads_times()]
    return [any_of(FREEBUSY, EVENTS_FREEBUSY, READONLY, WHOLE, method=_QUERY)]


def reads_times() -> Need:
    """Return the need of reading when others are busy."""
    return any_of(EVENTS_FREEBUSY, READONLY, WHOLE, method=_QUERY)


@CALENDAR.tool(
    needs=_needs,
    aliases=[
        Alias(
            "GoogleCalendar.FindTimeSlotsWhenEveryoneIsFree",
            {"email_addresses": "attendees", "start_date": "after"},  # their end_date is inclusive
            sets={"duration": "30m", "hours": "08:00-18:00"},
        )
    ],
)
def find_times(
    attendees: Annotated[People | None, Field(description="besides the user")] = None,
    rooms: Annotated[People | None, Field(description="one must be free")] = None,
    duration: Annotated[str | None, Field(description="30m; omit to see busy times")] = None,
    after: Annotated[str | None, Field(description="tomorrow 9:00 or ISO")] = None,
    before: Annotated[str | None, Field(description="default after+7d")] = None,
    hours: str = "09:00-17:00",
    weekends: bool = False,
    buffer: Annotated[str | None, Field(description="15m")] = None,
    time_zone: Zone = None,
    other_zones: Annotated[list[str] | None, Field(description="hours hold there too")] = None,
    *,
    run: Run,
) -> Steps:
    """Find when everyone and a room are free, or see who is busy."""
    own = own_address(run.account)
    guests = _addresses((yield from addresses_of(attendees, "attendees", run.account)), "attendees")
    people = list(dict.fromkeys([PRIMARY, *(one for one in guests if one != own)]))
    halls = [one for one in dict.fromkeys(_addresses(rooms, "rooms")) if one not in people]
    length, pause = _length(duration, "duration"), _length(buffer, "buffer") or timedelta()
    far = _zones(other_zones)
    zone = parse_zone(time_zone) if time_zone else (yield from api.zone_of(PRIMARY, run))
    zone = zone or _offset_of(after)
    days = [Hours.of(hours, one, weekends=weekends) for one in (zone, *far)]
    if length and length > days[0].length and days[0].length < timedelta(hours=24):
        raise InvalidInput(
            f"duration: {format_length(length)} is longer than the hours {hours}.",
            hint="Give wider hours, or 00:00-24:00.",
        )
    window = read_window(after, before, run.now, zone)
    busy, unknown = yield from query_busy([*people, *halls], (window[0] - pause, window[1] + pause))
    if len(unknown) == len(people) + len(halls):
        raise NotFound("None of these calendars can be seen.", hint="Check the addresses, or ask for access.")
    result: Json = {"time_zone": str(zone), "unknown": [own if who == PRIMARY else who for who in unknown]}
    if length is None:
        named = {own if who == PRIMARY else who: _clip(union(spans), window) for who, spans in busy.items()}
        return _result(day_rows("busy", named, [zone], lasting=False), result, "Nobody is busy.")
    open_ = union(days[0].spans_within(window))
    for one in days[1:]:
        open_ = intersect(open_, union(one.spans_within(window)))
    if far and not open_:
        return _result((), result, f"The hours {hours} of these zones have no time in common.")
    free = list(subtract(open_, union([span for who in people for span in busy.get(who, ())], pause), length))
    found = {hall: list(subtract(free, union(busy[hall], pause), length)) for hall in halls if hall in busy}
    rows = day_rows("rooms" if halls else "free", found if halls else {"": free}, [zone, *far], lasting=True)
    return _result(rows, result, f"No {format_length(length)} within the hours {hours} is free for all.")


_UNSEEN: Final = "Who is unknown was not looked at and may be busy: ask them."


def _result(rows: Iterable[Json], result: Json, nothing: str) -> Json:
    """Return the days that fit into a result, and the day to continue with."""
    kept, further = Rows(), None
    for row in rows:
        if not kept.add(row):
            further = row["date"]
            break
    words = [nothing] if not kept.items else []
    words += [_UNSEEN] if result["unknown"] else []
    result |= {"truncated": True, "next_after": further} if further else {}
    return {"items": kept.items, **result} | ({"summary": " ".join(words)} if words else {})


def _clip(spans: Iterable[Span], window: Span) -> list[Span]:
    found = ((max(start, window[0]), min(end, window[1])) for start, end in spans)
    return [(start, end) for start, end in found if start < end]


def _zones(named: Sequence[str] | None) -> list[tzinfo]:
    if len(named or ()) > _MAX_ZONES:
        raise InvalidInput(
            f"other_zones: {len(named or ())} zones, and at most {_MAX_ZONES} can be compared.", hint="Name each once."
        )
    return [parse_zone(one, f"other_zones[{at}]") for at, one in enumerate(named or ())]


def _addresses(named: Sequence[str] | None, field: str) -> list[str]:
    if len(named or ()) > _MAX_PEOPLE:
        raise InvalidInput(
            f"{field}: {len(named or ())} addresses, and at most {_MAX_PEOPLE} can be asked about.",
            hint="Ask in several calls.",
        )
    return [person(one, f"{field}[{at}]").address.lower() for at, one in enumerate(named or ())]


def _length(text: str | None, field: str) -> timedelta | None:
    if not text:
        return None
    found = when.parse_length(text)
    length = timedelta(days=found[0]) + found[1] if found else timedelta()
    if not timedelta() < length <= timedelta(days=7):
        raise InvalidInput(
            f"{field}: {text.strip()[:20]!r} is not a duration of at most 7 days.", hint="Such as 30m, 1h30m or 2d."
        )
    return length


def _offset_of(after: str | None) -> tzinfo:
    """Return the offset in ``after`` if no zone is known, because a zone is never guessed."""
    try:
        zone = datetime.fromisoformat((after or "").strip()).tzinfo
    except ValueError:
        zone = None
    if zone is None:
        raise InvalidInput("hours: need a time zone.", hint="Give time_zone, such as Europe/Berlin.")
    return zone


def read_window(after: str | None, before: str | None, now: float, zone: tzinfo) -> Span:
    start = (
        times.moment(after, now, "after", zone, coming=True)
        if after
        else next_quarter(datetime.fromtimestamp(now, UTC))
    )
    end = (
        times.moment(before, now, "before", zone, coming=True)
        if before
        else (start.astimezone(zone) + timedelta(days=7))
    )
    end = end.astimezone(UTC)
    if end <= start or end - start > _FARTHEST:
        raise InvalidInput(
            "after, before: after must be earlier than before, by at most a year.",
            hint=f"They are {stamp(start)} and {stamp(end)}.",
        )
    return start, end


# ----------------------------------------------------------------- requests


def query_busy(calendars: Sequence[str], window: Span) -> Asks[tuple[dict[str, list[Span]], list[str]]]:
    """Return each calendar's busy times, and the unreadable calendars (freebusy.query, at most 60 days each)."""
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
    seen -= unseen  # a calendar that is hidden part of the time is not free in the rest
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
