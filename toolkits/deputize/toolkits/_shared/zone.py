"""The user's time zone, for arguments that name a day or an hour without an offset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import tzinfo

from deputize.core import Run, TimeZone
from deputize.toolkits._shared import times
from deputize.toolkits._shared.steps import Asks

AskZone = Callable[[Run], Asks[object]]
"""Returns the IANA name of the user's zone at the provider, or None."""


def nobody(run: Run) -> Asks[object]:
    """Return None without a request, for a provider that does not know the user's zone."""
    yield from ()
    return None


def in_zone(run: Run, ask: AskZone, /, **moments: str | None) -> Asks[Run]:
    """Return the run with the zone for these arguments. ``moments``: the arguments by name.

    Nothing is requested if the zone is known, or if no argument depends on it. Raises `InvalidInput` in a tool that
    writes if the zone cannot be found. A tool that reads then continues in UTC, and its result says so.
    """
    return (yield from _resolve(run, ask, next((name for name, at in moments.items() if times.names_a_day(at)), "")))


def days_in_zone(run: Run, ask: AskZone, /, **days: str | None) -> Asks[Run]:
    """Return the run like `in_zone`, for arguments of which only the day counts: a date is equal in every zone."""
    return (yield from _resolve(run, ask, next((name for name, day in days.items() if times.moves_with_zone(day)), "")))


def _resolve(run: Run, ask: AskZone, argument: str) -> Asks[Run]:
    if run.zone_known or not argument:
        return run
    name = yield from ask(run)
    zone: tzinfo = yield TimeZone(name if isinstance(name, str) else "", argument)
    return replace(run, zone=zone, zone_known=True)
