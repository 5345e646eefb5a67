"""Calls of every Gmail tool that together make every request it can make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from deputize.core.errors import NotFound, OutcomeUnknown
from deputize.toolkits._shared.page import write_cursor
from tests.toolkits.mailbox import Mailbox, container, leaf, message, own, system
from tests.toolkits.tool_driver import ALICE


class Case(NamedTuple):
    """A call, and the failure that happens in it."""

    tool: str
    arguments: dict[str, Any]
    spoil: Callable[[Mailbox], None] = lambda box: None


LISTED: Final = {
    "List-Unsubscribe": "<https://list.example.test/leave?u=1>, <mailto:leave@list.test>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    "Authentication-Results": "mx.google.com; dkim=pass header.i=@list.test",
}
SINCE: Final = write_cursor(("gmail_list_changes", ALICE.subject, [], None), ["900", "", 0])
OF_WORK: Final = write_cursor(("gmail_list_changes", ALICE.subject, ["added", "labels"], "Work"), ["900", "", 0])


def mailbox() -> Mailbox:
    """Return a mailbox in which every call finds its objects."""
    files = container(
        "mixed",
        leaf("text/plain", attachment="A1"),
        leaf("application/pdf", filename="r.pdf", attachment="A2"),
    )
    draft = message("m9", "Draft", thread="t9", labels=["DRAFT"]) | {"raw": "VG86IGJvYkBleGFtcGxlLnRlc3QNCg0KRHJhZnQ"}
    return Mailbox.of(
        message("m1", files, thread="t1", labels=["INBOX", "UNREAD", "Label_Work"]),
        message("m2", thread="t1"),
        message("m3", thread="t3", labels=["SENT"]),
        message("m4", headers=LISTED),
        message("m5", headers={"List-Unsubscribe": "<mailto:leave@list.test?subject=stop>"}),
        drafts={"r1": {"id": "r1", "message": draft}},
        labels=[system("INBOX"), own("Work")],
        aliases=[
            {"sendAsEmail": ALICE.name, "isPrimary": True, "signature": "Alice"},
            {"sendAsEmail": "team@example.test"},
        ],
        filters=[{"id": "f9", "criteria": {"from": "x@x.test"}, "action": {"removeLabelIds": ["INBOX"]}}],
        history=[
            {"id": "901", "messagesAdded": [{"message": {"id": "m1"}}]},
            {"id": "902", "labelsAdded": [{"message": {"id": "m2"}, "labelIds": ["Label_Work"]}]},
            {"id": "903", "messagesDeleted": [{"message": {"id": "gone"}}]},
        ],
        attachments={"A1": b"words", "A2": b"file"},
    )


def _lose_sending(box: Mailbox) -> None:
    box.lose("POST", "/users/me/messages/send")
    box.lose("POST", "/users/me/drafts/send")


def _miss_profile(box: Mailbox) -> None:
    box.fail("GET", "/users/me/profile", NotFound("not played here"))
    for one in box.messages.values():
        one["historyId"] = "900"


def _lose_drafting(box: Mailbox) -> None:
    box.lose("POST", "/users/me/drafts")


def _miss_thread(box: Mailbox) -> None:
    box.fail("GET", "/users/me/threads/{id}", NotFound("no thread"))


def _refuse_label(box: Mailbox) -> None:
    box.lose("POST", "/users/me/labels")
    box.faults["POST /users/me/labels"][0] = _exists


def _exists(act: Callable[[], Any]) -> Any:
    from deputize.core.errors import Conflict

    act()
    raise Conflict("exists", reason="exists")


LETTER: Final = {"to": ["bob@example.test"], "subject": "s", "body": "b"}
CASES: Final = [
    Case("whoami", {}),
    *(
        Case("search_emails", {"group": group, "detail": detail, **more})
        for group in ("message", "thread")
        for detail in ("count", "summary", "full")
        for more in ({}, {"label": "Work", "query": "in:anywhere x", "from": ["b"], "after": "-7d", "unread": True})
    ),
    Case("get_email", {"message_id": "m1"}),
    Case("get_email", {"message_id": "m1", "part": "headers"}),
    Case("get_email", {"message_id": "m1", "part": "links"}),
    Case("get_email", {"draft_id": "r1"}),
    Case("get_email", {"draft_id": "r1", "part": "raw"}),
    Case("get_thread", {"thread_id": "t1"}),
    Case("get_thread", {"thread_id": "m1"}, _miss_thread),
    Case("list_labels", {}),
    Case("list_labels", {"counts": True}),
    Case("save_draft", LETTER),
    Case("save_draft", LETTER, _lose_drafting),
    Case("save_draft", {"draft_id": "r1", "body": "new", "to": ["c@example.test"]}),
    Case("save_draft", {"reply_to": "m1", "body": "b"}),
    Case("save_draft", {"reply_to": "m1", "body": "b", "all": True}),
    Case("list_drafts", {}),
    Case("list_drafts", {"query": "x"}),
    Case("send_draft", {"draft_id": "r1"}),
    Case("send_draft", {"draft_id": "r1"}, _lose_sending),
    Case("delete_draft", {"draft_id": "r1"}),
    Case("send_email", LETTER),
    Case("send_email", LETTER | {"send_as": "team@example.test"}),
    Case("save_draft", LETTER | {"send_as": "team@example.test"}),
    Case("forward_email", {"message_id": "m2", "to": ["bob@example.test"], "send_as": "team@example.test"}),
    Case("send_email", LETTER | {"signature": True}),
    Case("send_email", LETTER, _lose_sending),
    Case("reply_email", {"message_id": "m2", "body": "b"}),
    Case("reply_email", {"message_id": "m2", "body": "b", "all": True}),
    Case("reply_email", {"message_id": "m2", "body": "b", "signature": True}),
    Case("reply_email", {"message_id": "m2", "body": "b", "send_as": "team@example.test"}),
    Case("reply_email", {"message_id": "m2", "body": "b"}, _lose_sending),
    Case("forward_email", {"message_id": "m1", "to": ["bob@example.test"]}),
    Case("forward_email", {"message_id": "m1", "to": ["bob@example.test"], "attachments": False}),
    Case("forward_email", {"message_id": "m1", "to": ["bob@example.test"]}, _lose_sending),
    *(
        Case("update_emails", {**change, **chosen, **more})
        for change in ({"action": "read"}, {"action": "trash"}, {"action": "untrash"}, {"add_labels": ["Work"]})
        for chosen in ({"message_ids": ["m1", "m2"]}, {"thread_ids": ["t1"]}, {"query": "from:bob"})
        for more in ({}, {"dry_run": True})
    ),
    Case("get_attachment", {"message_id": "m1", "part": "r.pdf"}),
    Case("unsubscribe", {"message_id": "m4"}),
    Case("unsubscribe", {"message_id": "m4", "trash": True}),
    Case("unsubscribe", {"message_id": "m5", "by_email": True}),
    Case("unsubscribe", {"message_id": "m5", "by_email": True}, _lose_sending),
    Case("list_changes", {}),
    Case("list_changes", {}, _miss_profile),
    Case("list_changes", {"since": SINCE}),
    Case("list_changes", {"since": OF_WORK, "kinds": ["added", "labels"], "label": "Work"}),
    *(Case("get_settings", {"section": one}) for one in ("vacation", "filters", "forwarding", "aliases")),
    Case("set_vacation", {"enabled": True, "subject": "Away", "body": "Back soon.", "after": "now", "before": "+7d"}),
    Case("set_vacation", {"enabled": False}),
    Case("manage_filter", {"action": "create", "from": "news@x.test", "archive": True, "star": True}),
    Case("manage_filter", {"action": "create", "query": "invoice", "has_attachment": True, "add_labels": ["Work"]}),
    Case("manage_filter", {"action": "delete", "filter_id": "f9"}),
    Case("set_signature", {"body": "Alice"}),
    Case("set_signature", {"body": "<b>Alice</b>", "send_as": "team@example.test"}),
    Case("manage_label", {"action": "create", "name": "New"}),
    Case("manage_label", {"action": "create", "name": "New"}, _refuse_label),
    Case("manage_label", {"action": "rename", "name": "Work", "new_name": "Job"}),
    Case("manage_label", {"action": "delete", "name": "Work"}),
]

UNSURE: Final = OutcomeUnknown
"""How a call may end if a response is lost and nothing may be read."""
