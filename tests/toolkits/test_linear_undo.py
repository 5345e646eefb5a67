"""What Linear's tools did is put back through the deputy, and not where somebody has changed it since."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from tests.support.preview_coverage import ShownWorld, made, shown_world
from tests.toolkits.test_linear_shows import ROWS, SCOPES, by_row

TIMES: Final = frozenset(("updatedAt", "editedAt", "createdAt", "completedAt"))
MARKS: Final = ("readAt", "resolvedAt", "retiredAt")
"""Times of which only counts whether they are there."""


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world({"linear": SCOPES}) as world:
        yield world


def contents(world: ShownWorld) -> Any:
    """What people find in Linear. What was made and then put away is as if it had never been; so is a file that nothing
    links to."""
    kept = copy.deepcopy(world.sandbox.service("linear"))
    kept.pop("uploads")
    gone = {row["id"] for rows in kept.values() for row in rows if row.get("archivedAt")}
    there = {
        kind: [row for row in rows if not gone & {row["id"], row.get("issue"), row.get("initiative")}]
        for kind, rows in kept.items()
    }
    return {kind: sorted(map(plain, rows), key=str) for kind, rows in there.items()}


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row without times, without an order where there is none, and without what is empty."""
    kept = row | {name: bool(row.get(name)) for name in MARKS}
    kept |= {name: sorted(row[name]) for name in ("labels", "teams", "members", "subscribers") if row.get(name)}
    return {name: value for name, value in kept.items() if value and name not in TIMES and name != "id"}


async def undoable(world: ShownWorld) -> list[str]:
    return [one.id for one in await world.deputy.undoable("alice")]


async def done(world: ShownWorld, tool: str, arguments: Any) -> str:
    """Do it; the id by which it can be put back, or nothing."""
    given = await made(arguments, world)
    others = await undoable(world)
    await world.act(tool, **given)
    new = [one for one in await undoable(world) if one not in others]
    return new[0] if new else ""


WITHOUT: Final = {
    "update_issue": 4,
    "save_project": 1,
    "save_milestone": 1,
    "save_document": 1,
    "save_label": 1,
    "update_notifications": 3,
    "upload_file": 1,
    "archive": 6,
    "create_project_status": 1,
    "create_customer_need": 2,
}
"""How many rows of a tool cannot be put back: a value that was not there and that no argument clears, values of several
issues that differed, another team or kind of place, what is deleted, and what only people do."""


@by_row
async def test_what_was_done_is_put_back(world: ShownWorld, tool: str, arguments: Any) -> None:
    given = await made(arguments, world)
    before = contents(world)
    if act := await done(world, tool, given):
        assert contents(world) != before
        await world.deputy.undo("alice", act)
        assert contents(world) == before


@pytest.mark.sweep
async def test_there_is_an_undo_wherever_a_call_can_say_what_was_there() -> None:
    without: Counter[str] = Counter()
    for tool, arguments in ROWS:
        async with shown_world({"linear": SCOPES}) as world:
            if not await done(world, tool, arguments):
                without[tool.removeprefix("linear_")] += 1
    assert without == WITHOUT
