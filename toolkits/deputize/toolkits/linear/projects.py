"""Linear: projects and their milestones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Account, Alias, Effect, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Append, Cursor, IfText, Limit, Offset, Raw, Replaces
from deputize.toolkits._shared.long_text import Edit
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.linear import known, matching, names, scalars
from deputize.toolkits.linear.api import (
    Asks,
    Listing,
    by_filter,
    by_id,
    change,
    entity,
    get,
    make,
    new_text,
    nodes,
    remember,
)
from deputize.toolkits.linear.base import LINEAR, READ, WRITE, Json, Noted, Priority, Text, Title
from deputize.toolkits.linear.rows import (
    MILESTONE,
    SHORT,
    issue_ref,
    lean,
    milestone_row,
    name,
    project_row,
    said,
    update_row,
    with_blocks,
)
from deputize.toolkits.linear.rows import nodes as inner
from deputize.toolkits.linear.texts import PIECE, alone, cut, piece

BLOCKS = {"content": False, "milestones": False, "updates": False, "issues": False}


@LINEAR.tool(needs=[READ], aliases=["Linear.ListProjects"])
def list_projects(
    query: str | None = None,
    team: str | None = None,
    status: Annotated[str | None, Field(description="name or type")] = None,
    lead: str | None = None,
    created_after: str | None = None,
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
        narrow.append({"lead": names.person(lead)})
    if created_after:
        narrow.append({"createdAt": {"gte": scalars.since(created_after, run.now, "created_after")}})
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
    aliases=["Linear.GetProject", "Linear.GetProjectDescription", "Linear.GetMilestone", "Linear.ListMilestones"],
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
        body = alone(one.get("description"), offset, raw=raw, name="description")
        return {name: value for name, value in milestone_row(one).items() if name != "cut"} | body
    node = yield from get("Project", id=found["id"], **_blocks(include, offset, raw))
    outside = Outside()
    detail = project_row(node) | lean(
        {
            "teams": [one.get("key") for one in inner(node.get("teams"))],
            "members": [outside.line(name(one), 40) for one in inner(node.get("members"))],
            "labels": [outside.line(name(one), 40) for one in inner(node.get("labels"))],
            "initiatives": [outside.line(name(one), 60) for one in inner(node.get("initiatives"))],
            "priority": node.get("priorityLabel"),
            "start": node.get("startDate"),
            "created": node.get("createdAt"),
            "completed": node.get("completedAt"),
            "canceled": node.get("canceledAt"),
            "archived": node.get("archivedAt"),
            **cut(outside, node.get("description"), SHORT, "description"),
        }
    )
    if "content" in node:
        detail["content"] = piece(outside, node.get("content"), PIECE, offset, raw=raw)
    outside.mark(detail)
    blocks = (
        ("milestones", "projectMilestones", milestone_row),
        ("updates", "projectUpdates", update_row),
        ("issues", "issues", issue_ref),
    )
    return with_blocks(
        detail, [(block, [row(one) for one in inner(node[field])]) for block, field, row in blocks if field in node]
    )


@LINEAR.tool(
    needs=[READ, WRITE],
    effect=Effect.WRITES | Effect.SENDS,
    aliases=["Linear.CreateProject", Alias("Linear.UpdateProject", {"project_id": "project"})],
)
def save_project(
    project: str | None = None,
    name: Title | None = None,
    teams: Annotated[list[str] | None, Field(description="keys or names")] = None,
    description: Annotated[str | None, Field(max_length=255, description="short")] = None,
    content: Annotated[Text | None, Field(description="Markdown body")] = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    status: str | None = None,
    lead: str | None = None,
    members: list[str] | None = None,
    priority: Priority | None = None,
    start_date: str | None = None,
    target_date: str | None = None,
    add_teams: list[str] | None = None,
    remove_teams: list[str] | None = None,
    *,
    run: Run,
) -> Steps:
    """Create a project, or change one when project is given."""
    wanted: dict[str, Any] = scalars.given(
        {
            "name": name,
            "description": description,
            "content": content,
            "priority": scalars.priority(priority),
            "startDate": scalars.day(start_date, "start_date"),
            "targetDate": scalars.day(target_date, "target_date"),
        }
    )
    if status:
        statuses = yield from nodes("LookupProjectStatuses", first=50)
        wanted["statusId"] = matching.chosen(statuses, status, "status")["id"]
    if lead:
        wanted["leadId"] = yield from names.user_id(lead, run.account, "lead")
    if members:
        wanted["memberIds"] = yield from _people(members, run.account)
    edit = Edit(append, replaces, if_text)
    if edit != Edit() and (content is None or not project):
        raise InvalidInput("append, replaces, if_text: only together with project and content.")
    if project:
        wanted |= yield from _teams_of(project, teams, add_teams, remove_teams)
        return (yield from _changed(project, wanted, edit, run.noted))
    if not name or not teams or add_teams or remove_teams:
        raise InvalidInput("A new project needs name and teams.", hint="To change one, give project.")
    wanted["teamIds"] = yield from names.team_ids(teams, "teams")
    yield from remember(run.noted, run.key.uuid)
    made, existed = yield from make("ProjectCreate", {"id": run.key.uuid, **wanted}, by_id("Project", **BLOCKS))
    undo = {"tool": "linear_archive", "args": {"kind": "project", "id": made["id"], "action": "archive"}}
    return _result(made) | lean({"created": True, "existed": existed, "undo": undo})


def _people(wanted: list[str], account: Account) -> Asks[list[str]]:
    ids = []
    for one in wanted:
        ids.append((yield from names.user_id(one, account, "members")))
    return ids


def _teams_of(
    project: str, teams: list[str] | None, add: list[str] | None, remove: list[str] | None
) -> Asks[dict[str, Any]]:
    """The whole list of a project's teams, since Linear takes nothing less."""
    if teams and (add or remove):
        raise InvalidInput(
            "teams: cannot be combined with add_teams or remove_teams; it replaces all teams.",
            hint="Give one or the other.",
        )
    if teams:
        return {"teamIds": (yield from names.team_ids(teams, "teams"))}
    if not add and not remove:
        return {}
    found = yield from names.project(project)
    node = yield from get("Project", id=found["id"], **BLOCKS)
    now = [str(one["id"]) for one in inner(node.get("teams"))]
    gone = set((yield from names.team_ids(remove or (), "remove_teams")))
    more = yield from names.team_ids(add or (), "add_teams")
    left = list(dict.fromkeys([*(one for one in now if one not in gone), *more]))
    if not left:
        raise InvalidInput("remove_teams: a project must keep at least one team.")
    return {"teamIds": left}


def _changed(project: str, wanted: dict[str, Any], edit: Edit, noted: Noted) -> Asks[Json]:
    if not wanted:
        raise InvalidInput("Nothing to change: give at least one field.")
    found = yield from names.project(project)
    if "content" in wanted:
        old = (yield from get("Project", id=found["id"], **(BLOCKS | {"content": True}))).get("content")
        wanted["content"] = yield from new_text(edit, "content", old, wanted["content"], PIECE, noted)
    return _result(entity((yield from change("ProjectUpdate", id=found["id"], input=wanted)))) | {
        "changed": sorted(wanted)
    }


def _result(made: Json) -> Json:
    status = said(name(made.get("status")), 60)
    return lean({"id": made["id"], "name": said(made.get("name")), "url": made.get("url"), "status": status})


@LINEAR.tool(needs=[READ, WRITE], effect=Effect.WRITES | Effect.SENDS, aliases=["Linear.UpsertMilestone"])
def save_milestone(
    project: str,
    milestone: Annotated[str | None, Field(description="id or name")] = None,
    name: Title | None = None,
    description: Text | None = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    target_date: str | None = None,
    *,
    run: Run,
) -> Steps:
    """Create or change a project milestone (matched by id, else by name)."""
    found = yield from names.project(project)
    values = {"name": name, "description": description, "targetDate": scalars.day(target_date, "target_date")}
    wanted: dict[str, Any] = scalars.given(values)
    there = yield from _milestone(found["id"], milestone or name)
    edit = Edit(append, replaces, if_text)
    if edit != Edit() and (description is None or there is None):
        raise InvalidInput("append, replaces, if_text: only together with description, for a milestone that exists.")
    if there is None and milestone and matching.is_id(milestone):
        raise InvalidInput("milestone: the project has no milestone of this id.")
    if there is not None and (run.noted or {}).get("id") != there["id"]:
        if not wanted:
            raise InvalidInput("Nothing to change: give at least one field.")
        if description is not None:
            old = there.get("description")
            wanted["description"] = yield from new_text(edit, "description", old, description, MILESTONE, run.noted)
        made = entity((yield from change("ProjectMilestoneUpdate", id=there["id"], input=wanted)))
        return lean({"milestone_id": made["id"], "name": said(made.get("name")), "target": made.get("targetDate")})
    wanted["name"] = name or milestone
    if not wanted["name"]:
        raise InvalidInput("name: needed for a new milestone.")
    yield from remember(run.noted, run.key.uuid)
    given = {"id": run.key.uuid, "projectId": found["id"], **wanted}
    made, existed = yield from make("ProjectMilestoneCreate", given, by_filter("ProjectMilestones"))
    return lean(
        {
            "milestone_id": made["id"],
            "name": said(made.get("name")),
            "target": made.get("targetDate"),
            "created": True,
            "existed": existed,
        }
    )


def _milestone(project_id: str, wanted: str | None) -> Asks[Json | None]:
    """The milestone that is called so, or None. Raises `InvalidInput` where several are."""
    rows = yield from nodes("ProjectMilestones", first=250, filter={"project": {"id": {"eq": project_id}}})
    word = (wanted or "").strip().casefold()
    same = [row for row in rows if word and word in (str(row["id"]).casefold(), str(row.get("name") or "").casefold())]
    return matching.chosen(same, str(wanted), "milestone") if same else None
