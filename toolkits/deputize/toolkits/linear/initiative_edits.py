"""Linear: creating and changing initiatives and their lists of projects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from deputize.core import ActKey, Effect, Preview, Run, SaveNote, Steps, Undo
from deputize.core.errors import DeputizeError, InvalidInput, OutcomeUnknown
from deputize.toolkits._shared.arguments import Append, IfText, Replaces
from deputize.toolkits._shared.long_text import Edit, digest
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear import scalars
from deputize.toolkits.linear.api import (
    Asks,
    Written,
    change,
    create_once,
    entity,
    get,
    ignore_missing,
    look_by_id,
    make,
    new_text,
)
from deputize.toolkits.linear.base import LINEAR, READ, WRITE, Json, Noted, Status, Text, Title
from deputize.toolkits.linear.load_entity import whole_text
from deputize.toolkits.linear.preview import as_changes, loses, person, undo, version_of, workspace
from deputize.toolkits.linear.rows import lean, line, nodes
from deputize.toolkits.linear.rows import name as name_of
from deputize.toolkits.linear.texts import read_whole


@dataclass
class Projects:
    """The changes to an initiative's projects: those that join, with positions, and those that leave, with links."""

    coming: list[tuple[int, Json]] = field(default_factory=list)
    leaving: list[tuple[Json, str]] = field(default_factory=list)
    joined: list[Json] = field(default_factory=list)
    parted: list[Json] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def fields(self) -> Json:
        """The fields of the preview."""
        return {
            "add_projects": sorted(name_of(one) for _, one in self.coming) or None,
            "remove_projects": sorted(name_of(one) for one, _ in self.leaving) or None,
        }

    @property
    def pins(self) -> Json:
        """The ids of the projects that join, and of the links that are removed."""
        return scalars.present(
            {
                "joins": sorted(one["id"] for _, one in self.coming) or None,
                "ends": sorted(link for _, link in self.leaving) or None,
            }
        )

    def check_note(self, noted: Noted) -> None:
        """Raise `OutcomeUnknown` if the note of the act's earlier run names other projects."""
        known = noted or {}
        if any(set(ids) - set(known.get(what) or ()) for what, ids in self.pins.items()):
            raise OutcomeUnknown(
                "An earlier run of this act was interrupted, and its projects are others by now.",
                hint="Look what became of it before asking for it again.",
            )

    @property
    def result(self) -> Json:
        """The fields of the result."""
        names = {
            "projects_added": [line(one["name"]) for one in self.joined],
            "projects_removed": [line(one["name"]) for one in self.parted],
        }
        return lean(names | {"warnings": self.warnings})


@LINEAR.tool(
    needs=[READ, WRITE],
    effect=Effect.WRITES | Effect.SENDS,
)
def save_initiative(
    initiative: Annotated[str | None, Field(description="change this one")] = None,
    name: Title | None = None,
    description: Annotated[str | None, Field(max_length=255)] = None,
    content: Text | None = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    status: Status | None = None,
    owner: Annotated[str | None, Field(description="name, email or me")] = None,
    target_date: Annotated[str | None, Field(description="date or +2w")] = None,
    add_projects: Annotated[list[str] | None, Field(description="names, URLs or ids")] = None,
    remove_projects: list[str] | None = None,
    *,
    run: Run,
) -> Steps:
    """Create an initiative, or change one; add or remove its projects."""
    due = (yield from scalars.days(run, target_date=target_date))["target_date"]
    wanted: dict[str, Any] = scalars.present(
        {"name": name, "description": description, "content": content, "status": status, "targetDate": due}
    )
    words: Json = scalars.present({"name": name, "description": description, "text": content, "status": status})
    edit = Edit(append, replaces, if_text)
    if edit != Edit() and (content is None or not initiative):
        raise InvalidInput(
            "append, replaces, if_text: only together with initiative and content.",
            hint="Add initiative and content, or leave out append and replaces and if_text.",
        )
    if owner:
        who = yield from names.user(owner, run.account, "owner")
        wanted["ownerId"], words["owner"] = who["id"], person(who)
    words |= {"target_date": due} if due else {}
    added = yield from _projects(add_projects, "add_projects")
    removed = yield from _projects(remove_projects, "remove_projects")
    if not initiative:
        if not name or removed:
            raise InvalidInput("A new initiative needs a name.", hint="To change one, give initiative.")
        return (yield from _create(wanted, words, Projects(list(enumerate(added, 1))), run))
    if not wanted and not added and not removed:
        raise InvalidInput(
            "Nothing to change: give at least one field.", hint="Say what changes, such as a title or text."
        )
    there = yield from names.initiative(initiative)
    now = yield from get("InitiativeValues", id=there["id"])
    text = None
    if content is not None:
        text = new_text(edit, "content", now.get("content"), content, read_whole(now.get("content")), run.noted)
        wanted["content"] = words["text"] = text.new
    projects = yield from _pending_links(now["id"], added, removed)
    return (yield from _change(now, wanted, words, projects, text, run))


def _projects(wanted: list[str] | None, field: str) -> Asks[list[Json]]:
    found = []
    for one in wanted or ():
        found.append((yield from names.project(one, field)))
    return found


def _create(wanted: Json, words: Json, projects: Projects, run: Run) -> Asks[Json]:
    pins = scalars.present({"ownerId": wanted.get("ownerId")}) | projects.pins
    said_of = {field: value for field, value in words.items() if value != ""}
    shows = workspace().show("Create this initiative", pins=pins, **said_of, **projects.fields)
    look = look_by_id("InitiativeValues")
    given = {"id": run.key.uuid, **wanted}
    one, existed = yield from make("InitiativeCreate", given, look, shows, run.noted, projects.pins)
    if run.noted:
        projects.check_note(run.noted)
    yield from _join(one["id"], projects, run.key)
    back = {"tool": "linear_archive", "args": {"kind": "initiative", "id": one["id"], "action": "archive"}}
    version = version_of(whole_text(one.get("description"), one.get("content")))
    yield undo(back, initiative=name_of(one), version=version)
    return _result(one) | lean({"created": True, "existed": existed, "undo": back}) | projects.result


def _change(now: Json, wanted: Json, words: Json, projects: Projects, text: Written | None, run: Run) -> Asks[Json]:
    """Change an initiative, then its list of projects."""
    done = text is not None and text.done  # by an earlier run of this act
    if not wanted and not projects.coming and not projects.leaving:
        return _result(now)
    if not done:
        yield _show(now, wanted, words, projects)
    if done:
        projects.check_note(run.noted)
    elif text:
        yield text.note()
        if projects.pins:
            yield SaveNote(projects.pins)
    one = now
    if wanted and not done:
        one = entity((yield from change("InitiativeEdit", id=now["id"], input=wanted)))
    yield from _join(now["id"], projects, run.key)
    yield from _unlink(projects)
    if back := _undo(now, one, words, projects):
        yield back
    return _result(one) | projects.result


def _show(now: Json, wanted: Json, words: Json, projects: Projects) -> Preview:
    owner = now.get("owner") or {}
    same = {"owner": name_of(owner)} if "owner" in words and owner.get("id") == wanted["ownerId"] else {}
    fields = as_changes(_values(now), words | same)
    called: Json = {} if "name" in wanted else {"initiative": name_of(now)}
    pins = {"initiative_id": now["id"], "ownerId": wanted.get("ownerId"), **projects.pins}
    return workspace().show(
        "Change this initiative",
        pins=pins,
        destroys=loses(fields, "text", "description"),
        **called,
        **fields,
        **projects.fields,
    )


def _values(node: Json) -> Json:
    """Return an initiative's fields for the preview."""
    return {
        "name": node.get("name"),
        "description": node.get("description") or "",
        "text": node.get("content") or "",
        "status": node.get("status"),
        "owner": name_of(node.get("owner")),
        "target_date": node.get("targetDate") or "",
    }


def _undo(now: Json, one: Json, words: Json, projects: Projects) -> Undo | None:
    """Return the call that restores the initiative, or None if the call would have no changes."""
    before, after = _values(now), _values(one)
    args = {"content" if field == "text" else field: before[field] for field in words}
    if "owner" in args:
        args["owner"] = (now.get("owner") or {}).get("id")
    if any(value in (None, "") and field not in ("description", "content") for field, value in args.items()):
        return None
    if "content" in args:
        args["if_text"] = digest(str(one.get("content") or ""))
    more = {"add_projects": projects.parted, "remove_projects": projects.joined}
    args |= {field: [project["id"] for project in rows] for field, rows in more.items() if rows}
    holds = {field: after[field] for field in words if after[field] != before[field]}
    return Undo("linear_save_initiative", {"initiative": now["id"], **args}, holds) if args else None


def _result(one: Json) -> Json:
    name = line(one.get("name"))
    return lean({"id": one["id"], "name": name, "url": one.get("url"), "status": one.get("status")})


# ----------------------------------------------------------------- projects in it


def _pending_links(id: str, added: Sequence[Json], removed: Sequence[Json]) -> Asks[Projects]:
    """Return the links that are still to change: members do not join again, and non-members cannot leave."""
    projects = Projects()
    for number, project in enumerate(added, 1):
        if (yield from _link(id, project)) is None:
            projects.coming.append((number, project))
    for project in removed:
        if link := (yield from _link(id, project)):
            projects.leaving.append((project, str(link["id"])))
    return projects


def _join(id: str, projects: Projects, key: ActKey) -> Asks[None]:
    """Add projects to the initiative. A refusal is only a warning, because everything else is done already."""
    for number, project in projects.coming:
        wanted = {"id": key.nth(number).uuid, "initiativeId": id, "projectId": project["id"]}
        try:
            yield from create_once("InitiativeLinkProject", wanted, partial(_look_for_link, id, project))
            projects.joined.append(project)
        except DeputizeError as refused:
            projects.warnings.append(f"{line(project['name'])} was not added: {refused}")


def _unlink(projects: Projects) -> Asks[None]:
    """Remove projects from the initiative."""
    for project, link in projects.leaving:
        try:
            yield from ignore_missing(change("InitiativeUnlinkProject", id=link))
            projects.parted.append(project)
        except DeputizeError as refused:
            projects.warnings.append(f"{line(project['name'])} was not removed: {refused}")


def _look_for_link(initiative: str, project: Json, _id: str) -> Asks[Json | None]:
    return (yield from _link(initiative, project))


def _link(id: str, project: Json) -> Asks[Json | None]:
    """Return the link between a project and the initiative, regardless of who created it."""
    node = yield from get("InitiativeLinks", id=project["id"], first=50)
    links = [one for one in nodes(node.get("initiativeToProjects")) if (one.get("initiative") or {}).get("id") == id]
    return links[0] if links else None
