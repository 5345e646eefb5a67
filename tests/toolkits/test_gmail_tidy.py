"""gmail_update_emails: only the selected mails, only once, and undone."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import Effect
from deputize.core.errors import InvalidInput, NotFound, RateLimited
from deputize.toolkits.gmail import TOOLKIT
from tests.toolkits.mailbox import MODIFY, READONLY, Mailbox, message, own, system
from tests.toolkits.tool_driver import Done, Driver

OWNER = Driver(TOOLKIT, frozenset({MODIFY}))
TOOL = TOOLKIT.tools["gmail_update_emails"]


def box() -> Mailbox:
    return Mailbox.of(
        message("m1", thread="t1", labels=["INBOX", "UNREAD"]),
        message("m2", thread="t1", labels=["INBOX"]),
        message("m3", thread="t2", labels=["INBOX", "UNREAD", "Label_Work"]),
        labels=[system("INBOX"), system("STARRED"), own("Work"), own("Play")],
    )


@pytest.fixture
def mailbox() -> Mailbox:
    return box()


def update(mailbox: Mailbox, **arguments: Any) -> Done:
    return OWNER.run("update_emails", arguments, mailbox)


def labels(mailbox: Mailbox) -> dict[str, set[str]]:
    return {one["id"]: set(one["labelIds"]) for one in mailbox.messages.values()}


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("read", {"INBOX", "UNREAD"}, {"INBOX"}),
        ("unread", {"INBOX"}, {"INBOX", "UNREAD"}),
        ("star", {"INBOX"}, {"INBOX", "STARRED"}),
        ("unstar", {"STARRED"}, set()),
        ("archive", {"INBOX"}, set()),
        ("to_inbox", set(), {"INBOX"}),
        ("important", set(), {"IMPORTANT"}),
        ("not_important", {"IMPORTANT"}, set()),
        ("spam", {"INBOX"}, {"SPAM"}),
        ("not_spam", {"SPAM"}, {"INBOX"}),
        ("trash", {"INBOX"}, {"INBOX", "TRASH"}),
        ("untrash", {"TRASH"}, set()),
    ],
)
@pytest.mark.parametrize("by", ["message_ids", "thread_ids"])
def test_action_changes_the_state_and_is_undone(action: str, before: set[str], after: set[str], by: str) -> None:
    mailbox = Mailbox.of(message("m1", thread="t1", labels=sorted(before)))
    done = update(mailbox, action=action, **{by: ["m1" if by == "message_ids" else "t1"]})
    assert labels(mailbox) == {"m1": after}
    assert (done.result["requested"], done.result["changed"]) == (1, 1)
    assert all(request.call in ("read", "idem") for request in done.requests)
    undo = done.result["undo"]
    assert undo["tool"] == "gmail_update_emails"
    update(mailbox, **undo["args"])
    assert labels(mailbox) == {"m1": before}


def test_only_actual_changes_are_made_and_undone(mailbox: Mailbox) -> None:
    done = update(mailbox, action="read", message_ids=["m1", "m2", "m3", "m1", "gone"])
    assert done.result == {
        "requested": 4,
        "changed": 2,
        "unchanged": 1,
        "failed": [{"id": "gone", "error": "not found"}],
        "undo": {"tool": "gmail_update_emails", "args": {"action": "unread", "message_ids": ["m1", "m3"]}},
        "summary": "Changed 2 of 4 messages.",
    }
    change = next(one for one in done.requests if one.path.endswith("batchModify"))
    assert change.json == {"ids": ["m1", "m3"], "addLabelIds": [], "removeLabelIds": ["UNREAD"]}


def test_unchanged_messages_need_no_write_or_note() -> None:
    done = update(box(), action="unstar", message_ids=["m1"])
    assert done.result["changed"] == 0 and "undo" not in done.result
    assert all(request.call == "read" for request in done.requests)
    assert done.notes == []


def test_labels_are_given_by_name_and_sent_by_id(mailbox: Mailbox) -> None:
    done = update(mailbox, add_labels=["play"], remove_labels=["Work"], message_ids=["m3"])
    assert labels(mailbox)["m3"] == {"INBOX", "UNREAD", "Label_Play"}
    assert done.result["undo"]["args"] == {"add_labels": ["Work"], "remove_labels": ["Play"], "message_ids": ["m3"]}


def test_change_that_partly_existed_before_has_no_undo(mailbox: Mailbox) -> None:
    done = update(mailbox, action="star", add_labels=["Work"], message_ids=["m1", "m3"])
    assert done.result["changed"] == 2 and "undo" not in done.result
    done = update(box(), action="read", thread_ids=["t1"])
    assert done.result["changed"] == 1 and "undo" not in done.result


def test_undo_covers_at_most_a_hundred_ids() -> None:
    mailbox = Mailbox.of(*(message(f"m{n}") for n in range(101)))
    done = update(mailbox, action="archive", message_ids=list(mailbox.messages))
    assert done.result["changed"] == 101 and "undo" not in done.result
    assert max(done.at_once) == 10


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"action": "read"}, "exactly one"),
        ({"action": "read", "message_ids": ["m1"], "thread_ids": ["t1"]}, "exactly one"),
        ({"action": "read", "message_ids": ["m1"], "query": "x"}, "exactly one"),
        ({"action": "read", "message_ids": []}, "exactly one"),
        ({"action": "read", "query": "  "}, "exactly one"),
        ({"message_ids": ["m1"]}, "at least one"),
        ({"action": "trash", "query": "-from:bob"}, "needs a search term"),
        ({"action": "spam", "query": "in:anywhere"}, "needs a search term"),
        ({"action": "archive", "query": "-a -b"}, "needs a search term"),
        ({"action": "delete", "message_ids": ["m1"]}, "action"),
        ({"action": "read", "message_ids": [str(n) for n in range(1001)]}, "message_ids"),
        ({"action": "read", "query": "x", "limit": 1001}, "limit"),
    ],
)
def test_change_without_target_is_refused_before_sending(arguments: dict[str, Any], why: str, mailbox: Mailbox) -> None:
    with pytest.raises(InvalidInput, match=why):
        update(mailbox, **arguments)
    assert mailbox.asked == []


@pytest.mark.parametrize("label", ["INBOX", "inbox", "STARRED"])
def test_system_states_are_not_labels(label: str, mailbox: Mailbox) -> None:
    with pytest.raises(InvalidInput, match="system label of Gmail"):
        update(mailbox, add_labels=[label], message_ids=["m1"])
    assert all(request.call == "read" for request in mailbox.asked)


def test_unknown_label_is_not_created(mailbox: Mailbox) -> None:
    with pytest.raises(InvalidInput, match="add_labels") as refused:
        update(mailbox, add_labels=["Wörk"], message_ids=["m1"])
    assert "Work" in refused.value.hint
    assert all(request.method == "GET" for request in mailbox.asked)


def test_label_cannot_be_added_and_removed_together() -> None:
    with pytest.raises(InvalidInput, match="a label is in both"):
        update(box(), add_labels=["Work"], remove_labels=["work"], message_ids=["m1"])


# ----------------------------------------------------------------- by query


def test_query_is_resolved_noted_and_executed(mailbox: Mailbox) -> None:
    done = update(mailbox, action="trash", query="from:bob")
    assert [note["ids"] for note in done.notes] == [["m1", "m2", "m3"]]
    assert all("TRASH" in one for one in labels(mailbox).values())
    assert [one.path.rpartition("/")[2] for one in done.requests if one.method == "POST"] == ["trash"] * 3


def test_later_run_uses_the_noted_ids_whatever_the_query_finds(mailbox: Mailbox) -> None:
    plan = update(mailbox, action="read", query="is:old").notes[0]
    mailbox = box()
    mailbox.messages["m4"] = message("m4", labels=["UNREAD"])
    done = OWNER.run("update_emails", {"action": "read", "query": "is:old"}, mailbox, noted=plan)
    assert [one.path for one in done.requests] == ["/users/me/messages/batchModify"]
    assert labels(mailbox)["m4"] == {"UNREAD"}
    assert done.result["changed"] == 2


def test_query_is_narrowed_to_mails_that_would_change() -> None:
    done = update(box(), action="read", query="from:bob")
    assert dict(done.requests[0].params or {})["q"] == "from:bob is:unread"
    done = update(box(), action="untrash", query="from:bob")
    assert dict(done.requests[0].params or {}) == {
        "q": "from:bob in:trash",
        "maxResults": 100,
        "includeSpamTrash": True,
    }


def test_query_stops_at_its_limit_and_reports_more() -> None:
    mailbox = Mailbox.of(*(message(f"m{n}") for n in range(700)), page=300)
    done = update(mailbox, action="archive", query="from:bob", limit=650)
    assert (done.result["requested"], done.result["changed"], done.result["remaining"]) == (650, 650, True)
    assert "call again" in done.result["summary"]
    assert sum("INBOX" in one for one in labels(mailbox).values()) == 50
    again = update(mailbox, action="archive", query="from:bob", limit=1000)
    assert "remaining" not in again.result


def test_ids_refused_by_gmail_are_reported_and_others_changed(mailbox: Mailbox) -> None:
    original = mailbox.__call__

    def answer(request: Any) -> Any:
        if request.path.endswith("/trash") and request.at["id"] == "m2":
            raise NotFound("gone meanwhile")
        return original(request)

    done = OWNER.run("update_emails", {"action": "trash", "message_ids": ["m1", "m2", "m3"]}, answer)
    assert done.result["changed"] == 2
    assert done.result["failed"] == [{"id": "m2", "error": "gone meanwhile"}]
    assert done.result["undo"]["args"]["message_ids"] == ["m1", "m3"]


def test_labels_and_trash_are_changed_together(mailbox: Mailbox) -> None:
    done = update(mailbox, action="trash", add_labels=["Play"], message_ids=["m2"])
    assert labels(mailbox)["m2"] == {"INBOX", "Label_Play", "TRASH"}
    change = next(one for one in done.requests if one.path.endswith("batchModify"))
    assert change.json["addLabelIds"] == ["Label_Play"]


def test_query_without_matches_changes_nothing() -> None:
    done = update(Mailbox(), action="trash", query="from:bob")
    assert done.result == {"requested": 0, "changed": 0, "summary": "Changed 0 of 0 messages."}


def test_rate_limit_is_raised(mailbox: Mailbox) -> None:
    mailbox.fail("POST", "/users/me/messages/batchModify", RateLimited("wait"))
    with pytest.raises(RateLimited):
        update(mailbox, action="read", message_ids=["m1"])


# ----------------------------------------------------------------- preview and effect


@pytest.mark.parametrize("chosen", [{"query": "from:bob"}, {"message_ids": ["m1", "m2", "m3"]}])
def test_dry_run_counts_and_shows_without_changing(chosen: dict[str, Any], mailbox: Mailbox) -> None:
    done = update(mailbox, action="trash", dry_run=True, **chosen)
    assert done.result["estimate"] == 3
    assert [row["id"] for row in done.result["sample"]] == ["m1", "m2", "m3"]
    assert done.result["sample"][0]["untrusted"] is True
    assert labels(mailbox) == labels(box())


def test_dry_run_of_conversations_shows_their_last_email() -> None:
    done = update(box(), action="read", dry_run=True, thread_ids=["t1"])
    assert [row["id"] for row in done.result["sample"]] == ["m2"]


def test_effect_depends_on_the_arguments() -> None:
    def effect(**more: Any) -> Effect:
        which = {} if "query" in more else {"message_ids": ["m1"]}
        return TOOL.effect_of(TOOL.validate({**which, **more}))

    assert effect(action="trash") is effect(action="spam") is Effect.DESTRUCTIVE
    assert effect(action="archive") is effect(add_labels=["x"]) is Effect.WRITES
    assert effect(action="trash", dry_run=True) is Effect.READS
    for hides in ("archive", "read", "not_important"):
        assert effect(action=hides, query="from:security@bank.test") is Effect.DESTRUCTIVE
    assert effect(action="star", query="x") is effect(add_labels=["x"], query="x") is Effect.WRITES
    assert TOOL.gravest is Effect.DESTRUCTIVE


def test_dry_run_needs_only_read_scope() -> None:
    valid = TOOL.validate({"action": "trash", "query": "x", "dry_run": True})
    assert {need.ask for need in TOOL.needs_of(valid)} == {READONLY}
    valid = TOOL.validate({"action": "trash", "query": "x"})
    assert all(need.is_met_by(frozenset({MODIFY})) for need in TOOL.needs_of(valid))
    assert not all(need.is_met_by(frozenset({READONLY})) for need in TOOL.needs_of(valid))
