"""Attachments, unsubscribing, changes and settings of Gmail, against the sandbox; and large mails as uploads."""

from __future__ import annotations

import hashlib
import json
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core import ActKey, Answer, File, PublicRequest, Request
from deputize.core.errors import InvalidInput, NotFound, OutcomeUnknown
from deputize.toolkits._shared.page import tokens
from deputize.toolkits.gmail import TOOLKIT
from deputize.toolkits.gmail.deliver import MAX_IN_JSON, Outgoing
from deputize.toolkits.gmail.files import MAX_BYTES
from tests.support.discovery import Discovery
from tests.support.lanes import examples, sample
from tests.toolkits.google_driver import ALICE, BOB, Desk, outgoing
from tests.toolkits.mailbox import COMPOSE, LABELS, MODIFY, READONLY, SEND, SETTINGS
from tests.toolkits.tool_driver import KEY

WORDS = b"word after word, " * 2000


def new_desk(*scopes: str) -> Desk:
    desk = Desk(TOOLKIT, frozenset(scopes or (MODIFY, SETTINGS)))
    desk.files = {
        "file_aaaaaaaaaa": File("report.pdf", "application/pdf", b"%PDF-1.4 report"),
        "file_bbbbbbbbbb": File("..\u202e\r\nX: y.txt", "text/plain", b"words"),
    }
    return desk


@pytest.fixture
def desk() -> Desk:
    return new_desk()


def mail_of(desk: Desk, subject: str, person: str = ALICE) -> Any:
    return next(mail for mail in desk.sandbox.mailbox(person).mails() if mail.subject == subject)


# ----------------------------------------------------------------- attachments in


def test_attachment_is_stored_under_a_handle_and_its_text_read(desk: Desk) -> None:
    id = mail_of(desk, "Invoice 1042").id
    table = desk.run("get_attachment", {"message_id": id, "part": "items.csv"})
    kept = desk.files[table["handle"]]
    assert kept.name == "items.csv" and table["text"].startswith("item,count,price")
    assert table["sha256"] == hashlib.sha256(kept.content).hexdigest() and table["untrusted"] is True
    paper = desk.run("get_attachment", {"message_id": id, "part": "invoice-1042.pdf"})
    assert desk.files[paper["handle"]].content.startswith(b"%PDF") and "text" not in paper
    assert "%PDF" not in json.dumps(paper)


def test_listed_part_is_the_part_fetched(desk: Desk) -> None:
    id = mail_of(desk, "Invoice 1042").id
    for one in desk.run("get_email", {"message_id": id})["files"]:
        found = desk.run("get_attachment", {"message_id": id, "part": one["part"]})
        assert (found["name"], found["type"]) == (one["name"], one["type"])
    with pytest.raises(InvalidInput, match="no such file") as missing:
        desk.run("get_attachment", {"message_id": id, "part": "../items.csv"})
    assert "items.csv" in missing.value.hint


def lay_in(desk: Desk, *files: tuple[str, str, bytes]) -> str:
    from email.message import EmailMessage

    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "eve@decoy.test", ALICE, "Files"
    mail.set_content("see below")
    for name, kind, content in files:
        main, _, sub = kind.partition("/")
        mail.add_attachment(content, maintype=main, subtype=sub, filename=name)
    return str(desk.sandbox.mailbox(ALICE).add(mail).id)


def test_long_attachment_text_is_read_in_pieces_and_stored_once(desk: Desk) -> None:
    id = lay_in(desk, ("long.txt", "text/plain", WORDS))
    before, read, offset = len(desk.files), "", 0
    while True:
        found = desk.run("get_attachment", {"message_id": id, "part": "long.txt", "offset": offset})
        read += found["text"]
        assert tokens(found) <= 4_000
        if "next_offset" not in found:
            break
        offset = found["next_offset"]
    assert read == WORDS.decode() and len(desk.files) == before + 1


def test_files_of_one_name_are_selected_by_part(desk: Desk) -> None:
    id = lay_in(desk, ("a.txt", "text/plain", b"one"), ("a.txt", "text/plain", b"two"))
    with pytest.raises(InvalidInput, match="several") as several:
        desk.run("get_attachment", {"message_id": id, "part": "a.txt"})
    assert "1 (a.txt)" in several.value.hint
    assert desk.run("get_attachment", {"message_id": id, "part": "2"})["text"].strip() == "two"


def test_hostile_names_and_texts_are_neutralized(desk: Desk) -> None:
    html = b"<p hidden>SECRET</p><script>x</script><p>Hello\xe2\x80\x8b</p>"
    id = lay_in(desk, ("../../\u202efdp.exe", "text/html", html), ("x" * 300 + ".csv", "text/csv", b"a\x00b,\x1b[31m"))
    page = desk.run("get_attachment", {"message_id": id, "part": "1"})
    assert page["text"].strip() == "Hello" and "/" not in page["name"] and "\u202e" not in page["name"]
    table = desk.run("get_attachment", {"message_id": id, "part": "2"})
    assert "\x00" not in table["text"] and "\x1b" not in table["text"] and len(table["name"]) <= 124


def test_huge_attachment_is_reported_and_not_fetched(desk: Desk) -> None:
    def grow(request: Request) -> None:
        assert "attachments" not in request.path

    id = lay_in(desk, ("big.bin", "application/octet-stream", b"x"))
    send = desk.send

    def large(request: Request) -> Any:
        answer = send(request)
        for part in (answer or {}).get("payload", {}).get("parts", []):
            if part.get("filename"):
                part["body"]["size"] = MAX_BYTES + 1
        return answer

    desk.before.append(grow)
    desk.send = large  # type: ignore[method-assign]
    assert "Too large" in desk.run("get_attachment", {"message_id": id, "part": "big.bin"})["summary"]


# ----------------------------------------------------------------- attachments out


def files_in(raw: bytes) -> list[tuple[str | None, bytes]]:
    parts = message_from_bytes(raw, policy=default).iter_attachments()
    read = ((part.get_filename(), part.get_content()) for part in parts)
    return [(name, content.encode() if isinstance(content, str) else content) for name, content in read]


@pytest.mark.parametrize("scopes", [(SEND,), (COMPOSE,), (MODIFY,)])
def test_files_are_attached_by_their_handles(scopes: tuple[str, ...]) -> None:
    desk = new_desk(*scopes)
    handles = ["file_aaaaaaaaaa", "file_bbbbbbbbbb", "file_aaaaaaaaaa"]
    desk.run("send_email", {"to": [BOB], "subject": "Files", "body": "here", "attachments": handles})
    (sent,) = desk.sandbox.sent(ALICE)
    (pdf, text) = files_in(sent.raw)
    assert pdf == ("report.pdf", b"%PDF-1.4 report") and text[1].strip() == b"words"
    assert "\n" not in str(text[0]) and "X: y" in str(text[0])  # a name, and no header
    assert [name for name, _ in sent.message.items() if name == "X"] == []
    assert files_in(mail_of(desk, "Files", BOB).raw)[0] == pdf


def test_handle_of_another_user_is_unknown_and_nothing_is_sent(desk: Desk) -> None:
    for tool, arguments in (
        ("send_email", {"to": [BOB], "subject": "s", "body": "b"}),
        ("reply_email", {"message_id": mail_of(desk, "Design review").id, "body": "b"}),
        ("save_draft", {"to": [BOB], "body": "b"}),
    ):
        with pytest.raises(NotFound):
            desk.run(tool, arguments | {"attachments": ["file_ofbobzzzzz"]})
    assert not desk.sandbox.sent(ALICE) and not desk.sandbox.mailbox(ALICE).drafts()


def test_replies_forwards_and_drafts_accept_files(desk: Desk) -> None:
    review, invoice = mail_of(desk, "Design review").id, mail_of(desk, "Invoice 1042").id
    one = {"attachments": ["file_aaaaaaaaaa"]}
    desk.run("reply_email", {"message_id": review, "body": "b", **one})
    more = {"message_id": invoice, "to": [BOB], "add_attachments": ["file_aaaaaaaaaa"]}
    desk.run("forward_email", more, key=ActKey.of("f"))
    reply, forward = (files_in(mail.raw) for mail in desk.sandbox.sent(ALICE))
    assert [name for name, _ in reply] == ["report.pdf"]
    assert [name for name, _ in forward] == ["invoice-1042.pdf", "items.csv", "report.pdf"]
    draft = desk.run("save_draft", {"to": [BOB], "subject": "D", "body": "first", **one}, key=ActKey.of("d"))
    desk.run("save_draft", {"draft_id": draft["draft_id"], "body": "second", "attachments": ["file_bbbbbbbbbb"]})
    (kept,) = desk.sandbox.mailbox(ALICE).drafts()
    assert len(files_in(kept.raw)) == 2 and "second" in kept.text and "first" not in kept.text


def test_plain_draft_accepts_a_file(desk: Desk) -> None:
    draft = desk.run("save_draft", {"to": [BOB], "subject": "D", "body": "# Words"})
    desk.run("save_draft", {"draft_id": draft["draft_id"], "attachments": ["file_aaaaaaaaaa"]})
    (kept,) = desk.sandbox.mailbox(ALICE).drafts()
    assert files_in(kept.raw) == [("report.pdf", b"%PDF-1.4 report")] and "Words" in kept.text


def test_more_than_25_mib_is_refused_before_upload(desk: Desk) -> None:
    half = File("half.bin", "application/octet-stream", b"x" * (MAX_BYTES // 2 + 1))
    desk.files |= {"file_cccccccccc": half, "file_dddddddddd": half}
    with pytest.raises(InvalidInput, match="too large"):
        desk.run(
            "send_email",
            {"to": [BOB], "subject": "s", "body": "b", "attachments": ["file_cccccccccc", "file_dddddddddd"]},
        )
    assert not desk.sent


@pytest.mark.processes
@pytest.mark.parametrize("scopes", sample([(SEND,), (MODIFY,)]))
def test_large_mail_is_uploaded_and_arrives_complete(scopes: tuple[str, ...]) -> None:
    desk = new_desk(*scopes)
    content = bytes(range(256)) * 20_000
    desk.files["file_cccccccccc"] = File("big.bin", "application/octet-stream", content)
    desk.run("send_email", {"to": [BOB], "subject": "Big", "body": "b", "attachments": ["file_cccccccccc"]})
    first = desk.sent[0]
    assert first.url.path.startswith("/upload/gmail/v1/users/me/") and first.url.params["uploadType"] == "media"
    assert first.headers["content-type"] == "message/rfc822"
    Discovery.of("gmail.v1").check(first, scopes)
    assert files_in(desk.sandbox.sent(ALICE)[0].raw) == [("big.bin", content)]


@pytest.mark.sweep
def test_large_reply_names_its_conversation_beside_the_mail(desk: Desk) -> None:
    desk.files["file_cccccccccc"] = File("big.bin", "application/octet-stream", b"\r\n--x\0" * 500_000)
    review = mail_of(desk, "Design review")
    done = desk.run("reply_email", {"message_id": review.id, "body": "b", "attachments": ["file_cccccccccc"]})
    assert done["thread"] == review.thread_id
    assert any(one.url.params.get("uploadType") == "multipart" for one in desk.sent)
    draft = desk.run(
        "save_draft", {"reply_to": review.id, "body": "b", "attachments": ["file_cccccccccc"]}, key=ActKey.of("d")
    )
    assert draft["thread"] == review.thread_id
    changed = desk.run("save_draft", {"draft_id": draft["draft_id"], "body": "new"})
    assert changed["thread"] == review.thread_id and len(files_in(desk.sandbox.mailbox(ALICE).drafts()[0].raw)) == 1


@settings(max_examples=examples(30), deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["", "t1"]), st.booleans())
def test_uploaded_mail_equals_the_written_one(content: bytes, thread: str, draft: bool) -> None:
    whole = content + b"x" * MAX_IN_JSON
    request = Outgoing(whole + b"y", KEY, thread).request_to(
        "/users/me/drafts" if draft else "/users/me/messages/send", draft=draft
    )
    assert request.api == "gmail_upload" and request.content is not None and request.json is None
    assert whole in request.content and (b"threadId" in request.content) == bool(thread)
    Discovery.of("gmail.v1").check(outgoing(request, "gmail"))
    small = Outgoing(content, KEY, thread).request_to("/users/me/messages/send")
    assert small.api == "" and small.json is not None


@pytest.mark.sweep
def test_lost_upload_is_searched_for_and_not_resent(desk: Desk) -> None:
    desk.files["file_cccccccccc"] = File("big.bin", "application/octet-stream", b"x" * 4_000_000)
    desk.lose = {"/users/me/drafts": 1, "/users/me/drafts/send": 1}
    desk.run("send_email", {"to": [BOB], "subject": "Big", "body": "b", "attachments": ["file_cccccccccc"]})
    assert len(desk.sandbox.sent(ALICE)) == 1


def test_resumed_run_no_longer_needs_its_files(desk: Desk) -> None:
    arguments = {"to": [BOB], "subject": "Once", "body": "b", "attachments": ["file_aaaaaaaaaa"]}
    noted = desk.ran("send_email", arguments, stop=5).notes[0]
    desk.files.clear()
    desk.run("send_email", arguments, noted=noted)
    (sent,) = desk.sandbox.sent(ALICE)
    assert [name for name, _ in files_in(sent.raw)] == ["report.pdf"]


def test_second_check_of_a_sent_draft_is_delayed(desk: Desk) -> None:
    draft = desk.run("save_draft", {"to": [BOB], "subject": "D", "body": "b"})
    noted = {
        "draft": draft["draft_id"],
        "message": draft["id"],
        "thread": draft["thread"],
        "at": 0,
        "to": [["", BOB]],
        "cc": [],
        "subject": "D",
    }
    desk.run("send_draft", {"draft_id": draft["draft_id"]}, noted=noted)
    assert desk.waited == 2 and len(desk.sandbox.sent(ALICE)) == 1


# ----------------------------------------------------------------- leaving lists


def newsletter(desk: Desk, **headers: str) -> str:
    from email.message import EmailMessage

    mail = EmailMessage()
    mail["Authentication-Results"] = headers.pop("auth", "mx.google.com; dkim=pass header.i=@list.test")
    mail["From"], mail["To"], mail["Subject"] = "news@list.test", ALICE, "News"
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content("news")
    return str(desk.sandbox.mailbox(ALICE).add(mail).id)


ONE_CLICK = {
    "List_Unsubscribe": "<mailto:x@list.test>, <https://list.test/u?1>",
    "List_Unsubscribe_Post": "List-Unsubscribe=One-Click",
}


def test_one_click_unsubscribe_is_one_bare_post(desk: Desk) -> None:
    id = newsletter(desk, **ONE_CLICK)
    done = desk.run("unsubscribe", {"message_id": id, "trash": True})
    assert done["status"] == "requested" and (done["how"], done["host"]) == ("one_click", "list.test")
    (asked,) = desk.public
    assert (asked.url, asked.method, asked.content) == ("https://list.test/u?1", "POST", b"List-Unsubscribe=One-Click")
    assert asked.content_type == "application/x-www-form-urlencoded" and asked.call == "write"
    assert [mail.id for mail in desk.sandbox.mailbox(ALICE).mails("TRASH") if mail.id == id]
    assert not desk.sandbox.sent(ALICE)


@pytest.mark.parametrize("status", [302, 307, 404, 500])
def test_redirect_or_refusal_of_unsubscribe_is_unknown_and_keeps_the_mail(desk: Desk, status: int) -> None:
    id = newsletter(desk, **ONE_CLICK)

    def refuse(request: PublicRequest) -> Answer:
        if status == 500:
            raise OutcomeUnknown("lost")
        if status == 404:
            raise NotFound("gone")
        return Answer(status, {"location": "https://evil.test/"}, b"")

    desk.outside = refuse
    if status == 500:
        with pytest.raises(OutcomeUnknown):
            desk.run("unsubscribe", {"message_id": id, "trash": True})
    else:
        assert desk.run("unsubscribe", {"message_id": id, "trash": True})["status"] == "refused"
    assert len(desk.public) == 1 and not [mail for mail in desk.sandbox.mailbox(ALICE).mails("TRASH") if mail.id == id]


@pytest.mark.parametrize(
    ("change", "how"),
    [
        ({"auth": "mx.google.com; dkim=fail"}, "mailto"),
        ({"auth": "evil.test; dkim=pass"}, "mailto"),
        ({"List_Unsubscribe_Post": "List-Unsubscribe=One-Click; x"}, "mailto"),
        ({"List_Unsubscribe_Post": "yes"}, "mailto"),
        ({"List_Unsubscribe": "<http://list.test/u>"}, "link"),
        ({"List_Unsubscribe": "<https://list.test/u>", "List_Unsubscribe_Post": "no"}, "link"),
    ],
)
def test_unauthenticated_one_click_header_posts_nothing(desk: Desk, change: dict[str, str], how: str) -> None:
    id = newsletter(desk, **ONE_CLICK | change)
    done = desk.run("unsubscribe", {"message_id": id})
    assert done["how"] == how and not desk.public
    assert done["status"] == ("requested" if how == "mailto" else "manual")
    assert ("url" in done) == (how == "link")


def test_unsubscribe_mail_says_only_what_the_list_wants() -> None:
    desk = new_desk(READONLY)
    fields = "subject=stop%0D%0ABcc:%20eve@x.test&body=please&cc=eve@x.test&bcc=eve@x.test&attach=/etc/passwd"
    wish = f"<mailto:leave@list.test?{fields}>"
    id = newsletter(desk, List_Unsubscribe=wish)
    by_hand = desk.run("unsubscribe", {"message_id": id})
    assert by_hand["status"] == "manual" and "by_email" in by_hand["summary"]
    writer = Desk(TOOLKIT, frozenset({READONLY, SEND}), desk.sandbox)
    assert writer.run("unsubscribe", {"message_id": id, "by_email": True})["status"] == "requested"
    (sent,) = writer.sandbox.sent(ALICE)
    assert sent.to == "leave@list.test" and sent.subject == "stop Bcc: eve@x.test" and sent.text.strip() == "please"
    assert sent.header("Cc") == "" and "eve@x.test" not in sent.to


@pytest.mark.parametrize(
    "wish",
    ["<mailto:>", "<mailto:a@x.test,b@x.test>", "<mailto:a@x.test%0D%0ABcc:b@x.test>", "<javascript:x>", "x", ""],
)
def test_invalid_unsubscribe_header_is_refused(desk: Desk, wish: str) -> None:
    id = newsletter(desk, **({"List_Unsubscribe": wish} if wish else {}))
    with pytest.raises(InvalidInput):
        desk.run("unsubscribe", {"message_id": id})
    assert not desk.sandbox.sent(ALICE) and not desk.public


def test_mail_in_spam_or_bin_is_never_unsubscribed(desk: Desk) -> None:
    id = newsletter(desk, **ONE_CLICK)
    for label in ("SPAM", "TRASH"):
        box = desk.sandbox._world.mailbox(ALICE)
        box.mails[id].labels = [label]
        with pytest.raises(InvalidInput, match="spam"):
            desk.run("unsubscribe", {"message_id": id})
    assert not desk.public


# ----------------------------------------------------------------- changes


def test_changes_count_from_the_first_call_and_appear_once(desk: Desk) -> None:
    begun = desk.run("list_changes")
    assert begun["items"] == []
    id = lay_in(desk, ("a.txt", "text/plain", b"x"))
    desk.run("update_emails", {"message_ids": [id], "action": "star", "add_labels": ["Travel"]})
    found = desk.run("list_changes", {"since": begun["next"]})
    assert [(row["id"], row["change"]) for row in found["items"]] == [(id, "added"), (id, "labels")]
    assert found["items"][1]["labels_added"] == ["STARRED", "Travel"] and found["items"][0]["subject"] == "Files"
    assert desk.run("list_changes", {"since": found["next"]})["items"] == []


def test_changes_are_paged_by_type_and_label_without_gaps(desk: Desk) -> None:
    start = desk.run("list_changes", {"kinds": ["added"]})["next"]
    ids = [lay_in(desk, (f"{n}.txt", "text/plain", b"x")) for n in range(7)]
    desk.run("update_emails", {"message_ids": ids[:2], "action": "star"})
    seen, since = list[str](), start
    for _ in range(10):
        page = desk.run("list_changes", {"since": since, "kinds": ["added"], "limit": 3})
        seen += [row["id"] for row in page["items"]]
        since = page["next"]
        if not page["truncated"]:
            break
    assert seen == ids
    starred = desk.run("list_changes", {"label": "STARRED"})["next"]
    desk.run("update_emails", {"message_ids": ids[3:4], "action": "star"}, key=ActKey.of("s"))
    lay_in(desk, ("z.txt", "text/plain", b"x"))
    (row,) = desk.run("list_changes", {"since": starred, "label": "STARRED"})["items"]
    assert row["id"] == ids[3]


def test_deleted_mail_is_named_without_a_lookup(desk: Desk) -> None:
    start = desk.run("list_changes")["next"]
    draft = desk.run("save_draft", {"to": [BOB], "subject": "D", "body": "b"})
    desk.run("delete_draft", {"draft_id": draft["draft_id"]})
    kinds = [row["change"] for row in desk.run("list_changes", {"since": start})["items"]]
    assert kinds == ["added", "deleted"]


def test_expired_change_cursor_is_reported_and_an_altered_one_refused(desk: Desk) -> None:
    from deputize.toolkits._shared.page import write_cursor

    old = write_cursor(("gmail_list_changes", "100000000000000000002", [], None), ["1", "", 0])
    with pytest.raises(InvalidInput, match="too long ago") as expired:
        desk.run("list_changes", {"since": old})
    assert expired.value.reason == "cursor_expired"
    bob = Desk(TOOLKIT, frozenset({READONLY}), desk.sandbox, BOB)
    for who, since in ((bob, desk.run("list_changes")["next"]), (desk, "7001"), (desk, old[:-1] + "x")):
        with pytest.raises(InvalidInput, match="cursor"):
            who.run("list_changes", {"since": since})


# ----------------------------------------------------------------- settings


def test_every_settings_section_is_readable_with_narrow_scopes() -> None:
    for scopes in ((READONLY,), (SETTINGS,)):
        desk = new_desk(*scopes)
        assert desk.run("get_settings", {"section": "vacation"})["enabled"] is False
        assert desk.run("get_settings", {"section": "filters"})["items"] == []
        assert desk.run("get_settings", {"section": "forwarding"})["enabled"] is False
        (main, alias) = desk.run("get_settings", {"section": "aliases"})["items"]
        assert main["primary"] is True and alias["email"] == "support@example.test"


def test_out_of_office_is_set_and_undone(desk: Desk) -> None:
    away = {"enabled": True, "subject": "Away", "body": "Back **soon**.", "after": "2026-12-01", "before": "2026-12-08"}
    done = desk.run("set_vacation", {**away, "audience": "contacts"})
    kept = desk.sandbox._world.mailbox(ALICE).settings["vacation"]
    assert kept["enableAutoReply"] is True and kept["restrictToContacts"] is True
    assert kept["startTime"] == "1796083200000" and "<strong>" in kept["responseBodyHtml"]
    assert (
        done["body"] == "Back soon."
        and done["after"].startswith("2026-12-01")
        and done["undo"]["args"]["enabled"] is False
    )
    off = desk.run("set_vacation", {"enabled": False}, key=ActKey.of("off"))
    assert off["enabled"] is False and off["subject"] == "Away"
    desk.run("set_vacation", off["undo"]["args"], key=ActKey.of("undo"))
    again = desk.run("get_settings", {"section": "vacation"})
    assert (again["enabled"], again["audience"], again["before"][:10]) == (True, "contacts", "2026-12-08")


@pytest.mark.parametrize(
    "wrong",
    [
        {"enabled": True},
        {"enabled": True, "subject": "a\r\nb", "body": "x"},
        {"enabled": True, "body": "x", "after": "+2d", "before": "+1d"},
    ],
)
def test_empty_or_invalid_out_of_office_is_refused(desk: Desk, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        desk.run("set_vacation", wrong)
    assert not [one for one in desk.sent if one.method != "GET"]


def test_filter_is_created_once_shown_by_name_and_deleted(desk: Desk) -> None:
    wish = {
        "action": "create",
        "from": "news@shop.example.test",
        "add_labels": ["travel"],
        "archive": True,
        "star": True,
    }
    made = desk.run("manage_filter", wish)
    assert made["when"] == {"from": "news@shop.example.test"}
    assert made["then"] == {"add_labels": ["Travel"], "star": True, "archive": True}
    again = desk.run("manage_filter", wish, key=ActKey.of("again"))
    assert again["id"] == made["id"] and "already" in again["summary"]
    (shown,) = desk.run("get_settings", {"section": "filters"})["items"]
    assert {name: shown[name] for name in ("id", "when", "then")} == {
        name: made[name] for name in ("id", "when", "then")
    }
    desk.run("manage_filter", made["undo"]["args"])
    assert desk.sandbox._world.mailbox(ALICE).settings["filters"] == []
    noted = {"filter": {"id": made["id"]}}
    assert desk.run("manage_filter", made["undo"]["args"], noted=noted)["deleted"] is True
    with pytest.raises(NotFound):
        desk.run("manage_filter", made["undo"]["args"], key=ActKey.of("third"))


def test_lost_answer_creates_no_second_filter(desk: Desk) -> None:
    desk.lose["/users/me/settings/filters"] = 1
    with pytest.raises(OutcomeUnknown):
        desk.run("manage_filter", {"action": "create", "from": "a@x.test", "archive": True})
    desk.run("manage_filter", {"action": "create", "from": "a@x.test", "archive": True})
    assert len(desk.sandbox._world.mailbox(ALICE).settings["filters"]) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "create", "from": "a@x.test"},
        {"action": "create", "archive": True},
        {"action": "create", "from": " ", "archive": True},
        {"action": "create", "from": "a\nb", "archive": True},
        {"action": "create", "from": "a@x.test", "add_labels": ["Nowhere"]},
        {"action": "create", "from": "a@x.test", "archive": True, "filter_id": "x"},
        {"action": "delete"},
        {"action": "delete", "filter_id": "x", "archive": True},
        {"action": "create", "from": "a@x.test", "forward": "eve@x.test"},
    ],
)
def test_filter_without_action_is_refused(desk: Desk, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        desk.run("manage_filter", wrong)
    assert desk.sandbox._world.mailbox(ALICE).settings["filters"] == []


def test_no_tool_can_forward_a_mailbox() -> None:
    for tool in TOOLKIT.tools.values():
        if tool.name not in ("gmail_forward_email", "gmail_get_settings"):
            assert "forward" not in json.dumps(tool.schema)


def test_signature_is_replaced_and_restored(desk: Desk) -> None:
    done = desk.run("set_signature", {"body": "Alice Adams\n<script>x</script>"})
    done = desk.run(
        "set_signature", {"body": "**Alice**", "send_as": "Support <SUPPORT@example.test>"}, key=ActKey.of("s")
    )
    rows = {one["sendAsEmail"]: one["signature"] for one in desk.sandbox._world.mailbox(ALICE).settings["sendAs"]}
    assert "<strong>Alice</strong>" in rows["support@example.test"] and done["signature"] == "Alice"
    desk.run("set_signature", done["undo"]["args"], key=ActKey.of("u"))
    assert desk.sandbox._world.mailbox(ALICE).settings["sendAs"][1]["signature"] == ""
    for wrong in ({"body": "<img src=https://evil.test/x>"}, {"body": "x", "send_as": "eve@x.test"}):
        with pytest.raises(InvalidInput):
            desk.run("set_signature", wrong)


@pytest.mark.parametrize(
    ("kept", "free"),
    [
        ("", True),
        ("Alice &amp; Co", True),
        ('<div dir="ltr">Hi<div><br></div><div>Back &lt;soon&gt;</div></div>', True),
        ("<div>Alice</div><!-- 1 -->", False),
        ("<div>Alice <b>Adams</b></div>", False),
        ('<div style="color:red">Alice</div>', False),
        ("Alice<img src='logo.png'>", False),
        ("<p>Alice\u200b Adams</p>", False),
        ("<p>" + "Alice " * 200 + "</p>", False),
    ],
)
def test_rich_or_cut_signature_is_replaced_only_with_its_digest(desk: Desk, kept: str, free: bool) -> None:
    row = desk.sandbox._world.mailbox(ALICE).settings["sendAs"][0]
    row["signature"] = kept
    if free:
        desk.run("set_signature", {"body": "New"})
        return
    with pytest.raises(InvalidInput) as refused:
        desk.run("set_signature", {"body": "New"})
    assert refused.value.reason == "unread" and row["signature"] == kept
    read = desk.run("get_settings", {"section": "aliases", "send_as": ALICE, "raw": True})
    assert read["signature"] == kept and desk.run("set_signature", {"body": "New", "if_text": read["text_digest"]})


def test_reading_settings_does_not_request_the_labels_scope() -> None:
    desk = new_desk(SETTINGS, LABELS)
    desk.run("manage_filter", {"action": "create", "from": "a@x.test", "add_labels": ["Travel"]})
    (row,) = desk.run("get_settings", {"section": "filters"})["items"]
    assert row["then"]["add_labels"] == ["Travel"]
