"""What an approval covers: a tool previews before it writes, and what has changed since needs another approval."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from email.message import EmailMessage
from types import MappingProxyType, SimpleNamespace
from typing import Any

import httpx
import pytest

from deputize.core import (
    Account,
    Act,
    ApprovalRequired,
    Audience,
    Call,
    Change,
    Conflict,
    ConsentRequired,
    Declined,
    DeputizeError,
    Deputy,
    Effect,
    File,
    InvalidInput,
    Keep,
    NotFound,
    OutcomeUnknown,
    PolicyDenied,
    Preview,
    PublicRequest,
    Request,
    Run,
    SaveNote,
    Steps,
    Toolkit,
    User,
    Verdict,
    any_of,
    ask_before_sending,
    shown_file,
)
from deputize.core.acts.preview import PLAN_TTL, Plans
from deputize.core.approvals.record import APPROVAL_TTL
from deputize.core.audit import Audit
from deputize.core.policy.policy import Decision
from deputize.core.tools.preview import argument_rows, show_rows
from deputize.core.user_requests import MAX_IN_PAYLOAD
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from tests.support.sandbox_deputy import Clock, Recorder, build

MODIFY = "https://www.googleapis.com/auth/gmail.modify"
READONLY = "https://www.googleapis.com/auth/gmail.readonly"
DRAFT: dict[str, Any] = {"to": ["bob@example.test"], "subject": "Contract", "body": "As agreed."}


# ----------------------------------------------------------------- a Preview, its digest and its rows


def show(**more: Any) -> Preview:
    return Preview(
        "Send this email", **{"audience": Audience.PEOPLE, "people": ["Bob@Example.test"], "text": "Hi", **more}
    )


def test_preview_digest_covers_canonical_json_without_volatile_fields() -> None:
    one = show(where="#eng", pins={"message": "m1"}, beside={"members": 3})
    compared = {name: value for name, value in one.kept.items() if name != "beside"}
    text = json.dumps(compared, sort_keys=True, separators=(",", ":"))
    assert one.digest == hashlib.sha256(b"deputize-show-1" + text.encode()).hexdigest()
    assert one.digest == show(where="#eng", pins={"message": "m1"}, beside={"members": 4}).digest
    assert one.digest == Preview.of(json.loads(json.dumps(one.kept))).digest


@pytest.mark.parametrize(
    "more",
    [
        {"text": "Hi "},
        {"audience": Audience.PUBLIC},
        {"people": []},
        {"where": "#eng"},
        {"pins": {"message": "m2"}},
        {"destroys": True},
        {"cc": []},
        {"files": [shown_file("a", "text/plain", b"1")]},
        {"context": {"message": "Lunch?"}},
    ],
)
def test_preview_digest_changes_with_any_field_and_names_it(more: dict[str, Any]) -> None:
    other = show(**more)
    assert other.digest != show().digest
    assert other.differs(show()) == ["message" if {"pins", "context"} & more.keys() else next(iter(more))]


def test_audiences_are_ordered_with_unknown_as_widest() -> None:
    assert Audience.SELF < Audience.PEOPLE < Audience.ORGANISATION < Audience.PUBLIC < Audience.UNKNOWN


def test_preview_rejects_a_field_name_used_twice() -> None:
    with pytest.raises(ValueError, match="members"):
        show(members=1, beside={"members": 2})
    with pytest.raises(ValueError, match="members"):
        show(context={"members": 1}, beside={"members": 2})


def test_preview_rows_contain_every_field() -> None:
    one = Preview(
        "Change this issue",
        audience=Audience.PUBLIC,
        where="acme/website (public)",
        pins={"sha": "0123"},
        context={"message": "Dinner?"},
        beside={"members": 2},
        destroys=True,
        from_="Alice",
        description=Change("Old text", ""),
        labels=[],
        cc=None,
        text="Look: \u202egpj.exe\ncookie: chocolate chip",
        people_named=["Smith, Bob <bob@example.test>", "c@example.test"],
        files=[shown_file("offer.pdf", "application/pdf", b"%PDF-"), shown_file("late.pdf", "x/y", size=9, pin="2")],
    )
    sha = hashlib.sha256(b"%PDF-").hexdigest()
    assert show_rows(one) == [
        ("where", "acme/website (public)"),
        ("from", "Alice"),
        ("description now", "Old text"),
        ("description", "(emptied)"),
        ("labels", "(emptied)"),
        ("text", "Look: [U+202E]gpj.exe\ncookie: chocolate chip"),
        ("people named", "- Smith, Bob <bob@example.test>\n- c@example.test"),
        (
            "files",
            f"- offer.pdf (application/pdf, 5 bytes, sha256 {sha})\n- late.pdf (x/y, 9 bytes)",
        ),
        ("message", "Dinner?"),
        ("members", "2"),
        ("seen by", "everybody"),
        ("warning", "What is there now will be lost."),
    ]


def test_arguments_are_displayed_like_preview_fields() -> None:
    rows = argument_rows({"description": "", "to": ["a"], "flag": True, "none": None, "x\u200b": {"a": "\u202eb"}})
    assert rows == [
        ("description", "(emptied)"),
        ("to", "a"),
        ("flag", "yes"),
        ("x[U+200B]", '{"a": "[U+202E]b"}'),
    ]


BEYOND: list[dict[str, Any]] = [
    {"people": ["eve@evil.test"]},
    {"to": ["eve"]},
    {"pins": {"a": 1}},
    {"context": {"message": "Hi there"}},
    {"where": "there"},
    {"destroys": True},
    {"text": Change("Hi", "there")},
]


@pytest.mark.parametrize("more", BEYOND, ids=lambda more: next(iter(more)))
def test_edit_changes_text_fields_only(more: dict[str, Any]) -> None:
    assert show().only_edits(show(), []) and not show(**more).only_edits(show(), [("Hi", "there")])


EDITS: list[tuple[Any, Any, str, str, bool]] = [
    ("Hi Bob", "Hi **Bob**, thanks", "Hi Bob", "Hi **Bob**, thanks", True),
    ("Hi Bob", "Hi **Bob**, thanks", "Hi Bob", "Hi Bob thanks", False),
    ("Pay 10", "Pay -10", "Thanks", "Thank you", False),
    ("Pay 1,500", "Pay 1.500", "Thanks", "Thank you!", False),
    ("Ask bob", "Ask @bob", "Thanks", "Thank you", False),
    ("Do it", "~~Do it~~", "Thanks", "Thank you", False),
    ("Good \U0001f44d", "Good \U0001f44e", "Thanks", "Thank you", False),
    ("Resume", "Resume\u0301", "Thanks", "Thank you", False),
    ("Thanks", "Thanks!", "Thanks", "Thanks!", True),
    ("one two three", "one 2 3", "two three", "2 3", True),
    ("one two three", "one 2 3", "three", "3", False),
    ("one two three four five six", "one two 3 four fire everybody", "Thanks", "Thank you", False),
    ("Hi Bob", "Hi Bob, fire everybody", "Hi Bob", "Hi Bob thanks", False),
    ("Hi Bob", "Hi", "Hi Bob", "Hi Bob thanks", False),
    ("Hi Bob\n> Lunch at one?", "Hello Bob\n> Lunch at one?", "Hi Bob", "Hello Bob", True),
    ("Hi Bob\n> Lunch at one?", "Hello Bob\n> Lunch at two?", "Hi Bob", "Hello Bob", False),
    ("#1 The greeting is rude", "#1 Fire everybody", "Thanks", "Thank you", False),
    ("#1 The greeting is rude", "#2 The greeting is rude", "1", "2", True),
    ("#1 The greeting is rude", "#2 Fire everybody", "1", "2", False),
    (None, "A title", "", "A title", True),
    (None, "Another title", "", "A title", False),
    ("A title", None, "A title", "", True),
    (Change("a", "b"), Change("a", "c"), "b", "c", True),
    (Change("a", "b"), Change("d", "c"), "b", "c d", False),
    (Change("a", "a b"), Change("a", "a c"), "b", "c", True),
]


@pytest.mark.parametrize(("old", "new", "taken", "written", "same"), EDITS)
def test_edit_changes_only_the_edited_text(old: Any, new: Any, taken: str, written: str, same: bool) -> None:
    assert show(text=new).only_edits(show(text=old), [(taken, written)]) is same


def test_edit_of_a_change_allows_no_plain_text_in_its_place() -> None:
    for old, new in ((Change("a", "b"), "c"), ("b", Change("a", "c")), (["b"], "c"), ("b", ["c"])):
        assert not show(text=new).only_edits(show(text=old), [("a b", "a c")])


def test_missing_value_is_equal_to_an_empty_one_that_an_act_wrote() -> None:
    assert show().unlike({"labels": [], "note": "", "due": None}) == []
    assert show(due="today").unlike({"labels": ["a"], "due": None}) == ["labels", "due"]


def test_place_that_a_preview_leaves_out_is_no_target() -> None:
    assert show(people=[]).reached == () and show(people=[], where="#eng").reached == ("#eng",)


def test_edit_can_change_two_texts() -> None:
    old, new = show(text="One", title="Two"), show(text="Three", title="Four")
    assert new.only_edits(old, [("One", "Three"), ("Two", "Four")])
    assert not new.only_edits(old, [("One", "Three")]) and not new.only_edits(old, [("Two", "Four")])


# ----------------------------------------------------------------- a desk with a whole deputy


class Desk:
    """Alice's mailbox and a deputy, and a record of what was sent."""

    def __init__(self, sandbox: Sandbox, deputy: Deputy, wire: Recorder) -> None:
        self.sandbox, self.deputy, self.wire, self.calls = sandbox, deputy, wire, 0

    async def act(self, tool: str, id: str = "", **arguments: Any) -> Any:
        """Make one call, a new one unless ``id`` names it."""
        self.calls += 1
        return await self.deputy.act(tool, arguments, user="alice", call=Call("t", "m", id or f"c{self.calls}"))

    async def way(self, tool: str, id: str, **arguments: Any) -> Any:
        """Return the request that blocks a call."""
        [way] = await self.deputy.check_calls([(tool, arguments, Call("t", "m", id))], user="alice")
        return way

    async def asked(self, tool: str, id: str, **arguments: Any) -> Any:
        """Return the approval that a call waits for; check that nothing was written to create it."""
        before = len(self.writes)
        way = await self.way(tool, id, **arguments)
        assert isinstance(way, ApprovalRequired) and len(self.writes) == before, way
        return way.approval

    async def yes(self, approval: Any) -> None:
        await self.deputy.decide(approval, "approve", by="alice")

    async def draft(self) -> str:
        return str((await self.act("gmail_save_draft", **DRAFT))["draft_id"])

    async def rewrite(self, draft: str) -> None:
        """Change something as another program: an agent whose policy needs no approval."""
        policy, self.deputy.policy = self.deputy.policy, lambda act: Verdict.ALLOW
        await self.act("gmail_save_draft", draft_id=draft, to=["eve@evil.test"], body="All our secrets.")
        self.deputy.policy = policy

    @property
    def writes(self) -> list[str]:
        """Return the requests that were sent, except reads."""
        return [f"{r.method} {r.url.path}" for r in self.wire.seen if r.method != "GET" and "token" not in r.url.path]

    @property
    def sent(self) -> list[tuple[str, str]]:
        """Return the recipients and texts of sent mails."""
        mails = self.sandbox.sent("alice@example.test")
        return [(mail.to, mail.text.strip()) for mail in mails]

    def between(self, path: str, does: Callable[[], Any]) -> None:
        """Do something while the next request to a path is already in progress."""
        wire, inner = self.wire, self.wire.inner

        class Between(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                if request.url.path.endswith(path):
                    wire.inner = inner
                    await does()
                return await inner.handle_async_request(request)

        wire.inner = Between()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    sandbox = Sandbox()
    wire = Recorder(sandbox.transport())
    async with await build(sandbox, apps=apps(), transport=wire) as deputy:
        give_grant(sandbox, deputy, "alice", [MODIFY], provider="google", email="alice@example.test")
        yield Desk(sandbox, deputy, wire)


# ----------------------------------------------------------------- the draft that is swapped


async def test_draft_rewritten_after_approval_needs_a_new_approval(desk: Desk) -> None:
    draft = await desk.draft()
    first = await desk.asked("gmail_send_draft", "send", draft_id=draft)
    assert first.summary == "Your agent wants to send this draft at Gmail as alice@example.test to bob@example.test"
    assert first.changed_fields == ()
    assert (first.preview["to"], first.preview["text"].strip()) == ("bob@example.test", "As agreed.")
    await desk.yes(first)
    await desk.rewrite(draft)
    asked: list[Any] = []
    for _ in range(2):
        with pytest.raises(ApprovalRequired) as again:
            await desk.act("gmail_send_draft", "send", draft_id=draft)
        asked.append(again.value.approval)
    second = asked[-1]
    assert second.id != first.id and {"people", "to", "text", "message"} <= set(second.changed_fields)
    assert second.preview["to"] == "eve@evil.test" and desk.sent == []
    with pytest.raises(Conflict, match="changed"):
        await desk.yes(first)
    await desk.yes(second)
    await desk.act("gmail_send_draft", "send", draft_id=draft)
    await desk.act("gmail_send_draft", "send", draft_id=draft)
    assert desk.sent == [("eve@evil.test", "All our secrets.")]


async def test_prepare_compares_the_preview_with_the_approved_one(desk: Desk) -> None:
    draft = await desk.draft()
    first = await desk.asked("gmail_send_draft", "send", draft_id=draft)
    await desk.yes(first)
    await desk.rewrite(draft)
    assert (await desk.asked("gmail_send_draft", "send", draft_id=draft)).preview["to"] == "eve@evil.test"


async def test_draft_swapped_while_sending_is_sent_as_previewed(desk: Desk) -> None:
    draft = await desk.draft()
    await desk.yes(await desk.asked("gmail_send_draft", "send", draft_id=draft))
    desk.between("/drafts/send", lambda: desk.rewrite(draft))
    await desk.act("gmail_send_draft", "send", draft_id=draft)
    assert desk.sent == [("bob@example.test", "As agreed.")]


async def test_mail_whose_draft_is_swapped_while_sending_is_sent_as_previewed(desk: Desk) -> None:
    await desk.yes(await desk.asked("gmail_send_email", "send", **DRAFT))

    async def swap() -> None:
        [row] = (await desk.act("gmail_list_drafts"))["items"]
        await desk.rewrite(row["draft_id"])

    desk.between("/drafts/send", swap)
    await desk.act("gmail_send_email", "send", **DRAFT)
    assert desk.sent == [("bob@example.test", "As agreed.")]


@pytest.mark.parametrize("tool", ["gmail_send_email", "gmail_send_draft"])
async def test_draft_rewritten_after_a_crash_is_not_sent_by_a_later_run(desk: Desk, tool: str) -> None:
    given: dict[str, Any] = DRAFT if tool == "gmail_send_email" else {"draft_id": await desk.draft()}
    await desk.yes(await desk.asked(tool, "send", **given))

    async def dies() -> None:
        raise KeyboardInterrupt

    desk.between("/drafts/send", dies)
    with pytest.raises(KeyboardInterrupt):
        await desk.act(tool, "send", **given)
    assert await desk.way(tool, "send", **given) is None, "nobody is asked about a run that has begun"
    [row] = (await desk.act("gmail_list_drafts"))["items"]
    await desk.rewrite(row["draft_id"])
    before = len(desk.writes)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="changed since"):
            await desk.act(tool, "send", **given)
    assert desk.writes[before:] == [] and desk.sent == []


@pytest.mark.parametrize("tool", ["gmail_send_email", "gmail_send_draft"])
async def test_unchanged_draft_is_sent_once_by_a_later_run(desk: Desk, tool: str) -> None:
    given: dict[str, Any] = DRAFT if tool == "gmail_send_email" else {"draft_id": await desk.draft()}
    await desk.yes(await desk.asked(tool, "send", **given))

    async def dies() -> None:
        raise KeyboardInterrupt

    desk.between("/drafts/send", dies)
    with pytest.raises(KeyboardInterrupt):
        await desk.act(tool, "send", **given)
    for _ in range(2):
        await desk.act(tool, "send", **given)
    assert desk.sent == [("bob@example.test", "As agreed.")]


async def test_overwriting_a_draft_needs_approval_and_previews_the_lost_text(desk: Desk) -> None:
    draft = await desk.draft()
    approval = await desk.asked("gmail_save_draft", "save", draft_id=draft, body="")
    assert (approval.preview["text now"].strip(), approval.preview["text"]) == ("As agreed.", "(emptied)")
    assert approval.preview["warning"] and approval.preview["seen by"] == "only you"
    await desk.yes(approval)
    await desk.rewrite(draft)
    again = await desk.asked("gmail_save_draft", "save", draft_id=draft, body="")
    assert "All our secrets." in again.preview["text now"] and "text" in again.changed_fields


async def test_new_draft_needs_no_approval(desk: Desk) -> None:
    assert await desk.way("gmail_save_draft", "new", **DRAFT) is None


async def test_deleting_a_draft_previews_its_content(desk: Desk) -> None:
    approval = await desk.asked("gmail_delete_draft", "gone", draft_id=await desk.draft())
    assert approval.preview["subject"] == "Contract" and approval.preview["warning"]


# ----------------------------------------------------------------- whom, what, which files


def arrived(desk: Desk, **headers: str) -> str:
    """Deliver a mail from Bob with these headers; return its id."""
    named = {"From": "Bob <bob@example.test>", "To": "alice@example.test", "Subject": "Invoice", **headers}
    raw = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items()) + "\r\nPlease answer."
    return str(desk.sandbox._world.mailbox("alice@example.test").add(raw.encode(), ["INBOX"], 1795528800000).id)


async def test_hostile_reply_to_is_previewed_with_a_note(desk: Desk) -> None:
    approval = await desk.asked(
        "gmail_reply_email", "r", message_id=arrived(desk, Reply_To="Bob <bob@evil.test>"), body="Yes"
    )
    assert approval.preview["to"] == "Bob <bob@evil.test>"
    assert "Bob <bob@example.test>" in approval.preview["note"]
    plain = await desk.asked("gmail_reply_email", "r2", message_id=arrived(desk), body="Yes")
    assert plain.preview["to"] == "Bob <bob@example.test>" and "note" not in plain.preview


async def test_text_that_looks_like_a_secret_is_previewed_as_sent(desk: Desk) -> None:
    body = "cookie: chocolate chip\nauthorization: signed by Carol"
    approval = await desk.asked("gmail_send_email", "s", **DRAFT | {"body": body})
    assert approval.preview["text"] == body


async def test_invisible_and_lookalike_characters_are_escaped_in_previews(desk: Desk) -> None:
    body = "Pay to b\u043eb\u202e\u200b \U000e0041"
    approval = await desk.asked("gmail_send_email", "s", **DRAFT | {"body": body, "subject": "A\u2066B"})
    assert approval.preview["text"] == "Pay to b[U+043E]b[U+202E][U+200B] [U+E0041]"
    assert approval.preview["subject"] == "A[U+2066]B"


async def test_hidden_html_text_is_in_the_previewed_source(desk: Desk) -> None:
    body = '<p>Seen</p><p style="display:none">unseen words</p>'
    given = DRAFT | {"body": body, "body_format": "html"}
    assert "unseen words" in (await desk.asked("gmail_send_email", "s", **given)).preview["html"]
    draft = (await desk.act("gmail_save_draft", **given))["draft_id"]
    assert "unseen words" in (await desk.asked("gmail_send_draft", "d", draft_id=draft)).preview["html"]
    ours = await desk.asked("gmail_send_draft", "d2", draft_id=await desk.draft())
    assert "html" not in ours.preview


async def test_attached_file_is_bound_to_its_digest(desk: Desk) -> None:
    kept = await desk.deputy.store_file("alice", "offer.pdf", "application/pdf", b"one")
    given = DRAFT | {"attachments": [kept["file"]]}
    approval = await desk.asked("gmail_send_email", "s", **given)
    assert approval.preview["files"].startswith("- offer.pdf (application/pdf, 3 bytes, sha256 ")
    await desk.yes(approval)
    place = desk.deputy.vault.key_prefix(User("alice")) + kept["file"].removeprefix("file_")
    part = await desk.deputy.vault.get("filepart", f"{place}.000")
    assert part is not None and await desk.deputy.vault.swap(part, b"two")
    assert (await desk.asked("gmail_send_email", "s", **given)).changed_fields == ("files",)


async def test_forward_preview_contains_mail_files_and_recipients(desk: Desk) -> None:
    found = await desk.act("gmail_search_emails", query="has:attachment", limit=1)
    approval = await desk.asked("gmail_forward_email", "f", message_id=found["items"][0]["id"], to=["c@example.test"])
    assert approval.preview["to"] == "c@example.test" and "bytes" in approval.preview["files"]
    assert "Forwarded message" in approval.preview["text"]
    await desk.yes(approval)
    await desk.act("gmail_forward_email", "f", message_id=found["items"][0]["id"], to=["c@example.test"])
    assert [to for to, _ in desk.sent] == ["c@example.test"]


async def test_users_own_address_stays_a_recipient(desk: Desk) -> None:
    given = DRAFT | {"to": ["bob@example.test", "alice@example.test"], "bcc": ["Alice@Example.test", "d@example.test"]}
    approval = await desk.asked("gmail_send_email", "s", **given)
    assert approval.preview["to"] == "bob@example.test, alice@example.test"
    await desk.yes(approval)
    await desk.act("gmail_send_email", "s", **given)
    assert desk.sent[0][0] == "bob@example.test, alice@example.test"


async def test_unsubscribe_preview_shows_the_request_address(desk: Desk) -> None:
    message = arrived(desk, List_Unsubscribe="<mailto:leave@list.test?subject=out>")
    approval = await desk.asked("gmail_unsubscribe", "u", message_id=message, by_email=True, trash=True)
    assert (approval.preview["to"], approval.preview["subject"]) == ("leave@list.test", "out")
    assert "bin" in approval.preview["then"] and approval.preview["list"] == "Bob <bob@example.test>"


async def test_approval_payload_is_truncated_and_record_is_complete(desk: Desk) -> None:
    body = "word " * 5000 + "the end"
    approval = await desk.asked("gmail_send_email", "s", **DRAFT | {"body": body})
    payload = approval.payload()
    assert payload["truncated"] is True and payload["link"].endswith(f"/approve/{approval.id}")
    assert len(payload["preview"]["text"]) < MAX_IN_PAYLOAD + 80 and "more characters" in payload["preview"]["text"]
    kept = await desk.deputy.approvals.get(approval.id, by=User("alice"))
    assert kept is not None and kept.preview["text"] == body
    assert (await desk.asked("gmail_send_email", "s2", **DRAFT)).payload()["truncated"] is False


# ----------------------------------------------------------------- answers


async def test_edit_of_text_approves_and_edit_of_recipients_asks_again(desk: Desk) -> None:
    approval = await desk.asked("gmail_send_email", "a", **DRAFT)
    await desk.deputy.decide(approval, "edit", by="alice", arguments=DRAFT | {"body": "Better."})
    assert await desk.way("gmail_send_email", "a", **DRAFT) is None
    await desk.act("gmail_send_email", "a", **DRAFT)
    assert desk.sent == [("bob@example.test", "Better.")]
    approval = await desk.asked("gmail_send_email", "b", **DRAFT)
    await desk.deputy.decide(approval, "edit", by="alice", arguments=DRAFT | {"to": ["carol@example.test"]})
    again = await desk.asked("gmail_send_email", "b", **DRAFT)
    assert again.preview["to"] == "carol@example.test" and "to" in again.changed_fields
    await desk.yes(again)
    await desk.act("gmail_send_email", "b", **DRAFT)
    assert desk.sent[1][0] == "carol@example.test"


async def test_edit_is_displayed_as_its_arguments_until_its_preview_is_made(desk: Desk) -> None:
    for call, fields in (
        ("rejected", {"body": "Better."}),
        ("sent", {"text": "Better.", "seen by": "the people named here"}),
    ):
        approval = await desk.asked("gmail_send_email", call, **DRAFT)
        await desk.deputy.decide(approval, "edit", by="alice", arguments=DRAFT | {"body": "Better."})
        if call == "rejected":
            await desk.deputy.decide(approval, "reject", by="alice")
        else:
            await desk.act("gmail_send_email", call, **DRAFT)
        ended = await desk.deputy.get_approval(approval, by="alice")
        assert ended is not None and ended.preview.items() >= fields.items()
        assert "As agreed." not in ended.preview.values()
    assert desk.sent == [("bob@example.test", "Better.")]


async def test_second_approval_of_an_edit_that_was_asked_again_is_the_same(desk: Desk) -> None:
    approval = await desk.asked("gmail_send_email", "a", **DRAFT)
    await desk.deputy.decide(approval, "edit", by="alice", arguments=DRAFT | {"to": ["carol@example.test"]})
    again = await desk.asked("gmail_send_email", "a", **DRAFT)
    for _ in range(2):
        assert (await desk.deputy.decide(again, "approve", by="alice")).status == "approved"


async def test_concurrent_change_after_a_previewed_edit_needs_approval(desk: Desk) -> None:
    draft = await desk.draft()
    approval = await desk.asked("gmail_save_draft", "s", draft_id=draft, body="One")
    await desk.deputy.decide(approval, "edit", by="alice", arguments={"draft_id": draft, "body": "Two"})
    await desk.rewrite(draft)
    again = await desk.asked("gmail_save_draft", "s", draft_id=draft, body="One")
    assert "All our secrets." in again.preview["text now"] and "Two" in again.preview["text"]


async def test_rejection_after_approval_counts_until_the_act_starts(desk: Desk) -> None:
    approval = await desk.asked("gmail_send_email", "s", **DRAFT)
    await desk.yes(approval)
    await desk.deputy.decide(approval, "reject", by="alice")
    with pytest.raises(Declined):
        await desk.act("gmail_send_email", "s", **DRAFT)
    assert desk.sent == []


async def test_rejection_stays_valid_when_the_draft_changed(desk: Desk) -> None:
    draft = await desk.draft()
    await desk.deputy.decide(await desk.asked("gmail_send_draft", "s", draft_id=draft), "reject", by="alice")
    await desk.rewrite(draft)
    assert isinstance(await desk.way("gmail_send_draft", "s", draft_id=draft), Declined)


async def test_consumed_approval_without_outcome_permits_nothing(desk: Desk) -> None:
    approval = await desk.asked("gmail_send_email", "s", **DRAFT)
    await desk.yes(approval)
    [row] = [row for row in await desk.deputy.vault.scan("approval") if row.json["id"] == approval.id]
    await desk.deputy.vault.swap(row, row.json | {"status": "used"})
    assert await desk.way("gmail_send_email", "s", **DRAFT) is None, "the run that took it may still be sending"
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await desk.act("gmail_send_email", "s", **DRAFT)
    assert desk.writes == []


async def test_refusal_after_approval_releases_the_approval(desk: Desk) -> None:
    await desk.yes(await desk.asked("gmail_send_email", "s", **DRAFT))
    inner = desk.wire.inner
    refused = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "no"}}
    desk.wire.inner = httpx.MockTransport(lambda request: httpx.Response(400, json=refused))
    with pytest.raises(InvalidInput):
        await desk.act("gmail_send_email", "s", **DRAFT)
    desk.wire.inner = inner
    assert (await desk.act("gmail_send_email", "s", **DRAFT))["summary"] == "Sent."


async def test_unreadable_target_fails_before_approval_is_requested(desk: Desk) -> None:
    assert isinstance(await desk.way("gmail_send_draft", "x", draft_id="r123"), NotFound)
    assert await desk.deputy.approvals.list_pending(User("alice")) == []


async def test_audit_and_ledger_record_the_preview_digest(desk: Desk, tmp_path: Any) -> None:
    desk.deputy.audit = desk.deputy.approvals.rows.audit = desk.deputy.executor.audit = Audit(tmp_path, b"k" * 32)
    approval = await desk.asked("gmail_send_email", "s", **DRAFT)
    await desk.yes(approval)
    await desk.act("gmail_send_email", "s", **DRAFT)
    desk.deputy.audit.close()
    rows = [json.loads(line) for file in sorted(tmp_path.glob("*")) for line in file.read_text().splitlines() if line]
    told = [(row["event"], row.get("show")) for row in rows if row.get("tool") == "gmail_send_email"]
    events = ("approval.requested", "approval.approved", "approval.used", "act.intent", "act.result")
    assert told == [(event, approval.digest) for event in events]
    assert all(row["call_id"] == "s" for row in rows if row.get("approval_id"))
    [act] = await desk.deputy.vault.scan("act")
    assert act.json["show"] == approval.digest


# ----------------------------------------------------------------- how often is read


async def test_act_reuses_what_prepare_read(desk: Desk) -> None:
    draft = await desk.draft()
    start = len(desk.wire.seen)
    approval = await desk.asked("gmail_send_draft", "s", draft_id=draft)
    assert len(desk.wire.seen) == start + 3, "the draft, and what says that Alice has written to Bob before"
    assert (await desk.asked("gmail_send_draft", "s", draft_id=draft)).id == approval.id
    assert len(desk.wire.seen) == start + 3, "what was just asked is not read again"
    await desk.yes(approval)
    assert await desk.way("gmail_send_draft", "s", draft_id=draft) is None
    await desk.act("gmail_send_draft", "s", draft_id=draft)
    assert len(desk.wire.seen) == start + 5


@pytest.mark.parametrize("fits", [True, False])
async def test_stored_plan_counts_the_size_of_its_files(desk: Desk, fits: bool) -> None:
    file = (await desk.deputy.store_file("alice", "a.txt", "text/plain", b"x" * 5000))["file"]
    desk.deputy.previewer.plans.most_bytes = 5500 if fits else 4500
    call = {**DRAFT, "attachments": [file]}
    await desk.yes(await desk.asked("gmail_send_email", "s", **call))
    assert await desk.way("gmail_send_email", "s", **call) is None
    assert len(desk.deputy.previewer.plans._kept) == fits
    await desk.act("gmail_send_email", "s", **call)
    assert desk.deputy.previewer.plans._kept == {} and len(desk.sent) == 1


async def test_prepare_reads_the_approval_once_before_and_once_after_the_draft(desk: Desk) -> None:
    draft = await desk.draft()
    await desk.yes(await desk.asked("gmail_send_draft", "s", draft_id=draft))
    store, looks = desk.deputy.vault.store, list[str]()
    get = store.get

    async def counted(kind: str, key: str) -> bytes | None:
        looks.append(kind)
        return await get(kind, key)

    store.get = counted  # type: ignore[method-assign]
    assert await desk.way("gmail_send_draft", "s", draft_id=draft) is None
    assert looks.count("approval") == 2


async def test_write_invalidates_stored_plans(desk: Desk) -> None:
    draft = await desk.draft()
    await desk.yes(await desk.asked("gmail_send_draft", "s", draft_id=draft))
    assert await desk.way("gmail_send_draft", "s", draft_id=draft) is None
    await desk.rewrite(draft)
    with pytest.raises(ApprovalRequired):
        await desk.act("gmail_send_draft", "s", draft_id=draft)
    assert desk.sent == [] and desk.deputy.previewer.plans._kept == {}


async def test_policy_denial_applies_to_a_stored_plan(desk: Desk) -> None:
    draft = await desk.draft()
    await desk.yes(await desk.asked("gmail_send_draft", "s", draft_id=draft))
    assert await desk.way("gmail_send_draft", "s", draft_id=draft) is None
    desk.deputy.policy = lambda act: Verdict.DENY if act.show else Verdict.ALLOW
    with pytest.raises(PolicyDenied):
        await desk.act("gmail_send_draft", "s", draft_id=draft)
    assert desk.sent == []


async def test_policy_is_checked_without_preview_before_anything_is_read(desk: Desk) -> None:
    seen: list[Act] = []

    def policy(act: Act) -> Verdict:
        seen.append(act)
        return Verdict.ASK if act.show is None else Verdict.ALLOW

    desk.deputy.policy = policy
    await desk.act("gmail_send_email", "s", **DRAFT)
    assert [act.show is None for act in seen] == [True, False] and len(desk.sent) == 1
    assert seen[1].show and (seen[1].show.audience, seen[1].show.people) == (Audience.PEOPLE, ("bob@example.test",))
    desk.deputy.policy = lambda act: Verdict.DENY
    before = len(desk.wire.seen)
    with pytest.raises(PolicyDenied):
        await desk.act("gmail_send_email", "s2", **DRAFT)
    assert len(desk.wire.seen) == before


# ----------------------------------------------------------------- the rules for tools

KIT = Toolkit("gmail", provider="google", shows=True)
BARE = Toolkit("bare", provider="google", api="gmail")
"""A toolkit that does not declare whether its tools preview."""
NEED = any_of(MODIFY, method="x")
LIST = Request("GET", "/users/me/drafts")
WRITE = Request(
    "POST", "/users/me/drafts", json={"message": {"raw": "VG86IGJvYkBleGFtcGxlLnRlc3QNCg0KeA=="}}, prepares=True
)
NOTHING = Preview("Do nothing", audience=Audience.SELF)


def hiding(step: Any) -> Callable[..., Steps]:
    """A tool that does something before it shows, and hides the refusal."""

    def early() -> Steps:
        """Does it too early."""
        try:
            yield step
        except InvalidInput:
            pass
        yield NOTHING
        return {"ok": True}

    return early


EARLY = {
    "write": WRITE,
    "some": [LIST, WRITE],
    "note": SaveNote({"a": 1}),
    "keep": Keep(File("a", "text/plain", b"x")),
    "public": PublicRequest("https://example.test/"),
}
for name, step in EARLY.items():
    tool = hiding(step)
    tool.__name__ = f"early_{name}"
    KIT.tool(needs=[NEED], effect=Effect.SENDS)(tool)


@KIT.tool(needs=[NEED], effect=Effect.SENDS)
def catches() -> Steps:
    """Tries to go on after a no."""
    try:
        yield Preview("Tell everybody", audience=Audience.PUBLIC)
    except BaseException:
        yield WRITE
        return {"ok": True}
    yield WRITE
    return {"ok": True}


@KIT.tool(needs=[NEED], effect=Effect.SENDS)
def twice() -> Steps:
    """Shows one thing, then another."""
    yield NOTHING
    yield Preview("Tell everybody", audience=Audience.PUBLIC)
    return {"ok": True}


@KIT.tool(needs=[NEED], effect=Effect.SENDS)
def late() -> Steps:
    """Shows after a write."""
    yield NOTHING
    yield replace(WRITE, prepares=False)
    yield Preview("Tell everybody", audience=Audience.PUBLIC)
    return {"ok": True}


@KIT.tool(needs=[NEED], effect=Effect.SENDS, shows=False)
def undeclared() -> Steps:
    """Shows though it said it does not."""
    yield NOTHING
    return {"ok": True}


@KIT.tool(needs=[NEED], effect=Effect.SENDS, shows="changes")
def nothing() -> Steps:
    """Finds that there is nothing to do."""
    if (yield LIST).get("drafts"):
        yield NOTHING
    return {"ok": True}


@KIT.tool(needs=[NEED], effect=Effect.SENDS)
def by_get(text: str = "hi") -> Steps:
    """Sends by a GET, and shows nobody what."""
    return (yield Request("GET", "/users/me/drafts", params={"q": text}))


SHY = {"shows": True}


@KIT.tool(needs=[NEED], effect=Effect.SENDS)
def shy() -> Steps:
    """Shows what it does, until it does not."""
    found = yield LIST
    if SHY["shows"]:
        yield Preview("Tell them", audience=Audience.PEOPLE, people=["bob@example.test"])
    return {"found": len(found)}


@KIT.tool(needs=[NEED], effect=Effect.SENDS, shows=False)
def by_get_asked(text: str = "hi") -> Steps:
    """Sends by a GET, and says that it does not show."""
    return (yield Request("GET", "/users/me/drafts", params={"q": text}))


@KIT.tool(needs=[NEED], effect=Effect.SENDS)
def by_get_declared() -> Steps:
    """Says of its GET that it writes, and does not show."""
    return (yield Request("GET", "/users/me/drafts", repeat="write"))


@KIT.tool(needs=[NEED], effect=lambda arguments: arguments["does"], gravest=Effect.SENDS)
def by_argument(does: Effect = Effect.READS) -> Steps:
    """Only reads, unless it is told otherwise, and shows nobody what."""
    return (yield LIST)


BARE.tool(needs=[NEED], effect=Effect.SENDS)(by_get)
BARE.tool(needs=[NEED], effect=Effect.SENDS)(undeclared)


@BARE.tool(needs=[NEED], effect=Effect.SENDS, shows=True)
def declared() -> Steps:
    """Shows, in a toolkit whose other tools do not."""
    yield Preview("Tell everybody", audience=Audience.PUBLIC)
    return (yield WRITE)


@KIT.tool(needs=[NEED], effect=Effect.SENDS)
def notes(*, run: Run) -> Steps:
    """Shows what is there, notes, and is cut off."""
    found = yield LIST
    yield Preview("Go on", audience=Audience.SELF, drafts=[one["id"] for one in found.get("drafts") or ()])
    if not run.noted:
        yield SaveNote({"a": 1})
        raise KeyboardInterrupt
    yield WRITE
    return {"at": run.now}


@KIT.tool(needs=[NEED], effect=Effect.SENDS)
def noted(*, run: Run) -> Steps:
    """Notes what it will do, and the provider refuses its first run. Does not show again after that."""
    if not run.noted:
        yield Preview("Tell them", audience=Audience.PEOPLE, people=["bob@example.test"])
        yield SaveNote({"a": 1})
        raise NotFound("Not there yet.")
    return (yield WRITE)


@KIT.tool(needs=[NEED], effect=Effect.SENDS)
def after_a_read() -> Steps:
    """Reads before it shows."""
    yield LIST
    yield Preview("Tell them", audience=Audience.PEOPLE, people=["bob@example.test"])
    return (yield replace(WRITE, prepares=False))


@KIT.tool(needs=[NEED], effect=Effect.READS)
def reads_on() -> Steps:
    """Reads two pages."""
    yield LIST
    yield LIST
    return "read"


@KIT.tool(needs=[NEED], effect=Effect.SENDS)
def resumes(*, run: Run) -> Steps:
    """Is cut off after its note. A later run looks whether it was done, writes if not, and hides a refusal."""
    if not run.noted:
        yield Preview("Tell them", audience=Audience.PEOPLE, people=["bob@example.test"])
        yield SaveNote({"a": 1})
        raise KeyboardInterrupt
    if (yield LIST).get("drafts"):
        return {"found": True}
    try:
        yield WRITE
    except DeputizeError:
        return {"found": False}
    return {"found": False, "sent": True}


@KIT.tool(needs=[NEED], effect=Effect.SENDS)
def later(*, run: Run) -> Steps:
    """Says when."""
    yield Preview("Do it later", audience=Audience.PEOPLE, at=run.now + 60)
    yield WRITE
    return {"at": run.now + 60}


@pytest.fixture
async def own() -> AsyncIterator[Desk]:
    sandbox = Sandbox()
    wire = Recorder(sandbox.transport())
    clock = Clock(sandbox.clock())
    async with await build(sandbox, apps=apps(), transport=wire, toolkits=[KIT, BARE], clock=clock) as deputy:
        give_grant(sandbox, deputy, "alice", [MODIFY], provider="google", email="alice@example.test")
        yield Desk(sandbox, deputy, wire)


@pytest.mark.parametrize("what", EARLY)
async def test_tool_cannot_write_before_its_preview(own: Desk, what: str) -> None:
    with pytest.raises(InvalidInput, match="before it shows"):
        await own.act(f"gmail_early_{what}")
    assert isinstance(await own.way(f"gmail_early_{what}", "p"), InvalidInput)
    assert own.writes == [] and await own.deputy.vault.scan("act") == []


async def test_rejection_is_never_raised_inside_a_tool(own: Desk) -> None:
    with pytest.raises(ApprovalRequired):
        await own.act("gmail_catches")
    assert own.writes == []


@pytest.mark.parametrize(
    ("tool", "error"), [("twice", InvalidInput), ("undeclared", InvalidInput), ("late", OutcomeUnknown)]
)
async def test_tool_must_yield_exactly_one_preview_at_its_place(own: Desk, tool: str, error: type[Exception]) -> None:
    own.deputy.policy = lambda act: Verdict.ALLOW
    with pytest.raises(error):
        await own.act(f"gmail_{tool}")


async def test_act_without_changes_needs_no_approval(own: Desk) -> None:
    assert await own.way("gmail_nothing", "n") is None
    assert await own.act("gmail_nothing", "n") == {"ok": True}


async def test_act_that_showed_nothing_returns_nothing_if_the_policy_asks(own: Desk) -> None:
    for _ in range(2):
        assert isinstance(await own.way("gmail_by_get", "g"), InvalidInput)
        with pytest.raises(InvalidInput, match="ended without a Preview") as refused:
            await own.act("gmail_by_get", "g")
        assert 'shows="changes"' in refused.value.hint and refused.value.fix_by == "operator"
    vault = own.deputy.vault
    assert await vault.scan("act") == [] and await vault.scan("approval") == []
    own.deputy.policy = lambda act: Verdict.ALLOW
    assert isinstance(await own.act("gmail_by_get", "g"), dict), "the policy asks for nothing"


async def test_act_that_showed_nothing_cannot_use_a_mandate_or_an_old_approval(own: Desk) -> None:
    away: dict[str, Any] = {"tools": ["gmail_by_get"], "targets": ["bob@example.test"]}
    until = own.deputy.clock() + 9
    await own.deputy.create_mandate("alice", **away, audience=Audience.PUBLIC, max_acts=9, expires_at=until)
    with pytest.raises(InvalidInput, match="ended without a Preview"):
        await own.act("gmail_by_get")
    await own.yes(await own.asked("gmail_shy", "s"))
    SHY["shows"] = False
    try:
        with pytest.raises(InvalidInput, match="ended without a Preview"):
            await own.act("gmail_shy", "s")
    finally:
        SHY["shows"] = True
    await own.act("gmail_shy", "s")


async def test_effect_that_depends_on_arguments_decides_whether_an_act_must_show(own: Desk) -> None:
    assert isinstance(await own.act("gmail_by_argument"), dict)
    with pytest.raises(InvalidInput, match="ended without a Preview"):
        await own.act("gmail_by_argument", does=Effect.SENDS.value)


def random_tool(chance: random.Random) -> Callable[[], Steps]:
    """Return a tool of random steps, which may catch errors."""
    kinds = ("get", "list", "write", "note", "show", "fail", "return")
    steps = [chance.choice(kinds) for _ in range(chance.randint(0, 5))]
    catches, early = chance.random() < 0.5, chance.random() < 0.5
    made: dict[str, Callable[[], Any]] = {
        "get": lambda: LIST,
        "list": lambda: [LIST, LIST],
        "write": lambda: WRITE,
        "note": lambda: SaveNote({"n": 1}),
        "show": lambda: Preview("Tell them", audience=Audience.PEOPLE, people=["bob@example.test"]),
        "fail": lambda: Request("GET", "/users/me/messages/none"),
    }

    def tool() -> Steps:
        """Does something."""
        for step in steps:
            if step == "return" and early:
                return {"ended": "early"}
            try:
                yield made.get(step, made["get"])()
            except InvalidInput:
                if not catches:
                    raise
        return {"ended": "late"}

    return tool


@pytest.mark.parametrize("verdict", [Verdict.ASK, None])
async def test_random_tools_return_nothing_unless_the_user_approved(verdict: Verdict | None) -> None:
    chance, kit = random.Random(20261201), Toolkit("gmail", provider="google", shows=True)  # noqa: S311 - no secret
    names = []
    for number in range(60):
        tool = random_tool(chance)
        tool.__name__ = f"tool{number}"
        kit.tool(needs=[NEED], effect=Effect.SENDS)(tool)
        names.append(f"gmail_tool{number}")
    sandbox, seen = Sandbox(), []
    async with await build(sandbox, apps=apps(), transport=Recorder(sandbox.transport()), toolkits=[kit]) as deputy:
        give_grant(sandbox, deputy, "alice", [MODIFY], provider="google", email="alice@example.test")
        deputy.policy = (lambda act: verdict) if verdict else ask_before_sending
        for name in names:
            call = Call("t", "m", name)
            try:
                await deputy.act(name, {}, user="alice", call=call)
                seen.append("returned")
            except ApprovalRequired as asked:
                await deputy.decide(asked.approval, "approve", by="alice")
                with suppress(DeputizeError):
                    await deputy.act(name, {}, user="alice", call=call)
                seen.append("asked")
            except DeputizeError as refused:
                seen.append(refused.code)
    assert "returned" not in seen and {"asked", "invalid_input"} <= {*seen}, seen


@pytest.mark.parametrize("tool", ["bare_by_get", "gmail_by_get_asked"])
async def test_tool_without_declared_preview_needs_approval_before_its_get(own: Desk, tool: str) -> None:
    assert isinstance(await own.way(tool, "g", text="hello"), ApprovalRequired)
    approval = await own.asked(tool, "g", text="hello")
    assert approval.preview["text"] == "hello" and own.wire.seen == []
    with pytest.raises(InvalidInput, match="no mandate"):
        await own.deputy.create_mandate(
            "alice", tools=[tool], targets=["@x.test"], max_acts=9, expires_at=own.deputy.clock() + 9
        )
    await own.yes(approval)
    await own.act(tool, "g", text="hello")
    assert len(own.wire.seen) == 1


async def test_tool_without_declared_preview_sends_nothing_when_policy_denies(own: Desk) -> None:
    own.deputy.policy = lambda act: Verdict.DENY
    with pytest.raises(PolicyDenied):
        await own.act("bare_by_get")
    assert own.wire.seen == []


async def test_undeclared_preview_is_refused_with_a_hint(own: Desk) -> None:
    await own.yes(await own.asked("bare_undeclared", "u"))
    with pytest.raises(InvalidInput, match="it yields a Preview, but is not declared"):
        await own.act("bare_undeclared", "u")
    # the yes is given back
    with pytest.raises(InvalidInput, match="it yields a Preview, but is not declared") as refused:
        await own.act("bare_undeclared", "u")
    assert refused.value.fix_by == "operator" and "bare_undeclared" in refused.value.message
    assert refused.value.hint.startswith('Write Toolkit("bare", ..., shows=True), or .tool(..., shows=True)')
    assert own.writes == []


async def test_tool_can_declare_a_preview_in_an_undeclared_toolkit(own: Desk) -> None:
    assert (await own.asked("bare_declared", "d")).preview["seen by"] == "everybody"


async def test_get_declared_as_write_is_refused_before_the_preview(own: Desk) -> None:
    with pytest.raises(InvalidInput, match="before it shows"):
        await own.act("gmail_by_get_declared")
    assert own.wire.seen == []


async def test_read_call_needs_no_preview(own: Desk) -> None:
    assert await own.act("gmail_by_argument") is not None


@pytest.mark.parametrize("changes", [False, True])
async def test_resumed_run_continues_only_with_the_previewed_content(own: Desk, changes: bool) -> None:
    with pytest.raises(KeyboardInterrupt):
        await own.act("gmail_notes", "n")
    began = own.deputy.clock()
    own.deputy.clock.now += 30  # type: ignore[attr-defined]
    if not changes:
        assert await own.act("gmail_notes", "n") == {"at": began}
        return
    own.deputy.policy = lambda act: Verdict.ALLOW
    await own.act("gmail_later")  # which makes a draft
    before = len(own.writes)
    with pytest.raises(OutcomeUnknown, match="changed since"):
        await own.act("gmail_notes", "n")
    assert len(own.writes) == before


async def refused_once(own: Desk) -> Any:
    """Return the approval of an act that left a note, and that the provider refused."""
    approval = await own.asked("gmail_noted", "n")
    await own.yes(approval)
    with pytest.raises(NotFound):
        await own.act("gmail_noted", "n")
    assert own.writes == []
    return approval


async def test_noted_run_is_not_resumed_if_the_user_rejected_it_meanwhile(own: Desk) -> None:
    await own.deputy.decide(await refused_once(own), "reject", by="alice")
    for _ in range(2):
        assert isinstance(await own.way("gmail_noted", "n"), Declined)
        with pytest.raises(Declined):
            await own.act("gmail_noted", "n")
    assert own.writes == []


async def test_noted_run_uses_its_approval_again(own: Desk) -> None:
    approval = await refused_once(own)
    assert await own.way("gmail_noted", "n") is None
    await own.act("gmail_noted", "n")
    assert len(own.writes) == 1
    with pytest.raises(Conflict, match="Too late"):
        await own.deputy.decide(approval, "reject", by="alice")


@pytest.mark.parametrize("end", ["offboarding", "disconnecting"])
async def test_act_sends_no_write_after_the_users_access_has_ended(own: Desk, end: str) -> None:
    """The provider cannot be reached for the revocation, so it would still accept the token."""
    own.deputy.policy = lambda act: Verdict.ALLOW
    own.wire.inner = Between(own, end)
    with pytest.raises(ConsentRequired):
        await own.act("gmail_after_a_read", "w")
    assert own.writes == ["POST /revoke"] and await own.deputy.connections("alice") == []


@pytest.mark.parametrize("end", ["offboarding", "disconnecting"])
async def test_act_reads_no_further_page_after_the_users_access_has_ended(
    own: Desk, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deputize.core.acts.provider_requests.READ_CONFIRMATION_SECONDS", 0.0)
    own.wire.inner = between = Between(own, end)
    with pytest.raises(ConsentRequired):
        await own.act("gmail_reads_on", "r")
    assert between.answered == 1


@pytest.mark.parametrize(("scope", "may_write"), [(MODIFY, True), (READONLY, False)])
async def test_act_writes_only_with_the_consent_of_now(own: Desk, scope: str, *, may_write: bool) -> None:
    """Alice disconnects and connects again while the act waits. The provider would still accept her old token."""
    own.deputy.policy = lambda act: Verdict.ALLOW
    own.wire.inner = Between(own, "reconnecting", scope)
    if may_write:
        await own.act("gmail_after_a_read", "w")
    else:
        with pytest.raises(ConsentRequired):
            await own.act("gmail_after_a_read", "w")
    read, *wrote = [one for one in own.wire.seen if one.url.path.endswith("/drafts")]
    assert [one.method for one in wrote] == ["POST"] * may_write
    assert all(one.headers["authorization"] != read.headers["authorization"] for one in wrote)


async def test_audit_names_the_refreshed_grant_before_the_write(own: Desk) -> None:
    own.deputy.policy = lambda act: Verdict.ALLOW
    before = await own.deputy.vault.find_grant(User("alice"), "google", "google")
    own.deputy.clock.now += 2 * 3600  # type: ignore[attr-defined]
    await own.act("gmail_after_a_read", "w")
    after = await own.deputy.vault.find_grant(User("alice"), "google", "google")
    assert before and after and after.generation > before.generation
    [intent] = [row for row in own.deputy.audit.rows() if row["event"] == "act.intent"]
    assert intent["grant_gen"] == after.generation


class Between(httpx.AsyncBaseTransport):
    """Ends Alice's access when the first read has been answered, and lets no revocation through."""

    def __init__(self, own: Desk, end: str, scope: str = "") -> None:
        self.own, self.end, self.scope, self.inner, self.answered = own, end, scope, own.wire.inner, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/revoke":
            return httpx.Response(503)
        answer = await self.inner.handle_async_request(request)
        self.answered += 1
        end, self.end = self.end, ""
        if end == "offboarding":
            await self.own.deputy.offboard("alice", "left")
        elif end:
            await self.own.deputy.revoke("alice")
        if end == "reconnecting":
            sandbox, deputy = self.own.sandbox, self.own.deputy
            give_grant(sandbox, deputy, "alice", [self.scope], provider="google", email="alice@example.test")
        return answer


async def cut_off(own: Desk) -> None:
    """Interrupt a run after its note."""
    with pytest.raises(BaseException) as died:
        await own.act("gmail_resumes", "r")
    assert isinstance(died.value, KeyboardInterrupt) and own.writes == []


def deny_bob(act: Act) -> Verdict:
    """A policy that only the preview tells whom the act reaches."""
    return Verdict.DENY if act.show and "bob@example.test" in act.show.people else Verdict.ALLOW


STRICTER: dict[str, Callable[[Act], Verdict]] = {
    "denies the recipient": deny_bob,
    "denies the tool": lambda act: Verdict.DENY,
    "asks": lambda act: Verdict.ASK,
}


@pytest.mark.parametrize("policy", STRICTER.values(), ids=STRICTER)
async def test_interrupted_act_sends_nothing_if_the_policy_no_longer_permits_it(
    own: Desk, policy: Callable[[Act], Verdict]
) -> None:
    own.deputy.policy = lambda act: Verdict.ALLOW
    await cut_off(own)
    own.deputy.policy = policy
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="does not permit it now"):
            await own.act("gmail_resumes", "r")
    assert own.writes == [] and await own.deputy.pending("alice") == []
    own.deputy.policy = lambda act: Verdict.ALLOW
    assert (await own.act("gmail_resumes", "r"))["sent"] and len(own.writes) == 1


async def test_interrupted_act_that_was_done_is_found_though_the_policy_denies_it_now(own: Desk) -> None:
    own.deputy.policy = lambda act: Verdict.ALLOW
    await cut_off(own)
    await own.act("gmail_later")  # makes a draft, by which the run finds that it was done
    before, own.deputy.policy = len(own.writes), deny_bob
    assert await own.act("gmail_resumes", "r") == {"found": True}
    assert len(own.writes) == before


@pytest.mark.parametrize("ended", [False, True], ids=["valid", "ended meanwhile"])
async def test_interrupted_act_continues_by_the_permission_that_it_used(own: Desk, ended: bool) -> None:
    mandate = await own.deputy.create_mandate(
        "alice", tools=["gmail_resumes"], targets=["bob@example.test"], max_acts=1, expires_at=own.deputy.clock() + 600
    )
    await cut_off(own)
    if ended:
        await own.deputy.revoke_mandate("alice", mandate)
        with pytest.raises(OutcomeUnknown, match="does not permit it now"):
            await own.act("gmail_resumes", "r")
        assert own.writes == []
    else:
        assert (await own.act("gmail_resumes", "r"))["sent"] and len(own.writes) == 1


async def test_interrupted_act_continues_by_its_approval_unless_a_role_is_asked_now(own: Desk) -> None:
    await own.yes(await own.asked("gmail_resumes", "r"))
    await cut_off(own)
    own.deputy.policy = lambda act: Decision(Verdict.ASK, approvers="finance")
    with pytest.raises(OutcomeUnknown, match="does not permit it now"):
        await own.act("gmail_resumes", "r")
    own.deputy.policy = ask_before_sending
    assert (await own.act("gmail_resumes", "r"))["sent"] and len(own.writes) == 1


@pytest.mark.parametrize("other", [{"digest": "0" * 64}, {"status": "pending"}], ids=["of another preview", "pending"])
async def test_noted_run_does_not_use_another_approval(own: Desk, other: dict[str, Any]) -> None:
    await refused_once(own)
    [row] = await own.deputy.vault.scan("approval")
    await own.deputy.vault.swap(row, row.json | other)
    with pytest.raises(Conflict, match="has expired"):
        await own.act("gmail_noted", "n")
    assert own.writes == []


async def test_noted_run_asks_again_if_its_approval_has_expired(own: Desk) -> None:
    await refused_once(own)
    own.deputy.clock.now += APPROVAL_TTL + 1  # type: ignore[attr-defined]
    with pytest.raises(Conflict, match="has expired"):
        await own.act("gmail_noted", "n")
    assert own.writes == []
    with pytest.raises(ApprovalRequired):
        await own.act("gmail_noted", "n")


async def test_relative_time_counts_from_the_time_of_the_request(own: Desk) -> None:
    approval = await own.asked("gmail_later", "l")
    due = float(approval.preview["at"])
    own.deputy.clock.now += 1800  # type: ignore[attr-defined]
    await own.yes(approval)
    assert await own.way("gmail_later", "l") is None
    assert await own.act("gmail_later", "l") == {"at": due}


async def test_approval_is_not_used_for_a_later_preview_in_a_race(desk: Desk) -> None:
    """The approval arrives between a run's check and its swap: the run checks again, and does not use that approval."""
    draft = await desk.draft()
    first = await desk.asked("gmail_send_draft", "s", draft_id=draft)
    vault, swap = desk.deputy.vault, desk.deputy.vault.swap

    async def raced(record: Any, content: Any) -> Any:
        if isinstance(content, dict) and content.get("tool") == "gmail_send_draft" and content["status"] == "pending":
            vault.swap = swap  # type: ignore[method-assign]
            await desk.yes(first)
        return await swap(record, content)

    await desk.rewrite(draft)
    vault.swap = raced  # type: ignore[method-assign]
    with pytest.raises(ApprovalRequired) as again:
        await desk.act("gmail_send_draft", "s", draft_id=draft)
    assert again.value.approval.preview["to"] == "eve@evil.test" and desk.sent == []
    assert "to" in again.value.approval.changed_fields


@pytest.mark.parametrize("meanwhile", ["another preview is approved", "the record is erased"])
async def test_act_whose_approval_goes_while_it_begins_asks_again(
    desk: Desk, meanwhile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = await desk.draft()
    await desk.yes(await desk.asked("gmail_send_draft", "s", draft_id=draft))
    rows, vault = desk.deputy.approvals.rows, desk.deputy.vault

    async def late(record: Any, *rest: Any) -> bool:
        monkeypatch.undo()
        if meanwhile == "the record is erased":
            assert await vault.delete(record.place)
        else:  # by another process, which saw the rewritten draft
            show = record.show | {"people": ["eve@evil.test"]}
            assert await vault.swap(record.row, record.row.json | {"show": show, "digest": Preview.of(show).digest})
        return await rows.consume(record, *rest)

    monkeypatch.setattr(rows, "consume", late)
    with pytest.raises(ApprovalRequired):
        await desk.act("gmail_send_draft", "s", draft_id=draft)
    assert desk.sent == []
    again = await desk.asked("gmail_send_draft", "s", draft_id=draft)
    assert (again.status, again.preview["to"]) == ("pending", "bob@example.test")
    await desk.yes(again)
    await desk.act("gmail_send_draft", "s", draft_id=draft)
    assert desk.sent == [("bob@example.test", "As agreed.")]


# ----------------------------------------------------------------- plans


def kept(plans: Plans, id: str, held: int = 1, user: str = "alice") -> Any:
    """Store and return a plan of a call with this id."""
    closed: list[str] = []

    class Standing:
        def close(self) -> None:
            closed.append(id)

    plan: Any = Standing()
    tool = KIT.tools["gmail_nothing"]
    act = Act(User(user), tool, {}, Effect.SENDS, Call("t", "m", id), "", "google", "google")
    plan.grant = SimpleNamespace(account=Account("s", "alice"))
    plan.run = SimpleNamespace(act=act, exchange=SimpleNamespace(grant=plan.grant, held=held))
    plans.keep(plan)
    return plan, act, closed


def test_plan_is_used_once_and_by_its_own_act_only() -> None:
    plans = Plans()
    plan, act, closed = kept(plans, "a")
    other = replace(act, arguments={"x": 1})
    assert plans.take(other, plan.grant) is None and closed == ["a"]
    plan, act, _ = kept(plans, "b")
    grant = plan.grant
    assert plans.take(act, grant) is plan and plans.take(act, grant) is None
    _, act, closed = kept(plans, "c")
    another = SimpleNamespace(account=Account("t", "alice"))
    assert plans.take(act, another) is None and closed == ["c"], "a run that reads with another account"  # type: ignore[arg-type]


def test_plans_are_limited_in_number_bytes_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = Plans(most=2, most_bytes=100)
    ends = [kept(plans, str(n))[2] for n in range(3)]
    assert ends == [["0"], [], []]
    *_, large = kept(plans, "large", 101)
    assert large == ["large"]
    plan, act, closed = kept(plans, "full", 100)
    assert ends == [["0"], ["1"], ["2"]] and not closed
    now = __import__("time").monotonic()
    monkeypatch.setattr("deputize.core.acts.preview.time.monotonic", lambda: now + PLAN_TTL + 1)
    assert plans.take(act, plan.grant) is None and closed == ["full"]


def test_act_drops_plans_of_its_user_only() -> None:
    plans = Plans()
    _, act, mine = kept(plans, "a")
    *_, theirs = kept(plans, "a", user="bob")
    plans.drop(act, 5.0)
    assert (mine, theirs) == (["a"], []) and plans.has_written_since(act, 5.0) and not plans.has_written_since(act, 5.1)
    plans.close()
    assert theirs == ["a"]


def test_default_policy_asks_for_visible_or_destructive_acts() -> None:
    tool = KIT.tools["gmail_nothing"]
    act = Act(User("alice"), tool, {}, Effect.SENDS, Call(), "", "google", "google")
    verdicts = {one: ask_before_sending(replace(act, show=Preview("x", audience=one))) for one in Audience}
    assert [one for one, verdict in verdicts.items() if verdict is Verdict.ALLOW] == [Audience.SELF]
    assert ask_before_sending(replace(act, show=Preview("x", audience=Audience.SELF, destroys=True))) is Verdict.ASK


# ----------------------------------------------------------------- a reply, and what it quotes


async def reply_of(desk: Desk, headers: Mapping[str, str] = MappingProxyType({}), **arguments: Any) -> Any:
    """Return the request of a reply under a mandate, to a mail that names outside addresses and was read before."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Bob <bob@acme.example>", "alice@example.test", "Lunch?"
    for name, value in headers.items():
        del mail[name]
        mail[name] = value
    mail.set_content("At one?\n\nBob, www.acme.example, or ask eve@acme.example, https://acme.example/x")
    id = desk.sandbox.mailbox("alice@example.test").add(mail).id
    before = EmailMessage()
    before["From"], before["To"] = "alice@example.test", "bob@acme.example"
    desk.sandbox.mailbox("alice@example.test").add(before, labels=("SENT",))  # Bob is no first contact
    await desk.act("gmail_get_email", message_id=id)
    mandate: dict[str, Any] = {"tools": ["gmail_reply_email"], "targets": ["@acme.example"], "max_acts": 5}
    await desk.deputy.create_mandate("alice", **mandate, expires_at=desk.sandbox.clock() + 3600)
    return await desk.way("gmail_reply_email", "r", message_id=id, **{"body": "Fine.", **arguments})


async def test_mandate_covers_reply_to_sender_with_quoted_links(desk: Desk) -> None:
    assert await reply_of(desk) is None


@pytest.mark.parametrize(
    ("headers", "arguments"),
    [
        ({}, {"cc": ["carol@acme.example"]}),
        ({}, {"bcc": ["carol@acme.example"]}),
        ({"To": "alice@example.test, carol@acme.example"}, {"all": True}),
        ({"Reply-To": "carol@acme.example"}, {}),
        ({"Reply-To": "bob@acme.example, carol@acme.example"}, {}),
        ({}, {"body": "See www.acme.example"}),
        ({}, {"body": "> ask eve@acme.example"}),
        ({}, {"body": "<p>Fine.</p>", "body_format": "html"}),
    ],
    ids=["cc", "bcc", "all", "reply-to", "two to reply to", "host", "own quote", "html"],
)
async def test_reply_quoting_another_sender_needs_approval(
    desk: Desk, headers: dict[str, str], arguments: dict[str, Any]
) -> None:
    way = await reply_of(desk, headers, **arguments)
    assert isinstance(way, ApprovalRequired)
    assert ("quote" in way.approval.preview) is (arguments.keys() == {"body"}), "to its writer alone, if at all"


async def test_reply_preview_separates_own_text_from_the_quote(desk: Desk) -> None:
    way = await reply_of(desk, body="See https://acme.example/y")
    assert way.approval.preview["text"] == "See https://acme.example/y"
    assert "> Bob, www.acme.example" in way.approval.preview["quote"]
