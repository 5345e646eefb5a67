"""Alice's and Bob's Slack tools through the whole deputy, against Slack as emulate plays it.

The emulator's first user is a built-in admin, and the seed's first is a decoy: whatever is called with a token nobody
knows comes back as the admin's, so each test looks whose data it got. What emulate lacks (search, groups, canvases, do
not disturb) runs against the sandbox; `test_every_tool_runs_somewhere` prints which tool ran where.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from deputize.core import App, Call, ConsentRequired, Deputy, NotFound, OutcomeUnknown, Secret, allow_all
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.tools.steps import File
from deputize.core.vault.grant import User
from deputize.toolkits.slack import TOOLKIT
from tests.support.called_tools import tools_called
from tests.support.counterparts import require_emulate
from tests.support.emulate import Emulate, oauth_client
from tests.support.sandbox_deputy import new_vault, no_sleep, public_names
from tests.support.strict_emulate import StrictTransport, consent_click, lost_after_acting
from tests.toolkits.slack_calls import CASES
from tests.toolkits.slack_world import EVERYTHING

pytestmark = pytest.mark.counterpart
PAGES: Final = "https://deputize.example.test"  # Slack sends no browser to loopback without PKCE
PEOPLE: Final = {"alice": "alice@example.test", "bob": "bob@example.test"}
NOT_THERE: Final = {"search", "list_user_groups", "write_canvas"}


class SlackAtEmulate(StrictTransport):
    """emulate has no users.conversations, so its conversations.list answers instead; and one host for everything."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = str(request.url).replace("https://files.slack.com/", "https://slack.com/")
        url = url.replace("/api/users.conversations", "/api/conversations.list")
        moved = httpx.Request(request.method, url, headers=request.headers, content=request.read())
        answer = super().handle_request(moved)
        if b"/files-pri/" in answer.content:
            content = answer.content.replace(b"https://slack.com/files-pri/", b"https://files.slack.com/files-pri/")
            return httpx.Response(answer.status_code, json=json.loads(content), request=request)
        return answer


@pytest.fixture(scope="module")
def emulate() -> Iterator[Emulate]:
    require_emulate()
    with Emulate("slack") as running:
        yield running


@pytest.fixture
def strict(emulate: Emulate) -> SlackAtEmulate:
    emulate.reset()
    return SlackAtEmulate(emulate.urls)


@pytest.fixture
async def deputy(strict: SlackAtEmulate) -> AsyncIterator[Deputy]:
    client = oauth_client("slack")
    app = App("slack", client.id, Secret(client.secret))
    deputy = Deputy(
        await new_vault(),
        [app],
        pages=PAGES,
        policy=allow_all,
        toolkits=[TOOLKIT],
        transport=strict,
        sleep=no_sleep,
        resolve=public_names,
    )
    async with deputy:
        yield deputy


async def connect(deputy: Deputy, strict: SlackAtEmulate, user: str, *scopes: str) -> None:
    for consent in await deputy.connect(user, "slack", scopes=scopes or sorted(EVERYTHING)):
        started = await deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser())
        back = await consent_click(strict, started.url, PEOPLE[user])
        params = dict(parse_qsl(urlsplit(back).query))
        await deputy.consents.finish(consent.app, params, AnyLocalUser(), started.nonce.reveal())
        ended = await deputy.consents.status(consent.id)
        assert ended is not None and ended.status == "granted"


async def act(deputy: Deputy, as_: str, tool: str, call_: Any = None, **arguments: Any) -> Any:
    given = {name.rstrip("_"): value for name, value in arguments.items()}
    return await deputy.act(f"slack_{tool}", given, user=as_, call=call_)


async def test_alice_and_bob_exchange_messages_as_themselves(deputy: Deputy, strict: SlackAtEmulate) -> None:
    await asyncio.gather(*(connect(deputy, strict, user) for user in PEOPLE))
    who = {user: await act(deputy, user, "whoami") for user in PEOPLE}
    assert {user: one["handle"] for user, one in who.items()} == {"alice": "alice", "bob": "bob"}
    assert who["alice"]["email"] == PEOPLE["alice"]

    sent = await act(deputy, "alice", "send_message", conversation="#eng", body="**Ready**, @bob?")
    assert sent["name"] == "#eng" and f"/p{sent['ts'].replace('.', '')}" in sent["url"]
    await act(deputy, "bob", "send_message", conversation="eng", body="Yes.", thread_ts=sent["ts"])
    await act(deputy, "bob", "react", conversation="#eng", ts=sent["ts"], emoji=":tada:")
    await act(deputy, "bob", "react", conversation="#eng", ts=sent["ts"], emoji="tada")  # is so already

    [seen] = (await act(deputy, "bob", "get_messages", conversation="#eng", limit=1))["items"]
    bob = who["bob"]["user_id"]
    assert seen["text"] == f"**Ready**, @Bob Brown ({bob})?" and seen["replies"] == 1 and seen["reactions"] == "tada:1"
    assert seen["from"] == f"Alice Adams ({who['alice']['user_id']})" and seen["untrusted"] is True
    thread = await act(deputy, "alice", "get_messages", conversation=sent["conversation"], thread_ts=sent["ts"])
    assert [row["text"] for row in thread["items"]] == [seen["text"], "Yes."]

    edited = await act(deputy, "alice", "update_message", conversation="#eng", ts=sent["ts"], body="Ready now")
    assert edited["summary"] == "Edited."
    with pytest.raises(NotFound):
        await act(deputy, "bob", "update_message", conversation="#eng", ts=sent["ts"], body="Mine")
    gone = await act(deputy, "alice", "delete_message", conversation="#eng", ts=sent["ts"])
    assert gone["deleted"] and gone["text"] == "Ready now"
    again = await act(deputy, "alice", "delete_message", conversation="#eng", ts=sent["ts"])
    assert again["summary"] == "It is gone already."


async def test_direct_message_reaches_the_named_person(deputy: Deputy, strict: SlackAtEmulate) -> None:
    await asyncio.gather(*(connect(deputy, strict, user) for user in PEOPLE))
    sent = await act(deputy, "alice", "send_message", conversation="@bob", body="Lunch?")
    again = await act(deputy, "alice", "send_message", conversation="bob@example.test", body="At noon?")
    assert sent["conversation"] == again["conversation"] and sent["type"] == "dm" and "Bob Brown" in sent["name"]
    read = await act(deputy, "bob", "get_messages", conversation="Alice Adams")
    assert [row["text"] for row in read["items"]] == ["Lunch?", "At noon?"]
    three = await act(deputy, "alice", "send_message", conversation="@bob, @decoy", body="All of us")
    assert three["type"] == "group_dm" and three["members"] == 3
    rows = (await act(deputy, "bob", "list_conversations", types=["dm", "group_dm"]))["items"]
    assert {"Alice Adams"} <= {row["name"] for row in rows} and {row["type"] for row in rows} == {"dm", "group_dm"}


async def test_ambiguous_recipient_is_not_guessed(deputy: Deputy, strict: SlackAtEmulate) -> None:
    await connect(deputy, strict, "alice")
    before = [entry.path for entry in strict.ledger].count("/api/chat.postMessage")
    for name, near in (("@bobb", "bob"), ("#engineering", "eng"), ("en", "#eng"), ("Bob B", "Bob Brown")):
        with pytest.raises(NotFound) as missed:
            await act(deputy, "alice", "send_message", conversation=name, body="x")
        assert near in missed.value.hint
    assert [entry.path for entry in strict.ledger].count("/api/chat.postMessage") == before
    found = await act(deputy, "alice", "find_users", users=["@bob", "Bobby Brown", PEOPLE["alice"]])
    assert [row["handle"] for row in found["items"]] == ["bob", "alice"]
    assert found["not_found"][0]["asked"] == "Bobby Brown" and "@bob" in found["not_found"][0]["suggestions"][0]


async def test_scheduled_messages_are_listed_and_undo_cancels_them(deputy: Deputy, strict: SlackAtEmulate) -> None:
    await connect(deputy, strict, "alice")
    planned = await act(deputy, "alice", "send_message", conversation="#eng", body="Standup", send_at="+2h")
    [row] = (await act(deputy, "alice", "list_scheduled", conversation="#eng"))["items"]
    assert row["scheduled_id"] == planned["scheduled_id"] and row["text"] == "Standup"
    undo = planned["undo"]
    await deputy.act(undo["tool"], undo["args"], user="alice")
    assert (await act(deputy, "alice", "list_scheduled"))["items"] == []
    assert (await deputy.act(undo["tool"], undo["args"], user="alice"))["summary"] == "It is gone already."


async def test_channel_is_created_and_archived(deputy: Deputy, strict: SlackAtEmulate) -> None:
    await asyncio.gather(*(connect(deputy, strict, user) for user in PEOPLE))
    made = await act(deputy, "alice", "create_channel", name="Launch Plan", topic="Soon", invite=["@bob"])
    assert made["name"] == "launch-plan" and len(made["invited"]) == 1 and "failed" not in made
    invited = await act(
        deputy, "alice", "manage_members", conversation=made["id"], action="invite", users=["@bob", "@decoy"]
    )
    assert len(invited["done"]) == 2 and "failed" not in invited  # bob is there already: that is done, too
    shown = await act(deputy, "alice", "get_conversation", conversation="#launch-plan", include=["members"])
    assert shown["topic"] == "Soon" and shown["members_total"] == 3 and len(shown["members"]) == 3
    removed = await act(deputy, "alice", "manage_members", conversation=made["id"], action="remove", users=["@decoy"])
    again = await act(deputy, "alice", "manage_members", conversation=made["id"], action="remove", users=["@decoy"])
    assert removed["done"] == again["done"] and "failed" not in again
    changed = await act(deputy, "alice", "update_channel", conversation=made["id"], name="Liftoff", purpose="Up")
    assert changed["name"] == "liftoff" and changed["changed"] == ["name", "purpose"]
    undo = changed["undo"]
    assert (await deputy.act(undo["tool"], undo["args"], user="alice"))["name"] == "launch-plan"
    await act(deputy, "bob", "manage_members", conversation=made["id"], action="leave")
    await act(deputy, "bob", "manage_members", conversation=made["id"], action="join")
    for _ in range(2):  # closed is closed
        assert (await act(deputy, "alice", "update_channel", conversation=made["id"], archived=True))["changed"]
    assert "launch-plan" not in json.dumps(await act(deputy, "alice", "list_conversations"))
    assert "launch-plan" in json.dumps(await act(deputy, "alice", "list_conversations", archived=True))


async def test_pins_bookmarks_read_marks_and_status_work(deputy: Deputy, strict: SlackAtEmulate) -> None:
    await connect(deputy, strict, "alice")
    sent = await act(deputy, "alice", "send_message", conversation="#eng", body="The plan")
    link = "https://plan.example.test/"
    pinned = await act(deputy, "alice", "pin", conversation="#eng", ts=sent["ts"])
    for _ in range(2):
        await act(deputy, "alice", "pin", conversation="#eng", url=link, title="Plan")
    shown = await act(deputy, "alice", "get_conversation", conversation="#eng", include=["pins", "bookmarks"])
    assert [row["text"] for row in shown["pins"]] == ["The plan"]
    assert [row["link"] for row in shown["bookmarks"]] == [link]
    assert (await deputy.act(pinned["undo"]["tool"], pinned["undo"]["args"], user="alice"))["state"] == "unpinned"
    assert (await act(deputy, "alice", "pin", conversation="#eng", url=link, remove=True))["removed"] == 1
    assert (await act(deputy, "alice", "mark_read", conversation="#eng"))["ts"] == sent["ts"]
    status = await act(deputy, "alice", "set_status", text="Away", emoji="train", presence="away", until="+1h")
    assert status["status"] == ":train: Away" and status["presence"] == "away"
    [me] = (await act(deputy, "alice", "find_users", users=["@alice"]))["items"]
    assert me["status"] == ":train: Away" and me["presence"] == "away"


async def test_file_is_uploaded_in_three_steps_and_downloaded_by_handle(deputy: Deputy, strict: SlackAtEmulate) -> None:
    await asyncio.gather(*(connect(deputy, strict, user) for user in PEOPLE))
    handle = (await deputy.files.keep(User("alice"), File("notes.txt", "text/plain", b"one\ntwo")))["file"]
    up = await act(deputy, "alice", "upload_file", conversation="#eng", attachments=[handle], body="Notes", title="N")
    [row] = (await act(deputy, "bob", "list_files", conversation="#eng"))["items"]
    assert row["id"] == up["file_ids"][0] and row["size"] == 7
    down = await act(deputy, "bob", "get_file", file_id=row["id"])
    assert down["text"] == "one\ntwo" and down["untrusted"] is True
    assert (await deputy.files.take(User("bob"), down["handle"])).content == b"one\ntwo"
    with pytest.raises(NotFound):
        await deputy.files.take(User("alice"), down["handle"])
    stolen = {"conversation": "#eng", "attachments": [handle]}
    with pytest.raises(NotFound):
        await act(deputy, "bob", "upload_file", **stolen)


async def test_message_with_a_lost_answer_is_found_and_sent_once(deputy: Deputy, strict: SlackAtEmulate) -> None:
    await connect(deputy, strict, "alice")
    call = Call("thread", "message", "1")
    strict.inject("POST", "/api/chat.postMessage", lost_after_acting)
    sent = [await act(deputy, "alice", "send_message", call, conversation="#eng", body="Once") for _ in range(3)]
    assert len({one["ts"] for one in sent}) == 1
    rows = (await act(deputy, "alice", "get_messages", conversation="#eng"))["items"]
    assert [row["text"] for row in rows].count("Once") == 1


async def test_lost_message_stays_unknown_without_read_scope(deputy: Deputy, strict: SlackAtEmulate) -> None:
    await connect(deputy, strict, "alice", "chat:write", "channels:read")
    call = Call("thread", "message", "1")
    strict.inject("POST", "/api/chat.postMessage", lost_after_acting)
    for _ in range(3):
        with pytest.raises(OutcomeUnknown):
            await act(deputy, "alice", "send_message", call, conversation="#eng", body="Once")
    assert [entry.path for entry in strict.ledger].count("/api/chat.postMessage") == 1


async def test_scope_required_by_slack_is_requested_by_name(deputy: Deputy, strict: SlackAtEmulate) -> None:
    """emulate refuses channels:write.invites, which Slack's reference lists, and requires channels:write."""
    await connect(deputy, strict, "alice", "channels:read", "channels:write.invites", "users:read")
    invite = {"conversation": "#eng", "action": "invite", "users": ["@bob"]}
    with pytest.raises(ConsentRequired) as asked:
        await act(deputy, "alice", "manage_members", Call("t", "m", "1"), **invite)
    assert asked.value.consent.scopes == ("channels:write",)
    await connect(deputy, strict, "alice", "channels:write")
    assert (await act(deputy, "alice", "manage_members", Call("t", "m", "1"), **invite))["action"] == "invite"


async def test_private_channel_by_id_requests_its_scope(deputy: Deputy, strict: SlackAtEmulate) -> None:
    await connect(deputy, strict, "alice", "channels:history", "groups:read")
    rows = (await act(deputy, "alice", "list_conversations"))["items"]
    leads = next(row["id"] for row in rows if row["name"] == "leads")
    with pytest.raises(ConsentRequired) as asked:
        await act(deputy, "alice", "get_messages", conversation=leads)
    assert asked.value.consent.scopes == ("groups:history",)


def test_every_tool_runs_somewhere(capsys: pytest.CaptureFixture[str]) -> None:
    used, in_sandbox = tools_called(TOOLKIT, __file__), {case.tool for case in CASES}
    every = [name.removeprefix("slack_") for name in TOOLKIT.tools]
    with capsys.disabled():
        print("\ntool | emulate | sandbox")
        for tool in every:
            print(f"slack_{tool} | {'yes' if tool in used else '-'} | {'yes' if tool in in_sandbox else '-'}")
    assert set(every) - used == NOT_THERE
    assert set(every) == in_sandbox
