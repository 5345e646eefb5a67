"""Refusals name the wrong value, and the valid ones; user input in them is cleaned."""

from __future__ import annotations

from typing import Any, Final

import pytest

from deputize.core.errors import DeputizeError
from tests.toolkits.slack_world import ENG, World

OWN: Final = {"conversation": ENG, "body": "x"}
REFUSED: Final[list[tuple[str, dict[str, Any], str, str]]] = [
    ("react", {"conversation": ENG, "ts": "1.000001", "emoji": "very nice"}, '"very nice" is no name', "thumbsup"),
    ("set_status", {"emoji": "\u202every nice"}, 'emoji: "very nice" is no name', "palm_tree"),
    ("set_status", {"snooze": "tomorrow"}, 'snooze: "tomorrow" is no duration', "45m"),
    ("set_status", {"snooze": "200h"}, "not 12000 minutes", ""),
    ("set_status", {"text": "x", "until": "2026-11-24T09:00"}, "this is 2026-11-24T09:00+01:00", ""),
    ("send_message", {**OWN, "send_at": "2026-11-24T09:00"}, "this is 2026-11-24T09:00+01:00", ""),
    ("send_message", {**OWN, "send_at": "soon"}, "send_at: not a point in time", "ISO date"),
    ("send_message", {**OWN, "broadcast": True}, "broadcast: only together with thread_ts", "see it anyway"),
    (
        "send_message",
        {"conversation": ENG, "blocks": [{"type": "poll"}]},
        'the type "poll" is not supported',
        "section",
    ),
    ("send_message", {"conversation": ENG, "blocks": [{}]}, "a block without a type is not supported", "section"),
    ("pin", {"conversation": ENG}, "exactly one of ts and url", "bookmarks a link"),
    ("update_message", {"conversation": ENG, "ts": "1.000001", "body": "x"}, "no message has this ts", "Copy ts"),
    ("search", {"query": " "}, "query: empty", "slack_get_messages"),
    ("list_conversations", {"joined": False, "types": ["dm"]}, "joined=false only lists channels", "joined=true"),
    ("manage_members", {"conversation": ENG, "action": "invite"}, "users: needed for action=invite", "join and leave"),
    ("write_canvas", {"body": "x", "mode": "replace"}, "mode: only together with canvas_id", "no old text"),
    ("get_messages", {"conversation": "@decoy"}, "so nothing to read", "begins with a message"),
]


@pytest.mark.parametrize(("tool", "arguments", "message", "hint"), REFUSED, ids=range(len(REFUSED)))
async def test_refusal_says_what_is_wrong_and_what_exists(
    tool: str, arguments: dict[str, Any], message: str, hint: str, slack: World
) -> None:
    before = slack.sandbox.service("slack")
    with pytest.raises(DeputizeError) as refused:
        await slack.act(tool, **arguments)
    assert message in refused.value.message and hint in refused.value.hint
    assert slack.sandbox.service("slack") == before
