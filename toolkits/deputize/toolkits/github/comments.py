"""GitHub: reading comments of issues and pull requests, and review threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Continuation, Need, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset, Raw
from deputize.toolkits._shared.page import lean
from deputize.toolkits._shared.zone import in_zone, nobody
from deputize.toolkits.github import api, documents
from deputize.toolkits.github.api import Json, List, Page, pages
from deputize.toolkits.github.argument_types import Node, Number, Repo, When
from deputize.toolkits.github.base import GITHUB, Asks, reads
from deputize.toolkits.github.issues import moment
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Prose, with_full_body
from deputize.toolkits.github.rows import ZONED, code_comment_call, comment, comment_call
from deputize.toolkits.github.search import is_elsewhere

Kind = Literal["conversation", "review"]
_READ = "issues:read", "pull_requests:read"
IN_THREAD = 300  # bytes of a comment in a thread, at least


def place_of(kind: Kind) -> str:
    """Return the path of a comment."""
    return f"R/{'pulls' if kind == 'review' else 'issues'}/comments/{{comment_id}}"


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["comment_id"]:
        rights = _READ[1:] if arguments["kind"] == "review" else _READ
        return [reads(f"GET {place_of(arguments['kind'])}", *rights)]
    if arguments["thread_id"]:
        return [reads("GRAPHQL ReviewThreadComments", "pull_requests:read")]
    if arguments["kind"] == "review":
        one = "GRAPHQL ReviewThreads" if arguments["number"] else "GET R/pulls/comments"
        return [reads(one, "pull_requests:read")]
    one = "GET R/issues/{issue_number}/comments" if arguments["number"] else "GET R/issues/comments"
    return [reads(one, *_READ)]


@GITHUB.tool(needs=_list_needs)
@in_repo("this issue or pull request")
def list_comments(
    repo: Repo,
    number: Number | None = None,
    kind: Annotated[Kind, Field(description="review: on lines of code")] = "conversation",
    comment_id: Annotated[Number | None, Field(description="this one whole")] = None,
    offset: Annotated[Offset, Field(description="into that one")] = 0,
    raw: Raw = False,
    thread_id: Annotated[Node | None, Field(description="all comments of this review thread")] = None,
    unresolved_only: bool = False,
    updated_after: When | None = None,
    sort: Literal["oldest", "newest"] = "oldest",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Comments of an issue or pull request, or all of a repository; review threads with their state."""
    if comment_id:
        row = yield from api.get(place_of(kind), repo, at={"comment_id": comment_id})
        return with_full_body(_row(repo, kind, row), row, offset, _read_call(repo, kind, comment_id), raw=raw)
    if offset or raw:
        raise InvalidInput("offset, raw: only when reading one comment.", hint="Give comment_id.")
    if unresolved_only and not (number and kind == "review"):
        raise InvalidInput(
            "unresolved_only: only together with number and kind=review.",
            hint="Add number and kind=review, or leave out unresolved_only.",
        )
    if thread_id:
        return (yield from _one_thread(repo, thread_id, limit, cursor, run)) | ZONED
    run = yield from in_zone(run, nobody, updated_after=updated_after)
    since = moment(updated_after, run.now, "updated_after", run.zone)
    bound = ("github_list_comments", run.account.subject, repo, number, kind, unresolved_only, updated_after, sort)
    if kind == "review" and number:
        if since or sort == "newest":
            raise InvalidInput(
                "updated_after, sort: cannot be used for the review threads of one pull request.",
                hint="Leave out updated_after and sort.",
            )
        shown = yield from _threads(bound, repo, number, unresolved_only).show(limit, cursor)
        return shown | ZONED
    order = {"sort": "created", "direction": "desc" if sort == "newest" else "asc"}
    if number:
        if sort == "newest":
            raise InvalidInput(
                "sort: cannot be used for one issue; its comments are sorted oldest first.", hint="Leave out sort."
            )
        read = pages("R/issues/{issue_number}/comments", repo, at={"issue_number": number}, params={"since": since})
    else:
        where = "pulls" if kind == "review" else "issues"
        read = pages(f"R/{where}/comments", repo, params={**order, "since": since})
    return (yield from List(bound, read, partial(_row, repo, kind), more=ZONED).show(limit, cursor))


def _read_call(repo: str, kind: Kind, id: int) -> Continuation:
    """Return the call that reads one comment."""
    return code_comment_call(repo, id) if kind == "review" else comment_call(repo, {"id": id})


def _row(repo: str, kind: Kind, row: Mapping[str, Any]) -> Json:
    about = str(row.get("issue_url") or row.get("pull_request_url") or "").rpartition("/")[2]
    more = {
        "number": int(about) if about.isdecimal() else None,
        "path": row.get("path"),
        "line": row.get("line") or row.get("original_line"),
        "in_reply_to": row.get("in_reply_to_id"),
    }
    return comment(row, _read_call(repo, kind, int(row.get("id") or 0))) | {
        name: value for name, value in more.items() if value
    }


def _threads(bound: tuple[Any, ...], repo: str, number: int, unresolved: bool) -> List:
    def read(token: str, size: int) -> Asks[Page]:
        data = yield from documents.query_repo(
            documents.THREADS, repo, number=number, first=min(size, 50), after=token or None
        )
        return documents.page_of((data.get("pullRequest") or {}).get("reviewThreads") or {})

    return List(bound, read, lambda node: None if unresolved and node.get("isResolved") else _thread(repo, node))


def _thread(repo: str, node: Mapping[str, Any]) -> Json:
    told = node.get("comments") or {}
    nodes, total = list(told.get("nodes") or ()), int(told.get("totalCount") or 0)
    rows = [_thread_comment(repo, one, max(IN_THREAD, _THREAD // len(nodes))) for one in nodes]
    more = {"more_comments": total - len(rows)} if total > len(rows) else {}
    return _facts(node) | {"comments": rows} | more


_THREAD: Final = 3_000  # bytes of all comments of a thread in a row


def _thread_comment(repo: str, node: Mapping[str, Any], limit: int) -> Json:
    """Return a row for a comment in a thread, with its REST number."""
    id = int(node.get("fullDatabaseId") or 0)
    return comment({**node, "id": id or None}, code_comment_call(repo, id), limit)


def _facts(node: Mapping[str, Any]) -> Json:
    return {
        "thread_id": node.get("id"),
        "resolved": bool(node.get("isResolved")),
        "outdated": bool(node.get("isOutdated")),
        "path": Prose().line(str(node.get("path", "")), 300),
        "line": node.get("line"),
        "untrusted": True,
    }


def _one_thread(repo: str, id: str, limit: int, cursor: str | None, run: Run) -> Asks[Json]:
    """Return all comments of one thread, if it belongs to this repository."""
    facts: Json = {}

    def read(token: str, size: int) -> Asks[Page]:
        data = yield from documents.query(documents.THREAD_COMMENTS, id=id, first=min(size, 50), after=token or None)
        node = data.get("node") or {}
        if is_elsewhere(repo, None, str((node.get("repository") or {}).get("nameWithOwner", ""))):
            raise InvalidInput(
                "thread_id: not a review thread of this repository.",
                hint="github_list_comments(kind=review) lists them.",
            )
        facts.update(_facts(node) | {"number": (node.get("pullRequest") or {}).get("number")})
        return documents.page_of(node.get("comments") or {})

    bound = ("github_list_comments", run.account.subject, repo, id)
    shown = yield from List(bound, read, lambda node: _thread_comment(repo, node, _THREAD // 2)).show(limit, cursor)
    return lean(facts) | {"comments": shown["items"], "next": shown["next"]}
