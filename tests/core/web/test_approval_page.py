"""The approval page as a person reads it: what will happen, to whom, the texts, the account, and the tool last."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deputize.core import Call, User
from deputize.core.approvals.headline import danger_rows
from deputize.core.errors import ApprovalRequired
from deputize.core.tools.preview import SEEN_BY, Audience
from deputize.core.user_requests import Approval
from deputize.core.web.pages import approval_lines
from deputize.core.web.pages.approval_lines import arrange_rows, first_line
from tests.core.web.web_application import World, make, words_of

EVERYBODY = SEEN_BY[Audience.PUBLIC]
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


SENTENCE = (
    "Mail helper wants to post this note at Google as alice@example.test, seen by everybody, also by bob@example.test: "
    "the board of #general"
)


async def test_approval_heading_is_the_act_and_rows_follow_decision_order() -> None:
    page = await opened(*await waiting())
    assert f"<h1>{SENTENCE}</h1>" in page and f"<title>{SENTENCE}</title>" in page
    order = ["<strong>Seen by:</strong> everybody", "What is there now will be lost.", "<dt>Where</dt>", "<dt>to</dt>"]
    order += ["Tonight", "See you at 8.", "high", "red", "blue", "Approve"]
    places = [page.index(part, page.index("</h1>")) for part in order]
    assert places == sorted(places) and page.count("everybody</li>") == 1
    assert places[-1] < page.index("notes_post_note"), "the tool's name comes after the buttons"


async def test_both_decisions_are_adjacent_buttons_of_one_form() -> None:
    page = await opened(*await waiting())
    assert re.search(r'value="approve">Approve</button>\s*<button [^>]*value="reject">Reject</button>', page)


async def test_changed_fields_are_named_and_marked_in_place() -> None:
    page = await opened(*await waiting(changed=["text", "audience", "message_id"], status="pending"))
    assert "changed since you were asked: text, seen by, message id." in page
    assert '<div class="changed">\n<dt>text <strong>(changed)</strong></dt>' in page
    assert "<strong>Seen by:</strong> everybody <strong>(changed)</strong></li>" in page
    assert "<dt>subject</dt>" in page


@pytest.mark.parametrize("text", ["word " * 2000, "line\n" * 900])
async def test_buttons_come_only_after_the_complete_unfolded_text(text: str) -> None:
    page = await opened(*await waiting(text))
    end = page.index(f'<pre dir="auto">{text}</pre>') + len(text)
    assert end < page.index("<button") and "<details" not in page[:end]
    style = (Path(approval_lines.__file__).parent / "templates" / "style.css").read_text()
    assert "tabindex" not in page and "overflow: auto" not in style and "max-height" not in style
    assert "<script" not in page and 'href="#' not in page


async def test_source_of_a_value_is_a_warning_above_all_rows() -> None:
    approval = Approval(
        "1", "t", "sends", {"to": "eve@evil.test", "comes from": "a mail of eve@evil.test"}, ("comes from",)
    )
    told = arrange_rows(approval)
    assert [row.name for row in told.warnings] == ["comes from"] and [row.name for row in told.rows] == ["to"]


def test_warnings_have_one_line_for_each_danger_in_order() -> None:
    preview = {
        "to": "x",
        "warning": "This gives somebody access.\nLost.",
        "comes from": "m",
        "first contact": "f",
        "seen by": EVERYBODY,
    }
    dangers = tuple(danger_rows(preview))
    told = arrange_rows(Approval("1", "t", "sends", preview, dangers, changed_fields=("audience",)))
    assert [(row.name, row.text) for row in told.warnings] == [
        ("seen by", EVERYBODY),
        ("first contact", "f"),
        ("comes from", "m"),
        ("warning", "This gives somebody access."),
        ("warning", "Lost."),
    ]
    assert told.warnings[0].changed and told.places == []


async def test_harmless_private_act_shows_no_warning() -> None:
    approval = Approval("1", "t", "writes", preview={"title": "x", "seen by": SEEN_BY[Audience.SELF]})
    assert arrange_rows(approval).warnings == [] and [row.name for row in arrange_rows(approval).places] == ["seen by"]


def test_every_row_appears_once_with_related_rows_together() -> None:
    names = ["colour", "text now", "text", "where", "to", "to as written", "seen by", "files", "warning", "cc"]
    told = arrange_rows(Approval("1", "t", "sends", dict.fromkeys(names, "x"), ("warning",)))
    assert [row.name for row in told.rows] == ["to", "to as written", "cc", "text", "files", "colour"]
    assert sorted([*(row.name for part in told[:3] for row in part), "text now"]) == sorted(names)
    assert [row.now for row in told.rows] == [None, None, None, "x", None, None]
    act = arrange_rows(Approval("1", "t", "sends", preview={"pull request": "#2", "title now": "a", "message": "b"}))
    assert [row.name for row in act.rows] == ["pull request", "title now", "message"], "as the tool has them"


def test_approval_list_distinguishes_acts_by_subject_or_text() -> None:
    assert first_line({"text": "x", "subject": "Tonight\nlate", "to": "bob"}) == "Tonight"
    assert first_line({"text": "x"}) == "x" and first_line({"to": "bob"}) == ""


async def test_decided_approval_page_still_shows_the_complete_act() -> None:
    world, approval = await waiting()
    await world.deputy.decide(approval.id, "reject", by="alice")
    page = await world.send("GET", f"/approve/{approval.id}", user="alice")
    assert f"{SENTENCE}. This will not be done." in words_of(page)
    assert "<summary>What it was, in full</summary>" in page.text and "See you at 8." in page.text


async def test_approval_with_an_unknown_status_is_an_error_page() -> None:
    world, approval = await waiting(status="approved_by_two")
    said = await world.send("GET", f"/approve/{approval.id}", user="alice")
    assert said.status_code == 500 and "approved_by_two" not in said.text and "Approve</button>" not in said.text
