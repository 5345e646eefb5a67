"""Sending at most once: a lost message is searched for, a missing one is unknown, and nothing is sent twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from deputize.core import Call, Effect
from deputize.core.errors import (
    Conflict,
    DeputizeError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
)
from deputize.toolkits.slack import TOOLKIT
from tests.support.lanes import sample
from tests.toolkits.slack_calls import CASES, Case, filled, lost
from tests.toolkits.slack_world import ALICE, BOB, ENG, EVERYTHING, LEADS, World, method_of, world

CALL = Call("thread", "message", "call")
HISTORY = {f"{kind}:history" for kind in ("channels", "groups", "im", "mpim")}
FORBIDDEN = "<html>bad gateway</html>"


def lose(alice: World, *methods: str) -> None:
    """Lose responses after Slack has acted."""
    lost(*methods)(alice)


async def test_lost_message_is_found_by_its_key_every_time(slack: World) -> None:
    lose(slack, "chat.postMessage")
    results = [await slack.act("send_message", CALL, conversation="#eng", body="Once") for _ in range(3)]
    assert slack.texts(ENG).count("Once") == 1 and slack.wire.methods().count("chat.postMessage") == 1
    assert {one["ts"] for one in results} == {slack.channels[ENG]["messages"][-1]["ts"]}


@pytest.mark.parametrize(
    "broken",
    [httpx.Response(503, text=FORBIDDEN), {"ok": False, "error": "fatal_error"}, httpx.Response(200, text=FORBIDDEN)],
    ids=["503", "fatal_error", "a page"],
)
async def test_unposted_message_stays_unknown_and_is_not_posted_again(broken: Any, slack: World) -> None:
    slack.wire.say["chat.postMessage"] = [broken]
    for _ in range(3):
        with pytest.raises(OutcomeUnknown):
            await slack.act("send_message", CALL, conversation=ENG, body="Once")
    assert slack.wire.methods().count("chat.postMessage") == 1 and "Once" not in slack.texts(ENG)
    assert slack.wire.methods().count("conversations.history") == 6  # twice each time


async def test_later_run_finds_a_message_that_appeared_late(slack: World) -> None:
    lose(slack, "chat.postMessage")
    empty = {"ok": True, "messages": []}
    slack.wire.say["conversations.history"] = [empty, empty]
    with pytest.raises(OutcomeUnknown):
        await slack.act("send_message", CALL, conversation="#eng", body="Hi @bob")
    found = await slack.act("send_message", CALL, conversation="#eng", body="Hi @bob")
    assert found["ts"] == slack.channels[ENG]["messages"][-1]["ts"] and found["name"] == "#eng"
    assert slack.wire.methods().count("chat.postMessage") == 1


async def test_lost_message_without_read_scope_is_unknown() -> None:
    async with world(*(EVERYTHING - HISTORY)) as alice:
        lose(alice, "chat.postMessage")
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await alice.act("send_message", CALL, conversation=ENG, body="Once")
        assert alice.texts(ENG).count("Once") == 1 and "conversations.history" not in alice.wire.methods()


async def test_lost_message_with_limited_reading_is_unknown(slack: World) -> None:
    lose(slack, "chat.postMessage")
    limited = httpx.Response(429, headers={"retry-after": "60"}, json={"ok": False, "error": "ratelimited"})
    slack.wire.say["conversations.history"] = [limited]
    with pytest.raises(OutcomeUnknown):
        await slack.act("send_message", CALL, conversation=ENG, body="Once")
    assert slack.wire.methods().count("conversations.history") == 1


async def test_equal_message_of_another_sender_or_act_does_not_prove_the_send(
    slack: World,
) -> None:
    slack.put(ENG, "Once", BOB)
    await slack.act("send_message", conversation=ENG, body="Once")
    slack.wire.say["chat.postMessage"] = [httpx.Response(503)]
    with pytest.raises(OutcomeUnknown):
        await slack.act("send_message", CALL, conversation=ENG, body="Once")
    assert slack.texts(ENG).count("Once") == 2


async def test_message_without_metadata_is_found_by_author_and_text(slack: World) -> None:
    slack.wire.say["chat.postMessage"] = [
        {"ok": False, "error": "metadata_must_be_sent_from_app"},
        httpx.ReadError("lost"),
    ]
    sent = await slack.act("send_message", CALL, conversation=ENG, body="**Once** & for all")
    row = slack.channels[ENG]["messages"][-1]
    assert sent["ts"] == row["ts"] and "metadata" not in row and row["text"] == "*Once* &amp; for all"


async def test_scheduled_message_with_a_lost_answer_is_found(slack: World) -> None:
    lose(slack, "chat.scheduleMessage")
    plan = {"conversation": ENG, "body": "Later", "send_at": "+2h"}
    results = [await slack.act("send_message", CALL, **plan) for _ in range(2)]
    [entry] = slack.sandbox.service("slack")["scheduled"]
    assert [one["scheduled_id"] for one in results] == [entry["id"]] * 2
    assert results[0]["post_at"] == "2026-11-24T16:00:00+00:00"
    undone = await slack.deputy.act(results[0]["undo"]["tool"], results[0]["undo"]["args"], user="alice")
    assert undone["deleted"] and slack.sandbox.service("slack")["scheduled"] == []


WRITES = [case for case in CASES if TOOLKIT.tools[f"slack_{case.tool}"].gravest is not Effect.READS]


@pytest.mark.parametrize("case", WRITES, ids=[f"{n}-{case.tool}" for n, case in enumerate(WRITES)])
async def test_every_write_run_twice_with_one_call_acts_once(case: Case) -> None:
    async with world(*sorted(case.granted)) as alice:
        arguments = await filled(alice, case.arguments)
        case.spoil(alice)
        outcomes, stores = [], []
        for _ in range(2):
            try:
                outcomes.append(json.dumps(await alice.act(case.tool, CALL, **arguments)))
            except DeputizeError as failed:
                outcomes.append(failed.code)
            stores.append(alice.sandbox.service("slack"))
        assert outcomes[0] == outcomes[1] and stores[0] == stores[1]


SINGLE: dict[str, tuple[str, dict[str, Any]]] = {
    "chat.postMessage": ("send_message", {"conversation": ENG, "body": "Once"}),
    "chat.scheduleMessage": ("send_message", {"conversation": ENG, "body": "Once", "send_at": "+1h"}),
    "chat.update": ("update_message", {"conversation": ENG, "ts": "{own}", "body": "Once"}),
    "chat.delete": ("delete_message", {"conversation": ENG, "ts": "{own}"}),
    "reactions.add": ("react", {"conversation": ENG, "ts": "{other}", "emoji": "eyes"}),
    "pins.add": ("pin", {"conversation": ENG, "ts": "{other}"}),
    "bookmarks.add": ("pin", {"conversation": ENG, "url": "https://x.test/"}),
    "conversations.create": ("create_channel", {"name": "once"}),
    "conversations.setTopic": ("update_channel", {"conversation": ENG, "topic": "Once"}),
    "conversations.archive": ("update_channel", {"conversation": ENG, "archived": True}),
    "conversations.invite": ("manage_members", {"conversation": ENG, "action": "invite", "users": ["@decoy"]}),
    "conversations.kick": ("manage_members", {"conversation": ENG, "action": "remove", "users": ["@bob"]}),
    "conversations.open": ("send_message", {"conversation": "@decoy", "body": "Once"}),
    "conversations.mark": ("mark_read", {"conversation": ENG}),
    "users.profile.set": ("set_status", {"text": "Once"}),
    "files.getUploadURLExternal": ("upload_file", {"conversation": ENG, "attachments": ["{handle}"]}),
    "files.completeUploadExternal": ("upload_file", {"conversation": ENG, "attachments": ["{handle}"]}),
    "canvases.create": ("write_canvas", {"title": "Once", "body": "x"}),
}


@pytest.mark.parametrize("method", SINGLE)
async def test_write_with_a_lost_answer_happened_once_and_is_reported(method: str) -> None:
    tool, raw = SINGLE[method]
    async with world() as alice, world() as other:
        for one in (alice, other):
            arguments = await filled(one, raw)
            if one is alice:
                lose(one, method)
            await one.act(tool, CALL, **arguments)
            await one.act(tool, CALL, **arguments)
        counted = [_counted(one.sandbox.service("slack")) for one in (alice, other)]
        assert counted[0] == counted[1]


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("acted", [True, False], ids=["after it acted", "before it acted"])
@pytest.mark.parametrize("method", sample(SINGLE))
async def test_loss_neither_repeats_a_write_nor_reports_an_undone_one(method: str, acted: bool, times: int) -> None:
    tool, raw = SINGLE[method]
    async with world() as alice, world() as other, world() as still:
        hers, its, _ = [await filled(one, raw) for one in (alice, other, still)]
        alice.wire.say[method] = [httpx.ReadError("lost") if acted else httpx.Response(503) for _ in range(times)]
        told = []
        for _ in range(2):
            try:
                told.append(await alice.act(tool, CALL, **hers))
            except (OutcomeUnknown, ProviderUnavailable):
                told.append(None)
        await other.act(tool, CALL, **its)
        once, never, now = (_counted(one.sandbox.service("slack")) for one in (other, still, alice))
        assert now == once or (now == never and told == [None, None])


def _counted(store: dict[str, Any]) -> dict[str, Any]:
    """Return the number of objects, without ids used up by failed calls."""
    channels = store["channels"].values()
    return {
        "channels": len(channels),
        "messages": sum(len(one["messages"]) for one in channels),
        "pins": sum(len(one.get("pins", [])) for one in channels),
        "bookmarks": sum(len(one.get("bookmarks", [])) for one in channels),
        "members": sum(len(one["members"]) for one in channels),
        "archived": sum(one["is_archived"] for one in channels),
        "files": len(store["files"]),
        "scheduled": len(store.get("scheduled", [])),
        "reactions": sum(len(row.get("reactions", [])) for one in channels for row in one["messages"]),
        "profiles": store["profiles"],
    }


@pytest.mark.parametrize("method", SINGLE)
async def test_run_killed_before_its_save_never_acts_again(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool, raw = SINGLE[method]
    async with world() as alice:
        arguments = await filled(alice, raw)
        monkeypatch.setattr("deputize.core.idempotency.ledger.Entry.done", _dies)
        with pytest.raises(RuntimeError):
            await alice.act(tool, CALL, **arguments)
        monkeypatch.undo()
        count = len(alice.wire.seen)
        with pytest.raises(OutcomeUnknown):
            await alice.act(tool, CALL, **arguments)
        assert len(alice.wire.seen) == count


@pytest.mark.parametrize("method", SINGLE)
async def test_run_killed_during_its_write_never_acts_again(method: str) -> None:
    tool, raw = SINGLE[method]
    async with world() as alice:
        arguments, inner = await filled(alice, raw), alice.wire.inner

        async def killed(request: httpx.Request) -> httpx.Response:
            answer = await inner.handle_async_request(request)
            if method_of(request) == method:
                raise asyncio.CancelledError
            return answer

        alice.wire.inner = httpx.MockTransport(killed)
        with pytest.raises(asyncio.CancelledError):
            await alice.act(tool, CALL, **arguments)
        alice.wire.inner, after = inner, _counted(alice.sandbox.service("slack"))
        with pytest.raises(OutcomeUnknown):
            await alice.act(tool, CALL, **arguments)
        assert _counted(alice.sandbox.service("slack")) == after


async def _dies(self: object, result: object, more: object) -> None:
    raise RuntimeError("the process dies here")


# ------------------------------------------------------------------ what is sent


async def test_links_unfurl_only_on_request(slack: World) -> None:
    await slack.act("send_message", conversation=ENG, body="https://x.test/a")
    await slack.act("send_message", conversation=ENG, body="https://x.test/b", unfurl=True)
    sent = slack.wire.sent("chat.postMessage")
    assert [(one["unfurl_links"], one["unfurl_media"]) for one in sent] == [("false", "false"), ("true", "true")]


async def test_only_exact_names_become_mentions(slack: World) -> None:
    await slack.act("send_message", conversation=ENG, body="@bob @bobb @bobby #random #rando `@bob` `@here`")
    assert slack.texts(ENG)[-1] == (f"<@{BOB}> @bobb <@{BOB}> <#C0RANDOM001> #rando `@bob` `@here`")


async def test_failed_name_lookup_does_not_stop_the_message(slack: World) -> None:
    slack.wire.say["users.list"] = [{"ok": False, "error": "team_access_not_granted"}]
    await slack.act("send_message", conversation=ENG, body="@bob")
    assert slack.texts(ENG)[-1] == "@bob"


BUTTON = {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "x"}}]}


@pytest.mark.parametrize(
    "block",
    [
        BUTTON,
        {"type": "section", "text": {"type": "mrkdwn", "text": "x"}, "accessory": BUTTON["elements"][0]},
        {"type": "image", "image_url": "https://evil.test/?q=secret", "alt_text": "x"},
        {"type": "context", "elements": [{"type": "image", "image_url": "https://evil.test/", "alt_text": "x"}]},
        {"type": "section", "text": {"type": "mrkdwn", "text": "<!channel> hello"}},
        {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "broadcast"}]}]},
        {"type": "rich_text", "elements": [{"type": "usergroup", "usergroup_id": "S1"}]},
        {"type": "input", "element": {}},
        {"type": "video", "video_url": "https://evil.test/"},
        {"text": "no type"},
        {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 14_000}},
    ],
)
async def test_blocks_with_buttons_foreign_pictures_or_calls_are_refused(block: Any, slack: World) -> None:
    with pytest.raises(InvalidInput):
        await slack.act("send_message", conversation=ENG, blocks=[block])
    assert slack.wire.seen == []


async def test_blocks_are_sent_with_notification_text(slack: World) -> None:
    blocks = [{"type": "header", "text": {"type": "plain_text", "text": "Deploy & <done>"}}]
    await slack.act("send_message", conversation=ENG, blocks=blocks)
    row = slack.channels[ENG]["messages"][-1]
    assert row["blocks"] == blocks and row["text"] == "Deploy &amp; done"


@pytest.mark.parametrize(
    "arguments",
    [
        {"body": "x", "blocks": [{"type": "divider"}]},
        {},
        {"body": "x", "broadcast": True},
        {"body": "x", "send_at": "-1h"},
        {"body": "x", "send_at": "+200d"},
        {"body": "x", "send_at": "soon"},
        {"body": "x", "thread_ts": "1.5e9"},
        {"body": "x", "thread_ts": "1795435200.000102; drop"},
        {"body": "\ud800"},
        {"body": "x", "token": "xoxp-1"},
        {"body": "x", "user": "U1"},
    ],
)
async def test_invalid_arguments_are_refused_before_any_request(arguments: dict[str, Any], slack: World) -> None:
    with pytest.raises(InvalidInput):
        await slack.act("send_message", conversation=ENG, **arguments)
    assert not [one for one in slack.wire.methods() if one.startswith("chat.")]


async def test_aliases_of_other_toolkits_send(slack: World) -> None:
    for name, arguments in (
        ("Slack.PostMessage", {"channel": "#eng", "message": "one"}),
        ("Slack_SendMessage", {"channel_name": "eng", "text": "two"}),
        ("Slack.SendMessage", {"usernames": ["bob"], "message": "three"}),
        ("Slack.SendMessage", {"emails": ["bob@example.test", "decoy@example.test"], "message": "four"}),
        ("Slack.SendMessage", {"conversation_id": ENG, "body": "five"}),
    ):
        sent = await slack.deputy.act(name, arguments, user="alice", call=Call("t", name, str(arguments)))
        assert sent["summary"] == "Sent."
    parent = slack.channels[ENG]["messages"][0]["ts"]
    more = {"conversation": ENG, "message": "six", "thread_ts": parent, "reply_broadcast": True}
    assert (await slack.deputy.act("Slack.SendMessage", more, user="alice"))["thread_ts"] == parent
    assert slack.texts(ENG)[-3:] == ["two", "five", "six"] or slack.texts(ENG)[-4:] == ["one", "two", "five", "six"]
    members = await slack.deputy.act("Slack.GetUsersInConversation", {"channel_name": "eng"}, user="alice")
    assert len(members["members"]) == 2


# ------------------------------------------------------------------ edit and delete


async def test_only_own_messages_can_be_changed_or_deleted(slack: World) -> None:
    theirs = slack.channels[ENG]["messages"][0]["ts"]
    for tool, more in (("update_message", {"body": "mine"}), ("delete_message", {})):
        with pytest.raises(NotFound) as refused:
            await slack.act(tool, conversation=ENG, ts=theirs, **more)
        assert "no right" in refused.value.message
    assert slack.channels[ENG]["messages"][0]["text"].startswith("The staging deploy")


async def test_edit_is_undoable_only_if_the_old_text_is_restorable(slack: World) -> None:
    plain, marked = slack.put(ENG, "plain", ALICE), slack.put(ENG, "<https://x.test|a link>", ALICE)
    edited = await slack.act("update_message", conversation=ENG, ts=plain, body="new")
    await slack.deputy.act(edited["undo"]["tool"], edited["undo"]["args"], user="alice")
    assert "plain" in slack.texts(ENG)
    assert "undo" not in await slack.act("update_message", conversation=ENG, ts=marked, body="new")


async def test_result_says_whether_the_conversation_is_private(slack: World) -> None:
    sent = await slack.act("send_message", conversation="#leads", body="x")
    assert sent["conversation"] == LEADS and sent["type"] == "private"


@pytest.mark.parametrize("retry_after", [31, 3600])
async def test_too_long_rate_limit_says_how_long_to_wait(retry_after: int, slack: World) -> None:
    said = httpx.Response(429, headers={"retry-after": str(retry_after)}, json={"ok": False, "error": "ratelimited"})
    slack.wire.say["conversations.history"] = [said]
    with pytest.raises(RateLimited) as limited:
        await slack.act("get_messages", conversation=ENG)
    assert limited.value.retry_after == retry_after and "slack_search" in limited.value.hint


async def test_channel_of_another_person_is_not_ours(slack: World) -> None:
    with pytest.raises(Conflict):
        await slack.act("create_channel", name="General")
