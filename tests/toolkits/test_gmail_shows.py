"""Everything that Gmail's tools send was previewed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from deputize.core import ApprovalRequired, Danger, Preview, ask_before_sending
from deputize.core.tools.preview import show_rows
from tests.support.preview_coverage import ShownWorld, shown_world

OURS: Final = frozenset(
    "div class gmail quote attr blockquote style margin border left padding solid ccc 1px 1ex 8ex "
    "html body charset utf 8 0 br p strong em a href file messages drafts trash list unsubscribe one click "
    "v1 users me send upload modify settings filters vacation sendas labels threads batchmodify untrash".split()
)
"""Words of formats and paths, which need no preview."""

SCOPES: Final = {"google": [f"https://www.googleapis.com/auth/gmail.{name}" for name in ("modify", "settings.basic")]}

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


async def an_html_reply(world: ShownWorld) -> dict[str, Any]:
    return {"message_id": await mail_of(world, query="from:bob"), "body": HTML["body"], "body_format": "html"}


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
    kept = await world.deputy.store_file("alice", "offer one.pdf", "application/pdf", b"words inside")
    return DRAFT | {"attachments": [kept["file"]]}


async def a_list(world: ShownWorld) -> dict[str, Any]:
    return {"message_id": await mail_of(world, subject="Bulbs"), "by_email": True, "trash": True}


SIGNATURE: Final = {"body": "<b>Alice</b> &amp; <i>Adams</i>", "send_as": "support@example.test"}
AWAY: Final = {
    "enabled": True,
    "subject": "Abroad",
    "body": "Back **soonest**",
    "after": "+1d",
    "before": "2027-01-08T00:00Z",
}
FILTER: Final = {"action": "create", "from": "news@shop.test", "to": "alice+list@example.test", "subject": "Sale"}


async def a_second_signature(world: ShownWorld) -> dict[str, Any]:
    done = await world.act("gmail_set_signature", **SIGNATURE)
    return SIGNATURE | {"body": "", "if_text": done["undo"]["args"]["if_text"]}


async def an_end_of_absence(world: ShownWorld) -> dict[str, Any]:
    await world.act("gmail_set_vacation", **AWAY, audience="domain")
    return {"enabled": False, "subject": "Later"}


async def a_filter(world: ShownWorld) -> dict[str, Any]:
    made = await world.act("gmail_manage_filter", **FILTER, add_labels=["Travel"], archive=True)
    return {"action": "delete", "filter_id": made["id"]}


async def two_mails(world: ShownWorld) -> list[str]:
    found = await world.act("gmail_search_emails", query="in:inbox is:unread", limit=2)
    return [str(one["id"]) for one in found["items"]]


async def a_thread(world: ShownWorld) -> list[str]:
    found = await world.act("gmail_search_emails", query="in:inbox", group="thread", limit=1)
    return [str(found["items"][0]["thread"])]


async def some_mails(world: ShownWorld) -> dict[str, Any]:
    return {"message_ids": await two_mails(world), "action": "star", "add_labels": ["travel"]}


async def some_thread(world: ShownWorld) -> dict[str, Any]:
    return {"thread_ids": await a_thread(world), "action": "archive", "add_labels": ["Travel"]}


async def a_thread_to_the_bin(world: ShownWorld) -> dict[str, Any]:
    return {"thread_ids": await a_thread(world), "action": "trash"}


async def mails_out_of_the_bin(world: ShownWorld) -> dict[str, Any]:
    ids = await two_mails(world)
    await world.act("gmail_update_emails", message_ids=ids, action="trash")
    return {"message_ids": ids, "action": "untrash"}


ROWS: Final[list[tuple[str, Any]]] = [
    ("gmail_send_email", DRAFT | {"bcc": ["secretly@example.test"]}),
    ("gmail_send_email", HTML),
    ("gmail_send_email", a_file),
    ("gmail_reply_email", a_reply),
    ("gmail_reply_email", an_html_reply),
    ("gmail_forward_email", a_forward),
    ("gmail_save_draft", DRAFT),
    ("gmail_save_draft", a_change),
    ("gmail_send_draft", a_draft),
    ("gmail_delete_draft", a_draft),
    ("gmail_unsubscribe", a_list),
    ("gmail_set_signature", {"body": "Alice\nAdams & Sons"}),
    ("gmail_set_signature", SIGNATURE),
    ("gmail_set_signature", a_second_signature),
    ("gmail_set_vacation", AWAY),
    ("gmail_set_vacation", AWAY | {"audience": "contacts"}),
    ("gmail_set_vacation", an_end_of_absence),
    ("gmail_manage_filter", FILTER | {"archive": True, "mark_read": True, "star": True, "never_spam": True}),
    ("gmail_manage_filter", FILTER | {"query": "larger:5M", "has_attachment": True, "add_labels": ["receipts/2026"]}),
    ("gmail_manage_filter", FILTER | {"add_labels": ["Trash"]}),
    ("gmail_manage_filter", a_filter),
    ("gmail_manage_label", {"action": "create", "name": "Fresh/Öl"}),
    ("gmail_manage_label", {"action": "rename", "name": "travel", "new_name": "Journeys"}),
    ("gmail_manage_label", {"action": "delete", "name": "Travel"}),
    ("gmail_update_emails", some_mails),
    ("gmail_update_emails", some_thread),
    ("gmail_update_emails", a_thread_to_the_bin),
    ("gmail_update_emails", mails_out_of_the_bin),
    ("gmail_update_emails", {"query": "from:bob", "action": "spam"}),
    ("gmail_update_emails", {"query": "from:bob", "action": "read", "limit": 1}),
]


AUDIENCES: Final = {
    **dict.fromkeys(("gmail_send_email", "gmail_reply_email", "gmail_forward_email"), "people"),
    **dict.fromkeys(("gmail_send_draft", "gmail_unsubscribe"), "people"),
    **dict.fromkeys(("gmail_save_draft", "gmail_delete_draft"), "self"),
    **dict.fromkeys(("gmail_manage_filter", "gmail_manage_label", "gmail_update_emails"), "self"),
    "gmail_set_signature": "unknown: whoever is written to from now on",
    "gmail_set_vacation": "public, organisation or unknown (contacts): whoever writes and is answered, now or then",
}
"""The readers of each tool's effect, in a few words."""


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world(SCOPES) as world:
        yield world


async def previewed(world: ShownWorld, tool: str, **arguments: Any) -> Preview:
    """Return the preview of one call."""
    await world.act(tool, **arguments)
    return world.shown[-1]


async def test_unsubscribe_that_bins_the_mail_says_how_long_it_stays_there(world: ShownWorld) -> None:
    show = await previewed(world, "gmail_unsubscribe", **await a_list(world) | {"trash": True})
    assert not show.destroys and "after 30 days" in show.fields["then"]


async def test_preview_of_moved_emails_warns_of_hiding_and_not_of_loss(world: ShownWorld) -> None:
    for action, what in (
        ("read", "Mark these emails as read"),
        ("archive", "Archive these emails"),
        ("trash", "Move these emails to the bin"),
        ("spam", "Report these emails as spam"),
    ):
        show = await previewed(world, "gmail_update_emails", query="from:bob", action=action)
        assert (show.what, show.destroys, show.dangers) == (what, False, (Danger.HIDES_MAIL,))
        assert dict(show_rows(show))["warning"] == "You may not notice these emails any more."
        assert ("30 days" in show.fields.get("undo", "")) is (action in ("trash", "spam"))
        back = {"trash": "untrash", "spam": "not_spam"}.get(action, "to_inbox")
        await world.act("gmail_update_emails", message_ids=show.pins["emails"], action=back)


async def test_filter_that_hides_mail_says_so_and_loses_nothing(world: ShownWorld) -> None:
    for action, dangers in (
        ({"archive": True}, (Danger.HIDES_MAIL,)),
        ({"mark_read": True}, (Danger.HIDES_MAIL,)),
        ({"add_labels": ["Trash"]}, (Danger.HIDES_MAIL,)),
        ({"never_spam": True}, ()),
        ({"star": True}, ()),
    ):
        show = await previewed(world, "gmail_manage_filter", action="create", query="invoice", **action)
        assert (show.what, show.destroys) == ("Create this filter for new emails", False)
        assert show.dangers == dangers


async def test_draft_change_loses_only_what_it_replaces(world: ShownWorld) -> None:
    draft = await world.act("gmail_save_draft", subject="Plan", body="First", to=["bob@example.test"])
    about: dict[str, Any] = {"draft_id": draft["draft_id"]}
    added = await previewed(world, "gmail_save_draft", **about, to=["bob@example.test", "carol@else.test"])
    renamed = await previewed(world, "gmail_save_draft", **about, subject="Another")
    assert (added.destroys, renamed.destroys) == (False, True)


async def test_hidden_mail_is_asked_about_by_default(world: ShownWorld) -> None:
    world.deputy.policy = ask_before_sending
    for tool, arguments in (
        ("gmail_update_emails", {"query": "subject:budget", "action": "archive"}),
        ("gmail_update_emails", {"query": "subject:budget", "action": "trash"}),
        ("gmail_manage_filter", {"action": "create", "query": "invoice", "archive": True}),
    ):
        with pytest.raises(ApprovalRequired):
            await world.act(tool, **arguments)
