"""The occurrences of a series (RFC 5545 3.3.10): of every day it is asked whether the rule names it.

Nothing of this is the toolkit's, which counts periods out: where one of them is wrong, their answers differ. What is
not played is refused: frequencies below a day, BYWEEKNO, BYYEARDAY, EXRULE, RDATE with periods.
"""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from heapq import merge
from itertools import groupby

from deputize.sandbox.google.calendar.call import invalid, zone_named
from deputize.sandbox.http_types import Refused

Time = date | datetime  # a day of an all-day event, or a moment in UTC
LONGEST = 50 * 366  # days that a series is followed for
LAST = date(9990, 1, 1).toordinal()
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
PERIODS: dict[str, Callable[[date, int], int]] = {  # the number of the period that a day is in; when weeks begin
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
    """The first time, on the wall of its zone, and what the lines of RRULE, RDATE and EXDATE say."""

    start: Time
    rules: list[Rule] = field(default_factory=list)
    added: list[Time] = field(default_factory=list)
    excluded: set[Time] = field(default_factory=set)


def series(lines: Sequence[str], start: Time) -> Series:
    """The recurrence of an event that starts then; 400 for what Google refuses, and for what is not played."""
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
                raise _refused()
    except ValueError:
        raise _refused() from None
    return read


def _refused() -> Refused:
    return invalid("Invalid recurrence rule.")


def _rule(text: str, start: Time) -> Rule:
    parts = [one.partition("=") for one in text.split(";")]
    given = {name: value for name, _, value in parts}
    rule = Rule(given.pop("FREQ", ""))
    if rule.freq not in PERIODS or len(given) + 1 < len(parts) or {"COUNT", "UNTIL"} <= given.keys():
        raise _refused()
    for name, value in given.items():
        _take(rule, name, value, start)
    if rule.freq in ("DAILY", "WEEKLY") and any(nth for nth, _ in rule.by_day):
        raise _refused()
    if rule.freq == "WEEKLY" and rule.by_month_day:
        raise _refused()
    return rule


def _take(rule: Rule, name: str, value: str, start: Time) -> None:
    match name:
        case "COUNT":
            (rule.count,) = _numbers(value, 1, 9_999)
        case "INTERVAL":
            (rule.interval,) = _numbers(value, 1, 999)
        case "UNTIL":
            rule.until = _until(value, start)
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
            raise _refused()


def _numbers(text: str, least: int, most: int) -> set[int]:
    found = {int(one) for one in text.split(",")}
    if 0 in found or min(found) < least or max(found) > most:
        raise _refused()
    return found


def _weekday(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([+-]?[1-9]\d?)?([A-Z]{2})", text)
    if found is None or abs(int(found[1] or 0)) > 53:
        raise _refused()
    return int(found[1] or 0), WEEKDAYS.index(found[2])


def _until(text: str, start: Time) -> Time:
    if isinstance(start, datetime) and not text.endswith("Z"):
        raise _refused()
    return _time(text, {}, start)


def _times(text: str, parameters: Iterable[str], start: Time) -> list[Time]:
    given = {name: value for name, _, value in (one.partition("=") for one in parameters)}
    return [_time(one, given, start) for one in text.split(",")]


def _time(text: str, given: dict[str, str], start: Time) -> Time:
    if not isinstance(start, datetime):
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()
    zone = UTC if text.endswith("Z") else zone_named(given["TZID"]) if "TZID" in given else start.tzinfo
    return datetime.strptime(text.removesuffix("Z"), "%Y%m%dT%H%M%S").replace(tzinfo=zone).astimezone(UTC)


# ----------------------------------------------------------------- when it takes place


def occurrences(found: Series) -> Iterator[Time]:
    """When the series takes place, in order, for fifty years at most."""
    start = found.start.astimezone(UTC) if isinstance(found.start, datetime) else found.start
    counted = [_of_rule(rule, found.start) for rule in found.rules] or [iter([start])]
    before: Time | None = None
    for one in merge(*counted, sorted(found.added)):  # days or moments, never both
        if one != before and one not in found.excluded:
            yield one
        before = one


def _of_rule(rule: Rule, start: Time) -> Iterator[Time]:
    first = start.date() if isinstance(start, datetime) else start
    for counted, day in enumerate(day for day in _days(rule, first) if day >= first):
        one = _at(day, start)
        if (rule.count and counted >= rule.count) or (rule.until and one > rule.until):
            return
        yield one


def _at(day: date, start: Time) -> Time:
    """That day, at the series' time on the wall; a time that the clocks skip is as much later (RFC 5545 3.3.5)."""
    if not isinstance(start, datetime):
        return day
    return datetime.combine(day, start.time().replace(fold=0), start.tzinfo).astimezone(UTC)


def _days(rule: Rule, first: date) -> Iterator[date]:
    """The days that a rule names, from the beginning of the first period on."""
    begin = first.replace(month=1, day=1) if rule.freq == "YEARLY" else first.replace(day=1)
    ordinal = max(1, min(begin.toordinal(), first.toordinal() - 6))
    days = map(date.fromordinal, range(ordinal, min(ordinal + LONGEST, LAST)))
    period, named = PERIODS[rule.freq], _named(rule, first)
    since = period(first, rule.week_start)
    for number, ones in groupby(days, lambda day: period(day, rule.week_start)):
        if number >= since and (number - since) % rule.interval == 0:
            yield from _at_positions(rule.by_set_pos, [day for day in ones if named(day)])


def _at_positions(wanted: set[int], days: list[date]) -> list[date]:
    return [day for n, day in enumerate(days) if not wanted or {n + 1, n - len(days)} & wanted]


def _named(rule: Rule, first: date) -> Callable[[date], bool]:
    """Whether the BY parts name a day; where they are silent, the place of the first day counts."""
    months, month_days, weekdays = rule.by_month, rule.by_month_day, rule.by_day
    if rule.freq == "WEEKLY" and not weekdays:
        weekdays = {(0, first.weekday())}
    if rule.freq in ("MONTHLY", "YEARLY") and not weekdays and not month_days:
        month_days = {first.day}
        months = months or ({first.month} if rule.freq == "YEARLY" else set())
    in_year = rule.freq == "YEARLY" and not rule.by_month

    def named(day: date) -> bool:
        length = monthrange(day.year, day.month)[1]
        return (
            (not months or day.month in months)
            and (not month_days or bool({day.day, day.day - length - 1} & month_days))
            and (not weekdays or bool(_weekday_places(day, length, in_year) & weekdays))
        )

    return named


def _weekday_places(day: date, length: int, in_year: bool) -> set[tuple[int, int]]:
    """What BYDAY may call a day: each, the second, the last of its weekday, in the month or the year."""
    at = day.timetuple().tm_yday if in_year else day.day
    last = (366 if isleap(day.year) else 365) if in_year else length
    return {(nth, day.weekday()) for nth in (0, (at - 1) // 7 + 1, -((last - at) // 7 + 1))}
