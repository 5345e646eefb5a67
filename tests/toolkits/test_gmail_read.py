"""gmail_whoami, gmail_get_email, gmail_get_thread."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core.errors import InvalidInput, NotFound
from deputize.core.vault.grant import Account
from deputize.toolkits._shared.html import Page, read_html
from deputize.toolkits._shared.mail import incoming
from deputize.toolkits._shared.page import tokens
from deputize.toolkits.gmail import TOOLKIT
from tests.toolkits.mailbox import COMPOSE, MAIL, MODIFY, READONLY, SEND, Mailbox, container, leaf, message, own
from tests.toolkits.tool_driver import NOW, Driver

READER = Driver(TOOLKIT, frozenset({READONLY}))


def get(box: Mailbox, driver: Driver = READER, **arguments: Any) -> dict[str, Any]:
    result = driver.run("get_email", arguments, box).result
    assert isinstance(result, dict)
    return result


# ----------------------------------------------------------------- whoami


def test_whoami_needs_no_request_unless_reading_is_granted() -> None:
    done = Driver(TOOLKIT, frozenset({SEND, "openid"})).run("whoami", {}, Mailbox())
    assert done.result == {"email": "alice@example.test", "scopes": ["send"]}
    assert done.requests == []
    assert TOOLKIT.tools["gmail_whoami"].needs_of({}) == ()


@pytest.mark.parametrize("scope", [READONLY, MODIFY, MAIL])
def test_whoami_shows_the_mailbox_size_if_allowed(scope: str) -> None:
    done = Driver(TOOLKIT, frozenset({scope})).run("whoami", {}, Mailbox.of(message()))
    assert (done.result["messages_total"], done.result["threads_total"]) == (1, 1)


def test_whoami_works_without_a_profile() -> None:
    box = Mailbox()
    box.fail("GET", "/users/me/profile", NotFound("no"))
    assert READER.run("whoami", {}, box).result["email"] == "alice@example.test"


# ----------------------------------------------------------------- get_email


def test_email_is_shown_with_all_parts_by_id() -> None:
    payload = container(
        "mixed",
        container("alternative", leaf("text/plain", "New.\n\n> old"), leaf("text/html", "<p>New.<p>&gt; old")),
        leaf("application/pdf", b"12345", filename="report.pdf", attachment="A1"),
    )
    headers = {
        "Cc": "Carol <carol@example.test>",
        "Reply-To": "list@example.test",
        "Authentication-Results": "mx.google.com; dkim=pass; spf=pass; dmarc=pass",
        "List-Unsubscribe": "<https://x.test/u>",
    }
    box = Mailbox.of(
        message("m1", payload, thread="t1", labels=["INBOX", "Label_7"], headers=headers),
        labels=[own("Work", "Label_7")],
    )
    assert get(box, message_id="m1") == {
        "id": "m1",
        "thread": "t1",
        "from": "Bob <bob@example.test>",
        "to": ["alice@example.test"],
        "cc": ["Carol <carol@example.test>"],
        "reply_to": ["list@example.test"],
        "date": "2026-11-24T14:00:00+00:00",
        "subject": "Hello",
        "labels": ["INBOX", "Work"],
        "files": [{"part": "1", "name": "report.pdf", "type": "application/pdf", "size": 5}],
        "unsubscribe": "link",
        "auth": {"dkim": "pass", "spf": "pass", "dmarc": "pass"},
        "body": "New.",
        "quoted_cut": 5,
        "untrusted": True,
        "url": "https://mail.google.com/mail/?authuser=alice@example.test#all/t1",
    }


def test_empty_detail_fields_stay_and_unchecked_auth_is_absent() -> None:
    found = get(Mailbox.of(message("m1", to="", labels=[])), message_id="m1")
    assert (found["to"], found["cc"], found["labels"], found["files"]) == ([], [], [], [])
    assert "auth" not in found and "unsubscribe" not in found


def test_history_is_shown_on_request() -> None:
    box = Mailbox.of(message("m1", "New.\n\n> old"))
    assert get(box, message_id="m1")["body"] == "New."
    assert get(box, message_id="m1", part="quoted")["body"] == "New.\n\n> old"


def test_headers_are_shown_on_request_with_all_files_and_no_text() -> None:
    files = [leaf("application/pdf", b"x", filename=f"{n}.pdf") for n in range(30)]
    box = Mailbox.of(
        message("m1", container("mixed", leaf("text/plain", "words"), *files), subject="=?utf-8?q?Gr=C3=BC?=")
    )
    found = get(box, message_id="m1", part="headers")
    assert "Subject: Gr\u00fc" in found["headers"] and "From: Bob <bob@example.test>" in found["headers"]
    assert "body" not in found and len(found["files"]) == 30
    shorter = get(box, message_id="m1")
    assert len(shorter["files"]) == 5 and shorter["more_files"] == 25


def test_long_body_is_read_in_parts_that_add_up() -> None:
    text = " ".join(f"word{n}" for n in range(3000))
    box = Mailbox.of(message("m1", text))
    pieces, offset = [], 0
    for _ in range(100):
        found = get(box, message_id="m1", offset=offset)
        pieces.append(found["body"])
        assert found.get("total_chars") == len(text)
        if "next_offset" not in found:
            break
        offset = found["next_offset"]
    assert "".join(pieces) == text


def test_text_stored_separately_by_gmail_is_fetched() -> None:
    box = Mailbox.of(message("m1", leaf("text/plain", attachment="A1")), attachments={"A1": "Gr\u00fc\u00dfe".encode()})
    assert get(box, message_id="m1")["body"] == "Gr\u00fc\u00dfe"


def test_draft_is_readable_with_the_compose_scope_alone() -> None:
    box = Mailbox(drafts={"r1": {"id": "r1", "message": message("m9", "Draft words.", labels=["DRAFT", "Label_1"])}})
    writer = Driver(TOOLKIT, frozenset({COMPOSE}))
    done = writer.run("get_email", {"draft_id": "r1"}, box)
    assert (done.result["draft_id"], done.result["id"], done.result["body"]) == ("r1", "m9", "Draft words.")
    assert [one.path for one in done.requests] == ["/users/me/drafts/{id}"]
    (need,) = TOOLKIT.tools["gmail_get_email"].needs_of({"draft_id": "r1", "message_id": None})
    assert need.is_met_by(frozenset({COMPOSE}))


def test_draft_part_that_may_not_be_fetched_is_marked_as_omitted() -> None:
    apart = message("m9", leaf("text/plain", attachment="A1"), labels=["DRAFT"])
    box = Mailbox(drafts={"r1": {"id": "r1", "message": apart}})
    found = Driver(TOOLKIT, frozenset({COMPOSE})).run("get_email", {"draft_id": "r1"}, box).result
    assert found["body_omitted"] is True and found["body"] == ""


@pytest.mark.parametrize("arguments", [{}, {"message_id": "m1", "draft_id": "r1"}, {"message_id": ""}])
def test_exactly_one_id_is_required_before_any_request(arguments: dict[str, Any]) -> None:
    box = Mailbox()
    with pytest.raises(InvalidInput, match="exactly one"):
        get(box, **arguments)
    assert box.asked == []


def test_id_never_becomes_part_of_a_path() -> None:
    steps = READER.start("get_email", {"message_id": "../drafts/r1?x=y"})
    request = next(steps)
    assert request.path == "/users/me/messages/{id}"  # type: ignore[union-attr]
    assert request.at == {"id": "../drafts/r1?x=y"}  # type: ignore[union-attr]


def test_address_in_a_link_is_escaped() -> None:
    driver = Driver(TOOLKIT, frozenset({READONLY}), account=Account("s", "a+b&c#d@example.test"))
    url = get(Mailbox.of(message("m1", thread="t/1")), driver, message_id="m1")["url"]
    assert url == "https://mail.google.com/mail/?authuser=a%2Bb%26c%23d@example.test#all/t%2F1"


# ----------------------------------------------------------------- get_thread


def thread(count: int, text: str = "Words.") -> Mailbox:
    return Mailbox.of(
        *(
            message(
                f"m{n}", f"{text} {n}\n\n> before", thread="t1", sender=f"P{n % 3} <p{n % 3}@x.test>", at=NOW + 60 * n
            )
            for n in range(count)
        )
    )


def read(box: Mailbox, **arguments: Any) -> dict[str, Any]:
    result = READER.run("get_thread", {"thread_id": "t1", **arguments}, box).result
    assert isinstance(result, dict)
    return result


def test_conversation_is_shown_oldest_first_without_history() -> None:
    found = read(thread(3))
    assert [row["body"] for row in found["items"]] == ["Words. 0", "Words. 1", "Words. 2"]
    assert found["items"][1] == {
        "id": "m1",
        "from": "P1 <p1@x.test>",
        "date": "2026-11-24 14:01",
        "body": "Words. 1",
        "quoted_cut": 8,
        "untrusted": True,
    }
    assert found["people"] == ["P0 <p0@x.test>", "P1 <p1@x.test>", "P2 <p2@x.test>"]
    assert (found["next"], found["truncated"], found["time_zone"], found["untrusted"]) == (None, False, "UTC", True)


def test_long_conversation_shows_its_newest_part_first_and_all_by_cursor() -> None:
    box = thread(25)
    shown: list[str] = []
    cursor = None
    for _ in range(10):
        found = read(box, **({"cursor": cursor} if cursor else {}))
        shown = [row["id"] for row in found["items"]] + shown
        cursor = found["next"]
        if cursor is None:
            break
    assert shown == [f"m{n}" for n in range(25)]


def test_each_email_of_a_conversation_is_fetched_once_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def reading(html: str, **how: bool) -> Page:
        seen.append(html)
        return read_html(html, **how)

    monkeypatch.setattr(incoming, "read_html", reading)
    pages = [f"<p>Mail {n}.<span hidden>unseen</span></p>" + "<p>Long words.</p>" * 400 for n in range(40)]
    box = Mailbox.of(
        *(message(f"m{n}", leaf("text/html", html), thread="t1", at=NOW + 60 * n) for n, html in enumerate(pages))
    )
    found = read(box, limit=40)
    assert [row["hidden_removed"] for row in found["items"]] == [6] * len(found["items"])
    bodies = [html for html in seen if html in pages]
    assert len(bodies) == len(set(bodies)) and len(found["items"]) <= len(bodies) <= len(found["items"]) + 3
    assert found["items"][-1]["body"].startswith("Mail 39.") and 10 <= len(found["items"]) < 20
    rest = read(box, limit=40, cursor=found["next"])
    assert rest["items"][-1]["id"] == f"m{39 - len(found['items'])}"


def test_conversation_of_long_emails_keeps_to_the_budget_without_loss() -> None:
    box = thread(30, "Long words. " * 300)
    found = read(box, limit=30)
    assert tokens(found) <= 4000 and found["truncated"] is True
    assert found["items"][-1]["id"] == "m29"
    rest = read(box, limit=30, cursor=found["next"])
    assert int(rest["items"][-1]["id"][1:]) + 1 == int(found["items"][0]["id"][1:])


def test_message_id_leads_to_its_conversation() -> None:
    done = READER.run("get_thread", {"thread_id": "m1"}, thread(2))
    assert done.result["thread"] == "t1"
    assert [one.path.split("/")[3] for one in done.requests] == ["threads", "messages", "threads"]


def test_unknown_conversation_is_not_found() -> None:
    with pytest.raises(NotFound):
        read(Mailbox())


def test_cursor_of_another_conversation_or_altered_is_refused() -> None:
    box = thread(25)
    cursor = read(box)["next"]
    with pytest.raises(InvalidInput, match="cursor"):
        READER.run("get_thread", {"thread_id": "t2", "cursor": cursor}, box)
    del box.messages["m15"]
    with pytest.raises(InvalidInput, match="changed"):
        read(box, cursor=cursor)
