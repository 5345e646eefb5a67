"""The sandbox's Slack compared with emulate's: the same calls, the same outcomes, and responses with the same members.

Differences are listed with what Slack's reference says; any other difference fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from deputize.core.providers import SLACK
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import CLIENTS
from tests.sandbox import test_against_emulate as both
from tests.sandbox.test_against_emulate import Difference, Side, of, told
from tests.support.counterparts import require_emulate
from tests.support.emulate import Emulate, Production, oauth_client

pytestmark = pytest.mark.counterpart
API: Final = "https://slack.com/api/"
ALICE: Final = "alice@example.test"


@pytest.fixture(scope="module")
def emulate() -> Iterator[Emulate]:
    require_emulate()
    with Emulate("slack") as running:
        yield running


async def play(side: Side) -> None:
    """Call every method that both have, successfully and with errors."""

    async def call(step: str, method: str, **arguments: Any) -> Any:
        form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in arguments.items()}
        return await side.send(step, "POST", API + method, data=form)

    side.token = (await side.connect("slack", ALICE))["authed_user"]["access_token"]
    users = {row["name"]: row["id"] for row in (await call("users", "users.list"))["members"]}
    rows = (await call("list", "conversations.list", types="public_channel"))["channels"]
    eng = next(row["id"] for row in rows if row["name"] == "eng")

    ts = (await call("post", "chat.postMessage", channel=eng, text="one"))["ts"]
    answer = (await call("answer", "chat.postMessage", channel=eng, text="two", thread_ts=ts))["ts"]
    await call("update", "chat.update", channel=eng, ts=ts, text="one!")
    await call("update nothing", "chat.update", channel=eng, ts="1.000001", text="x")
    await call("link", "chat.getPermalink", channel=eng, message_ts=ts)
    await call("link to nothing", "chat.getPermalink", channel=eng, message_ts="1.000001")
    await call("replies", "conversations.replies", channel=eng, ts=ts)
    await call("history", "conversations.history", channel=eng, limit=1)
    await call("delete", "chat.delete", channel=eng, ts=answer)
    await call("delete again", "chat.delete", channel=eng, ts=answer)

    later = 4_000_000_000
    await call("plan too far", "chat.scheduleMessage", channel=eng, text="x", post_at=later)
    await call("plan for yesterday", "chat.scheduleMessage", channel=eng, text="x", post_at=1)
    await call("planned", "chat.scheduledMessages.list")
    await call("cancel nothing", "chat.deleteScheduledMessage", channel=eng, scheduled_message_id="Q1")

    for step in ("react", "react again"):
        await call(step, "reactions.add", channel=eng, timestamp=ts, name="eyes")
    for step in ("unreact", "unreact again"):
        await call(step, "reactions.remove", channel=eng, timestamp=ts, name="eyes")
    for step in ("pin", "pin again"):
        await call(step, "pins.add", channel=eng, timestamp=ts)
    await call("pins", "pins.list", channel=eng)
    for step in ("unpin", "unpin again"):
        await call(step, "pins.remove", channel=eng, timestamp=ts)
    added = await call("bookmark", "bookmarks.add", channel_id=eng, title="t", type="link", link="https://x.test/")
    await call("bookmark of a file", "bookmarks.add", channel_id=eng, title="t", type="file", link="https://x.test/")
    await call("bookmarks", "bookmarks.list", channel_id=eng)
    for step in ("unbookmark", "unbookmark again"):
        await call(step, "bookmarks.remove", channel_id=eng, bookmark_id=added["bookmark"]["id"])
    await call("mark", "conversations.mark", channel=eng, ts=ts)

    made = (await call("create", "conversations.create", name="plans"))["channel"]["id"]
    await call("create again", "conversations.create", name="plans")
    await call("create Badly", "conversations.create", name="no/good")
    await call("topic", "conversations.setTopic", channel=made, topic="t")
    await call("purpose", "conversations.setPurpose", channel=made, purpose="p")
    await call("purpose too long", "conversations.setPurpose", channel=made, purpose="p" * 300)
    await call("rename", "conversations.rename", channel=made, name="plan-b")
    await call("rename to another's", "conversations.rename", channel=made, name="eng")
    for step in ("invite", "invite again"):
        await call(step, "conversations.invite", channel=made, users=users["bob"])
    await call("invite oneself", "conversations.invite", channel=made, users=users["alice"])
    await call("invite nobody", "conversations.invite", channel=made, users="U0NOBODY")
    await call("info", "conversations.info", channel=made, include_num_members=True)
    await call("info of nothing", "conversations.info", channel="C0NOWHERE")
    await call("members", "conversations.members", channel=made)
    await call("kick", "conversations.kick", channel=made, user=users["bob"])
    await call("kick oneself", "conversations.kick", channel=made, user=users["alice"])
    await call("leave as the last", "conversations.leave", channel=made)
    for step in ("archive", "archive again"):
        await call(step, "conversations.archive", channel=made)
    await call("post to what is closed", "chat.postMessage", channel=made, text="x")
    for step in ("unarchive", "unarchive again"):
        await call(step, "conversations.unarchive", channel=made)
    await call("open", "conversations.open", users=users["decoy"])
    await call("open again", "conversations.open", users=users["decoy"])
    await call("open three", "conversations.open", users=f"{users['bob']},{users['decoy']}")
    await call("open nobody", "conversations.open", users="")

    await call("user", "users.info", user=users["bob"])
    await call("no user", "users.info", user="U0NOBODY")
    await call("by address", "users.lookupByEmail", email="bob@example.test")
    await call("by no address", "users.lookupByEmail", email="nobody@example.test")
    await call("presence", "users.getPresence", user=users["bob"])
    await call("away", "users.setPresence", presence="away")
    await call("gone", "users.setPresence", presence="gone")
    await call("status", "users.profile.set", profile={"status_text": "x", "status_emoji": ":train:"})
    await call("no file", "files.info", file="F0NOWHERE")
    await call("upload of nothing", "files.completeUploadExternal", files=[{"id": "F0NOWHERE"}])
    await call("upload", "files.getUploadURLExternal", filename="a.txt", length=3)


_PROFILE: Final = "display_name_normalized huddle_state huddle_state_expiration_ts image_192 image_48 phone "
_PROFILE_TOO: Final = "real_name_normalized skype status_emoji_display_info"
_BOOKMARK: Final = (
    "app_id date_updated emoji entity_id icon_url last_updated_by_team_id last_updated_by_user_id rank shortcut_id"
)


def under(where: str, names: str) -> frozenset[str]:
    """Return names of members below another."""
    return frozenset(f"{where}.{name}" for name in names.split())


CHANNEL: Final = Difference(
    "ours tells the number of members where the reference shows it, and keeps nothing open; emulate no context team",
    ours=of("channel.context_team_id channel.is_general"),
    theirs=of("channel.is_open channel.last_read channel.num_members"),
)
KNOWN: Final[dict[str, Difference]] = {
    "users": Difference(
        "ours keeps what a toolkit reads of a profile; emulate no time zones",
        ours=of("members.tz"),
        theirs=under("members.profile", _PROFILE + _PROFILE_TOO),
    ),
    "list": Difference(
        "as for a channel",
        ours=of("channels.context_team_id channels.is_general"),
        theirs=of("channels.is_open channels.last_read"),
    ),
    "post": Difference("Slack's messages name their team", ours=of("message.team")),
    "answer": Difference("Slack's messages name their team", ours=of("message.team")),
    "update": Difference(
        "the package's types of this answer know neither", theirs=under("message", "reply_count reply_users ts")
    ),
    "replies": Difference(
        "Slack's messages name their team, and a parent its own thread", ours=under("messages", "team thread_ts")
    ),
    "history": Difference(
        "the same, and a channel's history counts its pins", ours=of("messages.team messages.thread_ts pin_count")
    ),
    "pins": Difference(
        "emulate counts an answer that was deleted",
        ours=of("items.message.team"),
        theirs=under("items.message", "pinned_to reply_count reply_users"),
    ),
    "bookmark": Difference("ours keeps what a toolkit reads", theirs=under("bookmark", _BOOKMARK)),
    "bookmarks": Difference("ours keeps what a toolkit reads", theirs=under("bookmarks", _BOOKMARK)),
    "create": CHANNEL,
    "topic": CHANNEL,
    "purpose": CHANNEL._replace(theirs=CHANNEL.theirs | {"purpose"}),
    "rename": CHANNEL,
    "invite": CHANNEL,
    "info": CHANNEL._replace(theirs=CHANNEL.theirs - {"channel.num_members"}),
    "status": Difference("as for users", theirs=under("profile", _PROFILE + _PROFILE_TOO)),
}


async def test_sandbox_slack_and_emulate_answer_alike_except_known_gaps(
    emulate: Emulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(both.ASKED, "slack", {"user_scope": ",".join(SLACK.scope_descriptions)})
    sandbox, client = Sandbox(), oauth_client("slack")
    own = {"client_id": CLIENTS["slack"].client_id, "client_secret": CLIENTS["slack"].client_secret}
    ours = Side(sandbox.transport(), own, sandbox)
    theirs = Side(Production(emulate.urls), {"client_id": client.id, "client_secret": client.secret}, None)
    for side in (ours, theirs):
        await play(side)
    found = {step: told(one, theirs.shapes[step]) for step, one in ours.shapes.items() if one != theirs.shapes[step]}
    connecting = {"wrong secret", "spent", "spent again", "code"}
    assert {s: d for s, d in found.items() if s not in connecting} == {
        step: known._replace(why="") for step, known in KNOWN.items()
    }
    assert len(ours.shapes) > 70
