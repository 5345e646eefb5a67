"""Linear: new projects, and changes to projects."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from deputize.core import Account, Alias, Effect, Run, Steps, Undo
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Append, IfText, Replaces
from deputize.toolkits._shared.long_text import Edit, digest
from deputize.toolkits.linear import matching, names, scalars
from deputize.toolkits.linear.api import Asks, by_id, change, entity, get, make, new_text, nodes
from deputize.toolkits.linear.base import LINEAR, PRIORITIES, READ, WRITE, Json, Noted, Priority, Text, Title
from deputize.toolkits.linear.existing import whole_text
from deputize.toolkits.linear.places import loses, person, place, replaced, team_words, undo, version_of
from deputize.toolkits.linear.rows import lean, said
from deputize.toolkits.linear.rows import name as name_of
from deputize.toolkits.linear.rows import nodes as inner
from deputize.toolkits.linear.texts import PIECE

_MEMBERS = 50  # that are read


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
    dates = {"startDate": scalars.day(start_date, "start_date"), "targetDate": scalars.day(target_date, "target_date")}
    wanted: dict[str, Any] = scalars.given(
        {"name": name, "description": description, "content": content, "priority": scalars.priority(priority), **dates}
    )
    words: Json = scalars.given({"name": name, "description": description, "text": content, "priority": priority})
    words |= scalars.given({"start_date": dates["startDate"], "target_date": dates["targetDate"]})
    if status:
        found = matching.chosen((yield from nodes("LookupProjectStatuses", first=50)), status, "status")
        wanted["statusId"], words["status"] = found["id"], name_of(found)
    if lead:
        who = yield from names.user(lead, run.account, "lead")
        wanted["leadId"], words["lead"] = who["id"], person(who)
    if members:
        people = yield from _people(members, run.account)
        wanted["memberIds"], words["members"] = [one["id"] for one in people], sorted(map(person, people))
    edit = Edit(append, replaces, if_text)
    if edit != Edit() and (content is None or not project):
        raise InvalidInput("append, replaces, if_text: only together with project and content.")
    if project:
        there = yield from names.project(project)
        now = yield from get("ProjectValues", id=there["id"])
        rows = yield from _teams_of(now, teams, add_teams, remove_teams)
        return (yield from _changed(now, wanted, words, rows, edit, run.noted))
    if not name or not teams or add_teams or remove_teams:
        raise InvalidInput("A new project needs name and teams.", hint="To change one, give project.")
    rows = yield from names.teams(teams, "teams")
    wanted["teamIds"] = [one["id"] for one in rows]
    stands = yield from place(rows)
    shows = stands.show("Create this project", pins=_pins(wanted), **_not_empty(words))
    look = by_id("ProjectValues")
    made, existed = yield from make("ProjectCreate", {"id": run.key.uuid, **wanted}, look, shows, run.noted)
    back = {"tool": "linear_archive", "args": {"kind": "project", "id": made["id"], "action": "archive"}}
    version = version_of(whole_text(made.get("description"), made.get("content")))
    yield undo(back, project=name_of(made), version=version)
    return _result(made) | lean({"created": True, "existed": existed, "undo": back})


def _not_empty(words: Json) -> Json:
    """What is shown of a new project: no empty texts."""
    return {field: value for field, value in words.items() if value != ""}


def _pins(wanted: Json) -> Json:
    return {field: value for field, value in wanted.items() if field.endswith(("Id", "Ids", "priority"))}


def _people(wanted: list[str], account: Account) -> Asks[list[Json]]:
    people = []
    for one in wanted:
        people.append((yield from names.user(one, account, "members")))
    return people


def _teams_of(
    now: Json, teams: list[str] | None, add: list[str] | None, remove: list[str] | None
) -> Asks[list[Json] | None]:
    """The teams that a project will have; None where they stay."""
    if teams and (add or remove):
        raise InvalidInput(
            "teams: cannot be combined with add_teams or remove_teams; it replaces all teams.",
            hint="Give one or the other.",
        )
    if teams:
        return (yield from names.teams(teams, "teams"))
    if not add and not remove:
        return None
    gone = {one["id"] for one in (yield from names.teams(remove or (), "remove_teams"))}
    more = yield from names.teams(add or (), "add_teams")
    kept = {one["id"]: one for one in [*inner(now.get("teams")), *more] if one["id"] not in gone or one in more}
    if not kept:
        raise InvalidInput("remove_teams: a project must keep at least one team.")
    return list(kept.values())


def _changed(
    now: Json, wanted: dict[str, Any], words: Json, teams: list[Json] | None, edit: Edit, noted: Noted
) -> Asks[Json]:
    """Change a project; what it was like is given back by an undo where its arguments can say it."""
    if teams is not None:
        wanted["teamIds"] = [one["id"] for one in teams]
        words["teams"] = sorted(map(team_words, teams))
    if not wanted:
        raise InvalidInput("Nothing to change: give at least one field.")
    text = None
    if "content" in wanted:
        text = new_text(edit, "content", now.get("content"), wanted["content"], PIECE, noted)
        wanted["content"] = words["text"] = text.new
    result = {"changed": sorted(wanted)}
    if text and text.done:
        return _result(now) | result  # an earlier run of this act has written it
    stands = yield from place([*inner(now.get("teams")), *(teams or ())])
    fields = replaced(_values(now), _same_people(words, wanted, now))
    called: Json = {} if "name" in wanted else {"project": name_of(now)}
    pins = _pins(wanted) | {"project_id": now["id"]}
    lost = loses(fields, "text", "description")
    yield stands.show("Change this project", pins=pins, destroys=lost, **called, **fields)
    if text:
        yield text.note()
    made = entity((yield from change("ProjectUpdate", id=now["id"], input=wanted)))
    if back := _back(now, made, wanted, words):
        yield back
    return _result(made) | result


def _values(node: Json) -> Json:
    """What a person is shown of a project as it is."""
    return {
        "name": node.get("name"),
        "description": node.get("description") or "",
        "text": node.get("content") or "",
        "status": name_of(node.get("status")),
        "lead": name_of(node.get("lead")),
        "members": sorted(map(name_of, inner(node.get("members")))),
        "teams": sorted(map(team_words, inner(node.get("teams")))),
        "priority": PRIORITIES[int(node.get("priority") or 0)],
        "start_date": node.get("startDate") or "",
        "target_date": node.get("targetDate") or "",
    }


def _same_people(words: Json, wanted: Json, now: Json) -> Json:
    """People who stay are called what they are called there, so that nobody seems to be replaced by himself."""
    lead, members = now.get("lead") or {}, inner(now.get("members"))
    same: Json = {"lead": name_of(lead)} if "lead" in words and lead.get("id") == wanted.get("leadId") else {}
    if "members" in words and {one["id"] for one in members} == set(wanted["memberIds"]):
        same["members"] = sorted(map(name_of, members))
    return words | same


_ARGUMENTS = {"text": "content"}


def _back(now: Json, made: Json, wanted: Json, words: Json) -> Undo | None:
    """The call that puts back what was changed; None where there was nothing that it could say."""
    before, after = _values(now), _values(made)
    args = {_ARGUMENTS.get(field, field): before[field] for field in words}
    for field, ids in (("status", "status"), ("lead", "lead")):
        if field in args:
            args[field] = (now.get(ids) or {}).get("id")
    for field in ("members", "teams"):
        if field in args:
            args[field] = [one["id"] for one in inner(now.get(field))]
    cannot = [field for field in args if args[field] in (None, [], "") and field not in ("description", "content")]
    if cannot or len(args.get("members") or ()) >= _MEMBERS:
        return None
    if "content" in args:
        args["if_text"] = digest(str(made.get("content") or ""))
    holds = {field: after[field] for field in words if after[field] != before[field]}
    return Undo("linear_save_project", {"project": now["id"], **args}, holds)


def _result(made: Json) -> Json:
    status = said(name_of(made.get("status")), 60)
    return lean({"id": made["id"], "name": said(made.get("name")), "url": made.get("url"), "status": status})
