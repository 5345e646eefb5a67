"""Texts of mails and of their files reach a model whole, in few calls."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.toolkits._shared.page import tokens
from deputize.toolkits.gmail import TOOLKIT
from deputize.toolkits.gmail.pieces import level
from tests.toolkits.driving import NOW, Driver
from tests.toolkits.mailbox import READONLY, Mailbox, container, leaf, message

READER = Driver(TOOLKIT, frozenset({READONLY}))
ENGLISH = "We looked at the numbers again, and the second quarter is better than we thought in May. "
JAPANESE = "先日お送りした資料について、いくつか確認したい点がございます。"
TABLE = "".join(
    f"2026-{n % 12 + 1:02}-{n % 28 + 1:02},INV-{10_000 + n},{n * 37 % 900}.{n % 90 + 10},EUR\n" for n in range(600)
)


def read_on(tool: str, name: str, arguments: dict[str, Any], box: Mailbox) -> tuple[str, int]:
    """A text from its beginning to its end, and in how many calls."""
    said, offset = "", 0
    for calls in range(1, 20):
        found = READER.run(tool, arguments | {"offset": offset}, box).result
        assert tokens(found) <= 4_000
        said += found[name]
        if "next" not in found:
            return said, calls
        offset = found["next"]
    raise AssertionError("the text does not end")


@pytest.mark.parametrize(("text", "calls"), [((ENGLISH * 200)[:12_000], 2), ((JAPANESE * 200)[:3_000], 1)])
def test_a_mail_is_read_whole_in_few_calls(text: str, calls: int) -> None:
    box = Mailbox.of(message("m1", text.strip()))
    said, needed = read_on("get_email", "body", {"message_id": "m1"}, box)
    assert said == text.strip() and needed <= calls


def test_a_table_of_eighteen_kilobytes_is_read_whole_in_five_calls() -> None:
    payload = container("mixed", leaf("text/plain", "See below."), leaf("text/csv", TABLE, filename="sales.csv"))
    assert 18_000 < len(TABLE) < 20_000
    said, calls = read_on(
        "get_attachment", "text", {"message_id": "m1", "part": "1"}, Mailbox.of(message("m1", payload))
    )
    assert said == TABLE and calls <= 5


def conversation(*texts: str) -> Mailbox:
    return Mailbox.of(*(message(f"m{n}", text, thread="t1", at=NOW + 60 * n) for n, text in enumerate(texts)))


def test_a_conversation_that_fits_is_shown_whole() -> None:
    texts = ["Short.", (ENGLISH * 80)[:6_000].strip(), "Thanks!"]
    found = READER.run("get_thread", {"thread_id": "t1"}, conversation(*texts)).result
    assert [row["body"] for row in found["items"]] == texts
    assert not any("next" in row for row in found["items"]) and found["next"] is None


def test_long_mails_of_a_conversation_share_what_the_short_ones_leave() -> None:
    found = READER.run("get_thread", {"thread_id": "t1"}, conversation(ENGLISH * 300, "Yes.", ENGLISH * 300)).result
    assert tokens(found) <= 4_000 and len(found["items"]) == 3
    first, second, third = (len(row["body"]) for row in found["items"])
    assert second == 4 and min(first, third) > 5_000
    assert [row.get("total_chars") for row in found["items"]] == [
        len((ENGLISH * 300).strip()),
        None,
        len((ENGLISH * 300).strip()),
    ]


def test_what_is_shared_is_all_that_there_is() -> None:
    assert level([], 100) == 0
    assert level([10, 20, 30], 100) == 30
    assert level([10, 200, 300], 110) == 50
    assert level([200, 300], 110) == 55
