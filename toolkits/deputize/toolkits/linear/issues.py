"""Linear: lists of issues, and single issues."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Alias, Continuation, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset, Raw
from deputize.toolkits._shared.zone import days_in_zone, in_zone
from deputize.toolkits.linear import filter_checks as known
from deputize.toolkits.linear import matching, scalars
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Asks, Listing, get
from deputize.toolkits.linear.base import LINEAR, READ, Json, Priority
from deputize.toolkits.linear.rows import BLOCKS, issue_detail, issue_list, issue_row
from deputize.toolkits.linear.texts import read_alone

_BRANCH: Final = re.compile(
    r"(?!.*(?:\.\.|//|@\{))[\w.+#@-][\w.+#@/-]{0,243}[\w+#@-]"
)  # git check-ref-format, the usual ones
_SORTS: Final[dict[str, list[Json]]] = {
    "updated": [{"updatedAt": {"order": "Descending"}}],
    "created": [{"createdAt": {"order": "Descending"}}],
    "priority": [{"priority": {"order": "Ascending"}}],
    "due": [{"dueDate": {"order": "Ascending"}}],
}


@LINEAR.tool(
    needs=[READ],
    aliases=[
        Alias("Linear.ListIssues", {"keywords": "query"}),
    ],
)
def list_issues(
    query: Annotated[str | None, Field(description="words in the title")] = None,
    team: str | None = None,
    state: Annotated[
        str | None, Field(description="name, open, or triage backlog unstarted started completed canceled")
    ] = None,
    assignee: Annotated[str | None, Field(description="name, email, me or none")] = None,
    involving: Annotated[str | None, Field(description="assignee, creator or subscriber")] = None,
    priority: Priority | None = None,
    labels: Annotated[list[str] | None, Field(description="all of these")] = None,
    project: str | None = None,
    cycle: Annotated[str | None, Field(description="number or active")] = None,
    view: Annotated[str | None, Field(description="saved view")] = None,
    updated_after: Annotated[str | None, Field(description="date, time or -7d")] = None,
    created_after: Annotated[str | None, Field(description="-7d or ISO")] = None,
    due_before: Annotated[str | None, Field(description="today, +7d or ISO")] = None,
    sort: Literal["updated", "created", "priority", "due"] = "updated",
    include_archived: bool = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Issues by filter: team, state, assignee, label, project, cycle, dates; "me" works for people."""
    narrow = [
        _words(query),
        _state(state),
        _involving(involving),
        *({"labels": {"some": called}} for called in _label_filters(labels)),
    ]
    if assignee:
        narrow.append({"assignee": names.person_filter(assignee)})
    if priority:
        narrow.append({"priority": {"eq": scalars.priority(priority)}})
    run = yield from in_zone(run, scalars.ask_zone, updated_after=updated_after, created_after=created_after)
    for field, stamp, name in (
        ("updatedAt", updated_after, "updated_after"),
        ("createdAt", created_after, "created_after"),
    ):
        if stamp:
            narrow.append({field: {"gte": scalars.time_filter(stamp, run, name)}})
    if due_before:
        run = yield from days_in_zone(run, scalars.ask_zone, due_before=due_before)
        narrow.append({"dueDate": {"lt": scalars.the_day(due_before, run, "due_before")}})
    team_id: str | None = None
    if team:
        team_id = str((yield from names.team(team))["id"])
        narrow.append({"team": {"id": {"eq": team_id}}})
    if project:
        narrow.append({"project": {"id": {"eq": (yield from names.project(project))["id"]}}})
    if cycle:
        narrow.append((yield from _cycle(team, cycle)))
    asked = [one for one in narrow if one]
    urls: list[Any] = []
    filters = (query, team, state, assignee, involving, priority, labels, project, cycle, view)
    times = (updated_after, created_after, due_before, sort, include_archived)
    listing = Listing("linear_list_issues", run.account, (*filters, *times), limit, cursor, issue_row)
    chosen: dict[str, Any] = {"filter": {"and": asked}} if asked else {}
    if view:
        if include_archived or sort != "updated":
            raise InvalidInput(
                "view: cannot be combined with include_archived or sort; the view has its own.", hint="Leave them out."
            )
        id = yield from _view(view)
        listed = listing.of("ViewIssues", lambda value: _record_urls(urls, value["issues"]), id=id, **chosen)
        result = yield from matching.look_up(listed, "view", "view", view)
    else:
        result = yield from listing.of(
            "Issues",
            lambda value: _record_urls(urls, value),
            sort=_SORTS[sort],
            includeArchived=include_archived or None,
            **chosen,
        )
    people = (known.person(assignee, "assignee"), known.person(involving, "involving"))
    checks = (known.state(state, team_id), known.labels(labels), known.active_cycle(team_id, cycle), *people)
    return issue_list((yield from known.when_empty(result, cursor, *checks)), urls)


def _record_urls(urls: list[Any], connection: Json) -> Json:
    urls.extend(node.get("url") for node in connection["nodes"])
    return connection


def _words(query: str | None) -> Json:
    words = (query or "").split()[:10]
    return {"and": [{"title": {"containsIgnoreCase": word}} for word in words]} if words else {}


def _state(state: str | None) -> Json:
    if not state:
        return {}
    named: Json = {"name": {"eqIgnoreCase": state.strip()}}
    typed = state.strip().lower()
    if typed == names.OPEN:
        return {"state": {"or": [named, {"type": {"nin": list(names.CLOSED_TYPES)}}]}}
    return {"state": {"or": [named, {"type": {"eq": typed}}]} if typed in names.STATE_TYPES else named}


def _involving(who: str | None) -> Json:
    if not who:
        return {}
    person = names.person_filter(who)
    if "null" in person:
        raise InvalidInput("involving: must be a person, or me.", hint="Use assignee=none for issues of nobody.")
    return {"or": [{"assignee": person}, {"creator": person}, {"subscribers": {"some": person}}]}


def _label_filters(labels: list[str] | None) -> list[Json]:
    return [{"name": {"eqIgnoreCase": one.rpartition("/")[2].strip()}} for one in labels or ()]


def _cycle(team: str | None, cycle: str) -> Asks[Json]:
    said = cycle.strip().lower()
    if said in ("active", "current"):
        return {"cycle": {"isActive": {"eq": True}}}
    if team is None:
        raise InvalidInput("cycle: needs team as well.", hint="Give team, or cycle=active for all teams.")
    found = yield from names.cycle((yield from names.team(team))["id"], cycle)
    return {"cycle": {"id": {"eq": found["id"]}}}


def _view(view: str) -> Asks[str]:
    if matching.is_id(view.strip()):
        return view.strip()
    return str((yield from matching.find_one("LookupViews", view, "view", ("name",)))["id"])


Block = Literal["comments", "attachments", "relations", "children"]


@LINEAR.tool(needs=[READ], aliases=[Alias("Linear.GetIssue", {"issue_id": "issue"})])
def get_issue(
    issue: Annotated[str, Field(description="ENG-123, URL, id or git branch name")],
    include: list[Block] | None = None,
    offset: Annotated[Offset, Field(description="into description")] = 0,
    raw: Raw = False,
) -> Steps:
    """One issue, with comments, links, relations and sub-issues on request."""
    key, workspace = names.parse_address(issue, "issue")
    if not key:
        if not _BRANCH.fullmatch(issue.strip()):
            raise InvalidInput("issue: not a key, address, id or git branch of an issue.", hint="Such as ENG-123.")
        asked = get("IssueByBranch", branchName=issue.strip())
        found = yield from matching.look_up(asked, "issue", "issue", issue)
        key = str(found["id"])
    blocks = {block: block in (include or ()) for block in BLOCKS}
    node = yield from matching.look_up(get("Issue", id=key, **blocks), "issue", "issue", issue)
    found = names.check_workspace(node, workspace, "issue")
    if offset or raw:
        more = Continuation("linear_get_issue", issue=str(found.get("identifier")))
        body = read_alone(found.get("description"), offset, raw=raw, name="description", more=more)
        return {"identifier": found.get("identifier")} | body
    return issue_detail(found)
