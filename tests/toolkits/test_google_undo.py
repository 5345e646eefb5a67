"""What Google's tools do is put back by the call that they leave for it; they leave none where none can."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from deputize.core import Conflict, InvalidInput
from deputize.sandbox.google.calendar.seed import ROOM
from tests.support.preview_coverage import Make, ShownWorld, made, shown_world
from tests.support.sandbox_deputy import Clock
from tests.toolkits import test_calendar_shows as of_calendar
from tests.toolkits import test_gmail_shows as of_gmail
from tests.toolkits.tool_driver import NOW

SCOPES: Final = {"google": [*of_gmail.SCOPES["google"], *of_calendar.SCOPES["google"]]}
ROWS: Final = [*of_gmail.ROWS, *of_calendar.ROWS]
IDS: Final = [f"{n}-{tool}" for n, (tool, _) in enumerate(ROWS)]
TRACES: Final = re.compile(r"/(etag|updated|sequence|mails/\d+/.*)$|/history|/filters/\d+/id$")
"""What every write leaves: counters, stamps, mails to guests that have gone out, and a filter's id, which is new."""

NOT_BACK: Final = {
    **dict.fromkeys(("gmail_send_email", "gmail_reply_email", "gmail_forward_email", "gmail_send_draft"), "it is sent"),
    "gmail_delete_draft": "no call makes a draft of the same id",
    "gmail_unsubscribe": "it is sent",
    "calendar_delete_event": "no call makes the same event",
}
"""Tools that leave no call, and why. Others leave none where it would not do exactly that."""


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in it by its path, but for what every write leaves. Nothing, an empty text and what is so anyway are
    the same."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from flat(one, f"{path}/{name}")
    elif isinstance(value, list):
        for n, one in enumerate(sorted(value, key=str) if all(isinstance(one, str) for one in value) else value):
            yield from flat(one, f"{path}/{n}")
    elif value not in ("", None, "opaque") and not TRACES.search(path):
        yield path, value


def everything(world: ShownWorld) -> dict[str, Any]:
    """All that Google keeps, without events that are cancelled and calendars on nobody's list."""
    kept = copy.deepcopy(world.sandbox._world._to_json())
    calendar = kept["services"]["calendar"]
    listed = {one for mine in calendar["lists"].values() for one in mine} | {ROOM}
    calendar["calendars"] = {name: one for name, one in calendar["calendars"].items() if name in listed}
    events = calendar["events"].items()
    calendar["events"] = {name: one for name, one in events if one["data"]["status"] != "cancelled"}
    for one in calendar["events"].values():
        one["exceptions"] = {at: as_is(more, one["data"]) for at, more in one["exceptions"].items()}
    return dict(flat([kept["mailboxes"], calendar]))


def as_is(occurrence: dict[str, Any], series: dict[str, Any]) -> dict[str, Any]:
    """In what an occurrence that was changed is unlike its series: its day aside."""
    at = [one.get("dateTime", "")[11:] for event in (occurrence, series) for one in [event.get("start", {})]]
    moved = {"start", "end"} if at[0] == at[1] else set[str]()
    return {name: one for name, one in occurrence.items() if name not in moved and one != series.get(name)}


async def done(world: ShownWorld, tool: str, make: Make) -> tuple[dict[str, Any], list[str]]:
    """What there was before a call, which is then made, and the ids by which it can be undone."""
    arguments: Mapping[str, Any] = await made(make, world)
    before, earlier = everything(world), {one.id for one in await world.deputy.undoable("alice")}
    await world.act(tool, **arguments)
    return before, [one.id for one in await world.deputy.undoable("alice") if one.id not in earlier]


@pytest.mark.parametrize(("tool", "arguments"), ROWS, ids=IDS)
async def test_what_is_undone_is_as_it_was(tool: str, arguments: Any) -> None:
    async with shown_world(SCOPES, clock=Clock(NOW)) as world:
        before, ids = await done(world, tool, arguments)
        assert (tool in NOT_BACK) <= (ids == [])
        for one in ids:
            assert everything(world) != before
            await world.deputy.undo("alice", one)
            assert everything(world) == before


def test_every_other_tool_can_be_undone_in_one_of_its_ways() -> None:
    assert {tool for tool, _ in ROWS} - set(NOT_BACK) == {tool for tool, _ in CAN}


CAN: Final = [
    ("gmail_save_draft", of_gmail.DRAFT),
    ("gmail_set_signature", {"body": "Mine"}),
    ("gmail_set_vacation", of_gmail.AWAY | {"body": "Back soon"}),
    ("gmail_manage_filter", of_gmail.FILTER | {"star": True}),
    ("gmail_manage_label", {"action": "rename", "name": "Travel", "new_name": "Journeys"}),
    ("gmail_update_emails", {"query": "from:bob", "action": "trash"}),
    ("calendar_create_event", of_calendar.PLAN),
    ("calendar_update_event", {"event_id": "holiday0001"} | of_calendar.WORDS),
    ("calendar_respond_to_event", of_calendar.SERIES | {"response": "declined"}),
    ("calendar_share_calendar", {"who": "carol@else.test", "role": "reader"}),
    ("calendar_manage_calendar", {"action": "update", "calendar": "Team", "title": "Board", "description": "All"}),
]

MEANWHILE: Final[dict[str, Any]] = {
    "gmail_set_signature": {"body": "Another"},
    "gmail_set_vacation": of_gmail.AWAY | {"body": "Other words"},
    "gmail_manage_label": {"action": "rename", "name": "Journeys", "new_name": "Trips"},
    "calendar_update_event": {"event_id": "holiday0001", "title": "Theirs"},
    "calendar_respond_to_event": of_calendar.SERIES | {"response": "tentative"},
    "calendar_share_calendar": {"who": "carol@else.test", "role": "writer"},
    "calendar_manage_calendar": {"action": "update", "calendar": "Board", "description": "Theirs"},
}


CHANGEABLE: Final = [row for row in CAN if row[0] != "gmail_manage_filter"]  # a filter is only made and deleted


@pytest.mark.parametrize(("tool", "arguments"), CHANGEABLE, ids=[tool for tool, _ in CHANGEABLE])
async def test_what_was_changed_meanwhile_is_left_as_it_is(tool: str, arguments: dict[str, Any]) -> None:
    async with shown_world(SCOPES, clock=Clock(NOW)) as world:
        _, [one] = await done(world, tool, arguments)
        if tool == "gmail_update_emails":
            found = await world.act("gmail_search_emails", query="from:bob in:trash", limit=1)
            await world.act(tool, message_ids=[found["items"][0]["id"]], action="untrash")
        elif tool == "gmail_save_draft":
            [draft] = (await world.act("gmail_list_drafts"))["items"]
            await world.act(tool, draft_id=draft["draft_id"], body="By hand")
        elif tool == "calendar_create_event":
            [event] = (await world.act("calendar_list_events", query="Blueprint", after="2026-12-01"))["items"]
            await world.act("calendar_update_event", event_id=event["id"], title="Theirs")
        else:
            await world.act(tool, **MEANWHILE[tool])
        there = everything(world)
        with pytest.raises((Conflict, InvalidInput), match=r"changed since|no label"):
            await world.deputy.undo("alice", one)
        assert everything(world) == there


@pytest.mark.parametrize(
    "theirs",
    [
        {"description": "What we agreed on"},
        {"location": "Room 9"},
        {"add_attendees": ["carol@else.test"]},
    ],
    ids=lambda theirs: str(next(iter(theirs))),
)
async def test_an_event_into_which_somebody_has_put_more_since_is_not_cancelled(theirs: dict[str, Any]) -> None:
    async with shown_world(SCOPES, clock=Clock(NOW)) as world:
        bare = {"title": "Bare", "start": "2026-12-01T10:00", "end": "2026-12-01T11:00"}
        _, [one] = await done(world, "calendar_create_event", bare)
        [event] = (await world.act("calendar_list_events", query="Bare", after="2026-12-01"))["items"]
        await world.act("calendar_update_event", event_id=event["id"], **theirs)
        there = everything(world)
        with pytest.raises(Conflict, match="changed since"):
            await world.deputy.undo("alice", one)
        assert everything(world) == there
