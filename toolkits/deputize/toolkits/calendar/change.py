"""Calendar: change events; in a series: one, the following or all occurrences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from deputize.core import ActKey, Alias, Audience, Change, Effect, Need, Preview, Run, SaveNote, Steps
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.long_text import Edit, note_of
from deputize.toolkits.calendar import api
from deputize.toolkits.calendar.argument_values import check_removed, fields, mail_params, parse_guests
from deputize.toolkits.calendar.base import (
    CALENDAR,
    PRIMARY,
    VALUES,
    Asks,
    Json,
    Notify,
    Rules,
    ShowAs,
    Start,
    Until,
    Visibility,
    Zone,
    writes,
)
from deputize.toolkits.calendar.change_following import change_following
from deputize.toolkits.calendar.change_report import change_result, make_undo
from deputize.toolkits.calendar.create import conflict_needs, with_call
from deputize.toolkits.calendar.event_input import Wish, apply_edit, changed_body, resolve_times, zone_for
from deputize.toolkits.calendar.rows import guests, kind
from deputize.toolkits.calendar.show_fields import (
    CalendarRef,
    apply_body,
    audience_of,
    calendar_text,
    changed_fields,
    event_fields,
    mail_text,
    other_addresses,
    pins_of,
    reached_addresses,
    unchanged_fields,
)
from deputize.toolkits.calendar.split_series import find_split
from deputize.toolkits.calendar.target import Reach, Target, load_target, write_changes
from deputize.toolkits.calendar.texts import is_extension

Emails = list[str]


def _needs(arguments: Arguments) -> Sequence[Need]:
    calendars = [arguments["calendar"], *([arguments["move_to"]] if arguments["move_to"] else [])]
    methods = "patch" + (" insert" if arguments["apply_to"] == "following" else "")
    return [*writes(methods + (" move" if arguments["move_to"] else ""), *calendars), *conflict_needs(*calendars)]


@CALENDAR.tool(
    needs=_needs,
    effect=Effect.SENDS,
    aliases=[
        Alias(
            "GoogleCalendar.UpdateEvent",
            {
                "updated_summary": "title",
                "updated_start_datetime": "start",
                "updated_end_datetime": "end",
                "updated_description": "description",
                "updated_location": "location",
                "updated_visibility": "visibility",
                "attendee_emails_to_add": "add_attendees",
                "attendee_emails_to_remove": "remove_attendees",
                "send_notifications_to_attendees": "notify",
                "updated_google_meet": "meet",
                "updated_recurrence": "recurrence",
            },
            values={**VALUES, "meet": {"none": None}},
        )
    ],
)
def update_event(
    event_id: str,
    title: str | None = None,
    start: Start | None = None,
    end: Until | None = None,
    time_zone: Zone = None,
    description: str | None = None,
    append: bool = False,
    replaces: Annotated[str | None, Field(description="old part")] = None,
    if_text: Annotated[str | None, Field(description="text_digest")] = None,
    location: str | None = None,
    recurrence: Rules | None = None,
    reminders: Annotated[list[int] | None, Field(description="minutes before")] = None,
    show_as: ShowAs | None = None,
    visibility: Visibility | None = None,
    color: str | None = None,
    add_attendees: Emails | None = None,
    remove_attendees: Emails | None = None,
    meet: Literal["add", "remove"] | None = None,
    move_to: Annotated[str | None, Field(description="another calendar")] = None,
    apply_to: Reach = "this",
    calendar: str = PRIMARY,
    notify: Notify = "all",
    *,
    run: Run,
) -> Steps:
    """Change fields of an event or series. Guests get no message: append why to description."""
    plain = fields(title, description, location, reminders, show_as, visibility, color)
    add = yield from parse_guests(add_attendees, None, run.account, calendar)
    edit = Edit(append, replaces, if_text)
    if edit != Edit() and description is None:
        raise InvalidInput("append, replaces, if_text: only together with description.", hint="Give description.")
    wish = Wish(plain, start, end, time_zone, recurrence or None, add, remove_attendees or (), meet, run.now)
    if time_zone and not wish.moves:
        raise InvalidInput(
            "time_zone: only together with start or end.", hint="Give start, as the clock shows it there."
        )
    if not (plain or wish.moves or recurrence or add or remove_attendees or meet or move_to):
        raise InvalidInput("Nothing to change: give at least one field.", hint="Such as title, start or description.")
    if move_to and apply_to == "following":
        raise _move_error("of a series all occurrences move to another calendar, or none", "Say apply_to=series.")
    named = yield from api.calendar_ids(calendar, *([move_to] if move_to else []))
    found = named[0]
    if apply_to == "following" and (not run.noted or "ended" in run.noted):
        split = yield from find_split(found, event_id, run.noted)
        if split is not None:
            place = CalendarRef(found, calendar, notify)
            if not run.noted:
                check_removed(split.series, wish.remove)
            wish = apply_edit(wish, edit, split.rest, None)
            return (yield from change_following(place, split, wish, run))
    if run.noted:
        found, event = yield from _find_again(named, str(run.noted["event"]))
        target, wish = Target(event), replace(wish, start=run.noted.get("start", start), end=run.noted.get("end", end))
    else:
        target = yield from load_target(found, event_id, apply_to, run.now)
        check_removed(target.event, wish.remove)
    if move_to and target.event.get("recurringEventId"):
        raise _move_error("of a series all occurrences move to another calendar, or none", "Say apply_to=series.")
    if move_to and kind(target.event) != "default":
        raise _move_error(f"an event of kind {kind(target.event)} stays on its calendar", "Create another one there.")
    zone = yield from zone_for(found, target.event, wish, run)
    wish = apply_edit(resolve_times(wish, target, zone), edit, target.event, run.noted)
    before, move_to = target.event, move_to if named[-1] != named[0] else None
    moves = bool(move_to) and named[1] != found

    def body_of(event: Json) -> Json:
        return changed_body(event, wish, zone, run.key)

    def show_of(event: Json) -> Preview:
        goes = (named[1], move_to) if move_to and moves else None
        return _make_preview(event, body_of(event), run.key, CalendarRef(found, calendar, notify), goes)

    show = show_of(before) if body_of(before) or (moves and not run.noted) else None
    if show:
        yield show
    if show and not run.noted:
        texts = (
            {"description": (before.get("description"), wish.plain["description"])} if description is not None else {}
        )
        yield SaveNote({"event": before.get("id"), "start": wish.start, "end": wish.end, **note_of(texts)})
    digest = show.digest if show else ""
    after = yield from write_changes(found, before, body_of, lambda event: show_of(event).digest == digest, notify, add)
    after = (yield from with_call(found, after)) if meet == "add" else after
    if moves:
        after = yield from _move(found, after, named[1], notify)
    undo = make_undo(before, after, wish, calendar, notify, move_to)
    if undo and show:
        yield undo
    mailed = {"notified": True} if show and guests(after) and notify != "none" else {}
    return (yield from change_result(found, before, after, wish, zone, undo, move_to)) | mailed


def _move_error(why: str, hint: str) -> InvalidInput:
    return InvalidInput(f"move_to: {why}.", hint=hint)


def _make_preview(event: Json, body: Json, key: ActKey, place: CalendarRef, goes: tuple[str, str] | None) -> Preview:
    """Return the preview of a change. ``goes``: id and given name of the calendar that it moves to."""
    (calendar, name, notify), after = place, apply_body(event, body)
    old, new, others = event_fields(event), event_fields(after), other_addresses(event, after)
    where, seen = calendar_text(name, calendar), audience_of(calendar, others, event, after)
    lost = [one for one in ("video_call", "repeats") if old[one] and old[one] != new[one]]
    lost += [] if is_extension(old["description"], new["description"]) else ["description"]
    pins = {"calendar": calendar, "event": event.get("id"), **pins_of(body)}
    pins |= {"call": key.hex} if body.get("conferenceData") else {}
    changed = changed_fields(old, new)
    return Preview(
        "Change this whole series" if event.get("recurrence") else "Change this event",
        audience=Audience.UNKNOWN if goes else seen,
        people=reached_addresses(notify, event, after),
        where=where,
        destroys=bool(lost),
        **changed,
        moves_to=Change(where, calendar_text(goes[1], goes[0])) if goes else None,
        mail=mail_text(notify, others),
        context=unchanged_fields(new, changed) | {"link": event.get("htmlLink")},
        pins=pins | ({"destination": goes[0]} if goes else {}),
    )


def _find_again(calendars: Sequence[str], event_id: str) -> Asks[tuple[str, Json]]:
    """Find an event that an earlier run may have moved. Return its calendar and the event."""
    for calendar in dict.fromkeys(calendars):
        try:
            event = dict((yield api.get_event(calendar, event_id)))
        except NotFound:
            continue
        if event.get("status") != "cancelled":
            return calendar, event
    raise NotFound("This event has been cancelled.", hint="calendar_create_event makes a new one.")


def _move(calendar: str, event: Json, destination: str, notify: str) -> Asks[Json]:
    params = mail_params(notify, guests=bool(guests(event)))
    try:
        return dict((yield api.move_event(calendar, str(event["id"]), destination, params)))
    except NotFound:
        return dict((yield api.get_event(destination, str(event["id"]))))  # an earlier answer was lost: it has moved
