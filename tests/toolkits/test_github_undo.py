"""What GitHub's tools did is put back through the deputy, for every row of theirs that an undo can say."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from deputize.core import Conflict
from tests.support.preview_coverage import ShownWorld, made, shown_world
from tests.toolkits.github_play import ALL, SITE
from tests.toolkits.test_github_shows import RELEASE, ROWS, every

WITHOUT: Final = {
    "control_run": 4,
    "create_issue": 2,
    "create_pull": 3,
    "create_repo": 5,
    "delete": 9,
    "merge_pull": 2,
    "review_pull": 2,
    "run_workflow": 2,
    "save_release": 2,
    "update_notifications": 3,
    "update_project_item": 3,
    "update_pull": 1,
    "write_discussion": 4,
}
"""How many rows of a tool cannot be put back: what people were told, what ran, what is gone, and what was published."""


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world({"github": ALL}) as world:
        yield world


def contents(world: ShownWorld) -> Any:
    """What GitHub keeps, but for what no call can put back: the history, and when things were changed."""
    kept = copy.deepcopy(world.sandbox.service("github"))
    files = {
        name: {branch: kept["commits"][name][sha]["tree"] for branch, sha in row["branches"].items()}
        for name, row in kept["repos"].items()
    }
    gists = {id: (row["files"], row["description"]) for id, row in kept["gists"].items()}
    issues = {name: [issue(row) for row in rows] for name, rows in kept["issues"].items()}
    texts = [kept[kind] for kind in ("comments", "review_comments", "threads", "releases", "projects")]
    texts += [
        {kind: reactions(rows[SITE]) for kind, rows in kept.items() if kind.startswith("reactions/") and rows[SITE]}
    ]
    texts += [[worded(row[kind]) for row in kept["repos"].values()] for kind in ("labels", "milestones")]
    texts += [[row["stars"] for row in kept["repos"].values()]]
    return files, gists, issues, texts


def reactions(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["user"], row["content"]) for row in rows]


def worded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of which no description is an empty one."""
    return [{**row, "description": row.get("description") or ""} for row in rows]


def issue(row: dict[str, Any]) -> dict[str, Any]:
    passing = ("updated_at", "closed_at", "events", "reason")
    told = {name: value for name, value in row.items() if name not in passing}
    return told | {"labels": sorted(row["labels"]), "body": row["body"] or ""}


async def undoable(world: ShownWorld) -> list[str]:
    return [one.id for one in await world.deputy.undoable("alice")]


async def done(world: ShownWorld, tool: str, given: Any) -> str:
    """Do it; the id by which it can be put back, or nothing."""
    others = await undoable(world)
    await world.act(f"github_{tool}", **given)
    return next((one for one in await undoable(world) if one not in others), "")


@every
async def test_what_was_done_is_put_back(world: ShownWorld, tool: str, arguments: Any) -> None:
    given = await made(arguments, world)
    before = contents(world)
    if act := await done(world, tool, given):
        assert contents(world) != before
        await world.deputy.undo("alice", act)
        assert contents(world) == before


@pytest.mark.processes
async def test_there_is_an_undo_wherever_a_call_can_say_what_was_there() -> None:
    without: Counter[str] = Counter()
    for tool, arguments in ROWS:
        async with shown_world({"github": ALL}) as world:
            given = await made(arguments, world)
            without[tool] += not await done(world, tool, given)
    assert {tool: count for tool, count in without.items() if count} == WITHOUT


@pytest.mark.parametrize("theirs", [{"assets": [{"id": 1, "name": "app.zip", "size": 9}]}, {"name": "Ours now"}])
async def test_a_draft_of_a_release_that_others_have_worked_on_is_left(world: ShownWorld, theirs: Any) -> None:
    act = await done(world, "save_release", RELEASE | {"draft": True})
    row = next(one for one in world.sandbox._world.services["github"]["releases"][SITE] if one["tag"] == RELEASE["tag"])
    row.update(theirs)
    before = contents(world)
    with pytest.raises(Conflict, match="changed since"):
        await world.deputy.undo("alice", act)
    assert contents(world) == before
