"""GitHub: finding and reading projects of organizations and people (Projects V2, over REST)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Audience, Continuation, Need, Run, Steps
from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset
from deputize.toolkits._shared.long_text import PART, part, shortened
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, List, pages
from deputize.toolkits.github.argument_types import Number, Owner, Word
from deputize.toolkits.github.base import GITHUB, Asks, needs
from deputize.toolkits.github.name_lookup import pick
from deputize.toolkits.github.prose import WORDS, Prose, body_alone, body_row
from deputize.toolkits.github.rows import ZONED, logins, outer, repo_of, short, state_of
from deputize.toolkits.github.show_fields import INVITED

PROJECT: Final = "projectsV2/{project_number}"


def _needs_for(verb: str, path: str, scope: str, *broader: str, right: str) -> list[Need]:
    """Return the needs of a method that exists for organizations and for people."""
    return [
        needs(f"{verb} O/{path}", scope, *broader, app=(f"organization_projects:{right}",)),
        needs(f"{verb} U/{path}", scope, *broader, app=(f"organization_projects:{right}",)),
    ]


def reads_of(path: str) -> list[Need]:
    return _needs_for("GET", path, "read:project", "project", right="read")


def writes_of(verb: str, path: str) -> list[Need]:
    return _needs_for(verb, path, "project", right="write")


def _home(owner: str) -> Asks[tuple[str, Json]]:
    """Return the path of an owner's projects: an organization's, or a person's."""
    try:
        yield from api.get("O/projectsV2", at={"org": owner}, params={"per_page": 1})
    except NotFound:
        return "U", {"username": owner}
    return "O", {"org": owner}


def _number(owner: str, project: str) -> Asks[tuple[str, Json]]:
    """Return the path of a project's owner and the path segments, for a project by number or title."""
    home, at = yield from _home(owner)
    if not project.isdecimal():
        rows = yield from api.list_rows(f"{home}/projectsV2", "", 2, at=at, by="after")
        project = str(pick(project, rows, "project", lambda row: str(row["title"]))["number"])
    return home, {**at, "project_number": project}


@dataclass(frozen=True, slots=True)
class Board:
    """A project. ``home``: path of its organization or person. ``at``: segments of that path. ``row``: GitHub's row."""

    home: str
    at: Json
    row: Mapping[str, Any]

    @property
    def path(self) -> str:
        """The path of the project, above its parts."""
        return f"{self.home}/{PROJECT}"

    @property
    def audience(self) -> Audience:
        """The people who see the project. Items of private repositories are hidden from others."""
        if self.row.get("public") is not False:
            return Audience.PUBLIC if self.row.get("public") else Audience.UNKNOWN
        return Audience.ORGANISATION if self.home == "O" else Audience.PEOPLE

    @property
    def named(self) -> str:
        """The project in words."""
        owner = self.at.get("org") or self.at.get("username")
        kind = {True: "public", False: "private"}.get(self.row.get("public"), "visibility not known")  # type: ignore[arg-type]
        seen = f"{kind}: {INVITED}" if self.audience is Audience.PEOPLE else kind
        return f"{self.row.get('title')} ({owner}/{self.row.get('number')}, {seen})"


def board_of(owner: str, project: str) -> Asks[Board]:
    """Return a project, by its number or title."""
    home, at = yield from _number(owner, project)
    return Board(home, at, (yield from api.get(f"{home}/{PROJECT}", at=at)))


def board_needs() -> list[Need]:
    return [*reads_of("projectsV2"), *reads_of(PROJECT)]


@GITHUB.tool(
    needs=lambda arguments: [
        *reads_of("projectsV2"),
        *(reads_of(f"{PROJECT}/fields") if arguments["project"] else []),
    ],
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
    fields = yield from api.list_rows(f"{home}/{PROJECT}/fields", "", 2, at=at, by="after")
    return shown | {"fields": [_field(one) for one in fields], "untrusted": True}


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


def value_text(value: Any) -> str:
    """Return a project's text, which GitHub sends plain or with its HTML."""
    for name in ("raw", "name", "title", "login", "number"):
        if isinstance(value, Mapping) and value.get(name) is not None:
            return value_text(value[name])
    return "" if value is None or isinstance(value, Mapping) else str(value)


def _field(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    options = row.get("options") or (row.get("configuration") or {}).get("iterations") or ()
    shown: Json = {
        "id": row.get("id"),
        "name": outside.line(str(row.get("name", "")), 60),
        "type": row.get("data_type"),
        "options": [outside.line(value_text(one), 60) for one in options[:_OPTIONS]],
        "more_options": len(options[_OPTIONS:]),
    }
    return {name: value for name, value in shown.items() if value}


_OPTIONS: Final = 30


# ----------------------------------------------------------------- items


@GITHUB.tool(
    needs=lambda arguments: [
        *reads_of("projectsV2"),
        *reads_of(f"{PROJECT}/items/{{item_id}}" if arguments["item_id"] else f"{PROJECT}/items"),
        *(reads_of(f"{PROJECT}/fields") if arguments["fields"] else []),
    ],
    toolset="projects",
)
def list_project_items(
    owner: Owner,
    project: Annotated[Word, Field(description="number or title")],
    query: Annotated[str, Field(description="filter syntax or title")] = "",
    item_id: Annotated[Number | None, Field(description="this one whole")] = None,
    offset: Annotated[Offset, Field(description="into the draft that it is")] = 0,
    fields: Annotated[list[Word] | None, Field(description="by name, to show")] = None,
    raw: Annotated[bool, Field(description="one field as stored")] = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Items of a project, filtered or found by title."""
    home, at = yield from _number(owner, project)
    wanted: list[str] = []
    if fields:
        known = yield from api.list_rows(f"{home}/{PROJECT}/fields", "", 2, at=at, by="after")
        wanted = [str(pick(one, known, "fields", lambda row: str(row["name"]))["id"]) for one in fields]
    params = {"fields": ",".join(wanted)}
    read = Continuation("github_list_project_items", owner=owner, project=project)
    if item_id:
        one = yield from api.get(f"{home}/{PROJECT}/items/{{item_id}}", at={**at, "item_id": item_id}, params=params)
        if raw and len(wanted) != 1:
            raise InvalidInput(
                "raw: only together with one name in fields.", hint="Add one name in fields, or leave out raw."
            )
        alone = _field_alone(one, raw=raw) if len(wanted) == 1 else {}
        return {"items": [_item(one, read, offset, whole=True) | alone], "next": None, "truncated": False}
    if offset or raw:
        raise InvalidInput("offset, raw: only together with item_id.", hint="Add item_id, or leave out offset and raw.")
    bound = ("github_list_project_items", run.account.subject, owner, project, query, fields)
    listed = pages(f"{home}/{PROJECT}/items", at=at, by="after", params=params | {"q": " ".join(query.split())})
    return (yield from List(bound, listed, partial(_item, read=read)).show(limit, cursor))


FIELD: Final = 80
"""Bytes of a value in a row."""
_ABOUT: Final = 160  # bytes of a draft's text


def _field_row(outside: Prose, field: Mapping[str, Any], item: Continuation) -> str | Json:
    """Return the beginning of a value, and the call that reads the rest. ``item``: the call that reads its item."""
    more = Continuation(item.tool, **item.arguments, fields=str(field.get("name")))
    shown = shortened(WORDS, outside, value_text(field.get("value")), FIELD, "text", more=more)
    return shown if "cut" in shown else str(shown["text"])


def _field_alone(row: Mapping[str, Any], *, raw: bool) -> Json:
    """Return the requested field whole: GitHub stores at most 1,024 characters."""
    outside = Prose()
    told = {
        outside.line(str(one.get("name", "")), 40): part(WORDS, outside, value_text(one.get("value")), PART, raw=raw)
        for one in row.get("fields") or ()
        if one.get("data_type") == "text" and value_text(one.get("value"))
    }
    return {"fields": told} if told else {}


def _item(row: Mapping[str, Any], read: Continuation, offset: int = 0, *, whole: bool = False) -> Json:
    """Return an item; a draft, which has no page of its own, with its text. ``read``: the call that reads items."""
    outside = Prose()
    content = row.get("content") or {}
    one_item = Continuation(read.tool, **read.arguments, item_id=int(row.get("id") or 0))
    fields = {
        outside.line(str(one.get("name", "")), 40): _field_row(outside, one, one_item)
        for one in row.get("fields") or ()
        if one.get("data_type") != "title" and value_text(one.get("value"))
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
    if row.get("content_type") == "DraftIssue" and content.get("body"):
        body = content["body"]
        shown |= (
            body_alone(content, offset, one_item, raw=False) if whole else body_row(outside, body, _ABOUT, one_item)
        )
        shown.pop("text_digest", None)  # no tool writes a draft
    return outer(shown, outside)
