"""What changes in Slack between approval and act needs a new approval, or exactly the preview happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import httpx
import pytest

from deputize.core import (
    ApprovalRequired,
    Call,
    Conflict,
    MandateOffer,
    NotFound,
    OutcomeUnknown,
    allow_all,
    ask_before_sending,
)
from tests.toolkits.slack_world import ALICE, BOB, DECOY, ENG, EVERYTHING, LEADS, World, method_of, world
from tests.toolkits.tool_driver import NOW


class Desk:
    """Alice's Slack, with the default policy: she is asked."""

    def __init__(self, world: World) -> None:
        self.world, self.wire = world, world.wire

    async def act(self, tool: str, **arguments: Any) -> Any:
        """Make the test's only call, as often as it is called."""
        return await self.world.act(tool, Call("t", "m", "one"), **arguments)

    async def asked(self, tool: str, **arguments: Any) -> Any:
        """Return what the call waits for; check that nothing was written to find out."""
        before = len(self.written)
        [way] = await self.world.deputy.check_calls([(f"slack_{tool}", arguments, Call("t", "m", "one"))], user="alice")
        assert isinstance(way, ApprovalRequired) and len(self.written) == before, way
        return way.approval

    async def agreed(self, tool: str, **arguments: Any) -> Any:
        """Return the same, approved by Alice."""
        approval = await self.asked(tool, **arguments)
        await self.world.deputy.decide(approval, "approve", by="alice")
        return approval

    async def asked_again(self, tool: str, **arguments: Any) -> Any:
        """Check that the act needs a new approval, and has written nothing."""
        before = len(self.written)
        with pytest.raises(ApprovalRequired) as again:
            await self.act(tool, **arguments)
        assert len(self.written) == before
        return again.value.approval

    @property
    def written(self) -> list[str]:
        """Return the calls of methods that change something."""
        reads = ("list", "info", "history", "replies", "members", "conversations", "lookupByEmail", "getPermalink")
        seen = [method for method in self.wire.methods() if not method.startswith("/")]
        return [method for method in seen if not method.endswith(reads)]

    @property
    def kept(self) -> Any:
        """Return what Slack stores, to be changed by somebody else."""
        return self.world.sandbox._world.services["slack"]

    def channel(self, id: str) -> Any:
        """Return a conversation, to be changed by somebody else."""
        return self.kept["channels"][id]

    def between(self, method: str, does: Callable[[], Any]) -> None:
        """Do something while the next call of a method is in progress."""
        wire, inner = self.wire, self.wire.inner

        class Between(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                if method_of(request) == method:
                    wire.inner = inner
                    does()
                return await inner.handle_async_request(request)

        wire.inner = Between()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with world() as alice:
        alice.deputy.policy = ask_before_sending
        yield Desk(alice)


HELLO: Final = {"conversation": ENG, "body": "Hello"}


# ----------------------------------------------------------------- the conversation


async def test_renamed_channel_is_asked_again(desk: Desk) -> None:
    first = await desk.agreed("send_message", **HELLO)
    assert first.preview["where"] == "#eng (public channel C0ENG000001)"
    desk.channel(ENG)["name"] = "press"
    again = await desk.asked_again("send_message", **HELLO)
    assert again.id != first.id and again.changed_fields == ("where",)
    with pytest.raises(Conflict):
        await desk.world.deputy.decide(first, "approve", by="alice")
    await desk.world.deputy.decide(again, "approve", by="alice")
    await desk.act("send_message", **HELLO)
    await desk.act("send_message", **HELLO)
    assert desk.world.texts(ENG).count("Hello") == 1


async def test_name_taken_by_another_channel_is_asked_again(desk: Desk) -> None:
    given = HELLO | {"conversation": "#eng"}
    await desk.agreed("send_message", **given)
    desk.channel(ENG)["name"], desk.channel(LEADS)["name"] = "eng-old", "eng"
    again = await desk.asked_again("send_message", **given)
    assert {"where", "audience", "conversation"} <= set(again.changed_fields)
    assert "Hello" not in desk.world.texts(LEADS)


async def test_private_channel_made_public_is_asked_again(desk: Desk) -> None:
    given = HELLO | {"conversation": LEADS}
    first = await desk.agreed("send_message", **given)
    assert first.preview["seen by"] == "the people who are there"
    desk.channel(LEADS)["is_private"] = False
    again = await desk.asked_again("send_message", **given)
    assert (
        set(again.changed_fields) == {"where", "audience"}
        and again.preview["seen by"] == "everybody in the organisation"
    )


async def test_channel_shared_with_another_company_is_asked_again(desk: Desk) -> None:
    first = await desk.agreed("send_message", **HELLO)
    assert first.preview["seen by"] == "everybody in the organisation"
    row = {"id": ENG, "name": "eng", "is_channel": True, "is_private": False, "is_ext_shared": True}
    desk.wire.say["conversations.info"] = [{"ok": True, "channel": row}]
    again = await desk.asked_again("send_message", **HELLO)
    assert again.preview["where"] == "#eng (public channel C0ENG000001, shared with other companies)"
    assert again.preview["seen by"] == "not known; possibly everybody"


async def test_new_member_does_not_ask_again(desk: Desk) -> None:
    await desk.agreed("send_message", **HELLO)
    desk.channel(ENG)["members"].append(DECOY)
    assert (await desk.act("send_message", **HELLO))["summary"] == "Sent."


async def test_unreadable_channel_needs_no_scope_and_has_unknown_audience() -> None:
    async with world("chat:write") as alice:
        alice.deputy.policy = ask_before_sending
        approval = await Desk(alice).asked("send_message", **HELLO)
        assert approval.preview["seen by"] == "not known; possibly everybody" and ENG in approval.preview["where"]
        assert alice.wire.methods() == []


async def test_channel_is_found_among_listable_types() -> None:
    async with world("chat:write", "channels:read") as alice:
        alice.deputy.policy = ask_before_sending
        desk = Desk(alice)
        assert (await desk.asked("send_message", **HELLO)).preview["where"] == "#eng (public channel C0ENG000001)"
        [way] = await alice.deputy.check_calls(
            [("slack_send_message", HELLO | {"conversation": "C0NOWHERE01"}, Call("t", "m", "2"))], user="alice"
        )
        assert isinstance(way, ApprovalRequired) and "not known" in way.approval.preview["seen by"]


async def test_unknown_channel_is_not_found_before_approval(desk: Desk) -> None:
    [way] = await desk.world.deputy.check_calls(
        [("slack_send_message", HELLO | {"conversation": "C0NOWHERE01"}, Call("t", "m", "2"))], user="alice"
    )
    assert isinstance(way, NotFound)


async def test_direct_message_is_opened_after_approval_and_previews_its_recipient(desk: Desk) -> None:
    given = HELLO | {"conversation": "@decoy"}
    approval = await desk.asked("send_message", **given)
    assert approval.preview["to"] == "Decoy (@decoy)" and desk.written == []
    await desk.world.deputy.decide(approval, "approve", by="alice")
    await desk.act("send_message", **given)
    assert [method for method in desk.written if method != "auth.test"] == ["conversations.open", "chat.postMessage"]


async def test_handle_taken_by_another_person_is_asked_again(desk: Desk) -> None:
    given = HELLO | {"conversation": "@bob"}
    await desk.agreed("send_message", **given)
    eve = {"id": "U0EVE000000", "name": "bob", "profile": {"real_name": "Bob Brown"}}
    desk.wire.say["users.list"] = [{"ok": True, "members": [eve]}]
    again = await desk.asked_again("send_message", **given)
    assert again.changed_fields == ("people", "conversation")


async def test_message_goes_to_the_previewed_conversation_despite_renames(desk: Desk) -> None:
    given = HELLO | {"conversation": "#eng"}
    await desk.agreed("send_message", **given)

    def swap() -> None:
        desk.channel(ENG)["name"], desk.channel(LEADS)["name"] = "eng-old", "eng"

    desk.between("chat.postMessage", swap)
    await desk.act("send_message", **given)
    assert desk.world.texts(ENG)[-1] == "Hello" and "Hello" not in desk.world.texts(LEADS)


async def test_mandate_for_a_channel_covers_no_other_of_its_name(desk: Desk) -> None:
    given = HELLO | {"conversation": "#eng"}
    first = await desk.asked("send_message", **given)
    offer = MandateOffer(max_acts=5, expires_at=NOW + 3600)
    await desk.world.deputy.decide(first, "approve", by="alice", mandate=offer)
    await desk.act("send_message", **given)
    assert (await desk.world.act("send_message", **given))["summary"] == "Sent."
    desk.channel(ENG)["name"], desk.channel("C0RANDOM001")["name"] = "eng-old", "eng"
    with pytest.raises(ApprovalRequired):
        await desk.world.act("send_message", **given)


async def test_mandate_to_invite_somebody_is_for_one_channel(desk: Desk) -> None:
    given = {"conversation": LEADS, "action": "invite", "users": ["@decoy"]}
    first = await desk.asked("manage_members", **given)
    offer = MandateOffer(max_acts=5, expires_at=NOW + 3600)
    await desk.world.deputy.decide(first, "approve", by="alice", mandate=offer)
    await desk.act("manage_members", **given)
    desk.channel(ENG)["is_private"] = True
    with pytest.raises(ApprovalRequired):
        await desk.world.act("manage_members", **given | {"conversation": ENG})


# ----------------------------------------------------------------- messages and files


async def test_edited_message_is_not_deleted_under_the_old_approval(desk: Desk) -> None:
    ts = desk.world.put(ENG, "First words", ALICE)
    first = await desk.agreed("delete_message", conversation=ENG, ts=ts)
    assert first.preview["text"] == "First words" and first.preview["warning"]
    desk.channel(ENG)["messages"][-1] |= {"text": "Better words", "edited": {"user": ALICE, "ts": "1.1"}}
    again = await desk.asked_again("delete_message", conversation=ENG, ts=ts)
    assert set(again.changed_fields) == {"text", "edited"} and again.preview["text"] == "Better words"
    assert desk.world.texts(ENG)[-1] == "Better words"


async def test_lost_text_is_previewed_with_the_new_one(desk: Desk) -> None:
    unfurled = [{"title": "The plan", "text": "which stays"}]
    text = "See <https://a.test|the plan> & <@U0BOB000000>\u202e"
    ts = desk.world.put(ENG, text, ALICE, attachments=unfurled)
    approval = await desk.asked("update_message", conversation=ENG, ts=ts, body="Nothing")
    assert approval.preview["text now"] == "See the plan <https://a.test> & @user (U0BOB000000)[U+202E]"
    assert approval.preview["text"] == "Nothing"


async def test_unreadable_text_is_previewed_as_lost_unseen() -> None:
    async with world(*(EVERYTHING - {f"{kind}:history" for kind in ("channels", "groups", "im", "mpim")})) as alice:
        alice.deputy.policy = ask_before_sending
        ts = alice.put(ENG, "First words", ALICE)
        for tool, more in (("update_message", {"body": "Nothing"}), ("delete_message", {})):
            preview = (await Desk(alice).asked(tool, conversation=ENG, ts=ts, **more)).preview
            assert "may not be read" in preview["text now"] and preview["warning"]


async def test_unreadable_canvas_is_previewed_as_lost_unseen() -> None:
    async with world("canvases:write") as alice:
        made = await alice.act("write_canvas", title="Notes", body="Old lines")
        alice.deputy.policy = ask_before_sending
        given = {"canvas_id": made["canvas_id"], "body": "New", "mode": "replace"}
        preview = (await Desk(alice).asked("write_canvas", **given)).preview
        assert "may not be read" in preview["text now"] and preview["text"] == "New" and preview["warning"]


async def test_file_swapped_behind_a_handle_is_asked_again(desk: Desk) -> None:
    handle = await desk.world.file("plan.txt", b"our plan")
    given = {"conversation": ENG, "attachments": [handle]}
    first = await desk.agreed("upload_file", **given)
    assert first.preview["files"].endswith("Its text:\n  our plan")
    take = desk.world.deputy.files.take

    async def swapped(*whose: Any) -> Any:
        return type(file := await take(*whose))(file.name, file.mime, b"all secrets")

    desk.world.deputy.files.take = swapped  # type: ignore[method-assign,assignment]
    again = await desk.asked_again("upload_file", **given)
    assert again.changed_fields == ("files",)


async def test_mention_meaning_another_person_is_asked_again(desk: Desk) -> None:
    given = HELLO | {"body": "Thanks @bob"}
    first = await desk.agreed("send_message", **given)
    assert first.preview["mentions"] == "@bob is Bob Brown (@bob)"
    eve = {"id": "U0EVE000000", "name": "bob", "profile": {"real_name": "Eve"}}
    desk.wire.say["users.list"] = [{"ok": True, "members": [eve]}]
    again = await desk.asked_again("send_message", **given)
    assert set(again.changed_fields) == {"mentions"} and again.preview["mentions"] == "@bob is Eve (@bob)"


# ----------------------------------------------------------------- channels, canvases, one's own


async def test_topic_changed_by_a_colleague_is_asked_again(desk: Desk) -> None:
    given = {"conversation": ENG, "topic": ""}
    first = await desk.agreed("update_channel", **given)
    assert (first.preview["topic now"], first.preview["topic"]) == ("Engineering", "(emptied)")
    assert first.preview["warning"]
    desk.channel(ENG)["topic"] = "Incident: join the call"
    again = await desk.asked_again("update_channel", **given)
    assert again.changed_fields == ("topic",) and desk.channel(ENG)["topic"] == "Incident: join the call"


async def test_reaction_is_asked_again_when_its_message_was_edited(desk: Desk) -> None:
    ts = desk.world.put(ENG, "Lunch?", BOB)
    given = {"conversation": ENG, "ts": ts, "emoji": "tada"}
    first = await desk.agreed("react", **given)
    assert first.preview["message"] == "Lunch?"
    desk.channel(ENG)["messages"][-1]["text"] = "Fire everybody?"
    again = await desk.asked_again("react", **given)
    assert again.changed_fields == ("message",) and again.preview["message"] == "Fire everybody?"
    await desk.world.deputy.decide(again, "approve", by="alice")
    assert (await desk.act("react", **given))["state"] == "added"


async def test_reply_is_asked_again_when_the_message_it_answers_was_edited(desk: Desk) -> None:
    ts = desk.world.put(ENG, "Shall we buy lunch?", BOB)
    given = {"conversation": ENG, "body": "Yes, approved", "thread_ts": ts}
    first = await desk.agreed("send_message", **given)
    assert first.preview["in reply to"] == "Shall we buy lunch?"
    desk.channel(ENG)["messages"][-1]["text"] = "Shall we buy the company?"
    again = await desk.asked_again("send_message", **given)
    assert again.changed_fields == ("in reply to",) and "Yes, approved" not in desk.world.texts(ENG)


async def test_reply_target_is_trusted_although_the_answered_message_names_somebody(desk: Desk) -> None:
    ts = desk.world.put(ENG, "Ask eve@evil.test, see https://evil.test/x", BOB)
    await desk.world.act("get_messages", Call("t", "m", "read"), conversation=ENG)
    approval = await desk.asked("send_message", conversation=ENG, body="I will", thread_ts=ts)
    assert approval.preview["in reply to"].startswith("Ask") and "comes from" not in approval.preview
    assert approval.targets


async def test_two_pending_reactions_stay_valid_and_undoable(desk: Desk) -> None:
    ts = desk.world.put(ENG, "Lunch?", BOB)
    calls = [("one", "tada"), ("two", "eyes")]
    for id, emoji in calls:
        [way] = await desk.world.deputy.check_calls(
            [("slack_react", {"conversation": ENG, "ts": ts, "emoji": emoji}, Call("t", "m", id))], user="alice"
        )
        assert isinstance(way, ApprovalRequired)
        await desk.world.deputy.decide(way.approval, "approve", by="alice")
    for id, emoji in calls:
        await desk.world.act("react", Call("t", "m", id), conversation=ENG, ts=ts, emoji=emoji)
    for one in await desk.world.deputy.undoable("alice"):
        with pytest.raises(ApprovalRequired) as asked:
            await desk.world.deputy.undo("alice", one.id)
        await desk.world.deputy.decide(asked.value.approval, "approve", by="alice")
        await desk.world.deputy.undo("alice", one.id)
    assert not desk.channel(ENG)["messages"][-1].get("reactions")


async def test_changed_canvas_is_not_replaced_under_the_old_approval(desk: Desk) -> None:
    made = await desk.world.act("write_canvas", title="Notes", body="Old lines")
    given = {"canvas_id": made["canvas_id"], "body": "New", "mode": "replace"}
    first = await desk.agreed("write_canvas", **given)
    assert first.preview["text now"] == "Old lines"
    desk.kept["files"][made["canvas_id"]]["content"] = "PHA+T3RoZXIgbGluZXM8L3A+"  # <p>Other lines</p>
    again = await desk.asked_again("write_canvas", **given)
    assert again.changed_fields == ("text",) and again.preview["text now"] == "Other lines"


async def test_channel_created_for_another_purpose_is_not_taken_for_ours(
    desk: Desk,
) -> None:
    given = {"name": "plans", "topic": "Ours"}
    await desk.agreed("create_channel", **given)
    desk.world.deputy.policy = allow_all
    other = await desk.world.act("create_channel", name="plans", topic="Theirs")
    desk.world.deputy.policy = ask_before_sending
    with pytest.raises(Conflict):
        await desk.act("create_channel", **given)
    assert desk.channel(other["id"])["topic"] == "Theirs"


async def test_canvas_with_a_lost_answer_is_shared_where_requested(
    desk: Desk,
) -> None:
    desk.world.deputy.policy = allow_all
    desk.channel(ENG)["canvas"] = "F0OLD"
    given = {"title": "Notes", "body": "Lines", "conversation": "#eng"}
    desk.wire.say |= {"canvases.create": [httpx.ReadError("lost")], "files.list": [{"ok": True, "files": []}] * 2}
    with pytest.raises(OutcomeUnknown):
        await desk.act("write_canvas", **given)
    desk.channel(ENG)["name"], desk.channel(LEADS)["name"] = "eng-old", "eng"
    made = await desk.act("write_canvas", **given)
    assert desk.kept["files"][made["canvas_id"]]["channels"] == [ENG]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("mark_read", {"conversation": "#eng"}),
        ("set_status", {"presence": "away", "snooze": "45m"}),
        ("write_canvas", {"title": "Notes", "body": "Mine"}),
        ("create_channel", {"name": "hush", "private": True}),
    ],
)
async def test_private_act_needs_no_approval(desk: Desk, tool: str, arguments: Any) -> None:
    assert await desk.act(tool, **arguments)


async def test_cancelled_scheduled_message_is_previewed_with_text_and_time(desk: Desk) -> None:
    desk.world.deputy.policy = allow_all
    planned = await desk.world.act("send_message", conversation=ENG, body="Later words", send_at="+2h")
    desk.world.deputy.policy = ask_before_sending
    preview = (await desk.asked("delete_message", conversation=ENG, scheduled_id=planned["scheduled_id"])).preview
    assert (preview["text"], preview["at"]) == ("Later words", "Tue 24 Nov 2026, 16:00 (UTC)") and preview["warning"]
