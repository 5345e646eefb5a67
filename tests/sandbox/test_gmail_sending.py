"""Sending, delivery, threads and drafts."""

from __future__ import annotations

import base64
import json
from email.message import EmailMessage
from typing import Any

import pytest

from deputize.sandbox import Sandbox
from tests.sandbox.registered_app import ALICE, BOB, ME, Gmail, TestApp, header, unwrapped, written

UPLOAD = ME.replace("/gmail/v1", "/upload/gmail/v1")


async def test_sent_mail_is_in_sent_and_in_the_recipients_inbox(alice: Gmail, bob: Gmail, sandbox: Sandbox) -> None:
    sent = await alice.post("/messages/send", written(subject="Yes", body="I am in.\n"))
    assert sent["labelIds"] == ["SENT"]
    (mail,) = sandbox.sent(ALICE)
    assert (mail.id, mail.subject, mail.to, mail.text.strip()) == (sent["id"], "Yes", BOB, "I am in.")
    (arrived,) = await bob.ids("subject:yes in:inbox is:unread")
    shown = await bob.get(f"/messages/{arrived}")
    assert arrived != sent["id"] and header(shown, "Delivered-To") == BOB
    assert header(shown, "Authentication-Results").startswith("mx.google.com; dkim=pass")
    assert sandbox.sent(BOB) == [] and sandbox.sent("decoy@example.test") == []


async def test_sender_is_always_the_account_or_its_alias(alice: Gmail, sandbox: Sandbox) -> None:
    for claimed in (BOB, "Bob Brown <bob@example.test>", "support@example.test", "x\u0130 <alice@example.test>"):
        await alice.post("/messages/send", written(From=claimed))
    assert [mail.sender for mail in sandbox.sent(ALICE)] == [
        "Alice Adams <alice@example.test>",
        "Alice Adams <alice@example.test>",
        "Alice Adams <support@example.test>",
        "Alice Adams <alice@example.test>",
    ]


async def test_message_id_is_replaced_and_other_headers_stay(alice: Gmail, sandbox: Sandbox) -> None:
    await alice.post("/messages/send", written(Message_ID="<mine@example.test>", X_Deputize_Key="0123456789abcdef"))
    (mail,) = sandbox.sent(ALICE)
    assert mail.header("Message-ID") != "<mine@example.test>" and mail.header("X-Deputize-Key") == "0123456789abcdef"
    assert await alice.ids("rfc822msgid:mine@example.test") == []
    assert await alice.ids(f"rfc822msgid:{mail.header('Message-ID')}") == [mail.id]


async def test_bcc_stays_with_the_sender_and_all_receive_a_copy(alice: Gmail, bob: Gmail, sandbox: Sandbox) -> None:
    await alice.post("/messages/send", written(to="someone@elsewhere.example.test", Cc=ALICE, Bcc=BOB))
    (mail,) = sandbox.sent(ALICE)
    assert mail.header("Bcc") == BOB and mail.labels == ["SENT", "INBOX", "UNREAD"]
    (arrived,) = await bob.ids("subject:hello")
    assert header(await bob.get(f"/messages/{arrived}"), "Bcc") == ""
    assert BOB.encode() not in unwrapped((await bob.get(f"/messages/{arrived}", format="raw"))["raw"]).replace(
        b"Delivered-To: bob@example.test", b""
    )


async def test_mail_body_arrives_byte_for_byte(alice: Gmail, bob: Gmail) -> None:
    message = EmailMessage()
    message["To"], message["Subject"] = BOB, "Grüße " * 20
    message.set_content("ä\n" * 3)
    message.add_attachment(bytes(range(256)), maintype="application", subtype="octet-stream", filename="ä.bin")
    raw = message.as_bytes()
    await alice.post("/messages/send", {"raw": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()})
    (arrived,) = await bob.ids("has:attachment")
    got = unwrapped((await bob.get(f"/messages/{arrived}", format="raw"))["raw"])
    assert got.partition(b"\r\n\r\n")[2] == raw.partition(b"\n\n")[2]
    shown = await bob.get(f"/messages/{arrived}")
    assert header(shown, "Subject") == ("Grüße " * 20).strip()
    attachment = shown["payload"]["parts"][1]["body"]["attachmentId"]
    assert unwrapped((await bob.get(f"/messages/{arrived}/attachments/{attachment}"))["data"]) == bytes(range(256))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "'raw' RFC822"),
        ({"raw": ""}, "'raw' RFC822"),
        ({"raw": 7}, "'raw' RFC822"),
        ({"raw": "§"}, "Base64 decoding failed"),
        (written(to=""), "Recipient address required"),
        (written(to="nobody"), "Invalid To header"),
        ([], "Invalid JSON"),
        (written() | {"threadId": 7}, "Invalid thread_id"),
    ],
)
async def test_unsendable_mail_is_refused(alice: Gmail, sandbox: Sandbox, body: Any, message: str) -> None:
    reply = await alice.send("POST", "/messages/send", body)
    assert reply.status_code == 400 and message in reply.json()["error"]["message"]
    assert sandbox.sent(ALICE) == []


async def test_mail_beyond_the_size_limit_is_refused(app: TestApp, sandbox: Sandbox) -> None:
    token = (await app.connect("send"))["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "message/rfc822"}
    mail = b"To: bob@example.test\r\n\r\n" + b"x" * 36_700_160
    reply = await app.http.post(f"{UPLOAD}/messages/send?uploadType=media", content=mail, headers=headers)
    assert reply.status_code == 413 and sandbox.sent(ALICE) == []


async def dinner(gmail: Gmail) -> dict[str, str]:
    """The mail from Bob, and what a reply to it needs."""
    (id,) = await gmail.ids("subject:dinner from:bob")
    shown = await gmail.get(f"/messages/{id}", format="metadata")
    return {"thread": shown["threadId"], "cited": header(shown, "Message-ID"), "subject": header(shown, "Subject")}


async def test_reply_joins_the_thread_on_both_sides(alice: Gmail, bob: Gmail) -> None:
    asked = await dinner(alice)
    reply = written(subject=f"Re: {asked['subject']}", References=asked["cited"], In_Reply_To=asked["cited"])
    sent = await alice.post("/messages/send", reply | {"threadId": asked["thread"]})
    assert sent["threadId"] == asked["thread"]
    (row,) = (await bob.get("/threads", q="subject:dinner"))["threads"]
    thread = await bob.get(f"/threads/{row['id']}")
    assert [message["labelIds"][0] for message in thread["messages"]] == ["SENT", "INBOX"]


@pytest.mark.parametrize("missing", ["threadId", "References", "subject"])
async def test_reply_without_matching_headers_starts_its_own_thread(alice: Gmail, missing: str) -> None:
    asked = await dinner(alice)
    subject = "Something else" if missing == "subject" else f"Re: {asked['subject']}"
    cites = {} if missing == "References" else {"In_Reply_To": asked["cited"]}
    thread = {} if missing == "threadId" else {"threadId": asked["thread"]}
    sent = await alice.post("/messages/send", written(subject=subject, **cites) | thread)
    assert sent["threadId"] == sent["id"]


async def test_unknown_thread_is_refused(alice: Gmail, sandbox: Sandbox) -> None:
    reply = await alice.send("POST", "/messages/send", written() | {"threadId": "0f" * 8})
    assert reply.status_code == 404 and sandbox.sent(ALICE) == []


async def test_mail_can_be_uploaded_alone_or_with_its_thread(app: TestApp, sandbox: Sandbox, alice: Gmail) -> None:
    asked = await dinner(alice)
    headers = {"Authorization": f"Bearer {(await app.connect('send'))['access_token']}"}
    reply = written(subject=f"Re: {asked['subject']}", In_Reply_To=asked["cited"])
    mail = base64.urlsafe_b64decode(reply["raw"])
    media = await app.http.post(
        f"{UPLOAD}/messages/send?uploadType=media",
        content=mail,
        headers=headers | {"Content-Type": "message/rfc822"},
    )
    about = json.dumps({"threadId": asked["thread"]}).encode()
    body = b"\r\n".join(
        [
            *(b"--frame", b"Content-Type: application/json", b"", about),
            *(b"--frame", b"Content-Type: message/rfc822", b"", mail, b"--frame--", b""),
        ]
    )
    kind = {"Content-Type": "multipart/related; boundary=frame"}
    both = await app.http.post(f"{UPLOAD}/messages/send?uploadType=multipart", content=body, headers=headers | kind)
    assert media.json()["threadId"] == media.json()["id"] and both.json()["threadId"] == asked["thread"]
    assert [sent.text.strip() for sent in sandbox.sent(ALICE)] == ["Hi!", "Hi!"]
    for bad in ("", "?uploadType=resumable", "?uploadType=multipart"):
        assert (await app.http.post(f"{UPLOAD}/messages/send{bad}", content=mail, headers=headers)).status_code == 400


async def test_draft_is_created_changed_listed_and_deleted(alice: Gmail, sandbox: Sandbox) -> None:
    made = await alice.post("/drafts", {"message": written(subject="First")})
    assert made["message"]["labelIds"] == ["DRAFT"] and await alice.ids("in:drafts") == [made["message"]["id"]]
    reply = await alice.send("PUT", f"/drafts/{made['id']}", {"message": written(subject="Second")})
    changed = reply.json()
    assert changed["id"] == made["id"] and changed["message"]["id"] != made["message"]["id"]
    shown = await alice.get(f"/drafts/{made['id']}", format="metadata")
    assert header(shown["message"], "Subject") == "Second"
    listed = await alice.get("/drafts", q="second")
    assert listed["drafts"] == [
        {"id": made["id"], "message": {key: changed["message"][key] for key in ("id", "threadId")}}
    ]
    assert await alice.get("/drafts", q="first") == {"resultSizeEstimate": 0}
    assert [mail.subject for mail in sandbox.mailbox(ALICE).drafts()] == ["Second"]
    assert (await alice.send("DELETE", f"/drafts/{made['id']}")).status_code == 204
    assert (await alice.send("DELETE", f"/drafts/{made['id']}")).status_code == 404
    assert sandbox.mailbox(ALICE).drafts() == [] and sandbox.sent(ALICE) == []


async def test_sending_a_draft_removes_it(alice: Gmail, bob: Gmail, sandbox: Sandbox) -> None:
    made = await alice.post("/drafts", {"message": written(subject="Once")})
    sent = await alice.post("/drafts/send", {"id": made["id"]})
    assert sent["labelIds"] == ["SENT"] and sent["threadId"] == made["message"]["threadId"]
    again = await alice.send("POST", "/drafts/send", {"id": made["id"]})
    assert again.status_code == 404 and (await alice.send("GET", f"/drafts/{made['id']}")).status_code == 404
    assert len(sandbox.sent(ALICE)) == 1 and len(await bob.ids("subject:once")) == 1
    assert await alice.ids("in:drafts") == []


async def test_draft_can_be_replaced_while_it_is_sent(alice: Gmail, sandbox: Sandbox) -> None:
    made = await alice.post("/drafts", {"message": written(subject="Draft")})
    await alice.post("/drafts/send", {"id": made["id"], "message": written(subject="Final")})
    assert [mail.subject for mail in sandbox.sent(ALICE)] == ["Final"]


async def test_draft_is_kept_when_it_cannot_be_sent(alice: Gmail, sandbox: Sandbox) -> None:
    made = await alice.post("/drafts", {"message": written(to="")})
    assert (await alice.send("POST", "/drafts/send", {"id": made["id"]})).status_code == 400
    assert (await alice.send("POST", "/drafts/send", {})).status_code == 400
    assert len(sandbox.mailbox(ALICE).drafts()) == 1 and sandbox.sent(ALICE) == []


async def test_reply_draft_is_sent_in_its_thread(alice: Gmail) -> None:
    asked = await dinner(alice)
    reply = written(subject=f"Re: {asked['subject']}", In_Reply_To=asked["cited"]) | {"threadId": asked["thread"]}
    made = await alice.post("/drafts", {"message": reply})
    assert made["message"]["threadId"] == asked["thread"]
    assert (await alice.post("/drafts/send", {"id": made["id"]}))["threadId"] == asked["thread"]


async def test_draft_of_another_user_is_not_found(alice: Gmail, bob: Gmail) -> None:
    made = await alice.post("/drafts", {"message": written()})
    for verb, path, body in (
        ("GET", f"/drafts/{made['id']}", None),
        ("DELETE", f"/drafts/{made['id']}", None),
        ("PUT", f"/drafts/{made['id']}", {"message": written()}),
        ("POST", "/drafts/send", {"id": made["id"]}),
    ):
        assert (await bob.send(verb, path, body)).status_code == 404
    assert (await alice.send("POST", "/drafts", {})).status_code == 400
