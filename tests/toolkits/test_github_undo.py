"""What GitHub's tools say would put back what they did does so, as long as nobody has changed it since."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest

from deputize.core import Show, Undo
from deputize.core.act.runner import Runner
from tests.support.shown import ShownWorld, shown_world
from tests.toolkits.github_play import ALL
from tests.toolkits.test_github_shows import IDS, ROWS

UNDONE: Final = "write_file commit_files create_branch resolve_thread save_gist update_issue write_comment".split()
"""The tools of which at least one row can be put back."""
NEVER: Final = "create_issue merge_pull review_pull".split()


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world({"github": ALL}) as world:
        yield world


@pytest.fixture
def undos(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Undo]]:
    """Every call that would put something back, as tools tell of it."""
    told: list[Undo] = []
    takes = Runner._can_be_undone

    def keep(runner: Runner, undo: Undo) -> None:
        takes(runner, undo)
        told.append(undo)

    monkeypatch.setattr(Runner, "_can_be_undone", keep)
    yield told


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
    return files, gists, issues, texts


def issue(row: dict[str, Any]) -> dict[str, Any]:
    passing = ("updated_at", "closed_at", "events", "reason")
    told = {name: value for name, value in row.items() if name not in passing}
    return told | {"labels": sorted(row["labels"]), "body": row["body"] or ""}


def before_of(show: Show, name: str) -> Any:
    """What is there as the call that puts it back finds it."""
    if name in show.pins:
        return show.pins[name]
    value = show.fields.get(name)
    return value["before"] if isinstance(value, dict) and value.keys() == {"before", "after"} else value


@pytest.mark.parametrize(("tool", "arguments"), ROWS, ids=IDS)
async def test_what_was_done_is_put_back(world: ShownWorld, undos: list[Undo], tool: str, arguments: Any) -> None:
    given = await arguments(world) if callable(arguments) else arguments
    undos.clear()
    before = contents(world)
    await world.act(f"github_{tool}", **given)
    if not undos:
        assert tool not in UNDONE
        return
    assert tool not in NEVER
    [undo] = undos
    assert contents(world) != before
    world.shown.clear()
    await world.act(undo.tool, **undo.arguments)
    assert contents(world) == before
    [show] = world.shown
    assert {name: before_of(show, name) for name in undo.holds} == dict(undo.holds)
