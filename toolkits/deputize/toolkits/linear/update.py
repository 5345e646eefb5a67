"""Linear: changes to issues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from deputize.core import Alias, Effect, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Append, IfText, Replaces
from deputize.toolkits._shared.long_text import Edit
from deputize.toolkits.linear import names, scalars
from deputize.toolkits.linear.api import Asks, change, get, new_text
from deputize.toolkits.linear.base import LINEAR, READ, WRITE, Json, Priority, Text, Title
from deputize.toolkits.linear.create import in_project
from deputize.toolkits.linear.rows import BLOCKS, BODY, name, nodes, said

_NONE = "none"


@LINEAR.tool(
    needs=[READ, WRITE],
    effect=Effect.WRITES | Effect.SENDS,
    aliases=[
        Alias("Linear.UpdateIssue", {"labels_to_add": "add_labels", "labels_to_remove": "remove_labels"}),
        "Linear.TransitionIssueState",
    ],
)
def update_issue(
    issues: Annotated[list[str], Field(min_length=1, max_length=50, description="ENG-123")],
    title: Title | None = None,
    description: Text | None = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    state: str | None = None,
    assignee: Annotated[str | None, Field(description="none clears")] = None,
    priority: Priority | None = None,
    add_labels: list[str] | None = None,
    remove_labels: list[str] | None = None,
    project: str | None = None,
    milestone: str | None = None,
    cycle: str | None = None,
    parent: str | None = None,
    estimate: Annotated[int | None, Field(ge=0, le=1000)] = None,
    due_date: Annotated[str | None, Field(description="date or none")] = None,
    team: Annotated[str | None, Field(description="move")] = None,
    *,
    run: Run,
) -> Steps:
    """Change one or up to 50 issues: state, assignee, labels, priority, project, dates, parent."""
    if len(issues) > 1 and (title is not None or description is not None):
        raise InvalidInput(
            "title, description: can only be changed for one issue at a time.", hint="Change the issues one by one."
        )
    edit = Edit(append, replaces, if_text)
    if edit != Edit() and description is None:
        raise InvalidInput("append, replaces, if_text: only together with description.")
    found = yield from names.issues(issues)
    values = {"title": title, "estimate": estimate, "priority": scalars.priority(priority)}
    wanted: dict[str, Any] = scalars.given(values)
    if due_date is not None:
        wanted["dueDate"] = None if due_date.strip().lower() == _NONE else scalars.day(due_date, "due_date")
    if assignee is not None:
        none = assignee.strip().lower() == _NONE
        wanted["assigneeId"] = None if none else (yield from names.user_id(assignee, run.account, "assignee"))
    if parent is not None:
        wanted["parentId"] = (
            None if parent.strip().lower() == _NONE else (yield from names.issue(parent, "parent"))["id"]
        )
    wanted |= yield from _project(project, milestone, found)
    wanted |= yield from _of_team(found, team, state, cycle)
    there = {(one.get("team") or {}).get("key") for one in found}
    if add_labels:
        into = {(yield from names.team(team))["key"]} if team else there
        wanted["addedLabelIds"] = yield from names.label_ids(add_labels, "add_labels", into)
    if remove_labels:
        wanted["removedLabelIds"] = yield from names.label_ids(remove_labels, "remove_labels", there)
    if description is not None:  # the last thing that is read before it is written
        blocks = {block: False for block in BLOCKS}
        old = (yield from get("Issue", id=found[0]["id"], **blocks)).get("description")
        wanted["description"] = yield from new_text(edit, "description", old, description, BODY, run.noted)
    if not wanted:
        raise InvalidInput("Nothing to change: give at least one field.")
    return (yield from _changed(found, wanted))


def _project(project: str | None, milestone: str | None, found: Sequence[Json]) -> Asks[dict[str, Any]]:
    if project is not None and project.strip().lower() == _NONE:
        return {"projectId": None}
    if milestone and not project:
        raise InvalidInput("milestone: only together with project.", hint="Give project.")
    return (yield from in_project(project, milestone))


def _of_team(found: Sequence[Json], team: str | None, state: str | None, cycle: str | None) -> Asks[dict[str, Any]]:
    """What depends on the team that the issues are in, or are moved to."""
    wanted: dict[str, Any] = {}
    ids = list(dict.fromkeys(str((one.get("team") or {}).get("id")) for one in found))
    if team:
        moved = yield from names.team(team)
        wanted["teamId"], ids = moved["id"], [str(moved["id"])]
    clears = cycle is not None and cycle.strip().lower() == _NONE
    if clears:
        wanted["cycleId"] = None
    if (state or (cycle and not clears)) and len(ids) > 1:
        raise InvalidInput(
            "issues: they belong to several teams, whose states and cycles differ.", hint="One team at a time."
        )
    if state:
        wanted["stateId"] = names.state_in(nodes((yield from get("Team", id=ids[0])).get("states")), state)
    if cycle and not clears:
        wanted["cycleId"] = (yield from names.cycle(ids[0], cycle))["id"]
    return wanted


def _changed(found: Sequence[Json], wanted: dict[str, Any]) -> Asks[Json]:
    """One issue by itself, several at once. The same change twice is the same change."""
    if len(found) == 1:
        made = (yield from change("IssueUpdate", id=found[0]["id"], input=wanted))["issue"]
        done: list[Json] = [made]
    else:
        payload = yield from change("IssueBatchUpdate", ids=[one["id"] for one in found], input=wanted)
        done = list(payload.get("issues") or ())
    known = {one.get("id") for one in done}
    return {
        "updated": [
            {"identifier": one.get("identifier"), "state": said(name(one.get("state")), 60), "url": one.get("url")}
            for one in done
        ],
        "failed": [one.get("identifier") for one in found if one["id"] not in known],
        "changed": sorted(wanted),
    }
