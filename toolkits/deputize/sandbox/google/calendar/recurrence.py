"""Instances of a series (RFC 5545 3.3.10): each day is tested against the rule.

The toolkit counts periods instead and shares no code with this, so that a fault in one makes the results differ.
Refused: frequencies below a day, BYWEEKNO, BYYEARDAY, EXRULE, RDATE with periods.
"""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from heapq import merge
from itertools import groupby

from deputize.sandbox.google.calendar.call import invalid, load_zone
from deputize.sandbox.http_types import Refused

Time = date | datetime  # a day of an all-day event, or a moment in UTC
LONGEST = 50 * 366  # days covered by a series
LAST = date(9990, 1, 1).toordinal()
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
PERIODS: dict[str, Callable[[date, int], int]] = {  # the number of a day's period; the week's first day
    "DAILY": lambda day, _: day.toordinal(),
    "WEEKLY": lambda day, week_start: (day.toordinal() - 1 - week_start) // 7,
    "MONTHLY": lambda day, _: day.year * 12 + day.month,
    "YEARLY": lambda day, _: day.year,
}


@dataclass
class Rule:
    """One RRULE. ``by_day``: (which one in the month or year, or 0 for each; weekday)."""

    freq: str
    interval: int = 1
    count: int | None = None
    until: Time | None = None
    week_start: int = 0
    by_day: set[tuple[int, int]] = field(default_factory=set)
    by_month_day: set[int] = field(default_factory=set)
    by_month: set[int] = field(default_factory=set)
    by_set_pos: set[int] = field(default_factory=set)


@dataclass
class Series:
    """The first local time, and the contents of the RRULE, RDATE and EXDATE lines."""

    start: Time
    rules: list[Rule] = field(default_factory=list)
    added: list[Time] = field(default_factory=list)
    excluded: set[Time] = field(default_factory=set)


def series(lines: Sequence[str], start: Time) -> Series:
    """Parse the recurrence of an event that starts then. Raise 400 for what Google or this module refuses."""
    read = Series(start)
    try:
        for line in lines:
            head, _, value = line.partition(":")
            name, *parameters = head.split(";")
            if name == "RRULE" and not parameters:
                read.rules.append(_rule(value, start))
            elif name == "RDATE":
                read.added.extend(_times(value, parameters, start))
            elif name == "EXDATE":
                read.excluded.update(_times(value, parameters, start))
            else:
                raise _invalid_rule()
    except ValueError:
        raise _invalid_rule() from None
    return read


def _invalid_rule() -> Refused:
    return invalid("Invalid recurrence rule.")


def _rule(text: str, start: Time) -> Rule:
    parts = [one.partition("=") for one in text.split(";")]
    given = {name: value for name, _, value in parts}
    rule = Rule(given.pop("FREQ", ""))
    if rule.freq not in PERIODS or len(given) + 1 < len(parts) or {"COUNT", "UNTIL"} <= given.keys():
        raise _invalid_rule()
    for name, value in given.items():
        _take(rule, name, value, start)
    if rule.freq in ("DAILY", "WEEKLY") and any(nth for nth, _ in rule.by_day):
        raise _invalid_rule()
    if rule.freq == "WEEKLY" and rule.by_month_day:
        raise _invalid_rule()
    return rule


def _take(rule: Rule, name: str, value: str, start: Time) -> None:
    match name:
        case "COUNT":
            (rule.count,) = _numbers(value, 1, 9_999)
        case "INTERVAL":
            (rule.interval,) = _numbers(value, 1, 999)
        case "UNTIL":
            rule.until = _parse_until(value, start)
        case "WKST":
            rule.week_start = WEEKDAYS.index(value)
        case "BYDAY":
            rule.by_day = {_weekday(one) for one in value.split(",")}
        case "BYMONTHDAY":
            rule.by_month_day = _numbers(value, -31, 31)
        case "BYMONTH":
            rule.by_month = _numbers(value, 1, 12)
        case "BYSETPOS":
            rule.by_set_pos = _numbers(value, -366, 366)
        case _:
            raise _invalid_rule()


def _numbers(text: str, least: int, most: int) -> set[int]:
    found = {int(one) for one in text.split(",")}
    if 0 in found or min(found) < least or max(found) > most:
        raise _invalid_rule()
    return found


def _weekday(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([+-]?[1-9]\d?)?([A-Z]{2})", text)
    if found is None or abs(int(found[1] or 0)) > 53:
        raise _invalid_rule()
    return int(found[1] or 0), WEEKDAYS.index(found[2])


def _parse_until(text: str, start: Time) -> Time:
    if isinstance(start, datetime) and not text.endswith("Z"):
        raise _invalid_rule()
    return _time(text, {}, start)


def _times(text: str, parameters: Iterable[str], start: Time) -> list[Time]:
    given = {name: value for name, _, value in (one.partition("=") for one in parameters)}
    return [_time(one, given, start) for one in text.split(",")]


def _time(text: str, given: dict[str, str], start: Time) -> Time:
    if not isinstance(start, datetime):
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()
    zone = UTC if text.endswith("Z") else load_zone(given["TZID"]) if "TZID" in given else start.tzinfo
    return datetime.strptime(text.removesuffix("Z"), "%Y%m%dT%H%M%S").replace(tzinfo=zone).astimezone(UTC)


# ----------------------------------------------------------------- when it takes place


def occurrences(found: Series) -> Iterator[Time]:
    """Yield the times of the series in order, for fifty years at most."""
    start = found.start.astimezone(UTC) if isinstance(found.start, datetime) else found.start
    counted = [_rule_times(rule, found.start) for rule in found.rules] or [iter([start])]
    before: Time | None = None
    for one in merge(*counted, sorted(found.added)):  # days or moments, never both
        if one != before and one not in found.excluded:
            yield one
        before = one


def _rule_times(rule: Rule, start: Time) -> Iterator[Time]:
    first = start.date() if isinstance(start, datetime) else start
    for counted, day in enumerate(day for day in _days(rule, first) if day >= first):
        one = _local_time(day, start)
        if (rule.count and counted >= rule.count) or (rule.until and one > rule.until):
            return
        yield one


def _local_time(day: date, start: Time) -> Time:
    """Return the series' local time on that day. A time that a clock change skips moves later (RFC 5545 3.3.5)."""
    if not isinstance(start, datetime):
        return day
    return datetime.combine(day, start.time().replace(fold=0), start.tzinfo).astimezone(UTC)


def _days(rule: Rule, first: date) -> Iterator[date]:
    """Yield the days that match a rule, from the start of the first period."""
    begin = first.replace(month=1, day=1) if rule.freq == "YEARLY" else first.replace(day=1)
    ordinal = max(1, min(begin.toordinal(), first.toordinal() - 6))
    days = map(date.fromordinal, range(ordinal, min(ordinal + LONGEST, LAST)))
    period, matches = PERIODS[rule.freq], _day_matcher(rule, first)
    since = period(first, rule.week_start)
    for number, ones in groupby(days, lambda day: period(day, rule.week_start)):
        if number >= since and (number - since) % rule.interval == 0:
            yield from _select_positions(rule.by_set_pos, [day for day in ones if matches(day)])


def _select_positions(wanted: set[int], days: list[date]) -> list[date]:
    return [day for n, day in enumerate(days) if not wanted or {n + 1, n - len(days)} & wanted]


def _day_matcher(rule: Rule, first: date) -> Callable[[date], bool]:
    """Return a test for a day against the BY parts. Without them, the first day's position decides."""
    months, month_days, weekdays = rule.by_month, rule.by_month_day, rule.by_day
    if rule.freq == "WEEKLY" and not weekdays:
        weekdays = {(0, first.weekday())}
    if rule.freq in ("MONTHLY", "YEARLY") and not weekdays and not month_days:
        month_days = {first.day}
        months = months or ({first.month} if rule.freq == "YEARLY" else set())
    in_year = rule.freq == "YEARLY" and not rule.by_month

    def matches(day: date) -> bool:
        length = monthrange(day.year, day.month)[1]
        return (
            (not months or day.month in months)
            and (not month_days or bool({day.day, day.day - length - 1} & month_days))
            and (not weekdays or bool(_weekday_places(day, length, in_year) & weekdays))
        )

    return matches


def _weekday_places(day: date, length: int, in_year: bool) -> set[tuple[int, int]]:
    """Return the BYDAY values that match a day: (0 for each, or which one in the month or the year; weekday)."""
    at = day.timetuple().tm_yday if in_year else day.day
    last = (366 if isleap(day.year) else 365) if in_year else length
    return {(nth, day.weekday()) for nth in (0, (at - 1) // 7 + 1, -((last - at) // 7 + 1))}
