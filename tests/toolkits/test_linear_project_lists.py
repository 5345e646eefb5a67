"""Teams, members and labels of a project are added and removed one by one; those not named stay."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import ApprovalRequired, Deputy, InvalidInput, ask_before_sending
from deputize.sandbox import Sandbox
from deputize.sandbox.linear.seed import stable_id

PROJECT = "Import rewrite"
QUARTER, YEAR = stable_id("project label", "quarter"), stable_id("project label", "year")


@pytest.fixture
def project(sandbox: Sandbox) -> dict[str, Any]:
    """Return a project with a member and a label, beside which others are put."""
    store = sandbox._world.services["linear"]
    store["project_labels"].append({"id": YEAR, "name": "This year", "color": "#000000"})
    found: dict[str, Any] = store["projects"][0]
    found |= {"members": ["bob@example.test"], "labels": [QUARTER]}
    return found


async def save(deputy: Deputy, **arguments: Any) -> Any:
    return await deputy.act("linear_save_project", {"project": PROJECT, **arguments}, user="alice")


async def test_unnamed_members_labels_and_teams_stay(alice: Deputy, project: dict[str, Any]) -> None:
    done = await save(alice, add_members=["me"], add_labels=["This year"], add_teams=["OPS"])
    assert done["changed"] == ["labels", "members", "teams"]
    assert project["members"] == ["bob@example.test", "alice@example.test"]
    assert project["labels"] == [QUARTER, YEAR] and len(project["teams"]) == 2
    await save(alice, remove_members=["bob"], remove_labels=["This quarter"], remove_teams=["ENG"])
    assert project["members"] == ["alice@example.test"] and project["labels"] == [YEAR] and len(project["teams"]) == 1


async def test_unchanged_project_is_not_written(alice: Deputy, project: dict[str, Any]) -> None:
    before = dict(project)
    done = await save(alice, add_members=["bob"], remove_labels=["This year"], add_teams=["ENG"])
    assert done["changed"] == [] and project == before and await alice.undoable("alice") == []


async def test_project_list_cannot_be_replaced(alice: Deputy, project: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="teams: only for a new project") as refused:
        await save(alice, teams=["OPS"])
    assert "add_teams" in refused.value.hint
    for gone in ("members", "labels"):
        with pytest.raises(InvalidInput, match=f"no such argument.*add_{gone}"):
            await save(alice, **{gone: ["bob"]})
    with pytest.raises(InvalidInput, match=r"both name bob"):
        await save(alice, add_members=["bob"], remove_members=["bob@example.test"])
    with pytest.raises(InvalidInput, match="add_labels: nothing has the name"):
        await save(alice, add_labels=["This month"])
    with pytest.raises(InvalidInput, match="at least one team"):
        await save(alice, remove_teams=["ENG"])
    assert project["members"] == ["bob@example.test"] and project["labels"] == [QUARTER]


async def test_project_list_that_is_not_fully_readable_is_not_written(
    alice: Deputy, project: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deputize.toolkits.linear import project_lists

    monkeypatch.setitem(project_lists._MAX_ROWS, "members", 1)
    with pytest.raises(InvalidInput, match="more than can be read"):
        await save(alice, add_members=["me"])
    assert project["members"] == ["bob@example.test"]


async def test_preview_shows_members_before_and_after(alice: Deputy, project: dict[str, Any]) -> None:
    alice.policy = ask_before_sending
    with pytest.raises(ApprovalRequired) as asked:
        await save(alice, add_members=["me"], remove_labels=["This quarter"])
    shown = str(asked.value.approval.preview)
    assert "bob" in shown and "you (Alice Adams in acme)" in shown and "This quarter" in shown


async def test_undo_keeps_members_added_meanwhile(alice: Deputy, project: dict[str, Any]) -> None:
    await save(alice, add_members=["me"], remove_labels=["This quarter"])
    [act] = await alice.undoable("alice")
    await alice.undo("alice", act.id)
    assert project["members"] == ["bob@example.test"] and project["labels"] == [QUARTER]
