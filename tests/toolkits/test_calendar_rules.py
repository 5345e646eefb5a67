"""Recurrence compared with the independent dateutil: the same dates, in every zone, across clock changes."""

# ruff: noqa: DTZ001 - times on a wall have no offset

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core.errors import InvalidInput
from deputize.toolkits.calendar import TOOLKIT
from deputize.toolkits.calendar.base import WHOLE
from deputize.toolkits.calendar.event_times import Moment
from deputize.toolkits.calendar.rules import DAYS, read_recurrence, recurrence_text
from deputize.toolkits.calendar.series import next_dates, occurrences
from deputize.toolkits.calendar.split_series import _cut, rest_start
from tests.support.lanes import examples
from tests.toolkits.google_driver import ALICE, Desk

ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")]
starts = st.builds(
    lambda at, zone: Moment(at.replace(second=0, microsecond=0, fold=0), zone),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
    st.sampled_from(ZONES),
)
days = st.builds(Moment, st.dates(date(2020, 1, 1), date(2030, 1, 1)))


@st.composite
def rules(draw: st.DrawFn, start: Moment) -> str:
    """Return a rule that both can expand."""
    freq = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    parts = [f"FREQ={freq}"]
    if draw(st.booleans()):
        parts.append(f"INTERVAL={draw(st.integers(1, 5))}")
    weekdays = draw(st.lists(st.sampled_from(DAYS), unique=True, max_size=3))
    if weekdays:
        nth = draw(st.sampled_from(["", "1", "2", "-1"])) if freq in ("MONTHLY", "YEARLY") else ""
        parts.append("BYDAY=" + ",".join(nth + day for day in weekdays))
    elif freq in ("DAILY", "MONTHLY") and draw(st.booleans()):
        chosen = draw(st.lists(st.sampled_from([1, 2, 15, 28, 30, 31, -1, -2]), min_size=1, max_size=3, unique=True))
        parts.append("BYMONTHDAY=" + ",".join(map(str, chosen)))
    if draw(st.booleans()):
        months = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True))
        parts.append("BYMONTH=" + ",".join(map(str, months)))
    if weekdays and freq == "MONTHLY" and draw(st.booleans()):
        parts.append(f"BYSETPOS={draw(st.sampled_from([1, -1, 2]))}")
    if freq == "WEEKLY" and draw(st.booleans()):
        parts.append("WKST=SU")
    end = draw(st.sampled_from(["", "COUNT", "UNTIL"]))
    if end == "COUNT":
        parts.append(f"COUNT={draw(st.integers(1, 30))}")
    if end == "UNTIL":
        last = start.at + timedelta(days=draw(st.integers(0, 900)))
        parts.append(f"UNTIL={last:%Y%m%d}" if start.all_day else f"UNTIL={last:%Y%m%dT%H%M%SZ}")
    return "RRULE:" + ";".join(parts)


def of_dateutil(line: str, start: Moment, count: int) -> list[datetime | date]:
    """Return dateutil's expansion by our definition: by wall-clock time, then the moment."""
    if start.all_day:
        first = datetime(start.day.year, start.day.month, start.day.day)
        return [one.date() for one in islice(rrulestr(line, dtstart=first), count)]
    assert isinstance(start.local, datetime)
    aware = start.local.replace(tzinfo=start.zone)
    return [one.astimezone(UTC) for one in islice(rrulestr(line, dtstart=aware), count)]


@settings(max_examples=examples(400), deadline=None)
@given(st.data())
def test_rule_expansion_equals_dateutil(data: st.DataObject) -> None:
    start = data.draw(st.one_of(starts, days))
    line = data.draw(rules(start))
    expected = of_dateutil(line, start, 20)
    found = [one.day if one.all_day else one.at for one in next_dates(read_recurrence([line], start), start, 20)]
    assert found == expected, line


def test_rule_with_dates_years_apart_is_expanded() -> None:
    line, start = "RRULE:FREQ=DAILY;INTERVAL=5;BYMONTHDAY=1;BYMONTH=1", Moment(date(2020, 5, 26))
    found = [one.day for one in next_dates(read_recurrence([line], start), start, 20)]
    assert found == of_dateutil(line, start, 20) and len(found) == 20


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_split_series_has_the_same_dates_in_two_parts(data: st.DataObject) -> None:
    start = data.draw(st.one_of(starts, days))
    whole = read_recurrence([data.draw(rules(start))], start)
    dates = next_dates(whole, start, 12)
    if len(dates) < 2:
        return
    at = dates[data.draw(st.integers(1, len(dates) - 1))]
    before, after = _cut(whole, start, at)
    begins = rest_start(start, at)
    first = list(islice(occurrences(read_recurrence(before.lines, start), start), 40))
    rest = next_dates(read_recurrence(after.lines, begins), begins, 12)
    assert [one.at for one in first] == [one.at for one in dates if one.at < at.at]
    assert [one.at for one in rest][: len(dates) - len(first)] == [one.at for one in dates if one.at >= at.at]


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_rule_round_trips_through_text(data: st.DataObject) -> None:
    start = data.draw(st.one_of(starts, days))
    read = read_recurrence([data.draw(rules(start))], start)
    assert read_recurrence(read.lines, start) == read


BERLIN = Moment(datetime(2026, 12, 1, 10), ZoneInfo("Europe/Berlin"))
DAY = Moment(date(2026, 12, 1))


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("FREQ=HOURLY", "FREQ"),
        ("RRULE:BYDAY=MO", "FREQ"),
        ("RRULE:FREQ=DAILY;COUNT=2;UNTIL=20270101T000000Z", "not both"),
        ("RRULE:FREQ=DAILY;UNTIL=20270101", "UTC"),
        ("RRULE:FREQ=DAILY;UNTIL=20270101T000000", "UTC"),
        ("RRULE:FREQ=DAILY;COUNT=0", "COUNT"),
        ("RRULE:FREQ=DAILY;INTERVAL=-1", "INTERVAL"),
        ("RRULE:FREQ=DAILY;FREQ=WEEKLY", "given twice"),
        ("RRULE:FREQ=WEEKLY;BYDAY=1MO", "FREQ=MONTHLY or YEARLY"),
        ("RRULE:FREQ=MONTHLY;BYDAY=MONDAY", "BYDAY"),
        ("RRULE:FREQ=YEARLY;BYWEEKNO=1", "not supported"),
        ("RRULE:FREQ=YEARLY;BYMONTH=13", "BYMONTH"),
        ("RRULE:FREQ=YEARLY;BYMONTH=-1", "not supported"),
        ("RRULE:FREQ=MONTHLY;BYMONTHDAY=0", "must not be 0"),
        ("RRULE:FREQ=MONTHLY;BYMONTHDAY=99", "BYMONTHDAY"),
        ("DTSTART:20261201T100000Z", "only RRULE"),
        ("EXRULE:FREQ=DAILY", "only RRULE"),
        ("RRULE:FREQ=DAILY\nDTSTART:20000101T000000Z", "not a recurrence line"),
        ("RRULE:FREQ=DAILY\x00", "not a recurrence line"),
        ("EXDATE:20261201", "date-times"),
        ("RDATE:tomorrow", "date-times"),
        ("RDATE:20269901T000000Z", "date-times"),
        ("RRULE:FREQ=DAILY;BYSETPOS=" + "1," * 300, "not a recurrence|BYSETPOS"),
        ("", "not a recurrence line"),
    ],
)
def test_invalid_rule_line_is_refused_by_name(line: str, wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong) as refused:
        read_recurrence(["RRULE:FREQ=DAILY;COUNT=3", line], BERLIN)
    assert "recurrence[1]" in str(refused.value)


def test_all_day_rule_ends_on_a_date_and_too_many_lines_are_refused() -> None:
    with pytest.raises(InvalidInput, match="a date"):
        read_recurrence(["FREQ=DAILY;UNTIL=20270101T000000Z"], DAY)
    assert read_recurrence(["FREQ=DAILY;UNTIL=20261203"], DAY).lines == ["RRULE:FREQ=DAILY;UNTIL=20261203"]
    with pytest.raises(InvalidInput, match="101 lines"):
        read_recurrence(["EXDATE:20261201T090000Z"] * 101, BERLIN)


def test_dates_are_added_and_excluded_in_any_zone() -> None:
    lines = [
        "rrule:FREQ=WEEKLY;COUNT=3",
        "EXDATE;TZID=Europe/Berlin:20261208T100000",
        "RDATE;TZID=America/New_York:20261203T120000",
    ]
    found = next_dates(read_recurrence(lines, BERLIN), BERLIN, 9)
    assert [f"{one.at:%m-%d %H}" for one in found] == ["12-01 09", "12-03 17", "12-15 09"]


def test_endless_or_dateless_rule_expansion_terminates() -> None:
    never = read_recurrence(["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"], BERLIN)
    assert next_dates(never, BERLIN) == []
    leap = read_recurrence(["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"], BERLIN)
    assert [one.day.year for one in next_dates(leap, BERLIN)] == [2028, 2032, 2036]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("FREQ=WEEKLY;BYDAY=MO,WE;COUNT=10", "every week on Monday and Wednesday, 10 times in all"),
        ("FREQ=MONTHLY;INTERVAL=2;BYDAY=-1FR", "every 2 months on the last Friday"),
        ("FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=24;COUNT=1", "every year in December on day 24, once"),
        ("FREQ=DAILY;UNTIL=20261231T225959Z", "every day until 2026-12-31"),
    ],
)
def test_rule_is_described_in_words(line: str, words: str) -> None:
    assert recurrence_text(read_recurrence([line], BERLIN)) == words


@pytest.mark.parametrize(
    ("until", "day"),
    [("20261231T225959Z", "2026-12-31"), ("20261231T000000Z", "2026-12-30"), ("20261231T090000Z", "2026-12-31")],
)
def test_last_day_of_a_rule_is_one_on_which_it_occurs(until: str, day: str) -> None:
    rule = read_recurrence([f"FREQ=DAILY;UNTIL={until}"], BERLIN)
    assert recurrence_text(rule, BERLIN) == f"every day until {day}"


# ----------------------------------------------------------------- a start that fits, and single dates that stay


@pytest.mark.parametrize(
    ("start", "rule", "instead"),
    [
        ("2026-12-01T10:00", "FREQ=MONTHLY;BYDAY=1FR", "2026-12-04T10:00+01:00, 2027-01-01T10:00+01:00"),
        ("2026-12-01T10:00", "FREQ=MONTHLY;BYMONTHDAY=31", "2026-12-31T10:00+01:00, 2027-01-31T10:00+01:00"),
        ("2026-12-01", "FREQ=WEEKLY;BYDAY=MO,WE", "2026-12-02, 2026-12-07, 2026-12-09"),
        ("2026-10-20T10:00", "FREQ=MONTHLY;BYDAY=-1SU", "2026-10-25T10:00+01:00, 2026-11-29T10:00+01:00"),
    ],
)
def test_start_outside_the_rule_is_refused_with_matching_dates(start: str, rule: str, instead: str) -> None:
    desk = Desk(TOOLKIT, frozenset({WHOLE}))
    asked = {"title": "T", "start": start, "end": "1d" if len(start) == 10 else "30m", "recurrence": [rule]}
    with pytest.raises(InvalidInput, match=rf"{start}.*\(Tuesday\), is not one of its dates") as refused:
        desk.run("create_event", asked)
    assert instead in refused.value.hint and not [one for one in desk.sent if one.method == "POST"]
    made = desk.run("create_event", asked | {"start": instead.partition(",")[0][:16]})
    assert made["dates"][:2] == instead.split(", ")[:2] and made["start"] == made["dates"][0]
    with pytest.raises(InvalidInput, match="is not one of its dates"):
        desk.run("update_event", {"event_id": made["id"], "start": start, "recurrence": [rule], "apply_to": "series"})


def test_rule_that_ends_before_its_start_is_refused() -> None:
    asked = {"title": "T", "start": "2026-12-02", "end": "1d", "recurrence": ["FREQ=DAILY;UNTIL=20261201"]}
    with pytest.raises(InvalidInput, match=r"no date from 2026-12-02 \(Wednesday\) on"):
        Desk(TOOLKIT, frozenset({WHOLE})).run("create_event", asked)


def test_single_dates_of_a_series_stay_when_its_rule_is_replaced() -> None:
    desk = Desk(TOOLKIT, frozenset({WHOLE}))
    events = desk.sandbox._world.services["calendar"]["events"]
    skipped = [f"202612{day:02}T080000Z" for day in (*range(7, 12), *range(14, 19), *range(21, 26))]
    lines = ["RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", *(f"EXDATE:{one}" for one in skipped)]
    events[f"{ALICE}/standup0001"]["data"]["recurrence"] = lines
    detail = desk.run("get_event", {"event_id": "standup0001"})
    assert "without 15 dates" in detail["repeats"] and detail["cut"][0]["part"] == "recurrence"
    series = {"event_id": "standup0001", "apply_to": "series", "recurrence": ["FREQ=DAILY"]}
    done = desk.ran("update_event", series | {"start": "2026-11-23T10:00"})
    now = events[f"{ALICE}/standup0001"]["data"]["recurrence"]
    assert now == ["RRULE:FREQ=DAILY", *(f"EXDATE:{one.replace('T08', 'T09')}" for one in skipped)]
    assert done.undone_by and "20261207T090000Z" in str(done.shown[0].fields["repeats"])
    more = desk.ran("update_event", series | {"recurrence": ["FREQ=DAILY", "EXDATE:20261201T090000Z"]})
    assert len(events[f"{ALICE}/standup0001"]["data"]["recurrence"]) == 17
    assert not more.undone_by  # no call takes a single date away
    assert desk.ran("update_event", series).result["summary"] == "It was so already."
