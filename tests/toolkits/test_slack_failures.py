"""The classification of Slack's refusals that are not in tests/core/failures/rows.json, and of no-op errors."""

from __future__ import annotations

from typing import Any, Final

import httpx
import pytest

from deputize.core import Call
from deputize.core.errors import (
    Conflict,
    DeputizeError,
    InvalidInput,
    OrgBlocked,
    OutcomeUnknown,
)
from tests.toolkits.slack_world import ENG, World


def error(name: str, **more: Any) -> dict[str, Any]:
    return {"ok": False, "error": name, **more}


LOGIN: Final = httpx.Response(200, text="<html>login</html>")


@pytest.mark.parametrize(
    ("tool", "method", "said", "kind"),
    [
        ("get_messages", "conversations.history", error("invalid_cursor"), InvalidInput),
        ("get_messages", "conversations.history", error("brand_new_error"), InvalidInput),
        ("send_message", "chat.postMessage", error("restricted_action_read_only_channel"), OrgBlocked),
        ("send_message", "chat.postMessage", LOGIN, OutcomeUnknown),
    ],
)
async def test_unlisted_slack_refusal_is_an_error_and_sends_nothing(
    tool: str, method: str, said: Any, kind: type[DeputizeError], slack: World
) -> None:
    slack.wire.say[method] = [said]
    with pytest.raises(kind):
        await slack.act(tool, conversation=ENG, **({"body": "Once"} if tool == "send_message" else {}))
    assert "Once" not in slack.texts(ENG)


@pytest.mark.parametrize(
    ("tool", "arguments", "method", "said"),
    [
        ("react", {"ts": "{ts}", "emoji": "eyes"}, "reactions.add", "already_reacted"),
        ("react", {"ts": "{ts}", "emoji": "eyes", "remove": True}, "reactions.remove", "no_reaction"),
        ("pin", {"ts": "{ts}"}, "pins.add", "already_pinned"),
        ("pin", {"ts": "{ts}", "remove": True}, "pins.remove", "no_pin"),
        ("update_channel", {"archived": True}, "conversations.archive", "already_archived"),
        ("update_channel", {"archived": False}, "conversations.unarchive", "not_archived"),
        ("manage_members", {"action": "invite", "users": ["@decoy"]}, "conversations.invite", "already_in_channel"),
        ("delete_message", {"ts": "{ts}"}, "chat.delete", "message_not_found"),
        ("delete_message", {"scheduled_id": "Q1"}, "chat.deleteScheduledMessage", "invalid_scheduled_message_id"),
    ],
)
async def test_already_reached_state_is_success(
    tool: str, arguments: dict[str, Any], method: str, said: str, slack: World
) -> None:
    ts = slack.channels[ENG]["messages"][0]["ts"]
    given = {name: ts if value == "{ts}" else value for name, value in arguments.items()}
    slack.wire.say[method] = [error(said)]
    result = await slack.act(tool, conversation=ENG, **given)
    assert "failed" not in result and ("undo" not in result or tool == "update_channel")


async def test_ended_snooze_counts_as_ended(slack: World) -> None:
    assert await slack.act("set_status", snooze="0") == {"snooze_until": "ended"}
    assert (await slack.act("set_status", snooze="1h30m"))["snooze_until"] == "2026-11-24T15:30:00+00:00"
    for wrong in ("", "soon", "-5m", "999h"):
        with pytest.raises(InvalidInput):
            await slack.act("set_status", snooze=wrong)


async def test_partly_done_change_says_which_part(slack: World) -> None:
    slack.wire.say["conversations.setPurpose"] = [error("too_long")]
    changed = await slack.act("update_channel", conversation=ENG, topic="New", purpose="x")
    assert changed["changed"] == ["topic"] and changed["failed"][0]["change"] == "purpose"
    assert changed["undo"]["args"] == {"conversation": ENG, "topic": "Engineering"}
    slack.wire.say["conversations.setTopic"] = [error("too_long")]
    with pytest.raises(InvalidInput):
        await slack.act("update_channel", conversation=ENG, topic="Newer")


async def test_uninvited_people_are_named_and_the_others_are_in(slack: World) -> None:
    slack.wire.say["conversations.invite"] = [error("user_is_restricted"), error("user_is_restricted")]
    with pytest.raises(OrgBlocked):
        await slack.act("manage_members", conversation=ENG, action="invite", users=["@decoy"])
    slack.wire.say["conversations.invite"] = [error("cant_invite_self"), error("user_not_found")]
    users = ["U0DECOY0000", "U0BOB000000"]
    result = await slack.act("manage_members", conversation=ENG, action="invite", users=users)
    assert result["done"] == ["U0BOB000000"] and result["failed"][0]["user"] == "U0DECOY0000"


async def test_channel_with_a_taken_name_is_returned_only_if_this_act_created_it(slack: World) -> None:
    with pytest.raises(Conflict):
        await slack.act("create_channel", name="eng")
    call = Call("t", "m", "c")
    slack.wire.say["conversations.create"] = [httpx.ReadError("lost")]
    made = await slack.act("create_channel", call, name="Fresh")
    assert made["name"] == "fresh" and [c["name"] for c in slack.channels.values()].count("fresh") == 1
