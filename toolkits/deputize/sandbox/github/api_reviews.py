"""Reviews of pull requests, and comments on their lines."""

from __future__ import annotations

import re

from deputize.sandbox.github.api_comments import find_by_id, find_editable
from deputize.sandbox.github.api_pulls import PULL, READ, WRITE, changed_files, find_pull, head_sha
from deputize.sandbox.github.call import HOST, Call, Json
from deputize.sandbox.github.issues import association
from deputize.sandbox.github.routes import route
from deputize.sandbox.http_types import Refused, Reply

_STATES = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}


@route("GET", f"{PULL}/reviews", READ)
def reviews(call: Call, repo: Json, pull_number: str) -> Reply:
    """Return the reviews, oldest first."""
    number = find_pull(call, repo, pull_number)["number"]
    return call.page([_review(call, repo, row) for row in call.records("reviews", repo) if row["number"] == number])


@route("GET", f"{PULL}/reviews/{{review_id}}", READ)
def one_review(call: Call, repo: Json, pull_number: str, review_id: str) -> Reply:
    number = find_pull(call, repo, pull_number)["number"]
    rows = [row for row in call.records("reviews", repo) if row["number"] == number]
    return call.reply(_review(call, repo, find_by_id(call, rows, review_id)))


def _review(call: Call, repo: Json, row: Json) -> Json:
    return {
        "id": row["id"],
        "node_id": f"PRR_{row['id']}",
        "user": call.user(row["user"]),
        "body": row["body"],
        "state": row["state"],
        "html_url": f"https://github.com/{repo['full_name']}/pull/{row['number']}#pullrequestreview-{row['id']}",
        "submitted_at": row["at"],
        "commit_id": row["sha"],
        "author_association": association(repo, f"{row['user']}@example.test"),
    }


@route("POST", f"{PULL}/reviews", WRITE)
def create(call: Call, repo: Json, pull_number: str) -> Reply:
    """Return 200. Raise 422 for the caller's own pull request, a line outside the diff, or an empty review."""
    pull, given = find_pull(call, repo, pull_number), call.body()
    event = given.get("event", "COMMENT")
    if event in ("APPROVE", "REQUEST_CHANGES") and pull["user"] == call.person.email:
        word = "approve" if event == "APPROVE" else "request changes on"
        raise Refused(call.refusal(422, "Unprocessable Entity", f"Can not {word} your own pull request"))
    comments = given.get("comments", ())
    if event != "APPROVE" and not given.get("body") and not comments:
        raise Refused(call.refusal(422, "Unprocessable Entity", "Body can't be blank"))
    files = {row["filename"]: row for row in changed_files(call, repo, pull)}
    if not all(_is_in_diff(files.get(one["path"]), one.get("line"), one.get("side", "RIGHT")) for one in comments):
        raise Refused(call.refusal(422, "Unprocessable Entity", "Line could not be resolved"))
    row = {"id": call.next_id(), "number": pull["number"], "user": call.me, "state": _STATES[event], "at": call.now}
    row |= {"body": given.get("body") or "", "sha": given.get("commit_id") or head_sha(repo, pull)}
    call.records("reviews", repo).append(row)
    for one in comments:
        _store_comment(call, repo, pull, one)
    pull["pull"]["reviewers"] = [name for name in pull["pull"]["reviewers"] if name != call.me]
    return call.reply(_review(call, repo, row))


def _is_in_diff(file: Json | None, line: int | None, side: str) -> bool:
    if file is None:
        return False
    sign = r"\+" if side == "RIGHT" else "-"
    spans = re.findall(rf"^@@ .*?{sign}(\d+)(?:,(\d+))?.*? @@", file.get("patch", ""), re.MULTILINE)
    return line is None or any(int(start) <= line < int(start) + int(length or 1) for start, length in spans)


def _store_comment(call: Call, repo: Json, pull: Json, given: Json, reply_to: Json | None = None) -> Json:
    id = call.next_id()
    thread = reply_to["thread"] if reply_to else f"PRRT_thread{id}"
    row: Json = {"id": id, "number": pull["number"], "user": call.me, "body": given["body"], "at": call.now}
    row |= {"path": (reply_to or given)["path"], "line": (reply_to or given).get("line"), "thread": thread}
    row |= {"side": given.get("side", "RIGHT"), "reply_to": reply_to["id"] if reply_to else None}
    call.records("review_comments", repo).append(row)
    call.store["threads"].setdefault(thread, {"repo": repo["full_name"], "resolved": False})
    return row


def comment(call: Call, repo: Json, row: Json) -> Json:
    """Return a comment on a line in GitHub's format."""
    where = f"{repo['full_name']}/pull/{row['number']}"
    told: Json = {
        "id": row["id"],
        "node_id": f"PRRC_{row['id']}",
        "path": row["path"],
        "line": row["line"],
        "side": row["side"],
        "body": row["body"],
        "user": call.user(row["user"]),
        "created_at": row["at"],
        "updated_at": row["at"],
        "html_url": f"https://github.com/{where}#discussion_r{row['id']}",
        "pull_request_url": f"https://{HOST}/repos/{repo['full_name']}/pulls/{row['number']}",
        "author_association": association(repo, f"{row['user']}@example.test"),
    }
    return told | ({"in_reply_to_id": row["reply_to"]} if row["reply_to"] else {})


@route("GET", "R/pulls/comments", READ)
def every_comment(call: Call, repo: Json) -> Reply:
    rows = [row for row in call.records("review_comments", repo) if row["at"] >= call.ask.one("since")]
    rows = list(reversed(rows)) if call.ask.one("direction") == "desc" else rows
    return call.page([comment(call, repo, row) for row in rows])


@route("GET", f"{PULL}/comments", READ)
def comments(call: Call, repo: Json, pull_number: str) -> Reply:
    number = find_pull(call, repo, pull_number)["number"]
    rows = [row for row in call.records("review_comments", repo) if row["number"] == number]
    rows = list(reversed(rows)) if call.ask.one("direction") == "desc" else rows
    return call.page([comment(call, repo, row) for row in rows])


@route("POST", f"{PULL}/comments", WRITE)
def write(call: Call, repo: Json, pull_number: str) -> Reply:
    """Comment on a file or a line."""
    pull, given = find_pull(call, repo, pull_number), call.body()
    files = {row["filename"]: row for row in changed_files(call, repo, pull)}
    if not _is_in_diff(files.get(str(given.get("path"))), given.get("line"), given.get("side", "RIGHT")):
        raise call.invalid("PullRequestReviewComment", "path")
    return call.reply(comment(call, repo, _store_comment(call, repo, pull, given)), 201)


@route("POST", f"{PULL}/comments/{{comment_id}}/replies", WRITE)
def reply(call: Call, repo: Json, pull_number: str, comment_id: str) -> Reply:
    """Reply in the thread of a comment that is not itself a reply."""
    pull = find_pull(call, repo, pull_number)
    to = next((row for row in call.records("review_comments", repo) if str(row["id"]) == comment_id), None)
    if to is None or to["number"] != pull["number"]:
        raise call.not_found()
    return call.reply(comment(call, repo, _store_comment(call, repo, pull, call.body(), to)), 201)


@route("GET", "R/pulls/comments/{comment_id}", READ)
def one_comment(call: Call, repo: Json, comment_id: str) -> Reply:
    return call.reply(comment(call, repo, find_by_id(call, call.records("review_comments", repo), comment_id)))


@route("PATCH", "R/pulls/comments/{comment_id}", WRITE)
def edit(call: Call, repo: Json, comment_id: str) -> Reply:
    row = find_editable(call, call.records("review_comments", repo), comment_id, repo)
    row["body"] = call.body()["body"]
    return call.reply(comment(call, repo, row))


@route("DELETE", "R/pulls/comments/{comment_id}", WRITE)
def delete(call: Call, repo: Json, comment_id: str) -> Reply:
    rows = call.records("review_comments", repo)
    rows.remove(find_editable(call, rows, comment_id, repo))
    return call.empty_reply()
