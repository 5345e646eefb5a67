"""Issues and comments as stored and as GitHub formats them. Pull requests are issues too."""

from __future__ import annotations

from deputize.sandbox.github.api_labels import label, milestone
from deputize.sandbox.github.call import HOST, Call, Json
from deputize.sandbox.github.seed import login
from deputize.sandbox.github.shapes import user

ISSUE_PATH = "R/issues/{issue_number}"


def load_issues(call: Call, repo: Json) -> list[Json]:
    """Return a repository's issues and pull requests."""
    rows: list[Json] = call.store["issues"][repo["full_name"]]
    return rows


def find_issue(call: Call, repo: Json, number: str | int) -> Json:
    """Return an issue or pull request. Raise 404 if there is none."""
    row = next((one for one in load_issues(call, repo) if str(one["number"]) == str(number)), None)
    if row is None:
        raise call.not_found(("repo",) if repo["private"] else ())
    return row


def format_issue(call: Call, repo: Json, row: Json) -> Json:
    """Return an issue in GitHub's format."""
    person = call.world.person(row["user"])
    where = f"{repo['full_name']}/issues/{row['number']}"
    names = {one["name"]: one for one in repo["labels"]}
    about = next((one for one in repo["milestones"] if one["number"] == row["milestone"]), None)
    told: Json = {
        "id": repo["id"] * 1000 + row["number"],
        "node_id": f"I_{repo['id']}_{row['number']:06d}",
        "url": f"https://{HOST}/repos/{where}",
        "repository_url": f"https://{HOST}/repos/{repo['full_name']}",
        "labels_url": f"https://{HOST}/repos/{where}/labels{{/name}}",
        "comments_url": f"https://{HOST}/repos/{where}/comments",
        "events_url": f"https://{HOST}/repos/{where}/events",
        "timeline_url": f"https://{HOST}/repos/{where}/timeline",
        "html_url": f"https://github.com/{where}",
        "number": row["number"],
        "state": row["state"],
        "state_reason": row["reason"] or ("completed" if row["state"] == "closed" else None),
        "title": row["title"],
        "body": row["body"],
        "user": user(person) if person else None,
        "labels": [label(names.get(n, {"id": 1, "name": n, "color": "ededed"})) for n in row["labels"]],
        "assignee": call.user(row["assignees"][0]) if row["assignees"] else None,
        "assignees": [one for name in row["assignees"] if (one := call.user(name))],
        "milestone": milestone(call, repo, about) if about else None,
        "locked": row["locked"],
        "active_lock_reason": None,
        "author_association": association(repo, row["user"]),
        "closed_by": None,
        "performed_via_github_app": None,
        "comments": len(issue_comments(call, repo, row["number"])),
        "reactions": reactions(call, repo, f"issue/{row['number']}"),
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "closed_at": row["closed_at"],
    }
    told |= {"type": {"id": 1, "node_id": "IT_1", "name": row["type"], "description": ""}} if row["type"] else {}
    if pull := row["pull"]:
        told |= {"pull_request": {"merged_at": pull["merged_at"]}, "draft": pull["draft"]}
        told["html_url"] = told["html_url"].replace("/issues/", "/pull/")
    return told


def association(repo: Json, email: str) -> str:
    """Return a person's association with a repository."""
    if repo["full_name"].startswith(f"{login(email)}/"):
        return "OWNER"
    return "COLLABORATOR" if login(email) in repo["members"] else "NONE"


def add_event(call: Call, row: Json, event: str, **more: Json) -> None:
    """Add an event to the timeline."""
    row["events"].append({"id": call.next_id(), "event": event, "actor": call.me, "created_at": call.now, **more})


def issue_comments(call: Call, repo: Json, number: int) -> list[Json]:
    return [one for one in call.records("comments", repo) if one["number"] == number]


def comment(call: Call, repo: Json, row: Json) -> Json:
    """Return a comment in GitHub's format."""
    home = f"{repo['full_name']}/issues/{row['number']}"
    person = call.find_person(row["user"])
    return {
        "id": row["id"],
        "node_id": f"IC_{row['id']}",
        "url": f"https://{HOST}/repos/{repo['full_name']}/issues/comments/{row['id']}",
        "html_url": f"https://github.com/{home}#issuecomment-{row['id']}",
        "issue_url": f"https://{HOST}/repos/{home}",
        "user": user(person) if person else None,
        "body": row["body"],
        "created_at": row["at"],
        "updated_at": row["at"],
        "author_association": association(repo, f"{row['user']}@example.test"),
        "reactions": reactions(call, repo, f"comments/{row['id']}"),
    }


def reactions(call: Call, repo: Json, to: str) -> Json:
    """Return the counts of reactions by kind."""
    rows = call.store.get(f"reactions/{to}", {}).get(repo["full_name"], [])
    kinds = ("+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes")
    counts = {kind: sum(row["content"] == kind for row in rows) for kind in kinds}
    return {"url": f"https://{HOST}/repos/{repo['full_name']}/reactions", "total_count": len(rows), **counts}
