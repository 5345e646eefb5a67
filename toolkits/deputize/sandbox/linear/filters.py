"""Linear's filters: comparisons of values, through objects and lists. An unknown filter is an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from deputize.sandbox.linear.selections import Many
from deputize.sandbox.linear.store import Json, failed

_DURATION = re.compile(r"(-?)P(\d+)([DWMY])")
_DAYS = {"D": 1, "W": 7, "M": 30, "Y": 365}


def matches(value: Any, wanted: Json, now: float) -> bool:
    """Return True if a value (an object, a list, a string, a number, a time) matches."""
    value = value() if callable(value) else value
    return all(_fits(value, name, condition, now) for name, condition in wanted.items())


def _fits(value: Any, name: str, condition: Any, now: float) -> bool:
    if name == "and":
        return all(matches(value, one, now) for one in condition)
    if name == "or":
        return any(matches(value, one, now) for one in condition)
    if name == "null":
        return (value is None) == bool(condition)
    if isinstance(value, Many):
        if name not in ("some", "every"):
            raise unknown_field(name)
        fits = [matches(one, condition, now) for one in value.make()]
        return any(fits) if name == "some" else all(fits)
    if isinstance(condition, dict):
        return _matches_inside(value, name, condition, now)
    if name not in COMPARE:
        raise unknown_field(name)
    return value is not None and bool(COMPARE[name](value, _moment(condition, now)))


def _matches_inside(value: Any, name: str, condition: Json, now: float) -> bool:
    if value is None:
        return False
    if not isinstance(value, dict) or name not in value:
        raise unknown_field(name)
    return matches(value[name], condition, now)


def unknown_field(name: str) -> Exception:
    """Return the error of a filter field that the schema lacks."""
    return failed(400, f'Field "{name}" is not defined by this filter.', "graphql error", "GRAPHQL_VALIDATION_FAILED")


def _moment(condition: Any, now: float) -> Any:
    """Resolve a duration to a time from now; times compare as strings in Linear's format."""
    match = _DURATION.fullmatch(condition) if isinstance(condition, str) else None
    if match is None:
        return condition
    days = int(match[2]) * _DAYS[match[3]] * (-1 if match[1] else 1)
    return (datetime.fromtimestamp(now, UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _ignoring_case(compare: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, wanted: compare(str(value).casefold(), str(wanted).casefold())


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, wanted: bool(value == wanted),
    "neq": lambda value, wanted: bool(value != wanted),
    "in": lambda value, wanted: value in wanted,
    "nin": lambda value, wanted: value not in wanted,
    "gt": lambda value, wanted: bool(value > wanted),
    "gte": lambda value, wanted: bool(value >= wanted),
    "lt": lambda value, wanted: bool(value < wanted),
    "lte": lambda value, wanted: bool(value <= wanted),
    "contains": lambda value, wanted: wanted in value,
    "startsWith": lambda value, wanted: str(value).startswith(wanted),
    "eqIgnoreCase": _ignoring_case(lambda value, wanted: value == wanted),
    "containsIgnoreCase": _ignoring_case(lambda value, wanted: wanted in value),
}
