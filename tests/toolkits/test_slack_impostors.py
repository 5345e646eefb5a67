"""Impersonation by chosen names: look-alikes resolve to nobody, and mentions of everyone reach nobody."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from deputize.core import Call, ConsentRequired
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, NotFound, OutcomeUnknown
from deputize.toolkits._shared.page import BUDGET, tokens
from tests.toolkits.slack_world import ALICE, BOB, DECOY, ENG, GENERAL, World, world

CALL = Call("thread", "message", "call")
DM = "D0ALICEBOB1"


def disguise(alice: World, **profile: Any) -> None:
    """Give the decoy another profile."""
    alice.sandbox._world.services["slack"]["profiles"][DECOY] = profile


def channel(alice: World, identity: str, name: str, **more: Any) -> None:
    """Create a channel as somebody else."""
    store = alice.sandbox._world.services["slack"]["channels"]
    store[identity] = store[ENG] | {"id": identity, "name": name, "messages": [], **more}


def crowd(alice: World, *last: dict[str, Any]) -> None:
    """Fill a workspace with more people than are searched, in every list of people."""
    page = [{"id": f"U0CROWD{n:04d}", "name": f"crowd{n}", "profile": {}} for n in range(3)]
    more = {"ok": True, "response_metadata": {"next_cursor": "more"}}
    pages = [more | {"members": page}] * 4 + [more | {"members": [*page, *last]}]
    alice.wire.say["users.list"] = [dict(one) for one in pages * 4]


def nothing_was_said(alice: World) -> bool:
    """Return True if no message was sent."""
    return not {"chat.postMessage", "conversations.open"} & set(alice.wire.methods())


# ------------------------------------------------------------------ people


async def test_display_name_equal_to_a_real_name_matches_neither(slack: World) -> None:
    disguise(slack, display_name="Bob Brown")
    with pytest.raises(NotFound) as several:
        await slack.act("send_message", conversation="Bob Brown", body="secret")
    assert BOB in several.value.hint and DECOY in several.value.hint and nothing_was_said(slack)


@pytest.mark.parametrize(
    "twin", ["Bob Brown\u200b", "\u202eBob Brown", "\uff22ob Brown", "Bob\u00a0Brown", "bob  brown "]
)
@pytest.mark.parametrize("meant", ["Bob Brown", "{twin}"])
async def test_lookalike_name_matches_neither(twin: str, meant: str, slack: World) -> None:
    disguise(slack, display_name=twin)
    with pytest.raises(NotFound):
        await slack.act("send_message", conversation=meant.format(twin=twin), body="secret")
    assert nothing_was_said(slack)


async def test_display_name_equal_to_an_id_or_handle_is_ignored(slack: World) -> None:
    for name in ("bob", "@bob", BOB, f"@{BOB}", "bob@example.test"):
        disguise(slack, display_name=name, real_name=name)
        for meant in ("@bob", BOB, f"@{BOB}", "bob@example.test", f"<@{BOB}>"):
            assert (await slack.act("send_message", conversation=meant, body="x"))["conversation"] == DM
        await slack.act("send_message", conversation=ENG, body="hello @bob")
        assert slack.texts(ENG)[-1] == f"hello <@{BOB}>"


async def test_user_among_the_recipients_keeps_a_direct_message(slack: World) -> None:
    sent = await slack.act("send_message", conversation="@alice, @bob", body="x")
    assert sent["conversation"] == DM and sent["type"] == "dm" and ALICE not in sent["name"]


async def test_external_person_is_shown_as_external(slack: World) -> None:
    guest = {"id": "U0GUEST0001", "name": "guest", "is_stranger": True, "profile": {"real_name": "Alice Adams"}}
    slack.wire.say["users.list"] = [{"ok": True, "members": [guest]}]
    slack.wire.say["conversations.open"] = [{"ok": True, "channel": {"id": DM}}]
    sent = await slack.act("send_message", conversation="@guest", body="x")
    assert "U0GUEST0001, external" in sent["name"]


# ------------------------------------------------------------------ channels


async def test_shared_channel_is_shown_as_external(slack: World) -> None:
    shared = {"id": ENG, "name": "eng", "is_ext_shared": True, "num_members": 9}
    slack.wire.say["users.conversations"] = [{"ok": True, "channels": [shared]}]
    sent = await slack.act("send_message", conversation="#eng", body="x")
    assert sent["external"] is True and sent["members"] == 9


@pytest.mark.parametrize("page", ["first", "last"])
async def test_channel_with_another_spelling_does_not_precede_the_named_one(page: str, slack: World) -> None:
    false = {"id": "C0FALSE0001", "name": "\u0435ng-x", "name_normalized": "eng"}
    true = {"id": ENG, "name": "eng", "name_normalized": "eng"}
    pages = [false, true] if page == "first" else [true, false]
    slack.wire.say["users.conversations"] = [
        {"ok": True, "channels": [one], "response_metadata": {"next_cursor": "more" if one is pages[0] else ""}}
        for one in pages
    ]
    assert (await slack.act("send_message", conversation="#eng", body="x"))["conversation"] == ENG


async def test_archived_channel_does_not_precede_an_open_one_of_its_name(slack: World) -> None:
    closed = {"id": "C0CLOSED001", "name": "eng", "is_archived": True}
    slack.wire.say["users.conversations"] = [
        {"ok": True, "channels": [closed], "response_metadata": {"next_cursor": "more"}},
        {"ok": True, "channels": [{"id": ENG, "name": "eng"}]},
    ]
    assert (await slack.act("send_message", conversation="#eng", body="x"))["conversation"] == ENG


@pytest.mark.parametrize("named", ["Bob Brown", "bob-brown", "bob brown"])
async def test_bare_word_matches_no_channel_when_not_all_people_were_read(named: str, slack: World) -> None:
    channel(slack, "C0TRAP00001", "bob-brown")
    crowd(slack, {"id": BOB, "name": "bob", "profile": {"real_name": "Bob Brown"}})
    with pytest.raises(NotFound) as refused:
        await slack.act("send_message", conversation=named, body="secret")
    assert "#bob-brown" in refused.value.hint and nothing_was_said(slack)
    sent = await slack.act("send_message", conversation="#bob-brown", body="to all")
    assert sent["conversation"] == "C0TRAP00001"


async def test_bare_word_is_no_channel_without_people_scope_unless_spelled_with_hash() -> None:
    async with world("chat:write", "channels:read") as alice:
        channel(alice, "C0TRAP00001", "bob-brown")
        with pytest.raises(NotFound):
            await alice.act("send_message", conversation="Bob Brown", body="secret")
        assert nothing_was_said(alice)
        for named in ("general", "the General channel", "#General"):
            assert (await alice.act("send_message", conversation=named, body="x"))["conversation"] == GENERAL


async def test_word_naming_a_person_requests_the_direct_message_scope() -> None:
    async with world("users:read", "channels:read", "im:read", "channels:history") as alice:
        with pytest.raises(ConsentRequired) as asked:
            await alice.act("get_messages", conversation="bobby")
        assert asked.value.consent.scopes == ("im:history",)


async def test_person_without_an_open_conversation_says_how_to_address() -> None:
    async with world("users:read", "channels:read", "chat:write") as alice:
        with pytest.raises(NotFound) as refused:
            await alice.act("send_message", conversation="bobby", body="x")
        assert "@bob" in refused.value.hint


async def test_search_in_a_private_channel_by_name_requests_its_scope() -> None:
    async with world("search:read.public", "channels:read", "groups:read") as alice:
        with pytest.raises(InvalidInput) as refused:
            await alice.act("search", query="hires", conversation="#leads")
        assert "private" in refused.value.hint and "assistant.search.context" not in alice.wire.methods()
        with pytest.raises(ConsentRequired) as asked:
            await alice.act("search", query="hires", conversation="#leads", types=["private"])
        assert asked.value.consent.scopes == ("search:read.private",)


@pytest.mark.parametrize("scopes", [(), ("chat:write", "channels:read", "users:read", "im:write", "im:read")])
async def test_list_of_people_is_never_a_channel(scopes: tuple[str, ...]) -> None:
    async with world(*scopes) as alice:
        channel(alice, "C0TRAP00001", "bob")
        asked = {"usernames": ["bob"], "message": "secret"}
        sent = await alice.deputy.act("Slack.SendMessage", asked, user="alice", call=CALL)
        assert sent["conversation"] == DM


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("search", {"query": "x", "from": " "}),
        ("list_files", {"by": " "}),
        ("manage_members", {"conversation": ENG, "action": "remove", "users": [" "]}),
        ("manage_members", {"conversation": ENG, "action": "invite", "users": ["@bob", ""]}),
        ("create_channel", {"name": "x", "invite": [""]}),
    ],
)
async def test_empty_person_is_refused_and_nobody_left_out(tool: str, arguments: Any, slack: World) -> None:
    with pytest.raises(InvalidInput) as refused:
        await slack.act(tool, **arguments)
    assert "empty" in refused.value.message


# ------------------------------------------------------------------ calls to everybody


async def test_slack_is_told_to_parse_no_names_in_our_text(slack: World) -> None:
    own = slack.put(ENG, "mine", ALICE)
    await slack.act("send_message", conversation=ENG, body="<!channel> <@U0NOBODY000|x> engineers")
    await slack.act("send_message", conversation=ENG, body="`@channel`", send_at="+1h")
    await slack.act("update_message", conversation=ENG, ts=own, body="here, everyone")
    for method in ("chat.postMessage", "chat.scheduleMessage", "chat.update"):
        [asked] = slack.wire.sent(method)
        assert asked["parse"] == "none" and asked["link_names"] == "false", method
        assert "<!" not in asked["text"] and "<@" not in asked["text"]


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


@pytest.mark.parametrize(
    "text", ["@channel look", "hi @here", "(@everyone)", "@Channel", "x\n@here", "<!here>", "\uff20here"]
)
@pytest.mark.parametrize("kind", ["mrkdwn", "markdown", "rich_text"])
async def test_blocks_that_mention_everybody_in_plain_text_are_refused(text: str, kind: str) -> None:
    rich = {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}
    block = {"mrkdwn": section(text), "markdown": {"type": "markdown", "text": text}}.get(
        kind, {"type": "rich_text", "elements": [rich]}
    )
    async with world() as alice:
        with pytest.raises(InvalidInput):
            await alice.act("send_message", conversation=ENG, blocks=[block])
        assert alice.wire.seen == []


async def test_block_texts_are_sent_verbatim(slack: World) -> None:
    asked = section("mail somebody@hereford.test, see eng") | {"fields": [{"type": "mrkdwn", "text": "a"}]}
    await slack.act("send_message", conversation=ENG, blocks=[asked])
    [block] = slack.channels[ENG]["messages"][-1]["blocks"]
    assert block["text"]["verbatim"] is True and block["fields"][0]["verbatim"] is True
    assert "verbatim" not in asked["text"]


@pytest.mark.parametrize(
    "block",
    [
        {"type": ["actions"]},
        {"type": {"a": 1}},
        section("x") | {"accessory": {"type": ["button"]}},
        {"type": "image", "alt_text": "x", "slack_file": {"url": "https://evil.test/?q=secret"}},
        {"type": None},
    ],
)
async def test_unknown_blocks_are_refused_by_name(block: Any, slack: World) -> None:
    with pytest.raises(InvalidInput) as refused:
        await slack.act("send_message", conversation=ENG, blocks=[block])
    assert refused.value.message.startswith("blocks:") and slack.wire.seen == []


@pytest.mark.parametrize("field", ["topic", "purpose"])
@pytest.mark.parametrize("text", ["<!channel> look", f"<@{BOB}>", "<https://evil.test|https://bank.test>"])
async def test_channel_topic_cannot_contain_slack_markup(field: str, text: str, slack: World) -> None:
    for tool, arguments in (("update_channel", {"conversation": ENG}), ("create_channel", {"name": "new"})):
        with pytest.raises(InvalidInput):
            await slack.act(tool, **arguments, **{field: text})
    assert slack.wire.seen == []


@pytest.mark.parametrize("words", ["ba\u200bnk.test", "\u202ebank.test", "https://bank\u2060.test/login"])
async def test_link_with_a_disguised_host_is_misleading(words: str, slack: World) -> None:
    slack.put(ENG, f"<https://evil.test/x|{words}>")
    row = (await slack.act("get_messages", conversation=ENG))["items"][-1]
    assert row["link_mismatch"] is True


# ------------------------------------------------------------------ once


async def test_own_existing_channel_is_not_taken_for_a_new_one(slack: World) -> None:
    now = slack.channels[ENG]["created"] + 90 * 86_400
    channel(slack, "C0OLDER0001", "plans", creator=ALICE, created=now - 600, members=[ALICE], topic="mine")
    with pytest.raises(Conflict):
        await slack.act("create_channel", name="plans", topic="theirs", invite=["@decoy"])
    assert slack.channels["C0OLDER0001"]["members"] == [ALICE] and slack.channels["C0OLDER0001"]["topic"] == "mine"


async def test_channel_is_created_although_nobody_could_be_invited(slack: World) -> None:
    slack.wire.say["conversations.invite"] = [{"ok": False, "error": "restricted_action"}]
    made = await slack.act("create_channel", CALL, name="plans", invite=["@decoy"])
    assert made["name"] == "plans" and made["failed"][0]["user"] == DECOY and "invited" not in made
    assert await slack.act("create_channel", CALL, name="plans", invite=["@decoy"]) == made


async def test_earlier_equal_scheduled_message_is_not_taken_for_ours(slack: World) -> None:
    plan = {"conversation": ENG, "body": "Later", "send_at": "+2h"}
    await slack.act("send_message", **plan)
    slack.sandbox._world.services["slack"]["scheduled"][0]["date_created"] -= 3_600
    slack.wire.say["chat.scheduleMessage"] = [httpx.Response(503)]
    with pytest.raises(OutcomeUnknown):
        await slack.act("send_message", CALL, **plan)


async def test_message_being_answered_is_not_taken_for_the_answer(slack: World) -> None:
    parent = slack.put(ENG, "ping", ALICE)
    slack.channels[ENG]["messages"][-1]["thread_ts"] = parent
    slack.wire.say["chat.postMessage"] = [httpx.Response(503)]
    with pytest.raises(OutcomeUnknown):
        await slack.act("send_message", CALL, conversation=ENG, thread_ts=parent, body="ping")


async def test_redirected_upload_is_a_failure(slack: World) -> None:
    handle = await slack.file("notes.txt", b"mine")
    inner = slack.wire.inner

    async def lead(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/upload"):
            return httpx.Response(302, headers={"location": "https://evil.test/upload"}, request=request)
        return await inner.handle_async_request(request)

    slack.wire.inner = httpx.MockTransport(lead)
    with pytest.raises(DeputizeError):
        await slack.act("upload_file", conversation=ENG, attachments=[handle])
    assert "files.completeUploadExternal" not in slack.wire.methods()
    assert {one.url.host for one in slack.wire.seen} == {"slack.com", "files.slack.com"}


async def test_file_refused_in_one_channel_may_be_shared_elsewhere(slack: World) -> None:
    handle = await slack.file("notes.txt", b"mine")
    slack.wire.say["files.completeUploadExternal"] = [{"ok": False, "error": "not_in_channel"}]
    with pytest.raises(DeputizeError) as refused:
        await slack.act("upload_file", CALL, conversation=ENG, attachments=[handle])
    assert not isinstance(refused.value, OutcomeUnknown)
    assert (await slack.act("upload_file", CALL, conversation=ENG, attachments=[handle]))["summary"] == "Uploaded."


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.slack.com/upload",
        "https://files.slack.com:8443/u",
        "https://x@files.slack.com/u",
        "ftp://slack.com",
    ],
)
async def test_file_bytes_go_to_slacks_file_host_only(url: str, slack: World) -> None:
    handle = await slack.file("notes.txt", b"mine")
    slack.wire.say["files.getUploadURLExternal"] = [{"ok": True, "upload_url": url, "file_id": "F1"}]
    with pytest.raises(DeputizeError):
        await slack.act("upload_file", conversation=ENG, attachments=[handle])
    assert not [one for one in slack.wire.seen if b"mine" in one.content]


async def test_channels_own_canvas_keeps_its_permissions(slack: World) -> None:
    await slack.act("write_canvas", title="Ours", body="x", conversation="#eng")
    assert "canvases.access.set" not in slack.wire.methods()
    await slack.act("write_canvas", title="Another", body="x", conversation="#eng")
    assert slack.wire.methods().count("canvases.access.set") == 1


async def test_removed_people_are_reported_although_the_rest_was_refused(slack: World) -> None:
    slack.sandbox._world.services["slack"]["channels"][ENG]["members"].append(DECOY)
    slack.wire.say["conversations.kick"] = [{"ok": True}, {"ok": False, "error": "restricted_action"}]
    told = await slack.act("manage_members", conversation=ENG, action="remove", users=["@bob", "@decoy"])
    assert told["done"] == [BOB] and told["failed"][0]["user"] == DECOY


# ------------------------------------------------------------------ budgets


async def test_conversation_full_of_long_words_keeps_to_the_budget(slack: World) -> None:
    store = slack.sandbox._world.services["slack"]
    members = [f"U0MEMBER{n:04d}" for n in range(200)]
    row = {"id": "Bk1", "title": "\u6f22" * 90, "link": "https://x.test/" + "a" * 300}
    pins = [slack.put(ENG, "\u6f22" * 400) for _ in range(30)]
    store["channels"][ENG] |= {
        "bookmarks": [row] * 30,
        "pins": pins,
        "topic": "\u6f22" * 250,
        "members": [ALICE, *members],
    }
    store["channels"][ENG]["purpose"] = "\u6f22" * 250
    user = {"id": "U1", "name": "x", "profile": {"real_name": "\u6f22" * 60, "title": "\u6f22" * 60}}
    slack.wire.say["users.info"] = [{"ok": True, "user": user}] * 500
    found = await slack.act("get_conversation", conversation=ENG, include=["members", "pins", "bookmarks"], limit=200)
    assert tokens(found) <= BUDGET and found["pins"] and found["bookmarks"] and found["members"]
    assert found["truncated"] is True and found["next"]


async def test_unknown_names_keep_to_the_budget_and_none_is_dropped_silently(slack: World) -> None:
    people = [
        {"id": f"U0NEAR{n:05d}", "name": f"near{n}", "profile": {"real_name": "Near " + "\u6f22" * 60}}
        for n in range(9)
    ]
    slack.wire.say["users.list"] = [{"ok": True, "members": people}]
    found = await slack.act("find_users", users=[f"near{n}" + "x" * 60 for n in range(50)])
    assert tokens(found) <= BUDGET and found["truncated"] is True and found["not_found"]
