"""Linear: milestones of projects."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from deputize.core import Effect, Run, Steps, Undo
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Append, IfText, Replaces
from deputize.toolkits._shared.long_text import Edit, digest
from deputize.toolkits.linear import matching, scalars
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Asks, change, entity, look_by_filter, make, new_text, nodes
from deputize.toolkits.linear.base import LINEAR, READ, WRITE, Json, Noted, Text, Title
from deputize.toolkits.linear.preview import Place, as_changes, loses, project_place, undo, version_of
from deputize.toolkits.linear.rows import MILESTONE, lean, line


@LINEAR.tool(
    needs=[READ, WRITE],
    effect=Effect.WRITES | Effect.SENDS,
)
def save_milestone(
    project: Annotated[str, Field(description="name, URL or id")],
    milestone: Annotated[str | None, Field(description="id or name")] = None,
    name: Title | None = None,
    description: Text | None = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    target_date: Annotated[str | None, Field(description="date or +2w")] = None,
    *,
    run: Run,
) -> Steps:
    """Create or change a project milestone (matched by id, else by name)."""
    found = yield from names.project(project)
    due = (yield from scalars.days(run, target_date=target_date))["target_date"]
    values = {"name": name, "description": description, "targetDate": due}
    wanted: dict[str, Any] = scalars.present(values)
    there = yield from _milestone(found["id"], milestone or name)
    edit = Edit(append, replaces, if_text)
    if edit != Edit() and (description is None or there is None):
        raise InvalidInput(
            "append, replaces, if_text: only together with description, for a milestone that exists.",
            hint="Add description, for a milestone that exists, or leave out append and replaces and if_text.",
        )
    if there is None and milestone and matching.is_id(milestone):
        raise InvalidInput(
            "milestone: the project has no milestone of this id.", hint="linear_get_project lists its milestones."
        )
    stands = yield from project_place(found)
    if there is not None and (run.noted or {}).get("id") != there["id"]:
        if not wanted:
            raise InvalidInput(
                "Nothing to change: give at least one field.", hint="Say what changes, such as a title or text."
            )
        return (yield from _change(found, there, wanted, edit, stands, run.noted))
    wanted["name"] = name or milestone
    if not wanted["name"]:
        raise InvalidInput("name: needed for a new milestone.", hint="Add name.")
    shows = stands.show("Create this milestone", pins={"projectId": found["id"]}, **_words(wanted, new=True))
    given = {"id": run.key.uuid, "projectId": found["id"], **wanted}
    look = look_by_filter("ProjectMilestones")
    made, existed = yield from make("ProjectMilestoneCreate", given, look, shows, run.noted)
    back = {"tool": "linear_archive", "args": {"kind": "milestone", "id": made["id"], "action": "delete"}}
    yield undo(back, milestone=made.get("name"), version=version_of(made.get("description")))
    return _result(made) | lean({"created": True, "existed": existed})


def _words(wanted: Json, *, new: bool) -> Json:
    """Return the given values under the names that the preview displays."""
    named = {"name": "name", "description": "text", "targetDate": "target_date"}
    return {named[field]: value for field, value in wanted.items() if not new or value != ""}


def _change(project: Json, there: Json, wanted: Json, edit: Edit, stands: Place, noted: Noted) -> Asks[Json]:
    """Change an existing milestone."""
    text = None
    if "description" in wanted:
        text = new_text(edit, "description", there.get("description"), wanted["description"], MILESTONE, noted)
        wanted["description"] = text.new
    if text and text.done:
        return _result(there)  # an earlier run of this act has written it
    fields = as_changes(_current(there), _words(wanted, new=False))
    called = {} if "name" in wanted else {"milestone": there.get("name")}
    yield stands.show(
        "Change this milestone", pins={"milestone_id": there["id"]}, destroys=loses(fields, "text"), **called, **fields
    )
    if text:
        yield text.note()
    made = entity((yield from change("ProjectMilestoneUpdate", id=there["id"], input=wanted)))
    before, now = _current(there), _current(made)
    args: Json = {"project": project["id"], "milestone": there["id"], "name": there.get("name")}
    if text:
        args |= {"description": text.old, "if_text": digest(str(made.get("description") or ""))}
    if "targetDate" in wanted:
        args["target_date"] = there.get("targetDate")
    if None not in args.values():
        changed = [field for field in _words(wanted, new=False) if now[field] != before[field]]
        yield Undo("linear_save_milestone", args, {field: now[field] for field in changed})
    return _result(made)


def _current(milestone: Json) -> Json:
    return {
        "name": milestone.get("name"),
        "text": milestone.get("description") or "",
        "target_date": milestone.get("targetDate") or "",
    }


def _result(made: Json) -> Json:
    return lean({"milestone_id": made["id"], "name": line(made.get("name")), "target": made.get("targetDate")})


def _milestone(project_id: str, wanted: str | None) -> Asks[Json | None]:
    """Return the milestone of this name, or None. Raises `InvalidInput` for several milestones."""
    rows = yield from nodes("ProjectMilestones", first=250, filter={"project": {"id": {"eq": project_id}}})
    word = (wanted or "").strip().casefold()
    same = [row for row in rows if word and word in (str(row["id"]).casefold(), str(row.get("name") or "").casefold())]
    return matching.choose(same, str(wanted), "milestone") if same else None
