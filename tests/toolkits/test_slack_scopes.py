"""The user scopes of every Slack tool: enough for its requests, and no more than needed."""

from __future__ import annotations

from typing import Any, Final

import pytest

from deputize.core import ConsentRequired, Effect, Need, Tool
from deputize.toolkits.slack import TOOLKIT
from tests.support.lanes import sample
from tests.toolkits.slack_calls import CASES, IDS, Case, play
from tests.toolkits.slack_world import EVERYTHING, method_of, world

every_case = pytest.mark.parametrize("case", sample(CASES, lambda case: case.tool, ids=IDS))


def by_kind(right: str, kinds: str = "channels groups im mpim") -> frozenset[str]:
    return frozenset(f"{kind}:{right}" for kind in kinds.split())


def one(*scopes: str) -> frozenset[str]:
    return frozenset(scopes)


WRITE, READ, HISTORY = by_kind("write"), by_kind("read"), by_kind("history")
ACCEPTED: Final = {  # docs.slack.dev/reference/methods/{method}, user scopes, May 2026
    "assistant.search.context": frozenset(
        f"search:read.{what}" for what in ("files", "im", "mpim", "private", "public", "users")
    ),
    "auth.test": frozenset[str](),
    "bookmarks.add": one("bookmarks:write"),
    "bookmarks.list": one("bookmarks:read"),
    "bookmarks.remove": one("bookmarks:write"),
    "canvases.access.set": one("canvases:write"),
    "canvases.create": one("canvases:write"),
    "canvases.edit": one("canvases:write"),
    "chat.delete": one("chat:write"),
    "chat.deleteScheduledMessage": one("chat:write"),
    "chat.getPermalink": frozenset[str](),
    "chat.postMessage": one("chat:write"),
    "chat.scheduleMessage": one("chat:write"),
    "chat.scheduledMessages.list": frozenset[str](),
    "chat.update": one("chat:write"),
    "conversations.archive": WRITE,
    "conversations.canvases.create": one("canvases:write"),
    "conversations.create": WRITE,
    "conversations.history": HISTORY,
    "conversations.info": READ,
    "conversations.invite": WRITE | by_kind("write.invites", "channels groups"),
    "conversations.join": one("channels:write"),
    "conversations.kick": WRITE,
    "conversations.leave": WRITE,
    "conversations.list": READ,
    "conversations.mark": WRITE,
    "conversations.members": READ,
    "conversations.open": WRITE,
    "conversations.rename": WRITE,
    "conversations.replies": HISTORY,
    "conversations.setPurpose": WRITE | by_kind("write.topic"),
    "conversations.setTopic": WRITE | by_kind("write.topic"),
    "conversations.unarchive": WRITE,
    "dnd.endSnooze": one("dnd:write"),
    "dnd.setSnooze": one("dnd:write"),
    "files.completeUploadExternal": one("files:write"),
    "files.getUploadURLExternal": one("files:write"),
    "files.info": one("files:read"),
    "files.list": one("files:read"),
    "pins.add": one("pins:write"),
    "pins.list": one("pins:read"),
    "pins.remove": one("pins:write"),
    "reactions.add": one("reactions:write"),
    "reactions.remove": one("reactions:write"),
    "search.files": one("search:read"),
    "search.messages": one("search:read"),
    "usergroups.list": one("usergroups:read"),
    "usergroups.users.list": one("usergroups:read"),
    "users.conversations": READ,
    "users.getPresence": one("users:read"),
    "users.info": one("users:read"),
    "users.list": one("users:read"),
    "users.lookupByEmail": one("users:read.email"),
    "users.profile.set": one("users.profile:write"),
    "users.setPresence": one("users:write"),
}
OTHERWISE: Final = {  # what a need accepts beside its method's own scopes, since another method does as well
    "users.conversations": one("users:read"),  # a bare word may be a person's name
    "conversations.open": by_kind("read", "im mpim"),  # the conversation may be there already
    "assistant.search.context": one("search:read"),  # search.messages, search.files
}


def tool_of(case: Case) -> Tool:
    return TOOLKIT.tools[f"slack_{case.tool}"]


def needs_of(case: Case) -> list[Need]:
    tool = tool_of(case)
    return list(tool.needs_of(validated(case)))


def validated(case: Case) -> dict[str, Any]:
    """Return the arguments as the tool gets them, with placeholders for ids."""
    known = {name: value for name, value in case.arguments.items() if "{" not in str(value)}
    known |= {name: "1.000001" for name in ("ts", "thread_ts") if name in case.arguments}
    known |= {"attachments": ["file_x"]} if "attachments" in case.arguments else {}
    return tool_of(case).validate(known)


def asked_for(case: Case) -> frozenset[str]:
    return frozenset(need.ask for need in needs_of(case))


@every_case
async def test_requested_scopes_are_enough(case: Case) -> None:
    played = await play(case, asked_for(case) or {"chat:write"})
    assert not isinstance(played.error, ConsentRequired)


@every_case
async def test_every_call_is_allowed_by_the_requested_scopes(case: Case) -> None:
    asked = asked_for(case) or {"chat:write"}
    for request in (await play(case, asked)).requests:
        if request.url.host == "slack.com":
            accepted = ACCEPTED[method_of(request)]
            assert not accepted or accepted & asked, method_of(request)


@every_case
async def test_every_requested_scope_is_necessary(case: Case) -> None:
    asked = asked_for(case)
    played = await play(case, asked or {"chat:write"})
    if played.error:
        return  # what is private is not found among what is public
    called = [method_of(request) for request in played.requests if request.url.host == "slack.com"]
    for scope in asked:
        rest = asked - {scope}
        unmet = any(ACCEPTED[method] and not ACCEPTED[method] & rest for method in called)
        assert unmet or (scope.startswith("search:read.") and "assistant.search.context" in called), scope


@every_case
async def test_reading_call_needs_no_write_scope(case: Case) -> None:
    tool = tool_of(case)
    needs = needs_of(case)
    if tool.effect_of(validated(case)) is not Effect.READS:
        return
    assert not [need.ask for need in needs if ":write" in need.ask]
    for request in (await play(case)).requests:
        if request.url.host == "slack.com":
            accepted = ACCEPTED[method_of(request)]
            assert not accepted or any(":write" not in scope for scope in accepted)


@every_case
def test_need_accepts_only_what_slack_accepts(case: Case) -> None:
    for need in needs_of(case):
        assert need.ask in need.accepts
        assert need.accepts <= ACCEPTED[need.method] | OTHERWISE.get(need.method, frozenset())


def test_advance_consent_requests_the_scopes_of_the_plain_call() -> None:
    asked = {name.removeprefix("slack_"): {n.ask for n in tool.usual_needs()} for name, tool in TOOLKIT.tools.items()}
    assert asked == {
        "whoami": set(),
        "list_conversations": {"channels:read"},
        "get_conversation": {"channels:read"},
        "get_messages": {"channels:history"},
        "search": {"search:read.public"},
        "find_users": {"users:read"},
        "list_user_groups": {"usergroups:read"},
        "send_message": {"chat:write"},
        "update_message": {"chat:write"},
        "delete_message": {"chat:write"},
        "list_scheduled": set(),
        "react": {"reactions:write"},
        "create_channel": {"channels:write"},
        "update_channel": set(),
        "manage_members": {"channels:write.invites"},
        "pin": {"pins:write"},
        "list_files": {"files:read"},
        "get_file": {"files:read"},
        "upload_file": {"files:write"},
        "mark_read": {"channels:write", "channels:history"},
        "set_status": {"users.profile:write"},
        "write_canvas": {"canvases:write"},
    }


async def test_sending_to_an_id_needs_one_scope() -> None:
    async with world("chat:write") as alice:
        await alice.act("send_message", conversation="C0ENG000001", body="Hi @bob in #general")
        assert alice.wire.methods() == ["chat.postMessage", "chat.getPermalink"]
        assert alice.texts("C0ENG000001")[-1] == "Hi @bob in #general"


@pytest.mark.parametrize(
    ("named", "granted", "wanted"),
    [
        ("G0LEADS0001", {"groups:history"}, None),
        ("D0ALICEBOB1", {"channels:history"}, ("im:history",)),
        ("#leads", {"groups:read", "channels:history"}, ("groups:history",)),
        ("@bob", {"users:read", "im:read"}, ("im:history",)),
        ("bob@example.test", {"im:read", "im:history"}, ("users:read.email",)),
    ],
)
async def test_conversation_type_needs_its_scope(named: str, granted: set[str], wanted: tuple[str, ...] | None) -> None:
    async with world(*granted) as alice:
        if wanted is None:
            assert (await alice.act("get_messages", conversation=named))["items"]
            return
        with pytest.raises(ConsentRequired) as asked:
            await alice.act("get_messages", conversation=named)
        assert asked.value.consent.scopes == wanted


async def test_unlistable_conversation_types_are_left_out_and_named() -> None:
    async with world("channels:read") as alice:
        found = await alice.act("list_conversations", types=["public", "private", "dm"])
        assert found["left_out"] == ["private", "dm"]
        assert {row["type"] for row in found["items"]} == {"public"}


async def test_scope_unticked_twice_is_not_requested_again() -> None:
    async with world(*(EVERYTHING - {"pins:read"})) as alice:
        for _ in range(2):
            with pytest.raises(ConsentRequired) as asked:
                await alice.act("get_conversation", conversation="#eng", include=["pins"])
            assert asked.value.consent.scopes == ("pins:read",)
