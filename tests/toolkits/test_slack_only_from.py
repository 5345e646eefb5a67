"""``trusted_authors = members``: a model reads nothing by guests, people of other workspaces and bots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from deputize.core.errors import DeputizeError
from deputize.toolkits.slack.trusted_authors import NO_MEMBER, QUOTED, UNKNOWN
from tests.support.lanes import some_and_all
from tests.toolkits.slack_calls import CASES, filled
from tests.toolkits.slack_world import BOB, ENG, World, world

EVIL = "EVILWORD"
LESSER: list[dict[str, Any]] = [
    {"is_restricted": True},
    {"is_ultra_restricted": True},
    {"is_stranger": True},
    {"team_id": "T0OTHER0001"},
    {"is_bot": True},
]


def lessen(one: World, **changes: Any) -> None:
    """Let Slack describe Bob with these fields, as a user who is no full member."""
    inner = one.wire.inner

    class Changed(type(inner)):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:
            answer = await inner.handle_async_request(request)
            body = await answer.aread()
            if "json" not in answer.headers.get("content-type", ""):
                return answer
            told = json.loads(body)
            users = [told["user"]] if isinstance(told.get("user"), dict) else told.get("members") or []
            for user in users:
                if isinstance(user, dict) and user.get("id") == BOB:
                    user |= changes
            return type(answer)(answer.status_code, json=told, request=request)

    one.wire.inner = Changed.__new__(Changed)


@pytest.mark.parametrize("changes", LESSER, ids=str)
async def test_non_member_is_named_by_id_and_not_read(changes: dict[str, Any]) -> None:
    async with world(trusted_authors="members") as alice:
        lessen(alice, **changes)
        alice.put(ENG, EVIL)
        alice.put(ENG, "Mine.", user="U0ALICE0000")
        told = await alice.act("get_messages", conversation="#eng")
        *_, theirs, mine = told["items"]
        assert theirs["withheld"] == NO_MEMBER and BOB in theirs["from"] and "text" not in theirs
        assert mine["text"] == "Mine." and "withheld" not in mine
        assert EVIL not in json.dumps(told) and "Bob" not in json.dumps(told) and told["texts_withheld"]


async def test_members_text_is_read_except_quotes_forwards_and_previews() -> None:
    async with world(trusted_authors="members") as alice:
        quote = {"type": "rich_text_quote", "elements": [{"type": "text", "text": EVIL}]}
        said = {"type": "rich_text_section", "elements": [{"type": "text", "text": "Look"}]}
        alice.put(ENG, "Look", blocks=[{"type": "rich_text", "elements": [said, quote]}])
        alice.put(ENG, f"Look\n&gt; {EVIL}\nno")
        alice.put(ENG, "Look", attachments=[{"text": EVIL, "is_share": True, "author_id": BOB}])
        rows = (await alice.act("get_messages", conversation="#eng"))["items"][-3:]
        assert EVIL not in json.dumps(rows)
        assert all("Look" in row["text"] and row["withheld"] == QUOTED for row in rows)


async def test_bot_without_user_and_unverifiable_author_are_withheld() -> None:
    async with world(trusted_authors="members") as alice:
        alice.put(ENG, EVIL, user="", bot_id="B0EVIL00001", subtype="bot_message", username=EVIL)
        told = (await alice.act("get_messages", conversation="#eng"))["items"][-1]
        assert told["withheld"] == NO_MEMBER and EVIL not in json.dumps(told)
    async with world("channels:history", "channels:read", trusted_authors="members") as alice:
        alice.put(ENG, EVIL)
        told = (await alice.act("get_messages", conversation=ENG))["items"][-1]
        assert told["withheld"] == UNKNOWN and EVIL not in json.dumps(told)


@pytest.mark.parametrize("cases", some_and_all(CASES, 8))
async def test_no_reading_call_reveals_a_non_members_text(cases: Sequence[Any]) -> None:
    for case in cases:
        async with world(*case.granted, trusted_authors="members") as alice:
            lessen(alice, is_stranger=True)
            store = alice.sandbox._world.services["slack"]
            store["profiles"][BOB] = {"title": EVIL, "display_name": EVIL, "status_text": EVIL}
            for row in [row for one in store["channels"].values() for row in one.get("messages", ())]:
                if row.get("user") == BOB:
                    row["text"] = f"{EVIL} {row['text']}"
            case.spoil(alice)
            try:
                told = json.dumps(await alice.act(case.tool, **(await filled(alice, case.arguments))))
            except DeputizeError as refused:
                told = f"{refused} {refused.hint}"
            assert EVIL not in told, case
    assert len(CASES) > 100
