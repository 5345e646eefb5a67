"""Calendar: change events, of a series one, the following or all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from typing import Any, Final, Literal

from deputize.core import ActKey, Alias, Audience, Change, Effect, Need, Note, Run, Show, Steps, Undo
from deputize.core.act.tool import Arguments
from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits.calendar import api
from deputize.toolkits.calendar.base import (
    CALENDAR,
    PRIMARY,
    Asks,
    CalendarName,
    Json,
    Minutes,
    Notify,
    Rules,
    ShowAs,
    Start,
    Until,
    Visibility,
    Zone,
    writes,
)
from deputize.toolkits.calendar.create import clashes, looks, told, with_call
from deputize.toolkits.calendar.event_input import UNSAID, Wish, changes_of, settled, zone_for
from deputize.toolkits.calendar.following import split_of
from deputize.toolkits.calendar.from_here_on import from_here_on
from deputize.toolkits.calendar.rows import guests, kind, made, start_of
from deputize.toolkits.calendar.rules import read_recurrence
from deputize.toolkits.calendar.show_fields import (
    KNOWN_BY,
    Place,
    call_of,
    changed_fields,
    event_fields,
    mail_of,
    merged,
    now_of,
    others_of,
    pins_of,
    seen_by,
    where_of,
)
from deputize.toolkits.calendar.target import Reach, Target, patched, target_of
from deputize.toolkits.calendar.when import full, moment_of
from deputize.toolkits.calendar.words import colour_called, fields, invited, updates

Emails = list[str]


def _needs(arguments: Arguments) -> Sequence[Need]:
    calendars = [arguments["calendar"], *([arguments["move_to"]] if arguments["move_to"] else [])]
    methods = "patch" + (" insert" if arguments["apply_to"] == "following" else "")
    return [*writes(methods + (" move" if arguments["move_to"] else ""), *calendars), *looks(*calendars)]


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
            },
            values={"notify": {"externalOnly": "external"}},
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
    location: str | None = None,
    recurrence: Rules | None = None,
    reminders: Minutes | None = None,
    show_as: ShowAs | None = None,
    visibility: Visibility | None = None,
    color: str | None = None,
    add_attendees: Emails | None = None,
    remove_attendees: Emails | None = None,
    meet: Literal["add", "remove"] | None = None,
    move_to: str | None = None,
    apply_to: Reach = "this",
    calendar: CalendarName = PRIMARY,
    notify: Notify = "all",
    *,
    run: Run,
) -> Steps:
    """Change the given fields of an event: one, the following or all occurrences."""
    plain = fields(title, description, location, reminders, show_as, visibility, color)
    add = yield from invited(add_attendees, None, run.account)
    wish = Wish(plain, start, end, time_zone, recurrence or None, add, remove_attendees or (), meet)
    if not (plain or wish.moves or recurrence or add or remove_attendees or meet or move_to):
        raise InvalidInput("Nothing to change: give at least one field.")
    if time_zone and not wish.moves:
        raise InvalidInput("time_zone: only together with start or end.")
    if move_to and apply_to == "following":
        raise InvalidInput("move_to: only ordinary events can be moved, and a recurring one only as a whole series.")
    named = yield from api.calendar_ids(calendar, *([move_to] if move_to else []))
    found = named[0]
    if apply_to == "following" and (not run.noted or "ended" in run.noted):
        split = yield from split_of(found, event_id, run.noted)
        if split is not None:
            place = Place(found, calendar, notify)
            return (yield from from_here_on(place, split, wish, run.key, run.granted, run.noted))
    if run.noted:
        found, event = yield from _taken_up(named, str(run.noted["event"]))
        target, wish = Target(event), replace(wish, start=run.noted.get("start", start), end=run.noted.get("end", end))
    else:
        target = yield from target_of(found, event_id, apply_to, run.now)
    if move_to and (target.event.get("recurringEventId") or kind(target.event) != "default"):
        raise InvalidInput("move_to: only ordinary events can be moved, and a recurring one only as a whole series.")
    zone = yield from zone_for(found, target.event, wish, run.granted)
    wish = settled(wish, target, zone)
    before, move_to = target.event, move_to if named[-1] != named[0] else None
    moves = bool(move_to) and named[1] != found

    def body_of(event: Json) -> Json:
        return changes_of(event, wish, zone, run.key)

    def show_of(event: Json) -> Show:
        goes = (named[1], move_to) if move_to and moves else None
        return _show(event, body_of(event), run.key, Place(found, calendar, notify), goes)

    show = show_of(before) if body_of(before) or (moves and not run.noted) else None
    if show:
        yield show
    if show and not run.noted:
        yield Note({"event": before.get("id"), "start": wish.start, "end": wish.end})
    digest = show.digest if show else ""
    after = yield from patched(found, before, body_of, lambda event: show_of(event).digest == digest, notify, add)
    after = (yield from with_call(found, after)) if meet == "add" else after
    if moves:
        after = yield from _moved(found, after, named[1], notify)
    undo = _undo(before, after, wish, calendar, notify, move_to)
    if undo and show:
        yield undo
    return (yield from _said(found, before, after, wish, zone, undo, move_to))


def _show(event: Json, body: Json, key: ActKey, place: Place, goes: tuple[str, str] | None) -> Show:
    """What becomes of an event. ``goes``: to which other calendar, by its id and as it was called."""
    (calendar, name, notify), after = place, merged(event, body)
    old, new, others = event_fields(event), event_fields(after), others_of(event, after)
    where, seen = where_of(name, calendar), seen_by(calendar, others, event, after)
    lost = [one for one in ("description", "video_call", "repeats") if old[one] and old[one] != new[one]]
    pins = {"calendar": calendar, "event": event.get("id"), **pins_of(body)}
    pins |= {"call": key.hex} if body.get("conferenceData") else {}
    return Show(
        "Change this whole series" if event.get("recurrence") else "Change this event",
        audience=Audience.UNKNOWN if goes else seen,
        people=others,
        where=where,
        destroys=bool(lost),
        **changed_fields(old, new, KNOWN_BY),
        moves_to=Change(where, where_of(goes[1], goes[0])) if goes else None,
        mail=mail_of(notify, others),
        pins=pins | ({"destination": goes[0]} if goes else {}),
    )


def _taken_up(calendars: Sequence[str], event_id: str) -> Asks[tuple[str, Json]]:
    """The calendar on which an event is that an earlier run began to change, and the event: it may have moved."""
    for calendar in dict.fromkeys(calendars):
        try:
            event = dict((yield api.get_event(calendar, event_id)))
        except NotFound:
            continue
        if event.get("status") != "cancelled":
            return calendar, event
    raise NotFound("This event has been cancelled.")


def _moved(calendar: str, event: Json, destination: str, notify: str) -> Asks[Json]:
    params = updates(notify, guests=bool(guests(event)))
    try:
        return dict((yield api.move_event(calendar, str(event["id"]), destination, params)))
    except NotFound:
        return dict((yield api.get_event(destination, str(event["id"]))))  # a lost answer: it is there already


# ----------------------------------------------------------------- what was done

_UNDO: Final = 200  # characters of a text that an undo in a result carries
_CALLED = {
    **{"summary": "title", "transparency": "show_as", "colorId": "color", "conferenceData": "meet"},
    "attendees": "attendees",
}


def _said(
    calendar: str,
    before: Json,
    after: Json,
    wish: Wish,
    zone: tzinfo,
    undo: Undo | None,
    move_to: str | None,
) -> Asks[Json]:
    names = (*wish.plain, "start", "end", "recurrence", "attendees", "conferenceData", "location", "description")
    changed = [_CALLED.get(one, one) for one in dict.fromkeys(names) if before.get(one) != after.get(one)]
    changed += ["calendar"] if move_to else []
    start, end = moment_of(after.get("start"), zone), moment_of(after.get("end"), zone)
    result = made(after, zone) | {"changed": changed}
    if wish.recurrence and start:
        result |= told(read_recurrence(wish.recurrence, start), start)
    if undo and all(len(str(value)) <= _UNDO for value in undo.arguments.values()):
        result["undo"] = call_of(undo)
    result["summary"] = "Changed." if changed else "It was so already."
    if start and end and wish.moves and not move_to:
        result |= yield from clashes(calendar, after, start, end, zone, None)
    return result


def _undo(
    before: Mapping[str, Any], after: Mapping[str, Any], wish: Wish, name: str, notify: str, move_to: str | None
) -> Undo | None:
    """The call that brings back what was; None where no call would do exactly that."""
    if wish.meet or (wish.recurrence is not None and not before.get("recurrence")) or wish.remove:
        return None
    args: Json = {"event_id": after.get("id"), "calendar": move_to or name, "notify": notify}
    args |= {"move_to": name} if move_to else {}
    args |= {"apply_to": "series"} if after.get("recurrence") else {}
    if wish.moves:
        start, end = start_of(before, UTC), moment_of(before.get("end"), UTC)
        args |= {"start": full(start), "end": full(end.plus(-1) if end and end.all_day else end)}
    args |= {"recurrence": list(before["recurrence"])} if wish.recurrence is not None else {}
    there = {str(one.get("email")).lower() for one in guests(before)}
    came = [one["email"] for one in wish.add if one["email"].lower() not in there]
    args |= {"remove_attendees": came} if came else {}
    for field in wish.plain:
        value = before.get(field, UNSAID.get(field, ""))
        match field:
            case "reminders" | "colorId" if not value or (field == "reminders" and value.get("useDefault")):
                return None
            case "reminders":
                args["reminders"] = [one.get("minutes", 0) for one in value.get("overrides") or ()]
            case "colorId":
                args["color"] = colour_called(value)
            case "transparency":
                args["show_as"] = "free" if value == "transparent" else "busy"
            case _:
                args[_CALLED.get(field, field)] = value
    was, is_now = event_fields(before), event_fields(after)
    return Undo(
        "calendar_update_event", args, {one: now_of(one, value) for one, value in is_now.items() if value != was[one]}
    )
