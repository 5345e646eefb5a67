"""Times as the user reads and writes them: in their own zone, across both clock changes, and each with its zone."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deputize.core import ActKey, Request
from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits.calendar import TOOLKIT
from deputize.toolkits.calendar.base import CALENDARS, EVENTS, EVENTS_FREEBUSY, WHOLE
from tests.toolkits.calendar_calls import STAND_UP, TEAM
from tests.toolkits.google_driver import ALICE, Desk

ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata"]


def desk_in(zone: str, granted: frozenset[str] = frozenset({WHOLE})) -> Desk:
    desk = Desk(TOOLKIT, granted)
    store = desk.sandbox._world.services["calendar"]
    store["settings"][ALICE]["timezone"] = zone
    store["calendars"][ALICE]["timeZone"] = zone
    return desk


def sent(desk: Desk, id: str) -> dict[str, Any]:
    data: dict[str, Any] = desk.sandbox._world.services["calendar"]["events"][f"{ALICE}/{id}"]["data"]
    return data


@pytest.mark.parametrize(
    ("zone", "start", "end", "told"),
    [
        ("Europe/Berlin", "2027-03-28T01:30", "90m", ("2027-03-28T01:30+01:00", "2027-03-28T04:00+02:00")),
        ("Europe/Berlin", "2026-10-24T09:00", "1d", ("2026-10-24T09:00+02:00", "2026-10-25T09:00+01:00")),
        ("America/New_York", "2027-03-14T01:30", "90m", ("2027-03-14T01:30-05:00", "2027-03-14T04:00-04:00")),
        ("America/New_York", "2026-10-31T09:00", "1d", ("2026-10-31T09:00-04:00", "2026-11-01T09:00-05:00")),
        ("Asia/Kolkata", "2027-03-28T02:30", "90m", ("2027-03-28T02:30+05:30", "2027-03-28T04:00+05:30")),
    ],
)
def test_time_without_offset_is_in_the_users_zone(zone: str, start: str, end: str, told: tuple[str, str]) -> None:
    desk = desk_in(zone)
    made = desk.run("create_event", {"title": "Kick-off", "start": start, "end": end})
    assert (made["start"], made["end"], made["time_zone"]) == (*told, zone)
    assert sent(desk, made["id"])["start"]["timeZone"] == zone
    read = desk.run("get_event", {"event_id": made["id"]})
    assert (read["start"], read["end"], read["time_zone"]) == (*told, zone)
    day = start[:10]
    rows = desk.run("list_events", {"after": day, "before": f"{day}T23:00", "query": "Kick"})
    assert rows["time_zone"] == zone and [row["start"] for row in rows["items"]] == [start.replace("T", " ")]


@pytest.mark.parametrize("zone", ZONES)
def test_every_result_with_a_time_names_its_zone(zone: str) -> None:
    desk = desk_in(zone)
    made = desk.run("create_event", {"title": "Kick-off", "start": "2026-12-01T10:00", "end": "30m"})
    changed = desk.run("update_event", {"event_id": made["id"], "start": "2026-12-01T11:00"})
    assert changed["start"][:16] == "2026-12-01T11:00" and changed["time_zone"] == zone
    gone = desk.run("delete_event", {"event_id": made["id"]})
    assert gone["start"] == changed["start"] and gone["time_zone"] == zone
    rest = desk_in(zone).run("update_event", {"event_id": STAND_UP, "title": "New", "apply_to": "following"})
    assert rest["time_zone"] == "Europe/Berlin"  # the series has a zone of its own
    assert desk.run("find_times", {"duration": "30m"})["time_zone"] == zone == desk.run("whoami")["time_zone"]


def test_event_in_another_zone_is_shown_and_moved_in_its_own_zone() -> None:
    desk = desk_in("Europe/Berlin")
    there = {"title": "Kick-off", "start": "2026-12-01T10:00", "end": "30m", "time_zone": "Asia/Kolkata"}
    made = desk.run("create_event", there)
    assert (made["start"], made["time_zone"]) == ("2026-12-01T10:00+05:30", "Asia/Kolkata")
    (row,) = desk.run("list_events", {"after": "2026-12-01", "before": "2026-12-02", "query": "Kick"})["items"]
    assert row["start"] == "2026-12-01 05:30"  # in a list all times are the user's
    moved = desk.run("update_event", {"event_id": made["id"], "start": "2026-12-01T12:00"})
    assert (moved["start"], moved["time_zone"]) == ("2026-12-01T12:00+05:30", "Asia/Kolkata")


def test_event_without_a_zone_shows_its_offset_and_a_day_none() -> None:
    desk = desk_in("Europe/Berlin")
    asks = desk.send

    def without_zone(request: Request) -> Any:
        event = dict(asks(request))
        return event | {name: {"dateTime": event[name]["dateTime"]} for name in ("start", "end")}

    desk.send = without_zone  # type: ignore[method-assign]
    read = desk.run("get_event", {"event_id": "focus000001"})
    assert (read["start"], read["time_zone"]) == ("2026-12-02T09:00+01:00", "UTC+01:00")
    desk.send = asks  # type: ignore[method-assign]
    assert "time_zone" not in desk.run("get_event", {"event_id": "holiday0001"})


def test_series_keeps_its_wall_clock_time_across_clock_changes() -> None:
    desk = desk_in("America/New_York")
    weekly = {"title": "Kick-off", "start": "2026-10-26T09:00", "end": "30m", "recurrence": ["FREQ=WEEKLY"]}
    made = desk.run("create_event", weekly)
    assert made["dates"] == ["2026-10-26T09:00-04:00", "2026-11-02T09:00-05:00", "2026-11-09T09:00-05:00"]
    window = {"series_id": made["id"], "after": "2026-10-26", "before": "2026-11-10"}
    assert [one["start"][11:] for one in desk.run("list_events", window)["items"]] == ["09:00"] * 3


# ----------------------------------------------------------------- what the runtime knows, and what it is told


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("whoami", {}),
        ("list_events", {}),
        ("list_events", {"after": "2026-12-01"}),
        ("list_events", {"calendars": [TEAM, "primary"]}),
        ("find_times", {"duration": "30m"}),
        ("create_event", {"title": "Kick-off", "start": "2026-12-01T10:00", "end": "30m"}),
    ],
)
def test_users_zone_from_google_is_reported_to_the_runtime(tool: str, arguments: dict[str, Any]) -> None:
    desk = desk_in("Asia/Kolkata")
    desk.run(tool, arguments)
    assert set(desk.zones) == {"Asia/Kolkata"}


def test_foreign_calendar_does_not_set_the_users_zone() -> None:
    desk = desk_in("Asia/Kolkata")
    desk.zone = ZoneInfo("America/New_York")
    found = desk.run("list_events", {"calendars": [TEAM]})
    assert desk.zones == [] and found["time_zone"] == "America/New_York"  # the user's, not the calendar's


def test_runtimes_zone_is_used_if_google_gives_none() -> None:
    desk = Desk(TOOLKIT, frozenset({EVENTS_FREEBUSY}))
    with pytest.raises(InvalidInput, match="time zone"):
        desk.run("find_times", {"duration": "30m"})
    desk.zone = ZoneInfo("America/New_York")
    assert desk.run("find_times", {"duration": "30m"})["time_zone"] == "America/New_York"
    desk = Desk(TOOLKIT, frozenset({CALENDARS, EVENTS}))
    desk.zone = ZoneInfo("America/New_York")
    made = desk.run("create_event", {"title": "T", "start": "2026-12-01T10:00", "end": "30m", "calendar": TEAM})
    assert (made["start"], made["time_zone"]) == ("2026-12-01T10:00-05:00", "America/New_York")


def test_event_in_another_zone_also_shows_the_users_time() -> None:
    desk = desk_in("Europe/Berlin")
    made = desk.run("create_event", {"title": "T", "start": "2026-12-01T10:00+05:30", "end": "30m"})
    there = {"title": "U", "start": "2026-12-02T10:00", "end": "30m", "time_zone": "Asia/Kolkata"}
    other = Desk(TOOLKIT, frozenset({WHOLE}), desk.sandbox)
    desk.zone = other.zone = ZoneInfo("Europe/Berlin")
    far = other.ran("create_event", there, key=ActKey.of("t", "alice", "b", "m", "call", "tool")).result
    assert "start_for_user" not in desk.run("get_event", {"event_id": made["id"]})
    read = desk.run("get_event", {"event_id": far["id"]})
    assert read["start"] == "2026-12-02T10:00+05:30" and read["time_zone"] == "Asia/Kolkata"
    assert read["start_for_user"] == "2026-12-02T04:30:00+00:00"  # which the runtime writes in the user's zone


def test_hour_in_a_shared_calendar_is_the_users_from_the_first_act() -> None:
    event = {"title": "T", "start": "2026-12-01T10:00", "end": "30m", "calendar": TEAM}
    first = desk_in("Asia/Kolkata", frozenset({EVENTS, CALENDARS}))
    later = desk_in("Asia/Kolkata", frozenset({EVENTS, CALENDARS}))
    later.zone = ZoneInfo("Asia/Kolkata")
    made = [desk.run("create_event", event)["start"] for desk in (first, later)]
    assert made == ["2026-12-01T10:00+05:30"] * 2


def test_hour_for_an_all_day_event_is_refused_without_a_zone() -> None:
    desk = Desk(TOOLKIT, frozenset({EVENTS}))
    made = desk.run("create_event", {"title": "T", "start": "2026-12-01", "end": "1d"})

    def unreadable(request: Request) -> None:
        if request.method == "GET" and request.params and request.params.get("maxResults") == 1:
            raise NotFound("Google: not found.")

    desk.before.append(unreadable)
    with pytest.raises(InvalidInput, match="time zone") as refused:
        desk.run("update_event", {"event_id": made["id"], "start": "2026-12-01T15:00", "end": "30m"})
    assert "time_zone" in refused.value.hint
    moved = desk.run("update_event", {"event_id": made["id"], "start": "2026-12-01T15:00+01:00", "end": "30m"})
    assert moved["start"] in ("2026-12-01T14:00+00:00", "2026-12-01T15:00+01:00")
