"""Move of a recurrence along with the start of its series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

from deputize.core.errors import InvalidInput
from deputize.toolkits.calendar.event_times import Moment
from deputize.toolkits.calendar.rules import Recurrence, Rule


def move_recurrence(recurrence: Recurrence, old: Moment, new: Moment) -> Recurrence:
    """Return the recurrence of a series that moves from ``old`` to ``new``.

    Weekdays, ends and single dates move as far as the start, in local time. Raises `InvalidInput` if a rule names days
    of a month or year, whose move is ambiguous.
    """
    if old.all_day != new.all_day and any(_has_dates(recurrence)):
        raise _rule_needed()
    days = (new.day - old.day).days
    return Recurrence(
        tuple(_move_rule(rule, days, lambda until: _move_until(until, old, new)) for rule in recurrence.rules),
        tuple(_move_moment(one, old, new) for one in recurrence.added),
        tuple(_move_moment(one, old, new) for one in recurrence.left_out),
    )


def _has_dates(recurrence: Recurrence) -> tuple[bool, ...]:
    return bool(recurrence.added), bool(recurrence.left_out), any(rule.until for rule in recurrence.rules)


def _move_rule(rule: Rule, days: int, until: Callable[[date | datetime], date | datetime]) -> Rule:
    by_day = rule.by_day
    if days and (by_day or rule.by_month_day or rule.by_month or rule.by_set_pos):
        plain = not (rule.by_month_day or rule.by_month or rule.by_set_pos) and rule.freq in ("DAILY", "WEEKLY")
        if not plain or (rule.freq == "WEEKLY" and rule.interval > 1 and len(by_day) > 1):
            raise _rule_needed()  # every other week's Friday may move into the week between
        by_day = tuple((nth, (weekday + days) % 7) for nth, weekday in by_day)
    return replace(rule, by_day=by_day, until=until(rule.until) if rule.until else None)


def _move_until(until: date | datetime, old: Moment, new: Moment) -> date | datetime:
    at = Moment.of(until, UTC) if isinstance(until, datetime) else Moment(until)
    there = _move_moment(at, old, new)
    return there.at if isinstance(until, datetime) else there.day


def _move_moment(one: Moment, old: Moment, new: Moment) -> Moment:
    if one.all_day or not isinstance(old.local, datetime) or not isinstance(new.local, datetime):
        return Moment(one.day + (new.day - old.day))
    wall = one.at.astimezone(old.zone).replace(tzinfo=None) + (new.local - old.local)
    return Moment.of(wall.replace(tzinfo=new.zone).astimezone(UTC), new.zone or UTC)


def _rule_needed() -> InvalidInput:
    return InvalidInput(
        "recurrence: needed, because the rule of this series names days that do not move with the start.",
        hint="Give the new rule, such as RRULE:FREQ=MONTHLY;BYDAY=2TU.",
    )
