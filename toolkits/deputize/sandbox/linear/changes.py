"""Mutations: what people make, change and put away. An id that is there already is refused, whatever else is said."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from deputize.sandbox.linear import views
from deputize.sandbox.linear.graphql import Field
from deputize.sandbox.linear.seed import user_id
from deputize.sandbox.linear.store import Call, Json, failed, invalid, not_found

Show = Callable[[Call, Json], Json]
Names = Mapping[str, str]  # of an input's fields, and what a row calls them

_ISSUE: Names = {
    **{name: name for name in ("title", "description", "priority", "estimate", "dueDate")},
    **{"stateId": "state", "assigneeId": "assignee", "projectId": "project", "projectMilestoneId": "milestone"},
    **{"cycleId": "cycle", "parentId": "parent", "labelIds": "labels", "teamId": "team", "templateId": "template"},
}
_PROJECT: Names = {
    **{name: name for name in ("name", "description", "content", "priority", "startDate", "targetDate")},
    **{"statusId": "status", "leadId": "lead", "memberIds": "members", "teamIds": "teams"},
}
_INITIATIVE: Names = {
    **{name: name for name in ("name", "description", "content", "status", "targetDate")},
    "ownerId": "owner",
}
_DOCUMENT: Names = {
    **{"title": "title", "content": "content", "projectId": "project", "initiativeId": "initiative"},
    **{"teamId": "team", "issueId": "issue"},
}
_COMMENT: Names = {
    **{"body": "body", "quotedText": "quotedText", "issueId": "issue", "projectId": "project", "parentId": "parent"},
    **{"initiativeId": "initiative", "projectUpdateId": "projectUpdate", "initiativeUpdateId": "initiativeUpdate"},
    "documentContentId": "documentContent",
}
_LABEL: Names = {
    **{name: name for name in ("name", "color", "description", "retiredAt", "isGroup")},
    **{"parentId": "parent", "teamId": "team"},
}
_MILESTONE: Names = {"name": "name", "description": "description", "targetDate": "targetDate", "projectId": "project"}
_NEED: Names = {
    **{"body": "body", "priority": "priority", "customerId": "customer", "issueId": "issue", "projectId": "project"}
}
_PEOPLE = ("assignee", "lead", "owner", "members")
_LEADS_TO = {  # where an id in an input must lead, and what it is called there
    **{"project": ("projects", "Project"), "milestone": ("milestones", "ProjectMilestone")},
    **{"cycle": ("cycles", "Cycle"), "issue": ("issues", "Issue"), "team": ("teams", "Team")},
    **{"initiative": ("initiatives", "Initiative"), "customer": ("customers", "Customer")},
}


def _kept(call: Call, given: Json, names: Names, kind: str) -> Json:
    """An input as a row keeps it: people as addresses, everything else as it came."""
    if wrong := set(given) - set(names) - {"id"}:
        raise invalid(sorted(wrong)[0], kind)
    people = {user_id(person.email): person.email for person in call.world.people}
    kept: Json = {}
    for field, name in names.items():
        if field not in given:
            continue
        value = given[field]
        if name in _PEOPLE and value is not None:
            found = [people.get(one) for one in (value if isinstance(value, list) else [value])]
            if None in found:
                raise not_found("User")
            value = found if isinstance(value, list) else found[0]
        if name in _LEADS_TO and value is not None:
            call.found(_LEADS_TO[name][0], value, _LEADS_TO[name][1])
        kept[name] = value
    return kept


def _new(call: Call, kind: str, label: str, given: Json, kept: Json) -> Json:
    id = str(given.get("id") or uuid.uuid4())
    if any(row["id"] == id for row in call.rows(kind)):
        shown = f"Entity {label} with id {id} already exists."
        raise failed(200, f"conflict on insert of {label}", "invalid input", "INPUT_ERROR", shown)
    row = {"id": id, "createdAt": call.now, "updatedAt": call.now, **kept}
    call.rows(kind).append(row)
    return row


def _text(kept: Json, field: str) -> None:
    if not str(kept.get(field) or "").strip():
        raise failed(400, "Argument Validation Error", "invalid input", "INVALID_INPUT")


def _given(one: Field) -> Json:
    given: Json = one.arguments.get("input") or {}
    return given


def _done(name: str, value: Json | None) -> Json:
    return {"success": True, "lastSyncId": 1.0, name: value}


# ----------------------------------------------------------------- issues and what hangs on them


def issue_create(call: Call, one: Field) -> Json:
    """``issues:create`` suffices."""
    call.needs("issues:create")
    given = _given(one)
    kept = _kept(call, given, _ISSUE, "IssueCreateInput")
    kept.pop("template", None)
    team = call.row("teams", given.get("teamId"))
    if team is None:
        raise failed(400, "Argument Validation Error", "invalid input", "INVALID_INPUT")
    _text(kept, "title")
    numbers = [row["number"] for row in call.rows("issues") if row["team"] == team["id"]]
    made = {"number": max(numbers, default=0) + 1, "creator": call.person.email, "assignee": None, "priority": 0}
    made |= {"description": None, "state": team["states"][0]["id"]}
    row = _new(call, "issues", "Issue", given, made | _in_team(call, kept, team))
    return _done("issue", views.issue(call, row))


def _in_team(call: Call, kept: Json, team: Json) -> Json:
    """The state is one of the issue's team; labels are of the team or the workspace."""
    if "state" in kept and kept["state"] not in {one["id"] for one in team["states"]}:
        raise not_found("WorkflowState")
    usable = {one["id"] for one in call.rows("labels") if one.get("team") in (None, team["id"])}
    if not set(kept.get("labels") or ()) <= usable:
        raise not_found("IssueLabel")
    return kept


def _change_issue(call: Call, row: Json, given: Json) -> None:
    more = {"addedLabelIds": "added", "removedLabelIds": "removed", "trashed": "trashed"}
    kept = _kept(call, given, {**_ISSUE, **more}, "IssueUpdateInput")
    team = call.found("teams", kept.get("team", row["team"]), "Team")
    if team["id"] != row["team"]:
        row["number"] = max((one["number"] for one in call.rows("issues") if one["team"] == team["id"]), default=0) + 1
        row["state"] = team["states"][0]["id"]
    labels = [one for one in row.get("labels") or [] if one not in (kept.pop("removed", None) or ())]
    added = [one for one in kept.pop("added", None) or () if one not in labels]
    if labels + added != (row.get("labels") or []):
        kept["labels"] = labels + added
    row |= _in_team(call, kept, team) | {"updatedAt": call.now}
    kind = next(one["type"] for one in team["states"] if one["id"] == row["state"])
    row["completedAt"] = (row.get("completedAt") or call.now) if kind == "completed" else None


def _issue(call: Call, wanted: Any) -> Json:
    """By id or key."""
    for row in call.visible("issues"):
        if wanted in (row["id"], views.identifier(call, row)):
            return row
    raise not_found("Issue")


def issue_update(call: Call, one: Field) -> Json:
    """One issue."""
    call.needs("write")
    row = _issue(call, one.arguments.get("id"))
    _change_issue(call, row, _given(one))
    return _done("issue", views.issue(call, row))


def issue_batch_update(call: Call, one: Field) -> Json:
    """Up to fifty, by id."""
    call.needs("write")
    ids = list(one.arguments.get("ids") or ())
    if len(ids) > 50:
        raise failed(400, "Argument Validation Error", "invalid input", "INVALID_INPUT")
    rows = [call.found("issues", id, "Issue") for id in ids]
    for row in rows:
        _change_issue(call, row, _given(one))
    return {"success": True, "lastSyncId": 1.0, "issues": [views.issue(call, row) for row in rows]}


def relation_create(call: Call, one: Field) -> Json:
    """Between two issues."""
    call.needs("write")
    given = _given(one)
    ends = [call.found("issues", given.get(name), "Issue")["id"] for name in ("issueId", "relatedIssueId")]
    kept = {"issue": ends[0], "related": ends[1], "type": given.get("type")}
    return _done("issueRelation", views.relation(call, _new(call, "relations", "IssueRelation", given, kept)))


def link(call: Call, one: Field) -> Json:
    """The same address on the same issue is one link."""
    call.needs("write")
    given = one.arguments
    issue = _issue(call, given.get("issueId"))
    kept = {"issue": issue["id"], "url": given.get("url"), "title": given.get("title") or given.get("url")}
    there = [row for row in call.rows("attachments") if (row["issue"], row["url"]) == (kept["issue"], kept["url"])]
    if there:
        there[0] |= kept
    row = there[0] if there else _new(call, "attachments", "Attachment", given, kept | {"sourceType": "unknown"})
    return _done("attachment", views.attachment(call, row))


def no_github(call: Call, one: Field) -> Json:
    """This workspace is not connected with GitHub."""
    call.needs("write")
    raise failed(200, "Integration not found", "invalid input", "INPUT_ERROR", "Connect GitHub first.")


def _subscription(follows: bool) -> Callable[[Call, Field], Json]:
    def change(call: Call, one: Field) -> Json:
        call.needs("write")
        row = _issue(call, one.arguments.get("id"))
        people = {user_id(person.email): person.email for person in call.world.people}
        who = people.get(str(one.arguments.get("userId") or call.me), "")
        rest = [email for email in row.get("subscribers") or [] if email != who]
        row["subscribers"] = [*rest, who] if follows else rest
        return _done("issue", views.issue(call, row))

    return change


# ----------------------------------------------------------------- comments


def comment_create(call: Call, one: Field) -> Json:
    """``comments:create`` suffices."""
    call.needs("comments:create")
    given = _given(one)
    kept = _kept(call, given, _COMMENT, "CommentCreateInput")
    _text(kept, "body")
    if parent := kept.get("parent"):
        above = call.found("comments", parent, "Comment")
        kept = {name: above.get(name) for name in ("issue", "project", "documentContent") if above.get(name)} | kept
    row = _new(call, "comments", "Comment", given, kept | {"author": call.person.email})
    return _done("comment", views.comment(call, row))


def comment_update(call: Call, one: Field) -> Json:
    """The author's own only."""
    call.needs("write")
    row = call.found("comments", one.arguments.get("id"), "Comment")
    if row["author"] != call.person.email:
        raise failed(403, "Forbidden", "forbidden", "FORBIDDEN")
    row |= _kept(call, _given(one), {"body": "body"}, "CommentUpdateInput") | {"editedAt": call.now}
    return _done("comment", views.comment(call, row))


def _resolution(resolved: bool) -> Callable[[Call, Field], Json]:
    def change(call: Call, one: Field) -> Json:
        call.needs("write")
        row = call.found("comments", one.arguments.get("id"), "Comment")
        row["resolvedAt"] = call.now if resolved else None
        return _done("comment", views.comment(call, row))

    return change


# ----------------------------------------------------------------- everything that is made and changed alike


def _create(kind: str, label: str, name: str, names: Names, show: Show, text: str, **more: Any) -> Any:
    def change(call: Call, one: Field) -> Json:
        call.needs("admin" if kind == "statuses" else "write")
        given = _given(one)
        kept = _kept(call, given, names, f"{label}CreateInput")
        _text(kept, text)
        made = {key: value(call) if callable(value) else value for key, value in more.items()}
        return _done(name, show(call, _new(call, kind, label, given, made | kept)))

    return change


def _update(kind: str, label: str, name: str, names: Names, show: Show) -> Any:
    def change(call: Call, one: Field) -> Json:
        call.needs("write")
        row = call.found(kind, one.arguments.get("id"), label)
        row |= _kept(call, _given(one), names, f"{label}UpdateInput") | {"updatedAt": call.now}
        return _done(name, show(call, row))

    return change


def _delete(kind: str, label: str) -> Any:
    def change(call: Call, one: Field) -> Json:
        call.needs("write")
        row = call.found(kind, one.arguments.get("id"), label)
        call.rows(kind).remove(row)
        return {"success": True, "lastSyncId": 1.0, "entityId": row["id"]}

    return change


def _stamp(kind: str, label: str, show: Show, **fields: Any) -> Any:
    def change(call: Call, one: Field) -> Json:
        call.needs("write")
        row = (
            _issue(call, one.arguments.get("id")) if kind == "issues" else call.found(kind, one.arguments["id"], label)
        )
        row |= {key: value(call) if callable(value) else value for key, value in fields.items()}
        return _done("entity", show(call, row))

    return change


def link_project(call: Call, one: Field) -> Json:
    """A project joins an initiative; once."""
    call.needs("write")
    given = _given(one)
    kept = {
        "initiative": call.found("initiatives", given.get("initiativeId"), "Initiative")["id"],
        "project": call.found("projects", given.get("projectId"), "Project")["id"],
    }
    if any((row["initiative"], row["project"]) == tuple(kept.values()) for row in call.rows("initiative_links")):
        raise failed(200, "conflict on insert of InitiativeToProject", "invalid input", "INPUT_ERROR", "Already there.")
    row = _new(call, "initiative_links", "InitiativeToProject", given, kept)
    return _done("initiativeToProject", views.initiative_link(call, row))


def notification_update(call: Call, one: Field) -> Json:
    """Read, unread, snoozed."""
    call.needs("write")
    row = call.found("notifications", one.arguments.get("id"), "Notification")
    names = {"readAt": "readAt", "snoozedUntilAt": "snoozedUntilAt"}
    row |= _kept(call, _given(one), names, "NotificationUpdateInput")
    return _done("notification", views.notification(call, row))


def _author(call: Call) -> str:
    return call.person.email


def _slug(call: Call) -> str:
    return uuid.uuid4().hex[:12]


def _content(call: Call) -> str:
    return str(uuid.uuid4())


def _now(call: Call) -> str:
    return call.now


def _status(call: Call) -> str:
    return str(call.rows("statuses")[0]["id"])


_UPDATES: dict[str, Names] = {
    kind: {"body": "body", "health": "health", f"{kind}Id": kind} for kind in ("project", "initiative")
}
_STATUS: Names = {name: name for name in ("name", "type", "color", "description", "position")}

MUTATIONS: dict[str, Callable[[Call, Field], Json]] = {
    "issueCreate": issue_create,
    "issueUpdate": issue_update,
    "issueBatchUpdate": issue_batch_update,
    "issueRelationCreate": relation_create,
    "issueRelationDelete": _delete("relations", "IssueRelation"),
    "attachmentLinkURL": link,
    "attachmentLinkGitHubPR": no_github,
    "attachmentLinkGitHubIssue": no_github,
    "attachmentDelete": _delete("attachments", "Attachment"),
    "issueSubscribe": _subscription(True),
    "issueUnsubscribe": _subscription(False),
    "commentCreate": comment_create,
    "commentUpdate": comment_update,
    "commentResolve": _resolution(True),
    "commentUnresolve": _resolution(False),
    "commentDelete": _delete("comments", "Comment"),
    "projectCreate": _create(
        "projects",
        "Project",
        "project",
        _PROJECT,
        views.project,
        "name",
        slugId=_slug,
        content_id=_content,
        status=_status,
        creator=_author,
    ),
    "projectUpdate": _update("projects", "Project", "project", _PROJECT, views.project),
    "projectDelete": _stamp("projects", "Project", views.project, archivedAt=_now),
    "projectUnarchive": _stamp("projects", "Project", views.project, archivedAt=None),
    "projectMilestoneCreate": _create(
        "milestones", "ProjectMilestone", "projectMilestone", _MILESTONE, views.milestone, "name"
    ),
    "projectMilestoneUpdate": _update(
        "milestones", "ProjectMilestone", "projectMilestone", _MILESTONE, views.milestone
    ),
    "projectMilestoneDelete": _delete("milestones", "ProjectMilestone"),
    "projectStatusCreate": _create("statuses", "ProjectStatus", "status", _STATUS, views.status, "name"),
    "projectUpdateCreate": _create(
        "project_updates",
        "ProjectUpdate",
        "projectUpdate",
        _UPDATES["project"],
        views.project_update,
        "body",
        author=_author,
    ),
    "projectUpdateArchive": _stamp("project_updates", "ProjectUpdate", views.project_update, archivedAt=_now),
    "projectUpdateUnarchive": _stamp("project_updates", "ProjectUpdate", views.project_update, archivedAt=None),
    "initiativeCreate": _create(
        "initiatives",
        "Initiative",
        "initiative",
        _INITIATIVE,
        views.initiative,
        "name",
        slugId=_slug,
        status="Planned",
        creator=_author,
    ),
    "initiativeUpdate": _update("initiatives", "Initiative", "initiative", _INITIATIVE, views.initiative),
    "initiativeArchive": _stamp("initiatives", "Initiative", views.initiative, archivedAt=_now),
    "initiativeUnarchive": _stamp("initiatives", "Initiative", views.initiative, archivedAt=None),
    "initiativeDelete": _delete("initiatives", "Initiative"),
    "initiativeToProjectCreate": link_project,
    "initiativeToProjectDelete": _delete("initiative_links", "InitiativeToProject"),
    "initiativeUpdateCreate": _create(
        "initiative_updates",
        "InitiativeUpdate",
        "initiativeUpdate",
        _UPDATES["initiative"],
        views.initiative_update,
        "body",
        author=_author,
    ),
    "initiativeUpdateArchive": _stamp(
        "initiative_updates", "InitiativeUpdate", views.initiative_update, archivedAt=_now
    ),
    "initiativeUpdateUnarchive": _stamp(
        "initiative_updates", "InitiativeUpdate", views.initiative_update, archivedAt=None
    ),
    "documentCreate": _create(
        "documents",
        "Document",
        "document",
        _DOCUMENT,
        views.document,
        "title",
        slugId=_slug,
        content_id=_content,
        author=_author,
    ),
    "documentUpdate": _update("documents", "Document", "document", _DOCUMENT, views.document),
    "documentDelete": _stamp("documents", "Document", views.document, archivedAt=_now),
    "documentUnarchive": _stamp("documents", "Document", views.document, archivedAt=None),
    "issueLabelCreate": _create("labels", "IssueLabel", "issueLabel", _LABEL, views.label, "name"),
    "issueLabelUpdate": _update("labels", "IssueLabel", "issueLabel", _LABEL, views.label),
    "issueLabelDelete": _delete("labels", "IssueLabel"),
    "projectLabelCreate": _create(
        "project_labels", "ProjectLabel", "projectLabel", _LABEL, views.project_label, "name"
    ),
    "projectLabelUpdate": _update("project_labels", "ProjectLabel", "projectLabel", _LABEL, views.project_label),
    "projectLabelDelete": _delete("project_labels", "ProjectLabel"),
    "notificationUpdate": notification_update,
    "notificationArchive": _stamp("notifications", "Notification", views.notification, archivedAt=_now),
    "customerNeedCreate": _create("needs", "CustomerNeed", "need", _NEED, views.need, "body"),
    "issueArchive": _stamp("issues", "Issue", views.issue, archivedAt=_now),
    "issueUnarchive": _stamp("issues", "Issue", views.issue, archivedAt=None, trashed=False),
    "issueDelete": _stamp("issues", "Issue", views.issue, archivedAt=_now, trashed=True),
}
