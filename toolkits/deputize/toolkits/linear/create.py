"""Linear: creating issues."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

from deputize.core import Alias, Effect, Need, Run, Steps
from deputize.core.errors import DeputizeError, InvalidInput, ProviderUnavailable
from deputize.core.tools.tool import Arguments
from deputize.toolkits.linear import matching, scalars
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Asks, change, get, look_by_id, make
from deputize.toolkits.linear.base import CREATES_ISSUES, LINEAR, READ, WRITE, Json, Priority, Text, Title
from deputize.toolkits.linear.preview import issue_words, person, place, undo, version_of
from deputize.toolkits.linear.rows import lean, line, name, nodes

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
    state: Annotated[str | None, Field(description="name or type")] = None,
    assignee: Annotated[str | None, Field(description="name, email or me")] = None,
    priority: Priority | None = None,
    labels: Annotated[list[str] | None, Field(description="names or group/name")] = None,
    project: Annotated[str | None, Field(description="name, URL or id")] = None,
    milestone: Annotated[str | None, Field(description="of project")] = None,
    cycle: Annotated[str | None, Field(description="number, active or next")] = None,
    parent: Annotated[str | None, Field(description="ENG-123")] = None,
    estimate: Annotated[int | None, Field(ge=0, le=1000, description="points")] = None,
    due_date: Annotated[str | None, Field(description="date or +3d")] = None,
    template: Annotated[str | None, Field(description="name or id")] = None,
    link_url: str | None = None,
    link_title: str | None = None,
    *,
    run: Run,
) -> Steps:
    """Create an issue."""
    if milestone and not project:
        raise InvalidInput("milestone: only together with project.", hint="Give project.")
    if link_title and not link_url:
        raise InvalidInput("link_title: only together with link_url.", hint="Add link_url, or leave out link_title.")
    link = https(link_url, "link_url") if link_url else ""
    due = (yield from scalars.days(run, due_date=due_date))["due_date"]
    to = yield from _team(team)
    within, part = yield from project_and_milestone(project, milestone)
    who = (yield from names.user(assignee, run.account, "assignee")) if assignee else None
    marks = (yield from names.labels(labels, "labels", [to.get("key")])) if labels else None
    round = (yield from names.cycle(to["id"], cycle)) if cycle else None
    above = (yield from names.issue(parent, "parent")) if parent else None
    start = names.state_in(nodes(to.get("states")), state) if state else None
    form = (yield from _template(template)) if template else None
    things = {"projectId": within, "projectMilestoneId": part, "assigneeId": who, "cycleId": round}
    things |= {"parentId": above, "stateId": start, "templateId": form}
    pins: Json = {"teamId": to["id"]} | {field: one["id"] for field, one in things.items() if one}
    pins |= {"labelIds": [str(one["id"]) for one in marks]} if marks else {}
    values = {"title": title, "description": description, "estimate": estimate, "dueDate": due}
    pins |= scalars.present({"priority": scalars.priority(priority)})
    wanted = scalars.present(values)
    stands = yield from place([to])
    shows = stands.show(
        "Create this issue",
        title=title,
        description=description or None,
        state=start and name(start),
        assignee=who and person(who),
        priority=priority,
        labels=sorted(map(name, marks)) if marks else None,
        project=within and name(within),
        milestone=part and name(part),
        cycle=round and str(round.get("number")),
        parent=above and issue_words(above),
        estimate=estimate,
        due_date=due,
        template=form and name(form),
        note="The template fills in what is left out here." if form else None,
        link=link or None,
        link_title=link_title,
        pins=pins,
    )
    look = look_by_id("Issue", comments=False, attachments=False, relations=False, children=False)
    made, existed = yield from make("IssueCreate", {"id": run.key.uuid, **pins, **wanted}, look, shows, run.noted)
    result = {
        "identifier": made["identifier"],
        "id": made["id"],
        "url": made.get("url"),
        "title": line(made.get("title")),
        "state": line(name(made.get("state")), 60),
        "assignee": line(name(made.get("assignee")), 60),
        "existed": existed,
        "undo": {"tool": "linear_archive", "args": {"kind": "issue", "id": made["identifier"], "action": "delete"}},
    }
    if link:
        result |= yield from _add_link(made["id"], link, link_title, run.key.nth(1).uuid)
    yield undo(result["undo"], issue=issue_words(made), version=version_of(made.get("description")))
    return lean(result)


def https(url: str, field: str) -> str:
    """Return an https address. Raises `InvalidInput` for other schemes, and for a name or password in the address."""
    if not _ADDRESS.fullmatch(url.strip()):
        raise InvalidInput(f"{field}: must be an https address.", hint="Begin it with https://.")
    return url.strip()


def _team(wanted: str) -> Asks[Json]:
    """Return a team with its states."""
    found = yield from names.team(wanted)
    team: Json = yield from get("Team", id=found["id"])
    return team


def project_and_milestone(project: str | None, milestone: str | None) -> Asks[tuple[Json | None, Json | None]]:
    """Return a project, and a milestone of this project."""
    if not project:
        return None, None
    found = yield from names.project(project)
    return found, (yield from names.milestone(found["id"], milestone)) if milestone else None


def _template(wanted: str) -> Asks[Json]:
    rows = yield from get("LookupTemplates")
    return matching.choose([row for row in rows if row.get("type") == "issue"], wanted, "template")


def _add_link(issue_id: str, url: str, title: str | None, id: str) -> Asks[Json]:
    """Link the address to the new issue. A refused link is only a warning, because the issue exists already."""
    try:
        made = yield from change("AttachmentLinkUrl", id=id, issueId=issue_id, url=url, title=title)
    except ProviderUnavailable:
        return {"warnings": ["The issue is there; whether its link is, Linear did not say. linear_link_url is safe."]}
    except DeputizeError as refused:
        return {"warnings": [f"The issue is there, its link is not: {refused}"]}
    return {"link": (made.get("attachment") or {}).get("url")}
