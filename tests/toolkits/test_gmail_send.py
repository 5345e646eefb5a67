"""gmail_send_email, gmail_reply_email, gmail_forward_email: what is sent, and that it is sent once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from email.message import EmailMessage
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deputize.core import Effect, File, Preview, Request, Run, SaveNote
from deputize.core.errors import (
    DeputizeError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    PolicyDenied,
    ProviderUnavailable,
    RateLimited,
)
from deputize.toolkits._shared.mail.compose import format_date
from deputize.toolkits._shared.page import tokens
from deputize.toolkits.gmail import TOOLKIT, deliver
from tests.toolkits.mailbox import COMPOSE, MAIL, MODIFY, READONLY, SEND, SETTINGS, Mailbox, container, leaf, message
from tests.toolkits.tool_driver import ALICE, KEY, NOW, Done, Driver, drive

SENDER = Driver(TOOLKIT, frozenset({SEND}))
READER = Driver(TOOLKIT, frozenset({SEND, READONLY}))
DRAFTER = Driver(TOOLKIT, frozenset({COMPOSE}))
OWNER = Driver(TOOLKIT, frozenset({MODIFY}))
LETTER = {"to": ["bob@example.test"], "subject": "Hi", "body": "Hello **Bob**"}
ORIGINAL = message(
    "m1",
    "Question?\n\n> older",
    thread="t1",
    to="Alice <alice@example.test>, Dora <dora@example.test>",
    subject="Plan",
    headers={"Cc": "Carol <carol@example.test>", "References": "<m0@example.test>"},
)


def send(box: Mailbox, driver: Driver = SENDER, **more: Any) -> Done:
    return driver.run("send_email", LETTER | more, box)


def text(mail: EmailMessage, kind: str = "plain") -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def addresses(mail: EmailMessage, field: str) -> list[str]:
    return [one.addr_spec for one in mail[field].addresses] if mail[field] else []


# ----------------------------------------------------------------- what leaves


def test_email_is_sent_in_one_step_with_the_send_scope_only() -> None:
    box = Mailbox()
    done = send(box, cc=["Carol <carol@example.test>"], bcc=["dora@example.test"])
    assert done.result == {
        "id": "m1",
        "thread": "t-m1",
        "to": ["bob@example.test"],
        "cc": ["Carol <carol@example.test>"],
        "bcc": ["dora@example.test"],
        "subject": "Hi",
        "url": "https://mail.google.com/mail/?authuser=alice@example.test#all/t-m1",
        "summary": "Sent.",
    }
    assert [(one.method, one.path, one.call) for one in done.requests] == [("POST", "/users/me/messages/send", "write")]
    (mail,) = box.sent
    assert (addresses(mail, "To"), addresses(mail, "Cc"), addresses(mail, "Bcc")) == (
        ["bob@example.test"],
        ["carol@example.test"],
        ["dora@example.test"],
    )
    assert mail["From"] is None and mail["Message-ID"] is None
    assert mail["X-Deputize-Key"] == KEY.hex[:16]
    assert "<strong>Bob</strong>" in text(mail, "html")


@pytest.mark.parametrize("scope", [COMPOSE, MODIFY, MAIL])
def test_email_is_sent_in_two_steps_with_the_compose_scope(scope: str) -> None:
    box = Mailbox()
    done = send(box, Driver(TOOLKIT, frozenset({scope})))
    assert [one.path for one in done.requests] == ["/users/me/drafts", "/users/me/drafts/send"]
    assert [note["draft"] for note in done.notes] == ["r2"]
    assert done.result["id"] == "m3"
    assert len(box.sent) == 1 and box.drafts == {}


def test_key_header_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliver, "KEY_HEADER", "")
    box = Mailbox()
    send(box)
    assert not [name for name in box.sent[0].keys() if name.startswith("X-")]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"to": []}, "to"),
        ({"to": ["nobody"]}, r"to\[0\]"),
        ({"to": ["bob@example.test\r\nBcc: eve@decoy.test"]}, r"to\[0\]"),
        ({"cc": ["c@example.test", "Eve\n<eve@decoy.test>"]}, r"cc\[1\]"),
        ({"bcc": ["a@x.test, b@x.test"]}, r"bcc\[0\]"),
        ({"subject": "Hi\r\nBcc: eve@decoy.test"}, "subject"),
        ({"subject": "Hi\nBcc: eve@decoy.test"}, "subject"),
        ({"send_as": "x\r\nBcc: eve@decoy.test"}, "send_as"),
        ({"to": [f"p{n}@example.test" for n in range(101)]}, "100"),
        ({"body": "<img src='https://decoy.test/t.gif'>", "body_format": "html"}, "body"),
        ({"body_format": "rtf"}, "body_format"),
        ({"to": "bob@example.test, eve@decoy.test"}, r"to\[0\]"),
        ({"to": {"bob@example.test": "Bob"}}, "to"),
    ],
)
def test_unsendable_email_is_refused_by_field_before_any_request(wrong: dict[str, Any], named: str) -> None:
    box = Mailbox()
    with pytest.raises(InvalidInput, match=named):
        send(box, **wrong)
    assert box.asked == []


def test_subject_with_an_encoded_header_is_sent_as_text() -> None:
    box = Mailbox()
    hidden = "=?utf-8?q?hi=0D=0ABcc:_eve@decoy.test?="
    send(box, subject=hidden, to=[f'"{hidden}" <bob@example.test>'])
    assert box.sent[0]["Bcc"] is None
    assert str(box.sent[0]["Subject"]) == hidden
    assert addresses(box.sent[0], "To") == ["bob@example.test"]


def test_other_names_of_the_body_are_accepted() -> None:
    box = Mailbox()
    arguments = {"to": ["bob@example.test"], "subject": "s", "message": "words", "content_type": "plain"}
    SENDER.run("send_email", arguments, box)
    assert text(box.sent[0]) == "words\n" and box.sent[0].get_content_type() == "text/plain"


def test_send_as_address_is_checked_if_reading_is_granted() -> None:
    alias = {"sendAsEmail": "Team@example.test", "displayName": "The Team", "verificationStatus": "accepted"}
    pending = {"sendAsEmail": "new@example.test", "verificationStatus": "pending"}
    box = Mailbox(aliases=[alias, pending])
    send(box, READER, send_as="team@example.test")
    assert str(box.sent[0]["From"]) == "The Team <Team@example.test>"
    for wrong in ("eve@decoy.test", "new@example.test"):
        with pytest.raises(InvalidInput, match="send_as"):
            send(box, READER, send_as=wrong)
    assert len(box.sent) == 1


def test_send_as_address_is_left_to_gmail_if_it_cannot_be_checked() -> None:
    box = Mailbox()
    done = send(box, send_as="team@example.test")
    assert [one.path for one in done.requests] == ["/users/me/messages/send"]
    assert str(box.sent[0]["From"]) == "team@example.test"


# ----------------------------------------------------------------- reply


def reply(box: Mailbox, driver: Driver = READER, **more: Any) -> Done:
    return driver.run("reply_email", {"message_id": "m1", "body": "Yes.", **more}, box)


def test_reply_joins_its_conversation() -> None:
    box = Mailbox.of(ORIGINAL)
    done = reply(box)
    (mail,) = box.sent
    assert done.requests[-1].json["threadId"] == "t1"
    assert (mail["In-Reply-To"], str(mail["References"])) == (
        "<m1@example.test>",
        "<m0@example.test> <m1@example.test>",
    )
    assert str(mail["Subject"]) == "Re: Plan"
    assert (addresses(mail, "To"), addresses(mail, "Cc")) == (["bob@example.test"], [])
    assert text(mail) == (
        "Yes.\n\nOn Tue, 24 Nov 2026 at 14:00 UTC, Bob <bob@example.test> wrote:\n> Question?\n>\n> > older\n"
    )
    assert 'class="gmail_quote"' in text(mail, "html")
    assert done.result["thread"] == "t1" and done.result["to"] == ["Bob <bob@example.test>"]
    assert "Question" not in json.dumps(done.result)


def test_reply_without_quote_has_only_its_own_text() -> None:
    box = Mailbox.of(ORIGINAL)
    reply(box, quote=False)
    assert text(box.sent[0]) == "Yes.\n"


@pytest.mark.parametrize("tool", ["send_email", "reply_email"])
def test_letter_markup_is_previewed_if_the_call_gave_html(tool: str) -> None:
    to = LETTER if tool == "send_email" else {"message_id": "m1"}
    for body_format, body in (("html", '<p>Yes<i style="display:none">unseen</i></p>'), ("auto", "**Yes**")):
        done = READER.run(tool, to | {"body": body, "body_format": body_format}, Mailbox.of(ORIGINAL))
        assert ("unseen" in str(done.shown[0].fields.get("html"))) == (body_format == "html")


def test_reply_all_reaches_everybody_except_the_users_addresses() -> None:
    box = Mailbox.of(ORIGINAL, aliases=[{"sendAsEmail": "dora@example.test", "isPrimary": True}])
    reply(box, all=True, cc=["erin@example.test", "bob@example.test"], bcc=["carol@example.test"])
    (mail,) = box.sent
    assert addresses(mail, "To") == ["bob@example.test"]
    assert addresses(mail, "Cc") == ["carol@example.test", "erin@example.test"]
    assert addresses(mail, "Bcc") == []


@pytest.mark.parametrize(
    ("changes", "to"),
    [
        ({"headers": {"Reply-To": "list@example.test"}}, ["list@example.test"]),
        ({"headers": {"Reply-To": "nonsense"}}, ["bob@example.test"]),
        ({"sender": "Alice <ALICE@example.test>", "to": "bob@example.test"}, ["bob@example.test"]),
        ({"sender": "x@other.test", "labels": ["SENT"], "to": "dora@example.test"}, ["dora@example.test"]),
        ({"sender": "alice@example.test", "to": "alice@example.test"}, ["alice@example.test"]),
        ({"sender": "=?utf-8?q?B=0D=0ABcc:_eve@decoy.test?= <bob@example.test>"}, ["bob@example.test"]),
        ({"sender": "bob@example.test\r\nBcc: eve@decoy.test <bob@example.test>"}, ["bob@example.test"]),
    ],
)
def test_reply_goes_to_the_originals_reply_address(changes: dict[str, Any], to: list[str]) -> None:
    box = Mailbox.of(message("m1", **changes))
    reply(box)
    assert addresses(box.sent[0], "To") == to
    assert box.sent[0]["Bcc"] is None


@pytest.mark.parametrize(
    "subject",
    [
        "=?utf-8?q?hi=0D=0ABcc:_eve@decoy.test?=",
        "=?utf-8?b?PT91dGYtOD9xP2E9MEFCY2M6X3g/PQ==?=",
        "a\r\nBcc: eve@decoy.test",
    ],
)
def test_hostile_subject_or_id_adds_nothing_to_the_reply(subject: str) -> None:
    box = Mailbox.of(message("m1", subject=subject, headers={"Message-ID": "<a@b>\r\nBcc: eve@decoy.test"}))
    reply(box)
    (mail,) = box.sent
    assert mail["Bcc"] is None
    assert str(mail["Subject"]).startswith("Re: ")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sender": "", "to": ""}, "no address"),
        ({"sender": "no address"}, "no address"),
        ({"labels": ["DRAFT"]}, "draft"),
    ],
)
def test_unanswerable_mail_is_refused(changes: dict[str, Any], why: str) -> None:
    box = Mailbox.of(message("m1", **changes))
    with pytest.raises(InvalidInput, match=why):
        reply(box)
    assert box.sent == []


def test_reply_needs_reading_and_sending() -> None:
    needs = TOOLKIT.tools["gmail_reply_email"].needs_of({})
    assert {need.ask for need in needs} == {READONLY, SEND}
    assert all(need.is_met_by(frozenset({MODIFY})) for need in needs)


# ----------------------------------------------------------------- forward


FILES = container(
    "mixed",
    leaf("text/plain", "See files."),
    leaf("application/pdf", b"inline data", filename="=?utf-8?q?=C3=9C.pdf?="),
    leaf("application/zip", filename="../a.zip", attachment="A1"),
    leaf("text/csv", "a;b", filename="t.csv"),
)


def forward(box: Mailbox, driver: Driver = READER, **more: Any) -> Done:
    return driver.run("forward_email", {"message_id": "m1", "to": ["dora@example.test"], **more}, box)


def test_forwarded_email_carries_text_and_files() -> None:
    box = Mailbox.of(message("m1", FILES, subject="Plan"), attachments={"A1": b"\x00zip\xff"})
    done = forward(box, body="FYI")
    (mail,) = box.sent
    assert text(mail).startswith("FYI\n\n---------- Forwarded message ---------\nFrom: Bob <bob@example.test>\n")
    assert text(mail).endswith("\n\nSee files.\n")
    assert [(one.get_filename(), one.get_payload(decode=True)) for one in mail.iter_attachments()] == [
        ("\u00dc.pdf", b"inline data"),
        ("a.zip", b"\x00zip\xff"),
        ("t.csv", b"a;b"),
    ]
    assert str(mail["Subject"]) == "Fwd: Plan"
    assert mail["In-Reply-To"] is None and mail["References"] is None
    assert "threadId" not in done.requests[-1].json
    assert done.result["files"] == ["\u00dc.pdf", "a.zip", "t.csv"]


def test_forwarded_email_can_leave_its_files_out() -> None:
    box = Mailbox.of(message("m1", FILES))
    done = forward(box, attachments=False)
    assert list(box.sent[0].iter_attachments()) == []
    assert "files" not in done.result


def test_too_large_forwarded_files_are_refused_before_fetching() -> None:
    big = leaf("application/zip", filename="big.zip", attachment="A1")
    big["body"]["size"] = 30_000_000
    box = Mailbox.of(message("m1", container("mixed", leaf("text/plain", "x"), big)))
    with pytest.raises(InvalidInput, match="too large") as refused:
        forward(box)
    assert "attachments=false" in refused.value.hint
    assert [one.path for one in box.asked] == ["/users/me/messages/{id}"]


def test_forwarded_files_are_counted_together_before_the_preview() -> None:
    half = leaf("application/zip", filename="half.zip", attachment="A1")
    half["body"]["size"] = 15_000_000
    box = Mailbox.of(message("m1", container("mixed", leaf("text/plain", "x"), half)))
    own = File("own.zip", "application/zip", bytes(15_000_000))
    driver = replace(READER, files={"file_own": own})
    call = {"message_id": "m1", "to": ["dora@example.test"], "add_attachments": ["file_own"]}
    done = Done(files=driver.files)
    with pytest.raises(InvalidInput, match="too large"):
        drive(driver.start("forward_email", call), box, begun=done)
    assert done.shown == [] and [one.path for one in box.asked] == ["/users/me/messages/{id}"]


def test_unfetchable_file_stops_the_forward() -> None:
    box = Mailbox.of(message("m1", FILES))
    with pytest.raises(NotFound):
        forward(box)
    assert box.sent == []


def test_hidden_text_of_the_original_is_not_forwarded() -> None:
    box = Mailbox.of(message("m1", leaf("text/html", "<p>Seen</p><p hidden>SECRET</p>")))
    forward(box)
    assert "Seen" in text(box.sent[0]) and "SECRET" not in box.sent[0].as_string()


# ----------------------------------------------------------------- at most once


def test_lost_one_step_answer_without_read_scope_is_unknown() -> None:
    box = Mailbox()
    box.lose("POST", "/users/me/messages/send")
    with pytest.raises(OutcomeUnknown):
        send(box)
    assert len(box.sent) == 1
    assert [one.path for one in box.asked] == ["/users/me/messages/send"]


def test_lost_one_step_answer_is_found_by_its_mark() -> None:
    box = Mailbox.of(message("old", labels=["SENT"]))
    box.lose("POST", "/users/me/messages/send")
    done = send(box, READER)
    assert done.result["id"] == "m1"
    assert len(box.sent) == 1
    assert dict(done.requests[1].params or {})["q"] == "to:bob@example.test in:sent newer_than:1d"


@pytest.mark.parametrize("lost", [OutcomeUnknown("lost"), ProviderUnavailable("reset", sent=True)], ids=repr)
@pytest.mark.parametrize("driver", [READER, SENDER])
def test_mail_not_found_after_a_lost_answer_is_unknown(lost: DeputizeError, driver: Driver) -> None:
    box = Mailbox()
    box.fail("POST", "/users/me/messages/send", lost)
    with pytest.raises(OutcomeUnknown):
        send(box, driver)


def test_failed_search_leaves_the_outcome_unknown() -> None:
    box = Mailbox()
    box.lose("POST", "/users/me/messages/send")
    box.fail("GET", "/users/me/messages", RateLimited("later"))
    with pytest.raises(OutcomeUnknown):
        send(box, READER)


def test_lost_second_step_counts_as_sent_if_the_draft_is_gone() -> None:
    box = Mailbox()
    box.lose("POST", "/users/me/drafts/send")
    done = send(box, DRAFTER)
    assert len(box.sent) == 1
    assert done.result["summary"] == "Sent; Gmail does not say under which id."
    assert "id" not in done.result


def test_sent_mail_is_named_if_reading_is_granted() -> None:
    box = Mailbox.of(message("before", thread="t-m1", labels=["SENT"], at=NOW - 86400))
    box.lose("POST", "/users/me/drafts/send")
    done = send(box, OWNER)
    assert done.result["id"] == "m3" and len(box.sent) == 1


def test_second_step_is_repeated_after_two_checks_found_it_undone() -> None:
    box = Mailbox()
    box.fail("POST", "/users/me/drafts/send", OutcomeUnknown("lost"))
    done = send(box, DRAFTER)
    assert len(box.sent) == 1 and done.result["id"] == "m3"
    assert [one.path.rpartition("/")[2] for one in done.requests] == ["drafts", "send", "{id}", "{id}", "send"]


def test_draft_shown_as_sent_is_not_sent_again() -> None:
    box = Mailbox()
    box.fail("POST", "/users/me/drafts/send", OutcomeUnknown("lost"))

    def answer(request: Request) -> Any:
        found = box(request)
        if request.path == "/users/me/drafts/{id}":
            found["message"]["labelIds"] = ["SENT"]
        return found

    done = DRAFTER.run("send_email", LETTER, answer)
    assert done.result["summary"] == "Sent." and box.sent == []


def test_two_lost_answers_are_unknown_if_the_draft_stays() -> None:
    box = Mailbox()
    box.fail("POST", "/users/me/drafts/send", OutcomeUnknown("lost"), times=5)
    with pytest.raises(OutcomeUnknown):
        send(box, DRAFTER)
    assert sum(one.path == "/users/me/drafts/send" for one in box.asked) == 2


@pytest.mark.parametrize(
    "error", [ProviderUnavailable("down"), RateLimited("wait"), InvalidInput("no"), PolicyDenied("no")]
)
@pytest.mark.parametrize("driver", [SENDER, READER, DRAFTER])
def test_refusal_is_certain_and_raised(driver: Driver, error: DeputizeError) -> None:
    box = Mailbox()
    for path in ("/users/me/messages/send", "/users/me/drafts/send"):
        box.fail("POST", path, error)
    with pytest.raises(type(error)):
        send(box, driver)
    assert box.sent == []
    assert not any(one.method == "GET" for one in box.asked)


@pytest.mark.parametrize("path", ["/users/me/drafts/{id}", "/users/me/threads/{id}"])
def test_failed_check_does_not_cause_a_second_mail(path: str) -> None:
    box = Mailbox()
    box.lose("POST", "/users/me/drafts/send")
    box.fail("GET", path, RateLimited("wait"))
    try:
        send(box, OWNER)
    except OutcomeUnknown:
        assert path == "/users/me/drafts/{id}"
    assert len(box.sent) == 1


def test_draft_with_a_lost_answer_is_found_by_its_mark_and_sent() -> None:
    box = Mailbox()
    box.lose("POST", "/users/me/drafts")
    send(box, DRAFTER)
    assert len(box.sent) == 1 and box.drafts == {}


def test_failed_draft_means_nothing_was_sent() -> None:
    box = Mailbox()
    box.fail("POST", "/users/me/drafts", OutcomeUnknown("lost"), times=2)
    with pytest.raises(ProviderUnavailable, match="nothing was sent"):
        send(box, DRAFTER)
    box = Mailbox()
    box.fail("POST", "/users/me/drafts", OutcomeUnknown("lost"))
    send(box, DRAFTER)
    assert len(box.sent) == 1


class Died(Exception):
    """Stands for the death of the process."""


def die_after(box: Mailbox, requests: int) -> Callable[[Request], Any]:
    """Serve this many requests; then the process dies, with the last request done or not."""
    seen = 0

    def answer(request: Request) -> Any:
        nonlocal seen
        seen += 1
        found = box(request)
        if seen >= requests:
            raise Died
        return found

    return answer


ACTS: dict[str, dict[str, Any]] = {
    "send_email": LETTER,
    "reply_email": {"message_id": "m1", "body": "Yes."},
    "forward_email": {"message_id": "m1", "to": ["dora@example.test"]},
    "send_draft": {"draft_id": "r1"},
}


def box_with_draft() -> Mailbox:
    kept = message("m9", "Draft", thread="t9", to="bob@example.test", labels=["DRAFT"])
    kept["raw"] = "VG86IGJvYkBleGFtcGxlLnRlc3QNCg0KRHJhZnQ="
    return Mailbox.of(ORIGINAL, drafts={"r1": {"id": "r1", "message": kept}})


def notes_until_death(name: str, box: Mailbox, requests: int) -> list[Mapping[str, Any]] | None:
    """Return what was noted before the process died; None if it lived."""
    noted: list[Mapping[str, Any]] = []
    steps, answer = OWNER.start(name, ACTS[name]), die_after(box, requests)
    try:
        step = next(steps)
        for _ in range(100):
            if isinstance(step, Preview):
                step = steps.send(None)
            elif isinstance(step, SaveNote):
                noted.append(dict(step.data))
                step = steps.send(None)
            elif isinstance(step, list):
                step = steps.send([answer(one) for one in step])
            else:
                assert isinstance(step, Request)
                step = steps.send(answer(step))
    except Died:
        return noted
    except StopIteration:
        return None
    raise AssertionError("no end")


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("requests", range(1, 6))
def test_mail_killed_after_any_request_and_rerun_is_sent_at_most_once(name: str, requests: int) -> None:
    box = box_with_draft()
    noted = notes_until_death(name, box, requests)
    if noted is None:
        assert len(box.sent) == 1
    elif not noted:
        assert box.sent == []
    else:
        done = OWNER.run(name, ACTS[name], box, noted=json.loads(json.dumps(noted[-1])))
        assert len(box.sent) == 1
        assert done.result["summary"].startswith("Sent")
        assert done.result["thread"]


def test_noted_draft_is_sent_even_without_the_compose_scope() -> None:
    box = Mailbox()
    noted = {"draft": "r1", "thread": "t1", "at": NOW}
    done = SENDER.run("send_email", LETTER, box, noted=noted)
    assert box.sent == [] and done.result["thread"] == "t1"


def test_sending_tools_have_the_send_effect_for_all_arguments() -> None:
    for name in ACTS:
        assert TOOLKIT.tools[f"gmail_{name}"].gravest is Effect.SENDS


def test_result_of_a_sent_mail_is_small() -> None:
    many = [f"Somebody With A Long Name <person{n}@department.example.test>" for n in range(50)]
    done = send(Mailbox(), subject="A rather long subject about the quarterly numbers " * 10, cc=many)
    assert tokens(done.result) <= 160
    assert tokens(send(Mailbox()).result) <= 100


def test_account_may_write_to_itself_alone() -> None:
    box = Mailbox()
    send(box, to=[ALICE.name])
    assert addresses(box.sent[0], "To") == [ALICE.name]
    drive(SENDER.start("send_email", LETTER), box)


# ----------------------------------------------------------------- times

BERLIN = ZoneInfo("Europe/Berlin")


def there(box: Mailbox, name: str, **arguments: Any) -> Done:
    """Make a call as a user in Berlin."""
    tool = TOOLKIT.tools[f"gmail_{name}"]
    run = Run(KEY, frozenset({SEND, READONLY, SETTINGS}), ALICE, None, NOW, BERLIN, zone_known=True)
    return drive(tool.begin(tool.validate(arguments), lambda: run), box)


def test_quote_date_is_in_the_users_zone() -> None:
    box = Mailbox.of(ORIGINAL)
    there(box, "reply_email", message_id="m1", body="Yes.")
    assert "On Tue, 24 Nov 2026 at 15:00, Bob <bob@example.test> wrote:" in text(box.sent[0])
    box = Mailbox.of(ORIGINAL)
    there(box, "forward_email", message_id="m1", to=["dora@example.test"])
    assert "\nDate: Tue, 24 Nov 2026 at 15:00\n" in text(box.sent[0])
    assert format_date("x") == format_date(10**30) == ""


def test_search_and_auto_reply_days_are_in_the_users_zone() -> None:
    box = Mailbox()
    done = there(box, "search_emails", after="2026-11-24", before="2026-11-25T09:00")
    midnight = int(datetime(2026, 11, 24, tzinfo=BERLIN).timestamp())
    assert done.requests[0].params and f"after:{midnight} before:{midnight + 33 * 3600}" in done.requests[0].params["q"]
    there(box, "set_vacation", enabled=True, body="Away", after="2026-11-24")
    assert box.vacation["startTime"] == str(midnight * 1000)
