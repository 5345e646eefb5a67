"""The event that a write changes, and the write itself, which fails if the event changed in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Literal

from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.calendar import api
from deputize.toolkits.calendar.argument_values import mail_params
from deputize.toolkits.calendar.base import (
    Asks,
    Json,
)
from deputize.toolkits.calendar.event_times import Moment, full, moment_of
from deputize.toolkits.calendar.rows import guests
from deputize.toolkits.calendar.rules import read_recurrence
from deputize.toolkits.calendar.series import occurrences

Reach = Literal["this", "following", "series"]


@dataclass(frozen=True, slots=True)
class Target:
    """The event to change. ``occurrence``: the named occurrence if ``event`` is its whole series."""

    event: Json
    occurrence: Json | None = None


def load_target(calendar: str, event_id: str, apply_to: str, now: float) -> Asks[Target]:
    """Load the event to change. Raises `InvalidInput` with occurrences to choose from if it names a whole series."""
    event = dict((yield api.get_event(calendar, event_id)))
    if event.get("status") == "cancelled":
        raise NotFound("This event has been cancelled.", hint="calendar_list_events lists those that are there.")
    if apply_to == "this":
        if event.get("recurrence"):
            raise InvalidInput("event_id: this is a whole series.", hint=_choose(event, now))
        return Target(event)
    if series := event.get("recurringEventId"):
        return Target(dict((yield api.get_event(calendar, str(series)))), event)
    return Target(event)


def _choose(event: Mapping[str, Any], now: float) -> str:
    start = moment_of(event.get("start"), UTC)
    shown: list[str] = []
    try:
        series = occurrences(read_recurrence([str(one) for one in event["recurrence"]], start), start) if start else ()
        for n, one in enumerate(series):
            if one.at.timestamp() >= now:
                shown.append(f"{occurrence_id(str(event['id']), one)} ({full(one)})")
            if len(shown) == 3 or n > 5_000:
                break
    except InvalidInput:
        pass  # an unsupported rule
    return "Say apply_to=series, or name one" + (f": {', '.join(shown)}." if shown else " of its occurrences.")


def occurrence_id(series: str, original: Moment) -> str:
    """Return the id of an occurrence: its series' id and its original time."""
    stamp = f"{original.at:%Y%m%d}" if original.all_day else f"{original.at:%Y%m%dT%H%M%SZ}"
    return f"{series}_{stamp}"


def write_changes(
    calendar: str,
    event: Json,
    changes: Callable[[Json], Json],
    is_as_shown: Callable[[Json], bool],
    notify: str,
    add: Sequence[Json] = (),
) -> Asks[Json]:
    """Write the changes over the event as it was read. If it has changed, read and try once more.

    ``is_as_shown``: returns True if the preview would be the same, because a guest's answer changes an event too.
    Raises `Conflict` if it is not the same, or if the event keeps changing.
    """
    for again in (True, False):
        body = changes(event)
        if not body:
            return event
        params: dict[str, Any] = mail_params(notify, guests=bool(guests(event) or add))
        params |= {"conferenceDataVersion": "1"} if "conferenceData" in body else {}
        try:
            return dict((yield api.patch_event(calendar, event, body, params)))
        except Conflict:
            event = dict((yield api.get_event(calendar, str(event["id"]))))
            if changes(event) and not (again and is_as_shown(event)):
                raise
        except NotFound as refused:
            if refused.reason != "user_lacks_rights":
                raise
            raise not_allowed(event) from None
    return event


def not_allowed(event: Mapping[str, Any]) -> InvalidInput:
    """Return the error for an event that the user may not change."""
    who = Outside().line(str((event.get("organizer") or {}).get("email") or ""), 80)
    return InvalidInput(
        "event_id: the user may not change this event.",
        hint=f"The user can respond, or ask {who or 'its organizer'}.",
    )
