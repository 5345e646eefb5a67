"""Reading and relabelling mails and threads."""

from __future__ import annotations

import base64
from email import message_from_bytes
from email.message import EmailMessage

import pytest

from deputize.sandbox import Sandbox
from tests.sandbox.registered_app import ALICE, Gmail, header, unwrapped


async def the(gmail: Gmail, q: str) -> str:
    """Return the id of the only mail a query finds."""
    (id,) = await gmail.ids(q)
    return id


async def test_profile_counts_mails_and_threads(alice: Gmail, sandbox: Sandbox) -> None:
    mails = sandbox.mailbox(ALICE).mails()
    profile = await alice.get("/profile")
    assert profile["emailAddress"] == ALICE and profile["messagesTotal"] == len(mails)
    assert profile["threadsTotal"] == len(mails) - 1 and profile["historyId"].isdecimal()


async def test_listing_is_paged_without_gaps_or_repeats(alice: Gmail) -> None:
    everything, token, pages = await alice.ids(), "", 0
    found: list[str] = []
    while pages == 0 or token:
        listed = await alice.get("/messages", maxResults="5", **({"pageToken": token} if token else {}))
        found += [row["id"] for row in listed["messages"]]
        token, pages = listed.get("nextPageToken", ""), pages + 1
    assert (found, pages, len(everything)) == (everything, 3, 14)
    assert (await alice.send("GET", "/messages", pageToken="rubbish")).status_code == 400
    assert (await alice.send("GET", "/messages", maxResults="many")).status_code == 400


async def test_empty_result_has_no_list(alice: Gmail) -> None:
    assert await alice.get("/messages", q="nothinglikethis") == {"resultSizeEstimate": 0}
    assert await alice.get("/threads", q="nothinglikethis") == {"resultSizeEstimate": 0}


async def test_four_formats_show_their_documented_fields(alice: Gmail) -> None:
    id = await the(alice, "subject:dinner")
    minimal = await alice.get(f"/messages/{id}", format="minimal")
    assert minimal["labelIds"] == ["IMPORTANT", "UNREAD", "INBOX", "CATEGORY_PERSONAL"]
    assert minimal["snippet"].startswith("Hi Alice, a few of us") and "payload" not in minimal
    assert minimal["internalDate"] == "1795526640000"
    metadata = await alice.get(f"/messages/{id}", format="metadata", metadataHeaders=["subject", "From"])
    assert metadata["payload"]["headers"] == [
        {"name": "From", "value": "Bob Brown <bob@example.test>"},
        {"name": "Subject", "value": "Dinner on Friday?"},
    ]
    full = await alice.get(f"/messages/{id}")
    assert b"Lantern" in unwrapped(full["payload"]["body"]["data"]) and full["payload"]["partId"] == ""
    raw = await alice.get(f"/messages/{id}", format="RAW")
    assert message_from_bytes(unwrapped(raw["raw"]))["Message-ID"] == "<dinner@mail.example.test>"
    assert (await alice.send("GET", f"/messages/{id}", format="fancy")).status_code == 400


async def test_attachments_are_fetched_by_ids_that_change_per_read(alice: Gmail) -> None:
    id = await the(alice, "subject:invoice")
    first, second = [(await alice.get(f"/messages/{id}"))["payload"]["parts"] for _ in range(2)]
    assert [part["filename"] for part in first] == ["", "invoice-1042.pdf", "items.csv"]
    assert [part["partId"] for part in first] == ["0", "1", "2"]
    assert "data" not in first[2]["body"]
    ids = [parts[2]["body"]["attachmentId"] for parts in (first, second)]
    assert ids[0] != ids[1]
    for attachment in ids:
        got = await alice.get(f"/messages/{id}/attachments/{attachment}")
        assert unwrapped(got["data"]).startswith(b"item,count,price") and got["size"] == first[2]["body"]["size"]
    for wrong in ("!", "bm90aGluZw", "OS9h"):
        assert (await alice.send("GET", f"/messages/{id}/attachments/{wrong}")).status_code == 400


async def test_nested_parts_have_dotted_numbers(alice: Gmail, sandbox: Sandbox) -> None:
    message = EmailMessage()
    message["Subject"] = "nested"
    message.set_content("plain")
    message.add_alternative("<p>rich</p>", subtype="html")
    message.add_attachment(b"x", maintype="application", subtype="octet-stream", filename="x.bin")
    inner = EmailMessage()
    inner["Subject"] = "inner"
    inner.set_content("forwarded")
    message.add_attachment(inner)
    mail = sandbox.mailbox(ALICE).add(message)
    payload = (await alice.get(f"/messages/{mail.id}"))["payload"]
    assert [part["partId"] for part in payload["parts"]] == ["0", "1", "2"]
    assert [part["partId"] for part in payload["parts"][0]["parts"]] == ["0.0", "0.1"]
    assert payload["parts"][2]["mimeType"] == "message/rfc822"
    assert payload["parts"][2]["parts"][0]["partId"] == "2.0"


async def test_headers_are_decoded_and_bodies_keep_their_charset(alice: Gmail) -> None:
    german = await alice.get(f"/messages/{await the(alice, 'gesperrt')}")
    assert header(german, "Subject") == "Grüße aus Köln"
    assert "Schöne" in unwrapped(german["payload"]["body"]["data"]).decode("iso-8859-1")
    japanese = await alice.get(f"/messages/{await the(alice, 'from:yamada')}")
    assert header(japanese, "From") == "山田 <yamada@example.test>"
    assert "火曜日" in unwrapped(japanese["payload"]["body"]["data"]).decode("iso-2022-jp")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no header at all",
        b"Subject: =?utf-9?B?broken?=\r\nContent-Type: text/plain; charset=utf-9\r\n\r\n\xff\xfe",
        b"From: \x80\xff <a@b>\r\nTo: ,,,;;\r\nMessage-ID: []\r\nDate: never\r\n\r\nbody",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\nno parts",
        b"Content-Type: message/rfc822\r\n\r\n",
        b"Content-Disposition: attachment; filename*=utf-8''%FF\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!",
    ],
)
async def test_broken_mails_can_be_listed_searched_and_read(alice: Gmail, sandbox: Sandbox, raw: bytes) -> None:
    mail = sandbox.mailbox(ALICE).add(raw)
    assert mail.id in await alice.ids("-subject:nothing")
    for form in ("full", "metadata", "minimal", "raw"):
        assert (await alice.get(f"/messages/{mail.id}", format=form))["id"] == mail.id
    assert unwrapped((await alice.get(f"/messages/{mail.id}", format="raw"))["raw"]) == raw


async def test_snippet_is_short_and_escaped(alice: Gmail, sandbox: Sandbox) -> None:
    message = EmailMessage()
    message.set_content('<style>p{color:red}</style><p>Tom &amp; "Ann\'s"</p> ' + "long " * 100, subtype="html")
    mail = sandbox.mailbox(ALICE).add(message)
    snippet = (await alice.get(f"/messages/{mail.id}", format="minimal"))["snippet"]
    assert snippet.startswith("Tom &amp; &quot;Ann&#39;s&quot; long") and len(snippet) < 240


async def test_labels_are_added_and_removed(alice: Gmail) -> None:
    id = await the(alice, "subject:dinner")
    body = {"addLabelIds": ["STARRED", "Label_1"], "removeLabelIds": ["UNREAD", "INBOX"]}
    changed = await alice.post(f"/messages/{id}/modify", body)
    assert changed["labelIds"] == ["IMPORTANT", "CATEGORY_PERSONAL", "STARRED", "Label_1"]
    assert await the(alice, "is:starred label:travel") == id


@pytest.mark.parametrize("label", ["SENT", "DRAFT", "Label_77", 7])
async def test_invalid_label_change_is_refused_and_changes_nothing(alice: Gmail, label: object) -> None:
    id = await the(alice, "subject:dinner")
    reply = await alice.send("POST", f"/messages/{id}/modify", {"addLabelIds": ["STARRED", label]})
    assert reply.status_code == 400 and await alice.ids("is:starred subject:dinner") == []


async def test_batch_modify_changes_many_mails_and_ignores_unknown_ids(alice: Gmail) -> None:
    ids = await alice.ids("from:bob")
    body = {"ids": [*ids, "0f" * 8], "addLabelIds": ["STARRED"], "removeLabelIds": ["INBOX"]}
    assert (await alice.send("POST", "/messages/batchModify", body)).status_code == 204
    assert await alice.ids("from:bob is:starred -in:inbox") == ids
    refused: list[dict[str, object]] = [{"ids": []}, {"ids": ["0f" * 8] * 1001}, {}, {"ids": "x"}]
    for bad in refused:
        assert (await alice.send("POST", "/messages/batchModify", bad)).status_code == 400


async def test_trash_hides_a_mail_and_untrash_restores_it(alice: Gmail) -> None:
    id = await the(alice, "subject:dinner")
    before = (await alice.get(f"/messages/{id}", format="minimal"))["labelIds"]
    assert "TRASH" in (await alice.post(f"/messages/{id}/trash"))["labelIds"]
    assert await alice.ids("subject:dinner") == [] and await the(alice, "subject:dinner in:trash") == id
    await alice.post(f"/messages/{id}/trash")
    assert (await alice.post(f"/messages/{id}/untrash"))["labelIds"] == before


async def test_thread_is_read_oldest_first_and_changed_as_a_whole(alice: Gmail) -> None:
    (row,) = (await alice.get("/threads", q="subject:budget"))["threads"]
    thread = await alice.get(f"/threads/{row['id']}")
    assert [header(message, "Subject") for message in thread["messages"]] == ["Budget for Q4", "Re: Budget for Q4"]
    await alice.post(f"/threads/{row['id']}/modify", {"addLabelIds": ["STARRED"]})
    assert len(await alice.ids("subject:budget is:starred")) == 2
    await alice.post(f"/threads/{row['id']}/trash")
    assert await alice.ids("subject:budget") == []
    await alice.post(f"/threads/{row['id']}/untrash")
    assert len(await alice.ids("subject:budget is:starred")) == 2


@pytest.mark.parametrize(("id", "status"), [("0f" * 8, 404), ("not-an-id", 400)])
async def test_unknown_id_is_404_and_malformed_id_is_400(alice: Gmail, id: str, status: int) -> None:
    for verb, path in (
        ("GET", f"/messages/{id}"),
        ("POST", f"/messages/{id}/trash"),
        ("POST", f"/messages/{id}/modify"),
        ("GET", f"/threads/{id}"),
        ("POST", f"/threads/{id}/untrash"),
        ("GET", f"/messages/{id}/attachments/MC8x"),
    ):
        reply = await alice.send(verb, path, {} if verb == "POST" else None)
        reason = reply.json()["error"]["errors"][0]["reason"]
        assert (reply.status_code, reason) == (status, "notFound" if status == 404 else "invalidArgument")


async def test_history_lists_additions_deletions_and_label_changes(alice: Gmail, sandbox: Sandbox) -> None:
    since = (await alice.get("/profile"))["historyId"]
    message = EmailMessage()
    message["Subject"] = "new"
    mail = sandbox.mailbox(ALICE).add(message)
    await alice.post(f"/messages/{mail.id}/modify", {"addLabelIds": ["STARRED"], "removeLabelIds": ["UNREAD"]})
    told = await alice.get("/history", startHistoryId=since)
    assert [next(key for key in row if key.endswith(("ed", "Added"))) for row in told["history"]] == [
        "messagesAdded",
        "labelsAdded",
        "labelsRemoved",
    ]
    assert told["history"][1]["labelsAdded"][0]["labelIds"] == ["STARRED"]
    assert told["history"][0]["messages"] == [{"id": mail.id, "threadId": mail.thread_id}]
    only = await alice.get("/history", startHistoryId=since, historyTypes="labelRemoved")
    assert len(only["history"]) == 1
    assert "history" not in await alice.get("/history", startHistoryId=since, labelId="SPAM")
    assert "history" not in await alice.get("/history", startHistoryId=told["historyId"])


async def test_too_old_history_is_gone(alice: Gmail) -> None:
    assert (await alice.send("GET", "/history", startHistoryId="1")).status_code == 404
    assert (await alice.send("GET", "/history")).status_code == 400


async def test_big_text_part_is_fetched_as_an_attachment(alice: Gmail, sandbox: Sandbox) -> None:
    raw = b"Content-Type: text/plain\r\n\r\n" + b"x" * 1_000_001
    mail = sandbox.mailbox(ALICE).add(raw)
    body = (await alice.get(f"/messages/{mail.id}"))["payload"]["body"]
    got = await alice.get(f"/messages/{mail.id}/attachments/{body['attachmentId']}")
    assert "data" not in body and len(base64.urlsafe_b64decode(got["data"])) == 1_000_001
