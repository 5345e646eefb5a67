"""Reactions to issues, pull requests and comments."""

from __future__ import annotations

from deputize.sandbox.github.api_comments import find_by_id
from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.issues import ISSUE_PATH, find_issue
from deputize.sandbox.github.routes import route
from deputize.sandbox.http_types import Reply

COMMENT = "R/issues/comments/{comment_id}"
LINE = "R/pulls/comments/{comment_id}"


def _rows(call: Call, repo: Json, **at: str) -> list[Json]:
    """Return all reactions to the issue or comment of a path. Raise 404 if it does not exist."""
    if number := at.get("issue_number"):
        find_issue(call, repo, number)
        return call.records(f"reactions/issue/{number}", repo)
    kind, id = ("review_comments" if "/pulls/" in call.ask.path else "comments"), at["comment_id"]
    find_by_id(call, call.records(kind, repo), id)
    return call.records(f"reactions/{kind}/{id}", repo)


def _format(call: Call, row: Json) -> Json:
    told = {"id": row["id"], "node_id": f"REA_{row['id']}", "content": row["content"], "created_at": row["at"]}
    return told | {"user": call.user(row["user"])}


@route("GET", f"{ISSUE_PATH}/reactions", "issues:read")
@route("GET", f"{COMMENT}/reactions", "issues:read")
@route("GET", f"{LINE}/reactions", "pull_requests:read")
def reactions(call: Call, repo: Json, **at: str) -> Reply:
    """Return all reactions, or those of one kind."""
    wanted = call.ask.one("content")
    return call.page([_format(call, row) for row in _rows(call, repo, **at) if wanted in ("", row["content"])])


@route("POST", f"{ISSUE_PATH}/reactions", "issues:write")
@route("POST", f"{COMMENT}/reactions", "issues:write")
@route("POST", f"{LINE}/reactions", "pull_requests:write")
def create(call: Call, repo: Json, **at: str) -> Reply:
    """Return 201, or 200 if it exists."""
    rows, content = _rows(call, repo, **at), call.body()["content"]
    there = next((row for row in rows if (row["user"], row["content"]) == (call.me, content)), None)
    row = there or {"id": call.next_id(), "user": call.me, "content": content, "at": call.now}
    if there is None:
        rows.append(row)
    return call.reply(_format(call, row), 200 if there else 201)


@route("DELETE", f"{ISSUE_PATH}/reactions/{{reaction_id}}", "issues:write")
@route("DELETE", f"{COMMENT}/reactions/{{reaction_id}}", "issues:write")
@route("DELETE", f"{LINE}/reactions/{{reaction_id}}", "pull_requests:write")
def delete(call: Call, repo: Json, reaction_id: str, **at: str) -> Reply:
    """Delete an own reaction."""
    rows = _rows(call, repo, **at)
    row = find_by_id(call, rows, reaction_id)
    if row["user"] != call.me:
        raise call.not_found()
    rows.remove(row)
    return call.empty_reply()
