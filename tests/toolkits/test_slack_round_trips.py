"""Texts read with Slack's tools are written back without loss, and refused if only a part was read."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import Call, Conflict, InvalidInput
from deputize.core.errors import OutcomeUnknown
from tests.toolkits.slack_world import ALICE, ENG, World, world

ODD = "\U0001f469\u200d\U0001f4bb 1\ufe0f\u20e3 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u65e5\u672c"
SAID = (
    f"Hi <@U0BOB000000> see <https://x.test/a?b=1&amp;c=2|the page>, &lt;b&gt; *bold* {ODD}\n> quoted\n```a &amp; b```"
)
WORDS = "\n".join(f"Line {n} of a report that no row shows whole: {ODD}" for n in range(90))


def stored(alice: World, ts: str) -> str:
    return str(next(one["text"] for one in alice.channels[ENG]["messages"] if one["ts"] == ts))


async def followed(alice: World, told: Any, name: str = "text") -> tuple[str, str]:
    """Return the whole text by ``more``, and its digest."""
    whole = ""
    while True:
        row = told["items"][0] if "items" in told else told
        whole += row[name]
        if "more" not in row:
            return whole, row["text_digest"]
        told = await alice.act("read_more", ref=row["more"])


async def test_long_message_is_replaced_only_with_its_digest(slack: World) -> None:
    ts = slack.put(ENG, WORDS, user=ALICE)
    where = {"conversation": ENG, "ts": ts}
    with pytest.raises(InvalidInput) as refused:
        await slack.act("update_message", **where, body="One line")
    assert refused.value.reason == "unread" and "slack_get_messages" in refused.value.hint
    whole, digest = await followed(slack, await slack.act("get_messages", **where))
    assert whole == WORDS
    with pytest.raises(Conflict):
        await slack.act("update_message", **where, body="One line", if_text="0" * 16)
    assert stored(slack, ts) == WORDS
    done = await slack.act("update_message", **where, body=f"{whole}\nOne line more", if_text=digest)
    assert stored(slack, ts) == f"{WORDS}\nOne line more" and "undo" not in done


async def test_appending_keeps_the_whole_message() -> None:
    for text in (SAID, WORDS):
        async with world() as alice:
            ts = alice.put(ENG, text, user=ALICE)
            await alice.act("update_message", conversation=ENG, ts=ts, body="**The end**, @bob", append=True)
            assert stored(alice, ts) == f"{text}\n\n*The end*, <@U0BOB000000>"
    async with world() as alice:
        ts = alice.put(ENG, "x", user=ALICE, blocks=[{"type": "section", "text": {"type": "mrkdwn", "text": "x"}}])
        with pytest.raises(InvalidInput, match="append"):
            await alice.act("update_message", conversation=ENG, ts=ts, body="y", append=True)


async def test_text_is_appended_once_when_the_answer_is_lost(slack: World) -> None:
    ts, call = slack.put(ENG, SAID, user=ALICE), Call("thread", "message", "one")
    slack.wire.say["chat.update"] = [OutcomeUnknown("lost")]
    for _ in range(2):
        try:
            await slack.act("update_message", call, conversation=ENG, ts=ts, body="Once.", append=True)
        except OutcomeUnknown:
            continue
    assert stored(slack, ts) == f"{SAID}\n\nOnce."


async def test_people_and_links_are_written_back_as_shown(slack: World) -> None:
    ts = slack.put(ENG, f"Hi <@U0BOB000000>, see <https://x.test/a?b=1&amp;c=2> {ODD}", user=ALICE)
    [row] = (await slack.act("get_messages", conversation=ENG, ts=ts))["items"]
    assert "@Bob Brown (U0BOB000000)" in row["text"]
    assert "more" not in row
    await slack.act("update_message", conversation=ENG, ts=ts, body=f"{row['text']} now")
    assert stored(slack, ts) == f"Hi <@U0BOB000000>, see <https://x.test/a?b=1&amp;c=2> {ODD} now"


@pytest.mark.parametrize("name", ["@Eve Evil (U0BOB000000)", "@Zoe Brown (U0NOBODY000)"])
async def test_id_not_belonging_to_its_name_is_no_mention(name: str, slack: World) -> None:
    sent = await slack.act("send_message", conversation=ENG, body=f"Hi {name}")
    assert "<@" not in stored(slack, sent["ts"]) and name.partition(" ")[2] in stored(slack, sent["ts"])


async def test_canvas_of_several_parts_is_replaced_only_with_its_digest(slack: World) -> None:
    text = "\n".join(f"Line {n}: {ODD}" for n in range(400))
    made = await slack.act("write_canvas", title="Report", body=text)
    canvas = {"canvas_id": made["canvas_id"], "mode": "replace"}
    with pytest.raises(InvalidInput) as refused:
        await slack.act("write_canvas", **canvas, body="New")
    assert refused.value.reason == "unread" and "slack_get_file" in refused.value.hint
    _, digest = await followed(slack, await slack.act("get_file", file_id=made["canvas_id"]))
    file = slack.sandbox._world.services["slack"]["files"][made["canvas_id"]]
    with pytest.raises(Conflict):
        await slack.act("write_canvas", **canvas, body="New", if_text="0" * 16)
    assert file["markdown"] == text
    await slack.act("write_canvas", canvas_id=made["canvas_id"], body="One line more")
    assert file["markdown"] == f"{text}\nOne line more"
    with pytest.raises(Conflict):
        await slack.act("write_canvas", **canvas, body="New", if_text=digest)
    _, digest = await followed(slack, await slack.act("get_file", file_id=made["canvas_id"]))
    await slack.act("write_canvas", **canvas, body="New", if_text=digest)
    assert file["markdown"] == "New"
    with pytest.raises(InvalidInput, match="if_text"):
        await slack.act("write_canvas", canvas_id=made["canvas_id"], body="x", if_text=digest)


@pytest.mark.parametrize(
    ("notation", "shown"),
    [
        ("*bold* and _leaning_ and ~gone~", "**bold** and _leaning_ and ~~gone~~"),
        ("*by <@U0BOB000000> today*", "**by @Bob Brown (U0BOB000000) today**"),
        ("`*code*` *a* ```x *y* ~z~```", "`*code*` **a** ```x *y* ~z~```"),
        ("2 * 3 * 4, *args and *kwargs, a*b*c, ~ 5 ~ 6", "2 * 3 * 4, *args and *kwargs, a*b*c, ~ 5 ~ 6"),
        ("<https://x.test/*a*>", "<https://x.test/*a*>"),
        ("*two\nlines*", "*two\nlines*"),
    ],
)
async def test_bold_text_becomes_bold_markdown(notation: str, shown: str, slack: World) -> None:
    ts = slack.put(ENG, notation, user=ALICE)
    [row] = (await slack.act("get_messages", conversation=ENG, ts=ts))["items"]
    assert row["text"] == shown


@pytest.mark.parametrize("size", ["short", "long"])
async def test_bold_markdown_is_written_back_as_bold(size: str) -> None:
    """One asterisk is bold in Slack's notation, and italic in Markdown."""
    line = "*Decided:* ship on _Friday_, ~not today~, says *<@U0BOB000000>*. "
    text = line.strip() if size == "short" else "\n".join(f"{n} {line.strip()}" for n in range(110))
    async with world() as alice:
        ts = alice.put(ENG, text, user=ALICE)
        whole, digest = (
            await followed(alice, await alice.act("get_messages", conversation=ENG, ts=ts))
            if size == "long"
            else ((await alice.act("get_messages", conversation=ENG, ts=ts))["items"][0]["text"], None)
        )
        more = {"if_text": digest} if digest else {}
        await alice.act("update_message", conversation=ENG, ts=ts, body=f"{whole}\nOne line more", **more)
        assert stored(alice, ts) == f"{text}\nOne line more"


@pytest.mark.parametrize("field", ["topic", "purpose"])
async def test_topic_is_read_whole_and_written_back_unchanged(field: str) -> None:
    """Slack accepts 250 characters, so every topic is read whole."""
    text = f"Runbook https://x.test/a?b=1 *now* {ODD} "
    text += "\u65e5" * (240 - len(text))
    async with world() as alice:
        channel = alice.sandbox._world.services["slack"]["channels"][ENG]
        channel[field] = text.replace("https://x.test/a?b=1", "<https://x.test/a?b=1>")
        row = next(one for one in (await alice.act("list_conversations"))["items"] if one["id"] == ENG)
        assert field == "purpose" or row["more"]
        told = await alice.act("get_conversation", conversation=ENG)
        assert told[field] == channel[field]
        await alice.act("update_channel", conversation=ENG, **{field: f"{told[field]} More"})
        assert channel[field] == f"{text} More"
