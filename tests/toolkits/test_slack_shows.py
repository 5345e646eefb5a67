"""Everything that Slack's tools send was previewed, and a preview is stable while nothing changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from deputize.core import PROVIDERS, Danger
from deputize.core.tools.preview import show_rows
from tests.support.preview_coverage import ShownWorld, shown_world
from tests.toolkits.tool_driver import NOW

OURS: Final = frozenset(
    "api chat postmessage update delete schedulemessage deletescheduledmessage parse none false true deputize write "
    "reactions add remove pins bookmarks link title conversations open create rename settopic setpurpose archive "
    "unarchive invite kick join leave mark users profile set setpresence dnd setsnooze endsnooze status text emoji "
    "expiration canvases edit access read markdown insert at end start replace files upload v1 "
    "getuploadurlexternal completeuploadexternal verbatim mrkdwn plain amp lt gt".split()
)
"""Words of methods and formats, which need no preview."""

ENG, LEADS, DM = "C0ENG000001", "G0LEADS0001", "D0ALICEBOB1"
EVERYTHING: Final = frozenset(scope for scope in PROVIDERS["slack"].scope_descriptions if scope != "search:read")


def _messages(world: ShownWorld, channel: str = ENG) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = world.sandbox.service("slack")["channels"][channel]["messages"]
    return rows


def of_bob(world: ShownWorld) -> str:
    """Return a message of Bob's in #eng."""
    return str(_messages(world)[0]["ts"])


async def own(world: ShownWorld) -> str:
    """Return a message of Alice's own in #eng."""
    return str((await world.act("slack_send_message", conversation=ENG, body="Oldest words"))["ts"])


async def in_thread(world: ShownWorld) -> dict[str, Any]:
    return {
        "conversation": ENG,
        "body": "Threaded *words* for @bob, in #general & [there](https://x.test/a?b=1)",
        "thread_ts": of_bob(world),
        "broadcast": True,
        "unfurl": True,
    }


async def a_file(world: ShownWorld) -> dict[str, Any]:
    kept = await world.deputy.store_file("alice", "offer seven.pdf", "application/pdf", b"words inside")
    return {"conversation": "@decoy", "attachments": [kept["file"]], "body": "Comment", "title": "Headline"}


async def two_files(world: ShownWorld) -> dict[str, Any]:
    one = await world.deputy.store_file("alice", "first.txt", "text/plain", b"one")
    other = await world.deputy.store_file("alice", "second.txt", "text/plain", b"other")
    return {"conversation": LEADS, "attachments": [one["file"], other["file"]]}


async def an_edit(world: ShownWorld) -> dict[str, Any]:
    return {"conversation": "#eng", "ts": await own(world), "body": "Newest **prose** for @bob"}


async def a_message(world: ShownWorld) -> dict[str, Any]:
    return {"conversation": "#eng", "ts": await own(world)}


async def a_plan(world: ShownWorld) -> dict[str, Any]:
    later = await world.act("slack_send_message", conversation=ENG, body="Planned words", send_at="+3h")
    return {"conversation": ENG, "scheduled_id": later["scheduled_id"]}


async def out_of_design(world: ShownWorld) -> dict[str, Any]:
    await world.act("slack_manage_members", conversation="#design", action="leave")
    return {"conversation": "#design", "action": "join"}


async def a_reaction(world: ShownWorld) -> dict[str, Any]:
    return {"conversation": ENG, "ts": of_bob(world), "emoji": ":tada:"}


async def no_reaction(world: ShownWorld) -> dict[str, Any]:
    await world.act("slack_react", **(await a_reaction(world)))
    return await a_reaction(world) | {"remove": True}


async def a_pin(world: ShownWorld) -> dict[str, Any]:
    return {"conversation": LEADS, "ts": str(_messages(world, LEADS)[0]["ts"])}


async def no_pin(world: ShownWorld) -> dict[str, Any]:
    await world.act("slack_pin", **(await a_pin(world)))
    return await a_pin(world) | {"remove": True}


BOOKMARK: Final = {"conversation": "#eng", "url": "https://ci.example.test/runs", "title": "Nightly"}


async def no_bookmark(world: ShownWorld) -> dict[str, Any]:
    await world.act("slack_pin", **BOOKMARK)
    return {"conversation": ENG, "url": BOOKMARK["url"], "remove": True}


def a_canvas(**more: Any) -> Any:
    async def made(world: ShownWorld) -> dict[str, Any]:
        canvas = await world.act("slack_write_canvas", title="Roadmap", body="Former lines")
        return {"canvas_id": canvas["canvas_id"], "body": "# Fresh\n- lines", **more}

    return made


async def an_old_status(world: ShownWorld) -> dict[str, Any]:
    await world.act("slack_set_status", text="Formerly", emoji="house")
    return {"text": "Travelling", "emoji": "train", "until": "+1h", "presence": "away", "snooze": "45m"}


BLOCKS: Final = [
    {"type": "header", "text": {"type": "plain_text", "text": "Deployed"}},
    {"type": "section", "text": {"type": "mrkdwn", "text": "*finally* <https://y.test/|run>"}},
]

ROWS: Final[list[tuple[str, Any]]] = [
    ("slack_send_message", {"conversation": "#eng", "body": "Hello **@bob**, see #general and [x](https://x.test)"}),
    ("slack_send_message", {"conversation": ENG, "body": "Pebbles"}),
    ("slack_send_message", {"conversation": ENG, "body": "@channel, @engineers and @carol: look"}),
    ("slack_send_message", in_thread),
    ("slack_send_message", {"conversation": "@decoy", "body": "Privately", "send_at": "+2h"}),
    ("slack_send_message", {"conversation": "@bob, @decoy", "body": "Both"}),
    ("slack_send_message", {"conversation": DM, "body": "Known"}),
    ("slack_send_message", {"conversation": LEADS, "blocks": BLOCKS}),
    ("slack_update_message", an_edit),
    ("slack_delete_message", a_message),
    ("slack_delete_message", a_plan),
    ("slack_upload_file", a_file),
    ("slack_upload_file", two_files),
    (
        "slack_create_channel",
        {"name": "Plans Two", "topic": "Topical", "purpose": "Purposeful", "invite": ["@bob", "@decoy"]},
    ),
    ("slack_create_channel", {"name": "hush", "private": True, "purpose": "Alone"}),
    ("slack_update_channel", {"conversation": "#random", "name": "Banter", "topic": "Anything", "purpose": "Whatever"}),
    ("slack_update_channel", {"conversation": "C0RANDOM001", "topic": "", "archived": True}),
    ("slack_update_channel", {"conversation": "C0ATTIC0001", "archived": False}),
    ("slack_manage_members", {"conversation": "#eng", "action": "invite", "users": ["@decoy", "bob@example.test"]}),
    ("slack_manage_members", {"conversation": LEADS, "action": "remove", "users": ["U0BOB000000"]}),
    ("slack_manage_members", {"conversation": "#random", "action": "leave"}),
    ("slack_manage_members", out_of_design),
    ("slack_react", a_reaction),
    ("slack_react", no_reaction),
    ("slack_pin", a_pin),
    ("slack_pin", no_pin),
    ("slack_pin", BOOKMARK),
    ("slack_pin", no_bookmark),
    ("slack_mark_read", {"conversation": "#eng"}),
    ("slack_mark_read", {"conversation": DM, "ts": "1795435200.000102"}),
    ("slack_set_status", {"text": "Reading", "emoji": "book"}),
    ("slack_set_status", an_old_status),
    ("slack_set_status", {"text": "", "emoji": ""}),
    ("slack_set_status", {"presence": "auto", "snooze": "2h"}),
    ("slack_write_canvas", {"title": "Minutes", "body": "# Items\n- [here](https://z.test)"}),
    ("slack_write_canvas", {"title": "Shared", "body": "Everybody", "conversation": LEADS}),
    ("slack_write_canvas", {"body": "Ours", "conversation": "@decoy"}),
    ("slack_write_canvas", a_canvas()),
    ("slack_write_canvas", a_canvas(mode="prepend", conversation="#random")),
    ("slack_write_canvas", a_canvas(mode="replace")),
]

AUDIENCES: Final[dict[str, str]] = {
    "slack_send_message": "people; organisation in a public channel",
    "slack_update_message": "people; organisation in a public channel",
    "slack_delete_message": "people; organisation in a public channel; self where it was only planned",
    "slack_upload_file": "people; organisation in a public channel",
    "slack_create_channel": "organisation; where it is private, people, or self with nobody invited",
    "slack_update_channel": "people; organisation in a public channel",
    "slack_manage_members": "people; organisation in a public channel",
    "slack_react": "people; organisation in a public channel",
    "slack_pin": "people; organisation in a public channel",
    "slack_mark_read": "self",
    "slack_set_status": "organisation; self for presence and notifications alone",
    "slack_write_canvas": "self; who is in the conversation where it is shared: people or organisation; unknown of "
    "one that is there already",
}
"""The readers of each tool's effect. Unknown if the conversation may not be read, or is shared between companies."""


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world({"slack": EVERYTHING}, clock=lambda: NOW) as world:
        yield world


async def test_mentions_in_blocks_are_previewed_by_name(world: ShownWorld) -> None:
    """An id means nothing to a person."""
    user = {"type": "rich_text_section", "elements": [{"type": "user", "user_id": "U0BOB000000"}]}
    for block in (
        {"type": "section", "text": {"type": "mrkdwn", "text": "Thanks <@U0BOB000000>"}},
        {"type": "rich_text", "elements": [user]},
    ):
        await world.act("slack_send_message", conversation=ENG, blocks=[block])
        assert dict(show_rows(world.shown[-1]))["mentions"] == "U0BOB000000 is Bob Brown (@bob)"


async def test_invitation_to_a_closed_channel_says_that_it_gives_access(world: ShownWorld) -> None:
    for conversation, dangers in ((ENG, ()), (LEADS, (Danger.GIVES_ACCESS,))):
        await world.act("slack_manage_members", conversation=conversation, action="invite", users=["@decoy"])
        assert (world.shown[-1].what, world.shown[-1].dangers) == ("Invite these people to this channel", dangers)
    await world.act("slack_manage_members", conversation=LEADS, action="remove", users=["@decoy"])
    assert world.shown[-1].dangers == ()


async def test_sharing_of_an_existing_canvas_says_that_it_gives_access(world: ShownWorld) -> None:
    canvas = (await world.act("slack_write_canvas", title="Plan", body="First"))["canvas_id"]
    for conversation, dangers in ((None, ()), (LEADS, (Danger.GIVES_ACCESS,))):
        await world.act("slack_write_canvas", canvas_id=canvas, body="Second", conversation=conversation)
        assert world.shown[-1].dangers == dangers


async def test_names_that_reach_nobody_are_said_in_a_sentence(world: ShownWorld) -> None:
    await world.act("slack_send_message", conversation=ENG, body="@carol and @nobody: look")
    assert dict(show_rows(world.shown[-1]))["note"] == "These names reach nobody: @carol; @nobody"
