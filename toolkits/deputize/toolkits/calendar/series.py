"""Occurrences of a recurring event."""

from __future__ import annotations

import calendar
import heapq
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Final

from deputize.core.errors import InvalidInput
from deputize.toolkits.calendar.event_times import Moment, full
from deputize.toolkits.calendar.rules import Recurrence, Rule

_EMPTY: Final = 20_000  # empty periods after which a rule counts as finished
_LAST: Final = 9_990  # year


def occurrences(recurrence: Recurrence, start: Moment) -> Iterator[Moment]:
    """Yield the occurrences of an event in order, possibly without an end."""
    gone = {one.at for one in recurrence.left_out}
    before: datetime | None = None
    for one in heapq.merge(
        *(_rule_occurrences(rule, start) for rule in recurrence.rules),
        sorted(recurrence.added, key=lambda one: one.at),
        *([[start]] if not recurrence.rules else []),
        key=lambda one: one.at,
    ):
        if one.at != before and one.at not in gone:
            yield one
        before = one.at


def next_dates(recurrence: Recurrence, start: Moment, count: int = 3) -> list[Moment]:
    return list(islice(occurrences(recurrence, start), count))


def check_start(recurrence: Recurrence, start: Moment) -> Recurrence:
    """Return the recurrence if the start is one of its dates.

    A series whose start does not match its rule is undefined (RFC 5545 3.8.5.3), so programs disagree on its dates.
    Raises `InvalidInput` with the first matching dates.
    """
    first = next_dates(recurrence, start)
    if start in recurrence.added or any(one.at == start.at for one in (*first, *recurrence.left_out)):
        return recurrence
    named = f"{full(start)} ({calendar.day_name[start.day.weekday()]})"
    if not first:
        raise InvalidInput(f"recurrence: has no date from {named} on.", hint="Change UNTIL, or begin earlier.")
    raise InvalidInput(
        f"recurrence: the start, {named}, is not one of its dates.",
        hint=f"Start on one that is: {', '.join(map(full, first))}. Or change the rule.",
    )


def _rule_occurrences(rule: Rule, start: Moment) -> Iterator[Moment]:
    """Yield the occurrences of one rule. A local time that a clock change skips is moved by it (RFC 5545 3.3.5)."""
    for counted, day in enumerate(_days(rule, start.day)):
        if rule.count is not None and counted >= rule.count:
            return
        one = _occurrence_on(start, day)
        if rule.until is not None and _is_after(one, rule.until):
            return
        yield one


def _occurrence_on(start: Moment, day: date) -> Moment:
    if not isinstance(start.local, datetime) or start.zone is None:
        return Moment(day)
    wall = datetime.combine(day, start.time)
    return Moment.of(wall.replace(tzinfo=start.zone).astimezone(UTC), start.zone)


def _is_after(one: Moment, until: date | datetime) -> bool:
    return one.at > until if isinstance(until, datetime) else one.day > until


def _days(rule: Rule, first: date) -> Iterator[date]:
    empty = 0
    for period in _periods(rule, first):
        found = [day for day in _select_positions(rule, period) if day >= first]
        empty = 0 if found else empty + 1
        if empty > _EMPTY:
            return
        yield from found


def _select_positions(rule: Rule, days: list[date]) -> list[date]:
    if not rule.by_set_pos:
        return days
    places = {at - 1 if at > 0 else len(days) + at for at in rule.by_set_pos}
    return [day for at, day in enumerate(days) if at in places]


def _periods(rule: Rule, first: date) -> Iterator[list[date]]:
    """Yield the days of a rule, grouped by day, week, month or year."""
    match rule.freq:
        case "DAILY":
            yield from ([day] if _is_allowed(rule, day) else [] for day in _step_days(first, rule.interval))
        case "WEEKLY":
            monday = first - timedelta(days=(first.weekday() - rule.week_start) % 7)
            weekdays = {day for _, day in rule.by_day} or {first.weekday()}
            for week in _step_days(monday, 7 * rule.interval):
                days = [week + timedelta(days=n) for n in range(7)]
                yield [day for day in days if day.weekday() in weekdays and _in_month(rule, day)]
        case "MONTHLY":
            months = first.year * 12 + first.month - 1
            for month in range(months, _LAST * 12, rule.interval):
                yield _month_days(rule, month // 12, month % 12 + 1, first.day)
        case "YEARLY":
            for year in range(first.year, _LAST, rule.interval):
                yield _year_days(rule, year, first)


def _step_days(day: date, step: int) -> Iterator[date]:
    while day.year < _LAST:
        yield day
        day += timedelta(days=step)


def _in_month(rule: Rule, day: date) -> bool:
    return not rule.by_month or day.month in rule.by_month


def _is_allowed(rule: Rule, day: date) -> bool:
    """True if the rule's lists allow this day."""
    weekdays = {weekday for _, weekday in rule.by_day}
    return _in_month(rule, day) and (not weekdays or day.weekday() in weekdays) and _is_day_of_month(rule, day)


def _is_day_of_month(rule: Rule, day: date) -> bool:
    length = calendar.monthrange(day.year, day.month)[1]
    return not rule.by_month_day or bool({day.day, day.day - length - 1} & set(rule.by_month_day))


def _month_days(rule: Rule, year: int, month: int, usual: int) -> list[date]:
    days = [date(year, month, n) for n in range(1, calendar.monthrange(year, month)[1] + 1)]
    if not _in_month(rule, days[0]):
        return []
    if not (rule.by_day or rule.by_month_day):
        return [day for day in days if day.day == usual]
    return [day for day in days if _is_day_of_month(rule, day) and _is_nth(rule, day, days)]


def _is_nth(rule: Rule, day: date, days: list[date]) -> bool:
    """True if a day is one of the rule's weekdays, counted within ``days`` from either end."""
    if not rule.by_day:
        return True
    from_start, from_end = (day - days[0]).days // 7 + 1, (days[-1] - day).days // 7 + 1
    return any(day.weekday() == weekday and nth in (0, from_start, -from_end) for nth, weekday in rule.by_day)


def _year_days(rule: Rule, year: int, first: date) -> list[date]:
    months = sorted(set(rule.by_month)) or range(1, 13)
    if rule.by_month or rule.by_month_day:
        return [day for month in months for day in _month_days(rule, year, month, first.day)]
    if rule.by_day:
        days = [date(year, 1, 1) + timedelta(days=n) for n in range(366 if calendar.isleap(year) else 365)]
        return [day for day in days if _is_nth(rule, day, days)]
    return _month_days(rule, year, first.month, first.day)
