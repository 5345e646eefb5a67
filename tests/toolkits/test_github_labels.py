"""Labels, milestones, types, sub-issues and reactions: created, changed, found again, refused."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import Conflict, InvalidInput
from tests.toolkits.github_play import SITE, Play


def labels(play: Play) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in play.store["repos"][SITE]["labels"]}


def milestones(play: Play) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = play.store["repos"][SITE]["milestones"]
    return rows


# ----------------------------------------------------------------- labels


async def test_label_is_created_and_then_changed_by_its_name_in_any_case(play: Play) -> None:
    await play.act("save_label", repo=SITE, name="Triage", color="#D73A4A")
    told = await play.act("save_label", repo=SITE, name="triage", description="To be looked at")
    assert told["name"] == "Triage" and labels(play)["Triage"]["description"] == "To be looked at"
    assert labels(play)["Triage"]["color"] == "d73a4a"


async def test_label_with_a_slash_is_renamed_on_every_issue(play: Play) -> None:
    play.store["issues"][SITE][0]["labels"] = ["area/ui", "bug"]
    await play.act("save_label", repo=SITE, name="area/ui", new_name="area/web")
    assert play.store["issues"][SITE][0]["labels"] == ["area/web", "bug"]


async def test_duplicate_or_misspelt_label_is_refused(play: Play) -> None:
    with pytest.raises(Conflict, match="exists"):
        await play.act("save_label", repo=SITE, name="bug", new_name="Help Wanted")
    with pytest.raises(InvalidInput, match="name: nothing has the name") as refused:
        await play.act("save_label", repo=SITE, name="bugs", new_name="defect")
    assert refused.value.hint == "Did you mean bug?"
    for color in ("red", "#12345", "12345g"):
        with pytest.raises(InvalidInput, match="six hexadecimal digits"):
            await play.act("save_label", repo=SITE, name="new", color=color)
    assert play.writes() == []


@pytest.mark.parametrize(
    ("tool", "given", "path"),
    [
        ("save_label", {"name": "triage", "color": "d73a4a"}, "labels"),
        ("save_milestone", {"title": "Autumn", "due_on": "2026-12-01"}, "milestones"),
    ],
)
async def test_label_with_a_lost_answer_is_found(play: Play, tool: str, given: dict[str, Any], path: str) -> None:
    before = len(play.store["repos"][SITE][path])
    play.sandbox.switches.drop_after_commit.append(f"/repos/{SITE}/{path}")
    told = await play.act(tool, repo=SITE, **given)
    assert told["existed"] and len(play.store["repos"][SITE][path]) == before + 1


async def test_label_created_by_others_meanwhile_is_not_taken_for_ours(play: Play) -> None:
    theirs = {"id": 9, "name": "triage", "color": "ffffff", "description": ""}
    play.store["repos"][SITE]["labels"].append(theirs)
    play.sandbox.switches.faults["GET", f"/repos/{SITE}/labels"] = [(200, {}, [])]  # it was not there yet
    with pytest.raises(Conflict, match="meanwhile"):
        await play.act("save_label", repo=SITE, name="triage", color="d73a4a")
    assert labels(play)["triage"] == theirs


# ----------------------------------------------------------------- milestones


async def test_milestone_description_is_read_whole_and_not_replaced_unread(play: Play) -> None:
    [row] = milestones(play)
    row["description"] = long = "\n".join(f"- [ ] step {n} of the plan" for n in range(400)) + "\n<!-- plan -->"
    [listed] = (await play.act("list_labels", repo=SITE, kind="milestones"))["items"]
    assert listed["cut"] and listed["body"].startswith("- [ ] step 0 of the plan\n- [ ] step 1")
    with pytest.raises(InvalidInput) as refused:
        await play.act("save_milestone", repo=SITE, milestone="Spring", body="Short")
    assert refused.value.reason == "unread" and row["description"] == long
    found = await play.act("list_labels", repo=SITE, milestone="Spring", raw=True)
    text = found["body"]
    while "next_offset" in found:
        found = await play.act("list_labels", repo=SITE, milestone="1", raw=True, offset=found["next_offset"])
        text += found["body"]
    assert text == long
    await play.act("save_milestone", repo=SITE, milestone="Spring", body="Short", if_text=found["text_digest"])
    await play.act("save_milestone", repo=SITE, milestone="Spring", body="And more.", append=True)
    assert row["description"].startswith("Short\n\nAnd more.")


async def test_milestone_with_an_existing_title_is_not_created_again(play: Play) -> None:
    with pytest.raises(Conflict) as there:
        await play.act("save_milestone", repo=SITE, title="Spring")
    assert there.value.hint == "milestone=1 changes it." and play.writes() == []


async def test_due_date_is_a_day_or_a_relative_day(play: Play) -> None:
    await play.act("save_milestone", repo=SITE, milestone="Spring", due_on="2027-02-03", state="closed")
    assert milestones(play)[0]["due_on"].startswith("2027-02-03T12") and milestones(play)[0]["state"] == "closed"
    with pytest.raises(InvalidInput, match="due_on"):
        await play.act("save_milestone", repo=SITE, milestone="Spring", due_on="soon")


# ----------------------------------------------------------------- types, and what stands below what


async def test_issue_gets_a_type_and_is_moved_between_parents(play: Play) -> None:
    first = play.store["issues"][SITE][0]
    told = await play.act("update_issue", repo=SITE, number=1, type="feature", parent=2)
    assert (first["type"], first["parent"], told["type"]) == ("Feature", 2, "Feature")
    await play.act("update_issue", repo=SITE, number=1, parent=3)
    assert first["parent"] == 3
    told = await play.act("update_issue", repo=SITE, number=1, type="", parent=0)
    assert (first["type"], first["parent"]) == (None, None) and told["changed"] == ["type", "parent"]
    with pytest.raises(InvalidInput, match="type") as refused:
        await play.act("update_issue", repo=SITE, number=1, type="Epic")
    assert refused.value.hint == "There are: Bug, Feature, Task."
    with pytest.raises(InvalidInput, match="type"):
        await play.act("create_issue", repo=SITE, title="T", type="Epic")


async def test_unchanged_value_is_not_written_again(play: Play) -> None:
    await play.act("update_issue", repo=SITE, number=1, type="Bug", parent=2)
    await play.act("react", repo=SITE, number=1, reaction="heart")
    await play.act("save_label", repo=SITE, name="bug", color="d73a4a")
    before = play.writes()
    await play.act("update_issue", repo=SITE, number=1, type="bug", parent=2)
    await play.act("react", repo=SITE, number=1, reaction="heart")
    await play.act("react", repo=SITE, number=1, reaction="eyes", remove=True)
    await play.act("save_label", repo=SITE, name="bug", color="d73a4a")
    assert play.writes() == before


# ----------------------------------------------------------------- reactions


async def test_only_own_reaction_is_removed_and_others_are_counted(play: Play) -> None:
    await play.act("react", by="bob", repo=SITE, comment_id=6001, reaction="+1")
    await play.act("react", repo=SITE, comment_id=6001, reaction="+1")
    [row, _] = (await play.act("list_comments", repo=SITE, number=1))["items"]
    assert row["reactions"] == {"+1": 2}
    await play.act("react", repo=SITE, comment_id=6001, reaction="+1", remove=True)
    assert [one["user"] for one in play.store["reactions/comments/6001"][SITE]] == ["bob"]
    with pytest.raises(InvalidInput, match="give one of them"):
        await play.act("react", repo=SITE, reaction="+1")
