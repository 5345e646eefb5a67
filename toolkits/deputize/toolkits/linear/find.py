"""Linear: the user, lookup of names, and search."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Account, Run, Steps, TimeZone
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.page import Rows, read_cursor, write_cursor
from deputize.toolkits._shared.text import Outside
from deputize.toolkits._shared.zone import in_zone
from deputize.toolkits.linear import matching, scalars
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Asks, Listing, get, request
from deputize.toolkits.linear.base import LINEAR, READ, Json
from deputize.toolkits.linear.rows import (
    cycle_row,
    document_row,
    issue_list,
    issue_row,
    lean,
    line,
    mark,
    name,
    nodes,
    project_row,
)

Kind = Literal[
    "teams",
    "users",
    "states",
    "labels",
    "project_labels",
    "project_statuses",
    "cycles",
    "views",
    "templates",
    "customers",
]
Period = Literal["active", "upcoming", "past", "all"]


@LINEAR.tool(needs=[READ], aliases=["Linear.WhoAmI"])
def whoami() -> Steps:
    """Who I am in Linear: workspace, teams, time zone."""
    answer = yield request("Whoami", {})
    viewer, workspace = answer["data"]["viewer"], answer["data"]["organization"]
    if viewer.get("timezone"):
        yield TimeZone(str(viewer["timezone"]))
    outside = Outside()
    shown: Json = {
        "id": viewer["id"],
        "name": outside.line(name(viewer), 80),
        "email": viewer.get("email"),
        "admin": bool(viewer.get("admin")),
        "time_zone": viewer.get("timezone"),
        "workspace": {
            "id": workspace["id"],
            "name": outside.line(name(workspace), 80),
            "url_key": workspace.get("urlKey"),
        },
        "teams": [
            {"key": one.get("key"), "name": outside.line(str(one.get("name") or ""), 60)}
            for one in nodes(viewer.get("teams"))
        ],
    }
    outside.mark(shown)
    return shown


LABEL: Final = 1_020  # bytes of a label's description, of at most 255 characters
_OPERATIONS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {  # with the fields to search for a name
    "teams": ("LookupTeams", ("name", "key")),
    "users": ("LookupUsers", ("name", "displayName", "email")),
    "states": ("LookupStates", ("name",)),
    "labels": ("LookupIssueLabels", ("name",)),
    "project_labels": ("LookupProjectLabels", ("name",)),
    "project_statuses": ("LookupProjectStatuses", ()),
    "cycles": ("LookupCycles", ("name",)),
    "views": ("LookupViews", ("name",)),
    "customers": ("LookupCustomers", ("name",)),
}
_TEAM_OWNS: Final = ("states", "labels", "cycles", "views")
_PERIODS: Final = {"active": "isActive", "upcoming": "isFuture", "past": "isPast"}


@LINEAR.tool(
    needs=[READ],
)
def lookup(
    kind: Kind,
    team: Annotated[str | None, Field(description="key or name")] = None,
    query: Annotated[str | None, Field(description="name or part of it")] = None,
    type: Annotated[str | None, Field(description="of a state or status")] = None,
    period: Annotated[Period, Field(description="of cycles")] = "all",
    created_after: Annotated[str | None, Field(description="date, time or -7d")] = None,
    include_archived: bool = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Look up values other tools take: teams, users, states, labels, cycles, views, templates, customers."""
    _check_filters(kind, team, type, period, created_after, include_archived)
    if kind == "templates":
        return (yield from _templates(query, limit, cursor, run.account))
    operation, fields = _OPERATIONS[kind]
    narrow: list[Json] = [matching.part_filter(query, *fields)] if query and fields else []
    if team:
        narrow.append({"team": {"id": {"eq": (yield from names.team(team))["id"]}}})
    if kind == "states" and type:
        narrow.append({"type": {"eq": type}})
    if kind == "cycles" and period != "all":
        narrow.append({_PERIODS[period]: {"eq": True}})
    if created_after:
        run = yield from in_zone(run, scalars.ask_zone, created_after=created_after)
        narrow.append({"createdAt": {"gte": scalars.time_filter(created_after, run, "created_after")}})

    def wanted(node: Json) -> bool:
        said = [str(node.get(field) or "").casefold() for field in (*fields, "name")]
        fits = not query or any(query.casefold() in one for one in said)
        return fits and (not type or node.get("type") == type)

    listing = Listing(
        "linear_lookup",
        run.account,
        (kind, team, query, type, period, created_after, include_archived),
        limit,
        cursor,
        _named_row,
        wanted,
    )
    more: dict[str, Any] = {"filter": {"and": narrow}} if narrow else {}
    if include_archived:
        more["includeArchived" if kind == "teams" else "includeDisabled"] = True
    return (yield from listing.of(operation, **more))


def _check_filters(
    kind: Kind, team: str | None, type: str | None, period: Period, created_after: str | None, archived: bool
) -> None:
    """Raise `InvalidInput` for a filter that this kind lacks, because results without it would be wrong."""
    for argument, given, kinds in (
        ("team", team, _TEAM_OWNS),
        ("type", type, ("states", "project_statuses")),
        ("period", period != "all", ("cycles",)),
        ("include_archived", archived, ("teams", "users")),
    ):
        if given and kind not in kinds:
            raise InvalidInput(
                f"{argument}: only for {', '.join(kinds)}.", hint="Leave it out, or use one of these kinds."
            )
    types = {"states": names.STATE_TYPES, "project_statuses": names.STATUS_TYPES}.get(kind, ())
    if type and type not in types:
        raise InvalidInput(f"type: there is none of {kind} {line(type, 60)!r}.", hint=f"One of {', '.join(types)}.")
    if created_after and kind in ("templates", "project_statuses"):
        raise InvalidInput(
            f"created_after: cannot be used for {kind.replace('_', ' ')}.", hint="Leave out created_after."
        )


def _templates(query: str | None, limit: int, cursor: str | None, account: Account) -> Asks[Json]:
    """Return a page of templates. Linear returns all templates in one list, which is filtered here."""
    bound = ("linear_lookup", account.subject, "templates", query)
    (start,) = read_cursor(bound, cursor, (int,)) if cursor else (0,)
    found = yield from get("LookupTemplates")
    wanted = [one for one in found if not query or query.casefold() in str(one.get("name") or "").casefold()]
    rows = Rows()
    taken = sum(1 for _ in takewhile(lambda one: rows.add(_named_row(one)), wanted[start : start + limit]))
    more = write_cursor(bound, [start + taken]) if start + taken < len(wanted) else None
    return {"items": rows.items, "next": more, "total": len(wanted), "truncated": more is not None and taken < limit}


def _named_row(node: Json) -> Json:
    """Return the row of an object that has a name."""
    if "startsAt" in node:
        return cycle_row(node)
    outside = Outside()
    return mark(
        {
            "id": node.get("id"),
            "name": outside.line(str(node.get("name") or ""), 320),
            "key": node.get("key"),
            "type": node.get("type") or node.get("modelName"),
            "team": (node.get("team") or {}).get("key"),
            "group": outside.line(name(node.get("parent")), 40),
            "email": node.get("email"),
            "color": node.get("color"),
            "is_group": node.get("isGroup"),
            "retired": bool(node.get("retiredAt")),
            "description": outside.line(str(node.get("description") or ""), LABEL),
            "domains": [outside.line(str(one), 60) for one in (node.get("domains") or [])[:3]],
        },
        outside,
    )


Found = Literal["issues", "projects", "documents", "all"]
_SEARCHES: Final[dict[str, tuple[str, Callable[[Json], Json], str]]] = {
    "issues": ("SearchIssues", issue_row, "issue"),
    "projects": ("SearchProjects", project_row, "project"),
    "documents": ("SearchDocuments", document_row, "document"),
}


@LINEAR.tool(needs=[READ])
def search(
    query: Annotated[str, Field(min_length=1, max_length=500)],
    kind: Found = "issues",
    team: Annotated[str | None, Field(description="ranked higher")] = None,
    include_comments: bool = False,
    include_archived: bool = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Full-text search over issues, projects or documents; kind=all searches everything by meaning."""
    if kind == "all":
        if cursor:
            raise InvalidInput("cursor: a search over everything has one page only.", hint="Ask for a kind.")
        return (yield from _search_by_meaning(query, include_archived, limit))
    operation, row, called = _SEARCHES[kind]
    chosen = yield from names.team(team) if team else _no_result()
    urls: list[Any] = []
    total: list[int] = []

    def pages(value: Any) -> Any:
        urls.extend(node.get("url") for node in value["nodes"])
        total.append(int(value.get("totalCount") or 0))
        return value

    filters = (query, kind, team, include_comments, include_archived)
    listing = Listing("linear_search", run.account, filters, limit, cursor, lambda node: {"kind": called} | row(node))
    result = yield from listing.of(
        operation,
        pages,
        term=query,
        teamId=chosen.get("id"),
        includeComments=include_comments or None,
        includeArchived=include_archived or None,
    )
    result["total"] = max(total, default=0)
    return issue_list(result, urls) if kind == "issues" else result


def _no_result() -> Asks[Json]:
    return {}
    yield


def _search_by_meaning(query: str, include_archived: bool, limit: int) -> Asks[Json]:
    found = yield from get("SemanticSearch", query=query, maxResults=limit, includeArchived=include_archived or None)
    rows = Rows()
    results = list(found.get("results") or ())
    taken = sum(1 for one in results if rows.add(_hit(one)))
    return {"items": rows.items, "next": None, "truncated": taken < len(results)}


def _hit(node: Json) -> Json:
    kind = str(node.get("type") or "").lower()
    thing = node.get(kind) or {}
    outside = Outside()
    said = str(thing.get("title") or thing.get("name") or "")
    row = {
        "kind": kind,
        "id": node.get("id"),
        "identifier": thing.get("identifier"),
        "title": outside.line(said, 120),
        "state": outside.line(name(thing.get("state")), 40),
        "url": thing.get("url"),
    }
    outside.mark(row)
    return lean(row)
