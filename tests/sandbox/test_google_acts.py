"""Gmail and Calendar through the whole deputy over the sandbox: files, unsubscribing, settings, a broken grant."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from deputize.core import Call, ConsentRequired, Deputy, NotFound, ReconsentRequired, allow_all
from deputize.core.audit import Audit
from deputize.sandbox import Sandbox
from deputize.sandbox.google.calendar.methods import METHODS
from deputize.sandbox.google.errors import scope_missing
from deputize.sandbox.google.hosts import NEWSLETTER
from tests.sandbox.registered_app import Clock
from tests.support.sandbox_deputy import GMAIL, Recorder, build, connect, consent, new_vault

ALICE, BOB = "alice@example.test", "bob@example.test"
CALENDAR: Final = "https://www.googleapis.com/auth/calendar"


async def a_public_address(host: str) -> list[str]:
    """The address of the newsletter's host."""
    return ["93.184.215.14"]


@pytest.fixture
async def deputy(sandbox: Sandbox) -> AsyncIterator[Deputy]:
    async with await build(sandbox, policy=allow_all, clock=sandbox.clock) as deputy:
        deputy.outside.resolve = a_public_address
        yield deputy


async def act(deputy: Deputy, tool: str, call: str = "", user: str = "alice", **arguments: Any) -> Any:
    known = Call("thread", "message", call) if call else None
    return await deputy.act(tool, arguments, user=user, call=known)


def id_of(sandbox: Sandbox, subject: str, person: str = ALICE) -> str:
    return next(mail.id for mail in sandbox.mailbox(person).mails() if mail.subject == subject)


async def test_attachment_is_usable_by_its_owners_handle_only(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "modify")
    await connect(deputy, sandbox, "modify", user="bob", as_=BOB)
    invoice = id_of(sandbox, "Invoice 1042")
    kept = await act(deputy, "gmail_get_attachment", message_id=invoice, part="invoice-1042.pdf")
    letter: dict[str, Any] = {
        "to": [BOB],
        "subject": "The invoice",
        "body": "As promised.",
        "attachments": [kept["handle"]],
    }
    with pytest.raises(NotFound):
        await act(deputy, "gmail_send_email", user="bob", **letter)
    first = await act(deputy, "gmail_send_email", "1", **letter)
    assert await act(deputy, "gmail_send_email", "1", **letter) == first
    found = await act(
        deputy,
        "gmail_get_attachment",
        user="bob",
        message_id=id_of(sandbox, "The invoice", BOB),
        part="invoice-1042.pdf",
    )
    assert found["sha256"] == kept["sha256"] and len(sandbox.sent(ALICE)) == 1


async def test_unsubscribe_sends_one_request_without_user_data() -> None:
    sandbox = Sandbox(clock=Clock())
    recorder = Recorder(sandbox.transport())
    async with await build(sandbox, transport=recorder, policy=allow_all, clock=sandbox.clock) as deputy:
        deputy.outside.resolve = a_public_address
        await connect(deputy, sandbox, "modify")
        news = id_of(sandbox, "Bulbs: 30% off until Sunday")
        done = [await act(deputy, "gmail_unsubscribe", "1", message_id=news, trash=True) for _ in range(3)]
    assert [(one["status"], one["host"]) for one in done] == [("requested", NEWSLETTER)] * 3
    (asked,) = [one for one in recorder.seen if one.url.host == NEWSLETTER]
    assert "authorization" not in asked.headers and "cookie" not in asked.headers
    assert [mail.id for mail in sandbox.mailbox(ALICE).mails("TRASH") if mail.id == news]


async def test_only_scopes_needed_by_the_arguments_are_requested(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    news = id_of(sandbox, "Bulbs: 30% off until Sunday")
    lacking: list[tuple[str, dict[str, Any], str]] = [
        ("gmail_unsubscribe", {"message_id": news, "trash": True}, "modify"),
        ("gmail_unsubscribe", {"message_id": news, "by_email": True}, "send"),
        ("gmail_set_vacation", {"enabled": False}, "settings.basic"),
        ("gmail_manage_filter", {"action": "delete", "filter_id": "x"}, "settings.basic"),
        ("gmail_set_signature", {"body": "x"}, "settings.basic"),
    ]
    for tool, arguments, scope in lacking:
        with pytest.raises(ConsentRequired) as asked:
            await act(deputy, tool, **arguments)
        assert asked.value.consent.scopes == (f"{GMAIL}{scope}",)
    for section in ("vacation", "filters", "forwarding", "aliases"):
        assert await act(deputy, "gmail_get_settings", section=section)


async def test_every_remaining_gmail_tool_works_and_writes_once(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "modify", "settings.basic")
    since = (await act(deputy, "gmail_list_changes"))["next"]
    away: dict[str, Any] = {"enabled": True, "subject": "Away", "body": "Back soon."}
    await act(deputy, "gmail_set_vacation", "1", **away)
    wish: dict[str, Any] = {"action": "create", "from": "a@x.test", "archive": True}
    made = [await act(deputy, "gmail_manage_filter", "2", **wish) for _ in range(3)]
    assert made[0] == made[2]
    await act(deputy, "gmail_set_signature", "3", body="Alice")
    await act(deputy, "gmail_update_emails", "4", message_ids=[id_of(sandbox, "Design review")], action="star")
    changed = await act(deputy, "gmail_list_changes", since=since)
    assert [row["labels_added"] for row in changed["items"]] == [["STARRED"]]
    box = sandbox._world.mailbox(ALICE).settings
    assert len(box["filters"]) == 1 and box["vacation"]["enableAutoReply"] and "Alice" in box["sendAs"][0]["signature"]


@pytest.mark.parametrize("tool", ["gmail_search_emails", "gmail_whoami"])
async def test_grant_with_the_metadata_scope_is_revoked_unused(sandbox: Sandbox, tool: str, tmp_path: Path) -> None:
    recorder = Recorder(sandbox.transport())
    vault = await new_vault()
    audit = Audit(tmp_path / "audit", vault.keys.audit, clock=sandbox.clock)
    async with await build(
        sandbox, vault=vault, audit=audit, transport=recorder, policy=allow_all, clock=sandbox.clock
    ) as deputy:
        await connect(deputy, sandbox, "readonly", "metadata")
        before = len(recorder.seen)
        with pytest.raises(ReconsentRequired) as lost:
            await act(deputy, tool)
        assert lost.value.reason == "restricted scope in grant"
        assert [one.url.path for one in recorder.seen[before:]] == ["/revoke"]
        assert sandbox.live_tokens()[ALICE] == 0
        again = lost.value.consent
        assert f"{GMAIL}metadata" not in again.scopes
        assert (await consent(deputy, sandbox, again)).status == "granted"
        [held] = await deputy.connections("alice")
        assert f"{GMAIL}readonly" in held.scopes and f"{GMAIL}metadata" not in held.scopes
        assert await act(deputy, "gmail_search_emails", query="invoice")
    assert "restricted scope" in "".join(file.read_text() for file in (tmp_path / "audit").iterdir())


async def test_metadata_scope_does_not_affect_another_api(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "metadata")
    for one in await deputy.connect("alice", "google", scopes=[f"{CALENDAR}.events.owned.readonly"]):
        assert (await consent(deputy, sandbox, one)).status == "granted"
    assert (await act(deputy, "calendar_list_events"))["items"]
    with pytest.raises(ReconsentRequired):
        await act(deputy, "gmail_search_emails")


async def test_next_narrowest_scope_is_requested_once_when_the_first_is_not_enough(
    deputy: Deputy, sandbox: Sandbox
) -> None:
    for one in await deputy.connect("alice", "google", scopes=[f"{CALENDAR}.events.owned.readonly"]):
        await consent(deputy, sandbox, one)
    listed = next(method.scopes for method in METHODS if method.id == "events.list")
    refusal = scope_missing("www.googleapis.com", "calendar.v3.Events.List", listed)
    sandbox.switches.faults["GET", "/calendar/"] = [(403, dict(refusal.headers), refusal.body)] * 2
    with pytest.raises(ConsentRequired) as asked:
        await act(deputy, "calendar_list_events", "1")
    assert asked.value.consent.scopes == (f"{CALENDAR}.events.readonly",)
    assert (await consent(deputy, sandbox, asked.value.consent)).status == "granted"
    sandbox.switches.faults.clear()
    assert (await act(deputy, "calendar_list_events", "1"))["items"]


async def test_alices_events_and_words_are_hidden_from_bob(deputy: Deputy, sandbox: Sandbox) -> None:
    for user, email in (("alice", ALICE), ("bob", BOB)):
        for one in await deputy.connect(user, "google", scopes=[f"{CALENDAR}.events.owned", f"{CALENDAR}.freebusy"]):
            await consent(deputy, sandbox, one, as_=email)
    secret = {"title": "Surprise for Bob", "start": "2026-12-03T18:00", "end": "1h", "time_zone": "Europe/Berlin"}
    made = await act(deputy, "calendar_create_event", "1", **secret)
    bobs = await act(deputy, "calendar_list_events", user="bob", before="+30d", limit=100)
    assert "Surprise" not in json.dumps(bobs)
    for tool in ("calendar_get_event", "calendar_delete_event"):
        with pytest.raises(NotFound):
            await act(deputy, tool, user="bob", event_id=made["id"])
    assert (await act(deputy, "calendar_get_event", event_id=made["id"]))["title"] == "Surprise for Bob"


async def test_event_with_a_lost_answer_is_created_once(deputy: Deputy, sandbox: Sandbox) -> None:
    for one in await deputy.connect("alice", "google", scopes=[f"{CALENDAR}.events.owned"]):
        await consent(deputy, sandbox, one)
    sandbox.switches.drop_after_commit.append("/calendar/v3/calendars/primary/events")
    plan = {"title": "Once", "start": "2026-12-03T18:00", "end": "1h", "time_zone": "Europe/Berlin"}
    made = [await act(deputy, "calendar_create_event", "1", **plan) for _ in range(3)]
    assert made[0] == made[1] == made[2]
    events = sandbox.service("calendar")["events"].values()
    assert [one["data"]["summary"] for one in events].count("Once") == 1
