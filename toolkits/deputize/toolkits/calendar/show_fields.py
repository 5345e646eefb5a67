"""What a person is shown of an event before it is made, changed, cancelled or answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from deputize.core import Audience, Change, Preview, Undo
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.mail.headers import Person
from deputize.toolkits.calendar.argument_values import colour_called
from deputize.toolkits.calendar.base import PRIMARY, Event, Json
from deputize.toolkits.calendar.event_times import Moment
from deputize.toolkits.calendar.rows import end_of, guests, meeting, offset_of, start_of
from deputize.toolkits.calendar.rules import in_words, read_recurrence

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = tuple("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())
_KINDS: Final = {"focusTime": "focus time", "outOfOffice": "out of office", "workingLocation": "place of work"}
_MAIL: Final = {
    "all": "to all guests",
    "external": "to guests outside of your organisation only",
    "none": "to nobody",
}
KNOWN_BY: Final = ("title", "guests", "begins", "ends")
"""By what a person knows an event: shown whatever is done to it."""


def moment_in_words(moment: Moment | None) -> str | None:
    """A time as people say it, with its weekday and its zone; the offset, too, where a clock shows it twice."""
    if moment is None:
        return None
    day = f"{_DAYS[moment.day.weekday()]} {moment.day.day} {_MONTHS[moment.day.month - 1]} {moment.day.year}"
    if not isinstance(moment.local, datetime):
        return day
    at = moment.local.replace(tzinfo=moment.zone)
    offset = f"UTC{at.isoformat(timespec='minutes')[16:]}"
    named = moment.zone.key if isinstance(moment.zone, ZoneInfo) else offset
    zone = f"{named}, {offset}" if moment.twice else named
    seconds = f":{at.second:02}" if at.second else ""
    return f"{day}, {at:%H:%M}{seconds} ({zone})"


def event_fields(event: Event) -> dict[str, Any]:
    """An event as it is shown, what others see of it first. What it does not have is None."""
    zone, reminders = offset_of(event), event.get("reminders") or {}
    start = start_of(event, zone)
    return {
        "title": event.get("summary"),
        "guests": list(map(guest_in_words, guests(event))) or None,
        "begins": moment_in_words(start),
        "ends": moment_in_words(end_of(event, zone)),
        "repeats": repeats_in_words(event.get("recurrence") or (), start) or None,
        "description": event.get("description"),
        "location": event.get("location"),
        "video_call": _call(event),
        "kind": _KINDS.get(str(event.get("eventType"))),
        "place_of_work": _place_of_work(event.get("workingLocationProperties") or {}),
        "visibility": event.get("visibility"),
        "show_as": {"opaque": "busy", "transparent": "free"}.get(str(event.get("transparency"))),
        "color": colour_called(event.get("colorId")) or None,
        "reminders": None if reminders.get("useDefault", True) else _reminders(reminders),
    }


def guest_in_words(guest: Mapping[str, Any]) -> str:
    """A guest with name and address, and what is special about the invitation."""
    marks = [word for word, on in (("optional", guest.get("optional")), ("room", guest.get("resource"))) if on]
    more = f" ({', '.join(marks)})" if marks else ""
    return f"{Person(str(guest.get('displayName') or ''), str(guest.get('email') or ''))}{more}"


def repeats_in_words(lines: Sequence[str], start: Moment | None) -> list[str]:
    """The rules of a series in words, and as they are written."""
    try:
        return [in_words(read_recurrence(lines, start)), *lines] if lines and start else list(lines)
    except InvalidInput:
        return list(lines)  # of another program, of a kind that we do not know


def _call(event: Event) -> str | None:
    if ((event.get("conferenceData") or {}).get("createRequest") or {}) and not meeting(event):
        return "a new Google Meet call"
    return meeting(event) or ("another program's" if event.get("conferenceData") else None)


def _place_of_work(place: Mapping[str, Any]) -> str | None:
    if place.get("type") == "homeOffice":
        return "home"
    return (place.get("customLocation") or {}).get("label")


def _reminders(reminders: Mapping[str, Any]) -> list[str]:
    return [f"{one.get('minutes', 0)} minutes before" for one in reminders.get("overrides") or ()]


# ----------------------------------------------------------------- what differs


def merged(event: Event, body: Mapping[str, Any]) -> Json:
    """The event as it will be when this body has been written over it."""
    times = {name: _filled(body[name]) for name in ("start", "end") if name in body}
    whole: Json = {**event, **body, **times}
    if "conferenceData" in body:
        whole.pop("hangoutLink", None)
    return {name: value for name, value in whole.items() if value is not None}


def _filled(resource: Mapping[str, Any]) -> Json:
    return {name: value for name, value in resource.items() if value is not None}


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any], always: Sequence[str]) -> dict[str, Any]:
    """What will be, beside what is there now where that differs. ``always``: shown though they stay as they are."""
    changed = {
        name: Change(now_of(name, before.get(name)), _after(before.get(name), value))
        for name, value in after.items()
        if before.get(name) != value
    }
    return {name: changed.get(name, after[name]) for name in after if name in changed or name in always}


_UNSAID: Final = {"show_as": "busy", "visibility": "default", "color": "of the calendar", "reminders": "as usual"}


def now_of(name: str, value: Any) -> Any:
    """What a field is, as a change of it says."""
    return value or _UNSAID.get(name, "")


def _after(before: Any, after: Any) -> Any:
    empty: Any = [] if isinstance(before, list) else ""
    return empty if after is None else after


# ----------------------------------------------------------------- whom it reaches, where


class Place(NamedTuple):
    """On which calendar an event is: its id, what the caller called it; and who gets mail of what is done."""

    calendar: str
    name: str
    notify: str


def others_of(*events: Event) -> list[str]:
    """The addresses of everybody besides the user who is, or will be, among the guests, and of who organizes it."""
    found = {str(one.get("email") or "") for event in events for one in guests(event) if not one.get("self")}
    organizers = [event.get("organizer") or {} for event in events]
    found |= {str(one.get("email") or "") for one in organizers if not one.get("self")}
    return sorted(found - {""})


def seen_by(calendar: str, others: Iterable[str], *events: Event) -> Audience:
    """Who sees it. With whom a calendar is shared cannot be read with the scopes for events; of the main one it is
    taken that nobody else looks at it."""
    public = any(event.get("visibility") == "public" for event in events)
    rest = Audience.UNKNOWN if calendar != PRIMARY else Audience.PEOPLE if list(others) else Audience.SELF
    return max(rest, Audience.PUBLIC) if public else rest


def where_of(name: str, calendar: str) -> str:
    """A calendar in words. ``name``: as the caller called it."""
    if calendar == PRIMARY:
        return "your main calendar"
    return f"calendar {calendar}" if name == calendar else f"calendar {name} ({calendar})"


def mail_of(notify: str, others: Iterable[str]) -> str | None:
    """Who is written to by Google, where there is anybody."""
    return _MAIL[notify] if list(others) else None


def show_event(what: str, event: Event, calendar: str, name: str, notify: str, **more: Any) -> Preview:
    """All of an event. ``more``: pins and the like, and further fields."""
    others = others_of(event)
    fields = event_fields(event) | {"mail": mail_of(notify, others)}
    return Preview(
        what, audience=seen_by(calendar, others, event), people=others, where=where_of(name, calendar), **fields, **more
    )


def pins_of(body: Mapping[str, Any]) -> Json:
    """What a body says in Google's words where a person reads other ones."""
    times = {name: " ".join(_filled(body[name]).values()) for name in ("start", "end") if name in body}
    return times | ({"colour": body["colorId"]} if body.get("colorId") else {})


def call_of(undo: Undo) -> Json:
    """How an act is undone, as its result says it to the model."""
    return {"tool": undo.tool, "args": dict(undo.arguments)}
