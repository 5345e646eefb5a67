"""The token cost of Gmail's tools: definitions, rows, details, whatever the mail contains."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.toolkits._shared.page import tokens
from deputize.toolkits.gmail import TOOLKIT
from tests.toolkits.mailbox import READONLY, Mailbox, container, leaf, message, own
from tests.toolkits.tool_driver import Driver

READER = Driver(TOOLKIT, frozenset({READONLY}))
LATIN = "Quarterly numbers and what they mean for all of us in the coming year "
TEXTS = {
    "latin": LATIN,
    "german": "Übergrößenträger müssen Gebühren für Änderungen ",
    "chinese": "季度数据及其对我们所有人的意义",
    "emoji": "🎉🚀👩\u200d🚀",
}


ELSEWHERE = {  # what these actions are called in other toolkits
    "archive_email": "update_emails",
    "change_email_labels": "update_emails",
    "change_thread_labels": "update_emails",
    "create_label": "manage_label",
    "delete_draft_email": "delete_draft",
    "delete_label": "manage_label",
    "forward_email": "forward_email",
    "get_email": "get_email",
    "get_thread": "get_thread",
    "list_draft_emails": "list_drafts",
    "list_email_attachment_metadata": "get_email",
    "list_emails": "search_emails",
    "list_emails_by_header": "search_emails",
    "list_labels": "list_labels",
    "list_threads": "search_emails",
    "reply_to_email": "reply_email",
    "report_spam": "update_emails",
    "search_emails_by_query": "search_emails",
    "search_threads": "search_emails",
    "send_draft_email": "send_draft",
    "send_email": "send_email",
    "set_thread_trash_status": "update_emails",
    "trash_email": "update_emails",
    "triage_emails": "update_emails",
    "update_draft_email": "save_draft",
    "unsubscribe_from_email": "unsubscribe",
    "update_label": "manage_label",
    "who_am_i": "whoami",
    "write_draft_email": "save_draft",
    "write_draft_reply_email": "save_draft",
}


def test_aliases_of_other_toolkits_name_one_tool_each() -> None:
    aliases = {alias.name: name for name, tool in TOOLKIT.tools.items() for alias in tool.aliases}
    assert sum(len(tool.aliases) for tool in TOOLKIT.tools.values()) == len(aliases)
    expected = {f"Gmail.{name.title().replace('_', '')}": f"gmail_{tool}" for name, tool in ELSEWHERE.items()}
    assert aliases == expected | {"Google.SendEmail": "gmail_send_email"}


def loaded(text: str) -> dict[str, Any]:
    """Return an email with much of everything."""
    people = ", ".join(f"{text[:60]} {n} <somebody.with.a.name.{n}@department.example.test>" for n in range(50))
    files = [leaf("application/pdf", b"x", filename=f"{text * 3}{n}.pdf") for n in range(20)]
    return message(
        "18f0a1b2c3d4e5f6",
        container("mixed", leaf("text/plain", text * 400), *files),
        thread="18f0a1b2c3d4e5f6",
        sender=f"{text * 2} <somebody.with.a.long.name@department.example.test>",
        to=people,
        subject=text * 5,
        labels=["INBOX", "UNREAD", "STARRED", "Label_1", "Label_2", "Label_3"],
        snippet=text * 3,
        headers={
            "Cc": people,
            "Reply-To": people,
            "Authentication-Results": "mx.google.com; dkim=pass; spf=pass; dmarc=pass",
        },
    )


def box(text: str) -> Mailbox:
    one = loaded(text)
    return Mailbox.of(
        *({**one, "id": f"18f0a1b2c3d4e5{n:02x}", "threadId": one["threadId"]} for n in range(30)),
        labels=[own(text * 2, f"Label_{n}") for n in range(4)],
        drafts={f"r-81234567890123456{n:02}": {"id": f"r-81234567890123456{n:02}", "message": one} for n in range(3)},
    )


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_list_row_stays_small(text: str) -> None:
    rows = READER.run("search_emails", {}, box(text)).result["items"]
    assert max(tokens(row) for row in rows) <= 190
    ordinary = Mailbox.of(message("18f0a1b2c3d4e5f6", subject=text[:50], snippet=text, labels=["INBOX", "UNREAD"]))
    (row,) = READER.run("search_emails", {}, ordinary).result["items"]
    assert tokens(row) <= 130
    (row,) = READER.run("search_emails", {"group": "thread"}, box(text)).result["items"]
    assert tokens(row) <= 220
    assert max(tokens(row) for row in READER.run("list_drafts", {}, box(text)).result["items"]) <= 190


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_email_fills_its_budget_and_stays_within(text: str) -> None:
    ordinary = message("18f0a1b2c3d4e5f6", text * 4_000, subject=text, to=f"{text[:20]} <alice@example.test>")
    found = READER.run("get_email", {"message_id": "18f0a1b2c3d4e5f6"}, Mailbox.of(ordinary)).result
    assert 3_300 <= tokens(found) <= 4_000
    found = READER.run("get_email", {"message_id": "18f0a1b2c3d4e500"}, box(text)).result
    assert tokens(found) <= 4_000
    assert found["total_chars"] > len(found["body"]) if found.get("next_offset") else "total_chars" not in found


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("search_emails", {"limit": 100}),
        ("search_emails", {"limit": 100, "detail": "full"}),
        ("search_emails", {"limit": 100, "group": "thread", "detail": "full"}),
        ("get_thread", {"thread_id": "18f0a1b2c3d4e5f6", "limit": 50}),
        ("list_drafts", {"limit": 100}),
        ("list_labels", {}),
        ("get_email", {"message_id": "18f0a1b2c3d4e500", "part": "headers"}),
    ],
)
def test_result_has_at_most_four_thousand_tokens(text: str, tool: str, arguments: dict[str, Any]) -> None:
    assert tokens(READER.run(tool, arguments, box(text)).result) <= 4000
