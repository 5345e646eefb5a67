"""Linear: projects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Continuation, Run, Steps
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset, Raw
from deputize.toolkits._shared.text import Outside
from deputize.toolkits._shared.zone import in_zone
from deputize.toolkits.linear import filter_checks as known
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear import scalars
from deputize.toolkits.linear.api import Listing, get
from deputize.toolkits.linear.base import LINEAR, READ, Json
from deputize.toolkits.linear.blocks import Blocks, is_cut, text_room, with_blocks
from deputize.toolkits.linear.rows import (
    LINE,
    SHORT,
    issue_ref,
    lean,
    milestone_row,
    name,
    project_row,
    second,
    update_row,
)
from deputize.toolkits.linear.rows import nodes as inner
from deputize.toolkits.linear.texts import PIECE, cut, piece, read_alone

BLOCKS = {"content": False, "milestones": False, "updates": False, "issues": False}


@LINEAR.tool(needs=[READ])
def list_projects(
    query: Annotated[str | None, Field(description="words in the name")] = None,
    team: str | None = None,
    status: Annotated[str | None, Field(description="name or type")] = None,
    lead: Annotated[str | None, Field(description="name, email or me")] = None,
    created_after: Annotated[str | None, Field(description="date, time or -7d")] = None,
    include_archived: bool = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Projects by name, status, team, lead or date."""
    narrow: list[Json] = [{"name": {"containsIgnoreCase": word}} for word in (query or "").split()[:10]]
    if team:
        narrow.append({"accessibleTeams": {"some": {"id": {"eq": (yield from names.team(team))["id"]}}}})
    if status:
        said = status.strip()
        narrow.append({"status": {"or": [{"name": {"eqIgnoreCase": said}}, {"type": {"eq": said.lower()}}]}})
    if lead:
        narrow.append({"lead": names.person_filter(lead)})
    if created_after:
        run = yield from in_zone(run, scalars.ask_zone, created_after=created_after)
        narrow.append({"createdAt": {"gte": scalars.time_filter(created_after, run, "created_after")}})
    filters = (query, team, status, lead, created_after, include_archived)
    listing = Listing("linear_list_projects", run.account, filters, limit, cursor, project_row)
    chosen: dict[str, Any] = {"filter": {"and": narrow}} if narrow else {}
    result = yield from listing.of("Projects", includeArchived=include_archived or None, **chosen)
    return (yield from known.when_empty(result, cursor, known.status(status), known.person(lead, "lead")))


def _blocks(include: Sequence[str] | None, offset: int, raw: bool) -> dict[str, bool]:
    return BLOCKS | {block: True for block in include or ()} | ({"content": True} if offset or raw else {})


Block = Literal["content", "milestones", "updates", "issues"]


@LINEAR.tool(
    needs=[READ],
)
def get_project(
    project: Annotated[str, Field(description="name, URL or id")],
    include: list[Block] | None = None,
    milestone: Annotated[str | None, Field(description="this one alone")] = None,
    offset: Annotated[Offset, Field(description="into content")] = 0,
    raw: Raw = False,
) -> Steps:
    """One project, with milestones, updates, full text and issues on request."""
    found = yield from names.project(project)
    if milestone:
        one = yield from names.milestone(found["id"], milestone)
        more = Continuation("linear_get_project", project=str(found["id"]), milestone=str(one["id"]))
        body = read_alone(one.get("description"), offset, raw=raw, name="description", more=more)
        row = milestone_row(one, found["id"])
        return {name: value for name, value in row.items() if name not in ("cut", "more")} | body
    node = yield from get("Project", id=found["id"], **_blocks(include, offset, raw))
    outside = Outside()
    detail = project_row(node) | lean(
        {
            "name": outside.line(name(node), LINE),
            "teams": [one.get("key") for one in inner(node.get("teams"))],
            "members": [outside.line(name(one), 40) for one in inner(node.get("members"))],
            "labels": [outside.line(name(one), 40) for one in inner(node.get("labels"))],
            "initiatives": [outside.line(name(one), 60) for one in inner(node.get("initiatives"))],
            "priority": node.get("priorityLabel"),
            "start": node.get("startDate"),
            "created": second(node.get("createdAt")),
            "completed": second(node.get("completedAt")),
            "canceled": second(node.get("canceledAt")),
            "archived": second(node.get("archivedAt")),
            **cut(outside, node.get("description"), SHORT, "description"),
        }
    )
    if "content" in node:
        more = Continuation("linear_get_project", project=str(node["id"]))
        budget = PIECE if set(include or ()) - {"content"} else text_room(detail)
        detail["content"] = piece(outside, node.get("content"), budget, offset, raw=raw, more=more)
    outside.mark(detail)
    blocks = (
        ("milestones", "projectMilestones", lambda one: milestone_row(one, node["id"])),
        ("updates", "projectUpdates", update_row),
        ("issues", "issues", issue_ref),
    )
    shown: Blocks = [
        (block, [row(one) for one in inner(node[field])], is_cut(node[field]))
        for block, field, row in blocks
        if field in node
    ]
    lists = [(block, detail[block], True) for block in ("members", "labels", "initiatives") if is_cut(node.get(block))]
    return with_blocks(detail, [*lists, *shown])
