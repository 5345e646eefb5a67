"""Texts cut by Slack's tools are read to their end by following ``more`` from result to result."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core.errors import NotFound
from tests.toolkits.slack_world import BOB, ENG, World

WORDS = "".join(f"Line {n} of a report that is far too long for one row, {n * n}.\n" for n in range(400))


def solid(text: str) -> str:
    """Return a text without spaces: those before an ellipsis are not shown."""
    return "".join(text.split())


async def followed(alice: World, told: dict[str, Any]) -> str:
    """Return the whole text that a row with ``more`` begins, without spaces."""
    read = str(told["text"])[:-1]  # without the ellipsis
    while "more" in told:
        assert "\u2026" not in told["more"] and len(told["more"]) < 160
        answer = await alice.act("read_more", ref=told["more"])
        told = answer["items"][0] if "items" in answer else answer
        read += told["text"]
    return solid(read)


async def test_list_row_continues_where_it_was_cut(slack: World) -> None:
    ts = slack.put(ENG, WORDS)
    row = (await slack.act("get_messages", conversation="#eng"))["items"][-1]
    assert row["cut"] is True and await followed(slack, row) == solid(WORDS)
    thread = slack.put(ENG, WORDS, thread_ts=ts)
    answer = (await slack.act("get_messages", conversation=ENG, thread_ts=ts))["items"][-1]
    assert answer["ts"] == thread and await followed(slack, answer) == solid(WORDS)


async def test_found_pinned_or_scheduled_texts_continue_too(slack: World) -> None:
    ts = slack.put(ENG, WORDS)
    slack.channels[ENG]["pins"] = [ts]
    slack.sandbox._world.services["slack"]["channels"][ENG]["pins"] = [ts]
    [found] = (await slack.act("search", query="report"))["items"]
    [pinned] = (await slack.act("get_conversation", conversation="#eng", include=["pins"]))["pins"]
    await slack.act("send_message", conversation=ENG, body=WORDS[:9_000], send_at="+1h")
    [planned] = (await slack.act("list_scheduled"))["items"]
    assert [await followed(slack, one) for one in (found, pinned)] == [solid(WORDS)] * 2
    assert await followed(slack, planned) == solid(WORDS[:9_000])


async def test_file_text_and_topic_are_read_whole(slack: World) -> None:
    made = await slack.act("write_canvas", title="Report", body=WORDS)
    told = await slack.act("get_file", file_id=made["canvas_id"])
    first = told["text"]
    assert "more" in told
    rest = await followed(slack, told | {"text": "\u2026"})
    assert solid(first) + rest == solid(WORDS)
    topic = "\u30c8\u30d4\u30c3\u30af" * 60
    slack.sandbox._world.services["slack"]["channels"][ENG] |= {"topic": f"a &amp; b {topic}", "purpose": topic}
    row = next(one for one in (await slack.act("list_conversations"))["items"] if one["id"] == ENG)
    assert row["topic"].startswith("a & b ")
    whole = await slack.act("read_more", ref=row["more"])
    assert whole["topic"] == f"a & b {topic}" and whole["purpose"] == topic


async def test_short_text_has_no_continuation_and_a_continuation_is_its_users(slack: World) -> None:
    slack.put(ENG, "short", BOB)
    assert "more" not in (await slack.act("get_messages", conversation=ENG))["items"][-1]
    ts = slack.put(ENG, WORDS)
    row = (await slack.act("get_messages", conversation=ENG))["items"][-1]
    store = slack.sandbox._world.services["slack"]["channels"][ENG]
    store["messages"] = [one for one in store["messages"] if one["ts"] != ts]
    with pytest.raises(NotFound, match="no message has this ts"):
        await slack.act("read_more", ref=row["more"])
