"""Gmail's tools by the names and arguments of other toolkits; hidden aliases in every toolkit."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from deputize.core import Alias, Steps, Toolkit
from deputize.core.errors import InvalidInput
from deputize.core.tools.catalog import Catalog
from deputize.core.tools.plugins import find_toolkits
from deputize.toolkits._shared.arguments import ACCEPTS
from deputize.toolkits.gmail import TOOLKIT

CALLS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "Google.SendEmail",
        {"recipient": "b@x.test", "subject": "s", "body": "b", "content_type": "html"},
        {"to": ["b@x.test"], "body_format": "html"},
    ),
    ("Gmail.ListEmails", {"n_emails": 5}, {"limit": 5, "skip_automated": True, "detail": "summary"}),
    (
        "Gmail.ListEmails",
        {"exclude_automated": False, "include_body": True},
        {"skip_automated": False, "detail": "full"},
    ),
    ("Gmail.ListEmailsByHeader", {"sender": "b@x.test", "body": "word"}, {"from_": ["b@x.test"], "text": "word"}),
    ("Gmail.ListThreads", {"page_token": "c"}, {"group": "thread", "cursor": "c", "skip_automated": True}),
    ("Gmail.SearchThreads", {"include_spam_trash": True}, {"group": "thread", "spam_trash": True}),
    ("Gmail.ArchiveEmail", {"email_id": "m1"}, {"action": "archive", "message_ids": ["m1"]}),
    ("Gmail.ReportSpam", {"email_id": "m1"}, {"action": "spam"}),
    ("Gmail.TrashEmail", {"email_id": "m1"}, {"action": "trash"}),
    ("Gmail.SetThreadTrashStatus", {"thread_id": "t1", "in_trash": False}, {"action": "untrash", "thread_ids": ["t1"]}),
    (
        "Gmail.ChangeEmailLabels",
        {"email_id": "m1", "labels_to_add": ["A"]},
        {"message_ids": ["m1"], "add_labels": ["A"]},
    ),
    ("Gmail.CreateLabel", {"label_name": "A"}, {"action": "create", "name": "A"}),
    ("Gmail.UpdateLabel", {"current_name": "A", "new_name": "B"}, {"action": "rename", "name": "A", "new_name": "B"}),
    ("Gmail.ForwardEmail", {"email_id": "m1", "recipient": "b@x.test", "note": "n"}, {"to": ["b@x.test"], "body": "n"}),
    (
        "Gmail.SearchEmailsByQuery",
        {"query": "a", "result_detail": "count_only", "include_spam_trash": True},
        {"detail": "count", "spam_trash": True},
    ),
    ("Gmail.SearchEmailsByQuery", {"query": "a", "result_detail": "lightweight"}, {"detail": "summary"}),
    ("Gmail.TriageEmails", {"action": "unarchive", "email_ids": ["m1"]}, {"action": "to_inbox", "limit": 50}),
    ("Gmail.TriageEmails", {"action": "star", "query": "a"}, {"action": "star", "query": "a"}),
    ("Gmail.DeleteLabel", {"name": "A"}, {"action": "delete"}),
    ("Gmail.GetEmail", {"email_id": "m1"}, {"message_id": "m1"}),
    ("Gmail.ListEmailAttachmentMetadata", {"email_id": "m1"}, {"part": "headers"}),
    (
        "Gmail.ReplyToEmail",
        {"reply_to_message_id": "m1", "body": "b", "reply_to_whom": "every_recipient"},
        {"all_": True},
    ),
    ("Gmail.WriteDraftReplyEmail", {"reply_to_message_id": "m1", "body": "b"}, {"reply_to": "m1"}),
    ("Gmail.UpdateDraftEmail", {"draft_email_id": "r1", "body": "b"}, {"draft_id": "r1"}),
    ("Gmail.SendDraftEmail", {"email_id": "r1"}, {"draft_id": "r1"}),
    ("Gmail.ListDraftEmails", {"n_drafts": 3}, {"limit": 3}),
    ("Gmail.UnsubscribeFromEmail", {"email_id": "m1", "trash_existing": True}, {"message_id": "m1", "trash": True}),
]


@pytest.mark.parametrize(("name", "theirs", "ours"), CALLS, ids=[f"{n}-{one[0]}" for n, one in enumerate(CALLS)])
def test_alias_arguments_are_accepted(name: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    catalog = Catalog([TOOLKIT])
    for spelled in (name, name.replace(".", "_")):
        valid = catalog.tool(spelled).validate(theirs)
        assert {key: valid[key] for key in ours} == ours


def test_alias_default_gives_way_to_a_given_argument() -> None:
    tool = Catalog([TOOLKIT]).tool("Gmail.ArchiveEmail")
    assert tool.validate({"email_id": "m1", "action": "star"})["action"] == "star"
    with pytest.raises(InvalidInput, match="message_ids is given twice"):
        tool.validate({"email_id": "m1", "message_ids": ["m2"]})


def test_alias_logs_its_canonical_name_once(caplog: pytest.LogCaptureFixture) -> None:
    catalog = Catalog([TOOLKIT])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            catalog.tool("Gmail.ListEmails")
    assert [record.getMessage() for record in caplog.records] == [
        "Gmail.ListEmails is an alias of gmail_search_emails."
    ]


def test_alias_effect_is_that_of_the_arguments_it_sets() -> None:
    trash, star = (Catalog([TOOLKIT]).tool(f"Gmail.{one}") for one in ("TrashEmail", "ArchiveEmail"))
    assert trash.effect_of(trash.validate({"email_id": "m1"})).words() == "destructive"
    assert star.effect_of(star.validate({"email_id": "m1"})).words() == "writes"


def test_hidden_spellings_are_in_no_schema_and_accepted_everywhere() -> None:
    for toolkit in find_toolkits().values():
        for tool in toolkit.tools.values():
            for theirs, ours in ACCEPTS.items():
                if theirs in tool.parameters or ours not in tool.parameters:
                    continue
                assert f'"{theirs}"' not in json.dumps(tool.schema)
                assert tool.accepts.get(theirs) == ours, f"{tool.name} does not take {theirs}"


def test_hidden_spelling_applies_only_if_not_an_own_argument() -> None:
    kit = Toolkit("kit", "google", api="gmail", accepts=ACCEPTS)

    @kit.tool(aliases=[Alias("Kit.Say", {"who": "people[]"}, values={"loud": {"yes": True}})])
    def say(text: str, body: str = "", people: list[str] | None = None, loud: bool = False) -> Steps:
        """Say it."""
        yield from ()

    tool = kit.tools["kit_say"]
    assert tool.validate({"text": "a", "message": "b"}) == {"text": "a", "body": "b", "people": None, "loud": False}
    called = Catalog([kit]).tool("Kit.Say")
    assert called.validate({"text": "a", "who": "x", "loud": "yes"})["people"] == ["x"]
    assert called.validate({"text": "a", "who": ["x", "y"], "loud": "yes"})["loud"] is True
    for wrong in ({"text": "a", "message": "b", "body": "c"}, {"text": "a", "user": "x"}, {"text": "a", 5: "x"}):
        with pytest.raises(InvalidInput):
            tool.validate(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        called.validate({"text": "a", "who": {"x": 1}, "loud": ["yes"]})
