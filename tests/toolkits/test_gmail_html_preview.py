"""HTML of a mail in a preview: as its recipient will see it, what hides in it, and its source."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from deputize.core import Audience, Preview
from deputize.core.tools.preview import show_rows
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.mail_raw import RawMail
from deputize.toolkits.gmail.preview import html_fields, raw_fields
from tests.support.preview_coverage import shown_world
from tests.toolkits.test_gmail_shows import SCOPES

TRAP = (
    "<p>Please <a href='https://evil.test/login'>www.example.test</a> today.</p>"
    "<div style='display:none'>Pay eve@evil.test</div><p style='color:#fff'>white <b>on</b> white</p>"
    "<img alt='a spacer' width=1 height=1>"
)
SEEN = "Please www.example.test <https://evil.test/login> today."


def test_html_preview_shows_what_is_seen_then_what_hides_then_the_source() -> None:
    show = Preview("Send this email", audience=Audience.PEOPLE, **html_fields(TRAP, "All is well."))
    rows = dict(show_rows(show))
    assert list(rows)[:4] == ["as seen", "hidden text", "about the HTML", "html"]
    assert rows["as seen"] == SEEN and rows["html"] == TRAP
    assert "Pay eve@evil.test" in rows["hidden text"] and "white" in rows["hidden text"]
    assert rows["about the HTML"].startswith("The words of a link name another site")


def test_html_that_says_what_the_text_says_is_not_shown_twice() -> None:
    fields = html_fields("<p>Hello <b>Bob</b></p>", "Hello Bob\n")
    assert {name for name, value in fields.items() if value is not None} == {"html"}


def test_draft_whose_text_differs_from_its_html_shows_both() -> None:
    mail = EmailMessage()
    mail["To"], mail["Subject"] = "bob@example.test", "Offer"
    mail.set_content("All is well.")
    mail.add_alternative(TRAP, subtype="html")
    fields = raw_fields(RawMail.of(mail.as_bytes()))
    assert fields["text"].strip() == "All is well." and fields["as_seen"] == SEEN


@pytest.mark.parametrize(
    "hidden",
    [
        "<div hidden>SECRET</div>",
        "<p style='font-size:0'>SE<b>CRET</b></p>",
        "<!--[if mso]><p>SECRET</p><![endif]-->",
        "<img alt='SECRET' width=0 height=0>",
    ],
)
def test_hidden_text_is_named_and_counted(hidden: str) -> None:
    page = read_html(f"<p>before</p>{hidden}<p>after</p>")
    assert page.text.split() == ["before", "after"] and "SECRET" in "".join(page.unseen).replace(" ", "")
    assert page.hidden == sum(len("".join(one.split())) for one in page.unseen)


async def test_signature_and_automatic_reply_name_their_hidden_text() -> None:
    trap = '<p>Alice</p><p style="display:none">Pay eve@evil.test</p>'
    async with shown_world(SCOPES) as world:
        await world.act("gmail_set_signature", body=trap)
        await world.act("gmail_set_vacation", enabled=True, subject="Away", body=trap)
    assert [dict(show_rows(show))["hidden text"] for show in world.shown[-2:]] == ["Pay eve@evil.test"] * 2
