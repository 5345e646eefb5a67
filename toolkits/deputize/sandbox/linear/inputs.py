"""Inputs of mutations: their fields, the fields of rows, and the errors that all mutations share."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from deputize.sandbox.graphql import Field
from deputize.sandbox.linear.seed import user_id
from deputize.sandbox.linear.store import Call, Json, failed, invalid, not_found

Names = Mapping[str, str]  # an input's field names to a row's
ISSUE: Names = {
    **{name: name for name in ("title", "description", "priority", "estimate", "dueDate")},
    **{"stateId": "state", "assigneeId": "assignee", "projectId": "project", "projectMilestoneId": "milestone"},
    **{"cycleId": "cycle", "parentId": "parent", "labelIds": "labels", "teamId": "team", "templateId": "template"},
}
PROJECT: Names = {
    **{name: name for name in ("name", "description", "content", "priority", "startDate", "targetDate")},
    **{"statusId": "status", "leadId": "lead", "memberIds": "members", "teamIds": "teams"},
    "labelIds": "labels",
}
INITIATIVE: Names = {
    **{name: name for name in ("name", "description", "content", "status", "targetDate")},
    "ownerId": "owner",
}
DOCUMENT: Names = {
    **{"title": "title", "content": "content", "projectId": "project", "initiativeId": "initiative"},
    **{"teamId": "team", "issueId": "issue"},
}
COMMENT: Names = {
    **{"body": "body", "quotedText": "quotedText", "issueId": "issue", "projectId": "project", "parentId": "parent"},
    **{"initiativeId": "initiative", "projectUpdateId": "projectUpdate", "initiativeUpdateId": "initiativeUpdate"},
    "documentContentId": "documentContent",
}
LABEL: Names = {
    **{name: name for name in ("name", "color", "description", "retiredAt", "isGroup")},
    **{"parentId": "parent", "teamId": "team"},
}
MILESTONE: Names = {"name": "name", "description": "description", "targetDate": "targetDate", "projectId": "project"}
NEED: Names = {
    **{"body": "body", "priority": "priority", "customerId": "customer", "issueId": "issue", "projectId": "project"}
}
_PEOPLE = ("assignee", "lead", "owner", "members")
_REFERENCES = {  # the kind that an id in an input must belong to, and its label
    **{"project": ("projects", "Project"), "milestone": ("milestones", "ProjectMilestone")},
    **{"cycle": ("cycles", "Cycle"), "issue": ("issues", "Issue"), "team": ("teams", "Team")},
    **{"initiative": ("initiatives", "Initiative"), "customer": ("customers", "Customer")},
}


def stored_fields(call: Call, given: Json, names: Names, kind: str) -> Json:
    """Convert an input to a row's fields: people become addresses, all else stays unchanged."""
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
        if name in _REFERENCES and value is not None:
            call.find(_REFERENCES[name][0], value, _REFERENCES[name][1])
        kept[name] = value
    return kept


def insert(call: Call, kind: str, label: str, given: Json, kept: Json) -> Json:
    """Add a row. Raise a conflict if the id exists."""
    id = str(given.get("id") or uuid.uuid4())
    if any(row["id"] == id for row in call.rows(kind)):
        shown = f"Entity {label} with id {id} already exists."
        raise failed(200, f"conflict on insert of {label}", "invalid input", "INPUT_ERROR", shown)
    row = {"id": id, "createdAt": call.now, "updatedAt": call.now, **kept}
    call.rows(kind).append(row)
    return row


def require_text(kept: Json, field: str) -> None:
    """Raise an error for a missing or blank text."""
    if not str(kept.get(field) or "").strip():
        raise failed(400, "Argument Validation Error", "invalid input", "INVALID_INPUT")


def read_input(one: Field) -> Json:
    """Return the ``input`` argument of a mutation."""
    given: Json = one.arguments.get("input") or {}
    return given


def success(name: str, value: Json | None) -> Json:
    """Return the payload of a successful mutation."""
    return {"success": True, "lastSyncId": 1.0, name: value}


UPDATES: dict[str, Names] = {
    kind: {"body": "body", "health": "health", f"{kind}Id": kind} for kind in ("project", "initiative")
}
STATUS: Names = {name: name for name in ("name", "type", "color", "description", "position")}
