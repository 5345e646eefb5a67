"""Split of a series. Google's API has no call for this: the series is shortened, and its later part created anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any, Final

from deputize.core import ActKey, SaveNote
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, NotFound, OutcomeUnknown
from deputize.toolkits.calendar import api
from deputize.toolkits.calendar.argument_values import mail_params, update_guests
from deputize.toolkits.calendar.base import Asks, Json, Noted
from deputize.toolkits.calendar.create import LOST, insert
from deputize.toolkits.calendar.event_times import Moment, moment_of
from deputize.toolkits.calendar.rows import guests
from deputize.toolkits.calendar.rules import Recurrence, Rule, read_recurrence
from deputize.toolkits.calendar.series import occurrences
from deputize.toolkits.calendar.target import not_allowed

_MAX_OCCURRENCES: Final = 10_000  # most occurrences counted before a split
_COPIED: Final = (
    *("summary", "description", "location", "colorId", "visibility", "transparency", "reminders"),
    *("guestsCanInviteOthers", "guestsCanModify", "guestsCanSeeOtherGuests", "anyoneCanAddSelf"),
)
_READ: Final = ("id", "attendees", "organizer", "start", "end", "recurrence", *_COPIED)


@dataclass(frozen=True, slots=True)
class Split:
    """A series, split before one of its occurrences.

    ``ended``: the recurrence that stays. ``rest``: the later part as a new event's body for Google, without id and
    recurrence; ``lines``: its recurrence. ``has_call``: True if the series has a video call, which cannot be copied.
    """

    series: Json
    ended: list[str]
    rest: Json
    lines: list[str]
    has_call: bool


def find_split(calendar: str, event_id: str, noted: Noted) -> Asks[Split | None]:
    """Return the split at this occurrence, or None for its first occurrence or an event without series."""
    if noted and "ended" in noted:
        return Split(noted["series"], noted["ended"], noted["rest"], noted["lines"], noted["has_call"])
    event = dict((yield api.get_event(calendar, event_id)))
    if not event.get("recurringEventId"):
        return None
    series = dict((yield api.get_event(calendar, str(event["recurringEventId"]))))
    start = moment_of(series.get("start"), UTC)
    at = moment_of(event.get("originalStartTime"), (start.zone if start else None) or UTC)
    if start is None or at is None:
        raise InvalidInput(
            "event_id: the series cannot be split here, as Google does not say when this was due.",
            hint="Say apply_to=this or series, or name another occurrence.",
        )
    if at.at == start.at:
        return None
    recurrence = read_recurrence([str(one) for one in series.get("recurrence") or ()], start)
    before, after = _cut(recurrence, start, at)
    return Split(series, before.lines, _rest_body(series, start, at), after.lines, bool(series.get("conferenceData")))


def _cut(recurrence: Recurrence, start: Moment, at: Moment) -> tuple[Recurrence, Recurrence]:
    """Return the recurrence before a moment, and the recurrence from it on. COUNT is divided between them."""
    gone = replace(recurrence, rules=tuple(_end_rule(rule, at) for rule in recurrence.rules))
    gone = replace(gone, added=tuple(one for one in recurrence.added if one.at < at.at))
    gone = replace(gone, left_out=tuple(one for one in recurrence.left_out if one.at < at.at))
    rest = Recurrence(
        tuple(rest for rule in recurrence.rules if (rest := _rest_of_rule(rule, start, at))),
        tuple(one for one in recurrence.added if one.at >= at.at),
        tuple(one for one in recurrence.left_out if one.at >= at.at),
    )
    return gone, rest


def _end_rule(rule: Rule, at: Moment) -> Rule:
    last = _last_before(at)
    if rule.until is not None and _is_sooner(rule.until, last):
        return rule
    return replace(rule, count=None, until=last)


def _last_before(at: Moment) -> date | datetime:
    """Return the last second, or day, before ``at``."""
    return at.plus(-1).local if at.all_day else at.at - timedelta(seconds=1)


def _is_sooner(one: Any, other: Any) -> bool:
    return bool(one <= other)


def _rest_of_rule(rule: Rule, start: Moment, at: Moment) -> Rule | None:
    """Return the recurrence rule for the events from ``at`` on, or None if the series ends before ``at``."""
    if rule.until is not None and _is_sooner(rule.until, _last_before(at)):
        return None
    if rule.count is None:
        return rule
    before = 0
    for one in islice(occurrences(Recurrence((rule,)), start), _MAX_OCCURRENCES):
        if one.at >= at.at:
            break
        before += 1
    return replace(rule, count=rule.count - before) if before < rule.count else None


def rest_start(start: Moment, at: Moment) -> Moment:
    """Return the start of the later part: that day, at the series' local time."""
    return Moment(at.day) if start.all_day else Moment(datetime.combine(at.day, start.time), start.zone)


def _rest_body(series: Mapping[str, Any], start: Moment, at: Moment) -> Json:
    """Return the event from that occurrence on, with the fields of the series."""
    end = moment_of(series.get("end"), start.zone or UTC)
    length = (end.at if end else start.at) - start.at
    body: Json = {name: series[name] for name in _COPIED if name in series}
    begins = rest_start(start, at)
    ends = begins.plus(length.days) if at.all_day else begins.plus(0, length)
    people = update_guests(series, (), ())
    body |= {"attendees": [_reinvite(one) for one in people if not one.get("organizer")]} if people else {}
    return body | {"start": begins.resource, "end": ends.resource}


def _reinvite(guest: Mapping[str, Any]) -> Json:
    return {name: guest[name] for name in ("email", "displayName", "optional", "resource") if name in guest}


def cut_off(
    calendar: str, split: Split, body: Json | None, key: ActKey | None, notify: str, noted: Noted
) -> Asks[Json]:
    """Create the later part, unless ``body`` is None, then end the series. If that fails, delete the part again."""
    if not noted:
        yield SaveNote(
            {
                "series": {name: split.series[name] for name in _READ if name in split.series},
                "ended": split.ended,
                "rest": split.rest,
                "lines": split.lines,
                "has_call": split.has_call,
            }
        )
    event: Json = {}
    told = mail_params(notify, guests=bool(guests(split.series)))
    people = mail_params(notify, guests=bool((body or {}).get("attendees")))
    if body is not None and key is not None:
        call = {"conferenceDataVersion": "1"} if "conferenceData" in body else {}
        event = yield from insert(calendar, body | {"id": key.base32}, people | call, noted or {"event": key.base32})
    try:
        yield from _shorten_series(calendar, split, told)
    except DeputizeError as failure:
        if isinstance(failure, LOST) and (yield from _is_shortened(calendar, split)):
            return event
        if event:  # without an etag: this run created it a moment ago
            yield from api.try_request(api.delete_event(calendar, {"id": event["id"]}, people))
        raise
    return event


def _is_shortened(calendar: str, split: Split) -> Asks[bool]:
    """True if the series was cut although the response was lost. Raises `OutcomeUnknown` if this cannot be read: then
    the later part stays, because deleting it could lose events."""
    try:
        series = yield api.get_event(calendar, str(split.series["id"]))
    except DeputizeError:
        raise OutcomeUnknown(
            "Google's answer was lost: the series may have been split.",
            hint="Look at the calendar: events may be there twice.",
        ) from None
    return list(series.get("recurrence") or ()) == split.ended


def _is_as_read(series: Json, read: Json) -> bool:
    """True if the series is unchanged since the split was made, except for guests' answers."""
    addresses = [sorted(str(one.get("email")) for one in guests(event)) for event in (series, read)]
    same = all(series.get(name) == read.get(name) for name in _READ if name not in ("attendees", "organizer"))
    return same and addresses[0] == addresses[1]


def _shorten_series(calendar: str, split: Split, params: Mapping[str, str]) -> Asks[None]:
    """End the previewed series, unless it has ended already. Raises `Conflict` if the series has changed: its later
    part would be lost or duplicated."""
    for again in (True, False):
        series = dict((yield api.get_event(calendar, str(split.series["id"]))))
        if list(series.get("recurrence") or ()) == split.ended:
            return
        if not _is_as_read(series, split.series):
            raise Conflict(
                "This series has been changed since it was shown.",
                reason="stale",
                hint="Read it again, and call again.",
            )
        try:
            yield api.patch_event(calendar, series, {"recurrence": split.ended}, params)
            return
        except Conflict:
            if not again:
                raise
        except NotFound as refused:
            if refused.reason != "user_lacks_rights":
                raise
            raise not_allowed(series) from None
