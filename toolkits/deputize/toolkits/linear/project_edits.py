"""Linear: creating and changing projects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from deputize.core import Effect, Run, Steps, Undo
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Append, IfText, Replaces
from deputize.toolkits._shared.long_text import Edit, digest
from deputize.toolkits.linear import matching, scalars
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Asks, change, entity, get, look_by_id, make, new_text, nodes
from deputize.toolkits.linear.base import LINEAR, PRIORITIES, READ, WRITE, Json, Noted, Priority, Text, Title
from deputize.toolkits.linear.load_entity import whole_text
from deputize.toolkits.linear.preview import as_changes, loses, person, place, undo, version_of
from deputize.toolkits.linear.project_lists import TO, Lists, Several, values
from deputize.toolkits.linear.rows import lean, line
from deputize.toolkits.linear.rows import name as name_of
from deputize.toolkits.linear.rows import nodes as inner
from deputize.toolkits.linear.texts import read_whole


@LINEAR.tool(
    needs=[READ, WRITE],
    effect=Effect.WRITES | Effect.SENDS,
)
def save_project(
    project: str | None = None,
    name: Title | None = None,
    teams: Annotated[list[str] | None, Field(description="of a new one")] = None,
    description: Annotated[str | None, Field(max_length=255, description="short")] = None,
    content: Annotated[Text | None, Field(description="Markdown body")] = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    status: str | None = None,
    lead: Annotated[str | None, Field(description="name, email or me")] = None,
    priority: Priority | None = None,
    start_date: Annotated[str | None, Field(description="date or +2w")] = None,
    target_date: Annotated[str | None, Field(description="date or +2w")] = None,
    add_teams: list[str] | None = None,
    remove_teams: list[str] | None = None,
    add_members: Annotated[list[str] | None, Field(description="names or me")] = None,
    remove_members: list[str] | None = None,
    add_labels: list[str] | None = None,
    remove_labels: list[str] | None = None,
    *,
    run: Run,
) -> Steps:
    """Create a project, or change one when project is given."""
    days = yield from scalars.days(run, start_date=start_date, target_date=target_date)
    dates = {"startDate": days["start_date"], "targetDate": days["target_date"]}
    wanted: dict[str, Any] = scalars.present(
        {"name": name, "description": description, "content": content, "priority": scalars.priority(priority), **dates}
    )
    words: Json = scalars.present({"name": name, "description": description, "text": content, "priority": priority})
    words |= scalars.present({"start_date": dates["startDate"], "target_date": dates["targetDate"]})
    if status:
        found = matching.choose((yield from nodes("LookupProjectStatuses", first=50)), status, "status")
        wanted["statusId"], words["status"] = found["id"], name_of(found)
    if lead:
        who = yield from names.user(lead, run.account, "lead")
        wanted["leadId"], words["lead"] = who["id"], person(who)
    lists = Lists(
        teams,
        {"teams": add_teams, "members": add_members, "labels": add_labels},
        {"teams": remove_teams, "members": remove_members, "labels": remove_labels},
        run.account,
    )
    edit = Edit(append, replaces, if_text)
    if edit != Edit() and (content is None or not project):
        raise InvalidInput(
            "append, replaces, if_text: only together with project and content.",
            hint="Add project and content, or leave out append and replaces and if_text.",
        )
    if project:
        there = yield from names.project(project)
        now = yield from get("ProjectValues", id=there["id"])
        named = any(one for several in (lists.add, lists.remove) for one in several.values())
        if not wanted and not named and not teams:
            raise InvalidInput(
                "Nothing to change: give at least one field.", hint="Say what changes, such as a title or text."
            )
        return (yield from _change(now, wanted, words, (yield from lists.of(now)), edit, run.noted))
    if not name or not teams:
        raise InvalidInput("A new project needs name and teams.", hint="To change one, give project.")
    new = yield from lists.of_new()
    wanted |= {TO[one.argument]: one.ids for one in new}
    words |= {one.argument: one.words for one in new if one.argument != "teams"}
    stands = yield from place(new[0].coming)
    shows = stands.show("Create this project", pins=_pins(wanted), **_not_empty(words))
    look = look_by_id("ProjectValues")
    made, existed = yield from make("ProjectCreate", {"id": run.key.uuid, **wanted}, look, shows, run.noted)
    back = {"tool": "linear_archive", "args": {"kind": "project", "id": made["id"], "action": "archive"}}
    version = version_of(whole_text(made.get("description"), made.get("content")))
    yield undo(back, project=name_of(made), version=version)
    return _result(made) | lean({"created": True, "existed": existed, "undo": back})


def _not_empty(words: Json) -> Json:
    """Return a new project's fields for the preview, without empty texts."""
    return {field: value for field, value in words.items() if value != ""}


def _pins(wanted: Json) -> Json:
    return {field: value for field, value in wanted.items() if field.endswith(("Id", "Ids", "priority"))}


def _change(
    now: Json, wanted: dict[str, Any], words: Json, lists: Sequence[Several], edit: Edit, noted: Noted
) -> Asks[Json]:
    """Change a project. An undo is offered if arguments can express the old state."""
    wanted |= {TO[one.argument]: one.ids for one in lists}
    words |= {one.argument: one.words for one in lists}
    result = {"changed": sorted("content" if word == "text" else word for word in words)}
    if not wanted:
        return _result(now) | result  # nothing differs
    text = None
    if "content" in wanted:
        text = new_text(edit, "content", now.get("content"), wanted["content"], read_whole(now.get("content")), noted)
        wanted["content"] = words["text"] = text.new
    if text and text.done:
        return _result(now) | result  # an earlier run of this act has written it
    joined = [one for several in lists if several.argument == "teams" for one in several.coming]
    stands = yield from place([*inner(now.get("teams")), *joined])
    fields = as_changes(_values(now), words | _same_lead(words, wanted, now))
    called: Json = {} if "name" in wanted else {"project": name_of(now)}
    pins = _pins(wanted) | {"project_id": now["id"]}
    lost = loses(fields, "text", "description")
    yield stands.show("Change this project", pins=pins, destroys=lost, **called, **fields)
    if text:
        yield text.note()
    made = entity((yield from change("ProjectUpdate", id=now["id"], input=wanted)))
    if back := _undo(now, made, words, lists):
        yield back
    return _result(made) | result


def _values(node: Json) -> Json:
    """Return a project's fields for the preview."""
    return {
        "name": node.get("name"),
        "description": node.get("description") or "",
        "text": node.get("content") or "",
        "status": name_of(node.get("status")),
        "lead": name_of(node.get("lead")),
        **values(node),
        "priority": PRIORITIES[int(node.get("priority") or 0)],
        "start_date": node.get("startDate") or "",
        "target_date": node.get("targetDate") or "",
    }


def _same_lead(words: Json, wanted: Json, now: Json) -> Json:
    """Return an unchanged lead under the current name, so that the preview does not display a change of the lead."""
    lead = now.get("lead") or {}
    return {"lead": name_of(lead)} if "lead" in words and lead.get("id") == wanted.get("leadId") else {}


_ARGUMENTS = {"text": "content"}


def _undo(now: Json, made: Json, words: Json, lists: Sequence[Several]) -> Undo | None:
    """Return the call that restores the project, or None if the call would have no changes."""
    before, after = _values(now), _values(made)
    args = {_ARGUMENTS.get(field, field): before[field] for field in words if field not in TO}
    for field, ids in (("status", "status"), ("lead", "lead")):
        if field in args:
            args[field] = (now.get(ids) or {}).get("id")
    cannot = [field for field in args if args[field] in (None, [], "") and field not in ("description", "content")]
    if cannot:
        return None
    for several in lists:
        args |= several.back
    if "content" in args:
        args["if_text"] = digest(str(made.get("content") or ""))
    holds = {field: after[field] for field in words if after[field] != before[field]}
    return Undo("linear_save_project", {"project": now["id"], **args}, holds)


def _result(made: Json) -> Json:
    status = line(name_of(made.get("status")), 60)
    return lean({"id": made["id"], "name": line(made.get("name")), "url": made.get("url"), "status": status})
