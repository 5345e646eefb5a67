"""Calls of every Calendar tool that together make every request it can make, with the sandbox's seed data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from deputize.core import Request
from deputize.sandbox.google.calendar.seed import ROOM
from tests.toolkits.google_driver import Desk

BOB: Final = "bob@example.test"
TEAM: Final = "team@group.calendar.google.com"
TRAVEL: Final = "bobs-travel@group.calendar.google.com"
STAND_UP: Final = "standup0001_20261130T080000Z"  # one of Alice's daily meetings


class Case(NamedTuple):
    """A call, and the failure that happens in it."""

    tool: str
    arguments: dict[str, Any]
    spoil: Callable[[Desk], None] = lambda desk: None


def _lose_insert(desk: Desk) -> None:
    desk.lose["/calendars/{calendar}/events"] = 1


def _meanwhile(desk: Desk) -> None:
    """Change the event as somebody else between read and write, once."""

    def change(request: Request) -> None:
        if request.method in ("PATCH", "DELETE"):
            desk.before.clear()
            for record in desk.sandbox._world.services["calendar"]["events"].values():
                record["etag"] += 1

    desk.before.append(change)


def _list_room(desk: Desk) -> None:
    desk.sandbox._world.services["calendar"]["lists"]["alice@example.test"][ROOM] = {"selected": True}


MEETING: Final = {"title": "Plan", "start": "2026-12-01T10:00", "end": "30m"}
CASES: Final = [
    Case("whoami", {}),
    Case("list_calendars", {}),
    Case("list_calendars", {"sharing": True, "hidden": True}),
    Case("list_calendars", {"calendar": TEAM}),
    Case("list_rooms", {}),
    Case("list_rooms", {"seats": 4, "after": "2026-12-01T09:00", "before": "2026-12-01T18:00"}, _list_room),
    Case("list_events", {}),
    Case("list_events", {"query": "review", "kinds": ["default", "focusTime"], "after": "2026-11-23", "limit": 2}),
    Case("list_events", {"expand": False, "updated_after": "-60d"}),
    Case("list_events", {"series_id": "standup0001", "after": "today"}),
    Case("list_events", {"calendars": ["primary", "Team", TRAVEL]}),
    Case("list_events", {"calendars": [TRAVEL]}),
    Case("get_event", {"event_id": "review00001"}),
    Case("get_event", {"event_id": "trip0000001", "calendar": "Bob on the road"}),
    Case("get_event", {"event_id": "review00001", "raw": True}),
    Case("get_event", {"event_id": "review00001", "part": "people"}),
    Case("create_event", MEETING),
    Case("create_event", MEETING | {"time_zone": "Asia/Kolkata", "calendar": "Team"}),
    Case("create_event", MEETING | {"attendees": [BOB, ROOM], "optional_attendees": ["c@x.test"], "meet": True}),
    Case("create_event", MEETING | {"recurrence": ["FREQ=WEEKLY;COUNT=4"], "reminders": [5, 60], "notify": "external"}),
    Case("create_event", MEETING | {"description": "d", "location": "l", "color": "sage", "visibility": "private"}),
    Case("create_event", MEETING | {"show_as": "free", "attendees": [BOB], "notify": "none"}),
    Case("create_event", {"title": "Off", "start": "2026-12-24", "end": "2026-12-26"}),
    *(Case("create_event", MEETING | {"kind": kind}) for kind in ("focusTime", "outOfOffice", "workingLocation")),
    Case("create_event", MEETING | {"kind": "workingLocation", "location": "Library"}),
    Case("create_event", MEETING, _lose_insert),
    Case("update_event", {"event_id": STAND_UP, "title": "Late", "start": "2026-11-30T10:00"}),
    Case("update_event", {"event_id": STAND_UP, "start": "2026-11-30T10:00", "apply_to": "series"}),
    Case("update_event", {"event_id": STAND_UP, "description": "Late: train.", "append": True}, _meanwhile),
    Case("update_event", {"event_id": STAND_UP, "title": "New", "apply_to": "following"}),
    Case("update_event", {"event_id": STAND_UP, "title": "New", "apply_to": "following"}, _lose_insert),
    Case("update_event", {"event_id": "holiday0001", "start": "2026-12-08T09:00", "end": "1h", "meet": "add"}),
    Case("update_event", {"event_id": "holiday0001", "recurrence": ["FREQ=YEARLY"], "color": "basil"}),
    Case("update_event", {"event_id": STAND_UP, "add_attendees": ["c@x.test"], "apply_to": "series"}),
    Case("update_event", {"event_id": STAND_UP, "remove_attendees": [BOB], "apply_to": "series"}, _meanwhile),
    Case("update_event", {"event_id": "holiday0001", "title": "Away", "move_to": TEAM}),
    Case("update_event", {"event_id": "trip0000001", "title": "Train", "calendar": "Bob on the road"}),
    Case("delete_event", {"event_id": STAND_UP}),
    Case("delete_event", {"event_id": STAND_UP, "message": "The trainer is ill."}, _meanwhile),
    Case("delete_event", {"event_id": STAND_UP, "apply_to": "series", "notify": "none"}, _meanwhile),
    Case("delete_event", {"event_id": STAND_UP, "apply_to": "following"}),
    Case("delete_event", {"event_id": "trip0000001", "calendar": TRAVEL}),
    *(Case("respond_to_event", {"event_id": "review00001", "response": r}) for r in ("accepted", "tentative")),
    Case("respond_to_event", {"event_id": "review00001", "response": "declined", "comment": "Later?"}),
    Case("find_times", {"duration": "30m"}),
    Case("find_times", {"time_zone": "Asia/Kolkata"}),
    Case("find_times", {"attendees": [BOB], "rooms": [ROOM], "duration": "1h", "buffer": "15m", "before": "+90d"}),
    Case("manage_calendar", {"action": "create", "title": "Side"}),
    Case("manage_calendar", {"action": "create", "title": "Side", "color": "grape", "time_zone": "Asia/Kolkata"}),
    Case("manage_calendar", {"action": "update", "calendar": "Team", "title": "The team"}),
    Case("manage_calendar", {"action": "update", "calendar": TEAM, "hidden": True}),
    Case("manage_calendar", {"action": "unsubscribe", "calendar": TRAVEL}),
    Case("manage_calendar", {"action": "unsubscribe", "calendar": "Bob on the road"}),
    Case("manage_calendar", {"action": "subscribe", "calendar": BOB}, lambda desk: _let_in(desk)),
    Case("share_calendar", {"who": BOB, "role": "writer", "calendar": "Team"}),
    Case("share_calendar", {"who": "example.test", "role": "free_busy", "notify": False}),
    Case("share_calendar", {"who": BOB, "role": "none", "calendar": TEAM}),
    Case("share_calendar", {"who": "public", "role": "reader"}),
]


def _let_in(desk: Desk) -> None:
    rule = {"id": "default", "scope": {"type": "default"}, "role": "reader"}
    desk.sandbox._world.services["calendar"]["calendars"][BOB]["acl"].append(rule)
