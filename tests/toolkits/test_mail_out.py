# ruff: noqa: RUF001 - the words of other languages
"""Outgoing mail: a receiver reads exactly what was meant."""

from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.mail.compose import (
    File,
    Letter,
    Recipients,
    Text,
    deduplicate,
    file_type,
    forward_original,
    quote_text,
    recipients,
    render_body,
)
from deputize.toolkits._shared.mail.headers import Person
from deputize.toolkits._shared.mail.languages import forward_subject, reply_subject
from tests.support.lanes import examples
from tests.toolkits.mailbox import parsed

BOB = Recipients([Person("Bob", "bob@example.test")])


def received(letter: Letter) -> EmailMessage:
    return parsed(letter.content())


def body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def test_letter_is_read_as_written() -> None:
    people = Recipients(
        [Person("Bob, Jr.", "bob@example.test")],
        [Person("Zoë", "zoe@example.test")],
        [Person("", "carol@example.test")],
    )
    mail = received(
        Letter("Grüße 👋", render_body("Hi **Bob**", "auto"), people, sender=Person("A", "alice@example.test"))
    )
    assert mail["From"].addresses[0].addr_spec == "alice@example.test"
    assert (mail["To"].addresses[0].display_name, mail["To"].addresses[0].addr_spec) == ("Bob, Jr.", "bob@example.test")
    assert str(mail["Cc"]) == "Zoë <zoe@example.test>"
    assert str(mail["Bcc"]) == "carol@example.test"
    assert str(mail["Subject"]) == "Grüße 👋"
    assert mail.get_content_type() == "multipart/alternative"
    assert body(mail, "plain") == "Hi **Bob**\n"
    assert "<p>Hi <strong>Bob</strong></p>" in body(mail, "html")


def test_letter_has_only_requested_headers() -> None:
    mail = received(Letter("s", Text("t"), BOB))
    assert set(mail.keys()) == {"To", "Subject", "Content-Type", "Content-Transfer-Encoding", "MIME-Version"}


def test_plain_body_is_plain_and_html_has_an_alternative() -> None:
    assert received(Letter("s", render_body("*a*", "plain"), BOB)).get_content_type() == "text/plain"
    mail = received(Letter("s", render_body("<p>a <b>b</b></p><p hidden>c</p>", "html"), BOB))
    assert body(mail, "plain") == "a b\n"
    assert "<b>b</b>" in body(mail, "html")


any_text = st.text(st.characters() | st.sampled_from("\r\n\x00 :=?.<>\u2028é日"), max_size=300)


@settings(max_examples=examples(200), deadline=None)
@given(any_text, any_text, any_text)
def test_text_adds_no_header_or_part(subject: str, text: str, name: str) -> None:
    people = Recipients([Person(name.strip(), "bob@example.test")])
    mail = received(Letter(subject, render_body(text, "auto"), people, extra=(("X-Deputize-Key", "0" * 16),)))
    kept = {"To", "Subject", "X-Deputize-Key", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"}
    assert set(mail.keys()) <= kept
    assert [one.addr_spec for one in mail["To"].addresses] == ["bob@example.test"]
    assert len(list(mail.walk())) in (1, 3)
    expected = text.replace("\r\n", "\n").replace("\r", "\n").encode(errors="replace").decode()
    assert body(mail, "plain").rstrip("\n") == expected.rstrip("\n")


def test_wire_lines_are_short_enough_for_smtp() -> None:
    people = Recipients([Person("Name " * 20, f"bob{n}@example.test") for n in range(100)])
    before = " ".join(f"<{'x' * 200}{n}@example.test>" for n in range(30))
    letter = Letter("é" * 1000, Text("x" * 5000 + "\n日" * 500), people, answers=("<a@b.test>", before))
    raw = letter.content()
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    assert raw.isascii()
    assert len(parsed(raw)["To"].addresses) == 100


def test_reply_refers_to_the_original_with_long_ids_intact() -> None:
    long = f"<{'x' * 150}@mail.example.test>"
    mail = received(Letter("s", Text("t"), BOB, answers=(long, "<first@x.test>\r\n <second@x.test>")))
    assert mail["In-Reply-To"] == long
    assert str(mail["References"]).split() == ["<first@x.test>", "<second@x.test>", long]


@pytest.mark.parametrize("answers", [("", ""), ("", "<a@b.test>"), ("junk", "<a@b.test>"), ("<a b>\nBcc: x", "")])
def test_missing_message_id_gives_no_references(answers: tuple[str, str]) -> None:
    mail = received(Letter("s", Text("t"), BOB, answers=answers))
    assert mail["In-Reply-To"] is None and mail["References"] is None and mail["Bcc"] is None


@pytest.mark.parametrize(
    ("name", "type"),
    [
        ("report.pdf", "application/pdf"),
        ("Übersicht 日本.csv", "text/csv"),
        ("=?utf-8?q?a=0D=0ABcc:_eve@decoy.test?=.pdf", "application/pdf"),
        ('quo"te;x=y\\.txt', "text/plain"),
        ("x" * 116 + ".pdf", "application/pdf"),
        ("a.eml", "message/rfc822"),
        ("a.bin", "multipart/mixed"),
        ("b.bin", "no type at all\r\nBcc: eve@decoy.test"),
        ("c.bin", ""),
    ],
)
def test_file_arrives_byte_for_byte_under_any_name(name: str, type: str) -> None:
    data = bytes(range(256)) + b"\r\n--boundary\r\n\r\nFrom x\n"
    mail = received(Letter("s", render_body("see file", "auto"), BOB, files=[File(name, type, data)]))
    assert "Bcc" not in mail
    (file,) = mail.iter_attachments()
    assert file.get_payload(decode=True) == data
    assert (file.get_filename() or "").replace("= ?", "=?") == name or "=?" in name
    assert file.keys().count("Content-Disposition") == 1 and "Bcc" not in file.keys()
    assert body(mail, "plain") == "see file\n"


def test_invalid_mime_type_is_replaced() -> None:
    assert file_type("Application/PDF ") == "application/pdf"
    assert file_type("message/rfc822") == file_type("x\r\n") == file_type("") == "application/octet-stream"


@pytest.mark.parametrize(
    "html",
    [
        "<img src='https://decoy.test/t.gif'>",
        "<IMG SRC=//decoy.test/t.gif>",
        "<img src='/\\decoy.test/t.gif'>",
        "<img src='ht\ntps://decoy.test/t.gif'>",
        "<img srcset='x.png, https://decoy.test/t.gif 2x'>",
        "<body background='http://decoy.test/b.png'>",
        "<div style=\"background:url('http://decoy.test/b.png')\">",
        "<div style='background:url( //decoy.test/b.png)'>",
        "<style>@import 'x.css';</style>",
        "<style>p { background: url(http://decoy.test) }</style>",
        "<link rel=stylesheet href=https://decoy.test/s.css>",
        "<iframe src='https://decoy.test'></iframe>",
        "<video poster='https://decoy.test/p.png'></video>",
    ],
)
def test_html_that_loads_remote_content_is_refused(html: str) -> None:
    with pytest.raises(InvalidInput, match="elsewhere"):
        render_body(f"<p>hi</p>{html}", "html")


def test_html_with_links_and_inline_pictures_is_accepted() -> None:
    html = "<a href='https://example.test'>x</a><img src='data:image/png;base64,AA=='><img src='cid:logo'>"
    assert render_body(html, "html").html == html


def test_body_of_half_a_million_characters_is_refused() -> None:
    with pytest.raises(InvalidInput, match="body"):
        render_body("x" * 500_001, "auto")


def test_markdown_never_becomes_a_picture() -> None:
    assert "<img" not in render_body("![x](https://decoy.test/t.gif) <img src=https://decoy.test>", "auto").html


def test_everybody_gets_a_mail_once_including_the_user_if_named() -> None:
    people = recipients(
        ["bob@example.test", "Alice <Alice@Example.test>"],
        ["BOB@example.test", "c@example.test"],
        ["c@example.test"],
    )
    found = [[one.address for one in field] for field in people]
    assert found == [["bob@example.test", "Alice@Example.test"], ["c@example.test"], []]


def test_more_than_a_hundred_recipients_are_refused() -> None:
    many = [Person("", f"p{n}@example.test") for n in range(101)]
    assert len(deduplicate(many[:60], many[60:100], many[:50]).all) == 100
    with pytest.raises(InvalidInput, match="100"):
        deduplicate(many[:60], many[60:], [])


def test_invalid_recipient_entry_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"cc\[1\]"):
        recipients(["bob@example.test"], ["c@example.test", "nobody"], None)


@pytest.mark.parametrize(
    ("subject", "reply", "forward"),
    [
        ("Hello", "Re: Hello", "Fwd: Hello"),
        ("Re: Hello", "Re: Hello", "Fwd: Re: Hello"),
        ("RE:re : Hello", "Re: Hello", "Fwd: RE:re : Hello"),
        ("Fwd: Fw: Hello", "Re: Fwd: Fw: Hello", "Fwd: Hello"),
        ("Regarding", "Re: Regarding", "Fwd: Regarding"),
        ("", "Re: ", "Fwd: "),
        ("AW: AW: Hallo", "Re: Hallo", "Fwd: AW: AW: Hallo"),
        ("Re: AW: SV: Hej", "Re: Hej", "Fwd: Re: AW: SV: Hej"),
        ("Antw: Re[2]: Hoi", "Re: Hoi", "Fwd: Antw: Re[2]: Hoi"),
        ("RES: Olá", "Re: Olá", "Fwd: RES: Olá"),
        ("回复：你好", "Re: 你好", "Fwd: 回复：你好"),
        ("رد: مرحبا", "Re: مرحبا", "Fwd: رد: مرحبا"),
        ("WG: TR: RV: Plan", "Re: WG: TR: RV: Plan", "Fwd: Plan"),
        ("転送: 件名", "Re: 転送: 件名", "Fwd: 件名"),
        ("Awards: who won", "Re: Awards: who won", "Fwd: Awards: who won"),
        ("TRansit: times", "Re: TRansit: times", "Fwd: TRansit: times"),
    ],
)
def test_subject_gets_one_prefix(subject: str, reply: str, forward: str) -> None:
    assert (reply_subject(subject), forward_subject(subject)) == (reply, forward)


def test_quote_is_marked_for_people_and_programs_and_escaped() -> None:
    text = render_body("Yes.", "auto").followed_by(quote_text("On x, <b>Bob</b> wrote:", "one\n\n<script>two</script>"))
    assert text.plain == "Yes.\n\nOn x, <b>Bob</b> wrote:\n> one\n>\n> <script>two</script>"
    assert 'class="gmail_quote"' in text.html
    assert "<script>" not in text.html and "&lt;script&gt;" in text.html and "&lt;b&gt;Bob" in text.html


def test_giant_quote_is_cut() -> None:
    assert len(quote_text("a", "x" * 1_000_000).plain) < 51_000


def test_quote_is_inserted_inside_an_html_document() -> None:
    text = Text("a", "<html><body><p>a</p></BODY></html>").followed_by(Text("b", "<p>b</p>"))
    assert text.html.endswith("<p>b</p>\n</BODY></html>")


def test_forwarded_mail_names_its_author() -> None:
    text = Text("").followed_by(forward_original([("From", "Bob <bob@example.test>"), ("Subject", "Hi")], "text"))
    assert text.plain == ("---------- Forwarded message ---------\nFrom: Bob <bob@example.test>\nSubject: Hi\n\ntext")
