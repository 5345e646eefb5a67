"""Conversations and people by description: exactly one, or none; never a guess."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.toolkits.slack import refs
from tests.support.lanes import examples
from tests.toolkits.slack_world import ALICE, BOB, ENG, EVERYTHING, LEADS, World, world

DM = "D0ALICEBOB1"


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (ENG, ENG),
        ("#eng", ENG),
        ("eng", ENG),
        ("ENG", ENG),
        ("the eng channel", ENG),
        ("the #eng channel", ENG),
        ("#leads", LEADS),
        (f"<#{ENG}|eng>", ENG),
        (f"https://acme.slack.com/archives/{ENG}", ENG),
        (f"https://app.slack.com/client/T0ACME00001/{ENG}", ENG),
        ("@bob", DM),
        ("bob", DM),
        ("Bob Brown", DM),
        ("bobby", DM),
        ("@bobby", DM),
        (BOB, DM),
        (f"<@{BOB}>", DM),
        ("bob@example.test", DM),
        ("Bob <bob@example.test>", DM),
    ],
)
async def test_conversation_is_found_by_every_usual_name(named: str, found: str, slack: World) -> None:
    result = await slack.act("get_messages", conversation=named)
    assert result["conversation"] == found


@pytest.mark.parametrize(
    "named", ["#en", "engineering", "@bo", "Bob B", "Brown", "#Eng Team", "the channel", "#nothing"]
)
@pytest.mark.parametrize("tool", ["send_message", "get_messages", "update_channel"])
async def test_nearly_right_name_is_refused_with_similar_ones(tool: str, named: str) -> None:
    more = {"send_message": {"body": "x"}, "update_channel": {"topic": "x"}}.get(tool, {})
    async with world() as alice:
        before = alice.sandbox.service("slack")
        with pytest.raises(NotFound) as missed:
            await alice.act(tool, conversation=named, **more)
        assert alice.sandbox.service("slack") == before
        near = {
            "#en": "#eng",
            "engineering": "#eng",
            "@bo": "@bob",
            "Bob B": "@bob",
            "Brown": "@bob",
            "#Eng Team": "#eng",
        }
        assert near.get(named, "") in missed.value.hint


def _twin(alice: World, **profile: Any) -> None:
    store = alice.sandbox._world.services["slack"]
    store["profiles"]["U0DECOY0000"] = profile


async def test_two_people_of_one_name_need_an_id(slack: World) -> None:
    _twin(slack, display_name="bobby")
    with pytest.raises(NotFound) as several:
        await slack.act("send_message", conversation="bobby", body="x")
    assert BOB in several.value.hint and "U0DECOY0000" in several.value.hint
    found = await slack.act("find_users", users=["bobby"])
    assert found["items"] == [] and len(found["not_found"][0]["suggestions"]) == 2


async def test_name_of_a_channel_and_a_person_is_ambiguous(slack: World) -> None:
    _twin(slack, display_name="eng")
    with pytest.raises(NotFound) as several:
        await slack.act("send_message", conversation="eng", body="x")
    assert ENG in several.value.hint and "U0DECOY0000" in several.value.hint
    assert (await slack.act("send_message", conversation="#eng", body="x"))["conversation"] == ENG


async def test_only_handles_identify_people_if_not_all_are_readable(slack: World) -> None:
    endless = [
        {
            "ok": True,
            "members": [
                {"id": f"U0PAGE{n}0000", "name": f"page{n}", "profile": {"display_name": "bobby"} if n == 2 else {}}
            ],
            "response_metadata": {"next_cursor": f"n{n}"},
        }
        for n in range(10)
    ]
    slack.wire.say["users.list"] = list(endless)
    with pytest.raises(NotFound):
        await slack.act("send_message", conversation="@bobby", body="x")
    # five pages for the tool itself, and five where the name is looked for in all accounts
    assert slack.wire.methods().count("users.list") == 10 and "conversations.open" not in slack.wire.methods()
    slack.wire.say["users.list"] = list(endless)
    found = await slack.act("find_users", users=["page2"])
    assert [row["id"] for row in found["items"]] == ["U0PAGE20000"]


async def test_message_link_finds_its_message_and_thread(slack: World) -> None:
    parent = slack.channels[ENG]["messages"][0]["ts"]
    answer = slack.put(ENG, "in the thread", thread_ts=parent)
    link = f"https://acme.slack.com/archives/{ENG}/p{answer.replace('.', '')}"
    thread = await slack.act("get_messages", conversation=f"{link}?thread_ts={parent}&cid={ENG}")
    assert [row["text"] for row in thread["items"]][-1] == "in the thread" and len(thread["items"]) == 2
    [alone] = (await slack.act("get_messages", conversation=link))["items"]
    assert alone["ts"] == answer and alone["thread_ts"] == parent
    sent = await slack.act("send_message", conversation=link, body="there too")
    assert sent["thread_ts"] == answer


@pytest.mark.parametrize(
    "named",
    [
        "",
        " ",
        "#",
        "@",
        "https://evil.test/archives/C0ENG000001",
        "https://slack.com.evil.test/archives/C0ENG000001",
        "https://evilslack.com/archives/C0ENG000001",
        "https://acme.slack.com/archives/",
        "https://acme.slack.com/archives/C0ENG000001/C0RANDOM001",
        "https://[bad/archives/C0ENG000001",
        "@bob, #eng",
        ", ".join(f"@p{n}" for n in range(9)),
        "x" * 500,
    ],
)
async def test_invalid_conversation_is_refused_before_writing(named: str, slack: World) -> None:
    before = slack.sandbox.service("slack")
    with pytest.raises((InvalidInput, NotFound)):
        await slack.act("send_message", conversation=named, body="x")
    assert slack.sandbox.service("slack") == before


@settings(max_examples=examples(300), deadline=None)
@given(st.text(alphabet=string.printable + "\u202e\u200bé", max_size=80))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        ref = refs.read(text)
    except InvalidInput:
        assert refs.try_read(text) is refs.UNKNOWN
        return
    assert ref.kinds and (ref.id or ref.name or ref.people)
    assert all(char.isalnum() for char in ref.id)
    refs.needs_of(ref, sends=True)


async def test_reading_a_direct_message_never_opens_one(slack: World) -> None:
    with pytest.raises(NotFound):
        await slack.act("get_messages", conversation="@decoy")
    assert "conversations.open" not in slack.wire.methods()
    sent = await slack.act("send_message", conversation="@decoy", body="Hello")
    assert sent["type"] == "dm" and slack.texts(sent["conversation"]) == ["Hello"]


async def test_existing_direct_message_is_found_without_the_open_scope() -> None:
    async with world(*(EVERYTHING - {"im:write"})) as alice:
        assert (await alice.act("send_message", conversation="@bob", body="Hello"))["conversation"] == DM
        assert "conversations.open" not in alice.wire.methods()


async def test_people_are_shown_with_ids_and_outsiders_without_addresses() -> None:
    async with world(*(EVERYTHING - {"users:read.email"})) as alice:
        found = await alice.act("find_users")
        assert {row["id"] for row in found["items"]} == {ALICE, BOB, "U0DECOY0000"}
        assert not any("email" in row for row in found["items"])
        assert "Deploy Bot" in str(await alice.act("find_users", bots=True))


async def test_bobs_own_channel_is_hidden_from_alice(slack: World) -> None:
    for named in ("#bob-notes", "G0BOB000001"):
        with pytest.raises(NotFound):
            await slack.act("get_messages", conversation=named)
    assert "9-27-61" not in str(await slack.act("search", query="safe", types=["public", "private", "dm"]))
    slack.give(EVERYTHING, "bob")
    assert "9-27-61" in str(await slack.act("get_messages", as_="bob", conversation="#bob-notes"))


@pytest.mark.parametrize("user", ["nobody@example.test", "U0NOBODY000", "@nobody", ""])
async def test_filter_by_an_unknown_person_is_refused(user: str, slack: World) -> None:
    try:
        await slack.act("search", query="deploy", from_=user or "@")
    except DeputizeError as refused:
        assert isinstance(refused, NotFound | InvalidInput)
    else:
        raise AssertionError("somebody was found")


async def test_search_in_one_place_covers_its_conversation_type(slack: World) -> None:
    for place, words, found in (("#leads", "hires", LEADS), ("@bob", "lunch", DM), ("#eng", "retry", ENG)):
        [row] = (await slack.act("search", query=words, conversation=place))["items"]
        assert row["conversation"] == found


async def test_only_possible_group_messages_are_inspected() -> None:
    async with world(*(EVERYTHING - {"mpim:write"})) as alice:
        store = alice.sandbox._world.services["slack"]
        for n in range(30):
            names = "mpdm-alice--bob--decoy-1" if n == 20 else f"mpdm-alice--carol{n}--dave-1"
            people = [ALICE, BOB, "U0DECOY0000"] if n == 20 else [ALICE, f"U0CAROL{n:04d}"]
            row = store["channels"][DM] | {"id": f"G0THREE{n:04d}", "kind": "mpim", "members": people, "name": names}
            store["channels"][row["id"]] = row
        sent = await alice.act("send_message", conversation="@bob, @decoy", body="Hello")
        assert sent["conversation"] == "G0THREE0020" and alice.wire.methods().count("conversations.members") == 1


async def test_search_by_name_is_sent_by_id() -> None:
    async with world() as alice:
        found = await alice.act("search", query="e", from_="Bob Brown", conversation="#eng")
        assert len(found["items"]) == 2 and all(BOB in row["from"] for row in found["items"])
        [asked] = alice.wire.sent("assistant.search.context")
        assert asked["modifiers"] == f"in:<#{ENG}> from:<@{BOB}>"
    async with world("search:read", "channels:read", "users:read") as alice:
        found = await alice.act("search", query="e", from_="@bob", conversation="#eng", after="-10h", before="now")
        assert len(found["items"]) == 1  # by the second, though the older method knows days only
        [asked] = alice.wire.sent("search.messages")
        assert asked["query"] == f"e in:<#{ENG}> from:<@{BOB}> after:2026-11-22 before:2026-11-26"


@pytest.mark.parametrize("me", ["me", "@Me", "myself", ALICE, "@alice", "alice@example.test", "Alice Adams"])
async def test_users_own_notes_are_found_by_every_usual_name(me: str, slack: World) -> None:
    notes = await slack.act("send_message", conversation=me, body="Buy milk")
    assert slack.channels[notes["conversation"]]["members"] == [ALICE]
    assert (await slack.act("get_messages", conversation=me))["items"][-1]["text"] == "Buy milk"
    assert (await slack.act("find_users", users=[me]))["items"][0]["id"] == ALICE
    await slack.act("search", query="e", from_=me)
    assert slack.wire.sent("assistant.search.context")[-1]["modifiers"] == f"from:<@{ALICE}>"
    await slack.act("list_files", by=me)
    assert slack.wire.sent("files.list")[-1]["user"] == ALICE


async def test_me_needs_no_people_scope_and_is_nobody_else() -> None:
    async with world("im:write", "chat:write") as alice:
        sent = await alice.act("send_message", conversation="me", body="x")
        assert alice.channels[sent["conversation"]]["members"] == [ALICE] and "users.list" not in alice.wire.methods()
    async with world() as alice:
        _twin(alice, display_name="me")
        assert (await alice.act("find_users", users=["me"]))["items"][0]["id"] == ALICE
        sent = await alice.act("send_message", conversation="me, @bob", body="x")
        assert sent["conversation"] == DM


async def test_all_unknown_people_are_named_with_similar_ones(slack: World) -> None:
    with pytest.raises(NotFound) as missed:
        await slack.act("manage_members", conversation="#eng", action="invite", users=["@bobb", "@decoyy", "@bob"])
    assert missed.value.message == 'users: "@bobb", "@decoyy" are not exactly one person.'
    assert BOB in missed.value.hint and "U0DECOY0000" in missed.value.hint


@pytest.mark.parametrize(
    "named", ["engineers", "@Engineers", "S0ENGINEERS", "<!subteam^S0ENGINEERS|@engineers>", "Eng Team"]
)
async def test_user_group_is_found_by_handle_id_or_name(named: str, slack: World) -> None:
    slack.sandbox._world.services["slack"]["usergroups"][0]["name"] = "Eng Team"
    assert (await slack.act("list_user_groups", group=named))["group"]["id"] == "S0ENGINEERS"
    with pytest.raises(NotFound) as missed:
        await slack.act("list_user_groups", group="engineer")
    assert "@engineers = S0ENGINEERS" in missed.value.hint
