"""The undo that a Slack tool reports works, as long as nobody has changed the object since."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from deputize.core import Preview, Undo
from deputize.core.acts.execution_context import ExecutionContext
from tests.support.preview_coverage import ShownWorld, shown_world
from tests.toolkits.test_slack_shows import BOOKMARK, EVERYTHING
from tests.toolkits.tool_driver import NOW


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world({"slack": EVERYTHING}, clock=lambda: NOW) as world:
        yield world


@pytest.fixture
def undos(world: ShownWorld, monkeypatch: pytest.MonkeyPatch) -> list[Undo]:
    """Return every undo call that tools report."""
    told: list[Undo] = []
    handlers: Any = world.deputy.runner.handlers
    takes = handlers[Undo]

    async def keep(run: ExecutionContext, undo: Undo) -> None:
        await takes(run, undo)
        told.append(undo)

    monkeypatch.setitem(handlers, Undo, keep)
    return told


def before_of(show: Preview, name: str) -> Any:
    """Return the state that the undo finds."""
    if name in show.pins:
        return show.pins[name]
    value = show.fields.get(name)
    return value["before"] if isinstance(value, dict) and value.keys() == {"before", "after"} else value


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("slack_manage_members", {"conversation": "#eng", "action": "invite", "users": ["@bob"]}),
        ("slack_manage_members", {"conversation": "#eng", "action": "invite", "users": ["@bob", "@alice"]}),
        ("slack_manage_members", {"conversation": "#eng", "action": "join"}),
        ("slack_manage_members", {"conversation": "#leads", "action": "leave"}),
        ("slack_pin", BOOKMARK),
    ],
)
async def test_earlier_state_survives_the_undo(world: ShownWorld, undos: list[Undo], tool: str, arguments: Any) -> None:
    if tool == "slack_pin":
        await world.act(tool, **arguments)
        undos.clear()
    await world.act(tool, **arguments)
    assert undos == []


async def test_undo_removes_only_people_invited_by_the_act(world: ShownWorld, undos: list[Undo]) -> None:
    await world.act("slack_manage_members", conversation="#eng", action="invite", users=["@bob", "@decoy"])
    assert [one.arguments["users"] for one in undos] == [["U0DECOY0000"]]


async def test_message_edited_since_differs_from_the_acts_result(world: ShownWorld, undos: list[Undo]) -> None:
    sent = await world.act("slack_send_message", conversation="#eng", body="First words")
    [undo] = undos
    await world.act("slack_update_message", conversation="#eng", ts=sent["ts"], body="Other words")
    world.shown.clear()
    await world.act(undo.tool, **undo.arguments)
    assert before_of(world.shown[0], "edited") != undo.holds["edited"] == ""


async def test_message_with_blocks_offers_no_undo_as_text(world: ShownWorld, undos: list[Undo]) -> None:
    header = {"type": "header", "text": {"type": "plain_text", "text": "Deployed"}}
    sent = await world.act("slack_send_message", conversation="#eng", blocks=[header])
    undos.clear()
    result = await world.act("slack_update_message", conversation="#eng", ts=sent["ts"], body="Other words")
    assert undos == [] and "undo" not in result
    assert world.shown[-1].fields["text"] == {"before": "Deployed", "after": "Other words"}


async def test_existing_bookmark_keeps_its_title_and_is_reported(world: ShownWorld) -> None:
    await world.act("slack_pin", **BOOKMARK)
    again = await world.act("slack_pin", **{**BOOKMARK, "title": "Other"})
    assert (again["title"], again["state"]) == ("Nightly", "was there already, and stays as it is")
