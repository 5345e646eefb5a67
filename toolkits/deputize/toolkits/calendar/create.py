"""Calendar: create an event once. Its id comes from the act, so that a retry finds the first attempt's event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import Field

from deputize.core import Alias, Effect, Need, Preview, Run, SaveNote, Steps, Undo, Wait
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, NotFound, OutcomeUnknown, ProviderUnavailable
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.calendar import api
from deputize.toolkits.calendar.argument_values import (
    Kind,
    conference,
    fields,
    has_pending_call,
    kind_fields,
    mail_params,
    parse_guests,
)
from deputize.toolkits.calendar.base import (
    CALENDAR,
    EVENTS,
    OWNED,
    PRIMARY,
    VALUES,
    Asks,
    CalendarName,
    Json,
    Minutes,
    Noted,
    Notify,
    Rules,
    ShowAs,
    Start,
    Until,
    Visibility,
    Zone,
    reads,
    writes,
)
from deputize.toolkits.calendar.event_times import (
    Moment,
    full,
    needs_zone,
    parse_zone,
    read_end,
    read_moment,
    short,
    stamp,
)
from deputize.toolkits.calendar.rows import end_of, lean, own_guest, result_row, start_of
from deputize.toolkits.calendar.rows import title as shown_title
from deputize.toolkits.calendar.rules import Recurrence, read_recurrence, recurrence_text
from deputize.toolkits.calendar.series import check_start, next_dates
from deputize.toolkits.calendar.show_fields import CalendarRef, event_fields, pins_of, preview_event, undo_call

LOST: Final = (OutcomeUnknown, ProviderUnavailable)

Emails = list[str]
_MAP: Final = {
    "summary": "title",
    "start_datetime": "start",
    "end_datetime": "end",
    "attendee_emails": "attendees",
    "send_notifications_to_attendees": "notify",
    "add_google_meet": "meet",
    "calendar_id": "calendar",
}


def conflict_needs(*calendars: str) -> list[Need]:
    """Return the need of reading conflicting events, under the scope of the write."""
    ask = OWNED if all(one == PRIMARY for one in calendars) else EVENTS
    return [replace(need, ask=ask) for need in reads("list", *calendars) if need.method == "calendar.events.list"]


def _needs(arguments: Arguments) -> Sequence[Need]:
    return [*writes("insert", arguments["calendar"]), *conflict_needs(arguments["calendar"])]


def _effect(arguments: Arguments) -> Effect:
    """Return SENDS for guests, a public event, or a calendar other than the user's main one."""
    guests = arguments["attendees"] or arguments["optional_attendees"]
    public = arguments["visibility"] == "public" or arguments["kind"] == "workingLocation"
    return Effect.SENDS if guests or public or arguments["calendar"] != PRIMARY else Effect.WRITES


@CALENDAR.tool(
    needs=_needs,
    effect=_effect,
    gravest=Effect.SENDS,
    aliases=[Alias(name, _MAP, values=VALUES) for name in ("Google.CreateEvent", "GoogleCalendar.CreateEvent")],
)
def create_event(
    title: str,
    start: Start,
    end: Until,
    time_zone: Annotated[Zone, Field(description="IANA")] = None,
    attendees: Annotated[Emails | None, Field(description="emails or names")] = None,
    optional_attendees: Emails | None = None,
    description: str | None = None,
    location: Annotated[str | None, Field(description="of workingLocation: home or a name")] = None,
    recurrence: Rules | None = None,
    meet: bool = False,
    reminders: Minutes | None = None,
    show_as: ShowAs | None = None,
    visibility: Visibility | None = None,
    color: Annotated[str | None, Field(description="such as sage")] = None,
    kind: Kind = "default",
    calendar: CalendarName = PRIMARY,
    notify: Annotated[Notify, Field(description="who gets mail")] = "all",
    *,
    run: Run,
) -> Steps:
    """Create an event and invite people and rooms."""
    body = fields(title, description, location, reminders, show_as, visibility, color) | kind_fields(kind, location)
    called = yield from parse_guests(attendees, optional_attendees, run.account, "")  # fails before any request
    (found,) = yield from api.calendar_ids(calendar)
    guests = yield from parse_guests(attendees, optional_attendees, run.account, found)
    if kind != "default" and (found != PRIMARY or guests or meet):
        raise InvalidInput(
            f"kind: {kind} is only possible on the primary calendar, without guests and video call.",
            hint="Leave out kind, or calendar, attendees and meet.",
        )
    begins, ends = yield from _times(start, end, time_zone, found, run, recurring=bool(recurrence))
    if kind == "workingLocation" and visibility == "private":
        raise InvalidInput(
            "visibility: private is not possible for a working location; everybody who sees the calendar sees it.",
            hint="Leave out visibility, or kind.",
        )
    if kind in ("focusTime", "outOfOffice") and begins.all_day:
        raise InvalidInput(
            f"start: {kind} needs times, not whole days.",
            hint="Give start and end with their times, as in 2027-03-01T09:00.",
        )
    repeats = check_start(read_recurrence(recurrence or (), begins), begins)
    body |= {"id": run.key.base32, "start": begins.resource, "end": ends.resource}
    body |= {"attendees": guests} if guests else {}
    body |= {"recurrence": repeats.lines} if recurrence else {}
    body |= {"conferenceData": conference(run.key)} if meet else {}
    params = mail_params(notify, guests=bool(guests)) | ({"conferenceDataVersion": "1"} if meet else {})
    pins = {"calendar": found, "event": run.key.base32, "call": run.key.hex if meet else None, **pins_of(body)}
    what = "Create this event and invite its guests" if guests else "Create this event"
    event = yield from insert(
        found, body, params, run.noted, preview_event(what, body, CalendarRef(found, calendar, notify), pins=pins)
    )
    event = (yield from with_call(found, event)) if meet else event
    undo = _undo(event, calendar, notify)
    if not run.noted:
        yield undo
    zone = begins.zone or UTC
    result = result_row(event, zone) | recurrence_fields(repeats, begins) | {"undo": undo_call(undo)}
    result |= {"notified": True} if guests and notify != "none" else {}
    notes = [
        f"{name} comes twice that day; the first is meant."
        for name, one in (("start", begins), ("end", ends))
        if one.is_ambiguous
    ]
    notes += ["The user organizes it and needs no invitation."] if len(called) > len(guests) else []
    result["summary"] = " ".join(["Created." if not guests else "Created, and guests invited.", *notes])
    return result | (yield from find_conflicts(found, event, begins, ends, zone, show_as))


def _times(
    start: str, end: str, time_zone: str | None, calendar: str, run: Run, *, recurring: bool
) -> Asks[tuple[Moment, Moment]]:
    """Return start and end in a zone from the caller, the settings or the calendar."""
    zone: tzinfo | None = parse_zone(time_zone) if time_zone else None
    timed = not read_moment(start, zone or UTC, "start", run.now).all_day
    if zone is None and (needs_zone(start) or needs_zone(end) or (recurring and timed)):
        zone = yield from api.zone_of(calendar, run)
    begins = read_moment(start, zone, "start", run.now)
    if recurring and not begins.all_day and not isinstance(begins.zone, ZoneInfo):
        raise InvalidInput("time_zone: needed for a recurring event.", hint="Such as Europe/Berlin.")
    return begins, read_end(end, begins, zone, run.now)


def insert(
    calendar: str, body: Json, params: Mapping[str, Any], noted: Noted, show: Preview | None = None
) -> Asks[Json]:
    """Create an event under an id of deputize. After a lost response, look for it before one more attempt.

    ``show``: a preview to yield first. Raises `Conflict` if the event was created and deleted since, and
    `OutcomeUnknown` if this cannot be determined.
    """
    event_id = str(body["id"])
    if noted and (there := (yield from _find_created(calendar, event_id))):
        return there
    if show:
        yield show
    if not noted:
        yield SaveNote({"event": event_id})
    for _ in range(2):
        try:
            return dict((yield api.insert_event(calendar, body, params)))
        except Conflict:
            pass
        except ProviderUnavailable as lost:
            if not lost.sent:
                raise
        except OutcomeUnknown:
            pass
        if there := (yield from _find_created(calendar, event_id)):
            return there
    raise OutcomeUnknown("Google's answer was lost: the event may have been created.", hint="Look at the calendar.")


def _find_created(calendar: str, event_id: str) -> Asks[Json | None]:
    try:
        found = dict((yield api.get_event(calendar, event_id)))
    except NotFound:
        return None
    except DeputizeError:
        raise OutcomeUnknown(
            "Google's answer was lost: the event may have been created.", hint="Look at the calendar."
        ) from None
    if found.get("status") == "cancelled":
        raise Conflict(
            "This event was created by this act and has been deleted since.",
            reason="already_done",
            hint="Call again to make a new one.",
        )
    return found


def with_call(calendar: str, event: Json) -> Asks[Json]:
    """Return the event with its video call, waiting at most a second for it."""
    if not has_pending_call(event):
        return event
    yield Wait(1)
    return (yield from api.try_request(api.get_event(calendar, str(event["id"])))) or event


def recurrence_fields(repeats: Recurrence, begins: Moment) -> Json:
    """Return a recurrence in words and its first dates."""
    if not repeats.lines:
        return {}
    return {"repeats": recurrence_text(repeats), "dates": [full(one) for one in next_dates(repeats, begins)]}


def find_conflicts(
    calendar: str, event: Mapping[str, Any], start: Moment, end: Moment, zone: tzinfo, show_as: str | None
) -> Asks[Json]:
    """List other events at that time. They never prevent the write."""
    if show_as == "free":
        return {}
    params = {"timeMin": stamp(start.at), "timeMax": stamp(end.at), "singleEvents": True, "maxResults": 10}
    page = (yield from api.try_request(api.list_events(calendar, params))) or {}
    found = [one for one in page.get("items") or () if _is_conflict(one, event)]
    outside = Outside()
    rows = [
        f"{shown_title(one, outside, 40)} ({short(start_of(one, zone), zone)} to {short(end_of(one, zone), zone)})"
        for one in found[:3]
    ]
    return lean({"conflicts": rows, "untrusted": bool(rows)})


def _is_conflict(one: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    ours = {event.get("id"), event.get("recurringEventId")}
    own = own_guest(one) or {}
    return (
        not {one.get("id"), one.get("recurringEventId")} & (ours - {None})
        and one.get("transparency") != "transparent"
        and one.get("status") != "cancelled"
        and own.get("responseStatus") != "declined"
        and one.get("eventType") != "workingLocation"
    )


def _undo(event: Mapping[str, Any], calendar: str, notify: str) -> Undo:
    """Return the call that cancels the event, which works only while the event is unchanged."""
    args: Json = {"event_id": event.get("id"), "calendar": calendar, "notify": notify}
    args |= {"apply_to": "series"} if event.get("recurrence") else {}
    is_now = event_fields(event)
    left = ("title", "guests", "begins", "ends", "repeats", "description", "location")
    return Undo("calendar_delete_event", args, {name: is_now[name] for name in left})
