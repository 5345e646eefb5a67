"""Calendar: rooms and other resources to book, and which of them are free.

The company's list of resources belongs to the Admin SDK (resources.calendars.list), whose scope only administrators can
grant. So the rooms here are those in the user's list of calendars, and those of the user's events. Google writes seats
and equipment into a resource's name: ``HQ-1-Lantern (8) [Screen]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Need, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.page import Rows
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.calendar import api
from deputize.toolkits.calendar.base import CALENDAR, PRIMARY, READS_OWN, Asks, Json, lists
from deputize.toolkits.calendar.event_times import stamp
from deputize.toolkits.calendar.free import AT_ONCE, query_busy, read_window, reads_times
from deputize.toolkits.calendar.free_ranges import Span, union

_RESOURCE: Final = "@resource.calendar.google.com"
_SEATS: Final = re.compile(r"\((\d{1,4})\)", re.ASCII)
_PAST, _FUTURE = timedelta(days=60), timedelta(days=60)
_EVENTS: Final = 250
_ADMIN: Final = "Rooms of the user's calendar list and events. The company's whole list needs an administrator's scope."


def _needs(arguments: Arguments) -> Sequence[Need]:
    times = [reads_times()] if arguments["after"] or arguments["before"] else []
    return [lists("list"), *times]


@CALENDAR.tool(needs=_needs)
def list_rooms(
    query: Annotated[str | None, Field(description="name, place or equipment")] = None,
    seats: Annotated[int | None, Field(ge=1, description="at least")] = None,
    after: Annotated[str | None, Field(description="free from")] = None,
    before: Annotated[str | None, Field(description="free until")] = None,
    *,
    run: Run,
) -> Steps:
    """Find rooms and equipment to book, which are free from after to before. Invite the address to book one."""
    if bool(after) != bool(before):
        raise InvalidInput("after, before: give both.", hint="Such as after=Thursday 14:00 and before=Thursday 15:00.")
    zone: tzinfo = (yield from api.zone_of(PRIMARY, run)) or UTC
    window = read_window(after, before, run.now, zone) if after else None
    known = yield from _resources(run.now, run.granted)
    words = (query or "").casefold().split()
    fitting = {
        address: name
        for address, name in known.items()
        if all(word in name.casefold() for word in words) and (not seats or (_seats_in(name) or seats) >= seats)
    }
    busy: dict[str, list[Span]] = {}
    addresses = sorted(fitting)[:AT_ONCE]
    if window and addresses:
        busy, _ = yield from query_busy(addresses, window)
    rows, cut = Rows(), False
    for address in sorted(addresses, key=lambda one: (bool(busy.get(one)), _seats_in(fitting[one]) or 9_999, one)):
        cut |= not rows.add(_row(address, fitting[address], window, busy, zone))
    result: Json = {"items": rows.items, "truncated": cut or len(fitting) > AT_ONCE, "time_zone": str(zone)}
    return result | {"summary": _ADMIN if rows.items else f"No such room. {_ADMIN}"}


def _resources(now: float, granted: frozenset[str]) -> Asks[dict[str, str]]:
    """Return the names of resources by address: of the calendar list, and of the user's events as far as the grant
    allows."""
    found: dict[str, str] = {}
    at = datetime.fromtimestamp(now, UTC)
    bounds = {"timeMin": stamp(at - _PAST), "timeMax": stamp(at + _FUTURE), "maxResults": _EVENTS, "singleEvents": True}
    page = (yield from api.try_request(api.list_events(PRIMARY, bounds))) if granted & READS_OWN else None
    for event in (page or {}).get("items") or ():
        for guest in event.get("attendees") or ():
            if guest.get("resource"):
                found[str(guest.get("email"))] = str(guest.get("displayName") or guest.get("email"))
    for entry in (yield from api.all_calendars()):
        if str(entry.get("id")).endswith(_RESOURCE):
            found[str(entry["id"])] = api.name_of(entry)
    return found


def _row(address: str, name: str, window: Span | None, busy: Mapping[str, Iterable[Span]], zone: tzinfo) -> Json:
    outside = Outside()
    row: dict[str, Any] = {"room": address, "name": outside.line(name, 120), "seats": _seats_in(name)}
    if window:
        taken = [_clock(span, zone) for span in union(busy[address])] if address in busy else None
        row |= {"free": "unknown" if taken is None else "no" if taken else "yes", "busy": taken or None}
    outside.mark(row)
    return {key: value for key, value in row.items() if value is not None}


def _seats_in(name: str) -> int | None:
    found = _SEATS.search(name)
    return int(found[1]) if found else None


def _clock(span: Span, zone: tzinfo) -> str:
    start, end = (one.astimezone(zone) for one in span)
    return f"{start:%Y-%m-%d %H:%M}-{end:%H:%M}" if start.date() == end.date() else f"{start:%Y-%m-%d %H:%M} and on"
