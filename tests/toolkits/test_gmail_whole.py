"""Texts of mails and of their files reach a model whole, in few calls."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Any

import pytest

from deputize.toolkits._shared.mail_raw import content_at
from deputize.toolkits._shared.page import tokens
from deputize.toolkits.gmail import TOOLKIT
from deputize.toolkits.gmail.excerpt import fair_share
from tests.support.preview_coverage import shown_world
from tests.toolkits.data.mails.corpus import carriers
from tests.toolkits.data.mails.corpus.eml import shown_by_gmail
from tests.toolkits.data.mails.corpus.tongues import TONGUES
from tests.toolkits.mailbox import READONLY, SEND, Mailbox, container, leaf, message
from tests.toolkits.tool_driver import NOW, Driver

READER = Driver(TOOLKIT, frozenset({READONLY}))
ENGLISH = "We looked at the numbers again, and the second quarter is better than we thought in May. "
JAPANESE = "先日お送りした資料について、いくつか確認したい点がございます。"
TABLE = "Date,Customer,Product,Amount,Paid\n" + "".join(
    f"2026-{n % 12 + 1:02}-{n % 28 + 1:02},{who},{what},{n * 37 % 900}.50,{paid}\n"
    for n in range(78)
    for who, what, paid in (
        ("Garden & Co", "Tulip bulbs in white", "yes"),
        ("Berg Roofing Ltd", "Gutter with brackets", "no"),
        ("City of Westbridge", "Benches for the park", "yes"),
        ("Anna Lindqvist", "Watering can in green", "open"),
    )
)


def read_on(tool: str, name: str, arguments: dict[str, Any], box: Mailbox) -> tuple[str, int]:
    """Return a whole text, and the number of calls."""
    said, offset = "", 0
    for calls in range(1, 20):
        found = READER.run(tool, arguments | {"offset": offset}, box).result
        assert tokens(found) <= 4_000
        said += found[name]
        if "next_offset" not in found:
            return said, calls
        offset = found["next_offset"]
    raise AssertionError("the text does not end")


@pytest.mark.parametrize(("text", "calls"), [((ENGLISH * 200)[:12_000], 2), ((JAPANESE * 200)[:3_000], 1)])
def test_mail_is_read_whole_in_few_calls(text: str, calls: int) -> None:
    box = Mailbox.of(message("m1", text.strip()))
    said, needed = read_on("get_email", "body", {"message_id": "m1"}, box)
    assert said == text.strip() and needed <= calls


def test_table_of_eighteen_kilobytes_is_read_in_five_calls() -> None:
    payload = container("mixed", leaf("text/plain", "See below."), leaf("text/csv", TABLE, filename="sales.csv"))
    assert 18_000 < len(TABLE) < 20_000
    said, calls = read_on(
        "get_attachment", "text", {"message_id": "m1", "part": "1"}, Mailbox.of(message("m1", payload))
    )
    assert said == TABLE and calls <= 5


def conversation(*texts: str) -> Mailbox:
    return Mailbox.of(*(message(f"m{n}", text, thread="t1", at=NOW + 60 * n) for n, text in enumerate(texts)))


def test_conversation_that_fits_is_shown_whole() -> None:
    texts = ["Short.", (ENGLISH * 80)[:6_000].strip(), "Thanks!"]
    found = READER.run("get_thread", {"thread_id": "t1"}, conversation(*texts)).result
    assert [row["body"] for row in found["items"]] == texts
    assert not any("more" in row for row in found["items"]) and found["next"] is None


def test_long_mails_of_a_conversation_share_the_remaining_budget() -> None:
    found = READER.run("get_thread", {"thread_id": "t1"}, conversation(ENGLISH * 300, "Yes.", ENGLISH * 300)).result
    assert tokens(found) <= 4_000 and len(found["items"]) == 3
    first, second, third = (len(row["body"]) for row in found["items"])
    assert second == 4 and min(first, third) > 5_000
    assert [row.get("total_chars") for row in found["items"]] == [
        len((ENGLISH * 300).strip()),
        None,
        len((ENGLISH * 300).strip()),
    ]


def test_fair_share_distributes_the_whole_budget() -> None:
    assert fair_share([], 100) == 0
    assert fair_share([10, 20, 30], 100) == 30
    assert fair_share([10, 200, 300], 110) == 50
    assert fair_share([200, 300], 110) == 55


def test_mail_attached_to_a_mail_is_read_and_forwarded() -> None:
    message_, kept = shown_by_gmail(carriers.bounce(TONGUES[1]))
    assert not kept
    box = Mailbox({"m1": message_})
    found = READER.run("get_attachment", {"message_id": "m1", "part": "message.eml"}, box)
    assert found.result["text"].startswith(
        "From: Alice <alice@example.test>\nTo: Alice <alice@example.test>\nSubject: Ang"
    )
    assert TONGUES[1].question in found.result["text"] and b"Subject:" in found.kept[0].content
    report = READER.run("get_attachment", {"message_id": "m1", "part": "1"}, box).result
    assert "Final-Recipient: rfc822; kim@gone.example.test" in report["text"]
    sender = Driver(TOOLKIT, frozenset({READONLY, SEND}))
    sender.run("forward_email", {"message_id": "m1", "to": ["dora@example.test"]}, box)
    sizes = [len(part.get_payload(decode=True)) for part in box.sent[0].iter_attachments()]
    assert len(sizes) == 2 and min(sizes) > 100


@pytest.mark.parametrize("place", ["7", "0.1.2", "x"])
def test_empty_mail_part_position_has_no_content(place: str) -> None:
    assert content_at(carriers.bounce(TONGUES[0]), place) == b""


async def test_cut_mail_is_continued_as_its_result_says(subtests: pytest.Subtests) -> None:
    long, table = (ENGLISH * 300).strip(), TABLE.strip()
    async with shown_world({"google": [READONLY]}) as world:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "bob@example.test", "alice@example.test", "Numbers of May"
        mail.set_content(long)
        mail.add_attachment(table.encode(), maintype="text", subtype="csv", filename="sales.csv")
        id = str(world.sandbox.mailbox("alice@example.test").add(mail).id)
        (row,) = (await world.act("gmail_search_emails", subject="Numbers of May", detail="full"))["items"]
        starts = {
            "a row": (row, "body", long),
            "a mail": (await world.act("gmail_get_email", message_id=id), "body", long),
            "a file": (await world.act("gmail_get_attachment", message_id=id, part="sales.csv"), "text", table),
            "a conversation": ((await world.act("gmail_get_thread", thread_id=id))["items"][0], "body", long),
        }
        for what, (found, name, whole) in starts.items():
            with subtests.test(what=what):
                said = str(found[name])
                assert "more" in found
                while "more" in found:
                    found = await world.act("gmail_read_more", ref=found["more"])
                    said += found[name]
                assert said.replace("\r\n", "\n").strip() == whole
