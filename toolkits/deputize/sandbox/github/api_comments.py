"""Comments on issues and pull requests."""

from __future__ import annotations

from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.issues import ISSUE_PATH, comment, find_issue, issue_comments
from deputize.sandbox.github.routes import route
from deputize.sandbox.http_types import Refused, Reply


@route("GET", "R/issues/comments", "issues:read")
def every_comment(call: Call, repo: Json) -> Reply:
    rows = [row for row in call.records("comments", repo) if row["at"] >= call.ask.one("since")]
    rows = list(reversed(rows)) if call.ask.one("direction") == "desc" else rows
    return call.page([comment(call, repo, row) for row in rows])


@route("GET", f"{ISSUE_PATH}/comments", "issues:read")
def comments(call: Call, repo: Json, issue_number: str) -> Reply:
    """Return an issue's comments, oldest first."""
    rows = issue_comments(call, repo, find_issue(call, repo, issue_number)["number"])
    return call.page([comment(call, repo, row) for row in rows if row["at"] >= call.ask.one("since")])


@route("POST", f"{ISSUE_PATH}/comments", "issues:write")
def write(call: Call, repo: Json, issue_number: str) -> Reply:
    """Return 201, or 403 if the issue is locked."""
    issue = find_issue(call, repo, issue_number)
    if issue["locked"] and not call.pushes(repo):
        raise Refused(call.refusal(403, "Unable to create comment because issue is locked."))
    if not str(call.body().get("body") or "").strip():
        raise call.invalid("IssueComment", "body", "missing_field")
    row = {
        "id": call.next_id(),
        "number": issue["number"],
        "user": call.me,
        "body": call.body()["body"],
        "at": call.now,
    }
    call.records("comments", repo).append(row)
    issue["updated_at"] = call.now
    return call.reply(comment(call, repo, row), 201)


def find_by_id(call: Call, rows: list[Json], id: str) -> Json:
    """Return the row with this id. Raise 404 if there is none."""
    row = next((one for one in rows if str(one["id"]) == id), None)
    if row is None:
        raise call.not_found()
    return row


def find_editable(call: Call, rows: list[Json], id: str, repo: Json) -> Json:
    """Return a comment that the caller may change: an own one, or any with push access."""
    row = find_by_id(call, rows, id)
    if row["user"] != call.me and not call.pushes(repo):
        raise Refused(call.refusal(403, "Must have admin rights to Repository."))
    return row


@route("GET", "R/issues/comments/{comment_id}", "issues:read")
def one_comment(call: Call, repo: Json, comment_id: str) -> Reply:
    return call.reply(comment(call, repo, find_by_id(call, call.records("comments", repo), comment_id)))


@route("PATCH", "R/issues/comments/{comment_id}", "issues:write")
def edit(call: Call, repo: Json, comment_id: str) -> Reply:
    row = find_editable(call, call.records("comments", repo), comment_id, repo)
    row["body"] = call.body()["body"]
    return call.reply(comment(call, repo, row))


@route("DELETE", "R/issues/comments/{comment_id}", "issues:write")
def delete(call: Call, repo: Json, comment_id: str) -> Reply:
    rows = call.records("comments", repo)
    rows.remove(find_editable(call, rows, comment_id, repo))
    return call.empty_reply()
