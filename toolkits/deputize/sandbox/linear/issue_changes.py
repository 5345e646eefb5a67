"""Mutations of issues, and of their relations, links, subscribers and comments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deputize.sandbox.graphql import Field
from deputize.sandbox.linear import views
from deputize.sandbox.linear.inputs import COMMENT, ISSUE, insert, read_input, require_text, stored_fields, success
from deputize.sandbox.linear.seed import user_id
from deputize.sandbox.linear.store import Call, Json, failed, not_found

# ----------------------------------------------------------------- issues, relations, links, subscribers


def issue_create(call: Call, one: Field) -> Json:
    """Create an issue; the scope ``issues:create`` suffices."""
    call.needs("issues:create")
    given = read_input(one)
    kept = stored_fields(call, given, ISSUE, "IssueCreateInput")
    kept.pop("template", None)
    team = call.by_id("teams", given.get("teamId"))
    if team is None:
        raise failed(400, "Argument Validation Error", "invalid input", "INVALID_INPUT")
    require_text(kept, "title")
    numbers = [row["number"] for row in call.rows("issues") if row["team"] == team["id"]]
    made = {"number": max(numbers, default=0) + 1, "creator": call.person.email, "assignee": None, "priority": 0}
    made |= {"description": None, "state": team["states"][0]["id"]}
    row = insert(call, "issues", "Issue", given, made | _check_team(call, kept, team))
    return success("issue", views.issue(call, row))


def _check_team(call: Call, kept: Json, team: Json) -> Json:
    """Check that the state belongs to the issue's team, and the labels to the team or the workspace."""
    if "state" in kept and kept["state"] not in {one["id"] for one in team["states"]}:
        raise not_found("WorkflowState")
    usable = {one["id"] for one in call.rows("labels") if one.get("team") in (None, team["id"])}
    if not set(kept.get("labels") or ()) <= usable:
        raise not_found("IssueLabel")
    return kept


def _change_issue(call: Call, row: Json, given: Json) -> None:
    more = {"addedLabelIds": "added", "removedLabelIds": "removed", "trashed": "trashed"}
    kept = stored_fields(call, given, {**ISSUE, **more}, "IssueUpdateInput")
    team = call.find("teams", kept.get("team", row["team"]), "Team")
    if team["id"] != row["team"]:
        row["number"] = max((one["number"] for one in call.rows("issues") if one["team"] == team["id"]), default=0) + 1
        row["state"] = team["states"][0]["id"]
    labels = [one for one in row.get("labels") or [] if one not in (kept.pop("removed", None) or ())]
    added = [one for one in kept.pop("added", None) or () if one not in labels]
    if labels + added != (row.get("labels") or []):
        kept["labels"] = labels + added
    row |= _check_team(call, kept, team) | {"updatedAt": call.now}
    kind = next(one["type"] for one in team["states"] if one["id"] == row["state"])
    row["completedAt"] = (row.get("completedAt") or call.now) if kind == "completed" else None


def find_issue(call: Call, wanted: Any) -> Json:
    """Return an issue by its id or its key, such as ``ENG-1``."""
    for row in call.visible("issues"):
        if wanted in (row["id"], views.identifier(call, row)):
            return row
    raise not_found("Issue")


def issue_update(call: Call, one: Field) -> Json:
    call.needs("write")
    row = find_issue(call, one.arguments.get("id"))
    _change_issue(call, row, read_input(one))
    return success("issue", views.issue(call, row))


def issue_batch_update(call: Call, one: Field) -> Json:
    """Change up to fifty issues, by id."""
    call.needs("write")
    ids = list(one.arguments.get("ids") or ())
    if len(ids) > 50:
        raise failed(400, "Argument Validation Error", "invalid input", "INVALID_INPUT")
    rows = [call.find("issues", id, "Issue") for id in ids]
    for row in rows:
        _change_issue(call, row, read_input(one))
    return {"success": True, "lastSyncId": 1.0, "issues": [views.issue(call, row) for row in rows]}


def relation_create(call: Call, one: Field) -> Json:
    call.needs("write")
    given = read_input(one)
    ends = [call.find("issues", given.get(name), "Issue")["id"] for name in ("issueId", "relatedIssueId")]
    kept = {"issue": ends[0], "related": ends[1], "type": given.get("type")}
    return success("issueRelation", views.relation(call, insert(call, "relations", "IssueRelation", given, kept)))


def link(call: Call, one: Field) -> Json:
    """Link an address to an issue; the same address is linked once."""
    call.needs("write")
    given = one.arguments
    issue = find_issue(call, given.get("issueId"))
    kept = {"issue": issue["id"], "url": given.get("url"), "title": given.get("title") or given.get("url")}
    there = [row for row in call.rows("attachments") if (row["issue"], row["url"]) == (kept["issue"], kept["url"])]
    if there:
        there[0] |= kept
    row = there[0] if there else insert(call, "attachments", "Attachment", given, kept | {"sourceType": "unknown"})
    return success("attachment", views.attachment(call, row))


def github_not_connected(call: Call, one: Field) -> Json:
    """Raise the error of a workspace that is not connected with GitHub."""
    call.needs("write")
    raise failed(200, "Integration not found", "invalid input", "INPUT_ERROR", "Connect GitHub first.")


def subscription(follows: bool) -> Callable[[Call, Field], Json]:
    """Return the mutation that subscribes a person to an issue, or unsubscribes."""

    def change(call: Call, one: Field) -> Json:
        call.needs("write")
        row = find_issue(call, one.arguments.get("id"))
        people = {user_id(person.email): person.email for person in call.world.people}
        who = people.get(str(one.arguments.get("userId") or call.me), "")
        rest = [email for email in row.get("subscribers") or [] if email != who]
        row["subscribers"] = [*rest, who] if follows else rest
        return success("issue", views.issue(call, row))

    return change


# ----------------------------------------------------------------- comments


def comment_create(call: Call, one: Field) -> Json:
    """Create a comment; the scope ``comments:create`` suffices."""
    call.needs("comments:create")
    given = read_input(one)
    kept = stored_fields(call, given, COMMENT, "CommentCreateInput")
    require_text(kept, "body")
    if parent := kept.get("parent"):
        above = call.find("comments", parent, "Comment")
        kept = {name: above.get(name) for name in ("issue", "project", "documentContent") if above.get(name)} | kept
    row = insert(call, "comments", "Comment", given, kept | {"author": call.person.email})
    return success("comment", views.comment(call, row))


def comment_update(call: Call, one: Field) -> Json:
    """Change an own comment. Raise FORBIDDEN for another person's."""
    call.needs("write")
    row = call.find("comments", one.arguments.get("id"), "Comment")
    if row["author"] != call.person.email:
        raise failed(403, "Forbidden", "forbidden", "FORBIDDEN")
    row |= stored_fields(call, read_input(one), {"body": "body"}, "CommentUpdateInput") | {"editedAt": call.now}
    return success("comment", views.comment(call, row))


def resolution(resolved: bool) -> Callable[[Call, Field], Json]:
    """Return the mutation that resolves a thread of comments, or reopens it."""

    def change(call: Call, one: Field) -> Json:
        call.needs("write")
        row = call.find("comments", one.arguments.get("id"), "Comment")
        row["resolvedAt"] = call.now if resolved else None
        return success("comment", views.comment(call, row))

    return change
