"""Notifications, customer needs, saved views and templates: they link to issues, but no issue links to them."""

from __future__ import annotations

from deputize.sandbox.linear.selections import HOME, Many, View, lookup
from deputize.sandbox.linear.store import Call, Json
from deputize.sandbox.linear.views import (
    comment,
    initiative,
    initiative_update,
    issue,
    project,
    project_update,
    team_lookup,
    user,
)


def notification(call: Call, row: Json) -> View:
    plain = ("id", "type", "category", "title", "subtitle", "createdAt", "updatedAt", "readAt", "snoozedUntilAt")
    return {
        "__typename": "IssueNotification",
        **{name: row.get(name) for name in plain},
        "archivedAt": row.get("archivedAt"),
        "url": f"{HOME}/inbox/{row['id'][:8]}",
        "actor": lambda: user(call, row["actor"]),
        "issue": lookup(call, "issues", row.get("issue"), issue),
        "project": lookup(call, "projects", row.get("project"), project),
        "initiative": lookup(call, "initiatives", row.get("initiative"), initiative),
        "comment": lookup(call, "comments", row.get("comment"), comment),
        "projectUpdate": lookup(call, "project_updates", row.get("projectUpdate"), project_update),
        "initiativeUpdate": lookup(call, "initiative_updates", row.get("initiativeUpdate"), initiative_update),
    }


def customer(call: Call, row: Json) -> View:
    return {name: row.get(name) for name in ("id", "name", "domains", "externalIds", "createdAt")}


def need(call: Call, row: Json) -> View:
    """Return a customer's request."""
    return {
        **{name: row.get(name) for name in ("id", "body", "priority", "createdAt", "updatedAt")},
        "url": f"{HOME}/customer-needs/{row['id'][:8]}",
        "customer": lookup(call, "customers", row["customer"], customer),
        "issue": lookup(call, "issues", row.get("issue"), issue),
        "project": lookup(call, "projects", row.get("project"), project),
    }


def view(call: Call, row: Json) -> View:
    """Return a saved view of issues."""
    plain = {
        name: row.get(name) for name in ("id", "name", "slugId", "description", "modelName", "shared", "createdAt")
    }
    states = row.get("states") or []

    def issues() -> list[View]:
        return [issue(call, one) for one in reversed(call.visible("issues")) if one["state"] in states]

    return {**plain, "team": team_lookup(call, row.get("team")), "issues": Many(issues)}


def template(call: Call, row: Json) -> View:
    plain = {name: row.get(name) for name in ("id", "name", "type", "description")}
    return {**plain, "team": team_lookup(call, row.get("team"))}
