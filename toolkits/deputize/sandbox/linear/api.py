"""api.linear.app/graphql: a workspace's issues and their surroundings.

Objects are plain JSON. A query selects fields of them; an unknown field is an error, as with a schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from deputize.sandbox.graphql import Field, InvalidDocument, read_document
from deputize.sandbox.http_types import Ask, Refused, Reply, in_json
from deputize.sandbox.linear import changes, filters, inbox_views, views
from deputize.sandbox.linear.seed import ORGANIZATION_KEY, stable_id
from deputize.sandbox.linear.selections import Many
from deputize.sandbox.linear.store import Call, Json, failed, not_found
from deputize.sandbox.world import World


def handle(ask: Ask, world: World) -> Reply:
    """Run the ``query`` and ``variables`` of a POST to /graphql."""
    if ask.method != "POST" or ask.path != "/graphql":
        raise failed(404, "Not found", "other", "NOT_FOUND")
    call, content = _call(ask, world), ask.content()
    try:
        kind, fields = read_document(str(content.get("query") or ""), content.get("variables") or {})
    except InvalidDocument as unreadable:
        raise failed(400, str(unreadable), "graphql error", "GRAPHQL_PARSE_FAILED") from None
    roots = changes.MUTATIONS if kind == "mutation" else QUERIES
    for one in fields:
        if one.name not in roots and one.name != "__typename":
            raise unknown_field(one.name, kind.capitalize())
    data = {one.alias: select_fields(call, roots[one.name](call, one), one) for one in fields if one.name in roots}
    return in_json({"data": data}, headers=_limits(world), changes=kind == "mutation")


def _call(ask: Ask, world: World) -> Call:
    token = world.access(ask.bearer(), "linear")
    person = world.person(world.address_of(token.sub)) if token else None
    if token is None or person is None:
        raise failed(401, "Authentication required, not authenticated", "authentication error", "AUTHENTICATION_ERROR")
    return Call(world, person, token)


def _limits(world: World) -> list[tuple[str, str]]:
    reset = str(int((world.clock() + 3600) * 1000))
    return [
        ("x-ratelimit-requests-limit", "5000"),
        ("x-ratelimit-requests-remaining", "4990"),
        ("x-ratelimit-requests-reset", reset),
        ("x-complexity", "10"),
    ]


def unknown_field(name: str, kind: str) -> Refused:
    """Return the error of a field that the schema lacks."""
    return failed(400, f'Cannot query field "{name}" on type "{kind}".', "graphql error", "GRAPHQL_VALIDATION_FAILED")


def select_fields(call: Call, value: Any, one: Field) -> Any:
    """Return a field's selection of a value, through lists and pages; null stays null."""
    if callable(value):
        value = value()
    if isinstance(value, Many):
        value = page_rows(call, value.make(), one)
    if value is None or not isinstance(value, dict | list):
        return value
    if isinstance(value, list):
        return [select_fields(call, item, one) for item in value]
    found: Json = {}
    for wanted in one.fields:
        if wanted.name not in value:
            if wanted.name == "__typename":
                continue
            raise unknown_field(wanted.name, value.get("__typename", one.name))
        found[wanted.alias] = select_fields(call, value[wanted.name], wanted)
    return found


def page_rows(call: Call, rows: list[Json], one: Field) -> Json:
    """Return a page as Relay does; a cursor is the previous row's id."""
    if wanted := one.arguments.get("filter"):
        rows = [row for row in rows if filters.matches(row, wanted, call.world.clock())]
    first, after = int(one.arguments.get("first") or 50), one.arguments.get("after")
    start = next((number + 1 for number, row in enumerate(rows) if row["id"] == after), 0) if after else 0
    page = rows[start : start + first]
    ends: Json = {"hasNextPage": start + first < len(rows), "hasPreviousPage": start > 0}
    ends |= {"startCursor": page[0]["id"] if page else None, "endCursor": page[-1]["id"] if page else None}
    return {"nodes": page, "pageInfo": ends, "totalCount": len(rows)}


def viewer(call: Call, one: Field) -> Any:
    """Return the token's person."""
    call.needs("read")
    return views.user(call, call.person.email)


def organization(call: Call, one: Field) -> Any:
    """Return the token's workspace."""
    call.needs("read")
    return {"id": stable_id("organization"), "name": "Acme", "urlKey": ORGANIZATION_KEY}


def _many(kind: str, show: changes.Show) -> Callable[[Call, Field], Any]:
    """Return the resolver of a list, newest first; archived rows only on request."""

    def resolve(call: Call, one: Field) -> Any:
        call.needs("read")
        rows = [row for row in reversed(call.visible(kind)) if _is_requested(row, one)]
        return Many(lambda: [show(call, row) for row in rows])

    return resolve


def _single(kind: str, label: str, show: changes.Show) -> Callable[[Call, Field], Any]:
    def resolve(call: Call, one: Field) -> Any:
        call.needs("read")
        return show(call, call.find(kind, one.arguments.get("id"), label))

    return resolve


_ORDERS: dict[str, Callable[[Json], Any]] = {
    "updatedAt": lambda view: view["updatedAt"],
    "createdAt": lambda view: view["createdAt"],
    "priority": lambda view: view["priority"] or 9,
    "dueDate": lambda view: view["dueDate"] or "9999",
}


def issues(call: Call, one: Field) -> Any:
    """Return issues in the requested order, else newest first."""
    call.needs("read")
    rows = [row for row in reversed(call.visible("issues")) if _is_requested(row, one)]
    shown = [views.issue(call, row) for row in rows]
    for sort in reversed(one.arguments.get("sort") or []):
        for name, how in sort.items():
            shown.sort(key=_ORDERS[name], reverse=how.get("order") == "Descending")
    return Many(lambda: shown)


def issue(call: Call, one: Field) -> Any:
    """Return an issue by id or identifier."""
    call.needs("read")
    wanted = str(one.arguments.get("id", ""))
    for row in call.visible("issues"):
        if wanted in (row["id"], views.identifier(call, row)):
            return views.issue(call, row)
    raise not_found("Issue")


def issue_by_branch(call: Call, one: Field) -> Any:
    """Return the issue that a git branch's name contains, else null."""
    call.needs("read")
    said = f"-{str(one.arguments.get('branchName', '')).lower()}-".replace("/", "-")
    for row in call.visible("issues"):
        if f"-{views.identifier(call, row).lower()}-" in said:
            return views.issue(call, row)
    return None


def _search(kind: str, show: changes.Show, fields: Iterable[str]) -> Callable[[Call, Field], Any]:
    """Return the resolver of a search: rows with all words of the term in these fields."""

    def resolve(call: Call, one: Field) -> Any:
        call.needs("read")
        words = str(one.arguments.get("term") or "").casefold().split()
        rows = [row for row in reversed(call.visible(kind)) if _is_requested(row, one)]
        found = [row for row in rows if all(_contains(row, word, fields) for word in words)]
        return Many(lambda: [show(call, row) for row in found])

    return resolve


def _is_requested(row: Json, one: Field) -> bool:
    return not row.get("archivedAt") or bool(one.arguments.get("includeArchived"))


def _contains(row: Json, word: str, fields: Iterable[str]) -> bool:
    return any(word in str(row.get(field) or "").casefold() for field in fields)


def semantic_search(call: Call, one: Field) -> Any:
    """Search issues, projects, initiatives and documents for any word of the query."""
    call.needs("read")
    words = str(one.arguments.get("query") or "").casefold().split()
    kinds = {
        "issue": ("issues", views.issue, ("title", "description")),
        "project": ("projects", views.project, ("name", "description", "content")),
        "initiative": ("initiatives", views.initiative, ("name", "description", "content")),
        "document": ("documents", views.document, ("title", "content")),
    }
    results: list[Json] = []
    for type, (kind, show, fields) in kinds.items():
        for row in (row for row in call.visible(kind) if _is_requested(row, one)):
            if any(_contains(row, word, fields) for word in words):
                nothing: Json = dict.fromkeys(kinds)
                results.append({"type": type, "id": row["id"], **nothing, type: show(call, row)})
    return {"results": results[: int(one.arguments.get("maxResults") or 10)]}


def users(call: Call, one: Field) -> Any:
    call.needs("read")
    return Many(lambda: views.users(call))


def states(call: Call, one: Field) -> Any:
    """Return the states of the teams that the person can see."""
    call.needs("read")
    return Many(lambda: views.states(call))


def teams(call: Call, one: Field) -> Any:
    """Return the teams that the person can see."""
    call.needs("read")
    return Many(lambda: [views.team(call, row) for row in call.teams()])


def templates(call: Call, one: Field) -> Any:
    call.needs("read")
    return [inbox_views.template(call, row) for row in call.visible("templates")]


QUERIES: dict[str, Callable[[Call, Field], Any]] = {
    "viewer": viewer,
    "organization": organization,
    "teams": teams,
    "team": _single("teams", "Team", views.team),
    "users": users,
    "workflowStates": states,
    "issueLabels": _many("labels", views.label),
    "projectLabels": _many("project_labels", views.project_label),
    "projectStatuses": _many("statuses", views.status),
    "cycles": _many("cycles", views.cycle),
    "cycle": _single("cycles", "Cycle", views.cycle),
    "customViews": _many("views", inbox_views.view),
    "customView": _single("views", "CustomView", inbox_views.view),
    "templates": templates,
    "searchIssues": _search("issues", views.issue, ("title", "description")),
    "searchProjects": _search("projects", views.project, ("name", "description")),
    "searchDocuments": _search("documents", views.document, ("title", "content")),
    "semanticSearch": semantic_search,
    "issues": issues,
    "issue": issue,
    "issueVcsBranchSearch": issue_by_branch,
    "comment": _single("comments", "Comment", views.comment),
    "comments": _many("comments", views.comment),
    "projects": _many("projects", views.project),
    "project": _single("projects", "Project", views.project),
    "projectMilestone": _single("milestones", "ProjectMilestone", views.milestone),
    "projectMilestones": _many("milestones", views.milestone),
    "projectUpdate": _single("project_updates", "ProjectUpdate", views.project_update),
    "projectUpdates": _many("project_updates", views.project_update),
    "initiativeUpdate": _single("initiative_updates", "InitiativeUpdate", views.initiative_update),
    "initiativeUpdates": _many("initiative_updates", views.initiative_update),
    "initiatives": _many("initiatives", views.initiative),
    "initiative": _single("initiatives", "Initiative", views.initiative),
    "documents": _many("documents", views.document),
    "document": _single("documents", "Document", views.document),
    "notifications": _many("notifications", inbox_views.notification),
    "customerNeeds": _many("needs", inbox_views.need),
    "customers": _many("customers", inbox_views.customer),
}
