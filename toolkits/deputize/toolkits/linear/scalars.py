"""Priorities, days and times, from how people and models write them to how Linear takes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

from deputize.core import Run, UserTime
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared import times
from deputize.toolkits.linear.base import PRIORITIES, Json


def priority(word: str | None) -> int | None:
    """The number Linear has for a priority."""
    return None if word is None else PRIORITIES.index(word)


def day(text: str | None, field: str) -> str | None:
    """A date without a time. Raises `InvalidInput` for anything else."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text.strip()).isoformat()
    except ValueError:
        raise InvalidInput(f"{field}: not a date.", hint="Use YYYY-MM-DD.") from None


def since(text: str, run: Run, field: str) -> str:
    """A point in time as a filter takes it. One without a zone is in the user's."""
    return times.moment(text, run.now, field, run.zone).isoformat().replace("+00:00", "Z")


def the_day(text: str, run: Run, field: str) -> str:
    """The day of a point in time, where the user is."""
    return times.moment(text, run.now, field, run.zone).astimezone(run.zone).date().isoformat()


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
