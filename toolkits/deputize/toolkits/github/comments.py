"""GitHub: comments of issues and pull requests, and review threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Account, ActKey, Alias, Need, Request, Run, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Append, Cursor, IfText, Limit, Offset, Raw, Replaces
from deputize.toolkits._shared.long_text import Edit
from deputize.toolkits.github import api, documents
from deputize.toolkits.github.api import Json, List, Page, pages, rest
from deputize.toolkits.github.argument_types import Number, Repo
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.issues import moment
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.once import once
from deputize.toolkits.github.prose import Body, Prose, in_full, is_marked, is_own, marked, new_body
from deputize.toolkits.github.rows import COMMENT, ZONED, comment

Kind = Literal["conversation", "review"]
_READ = "issues:read", "pull_requests:read"
_IN_THREAD = 300  # bytes of a comment in a thread


def _place(kind: Kind) -> str:
    return f"R/{'pulls' if kind == 'review' else 'issues'}/comments/{{comment_id}}"


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["comment_id"]:
        rights = _READ[1:] if arguments["kind"] == "review" else _READ
        return [reads(f"GET {_place(arguments['kind'])}", *rights)]
    if arguments["kind"] == "review":
        one = "GRAPHQL ReviewThreads" if arguments["number"] else "GET R/pulls/comments"
        return [reads(one, "pull_requests:read")]
    one = "GET R/issues/{issue_number}/comments" if arguments["number"] else "GET R/issues/comments"
    return [reads(one, *_READ)]


@GITHUB.tool(
    needs=_list_needs,
    aliases=[
        Alias("GitHub.ListReviewCommentsInARepository", sets={"kind": "review"}),
        Alias("GitHub.ListReviewCommentsOnPullRequest", sets={"kind": "review"}),
    ],
)
@in_repo("this issue or pull request")
def list_comments(
    repo: Repo,
    number: Number | None = None,
    kind: Kind = "conversation",
    comment_id: Annotated[Number | None, Field(description="this one whole")] = None,
    offset: Offset = 0,
    raw: Raw = False,
    unresolved_only: bool = False,
    updated_after: str | None = None,
    sort: Literal["oldest", "newest"] = "oldest",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Comments of an issue or pull request, or all of a repository; review threads with their state."""
    if comment_id:
        row = yield from api.get(_place(kind), repo, at={"comment_id": comment_id})
        return in_full(_row(row), row, offset, raw=raw)
    if offset or raw:
        raise InvalidInput("offset, raw: only when reading one comment.", hint="Give comment_id.")
    if unresolved_only and not (number and kind == "review"):
        raise InvalidInput("unresolved_only: only together with number and kind=review.")
    since = moment(updated_after, run.now, "updated_after")
    bound = ("github_list_comments", run.account.subject, repo, number, kind, unresolved_only, updated_after, sort)
    if kind == "review" and number:
        if since or sort == "newest":
            raise InvalidInput("updated_after, sort: cannot be used for the review threads of one pull request.")
        shown = yield from _threads(bound, repo, number, unresolved_only).show(limit, cursor)
        return shown | ZONED
    order = {"sort": "created", "direction": "desc" if sort == "newest" else "asc"}
    if number:
        if sort == "newest":
            raise InvalidInput("sort: cannot be used for one issue; its comments are sorted oldest first.")
        read = pages("R/issues/{issue_number}/comments", repo, at={"issue_number": number}, params={"since": since})
    else:
        where = "pulls" if kind == "review" else "issues"
        read = pages(f"R/{where}/comments", repo, params={**order, "since": since})
    return (yield from List(bound, read, _row, more=ZONED).show(limit, cursor))


def _row(row: Mapping[str, Any]) -> Json:
    about = str(row.get("issue_url") or row.get("pull_request_url") or "").rpartition("/")[2]
    more = {
        "number": int(about) if about.isdecimal() else None,
        "path": row.get("path"),
        "line": row.get("line") or row.get("original_line"),
        "in_reply_to": row.get("in_reply_to_id"),
    }
    return comment(row) | {name: value for name, value in more.items() if value}


def _threads(bound: tuple[Any, ...], repo: str, number: int, unresolved: bool) -> List:
    def read(token: str, size: int) -> Asks[Page]:
        data = yield from documents.of_repo(
            documents.THREADS, repo, number=number, first=min(size, 50), after=token or None
        )
        return documents.page_of((data.get("pullRequest") or {}).get("reviewThreads") or {})

    return List(bound, read, lambda node: None if unresolved and node.get("isResolved") else _thread(node))


def _thread(node: Mapping[str, Any]) -> Json:
    told = node.get("comments") or {}
    rows = [
        comment(one | {"id": int(one.get("fullDatabaseId") or 0) or None}, _IN_THREAD)
        for one in told.get("nodes") or ()
    ]
    shown: Json = {
        "thread_id": node.get("id"),
        "resolved": bool(node.get("isResolved")),
        "outdated": bool(node.get("isOutdated")),
        "path": Prose().line(str(node.get("path", "")), 300),
        "line": node.get("line"),
        "comments": rows,
        "more_comments": bool((told.get("pageInfo") or {}).get("hasNextPage")),
        "from_outside": True,
    }
    return shown


# ----------------------------------------------------------------- write


def _write_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["comment_id"]:
        path, review = _place(arguments["comment_kind"]), arguments["comment_kind"] == "review"
        rights = ("pull_requests",) if review else ("issues", "pull_requests")
        look = reads(f"GET {path}", *(f"{one}:read" for one in rights))
        return [*changes(f"PATCH {path}", *(f"{one}:write" for one in rights)), look]
    if arguments["reply_to"]:
        method = "POST R/pulls/{pull_number}/comments/{comment_id}/replies"
    else:
        method = "POST R/issues/{issue_number}/comments"
    permissions = ("pull_requests:write",) if "/pulls/" in method else ("issues:write", "pull_requests:write")
    return changes(method, *permissions)


@GITHUB.tool(
    needs=_write_needs,
    effect=SENDS,
    aliases=["GitHub.CreateIssueComment", "GitHub.CreateReplyForReviewComment"],
)
@in_repo("this issue, pull request or comment")
def write_comment(
    repo: Repo,
    body: Body,
    number: Number | None = None,
    reply_to: Number | None = None,
    comment_id: Number | None = None,
    comment_kind: Kind = "conversation",
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    *,
    run: Run,
) -> Steps:
    """Comment on an issue or pull request, reply to a review comment, or edit my comment."""
    edit = Edit(append, replaces, if_text)
    if not body.strip() and replaces is None:
        raise InvalidInput("body: empty.")
    if edit != Edit() and not comment_id:
        raise InvalidInput("append, replaces, if_text: only when editing a comment.", hint="Give comment_id.")
    if comment_id:
        if number or reply_to:
            raise InvalidInput("comment_id: cannot be combined with number or reply_to; it edits a comment.")
        return (yield from _edited(repo, comment_id, comment_kind, body, edit, run.key, run.account))
    if not number:
        raise InvalidInput("number: needed: the number of the issue or pull request.")
    text = {"body": marked(body, run.key)}
    if reply_to:
        at = {"pull_number": number, "comment_id": reply_to}
        request = rest("POST R/pulls/{pull_number}/comments/{comment_id}/replies", repo, at=at, json=text)
        listed = rest("GET R/pulls/{pull_number}/comments", repo, at={"pull_number": number}, params=_NEWEST)
    else:
        at = {"issue_number": number}
        request = rest("POST R/issues/{issue_number}/comments", repo, at=at, json=text)
        since = moment("-1d", run.now, "since")
        listed = rest("GET R/issues/{issue_number}/comments", repo, at=at, params={"per_page": 100, "since": since})
    made = yield from once(run.noted, api.sent(request), lambda: _marked(listed, run.key, run.account), "comment")
    return _receipt(made, "Written.") | {"number": number}


_NEWEST = {"sort": "created", "direction": "desc", "per_page": 100}


def _edited(repo: str, id: int, kind: Kind, body: str, edit: Edit, key: ActKey, account: Account) -> Asks[Json]:
    """A comment of the user's own with other words; who may push could change those of others, too."""
    path, at = _place(kind), {"comment_id": id}
    row = yield from api.get(path, repo, at=at)
    if not is_own(row, account):
        raise InvalidInput(
            "comment_id: somebody else wrote this comment.", hint="Only the user's own comments can be edited."
        )
    given = new_body(row, body, edit, key, limit=_IN_THREAD if kind == "review" else COMMENT)
    if not given:
        return _receipt(row, "Edited.")
    change = rest(f"PATCH {path}", repo, at=at, json=given, repeat="idem")
    return _receipt((yield from api.send(change)).data, "Edited.")


def _marked(listed: Request, key: ActKey, account: Account) -> Asks[Json | None]:
    """The comment of this act, if it is there."""
    for _ in range(3):
        answer = yield from api.send(listed)
        if found := next((dict(row) for row in answer.data if is_marked(row, key, account)), None):
            return found
        page = api.following(answer.headers)
        if not page:
            return None
        listed = replace(listed, params={**(listed.params or {}), "page": page})
    return None


def _receipt(row: Mapping[str, Any], summary: str) -> Json:
    return {"id": row.get("id"), "url": row.get("html_url"), "summary": summary}
