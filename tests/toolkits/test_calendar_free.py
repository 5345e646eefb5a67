"""Free times: ranges of each day in which everyone and a room are free, and who is busy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core import Request
from deputize.core.errors import InvalidInput, NotFound
from deputize.sandbox.google.calendar.seed import BOBS_SECRET, ROOM
from deputize.toolkits._shared.page import tokens
from deputize.toolkits.calendar import TOOLKIT
from deputize.toolkits.calendar.base import EVENTS_FREEBUSY, FREEBUSY, SETTINGS_READONLY
from deputize.toolkits.calendar.free_ranges import Hours, Span, day_rows, format_length, intersect, subtract, union
from tests.support.lanes import examples
from tests.toolkits.google_driver import BOB, Desk

BERLIN, NEW_YORK, KOLKATA = map(ZoneInfo, ("Europe/Berlin", "America/New_York", "Asia/Kolkata"))
ALICE = "alice@example.test"


@pytest.fixture
def desk() -> Desk:
    return Desk(TOOLKIT, frozenset({EVENTS_FREEBUSY, SETTINGS_READONLY}))


def found(desk: Desk, **arguments: Any) -> dict[str, Any]:
    result: dict[str, Any] = desk.run("find_times", arguments)
    return result


def busy(desk: Desk, **by: Sequence[tuple[str, str]]) -> None:
    """Make these calendars, and no others, busy then."""

    def answer(request: Request) -> dict[str, Any]:
        asked = [one["id"] for one in request.json["items"]]
        rows = {one: {"busy": [{"start": s, "end": e} for s, e in by.get(one, ())]} for one in asked}
        return {"calendars": rows}

    desk.send = answer  # type: ignore[method-assign]


def test_day_is_one_row_with_free_ranges_and_lengths(desk: Desk) -> None:
    told = found(desk, attendees=[BOB], duration="1h", after="2026-12-01", before="2026-12-03")
    assert told == {
        "items": [
            {"date": "2026-12-01", "weekday": "Tue", "free": ["11:00-14:00 (3h)", "15:00-17:00 (2h)"]},
            {"date": "2026-12-02", "weekday": "Wed", "free": ["11:00-17:00 (6h)"]},
        ],
        "time_zone": "Europe/Berlin",
        "unknown": [],
    }


def test_week_of_free_times_costs_few_tokens(desk: Desk) -> None:
    told = found(desk, duration="30m", after="2026-12-14", before="2026-12-21")
    assert [row["weekday"] for row in told["items"]] == ["Mon", "Tue", "Wed", "Thu", "Fri"]
    assert all(row["free"][-1].endswith("17:00 (7h45m)") for row in told["items"]) and tokens(told) <= 180


def test_weekend_is_free_only_on_request(desk: Desk) -> None:
    days = {"duration": "1h", "after": "2026-11-28", "before": "2026-11-30"}
    told = found(desk, **days)
    assert told["items"] == [] and told["summary"] == "No 1h within the hours 09:00-17:00 is free for all."
    assert [row["weekday"] for row in found(desk, **days, weekends=True)["items"]] == ["Sat", "Sun"]


def test_free_time_keeps_the_buffer_before_and_after_events(desk: Desk) -> None:
    busy(desk, primary=[("2026-12-01T10:00:00Z", "2026-12-01T11:00:00Z")])
    day = {"after": "2026-12-01", "before": "2026-12-02", "duration": "30m", "time_zone": "Europe/Berlin"}
    assert found(desk, **day)["items"][0]["free"] == ["09:00-11:00 (2h)", "12:00-17:00 (5h)"]
    assert found(desk, **day, buffer="20m")["items"][0]["free"] == ["09:00-10:40 (1h40m)", "12:20-17:00 (4h40m)"]


def test_one_free_room_is_enough_and_each_lists_its_ranges(desk: Desk) -> None:
    nowhere = "nowhere@resource.calendar.google.com"
    day = {"after": "2026-12-01T13:00+01:00", "before": "2026-12-01T17:00+01:00", "duration": "30m"}
    told = found(desk, **day, rooms=[ROOM, nowhere])
    assert told["items"] == [
        {"date": "2026-12-01", "weekday": "Tue", "rooms": {ROOM: ["13:00-14:00 (1h)", "15:00-17:00 (2h)"]}}
    ]
    assert told["unknown"] == [nowhere] and "may be busy" in told["summary"]
    assert not found(desk, **day, rooms=[nowhere])["items"]  # nobody knows that it is free


def test_invisible_calendar_is_unknown_and_never_free(desk: Desk) -> None:
    told = found(desk, attendees=["nobody@elsewhere.test", BOB], duration="30m")
    assert told["unknown"] == ["nobody@elsewhere.test"] and told["items"] and "ask them" in told["summary"]

    def nothing_seen(request: Request) -> dict[str, Any]:
        errors = {one["id"]: {"errors": [{"reason": "notFound"}]} for one in request.json["items"]}
        return {"calendars": errors}

    desk.send = nothing_seen  # type: ignore[method-assign]
    with pytest.raises(NotFound, match="None of these"):
        found(desk, attendees=[BOB], time_zone="UTC", duration="30m")
    desk.send = lambda request: {"calendars": {}}  # type: ignore[method-assign]
    with pytest.raises(NotFound):
        found(desk, time_zone="UTC", duration="30m")


def test_missing_duration_lists_busy_times(desk: Desk) -> None:
    told = found(desk, attendees=[BOB], after="2026-12-01T09:30+01:00", before="2026-12-02T12:00+01:00")
    assert told["items"] == [
        {"date": "2026-12-01", "weekday": "Tue", "busy": {BOB: ["10:00-11:00", "14:00-15:00"], ALICE: ["14:00-15:00"]}},
        {"date": "2026-12-02", "weekday": "Wed", "busy": {BOB: ["09:00-09:15"], ALICE: ["09:00-11:00"]}},
    ]
    assert BOBS_SECRET not in str(told)
    quiet = found(desk, after="2026-12-12T00:00+01:00", before="2026-12-13T00:00+01:00")
    assert quiet["items"] == [] and quiet["summary"] == "Nobody is busy."


def test_fifty_one_calendars_and_ninety_days_are_queried_in_parts(desk: Desk) -> None:
    found(desk, attendees=[f"p{n}@x.test" for n in range(50)], before="+90d", duration="30m")
    asked = [json.loads(one.content) for one in desk.sent if one.method == "POST"]
    assert sorted(len(one["items"]) for one in asked) == [1, 1, 50, 50]
    assert {one["timeMin"] for one in asked} == {"2026-11-24T14:00:00Z", "2027-01-23T14:00:00Z"}


def test_days_beyond_the_budget_are_named_and_found_next(desk: Desk) -> None:
    busy(desk, primary=[])
    year = {"duration": "30m", "before": "2027-11-24", "time_zone": "Europe/Berlin"}
    every: list[dict[str, Any]] = []
    told: dict[str, Any] = {"next_after": "2026-11-25"}
    while "next_after" in told:
        told = found(desk, **year, after=told["next_after"])
        assert told["items"] and tokens(told) <= 4_000
        every += told["items"]
    assert len(every) == len({row["date"] for row in every}) == 260


# ----------------------------------------------------------------- zones


def test_working_hours_apply_in_other_zones_and_are_shown_there(desk: Desk) -> None:
    busy(desk, primary=[])
    day = {"after": "2026-12-01", "before": "2026-12-02", "duration": "30m", "time_zone": "Europe/Berlin"}
    told = found(desk, **day, other_zones=["America/New_York"])
    assert told["items"][0]["free"] == ["15:00-17:00 (2h, 09:00-11:00 America/New_York)"]
    told = found(desk, **day, other_zones=["Asia/Kolkata", "America/New_York"])
    assert told["items"] == [] and told["summary"] == "The hours 09:00-17:00 of these zones have no time in common."
    wide = found(desk, **day, hours="08:00-20:00", other_zones=["Asia/Kolkata", "America/New_York"])
    assert wide["items"][0]["free"] == ["14:00-15:30 (1h30m, 18:30-20:00 Asia/Kolkata, 08:00-09:30 America/New_York)"]


@pytest.mark.parametrize(
    ("day", "shared"),
    [
        ("2026-10-26", "14:00-17:00 (3h, 09:00-12:00 America/New_York)"),  # Berlin's clocks have changed, not theirs
        ("2026-11-02", "15:00-17:00 (2h, 09:00-11:00 America/New_York)"),
        ("2027-03-15", "14:00-17:00 (3h, 09:00-12:00 America/New_York)"),  # and now theirs, not Berlin's
        ("2027-03-29", "15:00-17:00 (2h, 09:00-11:00 America/New_York)"),
    ],
)
def test_shared_hours_follow_each_zones_own_clock_change(desk: Desk, day: str, shared: str) -> None:
    busy(desk, primary=[])
    told = found(
        desk, after=day, before=f"{day}T23:00", duration="1h", time_zone="Europe/Berlin",
        other_zones=["America/New_York"],
    )  # fmt: skip
    assert told["items"][0]["free"] == [shared]


def test_working_hours_need_a_known_time_zone() -> None:
    desk = Desk(TOOLKIT, frozenset({FREEBUSY}))
    with pytest.raises(InvalidInput, match="time zone"):
        found(desk, duration="30m")
    assert found(desk, duration="30m", after="2026-12-14T00:00+05:30")["time_zone"] == "UTC+05:30"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        *(({"hours": hours}, f"'{hours}'") for hours in ("9-17", "09:00", "25:00-26:00", "09:00-09:00", "24:00-01:00")),
        *(({"duration": duration}, f"'{duration}'") for duration in ("0m", "8d", "an hour", "-30m")),
        ({"duration": "9h"}, "9h is longer than the hours 09:00-17:00"),
        *(({"rooms": ["x"]}, "rooms"), ({"before": "+400d"}, "year")),
        *(({"after": "+2d", "before": "+1d"}, "earlier"), ({"time_zone": "x"}, "'x'"), ({"limit": 51}, "limit")),
        ({"attendees": [f"p{n}@x.test" for n in range(201)]}, "201"),
        ({"other_zones": ["Berlin"]}, "'Berlin'"),
        ({"other_zones": ["UTC"] * 6}, "6 zones"),
    ],
)
def test_invalid_free_time_query_is_refused_before_any_request(wrong: dict[str, Any], says: str) -> None:
    desk = Desk(TOOLKIT, frozenset({EVENTS_FREEBUSY}))
    with pytest.raises(InvalidInput, match=says) as refused:
        found(desk, **{"duration": "30m", "time_zone": "Europe/Berlin"} | wrong)
    assert refused.value.hint and not [one for one in desk.sent if one.method == "POST"]


# ----------------------------------------------------------------- ranges

spans = st.tuples(st.integers(0, 2000), st.integers(0, 300))


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(spans, max_size=15), st.integers(1, 240), st.integers(0, 60), st.booleans())
def test_free_ranges_are_complete_and_long_enough(
    blocks: list[tuple[int, int]], length: int, pause: int, weekends: bool
) -> None:
    first = datetime(2026, 10, 23, 6, tzinfo=UTC)  # the clocks go back in between
    window = (first, first + timedelta(days=4))
    taken = [(first + timedelta(minutes=at), first + timedelta(minutes=at + long)) for at, long in blocks if long]
    hours = Hours.of("08:30-17:15", BERLIN, weekends=weekends)
    busy = union(taken, timedelta(minutes=pause))
    ranges = list(subtract(hours.spans_within(window), busy, timedelta(minutes=length)))
    assert all(e - s >= timedelta(minutes=length) for s, e in ranges) and ranges == sorted(ranges)
    gap, at, open_for = timedelta(minutes=pause), first, 0
    minutes: list[tuple[datetime, int]] = []  # (each free minute, how long it has been free by its end)
    while at < window[1]:
        wall = at.astimezone(BERLIN)
        open_ = (8, 30) <= (wall.hour, wall.minute) < (17, 15) and (weekends or wall.weekday() < 5)
        free = open_ and not any(s - gap <= at < e + gap for s, e in taken)
        open_for = open_for + 1 if free else 0
        minutes.append((at, open_for))
        at += timedelta(minutes=1)
    long_enough, run = set[datetime](), 0
    for at, open_for in reversed(minutes):
        run = run or open_for
        if open_for and run >= length:
            long_enough.add(at)
        run = 0 if open_for <= 1 else run
    inside = {s + timedelta(minutes=n) for s, e in ranges for n in range(int((e - s).total_seconds()) // 60)}
    assert inside == long_enough


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(spans, max_size=8), st.lists(spans, max_size=8))
def test_intersection_of_ranges_is_in_both(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    first = datetime(2026, 12, 1, tzinfo=UTC)

    def made(blocks: list[tuple[int, int]]) -> list[Span]:
        return union((first + timedelta(minutes=at), first + timedelta(minutes=at + long)) for at, long in blocks)

    def minutes(found: list[Span]) -> set[int]:
        return {int((s - first).total_seconds()) // 60 + n for s, e in found for n in range(int((e - s).seconds / 60))}

    a, b = made(one), made(other)
    if all(e - s < timedelta(days=1) for s, e in [*a, *b]):
        assert minutes(intersect(a, b)) == minutes(a) & minutes(b)


@pytest.mark.parametrize(
    ("hours", "free"),
    [
        ("22:00-02:00", ["22:00-2026-12-02 02:00 (4h)"]),
        ("00:00-24:00", ["12:00-2026-12-02 12:00 (24h)"]),
        ("23:30-00:30", ["23:30-2026-12-02 00:30 (1h)"]),
    ],
)
def test_working_hours_may_pass_midnight(desk: Desk, hours: str, free: list[str]) -> None:
    busy(desk, primary=[])
    window = {"after": "2026-12-01T12:00", "before": "2026-12-02T12:00", "time_zone": "Europe/Berlin"}
    assert found(desk, **window, duration="1h", hours=hours)["items"][0]["free"] == free


def test_night_of_a_clock_change_has_its_real_length_and_named_offsets() -> None:
    for day, shown in (
        (datetime(2026, 10, 24, 12, tzinfo=BERLIN), "00:00-04:00 (5h)"),
        (datetime(2026, 3, 28, 12, tzinfo=BERLIN), "00:00-04:00 (3h)"),
    ):
        hours = Hours.of("00:00-04:00", BERLIN, weekends=True)
        free = union(hours.spans_within((day, day + timedelta(days=1))))
        (row,) = day_rows("free", {"": free}, [BERLIN], lasting=True)
        assert row["free"] == [shown]
    twice = (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
    (row,) = day_rows("free", {"": [twice]}, [BERLIN], lasting=True)
    assert row["free"] == ["02:30+0200-02:30+0100 (1h)"]


@pytest.mark.parametrize(("minutes", "said"), [(0, "0m"), (45, "45m"), (60, "1h"), (105, "1h45m"), (1500, "25h")])
def test_duration_is_formatted_as_it_is_parsed(minutes: int, said: str) -> None:
    assert format_length(timedelta(minutes=minutes)) == said
