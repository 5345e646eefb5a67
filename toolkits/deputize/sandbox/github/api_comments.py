"""Comments on issues and pull requests."""

from __future__ import annotations

from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.issues import ISSUE_PATH, comment, comments_of, row_of
from deputize.sandbox.github.routes import route
from deputize.sandbox.http_types import Refused, Reply


@route("GET", "R/issues/comments", "issues:read")
def every_comment(call: Call, repo: Json) -> Reply:
    """All comments of a repository."""
    rows = [row for row in call.kept("comments", repo) if row["at"] >= call.ask.one("since")]
    rows = list(reversed(rows)) if call.ask.one("direction") == "desc" else rows
    return call.page([comment(call, repo, row) for row in rows])


@route("GET", f"{ISSUE_PATH}/comments", "issues:read")
def comments(call: Call, repo: Json, issue_number: str) -> Reply:
    """The comments of an issue, the oldest first."""
    rows = comments_of(call, repo, row_of(call, repo, issue_number)["number"])
    return call.page([comment(call, repo, row) for row in rows if row["at"] >= call.ask.one("since")])


@route("POST", f"{ISSUE_PATH}/comments", "issues:write")
def write(call: Call, repo: Json, issue_number: str) -> Reply:
    """201; 403 where it is locked."""
    issue = row_of(call, repo, issue_number)
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
    call.kept("comments", repo).append(row)
    issue["updated_at"] = call.now
    return call.reply(comment(call, repo, row), 201)


def numbered(call: Call, rows: list[Json], id: str) -> Json:
    """The row of this number; 404 where there is none."""
    row = next((one for one in rows if str(one["id"]) == id), None)
    if row is None:
        raise call.missing()
    return row


def own(call: Call, rows: list[Json], id: str, repo: Json) -> Json:
    """A comment that I may change: mine, or any where I may push."""
    row = numbered(call, rows, id)
    if row["user"] != call.me and not call.pushes(repo):
        raise Refused(call.refusal(403, "Must have admin rights to Repository."))
    return row


@route("GET", "R/issues/comments/{comment_id}", "issues:read")
def one_comment(call: Call, repo: Json, comment_id: str) -> Reply:
    """One comment, by its number."""
    return call.reply(comment(call, repo, numbered(call, call.kept("comments", repo), comment_id)))


@route("PATCH", "R/issues/comments/{comment_id}", "issues:write")
def edit(call: Call, repo: Json, comment_id: str) -> Reply:
    """The comment with its new words."""
    row = own(call, call.kept("comments", repo), comment_id, repo)
    row["body"] = call.body()["body"]
    return call.reply(comment(call, repo, row))


@route("DELETE", "R/issues/comments/{comment_id}", "issues:write")
def delete(call: Call, repo: Json, comment_id: str) -> Reply:
    """204."""
    rows = call.kept("comments", repo)
    rows.remove(own(call, rows, comment_id, repo))
    return call.none()
