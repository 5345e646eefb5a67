"""The reader of times and lengths in arguments: ISO 8601, English words such as ``tomorrow 16:00``, and distances.

A text is parsed without a clock, so that it is known whether its meaning depends on the user's time zone. The caller
then gives the time of the call. A text with two meanings is refused, with both dates.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, TypeAlias

from dateutil.parser import parse as parse_date
from dateutil.relativedelta import MO, relativedelta

from deputize.core.errors import InvalidInput

Point: TypeAlias = date | datetime
"""A whole day, a local time (without offset), or a moment."""

FORMS: Final = (
    "Use an ISO date or date-time, tomorrow 16:00, Friday 9:30, next Monday, 3 December 2026, 16:00 of today, now, "
    "or a distance such as -7d, +1d2h, in 2 hours (units m h d w)."
)
_SEARCHES: Final = frozenset({"after", "before", "updated_after", "created_after"})
"""Arguments that mostly name past times."""
_LONGEST: Final = 100  # characters
_FAR: Final = 120  # days from now to a date without a year
_MIDNIGHT: Final = datetime(2000, 1, 1, tzinfo=UTC)

_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NAMED_DAYS: Final = {
    "day before yesterday": -2,
    "yesterday": -1,
    "today": 0,
    "tomorrow": 1,
    "day after tomorrow": 2,
}
_WEEKS: Final = {"last": -1, "this": 0, "next": 1}
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MONTH: Final = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?)"
)
_WEEKDAY: Final = "(mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?"
_DAY_NUMBER: Final = r"\d{1,2}(?:st|nd|rd|th)?"
_CLOCK_WORDS: Final = r"(?:\d{1,2}:\d\d(?: ?[ap]m)?|\d{1,2} ?[ap]m|noon)"

_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):[0-5]\d|(?:0?[1-9]|1[0-2])(?::[0-5]\d)? ?[ap]m|noon", re.ASCII)
_DISTANCE: Final = re.compile(r"([+-])((?:[0-9]{1,6}[mhdw])+)")
_LENGTH: Final = re.compile(r"(?:[0-9]{1,5}[mhdw])+")
_ISO_LENGTH: Final = re.compile(
    r"([+-]?)p((?:\d{1,5}w)?(?:\d{1,5}d)?(?:t(?=\d)(?:\d{1,5}h)?(?:\d{1,5}m)?)?)(?<=[wdhm])", re.ASCII
)
_COUNTED: Final = re.compile(r"(\d{1,5}|an?) (min|minute|hour|day|week)s?", re.ASCII)
_WEEKDAY_WORDS: Final = re.compile(rf"(?:(next|last|this) )?{_WEEKDAY}")
_WEEKDAY_OF: Final = re.compile(rf"{_WEEKDAY} (?:of )?(next|last|this) week")
_DATE_WORDS: Final = re.compile(
    rf"(?:{_WEEKDAY} )?(?:{_DAY_NUMBER} (?:of )?{_MONTH}|{_MONTH} {_DAY_NUMBER})(?: (\d{{4}}))?", re.ASCII
)
_ISO_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DAY_THEN_CLOCK: Final = re.compile(rf"(.+?) (?:at )?({_CLOCK_WORDS})", re.ASCII)
_CLOCK_THEN_DAY: Final = re.compile(rf"({_CLOCK_WORDS}) (?:on )?(.+)", re.ASCII)
_BARE_HOUR: Final = re.compile(r"(?:.* )?at (\d|1[0-2])", re.ASCII)


@dataclass(frozen=True, slots=True)
class When:
    """A parsed text. ``read``: returns its time at a local time. ``zoned``: the moment differs between zones.
    ``dated``: the text names its day by a date. ``clock``: the hour, if the text is nothing else."""

    read: Callable[[datetime], Point]
    zoned: bool = True
    dated: bool = False
    clock: time | None = None


class _Ambiguous(Exception):
    """A text with several meanings. Its argument is the hint."""


def parse(text: str, field: str, *, coming: bool = False) -> When:
    """Return what a text means. ``coming``: a weekday is the next one, also in an argument that mostly searches.

    Raises `InvalidInput` that names ``field`` for a text that is no time.
    """
    try:
        found = _parse(text.strip(), searches=field in _SEARCHES and not coming)
    except _Ambiguous as several:
        raise _ambiguous(text, field, several) from None
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise InvalidInput(f"{field}: not a point in time.", hint=FORMS)
    return found


def read(text: str, here: datetime, field: str, *, coming: bool = False) -> Point:
    """Return the time that a text means at the local time ``here``, as `parse` does."""
    found = parse(text, field, coming=coming)
    try:
        return found.read(here.replace(microsecond=0))
    except _Ambiguous as several:
        raise _ambiguous(text, field, several) from None
    except (ValueError, OverflowError):
        raise InvalidInput(f"{field}: not a point in time.", hint=FORMS) from None


def parse_length(text: str) -> tuple[int, timedelta] | None:
    """Return a length such as ``1h30m``, ``2d`` or ``PT30M`` as days and remaining time, or None for another text."""
    words = text.strip().lower()
    if (iso := _ISO_LENGTH.fullmatch(words)) and not iso[1]:
        words = iso[2].replace("t", "")
    return _days_and_rest(words) if _LENGTH.fullmatch(words) else None


def _ambiguous(text: str, field: str, several: _Ambiguous) -> InvalidInput:
    return InvalidInput(f"{field}: {text.strip()[:40]!r} can mean several times.", hint=str(several))


# ----------------------------------------------------------------- texts


def _parse(text: str, *, searches: bool) -> When | None:
    if len(text) > _LONGEST:
        return None
    if (iso := _iso(text)) is not None:
        return iso
    words = " ".join(text.lower().replace(",", " ").split())
    if (shift := _shift(words, searches=searches)) is not None:
        return shift
    words = re.sub(r"^(?:on |at |by )?(?:the )?", "", words)
    if _BARE_HOUR.fullmatch(text.lower()):
        raise _Ambiguous("Write 5:00 or 17:00, 5am or 5pm.")
    if words.endswith(" utc"):
        return _in_utc(_parse(words.removesuffix(" utc"), searches=searches))
    if _CLOCK.fullmatch(words):
        at = _clock(words)
        return When(lambda here: datetime.combine(here.date(), at), clock=at)
    if (day := _day(words, searches=searches)) is not None:
        return When(day, dated=_is_dated(words))
    for pattern, day_at, clock_at in ((_DAY_THEN_CLOCK, 1, 2), (_CLOCK_THEN_DAY, 2, 1)):
        if (both := pattern.fullmatch(words)) and _CLOCK.fullmatch(both[clock_at]):
            day, at = _day(both[day_at], searches=searches), _clock(both[clock_at])
            if day is not None:
                return When(_at_clock(day, at), dated=_is_dated(both[day_at]))
    return None


def _iso(text: str) -> When | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        pass
    else:
        return When(lambda here: day, dated=True)
    try:
        at = datetime.fromisoformat(text).replace(microsecond=0)
    except ValueError:
        return None
    return When(lambda here: at, zoned=at.tzinfo is None, dated=at.tzinfo is None)


def _shift(words: str, *, searches: bool) -> When | None:
    """Return a time by its distance from now."""
    if words == "now":
        return When(lambda here: here, zoned=False)
    if distance := _DISTANCE.fullmatch(words):
        return _from_now(distance[1], *_days_and_rest(distance[2]))
    if iso := _ISO_LENGTH.fullmatch(words):
        if not iso[1] and searches:
            raise _Ambiguous(f"Write -{iso[0].upper()} for the past, +{iso[0].upper()} for the future.")
        return _from_now(iso[1], *_days_and_rest(iso[2].replace("t", "")))
    before, after = words.removesuffix(" ago"), words.removeprefix("in ").removesuffix(" from now")
    if before != words and (counted := _COUNTED.fullmatch(before)):
        return _from_now("-", *_counted(counted))
    if after != words and (counted := _COUNTED.fullmatch(after)):
        return _from_now("+", *_counted(counted))
    return None


def _from_now(sign: str, days: int, rest: timedelta) -> When:
    """Days are calendar days in the user's zone, the rest is elapsed time."""
    way = -1 if sign == "-" else 1
    return When(lambda here: (here + way * timedelta(days=days)).astimezone(UTC) + way * rest, zoned=False)


def _days_and_rest(words: str) -> tuple[int, timedelta]:
    parts = [(int(count), unit) for count, unit in re.findall(r"(\d+)([mhdw])", words)]
    days = sum(count * (7 if unit == "w" else 1) for count, unit in parts if unit in "dw")
    return days, sum((timedelta(**{_UNITS[unit]: count}) for count, unit in parts if unit in "mh"), timedelta())


def _counted(found: re.Match[str]) -> tuple[int, timedelta]:
    count = "1" if found[1] in ("a", "an") else found[1]
    return _days_and_rest(f"{count}{found[2][0]}")


def _in_utc(found: When | None) -> When | None:
    """Return the time with its day and hour in UTC."""
    if found is None or not found.zoned:
        return None

    def read(here: datetime) -> Point:
        at = found.read(here.astimezone(UTC))
        return at.replace(tzinfo=UTC) if isinstance(at, datetime) else datetime(at.year, at.month, at.day, tzinfo=UTC)

    return When(read, zoned=False)


# ----------------------------------------------------------------- days


_DayAt: TypeAlias = Callable[[datetime], date]


def _at_clock(day: _DayAt, at: time) -> Callable[[datetime], datetime]:
    return lambda here: datetime.combine(day(here), at)


def _clock(words: str) -> time:
    return time(12) if words == "noon" else parse_date(words, default=_MIDNIGHT).time()


def _is_dated(words: str) -> bool:
    return bool(_ISO_DATE.fullmatch(words) or _DATE_WORDS.fullmatch(words))


def _day(words: str, *, searches: bool) -> _DayAt | None:
    """Return a function from the local time to the day that these words name."""
    words = re.sub(r"^(?:on )?(?:the )?", "", words)
    if words in _NAMED_DAYS:
        return lambda here: here.date() + timedelta(days=_NAMED_DAYS[words])
    if _ISO_DATE.fullmatch(words):
        fixed = date.fromisoformat(words)
        return lambda here: fixed
    if (distance := _DISTANCE.fullmatch(words)) and not _days_and_rest(distance[2])[1]:
        days = _days_and_rest(distance[2])[0] * (-1 if distance[1] == "-" else 1)
        return lambda here: here.date() + timedelta(days=days)
    if (after := _COUNTED.fullmatch(words.removeprefix("in "))) and words.startswith("in ") and not _counted(after)[1]:
        ahead = _counted(after)[0]
        return lambda here: here.date() + timedelta(days=ahead)
    if of_week := _WEEKDAY_OF.fullmatch(words):
        weekday, weeks = _weekday(of_week[1]), _WEEKS[of_week[2]]
        return lambda here: _in_week(here.date(), weekday, weeks)
    if weekday_words := _WEEKDAY_WORDS.fullmatch(words):
        which, coming = weekday_words[1] or "", _weekday(weekday_words[2])
        return lambda here: _coming(here.date(), coming, which, searches=searches)
    if named := _DATE_WORDS.fullmatch(words):
        on, year = named[1] or "", bool(named[2])
        plain = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b|\bof\b", "", words.partition(" ")[2] if on else words)
        return lambda here: _dated(plain, here.date(), on, year=year)
    return None


def _weekday(word: str) -> int:
    return next(n for n, name in enumerate(_WEEKDAYS) if name.startswith(word))


def _in_week(today: date, weekday: int, weeks: int) -> date:
    return today + relativedelta(weekday=MO(-1)) + timedelta(days=weekday + 7 * weeks)


def _coming(today: date, weekday: int, which: str, *, searches: bool) -> date:
    """Return the day of a weekday. Raises `_Ambiguous` if people would disagree which one is meant."""
    ahead = today + timedelta(days=(weekday - today.weekday()) % 7 or 7)
    past = today - timedelta(days=(today.weekday() - weekday) % 7 or 7)
    this_week = _in_week(today, weekday, 0)
    if which == "next":
        choices = {ahead, _in_week(today, weekday, 1)}
    elif which == "last":
        choices = {past, _in_week(today, weekday, -1)}
    elif which == "this":
        choices = {this_week} if this_week >= today else {this_week, ahead}
    else:
        choices = {past, ahead} if searches else {ahead} | ({today} if this_week == today else set())
    if len(choices) > 1:
        raise _Ambiguous(f"Give the date: {' or '.join(one.isoformat() for one in sorted(choices))}.")
    return choices.pop()


def _dated(words: str, today: date, weekday: str, *, year: bool) -> date:
    """Return the date. Without a year, it is the nearest. Raises `_Ambiguous` if that is far, or no such weekday."""
    if year:
        found = _calendar_day(words)
    else:
        days = [one for n in (-1, 0, 1) if (one := _calendar_day(f"{words} {today.year + n}"))]
        found = min(days, key=lambda one: abs(one - today), default=None)
        if found and abs(found - today) > timedelta(days=_FAR):
            raise _Ambiguous(f"Give the year: {' or '.join(one.isoformat() for one in days)}.")
    if found is None:
        raise ValueError(words)
    if weekday and found.weekday() != _weekday(weekday):
        raise _Ambiguous(f"{found.isoformat()} is a {_WEEKDAYS[found.weekday()].capitalize()}.")
    return found


def _calendar_day(words: str) -> date | None:
    try:
        return parse_date(words, default=_MIDNIGHT).date()
    except ValueError:
        return None
