"""GitHub: finding and reading pull requests, and their readiness to merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Continuation, Need, Run, Steps, Wait
from deputize.core.errors import Conflict, DeputizeError
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset, Raw
from deputize.toolkits.github import api, documents
from deputize.toolkits.github import name_lookup as names
from deputize.toolkits.github.api import Json, List, pages
from deputize.toolkits.github.argument_types import Branch, Head, Number, Owner, Path, Person, Repo
from deputize.toolkits.github.base import GITHUB, PULL, Asks, reads
from deputize.toolkits.github.blocks import blocks, rows
from deputize.toolkits.github.checks import verdict
from deputize.toolkits.github.diffs import diff, files
from deputize.toolkits.github.issues import search_issues
from deputize.toolkits.github.newest_first import newest_first
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Prose, body_alone, body_of, body_row, with_full_body
from deputize.toolkits.github.rows import (
    COMMENT,
    ZONED,
    assoc,
    full,
    labels,
    login,
    logins,
    outer,
    pull_row,
    short,
    state_of,
)
from deputize.toolkits.github.search import add_qualifiers, check_query, public_only_note

Sort = Literal["created", "updated", "popularity", "long-running"]


def _is_plain_list(arguments: Arguments) -> bool:
    """Return whether the repository's list is enough, without a search."""
    searched = any(arguments[one] for one in ("query", "org", "author", "reviewer"))
    return bool(arguments["repo"]) and not searched and arguments["draft"] is None and arguments["state"] != "merged"


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    people = [reads("GET U")] if arguments["author"] or arguments["reviewer"] else []
    return [reads("GET R/pulls" if _is_plain_list(arguments) else "GET /search/issues", "pull_requests:read"), *people]


@GITHUB.tool(needs=_list_needs)
@in_repo()
def list_pulls(
    repo: Repo | None = None,
    org: Owner | None = None,
    query: Annotated[str, Field(description="text or search syntax")] = "",
    state: Literal["open", "closed", "merged", "all"] = "open",
    author: Annotated[Person | None, Field(description="login or @me")] = None,
    reviewer: Annotated[Person | None, Field(description="asked for a review: login or @me")] = None,
    base: Annotated[Branch | None, Field(description="target branch")] = None,
    head: Annotated[Head | None, Field(description="branch or user:branch")] = None,
    draft: bool | None = None,
    sort: Sort = "updated",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Find pull requests in a repository, an organization or everywhere I can see."""
    filters = (repo, org, query, state, author, reviewer, base, head, draft, sort)
    bound = ("github_list_pulls", run.account.subject, *filters)
    asked = {"repo": repo, "org": org, "query": query.strip(), "author": author, "reviewer": reviewer}
    if _is_plain_list({**asked, "draft": draft, "state": state}) and repo:
        owner = repo.partition("/")[0]
        params = {
            "state": state,
            "base": base,
            "head": head if not head or ":" in head else f"{owner}:{head}",
            "sort": sort,
            "direction": "asc" if sort == "long-running" else "desc",
        }
        read = pages("R/pulls", repo, params=params)
        listing = List(bound, read, pull_row, more=ZONED, page=f"/{repo}/pull/{{number}}")
        return (yield from listing.show(limit, cursor))
    q = add_qualifiers(
        check_query(query, fixed=bool(repo or org)),
        {
            "is": ["pull-request", *(["merged"] if state == "merged" else [])],
            "repo": repo,
            "org": org,
            "state": state if state in ("open", "closed") else None,
            "author": names.resolve_me(author, run.account) if author else None,
            "review-requested": names.resolve_me(reviewer, run.account) if reviewer else None,
            "base": base,
            "head": head.rpartition(":")[2] if head else None,
            "draft": None if draft is None else str(draft).lower(),
        },
    )
    order = {"popularity": "comments", "long-running": "created"}.get(sort, sort)
    shown = yield from search_issues(bound, q, order, repo, org).show(limit, cursor)
    if not shown["items"] and not cursor:  # a typo would look like "none"
        yield from names.check_people(run.account, author=author, reviewer=reviewer)
    return shown | ZONED | public_only_note(run.granted)


# ----------------------------------------------------------------- one pull request

Extra = Literal["files", "diff", "reviews"]


def _get_needs(arguments: Arguments) -> Sequence[Need]:
    wanted = arguments["include"] or ()
    files = "files" in wanted or "diff" in wanted or arguments["path"]
    return [
        reads(f"GET {PULL}", "pull_requests:read"),
        reads("GRAPHQL PullMergeState", "pull_requests:read"),
        reads("GET R/commits/{ref}/check-runs", "checks:read"),
        reads("GET R/commits/{ref}/status", "statuses:read"),
        *([reads(f"GET {PULL}/files", "pull_requests:read")] if files else []),
        *([reads(f"GET {PULL}/reviews", "pull_requests:read")] if "reviews" in wanted else []),
        *([reads(f"GET {PULL}/reviews/{{review_id}}", "pull_requests:read")] if arguments["review_id"] else []),
    ]


@GITHUB.tool(needs=_get_needs)
@in_repo("this pull request")
def get_pull(
    repo: Repo,
    number: Number,
    include: list[Extra] | None = None,
    path: Annotated[Path, Field(description="only this file or folder")] = "",
    cursor: Cursor = None,
    review_id: Annotated[Number | None, Field(description="this review whole")] = None,
    offset: Annotated[Offset, Field(description="into the body")] = 0,
    raw: Raw = False,
    *,
    run: Run,
) -> Steps:
    """One pull request: body, merge readiness and blockers; optionally files, diff, reviews (newest first)."""
    at = {"pull_number": number}
    wanted = list(dict.fromkeys(include or ()))
    if review_id:
        return {"number": number} | (yield from _whole_review(repo, number, review_id, offset, raw))
    more = Continuation("github_get_pull", repo=repo, number=number)
    row = yield from api.get(PULL, repo, at=at)
    if offset or raw:
        return {"number": number, **body_alone(row, offset, more, raw=raw)}
    outside = Prose()
    body = body_of(outside, row, more)
    shown = _pull(row, outside)
    if cursor:  # the rest of a block only
        shown = {name: shown[name] for name in ("number", "title", "head_sha", "untrusted")}
    else:
        shown |= body | {"merge": (yield from readiness(repo, number, row))}
    bound = ("github_get_pull", run.account.subject, repo, number)
    changed = pages(f"{PULL}/files", repo, at=at)
    known = {
        "files": files(bound, changed, path),
        "diff": diff(bound, changed, path),
        "reviews": rows("reviews", bound, newest_first(f"{PULL}/reviews", repo, at=at), partial(_review, more)),
    }
    return shown | (yield from blocks({name: known[name] for name in wanted}, cursor))


def _whole_review(repo: str, number: int, id: int, offset: int, raw: bool) -> Asks[Json]:
    row = yield from api.get(f"{PULL}/reviews/{{review_id}}", repo, at={"pull_number": number, "review_id": id})
    more = Continuation("github_get_pull", repo=repo, number=number, review_id=id)
    return with_full_body(_review(more, row), row, offset, more, raw=raw)


def _pull(row: Mapping[str, Any], outside: Prose) -> Json:
    base, head = row.get("base") or {}, row.get("head") or {}
    fork = (head.get("repo") or {}).get("full_name")
    shown: Json = {
        "number": row.get("number"),
        "title": outside.whole_title(row.get("title")),
        "state": state_of(row),
        "draft": bool(row.get("draft")),
        "author": login(row.get("user")),
        "assoc": assoc(row.get("author_association")),
        "base": outside.line(str(base.get("ref", "")), 120),
        "head": outside.line(str(head.get("ref", "")), 120),
        "head_sha": head.get("sha"),
        "labels": labels(row, outside),
        "reviewers": reviewers_of(row),
        "changed_files": row.get("changed_files"),
        "visibility": "private" if (base.get("repo") or {}).get("private") else "public",
        "created": full(row.get("created_at")),
        "url": row.get("html_url"),
    }
    if fork and fork != (base.get("repo") or {}).get("full_name"):
        shown["head_repo"] = fork
    return outer(shown, outside)


def reviewers_of(row: Mapping[str, Any]) -> list[str]:
    """Return the requested reviewers: people, and teams by their slug."""
    teams = [f"team {one.get('slug')}" for one in row.get("requested_teams") or ()]
    return logins(row.get("requested_reviewers"), 100) + teams


def _review(pull: Continuation, row: Mapping[str, Any]) -> Json:
    outside = Prose()
    more = Continuation(pull.tool, **{**pull.arguments, "review_id": int(row.get("id") or 0)})
    shown: Json = {
        "id": row.get("id"),
        "author": login(row.get("user")),
        "state": str(row.get("state", "")).lower(),
        **body_row(outside, row.get("body"), COMMENT, more),
        "time": short(row.get("submitted_at")),
        "sha": str(row.get("commit_id") or "")[:12],
    }
    return outer({name: value for name, value in shown.items() if value}, outside)


def readiness(repo: str, number: int, row: Mapping[str, Any]) -> Asks[Json]:
    """Return whether a pull request can be merged, and its blockers."""
    if row.get("merged_at") or row.get("state") == "closed":
        return {"ready": False, "blockers": ["merged already" if row.get("merged_at") else "closed"]}
    state = yield from _merge_state(repo, number)
    for pause in (1, 1, 1):
        if row.get("mergeable") is not None:
            break
        yield Wait(pause)  # GitHub is still computing it
        row = yield from api.get(PULL, repo, at={"pull_number": number})
    checks = yield from verdict(repo, str((row.get("head") or {}).get("sha", "")))
    word = str(state.get("mergeStateStatus") or row.get("mergeable_state") or "unknown").lower()
    blockers = _blockers(row, state, checks, word)
    decision = str(state.get("reviewDecision") or "").lower()
    told: Json = {"ready": not blockers, "state": word, "checks": checks, "blockers": blockers}
    told |= {"review_decision": decision} if decision else {}
    told |= {"auto_merge": True} if state.get("autoMergeRequest") or row.get("auto_merge") else {}
    return told | ({"in_merge_queue": True} if state.get("isInMergeQueue") else {})


def _merge_state(repo: str, number: int) -> Asks[Json]:
    """Return the merge state, which only GraphQL has; empty on a host without it."""
    try:
        data = yield from documents.query_repo(documents.MERGE_STATE, repo, number=number)
    except DeputizeError:
        return {}
    return dict(data.get("pullRequest") or {})


def _blockers(row: Mapping[str, Any], state: Json, checks: Mapping[str, Any], word: str) -> list[str]:
    decision = state.get("reviewDecision")
    found = {
        "draft": row.get("draft"),
        "conflicts with the base branch": row.get("mergeable") is False or word == "dirty",
        "changes requested": decision == "CHANGES_REQUESTED",
        "a review is required": decision == "REVIEW_REQUIRED",
        "checks failed": checks.get("failed"),
        "checks pending": checks.get("pending"),
        "unknown: not all checks could be read": checks.get("not_all_read"),
        "behind the base branch": word == "behind",
        "unknown: GitHub is still computing": row.get("mergeable") is None and not row.get("draft"),
    }
    told = [name for name, there in found.items() if there]
    return told or (["blocked by rules of the branch"] if word == "blocked" else [])


def stale() -> Conflict:
    """Return the error for a head that has moved."""
    hint = "Read it again: github_get_pull."
    return Conflict("conflict (stale): the pull request has new commits since it was read.", reason="stale", hint=hint)
