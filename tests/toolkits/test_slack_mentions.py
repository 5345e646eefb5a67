"""Mentions: a linked person is unique and previewed; mentions that reach nobody are reported, before and after."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import Call
from deputize.core.errors import OutcomeUnknown
from deputize.core.tools.preview import show_rows
from tests.support.preview_coverage import ShownWorld, shown_world
from tests.toolkits.slack_calls import lost
from tests.toolkits.slack_world import BOB, ENG, EVERYTHING, World, world
from tests.toolkits.tool_driver import NOW

BODY = "@carol @bob @here @engineers #nope #77 #random <@U0BOB000000|Boss> `@dave`"
LINKED = (
    f"@carol <@{BOB}> <!here> <!subteam^S0ENGINEERS> #nope #77 <#C0RANDOM001> <@{BOB}> `@dave`"  # as Slack takes it
)


def group(alice: World, **more: Any) -> None:
    alice.sandbox._world.services["slack"]["usergroups"][0].update(more)


async def test_known_names_are_linked_and_unknown_ones_reported(slack: World) -> None:
    sent = await slack.act("send_message", conversation="#eng", body=BODY)
    assert slack.texts(ENG)[-1] == LINKED
    assert sent["reaches_nobody"] == ["@carol", "#nope"]
    planned = await slack.act("send_message", conversation="#eng", body="@carol", send_at="+1h")
    edited = await slack.act("update_message", conversation=ENG, ts=sent["ts"], body="@carol")
    kept = await slack.file("a.txt", b"x")
    shared = await slack.act("upload_file", conversation=ENG, attachments=[kept], body="@carol")
    assert {tuple(one["reaches_nobody"]) for one in (planned, edited, shared)} == {("@carol",)}
    assert "reaches_nobody" not in await slack.act("send_message", conversation="#eng", body="@bob, #77")


async def shown(body: str, *, tool: str = "slack_send_message", **arguments: Any) -> Any:
    async with shown_world({"slack": EVERYTHING}, clock=lambda: NOW) as alice:
        await _filled(alice, tool, arguments)
        await alice.act(tool, **{"conversation": "#eng", "body": body, **arguments})
        return alice.shown[-1]


async def _filled(alice: ShownWorld, tool: str, arguments: dict[str, Any]) -> None:
    if tool == "slack_upload_file":
        kept = await alice.deputy.store_file("alice", "a.txt", "text/plain", b"x")
        arguments["attachments"] = [kept["file"]]
    if tool == "slack_update_message":
        arguments["ts"] = (await alice.act("slack_send_message", conversation=ENG, body="old"))["ts"]


@pytest.mark.parametrize("tool", ["slack_send_message", "slack_upload_file", "slack_update_message"])
async def test_preview_shows_who_is_mentioned_and_how_many(tool: str) -> None:
    show = await shown("@here @engineers @carol", tool=tool)
    rows = show_rows(show)
    assert ("note", "These names reach nobody: @carol") in rows
    said = "\n".join(text for _, text in rows)
    assert "@here is everybody here who is active" in said
    assert "@engineers is the user group Engineers (@engineers, S0ENGINEERS)" in said
    assert "@engineers: 2 people" in said and "@here: 2 people" in said


async def test_approval_without_channel_mention_does_not_cover_one() -> None:
    plain, loud = await shown("hello @bob"), await shown("hello @channel and @engineers")
    assert set(loud.reached) - set(plain.reached) == {"@channel", "s0engineers"}
    assert loud.audience == plain.audience


async def test_member_counts_are_previewed_and_not_compared() -> None:
    few = await shown("@engineers")
    assert few.beside["mentions_reach"] and "mentions_reach" not in few.fields


@pytest.mark.parametrize(
    ("scopes", "told"),
    [
        ({"chat:write", "users:read"}, "@engineers (user groups could not be looked up)"),
        ({"chat:write", "usergroups:read"}, "@carol (not all people were looked through)"),
        ({"chat:write"}, "@carol (not all people were looked through, user groups could not be looked up)"),
    ],
)
async def test_failed_name_lookup_is_reported(scopes: set[str], told: str) -> None:
    async with world(*scopes) as alice:
        sent = await alice.act("send_message", conversation=ENG, body="@engineers @carol")
        assert told in sent["reaches_nobody"]
    async with world() as alice:
        for method in ("users.list", "usergroups.list"):
            alice.wire.say[method] = [{"ok": False, "error": "ratelimited"}]
        sent = await alice.act("send_message", conversation=ENG, body="@bob")
        told = "@bob (not all people were looked through, user groups could not be looked up)"
        assert sent["reaches_nobody"] == [told] and alice.texts(ENG)[-1] == "@bob"


async def test_name_of_a_group_and_a_person_is_neither_but_a_handle_is_its_owners(slack: World) -> None:
    group(slack, handle="bobby")
    [told] = (await slack.act("send_message", conversation=ENG, body="@bobby"))["reaches_nobody"]
    assert "several are called so" in told and BOB in told and "S0ENGINEERS" in told
    group(slack, handle="bob")
    await slack.act("send_message", conversation=ENG, body="@bob")
    assert slack.texts(ENG)[-2:] == ["@bobby", f"<@{BOB}>"]


async def test_disabled_group_and_given_markup_mention_nobody(slack: World) -> None:
    group(slack, date_delete=1)
    sent = await slack.act("send_message", conversation=ENG, body="@engineers <!channel> <!subteam^S0ENGINEERS>")
    assert slack.texts(ENG)[-1] == "@engineers &lt;!channel&gt; &lt;!subteam^S0ENGINEERS&gt;"
    assert sent["reaches_nobody"] == ["@engineers"]


async def test_resumed_run_reports_unknown_names(slack: World) -> None:
    lost("chat.postMessage")(slack)
    answer = {"ok": True, "messages": []}
    slack.wire.say["conversations.history"] = [answer, answer]
    call = Call("thread", "message", "call")
    with pytest.raises(OutcomeUnknown):
        await slack.act("send_message", call, conversation=ENG, body="@carol")
    assert (await slack.act("send_message", call, conversation=ENG, body="@carol"))["reaches_nobody"] == ["@carol"]
