"""Rows and details of Linear's objects. Text by other people is cleaned and marked. Empty fields are left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from deputize.core import Continuation
from deputize.toolkits._shared.page import lean as lean
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.linear.base import PRIORITIES, Json
from deputize.toolkits.linear.blocks import is_cut, with_blocks
from deputize.toolkits.linear.scalars import minute as minute
from deputize.toolkits.linear.scalars import second as second
from deputize.toolkits.linear.texts import cut, piece
from deputize.toolkits.linear.texts import prose as prose

BLOCKS: Final = ("comments", "attachments", "relations", "children")  # of an issue
LINE: Final = 1_000  # bytes of a title or name in a detail
BODY: Final = 1_200  # tokens of a text in a detail
SHORT: Final = 1_100  # bytes of a short description, of at most 255 characters
MILESTONE: Final = 160  # bytes of a milestone's description in a row


def name(one: Any) -> str:
    """Return the name of a person or an object, or ""."""
    return str(one.get("displayName") or one.get("name") or one.get("key") or "") if isinstance(one, dict) else ""


def nodes(connection: Any) -> list[Json]:
    """Return the rows of a connection, or nothing if the connection is missing."""
    return list(connection.get("nodes") or ()) if isinstance(connection, dict) else []


def line(text: Any, limit: int = 120) -> str:
    """Return a name or title for the result of a write, cleaned and on one line."""
    return Outside().line(str(text or ""), limit)


def mark(row: Json, outside: Outside) -> Json:
    """Return the row without empty fields, marked as untrusted."""
    row = lean(row)
    outside.mark(row)
    return row


def labels(node: Json, outside: Outside) -> list[str]:
    """Return the names of an object's labels: at most seven, and an ellipsis if there is an eighth."""
    names = [outside.line(name(one), 40) for one in nodes(node.get("labels"))]
    return names[:7] + (["\u2026"] if len(names) > 7 else [])


def workspace_of(url: Any) -> str:
    """Return ``https://linear.app/acme`` for any address in that workspace."""
    return "/".join(str(url or "").split("/")[:4])


def issue_row(node: Json) -> Json:
    """Return a row for an issue. The issue's address follows from the list's ``url_template``."""
    outside = Outside()
    priority = node.get("priority")
    return mark(
        {
            "identifier": node.get("identifier"),
            "title": outside.line(str(node.get("title") or ""), 120),
            "state": outside.line(name(node.get("state")), 40),
            "priority": PRIORITIES[int(priority)] if isinstance(priority, int | float) and 0 < priority < 5 else "",
            "assignee": outside.line(name(node.get("assignee")), 40),
            "project": outside.line(name(node.get("project")), 40),
            "labels": labels(node, outside),
            "due": node.get("dueDate"),
            "updated": minute(node.get("updatedAt")),
        },
        outside,
    )


def issue_ref(node: Any) -> Json:
    """Return the fields of an issue to which another object refers."""
    if not isinstance(node, dict):
        return {}
    outside = Outside()
    return lean(
        {
            "identifier": node.get("identifier"),
            "title": outside.line(str(node.get("title") or ""), 80),
            "state": outside.line(name(node.get("state")), 40),
        }
    )


def issue_list(result: Json, urls: Iterable[Any]) -> Json:
    """Return a list of issues, with a template for the issues' addresses."""
    workspace = next((workspace_of(url) for url in urls if url), "")
    return result | ({"url_template": f"{workspace}/issue/{{identifier}}"} if workspace else {})


def issue_detail(node: Json) -> Json:
    """Return one issue, with the requested blocks."""
    outside = Outside()
    more = Continuation("linear_get_issue", issue=str(node.get("identifier")))
    body = piece(outside, node.get("description"), BODY, name="description", more=more)
    cycle, milestone = node.get("cycle") or {}, node.get("projectMilestone") or {}
    detail: Json = issue_row(node) | lean(
        {
            "title": outside.line(str(node.get("title") or ""), LINE),
            "id": node.get("id"),
            "creator": outside.line(name(node.get("creator")), 60),
            "team": (node.get("team") or {}).get("key"),
            "cycle": cycle.get("number"),
            "milestone": outside.line(name(milestone), LINE),
            "parent": issue_ref(node.get("parent")),
            "estimate": node.get("estimate"),
            "branch": outside.line(str(node.get("branchName") or ""), LINE),
            "created": second(node.get("createdAt")),
            "updated": second(node.get("updatedAt")),
            "completed": second(node.get("completedAt")),
            "canceled": second(node.get("canceledAt")),
            "archived": second(node.get("archivedAt")),
            "trashed": node.get("trashed"),
            "url": node.get("url"),
        }
    )
    detail |= body
    outside.mark(detail)
    blocks = (
        ("comments", [comment_row(one) for one in nodes(node.get("comments"))]),
        ("attachments", [attachment(one) for one in nodes(node.get("attachments"))]),
        ("relations", relations(node)),
        ("children", [issue_ref(one) for one in nodes(node.get("children"))]),
    )
    rest = {name: is_cut(node.get(name)) for name, _ in blocks}
    rest["relations"] |= is_cut(node.get("inverseRelations"))
    return with_blocks(detail, [(name, rows, rest[name]) for name, rows in blocks if name in node])


def relations(node: Json) -> list[Json]:
    """Return an issue's relations in both directions, named from the issue's side."""
    ours = [(one, one.get("type"), one.get("relatedIssue")) for one in nodes(node.get("relations"))]
    turned = {"blocks": "blocked_by", "duplicate": "duplicated_by"}
    theirs = [
        (one, turned.get(str(one.get("type")), one.get("type")), one.get("issue"))
        for one in nodes(node.get("inverseRelations"))
    ]
    return [
        {"relation_id": one.get("id"), "type": kind, "issue": issue_ref(other)} for one, kind, other in ours + theirs
    ]


def attachment(node: Json) -> Json:
    outside = Outside()
    shown = {
        "title": outside.line(str(node.get("title") or ""), 80),
        "url": outside.line(str(node.get("url") or ""), 2_000),
    }
    return lean({"attachment_id": node.get("id"), **shown, "kind": node.get("sourceType")})


def comment_row(node: Json, quoted: int = 120) -> Json:
    """Return a row for a comment. ``quoted``: maximum bytes of the quoted text."""
    outside = Outside()
    more = Continuation("linear_list_comments", comment_id=str(node.get("id")))
    return mark(
        {
            "comment_id": node.get("id"),
            "author": outside.line(name(node.get("user")) or name(node.get("botActor")), 60),
            "time": minute(node.get("createdAt")),
            **cut(outside, node.get("body"), more=more),
            "quoted": cut(outside, node.get("quotedText"), quoted)["body"],
            "resolved": bool(node.get("resolvedAt")),
            "parent_id": node.get("parentId"),
            "url": node.get("url"),
        },
        outside,
    )


def project_row(node: Json) -> Json:
    outside = Outside()
    return mark(
        {
            "id": node.get("id"),
            "name": outside.line(name(node), 80),
            "status": outside.line(name(node.get("status")), 40),
            "health": node.get("health"),
            "progress": round(float(node.get("progress") or 0), 2),
            "lead": outside.line(name(node.get("lead")), 40),
            "target": node.get("targetDate"),
            "url": node.get("url"),
        },
        outside,
    )


def initiative_row(node: Json) -> Json:
    outside = Outside()
    return mark(
        {
            "id": node.get("id"),
            "name": outside.line(name(node), 80),
            "status": node.get("status"),
            "health": node.get("health"),
            "owner": outside.line(name(node.get("owner")), 40),
            "target": node.get("targetDate"),
            "url": node.get("url"),
        },
        outside,
    )


def document_row(node: Json) -> Json:
    outside = Outside()
    return mark(
        {
            "id": node.get("id"),
            "title": outside.line(str(node.get("title") or ""), 80),
            "project": outside.line(name(node.get("project")), 40),
            "initiative": outside.line(name(node.get("initiative")), 40),
            "author": outside.line(name(node.get("creator")), 40),
            "updated": minute(node.get("updatedAt")),
            "url": node.get("url"),
        },
        outside,
    )


def update_row(node: Json) -> Json:
    outside = Outside()
    return mark(
        {
            "update_id": node.get("id"),
            "health": node.get("health"),
            "author": outside.line(name(node.get("user")), 60),
            "time": minute(node.get("createdAt")),
            **cut(outside, node.get("body"), more=Continuation("linear_list_updates", update_id=str(node.get("id")))),
            "url": node.get("url"),
        },
        outside,
    )


def cycle_row(node: Json) -> Json:
    outside = Outside()
    return mark(
        {
            "id": node.get("id"),
            "number": node.get("number"),
            "name": outside.line(str(node.get("name") or ""), 60),
            "team": (node.get("team") or {}).get("key"),
            "starts": minute(node.get("startsAt")),
            "ends": minute(node.get("endsAt")),
            "progress": round(float(node.get("progress") or 0), 2),
            "active": node.get("isActive"),
        },
        outside,
    )


def milestone_row(node: Json, project: Any) -> Json:
    """Return a row for a milestone of the project with this id."""
    outside = Outside()
    more = Continuation("linear_get_project", project=str(project), milestone=str(node.get("id")))
    return mark(
        {
            "milestone_id": node.get("id"),
            "name": outside.line(str(node.get("name") or ""), 320),
            **cut(outside, node.get("description"), MILESTONE, "description", more=more),
            "target": node.get("targetDate"),
            "status": node.get("status"),
            "progress": round(float(node.get("progress") or 0), 2),
        },
        outside,
    )
