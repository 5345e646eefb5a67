"""The token cost of Calendar's tools, and the aliases they accept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deputize.core.errors import InvalidInput
from deputize.core.tools.catalog import Catalog
from deputize.toolkits._shared.page import tokens
from deputize.toolkits.calendar import TOOLKIT
from deputize.toolkits.calendar.base import READONLY
from tests.toolkits.google_driver import Desk
from tests.toolkits.test_calendar_find import add

TEXTS = {
    "latin": "Quarterly numbers and what they mean for all of us in the coming year ",
    "german": "Übergrößenträger müssen Gebühren für Änderungen ",
    "chinese": "季度数据及其对我们所有人的意义",
    "emoji": "🎉🚀👩\u200d🚀",
}


def loaded(text: str) -> Desk:
    """A calendar full of long events with many guests."""
    desk = Desk(TOOLKIT, frozenset({READONLY}))
    people = [
        {
            "email": f"somebody.with.a.long.name.{n}@department.example.test",
            "displayName": text * 2,
            "comment": text * 5,
        }
        for n in range(60)
    ]
    organizer = {"email": "somebody.else@department.example.test", "displayName": text * 3}
    for n in range(60):
        at = f"2026-12-0{n % 7 + 1}T{8 + n % 9:02}"
        more: dict[str, Any] = {
            "summary": text * 9,
            "location": text * 9,
            "description": text * 250,
            "attendees": people,
        }
        add(
            desk,
            f"9vjfruhtfn6vns5p3g6qdoa{n:03}",
            f"{at}:00:00+01:00",
            f"{at}:30:00+01:00",
            organizer=organizer,
            **more,
        )
    return desk


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_rows_and_details_stay_within_their_budgets(text: str) -> None:
    desk = loaded(text)
    found = desk.run("list_events", {"after": "2026-11-30", "before": "2026-12-08", "limit": 100})
    assert tokens(found) <= 4000 and found["truncated"] is True and found["next"]
    assert max(tokens(row) for row in found["items"]) <= 180
    detail = desk.run("get_event", {"event_id": "9vjfruhtfn6vns5p3g6qdoa000"})
    assert tokens(detail) <= 2600 and detail["next_offset"] and detail["more_people"] == 50


def test_ordinary_row_costs_eighty_tokens_and_detail_six_hundred() -> None:
    desk = Desk(TOOLKIT, frozenset({READONLY}))
    rows = desk.run("list_events", {"after": "2026-11-23", "before": "2026-12-08"})["items"]
    assert max(tokens(row) for row in rows) <= 95
    for row in rows:
        assert tokens(desk.run("get_event", {"event_id": row["id"]})) <= 400


ALIASES = {
    **dict.fromkeys(("Google.CreateEvent", "GoogleCalendar.CreateEvent"), "calendar_create_event"),
    "GoogleCalendar.DeleteEvent": "calendar_delete_event",
    "GoogleCalendar.FindTimeSlotsWhenEveryoneIsFree": "calendar_find_times",
    "GoogleCalendar.GetEvent": "calendar_get_event",
    "GoogleCalendar.ListCalendars": "calendar_list_calendars",
    "GoogleCalendar.ListEvents": "calendar_list_events",
    "GoogleCalendar.RespondToEvent": "calendar_respond_to_event",
    "GoogleCalendar.UpdateEvent": "calendar_update_event",
    "GoogleCalendar.WhoAmI": "calendar_whoami",
}


def test_aliases_of_other_toolkits_name_one_tool_each() -> None:
    assert {alias.name: name for name, tool in TOOLKIT.tools.items() for alias in tool.aliases} == ALIASES
    catalog = Catalog([TOOLKIT])
    for alias, name in ALIASES.items():
        assert catalog.tool(alias).name == catalog.tool(alias.replace(".", "_")).name == name


@pytest.mark.parametrize("name", ["Google.CreateEvent", "GoogleCalendar_CreateEvent"])
def test_alias_arguments_and_values_are_accepted(name: str) -> None:
    theirs: dict[str, Any] = {
        "summary": "Plan",
        "start_datetime": "2026-12-01T10:00",
        "end_datetime": "2026-12-01T10:30",
        "attendee_emails": ["bob@example.test"],
        "send_notifications_to_attendees": "externalOnly",
        "add_google_meet": True,
        "calendar_id": "Team",
    }
    tool = Catalog([TOOLKIT]).tool(name)
    valid = tool.validate(theirs)
    assert (
        valid["title"] == "Plan" and valid["start"] == "2026-12-01T10:00" and valid["attendees"] == ["bob@example.test"]
    )
    assert (valid["notify"], valid["meet"], valid["calendar"]) == ("external", True, "Team")
    with pytest.raises(InvalidInput, match="given twice"):
        tool.validate(theirs | {"title": "Another"})


def test_hidden_spellings_work_and_cannot_contradict() -> None:
    tool = TOOLKIT.tools["calendar_list_events"]
    assert tool.validate({"max_results": 3, "page_token": "c"}) == tool.validate({"limit": 3, "cursor": "c"})
    assert not {"max_results", "page_token", "calendar_id", "summary"} & set(json.dumps(tool.schema).split('"'))
    with pytest.raises(InvalidInput, match="limit is given twice"):
        tool.validate({"max_results": 3, "limit": 4})
    assert tool.validate({"max_results": 3, "limit": 3})["limit"] == 3
    event = TOOLKIT.tools["calendar_create_event"]
    plain = {"start": "2026-12-01", "end": "1d"}
    assert event.validate({"summary": "x", **plain})["title"] == "x"
    with pytest.raises(InvalidInput, match="channel"):
        event.validate({"title": "x", "channel": "y", **plain})


CALLS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "UpdateEvent",
        {
            "event_id": "e",
            "updated_summary": "s",
            "updated_start_datetime": "2026-12-01T10:00",
            "updated_end_datetime": "2026-12-01T11:00",
            "updated_description": "d",
            "updated_location": "l",
            "updated_visibility": "confidential",
            "attendee_emails_to_add": ["a@x.test"],
            "attendee_emails_to_remove": ["b@x.test"],
            "send_notifications_to_attendees": "externalOnly",
            "updated_google_meet": "none",
            "updated_recurrence": ["RRULE:FREQ=DAILY"],
        },
        {
            **{"event_id": "e", "title": "s", "start": "2026-12-01T10:00", "end": "2026-12-01T11:00"},
            **{"description": "d", "location": "l", "visibility": "private", "notify": "external", "meet": None},
            **{"add_attendees": ["a@x.test"], "remove_attendees": ["b@x.test"], "recurrence": ["RRULE:FREQ=DAILY"]},
        },
    ),
    ("UpdateEvent", {"event_id": "e", "updated_google_meet": "remove"}, {"meet": "remove"}),
    (
        "FindTimeSlotsWhenEveryoneIsFree",
        {"email_addresses": ["a@x.test"], "start_date": "2026-12-01"},
        {"attendees": ["a@x.test"], "after": "2026-12-01", "duration": "30m", "hours": "08:00-18:00"},
    ),
    (
        "ListCalendars",
        {"max_results": 25, "show_hidden": True, "next_page_token": "c"},
        {"limit": 25, "hidden": True, "cursor": "c"},
    ),
    ("GetEvent", {"event_id": "e", "calendar_id": "c"}, {"event_id": "e", "calendar": "c"}),
    (
        "RespondToEvent",
        {"event_id": "e", "response": "accepted", "send_updates": "externalOnly"},
        {"response": "accepted", "notify": "external"},
    ),
    ("DeleteEvent", {"event_id": "e", "send_updates": "none"}, {"notify": "none"}),
]


@pytest.mark.parametrize(("name", "theirs", "ours"), CALLS, ids=[f"{n}-{one[0]}" for n, one in enumerate(CALLS)])
def test_renamed_arguments_keep_their_meaning(name: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    valid = Catalog([TOOLKIT]).tool(f"GoogleCalendar.{name}").validate(theirs)
    assert {one: valid[one] for one in ours} == ours
