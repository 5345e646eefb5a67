"""Linear: labels and project statuses."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Effect, Run, Steps, Undo
from deputize.core.errors import InvalidInput
from deputize.toolkits.linear import matching, scalars
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Asks, change, entity, look_by_filter, make, nodes
from deputize.toolkits.linear.base import ADMIN, LINEAR, READ, WRITE, Json
from deputize.toolkits.linear.load_entity import Kind
from deputize.toolkits.linear.preview import ONLY_BY_HAND, as_changes, loses, place, undo, version_of, workspace
from deputize.toolkits.linear.rows import lean, line

Colour = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$", description="#rrggbb")]
LabelName = Annotated[str, Field(min_length=1, max_length=80)]
StatusType = Literal["backlog", "planned", "started", "paused", "completed", "canceled"]
_OPERATIONS: Final = {
    "issue": ("LookupIssueLabels", "IssueLabelCreate", "IssueLabelUpdate"),
    "project": ("LookupProjectLabels", "ProjectLabelCreate", "ProjectLabelUpdate"),
}
_USE: Final = {True: "retired", False: "in use"}
_KIND: Final[dict[str, Kind]] = {"issue": "label", "project": "project_label"}
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
    wanted: dict[str, Any] = scalars.present({"name": name, "color": color, "description": description})
    of = yield from _team(team, kind)
    above: Json | None = None
    if group:
        groups = yield from matching.rows_named(listed, group)
        above = matching.choose([row for row in groups if row.get("isGroup")], group, "group")
        wanted["parentId"] = above["id"]
    if label:
        found = yield from _find_label(listed, label, str((of or {}).get("key") or "") if team else None)
        if retired is not None:
            wanted["retiredAt"] = scalars.time_filter("now", run, "retired") if retired else None
        if not wanted:
            raise InvalidInput(
                "Nothing to change: give at least one field.", hint="Say what changes, such as a title or text."
            )
        return (yield from _change_label(kind, updates, found, wanted, above))
    if not name or retired:
        raise InvalidInput("A new label needs a name.", hint="To change one, give label.")
    rows = yield from matching.rows_named(listed, name)
    if (there := _find_same(rows, name, str((of or {}).get("key") or ""))) and not run.noted:
        return _result(there) | {"existed": True}
    stands = (yield from place([of])) if of else workspace()
    pins = {"teamId": of["id"]} if of else {}
    fields: Json = {"name": name, "color": color, "description": description or None}
    fields["group"] = above and above["name"]
    pins |= scalars.present({"parentId": above and above["id"]})
    shows = stands.show(f"Create this label for {kind}s", pins=pins, **fields)
    made, existed = yield from make(
        creates, {"id": run.key.uuid, **wanted, **pins}, look_by_filter(listed), shows, run.noted
    )
    args = {"kind": _KIND[kind], "id": made["id"], "action": "delete"}
    back = {"tool": "linear_archive", "args": args}
    yield undo(back, **{_KIND[kind]: made.get("name")}, version=version_of(made.get("description")))
    return _result(made) | lean({"created": True, "existed": existed, "undo": back})


def _change_label(kind: str, operation: str, found: Json, wanted: Json, above: Json | None) -> Asks[Json]:
    """Change a label. A new name applies to everything that has the label."""
    after = {field: value for field, value in wanted.items() if field in ("name", "color", "description")}
    after |= {"group": above["name"]} if above else {}
    after |= {"use": _USE[bool(wanted["retiredAt"])]} if "retiredAt" in wanted else {}
    fields = as_changes(_current(found), after)
    stands = (yield from place([found["team"]])) if found.get("team") else workspace()
    pins = {"label_id": found["id"], "parentId": above and above["id"], "retiredAt": wanted.get("retiredAt")}
    called = {"label": found["name"]} if "name" not in after else {}
    yield stands.show(
        f"Change this label for {kind}s", destroys=loses(fields, "description"), pins=pins, **called, **fields
    )
    made = entity((yield from change(operation, id=found["id"], input=wanted)))
    now, before = _current(made), _current(found)
    args = {field: before[field] for field in after if field != "use"}
    args |= {"retired": bool(found.get("retiredAt"))} if "use" in after else {}
    args |= {"group": (found.get("parent") or {}).get("id")} if above else {}
    if None not in args.values():
        holds = {field: now[field] for field in after if now[field] != before[field]}
        yield Undo("linear_save_label", {"kind": kind, "label": found["id"], **args}, holds)
    return _result(made)


def _current(label: Json) -> Json:
    """Return the fields of a label."""
    parent = (label.get("parent") or {}).get("name")
    plain = {field: label.get(field) or "" for field in ("name", "color", "description")}
    return {**plain, "group": parent or "", "use": _USE[bool(label.get("retiredAt"))]}


def _find_label(listed: str, label: str, team: str | None) -> Asks[Json]:
    """Return the label of this name. Of several labels, the one of the named team is returned ("": the workspace)."""
    rows = yield from matching.rows_named(listed, label)
    if team is not None:
        rows = [row for row in rows if ((row.get("team") or {}).get("key") or "") == team]
    if not rows:
        raise matching.missing_error((yield from nodes(listed, first=100)), label, "label")
    return matching.choose([row for row in rows if not row.get("retiredAt")] or rows, label, "label")


def _team(team: str | None, kind: str) -> Asks[Json | None]:
    if team is None or team.strip().lower() == "none":
        return None
    if kind == "project":
        raise InvalidInput(
            "team: cannot be used for project labels, which belong to the workspace.", hint="Leave out team."
        )
    return (yield from names.team(team))


def _find_same(rows: list[Json], name: str, team: str) -> Json | None:
    """Return the label of this name in the same team, or in the workspace, or None."""
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
            "name": line(made.get("name")),
            "color": made.get("color"),
            "team": team,
            "retired": bool(made.get("retiredAt")),
        }
    )


@LINEAR.tool(
    needs=[READ, ADMIN],
    effect=Effect.WRITES | Effect.SENDS,
    toolset="admin",
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
    if (there := _find_same(rows, name, "")) and not run.noted:
        return {"status_id": there["id"], "name": line(there["name"]), "type": there.get("type"), "existed": True}
    last = max((float(row.get("position") or 0) for row in rows), default=0.0)
    wanted = scalars.present({"name": name, "type": type, "description": description})
    wanted |= {"color": color or _COLOURS[type], "position": last + 1}
    shows = workspace().show(
        "Add this status for projects",
        name=name,
        type=type,
        color=wanted["color"],
        description=description or None,
        pins={"position": last + 1},
        undo=ONLY_BY_HAND,
    )

    def look(id: str) -> Asks[Json | None]:
        found = yield from nodes("LookupProjectStatuses", first=100)
        return next((row for row in found if row["id"] == id), None)

    given = {"id": run.key.uuid, **wanted}
    made, existed = yield from make("ProjectStatusCreate", given, look, shows, run.noted)
    return lean({"status_id": made["id"], "name": line(made.get("name")), "type": made.get("type"), "existed": existed})
