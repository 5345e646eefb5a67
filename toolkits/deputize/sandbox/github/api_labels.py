"""A repository's labels and milestones."""

from __future__ import annotations

from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.routes import route
from deputize.sandbox.http_types import Reply


@route("GET", "R/labels", "issues:read")
def labels(call: Call, repo: Json) -> Reply:
    """All labels."""
    return call.page([label(row) for row in repo["labels"]])


def label(row: Json) -> Json:
    """A label as GitHub shows it."""
    return {**row, "node_id": f"LA_{row['id']:08d}", "default": False}


@route("DELETE", "R/labels/{name}", "issues:write", push=True)
def delete_label(call: Call, repo: Json, name: str) -> Reply:
    """Gone everywhere."""
    return drop_label(call, repo, name)


def drop_label(call: Call, repo: Json, name: str) -> Reply:
    """Take a label out of the repository and off its issues."""
    if name.lower() not in [row["name"].lower() for row in repo["labels"]]:
        raise call.missing()
    repo["labels"] = [row for row in repo["labels"] if row["name"].lower() != name.lower()]
    for row in call.store["issues"][repo["full_name"]]:
        row["labels"] = [one for one in row["labels"] if one.lower() != name.lower()]
    return call.none()


@route("GET", "R/milestones", "issues:read")
def milestones(call: Call, repo: Json) -> Reply:
    """Milestones in a state."""
    state = call.ask.one("state", "open")
    return call.page([milestone(call, repo, row) for row in repo["milestones"] if state in ("all", row["state"])])


def milestone(call: Call, repo: Json, row: Json) -> Json:
    """A milestone with how far it is."""
    issues = [one for one in call.store["issues"][repo["full_name"]] if one["milestone"] == row["number"]]
    open_ = sum(one["state"] == "open" for one in issues)
    return {**row, "id": 900 + row["number"], "open_issues": open_, "closed_issues": len(issues) - open_}


@route("DELETE", "R/milestones/{milestone_number}", "issues:write", push=True)
def delete_milestone(call: Call, repo: Json, milestone_number: str) -> Reply:
    """Gone, and off its issues."""
    kept = [row for row in repo["milestones"] if str(row["number"]) != milestone_number]
    if len(kept) == len(repo["milestones"]):
        raise call.missing()
    repo["milestones"] = kept
    return call.none()
