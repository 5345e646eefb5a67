"""Calls of every Linear tool, in an order in which each finds its objects in the sandbox's workspace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from deputize.core import Deputy
from deputize.sandbox.linear.seed import stable_id

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One call: the tool without its prefix, its arguments, and a part of its result."""

    tool: str
    arguments: Arguments = field(default_factory=dict)
    says: str = ""

    @property
    def name(self) -> str:
        return f"linear_{self.tool}"


COMMENT: Final = stable_id("comment", "1")
FILE: Final = f"https://uploads.linear.app/{stable_id('organization')}/{stable_id('upload', '0')}"
HANDLE: Final = "{handle}"
"""Stands for the handle of a file that is stored before the call: see `filled`."""
NOTE: Final = stable_id("notification", "1")

READS: Final = (
    Case("whoami", {}, "alice@example.test"),
    *(Case("lookup", {"kind": kind}, says) for kind, says in (("teams", "ENG"), ("users", "bob"), ("states", "Todo"))),
    Case("lookup", {"kind": "labels", "team": "ENG"}, "Flaky"),
    Case("lookup", {"kind": "labels", "query": "imp"}, "Import"),
    *(Case("lookup", {"kind": kind}) for kind in ("project_labels", "project_statuses", "views", "customers")),
    Case("lookup", {"kind": "templates", "query": "bug"}, "Bug report"),
    Case("lookup", {"kind": "cycles", "team": "eng", "period": "active"}, "'number': 2"),
    Case("lookup", {"kind": "users", "include_archived": True, "created_after": None}, "alice"),
    Case("lookup", {"kind": "teams", "include_archived": True}),
    Case("lookup", {"kind": "states", "team": "Operations", "type": "started"}, "OPS"),
    Case("search", {"query": "last row"}, "ENG-1"),
    Case("search", {"query": "import", "kind": "projects", "team": "ENG", "include_comments": True}, "Import rewrite"),
    Case("search", {"query": "design", "kind": "documents", "include_archived": True}, "Import design"),
    Case("search", {"query": "import reliability", "kind": "all"}, "Reliability"),
    Case("list_issues", {}, "ENG-1"),
    Case(
        "list_issues",
        {
            "query": "drops row",
            "team": "Engineering",
            "state": "started",
            "assignee": "me",
            "involving": "me",
            "priority": "high",
            "labels": ["Bug"],
            "project": "Import rewrite",
            "cycle": "active",
            "updated_after": "-90d",
            "created_after": "-90d",
            "sort": "created",
            "include_archived": True,
        },
        "ENG-1",
    ),
    Case("list_issues", {"assignee": "none", "sort": "priority"}, "ENG-3"),
    Case("list_issues", {"assignee": "bob", "state": "Todo", "due_before": None, "sort": "due"}, "ENG-2"),
    Case("list_issues", {"team": "ENG", "cycle": "2", "due_before": "2030-01-01"}),
    Case("list_issues", {"view": "What we do now"}, "ENG-1"),
    Case("get_issue", {"issue": "ENG-1", "include": ["comments", "attachments", "relations", "children"]}, "Windows"),
    Case("get_issue", {"issue": "https://linear.app/acme/issue/ENG-2/anything"}, "Retry after rate limits"),
    Case("get_issue", {"issue": "alice/eng-1-import-drops"}, "ENG-1"),
    Case("list_comments", {"target": "ENG-1", "state": "open", "inline": "none"}, "Windows"),
    Case("list_comments", {"target": "ENG-1", "state": "resolved"}, "look into it"),
    Case("list_comments", {"target": "Import rewrite", "target_kind": "project"}),
    Case("list_comments", {"target": stable_id("document", "design"), "target_kind": "document"}),
    Case("list_comments", {"target": "Reliability", "target_kind": "initiative"}),
    Case("list_comments", {"target": stable_id("project update", "1"), "target_kind": "project_update"}),
    Case("list_comments", {"target": stable_id("project update", "1"), "target_kind": "initiative_update"}),
    Case("get_file", {"url": FILE}, "row 99 of 100"),
    Case("get_team", {"team": "ENG"}, "In Progress"),
    Case("get_cycle", {"team": "ENG"}, "ENG-1"),
    Case("get_cycle", {"cycle": stable_id("cycle", "3")}, "'number': 3"),
    Case("list_projects", {}, "Import rewrite"),
    Case(
        "list_projects",
        {"query": "import", "team": "ENG", "status": "started", "lead": "me", "created_after": "-900d"},
        "Import rewrite",
    ),
    Case(
        "get_project",
        {"project": "Import rewrite", "include": ["content", "milestones", "updates", "issues"]},
        "Rows are read",
    ),
    Case("list_updates", {"project": "Import rewrite"}, "The reader is done"),
    Case("list_updates", {"initiative": "Reliability"}),
    Case("list_initiatives", {"query": "reli", "status": "Active", "owner": "bob"}, "Reliability"),
    Case("get_initiative", {"initiative": "Reliability", "include": ["content", "projects", "updates"]}, "Import"),
    Case("list_documents", {"query": "design", "project": "Import rewrite"}, "Import design"),
    Case("list_documents", {"initiative": "Reliability"}),
    Case("get_document", {"document": "https://linear.app/acme/document/import-design-abcdefabcdef"}, "One pass"),
    Case("list_notifications", {}, "ENG-1"),
    Case("list_notifications", {"unread_only": False, "category": "assignments"}, "ENG-1"),
    Case("list_customer_needs", {"customer": "Example Mills", "issue": "ENG-1"}, "last line"),
    Case("list_customer_needs", {"project": "Import rewrite"}),
    Case("list_customer_needs", {"need_id": stable_id("need", "1")}, "text_digest"),
)

WRITES: Final = (
    Case("create_issue", {"team": "ENG", "title": "Short"}, "ENG-4"),
    Case(
        "create_issue",
        {
            "team": "Engineering",
            "title": "Long",
            "description": "With **all**.",
            "state": "started",
            "assignee": "bob@example.test",
            "priority": "low",
            "labels": ["Bug", "Area/Import", "flaky"],
            "project": "Import rewrite",
            "milestone": "beta",
            "cycle": "next",
            "parent": "ENG-1",
            "estimate": 3,
            "due_date": "2026-12-24",
            "template": "Bug report",
            "link_url": "https://example.test/report",
            "link_title": "The report",
        },
        "https://example.test/report",
    ),
    Case("update_issue", {"issues": ["ENG-4"], "title": "Shorter", "description": "Now with words."}, "ENG-4"),
    Case(
        "update_issue",
        {
            "issues": ["ENG-1", "ENG-2"],
            "state": "Done",
            "assignee": "me",
            "priority": "urgent",
            "add_labels": ["Bug"],
            "remove_labels": ["Flaky"],
            "project": "Import rewrite",
            "milestone": "Beta",
            "cycle": "active",
            "due_date": "2026-12-01",
            "estimate": 1,
        },
        "Done",
    ),
    Case("update_issue", {"issues": ["ENG-1", "https://linear.app/acme/issue/ENG-2/x"], "priority": "low"}, "ENG-2"),
    Case("update_issue", {"issues": ["ENG-2"], "assignee": "none", "due_date": "none", "project": "none"}, "ENG-2"),
    Case("update_issue", {"issues": ["ENG-2"], "parent": "ENG-1", "cycle": "none"}, "'parent'"),
    Case("update_issue", {"issues": ["ENG-3"], "team": "OPS", "state": "Todo"}, "OPS-3"),
    Case("relate_issues", {"issue": "ENG-1", "related": "ENG-2", "type": "blocks"}, "relation_id"),
    Case("relate_issues", {"issue": "ENG-2", "related": "ENG-1", "type": "blocked_by"}, "existed"),
    Case("relate_issues", {"issue": "ENG-1", "related": "ENG-2", "type": "blocks", "remove": True}, "Removed"),
    Case("link_url", {"issue": "ENG-1", "url": "https://example.test/a", "title": "A"}, "https://example.test/a"),
    Case("link_url", {"issue": "ENG-1", "url": "https://github.com/acme/app/pull/7"}, "pull/7"),
    Case("link_url", {"issue": "ENG-1", "url": "https://github.com/acme/app/issues/8"}, "issues/8"),
    Case("link_url", {"issue": "ENG-1", "url": "https://example.test/a", "remove": True}, "Removed"),
    Case("set_subscription", {"issue": "ENG-1"}, "True"),
    Case("set_subscription", {"issue": "ENG-1", "subscribed": False, "person": "bob"}, "False"),
    Case("set_subscription", {"issue": "ENG-1", "subscribed": False}, "False"),
    Case("write_comment", {"target": "ENG-1", "body": "Looking into it."}, "comment_id"),
    Case("write_comment", {"reply_to": COMMENT, "body": "On it."}, "comment_id"),
    Case("write_comment", {"target": "Import rewrite", "target_kind": "project", "body": "Good."}, "comment_id"),
    Case(
        "write_comment",
        {"target": "Import rewrite", "target_kind": "project", "body": "Why?", "quoted_text": "Rows are read"},
        "comment_id",
    ),
    Case(
        "write_comment",
        {"target": stable_id("document", "design"), "target_kind": "document", "body": "Nice.", "quoted_text": "pass"},
        "comment_id",
    ),
    Case("write_comment", {"target": "Reliability", "target_kind": "initiative", "body": "Yes."}, "comment_id"),
    Case(
        "write_comment",
        {"target": stable_id("project update", "1"), "target_kind": "project_update", "body": "Well done."},
        "comment_id",
    ),
    Case("write_comment", {"comment_id": stable_id("comment", "2"), "body": "I have looked into it."}, "Edited"),
    Case("resolve_comment", {"comment_id": COMMENT}, "resolved_at"),
    Case("resolve_comment", {"comment_id": COMMENT, "resolved": False}, "comment_id"),
    *(
        Case("upload_file", {"issue": "ENG-2", "attachments": [HANDLE], "place": place}, "uploads.linear.app")
        for place in ("attachment", "description", "comment")
    ),
    Case("save_project", {"name": "Search", "teams": ["ENG"], "status": "planned", "lead": "me"}, "created"),
    Case(
        "save_project",
        {
            "project": "Search",
            "name": "Search 2",
            "description": "Find it.",
            "content": "# Search",
            "status": "Started",
            "add_members": ["me", "bob"],
            "add_labels": ["This quarter"],
            "priority": "high",
            "start_date": "2026-12-01",
            "target_date": "2027-01-31",
            "add_teams": ["OPS"],
        },
        "Search 2",
    ),
    Case("save_project", {"project": "Search 2", "remove_teams": ["ENG"]}, "Search 2"),
    Case(
        "save_project", {"project": "Search 2", "remove_members": ["bob"], "remove_labels": ["This quarter"]}, "labels"
    ),
    Case("save_milestone", {"project": "Search 2", "name": "Alpha", "target_date": "2027-01-01"}, "created"),
    Case("save_milestone", {"project": "Search 2", "milestone": "alpha", "description": "First."}, "Alpha"),
    Case("post_update", {"project": "Search 2", "body": "On its way.", "health": "onTrack"}, "update_id"),
    Case("post_update", {"initiative": "Reliability", "body": "Slower.", "health": "atRisk"}, "update_id"),
    Case(
        "save_initiative",
        {"name": "Speed", "owner": "me", "status": "Planned", "add_projects": ["Search 2"]},
        "projects_added",
    ),
    Case(
        "save_initiative",
        {
            "initiative": "Speed",
            "description": "Fast.",
            "content": "# Speed",
            "target_date": "2027-06-30",
            "remove_projects": ["Search 2"],
        },
        "projects_removed",
    ),
    Case("save_document", {"title": "Notes", "content": "Words.", "project": "Search 2"}, "created"),
    Case("save_document", {"document": stable_id("document", "design"), "title": "Import design 2"}, "design 2"),
    Case("save_label", {"name": "Docs", "color": "#00ff00", "team": "ENG"}, "created"),
    Case("save_label", {"label": "Docs", "name": "Documentation", "retired": True}, "Documentation"),
    Case("save_label", {"kind": "project", "name": "Next quarter"}, "created"),
    Case("save_label", {"kind": "project", "label": "Next quarter", "description": "Later."}, "Next quarter"),
    Case("save_label", {"name": "Export", "group": "Area"}, "created"),
    Case("create_project_status", {"name": "Blocked", "type": "paused"}, "Blocked"),
    *(
        Case("update_notifications", {"notification_ids": [NOTE], "action": action, **more}, NOTE)
        for action, more in (("read", {}), ("unread", {}), ("snooze", {"until": "+2d"}), ("archive", {}))
    ),
    Case("create_customer_need", {"customer": "Example Mills", "body": "Faster.", "issue": "ENG-1"}, "ENG-1"),
    Case(
        "create_customer_need", {"customer": "example mills", "body": "More.", "project": "Search 2", "important": True}
    ),
)

CLEARS: Final = tuple(
    Case("archive", {"kind": kind, "id": id, "action": action}, action)
    for kind, id, actions in (
        ("issue", "ENG-1", ("archive", "restore", "delete")),
        ("project", stable_id("project", "import"), ("archive", "restore", "delete")),
        ("initiative", stable_id("initiative", "reliability"), ("archive", "restore", "delete")),
        ("document", stable_id("document", "design"), ("archive", "restore", "delete")),
        ("project_update", stable_id("project update", "1"), ("archive", "restore")),
        ("initiative_update", stable_id("initiative update", "1"), ("archive", "restore")),
        ("comment", COMMENT, ("delete",)),
        ("label", stable_id("label", "bug"), ("delete",)),
        ("project_label", stable_id("project label", "quarter"), ("delete",)),
        ("milestone", stable_id("milestone", "beta"), ("delete",)),
    )
    for action in actions
)
EVERY: Final = (*READS, *WRITES, *CLEARS)


async def filled(deputy: Deputy, case: Case) -> Arguments:
    """Return the arguments of a call, with the handle of a picture of Alice's."""
    if HANDLE not in str(case.arguments):
        return case.arguments
    kept = await deputy.store_file("alice", "shot [1].png", "image/png", b"\x89PNG\r\n\x1a\nwords")
    return {name: [kept["file"]] if value == [HANDLE] else value for name, value in case.arguments.items()}
