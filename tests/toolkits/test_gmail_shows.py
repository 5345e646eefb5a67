"""No word leaves Gmail that was not shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from deputize.core.act.show import show_rows
from tests.support import shown
from tests.support.shown import ShownWorld, shown_world

OURS: Final = frozenset(
    "div class gmail quote attr blockquote style margin border left padding solid ccc 1px 1ex 8ex "
    "html body charset utf 8 0 br p strong em a href file messages drafts trash list unsubscribe one click "
    "v1 users me send upload modify".split()
)
"""Words of formats and paths, which nobody has to see."""

DRAFT = {
    "to": ["Käthe Öl <kaethe@example.test>"],
    "subject": "Grüße zuvor",
    "body": "Ein *Wort*",
    "cc": ["d@example.test"],
}
HTML = DRAFT | {"body": '<p>Seen</p><p style="display:none">unseen</p>', "body_format": "html"}


async def mail_of(world: ShownWorld, **wanted: Any) -> str:
    return str((await world.act("gmail_search_emails", **wanted, limit=1))["items"][0]["id"])


async def a_reply(world: ShownWorld) -> dict[str, Any]:
    found = await mail_of(world, query="from:bob")
    return {
        "message_id": found,
        "body": "**Yes**, [here](https://x.test/a?b=1).",
        "cc": ["c@example.test"],
        "all": True,
    }


async def a_forward(world: ShownWorld) -> dict[str, Any]:
    return {
        "message_id": await mail_of(world, query="has:attachment"),
        "to": ["bob@example.test"],
        "body": "Look below",
    }


async def a_draft(world: ShownWorld) -> dict[str, Any]:
    return {"draft_id": (await world.act("gmail_save_draft", **HTML))["draft_id"]}


async def a_change(world: ShownWorld) -> dict[str, Any]:
    return await a_draft(world) | {"subject": "Andere", "bcc": ["secretly@example.test"]}


async def a_file(world: ShownWorld) -> dict[str, Any]:
    kept = await world.deputy.keep_file("alice", "offer one.pdf", "application/pdf", b"words inside")
    return DRAFT | {"attachments": [kept["file"]]}


async def a_list(world: ShownWorld) -> dict[str, Any]:
    return {"message_id": await mail_of(world, subject="Bulbs"), "by_email": True, "trash": True}


ROWS: Final[list[tuple[str, Any]]] = [
    ("gmail_send_email", DRAFT | {"bcc": ["secretly@example.test"]}),
    ("gmail_send_email", HTML),
    ("gmail_send_email", a_file),
    ("gmail_reply_email", a_reply),
    ("gmail_forward_email", a_forward),
    ("gmail_save_draft", DRAFT),
    ("gmail_save_draft", a_change),
    ("gmail_send_draft", a_draft),
    ("gmail_delete_draft", a_draft),
    ("gmail_unsubscribe", a_list),
]


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    scopes = ["https://www.googleapis.com/auth/gmail.modify"]
    async with shown_world({"google": scopes}) as world:
        yield world


@pytest.mark.parametrize(("tool", "arguments"), ROWS, ids=[f"{n}-{row[0]}" for n, row in enumerate(ROWS)])
async def test_no_word_leaves_that_was_not_shown(world: ShownWorld, tool: str, arguments: Any) -> None:
    unseen = await world.unseen(tool, arguments, formats=OURS)
    pinned = any(one.get("pin") for one in world.shown[0].fields.get("files") or ())
    bytes_later = {word for word in unseen if pinned and len(word) == 64}
    assert [word for word in unseen if word not in bytes_later] == []


async def test_a_word_that_is_kept_back_is_caught(world: ShownWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: without the row of bcc it does."""
    monkeypatch.setattr(shown, "show_rows", lambda show: [row for row in show_rows(show) if row[0] != "bcc"])
    assert "secretly" in await world.unseen(*ROWS[0], formats=OURS)
