"""Alice and Bob through the whole deputy, against emulate's Google: consent, read, write, refresh, revoke.

The emulator's first user is a decoy: requests with an unknown token return the decoy's data, so each test checks whose
data it got. The strict transport refuses what the emulator lets pass.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from deputize.core import (
    App,
    Call,
    Consent,
    ConsentRequired,
    Deputy,
    OutcomeUnknown,
    ReconsentRequired,
    ScopeNotGranted,
    Secret,
    allow_all,
)
from deputize.core.consent.consents import AnyLocalUser
from tests.support.emulate import BOBS_SECRET, oauth_client
from tests.support.sandbox_deputy import GMAIL, build
from tests.support.strict_emulate import StrictTransport, answered, consent_click, lost_after_acting

pytestmark = pytest.mark.counterpart
PEOPLE = {"alice": "alice@example.test", "bob": "bob@example.test"}


@pytest.fixture
async def deputy(strict_google: StrictTransport) -> AsyncIterator[Deputy]:
    client = oauth_client("google")
    app = App("google", client.id, Secret(client.secret))
    async with await build(transport=strict_google, apps=[app], policy=allow_all) as deputy:
        yield deputy


async def visit(deputy: Deputy, transport: StrictTransport, consent: Consent, email: str, *untick: str) -> str:
    """Complete a consent at the emulator; return how it ended."""
    started = await deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser())
    back = await consent_click(transport, started.url, email, unticked=[f"{GMAIL}{s}" for s in untick])
    params = dict(parse_qsl(urlsplit(back).query))
    await deputy.consents.finish(consent.app, params, AnyLocalUser(), started.nonce.reveal())
    ended = await deputy.consents.status(consent.id)
    assert ended is not None
    return ended.status


async def connect(deputy: Deputy, transport: StrictTransport, user: str, *tools: str) -> None:
    for consent in await deputy.connect(user, tools=tools):
        assert await visit(deputy, transport, consent, PEOPLE[user]) == "granted"


async def act(deputy: Deputy, user: str, tool: str, call: Call | None = None, **arguments: Any) -> Any:
    return await deputy.act(f"gmail_{tool}", arguments, user=user, call=call)


async def test_alice_and_bob_never_see_each_others_mail(deputy: Deputy, strict_google: StrictTransport) -> None:
    tools = ("gmail_search_emails", "gmail_get_email", "gmail_reply_email", "gmail_send_email", "gmail_list_labels")
    await asyncio.gather(*(connect(deputy, strict_google, user, *tools) for user in PEOPLE))

    seen = dict(zip(PEOPLE, await asyncio.gather(*(act(deputy, u, "search_emails") for u in PEOPLE)), strict=True))
    assert "Budget for spring" in json.dumps(seen["alice"]) and "For Bob alone" in json.dumps(seen["bob"])

    mail = await act(deputy, "alice", "get_email", message_id="msg_alice_1")
    assert "numbers" in mail["body"] and mail["untrusted"] is True
    await act(deputy, "alice", "reply_email", message_id="msg_alice_1", body="Here they are.")
    await act(deputy, "alice", "send_email", to=["carol@example.test"], subject="Hello", body="From Alice")
    outbox = await act(deputy, "alice", "search_emails", query="in:sent")
    assert {"Re: Budget for spring", "Hello"} <= {row["subject"] for row in outbox["items"]}
    assert all("alice@example.test" in row["from"] for row in outbox["items"])

    everything = [
        await act(deputy, "alice", "search_emails", query=q, spam_trash=True, detail="full") for q in ("", BOBS_SECRET)
    ]
    assert BOBS_SECRET not in json.dumps([seen["alice"], mail, outbox, everything])
    assert (
        "Budget" not in json.dumps(seen["bob"])
        and (await act(deputy, "bob", "search_emails", query="in:sent"))["items"] == []
    )


@pytest.mark.parametrize("user", PEOPLE)
async def test_whoami_is_the_person_who_consented(deputy: Deputy, strict_google: StrictTransport, user: str) -> None:
    await connect(deputy, strict_google, user, "gmail_whoami")
    assert (await act(deputy, user, "whoami"))["email"] == PEOPLE[user]
    assert [c.account for c in await deputy.connections(user)] == [PEOPLE[user]]


@pytest.mark.parametrize("user", PEOPLE)
async def test_expired_token_is_refreshed_once(deputy: Deputy, strict_google: StrictTransport, user: str) -> None:
    strict_google.access_ttl = 1
    await connect(deputy, strict_google, user, "gmail_search_emails")
    strict_google.access_ttl = None
    await asyncio.sleep(1.05)
    before = len(strict_google.ledger)
    found = await asyncio.gather(*(act(deputy, user, "search_emails", detail="count") for _ in range(50)))
    tokens = [entry for entry in strict_google.ledger[before:] if entry.path == "/token"]
    assert len(found) == 50 and [entry.status for entry in tokens] == [200]


async def test_only_missing_and_unticked_scopes_are_requested(deputy: Deputy, strict_google: StrictTransport) -> None:
    await connect(deputy, strict_google, "alice", "gmail_search_emails")
    call = Call("thread", "message", "1")
    mail = {"to": ["carol@example.test"], "subject": "x", "body": "y"}
    with pytest.raises(ConsentRequired) as asked:
        await act(deputy, "alice", "send_email", call, **mail)
    assert asked.value.consent.scopes == (f"{GMAIL}send",)
    assert await visit(deputy, strict_google, asked.value.consent, PEOPLE["alice"], "send") == "partial"
    with pytest.raises(ScopeNotGranted):
        await act(deputy, "alice", "send_email", call, **mail)
    assert (await act(deputy, "alice", "search_emails", query="subject:x"))["items"] == []


async def test_another_account_is_refused_and_the_grant_stays(deputy: Deputy, strict_google: StrictTransport) -> None:
    await connect(deputy, strict_google, "alice", "gmail_search_emails")
    [consent] = await deputy.connect("alice", tools=["gmail_send_email"])
    assert await visit(deputy, strict_google, consent, PEOPLE["bob"]) == "failed"
    found = json.dumps(await act(deputy, "alice", "search_emails"))
    assert "Budget for spring" in found and BOBS_SECRET not in found
    assert [e.status for e in strict_google.ledger if e.path == "/revoke"] == [200]


@pytest.mark.parametrize("user", PEOPLE)
async def test_revocation_ends_the_grant_here_and_at_google(
    deputy: Deputy, strict_google: StrictTransport, user: str
) -> None:
    await connect(deputy, strict_google, user, "gmail_search_emails")
    assert [r.upstream for r in await deputy.revoke(user, "google")] == ["done"]
    before = len(strict_google.ledger)
    with pytest.raises(ConsentRequired):
        await act(deputy, user, "search_emails")
    assert strict_google.ledger[before:] == [] and await deputy.connections(user) == []


async def test_grant_ended_at_google_asks_once_sending_nothing(deputy: Deputy, strict_google: StrictTransport) -> None:
    strict_google.access_ttl = 1
    await connect(deputy, strict_google, "alice", "gmail_search_emails")
    await asyncio.sleep(1.05)
    strict_google.inject("POST", "/token", answered(400, {"error": "invalid_grant"}))
    consents = set()
    for _ in range(20):
        with pytest.raises(ReconsentRequired) as lost:
            await act(deputy, "alice", "search_emails")
        consents.add(lost.value.consent.id)
    assert len(consents) == 1
    assert [e.status for e in strict_google.ledger if e.path == "/token"] == [200, 400]


async def test_mail_with_a_lost_answer_is_never_resent(deputy: Deputy, strict_google: StrictTransport) -> None:
    await connect(deputy, strict_google, "alice", "gmail_send_email", "gmail_search_emails")
    path = "/gmail/v1/users/me/messages/send"
    strict_google.inject("POST", path, lost_after_acting)
    call = Call("thread", "message", "1")
    outcomes = []
    for _ in range(3):
        try:
            outcomes.append(
                await act(deputy, "alice", "send_email", call, to=["carol@example.test"], subject="Once", body="x")
            )
        except OutcomeUnknown as unknown:
            outcomes.append(unknown.code)
    sent = await act(deputy, "alice", "search_emails", query="in:sent subject:Once")
    assert len(sent["items"]) == 1
    assert len([e for e in strict_google.ledger if e.method == "POST" and e.path == path]) == 1
    assert all(one == "outcome_unknown" or one["id"] == sent["items"][0]["id"] for one in outcomes)


async def test_labels_drafts_and_mail_updates_work(deputy: Deputy, strict_google: StrictTransport) -> None:
    await connect(
        deputy,
        strict_google,
        "alice",
        "gmail_save_draft",
        "gmail_send_draft",
        "gmail_update_emails",
        "gmail_manage_label",
    )
    draft = await act(deputy, "alice", "save_draft", to=["carol@example.test"], subject="Draft", body="first")
    await act(deputy, "alice", "save_draft", draft_id=draft["draft_id"], body="second")
    await act(deputy, "alice", "send_draft", draft_id=draft["draft_id"])
    [row] = (await act(deputy, "alice", "search_emails", query="in:sent subject:Draft", detail="full"))["items"]
    assert "second" in row["body"]
    await act(deputy, "alice", "manage_label", action="create", name="Invoices")
    await act(deputy, "alice", "update_emails", message_ids=["msg_alice_1"], action="star", add_labels=["Invoices"])
    mail = await act(deputy, "alice", "get_email", message_id="msg_alice_1")
    assert {"STARRED", "Invoices"} <= set(mail["labels"])
