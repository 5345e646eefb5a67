"""Mutations: creation, changes and deletion. The table is at the end."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from deputize.sandbox.graphql import Field
from deputize.sandbox.linear import inbox_views, views
from deputize.sandbox.linear.inputs import (
    DOCUMENT,
    INITIATIVE,
    LABEL,
    MILESTONE,
    NEED,
    PROJECT,
    STATUS,
    UPDATES,
    Names,
    insert,
    read_input,
    require_text,
    stored_fields,
    success,
)
from deputize.sandbox.linear.issue_changes import (
    comment_create,
    comment_update,
    find_issue,
    github_not_connected,
    issue_batch_update,
    issue_create,
    issue_update,
    link,
    relation_create,
    resolution,
    subscription,
)
from deputize.sandbox.linear.store import Call, Json, failed
from deputize.sandbox.linear.uploads import file_upload

Show = Callable[[Call, Json], Json]


# ----------------------------------------------------------------- mutations that all kinds share


def _create(kind: str, label: str, name: str, names: Names, show: Show, text: str, **more: Any) -> Any:
    def change(call: Call, one: Field) -> Json:
        call.needs("admin" if kind == "statuses" else "write")
        given = read_input(one)
        kept = stored_fields(call, given, names, f"{label}CreateInput")
        require_text(kept, text)
        made = {key: value(call) if callable(value) else value for key, value in more.items()}
        return success(name, show(call, insert(call, kind, label, given, made | kept)))

    return change


def _update(kind: str, label: str, name: str, names: Names, show: Show) -> Any:
    def change(call: Call, one: Field) -> Json:
        call.needs("write")
        row = call.find(kind, one.arguments.get("id"), label)
        row |= stored_fields(call, read_input(one), names, f"{label}UpdateInput") | {"updatedAt": call.now}
        return success(name, show(call, row))

    return change


def _delete(kind: str, label: str) -> Any:
    def change(call: Call, one: Field) -> Json:
        call.needs("write")
        row = call.find(kind, one.arguments.get("id"), label)
        call.rows(kind).remove(row)
        return {"success": True, "lastSyncId": 1.0, "entityId": row["id"]}

    return change


def _stamp(kind: str, label: str, show: Show, **fields: Any) -> Any:
    def change(call: Call, one: Field) -> Json:
        call.needs("write")
        row = (
            find_issue(call, one.arguments.get("id"))
            if kind == "issues"
            else call.find(kind, one.arguments["id"], label)
        )
        row |= {key: value(call) if callable(value) else value for key, value in fields.items()}
        return success("entity", show(call, row))

    return change


def link_project(call: Call, one: Field) -> Json:
    """Add a project to an initiative, once."""
    call.needs("write")
    given = read_input(one)
    kept = {
        "initiative": call.find("initiatives", given.get("initiativeId"), "Initiative")["id"],
        "project": call.find("projects", given.get("projectId"), "Project")["id"],
    }
    if any((row["initiative"], row["project"]) == tuple(kept.values()) for row in call.rows("initiative_links")):
        raise failed(200, "conflict on insert of InitiativeToProject", "invalid input", "INPUT_ERROR", "Already there.")
    row = insert(call, "initiative_links", "InitiativeToProject", given, kept)
    return success("initiativeToProject", views.initiative_link(call, row))


def notification_update(call: Call, one: Field) -> Json:
    """Mark a notification as read, unread or snoozed."""
    call.needs("write")
    row = call.find("notifications", one.arguments.get("id"), "Notification")
    names = {"readAt": "readAt", "snoozedUntilAt": "snoozedUntilAt"}
    row |= stored_fields(call, read_input(one), names, "NotificationUpdateInput")
    return success("notification", inbox_views.notification(call, row))


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


MUTATIONS: dict[str, Callable[[Call, Field], Json]] = {
    "issueCreate": issue_create,
    "issueUpdate": issue_update,
    "issueBatchUpdate": issue_batch_update,
    "issueRelationCreate": relation_create,
    "issueRelationDelete": _delete("relations", "IssueRelation"),
    "attachmentLinkURL": link,
    "fileUpload": file_upload,
    "attachmentLinkGitHubPR": github_not_connected,
    "attachmentLinkGitHubIssue": github_not_connected,
    "attachmentDelete": _delete("attachments", "Attachment"),
    "issueSubscribe": subscription(True),
    "issueUnsubscribe": subscription(False),
    "commentCreate": comment_create,
    "commentUpdate": comment_update,
    "commentResolve": resolution(True),
    "commentUnresolve": resolution(False),
    "commentDelete": _delete("comments", "Comment"),
    "projectCreate": _create(
        "projects",
        "Project",
        "project",
        PROJECT,
        views.project,
        "name",
        slugId=_slug,
        content_id=_content,
        status=_status,
        creator=_author,
    ),
    "projectUpdate": _update("projects", "Project", "project", PROJECT, views.project),
    "projectDelete": _stamp("projects", "Project", views.project, archivedAt=_now),
    "projectUnarchive": _stamp("projects", "Project", views.project, archivedAt=None),
    "projectMilestoneCreate": _create(
        "milestones", "ProjectMilestone", "projectMilestone", MILESTONE, views.milestone, "name"
    ),
    "projectMilestoneUpdate": _update("milestones", "ProjectMilestone", "projectMilestone", MILESTONE, views.milestone),
    "projectMilestoneDelete": _delete("milestones", "ProjectMilestone"),
    "projectStatusCreate": _create("statuses", "ProjectStatus", "status", STATUS, views.status, "name"),
    "projectUpdateCreate": _create(
        "project_updates",
        "ProjectUpdate",
        "projectUpdate",
        UPDATES["project"],
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
        INITIATIVE,
        views.initiative,
        "name",
        slugId=_slug,
        status="Planned",
        creator=_author,
    ),
    "initiativeUpdate": _update("initiatives", "Initiative", "initiative", INITIATIVE, views.initiative),
    "initiativeArchive": _stamp("initiatives", "Initiative", views.initiative, archivedAt=_now),
    "initiativeUnarchive": _stamp("initiatives", "Initiative", views.initiative, archivedAt=None),
    "initiativeDelete": _delete("initiatives", "Initiative"),
    "initiativeToProjectCreate": link_project,
    "initiativeToProjectDelete": _delete("initiative_links", "InitiativeToProject"),
    "initiativeUpdateCreate": _create(
        "initiative_updates",
        "InitiativeUpdate",
        "initiativeUpdate",
        UPDATES["initiative"],
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
        DOCUMENT,
        views.document,
        "title",
        slugId=_slug,
        content_id=_content,
        author=_author,
    ),
    "documentUpdate": _update("documents", "Document", "document", DOCUMENT, views.document),
    "documentDelete": _stamp("documents", "Document", views.document, archivedAt=_now),
    "documentUnarchive": _stamp("documents", "Document", views.document, archivedAt=None),
    "issueLabelCreate": _create("labels", "IssueLabel", "issueLabel", LABEL, views.label, "name"),
    "issueLabelUpdate": _update("labels", "IssueLabel", "issueLabel", LABEL, views.label),
    "issueLabelDelete": _delete("labels", "IssueLabel"),
    "projectLabelCreate": _create("project_labels", "ProjectLabel", "projectLabel", LABEL, views.project_label, "name"),
    "projectLabelUpdate": _update("project_labels", "ProjectLabel", "projectLabel", LABEL, views.project_label),
    "projectLabelDelete": _delete("project_labels", "ProjectLabel"),
    "notificationUpdate": notification_update,
    "notificationArchive": _stamp("notifications", "Notification", inbox_views.notification, archivedAt=_now),
    "customerNeedCreate": _create("needs", "CustomerNeed", "need", NEED, inbox_views.need, "body"),
    "issueArchive": _stamp("issues", "Issue", views.issue, archivedAt=_now),
    "issueUnarchive": _stamp("issues", "Issue", views.issue, archivedAt=None, trashed=False),
    "issueDelete": _stamp("issues", "Issue", views.issue, archivedAt=_now, trashed=True),
}
