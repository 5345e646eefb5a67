"""Linear: new issues."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Alias, Effect, Need, Run, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import DeputizeError, InvalidInput, ProviderUnavailable
from deputize.toolkits.linear import matching, names, scalars
from deputize.toolkits.linear.api import Asks, by_id, change, get, make, remember
from deputize.toolkits.linear.base import CREATES_ISSUES, LINEAR, READ, WRITE, Json, Priority, Text, Title
from deputize.toolkits.linear.rows import lean, name, nodes, said

_ADDRESS: Final = re.compile(r"https://[^\s/?#@\\:\[\]%]{1,253}(?::[0-9]{1,5})?(?:[/?#][^\s\x00-\x1f\x7f]{0,1800})?")


def _needs(arguments: Arguments) -> Sequence[Need]:
    return [READ, CREATES_ISSUES, *([WRITE] if arguments["link_url"] else [])]


@LINEAR.tool(
    needs=_needs,
    effect=Effect.WRITES | Effect.SENDS,
    aliases=[
        Alias(
            "Linear.CreateIssue",
            {
                "labels_to_add": "labels",
                "parent_issue": "parent",
                "attachment_url": "link_url",
                "attachment_title": "link_title",
            },
        )
    ],
)
def create_issue(
    team: Annotated[str, Field(description="key or name")],
    title: Title,
    description: Annotated[Text | None, Field(description="Markdown")] = None,
    state: str | None = None,
    assignee: Annotated[str | None, Field(description="name, email or me")] = None,
    priority: Priority | None = None,
    labels: list[str] | None = None,
    project: str | None = None,
    milestone: str | None = None,
    cycle: str | None = None,
    parent: Annotated[str | None, Field(description="ENG-123")] = None,
    estimate: Annotated[int | None, Field(ge=0, le=1000)] = None,
    due_date: str | None = None,
    template: str | None = None,
    link_url: str | None = None,
    link_title: str | None = None,
    *,
    run: Run,
) -> Steps:
    """Create an issue."""
    if milestone and not project:
        raise InvalidInput("milestone: only together with project.", hint="Give project.")
    if link_title and not link_url:
        raise InvalidInput("link_title: only together with link_url.")
    link = https(link_url, "link_url") if link_url else ""
    due = scalars.day(due_date, "due_date")
    place = yield from _team(team)
    found = yield from in_project(project, milestone)
    found["assigneeId"] = (yield from names.user_id(assignee, run.account, "assignee")) if assignee else None
    found["labelIds"] = (yield from names.label_ids(labels, "labels", [place.get("key")])) if labels else None
    found["cycleId"] = (yield from names.cycle(place["id"], cycle))["id"] if cycle else None
    found["parentId"] = (yield from names.issue(parent, "parent"))["id"] if parent else None
    found["stateId"] = names.state_in(nodes(place.get("states")), state) if state else None
    found["templateId"] = (yield from _template(template)) if template else None
    values = {"title": title, "description": description, "estimate": estimate, "dueDate": due}
    wanted = scalars.given({**values, **found, "priority": scalars.priority(priority)})
    yield from remember(run.noted, run.key.uuid)
    look = by_id("Issue", comments=False, attachments=False, relations=False, children=False)
    made, existed = yield from make("IssueCreate", {"id": run.key.uuid, "teamId": place["id"], **wanted}, look)
    result = {
        "identifier": made["identifier"],
        "id": made["id"],
        "url": made.get("url"),
        "title": said(made.get("title")),
        "state": said(name(made.get("state")), 60),
        "assignee": said(name(made.get("assignee")), 60),
        "existed": existed,
        "undo": {"tool": "linear_archive", "args": {"kind": "issue", "id": made["identifier"], "action": "delete"}},
    }
    if link:
        result |= yield from _linked(made["id"], link, link_title, run.key.nth(1).uuid)
    return lean(result)


def https(url: str, field: str) -> str:
    """An https address. Raises `InvalidInput` for any other, and for one with a name or password in it."""
    if not _ADDRESS.fullmatch(url.strip()):
        raise InvalidInput(f"{field}: must be an https address.")
    return url.strip()


def _team(wanted: str) -> Asks[Json]:
    """A team with its states."""
    found = yield from names.team(wanted)
    team: Json = yield from get("Team", id=found["id"])
    return team


def in_project(project: str | None, milestone: str | None) -> Asks[dict[str, Any]]:
    """The ids of a project and of a milestone in it."""
    if not project:
        return {}
    found = yield from names.project(project)
    if not milestone:
        return {"projectId": found["id"]}
    return {"projectId": found["id"], "projectMilestoneId": (yield from names.milestone(found["id"], milestone))["id"]}


def _template(wanted: str) -> Asks[str]:
    rows = yield from get("LookupTemplates")
    return str(matching.chosen([row for row in rows if row.get("type") == "issue"], wanted, "template")["id"])


def _linked(issue_id: str, url: str, title: str | None, id: str) -> Asks[Json]:
    """The link on the new issue. A link that was refused does not undo the issue: it is a warning."""
    try:
        made = yield from change("AttachmentLinkUrl", id=id, issueId=issue_id, url=url, title=title)
    except ProviderUnavailable:
        return {"warnings": ["The issue is there; whether its link is, Linear did not say. linear_link_url is safe."]}
    except DeputizeError as refused:
        return {"warnings": [f"The issue is there, its link is not: {refused}"]}
    return {"link": (made.get("attachment") or {}).get("url")}
