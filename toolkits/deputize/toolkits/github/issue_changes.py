"""GitHub: open and change issues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from deputize.core import Account, ActKey, Need, Run, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.toolkits._shared.arguments import Append, IfText, Replaces
from deputize.toolkits._shared.long_text import Edit
from deputize.toolkits.github import api, documents, names
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Label, Number, Person, Repo, Word, awkward
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, needs, reads
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.once import once
from deputize.toolkits.github.prose import Body, Prose, Title, checked_edit, is_marked, marked, new_body
from deputize.toolkits.github.rows import labels as label_list
from deputize.toolkits.github.rows import logins


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
    run: Run,
) -> Steps:
    """Open an issue."""
    given: Json = {"title": title, "body": marked(body, run.key)}
    if not run.noted:
        given["labels"] = yield from names.label_names(repo, labels or [], "labels")
        given["assignees"] = yield from names.assignees(repo, assignees or [], "assignees", run.account)
        given["milestone"] = (yield from names.milestone(repo, milestone)) if milestone else None
        given["type"] = type
    request = rest("POST R/issues", repo, json={name: value for name, value in given.items() if value})
    issue = yield from once(run.noted, api.sent(request), lambda: find_marked(repo, run.key, run.account), "issue")
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
    from deputize.toolkits.github.projects import add_item

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
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    state: Literal["open", "closed"] | None = None,
    reason: Literal["completed", "not_planned", "duplicate", "reopened"] | None = None,
    add_labels: list[Label] | None = None,
    remove_labels: list[Label] | None = None,
    add_assignees: list[Person] | None = None,
    remove_assignees: list[Person] | None = None,
    milestone: Annotated[Word | None, Field(description='"" clears')] = None,
    locked: bool | None = None,
    *,
    run: Run,
) -> Steps:
    """Change an issue or pull request: text, state, labels, assignees, milestone, lock."""
    if reason and not state:
        raise InvalidInput("reason: only together with state.")
    patch: Json = {"title": title, "body": body, "state": state, "state_reason": reason}
    patch = {name: value for name, value in patch.items() if value is not None}
    edit, at = Edit(append, replaces, if_text), {"issue_number": number}
    checked_edit(edit, body)
    if body is not None:
        patch |= new_body((yield from api.get("R/issues/{issue_number}", repo, at=at)), body, edit, run.key)
    added = yield from names.label_names(repo, add_labels or [], "add_labels")
    removed = yield from names.label_rows(repo, remove_labels or [], "remove_labels")
    people = yield from names.assignees(repo, add_assignees or [], "add_assignees", run.account)
    if milestone is not None:
        patch["milestone"] = (yield from names.milestone(repo, milestone)) if milestone else None
    steps = [
        (", ".join(patch), "PATCH R/issues/{issue_number}", patch),
        ("labels", "POST R/issues/{issue_number}/labels", {"labels": added} if added else None),
        ("assignees", "POST R/issues/{issue_number}/assignees", {"assignees": people} if people else None),
    ]
    if remove_assignees:
        gone = [names.me(one, run.account) for one in remove_assignees]
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
