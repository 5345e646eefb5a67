"""GitHub: finding and reading issues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Account, Continuation, Need, Run, Steps
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset, Raw
from deputize.toolkits._shared.page import lean
from deputize.toolkits._shared.zone import in_zone, nobody
from deputize.toolkits.github import api
from deputize.toolkits.github import name_lookup as names
from deputize.toolkits.github.api import Json, List, pages
from deputize.toolkits.github.argument_types import Label, Milestone, Number, Owner, Person, Repo, When
from deputize.toolkits.github.base import GITHUB, Asks, reads
from deputize.toolkits.github.blocks import Block, blocks, rows
from deputize.toolkits.github.newest_first import newest_first
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Prose, body_alone, body_of
from deputize.toolkits.github.rows import (
    ZONED,
    assoc,
    comment,
    comment_call,
    full,
    issue_row,
    login,
    logins,
    outer,
    reactions,
    repo_of,
    short,
)
from deputize.toolkits.github.rows import labels as label_list
from deputize.toolkits.github.search import MAX_RESULTS, add_qualifiers, check_query, is_elsewhere, public_only_note

State = Literal["open", "closed", "all"]


def moment(text: str | None, now: float, field: str, zone: tzinfo = UTC) -> str | None:
    """Return a time in GitHub's form, to the minute, so that all pages share it. ``zone``: the user's."""
    return times.moment(text, now - now % 60, field, zone).strftime("%Y-%m-%dT%H:%M:%SZ") if text else None


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    looks = {"milestone": "GET R/milestones", "labels": "GET R/labels", "assignee": "GET R/assignees/{assignee}"}
    looks |= {"assignee ": "GET R/assignees"}
    found = [reads(one, "issues:read", "pull_requests:read") for name, one in looks.items() if arguments[name.strip()]]
    found = found if arguments["repo"] else []
    found += [reads("GET U")] if arguments["author"] else []
    plain = arguments["repo"] and not arguments["query"]
    return [reads("GET R/issues" if plain else "GET /search/issues", "issues:read"), *found]


@GITHUB.tool(needs=_list_needs)
@in_repo()
def list_issues(
    repo: Repo | None = None,
    org: Owner | None = None,
    query: Annotated[str, Field(description="text or search syntax")] = "",
    state: State = "open",
    assignee: Annotated[Person | None, Field(description="login, @me or none")] = None,
    author: Annotated[Person | None, Field(description="login or @me")] = None,
    labels: Annotated[list[Label] | None, Field(description="all of these")] = None,
    milestone: Milestone | None = None,
    updated_after: When | None = None,
    sort: Literal["created", "updated", "comments"] = "updated",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Find issues in a repository, an organization or everywhere I can see."""
    filters = (repo, org, query, state, assignee, author, labels, milestone, updated_after, sort)
    bound = ("github_list_issues", run.account.subject, *filters)
    run = yield from in_zone(run, nobody, updated_after=updated_after)
    since = moment(updated_after, run.now, "updated_after", run.zone)
    if repo and not query.strip():
        number = (yield from names.milestone(repo, milestone)) if milestone else None
        params = {
            "state": state,
            "sort": sort,
            "assignee": names.resolve_me(assignee, run.account) if assignee else None,
            "creator": names.resolve_me(author, run.account) if author else None,
            "labels": ",".join(labels or ()),
            "milestone": number,
            "since": since,
        }
        read = pages("R/issues", repo, params=params)
        shape = lambda row: None if row.get("pull_request") else issue_row(row, repo=False)  # noqa: E731
        listing = List(bound, read, shape, more=ZONED, page=f"/{repo}/issues/{{number}}")
        shown = yield from listing.show(limit, cursor)
        return shown if cursor else (yield from _check_filters(shown, repo, run.account, labels, assignee, author))
    q = add_qualifiers(
        check_query(query, fixed=bool(repo or org)),
        {
            "is": "issue",
            "repo": repo,
            "org": org,
            "state": None if state == "all" else state,
            "assignee": names.resolve_me(assignee, run.account) if assignee not in (None, "none") else None,
            "no": "assignee" if assignee == "none" else None,
            "author": names.resolve_me(author, run.account) if author else None,
            "label": labels,
            "milestone": milestone,
            "updated": f">={since}" if since else None,
        },
    )
    shown = yield from search_issues(bound, q, sort, repo, org).show(limit, cursor)
    if not cursor:
        shown = yield from _check_filters(shown, repo, run.account, labels, assignee, author)
    return shown | ZONED | public_only_note(run.granted)


def _check_filters(
    shown: Json, repo: str | None, account: Account, labels: list[str] | None, assignee: str | None, author: str | None
) -> Asks[Json]:
    """Return an empty list only if its filters name existing things: otherwise a typo would look like "none"."""
    if not shown["items"]:
        if repo:
            yield from names.check_issue_filters(repo, account, labels or (), assignee)
        yield from names.check_people(account, author=author, **({} if repo else {"assignee": assignee}))
    return shown


def search_issues(bound: tuple[Any, ...], q: str, sort: str | None, repo: str | None, org: str | None) -> List:
    """Return a search for issues or pull requests. Results outside ``repo`` or ``org`` are left out."""
    params = {"q": q, "sort": sort, "order": "desc"}

    def shape(row: Mapping[str, Any]) -> Json | None:
        return None if is_elsewhere(repo, org, repo_of(row)) else issue_row(row, repo=not repo)

    read = pages("/search/issues", rows="items", params=params)
    return List(bound, read, shape, more={"note": MAX_RESULTS}, page=f"/{repo or '{repo}'}/issues/{{number}}")


# ----------------------------------------------------------------- one issue

Extra = Literal["comments", "timeline", "sub_issues"]


def _get_needs(arguments: Arguments) -> Sequence[Need]:
    extra = [
        reads(f"GET R/issues/{{issue_number}}/{one}", "issues:read", "pull_requests:read")
        for one in arguments["include"] or ()
    ]
    return [reads("GET R/issues/{issue_number}", "issues:read", "pull_requests:read"), *extra]


@GITHUB.tool(needs=_get_needs)
@in_repo("this issue")
def get_issue(
    repo: Repo,
    number: Number,
    include: list[Extra] | None = None,
    cursor: Cursor = None,
    offset: Annotated[Offset, Field(description="into body")] = 0,
    raw: Raw = False,
    *,
    run: Run,
) -> Steps:
    """One issue with body, and optionally comments, timeline (newest first), sub-issues."""
    row = yield from api.get("R/issues/{issue_number}", repo, at={"issue_number": number})
    more = Continuation("github_get_issue", repo=repo, number=number)
    if offset or raw:
        return {"number": number, **body_alone(row, offset, more, raw=raw)}
    wanted = list(dict.fromkeys(include or (["comments"] if cursor else [])))
    outside = Prose()
    shown = _brief(row, outside) if cursor else _issue(row, outside) | body_of(outside, row, more)
    now_at = repo_of(row)
    if now_at and now_at.lower() != repo.lower():
        shown["moved_to"] = now_at
    bound = ("github_get_issue", run.account.subject, repo, number)
    return shown | (yield from blocks({one: _block(one, bound, repo, number) for one in wanted}, cursor))


def _block(name: str, bound: tuple[Any, ...], repo: str, number: int) -> Block:
    method, at = f"R/issues/{{issue_number}}/{name}", {"issue_number": number}
    read = (newest_first if name == "timeline" else pages)(method, repo, at=at)
    shapes: dict[str, Callable[[Any], Json | None]] = {
        "comments": lambda row: comment(row, comment_call(repo, row)),
        "timeline": _event,
        "sub_issues": _sub,
    }
    return rows(name, bound, read, shapes[name])


def _brief(row: Mapping[str, Any], outside: Prose) -> Json:
    """Return the number and title, for a result that continues a block."""
    return outer({"number": row.get("number"), "title": outside.whole_title(row.get("title"))}, outside)


def _issue(row: Mapping[str, Any], outside: Prose) -> Json:
    milestone = row.get("milestone") or {}
    shown: Json = {
        "number": row.get("number"),
        "title": outside.whole_title(row.get("title")),
        "state": row.get("state"),
        "state_reason": row.get("state_reason"),
        "author": login(row.get("user")),
        "assoc": assoc(row.get("author_association")),
        "assignees": logins(row.get("assignees")),
        "labels": label_list(row, outside),
        "milestone": outside.line(str(milestone.get("title", "")), 100) if milestone else None,
        "type": outside.line(str((row.get("type") or {}).get("name") or ""), 60) or None,
        "is_pull": bool(row.get("pull_request")),
        "locked": bool(row.get("locked")),
        "comments_count": row.get("comments", 0),
        **({"reactions": told} if (told := reactions(row)) else {}),
        "created": full(row.get("created_at")),
        "updated": full(row.get("updated_at")),
        "url": row.get("html_url"),
    }
    return outer(lean(shown), outside)


def _sub(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    shown: Json = {"repo": repo_of(row), "number": row.get("number"), "title": outside.title(row.get("title"))}
    return outer(shown | {"state": row.get("state")}, outside)


def _event(row: Mapping[str, Any]) -> Json | None:
    """Return an event in words; comments are listed elsewhere."""
    kind = str(row.get("event", ""))
    if kind in ("", "commented", "mentioned", "subscribed"):
        return None
    outside = Prose()
    about: Json = {
        "label": outside.line(str((row.get("label") or {}).get("name") or ""), 60),
        "assignee": login(row.get("assignee")),
        "reviewer": login(row.get("requested_reviewer")) or (row.get("requested_team") or {}).get("slug"),
        "review": str(row.get("state") or "").lower() if kind == "reviewed" else "",
        "headline": outside.line(str(row.get("message") or "").partition("\n")[0], 100) if kind == "committed" else "",
        "milestone": outside.line(str((row.get("milestone") or {}).get("title") or ""), 60),
        "to": outside.line(str((row.get("rename") or {}).get("to") or ""), 120),
        "commit": str(row.get("commit_id") or row.get("sha") or "")[:12],
        "from": repo_of((row.get("source") or {}).get("issue") or {}),
        "number": ((row.get("source") or {}).get("issue") or {}).get("number"),
    }
    who = login(row.get("actor") or row.get("user"))
    told = {"event": kind, "by": who, "time": short(row.get("created_at") or row.get("submitted_at"))}
    return {name: value for name, value in (told | about).items() if value}
