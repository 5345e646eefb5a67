"""Requested changes of an event, and the body that applies them to the current event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from deputize.core import ActKey, Run
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.long_text import Edit
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.calendar import api, rows
from deputize.toolkits.calendar.argument_values import conference, update_guests
from deputize.toolkits.calendar.base import (
    Asks,
    Json,
    Noted,
)
from deputize.toolkits.calendar.detail import shown_description_bytes
from deputize.toolkits.calendar.event_times import Moment, moment_of, needs_zone, parse_zone, read_end, read_moment
from deputize.toolkits.calendar.rows import guests
from deputize.toolkits.calendar.rules import read_recurrence
from deputize.toolkits.calendar.series import check_start
from deputize.toolkits.calendar.shift import move_recurrence
from deputize.toolkits.calendar.target import Target
from deputize.toolkits.calendar.texts import edit_description


@dataclass(frozen=True, slots=True)
class Wish:
    """Requested changes: Google's fields, and times and guests, which depend on the current event."""

    plain: Json
    start: str | None
    end: str | None
    time_zone: str | None
    recurrence: Sequence[str] | None
    add: Sequence[Json]
    remove: Sequence[str]
    meet: str | None
    now: float

    @property
    def moves(self) -> bool:
        """True if the times change."""
        return bool(self.start or self.end)


def zone_for(calendar: str, event: Mapping[str, Any], wish: Wish, run: Run) -> Asks[tzinfo]:
    """Return the zone of given times: the caller's, the event's, else the user's."""
    if wish.time_zone:
        return parse_zone(wish.time_zone)
    own = moment_of(event.get("start"), UTC)
    if own and isinstance(own.zone, ZoneInfo) and (event.get("start") or {}).get("timeZone"):
        return own.zone
    zone = (yield from api.zone_of(calendar, run)) if wish.moves else None
    if zone is None and (needs_zone(wish.start) or needs_zone(wish.end)):
        raise InvalidInput("start, end: need a time zone.", hint="Give time_zone, such as Europe/Berlin, or an offset.")
    return zone or (own and own.zone) or UTC


def resolve_times(wish: Wish, target: Target, zone: tzinfo) -> Wish:
    """Return the requested changes with absolute times, so that a retry does not move the event twice."""
    start, end = _times(target.event, target.occurrence, wish, zone)
    if target.occurrence is None or not wish.moves or start is None or end is None:
        return wish
    return replace(wish, start=_iso(start), end=_iso(end.plus(-1) if end.all_day else end))


def apply_edit(wish: Wish, edit: Edit, event: Mapping[str, Any], noted: Noted) -> Wish:
    """Return the requested changes with the whole new description, so that a retry does not add a text twice."""
    for name, shown in (("summary", rows.title(event, Outside(), 60)), ("location", rows.place(event, Outside(), 40))):
        _check_not_cut(name, str(event.get(name) or ""), shown, wish.plain.get(name))
    if "description" not in wish.plain:
        return wish
    whole = edit_description(event, edit, wish.plain["description"], shown_description_bytes(event), noted)
    return replace(wish, plain={**wish.plain, "description": whole})


def _check_not_cut(name: str, old: str, shown: str, new: str | None) -> None:
    """Raise `InvalidInput` for a shortened text from a list, which would replace the whole text."""
    head = (new or "").partition(rows.MORE)[0].strip()
    if new and rows.MORE in new and rows.MORE not in old and (new == shown or (head and old.startswith(head))):
        called = {"summary": "title"}.get(name, name)
        raise InvalidInput(
            f"{called}: {new[:60]!r} is cut, and would replace the whole text.",
            hint="Read the event with calendar_get_event, and give the text whole, or leave it out.",
        )


def _iso(moment: Moment) -> str:
    local = moment.local
    return local.replace(tzinfo=moment.zone).isoformat() if isinstance(local, datetime) else local.isoformat()


def changed_body(event: Json, wish: Wish, zone: tzinfo, key: ActKey) -> Json:
    """Return the fields that differ from the event. Arrays are whole, because Google replaces them."""
    body = {name: value for name, value in wish.plain.items() if event.get(name, DEFAULTS.get(name)) != value}
    start, end = _times(event, None, wish, zone)
    if wish.moves:
        body |= _move_rules(event, start, zone) if wish.recurrence is None else {}
        new = {"start": _replacement(event.get("start"), start), "end": _replacement(event.get("end"), end)}
        body |= {name: value for name, value in new.items() if not _is_same(event.get(name), value, zone)}
    if wish.recurrence is not None:
        if event.get("recurringEventId"):
            raise InvalidInput(
                "recurrence: cannot be set for a single occurrence.", hint="Say apply_to=series or following."
            )
        if start is not None and not start.all_day and not isinstance(start.zone, ZoneInfo):
            raise InvalidInput("time_zone: needed for a recurring event.", hint="Such as Europe/Berlin.")
        lines = _new_rules(event, wish.recurrence, start, zone) if start else []
        body |= {"recurrence": lines} if lines != list(event.get("recurrence") or ()) else {}
    if wish.add or wish.remove:
        people = update_guests(event, wish.add, wish.remove)
        if [one.get("email") for one in people] != [one.get("email") for one in guests(event)]:
            body["attendees"] = people
    if wish.meet == "add" and not event.get("conferenceData"):
        body["conferenceData"] = conference(key)
    if wish.meet == "remove" and event.get("conferenceData"):
        body["conferenceData"] = None
    return body


def _move_rules(event: Json, start: Moment | None, zone: tzinfo) -> Json:
    old = moment_of(event.get("start"), zone)
    if not event.get("recurrence") or start is None or old is None or (start.all_day == old.all_day and start == old):
        return {}
    before = read_recurrence([str(one) for one in event["recurrence"]], old)
    after = move_recurrence(before, old, start)
    return {"recurrence": after.lines} if after != before else {}


def _new_rules(event: Json, given: Sequence[str], start: Moment, zone: tzinfo) -> list[str]:
    """Return the given rules with the single dates of the series, moved along with the start."""
    new, old = check_start(read_recurrence(given, start), start), moment_of(event.get("start"), zone)
    singles = [str(one) for one in event.get("recurrence") or () if not str(one).upper().startswith("RRULE")]
    if not singles or old is None or old.all_day != start.all_day:  # dates and date-times cannot be converted
        return new.lines
    there = move_recurrence(read_recurrence(singles, old), old, start)
    new = replace(
        new,
        added=(*there.added, *(one for one in new.added if one not in there.added)),
        left_out=(*there.left_out, *(one for one in new.left_out if one not in there.left_out)),
    )
    return new.lines


DEFAULTS = {"transparency": "opaque", "visibility": "default"}


def _times(
    event: Mapping[str, Any], occurrence: Mapping[str, Any] | None, wish: Wish, zone: tzinfo
) -> tuple[Moment | None, Moment | None]:
    """Return the new start and end. A new start keeps the length. A series moves as far as its named occurrence."""
    base = occurrence if occurrence and wish.moves else event
    old_start, old_end = moment_of(base.get("start"), zone), moment_of(base.get("end"), zone)
    if old_start is None or old_end is None or not wish.moves:
        return old_start, old_end
    start = read_moment(wish.start, zone, "start", wish.now) if wish.start else old_start
    if wish.end:
        end = read_end(wish.end, start, zone, wish.now)
    elif start.all_day != old_start.all_day:
        raise InvalidInput(
            "end: needed when an event becomes all-day, or gets times.", hint="Such as 1d for a day, or 1h for a time."
        )
    else:
        length = old_end.at - old_start.at
        end = start.plus(length.days) if start.all_day else start.plus(0, length)
    first = moment_of(event.get("start"), zone) if occurrence else None
    return _shift_series(first, old_start, start, end) if first else (start, end)


def _shift_series(series: Moment, shown: Moment, start: Moment, end: Moment) -> tuple[Moment, Moment]:
    """Return a series' start and end, moved on the local clock as far as the occurrence."""
    days = (start.day - shown.day).days
    length = end.at - start.at
    if start.all_day:
        moved = series.plus(days)
        return moved, moved.plus(length.days)
    moved = Moment(datetime.combine(series.day, start.time), start.zone).plus(days)
    return moved, moved.plus(0, length)


def _replacement(old: Mapping[str, Any] | None, new: Moment | None) -> Json:
    """Return a time as a patch body. It clears the fields of the other form (day or date-time)."""
    resource: Json = dict(new.resource) if new else {}
    if old and ("date" in old) != ("date" in resource):
        resource |= {"dateTime": None, "timeZone": None} if "date" in resource else {"date": None}
    return resource


def _is_same(old: Mapping[str, Any] | None, new: Mapping[str, Any], zone: tzinfo) -> bool:
    before, after = moment_of(old, zone), moment_of(new, zone)
    same_zone = not new.get("timeZone") or (old or {}).get("timeZone", new["timeZone"]) == new["timeZone"]
    return bool(before and after and before.all_day == after.all_day and before.at == after.at and same_zone)
