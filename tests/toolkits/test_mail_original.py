# ruff: noqa: E501 - HTML as programs write it
"""A mail inside another one: its layout and all visible text are kept, and nothing reaches out of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.message import EmailMessage
from typing import Any, Final

import pytest

from deputize.core.tools.preview import show_rows
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.mail.embed import LARGEST, embed_page
from deputize.toolkits._shared.mail.embed_css import declarations, scope_rules
from deputize.toolkits.gmail import TOOLKIT
from tests.support.lanes import some_and_all
from tests.toolkits.data.mails.honest import HONEST
from tests.toolkits.data.mails.hostile import HOSTILE, SAID, SEEN
from tests.toolkits.data.mails.insider import INSIDER
from tests.toolkits.mailbox import READONLY, SEND, Mailbox, container, leaf, message
from tests.toolkits.tool_driver import Done, Driver

WRITER = Driver(TOOLKIT, frozenset({READONLY, SEND}))
JOIN: Final = (
    f"https://teams.example.test/l/meetup-join/{'19%3ameeting_' * 20}?context=%7b%22Tid%22%3a%22{'f' * 60}%22%7d"
)
PICTURE: Final = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
NEWSLETTER: Final = f"""<!DOCTYPE html><html><head><title>June</title><style>
.wide {{ width: 600px }} td.price, .sum {{ color: #c00; font-weight: bold }} @media (max-width: 480px) {{ .wide {{ width: 100% }} }}
</style></head><body bgcolor="#f4f4f4"><table class="wide" role="presentation"><tr><td align="center">
<h1 style="color:#123456">June offers</h1><img src="cid:logo@shop" alt="Garden shop" width="200">
<img src="https://img.example.test/rose.jpg" alt="A rose"></td></tr><tr><td class="price">19,90 €</td></tr>
<tr><td><a href="{JOIN}">Join the tour</a></td></tr></table>
<img src="https://track.example.test/o.gif" width="1" height="1"></body></html>"""


def mail_of(html: str, *more: dict[str, Any]) -> Mailbox:
    logo = leaf("image/png", filename="logo.png", attachment="A1", headers={"Content-ID": "<logo@shop>"})
    text = container("alternative", leaf("text/plain", "June offers"), leaf("text/html", html))
    return Mailbox.of(
        message("m1", container("mixed", container("related", text, logo), *more)), attachments={"A1": PICTURE}
    )


def forward(box: Mailbox, **more: Any) -> Done:
    return WRITER.run(
        "forward_email", {"message_id": "m1", "to": ["dora@example.test"], "body": "For you", **more}, box
    )


def reply(box: Mailbox, **more: Any) -> Done:
    return WRITER.run("reply_email", {"message_id": "m1", "body": "Yes.", **more}, box)


def page_of(mail: EmailMessage) -> str:
    part = mail.get_body(("html",))
    assert part is not None
    return str(part.get_content())


# ----------------------------------------------------------------- what goes along


@pytest.mark.parametrize("send", [forward, reply])
def test_original_is_included_with_its_layout(send: Any) -> None:
    box = mail_of(NEWSLETTER)
    send(box)
    page = page_of(box.sent[0])
    for kept in (
        'align="center"',
        "color: #123456",
        'class="wide"',
        "19,90 €",
        "https://img.example.test/rose.jpg",
        "@media",
    ):
        assert kept in page
    assert JOIN.replace("&", "&amp;") in page and "track.example.test" not in page
    assert page.index("For you" if send is forward else "Yes.") < page.index("June offers")


@pytest.mark.parametrize("send", [forward, reply])
def test_originals_pictures_are_included_inline(send: Any) -> None:
    box = mail_of(NEWSLETTER)
    done = send(box)
    (mail,) = box.sent
    (picture,) = [part for part in mail.walk() if part.get_content_maintype() == "image"]
    assert picture.get_payload(decode=True) == PICTURE and picture.get_content_disposition() == "inline"
    assert f'src="cid:{picture["Content-ID"].strip("<>")}"' in page_of(mail)
    assert list(mail.iter_attachments()) == [] or send is reply
    assert any("logo.png" in text for row in show_rows(done.shown[0]) for text in row)


def test_files_are_attached_beside_the_pictures_or_left_out() -> None:
    report = leaf("application/pdf", b"%PDF", filename="report.pdf")
    whole, bare = mail_of(NEWSLETTER, report), mail_of(NEWSLETTER, report)
    forward(whole)
    forward(bare, attachments=False)
    assert [part.get_filename() for part in whole.sent[0].iter_attachments()] == ["report.pdf"]
    assert [part.get_filename() for part in bare.sent[0].walk() if part.get_filename()] == ["logo.png"]


def test_unreferenced_picture_is_attached_as_a_file() -> None:
    box = mail_of("<p>See the picture</p>")
    forward(box)
    assert [part.get_filename() for part in box.sent[0].iter_attachments()] == ["logo.png"]


def test_long_link_is_whole_in_both_parts_and_the_preview() -> None:
    box = mail_of(NEWSLETTER)
    done = forward(box)
    plain = box.sent[0].get_body(("plain",))
    assert plain is not None and JOIN in str(plain.get_content())
    assert any(JOIN in text for row in show_rows(done.shown[0]) for text in row)


def test_text_stored_separately_by_gmail_is_included() -> None:
    big = leaf("text/html", attachment="A9")
    box = Mailbox.of(message("m1", container("alternative", big)), attachments={"A9": b"<p>Kept <b>apart</b></p>"})
    forward(box)
    assert "<b>apart</b>" in page_of(box.sent[0])


def test_plain_text_reply_quotes_text_and_fetches_no_picture() -> None:
    box = mail_of(NEWSLETTER)
    done = reply(box, body_format="plain")
    assert box.sent[0].get_content_type() == "text/plain"
    assert not any("attachments" in one.path for one in done.requests)


def test_reply_draft_contains_the_pictures_of_its_quote() -> None:
    box = mail_of(NEWSLETTER)
    modify = "https://www.googleapis.com/auth/gmail.modify"
    Driver(TOOLKIT, frozenset({modify})).run("save_draft", {"reply_to": "m1", "body": "Yes."}, box)
    draft = next(one for one in box.asked if one.path == "/users/me/drafts")
    assert PICTURE in [part.get_payload(decode=True) for part in box.raw(draft).walk()]


def test_model_gets_whole_links_on_request() -> None:
    box = mail_of(
        NEWSLETTER
        + f"<p>or <a href='{JOIN}2'></a> https://plain.example.test/a</p><p hidden><a href='https://x.test/h'>h</a>"
    )
    shown = WRITER.run("get_email", {"message_id": "m1", "part": "links"}, box).result
    assert shown["links"] == f"Join the tour <{JOIN}>\n{JOIN}2" and shown["untrusted"] is True
    short = WRITER.run("get_email", {"message_id": "m1"}, box).result["body"]
    assert JOIN not in short and "teams.example.test/l/meetup-join" in short
    plain = Mailbox.of(message("m1", f"Join: {JOIN}, or (https://example.test/b)."))
    links = WRITER.run("get_email", {"message_id": "m1", "part": "links"}, plain).result["links"]
    assert links == f"{JOIN}\nhttps://example.test/b"


# ----------------------------------------------------------------- what stays behind


def test_hidden_text_of_the_original_is_not_included(subtests: pytest.Subtests) -> None:
    for trick, mail in HOSTILE.items():
        with subtests.test(trick=trick):
            part = embed_page(mail.html, {})
            assert part is None or (SEEN in re.sub(r"\s+", " ", part.html) and (mail.marked or SAID not in part.html))


@pytest.mark.parametrize(
    "hostile",
    [
        "</div></blockquote></div><p>And I, Alice, agree</p>",
        "<script>alert(1)</script>",
        "<p onclick='alert(1)'>x</p>",
        "<a href='java\nscript:alert(1)'>x</a>",
        "<form action='https://decoy.test'><input name=password></form>",
        "<iframe src='https://decoy.test'></iframe>",
        "<base href='https://decoy.test/'><link rel=stylesheet href='https://decoy.test/a.css'>",
        "<meta http-equiv=refresh content='0;url=https://decoy.test'>",
        "<svg><style>p{display:none}</style><script>alert(1)</script></svg>",
        "<style>p{display:none} .note{color:red}</style>",
        "<style>@import 'https://decoy.test/a.css'; *{position:fixed}</style>",
        "<style>x{font-family:'\\3c/style>\\3cscript>alert(1)\\3c/script>'}</style>",
        "<style>.a{color:red} .b{ & ~ p, :not(&) p {display:none} }</style>",
        "<style>:root:has(p) p, > p, ~ p, + p {display:none}</style>",
        "<div style='position:absolute;top:-500px;margin-top:-300px;transform:translateY(-400px)'>I agree</div>",
        "<div style='box-shadow:0 0 0 9999px white;outline:9999px solid white'>x</div>",
        "<img src=x onerror=alert(1)>",
        "<img src='cid:\"><script>alert(1)</script>'>",
        "<p class='\"><script>alert(1)</script>'>x</p>",
        "<a title='say yes' href='https://example.test/\"onmouseover=\"x'>x</a>",
    ],
)
def test_included_original_cannot_load_or_affect_anything_outside(hostile: str) -> None:
    part = embed_page(f"<p>Hello</p>{hostile}", {})
    assert part is not None
    for banned in (
        "<script",
        "onclick=",
        "onerror=",
        "javascript",
        "<form",
        "<input",
        "<iframe",
        "<base",
        "<link",
        "<meta",
    ):
        assert banned not in part.html.lower()
    for banned in (
        "position",
        "margin-top",
        "transform",
        "box-shadow",
        "outline",
        "@import",
        "~",
        ":not",
        ":has",
        "say yes",
    ):
        assert banned not in part.html
    page = f"<p>My words</p><div>{part.html}</div><p class='note'>after</p>"
    lines = [line.text for line in read_html(page).lines if line.text]
    assert (lines[0], lines[-1]) == ("My words", "after")
    for rule in re.findall(
        r"^([^{}]+)\{", "\n".join(re.findall(r"<style>(.*?)</style>", part.html, re.DOTALL)), re.MULTILINE
    ):
        assert all(one.strip().startswith((".original-", "@media")) for one in rule.split(","))


@pytest.mark.parametrize(
    ("sheet", "kept"),
    [
        ("p { color: red }", ".o p { color: red }"),
        ("body, html { color: red }", ".o > div, .o > div { color: red }"),
        ("body p, html > body .a { color: red }", ".o p, .o .a { color: red }"),
        ("body.dark p { color: red }", ".o .dark p { color: red }"),
        ("bodyguard, .html { color: red }", ".o bodyguard, .o .html { color: red }"),
        ("p { position: fixed; color: red; margin: -9px; margin-left: 2px }", ".o p { color: red; margin-left: 2px }"),
        ("p { position: fixed }", ""),
        ("@media print { p { color: red } }", "@media print {\n.o p { color: red }\n}"),
        ("@font-face { font-family: x }", ""),
        ("p { background-image: url(javascript:x); width: expression(alert(1)) }", ""),
        ("p { color: red !important }", ".o p { color: red !important }"),
        ("}} p { color: red", ""),
        ("(" * 1000, ""),
        ("p { color: red } " * 10_000, ""),
    ],
)
def test_style_rules_are_scoped_to_the_original(sheet: str, kept: str) -> None:
    assert scope_rules(sheet, ".o") == kept


def test_declarations_stay_inside_their_element() -> None:
    assert (
        declarations("color:red;POSITION:absolute;margin:0 -5px;padding:1px;font-family:'a;b'")
        == 'color: red; padding: 1px; font-family: "a;b"'
    )
    assert declarations("margin: calc(0px - 9px); text-indent: var(--x)") == ""


def test_included_original_paints_nothing_outside_itself() -> None:
    part = embed_page("<style>body{overflow:visible!important}</style><p>x</p>", {})
    assert part is not None and re.match(
        r"<style>\n\.original-\w{8} > div \{ overflow: visible !important \}", part.html
    )
    part = embed_page("<p style='font-size:400px;line-height:0'>covers all above</p>", {})
    assert part is not None and re.match(r'<div class="original-\w{8}" style="overflow:auto"><div><p ', part.html)


@pytest.mark.processes
def test_giant_or_unanalyzable_original_is_included_as_text() -> None:
    assert embed_page("<p>x</p>" * LARGEST, {}) is None
    assert embed_page("<div>" * 1_000, {}) is None
    box = mail_of("<p>words </p>" * 40_000)
    forward(box)
    assert 'class="original-' not in page_of(box.sent[0]) and "words" in page_of(box.sent[0])


@pytest.mark.parametrize("corpora", some_and_all([*(HONEST | HOSTILE | INSIDER).items()], 6))
def test_included_original_reads_like_the_original(
    corpora: Sequence[tuple[str, Any]], subtests: pytest.Subtests
) -> None:
    taken = 0
    for name, mail in corpora:
        html = mail.html
        with subtests.test(name):
            part = embed_page(html, {})
            if part is not None:
                taken += 1
                page = read_html(part.html)
                assert page.text.split() == read_html(html).text.split() and not page.hidden
                assert page.doubts.isdisjoint(("transform", "margin", "box-shadow", "outline", "animation"))
                assert not re.search(r"[;{\"\s](position|inset|top|left|z-index|translate|clip-path)\s*:", part.html)
    assert all(embed_page(mail.html, {}) for name, mail in corpora if name in HONEST)
    assert taken > len(corpora) - 20 and taken > len(corpora) // 2


def test_mail_depending_on_a_dropped_rule_is_included_as_text() -> None:
    box = mail_of("<style>p { display: none } p:not(.x):not(* > .y) { display: block }</style><p>Lunch at noon?</p>")
    forward(box)
    assert "Lunch at noon?" in page_of(box.sent[0]) and "<style>" not in page_of(box.sent[0])
    pictures = [part.get_filename() for part in box.sent[0].iter_attachments()]
    assert pictures == ["logo.png"]


DRAFTER = Driver(TOOLKIT, frozenset({"https://www.googleapis.com/auth/gmail.modify"}))


def redrafted(box: Mailbox, first: str | None, second: str, **more: Any) -> EmailMessage:
    """Return a draft of a reply, before and after its body was changed."""
    made = DRAFTER.run("save_draft", {"reply_to": "m1", **({"body": first} if first else {})}, box).result
    done = DRAFTER.run("save_draft", {"draft_id": made["draft_id"], "body": second, **more}, box)
    return box.raw(done.requests[-1])


@pytest.mark.parametrize("first", ["First words.", None])
def test_new_text_of_a_reply_draft_keeps_its_quote_and_pictures(first: str | None) -> None:
    mail = redrafted(mail_of(NEWSLETTER), first, "**Second** words.")
    plain = mail.get_body(("plain",))
    assert plain is not None and str(plain.get_content()).startswith("**Second** words.\r\n\r\nOn Tue, 24 Nov 2026")
    page = page_of(mail)
    assert "First words" not in str(mail) and page.count("June offers") == 1 and page.count("</body>") == 1
    assert page.index("<strong>Second</strong>") < page.index("June offers") and JOIN.replace("&", "&amp;") in page
    assert [part.get_payload(decode=True) for part in mail.walk() if part.get_content_maintype() == "image"] == [
        PICTURE
    ]


def test_text_including_its_quote_gets_no_second_one() -> None:
    mail = redrafted(mail_of("<p>Question?</p>"), "Yes.", "No.\n\nOn Tue, 24 Nov 2026, Bob wrote:\n> Question?")
    plain = mail.get_body(("plain",))
    assert plain is not None and str(plain.get_content()).count("Question?") == 1


def test_new_plain_text_keeps_the_plain_quote() -> None:
    mail = redrafted(Mailbox.of(message("m1", "Question?")), "Yes.", "No.", body_format="plain")
    plain = mail.get_body(("plain",))
    assert plain is not None and str(plain.get_content()).endswith("> Question?\r\n")
