"""Times of events: wall-clock times in a zone, across hours that clocks skip or repeat."""

# ruff: noqa: DTZ001 - times on a wall have no offset

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared import times
from deputize.toolkits._shared.when import parse_length
from deputize.toolkits.calendar.event_times import (
    Moment,
    full,
    moment_of,
    needs_zone,
    parse_zone,
    read_end,
    read_moment,
    short,
)
from deputize.toolkits.calendar.find import _window
from deputize.toolkits.calendar.free import read_window
from tests.support.lanes import examples
from tests.toolkits.tool_driver import NOW

BERLIN, KOLKATA = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")
zones = st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"})).map(ZoneInfo)
walls = st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1)).map(lambda one: one.replace(microsecond=0))


@settings(max_examples=examples(500), deadline=None)
@given(walls, zones)
def test_parsed_time_equals_the_wall_clock_or_is_refused(wall: datetime, zone: ZoneInfo) -> None:
    shown = {
        at.astimezone(zone).replace(tzinfo=None)
        for fold in (0, 1)
        for at in [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)]
    }
    if wall not in shown:
        with pytest.raises(InvalidInput, match="does not exist on that day"):
            read_moment(wall.isoformat(), zone, "start", NOW)
        return
    moment = read_moment(wall.isoformat(), zone, "start", NOW)
    assert moment.at.astimezone(zone).replace(tzinfo=None) == wall
    again = moment_of(moment.resource, UTC)
    assert again is not None and again.at == moment.at


@settings(max_examples=examples(300), deadline=None)
@example(datetime(2007, 11, 4, 6), ZoneInfo("US/Michigan"), 0)
@given(walls, zones, st.integers(0, 20_000))
def test_minutes_are_elapsed_time(wall: datetime, zone: ZoneInfo, minutes: int) -> None:
    start = Moment.of(wall.replace(tzinfo=UTC), zone)
    assert read_end(f"{minutes}m", start, zone, NOW).at - start.at == timedelta(minutes=minutes)


@settings(max_examples=examples(300), deadline=None)
@given(st.datetimes(datetime(2001, 1, 1), datetime(2036, 1, 1)), st.integers(1, 400))
def test_days_are_calendar_days(wall: datetime, days: int) -> None:
    start = Moment.of(wall.replace(microsecond=0, tzinfo=UTC), KOLKATA)  # no change of clocks there
    end = read_end(f"{days}d", start, KOLKATA, NOW)
    assert (end.day - start.day).days == days and end.time == start.time


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_day_has_23_24_or_25_hours_or_lord_howes_half_hour(zone: str) -> None:
    lengths = set()
    for n in range(366):
        start = Moment(datetime(2026, 1, 1, 9) + timedelta(days=n), parse_zone(zone))
        lengths.add(read_end("1d", start, None, NOW).at - start.at)
    half = timedelta(minutes=30 if "Howe" in zone else 60)
    day = timedelta(days=1)
    assert lengths == {day - half, day, day + half}


def test_start_skipped_by_the_clocks_is_refused_with_both_neighbours() -> None:
    with pytest.raises(InvalidInput, match="does not exist on that day") as refused:
        read_moment("2026-03-29T02:30", BERLIN, "start", NOW)
    assert refused.value.hint == "Did the user mean 01:30 or 03:30?"


def test_ambiguous_time_means_the_first_and_is_sent_with_offset() -> None:
    twice = read_moment("2026-10-25T02:30", BERLIN, "start", NOW)
    assert twice.is_ambiguous and twice.resource["dateTime"] == "2026-10-25T02:30:00+02:00"
    plain = read_moment("2026-10-25T12:30", BERLIN, "start", NOW)
    assert plain.resource == {"dateTime": "2026-10-25T12:30:00", "timeZone": "Europe/Berlin"}
    end = read_end("2026-10-25T02:15", twice, BERLIN, NOW)
    assert end.at - twice.at == timedelta(minutes=45) and end.resource["dateTime"].endswith("+01:00")


@pytest.mark.parametrize(
    ("start", "end", "sent"),
    [
        ("2026-12-01", "2026-12-01", "2026-12-02"),
        ("2026-12-01", "2026-12-03", "2026-12-04"),
        ("2026-12-31", "1d", "2027-01-01"),
        ("2028-02-28", "2d", "2028-03-01"),
        ("2026-12-01", "1w", "2026-12-08"),
    ],
)
def test_last_day_of_an_all_day_event_is_included(start: str, end: str, sent: str) -> None:
    begins = read_moment(start, None, "start", NOW)
    assert read_end(end, begins, None, NOW).resource == {"date": sent}


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-12-01", "2026-12-01T10:00"),
        ("2026-12-01T10:00", "2026-12-02"),
        ("2026-12-01T10:00", "2026-12-01T09:59"),
        ("2026-12-02", "2026-12-01"),
        ("2026-12-01", "30m"),
        ("2026-12-01", "0d"),
        ("2026-12-01T10:00", "99999w99999w99999w99999w99999w99999w"),
        ("2026-12-01T10:00", "soon"),
        ("2026-12-01T10:00", ""),
        ("2026-12-01", "99999w99999w99999w99999w99999w99999w"),
    ],
)
def test_end_not_matching_its_start_is_refused(start: str, end: str) -> None:
    with pytest.raises(InvalidInput, match="end"):
        read_end(end, read_moment(start, BERLIN, "start", NOW), BERLIN, NOW)


def test_time_without_offset_needs_a_zone() -> None:
    with pytest.raises(InvalidInput, match="needs a time zone"):
        read_moment("2026-12-01T10:00", None, "start", NOW)
    fixed = read_moment("2026-12-01T10:00+05:30", None, "start", NOW)
    assert fixed.resource == {"dateTime": "2026-12-01T10:00:00+05:30"}
    assert read_moment("2026-12-01T10:00Z", BERLIN, "start", NOW).resource["dateTime"] == "2026-12-01T11:00:00"
    assert [needs_zone(text) for text in ("2026-12-01T10:00", "2026-12-01", "2026-12-01T10:00Z", "30m", None)] == [
        *(True, False, False, False, False),
    ]


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../../etc/passwd", "Europe/Berlin\n", "/etc/localtime", "x" * 999, "\0"]
)
def test_invalid_zone_is_refused(name: str) -> None:
    if name == "Europe/Berlin\n":
        assert parse_zone(name) == BERLIN
        return
    with pytest.raises(InvalidInput, match="time_zone"):
        parse_zone(name)


@settings(max_examples=examples(300), deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    for end in (False, True):
        try:
            found = (
                read_end(text, Moment(date(2026, 1, 1)), None, NOW) if end else read_moment(text, BERLIN, "start", NOW)
            )
            assert isinstance(found, Moment)
        except InvalidInput as refused:
            assert str(refused).startswith(("start", "end"))
    parse_length(text)


def test_rows_and_details_show_times_in_their_zone() -> None:
    event = moment_of({"dateTime": "2026-12-01T10:00:00Z", "timeZone": "Asia/Kolkata"}, UTC)
    assert short(event, BERLIN) == "2026-12-01 11:00" and full(event) == "2026-12-01T15:30+05:30"
    assert (
        full(moment_of({"date": "2026-12-01"}, UTC))
        == short(moment_of({"date": "2026-12-01"}, UTC), UTC)
        == "2026-12-01"
    )
    assert (
        full(None) == short(None, UTC) == ""
        and moment_of({}, UTC) is None
        and moment_of({"dateTime": "x"}, UTC) is None
    )


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-24", "2026-11-23 23:00"),
        ("today", "2026-11-23 23:00"),
        ("2026-11-24T10:00", "2026-11-24 09:00"),
        ("2026-11-24T10:00Z", "2026-11-24 10:00"),
        ("now", "2026-11-24 14:00"),
        ("-2h", "2026-11-24 12:00"),
        ("-31d", "2026-10-24 13:00"),  # at three on the wall, in summer time
        ("-31d1h", "2026-10-24 12:00"),
    ],
)
def test_window_is_read_in_the_users_zone(text: str, utc: str) -> None:
    assert f"{times.moment(text, NOW, 'after', BERLIN):%Y-%m-%d %H:%M}" == utc
    assert times.names_a_day(text) == (text in ("2026-11-24", "today", "2026-11-24T10:00"))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("stamp", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59", "0001-01-01T00:00:00+05:00"])
def test_event_at_the_end_of_the_calendar_is_shown_in_every_zone(stamp: str, zone: str) -> None:
    for own in ({}, {"timeZone": "Asia/Tokyo"}, {"timeZone": "Pacific/Honolulu"}):
        moment = moment_of({"dateTime": stamp, **own}, ZoneInfo(zone))
        assert moment is not None and moment.at.year in (1, 9999)
        assert short(moment, ZoneInfo(zone)) and full(moment)
    day = moment_of({"date": "9999-12-31"}, UTC)
    assert day is not None and day.plus(1).day.year == 9999


@pytest.mark.parametrize(
    ("text", "days", "minutes"),
    [("PT30M", 0, 30), ("pt1h30m", 0, 90), ("P2D", 2, 0), ("P1W", 7, 0), ("P1DT2H", 1, 120)],
)
def test_duration_may_be_iso_8601(text: str, days: int, minutes: int) -> None:
    assert parse_length(text) == (days, timedelta(minutes=minutes))


@pytest.mark.parametrize("text", ["P", "PT", "P1M", "P1Y", "PT1S", "P-1D", "PT30", "P1DT", "P\u0663D"])
def test_invalid_duration_is_none(text: str) -> None:
    assert parse_length(text) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("today", "2026-11-24T00:00+01:00"),
        ("tomorrow", "2026-11-25T00:00+01:00"),
        ("Yesterday", "2026-11-23T00:00+01:00"),
        ("16:00", "2026-11-24T16:00+01:00"),
        ("9:05", "2026-11-24T09:05+01:00"),
    ],
)
def test_moment_accepts_relative_days_and_hours(text: str, found: str) -> None:
    now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp()
    assert times.moment(text, now, "after", BERLIN) == datetime.fromisoformat(found)
    assert times.names_a_day(text)


@pytest.mark.parametrize(
    ("start", "end", "begins", "ends"),
    [
        ("tomorrow 16:00", "17:30", "2026-11-25T16:00+01:00", "2026-11-25T17:30+01:00"),
        ("Friday at 9am", "PT45M", "2026-11-27T09:00+01:00", "2026-11-27T09:45+01:00"),
        ("next Monday", "1d", "2026-11-30", "2026-12-01"),
        ("tomorrow", "day after tomorrow", "2026-11-25", "2026-11-27"),
        ("in 2 hours", "+3h", "2026-11-24T17:00+01:00", "2026-11-24T18:00+01:00"),
    ],
)
def test_event_times_may_be_words(start: str, end: str, begins: str, ends: str) -> None:
    begin = read_moment(start, BERLIN, "start", NOW)
    assert (full(begin), full(read_end(end, begin, BERLIN, NOW))) == (begins, ends)


def test_words_that_name_an_hour_or_a_day_need_a_zone() -> None:
    assert all(map(needs_zone, ("tomorrow", "16:00", "next Monday", "Friday 9:30", "2026-12-01T10:00")))
    assert not any(map(needs_zone, ("2026-12-01", "in 2 hours", "now", "tomorrow 16:00 UTC", "2026-12-01T10:00Z", "x")))


def test_weekday_is_the_coming_one_in_a_calendar() -> None:
    [after, before] = _window("Thursday", "Friday 12:00", None, int(NOW), BERLIN, bounded=True).values()
    assert (after, before) == ("2026-11-25T23:00:00Z", "2026-11-27T11:00:00Z")
    assert read_window("Thursday 14:00", "Thursday 15:00", NOW, BERLIN)[0] == datetime(2026, 11, 26, 13, tzinfo=UTC)
