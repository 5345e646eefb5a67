"""Drafts that are changed in places keep everything else."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.toolkits._shared.mail.compose import Text, render_body
from deputize.toolkits._shared.mail.edit import edit, raw_header
from deputize.toolkits._shared.mail.headers import Person, people_value, text_value
from tests.support.lanes import examples
from tests.toolkits.mailbox import parsed

NEW = render_body("New **words**", "auto")


def draft(kind: str) -> bytes:
    mail = EmailMessage(policy=SMTP)
    mail["To"], mail["Cc"], mail["Subject"], mail["X-Own"] = "bob@example.test", "c@example.test", "Old", "kept é"
    if kind == "html":
        mail.set_content("<p>old html</p>", subtype="html")
    else:
        mail.set_content("old text")
    if "alternative" in kind:
        mail.add_alternative("<p>old html</p>", subtype="html")
    if "related" in kind:
        markup = mail.get_body(("html",))
        assert markup is not None
        markup.add_related(b"picture", "image", "png", cid="<logo>")
    if "file" in kind:
        mail.add_attachment(b"\x00file\xff", maintype="application", subtype="pdf", filename="r.pdf")
        mail.add_attachment("text of a file", filename="notes.txt")
    return mail.as_bytes()


KINDS = [
    "plain",
    "html",
    "alternative",
    "alternative related",
    "plain file",
    "alternative file",
    "alternative related file",
]


def body(mail: EmailMessage, kind: str) -> str | None:
    part = mail.get_body((kind,))
    return str(part.get_content()) if part is not None else None


@pytest.mark.parametrize("kind", KINDS)
def test_new_text_replaces_only_the_text(kind: str) -> None:
    before = parsed(draft(kind))
    after = parsed(edit(draft(kind), {}, NEW).as_bytes())
    assert "old" not in (body(after, "plain") or "") + (body(after, "html") or "")
    assert "New <strong>words</strong>" in (body(after, "html") or "")
    if kind != "html":
        assert (body(after, "plain") or "").strip() == "New **words**"
    assert {name: str(after[name]) for name in ("To", "Cc", "Subject", "X-Own")} == {
        name: str(before[name]) for name in ("To", "Cc", "Subject", "X-Own")
    }
    files = [(one.get_filename(), one.get_payload(decode=True)) for one in after.iter_attachments()]
    assert files == [(one.get_filename(), one.get_payload(decode=True)) for one in before.iter_attachments()]
    pictures = [one.get_payload(decode=True) for one in after.walk() if one.get_content_type() == "image/png"]
    assert pictures == ([b"picture"] if "related" in kind else [])


@pytest.mark.parametrize("kind", KINDS)
def test_new_headers_keep_the_bytes_of_the_body(kind: str) -> None:
    raw = draft(kind)
    changed = edit(
        raw, {"Subject": text_value("Neu: Grüße"), "To": people_value([Person("Zoë", "z@example.test")])}, None
    ).as_bytes()
    assert changed.partition(b"\r\n\r\n")[2] == raw.partition(b"\r\n\r\n")[2]
    mail = parsed(changed)
    assert (str(mail["Subject"]), str(mail["To"]), str(mail["Cc"])) == (
        "Neu: Grüße",
        "Zoë <z@example.test>",
        "c@example.test",
    )
    assert len(mail.get_all("To", [])) == len(mail.get_all("Subject", [])) == 1


def test_emptied_field_is_removed() -> None:
    assert parsed(edit(draft("plain"), {"Cc": people_value([])}, None).as_bytes())["Cc"] is None


def test_plain_text_replaces_both_parts_of_an_html_draft() -> None:
    mail = parsed(edit(draft("alternative"), {}, Text("1 < 2\nnew")).as_bytes())
    assert (body(mail, "plain") or "").split() == ["1", "<", "2", "new"]
    assert "1 &lt; 2<br>" in (body(mail, "html") or "")


@pytest.mark.parametrize("alone", [True, False])
def test_file_only_draft_gets_its_text_before_the_file(alone: bool) -> None:
    mail = EmailMessage(policy=SMTP)
    mail["To"] = "bob@example.test"
    if alone:
        mail.set_content(b"x", maintype="application", subtype="pdf", filename="r.pdf", disposition="attachment")
    else:
        mail.add_attachment(b"x", maintype="application", subtype="pdf", filename="r.pdf")
    after = parsed(edit(mail.as_bytes(), {}, NEW).as_bytes())
    assert (body(after, "plain") or "").strip() == "New **words**"
    assert [one.get_filename() for one in after.iter_attachments()] == ["r.pdf"]


HOSTILE = [
    b"",
    b"\r\n",
    b"To: x",
    b"not a mail",
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\nno parts",
    b"Content-Type: multipart/alternative\r\n\r\n--x\r\n",
    b"Content-Type: ;;;\r\n\r\nx",
    b'Content-Type: text/plain; charset="\r\n\r\nx',
    b"Content-Type: text/plain; charset=zlib\r\nContent-Transfer-Encoding: nonsense\r\n\r\n\xff\xfe",
    b"To: =?utf-8?q?=0D=0ABcc=3A_eve@decoy.test?= <b@x.test>\r\nSubject: =?utf-8?q?=0ABcc:x?=\r\n\r\nbody",
    b"Subject: caf\xe9\r\nTo: \xff\xfe\r\n\r\nbody",
    b"Subject: a\r\n\tfolded\r\n  twice\r\n\r\nbody",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nTo: x\r\n\r\nx--b--",
]


@pytest.mark.parametrize("raw", HOSTILE)
def test_broken_draft_can_be_changed_without_new_headers(raw: bytes) -> None:
    changed = edit(raw, {"Subject": text_value("New")}, NEW).as_bytes()
    mail = parsed(changed)
    assert str(mail["Subject"]) == "New"
    assert "New" in changed.decode("latin-1")
    assert raw_header(mail, "Bcc") == ""


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.sampled_from(HOSTILE) | st.binary(max_size=30), max_size=4).map(b"\r\n".join))
def test_draft_editing_never_raises(raw: bytes) -> None:
    assert b"New" in edit(raw, {"Subject": text_value("New")}, NEW).as_bytes()
