"""GitHub: projects of organizations and people (Projects V2, over REST)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from deputize.core import Effect, Need, Run, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, List, pages, rest
from deputize.toolkits.github.argument_types import Number, Owner, Word
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, needs, reads
from deputize.toolkits.github.names import pick
from deputize.toolkits.github.prose import Content, Prose
from deputize.toolkits.github.rows import ZONED, logins, outer, repo_of, short, state_of

_PROJECT: Final = "projectsV2/{project_number}"
_ITEM: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,63}/[A-Za-z0-9._-]{1,100})#(\d{1,15})|(\d{1,18})")


def _all(verb: str, path: str, scope: str, *broader: str, right: str) -> list[Need]:
    """The needs of a method that is there for organizations and for people."""
    return [
        needs(f"{verb} O/{path}", scope, *broader, app=(f"organization_projects:{right}",)),
        needs(f"{verb} U/{path}", scope, *broader, app=(f"organization_projects:{right}",)),
    ]


def _reads(path: str) -> list[Need]:
    return _all("GET", path, "read:project", "project", right="read")


def _writes(verb: str, path: str) -> list[Need]:
    return _all(verb, path, "project", right="write")


def _home(owner: str) -> Asks[tuple[str, Json]]:
    """Where an owner's projects are: an organization's path, or a person's."""
    try:
        yield from api.get("O/projectsV2", at={"org": owner}, params={"per_page": 1})
    except NotFound:
        return "U", {"username": owner}
    return "O", {"org": owner}


def _number(owner: str, project: str) -> Asks[tuple[str, Json]]:
    """A project's home, and the segments that lead to it; by its number or its title."""
    home, at = yield from _home(owner)
    if not project.isdecimal():
        rows = yield from api.every(f"{home}/projectsV2", "", 2, at=at, by="after")
        project = str(pick(project, rows, "project", lambda row: str(row["title"]))["number"])
    return home, {**at, "project_number": project}


@GITHUB.tool(
    needs=lambda arguments: [
        *_reads("projectsV2"),
        *(_reads(f"{_PROJECT}/fields") if arguments["project"] else []),
    ],
    aliases=["GitHub.ListProjects", "GitHub.ListProjectFields"],
    toolset="projects",
)
def list_projects(
    owner: Owner,
    project: Annotated[Word | None, Field(description="number or title: adds its fields")] = None,
    query: Word = "",
    state: Literal["open", "closed", "all"] = "open",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Projects (V2) of an organization or user, with the fields of one."""
    home, at = yield from _home(owner)
    words = " ".join([query, *([f"is:{state}"] if state != "all" else [])]).strip()
    bound = ("github_list_projects", run.account.subject, owner, project, query, state)
    read = pages(f"{home}/projectsV2", at=at, by="after", params={"q": words})
    shown = yield from List(bound, read, lambda row: _row(row, project), more=ZONED).show(limit, cursor)
    if not project:
        return shown
    _, at = yield from _number(owner, project)
    fields = yield from api.every(f"{home}/{_PROJECT}/fields", "", 2, at=at, by="after")
    return shown | {"fields": [_field(one) for one in fields[:40]]}


def _row(row: Mapping[str, Any], project: str | None) -> Json | None:
    if project and project.lower() not in (str(row.get("number")), str(row.get("title", "")).lower()):
        return None
    outside = Prose()
    shown: Json = {
        "number": row.get("number"),
        "title": outside.title(row.get("title")),
        "about": outside.short(row.get("short_description"), 100),
        "state": row.get("state"),
        "public": bool(row.get("public")),
        "updated": short(row.get("updated_at")),
    }
    return outer(shown, outside)


def raw(value: Any) -> str:
    """A text of a project, which comes as it is or with its HTML."""
    for name in ("raw", "name", "title", "login", "number"):
        if isinstance(value, Mapping) and value.get(name) is not None:
            return raw(value[name])
    return "" if value is None or isinstance(value, Mapping) else str(value)


def _field(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    options = row.get("options") or (row.get("configuration") or {}).get("iterations") or ()
    shown: Json = {
        "id": row.get("id"),
        "name": outside.line(str(row.get("name", "")), 60),
        "type": row.get("data_type"),
        "options": [outside.line(raw(one), 60) for one in options][:20],
    }
    return {name: value for name, value in shown.items() if value}


# ----------------------------------------------------------------- items


@GITHUB.tool(
    needs=lambda arguments: [
        *_reads("projectsV2"),
        *_reads(f"{_PROJECT}/items/{{item_id}}" if arguments["item_id"] else f"{_PROJECT}/items"),
        *(_reads(f"{_PROJECT}/fields") if arguments["fields"] else []),
    ],
    aliases=["GitHub.ListProjectItems", "GitHub.SearchProjectItem"],
    toolset="projects",
)
def list_project_items(
    owner: Owner,
    project: Annotated[Word, Field(description="number or title")],
    query: Annotated[str, Field(description="filter syntax or title")] = "",
    item_id: Number | None = None,
    fields: list[Word] | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Items of a project, filtered or found by title."""
    home, at = yield from _number(owner, project)
    wanted: list[str] = []
    if fields:
        known = yield from api.every(f"{home}/{_PROJECT}/fields", "", 2, at=at, by="after")
        wanted = [str(pick(one, known, "fields", lambda row: str(row["name"]))["id"]) for one in fields]
    params = {"fields": ",".join(wanted)}
    if item_id:
        one = yield from api.get(f"{home}/{_PROJECT}/items/{{item_id}}", at={**at, "item_id": item_id}, params=params)
        return {"items": [_item(one)], "next": None, "truncated": False}
    bound = ("github_list_project_items", run.account.subject, owner, project, query, fields)
    read = pages(f"{home}/{_PROJECT}/items", at=at, by="after", params=params | {"q": " ".join(query.split())})
    return (yield from List(bound, read, _item).show(limit, cursor))


def _item(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    content = row.get("content") or {}
    fields = {
        outside.line(str(one.get("name", "")), 40): outside.line(raw(one.get("value")), 80)
        for one in row.get("fields") or ()
        if one.get("data_type") != "title" and raw(one.get("value"))
    }
    shown: Json = {
        "item_id": row.get("id"),
        "kind": row.get("content_type"),
        "repo": repo_of(content),
        "number": content.get("number"),
        "title": outside.title(content.get("title")),
        "state": state_of(content) if content.get("state") else None,
        "assignees": logins(content.get("assignees"), 3),
        "fields": fields or None,
    }
    return outer(shown, outside)


# ----------------------------------------------------------------- change


def _which(text: str) -> str:
    if not _ITEM.fullmatch(text.strip()):
        raise ValueError("owner/repo#number, or an item's id")
    return text.strip()


def _update_needs(arguments: Arguments) -> Sequence[Need]:
    item = f"{_PROJECT}/items/{{item_id}}"
    found = [*_reads("projectsV2")]
    if "#" in str(arguments["item"] or "#"):
        found += [*_writes("POST", f"{_PROJECT}/items"), reads("GET R/issues/{issue_number}", "issues:read")]
    if arguments["remove"]:
        found += _writes("DELETE", item)
    if arguments["set"]:
        found += [*_writes("PATCH", item), *_reads(f"{_PROJECT}/fields")]
    return found


@GITHUB.tool(
    needs=_update_needs,
    effect=lambda arguments: SENDS | Effect.DESTRUCTIVE if arguments["remove"] else SENDS,
    gravest=SENDS | Effect.DESTRUCTIVE,
    toolset="projects",
)
def update_project_item(
    owner: Owner,
    project: Annotated[Word, Field(description="number or title")],
    item: Annotated[str, AfterValidator(_which), Field(description="owner/repo#n or item id")],
    set: Annotated[dict[str, Content] | None, Field(description='field to value, "" clears')] = None,
    remove: bool = False,
) -> Steps:
    """Add an issue or pull request to a project, set its fields, or remove it."""
    if remove and set:
        raise InvalidInput("remove, set: give one of them, not both.")
    home, at = yield from _number(owner, project)
    found = _ITEM.fullmatch(item)
    assert found  # noqa: S101 - validated before
    if found[3]:
        item_id, row = int(found[3]), {}
    else:
        row = yield from _added(home, at, found[1], int(found[2]))
        item_id = int(row["id"])
    there = {**at, "item_id": item_id}
    path = f"{home}/{_PROJECT}/items/{{item_id}}"
    if remove:
        try:
            yield from api.send(rest(f"DELETE {path}", at=there, repeat="idem"))
        except NotFound:
            return {"item_id": item_id, "removed": True, "summary": "It was not there."}
        return {"item_id": item_id, "removed": True, "summary": "Removed from the project."}
    if set:
        known = yield from api.every(f"{home}/{_PROJECT}/fields", "", 2, at=at, by="after")
        values = [_value(name, value, known) for name, value in set.items()]
        row = yield from api.sent(rest(f"PATCH {path}", at=there, json={"fields": values}, repeat="idem"))
    elif found[3]:
        raise InvalidInput("set, remove: give one of them for an item that is there already.")
    return {
        "item_id": item_id,
        "url": row.get("item_url") and (row.get("content") or {}).get("html_url"),
        "fields": dict(set or {}),
        "summary": "Set." if set else "It is in the project.",
    }


def add_item(owner: str, project: int, repo: str, number: int) -> Asks[Json]:
    """Put an issue into a project; one that is there already is found again."""
    home, at = yield from _home(owner)
    return (yield from _added(home, {**at, "project_number": project}, repo, number))


def _added(home: str, at: Json, repo: str, number: int) -> Asks[Json]:
    issue = yield from api.get("R/issues/{issue_number}", repo, at={"issue_number": number})
    kind = "PullRequest" if issue.get("pull_request") else "Issue"
    name, _, rest_of = repo.partition("/")
    body = {"type": kind, "owner": name, "repo": rest_of, "number": number}
    request = rest(f"POST {home}/{_PROJECT}/items", at=at, json=body, repeat="idem")
    return (yield from api.sent(request))


def _value(name: str, value: str, known: Sequence[Mapping[str, Any]]) -> Json:
    """A field's new value: an option by its name, a number as one, an empty text clears."""
    field = pick(name, known, "set", lambda row: str(row["name"]))
    told: Json = {"id": field["id"]}
    if not value:
        return told | {"value": None}
    options = field.get("options") or (field.get("configuration") or {}).get("iterations")
    if options:
        return told | {"value": str(pick(value, options, f"set.{name}", raw)["id"])}
    if field.get("data_type") == "number":
        try:
            return told | {"value": float(value)}
        except ValueError:
            raise InvalidInput(f"set.{name}: must be a number.") from None
    return told | {"value": value}
