"""A repository's labels and milestones."""

from __future__ import annotations

from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.routes import route
from deputize.sandbox.http_types import Reply


@route("GET", "R/labels", "issues:read")
def labels(call: Call, repo: Json) -> Reply:
    return call.page([label(row) for row in repo["labels"]])


def label(row: Json) -> Json:
    """Return a label in GitHub's format."""
    return {**row, "node_id": f"LA_{row['id']:08d}", "default": False}


@route("POST", "R/labels", "issues:write", push=True)
def create_label(call: Call, repo: Json) -> Reply:
    """Create a label. Raise 422 for an existing name, ignoring case."""
    given = call.body()
    if given["name"].lower() in [row["name"].lower() for row in repo["labels"]]:
        raise call.invalid("Label", "name", "already_exists")
    row = {"id": call.next_id(), "name": given["name"], "color": given.get("color", "ededed")}
    repo["labels"].append(row | {"description": given.get("description")})
    return call.reply(label(repo["labels"][-1]), 201)


def change_label(call: Call, repo: Json, row: Json, given: Json) -> Json:
    """Change a label, also on its issues."""
    for issue in call.store["issues"][repo["full_name"]]:
        issue["labels"] = [given.get("name", one) if one == row["name"] else one for one in issue["labels"]]
    row |= {name: given[name] for name in ("name", "color", "description") if name in given}
    return label(row)


@route("GET", "R/issue-types", "issues:read")
def issue_types(call: Call, repo: Json) -> Reply:
    about = {"description": "", "color": "gray", "is_enabled": True}
    names = ("Bug", "Feature", "Task")
    return call.reply([{"id": n, "node_id": f"IT_{n}", "name": name, **about} for n, name in enumerate(names, 1)])


@route("DELETE", "R/labels/{name}", "issues:write", push=True)
def delete_label(call: Call, repo: Json, name: str) -> Reply:
    return drop_label(call, repo, name)


def drop_label(call: Call, repo: Json, name: str) -> Reply:
    """Remove a label from the repository and its issues."""
    if name.lower() not in [row["name"].lower() for row in repo["labels"]]:
        raise call.not_found()
    repo["labels"] = [row for row in repo["labels"] if row["name"].lower() != name.lower()]
    for row in call.store["issues"][repo["full_name"]]:
        row["labels"] = [one for one in row["labels"] if one.lower() != name.lower()]
    return call.empty_reply()


@route("GET", "R/milestones", "issues:read")
def milestones(call: Call, repo: Json) -> Reply:
    """Return milestones in a state."""
    state = call.ask.one("state", "open")
    return call.page([milestone(call, repo, row) for row in repo["milestones"] if state in ("all", row["state"])])


def milestone(call: Call, repo: Json, row: Json) -> Json:
    """Return a milestone with its counts of issues."""
    issues = [one for one in call.store["issues"][repo["full_name"]] if one["milestone"] == row["number"]]
    open_ = sum(one["state"] == "open" for one in issues)
    return {**row, "id": 900 + row["number"], "open_issues": open_, "closed_issues": len(issues) - open_}


@route("POST", "R/milestones", "issues:write", push=True)
def create_milestone(call: Call, repo: Json) -> Reply:
    """Create a milestone. Raise 422 for an existing title."""
    given = call.body()
    if given["title"] in [row["title"] for row in repo["milestones"]]:
        raise call.invalid("Milestone", "title", "already_exists")
    number = max((row["number"] for row in repo["milestones"]), default=0) + 1
    row: Json = {"number": number, "state": "open", "due_on": None, "description": None}
    repo["milestones"].append(row | given)
    return call.reply(milestone(call, repo, repo["milestones"][-1]), 201)


@route("PATCH", "R/milestones/{milestone_number}", "issues:write", push=True)
def change_milestone(call: Call, repo: Json, milestone_number: str) -> Reply:
    row = next((one for one in repo["milestones"] if str(one["number"]) == milestone_number), None)
    if row is None:
        raise call.not_found()
    row |= {name: value for name, value in call.body().items() if name in ("title", "state", "description", "due_on")}
    return call.reply(milestone(call, repo, row))


@route("DELETE", "R/milestones/{milestone_number}", "issues:write", push=True)
def delete_milestone(call: Call, repo: Json, milestone_number: str) -> Reply:
    kept = [row for row in repo["milestones"] if str(row["number"]) != milestone_number]
    if len(kept) == len(repo["milestones"]):
        raise call.not_found()
    repo["milestones"] = kept
    return call.empty_reply()
