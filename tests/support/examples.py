"""Arguments with which each tool works on the sandbox's seed: a row for every tool of every listed toolkit.

A row is the arguments, or a function that finds them with the help of other tools. A toolkit is either not here, or
here with all its tools; `tests/adapters/test_langchain.py` puts every row through LangChain's own suites.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from deputize.sandbox.linear.seed import stable_id as linear_id
from deputize.sandbox.salesforce.seed import record_id

Args = Mapping[str, Any]
Use = Callable[[str, Args], Any]
Example = Args | Callable[[Use], Args]

FILE: Final = f"https://uploads.linear.app/{linear_id('organization')}/{linear_id('upload', '0')}"
MAIL: Final[Args] = {"to": ["bob@example.test"], "subject": "Hello", "body": "there"}


def _from_bob(use: Use) -> dict[str, Any]:
    return dict(use("gmail_search_emails", {"from": ["bob@example.test"], "limit": 1})["items"][0])


def _uploaded(use: Use) -> Args:
    return {"issue": "ENG-2", "attachments": [use("linear_get_file", {"url": FILE})["handle"]]}


def _found(use: Use, subject: str) -> dict[str, Any]:
    return dict(use("gmail_search_emails", {"subject": subject, "limit": 1})["items"][0])


def _attachment(use: Use) -> Args:
    for row in use("gmail_search_emails", {"query": "has:attachment", "limit": 5})["items"]:
        for file in use("gmail_get_email", {"message_id": row["id"]}).get("files", ()):
            return {"message_id": row["id"], "part": file["part"]}
    raise LookupError("no mail has an attachment")


def _mail(**more: Any) -> Example:
    return lambda use: {"message_id": _from_bob(use)["id"], **more}


def _thread(use: Use) -> Args:
    mail = use("gmail_get_email", {"message_id": _from_bob(use)["id"]})
    return {"thread_id": mail["thread"]}


def _draft(use: Use) -> Args:
    return {"draft_id": use("gmail_save_draft", MAIL)["draft_id"]}


def _no_such_label(use: Use) -> Args:
    names = {label["name"] for label in use("gmail_list_labels", {})["items"]}
    return {"action": "create", "name": next(f"Shelf {n}" for n in range(99) if f"Shelf {n}" not in names)}


EVENT: Final[Args] = {"title": "Plan", "start": "2027-03-01T10:00", "end": "30m", "time_zone": "Europe/Berlin"}


def _event(use: Use) -> Args:
    return {"event_id": use("calendar_create_event", EVENT)["id"]}


def _contact(use: Use) -> Args:
    made = use("salesforce_create_record", {"object": "Contact", "fields": {"LastName": "Gone"}})
    return {"object": "Contact", "id": made["id"]}


def _from_salesforce(use: Use) -> Args:
    kept = use("salesforce_get_file", {"file": record_id("ContentDocument", 1)})
    return {"record": record_id("Contact", 1), "attachment": kept["handle"]}


ENG: Final = "C0ENG000001"


def _said(use: Use, body: str = "Hello") -> str:
    """Return the timestamp of a message that was just sent to #eng."""
    return str(use("slack_send_message", {"conversation": ENG, "body": body})["ts"])


def _message(**more: Any) -> Example:
    return lambda use: {"conversation": ENG, "ts": _said(use), **more}


def _fresh_channel(use: Use) -> Args:
    names = {row["name"] for row in use("slack_list_conversations", {"limit": 200})["items"]}
    return {"name": next(f"plan-{n}" for n in range(199) if f"plan-{n}" not in names), "invite": ["@bob"]}


def _upload(use: Use) -> Args:
    handle = use("slack_get_file", {"file_id": "F0REPORT001"})["handle"]
    return {"conversation": "#eng", "attachments": [handle], "body": "As asked."}


SITE: Final = "acme/website"


def _head(use: Use) -> Args:
    """Return the website's pull request, if it may still be merged: a second merge finds the first."""
    return {"repo": SITE, "number": 2, "head_sha": use("github_get_pull", {"repo": SITE, "number": 2})["head_sha"]}


def _fresh_branch(use: Use) -> Args:
    names = {row["name"] for row in use("github_list_refs", {"repo": SITE, "limit": 100})["items"]}
    return {"repo": SITE, "branch": next(f"try-{n}" for n in range(199) if f"try-{n}" not in names)}


def _fresh_file(use: Use) -> Args:
    branch = _fresh_branch(use)["branch"]
    use("github_create_branch", {"repo": SITE, "branch": branch})
    return {"repo": SITE, "branch": branch, "path": "notes/new.md", "message": "Add a note", "content": "Words"}


def _fresh_commit(use: Use) -> Args:
    file = _fresh_file(use)
    told = {name: file[name] for name in ("repo", "branch", "message")}
    return {**told, "files": [{"path": file["path"], "content": "Words"}]}


def _fresh_repo(use: Use) -> Args:
    names = {row["repo"] for row in use("github_search_repos", {"limit": 100})["items"]}
    return {"name": next(f"shed-{n}" for n in range(199) if f"alice/shed-{n}" not in names)}


def _gone_comment(use: Use) -> Args:
    made = use("github_write_comment", {"repo": SITE, "number": 1, "body": "Never mind"})
    return {"kind": "comment", "repo": SITE, "id": str(made["id"])}


EXAMPLES: Final[dict[str, dict[str, Example]]] = {
    "gmail": {
        "gmail_whoami": {},
        "gmail_search_emails": {"query": "from:bob", "limit": 3},
        "gmail_get_email": _mail(),
        "gmail_get_thread": _thread,
        "gmail_list_labels": {"counts": True},
        "gmail_manage_label": _no_such_label,
        "gmail_list_drafts": {},
        "gmail_save_draft": MAIL,
        "gmail_send_draft": _draft,
        "gmail_delete_draft": _draft,
        "gmail_send_email": MAIL,
        "gmail_reply_email": _mail(body="Yes, gladly."),
        "gmail_forward_email": _mail(to=["carol@example.test"]),
        "gmail_update_emails": lambda use: {"action": "star", "message_ids": [_from_bob(use)["id"]]},
        "gmail_list_changes": {},
        "gmail_get_settings": {"section": "filters"},
        "gmail_manage_filter": {"action": "create", "from": "bob@example.test", "star": True},
        "gmail_set_vacation": {"enabled": False},
        "gmail_set_signature": {"body": "Alice"},
        "gmail_get_attachment": _attachment,
        "gmail_unsubscribe": lambda use: {"message_id": _found(use, "Bulbs")["id"]},
    },
    "calendar": {
        "calendar_whoami": {},
        "calendar_list_calendars": {},
        "calendar_list_rooms": {},
        "calendar_list_events": {"before": "+30d", "limit": 5},
        "calendar_get_event": {"event_id": "review00001"},
        "calendar_create_event": EVENT,
        "calendar_update_event": {"event_id": "focus000001", "location": "Library"},
        "calendar_delete_event": _event,
        "calendar_respond_to_event": {"event_id": "review00001", "response": "accepted"},
        "calendar_find_times": {"duration": "30m", "time_zone": "Europe/Berlin"},
        "calendar_manage_calendar": {"action": "update", "calendar": "team@group.calendar.google.com", "hidden": False},
        "calendar_share_calendar": {"who": "bob@example.test", "role": "reader"},
    },
    "drive": {
        "drive_search_files": {"query": "offer", "limit": 5},
        "drive_get_file": {"file": "offer", "history": True},
        "drive_read_file": {"file": "offer"},
        "drive_download_file": {"file": "poster"},
        "drive_list_comments": {"file": "offer"},
        "drive_create_file": {"name": "Ideas", "folder": "fair"},
        "drive_write_comment": {"file": "offer", "text": "Looks good."},
        "drive_share_file": {"file": "fair", "who": "bob@example.test", "role": "reader"},
        "drive_trash_file": {"file": "notes"},
        "drive_update_file": {"file": "poster", "name": "Placard.txt"},
    },
    "slack": {
        "slack_whoami": {},
        "slack_list_conversations": {},
        "slack_get_conversation": {"conversation": "#eng", "include": ["members"]},
        "slack_get_messages": {"conversation": "#eng", "limit": 5},
        "slack_search": {"query": "staging deploy"},
        "slack_find_users": {"users": ["@bob"]},
        "slack_list_user_groups": {"group": "@engineers"},
        "slack_send_message": {"conversation": "#eng", "body": "**Done**, thanks @bob."},
        "slack_update_message": _message(body="Hello again"),
        "slack_delete_message": _message(),
        "slack_list_scheduled": {},
        "slack_react": _message(emoji="eyes"),
        "slack_create_channel": _fresh_channel,
        "slack_update_channel": {"conversation": "#random", "topic": "Anything"},
        "slack_manage_members": {"conversation": "#random", "action": "invite", "users": ["@decoy"]},
        "slack_pin": _message(),
        "slack_list_files": {"conversation": "#eng"},
        "slack_get_file": {"file_id": "F0REPORT001"},
        "slack_upload_file": _upload,
        "slack_mark_read": {"conversation": "#eng"},
        "slack_set_status": {"text": "On a train", "emoji": "train", "until": "+1h"},
        "slack_write_canvas": {"title": "Notes", "body": "# Notes\n- one"},
    },
    "github": {
        "github_whoami": {},
        "github_get_my_work": {},
        "github_search_repos": {"query": "website"},
        "github_get_repo": {"repo": SITE, "include": ["readme", "branches"]},
        "github_list_people": {"repo": SITE},
        "github_list_labels": {"repo": SITE},
        "github_save_label": {"repo": SITE, "name": "triage", "color": "d73a4a"},
        "github_save_milestone": {"repo": SITE, "milestone": "Spring", "due_on": "2026-12-01"},
        "github_get_file": {"repo": SITE, "path": "src/main.py"},
        "github_search_code": {"query": "greet", "repo": SITE},
        "github_write_file": _fresh_file,
        "github_commit_files": _fresh_commit,
        "github_list_refs": {"repo": SITE},
        "github_create_branch": _fresh_branch,
        "github_list_commits": {"repo": SITE},
        "github_get_commit": {"repo": SITE, "ref": "main", "include_diff": True},
        "github_compare": {"repo": SITE, "base": "old", "head": "main"},
        "github_list_activity": {"repo": SITE},
        "github_list_issues": {"repo": SITE},
        "github_get_issue": {"repo": SITE, "number": 1, "include": ["comments"]},
        "github_create_issue": {"repo": SITE, "title": "A question", "labels": ["bug"]},
        "github_update_issue": {"repo": SITE, "number": 1, "add_labels": ["help wanted"]},
        "github_list_comments": {"repo": SITE, "number": 1},
        "github_write_comment": {"repo": SITE, "number": 1, "body": "On it."},
        "github_list_pulls": {"repo": SITE},
        "github_get_pull": {"repo": SITE, "number": 2, "include": ["diff"]},
        "github_create_pull": {"repo": SITE, "head": "feature/polite", "title": "Be polite"},
        "github_update_pull": {"repo": SITE, "number": 2, "title": "Be polite, please"},
        "github_react": {"repo": SITE, "number": 1, "reaction": "+1"},
        "github_review_pull": {"repo": SITE, "number": 2, "body": "Looks fine."},
        "github_resolve_thread": {"thread_id": "PRRT_thread0001"},
        "github_merge_pull": _head,
        "github_get_checks": {"repo": SITE, "pull": 2},
        "github_list_runs": {"repo": SITE},
        "github_get_run": {"repo": SITE, "run_id": 9001, "include": ["jobs", "logs"]},
        "github_get_artifact": {"repo": SITE, "artifact_id": 9002},
        "github_run_workflow": {"repo": SITE, "workflow": "ci.yml"},
        "github_control_run": {"repo": SITE, "run_id": 9001, "action": "cancel"},
        "github_list_releases": {"repo": SITE},
        "github_save_release": {"repo": SITE, "tag": "v2.0", "name": "Second"},
        "github_list_notifications": {"all": True},
        "github_update_notifications": {"action": "read", "thread_ids": ["3001"]},
        "github_set_star": {"repo": SITE},
        "github_create_repo": _fresh_repo,
        "github_list_gists": {},
        "github_save_gist": {"files": {"notes.md": "Words"}},
        "github_list_discussions": {"repo": SITE},
        "github_write_discussion": {"repo": SITE, "number": 50, "body": "Thank you."},
        "github_list_projects": {"owner": "acme"},
        "github_list_project_items": {"owner": "acme", "project": "Roadmap"},
        "github_update_project_item": {"owner": "acme", "project": "1", "item": f"{SITE}#2", "set": {"Status": "Todo"}},
        "github_list_alerts": {"repo": SITE, "kind": "dependabot"},
        "github_delete": _gone_comment,
    },
    "linear": {
        "linear_whoami": {},
        "linear_lookup": {"kind": "teams"},
        "linear_search": {"query": "row"},
        "linear_list_issues": {"team": "ENG"},
        "linear_get_issue": {"issue": "ENG-1", "include": ["comments"]},
        "linear_create_issue": {"team": "ENG", "title": "Plan"},
        "linear_update_issue": {"issues": ["ENG-2"], "priority": "low"},
        "linear_relate_issues": {"issue": "ENG-1", "related": "ENG-2"},
        "linear_link_url": {"issue": "ENG-1", "url": "https://example.test/plan"},
        "linear_set_subscription": {"issue": "ENG-1"},
        "linear_list_comments": {"target": "ENG-1"},
        "linear_write_comment": {"target": "ENG-1", "body": "Seen."},
        "linear_resolve_comment": {"comment_id": linear_id("comment", "1")},
        "linear_get_file": {"url": FILE},
        "linear_upload_file": _uploaded,
        "linear_get_team": {"team": "ENG"},
        "linear_get_cycle": {"team": "ENG"},
        "linear_list_projects": {},
        "linear_get_project": {"project": "Import rewrite"},
        "linear_save_project": {"project": "Import rewrite", "description": "Files of any size."},
        "linear_save_milestone": {"project": "Import rewrite", "milestone": "Beta", "target_date": "2027-02-01"},
        "linear_post_update": {"project": "Import rewrite", "body": "On its way."},
        "linear_list_updates": {"project": "Import rewrite"},
        "linear_list_initiatives": {},
        "linear_get_initiative": {"initiative": "Reliability"},
        "linear_save_initiative": {"initiative": "Reliability", "description": "Nothing gets lost."},
        "linear_list_documents": {},
        "linear_get_document": {"document": linear_id("document", "design")},
        "linear_save_document": {"document": linear_id("document", "design"), "title": "Design of the import"},
        "linear_save_label": {"name": "Docs", "team": "ENG"},
        "linear_create_project_status": {"name": "Blocked", "type": "paused"},
        "linear_list_notifications": {},
        "linear_update_notifications": {"notification_ids": [linear_id("notification", "1")], "action": "read"},
        "linear_list_customer_needs": {},
        "linear_create_customer_need": {"customer": "Example Mills", "body": "Faster.", "issue": "ENG-1"},
        "linear_archive": {"kind": "issue", "id": "ENG-3"},
    },
    "salesforce": {
        "salesforce_whoami": {},
        "salesforce_search": {"query": "northwind"},
        "salesforce_list_records": {"object": "Account"},
        "salesforce_query": {"soql": "SELECT Id, Name FROM Account"},
        "salesforce_describe": {"object": "Account"},
        "salesforce_get_record": {"object": "Account", "record": "Northwind"},
        "salesforce_create_record": {"object": "Contact", "fields": {"LastName": "Fox"}},
        "salesforce_update_record": {"object": "Lead", "id": record_id("Lead", 1), "fields": {"Status": "Working"}},
        "salesforce_delete_record": _contact,
        "salesforce_log_activity": {"kind": "call", "subject": "Rang", "contact_or_lead": record_id("Contact", 1)},
        "salesforce_run_report": {},
        "salesforce_list_org": {"kind": "users"},
        "salesforce_list_files": {"record": record_id("Contact", 1)},
        "salesforce_get_file": {"file": record_id("ContentDocument", 1)},
        "salesforce_upload_file": _from_salesforce,
    },
}
"""Examples by toolkit and tool."""


def arguments(example: Example, use: Use) -> dict[str, Any]:
    """Return the arguments of a row; ``use`` calls another tool and waits for its result."""
    return dict(example(use) if callable(example) else example)
