"""Linear: labels and project statuses."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Effect, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.toolkits.linear import matching, names, scalars
from deputize.toolkits.linear.api import Asks, by_filter, change, entity, make, nodes, remember
from deputize.toolkits.linear.base import ADMIN, LINEAR, READ, WRITE, Json
from deputize.toolkits.linear.rows import lean, said

Colour = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$", description="#rrggbb")]
LabelName = Annotated[str, Field(min_length=1, max_length=80)]
StatusType = Literal["backlog", "planned", "started", "paused", "completed", "canceled"]
_OPERATIONS: Final = {
    "issue": ("LookupIssueLabels", "IssueLabelCreate", "IssueLabelUpdate"),
    "project": ("LookupProjectLabels", "ProjectLabelCreate", "ProjectLabelUpdate"),
}
_COLOURS: Final = {
    "backlog": "#bec2c8",
    "planned": "#e2e2e2",
    "started": "#f2c94c",
    "paused": "#f2994a",
    "completed": "#5e6ad2",
    "canceled": "#95a2b3",
}


@LINEAR.tool(needs=[READ, WRITE], effect=Effect.WRITES | Effect.SENDS, toolset="admin")
def save_label(
    kind: Literal["issue", "project"] = "issue",
    label: Annotated[str | None, Field(description="existing")] = None,
    name: LabelName | None = None,
    color: Colour | None = None,
    description: Annotated[str | None, Field(max_length=255)] = None,
    team: Annotated[str | None, Field(description="none = workspace")] = None,
    group: Annotated[str | None, Field(description="parent label")] = None,
    retired: bool | None = None,
    *,
    run: Run,
) -> Steps:
    """Create, rename, recolour or retire an issue or project label."""
    listed, creates, updates = _OPERATIONS[kind]
    wanted: dict[str, Any] = scalars.given({"name": name, "color": color, "description": description})
    key_of_team, more = yield from _team(team, kind)
    if group:
        groups = yield from matching.named(listed, group)
        wanted["parentId"] = matching.chosen([row for row in groups if row.get("isGroup")], group, "group")["id"]
    if label:
        found = yield from _existing(listed, label, key_of_team if team else None)
        if retired is not None:
            wanted["retiredAt"] = scalars.since("now", run.now, "retired") if retired else None
        if not wanted:
            raise InvalidInput("Nothing to change: give at least one field.")
        return _result(entity((yield from change(updates, id=found["id"], input=wanted))))
    if not name or retired:
        raise InvalidInput("A new label needs a name.", hint="To change one, give label.")
    rows = yield from matching.named(listed, name)
    if (there := _same(rows, name, key_of_team)) and not run.noted:
        return _result(there) | {"existed": True}
    yield from remember(run.noted, run.key.uuid)
    made, existed = yield from make(creates, {"id": run.key.uuid, **wanted, **more}, by_filter(listed))
    undo = {"kind": "label" if kind == "issue" else "project_label", "id": made["id"], "action": "delete"}
    shown = {"created": True, "existed": existed, "undo": {"tool": "linear_archive", "args": undo}}
    return _result(made) | lean(shown)


def _existing(listed: str, label: str, team: str | None) -> Asks[Json]:
    """The label that is called so; of several, the one of the team that was named ("": the workspace)."""
    rows = yield from matching.named(listed, label)
    if team is not None:
        rows = [row for row in rows if ((row.get("team") or {}).get("key") or "") == team]
    if not rows:
        raise matching.missing((yield from nodes(listed, first=100)), label, "label")
    return matching.chosen([row for row in rows if not row.get("retiredAt")] or rows, label, "label")


def _team(team: str | None, kind: str) -> Asks[tuple[str, dict[str, Any]]]:
    if team is None or team.strip().lower() == "none":
        return "", {}
    if kind == "project":
        raise InvalidInput("team: cannot be used for project labels, which belong to the workspace.")
    found = yield from names.team(team)
    return str(found["key"]), {"teamId": found["id"]}


def _same(rows: list[Json], name: str, team: str) -> Json | None:
    """The label of this name in the same team, or in the workspace."""
    same = [
        row
        for row in rows
        if str(row.get("name")).casefold() == name.strip().casefold()
        and ((row.get("team") or {}).get("key") or "") == team
        and not row.get("retiredAt")
    ]
    return same[0] if same else None


def _result(made: Json) -> Json:
    team = (made.get("team") or {}).get("key")
    return lean(
        {
            "label_id": made["id"],
            "name": said(made.get("name")),
            "color": made.get("color"),
            "team": team,
            "retired": bool(made.get("retiredAt")),
        }
    )


@LINEAR.tool(
    needs=[READ, ADMIN],
    effect=Effect.WRITES | Effect.SENDS,
    toolset="admin",
    aliases=["Linear.CreateProjectStatus"],
)
def create_project_status(
    name: LabelName,
    type: StatusType,
    color: Colour | None = None,
    description: str | None = None,
    *,
    run: Run,
) -> Steps:
    """Add a project status to the workspace (admins only)."""
    rows = yield from nodes("LookupProjectStatuses", first=100)
    if (there := _same(rows, name, "")) and not run.noted:
        return {"status_id": there["id"], "name": said(there["name"]), "type": there.get("type"), "existed": True}
    last = max((float(row.get("position") or 0) for row in rows), default=0.0)
    wanted = scalars.given({"name": name, "type": type, "description": description})
    wanted |= {"id": run.key.uuid, "color": color or _COLOURS[type], "position": last + 1}
    yield from remember(run.noted, run.key.uuid)

    def look(id: str) -> Asks[Json | None]:
        found = yield from nodes("LookupProjectStatuses", first=100)
        return next((row for row in found if row["id"] == id), None)

    made, existed = yield from make("ProjectStatusCreate", wanted, look)
    return lean({"status_id": made["id"], "name": said(made.get("name")), "type": made.get("type"), "existed": existed})
