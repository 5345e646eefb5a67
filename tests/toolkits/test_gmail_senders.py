"""Senders and recipients of mails: aliases, signatures, the user's own address."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Any, Final

import pytest

from deputize.core.errors import InvalidInput
from deputize.core.tools.preview import show_rows
from deputize.toolkits.gmail import TOOLKIT
from tests.toolkits.mailbox import MODIFY, READONLY, SEND, Mailbox, message
from tests.toolkits.tool_driver import ALICE, Done, Driver

READER = Driver(TOOLKIT, frozenset({SEND, READONLY}))
SIGNATURE: Final = '<div>The <b>Team</b><br><a href="https://example.test/team">Our page</a><i hidden>unseen</i></div>'
ALIASES: Final[list[dict[str, Any]]] = [
    {"sendAsEmail": ALICE.name, "displayName": "Alice", "isPrimary": True, "isDefault": True, "signature": "Alice A."},
    {
        "sendAsEmail": "Team@example.test",
        "displayName": "The Team",
        "verificationStatus": "accepted",
        "signature": SIGNATURE,
    },
    {"sendAsEmail": "bare@example.test", "verificationStatus": "accepted"},
    {"sendAsEmail": "new@example.test", "verificationStatus": "pending"},
]


def box(**changes: Any) -> Mailbox:
    return Mailbox.of(message("m1", "Question?", **changes), aliases=[dict(one) for one in ALIASES])


def act(tool: str, mails: Mailbox, driver: Driver = READER, **arguments: Any) -> Done:
    whole: dict[str, dict[str, Any]] = {
        "reply_email": {"message_id": "m1", "body": "Yes."},
        "send_email": {"to": ["bob@example.test"], "subject": "s", "body": "Words."},
    }
    return driver.run(tool, whole.get(tool, {}) | arguments, mails)


def addresses(mail: EmailMessage, field: str) -> list[str]:
    return [one.addr_spec for one in mail[field].addresses] if mail[field] else []


def text(mail: EmailMessage, kind: str = "plain") -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


# ----------------------------------------------------------------- the user's own address


def test_user_receives_a_mail_addressed_to_the_user() -> None:
    mails = box()
    done = act("send_email", mails, to=["bob@example.test", ALICE.name], cc=["ME"], bcc=["me"])
    assert (addresses(mails.sent[0], "To"), addresses(mails.sent[0], "Cc")) == (["bob@example.test", ALICE.name], [])
    assert done.result["to"] == ["bob@example.test", ALICE.name]
    done = act("send_email", mails, bcc=["me"])
    assert addresses(mails.sent[1], "Bcc") == [ALICE.name] and done.result["bcc"] == [ALICE.name]
    assert ["bcc", ALICE.name] in [list(row) for row in show_rows(done.shown[0])]


@pytest.mark.parametrize("everybody", [True, False])
def test_reply_reaches_the_user_only_if_named(everybody: bool) -> None:
    mails = box(to=f"{ALICE.name}, dora@example.test")
    act("reply_email", mails, all=everybody)
    assert ALICE.name not in str(mails.sent[0])
    again = box(to=f"{ALICE.name}, dora@example.test")
    act("reply_email", again, all=everybody, cc=["me"])
    assert ALICE.name in addresses(again.sent[0], "Cc")


def test_draft_may_be_addressed_to_the_user() -> None:
    mails = box()
    drafter = Driver(TOOLKIT, frozenset({MODIFY}))
    drafter.run("save_draft", {"to": ["me"], "subject": "s", "body": "b"}, mails)
    draft = next(one for one in mails.asked if one.path == "/users/me/drafts")
    assert addresses(mails.raw(draft), "To") == [ALICE.name]


# ----------------------------------------------------------------- whom it is from


@pytest.mark.parametrize(
    ("changes", "sender"),
    [
        ({"to": "team@example.test"}, "The Team <Team@example.test>"),
        ({"to": "bob@example.test", "headers": {"Cc": "Team <TEAM@example.test>"}}, "The Team <Team@example.test>"),
        ({"to": "list@lists.test", "headers": {"Delivered-To": "team@example.test"}}, "The Team <Team@example.test>"),
        ({"to": f"team@example.test, {ALICE.name}"}, None),
        ({"to": ALICE.name}, None),
        ({"to": "new@example.test"}, None),
        ({"to": "list@lists.test"}, None),
        ({"sender": "Team@example.test", "to": "bob@example.test", "labels": ["SENT"]}, "The Team <Team@example.test>"),
        ({"sender": ALICE.name, "to": "team@example.test", "labels": ["SENT"]}, None),
    ],
)
def test_reply_is_sent_from_the_alias_that_received_the_mail(changes: dict[str, Any], sender: str | None) -> None:
    mails = box(**changes)
    done = act("reply_email", mails)
    assert (str(mails.sent[0]["From"]) if mails.sent[0]["From"] else None) == sender
    assert done.result.get("from") == sender
    shown = [text for name, text in show_rows(done.shown[0]) if name == "from"]
    assert shown == ([sender] if sender else [])


def _froms(done: Done) -> list[str]:
    return [text for name, text in show_rows(done.shown[0]) if name.startswith("from")]


def test_forward_is_sent_from_the_named_own_address() -> None:
    mails = box()
    done = act("forward_email", mails, message_id="m1", to=["bob@example.test"], send_as="team@example.test")
    assert str(mails.sent[0]["From"]) == "The Team <Team@example.test>" == done.result["from"] == _froms(done)[0]
    with pytest.raises(InvalidInput, match="send_as"):
        act("forward_email", mails, message_id="m1", to=["bob@example.test"], send_as="eve@decoy.test")


@pytest.mark.parametrize("reply", [False, True])
def test_draft_sender_is_the_named_own_address_and_changeable(reply: bool) -> None:
    mails, drafter = box(to="team@example.test"), Driver(TOOLKIT, frozenset({MODIFY}))
    given: dict[str, Any] = {"reply_to": "m1", "body": "b"} if reply else {"to": ["bob@example.test"], "subject": "s"}
    done = drafter.run("save_draft", given | {"send_as": "bare@example.test"}, mails)
    draft = next(one for one in mails.asked if one.path == "/users/me/drafts")
    assert str(mails.raw(draft)["From"]) == "bare@example.test" == _froms(done)[0]
    with pytest.raises(InvalidInput, match="send_as"):
        drafter.run("save_draft", given | {"send_as": "eve@decoy.test"}, mails)


def test_reply_may_be_sent_from_another_own_address() -> None:
    mails = box(to="team@example.test")
    act("reply_email", mails, send_as=ALICE.name)
    assert str(mails.sent[0]["From"]) == f"Alice <{ALICE.name}>"
    with pytest.raises(InvalidInput, match="send_as") as refused:
        act("reply_email", box(), send_as="eve@decoy.test")
    assert "Team@example.test" in refused.value.hint and "new@example.test" not in refused.value.hint


def test_reply_draft_is_from_the_receiving_alias() -> None:
    mails = box(to="team@example.test")
    Driver(TOOLKIT, frozenset({MODIFY})).run("save_draft", {"reply_to": "m1", "body": "b"}, mails)
    draft = next(one for one in mails.asked if one.path == "/users/me/drafts")
    assert str(mails.raw(draft)["From"]) == "The Team <Team@example.test>"


# ----------------------------------------------------------------- signatures


def test_mail_is_unsigned_unless_requested() -> None:
    mails = box(to="team@example.test")
    act("send_email", mails)
    act("reply_email", box(to="team@example.test"))
    assert text(mails.sent[0]) == "Words.\n"


def test_new_mail_is_signed_with_gmails_signature() -> None:
    mails = box()
    done = act("send_email", mails, signature=True)
    assert text(mails.sent[0]) == "Words.\n\n-- \nAlice A.\n" and mails.sent[0]["From"] is None
    assert any("Alice A." in text for _, text in show_rows(done.shown[0]))
    act("send_email", mails, signature=True, send_as="team@example.test")
    assert text(mails.sent[1]) == "Words.\n\n-- \nThe Team\nOur page <https://example.test/team>\n"
    assert "<b>Team</b>" in text(mails.sent[1], "html") and "unseen" not in str(mails.sent[1])
    act("send_email", mails, signature=True, body_format="plain")
    assert mails.sent[2].get_content_type() == "text/plain" and "Alice A." in text(mails.sent[2])


def test_reply_is_signed_above_its_quote_by_its_sender() -> None:
    mails = box(to="team@example.test")
    act("reply_email", mails, signature=True)
    assert text(mails.sent[0]).startswith("Yes.\n\n-- \nThe Team\n") and "\n> Question?" in text(mails.sent[0])
    mails = box()
    act("reply_email", mails, signature=True)
    assert text(mails.sent[0]).startswith("Yes.\n\n-- \nAlice A.\n")


def test_missing_signature_is_refused_by_name() -> None:
    mails = box()
    with pytest.raises(InvalidInput, match=r"signature: none is set of bare@example\.test"):
        act("send_email", mails, signature=True, send_as="bare@example.test")
    assert mails.sent == []


def test_signing_needs_more_than_the_send_scope() -> None:
    tool = TOOLKIT.tools["gmail_send_email"]
    assert [need.ask for need in tool.needs_of({"signature": False})] == [SEND]
    assert [need.ask for need in tool.needs_of({"signature": True})] == [SEND, READONLY]
