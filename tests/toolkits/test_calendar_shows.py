"""Everything that Calendar's tools send was previewed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from deputize.core import Danger, Preview
from deputize.core.tools.preview import show_rows
from deputize.sandbox.google.calendar.seed import ROOM
from deputize.toolkits._shared.long_text import digest
from deputize.toolkits.calendar.base import WHOLE
from tests.support.preview_coverage import ShownWorld, shown_world
from tests.support.sandbox_deputy import Clock
from tests.toolkits.calendar_calls import BOB, STAND_UP, TEAM, TRAVEL
from tests.toolkits.tool_driver import NOW

SCOPES: Final = {"google": [WHOLE]}
OURS: Final = frozenset(
    "calendar v3 1 calendars primary events move users me calendarlist acl "
    "true false popup hangoutsmeet opaque transparent default externalonly all none needsaction "
    "focustime outofoffice workinglocation declinenone homeoffice customlocation".split()
)
"""Words of formats, paths and enumerations, which need no preview."""

PLAN: Final = {"title": "Blueprint", "start": "2026-12-01T10:07", "end": "43m"}
FULL: Final = PLAN | {
    "attendees": ["Bob Brown <bob@example.test>", ROOM],
    "optional_attendees": ["carol@else.test"],
    "description": "First: <b>slides</b>",
    "location": "Attic, door 9",
    "recurrence": ["FREQ=WEEKLY;COUNT=4;BYDAY=TU,TH"],
    "meet": True,
    "reminders": [5, 61],
    "show_as": "free",
    "visibility": "private",
    "color": "sage",
    "time_zone": "Asia/Kolkata",
}
CHANGED: Final = {
    "title": "Novel",
    "start": "2026-11-30T11:13",
    "end": "2026-11-30T12:17",
    "description": "Agenda: none",
    "location": "Balcony",
    "reminders": [7],
    "show_as": "free",
    "visibility": "public",
    "color": "tangerine",
    "add_attendees": ["Dora <dora@else.test>"],
    "notify": "external",
}

WORDS: Final = {"title": "Novel", "description": "Agenda: none", "location": "Balcony", "show_as": "free"}


async def an_event(world: ShownWorld) -> str:
    return str((await world.act("calendar_create_event", **FULL | {"attendees": [], "recurrence": []}))["id"])


async def emptied(world: ShownWorld) -> dict[str, Any]:
    words = {"description": "", "if_text": digest(str(FULL["description"]))}
    return {"event_id": await an_event(world), "location": "", "meet": "remove", **words}


async def edited(world: ShownWorld) -> dict[str, Any]:
    return {"event_id": await an_event(world), "description": "Then: sandwiches", "append": True}


async def invited(world: ShownWorld) -> dict[str, Any]:
    """Bob's invitation, which Alice has answered with a comment."""
    answer = {"event_id": "review00001", "response": "tentative", "comment": "Perhaps"}
    await world.act("calendar_respond_to_event", **answer)
    return answer | {"response": "declined", "comment": "Sorry: travelling"}


async def described(world: ShownWorld) -> dict[str, Any]:
    await world.act("calendar_manage_calendar", action="update", calendar=TEAM, description="Ours: all of us")
    return {"action": "update", "calendar": TEAM, "description": ""}


async def let_in(world: ShownWorld) -> dict[str, Any]:
    rule = {"id": "default", "scope": {"type": "default"}, "role": "reader"}
    world.sandbox._world.services["calendar"]["calendars"][BOB]["acl"].append(rule)
    return {"action": "subscribe", "calendar": BOB, "color": "grape", "hidden": False}


SIDE: Final = {
    "title": "Sideline",
    "description": "Everything else",
    "time_zone": "Asia/Kolkata",
    "color": "grape",
    "hidden": True,
}
SERIES: Final = {"event_id": STAND_UP, "apply_to": "series"}
REST: Final = {"event_id": STAND_UP, "apply_to": "following"}
ROWS: Final[list[tuple[str, Any]]] = [
    ("calendar_create_event", PLAN),
    ("calendar_create_event", FULL),
    ("calendar_create_event", FULL | {"calendar": "team", "visibility": "public", "notify": "external"}),
    ("calendar_create_event", PLAN | {"start": "2026-12-24", "end": "2026-12-26"}),
    ("calendar_create_event", PLAN | {"start": "2026-12-01T10:00:30-05:00", "end": "2026-12-01T17:01:31+01:00"}),
    ("calendar_create_event", PLAN | {"kind": "focusTime"}),
    ("calendar_create_event", PLAN | {"kind": "outOfOffice"}),
    ("calendar_create_event", PLAN | {"kind": "workingLocation"}),
    ("calendar_create_event", PLAN | {"kind": "workingLocation", "location": "Library"}),
    ("calendar_update_event", CHANGED | {"event_id": STAND_UP}),
    ("calendar_update_event", CHANGED | SERIES | {"recurrence": ["FREQ=DAILY;COUNT=9"], "meet": "add"}),
    ("calendar_update_event", CHANGED | REST | {"meet": "add"}),
    ("calendar_update_event", REST | {"title": "Novel", "notify": "none"}),
    ("calendar_update_event", SERIES | {"remove_attendees": [BOB]}),
    ("calendar_update_event", emptied),
    ("calendar_update_event", edited),
    ("calendar_update_event", WORDS | {"event_id": STAND_UP, "add_attendees": ["Dora <dora@else.test>", BOB]}),
    ("calendar_update_event", WORDS | SERIES | {"start": "2026-11-30T11:13"}),
    ("calendar_update_event", {"event_id": "holiday0001", "title": "Away", "move_to": "team"}),
    ("calendar_update_event", {"event_id": "holiday0001", "start": "2026-12-08T09:00", "end": "1h"}),
    ("calendar_update_event", {"event_id": "trip0000001", "title": "Train", "calendar": "Bob on the road"}),
    ("calendar_delete_event", {"event_id": STAND_UP, "notify": "external"}),
    ("calendar_delete_event", SERIES),
    ("calendar_delete_event", SERIES | {"message": "The trainer is ill."}),
    ("calendar_delete_event", REST),
    ("calendar_delete_event", {"event_id": "review00001"}),
    ("calendar_delete_event", {"event_id": "holiday0001"}),
    ("calendar_delete_event", {"event_id": "trip0000001", "calendar": TRAVEL, "notify": "none"}),
    ("calendar_respond_to_event", {"event_id": "review00001", "response": "accepted", "notify": "none"}),
    ("calendar_respond_to_event", {"event_id": "review00001", "response": "tentative", "comment": "Half an hour late"}),
    ("calendar_respond_to_event", invited),
    ("calendar_respond_to_event", SERIES | {"response": "declined"}),
    ("calendar_share_calendar", {"who": "carol@else.test", "role": "free_busy", "notify": False}),
    ("calendar_share_calendar", {"who": BOB, "role": "owner", "calendar": "Team"}),
    ("calendar_share_calendar", {"who": BOB, "role": "none", "calendar": TEAM}),
    ("calendar_share_calendar", {"who": "else.test", "role": "writer"}),
    ("calendar_share_calendar", {"who": "example.test", "role": "reader"}),
    ("calendar_share_calendar", {"who": "public", "role": "reader"}),
    ("calendar_manage_calendar", SIDE | {"action": "create"}),
    ("calendar_manage_calendar", {"action": "create", "title": "Plain"}),
    ("calendar_manage_calendar", SIDE | {"action": "update", "calendar": "team"}),
    ("calendar_manage_calendar", described),
    ("calendar_manage_calendar", {"action": "update", "calendar": "Team", "color": "#abcdef"}),
    ("calendar_manage_calendar", let_in),
    ("calendar_manage_calendar", {"action": "unsubscribe", "calendar": TRAVEL}),
    ("calendar_manage_calendar", {"action": "unsubscribe", "calendar": "bob on the road"}),
]

AUDIENCES: Final = {
    **dict.fromkeys(
        ("calendar_create_event", "calendar_update_event", "calendar_delete_event"),
        "self: on the main calendar without guests; people: with guests; public: if the event says so; unknown: on "
        "another calendar",
    ),
    "calendar_respond_to_event": "people: who organizes it and the guests; unknown: on another calendar",
    "calendar_share_calendar": "people: whom it is shared with; organisation: the user's domain; unknown: "
    "another domain; public",
    "calendar_manage_calendar": "self; unknown: whoever sees a calendar whose words or time zone change",
}
"""The readers of each tool's effect, in a few words."""


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world(SCOPES, clock=Clock(NOW)) as world:
        yield world


async def test_preview_shows_guests_time_and_all_visible_text(world: ShownWorld) -> None:
    await world.act("calendar_create_event", **FULL)
    assert dict(show_rows(world.shown[0])) == {
        "where": "your main calendar",
        "title": "Blueprint",
        "guests": f"Bob Brown <bob@example.test>, {ROOM} (room), carol@else.test (optional)",
        "begins": "Tue 1 Dec 2026, 10:07 (Asia/Kolkata)",
        "ends": "Tue 1 Dec 2026, 10:50 (Asia/Kolkata)",
        "repeats": "every week on Tuesday and Thursday, 4 times in all",
        "description": "First: <b>slides</b>",
        "location": "Attic, door 9",
        "video call": "a new Google Meet call",
        "visibility": "private",
        "show as": "free",
        "color": "sage",
        "reminders": "5 minutes before, 61 minutes before",
        "mail": "to all guests",
        "seen by": "the people named here",
    }


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("2026-10-25T02:30", "Sun 25 Oct 2026, 02:30 (Europe/Berlin, UTC+02:00)"),
        ("2026-12-01T10:00:30", "Tue 1 Dec 2026, 10:00:30 (Europe/Berlin)"),
        ("2026-12-24", "Thu 24 Dec 2026"),
    ],
)
async def test_previewed_time_has_weekday_zone_and_offset(world: ShownWorld, start: str, words: str) -> None:
    await world.act("calendar_create_event", title="T", start=start, end="1d")
    assert dict(show_rows(world.shown[0]))["begins"] == words


async def previewed(world: ShownWorld, tool: str, **arguments: Any) -> Preview:
    """Return the preview of one call."""
    await world.act(tool, **arguments)
    return world.shown[-1]


RULES: Final = {
    "FREQ=WEEKLY;COUNT=4": "every week, 4 times in all",
    "FREQ=MONTHLY;BYDAY=-1FR": "every month on the last Friday",
    "FREQ=WEEKLY;INTERVAL=2;WKST=SU": "every 2 weeks, RRULE:FREQ=WEEKLY;INTERVAL=2;WKST=SU",
    "FREQ=WEEKLY;COUNT=4;BYDAY=TU EXDATE:20261208T090700Z": "- every week on Tuesday, 4 times in all, without 1 dates\n"
    "- RRULE:FREQ=WEEKLY;COUNT=4;BYDAY=TU\n- EXDATE:20261208T090700Z",
}


@pytest.mark.parametrize("rule", RULES)
async def test_rule_of_a_series_is_shown_only_if_words_do_not_say_all(world: ShownWorld, rule: str) -> None:
    start = "2026-12-25T10:07" if "FR" in rule.partition("BYDAY=-1")[2] else "2026-12-01T10:07"
    show = await previewed(world, "calendar_create_event", title="T", start=start, end="1h", recurrence=rule.split())
    assert dict(show_rows(show))["repeats"] == RULES[rule]
    assert show.pins["repeats"][0] == f"RRULE:{rule.split()[0]}"


QUIET: Final[list[tuple[str, dict[str, Any]]]] = [
    ("calendar_respond_to_event", {"event_id": "review00001", "response": "accepted"}),
    ("calendar_update_event", {"event_id": STAND_UP, "title": "Novel"}),
    ("calendar_delete_event", {"event_id": STAND_UP}),
]


@pytest.mark.parametrize(("tool", "arguments"), QUIET, ids=[tool for tool, _ in QUIET])
async def test_guests_are_reached_only_if_they_are_notified(
    world: ShownWorld, tool: str, arguments: dict[str, Any]
) -> None:
    silent = await previewed(world, tool, **arguments, notify="none")
    assert silent.people == () and silent.fields["mail"] == "to nobody"
    assert any("bob@example.test" in one for one in silent.context["guests"])
    if tool == "calendar_respond_to_event":
        arguments = arguments | {"response": "tentative"}
    if tool == "calendar_update_event":
        arguments = arguments | {"title": "Another"}
    if tool == "calendar_delete_event":
        arguments = {"event_id": "review00001"}
    loud = await previewed(world, tool, **arguments)
    assert "bob@example.test" in loud.people and loud.fields["mail"] == "to all guests"


async def test_new_guest_is_reached_even_without_notice(world: ShownWorld) -> None:
    show = await previewed(
        world, "calendar_update_event", event_id=STAND_UP, add_attendees=["dora@else.test"], notify="none"
    )
    assert show.people == ("dora@else.test",)


async def test_sharing_a_calendar_says_that_it_gives_access(world: ShownWorld) -> None:
    for role, what, gives in (
        ("reader", "Share this calendar", True),
        ("owner", "Change access to this calendar", True),
        ("free_busy", "Change access to this calendar", False),
        ("none", "Stop sharing this calendar", False),
    ):
        show = await previewed(world, "calendar_share_calendar", who="carol@else.test", role=role)
        assert (show.what, show.dangers) == (what, (Danger.GIVES_ACCESS,) if gives else ())
