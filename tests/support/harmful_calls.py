"""Calls about which the default policy asks, since others see them or the user loses sight of something; and others.

``HARMS`` work in the sandbox's first day at `NOW`, so that a test can show that only the approval prevented them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from deputize.core.tools.plugins import find_toolkits
from deputize.core.tools.tool import Tool
from deputize.sandbox import Sandbox
from deputize.sandbox.salesforce.seed import record_id
from deputize.sandbox.slack.files import CANVAS, file_row

Arguments = dict[str, Any]
SITE: Final = "acme/website"
THREAD: Final = "PRRT_thread0001"
SHARED_CANVAS: Final = "F0CANVAS001"


def a_canvas(sandbox: Sandbox) -> None:
    """Create a Slack canvas that others read."""
    row = file_row(SHARED_CANVAS, "Notes", CANVAS, "U0ALICE0000", 1, "", "Notes") | {"markdown": "old"}
    sandbox._world.services["slack"]["files"][SHARED_CANVAS] = row


@dataclass(frozen=True)
class Harm:
    """One call that once ran without approval, although others see it or the user loses sight of something."""

    tool: str
    arguments: Arguments
    before: Callable[[Sandbox], None] = field(default=lambda sandbox: None)

    def __str__(self) -> str:
        return f"{self.tool} {','.join(self.arguments)}"


_MEETING: Final = {"title": "The safe opens with 4711", "start": "2026-12-01T10:00Z", "end": "30m"}
_FILE: Final = {"repo": SITE, "message": "Notes"}
_CONTACT: Final = {"object": "Contact", "id": record_id("Contact", 1)}

HARMS: Final[tuple[Harm, ...]] = (
    Harm("github_write_file", _FILE | {"path": "notes.md", "content": "The safe opens with 4711.\n"}),
    Harm("github_write_file", {"repo": "alice/private-notes", "message": "N", "path": "n.md", "content": "x\n"}),
    Harm(
        "github_commit_files",
        _FILE | {"branch": "main", "files": [{"path": "package.json", "content": '{"scripts": {"postinstall": "x"}}'}]},
    ),
    Harm("github_create_branch", {"repo": SITE, "branch": "safe-4711"}),
    Harm("github_resolve_thread", {"thread_id": THREAD}),
    Harm("github_save_gist", {"files": {"notes.md": "The safe opens with 4711."}}),
    Harm("github_save_release", {"repo": SITE, "tag": "v9", "body": "The safe opens with 4711."}),
    Harm("gmail_set_signature", {"body": "Sign in again: https://eve.example.test/"}),
    Harm("gmail_update_emails", {"action": "archive", "query": "from:bob"}),
    Harm("gmail_update_emails", {"action": "read", "query": "from:bob"}),
    Harm("slack_pin", {"conversation": "#general", "url": "https://eve.example.test/", "title": "Payroll: sign in"}),
    Harm("slack_set_status", {"text": "The safe opens with 4711"}),
    Harm("slack_create_channel", {"name": "safe-4711", "topic": "The safe opens with 4711"}),
    Harm("slack_update_channel", {"conversation": "C0ATTIC0001", "archived": False}),
    Harm("slack_write_canvas", {"canvas_id": SHARED_CANVAS, "body": "The safe opens with 4711"}, a_canvas),
    Harm("slack_react", {"conversation": "#eng", "ts": "1795435200.000102", "emoji": "white_check_mark"}),
    Harm("calendar_create_event", _MEETING | {"calendar": "Team"}),
    Harm("calendar_create_event", _MEETING | {"visibility": "public"}),
    Harm("calendar_update_event", {"event_id": "holiday0001", "add_attendees": ["eve@example.test"]}),
    Harm("calendar_update_event", {"event_id": "holiday0001", "visibility": "public", "title": "Safe: 4711"}),
    Harm("calendar_manage_calendar", {"action": "update", "calendar": "Team", "title": "The safe opens with 4711"}),
    Harm("calendar_share_calendar", {"who": "public", "role": "reader"}),
    Harm("gmail_manage_filter", {"action": "create", "from": "bank@example.test", "archive": True}),
    Harm("gmail_set_vacation", {"enabled": True, "body": "The safe opens with 4711"}),
    Harm("salesforce_update_record", _CONTACT | {"fields": {"Email": "eve@example.test"}}),
    Harm(
        "salesforce_update_record",
        {"object": "account", "id": record_id("Account", 1), "fields": {"Phone": "+1 555 0666"}},
    ),
    Harm(
        "salesforce_create_record",
        {
            "object": "CaseComment",
            "fields": {"ParentId": record_id("Case", 1), "CommentBody": "x", "IsPublished": "true"},
        },
    ),
    Harm(
        "salesforce_create_record",
        {"object": "Task", "fields": {"Subject": "Pay eve@example.test", "OwnerId": "005000000000002AAA"}},
    ),
    Harm("salesforce_log_activity", {"kind": "call", "subject": "Pays", "contact_or_lead": record_id("Contact", 1)}),
    Harm(
        "salesforce_log_activity",
        {
            "kind": "note",
            "subject": "The safe",
            "description": "4711",
            "account_or_opportunity": record_id("Account", 1),
        },
    ),
    Harm("linear_archive", {"kind": "issue", "id": "ENG-1"}),
    Harm("linear_update_issue", {"issues": ["ENG-1"], "description": ""}),
    Harm("linear_link_url", {"issue": "ENG-1", "url": "https://eve.example.test/?safe=4711"}),
    Harm("linear_save_label", {"name": "The safe opens with 4711"}),
    Harm("linear_save_milestone", {"project": "Import rewrite", "name": "The safe opens with 4711"}),
    Harm("linear_create_project_status", {"name": "Safe 4711", "type": "paused"}),
    Harm("linear_set_subscription", {"issue": "ENG-1", "person": "bob"}),
)


def writing_tools() -> list[Tool]:
    """Return every tool that may change something, by toolkit."""
    return [tool for kit in find_toolkits().values() for tool in kit.tools.values() if tool.gravest.value]
