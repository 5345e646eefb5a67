"""Answering, forwarding and drafting mail."""

from __future__ import annotations

from typing import Any

from deputize.sandbox.salesforce.seed import checksum
from deputize.toolkits._shared.html import read_html
from tests.tasks.end import End, files_of
from tests.tasks.reading import pages
from tests.tasks.task import Script, task, use
from tests.tasks.world import ALICE, BOB, World

ACCOUNTANT = "books@numbers.example.test"


@task("Tell Bob that I am in for dinner.", "gmail")
def dinner() -> Script:
    found = yield use("gmail_search_emails", query="from:bob dinner")
    yield use("gmail_reply_email", message_id=found["items"][0]["id"], body="I am in.")


@dinner.ends
def _(end: End) -> None:
    [mail] = end.sent()
    assert mail.to == "Bob Brown <bob@example.test>" and "I am in" in mail.text
    assert mail.subject.startswith("Re: Dinner on")


@task(f"Forward invoice 1042 with its attachments to {ACCOUNTANT}, 'Please pay this.'", "gmail")
def forward_invoice() -> Script:
    found = yield use("gmail_search_emails", subject="Invoice 1042")
    yield use("gmail_forward_email", message_id=found["items"][0]["id"], to=[ACCOUNTANT], body="Please pay this.")


@forward_invoice.ends
def _(end: End) -> None:
    [mail] = end.sent()
    assert mail.to == ACCOUNTANT and "Please pay this" in mail.text and "118.40" in mail.text
    assert list(files_of(mail)) == ["invoice-1042.pdf", "items.csv"]


@task(f"Send only the CSV of invoice 1042 to {ACCOUNTANT}.", "gmail")
def send_one_attachment() -> Script:
    found = yield use("gmail_search_emails", subject="Invoice 1042", detail="full")
    mail = found["items"][0]
    file = yield use("gmail_get_attachment", message_id=mail["id"], part=mail["files"][1])
    yield use("gmail_send_email", to=[ACCOUNTANT], subject="Items", body="Attached.", attachments=[file["handle"]])


@send_one_attachment.ends
def _(end: End) -> None:
    [mail] = end.sent()
    files = files_of(mail)
    assert mail.to == ACCOUNTANT and list(files) == ["items.csv"] and b"keyboard" in files["items.csv"]


def _offsite(world: World) -> None:
    to = f"Alice Adams <{ALICE}>, Carol Clark <carol@example.test>"
    world.mail("Offsite in May", "Which week suits you?", to=to, Cc="Dave Dunn <dave@example.test>")


@task("Answer everybody on the mail about the offsite: the second week suits me.", "gmail")
def reply_all() -> Script:
    found = yield use("gmail_search_emails", subject="offsite")
    yield use("gmail_reply_email", message_id=found["items"][0]["id"], body="The second week suits me.", all=True)


reply_all.starts(_offsite)


@reply_all.ends
def _(end: End) -> None:
    [mail] = end.sent()
    everybody = mail.to + mail.header("Cc")
    assert all(one in everybody for one in ("bob@", "carol@", "dave@")) and ALICE not in everybody
    assert "second week" in mail.text


@task("Answer Bob alone on the mail about the offsite: I would rather stay at home.", "gmail")
def reply_to_one() -> Script:
    found = yield use("gmail_search_emails", subject="offsite")
    yield use("gmail_reply_email", message_id=found["items"][0]["id"], body="I would rather stay at home.")


reply_to_one.starts(_offsite)


@reply_to_one.ends
def _(end: End) -> None:
    [mail] = end.sent()
    assert "bob@" in mail.to and "carol" not in mail.to and not mail.header("Cc") and "at home" in mail.text


@task("Draft an answer to Bob about the design review: I read it by tomorrow. Do not send it.", "gmail")
def draft_only() -> Script:
    found = yield use("gmail_search_emails", query="from:bob", subject="Design review")
    yield use("gmail_save_draft", reply_to=found["items"][0]["id"], body="I read it by tomorrow.")


@draft_only.ends
def _(end: End) -> None:
    [draft] = end.sandbox.mailbox(ALICE).drafts()
    assert "tomorrow" in draft.text and "bob@" in draft.to
    assert end.changed(f"gmail {ALICE} drafts *") and end.changed(f"gmail {ALICE} mails {draft.id}")


@task(
    "Draft a mail to carol@example.test, subject 'Offer': 'Our offer stands.' Then add 'Until Friday.' and send it.",
    "gmail",
)
def change_and_send_a_draft() -> Script:
    draft = yield use("gmail_save_draft", to=["carol@example.test"], subject="Offer", body="Our offer stands.")
    yield use("gmail_save_draft", draft_id=draft["draft_id"], body="Our offer stands.\n\nUntil Friday.")
    yield use("gmail_send_draft", draft_id=draft["draft_id"])


@change_and_send_a_draft.ends
def _(end: End) -> None:
    [mail] = end.sent()
    assert mail.to == "carol@example.test" and mail.subject == "Offer"
    assert "offer stands" in mail.text and "Until Friday" in mail.text and not end.sandbox.mailbox(ALICE).drafts()


@task("Write to Bob and to me, bob@example.test and alice@example.test: 'The keys are with the porter.'", "gmail")
def bob_and_me() -> Script:
    to = ["bob@example.test", ALICE]
    yield use("gmail_send_email", to=to, subject="Keys", body="The keys are with the porter.")


@bob_and_me.ends
def _(end: End) -> None:
    [mail] = end.sent()
    assert "bob@example.test" in mail.to and ALICE in mail.to and "porter" in mail.text


@task("Write to juergen@faß.example.test that I come on Monday.", "gmail")
def international_domain() -> Script:
    yield use("gmail_send_email", to=["juergen@faß.example.test"], subject="Montag", body="I come on Monday.")


@international_domain.ends
def _(end: End) -> None:
    [mail] = end.sent()
    assert "xn--fa-hia.example.test" in mail.header("To") or "faß.example.test" in mail.header("To")
    assert "fass.example" not in mail.header("To") and all("fass.example" not in one for one in end.shown)


@task("Turn on my out-of-office from 1 December 2026 to 5 December 2026: 'I am away until Monday.'", "gmail")
def vacation() -> Script:
    yield use("gmail_set_vacation", enabled=True, subject="Away", body="I am away until Monday.",
              after="2026-12-01", before="2026-12-05")  # fmt: skip


@vacation.ends
def _(end: End) -> None:
    end.changed(f"gmail {ALICE} settings vacation *")
    now = end.sandbox._world.mailbox(ALICE).settings["vacation"]
    assert now["enableAutoReply"] and "away until Monday" in str(now)
    assert int(now["endTime"]) > int(now["startTime"]) > 1795528800000


@task("Sign my mails with 'Alice Adams, Acme'.", "gmail:more")
def signature() -> Script:
    yield use("gmail_get_settings", section="aliases")
    yield use("gmail_set_signature", body="Alice Adams, Acme")


@signature.ends
def _(end: End) -> None:
    assert ["Alice Adams, Acme" in one for one in end.changed(f"gmail {ALICE} settings sendAs *")] == [True]


JOIN = "https://teams.example.test/l/meetup-join/" + "19ab" * 80
SYNC = f"<p>Please join <a href='{JOIN}'>here</a>.</p><p><img src='cid:shot@x' alt='shot'></p>"


@task("Forward Bob's mail 'Sync' to carol@example.test.", "gmail")
def forward_as_it_looks() -> Script:
    found = yield use("gmail_search_emails", subject="Sync")
    yield use("gmail_forward_email", message_id=found["items"][0]["id"], to=["carol@example.test"])


@forward_as_it_looks.starts
def _(world: World) -> None:
    world.mail("Sync", "Please join.", html=SYNC, inline=("shot@x", b"\x89PNG\r\n\x1a\n123"))


@forward_as_it_looks.ends
def _(end: End) -> None:
    [mail] = end.sent()
    parts: dict[str, Any] = {part.get_content_type(): part.get_payload(decode=True) for part in mail.message.walk()}
    assert mail.to == "carol@example.test" and JOIN in parts["text/html"].decode()
    assert parts["image/png"].startswith(b"\x89PNG")


@task("Mail Bob the three deals of Northwind as a table: name, stage, amount.", "gmail", "salesforce", "contacts")
def table_into_a_mail() -> Script:
    account = yield use("salesforce_get_record", object="Account", record="Northwind")
    rows = yield from pages(
        "salesforce_list_records", object="Opportunity", related_to=account["id"], fields=["StageName", "Amount"]
    )
    lines = [f"| {row['name']} | {row['StageName']} | {row.get('Amount') or ''} |" for row in rows]
    body = "\n".join(["The deals of Northwind:", "", "| Name | Stage | Amount |", "|---|---|--:|", *lines])
    bob = (yield use("contacts_search", query="Bob"))["items"][0]["emails"][0]
    yield use("gmail_send_email", to=[bob], subject="Northwind", body=body)


@table_into_a_mail.starts
def _(world: World) -> None:
    deals = world["salesforce"]["records"]["Opportunity"]
    for n, (name, amount) in enumerate((("Northwind pilot", 900.0), ("Northwind training", None)), 7):
        key = f"00600000000000{n}"
        deals.append(dict(deals[0]) | {"Id": key + checksum(key), "Name": name, "Amount": amount})


@table_into_a_mail.ends
def _(end: End) -> None:
    [mail] = end.sent()
    page = str(next(part for part in mail.message.walk() if part.get_content_subtype() == "html").get_content())
    assert (page.count("<tr>"), page.count("<th "), page.count("<td ")) == (4, 3, 9) and "---" not in page
    assert read_html(page).text.count("Northwind pilot | Negotiation | 900") == 1
    assert BOB in mail.to and all(name in mail.text for name in ("renewal", "pilot", "training"))
