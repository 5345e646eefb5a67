"""gmail_save_draft, gmail_list_drafts, gmail_send_draft, gmail_delete_draft."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import Audience, Effect
from deputize.core.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown
from deputize.core.tools.preview import show_rows
from deputize.toolkits._shared.page import tokens
from deputize.toolkits.gmail import TOOLKIT
from tests.toolkits.mailbox import COMPOSE, READONLY, SEND, Mailbox, b64, message, parsed
from tests.toolkits.tool_driver import KEY, Done, Driver

DRAFTER = Driver(TOOLKIT, frozenset({COMPOSE}))
MULTIPART = (
    b"To: bob@example.test\r\nCc: carol@example.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nX-Own: kept\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n"
    b"old words\r\n--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=r.pdf\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nAGZpbGX/\r\n--b--\r\n"
)


def saved(box: Mailbox, **arguments: Any) -> Done:
    return DRAFTER.run("save_draft", arguments, box)


def existing(raw: bytes = MULTIPART) -> Mailbox:
    kept = message("m9", "Draft", thread="t9", to="bob@example.test", labels=["DRAFT"])
    return Mailbox(drafts={"r1": {"id": "r1", "message": kept | {"raw": b64(raw, padded=False)}}})


@pytest.fixture
def box() -> Mailbox:
    return existing()


def stored(box: Mailbox, draft: str = "r1") -> Any:
    from deputize.toolkits._shared.mail.parts import decode_base64

    return parsed(decode_base64(box.drafts[draft]["message"]["raw"]))


# ----------------------------------------------------------------- save


def test_draft_can_change_only_its_sender(box: Mailbox) -> None:
    before = stored(box)
    done = saved(box, draft_id="r1", send_as="Team <team@example.test>")
    after = stored(box)
    assert after["From"] == "Team <team@example.test>"
    assert [after[name] for name in ("To", "Subject")] == [before[name] for name in ("To", "Subject")]
    assert [part.get_payload() for part in after.walk()][1:] == [part.get_payload() for part in before.walk()][1:]
    assert any("team@example.test" in text for name, text in show_rows(done.shown[0]) if name.startswith("from"))


def test_draft_is_saved_and_not_sent() -> None:
    box = Mailbox()
    done = saved(box, to=["bob@example.test"], subject="Hi", body="Hello **Bob**")
    assert done.result == {
        "draft_id": "r2",
        "id": "m1",
        "thread": "t-m1",
        "to": ["bob@example.test"],
        "subject": "Hi",
        "preview": "Hello **Bob**",
        "url": "https://mail.google.com/mail/?authuser=alice@example.test#all/t-m1",
        "summary": "Saved as a draft; nothing was sent.",
    }
    assert [(one.method, one.path) for one in done.requests] == [("POST", "/users/me/drafts")]
    assert box.sent == []
    assert tokens(done.result) <= 100
    assert stored(box, "r2")["X-Deputize-Key"] == KEY.hex[:16]


def test_draft_may_have_no_recipient() -> None:
    box = Mailbox()
    saved(box, body="Later")
    assert stored(box, "r1" if "r1" in box.drafts else "r2")["To"] is None


def test_reply_draft_is_addressed_and_joins_its_conversation() -> None:
    original = message("m1", "Question?", thread="t1", subject="Plan", headers={"Cc": "carol@example.test"})
    box = Mailbox.of(original)
    done = Driver(TOOLKIT, frozenset({COMPOSE, READONLY})).run(
        "save_draft", {"reply_to": "m1", "body": "Yes.", "all": True}, box
    )
    (draft,) = box.drafts.values()
    mail = stored(box, draft["id"])
    assert draft["message"]["threadId"] == "t1"
    assert (str(mail["To"]), str(mail["Cc"]), str(mail["Subject"])) == (
        "Bob <bob@example.test>",
        "carol@example.test",
        "Re: Plan",
    )
    assert mail["In-Reply-To"] == "<m1@example.test>"
    assert "> Question?" in mail.get_body(("plain",)).get_content()
    assert done.result["preview"].startswith("Yes.")


def test_reply_draft_may_have_another_recipient_and_subject() -> None:
    box = Mailbox.of(message("m1", subject="Plan"))
    Driver(TOOLKIT, frozenset({COMPOSE, READONLY})).run(
        "save_draft", {"reply_to": "m1", "to": ["dora@example.test"], "subject": "Else"}, box
    )
    (draft,) = box.drafts
    assert (str(stored(box, draft)["To"]), str(stored(box, draft)["Subject"])) == ("dora@example.test", "Else")


def test_only_given_fields_of_a_draft_are_replaced(box: Mailbox) -> None:
    done = saved(box, draft_id="r1", body="new *words*", to=["Dora <dora@example.test>"])
    mail = stored(box)
    assert (str(mail["To"]), str(mail["Cc"]), str(mail["Subject"]), mail["X-Own"]) == (
        "Dora <dora@example.test>",
        "carol@example.test",
        "Gr\u00fc\u00dfe",
        "kept",
    )
    assert mail.get_body(("plain",)).get_content().strip() == "new *words*"
    assert "<em>words</em>" in mail.get_body(("html",)).get_content()
    (file,) = mail.iter_attachments()
    assert (file.get_filename(), file.get_payload(decode=True)) == ("r.pdf", b"\x00file\xff")
    update = done.requests[-1]
    assert (update.method, update.path, update.call, update.json["message"]["threadId"]) == (
        "PUT",
        "/users/me/drafts/{id}",
        "idem",
        "t9",
    )
    assert (done.result["subject"], done.result["to"]) == ("Gr\u00fc\u00dfe", ["Dora <dora@example.test>"])


RICH = '<div dir="ltr">Hi <b>Bob</b>, see <a href="https://x.test/a">the plan</a>.<img src="cid:logo"></div>\r\n'
QUOTE = '<div class="gmail_quote"><b>On Tue, Bob wrote:</b><blockquote>Question?</blockquote></div>'


def in_html(html: str, plain: str = "Hi Bob, see the plan.") -> Mailbox:
    """Return a draft as Gmail's own page writes one."""
    head = "To: bob@example.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
    types = (("plain", plain), ("html", html))
    parts = [f"--b\r\nContent-Type: text/{kind}; charset=utf-8\r\n\r\n{text}\r\n" for kind, text in types]
    return existing("".join([head, *parts, "--b--\r\n"]).encode())


def test_rich_draft_is_replaced_only_with_its_digest() -> None:
    box = in_html(RICH)
    before = box.drafts["r1"]["message"]["raw"]
    with pytest.raises(InvalidInput) as refused:
        saved(box, draft_id="r1", body="Hello")
    assert refused.value.reason == "unread" and box.drafts["r1"]["message"]["raw"] == before
    read = DRAFTER.run("get_email", {"draft_id": "r1", "part": "raw"}, box).result
    assert read["body"].strip() == RICH.strip() and (read["format"], read["untrusted"]) == ("html", True)
    with pytest.raises(Conflict):
        saved(box, draft_id="r1", body="Hello", if_text="0" * 16)
    assert box.drafts["r1"]["message"]["raw"] == before
    more = read["body"].replace("the plan", "our plan")
    saved(box, draft_id="r1", body=more, body_format="html", if_text=read["text_digest"])
    assert RICH.strip().replace("the plan", "our plan") in stored(box).get_body(("html",)).get_content()


def test_own_reply_draft_with_bold_text_can_be_changed() -> None:
    box = Mailbox.of(message("m1", "Question?", thread="t1"))
    driver = Driver(TOOLKIT, frozenset({COMPOSE, READONLY}))
    made = driver.run("save_draft", {"reply_to": "m1", "body": "**Yes.**"}, box).result
    driver.run("save_draft", {"draft_id": made["draft_id"], "body": "No."}, box)
    assert "Yes" not in str(stored(box, made["draft_id"]))


def test_draft_is_read_as_stored_to_its_end() -> None:
    words = "".join(f"<p>Line <b>{n}</b></p>" for n in range(2_000))
    box, whole, offset, read = in_html(words), "", 0, dict[str, Any]()
    while offset is not None:
        read = DRAFTER.run("get_email", {"draft_id": "r1", "part": "raw", "offset": offset}, box).result
        assert tokens(read) <= 4_000
        whole, offset = whole + read["body"], read.get("next_offset")
    assert whole.strip() == words and read["text_digest"]


@pytest.mark.parametrize(
    ("html", "plain", "free"),
    [
        ('<div dir="ltr">Hi<div><br></div><div>Bye</div></div>', "Hi\n\nBye", True),
        (f'<div dir="ltr">Hi</div>{QUOTE}', "Hi\n\nOn Tue, Bob wrote:\n> Question?", True),
        ("<html><body>\n<p>Hi <strong>Bob</strong></p>\n</body></html>", "Hi **Bob**", True),
        ("<html><body>\n<p>Hi <strong>Eve</strong></p>\n</body></html>", "Hi **Bob**", False),
        (f'<div dir="ltr">Hi</div>{QUOTE}', "Hi", False),
        (f'<div dir="ltr"><i>Hi</i></div>{QUOTE}', "Hi\n\nOn Tue, Bob wrote:\n> Question?", False),
        (f"<p>{'Word ' * 6_000}</p>", "Hi", False),
    ],
)
def test_plain_draft_is_replaced_freely(html: str, plain: str, free: bool) -> None:
    box = in_html(html, plain)
    if free:
        saved(box, draft_id="r1", body="New words")
        assert "New words" in stored(box).get_body(("html",)).get_content()
        return
    with pytest.raises(InvalidInput) as refused:
        saved(box, draft_id="r1", body="New words")
    assert refused.value.reason == "unread"


def test_draft_field_can_be_emptied_without_changing_the_text(box: Mailbox) -> None:
    saved(box, draft_id="r1", cc=[], subject="New")
    mail = stored(box)
    assert mail["Cc"] is None and str(mail["Subject"]) == "New"
    assert "old words" in mail.get_body(("plain",)).get_content()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "Nothing to save"),
        ({"draft_id": "r1"}, "Nothing to save"),
        ({"draft_id": "r1", "reply_to": "m1", "body": "x"}, "not both"),
        ({"to": ["nobody"]}, r"to\[0\]"),
        ({"subject": "a\r\nBcc: eve@decoy.test"}, "subject"),
        ({"draft_id": "r1", "subject": "a\nb"}, "subject"),
    ],
)
def test_unsavable_draft_is_refused_before_any_request(arguments: dict[str, Any], why: str, box: Mailbox) -> None:
    with pytest.raises(InvalidInput, match=why):
        saved(box, **arguments)
    assert box.asked == []


def test_unknown_draft_cannot_be_changed() -> None:
    with pytest.raises(NotFound):
        saved(Mailbox(), draft_id="r1", subject="x")


def test_lost_answer_is_looked_up_among_the_newest_drafts(box: Mailbox) -> None:
    box.lose("POST", "/users/me/drafts")
    done = saved(box, subject="x")
    assert done.result["draft_id"] in box.drafts and len(box.drafts) == 2


def test_draft_not_found_after_a_lost_answer_is_unknown(box: Mailbox) -> None:
    box.fail("POST", "/users/me/drafts", OutcomeUnknown("lost"))
    with pytest.raises(OutcomeUnknown):
        saved(box, subject="x")
    assert sum(one.method == "POST" for one in box.asked) == 1


def test_drafting_needs_read_scope_only_for_replies() -> None:
    tool = TOOLKIT.tools["gmail_save_draft"]
    blank = {"draft_id": None, "reply_to": None, "all_": False}
    assert [need.ask for need in tool.needs_of(blank)] == [COMPOSE]
    assert {need.ask for need in tool.needs_of(blank | {"draft_id": "r1"})} == {COMPOSE}
    assert {need.ask for need in tool.needs_of(blank | {"reply_to": "m1"})} == {COMPOSE, READONLY}
    assert tool.gravest is Effect.WRITES


# ----------------------------------------------------------------- list


def test_drafts_are_listed_with_distinguishing_fields(box: Mailbox) -> None:
    done = DRAFTER.run("list_drafts", {}, box)
    assert done.result == {
        "items": [
            {
                "draft_id": "r1",
                "id": "m9",
                "thread": "t9",
                "to": ["bob@example.test"],
                "subject": "Hello",
                "date": "2026-11-24 14:00",
                "snippet": "Hello Alice.",
                "untrusted": True,
            }
        ],
        "next": None,
        "truncated": False,
        "time_zone": "UTC",
    }
    assert "q" not in dict(done.requests[0].params or {})
    assert dict(DRAFTER.run("list_drafts", {"query": "x"}, box).requests[0].params or {})["q"] == "x"


def test_drafts_are_paged() -> None:
    drafts = {f"r{n}": {"id": f"r{n}", "message": message(f"m{n}")} for n in range(25)}
    box = Mailbox(drafts=drafts)
    seen: list[str] = []
    cursor = None
    for _ in range(10):
        result = DRAFTER.run("list_drafts", {"limit": 10, **({"cursor": cursor} if cursor else {})}, box).result
        seen += [row["draft_id"] for row in result["items"]]
        cursor = result["next"]
        if cursor is None:
            break
    assert seen == list(drafts)[::-1]


# ----------------------------------------------------------------- send and delete


def test_draft_is_sent_and_gone(box: Mailbox) -> None:
    done = DRAFTER.run("send_draft", {"draft_id": "r1"}, box)
    assert len(box.sent) == 1 and box.drafts == {}
    assert (done.result["thread"], done.result["to"], done.result["subject"]) == ("t9", ["bob@example.test"], "Grüße")
    assert (done.notes[0]["draft"], done.notes[0]["message"]) == ("r1", "m9")
    with pytest.raises(NotFound):
        DRAFTER.run("send_draft", {"draft_id": "r1"}, box)
    assert len(box.sent) == 1


def test_lost_answer_of_sending_a_draft_is_resolved(box: Mailbox) -> None:
    box.lose("POST", "/users/me/drafts/send")
    assert DRAFTER.run("send_draft", {"draft_id": "r1"}, box).result["summary"].startswith("Sent")
    assert len(box.sent) == 1


def test_draft_without_recipients_is_not_sent() -> None:
    box = existing(b"Subject: x\r\n\r\nHello")
    with pytest.raises(InvalidInput, match="no recipients"):
        DRAFTER.run("send_draft", {"draft_id": "r1"}, box)


@pytest.mark.processes
def test_all_recipients_of_a_draft_are_previewed_despite_long_names() -> None:
    box, name = Mailbox(), "n" * 800
    saved(box, to=[f"{name} <u{n}@acme.example>" for n in range(99)] + ["eve@evil.test"], subject="x", body="y")
    [show] = DRAFTER.run("send_draft", {"draft_id": next(iter(box.drafts))}, box).shown
    assert len(show.people) == 100 and "eve@evil.test" in show.people
    assert any("eve@evil.test" in one for one in show.fields["to"])


@pytest.mark.parametrize("to", ["bob@acme.example, eve@evil.test (x) y", "bob@acme.example\r\nBcc: eve@evil.test y z"])
def test_draft_with_unreadable_recipients_has_unknown_audience(to: str) -> None:
    box = existing(f"To: {to}\r\nSubject: x\r\n\r\nHello".encode())
    [show] = DRAFTER.run("send_draft", {"draft_id": "r1"}, box).shown
    assert show.people == ("bob@acme.example",) and show.audience is Audience.UNKNOWN
    assert any("eve@evil.test" in str(value) for value in show.fields.values())


def test_send_scope_alone_does_not_send_drafts() -> None:
    assert not all(need.is_met_by(frozenset({SEND})) for need in TOOLKIT.tools["gmail_send_draft"].needs_of({}))


def test_deleting_a_draft_twice_succeeds(box: Mailbox) -> None:
    first = DRAFTER.run("delete_draft", {"draft_id": "r1"}, box)
    assert first.result == {"draft_id": "r1", "deleted": True}
    assert [request.call for request in first.requests] == ["read", "idem"]
    second = DRAFTER.run("delete_draft", {"draft_id": "r1"}, box)
    assert second.result["deleted"] is True and "no longer" in second.result["summary"]
    assert TOOLKIT.tools["gmail_delete_draft"].gravest is Effect.DESTRUCTIVE
