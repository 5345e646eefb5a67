"""Results and undo calls of event changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any, Final

from deputize.core import Undo
from deputize.toolkits._shared.long_text import digest
from deputize.toolkits.calendar.argument_values import colour_name
from deputize.toolkits.calendar.base import Asks, Json
from deputize.toolkits.calendar.create import find_conflicts, recurrence_fields
from deputize.toolkits.calendar.event_input import DEFAULTS, Wish
from deputize.toolkits.calendar.event_times import full, moment_of
from deputize.toolkits.calendar.rows import guests, result_row, start_of
from deputize.toolkits.calendar.rules import read_recurrence
from deputize.toolkits.calendar.show_fields import event_fields, undo_call, value_text

_UNDO: Final = 200  # most characters of a text in an undo call
_ARGUMENTS = {
    **{"summary": "title", "transparency": "show_as", "colorId": "color", "conferenceData": "meet"},
    "attendees": "attendees",
}


def change_result(
    calendar: str,
    before: Json,
    after: Json,
    wish: Wish,
    zone: tzinfo,
    undo: Undo | None,
    move_to: str | None,
) -> Asks[Json]:
    names = (*wish.plain, "start", "end", "recurrence", "attendees", "conferenceData", "location", "description")
    changed = [_ARGUMENTS.get(one, one) for one in dict.fromkeys(names) if before.get(one) != after.get(one)]
    changed += ["calendar"] if move_to else []
    start, end = moment_of(after.get("start"), zone), moment_of(after.get("end"), zone)
    result = result_row(after, zone) | {"changed": changed}
    if wish.recurrence and start:
        result |= recurrence_fields(read_recurrence(after.get("recurrence") or (), start), start)
    if undo and all(len(str(value)) <= _UNDO for value in undo.arguments.values()):
        result["undo"] = undo_call(undo)
    result["summary"] = "Changed." if changed else "It was so already."
    if start and end and wish.moves and not move_to:
        result |= yield from find_conflicts(calendar, after, start, end, zone, None)
    return result


def _count_single_dates(event: Mapping[str, Any]) -> int:
    return sum(not str(one).upper().startswith("RRULE") for one in event.get("recurrence") or ())


def make_undo(
    before: Mapping[str, Any], after: Mapping[str, Any], wish: Wish, name: str, notify: str, move_to: str | None
) -> Undo | None:
    """Return the call that restores the earlier event, or None if no call does exactly that."""
    if wish.meet or (wish.recurrence is not None and not before.get("recurrence")) or wish.remove:
        return None
    args: Json = {"event_id": after.get("id"), "calendar": move_to or name, "notify": notify}
    args |= {"move_to": name} if move_to else {}
    args |= {"apply_to": "series"} if after.get("recurrence") else {}
    if wish.moves:
        start, end = start_of(before, UTC), moment_of(before.get("end"), UTC)
        args |= {"start": full(start), "end": full(end.plus(-1) if end and end.all_day else end)}
    if wish.recurrence is not None:
        if _count_single_dates(after) > _count_single_dates(before):
            return None  # no call removes single dates
        args["recurrence"] = list(before["recurrence"])
    there = {str(one.get("email")).lower() for one in guests(before)}
    came = [one["email"] for one in wish.add if one["email"].lower() not in there]
    args |= {"remove_attendees": came} if came else {}
    for field in wish.plain:
        value = before.get(field, DEFAULTS.get(field, ""))
        match field:
            case "reminders" | "colorId" if not value or (field == "reminders" and value.get("useDefault")):
                return None
            case "reminders":
                args["reminders"] = [one.get("minutes", 0) for one in value.get("overrides") or ()]
            case "colorId":
                args["color"] = colour_name(value)
            case "transparency":
                args["show_as"] = "free" if value == "transparent" else "busy"
            case "description":
                args |= {"description": value, "if_text": digest(str(after.get("description") or ""))}
            case _:
                args[_ARGUMENTS.get(field, field)] = value
    was, is_now = event_fields(before), event_fields(after)
    changed = {one: value_text(one, value) for one, value in is_now.items() if value != was[one]}
    return Undo("calendar_update_event", args, changed)
