"""Each undo that a tool offers restores the old state, and keeps what somebody has changed since."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import deputize.toolkits.gmail
from deputize.core import Conflict, Undo, User
from tests.support.preview_coverage import ShownWorld, made, shown_world
from tests.support.provider_state import differences, everything
from tests.support.sandbox_deputy import Clock
from tests.toolkits.github_play import SITE
from tests.toolkits.shown_rows import ROWS, Row
from tests.toolkits.test_github_shows import RELEASE
from tests.toolkits.tool_driver import NOW
from tests.toolkits.undo_calls import SCOPES, WAYS, Given, Way

TOOLKITS: Final = Path(deputize.toolkits.gmail.__file__ or "").parents[1]


def sites() -> Iterator[str]:
    """Return where the toolkits create an `Undo`: module and function."""
    texts = ((path, path.read_text(encoding="utf-8")) for path in TOOLKITS.rglob("*.py"))
    for path, text in texts:
        for function in ast.walk(ast.parse(text)) if "Undo(" in text else ():
            if isinstance(function, ast.FunctionDef):
                calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
                if any(isinstance(name, ast.Name) and name.id == "Undo" for name in calls):
                    yield f"{path.relative_to(TOOLKITS).as_posix()}:{function.name}"


def test_every_undo_site_is_exercised() -> None:
    assert sorted(sites()) == sorted(WAYS)


# ----------------------------------------------------------------- there and back


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
async def world(clock: Clock) -> AsyncIterator[ShownWorld]:
    async with shown_world(SCOPES, clock=clock) as world:
        yield world


@pytest.fixture
def made_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where toolkits created each `Undo`."""
    found, made = list[str](), Undo.__init__

    def recorded(self: Undo, *values: Any, **named: Any) -> None:
        code = sys._getframe(1).f_code
        if Path(code.co_filename).is_relative_to(TOOLKITS):  # not one that the ledger has read again
            found.append(f"{Path(code.co_filename).relative_to(TOOLKITS).as_posix()}:{code.co_name}")
        made(self, *values, **named)

    monkeypatch.setattr(Undo, "__init__", recorded)
    return found


async def undoable(world: ShownWorld, tool: str, arguments: Given) -> str:
    await world.act(tool, **arguments)
    [act] = [one.id for one in await world.deputy.undoable("alice") if one.call == str(world.calls)]
    return act


@pytest.mark.parametrize(("site", "way"), WAYS.items(), ids=WAYS)
async def test_undo_restores_the_state(world: ShownWorld, made_at: list[str], site: str, way: Way) -> None:
    arguments = await made(way.arguments, world)
    before = everything(world.sandbox)
    made_at.clear()
    act = await undoable(world, f"{site.partition('/')[0]}_{way.tool}", arguments)
    assert site in made_at and everything(world.sandbox) != before
    await world.deputy.undo("alice", act)
    left = [one for one in differences(before, everything(world.sandbox)) if not re.search(way.stays, one)]
    assert left == []


HANDS: Final = {site: way for site, way in WAYS.items() if way.hand}


@pytest.mark.parametrize(("site", "way"), HANDS.items(), ids=HANDS)
async def test_later_change_by_others_is_not_undone(world: ShownWorld, clock: Clock, site: str, way: Way) -> None:
    arguments = await made(way.arguments, world)
    act = await undoable(world, f"{site.partition('/')[0]}_{way.tool}", arguments)
    back = await world.deputy.undoing.inverse(User("alice"), act)
    assert way.hand is not None
    clock.now += 60
    await way.hand(world, arguments, back.arguments)
    changed = everything(world.sandbox)
    with pytest.raises(Conflict, match="changed since") as caught:
        await world.deputy.undo("alice", act)
    assert caught.value.reason == "stale" and everything(world.sandbox) == changed


# ----------------------------------------------------------------- every row that shows what a tool does

STAYS: Final = {  # what undoing leaves otherwise than by the ways above, by tool
    **dict.fromkeys(("calendar_create_event", "calendar_respond_to_event"), r"calendar\.mails"),
    "calendar_update_event": r"calendar\.mails|transparency: \+ opaque$|"
    r"\.exceptions: \+ (?!.*(Novel|Agenda|Balcony|transparent))",  # of a day that is as its series again
    "drive_share_file": r"drive\.mails|\.deleted",
    "github_react": r"\.id$",
    "linear_create_issue": r"\.attachments: ",  # on an issue that was deleted
    "linear_relate_issues": r"\.relations\[0\]\.id$",
    "linear_resolve_comment": r"\.resolvedAt$",
    "linear_save_label": r"\.description: \+ $",
    "linear_save_initiative": r"\.initiatives\[0\]\.updatedAt|\.initiative_links\[1\]: \+ ",
    "slack_send_message": r"\.channels\.[DG]0NEW",  # a conversation that was opened stays open
    "slack_set_status": r"\.(presence|snoozed): ",
}
PUT_AWAY: Final = r"linear\.\w+\[1\]: \+ .*'archivedAt': "
NO_WAY_BACK: Final = {
    "calendar_delete_event": 7,
    "drive_update_file": 1,
    "drive_write_comment": 4,
    "calendar_manage_calendar": 4,
    "calendar_respond_to_event": 3,
    "calendar_update_event": 6,
    "github_control_run": 4,
    "github_create_issue": 2,
    "github_create_pull": 3,
    "github_create_repo": 5,
    "github_delete": 9,
    "github_merge_pull": 2,
    "github_review_pull": 2,
    "github_run_workflow": 2,
    "github_save_release": 2,
    "github_update_notifications": 3,
    "github_update_project_item": 3,
    "github_update_pull": 1,
    "github_write_discussion": 4,
    "gmail_delete_draft": 1,
    "gmail_forward_email": 1,
    "gmail_manage_label": 1,
    "gmail_reply_email": 2,
    "gmail_save_draft": 1,
    "gmail_send_draft": 1,
    "gmail_send_email": 3,
    "gmail_unsubscribe": 1,
    "linear_archive": 6,
    "linear_create_customer_need": 2,
    "linear_create_project_status": 1,
    "linear_save_document": 1,
    "linear_save_label": 1,
    "linear_save_milestone": 1,
    "linear_save_project": 1,
    "linear_update_issue": 4,
    "linear_update_notifications": 3,
    "linear_upload_file": 1,
    "salesforce_create_record": 2,
    "salesforce_delete_record": 2,
    "salesforce_upload_file": 1,
    "slack_delete_message": 2,
    "slack_mark_read": 2,
    "slack_set_status": 1,
    "slack_upload_file": 2,
    "slack_write_canvas": 6,
}
"""How many calls of a tool cannot be undone: people were told, something ran, was deleted or published, a value that no
argument clears, and values of several objects that differed."""


async def done(world: ShownWorld, row: Row) -> tuple[Given, Any, list[str]]:
    """Return the arguments of a performed case, the state before, and the ids by which it can be undone."""
    arguments = await made(row.make, world)
    before = everything(world.sandbox)
    await world.act(row.tool, **arguments)
    acts = [one.id for one in await world.deputy.undoable("alice") if one.call == str(world.calls)]
    return arguments, before, acts


@pytest.mark.parametrize("row", ROWS, ids=[f"{n}-{row.tool}" for n, row in enumerate(ROWS)])
async def test_undoable_row_restores_the_world(row: Row) -> None:
    async with shown_world(**row.world) as world:
        arguments, before, acts = await done(world, row)
        for act in acts:
            assert everything(world.sandbox) != before or row.tool == "slack_set_status"
            if row.tool == "salesforce_log_activity" and "owner" in arguments:  # Alice does not see tasks of Bob
                with pytest.raises(Conflict):
                    await world.deputy.undo("alice", act)
                return
            await world.deputy.undo("alice", act)
            ways = [way.stays for site, way in WAYS.items() if f"{site.partition('/')[0]}_{way.tool}" == row.tool]
            stays = re.compile("|".join([*ways, PUT_AWAY, STAYS.get(row.tool, "nothing")]))
            left = [one for one in differences(before, everything(world.sandbox)) if not stays.search(one)]
            assert left == []


@pytest.mark.processes
async def test_row_has_an_undo_if_a_call_can_restore_the_state() -> None:
    without: Counter[str] = Counter()
    for row in ROWS:
        async with shown_world(**row.world) as world:
            without[row.tool] += not (await done(world, row))[2]
    assert {tool: count for tool, count in without.items() if count} == NO_WAY_BACK


# ----------------------------------------------------------------- what others add to what an act made


@pytest.mark.parametrize(
    "theirs",
    [{"description": "What we agreed on"}, {"location": "Room 9"}, {"add_attendees": ["carol@else.test"]}],
    ids=lambda theirs: str(next(iter(theirs))),
)
async def test_event_with_later_additions_is_not_cancelled(world: ShownWorld, theirs: dict[str, Any]) -> None:
    bare = {"title": "Bare", "start": "2026-12-01T10:00", "end": "2026-12-01T11:00"}
    event = await world.act("calendar_create_event", **bare)
    [act] = await world.deputy.undoable("alice")
    await world.act("calendar_update_event", event_id=event["id"], **theirs)
    there = everything(world.sandbox)
    with pytest.raises(Conflict, match="changed since"):
        await world.deputy.undo("alice", act.id)
    assert everything(world.sandbox) == there


@pytest.mark.parametrize("theirs", [{"assets": [{"id": 1, "name": "app.zip", "size": 9}]}, {"name": "Ours now"}])
async def test_draft_release_changed_by_others_is_left(world: ShownWorld, theirs: Any) -> None:
    act = await undoable(world, "github_save_release", RELEASE | {"draft": True})
    [row] = [one for one in world.sandbox._world.services["github"]["releases"][SITE] if one["tag"] == RELEASE["tag"]]
    row.update(theirs)
    before = everything(world.sandbox)
    with pytest.raises(Conflict, match="changed since"):
        await world.deputy.undo("alice", act)
    assert everything(world.sandbox) == before
