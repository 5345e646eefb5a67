"""The event that a write is about, and a change written over what was read of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Literal

from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.calendar import api
from deputize.toolkits.calendar.argument_values import updates
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
    """The event to change. ``occurrence``: the one that was named, where all of its series is meant."""

    event: Json
    occurrence: Json | None = None


def target_of(calendar: str, event_id: str, apply_to: str, now: float) -> Asks[Target]:
    """The event that is meant. Raises `InvalidInput` with occurrences to choose from where a whole series is named."""
    event = dict((yield api.get_event(calendar, event_id)))
    if event.get("status") == "cancelled":
        raise NotFound("This event has been cancelled.")
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
        pass  # a rule of a kind that we cannot count
    return "Say apply_to=series, or name one" + (f": {', '.join(shown)}." if shown else " of its occurrences.")


def occurrence_id(series: str, original: Moment) -> str:
    """The id of an occurrence: its series', and when it was due at first."""
    stamp = f"{original.at:%Y%m%d}" if original.all_day else f"{original.at:%Y%m%dT%H%M%SZ}"
    return f"{series}_{stamp}"


def patched(
    calendar: str,
    event: Json,
    changes: Callable[[Json], Json],
    is_as_shown: Callable[[Json], bool],
    notify: str,
    add: Sequence[Json] = (),
) -> Asks[Json]:
    """The event with its changes, written only over what was read. What is newer is read again once.

    ``is_as_shown``: whether a person would see the same of it: a guest's answer changes an event, too. Raises
    `Conflict` where it is not, and where the event changes all the time.
    """
    for again in (True, False):
        body = changes(event)
        if not body:
            return event
        params: dict[str, Any] = updates(notify, guests=bool(guests(event) or add))
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
            raise not_yours(event) from None
    return event


def not_yours(event: Mapping[str, Any]) -> InvalidInput:
    """Why a guest cannot change it."""
    who = Outside().line(str((event.get("organizer") or {}).get("email") or ""), 80)
    return InvalidInput(
        "event_id: the user may not change this event.",
        hint=f"The user can respond, or ask {who or 'its organizer'}.",
    )
