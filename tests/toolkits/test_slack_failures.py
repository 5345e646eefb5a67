"""What Slack's refusals become, through one tool that reads and one that writes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from deputize.core import Call
from deputize.core.errors import (
    Conflict,
    ConsentRequired,
    DeputizeError,
    InvalidInput,
    NotFound,
    OrgBlocked,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
    ReconsentRequired,
)
from tests.toolkits.slack_world import ENG, EVERYTHING, world

LIMITED = httpx.Response(429, headers={"Retry-After": "45"}, json={"ok": False, "error": "ratelimited"})
PAGE = httpx.Response(503, text="<html>down</html>")


def error(name: str, **more: Any) -> dict[str, Any]:
    return {"ok": False, "error": name, **more}


READS: dict[str, tuple[Any, type[DeputizeError]]] = {
    "token_expired without a refresh token": (error("token_expired"), ReconsentRequired),
    "invalid_auth": (error("invalid_auth"), ReconsentRequired),
    "token_revoked": (error("token_revoked"), ReconsentRequired),
    "account_inactive": (error("account_inactive"), ReconsentRequired),
    "not_authed": (error("not_authed"), InvalidInput),
    "missing_scope": (error("missing_scope", needed="groups:history", provided="chat:write"), ConsentRequired),
    "429": (LIMITED, RateLimited),
    "200 rate_limited": (error("rate_limited"), RateLimited),
    "team_access_not_granted": (error("team_access_not_granted"), OrgBlocked),
    "org_login_required": (error("org_login_required"), OrgBlocked),
    "enterprise_is_restricted": (error("enterprise_is_restricted"), OrgBlocked),
    "ekm_access_denied": (error("ekm_access_denied"), OrgBlocked),
    "channel_not_found": (error("channel_not_found"), NotFound),
    "not_in_channel": (error("not_in_channel"), NotFound),
    "internal_error": (error("internal_error"), ProviderUnavailable),
    "a page instead of an answer": (PAGE, ProviderUnavailable),
    "invalid_cursor": (error("invalid_cursor"), InvalidInput),
    "a name nobody knows": (error("brand_new_error"), InvalidInput),
}
WRITES: dict[str, tuple[Any, type[DeputizeError]]] = {
    "token_revoked": (error("token_revoked"), ReconsentRequired),
    "missing_scope": (error("missing_scope", needed="chat:write", provided="users:read"), ConsentRequired),
    "429": (LIMITED, RateLimited),
    "rate_limited": (error("rate_limited"), RateLimited),
    "restricted_action": (error("restricted_action"), OrgBlocked),
    "restricted_action_read_only_channel": (error("restricted_action_read_only_channel"), OrgBlocked),
    "channel_not_found": (error("channel_not_found"), NotFound),
    "not_in_channel": (error("not_in_channel"), NotFound),
    "is_archived": (error("is_archived"), InvalidInput),
    "msg_too_long": (error("msg_too_long"), InvalidInput),
    "fatal_error": (error("fatal_error"), OutcomeUnknown),
    "503": (PAGE, OutcomeUnknown),
    "a page with 200": (httpx.Response(200, text="<html>login</html>"), OutcomeUnknown),
}


def again(said: Any) -> Any:
    """A fresh response: httpx's are read once."""
    return (
        httpx.Response(said.status_code, headers=said.headers, content=said.content)
        if isinstance(said, httpx.Response)
        else said
    )


@pytest.mark.parametrize("row", READS)
async def test_a_refused_read_becomes_the_error_that_says_what_to_do(row: str) -> None:
    said, kind = READS[row]
    async with world() as alice:
        alice.wire.say["conversations.history"] = [again(said) for _ in range(5)]
        with pytest.raises(DeputizeError) as failed:
            await alice.act("get_messages", conversation=ENG)
        assert isinstance(failed.value, kind)
        assert failed.value.hint or kind in (NotFound, InvalidInput, RateLimited, OrgBlocked)


@pytest.mark.parametrize("row", WRITES)
async def test_a_refused_write_becomes_the_error_that_says_what_to_do_and_sends_nothing(row: str) -> None:
    said, kind = WRITES[row]
    async with world() as alice:
        alice.wire.say["chat.postMessage"] = [again(said) for _ in range(5)]
        with pytest.raises(DeputizeError) as failed:
            await alice.act("send_message", Call("t", "m", "c"), conversation=ENG, body="Once")
        assert isinstance(failed.value, kind)
        assert "Once" not in alice.texts(ENG)


async def test_a_limit_that_is_short_is_waited_for() -> None:
    async with world() as alice:
        limited = httpx.Response(429, headers={"Retry-After": "3"}, json=error("ratelimited"))
        alice.wire.say["conversations.history"] = [limited]
        assert (await alice.act("get_messages", conversation=ENG))["items"]


async def test_a_request_that_slack_says_it_did_not_get_is_sent_again() -> None:
    async with world() as alice:
        alice.wire.say["chat.postMessage"] = [error("request_timeout")]
        await alice.act("send_message", conversation=ENG, body="Once")
        assert alice.texts(ENG).count("Once") == 1


async def test_a_scope_that_slack_names_is_asked_for_once_by_that_name() -> None:
    async with world(*(EVERYTHING - {"groups:history"})) as alice:
        alice.wire.say["conversations.history"] = [error("missing_scope", needed="groups:history")]
        with pytest.raises(ConsentRequired) as asked:
            await alice.act("get_messages", conversation=ENG)
        assert asked.value.consent.scopes == ("groups:history",)


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
async def test_what_is_so_already_is_done(tool: str, arguments: dict[str, Any], method: str, said: str) -> None:
    async with world() as alice:
        ts = alice.channels[ENG]["messages"][0]["ts"]
        given = {name: ts if value == "{ts}" else value for name, value in arguments.items()}
        alice.wire.say[method] = [error(said)]
        result = await alice.act(tool, conversation=ENG, **given)
        assert "failed" not in result and ("undo" not in result or tool == "update_channel")


async def test_a_snooze_that_has_ended_is_ended() -> None:
    async with world() as alice:
        assert await alice.act("set_status", snooze="0") == {"snooze_until": "ended"}
        assert (await alice.act("set_status", snooze="1h30m"))["snooze_until"] == "2026-11-24T15:30:00+00:00"
        for wrong in ("", "soon", "-5m", "999h"):
            with pytest.raises(InvalidInput):
                await alice.act("set_status", snooze=wrong)


async def test_a_change_of_which_only_a_part_could_be_done_says_which() -> None:
    async with world() as alice:
        alice.wire.say["conversations.setPurpose"] = [error("too_long")]
        changed = await alice.act("update_channel", conversation=ENG, topic="New", purpose="x")
        assert changed["changed"] == ["topic"] and changed["failed"][0]["change"] == "purpose"
        assert changed["undo"]["args"] == {"conversation": ENG, "topic": "Engineering"}
        alice.wire.say["conversations.setTopic"] = [error("too_long")]
        with pytest.raises(InvalidInput):
            await alice.act("update_channel", conversation=ENG, topic="Newer")


async def test_people_who_could_not_be_invited_are_named_and_the_others_are_in() -> None:
    async with world() as alice:
        alice.wire.say["conversations.invite"] = [error("user_is_restricted"), error("user_is_restricted")]
        with pytest.raises(OrgBlocked):
            await alice.act("manage_members", conversation=ENG, action="invite", users=["@decoy"])
        alice.wire.say["conversations.invite"] = [error("cant_invite_self"), error("user_not_found")]
        users = ["U0DECOY0000", "U0BOB000000"]
        result = await alice.act("manage_members", conversation=ENG, action="invite", users=users)
        assert result["done"] == ["U0BOB000000"] and result["failed"][0]["user"] == "U0DECOY0000"


async def test_a_channel_whose_name_is_taken_is_given_back_only_if_this_act_can_have_made_it() -> None:
    async with world() as alice:
        with pytest.raises(Conflict):
            await alice.act("create_channel", name="eng")
        call = Call("t", "m", "c")
        alice.wire.say["conversations.create"] = [httpx.ReadError("lost")]
        made = await alice.act("create_channel", call, name="Fresh")
        assert made["name"] == "fresh" and [c["name"] for c in alice.channels.values()].count("fresh") == 1
