"""Calls of every Slack tool that together make every request it can make."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import httpx

from deputize.core.errors import DeputizeError
from deputize.sandbox.slack.files import CANVAS, file_row
from deputize.sandbox.slack.seed import DM, REPORT
from tests.toolkits.slack_world import ALICE, BOB, DECOY, ENG, EVERYTHING, World, world
from tests.toolkits.tool_driver import NOW

HISTORY: Final = {f"{kind}:history" for kind in ("channels", "groups", "im", "mpim")}
READ: Final = {f"{kind}:read" for kind in ("channels", "groups", "im", "mpim")}


class Case(NamedTuple):
    """A call, the failure that happens in it, and the granted scopes."""

    tool: str
    arguments: Mapping[str, Any]
    spoil: Callable[[World], None] = lambda world: None
    granted: frozenset[str] = EVERYTHING


def lost(*methods: str) -> Callable[[World], None]:
    """Lose the responses to these methods, once each, after Slack has acted."""

    def spoil(world: World) -> None:
        world.wire.say |= {method: [httpx.ReadError("lost")] for method in methods}

    return spoil


def says(method: str, **body: Any) -> Callable[[World], None]:
    """Let Slack answer differently, once."""

    def spoil(world: World) -> None:
        world.wire.say[method] = [body]

    return spoil


def refuses(method: str, error: str) -> Callable[[World], None]:
    """Let Slack refuse, once."""
    return says(method, ok=False, error=error)


def without(*scopes: str) -> frozenset[str]:
    """Return all scopes except these."""
    return EVERYTHING - set(scopes)


def _group_dm(world: World) -> None:
    store = world.sandbox._world.services["slack"]
    row = store["channels"][DM] | {"id": "G0THREE0001", "kind": "mpim", "members": [ALICE, BOB, DECOY]}
    store["channels"]["G0THREE0001"] = row


def _bookmarked(world: World) -> None:
    row = {"id": "Bk0001", "title": "Runs", "link": "https://ci.example.test/", "channel_id": ENG}
    world.sandbox._world.services["slack"]["channels"][ENG]["bookmarks"] = [row]


def _canvas(world: World) -> None:
    row = file_row("F0CANVAS001", "Notes", CANVAS, ALICE, 1, "", "Notes") | {"markdown": "old"}
    world.sandbox._world.services["slack"]["files"]["F0CANVAS001"] = row


def _planned(world: World) -> None:
    row = {"id": "Q1234567", "channel_id": ENG, "post_at": int(NOW) + 60, "date_created": int(NOW), "text": "Later"}
    world.sandbox._world.services["slack"]["scheduled"] = [row | {"user": ALICE}]


def _has_canvas(world: World) -> None:
    world.sandbox._world.services["slack"]["channels"][ENG]["canvas"] = "F0OLD"


OWN, OTHER, HANDLE = "{own}", "{other}", "{handle}"
LINK: Final = "https://acme.slack.com/archives/C0ENG000001/p1795435200000102"
SECTION: Final = [
    {"type": "header", "text": {"type": "plain_text", "text": "Deploy"}},
    {"type": "section", "text": {"type": "mrkdwn", "text": "*done*"}, "fields": [{"type": "mrkdwn", "text": "a"}]},
    {"type": "divider"},
]
OLD_SEARCH: Final = frozenset({"search:read", "channels:read", "users:read"})

CASES: Final = [
    Case("whoami", {}),
    Case("whoami", {}, granted=frozenset({"chat:write"})),
    Case("list_conversations", {}),
    Case("list_conversations", {"types": ["public", "private", "dm", "group_dm"], "archived": True, "query": "eng"}),
    Case("list_conversations", {"joined": False, "limit": 2}),
    *(
        Case("get_conversation", {"conversation": name, "include": include})
        for name in (ENG, "#eng", "@bob", "bob@example.test", DM, LINK)
        for include in ([], ["members", "pins", "bookmarks"])
    ),
    *(
        Case("get_messages", {"conversation": name, **more})
        for name in (ENG, "#leads", "@bob", BOB, "the eng channel")
        for more in ({}, {"after": "-7d", "before": "now", "limit": 2})
    ),
    Case("get_messages", {"conversation": "@bob, @decoy"}, _group_dm),
    Case("get_messages", {"conversation": "#eng", "thread_ts": OTHER, "after": "-7d"}),
    Case("get_messages", {"conversation": LINK}),
    Case("get_messages", {"conversation": ENG, "ts": OTHER}),
    Case("search", {"query": "deploy"}),
    Case(
        "search",
        {
            "query": "deploy",
            "kinds": ["messages", "files", "channels", "users"],
            "types": ["public", "private", "dm", "group_dm"],
            "conversation": "#eng",
            "from": "@bob",
            "after": "-30d",
            "before": "now",
            "sort": "newest",
        },
    ),
    *(
        Case(
            "search",
            {
                "query": "deploy",
                "kinds": [kind],
                "conversation": "#eng",
                "from": "@bob",
                "after": "-30d",
                "before": "now",
            },
            granted=OLD_SEARCH,
        )
        for kind in ("messages", "files")
    ),
    Case(
        "search",
        {"query": "deploy"},
        refuses("assistant.search.context", "feature_not_enabled"),
        granted=EVERYTHING | {"search:read"},
    ),
    Case("find_users", {}),
    Case("find_users", {"query": "bo", "bots": True, "limit": 5}),
    Case("find_users", {"users": ["@bob", "decoy@example.test", ALICE, "Nobody"]}),
    Case("find_users", {"users": ["@bob"]}),
    Case("find_users", {"users": ["bob@example.test"]}),
    Case("list_user_groups", {}),
    Case("list_user_groups", {"group": "@engineers"}),
    *(
        Case("send_message", {"conversation": name, "body": "Hello"})
        for name in (ENG, "#eng", "random", "@bob", "bob@example.test", BOB, "@bob, @decoy")
    ),
    Case("send_message", {"conversation": "@bob", "body": "Hello"}, granted=without("im:write")),
    Case("send_message", {"conversation": "@bob, @decoy", "body": "Hello"}, _group_dm, without("mpim:write")),
    Case("send_message", {"conversation": ENG, "body": "Hi @bob, see #random and **this**", "unfurl": True}),
    Case("send_message", {"conversation": "#eng", "body": "@here and @engineers, see #attic and #nowhere"}),
    Case("send_message", {"conversation": ENG, "body": "In it", "thread_ts": OTHER, "broadcast": True}),
    Case("send_message", {"conversation": LINK, "body": "In it"}),
    Case("send_message", {"conversation": ENG, "blocks": SECTION}),
    Case("send_message", {"conversation": ENG, "body": "Later", "send_at": "+2h"}),
    Case("send_message", {"conversation": ENG, "body": "Later", "send_at": "+2h"}, lost("chat.scheduleMessage")),
    Case("send_message", {"conversation": ENG, "body": "Once"}, lost("chat.postMessage")),
    Case("send_message", {"conversation": ENG, "body": "Once", "thread_ts": OTHER}, lost("chat.postMessage")),
    Case(
        "send_message",
        {"conversation": ENG, "body": "x"},
        refuses("chat.postMessage", "metadata_must_be_sent_from_app"),
    ),
    Case("update_message", {"conversation": ENG, "ts": OWN, "body": "Better"}),
    Case("update_message", {"conversation": ENG, "ts": OWN, "body": "Better", "append": True}),
    Case("update_message", {"conversation": "#eng", "ts": OWN, "body": "Better"}, granted=without(*HISTORY)),
    Case("delete_message", {"conversation": ENG, "ts": OWN}),
    Case("delete_message", {"conversation": ENG, "scheduled_id": "Q1234567"}, _planned),
    Case("list_scheduled", {}),
    Case("list_scheduled", {"conversation": "#eng", "limit": 5}),
    Case("list_scheduled", {"scheduled_id": "Q1234567"}, _planned),
    Case("react", {"conversation": ENG, "ts": OTHER, "emoji": ":eyes:"}),
    Case("react", {"conversation": "#eng", "ts": OTHER, "emoji": "eyes", "remove": True}),
    Case("create_channel", {"name": "Plans", "topic": "t", "purpose": "p", "invite": ["@bob", "@decoy"]}),
    Case("create_channel", {"name": "secret", "private": True}),
    Case("create_channel", {"name": "Plans"}, lost("conversations.create")),
    Case("update_channel", {"conversation": "#random", "name": "Chat", "topic": "t", "purpose": "p", "archived": True}),
    Case("update_channel", {"conversation": "C0ATTIC0001", "archived": False}),
    *(
        Case("manage_members", {"conversation": "#eng", "action": action, **users})
        for action, users in (
            ("invite", {"users": ["@decoy"]}),
            ("invite", {"users": ["@decoy", "@bob"]}),
            ("remove", {"users": ["@bob"]}),
            ("remove", {"users": ["@decoy"]}),
            ("leave", {}),
            ("join", {}),
        )
    ),
    Case(
        "manage_members",
        {"conversation": ENG, "action": "invite", "users": [BOB, DECOY]},
        refuses("conversations.invite", "user_not_found"),
    ),
    Case("pin", {"conversation": ENG, "ts": OTHER}),
    Case("pin", {"conversation": "#eng", "ts": OTHER, "remove": True}),
    Case("pin", {"conversation": ENG, "url": "https://ci.example.test/", "title": "Runs"}),
    Case("pin", {"conversation": ENG, "url": "https://ci.example.test/"}, lost("bookmarks.add")),
    Case("pin", {"conversation": ENG, "url": "https://ci.example.test/", "remove": True}, _bookmarked),
    Case("list_files", {}),
    Case(
        "list_files",
        {"conversation": "#eng", "by": "@bob", "types": ["snippets", "canvases"], "after": "-30d", "before": "now"},
    ),
    Case("get_file", {"file_id": REPORT}),
    Case("upload_file", {"conversation": "#eng", "attachments": [HANDLE]}),
    Case(
        "upload_file",
        {"conversation": ENG, "attachments": [HANDLE], "body": "**Here**", "title": "T", "thread_ts": OTHER},
    ),
    Case("upload_file", {"conversation": "@bob", "attachments": [HANDLE]}),
    Case("upload_file", {"conversation": ENG, "attachments": [HANDLE]}, lost("files.completeUploadExternal")),
    Case("mark_read", {"conversation": "#eng"}),
    Case("mark_read", {"conversation": DM, "ts": OTHER}),
    Case("set_status", {"text": "Away", "emoji": ":train:", "until": "+1h", "presence": "away", "snooze": "45m"}),
    Case("set_status", {"emoji": "", "presence": "auto", "snooze": "0"}),
    Case("write_canvas", {"title": "Notes", "body": "# Notes"}),
    Case("write_canvas", {"title": "Notes", "body": "# Notes"}, lost("canvases.create")),
    Case("write_canvas", {"title": "Notes", "body": "# Notes", "conversation": "#eng"}),
    Case("write_canvas", {"title": "Notes", "body": "# Notes", "conversation": ENG}, _has_canvas),
    Case("write_canvas", {"canvas_id": "F0CANVAS001", "body": "more", "mode": "prepend"}, _canvas),
    Case(
        "write_canvas",
        {"canvas_id": "F0CANVAS001", "body": "other", "mode": "replace", "conversation": "#eng"},
        _canvas,
    ),
    Case("write_canvas", {"canvas_id": "F0CANVAS001", "body": "more"}, lost("canvases.edit")),
]
IDS: Final = [f"{n}-{case.tool}" for n, case in enumerate(CASES)]


async def filled(world: World, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with their placeholders replaced: timestamps of Alice's and Bob's messages in #eng, a file
    of hers."""
    rows = world.channels[ENG]["messages"]
    stand_ins = {OWN: next(row["ts"] for row in rows if row["user"] == ALICE), OTHER: rows[0]["ts"]}
    text = json.dumps(arguments)
    if HANDLE in text:
        stand_ins[HANDLE] = await world.file("notes.txt", b"some notes")
    for name, value in stand_ins.items():
        text = text.replace(name, value)
    found: dict[str, Any] = json.loads(text)
    return found


class Played(NamedTuple):
    """The outcome of a case: its result or error, and its requests."""

    result: Any
    error: DeputizeError | None
    requests: list[httpx.Request]
    answers: list[tuple[str, Any]]


async def play(case: Case, granted: Iterable[str] | None = None) -> Played:
    """Run a case in its own world."""
    async with world(*sorted(case.granted if granted is None else granted)) as played:
        arguments = await filled(played, case.arguments)
        case.spoil(played)
        result, error = None, None
        try:
            result = await played.act(case.tool, **arguments)
        except DeputizeError as refused:
            error = refused
        return Played(result, error, list(played.wire.seen), played.wire.answers)
