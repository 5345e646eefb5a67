"""Finding events, calendars and free times: windows, names, cursors, and what is not visible."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core import Request
from deputize.core.errors import InvalidInput, NotFound
from deputize.sandbox import Sandbox
from deputize.sandbox.google.calendar.seed import BOBS_SECRET, ROOM
from deputize.toolkits._shared.page import tokens
from deputize.toolkits.calendar import TOOLKIT
from deputize.toolkits.calendar.base import (
    LIST_READONLY,
    OWNED_READONLY,
    READONLY,
    SETTINGS_READONLY,
    WHOLE,
)
from tests.support.lanes import examples
from tests.toolkits.calendar_calls import TEAM, TRAVEL
from tests.toolkits.google_driver import BOB, Desk
from tests.toolkits.tool_driver import NOW


@pytest.fixture
def desk() -> Desk:
    return Desk(TOOLKIT, frozenset({READONLY}))


def add(desk: Desk, id: str, start: str, end: str, calendar: str = "alice@example.test", **more: Any) -> None:
    """Insert an event, bypassing the API."""
    times = {
        name: {"date": at} if len(at) == 10 else {"dateTime": at, "timeZone": "Europe/Berlin"}
        for name, at in (("start", start), ("end", end))
    }
    store = desk.sandbox._world.services["calendar"]
    like = store["events"]["alice@example.test/focus000001"]
    data = {**like["data"], "summary": id, "eventType": "default", "organizer": {"email": calendar}, **times, **more}
    store["events"][f"{calendar}/{id}"] = {**like, "id": id, "home": calendar, "data": data, "own": {}, "removed": []}


def starts(result: dict[str, Any]) -> list[str]:
    return [row["start"] for row in result["items"]]


# ----------------------------------------------------------------- list


def test_window_includes_overlapping_events_and_names_its_zone(desk: Desk) -> None:
    add(desk, "across", "2026-12-03T23:00:00+01:00", "2026-12-04T01:00:00+01:00")
    for after, before, there in (
        ("2026-12-04", "2026-12-05", True),
        ("2026-12-03", "2026-12-04", True),
        ("2026-12-04T01:00", "2026-12-05", False),
        ("2026-12-02", "2026-12-03T23:00", False),
    ):
        found = desk.run("list_events", {"after": after, "before": before, "query": "across"})
        assert bool(found["items"]) is there and found["time_zone"] == "Europe/Berlin"


def test_bare_date_is_midnight_in_the_users_zone(desk: Desk) -> None:
    desk.run("list_events", {"after": "2026-12-01", "before": "2026-12-02"})
    params = next(one for one in desk.sent if one.url.path.endswith("/events")).url.params
    assert (params["timeMin"], params["timeMax"]) == ("2026-11-30T23:00:00Z", "2026-12-01T23:00:00Z")
    fresh = Desk(TOOLKIT, frozenset({READONLY}))
    fresh.run("list_events", {"after": "-2h", "before": "+2h"})
    assert [one.url.path.rpartition("/")[2] for one in fresh.sent] == ["events"]  # no zone is needed for that


def test_default_window_is_a_week_from_now(desk: Desk) -> None:
    desk.run("list_events")
    params = desk.sent[0].url.params
    assert (params["timeMin"], params["timeMax"]) == ("2026-11-24T14:00:00Z", "2026-12-01T14:00:00Z")
    assert params["singleEvents"] == "true" and params["orderBy"] == "startTime" and "q" not in params


def test_empty_list_names_its_window(desk: Desk) -> None:
    found = desk.run("list_events", {"query": "nowhere"})
    assert found["items"] == [] and found["summary"] == "No event from 2026-11-24 15:00 to 2026-12-01 15:00."
    series = desk.run("list_events", {"series_id": "standup0001", "after": "2126-12-01"})
    assert series["summary"] == "No event from 2126-12-01 00:00." and "summary" not in desk.run("list_events")


@pytest.mark.parametrize(
    "wrong",
    [
        {"after": "2026-12-02", "before": "2026-12-01"},
        {"after": "the day before"},
        {"series_id": "standup0001", "query": "x"},
        {"series_id": "standup0001", "calendars": ["primary", "Team"]},
        {"calendars": [f"c{n}@x.test" for n in range(11)]},
        {"limit": 101},
        {"limit": 0},
        {"kinds": ["holiday"]},
        {"cursor": "x"},
    ],
)
def test_invalid_list_arguments_are_refused(desk: Desk, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        desk.run("list_events", wrong)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 25])
def test_pages_of_several_calendars_are_ordered_and_complete(desk: Desk, limit: int) -> None:
    for n in range(9):
        hour = f"2026-12-0{n % 5 + 1}T{8 + n:02}"
        add(desk, f"team{n}", f"{hour}:00:00+01:00", f"{hour}:45:00+01:00", TEAM)
    asked = {"calendars": ["primary", "Team", TRAVEL], "after": "2026-11-30", "before": "2026-12-06", "limit": limit}
    rows: list[dict[str, Any]] = []
    cursor = None
    for _ in range(40):
        page = desk.run("list_events", asked | ({"cursor": cursor} if cursor else {}))
        rows += page["items"]
        assert len(page["items"]) <= limit
        cursor = page["next"]
        if cursor is None:
            break
    everything = desk.run("list_events", asked | {"limit": 100})["items"]
    assert rows == everything and len(rows) == len({row["id"] for row in rows}) == 18
    assert starts({"items": rows}) == sorted(starts({"items": rows}))
    assert {row["calendar"] for row in rows} == {"primary", "Team", TRAVEL}


def test_empty_and_short_pages_before_more_are_skipped(desk: Desk) -> None:
    served = iter([[], [], ["a"], ["b"]])

    def answer(request: Request) -> dict[str, Any]:
        items = next(served, [])
        made = [{"id": one, "status": "confirmed", "start": {"date": "2026-12-01"}} for one in items]
        return {"items": made, "nextPageToken": "more"} if items != ["b"] else {"items": made}

    desk.send = answer  # type: ignore[method-assign]
    page = desk.run("list_events")
    assert [row["id"] for row in page["items"]] == ["a"] and page["next"]
    last = desk.run("list_events", {"cursor": page["next"]})
    assert [row["id"] for row in last["items"]] == ["b"] and last["next"] is None


@settings(max_examples=examples(150), deadline=None)
@given(st.integers(0, 200), st.sampled_from("abcXYZ019-_=é\n"))
def test_altered_cursor_is_refused(at: int, put: str) -> None:
    desk = Desk(TOOLKIT, frozenset({READONLY}), SANDBOX)
    cursor = desk.run("list_events", {"limit": 2})["next"]
    altered = cursor[: at % len(cursor)] + put + cursor[at % len(cursor) + 1 :]
    if altered != cursor:
        with pytest.raises(InvalidInput, match="cursor"):
            desk.run("list_events", {"limit": 2, "cursor": altered})


SANDBOX = Sandbox(clock=lambda: NOW)


def test_cursor_is_bound_to_its_tool_account_and_filters(desk: Desk) -> None:
    cursor = desk.run("list_events", {"limit": 2})["next"]
    bob = Desk(TOOLKIT, frozenset({READONLY}), desk.sandbox, BOB)
    calendars = desk.run("list_calendars", {"limit": 1})["next"]
    for who, tool, arguments in (
        (bob, "list_events", {"cursor": cursor}),
        (desk, "list_events", {"cursor": cursor, "query": "x"}),
        (desk, "list_events", {"cursor": cursor, "calendars": ["primary", "Team"]}),
        (desk, "list_calendars", {"cursor": cursor}),
        (desk, "list_events", {"cursor": calendars}),
    ):
        with pytest.raises(InvalidInput, match="cursor"):
            who.run(tool, arguments)
    assert tokens(cursor) <= 60


def test_row_has_the_relevant_fields_without_empty_ones(desk: Desk) -> None:
    rows = desk.run("list_events", {"after": "2026-12-01T13:00+01:00", "before": "2026-12-01T16:00+01:00"})["items"]
    assert rows == [
        {
            "id": "review00001",
            "title": "Design review",
            "start": "2026-12-01 14:00",
            "end": "2026-12-01 15:00",
            "where": "Lantern room",
            "people": [BOB, ROOM],
            "my_response": "not answered",
            "untrusted": True,
        }
    ]
    day = desk.run("list_events", {"after": "2026-12-07", "before": "2026-12-08", "query": "off"})["items"][0]
    assert (day["start"], day["end"], day["all_day"]) == ("2026-12-07", "2026-12-07", True)
    assert "untrusted" not in day  # the user's own words


def test_private_events_of_others_are_busy_and_their_secrets_hidden(desk: Desk) -> None:
    rule = {"id": "u", "scope": {"type": "user", "value": "alice@example.test"}, "role": "reader"}
    desk.sandbox._world.services["calendar"]["calendars"][BOB]["acl"].append(rule)
    found = desk.run("list_events", {"calendars": [BOB], "after": "2026-12-01", "before": "2026-12-02"})
    assert {"busy", "Design review"} <= {row["title"] for row in found["items"]}
    assert BOBS_SECRET not in str(found)
    stranger = Desk(TOOLKIT, frozenset({READONLY}))
    with pytest.raises(NotFound):
        stranger.run("list_events", {"calendars": [BOB]})


def test_cancelled_events_are_listed_with_changes_since(desk: Desk) -> None:
    desk.sandbox._world.services["calendar"]["events"]["alice@example.test/focus000001"]["data"]["status"] = "cancelled"
    found = desk.run("list_events", {"updated_after": "-60d", "query": "report"})
    assert [(row["id"], row["status"]) for row in found["items"]] == [("focus000001", "cancelled")]
    assert not desk.run("list_events", {"query": "report", "before": "+30d"})["items"]


def test_calendar_is_selected_by_id_or_name_with_candidates(desk: Desk) -> None:
    for name in ("Bob on the road", "bob ON the road ", TRAVEL):
        assert desk.run("get_event", {"event_id": "trip0000001", "calendar": name})["title"] == "Night train to Vienna"
    with pytest.raises(InvalidInput, match="no calendar has the name") as missing:
        desk.run("get_event", {"event_id": "x", "calendar": "Teams"})
    assert f"Team ({TEAM}, owner)" in missing.value.hint
    desk.sandbox._world.services["calendar"]["lists"]["alice@example.test"][TRAVEL] = {"summaryOverride": "team"}
    for name in ("Team", "team", "TEAM"):  # a calendar that somebody shared must not catch what is meant for another
        with pytest.raises(InvalidInput, match="several") as several:
            desk.run("list_events", {"calendars": [name]})
        assert TEAM in several.value.hint and TRAVEL in several.value.hint


def test_calendars_are_paged_with_who_may_see_them(desk: Desk) -> None:
    desk = Desk(TOOLKIT, frozenset({WHOLE}))
    first = desk.run("list_calendars", {"limit": 2, "sharing": True})
    rest = desk.run("list_calendars", {"limit": 2, "sharing": True, "cursor": first["next"]})
    names = [row["name"] for row in first["items"] + rest["items"]]
    assert names == ["alice@example.test", "Team", "Bob on the road"] and rest["next"] is None
    assert f"{BOB}: reader" in first["items"][1]["shared_with"] and "shared_with" not in rest["items"][0]
    assert [one["name"] for one in desk.run("list_calendars", {"query": "road"})["items"]] == ["Bob on the road"]


def test_calendar_row_has_whole_name_description_and_sharing_count(desk: Desk) -> None:
    desk = Desk(TOOLKIT, frozenset({WHOLE}))
    team = desk.sandbox._world.services["calendar"]["calendars"][TEAM]
    rule = team["acl"][0]
    team |= {"summary": "The calendar of all teams of the house " * 4, "description": "Ours: all of us"}
    people = [{"type": "user", "value": f"p{n}@x.test"} for n in range(23)]
    team["acl"] = [{**rule, "id": f"user:{one['value']}", "scope": one} for one in people]
    row = desk.run("list_calendars", {"sharing": True})["items"][1]
    assert desk.run("list_events", {"calendars": [row["name"]]})["items"] == []
    assert row["description"] == "Ours: all of us" and row["shared_with"][-1] == "and 4 more"


@pytest.mark.parametrize(
    ("granted", "known"),
    [
        (frozenset(), {"email", "now"}),
        (frozenset({SETTINGS_READONLY}), {"email", "now", "time_zone", "week_start", "clock"}),
        (frozenset({OWNED_READONLY}), {"email", "now", "time_zone"}),
        (frozenset({LIST_READONLY}), {"email", "now", "time_zone"}),
    ],
)
def test_whoami_shows_what_the_grant_allows(granted: frozenset[str], known: set[str]) -> None:
    found = Desk(TOOLKIT, granted).run("whoami")
    assert set(found) == known and found["email"] == "alice@example.test"


LINK = "https://teams.microsoft.com/l/meetup-join/" + "19%3ameeting_" + "a1B2c3D4" * 40 + "/0?context=%7b%7d"


def test_link_in_a_location_is_whole_or_absent(desk: Desk) -> None:
    add(
        desk,
        "room0001",
        "2026-11-25T09:00:00",
        "2026-11-25T10:00:00",
        location=f"Microsoft Teams Meeting; {LINK} ; Room 7",
    )
    add(desk, "room0002", "2026-11-25T11:00:00", "2026-11-25T12:00:00", location=f"{LINK}{'x' * 2_000}")
    add(desk, "room0003", "2026-11-25T13:00:00", "2026-11-25T14:00:00", location="A house with a name " * 20)
    row = next(one for one in desk.run("list_events")["items"] if one["id"] == "room0001")
    assert row["where"] == "Microsoft Teams Meeting; ; Room 7\u2026"
    where = [desk.run("get_event", {"event_id": f"room000{n}"}).get("where", "") for n in (1, 2, 3)]
    assert where[0] == f"Microsoft Teams Meeting; {LINK} ; Room 7"
    assert where[1] == "\u2026" and len(where[2]) == 399
