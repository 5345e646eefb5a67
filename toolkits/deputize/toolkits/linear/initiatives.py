"""Linear: initiatives, which gather projects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import ActKey, Alias, Effect, Run, Steps
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.toolkits._shared.arguments import Append, Cursor, IfText, Limit, Offset, Raw, Replaces
from deputize.toolkits._shared.long_text import Edit
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.linear import known, names, scalars
from deputize.toolkits.linear.api import (
    Asks,
    Listing,
    by_id,
    change,
    entity,
    get,
    gone_is_done,
    make,
    new_text,
    remember,
)
from deputize.toolkits.linear.base import LINEAR, READ, WRITE, Json, Status, Text, Title
from deputize.toolkits.linear.rows import (
    SHORT,
    initiative_row,
    lean,
    nodes,
    project_row,
    said,
    update_row,
    with_blocks,
)
from deputize.toolkits.linear.rows import name as name_of
from deputize.toolkits.linear.texts import PIECE, cut, piece

BLOCKS = {"content": False, "projects": False, "updates": False}


@LINEAR.tool(needs=[READ], aliases=["Linear.ListInitiatives"])
def list_initiatives(
    query: str | None = None,
    status: Status | None = None,
    owner: str | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Initiatives by name, status or owner."""
    narrow: list[Json] = [{"name": {"containsIgnoreCase": word}} for word in (query or "").split()[:10]]
    if status:
        narrow.append({"status": {"eq": status}})
    if owner:
        narrow.append({"owner": names.person(owner)})
    listing = Listing("linear_list_initiatives", run.account, (query, status, owner), limit, cursor, initiative_row)
    chosen: dict[str, Any] = {"filter": {"and": narrow}} if narrow else {}
    result = yield from listing.of("Initiatives", **chosen)
    return (yield from known.when_empty(result, cursor, known.person(owner, "owner")))


def _blocks(include: Sequence[str] | None, offset: int, raw: bool) -> dict[str, bool]:
    return BLOCKS | {block: True for block in include or ()} | ({"content": True} if offset or raw else {})


Block = Literal["content", "projects", "updates"]


@LINEAR.tool(needs=[READ], aliases=["Linear.GetInitiative", "Linear.GetInitiativeDescription"])
def get_initiative(
    initiative: Annotated[str, Field(description="name, URL or id")],
    include: list[Block] | None = None,
    offset: Annotated[Offset, Field(description="into content")] = 0,
    raw: Raw = False,
) -> Steps:
    """One initiative, with text, projects and updates on request."""
    found = yield from names.initiative(initiative)
    node = yield from get("Initiative", id=found["id"], **_blocks(include, offset, raw))
    outside = Outside()
    detail = initiative_row(node) | lean(
        {
            "parent": outside.line(name_of(node.get("parentInitiative")), 60),
            "created": node.get("createdAt"),
            "started": node.get("startedAt"),
            "completed": node.get("completedAt"),
            "archived": node.get("archivedAt"),
            **cut(outside, node.get("description"), SHORT, "description"),
        }
    )
    if "content" in node:
        detail["content"] = piece(outside, node.get("content"), PIECE, offset, raw=raw)
    outside.mark(detail)
    blocks = (("projects", "projects", project_row), ("updates", "initiativeUpdates", update_row))
    return with_blocks(
        detail, [(block, [row(one) for one in nodes(node[field])]) for block, field, row in blocks if field in node]
    )


@LINEAR.tool(
    needs=[READ, WRITE],
    effect=Effect.WRITES | Effect.SENDS,
    aliases=[
        "Linear.CreateInitiative",
        Alias("Linear.UpdateInitiative", {"initiative_id": "initiative"}),
        "Linear.AddProjectToInitiative",
    ],
)
def save_initiative(
    initiative: str | None = None,
    name: Title | None = None,
    description: Annotated[str | None, Field(max_length=255)] = None,
    content: Text | None = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    status: Status | None = None,
    owner: str | None = None,
    target_date: str | None = None,
    add_projects: list[str] | None = None,
    remove_projects: list[str] | None = None,
    *,
    run: Run,
) -> Steps:
    """Create an initiative, or change one; add or remove its projects."""
    wanted: dict[str, Any] = scalars.given(
        {
            "name": name,
            "description": description,
            "content": content,
            "status": status,
            "targetDate": scalars.day(target_date, "target_date"),
        }
    )
    edit = Edit(append, replaces, if_text)
    if edit != Edit() and (content is None or not initiative):
        raise InvalidInput("append, replaces, if_text: only together with initiative and content.")
    if owner:
        wanted["ownerId"] = yield from names.user_id(owner, run.account, "owner")
    added = yield from _projects(add_projects, "add_projects")
    removed = yield from _projects(remove_projects, "remove_projects")
    if initiative:
        if not wanted and not added and not removed:
            raise InvalidInput("Nothing to change: give at least one field.")
        found = yield from names.initiative(initiative)
        made = found
        if content is not None:
            old = (yield from get("Initiative", id=found["id"], **(BLOCKS | {"content": True}))).get("content")
            wanted["content"] = yield from new_text(edit, "content", old, content, PIECE, run.noted)
        if wanted:
            made = entity((yield from change("InitiativeEdit", id=found["id"], input=wanted)))
        result = _result(made)
    else:
        if not name or removed:
            raise InvalidInput("A new initiative needs a name.", hint="To change one, give initiative.")
        yield from remember(run.noted, run.key.uuid)
        made, existed = yield from make(
            "InitiativeCreate", {"id": run.key.uuid, **wanted}, by_id("Initiative", **BLOCKS)
        )
        undo = {"tool": "linear_archive", "args": {"kind": "initiative", "id": made["id"], "action": "archive"}}
        result = _result(made) | lean({"created": True, "existed": existed, "undo": undo})
    warnings: list[str] = []
    joined = yield from _join(made["id"], added, run.key, warnings)
    parted = yield from _part(made["id"], removed, warnings)
    return result | lean({"projects_added": joined, "projects_removed": parted, "warnings": warnings})


def _projects(wanted: list[str] | None, field: str) -> Asks[list[Json]]:
    found = []
    for one in wanted or ():
        found.append((yield from names.project(one, field)))
    return found


def _join(id: str, projects: Sequence[Json], key: ActKey, warnings: list[str]) -> Asks[list[str]]:
    """Put projects into the initiative; whose names. What is refused is a warning: the rest is done already."""
    joined = []
    for number, project in enumerate(projects, 1):
        wanted = {"id": key.nth(number).uuid, "initiativeId": id, "projectId": project["id"]}
        look = partial(_linked, id, project)
        try:
            if (yield from _link(id, project)) is None:
                yield from make("InitiativeLinkProject", wanted, look)
                joined.append(said(project["name"]))
        except DeputizeError as refused:
            warnings.append(f"{said(project['name'])} was not added: {refused}")
    return joined


def _part(id: str, projects: Sequence[Json], warnings: list[str]) -> Asks[list[str]]:
    """Take projects out of the initiative; whose names."""
    parted = []
    for project in projects:
        try:
            link = yield from _link(id, project)
            if link:
                yield from gone_is_done(change("InitiativeUnlinkProject", id=link["id"]))
                parted.append(said(project["name"]))
        except DeputizeError as refused:
            warnings.append(f"{said(project['name'])} was not removed: {refused}")
    return parted


def _linked(initiative: str, project: Json, _id: str) -> Asks[Json | None]:
    return (yield from _link(initiative, project))


def _link(id: str, project: Json) -> Asks[Json | None]:
    """The link between a project and the initiative, whoever made it."""
    node = yield from get("InitiativeLinks", id=project["id"], first=50)
    links = [one for one in nodes(node.get("initiativeToProjects")) if (one.get("initiative") or {}).get("id") == id]
    return links[0] if links else None


def _result(made: Json) -> Json:
    name = said(made.get("name"))
    return lean({"id": made["id"], "name": name, "url": made.get("url"), "status": made.get("status")})
