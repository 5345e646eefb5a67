"""Details of one event, within the budget of a result."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, Final

from deputize.core import UserTime
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.page import BUDGET, lean, tokens
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.calendar.base import Event, Json
from deputize.toolkits.calendar.event_times import Moment, full, named_zone
from deputize.toolkits.calendar.rows import (
    ANSWERS,
    MORE,
    address,
    end_of,
    guest_name,
    guests,
    has_hidden_guests,
    kind,
    mark_row,
    meeting,
    offset_of,
    own_guest,
    place,
    shows_others_words,
    start_of,
    title,
    zone_name,
)
from deputize.toolkits.calendar.rules import read_recurrence, recurrence_text
from deputize.toolkits.calendar.texts import SHOWN, description_part, rest_call

_PEOPLE: Final = 10  # guests
_LINE: Final = 1_000  # bytes of a title or place
_LINK: Final = 2_000  # bytes of a link in a place
_RULE: Final = 300  # characters of a line of a recurrence
_RULES: Final = 10  # of these lines
_SHARES: Final = (1, 2, 4, 8)  # divisors of these sizes, tried in order
_ENVELOPE: Final = 150  # tokens reserved for the rest of a result


def event_detail(event: Event, calendar: str, here: tzinfo) -> Json:
    """Return one event. ``cut`` lists texts and guests that are shortened, each with the call that reads on.

    ``here``: the user's zone. If its offset differs, the start is also given in it.
    """
    detail, start = _fit_budget(event, calendar)[0], start_of(event, offset_of(event))
    if start and not start.all_day and named_zone(here) and start.at.astimezone(here).utcoffset() != start.offset:
        detail["start_for_user"] = UserTime.of(start.at)
    return detail


def shown_description_bytes(event: Event) -> int:
    """Return how many bytes of an event's description its detail may contain."""
    return _fit_budget(event, "")[1]


def _fit_budget(event: Event, calendar: str) -> tuple[Json, int]:
    """Return the largest detail that fits a result, and the bytes that its description may have."""
    *shares, least = _SHARES
    for share in shares:
        detail = _detail(event, calendar, share)
        if tokens(detail) <= BUDGET - _ENVELOPE:
            return detail, SHOWN // share
    return _detail(event, calendar, least), SHOWN // least


def _detail(event: Event, calendar: str, share: int) -> Json:
    outside, zone, line = Outside(), offset_of(event), _LINE // share
    start, end = start_of(event, zone), end_of(event, zone)
    name, where = title(event, outside, line), place(event, outside, line, link=_LINK // share)
    said = description_part(event, outside, SHOWN // share, rest_call(event, calendar))
    people, own, most = guests(event), own_guest(event), max(_PEOPLE // share, 2)
    organizer = event.get("organizer") or {}
    cut = {
        "title": name.endswith(MORE) and not str(event.get("summary")).endswith(MORE),
        "location": where.endswith(MORE) and not str(event.get("location")).endswith(MORE),
        "people": len(people) > most,
    }
    repeats = _repeats(event, start)
    cut["recurrence"] = len(repeats["recurrence"]) < len(event.get("recurrence") or ())
    detail: Json = {
        "id": event.get("id"),
        "calendar": calendar,
        "title": name,
        "start": full(start),
        "end": full(end),
        "all_day": bool(start and start.all_day),
        "time_zone": zone_name(start),
        "where": where,
        **said,
        "organizer": guest_name(organizer, outside) if organizer.get("email") else "",
        "people": [guest_row(one, outside) for one in people[:most]],
        "more_people": max(len(people) - most, 0) or None,
        "people_hidden": has_hidden_guests(event),
        "my_response": ANSWERS.get(str((own or {}).get("responseStatus") or ""), ""),
        "meet": meeting(event),
        **repeats,
        "series": event.get("recurringEventId"),
        "reminders": _reminders(event),
        "show_as": "free" if event.get("transparency") == "transparent" else "busy",
        "visibility": str(event.get("visibility") or "default"),
        "kind": kind(event),
        "status": str(event.get("status") or ""),
        "etag": event.get("etag"),
        "url": event.get("htmlLink"),
        "cut": [{"part": part, "more": rest_call(event, calendar, part=part)} for part, on in cut.items() if on],
    }
    if shows_others_words(people[:most]):
        outside.mark(detail)
    return mark_row(detail, outside, event)


def guest_row(one: Mapping[str, Any], outside: Outside, *, alone: bool = False) -> Json:
    """Return a guest and the guest's answer. ``alone``: for a list of guests only, with the whole comment."""
    row: Json = {
        "email": address(one, outside),
        "name": outside.line(str(one.get("displayName") or ""), 200 if alone else 40),
        "response": ANSWERS.get(str(one.get("responseStatus") or ""), ""),
        "comment": outside.line(str(one.get("comment") or ""), 2_000 if alone else 80),
        "optional": bool(one.get("optional")),
        "room": bool(one.get("resource")),
    }
    return lean(row)


def _repeats(event: Event, start: Moment | None) -> Json:
    lines = [str(one) for one in event.get("recurrence") or ()]
    try:
        words = recurrence_text(read_recurrence(lines, start)) if lines and start else ""
    except InvalidInput:
        words = ""  # another program's rule that deputize does not support
    return {"recurrence": [one for one in lines if len(one) <= _RULE][:_RULES], "repeats": words}


def _reminders(event: Event) -> Any:
    told = event.get("reminders") or {}
    if told.get("useDefault") or not told.get("overrides"):
        return "default" if told.get("useDefault") else None
    return [int(one.get("minutes", 0)) for one in told["overrides"][:5]]
