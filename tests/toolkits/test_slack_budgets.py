"""The token cost of Slack's tools: definitions and ordinary results, counted by the tokenizer of the o200k family."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from deputize.core import Effect
from deputize.toolkits.slack import TOOLKIT
from tests.counterparts.test_token_budgets import counted
from tests.toolkits.slack_calls import filled
from tests.toolkits.slack_world import World, world

ROW: Final = 80
DETAIL: Final = 600
WRITE: Final = 100


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize(
    ("tool", "arguments", "effect"),
    [
        ("send_message", {"conversation": "x", "body": "x"}, Effect.SENDS),
        ("update_message", {"conversation": "x", "ts": "1.1", "body": "x"}, Effect.WRITES | Effect.SENDS),
        ("delete_message", {"conversation": "x", "ts": "1.1"}, Effect.DESTRUCTIVE),
        ("react", {"conversation": "x", "ts": "1.1", "emoji": "x"}, Effect.WRITES | Effect.SENDS),
        ("create_channel", {"name": "x"}, Effect.WRITES | Effect.SENDS),
        ("create_channel", {"name": "x", "invite": ["@bob"]}, Effect.WRITES | Effect.SENDS),
        ("update_channel", {"conversation": "x", "topic": "x"}, Effect.WRITES | Effect.SENDS),
        ("update_channel", {"conversation": "x", "archived": True}, Effect.SENDS | Effect.DESTRUCTIVE),
        ("update_channel", {"conversation": "x", "archived": False}, Effect.WRITES | Effect.SENDS),
        ("manage_members", {"conversation": "x", "action": "invite", "users": ["@bob"]}, Effect.SENDS),
        ("manage_members", {"conversation": "x", "action": "remove", "users": ["@bob"]}, Effect.DESTRUCTIVE),
        ("manage_members", {"conversation": "x", "action": "leave"}, Effect.DESTRUCTIVE),
        ("manage_members", {"conversation": "x", "action": "join"}, Effect.SENDS),
        ("pin", {"conversation": "x", "ts": "1.1"}, Effect.WRITES | Effect.SENDS),
        ("pin", {"conversation": "x", "url": "https://x.test", "title": "x"}, Effect.WRITES | Effect.SENDS),
        ("upload_file", {"conversation": "x", "attachments": ["file_x"]}, Effect.SENDS),
        ("mark_read", {"conversation": "x"}, Effect.WRITES),
        ("set_status", {"text": "x"}, Effect.WRITES | Effect.SENDS),
        ("set_status", {"emoji": ""}, Effect.WRITES | Effect.SENDS),
        ("set_status", {"snooze": "1h", "presence": "away"}, Effect.WRITES),
        ("write_canvas", {"body": "x"}, Effect.WRITES),
        ("write_canvas", {"body": "x", "conversation": "x"}, Effect.WRITES | Effect.SENDS),
        ("write_canvas", {"body": "x", "canvas_id": "F1"}, Effect.WRITES | Effect.SENDS),
        (
            "write_canvas",
            {"body": "x", "canvas_id": "F1", "mode": "replace"},
            Effect.WRITES | Effect.DESTRUCTIVE | Effect.SENDS,
        ),
    ],
)
def test_effect_of_a_call_depends_on_its_arguments(tool: str, arguments: dict[str, Any], effect: Effect) -> None:
    one = TOOLKIT.tools[f"slack_{tool}"]
    assert one.effect_of(one.validate(arguments)) == effect
    assert effect in one.gravest


def test_remaining_tools_only_read() -> None:
    reading = {name.removeprefix("slack_") for name, tool in TOOLKIT.tools.items() if tool.gravest is Effect.READS}
    assert reading == {
        *("whoami", "list_conversations", "get_conversation", "get_messages", "search", "find_users"),
        *("list_user_groups", "list_scheduled", "list_files", "get_file"),
    }


ELSEWHERE: Final = {  # what these actions are called in other toolkits
    "PostMessage": "send_message",
    "SendMessage": "send_message",
    "WhoAmI": "whoami",
    "ListConversations": "list_conversations",
    "GetConversationMetadata": "get_conversation",
    "GetUsersInConversation": "get_conversation",
    "GetMessages": "get_messages",
    "GetThreadMessages": "get_messages",
    "GetUsersInfo": "find_users",
    "ListUsers": "find_users",
    "InviteUsersToChannel": "manage_members",
}


def test_aliases_of_other_toolkits_name_one_tool_each() -> None:
    aliases = {alias.name: name for name, tool in TOOLKIT.tools.items() for alias in tool.aliases}
    assert aliases == {f"Slack.{name}": f"slack_{tool}" for name, tool in ELSEWHERE.items()}


LISTED: Final[dict[str, tuple[int, dict[str, Any]]]] = {
    "list_conversations": (ROW, {}),
    "get_messages": (ROW, {"conversation": "#eng"}),
    "find_users": (ROW, {}),
    "search": (ROW + 30, {"query": "deploy"}),
    "list_files": (ROW + 30, {}),
}
WHOLE: Final[dict[str, tuple[int, dict[str, Any]]]] = {
    "get_conversation": (DETAIL, {"conversation": "#eng", "include": ["members"]}),
    "get_file": (DETAIL, {"file_id": "F0REPORT001"}),
    "whoami": (DETAIL, {}),
    "send_message": (WRITE, {"conversation": "#eng", "body": "Hello"}),
    "react": (WRITE, {"conversation": "#eng", "ts": "{other}", "emoji": "eyes"}),
    "create_channel": (WRITE, {"name": "plans"}),
    "manage_members": (WRITE, {"conversation": "#eng", "action": "invite", "users": ["@decoy"]}),
    "set_status": (WRITE, {"text": "Away"}),
    "mark_read": (WRITE, {"conversation": "#eng"}),
}


async def _results(alice: World) -> dict[str, tuple[int, Any]]:
    """Return ordinary rows, details and results of writes, each with its budget."""
    found: dict[str, tuple[int, Any]] = {}
    for tool, (most, arguments) in LISTED.items():
        rows = (await alice.act(tool, **arguments))["items"]
        found |= {f"{tool} {n}": (most, row) for n, row in enumerate(rows)}
    for tool, (most, arguments) in WHOLE.items():
        found[tool] = (most, await alice.act(tool, **await filled(alice, arguments)))
    return found


@pytest.mark.counterpart
async def test_ordinary_results_stay_within_budgets(capsys: pytest.CaptureFixture[str]) -> None:
    async with world() as alice:
        results = await _results(alice)
    costs = counted([compact(value) for _, value in results.values()])
    over = {name: cost for (name, (most, _)), cost in zip(results.items(), costs, strict=True) if cost > most}
    with capsys.disabled():
        print("\n" + ", ".join(f"{name} {cost}" for name, cost in zip(results, costs, strict=True)))
    assert not over
