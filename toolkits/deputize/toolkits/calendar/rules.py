"""Recurrence: parsing and checks of RRULE, RDATE and EXDATE lines (RFC 5545 3.3.10, 3.8.5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, Literal

from deputize.core.errors import InvalidInput
from deputize.toolkits.calendar.event_times import Moment, known_zone

DAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
Freq = Literal["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]
_FREQS: Final[Mapping[str, Freq]] = {"DAILY": "DAILY", "WEEKLY": "WEEKLY", "MONTHLY": "MONTHLY", "YEARLY": "YEARLY"}
_MAX_LINES: Final = 100
_FORM: Final = "Such as RRULE:FREQ=WEEKLY;BYDAY=MO,WE;COUNT=10."
_LINE: Final = re.compile(r"[A-Z0-9:;=,+\-./_a-z]{1,5000}")
_BYDAY: Final = re.compile(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_STAMP: Final = re.compile(r"[0-9]{8}(?:T[0-9]{6}Z?)?")


@dataclass(frozen=True)
class Rule:
    """One RRULE. ``until``: the last moment in UTC, or the last day. ``by_day``: (position or 0 for each, weekday)."""

    freq: Freq
    interval: int = 1
    count: int | None = None
    until: date | datetime | None = None
    by_day: tuple[tuple[int, int], ...] = ()
    by_month_day: tuple[int, ...] = ()
    by_month: tuple[int, ...] = ()
    by_set_pos: tuple[int, ...] = ()
    week_start: int = 0

    @property
    def line(self) -> str:
        """The RRULE line."""
        numbers = {"BYMONTH": self.by_month, "BYMONTHDAY": self.by_month_day, "BYSETPOS": self.by_set_pos}
        parts = {
            "FREQ": self.freq,
            "INTERVAL": str(self.interval) if self.interval > 1 else "",
            "COUNT": str(self.count or ""),
            "UNTIL": format_stamp(self.until) if self.until else "",
            "WKST": DAYS[self.week_start] if self.week_start else "",
            **{name: ",".join(map(str, values)) for name, values in numbers.items()},
            "BYDAY": ",".join(f"{nth or ''}{DAYS[day]}" for nth, day in self.by_day),
        }
        return "RRULE:" + ";".join(f"{name}={value}" for name, value in parts.items() if value)


@dataclass(frozen=True)
class Recurrence:
    """Repetitions of an event: rules, single dates added and single dates left out."""

    rules: tuple[Rule, ...] = ()
    added: tuple[Moment, ...] = ()
    left_out: tuple[Moment, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The lines as Google accepts them."""
        singles = (("RDATE", self.added), ("EXDATE", self.left_out))
        return [rule.line for rule in self.rules] + [_date_line(name, one) for name, ones in singles for one in ones]


def format_stamp(at: date | datetime) -> str:
    """Return a date, or a moment in UTC, in the form of rules."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}" if isinstance(at, datetime) else f"{at:%Y%m%d}"


def _date_line(name: str, moment: Moment) -> str:
    if moment.all_day:
        return f"{name};VALUE=DATE:{format_stamp(moment.local)}"
    return f"{name}:{format_stamp(moment.at)}"


def read_recurrence(lines: Iterable[str], start: Moment) -> Recurrence:
    """Parse and check the lines of an event. Raises `InvalidInput` that names the line and its fault."""
    read, lines = Recurrence(), list(lines)
    if len(lines) > _MAX_LINES:
        raise InvalidInput(
            f"recurrence: {len(lines)} lines, and at most {_MAX_LINES} are read.", hint="A line takes several dates."
        )
    for at, line in enumerate(lines):
        name = f"recurrence[{at}]"
        line = line.strip()
        if not _LINE.fullmatch(line):
            raise InvalidInput(f"{name}: not a recurrence line.", hint=_FORM)
        kind, colon, value = line.partition(":")
        if not colon and "FREQ=" in line.upper():
            kind, value = "RRULE", line
        read = _add_line(read, kind, value, start, name)
    return read


def _add_line(read: Recurrence, kind: str, value: str, start: Moment, name: str) -> Recurrence:
    kind, _, params = kind.partition(";")
    kind = kind.upper()
    if kind == "RRULE" and not params:
        return replace(read, rules=(*read.rules, read_rule(value, start, name)))
    if kind in ("RDATE", "EXDATE"):
        moments = _parse_dates(value, params, start, name)
        if kind == "RDATE":
            return replace(read, added=(*read.added, *moments))
        return replace(read, left_out=(*read.left_out, *moments))
    raise InvalidInput(
        f"{name}: only RRULE, RDATE and EXDATE are supported.", hint="Start and end are arguments of their own."
    )


def _parse_dates(value: str, params: str, start: Moment, name: str) -> list[Moment]:
    zone = known_zone(params.partition("TZID=")[2].partition(";")[0]) or start.zone
    found = [_parse_stamp(one, zone) for one in value.split(",")]
    if any(one is None or one.all_day != start.all_day for one in found):
        raise InvalidInput(
            f"{name}: must be dates for an all-day event, and date-times for any other.",
            hint="Such as 20261201T100000Z.",
        )
    return [one for one in found if one]


def _parse_stamp(text: str, zone: tzinfo | None) -> Moment | None:
    if not _STAMP.fullmatch(text):
        return None
    try:
        if len(text) == 8:
            return Moment(datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date())
        at = datetime.strptime(text[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC if text.endswith("Z") else zone)
    except ValueError:
        return None
    return Moment.of(at, zone or UTC) if at.tzinfo else None


# ----------------------------------------------------------------- one rule


def read_rule(text: str, start: Moment, name: str = "recurrence") -> Rule:
    """Parse the value of an RRULE. Raises `InvalidInput` for invalid or unsupported parts."""
    parts: dict[str, str] = {}
    for part in text.upper().strip(";").split(";"):
        key, equals, value = part.partition("=")
        if not equals or not value or key in parts:
            raise InvalidInput(
                f"{name}: {part[:20] or 'an empty part'} is not a part of a rule, or is given twice.",
                hint=_FORM,
            )
        parts[key] = value
    freq = _FREQS.get(parts.pop("FREQ", ""))
    if freq is None:
        raise InvalidInput(f"{name}: FREQ must be DAILY, WEEKLY, MONTHLY or YEARLY.", hint=_FORM)
    if "COUNT" in parts and "UNTIL" in parts:
        raise InvalidInput(f"{name}: COUNT or UNTIL, not both.", hint="Leave out the one that was not asked for.")
    until = parts.pop("UNTIL", "")
    rule = Rule(freq, until=_parse_until(until, start, name) if until else None)
    for key, value in parts.items():
        rule = _set_part(rule, key, value, name)
    if freq not in ("MONTHLY", "YEARLY") and any(nth for nth, _ in rule.by_day):
        raise InvalidInput(
            f"{name}: numbered weekdays (1MO, -1FR) need FREQ=MONTHLY or YEARLY.",
            hint="Such as FREQ=MONTHLY;BYDAY=1MO.",
        )
    if freq == "WEEKLY" and rule.by_month_day:
        raise InvalidInput(
            f"{name}: BYMONTHDAY cannot be used with FREQ=WEEKLY.", hint="Such as FREQ=MONTHLY;BYMONTHDAY=15."
        )
    return rule


def _set_part(rule: Rule, key: str, value: str, name: str) -> Rule:
    match key:
        case "COUNT":
            return replace(rule, count=_parse_number(value, 1, 9999, key, name))
        case "INTERVAL":
            return replace(rule, interval=_parse_number(value, 1, 999, key, name))
        case "WKST" if value in DAYS:
            return replace(rule, week_start=DAYS.index(value))
        case "BYDAY":
            return replace(rule, by_day=tuple(_parse_weekday(one, name) for one in value.split(",")))
        case "BYMONTHDAY":
            return replace(rule, by_month_day=_parse_numbers(value, 31, key, name))
        case "BYMONTH":
            months = _parse_numbers(value, 12, key, name)
            if min(months) > 0:
                return replace(rule, by_month=months)
        case "BYSETPOS":
            return replace(rule, by_set_pos=_parse_numbers(value, 366, key, name))
    raise InvalidInput(f"{name}: {key}={value[:20]} is not supported.", hint=_FORM)


def _parse_number(text: str, least: int, most: int, key: str, name: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,4}", text) or not least <= int(text) <= most:
        raise InvalidInput(f"{name}: {key}={text[:20]} is not a number from {least} to {most}.", hint=_FORM)
    return int(text)


def _parse_numbers(text: str, most: int, key: str, name: str) -> tuple[int, ...]:
    found = tuple(dict.fromkeys(_parse_number(one, -most, most, key, name) for one in text.split(",")))
    if 0 in found:
        raise InvalidInput(
            f"{name}: {key} must not be 0.", hint="Days and places count from 1, or from the end with -1."
        )
    return found


def _parse_weekday(text: str, name: str) -> tuple[int, int]:
    found = _BYDAY.fullmatch(text)
    if not found or abs(int(found[1] or 1)) not in range(1, 54):
        raise InvalidInput(
            f"{name}: BYDAY={text[:20]} is not a weekday.", hint="Such as MO, or -1FR for the last Friday."
        )
    return int(found[1] or 0), DAYS.index(found[2])


def _parse_until(text: str, start: Moment, name: str) -> date | datetime:
    moment = _parse_stamp(text, UTC)
    if moment is None or moment.all_day != start.all_day or (not start.all_day and not text.endswith("Z")):
        wanted = "a date such as 20261231" if start.all_day else "a time in UTC such as 20261231T225959Z"
        raise InvalidInput(f"{name}: UNTIL={text[:20]} is not {wanted}.", hint="It has the form of start.")
    return moment.day if moment.all_day else moment.at


# ----------------------------------------------------------------- text

_EACH: Final = {"DAILY": "day", "WEEKLY": "week", "MONTHLY": "month", "YEARLY": "year"}
_NAMES: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = "January February March April May June July August September October November December".split()
_NTH: Final = {1: "first ", 2: "second ", 3: "third ", 4: "fourth ", 5: "fifth ", -1: "last ", -2: "second to last "}


def recurrence_text(recurrence: Recurrence, start: Moment | None = None) -> str:
    """Return the lines in words. ``start``: the first time, which decides if the last day still counts."""
    parts = [_rule_text(rule, start) for rule in recurrence.rules]
    if recurrence.added:
        parts.append(f"on {len(recurrence.added)} more dates")
    if recurrence.left_out:
        parts.append(f"without {len(recurrence.left_out)} dates")
    return ", ".join(parts)


def is_whole_in_words(recurrence: Recurrence) -> bool:
    """Return True if `recurrence_text` says all of it: it only counts single dates, and says no week start."""
    plain = all(not rule.week_start or rule.interval == 1 for rule in recurrence.rules)
    return plain and not recurrence.added and not recurrence.left_out


def _rule_text(rule: Rule, start: Moment | None) -> str:
    unit = _EACH[rule.freq]
    words = [f"every {unit}" if rule.interval == 1 else f"every {rule.interval} {unit}s"]
    if rule.by_month:
        words.append("in " + _join_words([_MONTHS[one - 1] for one in rule.by_month]))
    if rule.by_month_day:
        words.append("on day " + _join_words([str(one) for one in rule.by_month_day]))
    if rule.by_day:
        named = [
            f"{'the ' if nth else ''}{_NTH.get(nth, f'{nth}. ' if nth else '')}{_NAMES[day]}"
            for nth, day in rule.by_day
        ]
        words.append("on " + _join_words(named))
    if rule.by_set_pos:
        words.append(f"(only no. {_join_words([str(one) for one in rule.by_set_pos])} of them)")
    if rule.count:
        words[-1] += ","
        words.append(f"{rule.count} times in all" if rule.count > 1 else "once")
    if rule.until:
        words.append(f"until {_last_day(rule.until, start):%Y-%m-%d}")
    return " ".join(words)


def _last_day(until: date | datetime, start: Moment | None) -> date:
    """Return the last day on which the series can occur, in the zone of its start."""
    if start is None or not (isinstance(until, datetime) and isinstance(start.local, datetime)):
        return until
    last = until.astimezone(start.zone)
    return last.date() if last.time() >= start.local.time() else last.date() - timedelta(days=1)


def _join_words(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
