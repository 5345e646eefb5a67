"""The approval page as a person reads it: what will happen, to whom, the texts, the account, and the tool last."""

from __future__ import annotations

import re

import pytest

from deputize.core import Call, User
from deputize.core.errors import ApprovalRequired
from deputize.core.user_requests import Approval
from deputize.core.web.pages.reading_order import arrange_rows, first_line
from tests.core.web.web_application import World, make, words_of

NOTE = {"to": "bob@example.test", "subject": "Tonight", "text": "See you at 8."}


async def waiting(text: str = NOTE["text"], **changed: object) -> tuple[World, Approval]:
    """Return an approval of a note, with these changes in its record."""
    world = await make()
    await world.connected("send")
    with pytest.raises(ApprovalRequired) as e:
        await world.deputy.act("notes_post_note", {**NOTE, "text": text}, user="alice", call=Call(id="1"))
    if changed:
        key = world.deputy.vault.key_prefix(User("alice")) + e.value.approval.id.partition("-")[0]
        record = await world.deputy.vault.get("approval", key)
        assert record and await world.deputy.vault.swap(record, record.json | changed)
    return world, e.value.approval


async def opened(world: World, approval: Approval) -> str:
    return (await world.send("GET", f"/approve/{approval.id}", user="alice")).text


async def test_approval_heading_is_the_act_and_rows_follow_decision_order() -> None:
    page = await opened(*await waiting())
    assert "<h1>Post this note</h1>" in page and "<title>Post this note</title>" in page
    order = ["Mail helper", "as <strong>alice@example.test", "What is there now will be lost.", "bob@example.test"]
    order += ["Tonight", "See you at 8.", "high", "red", "blue", "the board of #general", "everybody", "Approve"]
    places = [page.index(part) for part in order]
    assert places == sorted(places)
    assert places[-1] < page.index("notes_post_note"), "the tool's name comes after the buttons"


async def test_both_decisions_are_adjacent_buttons_of_one_form() -> None:
    page = await opened(*await waiting())
    assert re.search(r'value="approve">Approve</button>\s*<button [^>]*value="reject">Reject</button>', page)


async def test_changed_fields_are_named_and_marked_in_place() -> None:
    page = await opened(*await waiting(changed=["text", "audience", "message_id"], status="pending"))
    assert "changed since you said yes to it: text, seen by, message id." in page
    assert '<div class="changed">\n<dt>text <strong>(changed)</strong></dt>' in page
    assert "<dt>Seen by <strong>(changed)</strong></dt>" in page
    assert "<dt>subject</dt>" in page


@pytest.mark.parametrize("text", ["word " * 2000, "line\n" * 9])
async def test_long_text_is_complete_in_a_keyboard_reachable_region(text: str) -> None:
    page = await opened(*await waiting(text))
    assert f'<pre tabindex="0" role="region" aria-label="text" dir="auto">{text}</pre>' in page
    assert page.count("tabindex") == 1


async def test_source_of_a_value_is_a_warning_above_all_rows() -> None:
    approval = Approval("1", "t", "sends", preview={"to": "eve@evil.test", "comes from": "a mail of eve@evil.test"})
    told = arrange_rows(approval)
    assert [row.name for row in told.warnings] == ["comes from"] and [row.name for row in told.rows] == ["to"]


def test_every_row_appears_once_with_related_rows_together() -> None:
    names = ["colour", "text now", "text", "where", "to", "to as written", "seen by", "files", "warning", "cc"]
    told = arrange_rows(Approval("1", "t", "sends", preview=dict.fromkeys(names, "x")))
    assert [row.name for row in told.rows] == ["to", "to as written", "cc", "text now", "text", "files", "colour"]
    assert sorted(row.name for part in told[:3] for row in part) == sorted(names)


def test_approval_list_distinguishes_acts_by_recipient_and_subject() -> None:
    assert first_line({"text": "x", "subject": "Tonight\nlate", "to": "bob"}) == "bob · Tonight"
    assert first_line({"text": "x"}) == ""


async def test_decided_approval_page_still_shows_the_complete_act() -> None:
    world, approval = await waiting()
    await world.deputy.decide(approval.id, "reject", by="alice")
    page = await world.send("GET", f"/approve/{approval.id}", user="alice")
    assert "This will not be done: Post this note" in words_of(page)
    assert "<summary>What it was, in full</summary>" in page.text and "See you at 8." in page.text


async def test_approval_with_an_unknown_status_is_an_error_page() -> None:
    world, approval = await waiting(status="approved_by_two")
    said = await world.send("GET", f"/approve/{approval.id}", user="alice")
    assert said.status_code == 500 and "approved_by_two" not in said.text and "Approve</button>" not in said.text
