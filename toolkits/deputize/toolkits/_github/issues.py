"""GitHub: find, read, open and change issues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core.act.toolkit import ActKey, Arguments, Need, Request, Steps
from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.core.vault.grant import Account
from deputize.toolkits import _time
from deputize.toolkits._arguments import Cursor, Limit
from deputize.toolkits._github import api, documents, names
from deputize.toolkits._github.api import Json, List, in_repo, pages, rest
from deputize.toolkits._github.base import GITHUB, SENDS, Asks, changes, needs, reads
from deputize.toolkits._github.once import Noted, once
from deputize.toolkits._github.places import Label, Number, Owner, Person, Repo, Word, awkward
from deputize.toolkits._github.prose import Body, Prose, Title, body_part, is_body_cursor, is_marked, marked
from deputize.toolkits._github.rows import ZONED, assoc, comment, full, issue_row, login, logins, outer, repo_of
from deputize.toolkits._github.rows import labels as label_list
from deputize.toolkits._github.search import MOST, checked, elsewhere, private_left_out, qualified

State = Literal["open", "closed", "all"]


def moment(text: str | None, now: float, field: str) -> str | None:
    """A time as GitHub takes it, to the minute, so that pages keep to it."""
    return _time.moment(text, now - now % 60, field).strftime("%Y-%m-%dT%H:%M:%SZ") if text else None


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    if arguments["repo"] and not arguments["query"]:
        return [
            reads("GET R/issues", "issues:read"),
            *([reads("GET R/milestones", "issues:read", "pull_requests:read")] if arguments["milestone"] else []),
        ]
    return [reads("GET /search/issues", "issues:read")]


@GITHUB.tool(needs=_list_needs, aliases=["GitHub.ListIssues"])
@in_repo()
def list_issues(
    repo: Repo | None = None,
    org: Owner | None = None,
    query: Annotated[str, Field(description="text or search syntax")] = "",
    state: State = "open",
    assignee: Annotated[Person | None, Field(description="login, @me or none")] = None,
    author: Person | None = None,
    labels: list[Label] | None = None,
    milestone: Word | None = None,
    updated_after: str | None = None,
    sort: Literal["created", "updated", "comments"] = "updated",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    account: Account,
    granted: frozenset[str],
    now: float,
) -> Steps:
    """Find issues in a repository, an organization or everywhere I can see."""
    filters = (repo, org, query, state, assignee, author, labels, milestone, updated_after, sort)
    bound = ("github_list_issues", account.subject, *filters)
    since = moment(updated_after, now, "updated_after")
    if repo and not query.strip():
        number = (yield from names.milestone(repo, milestone)) if milestone else None
        params = {
            "state": state,
            "sort": sort,
            "assignee": names.me(assignee, account) if assignee else None,
            "creator": names.me(author, account) if author else None,
            "labels": ",".join(labels or ()),
            "milestone": number,
            "since": since,
        }
        read = pages("R/issues", repo, params=params)
        shape = lambda row: None if row.get("pull_request") else issue_row(row, repo=False)  # noqa: E731
        listing = List(bound, read, shape, more=ZONED, page=f"/{repo}/issues/{{number}}")
        return (yield from listing.show(limit, cursor))
    q = qualified(
        checked(query, fixed=bool(repo or org)),
        {
            "is": "issue",
            "repo": repo,
            "org": org,
            "state": None if state == "all" else state,
            "assignee": names.me(assignee, account) if assignee not in (None, "none") else None,
            "no": "assignee" if assignee == "none" else None,
            "author": names.me(author, account) if author else None,
            "label": labels,
            "milestone": milestone,
            "updated": f">={since}" if since else None,
        },
    )
    shown = yield from found(bound, q, sort, repo, org).show(limit, cursor)
    return shown | ZONED | private_left_out(granted)


def found(bound: tuple[Any, ...], q: str, sort: str | None, repo: str | None, org: str | None) -> List:
    """A search for issues or pull requests; rows of other places are left out."""
    params = {"q": q, "sort": sort, "order": "desc"}

    def shape(row: Mapping[str, Any]) -> Json | None:
        return None if elsewhere(repo, org, repo_of(row)) else issue_row(row, repo=not repo)

    read = pages("/search/issues", rows="items", params=params)
    return List(bound, read, shape, more={"note": MOST}, page=f"/{repo or '{repo}'}/issues/{{number}}")


# ----------------------------------------------------------------- one issue

Extra = Literal["comments", "timeline", "sub_issues"]


def _get_needs(arguments: Arguments) -> Sequence[Need]:
    extra = [
        reads(f"GET R/issues/{{issue_number}}/{one}", "issues:read", "pull_requests:read")
        for one in arguments["include"] or ()
    ]
    return [reads("GET R/issues/{issue_number}", "issues:read", "pull_requests:read"), *extra]


@GITHUB.tool(needs=_get_needs, aliases=["GitHub.GetIssue"])
@in_repo("this issue")
def get_issue(
    repo: Repo, number: Number, include: list[Extra] | None = None, cursor: Cursor = None, *, account: Account
) -> Steps:
    """One issue with body, and optionally comments, timeline, sub-issues."""
    row = yield from api.get("R/issues/{issue_number}", repo, at={"issue_number": number})
    outside = Prose()
    text = outside.prose(row.get("body"))
    bound = ("github_get_issue", account.subject, repo, number)
    if is_body_cursor(bound, cursor):
        return {"number": number, **body_part(bound, text, cursor), "from_outside": True}
    shown = _issue(row, outside) | body_part(bound, text)
    now_at = repo_of(row)
    if now_at and now_at.lower() != repo.lower():
        shown["moved_to"] = now_at
    wanted = include or (["comments"] if cursor else [])
    at = {"issue_number": number}
    if "sub_issues" in wanted:
        rows = yield from api.get("R/issues/{issue_number}/sub_issues", repo, at=at, params={"per_page": 30})
        shown["sub_issues"] = [_sub(one) for one in rows]
    if "timeline" in wanted:
        rows = yield from api.get("R/issues/{issue_number}/timeline", repo, at=at, params={"per_page": 100})
        shown["timeline"] = [event for one in rows[-30:] if (event := _event(one))]
    if "comments" in wanted:
        listing = List((*bound, "comments"), pages("R/issues/{issue_number}/comments", repo, at=at), comment, 2_000)
        listed = yield from listing.show(20, cursor)
        shown |= {"comments": listed["items"], "next": listed["next"]}
    return shown


def _issue(row: Mapping[str, Any], outside: Prose) -> Json:
    milestone = row.get("milestone") or {}
    shown: Json = {
        "number": row.get("number"),
        "title": outside.line(str(row.get("title", "")), 300),
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
        "created": full(row.get("created_at")),
        "updated": full(row.get("updated_at")),
        "url": row.get("html_url"),
    }
    return outer(shown, outside)


def _sub(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    shown: Json = {"repo": repo_of(row), "number": row.get("number"), "title": outside.title(row.get("title"))}
    return outer(shown | {"state": row.get("state")}, outside)


def _event(row: Mapping[str, Any]) -> Json | None:
    """An event in words; comments are shown apart."""
    kind = str(row.get("event", ""))
    if kind in ("", "commented", "mentioned", "subscribed"):
        return None
    outside = Prose()
    about: Json = {
        "label": outside.line(str((row.get("label") or {}).get("name") or ""), 60),
        "assignee": login(row.get("assignee")),
        "milestone": outside.line(str((row.get("milestone") or {}).get("title") or ""), 60),
        "to": outside.line(str((row.get("rename") or {}).get("to") or ""), 120),
        "commit": str(row.get("commit_id") or row.get("sha") or "")[:12],
        "from": repo_of((row.get("source") or {}).get("issue") or {}),
        "number": ((row.get("source") or {}).get("issue") or {}).get("number"),
    }
    who = login(row.get("actor") or row.get("user"))
    told = {"event": kind, "by": who, "time": full(row.get("created_at") or row.get("submitted_at"))[:16]}
    return {name: value for name, value in (told | about).items() if value}


# ----------------------------------------------------------------- open one


def name_needs(arguments: Arguments, *fields: str) -> list[Need]:
    """What looking names up needs."""
    lookups = {"labels": "GET R/labels", "milestone": "GET R/milestones", "assignees": "GET R/assignees/{assignee}"}
    return [
        reads(method, "issues:read", "pull_requests:read")
        for kind, method in lookups.items()
        if any(arguments[field] for field in fields if field.endswith(kind))
    ]


_PROJECTS = ("organization_projects:write",)


def _create_needs(arguments: Arguments) -> Sequence[Need]:
    found = changes("POST R/issues", "issues:write") + name_needs(arguments, "labels", "milestone", "assignees")
    if arguments["parent"]:
        found += changes("POST R/issues/{issue_number}/sub_issues", "issues:write")
    if arguments["project"]:
        for owner in "OU":
            found.append(needs(f"GET {owner}/projectsV2", "read:project", "project", app=_PROJECTS))
            found.append(needs(f"POST {owner}/projectsV2/{{project_number}}/items", "project", app=_PROJECTS))
        found.append(reads("GET R/issues/{issue_number}", "issues:read"))
    return found


@GITHUB.tool(needs=_create_needs, effect=SENDS, aliases=["GitHub.CreateIssue"])
@in_repo("this parent or project")
def create_issue(
    repo: Repo,
    title: Title,
    body: Body = "",
    labels: list[Label] | None = None,
    assignees: list[Person] | None = None,
    milestone: Word | None = None,
    type: Word | None = None,
    parent: Number | None = None,
    project: Annotated[str | None, Field(description="owner/number", pattern=r"^[A-Za-z0-9_-]+/[0-9]+$")] = None,
    *,
    key: ActKey,
    account: Account,
    noted: Noted,
) -> Steps:
    """Open an issue."""
    given: Json = {"title": title, "body": marked(body, key)}
    if not noted:
        given["labels"] = yield from names.label_names(repo, labels or [], "labels")
        given["assignees"] = yield from names.assignees(repo, assignees or [], "assignees", account)
        given["milestone"] = (yield from names.milestone(repo, milestone)) if milestone else None
        given["type"] = type
    request = rest("POST R/issues", repo, json={name: value for name, value in given.items() if value})
    issue = yield from once(noted, _made(request), lambda: find_marked(repo, key, account), "issue")
    warnings = _dropped(issue, given)
    warnings += (yield from _beneath(repo, parent, issue)) if parent else []
    item = (yield from _in_project(repo, project, issue, warnings)) if project else None
    outside = Prose()
    return {
        "number": issue.get("number"),
        "id": issue.get("id"),
        "url": issue.get("html_url"),
        "title": title,
        "labels": label_list(issue, outside),
        "assignees": logins(issue.get("assignees")),
        **({"project_item": item} if item else {}),
        **({"warnings": [outside.line(one, 200) for one in warnings]} if warnings else {}),
        "summary": "Opened." if not warnings else "Opened; see warnings.",
    }


def _made(request: Request) -> Asks[Json]:
    return dict((yield from api.send(request)).data)


def find_marked(repo: str, key: ActKey, account: Account) -> Asks[Json | None]:
    """The issue of this act among the newest of the account's."""
    params = {"creator": account.name, "state": "all", "sort": "created", "per_page": 30}
    rows = yield from api.get("R/issues", repo, params=params)
    return next((dict(row) for row in rows if is_marked(row, key, account)), None)


def _dropped(issue: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """What GitHub has left out without a word: it does so for people who may not push."""
    here = {str(one.get("name")) for one in issue.get("labels") or ()}
    there = set(logins(issue.get("assignees")))
    lost = [f"label {name}" for name in given.get("labels") or () if name not in here]
    lost += [f"assignee {name}" for name in given.get("assignees") or () if name not in there]
    return [f"GitHub left out: {', '.join(lost)}. Setting it needs push access."] if lost else []


def _beneath(repo: str, parent: int, issue: Mapping[str, Any]) -> Asks[list[str]]:
    path = "POST R/issues/{issue_number}/sub_issues"
    body = {"sub_issue_id": issue["id"]}
    try:
        yield from api.send(rest(path, repo, at={"issue_number": parent}, json=body, repeat="idem"))
    except DeputizeError as refused:
        return [f"The issue was opened, but not put below #{parent}: {refused.message}"]
    return []


def _in_project(repo: str, project: str, issue: Mapping[str, Any], warnings: list[str]) -> Asks[int | None]:
    from deputize.toolkits._github.projects import add_item

    owner, _, number = project.partition("/")
    try:
        item = yield from add_item(owner, int(number), repo, int(issue["number"]))
    except DeputizeError as refused:
        warnings.append(f"The issue was opened, but not added to the project: {refused.message}")
        return None
    return int(item["id"])


# ----------------------------------------------------------------- change one


def _update_needs(arguments: Arguments) -> Sequence[Need]:
    issue, write = "R/issues/{issue_number}", ("issues:write", "pull_requests:write")
    methods = [f"PATCH {issue}"]
    methods += [f"POST {issue}/labels"] if arguments["add_labels"] else []
    methods += [f"DELETE {issue}/labels/{{name}}"] if arguments["remove_labels"] else []
    methods += [f"POST {issue}/assignees"] if arguments["add_assignees"] else []
    methods += [f"DELETE {issue}/assignees"] if arguments["remove_assignees"] else []
    if arguments["locked"] is not None:
        methods.append(f"{'PUT' if arguments['locked'] else 'DELETE'} {issue}/lock")
    methods += ["GRAPHQL Unlabel"] if any(map(awkward, arguments["remove_labels"] or ())) else []
    found = [need for method in methods for need in changes(method, *write)]
    found.append(reads(f"GET {issue}", "issues:read", "pull_requests:read"))
    return found + name_needs(arguments, "add_labels", "remove_labels", "milestone", "add_assignees")


@GITHUB.tool(
    needs=_update_needs,
    effect=SENDS,
    aliases=["GitHub.UpdateIssue", "GitHub.ManageLabels", "GitHub.AssignPullRequestUser"],
)
@in_repo("this issue or pull request")
def update_issue(
    repo: Repo,
    number: Number,
    title: Title | None = None,
    body: Body | None = None,
    state: Literal["open", "closed"] | None = None,
    reason: Literal["completed", "not_planned", "duplicate", "reopened"] | None = None,
    add_labels: list[Label] | None = None,
    remove_labels: list[Label] | None = None,
    add_assignees: list[Person] | None = None,
    remove_assignees: list[Person] | None = None,
    milestone: Annotated[Word | None, Field(description='"" clears')] = None,
    locked: bool | None = None,
    *,
    account: Account,
) -> Steps:
    """Change an issue or pull request: text, state, labels, assignees, milestone, lock."""
    if reason and not state:
        raise InvalidInput("reason: only with state.")
    patch: Json = {"title": title, "body": body, "state": state, "state_reason": reason}
    patch = {name: value for name, value in patch.items() if value is not None}
    added = yield from names.label_names(repo, add_labels or [], "add_labels")
    removed = yield from names.label_rows(repo, remove_labels or [], "remove_labels")
    people = yield from names.assignees(repo, add_assignees or [], "add_assignees", account)
    if milestone is not None:
        patch["milestone"] = (yield from names.milestone(repo, milestone)) if milestone else None
    at = {"issue_number": number}
    steps = [
        (", ".join(patch), "PATCH R/issues/{issue_number}", patch),
        ("labels", "POST R/issues/{issue_number}/labels", {"labels": added} if added else None),
        ("assignees", "POST R/issues/{issue_number}/assignees", {"assignees": people} if people else None),
    ]
    if remove_assignees:
        gone = [names.me(one, account) for one in remove_assignees]
        steps.append(("assignees", "DELETE R/issues/{issue_number}/assignees", {"assignees": gone}))
    changed: list[str] = []
    warnings: list[str] = []
    if not any(json for _, _, json in steps) and not removed and locked is None:
        raise InvalidInput("Nothing to change.", hint="Give at least one thing to change.")
    for name, method, json in steps:
        if json:
            change = api.send(rest(method, repo, at=at, json=json, repeat="idem"))
            yield from api.attempt(change, name, changed, warnings)
    if removed:
        yield from api.attempt(_unlabel(repo, number, removed), "labels", changed, warnings)
    if locked is not None:
        method = f"{'PUT' if locked else 'DELETE'} R/issues/{{issue_number}}/lock"
        change = api.send(rest(method, repo, at=at, json={} if locked else None, repeat="idem"))
        yield from api.attempt(change, "locked", changed, warnings)
    row = yield from api.get("R/issues/{issue_number}", repo, at=at)
    outside = Prose()
    return {
        "number": number,
        "url": row.get("html_url"),
        "state": row.get("state"),
        "labels": label_list(row, outside),
        "assignees": logins(row.get("assignees")),
        "milestone": outside.title((row.get("milestone") or {}).get("title")) or None,
        "changed": list(dict.fromkeys(", ".join(changed).split(", "))) if changed else [],
        **({"warnings": warnings} if warnings else {}),
    }


def _unlabel(repo: str, number: int, rows: Sequence[Mapping[str, Any]]) -> Asks[None]:
    """Take labels off, one by one; one that is not there is off. What no path can hold goes through GraphQL."""
    for row in rows:
        if awkward(str(row["name"])):
            continue
        at = {"issue_number": number, "name": str(row["name"])}
        try:
            yield from api.send(rest("DELETE R/issues/{issue_number}/labels/{name}", repo, at=at, repeat="idem"))
        except NotFound:
            continue
    if ids := [str(row["node_id"]) for row in rows if awkward(str(row["name"]))]:
        issue = yield from api.get("R/issues/{issue_number}", repo, at={"issue_number": number})
        yield from documents.query(documents.UNLABEL, "idem", id=str(issue["node_id"]), labels=ids)
