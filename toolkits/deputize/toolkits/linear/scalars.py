"""Conversion of priorities, days and times to Linear's forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from deputize.core import Run, UserTime
from deputize.core.tools.steps import Try
from deputize.toolkits._shared import times
from deputize.toolkits._shared.steps import Asks
from deputize.toolkits._shared.zone import days_in_zone
from deputize.toolkits.linear.api import request
from deputize.toolkits.linear.base import PRIORITIES, Json


def priority(word: str | None) -> int | None:
    """Return Linear's number for a priority."""
    return None if word is None else PRIORITIES.index(word)


def ask_zone(run: Run) -> Asks[object]:
    """Return Linear's name of the user's time zone."""
    [answer] = yield Try([request("Whoami", {})])
    return (((answer or {}).get("data") or {}).get("viewer") or {}).get("timezone")


def days(run: Run, **texts: str | None) -> Asks[dict[str, str | None]]:
    """Return the days that these arguments mean in the user's time zone. A missing argument stays None."""
    run = yield from days_in_zone(run, ask_zone, **texts)
    return {name: None if text is None else the_day(text, run, name) for name, text in texts.items()}


def time_filter(text: str, run: Run, field: str) -> str:
    """Return a point in time for a filter. A time without a zone is in the user's time zone."""
    return times.moment(text, run.now, field, run.zone).isoformat().replace("+00:00", "Z")


def the_day(text: str, run: Run, field: str) -> str:
    """Return the day of a point in time, in the user's time zone."""
    return times.day(text, run.now, field, run.zone)


def present(values: Mapping[str, Any]) -> Json:
    """Return the values that are not None. A field that is left out stays unchanged."""
    return {key: value for key, value in values.items() if value is not None}


def minute(stamp: Any) -> str:
    """Return the time for a row, "" for none."""
    return _clock_time(stamp, "short")


def second(stamp: Any) -> str:
    """Return the time for a detail, "" for none."""
    return _clock_time(stamp, "full")


def _clock_time(stamp: Any, form: Literal["short", "full"]) -> str:
    try:
        return UserTime.of(str(stamp or ""), form)
    except (ValueError, OverflowError):
        return ""
