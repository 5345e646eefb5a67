"""Selectable fields of rows. Links to other rows are resolved when a query selects them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deputize.sandbox.linear.seed import user_id
from deputize.sandbox.linear.selections import HOME, Many, View, lookup, rows_by_id, rows_where, slug
from deputize.sandbox.linear.store import Call, Json


def user(call: Call, email: str | None) -> View | None:
    person = call.world.person(email or "")
    if person is None:
        return None
    names = {"name": person.name, "displayName": person.email.partition("@")[0], "email": person.email}
    more = {"active": True, "admin": False, "guest": False, "timezone": "Europe/Berlin"}
    more |= {"isMe": person.email == call.person.email}
    mine = Many(lambda: [team(call, one) for one in call.teams()])
    return {"id": user_id(person.email)} | names | more | {"teams": mine}


def users(call: Call) -> list[View]:
    return [view for person in call.world.people if (view := user(call, person.email))]


def team(call: Call, row: Json) -> View:
    id = row["id"]

    def active() -> View | None:
        found = [one for one in call.rows("cycles") if one["team"] == id and one.get("isActive")]
        return cycle(call, found[0]) if found else None

    return {
        **{name: row[name] for name in ("id", "key", "name", "private")},
        "visibility": "private" if row["private"] else "public",
        "description": row.get("description"),
        "retiredAt": None,
        "timezone": "Europe/Berlin",
        "cyclesEnabled": True,
        "triageEnabled": False,
        "issueEstimationType": "notUsed",
        "createdAt": row.get("createdAt"),
        "defaultIssueState": lambda: state(call, row["states"][0], row),
        "activeCycle": active,
        "states": Many(lambda: [state(call, one, row) for one in row["states"]]),
        "labels": rows_where(call, "labels", "team", id, label),
        "members": Many(lambda: users(call)),
    }


def team_lookup(call: Call, id: Any) -> Callable[[], View | None]:
    """Return a lazy lookup of a row's team."""
    return lookup(call, "teams", id, team)


def state(call: Call, row: Json, of: Json) -> View:
    """Return a state of a team's workflow."""
    return {**row, "team": lambda: team(call, of)}


def states(call: Call) -> list[View]:
    """Return the states of all visible teams."""
    return [state(call, one, of) for of in call.teams() for one in of["states"]]


def label(call: Call, row: Json) -> View:
    """Return a label of issues."""
    return {
        **{name: row.get(name) for name in ("id", "name", "color", "description", "isGroup", "retiredAt", "createdAt")},
        "parent": lookup(call, "labels", row.get("parent"), label),
        "team": team_lookup(call, row.get("team")),
    }


def project_label(call: Call, row: Json) -> View:
    """Return a label of projects."""
    return {
        **{name: row.get(name) for name in ("id", "name", "color", "description", "isGroup", "retiredAt", "createdAt")},
        "parent": lookup(call, "project_labels", row.get("parent"), project_label),
    }


def status(call: Call, row: Json) -> View:
    """Return a status of projects."""
    return {name: row.get(name) for name in ("id", "name", "type", "position", "description")}


def cycle(call: Call, row: Json) -> View:
    plain = ("id", "number", "name", "description", "startsAt", "endsAt", "completedAt", "progress", "createdAt")
    flags = ("isActive", "isNext", "isPrevious", "isFuture", "isPast")
    return {
        **{name: row.get(name) for name in plain},
        **{name: bool(row.get(name)) for name in flags},
        "team": team_lookup(call, row["team"]),
        "issues": rows_where(call, "issues", "cycle", row["id"], issue),
    }


def identifier(call: Call, row: Json) -> str:
    """Return an issue's key, such as ``ENG-1``."""
    return f"{next(one['key'] for one in call.rows('teams') if one['id'] == row['team'])}-{row['number']}"


def issue(call: Call, row: Json) -> View:
    key, id = identifier(call, row), row["id"]
    of = next(one for one in call.rows("teams") if one["id"] == row["team"])
    plain = ("id", "number", "title", "description", "priority", "createdAt", "updatedAt", "dueDate", "estimate")
    stamps = ("startedAt", "completedAt", "canceledAt", "archivedAt")
    chosen = row.get("labels") or []
    return {
        "__typename": "Issue",
        **{name: row.get(name) for name in (*plain, *stamps)},
        "trashed": bool(row.get("trashed")),
        "identifier": key,
        "url": f"{HOME}/issue/{key}/{slug(row['title'])}",
        "branchName": f"{call.person.email.partition('@')[0]}/{key.lower()}-{slug(row['title'])}",
        "team": lambda: team(call, of),
        "state": lambda: state(call, next(one for one in of["states"] if one["id"] == row["state"]), of),
        "creator": lambda: user(call, row["creator"]),
        "assignee": lambda: user(call, row["assignee"]),
        "delegate": None,
        "sharedAccess": {"sharedWithUsers": lambda: [user(call, one) for one in row.get("shared") or []]},
        "syncedWith": [{"service": one} for one in row.get("synced") or []],
        "labelIds": list(chosen),
        "labels": rows_by_id(call, "labels", chosen, label),
        "project": lookup(call, "projects", row.get("project"), project),
        "projectMilestone": lookup(call, "milestones", row.get("milestone"), milestone),
        "cycle": lookup(call, "cycles", row.get("cycle"), cycle),
        "parent": lookup(call, "issues", row.get("parent"), issue),
        "children": rows_where(call, "issues", "parent", id, issue),
        "comments": rows_where(call, "comments", "issue", id, comment),
        "attachments": rows_where(call, "attachments", "issue", id, attachment),
        "relations": rows_where(call, "relations", "issue", id, relation),
        "inverseRelations": rows_where(call, "relations", "related", id, relation),
        "subscribers": Many(lambda: [v for one in row.get("subscribers") or [] if (v := user(call, one))]),
    }


def attachment(call: Call, row: Json) -> View:
    """Return a link on an issue."""
    plain = {name: row.get(name) for name in ("id", "title", "subtitle", "url", "sourceType", "createdAt")}
    return {**plain, "issue": lookup(call, "issues", row["issue"], issue)}


def relation(call: Call, row: Json) -> View:
    """Return a relation between two issues."""
    ends = {"issue": row["issue"], "relatedIssue": row["related"]}
    return {"id": row["id"], "type": row["type"], **{k: lookup(call, "issues", id, issue) for k, id in ends.items()}}


def comment(call: Call, row: Json) -> View:
    """Return a comment on a row of any kind."""
    plain = ("id", "body", "quotedText", "createdAt", "updatedAt", "editedAt", "resolvedAt")
    on = {
        "issue": ("issues", issue),
        "project": ("projects", project),
        "initiative": ("initiatives", initiative),
        "projectUpdate": ("project_updates", project_update),
        "initiativeUpdate": ("initiative_updates", initiative_update),
    }
    return {
        **{name: row.get(name) for name in plain},
        "parentId": row.get("parent"),
        "url": f"{HOME}/comment/{row['id'][:8]}",
        "user": lambda: user(call, row["author"]),
        "botActor": None,
        "externalThread": row.get("external"),
        "parent": lookup(call, "comments", row.get("parent"), comment),
        "documentContent": lambda: _content(call, row.get("documentContent")),
        **{name: lookup(call, kind, row.get(name), show) for name, (kind, show) in on.items()},
    }


def _content(call: Call, id: str | None) -> View | None:
    """Return the content that an inline comment belongs to, with its project or document; None without one."""
    if not id:
        return None
    projects = [one for one in call.visible("projects") if one["content_id"] == id]
    documents = [one for one in call.visible("documents") if one["content_id"] == id]
    return {
        "id": id,
        "project": (lambda: project(call, projects[0])) if projects else None,
        "document": (lambda: document(call, documents[0])) if documents else None,
    }


def project(call: Call, row: Json) -> View:
    id = row["id"]
    plain = ("id", "name", "slugId", "description", "content", "health", "startDate", "targetDate", "createdAt")
    stamps = ("updatedAt", "completedAt", "canceledAt", "archivedAt", "priority")
    done = [one for one in call.rows("issues") if one.get("project") == id]
    closed = [one for one in done if one.get("completedAt")]
    links = [one["initiative"] for one in call.rows("initiative_links") if one["project"] == id]
    return {
        "__typename": "Project",
        **{name: row.get(name) for name in (*plain, *stamps)},
        "url": f"{HOME}/project/{slug(row['name'])}-{row['slugId']}",
        "priorityLabel": ("No priority", "Urgent", "High", "Medium", "Low")[int(row.get("priority") or 0)],
        "progress": len(closed) / len(done) if done else 0.0,
        "status": lookup(call, "statuses", row["status"], status),
        "lead": lambda: user(call, row.get("lead")),
        "creator": lambda: user(call, row.get("creator")),
        "documentContent": {"id": row["content_id"]},
        "teams": rows_by_id(call, "teams", row["teams"], team),
        "accessibleTeams": rows_by_id(call, "teams", row["teams"], team),
        "members": Many(lambda: [v for one in row.get("members") or [] if (v := user(call, one))]),
        "labels": rows_by_id(call, "project_labels", row.get("labels") or [], project_label),
        "initiatives": rows_by_id(call, "initiatives", links, initiative),
        "initiativeToProjects": rows_where(call, "initiative_links", "project", id, initiative_link),
        "projectMilestones": rows_where(call, "milestones", "project", id, milestone),
        "projectUpdates": rows_where(call, "project_updates", "project", id, project_update),
        "issues": rows_where(call, "issues", "project", id, issue),
    }


def milestone(call: Call, row: Json) -> View:
    plain = {name: row.get(name) for name in ("id", "name", "description", "targetDate", "createdAt")}
    return {**plain, "status": "next", "progress": 0.0, "project": lookup(call, "projects", row["project"], project)}


def _update(call: Call, row: Json, kind: str) -> View:
    plain = ("id", "body", "health", "createdAt", "updatedAt", "editedAt", "archivedAt")
    return {
        **{name: row.get(name) for name in plain},
        "url": f"{HOME}/{kind}/updates/{row['id'][:8]}",
        "user": lambda: user(call, row["author"]),
    }


def project_update(call: Call, row: Json) -> View:
    return _update(call, row, "project") | {"project": lookup(call, "projects", row["project"], project)}


def initiative_update(call: Call, row: Json) -> View:
    on = lookup(call, "initiatives", row["initiative"], initiative)
    return _update(call, row, "initiative") | {"initiative": on}


def initiative(call: Call, row: Json) -> View:
    id = row["id"]
    plain = ("id", "name", "slugId", "description", "content", "status", "health", "targetDate", "createdAt")
    stamps = ("updatedAt", "startedAt", "completedAt", "archivedAt")
    links = [one["project"] for one in call.rows("initiative_links") if one["initiative"] == id]
    return {
        "__typename": "Initiative",
        **{name: row.get(name) for name in (*plain, *stamps)},
        "url": f"{HOME}/initiative/{slug(row['name'])}-{row['slugId']}",
        "owner": lambda: user(call, row.get("owner")),
        "creator": lambda: user(call, row.get("creator")),
        "parentInitiative": None,
        "projects": rows_by_id(call, "projects", links, project),
        "initiativeUpdates": rows_where(call, "initiative_updates", "initiative", id, initiative_update),
    }


def initiative_link(call: Call, row: Json) -> View:
    """Return the link between a project and an initiative."""
    return {
        "id": row["id"],
        "initiative": lookup(call, "initiatives", row["initiative"], initiative),
        "project": lookup(call, "projects", row["project"], project),
    }


def document(call: Call, row: Json) -> View:
    plain = ("id", "title", "slugId", "content", "createdAt", "updatedAt", "archivedAt")
    return {
        "__typename": "Document",
        **{name: row.get(name) for name in plain},
        "trashed": bool(row.get("archivedAt")),
        "documentContentId": row["content_id"],
        "url": f"{HOME}/document/{slug(row['title'])}-{row['slugId']}",
        "creator": lambda: user(call, row["author"]),
        "updatedBy": lambda: user(call, row["author"]),
        "project": lookup(call, "projects", row.get("project"), project),
        "initiative": lookup(call, "initiatives", row.get("initiative"), initiative),
        "issue": lookup(call, "issues", row.get("issue"), issue),
        "team": team_lookup(call, row.get("team")),
    }
