"""GitHub: reading branches, tags, commits and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Continuation, Need, Request, Run, Steps
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset
from deputize.toolkits._shared.long_text import PART, part
from deputize.toolkits._shared.zone import in_zone, nobody
from deputize.toolkits.github import api, documents
from deputize.toolkits.github.api import Json, List, Page, pages, rest
from deputize.toolkits.github.argument_types import At, Head, Login, Number, Path, Ref, Repo, When
from deputize.toolkits.github.base import GITHUB, Asks, reads
from deputize.toolkits.github.blocks import blocks
from deputize.toolkits.github.diffs import diff, files
from deputize.toolkits.github.name_lookup import check_people
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import BODY, WORDS, Prose, code
from deputize.toolkits.github.repos import branch_row
from deputize.toolkits.github.rows import ZONED, commit_row, committer, full, login, outer, short

Kind = Literal["branches", "tags"]


def _refs_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["kind"] == "branches":
        return [reads("GRAPHQL BranchesByRecency", "contents:read"), reads("GET R/branches", "contents:read")]
    return [reads("GET R/tags", "contents:read")]


@GITHUB.tool(needs=_refs_needs)
@in_repo()
def list_refs(
    repo: Repo, kind: Kind = "branches", query: str = "", limit: Limit = 20, cursor: Cursor = None, *, run: Run
) -> Steps:
    """Branches (newest first) or tags."""
    bound = ("github_list_refs", run.account.subject, repo, kind, query)
    words = query.strip().lower()
    if kind == "tags":
        row_of = lambda row: _ref(row) if words in str(row.get("name", "")).lower() else None  # noqa: E731
        return (yield from List(bound, pages("R/tags", repo), row_of).show(limit, cursor)) | {"untrusted": True}
    default: Json = {}

    def read(token: str, size: int) -> Asks[Page]:
        data = yield from documents.query_repo(
            documents.BRANCHES, repo, query=words or None, first=size, after=token or None
        )
        default["default_branch"] = (data.get("defaultBranchRef") or {}).get("name")
        return documents.page_of(data.get("refs") or {})

    try:
        shown = yield from List(bound, read, branch_row).show(limit, cursor)
    except (NotFound, InvalidInput):
        if cursor:
            raise
        shown = yield from _plain_branches(bound, repo, words, limit)  # a host without GraphQL
    return shown | default | ZONED | {"untrusted": True}


def _plain_branches(bound: tuple[Any, ...], repo: str, words: str, limit: int) -> Asks[Json]:
    listing = List(
        bound, pages("R/branches", repo), lambda row: _ref(row) if words in str(row.get("name", "")).lower() else None
    )
    return {**(yield from listing.show(limit, None)), "next": None}


def _ref(row: Mapping[str, Any]) -> Json:
    name = code(str(row.get("name", "")))[0]
    return {"name": name, "sha": (row.get("commit") or {}).get("sha"), "protected": bool(row.get("protected"))}


# ----------------------------------------------------------------- lists of commits


def _commits_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["pull"]:
        return [reads("GET R/pulls/{pull_number}/commits", "pull_requests:read")]
    return [reads("GET R/commits", "contents:read"), *([reads("GET U")] if arguments["author"] else [])]


@GITHUB.tool(needs=_commits_needs)
@in_repo("this branch, tag, sha or pull request")
def list_commits(
    repo: Repo,
    ref: At | None = None,
    pull: Number | None = None,
    path: Path | None = None,
    author: Annotated[Login | None, Field(description="login")] = None,
    after: When | None = None,
    before: When | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Commits of a branch, path, author or pull request."""
    if pull and (ref or path or author or after or before):
        raise InvalidInput("pull: cannot be combined with ref, path, author or dates.", hint="Leave out pull.")
    bound = ("github_list_commits", run.account.subject, repo, ref, pull, path, author, after, before)
    if pull:
        read = pages("R/pulls/{pull_number}/commits", repo, at={"pull_number": pull})
        more: Json = {"note": "A pull request lists at most 250 commits."}
        return (yield from List(bound, read, commit_row, more=more | ZONED).show(limit, cursor))
    run = yield from in_zone(run, nobody, after=after, before=before)
    since, until = times.window(after, before, run.now - run.now % 60, run.zone)
    params = {"sha": ref, "path": path, "author": author, "since": _iso(since), "until": _iso(until)}
    shown = yield from List(bound, pages("R/commits", repo, params=params), commit_row, more=ZONED).show(limit, cursor)
    if not shown["items"] and not cursor:
        yield from check_people(run.account, author=author)
    return shown


def _iso(seconds: int | None) -> str | None:
    return None if seconds is None else times.full(seconds * 1000).replace("+00:00", "Z")


@GITHUB.tool(needs=[reads("GET R/commits/{ref}", "contents:read")])
@in_repo("this commit")
def get_commit(
    repo: Repo,
    ref: Ref,
    include_diff: bool = False,
    path: Annotated[Path, Field(description="only this file or folder")] = "",
    cursor: Cursor = None,
    offset: Annotated[Offset, Field(description="into message")] = 0,
    *,
    run: Run,
) -> Steps:
    """One commit: message, stats, and its files or its diff."""
    request = rest("GET R/commits/{ref}", repo, wide={"ref": ref}, params={"per_page": 1 if offset else 100})
    found = (yield from api.send(request)).data
    sha = str(found["sha"])
    if offset:
        outside = Prose()
        return outer({"sha": sha} | _message(outside, repo, found, PART, offset), outside)
    shown = {"sha": sha, "untrusted": True} if cursor else _commit(repo, found)
    read = pages("R/commits/{ref}", repo, rows="files", wide={"ref": sha})
    block = (diff if include_diff else files)(("github_get_commit", run.account.subject, repo, sha), read, path)
    return shown | (yield from blocks({"diff" if include_diff else "files": block}, cursor))


def _message(outside: Prose, repo: str, row: Mapping[str, Any], limit: int | None, offset: int = 0) -> Json:
    """Return a part of a commit's message, without a digest because no tool rewrites it."""
    more = Continuation("github_get_commit", repo=repo, ref=str(row.get("sha")))
    told = part(WORDS, outside, (row.get("commit") or {}).get("message"), limit, offset, name="message", more=more)
    return {name: value for name, value in told.items() if name != "text_digest"}


def _commit(repo: str, row: Mapping[str, Any]) -> Json:
    outside = Prose()
    commit = row.get("commit") or {}
    author = commit.get("author") or {}
    shown: Json = {
        "sha": row.get("sha"),
        **_message(outside, repo, row, BODY),
        "author": committer(row, outside, 80),
        "date": full(author.get("date")),
        "parents": [one.get("sha") for one in row.get("parents") or ()],
        "stats": {name: (row.get("stats") or {}).get(name) for name in ("additions", "deletions")},
        "verified": bool((commit.get("verification") or {}).get("verified")),
        "url": row.get("html_url"),
    }
    return outer(shown, outside)


_COMMITS: Final = 20


@GITHUB.tool(needs=[reads("GET R/compare/{basehead}", "contents:read")])
@in_repo("this pair of refs")
def compare(
    repo: Repo,
    base: Annotated[Head, Field(description="branch, tag or sha; of a fork owner:branch")],
    head: Annotated[Head, Field(description="like base")],
    include_diff: bool = False,
    path: Annotated[Path, Field(description="only this file or folder")] = "",
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """What changed between two refs: the last commits, and the files or the diff."""
    request = rest("GET R/compare/{basehead}", repo, wide={"basehead": f"{base}...{head}"})
    found = (yield from api.send(request)).data
    changed = found.get("files") or []
    shown: Json = {"untrusted": True} if cursor else (yield from _comparison(request, found))

    def read(token: str, size: int) -> Asks[Page]:
        return Page(changed)
        yield

    block = (diff if include_diff else files)(("github_compare", run.account.subject, repo, base, head), read, path)
    shown |= yield from blocks({"diff" if include_diff else "files": block}, cursor)
    return shown | ({"note": "GitHub compares the first 300 files."} if len(changed) >= 300 else {})


def _comparison(request: Request, found: Mapping[str, Any]) -> Asks[Json]:
    """Return the relation of two commits, with the last commits. GitHub lists the oldest first, in pages."""
    total, commits = int(found.get("total_commits") or 0), list(found.get("commits") or ())
    if total > len(commits):
        pages_ = [n for n in (total // 100, total // 100 + 1) if n]
        commits = []
        for page in pages_:
            answer = yield from api.send(replace(request, params={"per_page": 100, "page": page}))
            commits += answer.data.get("commits") or ()
    shown = commits[-_COMMITS:]
    cut = f"commits: the last {len(shown)} of {total} are shown; github_list_commits lists those of head."
    return {
        "status": found.get("status"),
        "ahead": found.get("ahead_by"),
        "behind": found.get("behind_by"),
        "merge_base": (found.get("merge_base_commit") or {}).get("sha"),
        "commits": [_brief(row) for row in shown],
        **({"cut": [cut]} if total > len(shown) else {}),
        "untrusted": True,
    }


def _brief(row: Mapping[str, Any]) -> Json:
    commit = commit_row(row)
    return {name: commit[name] for name in ("sha", "headline", "author") if commit.get(name)}


# ----------------------------------------------------------------- activity

Activity = Literal["push", "force_push", "branch_creation", "branch_deletion", "pr_merge", "merge_queue_merge"]


@GITHUB.tool(
    needs=lambda arguments: [
        reads("GET R/activity", "contents:read"),
        *([reads("GET U")] if arguments["actor"] else []),
    ],
    toolset="code",
)
@in_repo()
def list_activity(
    repo: Repo,
    kind: Activity | None = None,
    actor: Annotated[Login | None, Field(description="login")] = None,
    ref: Ref | None = None,
    period: Literal["day", "week", "month", "quarter", "year"] | None = None,
    sort: Literal["newest", "oldest"] = "newest",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Pushes, force pushes, merges and branch changes of a repository."""
    params = {
        "activity_type": kind,
        "actor": actor,
        "ref": ref,
        "time_period": period,
        "direction": "asc" if sort == "oldest" else None,
    }
    bound = ("github_list_activity", run.account.subject, repo, kind, actor, ref, period, sort)
    listing = List(bound, pages("R/activity", repo, params=params, by="after"), _activity, more=ZONED)
    shown = yield from listing.show(limit, cursor)
    if not shown["items"] and not cursor:
        yield from check_people(run.account, actor=actor)
    return shown


def _activity(row: Mapping[str, Any]) -> Json:
    shown: Json = {
        "kind": row.get("activity_type"),
        "ref": code(str(row.get("ref", "")))[0].removeprefix("refs/heads/"),
        "actor": login(row.get("actor")),
        "before": str(row.get("before", ""))[:12],
        "after": str(row.get("after", ""))[:12],
        "time": short(row.get("timestamp")),
    }
    return outer(shown, Prose())
