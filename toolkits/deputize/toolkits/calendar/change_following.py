"""Calendar: change a series from one occurrence on: the later occurrences become a series of their own."""

from __future__ import annotations

from datetime import UTC

from deputize.core import ActKey, Change, Preview, Run
from deputize.toolkits.calendar.argument_values import conference
from deputize.toolkits.calendar.base import Asks, Json
from deputize.toolkits.calendar.create import recurrence_fields, with_call
from deputize.toolkits.calendar.event_input import Wish, changed_body, zone_for
from deputize.toolkits.calendar.event_times import moment_of
from deputize.toolkits.calendar.rows import guests, result_row, start_of
from deputize.toolkits.calendar.rules import Recurrence, read_recurrence
from deputize.toolkits.calendar.show_fields import (
    CalendarRef,
    audience_of,
    calendar_text,
    changed_fields,
    event_fields,
    mail_text,
    other_addresses,
    pins_of,
    repeats_in_words,
    unchanged_fields,
)
from deputize.toolkits.calendar.split_series import Split, cut_off


def change_following(place: CalendarRef, split: Split, wish: Wish, run: Run) -> Asks[Json]:
    """Create the later occurrences as a series, then end the old one. The opposite order could lose events."""
    (calendar, _, notify), key, noted = place, run.key, run.noted
    zone = yield from zone_for(calendar, split.rest, wish, run)
    rest: Json = {**split.rest, "recurrence": split.lines}
    body = {name: value for name, value in (rest | changed_body(rest, wish, zone, key)).items() if value is not None}
    for name in ("start", "end"):
        body[name] = {part: value for part, value in body[name].items() if value is not None}
    if split.has_call and wish.meet != "remove":
        body["conferenceData"] = conference(key)
    yield _preview_rest(split, rest, body, key, place)
    event = yield from cut_off(calendar, split, body, key, notify, noted)
    event = yield from with_call(calendar, event)
    start = moment_of(event.get("start"), zone)
    recurrence = read_recurrence(body["recurrence"], start) if start else Recurrence()
    result = result_row(event, zone) | (recurrence_fields(recurrence, start) if start else {})
    return result | {
        "was": split.series["id"],
        "summary": "Changed from this occurrence on; it is a series of its own now.",
    }


def _preview_rest(split: Split, rest: Json, body: Json, key: ActKey, place: CalendarRef) -> Preview:
    """Return the preview of the new series, and of the rule that remains in the old one."""
    calendar, name, notify = place
    fields = event_fields(body)
    whom = {"organizer": split.series.get("organizer"), "attendees": [*guests(split.series), *_new_guests(split, body)]}
    others, changed = other_addresses(whom), changed_fields(event_fields(rest), fields)
    before, start = split.series.get("recurrence") or [], start_of(split.series, UTC)
    return Preview(
        "Change this event and all later ones of its series",
        audience=audience_of(calendar, others, split.series, body),
        people=others,
        where=calendar_text(name, calendar),
        destroys=True,  # changes of single later occurrences are lost
        **changed,
        old_series_repeats=Change(*(repeats_in_words(lines, start) for lines in (before, split.ended))),
        mail=mail_text(notify, others),
        note="The later ones become a series of their own.",
        context=unchanged_fields(fields, changed, [one for one in fields if fields[one] is not None]),
        undo="cannot be taken back: changes of single later occurrences are lost",
        pins={"calendar": calendar, "series": split.series.get("id"), "event": key.base32, "call": key.hex}
        | pins_of(body)
        | {"old_repeats": list(split.ended)},
    )


def _new_guests(split: Split, body: Json) -> list[Json]:
    there = {str(one.get("email")).lower() for one in guests(split.series)}
    return [one for one in guests(body) if str(one.get("email")).lower() not in there]
