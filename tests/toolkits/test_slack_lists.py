"""Lists: pages that fit, cursors that belong to one list, and results within their token budget."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits._shared.page import tokens
from deputize.toolkits.slack.api import Place
from tests.support.lanes import examples
from tests.toolkits.slack_world import ALICE, BOB, ENG, EVERYTHING, World, world

LISTS: dict[str, dict[str, Any]] = {
    "list_conversations": {"limit": 2},
    "get_messages": {"conversation": ENG, "limit": 4},
    "search": {"query": "word", "limit": 4},
    "find_users": {"limit": 2, "bots": True},
    "list_user_groups": {"limit": 3},
    "list_scheduled": {"limit": 3},
    "list_files": {"limit": 3},
}


def fill(alice: World, text: str = "word", count: int = 12) -> None:
    """Add much of everything."""
    store = alice.sandbox._world.services["slack"]
    for n in range(count):
        alice.put(ENG, f"{text} {n}")
        plan = {
            "id": f"Q0{n:07d}",
            "channel_id": ENG,
            "post_at": 1795540000 + n,
            "date_created": 1,
            "text": f"{text} {n}",
        }
        store.setdefault("scheduled", []).append(plan | {"user": ALICE})
        store["usergroups"].append({"id": f"S0{n:08d}", "handle": f"group{n}", "name": f"{text} {n}", "users": [BOB]})
        file = store["files"]["F0REPORT001"] | {"id": f"F0{n:08d}", "title": f"{text} {n}"}
        store["files"][file["id"]] = file


def ids(row: dict[str, Any]) -> str:
    return str(row.get("ts") or row.get("scheduled_id") or row.get("id"))


@pytest.mark.parametrize("tool", LISTS)
async def test_pages_together_are_the_whole_list_once(tool: str, slack: World) -> None:
    fill(slack)
    whole = await slack.act(tool, **LISTS[tool] | {"limit": 20})
    seen: list[str] = []
    cursor = None
    for _ in range(30):
        page = await slack.act(tool, **LISTS[tool], **({"cursor": cursor} if cursor else {}))
        rows = [ids(row) for row in page["items"]]
        assert len(rows) <= LISTS[tool]["limit"]
        seen += rows[::-1] if tool == "get_messages" else rows
        cursor = page["next"]
        if cursor is None:
            break
        assert len(cursor) <= 180
    assert cursor is None and len(seen) == len(set(seen))
    assert set(ids(row) for row in whole["items"]) == set(seen)


@pytest.mark.parametrize("tool", LISTS)
async def test_altered_or_foreign_cursor_is_refused_before_any_request(tool: str, slack: World) -> None:
    fill(slack)
    cursor = (await slack.act(tool, **LISTS[tool]))["next"]
    assert cursor
    foreign = [(await slack.act(other, **LISTS[other]))["next"] for other in LISTS if other != tool]
    altered = [cursor[:-1], cursor + "A", cursor[::-1], "x", "A" * 200, cursor.swapcase(), "\u202e", ""][:-1]
    count = len(slack.wire.seen)
    for wrong in [*foreign, *altered]:
        with pytest.raises(InvalidInput) as refused:
            await slack.act(tool, **LISTS[tool], cursor=wrong)
        assert refused.value.message.startswith("cursor")
    assert len(slack.wire.seen) == count


async def test_cursor_is_bound_to_its_filters_and_account(slack: World) -> None:
    fill(slack)
    slack.give(EVERYTHING, "bob")
    cursor = (await slack.act("search", query="word", limit=4))["next"]
    for changed in ({"query": "words"}, {"sort": "newest"}, {"types": ["private"]}, {"after": "-1d"}):
        with pytest.raises(InvalidInput):
            await slack.act("search", **{"query": "word", "limit": 4, "cursor": cursor, **changed})
    with pytest.raises(InvalidInput):
        await slack.act("search", as_="bob", query="word", limit=4, cursor=cursor)
    again = [await slack.act("search", query="word", limit=4, cursor=cursor) for _ in range(2)]
    assert again[0] == again[1]  # replayed, it is the same page


@settings(max_examples=examples(200), deadline=None)
@given(st.text(max_size=300))
def test_arbitrary_text_is_not_a_cursor(text: str) -> None:
    if text:
        with pytest.raises(InvalidInput):
            Place.of(("slack_search", "subject"), text, 20, 0)


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(0, 500), st.integers(0, 60), st.text("abcdef0123456789=:", max_size=60), st.integers(1, 200))
def test_position_survives_its_cursor(done: int, rows: int, token: str, limit: int) -> None:
    place = Place(("t", 1), "", 0, limit, 7)
    cursor = place.after(done, rows, token, limit)
    if cursor is None:
        assert done >= rows and not token
        return
    assert len(cursor) <= 180
    found = Place.of(("t", 1), cursor, limit, 99)
    assert (found.token, found.skip) == (("", done) if done < rows else (token, 0)) and found.since == 7


LONG = {
    "latin": "Quarterly numbers and what they mean for all of us in the coming year ",
    "german": "Übergrößenträger müssen Gebühren für Änderungen ",
    "chinese": "季度数据及其对我们所有人的意义",
    "emoji": "🎉🚀👩\u200d🚀",
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("get_messages", {"conversation": ENG, "limit": 100}),
        ("search", {"query": " ", "limit": 20}),
        ("list_files", {"limit": 100}),
        ("list_scheduled", {"limit": 100}),
        ("get_conversation", {"conversation": ENG, "include": ["members", "pins", "bookmarks"]}),
        ("get_file", {"file_id": "F0LONG00001"}),
    ],
)
async def test_result_has_at_most_4000_tokens(tool: str, arguments: dict[str, Any], text: str, slack: World) -> None:
    await crowd(slack, text)
    given = {**arguments, **({"query": text.split()[0].strip()} if tool == "search" else {})}
    result = await slack.act(tool, **given)
    assert tokens(result) <= 4_000
    if tool in ("get_messages", "list_files", "list_scheduled"):
        assert result["truncated"] or result["next"] is None
        assert bool(result["next"]) == result["truncated"] or result["next"]
    if tool == "get_file":
        assert result["next_offset"] and result["total_chars"] == len(book(text))
        more = await slack.act(tool, file_id="F0LONG00001", offset=result["next_offset"])
        assert more["text"] != result["text"] and "handle" not in more


def book(text: str) -> str:
    """Return a long text in which no two pages are the same."""
    return "".join(f"{text}{n}" for n in range(900))


async def crowd(alice: World, text: str) -> None:
    """Add names, texts and files of maximum length."""
    fill(alice, text * 30, 60)
    store = alice.sandbox._world.services["slack"]
    channel = store["channels"][ENG] | {"topic": text * 9, "purpose": text * 9}
    channel["members"] = [ALICE, BOB]
    channel["pins"] = [row["ts"] for row in channel["messages"]]
    channel["bookmarks"] = [{"id": f"Bk{n}", "title": text * 3, "link": f"https://x.test/{n}"} for n in range(60)]
    store["channels"][ENG] = channel
    for user in (ALICE, BOB):
        store["profiles"][user] = {"real_name": text * 2, "title": text * 3, "status_text": text}
    content = base64.b64encode(book(text).encode()).decode()
    store["files"]["F0LONG00001"] = store["files"]["F0REPORT001"] | {
        "id": "F0LONG00001",
        "name": text * 4,
        "mimetype": "text/plain",
        "content": content,
    }


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
async def test_rows_and_details_keep_to_their_share(text: str, slack: World) -> None:
    await crowd(slack, text)
    limits = {"list_conversations": 150, "find_users": 220, "list_files": 260, "list_scheduled": 300}
    for tool, most in limits.items():
        rows = (await slack.act(tool))["items"]
        assert max(tokens(row) for row in rows) <= most, tool
    rows = (await slack.act("get_messages", conversation=ENG))["items"]
    assert max(tokens(row) for row in rows) <= 340


async def test_ordinary_rows_and_write_results_are_small(slack: World) -> None:
    rows = (await slack.act("get_messages", conversation="#eng"))["items"]
    assert max(tokens(row) for row in rows) <= 90
    found = (await slack.act("search", query="deploy"))["items"]
    assert max(tokens(row) for row in found) <= 150
    assert tokens((await slack.act("find_users", users=["@bob"]))["items"][0]) <= 80
    sent = await slack.act("send_message", conversation="#eng", body="Hello")
    planned = await slack.act("send_message", conversation="#eng", body="Hello", send_at="+1h")
    assert tokens(sent) <= 100 and tokens(planned) <= 120
    assert tokens(await slack.act("get_conversation", conversation="#eng")) <= 200


PARAGRAPHS: Final = {
    "latin": "many words & <b>names</b>,\n\n- of things\n" * 80,
    "cyrillic": "привет, этот новый\nдень " * 400,  # noqa: RUF001
    "japanese": "障害報告です\n" * 1_500,
}


@pytest.mark.parametrize(("script", "least"), [("latin", 400), ("cyrillic", 400), ("japanese", 200)])
async def test_long_message_is_cut_in_a_list_and_whole_alone(script: str, least: int) -> None:
    words = PARAGRAPHS[script]
    async with world() as alice:
        text = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") + "<@U0BOB000000>"
        ts = alice.put(ENG, text)
        row = (await alice.act("get_messages", conversation=ENG))["items"][-1]
        assert least <= len(row["text"]) <= 501 and row["cut"] is True and row["text"].endswith("\u2026")
        assert "\n" in row["text"] and words.startswith(row["text"][:-1])
        link = f"https://acme.slack.com/archives/{ENG}/p{ts.replace('.', '')}"
        for named in ({"conversation": link}, {"conversation": "#eng", "ts": ts}):
            read, offset = "", 0
            while offset is not None:
                [alone] = (await alice.act("get_messages", **named, offset=offset))["items"]
                read, offset = read + alone["text"], alone.get("next_offset")
                assert "cut" not in alone and tokens(alone) <= 3_600
            assert read == words + "@Bob Brown (U0BOB000000)"


async def test_thread_reply_is_read_alone_and_an_unknown_ts_reported(slack: World) -> None:
    parent = slack.channels[ENG]["messages"][0]["ts"]
    answer = slack.put(ENG, "in the thread", thread_ts=parent)
    [row] = (await slack.act("get_messages", conversation=ENG, ts=answer))["items"]
    assert row["text"] == "in the thread" and row["thread_ts"] == parent
    with pytest.raises(NotFound, match="no message has this ts"):
        await slack.act("get_messages", conversation=ENG, ts="1.000001")
    for wrong in ({"ts": answer, "thread_ts": parent}, {"ts": answer, "after": "-1d"}, {"offset": 5}):
        with pytest.raises(InvalidInput):
            await slack.act("get_messages", conversation=ENG, **wrong)


async def test_scheduled_message_is_read_whole_by_its_id(slack: World) -> None:
    words = "first line\n" + "many words " * 300
    planned = await slack.act("send_message", conversation=ENG, body=words, send_at="+1h")
    [row] = (await slack.act("list_scheduled"))["items"]
    assert row["cut"] is True and row["text"].startswith("first line\nmany")
    one = {"scheduled_id": planned["scheduled_id"]}
    [alone] = (await slack.act("list_scheduled", **one))["items"]
    assert alone["text"] == words.strip() and "cut" not in alone
    [rest] = (await slack.act("list_scheduled", **one, offset=11))["items"]
    assert rest["text"] == words.strip()[11:]
    with pytest.raises(NotFound):
        await slack.act("list_scheduled", scheduled_id="Q0NONE")
    for wrong in ({"offset": 3}, {"offset": 3, **one, "cursor": "x"}):
        with pytest.raises(InvalidInput):
            await slack.act("list_scheduled", **wrong)


async def test_join_messages_are_hidden_and_windows_are_half_open(slack: World) -> None:
    slack.put(ENG, "Bob has joined", subtype="channel_join")
    texts = [row["text"] for row in (await slack.act("get_messages", conversation=ENG))["items"]]
    assert "Bob has joined" not in texts and len(texts) == 3
    first = slack.channels[ENG]["messages"][1]
    at = "2026-11-23T13:00:00Z"
    assert first["text"] == "Looking into it."
    later = (await slack.act("get_messages", conversation=ENG, after=at))["items"]
    earlier = (await slack.act("get_messages", conversation=ENG, before=at))["items"]
    assert first["text"] in [row["text"] for row in later] and len(later) + len(earlier) == 3
    answer = slack.put(ENG, "an answer", thread_ts=first["ts"])
    thread = {"conversation": ENG, "thread_ts": first["ts"]}
    assert answer.startswith("1795528800.")
    for before, count in (("2026-11-24T14:00:00Z", 1), ("2026-11-24T14:00:01Z", 2)):
        assert len((await slack.act("get_messages", **thread, before=before))["items"]) == count
    with pytest.raises(InvalidInput):
        await slack.act("get_messages", conversation=ENG, after="now", before="-1d")


async def test_group_members_are_paged_by_cursor(slack: World) -> None:
    people = [BOB, ALICE, *(f"U0GONE{n:05d}" for n in range(5))]
    slack.sandbox._world.services["slack"]["usergroups"][0]["users"] = people
    seen, cursor = list[str](), None
    while not seen or cursor:
        more: dict[str, Any] = {"cursor": cursor} if cursor else {}
        page = await slack.act("list_user_groups", group="@engineers", limit=3, **more)
        seen, cursor = seen + [row["id"] for row in page["items"]], page["next"]
        assert page["total"] == 7
    assert seen == people


@pytest.mark.parametrize(
    ("scopes", "asked", "left"),
    [
        (EVERYTHING, {}, ["private", "group_dm", "dm"]),
        (EVERYTHING, {"types": ["public", "private", "dm"]}, ["group_dm"]),
        (EVERYTHING, {"types": ["public", "private", "dm", "group_dm"]}, None),
        (EVERYTHING, {"kinds": ["channels"]}, ["private"]),
        (EVERYTHING, {"kinds": ["users"]}, None),
        (EVERYTHING, {"conversation": "#eng"}, None),
        (
            {"search:read.public", "search:read.dm", "search:read.im"},
            {},
            ["private (not granted yet)", "group_dm (not granted yet)", "dm"],
        ),
        ({"search:read"}, {}, None),
    ],
)
async def test_search_says_where_it_did_not_look(scopes: set[str], asked: dict[str, Any], left: Any) -> None:
    async with world(*(scopes & (EVERYTHING | {"search:read"}))) as alice:
        assert (await alice.act("search", query="deploy", **asked)).get("not_searched") == left


async def test_omitted_rows_and_values_are_counted(slack: World) -> None:
    slack.put(ENG, "Bob has joined", subtype="channel_join")
    emoji = [{"name": f"e{n}", "users": [BOB], "count": 1} for n in range(14)]
    slack.put(ENG, "much liked", reactions=emoji)
    found = await slack.act("get_messages", conversation=ENG)
    assert found["joins_and_renames_left_out"] == 1
    assert found["items"][-1]["reactions"].endswith("e11:1 and 2 more")


async def test_timestamp_is_never_a_number(slack: World) -> None:
    store = slack.sandbox._world.services["slack"]
    for ts in ("1795528800.100000", "1795528800.000010", "1795528801.999999"):
        store["channels"][ENG]["messages"].append({"type": "message", "user": BOB, "text": ts, "ts": ts})
    rows = (await slack.act("get_messages", conversation=ENG))["items"]
    assert all(row["ts"] == row["text"] for row in rows[-3:])
    assert json.loads(json.dumps(rows[-3]["ts"])) == "1795528800.100000"


async def test_short_page_of_a_limited_app_says_how_long_to_wait(slack: World) -> None:
    said = [{"type": "message", "user": BOB, "text": str(n), "ts": f"1795528{n:03d}.000000"} for n in range(15)]
    answer = {"ok": True, "messages": said, "has_more": True, "response_metadata": {"next_cursor": "bmV4dA=="}}
    slack.wire.say["conversations.history"] = [answer]
    result = await slack.act("get_messages", conversation=ENG, limit=50)
    assert result["wait_s"] == 60 and result["next"] and slack.wire.methods().count("conversations.history") == 1


async def test_window_contains_only_its_messages(slack: World) -> None:
    said = [{"type": "message", "user": BOB, "text": str(n), "ts": f"{1795528800 + n}.000000"} for n in range(4)]
    slack.wire.say["conversations.replies"] = [{"ok": True, "messages": said}]
    window = {"after": "2026-11-24T14:00:01Z", "before": "2026-11-24T14:00:03Z"}
    thread = {"conversation": ENG, "thread_ts": said[0]["ts"]}
    rows = (await slack.act("get_messages", **thread, **window))["items"]
    assert [row["text"] for row in rows] == ["1", "2"]
