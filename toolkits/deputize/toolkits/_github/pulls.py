"""GitHub: find, read, open and change pull requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core.act.toolkit import ActKey, Arguments, Need, Steps, Wait
from deputize.core.errors import Conflict, DeputizeError, InvalidInput
from deputize.core.vault.grant import Account
from deputize.toolkits._arguments import Cursor, Limit
from deputize.toolkits._github import api, documents, names
from deputize.toolkits._github.api import Json, List, in_repo, pages, rest
from deputize.toolkits._github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits._github.checks import verdict
from deputize.toolkits._github.diffs import diff, file_list
from deputize.toolkits._github.issues import found
from deputize.toolkits._github.once import LOST, raise_if_unsent
from deputize.toolkits._github.places import Branch, Head, Number, Owner, Path, Person, Repo, Reviewer
from deputize.toolkits._github.prose import Body, Prose, Title, body_part, is_body_cursor, mark
from deputize.toolkits._github.rows import ZONED, assoc, full, labels, login, logins, outer, pull_row, short, state_of
from deputize.toolkits._github.search import checked, private_left_out, qualified

Sort = Literal["created", "updated", "popularity", "long-running"]


def _plain(arguments: Arguments) -> bool:
    """Whether the list of a repository will do, without a search."""
    searched = any(arguments[one] for one in ("query", "org", "author", "reviewer"))
    return bool(arguments["repo"]) and not searched and arguments["draft"] is None and arguments["state"] != "merged"


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    return [reads("GET R/pulls" if _plain(arguments) else "GET /search/issues", "pull_requests:read")]


@GITHUB.tool(needs=_list_needs, aliases=["GitHub.ListPullRequests"])
@in_repo()
def list_pulls(
    repo: Repo | None = None,
    org: Owner | None = None,
    query: Annotated[str, Field(description="text or search syntax")] = "",
    state: Literal["open", "closed", "merged", "all"] = "open",
    author: Person | None = None,
    reviewer: Person | None = None,
    base: Branch | None = None,
    head: Head | None = None,
    draft: bool | None = None,
    sort: Sort = "updated",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    account: Account,
    granted: frozenset[str],
) -> Steps:
    """Find pull requests in a repository, an organization or everywhere I can see."""
    filters = (repo, org, query, state, author, reviewer, base, head, draft, sort)
    bound = ("github_list_pulls", account.subject, *filters)
    asked = {"repo": repo, "org": org, "query": query.strip(), "author": author, "reviewer": reviewer}
    if _plain({**asked, "draft": draft, "state": state}) and repo:
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
    q = qualified(
        checked(query, fixed=bool(repo or org)),
        {
            "is": ["pull-request", *(["merged"] if state == "merged" else [])],
            "repo": repo,
            "org": org,
            "state": state if state in ("open", "closed") else None,
            "author": names.me(author, account) if author else None,
            "review-requested": names.me(reviewer, account) if reviewer else None,
            "base": base,
            "head": head.rpartition(":")[2] if head else None,
            "draft": None if draft is None else str(draft).lower(),
        },
    )
    order = {"popularity": "comments", "long-running": "created"}.get(sort, sort)
    shown = yield from found(bound, q, order, repo, org).show(limit, cursor)
    return shown | ZONED | private_left_out(granted)


# ----------------------------------------------------------------- one pull request

Extra = Literal["files", "diff", "reviews"]
_PULL: Final = "R/pulls/{pull_number}"


def _get_needs(arguments: Arguments) -> Sequence[Need]:
    wanted = arguments["include"] or ()
    files = "files" in wanted or "diff" in wanted or arguments["path"]
    return [
        reads(f"GET {_PULL}", "pull_requests:read"),
        reads("GRAPHQL PullMergeState", "pull_requests:read"),
        reads("GET R/commits/{ref}/check-runs", "checks:read"),
        reads("GET R/commits/{ref}/status", "statuses:read"),
        *([reads(f"GET {_PULL}/files", "pull_requests:read")] if files else []),
        *([reads(f"GET {_PULL}/reviews", "pull_requests:read")] if "reviews" in wanted else []),
    ]


@GITHUB.tool(needs=_get_needs, aliases=["GitHub.GetPullRequest", "GitHub.CheckPullRequestMergeStatus"])
@in_repo("this pull request")
def get_pull(
    repo: Repo,
    number: Number,
    include: list[Extra] | None = None,
    path: Annotated[Path, Field(description="only this file or folder")] = "",
    cursor: Cursor = None,
    *,
    account: Account,
) -> Steps:
    """One pull request: body, merge readiness and blockers; optionally files, diff, reviews."""
    at = {"pull_number": number}
    bound = ("github_get_pull", account.subject, repo, number)
    wanted = include or []
    row = yield from api.get(_PULL, repo, at=at)
    outside = Prose()
    text = outside.prose(row.get("body"))
    if is_body_cursor(bound, cursor):
        return {"number": number, **body_part(bound, text, cursor), "from_outside": True}
    shown = _pull(row, outside)
    if cursor and "diff" in wanted:  # the rest of a diff, and no more of what was shown before
        head = {name: shown[name] for name in ("number", "title", "head_sha", "from_outside")}
        return head | (yield from diff(bound, pages(f"{_PULL}/files", repo, at=at), path, cursor))
    shown |= body_part(bound, text)
    shown["merge"] = yield from readiness(repo, number, row)
    if "reviews" in wanted:
        rows = yield from api.get(f"{_PULL}/reviews", repo, at=at, params={"per_page": 100})
        shown["reviews"] = [_review(one) for one in rows[-20:]]
    if "files" in wanted:
        files = yield from api.every(f"{_PULL}/files", repo, at=at)
        shown["files"], cut = file_list(files, path)
        shown |= {"truncated": True} if cut else {}
    if "diff" in wanted:
        shown |= yield from diff(bound, pages(f"{_PULL}/files", repo, at=at), path, cursor)
    return shown


def _pull(row: Mapping[str, Any], outside: Prose) -> Json:
    base, head = row.get("base") or {}, row.get("head") or {}
    fork = (head.get("repo") or {}).get("full_name")
    shown: Json = {
        "number": row.get("number"),
        "title": outside.line(str(row.get("title", "")), 300),
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
    """Who is asked to review: people, and teams by their slug."""
    teams = [f"team {one.get('slug')}" for one in row.get("requested_teams") or ()]
    return logins(row.get("requested_reviewers")) + teams[:10]


def _review(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    shown: Json = {
        "id": row.get("id"),
        "author": login(row.get("user")),
        "state": str(row.get("state", "")).lower(),
        "body": outside.short(row.get("body"), 300),
        "time": short(row.get("submitted_at")),
        "sha": str(row.get("commit_id") or "")[:12],
    }
    return {name: value for name, value in outer(shown, outside).items() if value}


def readiness(repo: str, number: int, row: Mapping[str, Any]) -> Asks[Json]:
    """Whether it can be merged, and what is in the way."""
    if row.get("merged_at") or row.get("state") == "closed":
        return {"ready": False, "blockers": ["merged already" if row.get("merged_at") else "closed"]}
    state = yield from _merge_state(repo, number)
    for pause in (1, 1, 1):
        if row.get("mergeable") is not None:
            break
        yield Wait(pause)  # GitHub is still computing it
        row = yield from api.get(_PULL, repo, at={"pull_number": number})
    checks = yield from verdict(repo, str((row.get("head") or {}).get("sha", "")))
    word = str(state.get("mergeStateStatus") or row.get("mergeable_state") or "unknown").lower()
    blockers = _blockers(row, state, checks, word)
    decision = str(state.get("reviewDecision") or "").lower()
    told: Json = {"ready": not blockers, "state": word, "checks": checks, "blockers": blockers}
    told |= {"review_decision": decision} if decision else {}
    told |= {"auto_merge": True} if state.get("autoMergeRequest") or row.get("auto_merge") else {}
    return told | ({"in_merge_queue": True} if state.get("isInMergeQueue") else {})


def _merge_state(repo: str, number: int) -> Asks[Json]:
    """What GraphQL knows beside; nothing on a host that has none."""
    try:
        data = yield from documents.of_repo(documents.MERGE_STATE, repo, number=number)
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
        "behind the base branch": word == "behind",
        "unknown: GitHub is still computing": row.get("mergeable") is None and not row.get("draft"),
    }
    told = [name for name, there in found.items() if there]
    return told or (["blocked by rules of the branch"] if word == "blocked" else [])


# ----------------------------------------------------------------- open one

_ASKS: Final = f"POST {_PULL}/requested_reviewers"


def _create_needs(arguments: Arguments) -> Sequence[Need]:
    found = changes("POST R/pulls", "pull_requests:write")
    if arguments["reviewers"]:
        found += changes(_ASKS, "pull_requests:write")
    return found if arguments["base"] else [*found, reads("GET R")]


@GITHUB.tool(needs=_create_needs, effect=SENDS, aliases=["GitHub.CreatePullRequest"])
@in_repo("this branch")
def create_pull(
    repo: Repo,
    head: Annotated[Head, Field(description="branch or user:branch")],
    title: Title,
    base: Branch | None = None,
    body: Body = "",
    draft: bool = False,
    reviewers: Annotated[list[Reviewer] | None, Field(description="logins; org/team for teams")] = None,
    issue: Annotated[Number | None, Field(description="convert this issue")] = None,
    maintainer_can_modify: bool = True,
    *,
    account: Account,
) -> Steps:
    """Open a pull request, optionally with reviewers."""
    onto = base or str((yield from api.get("R", repo))["default_branch"])
    given: Json = {"head": head, "base": onto, "draft": draft, "maintainer_can_modify": maintainer_can_modify}
    given |= {"issue": issue} if issue else {"title": title, "body": body}
    row, existed = yield from _opened(repo, head, onto, given)
    warnings: list[str] = []
    if reviewers:
        row, warnings = yield from _asked(repo, row, reviewers, account)
    return {
        "number": row.get("number"),
        "url": row.get("html_url"),
        "title": Prose().title(row.get("title")),
        "draft": bool(row.get("draft")),
        "head_sha": (row.get("head") or {}).get("sha"),
        "reviewers": reviewers_of(row),
        "existed": existed,
        **({"warnings": warnings} if warnings else {}),
        "summary": "There was one already for this branch." if existed else "Opened.",
    }


def _opened(repo: str, head: str, base: str, given: Json) -> Asks[tuple[Json, bool]]:
    """The pull request, and whether it was there before. Head and base are GitHub's own key."""
    before = yield from _between(repo, head, base)
    if before is not None:
        return before, True
    try:
        return dict((yield from api.send(rest("POST R/pulls", repo, json=given))).data), False
    except LOST as lost:
        raise_if_unsent(lost)
        yield Wait(2)
        there = yield from _between(repo, head, base)
        if there is None:
            raise
        return there, False
    except (Conflict, InvalidInput):
        there = yield from _between(repo, head, base)
        if there is None:
            raise
        return there, True


def _between(repo: str, head: str, base: str) -> Asks[Json | None]:
    """The open pull request from one branch to the other."""
    whole = head if ":" in head else f"{repo.partition('/')[0]}:{head}"
    rows = yield from api.get("R/pulls", repo, params={"head": whole, "base": base, "state": "open"})
    same = [row for row in rows if (row.get("head") or {}).get("ref") == whole.partition(":")[2]]
    return dict(same[0]) if same else None


def _asked(repo: str, row: Json, reviewers: Sequence[str], account: Account) -> Asks[tuple[Json, list[str]]]:
    people, teams = names.reviewers(reviewers, account)
    body = {"reviewers": people, "team_reviewers": teams}
    try:
        answer = yield from api.send(rest(_ASKS, repo, at={"pull_number": row["number"]}, json=body, repeat="idem"))
    except DeputizeError as refused:
        return row, [f"The pull request was opened, but nobody was asked to review: {refused.message}"]
    return dict(answer.data), []


# ----------------------------------------------------------------- change one


def _update_needs(arguments: Arguments) -> Sequence[Need]:
    methods = [f"PATCH {_PULL}"] if any(arguments[one] for one in ("title", "body", "state", "base")) else []
    methods += [_ASKS] if arguments["add_reviewers"] else []
    methods += [f"DELETE {_PULL}/requested_reviewers"] if arguments["remove_reviewers"] else []
    if arguments["draft"] is not None:
        methods.append("GRAPHQL PullDraft" if arguments["draft"] else "GRAPHQL PullReady")
    found = [need for method in methods for need in changes(method, "pull_requests:write")]
    if arguments["update_branch"]:
        found += changes(f"PUT {_PULL}/update-branch", "pull_requests:write")
        found += changes(f"PUT {_PULL}/update-branch", "contents:write")
    return [*found, reads(f"GET {_PULL}", "pull_requests:read")]


@GITHUB.tool(
    needs=_update_needs,
    effect=SENDS,
    aliases=["GitHub.UpdatePullRequest", "GitHub.ManagePullRequestReviewers"],
)
@in_repo("this pull request")
def update_pull(
    repo: Repo,
    number: Number,
    title: Title | None = None,
    body: Body | None = None,
    append_body: bool = False,
    state: Literal["open", "closed"] | None = None,
    base: Branch | None = None,
    draft: bool | None = None,
    add_reviewers: Annotated[list[Reviewer] | None, Field(description="logins; org/team for teams")] = None,
    remove_reviewers: list[Reviewer] | None = None,
    update_branch: bool = False,
    *,
    key: ActKey,
    account: Account,
) -> Steps:
    """Change a pull request: text, state, base, draft, reviewers, or bring its branch up to date."""
    at = {"pull_number": number}
    row = yield from api.get(_PULL, repo, at=at)
    patch: Json = {"title": title, "body": body, "state": state, "base": base}
    patch = {name: value for name, value in patch.items() if value is not None}
    if append_body:
        patch |= _appended(row, body, key)
    changed: list[str] = []
    warnings: list[str] = []
    if patch:
        change: Asks[Any] = api.send(rest(f"PATCH {_PULL}", repo, at=at, json=patch, repeat="idem"))
        yield from api.attempt(change, ", ".join(patch), changed, warnings)
    if draft is not None and draft != bool(row.get("draft")):
        change = documents.query(documents.DRAFT if draft else documents.READY, "idem", id=str(row["node_id"]))
        yield from api.attempt(change, "draft", changed, warnings)
    for method, who in (("POST", add_reviewers), ("DELETE", remove_reviewers)):
        if who:
            people, teams = names.reviewers(who, account)
            given: Json = {"reviewers": people} | ({"team_reviewers": teams} if teams else {})
            request = rest(f"{method} {_PULL}/requested_reviewers", repo, at=at, json=given, repeat="idem")
            yield from api.attempt(api.send(request), "reviewers", changed, warnings)
    if update_branch:
        given = {"expected_head_sha": row["head"]["sha"]}
        change = api.send(rest(f"PUT {_PULL}/update-branch", repo, at=at, json=given, repeat="idem"))
        yield from api.attempt(change, "branch", changed, warnings)
    if not changed and draft is None and not append_body:
        raise InvalidInput("Nothing to change.", hint="Give at least one thing to change.")
    row = yield from api.get(_PULL, repo, at=at)
    return {
        "number": number,
        "url": row.get("html_url"),
        "state": state_of(row),
        "draft": bool(row.get("draft")),
        "base": (row.get("base") or {}).get("ref"),
        "reviewers": reviewers_of(row),
        "changed": list(dict.fromkeys(", ".join(changed).split(", "))) if changed else [],
        **({"warnings": warnings} if warnings else {}),
    }


def _appended(row: Mapping[str, Any], more: str | None, key: ActKey) -> Json:
    """The body with something added once: what carries the mark of this act has it already."""
    if not more:
        raise InvalidInput("body: what to append.")
    old = str(row.get("body") or "")
    if mark(key) in old:
        return {}
    return {"body": f"{old}\n\n{more}\n\n{mark(key)}" if old else f"{more}\n\n{mark(key)}"}
