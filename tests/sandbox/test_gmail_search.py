"""Gmail's search syntax over Alice's seeded mailbox."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from deputize.sandbox import Sandbox
from tests.sandbox.registered_app import ALICE, NOW, Clock, Gmail

DINNER = "Dinner on Friday?"
REVIEW = "Design review"
BUDGET_RE = "Re: Budget for Q4"
BUDGET = "Budget for Q4"
INVOICE = "Invoice 1042"
BULBS = "Bulbs: 30% off until Sunday"
TALK = "Invitation: Roadmap talk @ Thu Nov 26, 2026 10:00 (UTC)"
PRIZE = "You have won"
RAKES = "Rakes: last chance"
PARCEL = "Parcel waiting\u200b: action required"


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("lantern", [DINNER]),
        ("LANTERN friday", [DINNER]),
        ("lanter", []),
        ('"plain yes or no"', [DINNER]),
        ('"no plain yes"', []),
        ("from:bob", [DINNER, REVIEW, BUDGET_RE]),
        ("from:bob@example.test subject:review", [REVIEW]),
        ('from:"Bob Brown" is:unread', [DINNER]),
        ("from:me", [BUDGET]),
        ("to:bob", [BUDGET]),
        ("to:me from:bob subject:dinner", [DINNER]),
        ("subject:(design review)", [REVIEW]),
        ("subject:(review design)", [REVIEW]),
        ('subject:"review design"', []),
        ('subject:"budget for q4"', [BUDGET_RE, BUDGET]),
        ("subject:lantern", []),
        ("is:starred", ["Water meter on the 12th"]),
        ("is:important", [DINNER]),
        ("is:unread", [DINNER, BULBS, PARCEL]),
        ("is:read from:bob", [REVIEW, BUDGET_RE]),
        ("in:sent", [BUDGET]),
        ("in:spam", [PRIZE]),
        ("in:trash", [RAKES]),
        ("rakes", []),
        ("in:anywhere rakes", [RAKES]),
        ("-in:spam rakes", []),
        ("-label:trash rakes", []),
        ("is:unread -in:spam -from:{garden parcel}", [DINNER]),
        ("label:travel", ["Your ticket to Vienna"]),
        ("label:receipts-2026", [INVOICE]),
        ("label:Label_2", [INVOICE]),
        ("label:nothing", []),
        ("category:promotions", [BULBS]),
        ("category:{promotions social}", [BULBS, "Three new photos in Hiking"]),
        ("category:unheard", []),
        ("has:attachment", [TALK, INVOICE]),
        ("filename:pdf", [INVOICE]),
        ("filename:items.csv", [INVOICE]),
        ("filename:invite", [TALK]),
        ("-has:attachment invoice", [PARCEL]),
        ("rfc822msgid:dinner@mail.example.test", [DINNER]),
        ("rfc822msgid:<dinner@mail.example.test>", [DINNER]),
        ("dinner OR invoice", [DINNER, PARCEL, INVOICE]),
        ("from:bob dinner OR review", [DINNER, REVIEW]),
        ("{dinner invoice}", [DINNER, PARCEL, INVOICE]),
        ("{subject:dinner subject:invoice}", [DINNER, INVOICE]),
        ("from:(bob OR billing) invoice", [INVOICE]),
        ("dinner AND lantern", [DINNER]),
        ("from:bob -dinner -review", [BUDGET_RE]),
        ('from:bob -"design review" -subject:budget', [DINNER]),
        ("-from:{noreply no-reply donotreply} subject:linux", []),
        ("newer_than:1d", [DINNER, BULBS, PARCEL]),
        ("older_than:9d", ["Three new photos in Hiking"]),
        ("newer_than:1m older_than:9d", ["Three new photos in Hiking"]),
        ("older_than:1y", []),
        ("newer_than:soon", []),
        (f"after:{int(NOW) - 3600}", [DINNER]),
        (f"before:{int(NOW) - 229 * 3600}", ["Three new photos in Hiking"]),
        ("after:2026/11/24", [DINNER]),
        ("after:2026/11/23 before:2026/11/24", [BULBS, PARCEL, TALK]),
        ("after:2026/13/45", []),
        ("schöne", ["Grüße aus Köln"]),
        ("会議のお知らせ", ["会議のお知らせ"]),
        ("foo:bar", []),
        ("()", None),
        (")dinner(", [DINNER]),
        ("from:", []),
        ("-", []),
    ],
)
async def test_gmail_query_finds_mails(alice: Gmail, q: str, found: list[str] | None) -> None:
    subjects = await alice.subjects(q)
    assert len(subjects) == 14 if found is None else subjects == found


async def test_query_date_is_midnight_in_california(sandbox: Sandbox, alice: Gmail, clock: Clock) -> None:
    message = EmailMessage()
    message["Subject"] = "border"
    clock.now = 1795507200  # 24 November, 00:00 in California
    sandbox.mailbox(ALICE).add(message, age=1)
    assert await alice.subjects("border before:2026/11/24") == ["border"]
    sandbox.mailbox(ALICE).add(message)
    assert len(await alice.ids("border after:2026/11/24")) == 1


async def test_label_parameter_narrows_the_query_and_opens_spam(alice: Gmail) -> None:
    assert await alice.subjects("from:bob", labelIds=["INBOX", "UNREAD"]) == [DINNER]
    assert await alice.subjects(labelIds="SPAM") == [PRIZE]
    assert PRIZE in await alice.subjects(includeSpamTrash="true")
    assert (await alice.send("GET", "/messages", labelIds="Label_99")).status_code == 400


async def test_thread_is_found_by_any_of_its_mails(alice: Gmail) -> None:
    listed = await alice.get("/threads", q="hardware in:sent")
    (row,) = listed["threads"]
    thread = await alice.get(f"/threads/{row['id']}", format="minimal")
    assert [message["labelIds"] for message in thread["messages"]] == [["SENT"], ["INBOX", "CATEGORY_PERSONAL"]]
    assert listed["resultSizeEstimate"] == 1
