"""gmail_list_labels and gmail_manage_label."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import Effect
from deputize.core.errors import Conflict, InvalidInput, NotFound, RateLimited
from deputize.toolkits._shared.page import tokens
from deputize.toolkits.gmail import TOOLKIT
from tests.toolkits.mailbox import LABELS, READONLY, Mailbox, message, own, system
from tests.toolkits.tool_driver import Done, Driver

KEEPER = Driver(TOOLKIT, frozenset({LABELS}))
TOOL = TOOLKIT.tools["gmail_manage_label"]


def box() -> Mailbox:
    return Mailbox.of(
        message("m1", labels=["UNREAD", "Label_Work"]),
        message("m2", labels=["Label_Work"]),
        labels=[system("INBOX"), own("Work"), own("Play/Chess", "Label_9")],
    )


@pytest.fixture
def mailbox() -> Mailbox:
    return box()


def manage(mailbox: Mailbox, **arguments: Any) -> Done:
    return KEEPER.run("manage_label", arguments, mailbox)


def test_labels_are_listed_with_the_users_own_first() -> None:
    done = KEEPER.run("list_labels", {}, box())
    assert done.result == {
        "items": [
            {"name": "Work", "id": "Label_Work", "kind": "user"},
            {"name": "Play/Chess", "id": "Label_9", "kind": "user"},
            {"name": "INBOX", "id": "INBOX", "kind": "system"},
        ],
        "next": None,
        "total": 3,
        "truncated": False,
    }
    assert len(done.requests) == 1


def test_labels_are_counted_on_request() -> None:
    done = KEEPER.run("list_labels", {"counts": True}, box())
    assert done.result["items"][0] == {"name": "Work", "id": "Label_Work", "kind": "user", "total": 2, "unread": 1}
    assert done.at_once == [3]


def test_very_many_labels_keep_to_the_budget() -> None:
    mailbox = Mailbox(labels=[own(f"A rather long name of a label {n}") for n in range(500)])
    for counts in (False, True):
        result = KEEPER.run("list_labels", {"counts": counts}, mailbox).result
        assert tokens(result) <= 4000 and result["truncated"] is True and result["total"] == 500


def test_listing_labels_accepts_label_or_read_scope() -> None:
    (need,) = TOOLKIT.tools["gmail_list_labels"].needs_of({"counts": False})
    assert need.ask == LABELS and need.is_met_by(frozenset({READONLY}))


def test_label_is_created_once(mailbox: Mailbox) -> None:
    done = manage(mailbox, action="create", name="New")
    assert (done.result["id"], done.result["name"]) == ("Label_1", "New")
    assert done.result["undo"] == {"tool": "gmail_manage_label", "args": {"action": "delete", "name": "New"}}
    again = manage(mailbox, action="create", name="NEW")
    assert (again.result["id"], again.result["name"]) == ("Label_1", "New") and "undo" not in again.result
    assert len(mailbox.labels) == 4


@pytest.mark.parametrize("error", [Conflict("exists", reason="exists"), InvalidInput("400")])
def test_label_created_by_others_meanwhile_is_returned(error: Exception, mailbox: Mailbox) -> None:
    hidden = own("New", "Label_8")

    def answer(request: Any) -> Any:
        if request.method == "POST":
            mailbox.labels.append(hidden)
            raise error
        return mailbox(request)

    assert KEEPER.run("manage_label", {"action": "create", "name": "New"}, answer).result["id"] == "Label_8"


def test_refusal_other_than_conflict_is_raised() -> None:
    for error in (InvalidInput("invalid name"), RateLimited("wait")):
        mailbox = box()
        mailbox.fail("POST", "/users/me/labels", error)
        with pytest.raises(type(error)):
            manage(mailbox, action="create", name="New")


def test_label_is_renamed_and_back(mailbox: Mailbox) -> None:
    done = manage(mailbox, action="rename", name="work", new_name="Job")
    assert (done.result["id"], done.result["name"]) == ("Label_Work", "Job")
    assert manage(mailbox, action="rename", name="work", new_name="Job").result["id"] == "Label_Work"
    manage(mailbox, **done.result["undo"]["args"])
    assert [one["name"] for one in mailbox.labels] == ["INBOX", "Work", "Play/Chess"]


def test_label_may_change_case_but_not_take_anothers_name(mailbox: Mailbox) -> None:
    assert manage(mailbox, action="rename", name="Work", new_name="WORK").result["name"] == "WORK"
    with pytest.raises(Conflict):
        manage(mailbox, action="rename", name="WORK", new_name="play/chess")


def test_deleted_label_keeps_its_emails_and_counts_them(mailbox: Mailbox) -> None:
    done = manage(mailbox, action="delete", name="Work")
    assert done.result == {
        "id": "Label_Work",
        "name": "Work",
        "affected": 2,
        "summary": "Deleted; the emails stay.",
    }
    assert len(mailbox.messages) == 2
    assert [one["name"] for one in mailbox.labels] == ["INBOX", "Play/Chess"]


def test_interrupted_label_deletion_is_completed_by_its_note(mailbox: Mailbox) -> None:
    note = manage(mailbox, action="delete", name="Work").notes[0]
    again = KEEPER.run("manage_label", {"action": "delete", "name": "Work"}, mailbox, noted=note)
    assert again.result["affected"] == 2 and "already" in again.result["summary"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"action": "rename", "name": "Work"}, "new_name"),
        ({"action": "create", "name": "x", "new_name": "y"}, "new_name"),
        ({"action": "delete", "name": "x", "new_name": "y"}, "new_name"),
    ],
)
def test_new_name_is_for_renaming_only(arguments: dict[str, Any], why: str, mailbox: Mailbox) -> None:
    with pytest.raises(InvalidInput, match=why):
        manage(mailbox, **arguments)
    assert mailbox.asked == []


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 226, "a//b", "/a", "a/", "a/ /b"])
def test_name_gmail_refuses_is_refused_first(name: str, mailbox: Mailbox) -> None:
    with pytest.raises(InvalidInput, match="name"):
        manage(mailbox, action="create", name=name)
    assert all(one.method == "GET" for one in mailbox.asked)


@pytest.mark.parametrize("action", ["rename", "delete"])
def test_system_and_unknown_labels_cannot_be_changed(action: str) -> None:
    more = {"new_name": "x"} if action == "rename" else {}
    with pytest.raises(InvalidInput, match="system label of Gmail"):
        manage(box(), action=action, name="INBOX", **more)
    with pytest.raises(InvalidInput, match="no label") as refused:
        manage(box(), action=action, name="Wor", **more)
    assert "Work" in refused.value.hint


def test_effect_depends_on_the_action() -> None:
    effects = {action: TOOL.effect_of({"action": action}) for action in ("create", "rename", "delete")}
    assert effects == {"create": Effect.WRITES, "rename": Effect.WRITES, "delete": Effect.DESTRUCTIVE}
    assert TOOL.gravest is Effect.DESTRUCTIVE


def test_managing_labels_needs_the_labels_scope_only() -> None:
    for action in ("create", "rename", "delete"):
        assert all(need.is_met_by(frozenset({LABELS})) for need in TOOL.needs_of({"action": action}))


def test_label_deleted_during_counting_is_not_found(mailbox: Mailbox) -> None:
    mailbox.fail("GET", "/users/me/labels/{id}", NotFound("gone"))
    with pytest.raises(NotFound):
        manage(mailbox, action="delete", name="Work")
