"""The sandbox expands a recurrence by itself: as the independent dateutil does, and without the toolkit."""

# ruff: noqa: DTZ001 - times on a wall have no offset

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.sandbox.google.calendar.recurrence import WEEKDAYS, Time, occurrences, series
from deputize.sandbox.http_types import Refused
from tests.support.lanes import examples

ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC")]
BERLIN = datetime(2026, 3, 27, 2, 30, tzinfo=ZONES[0])
starts: st.SearchStrategy[Time] = st.one_of(
    st.builds(
        lambda at, zone: at.replace(second=0, microsecond=0, fold=0, tzinfo=zone),
        st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
        st.sampled_from(ZONES),
    ),
    st.dates(date(2020, 1, 1), date(2030, 1, 1)),
)
month_days = st.lists(st.sampled_from([1, 2, 15, 28, 31, -1, -2]), min_size=1, max_size=3, unique=True)
months = st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True)


def joined(values: list[int]) -> str:
    return ",".join(map(str, values))


@st.composite
def rules(draw: st.DrawFn, start: Time) -> str:
    """Return a rule as people make them."""
    freq = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    parts = [f"FREQ={freq}", f"INTERVAL={draw(st.integers(1, 4))}", f"WKST={draw(st.sampled_from(['MO', 'SU']))}"]
    weekdays = draw(st.lists(st.sampled_from(WEEKDAYS), unique=True, max_size=3))
    if weekdays:
        nth = draw(st.sampled_from(["", "1", "2", "-1"])) if freq in ("MONTHLY", "YEARLY") else ""
        parts.append("BYDAY=" + ",".join(nth + day for day in weekdays))
    elif freq in ("DAILY", "MONTHLY") and draw(st.booleans()):
        parts.append(f"BYMONTHDAY={joined(draw(month_days))}")
    if draw(st.booleans()):
        parts.append(f"BYMONTH={joined(draw(months))}")
    if weekdays and freq == "MONTHLY" and draw(st.booleans()):
        parts.append(f"BYSETPOS={draw(st.sampled_from([1, -1, 2]))}")
    match draw(st.sampled_from(["", "COUNT", "UNTIL"])):
        case "COUNT":
            parts.append(f"COUNT={draw(st.integers(1, 30))}")
        case "UNTIL":
            last = start + timedelta(days=draw(st.integers(0, 900)))
            timed = f"{last.astimezone(UTC):%Y%m%dT%H%M%SZ}" if isinstance(last, datetime) else f"{last:%Y%m%d}"
            parts.append(f"UNTIL={timed}")
    return "RRULE:" + ";".join(parts)


def of_dateutil(line: str, start: Time) -> list[Time]:
    """Return dateutil's expansion; of fifty years, as in the sandbox."""
    if isinstance(start, datetime):
        found = islice(rrulestr(line, dtstart=start), 20)
        return [one.astimezone(UTC) for one in found if one.year < start.year + 49]
    found = islice(rrulestr(line, dtstart=datetime(start.year, start.month, start.day)), 20)
    return [one.date() for one in found if one.year < start.year + 49]


@settings(max_examples=examples(400), deadline=None)
@given(st.data())
def test_rule_expansion_equals_dateutil(data: st.DataObject) -> None:
    start = data.draw(starts)
    line = data.draw(rules(start))
    found = list(islice(occurrences(series([line], start)), 20))
    assert [one for one in found if one.year < start.year + 49] == of_dateutil(line, start), line


def test_recurrence_dates_and_exceptions_work_across_clock_changes() -> None:
    lines = ["RRULE:FREQ=DAILY;COUNT=3", "RDATE;TZID=America/New_York:20260401T120000", "EXDATE:20260327T013000Z"]
    found = [f"{one:%Y-%m-%dT%H:%M}" for one in occurrences(series(lines, BERLIN))]
    assert found == ["2026-03-28T01:30", "2026-03-29T01:30", "2026-04-01T16:00"]  # 2:30 on the 29th is skipped: 3:30
    days = series(["RDATE;VALUE=DATE:20261205,20261203"], date(2026, 12, 1))
    assert list(occurrences(days)) == [date(2026, 12, 1), date(2026, 12, 3), date(2026, 12, 5)]


@pytest.mark.parametrize(
    "line",
    [
        *("FREQ=DAILY", "RRULE:BYDAY=MO", "RRULE:FREQ=HOURLY", "RRULE:FREQ=DAILY;COUNT=2;UNTIL=20270101T000000Z"),
        *("RRULE:FREQ=DAILY;UNTIL=20270101", "RRULE:FREQ=DAILY;UNTIL=20270101T000000", "RRULE:FREQ=DAILY;COUNT=1,2"),
        *("RRULE:FREQ=DAILY;COUNT=0", "RRULE:FREQ=DAILY;INTERVAL=-1", "RRULE:FREQ=DAILY;FREQ=WEEKLY"),
        *("RRULE:FREQ=WEEKLY;BYDAY=1MO", "RRULE:FREQ=MONTHLY;BYDAY=MONDAY", "RRULE:FREQ=YEARLY;BYWEEKNO=1"),
        *("RRULE:FREQ=YEARLY;BYMONTH=13", "RRULE:FREQ=MONTHLY;BYMONTHDAY=0", "RRULE:FREQ=WEEKLY;BYMONTHDAY=1"),
        *("DTSTART:20261201T100000Z", "EXRULE:FREQ=DAILY", "EXDATE:20261201", "RDATE:tomorrow", ""),
    ],
)
def test_unsupported_recurrence_rule_is_status_400(line: str) -> None:
    with pytest.raises(Refused) as refused:
        series(["RRULE:FREQ=DAILY;COUNT=3", line], BERLIN)
    assert refused.value.reply.status == 400
