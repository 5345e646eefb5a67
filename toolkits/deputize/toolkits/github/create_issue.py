"""GitHub: opening issues, below others and in projects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from deputize.core import Account, ActKey, Need, Preview, Run, Steps
from deputize.core.errors import DeputizeError
from deputize.core.tools.tool import Arguments
from deputize.toolkits.github import api
from deputize.toolkits.github import name_lookup as names
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Assignees, Label, Milestone, Number, Repo, Word
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.idempotent_create import write_once
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.project_items import item_request
from deputize.toolkits.github.projects import PROJECT, Board, board_needs, board_of, writes_of
from deputize.toolkits.github.prose import Body, Prose, Title, add_mark, is_marked
from deputize.toolkits.github.rows import labels as label_list
from deputize.toolkits.github.rows import logins
from deputize.toolkits.github.show_fields import HOME, Home, home_of, issue_of, title_of


def name_needs(arguments: Arguments, *fields: str) -> list[Need]:
    """Return the needs of looking up names."""
    lookups = {"labels": "GET R/labels", "milestone": "GET R/milestones", "assignees": "GET R/assignees/{assignee}"}
    return [
        reads(method, "issues:read", "pull_requests:read")
        for kind, method in lookups.items()
        if any(arguments[field] for field in fields if field.endswith(kind))
    ]


def _create_needs(arguments: Arguments) -> Sequence[Need]:
    found = changes("POST R/issues", "issues:write") + name_needs(arguments, "labels", "milestone", "assignees")
    found += [reads("GET R/issue-types", "issues:read")] if arguments["type"] else []
    if arguments["parent"]:
        found += changes("POST R/issues/{issue_number}/sub_issues", "issues:write")
        found.append(reads("GET R/issues/{issue_number}", "issues:read"))
    if arguments["project"]:
        found += board_needs() + writes_of("POST", f"{PROJECT}/items")
    return [*found, HOME]


@GITHUB.tool(needs=_create_needs, effect=SENDS)
@in_repo("this parent or project")
def create_issue(
    repo: Repo,
    title: Title,
    body: Body = "",
    labels: list[Label] | None = None,
    assignees: Assignees | None = None,
    milestone: Milestone | None = None,
    type: Annotated[Word | None, Field(description="issue type, such as Bug")] = None,
    parent: Annotated[Number | None, Field(description="number of the issue above")] = None,
    project: Annotated[
        str | None, Field(description="to add it to: owner/number", pattern=r"^[A-Za-z0-9_-]+/[0-9]+$")
    ] = None,
    *,
    run: Run,
) -> Steps:
    """Open an issue."""
    given: Json = {"title": title, "body": add_mark(body, run.key)}
    if run.noted:
        pins = dict(run.noted)
    else:
        home = yield from home_of(repo)
        due = (yield from names.milestone_row(home.name, milestone)) if milestone else None
        given["labels"] = sorted((yield from names.label_names(home.name, labels or [], "labels")))
        people = yield from names.assignees(home.name, assignees or [], "assignees", run.account)
        given |= {"assignees": sorted(people), "milestone": int(due["number"]) if due else None}
        given["type"] = (yield from names.issue_type(home.name, type)) if type else None
        above = (yield from issue_of(home, parent)) if parent else None
        board = (yield from board_of(*project.split("/"))) if project else None
        yield _show(home, given | {"body": body}, due, above, board)
        pins = {"repo": home.name, "project": [board.home, board.at] if board else None}
    repo = str(pins.pop("repo", repo))
    request = rest("POST R/issues", repo, json={name: value for name, value in given.items() if value})
    look = lambda: find_marked(repo, run.key, run.account)  # noqa: E731
    issue = yield from write_once(run.noted, api.write(request), look, "issue", repo=repo, **pins)
    warnings = _dropped_fields(issue, given)
    warnings += (yield from _add_to_parent(repo, parent, issue)) if parent else []
    place = pins.get("project")
    item = (yield from _add_to_project(repo, place, issue, warnings)) if place else None
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


def _show(home: Home, given: Json, due: Mapping[str, Any] | None, above: Json | None, board: Board | None) -> Preview:
    """Preview the issue with all its fields. ``given``: the fields as sent, the body without the mark."""
    return home.shows(
        "Open this issue",
        title=given["title"],
        text=given["body"] or None,
        labels=given["labels"] or None,
        assignees=given["assignees"] or None,
        milestone=due["title"] if due else None,
        type=given["type"],
        below=title_of(above) if above else None,
        in_project=board.named if board else None,
        pins={
            "milestone": given["milestone"],
            "parent": above["id"] if above else None,
            "project": board.row.get("id") if board else None,
        },
    )


def find_marked(repo: str, key: ActKey, account: Account) -> Asks[Json | None]:
    """Return this act's issue from the newest of the account's, or None."""
    params = {"creator": account.name, "state": "all", "sort": "created", "per_page": 30}
    rows = yield from api.get("R/issues", repo, params=params)
    return next((dict(row) for row in rows if is_marked(row, key, account)), None)


def _dropped_fields(issue: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Return warnings for fields that GitHub dropped silently, as it does for users who may not push."""
    here = {str(one.get("name")) for one in issue.get("labels") or ()}
    there = set(logins(issue.get("assignees")))
    lost = [f"label {name}" for name in given.get("labels") or () if name not in here]
    lost += [f"assignee {name}" for name in given.get("assignees") or () if name not in there]
    kind = str((issue.get("type") or {}).get("name") or "")
    lost += [f"type {given['type']}"] if given.get("type") and given["type"] != kind else []
    return [f"GitHub left out: {', '.join(lost)}. Setting it needs push access."] if lost else []


def _add_to_parent(repo: str, parent: int, issue: Mapping[str, Any]) -> Asks[list[str]]:
    path = "POST R/issues/{issue_number}/sub_issues"
    body = {"sub_issue_id": issue["id"]}
    try:
        yield from api.send(rest(path, repo, at={"issue_number": parent}, json=body, repeat="idem"))
    except DeputizeError as refused:
        return [f"The issue was opened, but not put below #{parent}: {refused.message}"]
    return []


def _add_to_project(repo: str, place: Sequence[Any], issue: Mapping[str, Any], warnings: list[str]) -> Asks[int | None]:
    home, at = place
    try:
        item = yield from api.write(item_request(str(home), dict(at), repo, issue))
    except DeputizeError as refused:
        warnings.append(f"The issue was opened, but not added to the project: {refused.message}")
        return None
    return int(item["id"])
