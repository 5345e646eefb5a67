"""What was changed in an event: as its result says it, and how it is put back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any, Final

from deputize.core import Undo
from deputize.toolkits._shared.long_text import digest
from deputize.toolkits.calendar.argument_values import colour_called
from deputize.toolkits.calendar.base import Asks, Json
from deputize.toolkits.calendar.create import clashes, told
from deputize.toolkits.calendar.event_input import UNSAID, Wish
from deputize.toolkits.calendar.event_times import full, moment_of
from deputize.toolkits.calendar.rows import guests, made, start_of
from deputize.toolkits.calendar.rules import read_recurrence
from deputize.toolkits.calendar.show_fields import call_of, event_fields, now_of

_UNDO: Final = 200  # characters of a text that an undo in a result carries
_CALLED = {
    **{"summary": "title", "transparency": "show_as", "colorId": "color", "conferenceData": "meet"},
    "attendees": "attendees",
}


def result_of(
    calendar: str,
    before: Json,
    after: Json,
    wish: Wish,
    zone: tzinfo,
    undo: Undo | None,
    move_to: str | None,
) -> Asks[Json]:
    """What the result of a change says."""
    names = (*wish.plain, "start", "end", "recurrence", "attendees", "conferenceData", "location", "description")
    changed = [_CALLED.get(one, one) for one in dict.fromkeys(names) if before.get(one) != after.get(one)]
    changed += ["calendar"] if move_to else []
    start, end = moment_of(after.get("start"), zone), moment_of(after.get("end"), zone)
    result = made(after, zone) | {"changed": changed}
    if wish.recurrence and start:
        result |= told(read_recurrence(after.get("recurrence") or (), start), start)
    if undo and all(len(str(value)) <= _UNDO for value in undo.arguments.values()):
        result["undo"] = call_of(undo)
    result["summary"] = "Changed." if changed else "It was so already."
    if start and end and wish.moves and not move_to:
        result |= yield from clashes(calendar, after, start, end, zone, None)
    return result


def _singles(event: Mapping[str, Any]) -> int:
    return sum(not str(one).upper().startswith("RRULE") for one in event.get("recurrence") or ())


def undo_of(
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
    if wish.recurrence is not None:
        if _singles(after) > _singles(before):
            return None  # no call takes single dates away
        args["recurrence"] = list(before["recurrence"])
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
            case "description":
                args |= {"description": value, "if_text": digest(str(after.get("description") or ""))}
            case _:
                args[_CALLED.get(field, field)] = value
    was, is_now = event_fields(before), event_fields(after)
    return Undo(
        "calendar_update_event", args, {one: now_of(one, value) for one, value in is_now.items() if value != was[one]}
    )
