"""Linear: changing issues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from deputize.core import Effect, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Append, IfText, Replaces
from deputize.toolkits._shared.long_text import Edit
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear import scalars, values
from deputize.toolkits.linear.api import Asks, change, get, new_text
from deputize.toolkits.linear.base import LINEAR, READ, WRITE, Json, Priority, Text, Title
from deputize.toolkits.linear.create import project_and_milestone
from deputize.toolkits.linear.preview import issue_place, issue_words, person, team_words
from deputize.toolkits.linear.rows import BODY, line, name, nodes
from deputize.toolkits.linear.values import Wanted

_NONE = "none"


@LINEAR.tool(
    needs=[READ, WRITE],
    effect=Effect.WRITES | Effect.SENDS,
)
def update_issue(
    issues: Annotated[list[str], Field(min_length=1, max_length=50, description="ENG-123")],
    title: Title | None = None,
    description: Text | None = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    state: Annotated[str | None, Field(description="name or type")] = None,
    assignee: Annotated[str | None, Field(description="none clears")] = None,
    priority: Priority | None = None,
    add_labels: list[str] | None = None,
    remove_labels: list[str] | None = None,
    project: Annotated[str | None, Field(description="name; none clears")] = None,
    milestone: str | None = None,
    cycle: Annotated[str | None, Field(description="none clears")] = None,
    parent: Annotated[str | None, Field(description="none clears")] = None,
    estimate: Annotated[int | None, Field(ge=0, le=1000, description="points")] = None,
    due_date: Annotated[str | None, Field(description="date, +3d or none")] = None,
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
        raise InvalidInput(
            "append, replaces, if_text: only together with description.",
            hint="Add description, or leave out append and replaces and if_text.",
        )
    found = yield from names.issues(issues)
    wanted = Wanted()
    if title is not None:
        wanted.set("title", "title", title)
    if estimate is not None:
        wanted.set("estimate", "estimate", estimate)
    if priority is not None:
        wanted.set("priority", "priority", scalars.priority(priority), priority)
    if due_date is not None:
        none = due_date.strip().lower() == _NONE
        due = None if none else (yield from scalars.days(run, due_date=due_date))["due_date"]
        wanted.set("due_date", "dueDate", due)
    if assignee is not None:
        none = assignee.strip().lower() == _NONE
        who = None if none else (yield from names.user(assignee, run.account, "assignee"))
        wanted.set("assignee", "assigneeId", who and who["id"], who and person(who))
    if parent is not None:
        none = parent.strip().lower() == _NONE
        above = None if none else (yield from names.issue(parent, "parent"))
        wanted.set("parent", "parentId", above and above["id"], above and issue_words(above))
    yield from _project(wanted, project, milestone)
    there = {(one.get("team") or {}).get("key") for one in found}
    moved = yield from _set_team_values(wanted, found, team, state, cycle)
    if add_labels:
        added = yield from names.labels(add_labels, "add_labels", {moved["key"]} if moved else there)
        wanted.lists("add_labels", "addedLabelIds", added)
    if remove_labels:
        wanted.lists(
            "remove_labels", "removedLabelIds", (yield from names.labels(remove_labels, "remove_labels", there))
        )
    text = None
    if description is not None:
        old = found[0].get("description")
        text = new_text(edit, "description", old, description, BODY, run.noted)
        wanted.set("description", "description", text.new)
    if not wanted.given:
        raise InvalidInput(
            "Nothing to change: give at least one field.", hint="Say what changes, such as a title or text."
        )
    if text and text.done:
        return _result(found, found, wanted)  # an earlier run of this act has written it
    stands = yield from issue_place(found, moved)
    yield values.show(stands, found, wanted)
    if text:
        yield text.note()
    done = yield from _send(found, wanted.given)
    if undo := values.undo(found, done, wanted):
        yield undo
    return _result(found, done, wanted)


def _project(wanted: Wanted, project: str | None, milestone: str | None) -> Asks[None]:
    if project is not None and project.strip().lower() == _NONE:
        wanted.set("project", "projectId", None)
        return
    if milestone and not project:
        raise InvalidInput("milestone: only together with project.", hint="Give project.")
    found, part = yield from project_and_milestone(project, milestone)
    if found:
        wanted.set("project", "projectId", found["id"], name(found))
    if part:
        wanted.set("milestone", "projectMilestoneId", part["id"], name(part))


def _set_team_values(
    wanted: Wanted, found: Sequence[Json], team: str | None, state: str | None, cycle: str | None
) -> Asks[Json | None]:
    """Set the values that depend on the issues' team. Return the new team if the issues are moved, else None."""
    ids = list(dict.fromkeys(str((one.get("team") or {}).get("id")) for one in found))
    moved = None
    if team:
        moved = yield from names.team(team)
        wanted.set("team", "teamId", moved["id"], team_words(moved))
        ids = [str(moved["id"])]
    clears = cycle is not None and cycle.strip().lower() == _NONE
    if clears:
        wanted.set("cycle", "cycleId", None)
    if (state or (cycle and not clears)) and len(ids) > 1:
        raise InvalidInput(
            "issues: they belong to several teams, whose states and cycles differ.", hint="One team at a time."
        )
    if state:
        states = nodes((yield from get("Team", id=ids[0])).get("states"))
        row = names.state_in(states, state)
        wanted.set("state", "stateId", row["id"], name(row))
    if cycle and not clears:
        row = yield from names.cycle(ids[0], cycle)
        wanted.set("cycle", "cycleId", row["id"], str(row.get("number")))
    return moved


def _send(found: Sequence[Json], wanted: dict[str, Any]) -> Asks[list[Json]]:
    """Send the change of one issue, or of several at once. The request may be repeated."""
    if len(found) == 1:
        return [(yield from change("IssueUpdate", id=found[0]["id"], input=wanted))["issue"]]
    payload = yield from change("IssueBatchUpdate", ids=[one["id"] for one in found], input=wanted)
    return list(payload.get("issues") or ())


def _result(found: Sequence[Json], done: Sequence[Json], wanted: Wanted) -> Json:
    known = {one.get("id") for one in done}
    return {
        "updated": [
            {"identifier": one.get("identifier"), "state": line(name(one.get("state")), 60), "url": one.get("url")}
            for one in done
        ],
        "failed": [one.get("identifier") for one in found if one["id"] not in known],
        "changed": sorted([*wanted.words, *wanted.labels]),
    }
