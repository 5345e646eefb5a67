"""Priorities, days and times, from how people and models write them to how Linear takes them."""

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
    """The number Linear has for a priority."""
    return None if word is None else PRIORITIES.index(word)


def ask_zone(run: Run) -> Asks[object]:
    """What Linear calls the user's zone."""
    [answer] = yield Try([request("Whoami", {})])
    return (((answer or {}).get("data") or {}).get("viewer") or {}).get("timezone")


def days(run: Run, **texts: str | None) -> Asks[dict[str, str | None]]:
    """The days that these arguments mean, where the user is; None for one that is not given."""
    run = yield from days_in_zone(run, ask_zone, **texts)
    return {name: None if text is None else the_day(text, run, name) for name, text in texts.items()}


def since(text: str, run: Run, field: str) -> str:
    """A point in time as a filter takes it. One without a zone is in the user's."""
    return times.moment(text, run.now, field, run.zone).isoformat().replace("+00:00", "Z")


def the_day(text: str, run: Run, field: str) -> str:
    """The day of a point in time, where the user is."""
    return times.day(text, run.now, field, run.zone)


def given(values: Mapping[str, Any]) -> Json:
    """What was word; what was not is left alone."""
    return {key: value for key, value in values.items() if value is not None}


def minute(stamp: Any) -> str:
    """A row's time; empty for none."""
    return _clock_time(stamp, "short")


def second(stamp: Any) -> str:
    """A detail's time; empty for none."""
    return _clock_time(stamp, "full")


def _clock_time(stamp: Any, form: Literal["short", "full"]) -> str:
    try:
        return UserTime.of(str(stamp or ""), form)
    except (ValueError, OverflowError):
        return ""
