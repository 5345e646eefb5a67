"""Previews of events before they are created, changed, cancelled or answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from deputize.core import Audience, Change, Preview, Undo
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.mail.headers import Person
from deputize.toolkits.calendar.argument_values import colour_name
from deputize.toolkits.calendar.base import PRIMARY, Event, Json
from deputize.toolkits.calendar.event_times import Moment
from deputize.toolkits.calendar.rows import end_of, guests, meeting, offset_of, start_of
from deputize.toolkits.calendar.rules import is_whole_in_words, read_recurrence, recurrence_text

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = tuple("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())
_KINDS: Final = {"focusTime": "focus time", "outOfOffice": "out of office", "workingLocation": "place of work"}
_MAIL: Final = {
    "all": "to all guests",
    "external": "to guests outside of your organisation only",
    "none": "to nobody",
}
KNOWN_BY: Final = ("title", "guests", "begins", "ends")
"""Fields that identify an event for a person; always shown, as context if they do not change."""


def moment_in_words(moment: Moment | None) -> str | None:
    """Return a time with weekday and zone, and with its offset if a clock change repeats the time."""
    if moment is None:
        return None
    day = f"{_DAYS[moment.day.weekday()]} {moment.day.day} {_MONTHS[moment.day.month - 1]} {moment.day.year}"
    if not isinstance(moment.local, datetime):
        return day
    at = moment.local.replace(tzinfo=moment.zone)
    offset = f"UTC{at.isoformat(timespec='minutes')[16:]}"
    named = moment.zone.key if isinstance(moment.zone, ZoneInfo) else offset
    zone = f"{named}, {offset}" if moment.is_ambiguous else named
    seconds = f":{at.second:02}" if at.second else ""
    return f"{day}, {at:%H:%M}{seconds} ({zone})"


def event_fields(event: Event) -> dict[str, Any]:
    """Return the preview fields of an event, in the order in which guests see them. Missing fields are None."""
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
        "color": colour_name(event.get("colorId")) or None,
        "reminders": None if reminders.get("useDefault", True) else _reminders(reminders),
    }


def guest_in_words(guest: Mapping[str, Any]) -> str:
    """Return a guest's name and address, with "optional" or "room" if that applies."""
    marks = [word for word, on in (("optional", guest.get("optional")), ("room", guest.get("resource"))) if on]
    more = f" ({', '.join(marks)})" if marks else ""
    return f"{Person(str(guest.get('displayName') or ''), str(guest.get('email') or ''))}{more}"


def repeats_in_words(lines: Sequence[str], start: Moment | None) -> str | list[str]:
    """Return the rule of a series in words, followed by its iCalendar lines if the words do not say all of it. Return
    only the lines of an unsupported rule."""
    if not lines or start is None:
        return list(lines)
    try:
        recurrence = read_recurrence(lines, start)
    except InvalidInput:
        return list(lines)  # another program's rule that deputize does not support
    told = recurrence_text(recurrence, start)
    return told if is_whole_in_words(recurrence) else [told, *lines]


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


# ----------------------------------------------------------------- changes


def apply_body(event: Event, body: Mapping[str, Any]) -> Json:
    """Return the event as it is after this body is written over it."""
    times = {name: _without_none(body[name]) for name in ("start", "end") if name in body}
    whole: Json = {**event, **body, **times}
    if "conferenceData" in body:
        whole.pop("hangoutLink", None)
    return {name: value for name, value in whole.items() if value is not None}


def _without_none(resource: Mapping[str, Any]) -> Json:
    return {name: value for name, value in resource.items() if value is not None}


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed fields, each with its old value."""
    return {
        name: Change(value_text(name, before.get(name)), _new_value(before.get(name), value))
        for name, value in after.items()
        if before.get(name) != value
    }


def unchanged_fields(fields: Mapping[str, Any], changed: Iterable[str], names: Iterable[str] = KNOWN_BY) -> Json:
    """Return the fields of these names that identify the event and do not change."""
    return {name: fields[name] for name in names if name not in changed}


_DEFAULTS: Final = {"show_as": "busy", "visibility": "default", "color": "of the calendar", "reminders": "as usual"}


def value_text(name: str, value: Any) -> Any:
    """Return a field's value for a change, or the text of its default."""
    return value or _DEFAULTS.get(name, "")


def _new_value(before: Any, after: Any) -> Any:
    empty: Any = [] if isinstance(before, list) else ""
    return empty if after is None else after


# ----------------------------------------------------------------- audience and calendar


class CalendarRef(NamedTuple):
    """The calendar of an event: its id and the name that the caller gave; and the recipients of Google's mail."""

    calendar: str
    name: str
    notify: str


def other_addresses(*events: Event) -> list[str]:
    """Return the addresses of all guests and organizers besides the user."""
    people = [one for event in events for one in (*guests(event), event.get("organizer") or {})]
    own = {_address(one).lower() for one in people if one.get("self")} | {""}
    return sorted({_address(one) for one in people if _address(one).lower() not in own})


def reached_addresses(notify: str, *events: Event) -> list[str]:
    """Return the addresses whom Google notifies, and of guests who are in some of the events but not in all. Without
    notice, unchanged guests only see a change when they look."""
    if notify != "none":
        return other_addresses(*events)
    lists = [set(map(_address, guests(event))) for event in events]
    changed = set[str]().union(*lists) - lists[0].intersection(*lists[1:])
    return [one for one in other_addresses(*events) if one in changed]


def _address(person: Mapping[str, Any]) -> str:
    return str(person.get("email") or "")


def audience_of(calendar: str, others: Iterable[str], *events: Event) -> Audience:
    """Return the audience. Scopes for events do not reveal with whom a calendar is shared; the main calendar counts as
    unshared."""
    public = any(event.get("visibility") == "public" for event in events)
    rest = Audience.UNKNOWN if calendar != PRIMARY else Audience.PEOPLE if list(others) else Audience.SELF
    return max(rest, Audience.PUBLIC) if public else rest


def calendar_text(name: str, calendar: str) -> str:
    """Return a calendar in words. ``name``: the name in the call."""
    if calendar == PRIMARY:
        return "your main calendar"
    return f"calendar {calendar}" if name == calendar else f"calendar {name} ({calendar})"


def mail_text(notify: str, others: Iterable[str]) -> str | None:
    """Return the recipients of Google's mail in words, or None if there are no others."""
    return _MAIL[notify] if list(others) else None


def preview_event(what: str, event: Event, place: CalendarRef, **more: Any) -> Preview:
    """Return the preview of a new event. ``more``: pins and further fields."""
    others = other_addresses(event)
    fields = event_fields(event) | {"mail": mail_text(place.notify, others)}
    audience, where = audience_of(place.calendar, others, event), calendar_text(place.name, place.calendar)
    return Preview(what, audience=audience, people=others, where=where, own_words=("mail",), **fields, **more)


def preview_cancelled(what: str, event: Event, place: CalendarRef, **more: Any) -> Preview:
    """Return the preview of the cancellation of an event. ``more``: pins and further fields."""
    others = other_addresses(event)
    return Preview(
        what,
        audience=audience_of(place.calendar, others, event),
        people=reached_addresses(place.notify, event),
        where=calendar_text(place.name, place.calendar),
        mail=mail_text(place.notify, others),
        context=event_fields(event) | {"link": event.get("htmlLink")},
        **more,
    )


def pins_of(body: Mapping[str, Any]) -> Json:
    """Return Google's values of fields that the preview shows in other words."""
    times = {name: " ".join(_without_none(body[name]).values()) for name in ("start", "end") if name in body}
    times |= {"colour": body["colorId"]} if body.get("colorId") else {}
    return times | ({"repeats": list(body["recurrence"])} if body.get("recurrence") else {})


def undo_call(undo: Undo) -> Json:
    """Return the undo call for the model's result."""
    return {"tool": undo.tool, "args": dict(undo.arguments)}
