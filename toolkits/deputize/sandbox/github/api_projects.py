"""Projects (V2) of organizations and users."""

from __future__ import annotations

from deputize.sandbox.github.api_pulls import format_pull
from deputize.sandbox.github.call import HOST, Call, Json
from deputize.sandbox.github.issues import find_issue, format_issue
from deputize.sandbox.github.routes import route
from deputize.sandbox.http_types import Refused, Reply

_READ = ("read:project", "project")
_WRITE = ("project",)
_RIGHT = "organization_projects:read"
_WRITES = "organization_projects:write"


def _rows(call: Call, owner: str, kind: str) -> list[Json]:
    """Return the owner's projects. Raise 404 for an owner of another kind."""
    orgs = call.store["orgs"]
    if (owner in orgs and call.me not in orgs[owner]["members"]) or (kind == "orgs") != (owner in orgs):
        raise call.not_found()
    if owner not in orgs and call.find_person(owner) is None:
        raise call.not_found()
    return [row for row in call.store["projects"] if row["owner"] == owner and owner in (*orgs, call.me)]


def _find_project(call: Call, owner: str, kind: str, number: str) -> Json:
    row = next((one for one in _rows(call, owner, kind) if str(one["number"]) == number), None)
    if row is None:
        raise call.not_found()
    return row


def _project(call: Call, row: Json) -> Json:
    return {
        "id": row["id"],
        "node_id": f"PVT_{row['id']}",
        "number": row["number"],
        "title": row["title"],
        "short_description": None,
        "state": row["state"],
        "public": row.get("public", False),
        "created_at": call.now,
        "updated_at": call.now,
    }


def _projects(call: Call, owner: str, kind: str) -> Reply:
    words = [one for one in call.ask.one("q").split() if not one.startswith("is:")]
    state = "closed" if "is:closed" in call.ask.one("q") else ""
    told = [
        _project(call, row)
        for row in _rows(call, owner, kind)
        if state in ("", row["state"]) and all(one.lower() in row["title"].lower() for one in words)
    ]
    return call.page(told, by="after")


def _fields(call: Call, row: Json) -> Reply:
    told = []
    for one in row["fields"]:
        options = [
            {"id": id, "name": {"raw": name, "html": name}, "description": {"raw": "", "html": ""}, "color": "GRAY"}
            for id, name in one.get("options", {}).items()
        ]
        shown = {"id": one["id"], "node_id": f"PVTF_{one['id']}", "name": one["name"], "data_type": one["data_type"]}
        told.append(
            shown
            | {"project_url": "", "created_at": call.now, "updated_at": call.now}
            | ({"options": options} if options else {})
        )
    return call.page(told, by="after")


def _item(call: Call, project: Json, item: Json) -> Json:
    kind, row = _content(call, item)
    wanted = [one for one in call.ask.one("fields").split(",") if one]
    fields = []
    for one in project["fields"]:
        value = row["title"] if one["data_type"] == "title" else item["values"].get(str(one["id"]))
        if one["data_type"] == "title" or str(one["id"]) in wanted:
            named = (
                {"id": value, "name": {"raw": one["options"][value], "html": ""}}
                if value in one.get("options", {})
                else value
            )
            fields.append({"id": one["id"], "name": one["name"], "data_type": one["data_type"], "value": named})
    return {
        "id": item["id"],
        "node_id": f"PVTI_{item['id']}",
        "content_type": kind,
        "content": row,
        "created_at": call.now,
        "updated_at": call.now,
        "archived_at": None,
        "item_url": f"https://{HOST}/orgs/{project['owner']}/projectsV2/{project['number']}/items/{item['id']}",
        "fields": fields,
    }


def _content(call: Call, item: Json) -> tuple[str, Json]:
    """Return an item's type and content: an issue, a pull request, or a draft."""
    if draft := item.get("draft"):
        about = {"id": item["id"], "node_id": f"DI_{item['id']}", "created_at": call.now, "updated_at": call.now}
        return "DraftIssue", {**about, "user": call.user("bob"), **draft}
    repo = call.store["repos"][item["repo"]]
    row = find_issue(call, repo, item["number"])
    return ("PullRequest", format_pull(call, repo, row)) if row["pull"] else ("Issue", format_issue(call, repo, row))


def _items(call: Call, project: Json) -> Reply:
    words = [one.lower() for one in call.ask.one("q").split() if ":" not in one]
    rows = [_item(call, project, one) for one in project["items"]]
    rows = [row for row in rows if all(word in str(row["content"]["title"]).lower() for word in words)]
    return call.page(rows, by="after")


def _add(call: Call, project: Json) -> Reply:
    """Return 201, or 304 if the item exists."""
    given = call.body()
    repo = call.repo(f"{given.get('owner')}/{given.get('repo')}")
    if repo is None or not call.sees(repo):
        raise call.not_found()
    number = find_issue(call, repo, given["number"])["number"]
    there = next((one for one in project["items"] if (one["repo"], one["number"]) == (repo["full_name"], number)), None)
    if there is None:
        there = {"id": call.next_id(), "repo": repo["full_name"], "number": number, "values": {}}
        project["items"].append(there)
    return call.reply(_item(call, project, there), 201)


def _find_item(call: Call, project: Json, id: str) -> Json:
    row: Json | None = next((one for one in project["items"] if str(one["id"]) == id), None)
    if row is None:
        raise call.not_found()
    return row


def _set(call: Call, project: Json, item: Json) -> Reply:
    """Set fields of an item. Raise 422 for an unknown option."""
    for one in call.body().get("fields", ()):
        field = next((row for row in project["fields"] if row["id"] == one["id"]), None)
        options = (field or {}).get("options")
        if field is None or (options and one["value"] is not None and one["value"] not in options):
            raise Refused(call.refusal(422, "Field value is invalid"))
        item["values"][str(one["id"])] = one["value"]
    return call.reply(_item(call, project, item))


for _kind, _name in (("orgs", "org"), ("users", "username")):
    _home = f"/{_kind}/{{{_name}}}/projectsV2"

    def _declare(kind: str = _kind, home: str = _home) -> None:
        """Declare the routes of projects for one kind of owner."""

        @route("GET", home, _RIGHT, scopes=_READ)
        def projects(call: Call, **at: str) -> Reply:
            return _projects(call, next(iter(at.values())), kind)

        def requested_project(call: Call, at: dict[str, str]) -> Json:
            return _find_project(call, at.get("org") or at["username"], kind, at["project_number"])

        project = f"{home}/{{project_number}}"
        item = f"{project}/items/{{item_id}}"

        @route("GET", project, _RIGHT, scopes=_READ)
        def one(call: Call, **at: str) -> Reply:
            return call.reply(_project(call, requested_project(call, at)))

        @route("GET", f"{project}/fields", _RIGHT, scopes=_READ)
        def fields(call: Call, **at: str) -> Reply:
            return _fields(call, requested_project(call, at))

        @route("GET", f"{project}/items", _RIGHT, scopes=_READ)
        def items(call: Call, **at: str) -> Reply:
            return _items(call, requested_project(call, at))

        @route("POST", f"{project}/items", _WRITES, scopes=_WRITE)
        def add(call: Call, **at: str) -> Reply:
            return _add(call, requested_project(call, at))

        @route("GET", item, _RIGHT, scopes=_READ)
        def get(call: Call, **at: str) -> Reply:
            found = requested_project(call, at)
            return call.reply(_item(call, found, _find_item(call, found, at["item_id"])))

        @route("PATCH", item, _WRITES, scopes=_WRITE)
        def change(call: Call, **at: str) -> Reply:
            found = requested_project(call, at)
            return _set(call, found, _find_item(call, found, at["item_id"]))

        @route("DELETE", item, _WRITES, scopes=_WRITE)
        def delete(call: Call, **at: str) -> Reply:
            found = requested_project(call, at)
            found["items"].remove(_find_item(call, found, at["item_id"]))
            return call.empty_reply()

    _declare()
