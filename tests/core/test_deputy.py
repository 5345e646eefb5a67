"""The deputy as a whole: the acting user, the order of steps, and who may see what."""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deputize.core import (
    AccountMismatch,
    App,
    Approval,
    ApprovalRequired,
    Call,
    Consent,
    ConsentRequired,
    DeputizeError,
    InvalidInput,
    MandateOffer,
    NotFound,
    PolicyDenied,
    ProviderUnavailable,
    Revoked,
    SettingsError,
    User,
    UserRequired,
    Verdict,
    allow_all,
    ask_before_sending,
)
from deputize.core.audit import Audit, verify
from deputize.core.vault.pseudonyms import People
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.sandbox import Sandbox
from tests.core.consent.test_consents import House
from tests.support.faults import GMAIL_API, REVOKE, answer, broken
from tests.support.gmail_toolkit import ALL, MAIL, PREFIX, READ, SEND, gmail
from tests.support.sandbox_deputy import build, connect, consent, google_app, new_vault

ALICE, BOB, TENANT = User("alice"), User("bob"), User("alice", "acme")
NOBODY: list[Any] = [None, "", " ", "\t\n", 0, -7, False, True, 7.0, b"alice", ["alice"], {"id": "alice"}, ...]
NOBODY += [User(""), User(" "), User(None), User(-7), User(["alice"])]  # type: ignore[arg-type]


async def consents_for(house: House, account: str) -> Consent:
    """Return the consent that asks Alice for this account, which she has not connected."""
    app, wanted = house.deputy.apps["google"], [f"{PREFIX}labels"]
    return await house.deputy.consents.require(ALICE, app, wanted, account=account)


# ------------------------------------------------------------- whose act it is


@pytest.mark.parametrize("nobody", NOBODY, ids=repr)
async def test_2_act_without_a_user_is_refused_and_audited(house: House, nobody: Any) -> None:
    with pytest.raises(UserRequired):
        await house.deputy.act("gmail_search", {}, user=nobody)
    last = house.deputy.audit.rows()[-1]
    assert (last["event"], last["decision"], last["tool"]) == ("act.result", "user_required", "gmail_search")
    assert house.line.seen == []


@pytest.mark.parametrize("nobody", NOBODY, ids=repr)
async def test_2_other_methods_without_a_user_are_refused(house: House, nobody: Any) -> None:
    deputy = house.deputy
    for work in (
        deputy.connect(nobody, "google", scopes=[READ]),
        deputy.connections(nobody),
        deputy.revoke(nobody, "google"),
        deputy.decide("x", "approve", by=nobody),
        deputy.pending(nobody),
        deputy.get_approval("x", by=nobody),
        deputy.dismiss_approval("x", by=nobody),
    ):
        with pytest.raises(UserRequired):
            await work
    [way] = await deputy.check_calls([("gmail_search", {}, Call(id="1"))], user=nobody)
    assert isinstance(way, UserRequired) and house.line.seen == []


@pytest.mark.parametrize(
    "name",
    [
        *("user", "user_id", "tenant", "token", "access_token", "account", "config", "runtime", "state", "context"),
        *("key", "granted", "noted", "now", "call", "agent", "app", "provider", "self", "store", "headers"),
    ],
)
@pytest.mark.parametrize("tool", ["gmail_search", "gmail_send", "gmail_two_step"])
async def test_2_argument_naming_the_user_is_refused(house: House, tool: str, name: str) -> None:
    arguments = {} if tool == "gmail_search" else MAIL
    with pytest.raises(InvalidInput) as caught:
        await house.deputy.act(tool, {**arguments, name: "bob"}, user="alice")
    assert name in str(caught.value) and "bob" not in str(caught.value) and house.line.seen == []


def test_2_no_tool_schema_has_a_user_or_token_argument() -> None:
    for tool in gmail.tools.values():
        names = tool.schema.get("properties", {}).keys()
        assert names.isdisjoint({"user", "token", "account", "key", "granted", "noted", "now"})
        assert tool.schema.get("additionalProperties") is False


async def test_bob_cannot_act_with_alices_grants(house: House) -> None:
    for user in (BOB, TENANT, User("alice", "Acme"), User("Alice"), User("alice ")):
        with pytest.raises(ConsentRequired):
            await house.deputy.act("gmail_search", {}, user=user)
        assert await house.deputy.connections(user) == []
        assert await house.deputy.revoke(user, "google") == []
    assert house.line.seen == [] and await house.act("search")


async def test_user_and_tenant_keys_cannot_collide(house: House) -> None:
    pairs = [User("ab", "c"), User("b", "ca"), User("abc", ""), User("", "abc"), User("c", "ab"), User("a\nb", "c")]
    places = {house.deputy.vault.key_prefix(user) for user in pairs}
    assert len(places) == len(pairs)
    assert not any(a != b and a.startswith(b) for a in places for b in places)


async def test_bob_sees_no_consent_approval_or_outcome_of_alice(house: House) -> None:
    house.deputy.policy = ask_before_sending
    asked = await house.deputy.connect(TENANT, "google", scopes=[READ])
    with pytest.raises(ApprovalRequired) as caught:
        await house.act("send", **MAIL)
    for user in (BOB, User("alice", "other")):
        assert await house.deputy.pending(user) == []
        assert await house.deputy.get_approval(caught.value.approval, by=user) is None
    assert [c.id for c in await house.deputy.pending(TENANT)] == [asked[0].id]


async def test_pending_request_is_listed_until_decided_and_then_found_by_id(house: House) -> None:
    house.deputy.policy = ask_before_sending
    [link] = await house.deputy.connect(ALICE, "google", add_account=True)
    with pytest.raises(ApprovalRequired) as caught:
        await house.act("send", **MAIL)
    yes = caught.value.approval
    assert await house.deputy.pending("alice") == [link, yes]
    await house.deputy.decide(yes, "approve", by="alice")
    await consent(house.deputy, house.sandbox, link, deny=True)
    assert await house.deputy.pending("alice") == []
    refused, approved = await house.deputy.get_consent(link), await house.deputy.get_approval(yes.id, by="alice")
    assert refused and refused.status == "denied" and approved and approved.status == "approved"
    assert (
        await house.deputy.get_consent("nobody's") is None and await house.deputy.get_approval("x", by="alice") is None
    )


async def test_recorded_result_of_alice_is_not_returned_to_bob(house: House) -> None:
    await house.connected(*ALL, user="bob", as_="bob@example.test")
    call = Call("t", "m", "c")
    hers = await house.deputy.act("gmail_send", MAIL, user="alice", call=call)
    his = await house.deputy.act("gmail_send", MAIL, user="bob", call=call)
    assert hers != his and len(house.sandbox.sent("bob@example.test")) == 1


async def test_decoy_account_is_never_used(house: House) -> None:
    await house.act("send", **MAIL)
    assert {seen.who for seen in house.sandbox.requests if "gmail" in seen.host} == {"alice@example.test"}


# ------------------------------------------------------------- arguments and names


@pytest.mark.parametrize("arguments", [None, "x", 7, ["a"], [("a", 1)], {1: 2}, {"limit": object()}, b"{}"])
async def test_invalid_arguments_are_invalid_input(house: House, arguments: Any) -> None:
    with pytest.raises(InvalidInput):
        await house.deputy.act("gmail_search", arguments, user="alice")


@pytest.mark.parametrize(
    "tool", ["", "gmail", "gmail_steal", "gmail_search ", "__class__", "x" * 10_000, None, 7, ["a"]]
)
async def test_unknown_tool_is_invalid_input_and_suggests_similar_names(house: House, tool: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        await house.deputy.act(tool, {}, user="alice")
    assert len(str(caught.value)) < 500
    [way] = await house.deputy.check_calls([(tool, {}, Call(id="1"))], user="alice")
    assert isinstance(way, InvalidInput)


async def test_argument_error_names_the_argument_and_never_its_value(house: House) -> None:
    with pytest.raises(InvalidInput) as caught:
        await house.deputy.act("gmail_send", {"to": ["canary-1"], "subject": {"x": "canary-2"}}, user="alice")
    text = str(caught.value)
    assert "to" in text and "subject" in text and "body" in text and "canary" not in text


@pytest.mark.parametrize(
    "user", ["al\x00ice", "al\nice", "é", "日本", "a" * 10_000, "../alice", "alice/../bob", "\ud800"]
)
async def test_user_id_of_any_characters_is_distinct_or_refused(house: House, user: str) -> None:
    try:
        asked = await house.deputy.connect(user, "google", scopes=[READ])
    except DeputizeError:
        return
    assert len(asked) == 1 and [c.id for c in await house.deputy.consents.list_pending(User(user))] == [asked[0].id]


async def test_unconnected_account_is_not_replaced_by_another(house: House) -> None:
    for account in ("bob@example.test", "", " ", "alice"):
        with pytest.raises((AccountMismatch, InvalidInput)):
            await house.deputy.act("gmail_search", {}, user="alice", account=account)
    assert house.line.seen == []


async def test_invalid_settings_stop_the_start() -> None:
    for apps in ([google_app(), google_app()], [App("nowhere", "id")]):
        with pytest.raises(SettingsError):
            await build(apps=apps)
    deputy = await build(apps=[], toolkits=[gmail])
    with pytest.raises(SettingsError) as caught:
        await deputy.act("gmail_search", {}, user="alice")
    assert "GOOGLE" in caught.value.hint
    await deputy.close()


async def test_unknown_provider_or_app_is_named(house: House) -> None:
    with pytest.raises(InvalidInput):
        await house.deputy.revoke("alice", "nowhere")
    for provider, app in (("nowhere", ""), ("google", "no-such-app"), ("", "no-such-app")):
        with pytest.raises((InvalidInput, SettingsError)):
            await house.deputy.connect("alice", provider, scopes=[READ], app=app)


# ------------------------------------------------------------- preparing


async def test_check_calls_reports_each_blocker_and_requests_one_consent() -> None:
    house = await House().begin()
    house.deputy.policy = lambda act: Verdict.DENY if act.tool.name == "gmail_label" else ask_before_sending(act)
    calls: list[tuple[str, dict[str, Any], Call]] = [
        ("gmail_search", {}, Call("t", "m", "1")),
        ("gmail_send", MAIL, Call("t", "m", "2")),
        ("gmail_label", {"name": "x"}, Call("t", "m", "3")),
        ("gmail_nothing", {}, Call("t", "m", "4")),
        ("gmail_search", {"limit": 1}, Call("t", "m", "5")),
    ]
    ways = await house.deputy.check_calls(calls, user="alice")
    assert [type(way) for way in ways] == [ConsentRequired, ConsentRequired, PolicyDenied, InvalidInput, InvalidInput]
    first, second = ways[:2]
    assert isinstance(first, ConsentRequired) and isinstance(second, ConsentRequired)
    assert first.consent.id == second.consent.id and set(first.consent.scopes) == {READ, SEND}
    await consent(house.deputy, house.sandbox, first.consent)
    ways = await house.deputy.check_calls(calls[:2], user="alice")
    assert ways[0] is None and isinstance(ways[1], ApprovalRequired)
    assert house.line.count(GMAIL_API) == 0
    await house.deputy.decide(ways[1].approval, "approve", by="alice")
    assert await house.deputy.check_calls(calls[:2], user="alice") == [None, None]
    await house.deputy.act(*calls[1][:2], user="alice", call=calls[1][2])
    await house.deputy.close()


async def test_check_calls_adds_the_scopes_of_calls_checked_elsewhere() -> None:
    house = await House().begin()
    reads: Any = ("gmail_search", {}, Call("t", "m", "1"))
    sends, unknown = ("gmail_send", MAIL, Call("t", "m", "2")), ("gmail_nothing", MAIL, Call("t", "m", "3"))
    found = list[ConsentRequired]()
    for one, *beside in ((reads, sends, unknown), (sends, reads)):
        [way] = await house.deputy.check_calls([one], user="alice", beside=beside)
        assert isinstance(way, ConsentRequired)
        found.append(way)
    assert found[0].consent == found[1].consent and set(found[0].consent.scopes) == {READ, SEND}
    [way] = await house.deputy.check_calls([reads], user="bob", beside=[sends])
    assert isinstance(way, ConsentRequired) and way.consent.id != found[0].consent.id
    await consent(house.deputy, house.sandbox, found[0].consent)
    unread = (pytest.fail("read") for _ in "1")
    assert await house.deputy.check_calls([reads], user="alice", beside=unread) == [None]
    assert await house.deputy.pending("alice") == []  # an approval is requested only by the check of its own call
    with pytest.raises(TypeError):
        await house.deputy.check_calls([reads], user="bob", beside=[("gmail_send", MAIL)])  # type: ignore[list-item]
    await house.deputy.close()


async def test_call_that_the_policy_denies_adds_no_scopes_beside_another() -> None:
    house = await House().begin()
    house.deputy.policy = lambda act: Verdict.DENY if act.tool.name == "gmail_send" else Verdict.ALLOW
    reads: Any = ("gmail_search", {}, Call("t", "m", "1"))
    sends = ("gmail_send", MAIL, Call("t", "m", "2"))
    [way] = await house.deputy.check_calls([reads], user="alice", beside=[sends])
    assert isinstance(way, ConsentRequired) and way.consent.scopes == (READ,)
    await house.deputy.close()


async def test_calls_beside_request_no_consent_of_another_app_and_none_for_a_done_act() -> None:
    apps = [google_app(), App("slack", "client", pkce=True)]
    async with await build(Sandbox(), apps=apps) as deputy:
        mail = ("gmail_search_emails", {"query": "x"}, Call("t", "m", "1"))
        chat = ("slack_send_message", {"channel": "#general", "text": "hi"}, Call("t", "m", "2"))
        [way] = await deputy.check_calls([mail], user="alice", beside=[chat])
        assert isinstance(way, ConsentRequired) and await deputy.pending("alice") == [way.consent]
    house = await House().begin()
    await connect(house.deputy, house.sandbox, "send")
    done = ("gmail_send", MAIL, Call("t", "m", "1"))
    house.deputy.policy = lambda _: Verdict.ALLOW
    await house.deputy.act(*done[:2], user="alice", call=done[2])
    await house.deputy.revoke("alice", "google")
    [way] = await house.deputy.check_calls([("gmail_search", {}, Call("t", "m", "2"))], user="alice", beside=[done])
    assert isinstance(way, ConsentRequired) and way.consent.scopes == (READ,)
    await house.deputy.close()


async def test_check_calls_lets_a_completed_act_pass(house: House) -> None:
    call = Call("t", "m1", "c")
    await house.act("send", **MAIL)
    house.deputy.policy = ask_before_sending
    assert await house.deputy.check_calls([("gmail_send", MAIL, call)], user="alice") == [None]


async def test_check_calls_requests_the_same_approval_as_the_act(house: House) -> None:
    house.deputy.policy = ask_before_sending
    call = Call("t", "m1", "c")
    [way] = await house.deputy.check_calls([("gmail_send", MAIL, call)], user="alice")
    with pytest.raises(ApprovalRequired) as caught:
        await house.act("send", **MAIL)
    assert isinstance(way, ApprovalRequired) and way.approval.id == caught.value.approval.id


# ------------------------------------------------------------- answering for it


async def test_10_every_act_has_audit_rows_without_arguments(house: House) -> None:
    await house.act("search", query="canary")
    await house.deputy.act("gmail_send", MAIL | {"body": "canary"}, user="alice", call=Call("t", "m", "c", "run"))
    rows = [row for row in house.deputy.audit.rows() if row["event"].startswith("act.")]
    assert [(row["event"], row["tool"]) for row in rows] == [
        ("act.result", "gmail_search"),
        ("act.intent", "gmail_send"),
        ("act.result", "gmail_send"),
    ]
    last = (await People.of(house.deputy.vault)).resolve_row(rows[-1])
    assert (last["user"], last["thread"], last["run"], last["call_id"], last["decision"]) == (
        "alice",
        "t",
        "run",
        "c",
        "done",
    )
    assert set(last["scopes_granted"]) >= {READ, SEND} and last["scopes_required"] == [SEND] and last["account_hash"]
    assert "canary" not in json.dumps(house.deputy.audit.rows()) and "alice@" not in json.dumps(rows)


async def test_10_every_failure_has_an_audit_row_with_its_code(house: House) -> None:
    house.line.answers[GMAIL_API] = [answer(404), broken(), broken(), broken()]
    for arguments, code in (
        ({"id": "a"}, "not_found"),
        ({"id": "a"}, "provider_unavailable"),
        ({"id": "/"}, "invalid_input"),
    ):
        with pytest.raises(DeputizeError):
            await house.deputy.act("gmail_get", arguments, user="alice")
        assert house.deputy.audit.rows()[-1]["decision"] == code


async def test_strict_mode_syncs_the_intent_before_sending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox, vault = Sandbox(), await new_vault()
    audit = Audit(tmp_path / "audit", vault.keys.audit, mode="strict")
    deputy = await build(sandbox, vault=vault, audit=audit, toolkits=[gmail], policy=lambda act: Verdict.ALLOW)
    await connect(deputy, sandbox, *ALL)
    order: list[str] = []
    inner: Any = deputy.http._shared
    handle, sync = inner.handle_async_request, os.fsync

    def syncing(fd: int) -> None:
        time.sleep(0.05)  # a disk that a write could overtake
        sync(fd)
        files = "".join(path.read_text() for path in (tmp_path / "audit").glob("*.jsonl"))
        order.extend(["durable"] * ('"act.intent"' in files and "durable" not in order))

    async def handling(request: Any) -> Any:
        order.extend(["sent"] * (request.method == "POST"))
        return await handle(request)

    inner.handle_async_request = handling
    monkeypatch.setattr(os, "fsync", syncing)
    await deputy.act("gmail_send", MAIL, user="alice")
    assert order == ["durable", "sent"]
    await deputy.close()
    assert verify(tmp_path / "audit", [vault.keys.audit]).ok


# ------------------------------------------------------------- disconnecting


async def test_R30_disconnect_works_locally_when_the_provider_is_down(house: House) -> None:
    house.line.answers[REVOKE] = [answer(503)] * 3
    assert await house.deputy.revoke("alice", "google") == [Revoked("google", "alice@example.test", "queued")]
    assert await house.deputy.connections("alice") == [] and house.live() > 0
    with pytest.raises(ConsentRequired):
        await house.act("search", message="m9")
    assert house.line.count(GMAIL_API) == 0
    assert await house.deputy.revoker.retry() == ["queued"]
    house.line.answers.clear()
    assert await house.deputy.revoker.retry() == ["done"] and house.live() == 0
    assert await house.deputy.revoker.retry() == []


async def test_R31_queued_revocation_is_sent_in_the_background(house: House) -> None:
    house.line.answers[REVOKE] = [answer(503)]
    await house.deputy.revoke("alice", "google")
    house.clock.now += 120
    await house.connected("readonly", user="bob", as_="bob@example.test")  # the deputy is used again, by anybody
    await house.deputy.act("gmail_search", {}, user="bob")
    await house.deputy.revoke("bob", "google")
    assert house.live("alice") == 0


async def test_R31_token_already_ended_at_the_provider_counts_as_revoked(house: House) -> None:
    house.sandbox._world.authority.end_grant(google_app().client_id, "100000000000000000002")
    assert await house.deputy.revoke("alice", "google") == [Revoked("google", "alice@example.test", "done")]


async def test_R31_abandoned_revocation_is_audited_once_and_retried_daily(house: House) -> None:
    house.line.answers[REVOKE] = [answer(503)] * 4
    await house.deputy.revoke("alice", "google")
    house.clock.now += 86401
    assert await house.deputy.revoker.retry() == ["abandoned"] and "revoke.abandoned" in house.events()
    house.line.seen.clear()
    for hours, tries in ((1, 0), (12, 0), (12, 1), (12, 1)):
        house.clock.now += hours * 3600
        await house.deputy.revocation_queue.flush()
        assert house.line.count(REVOKE) == tries
    assert house.events().count("revoke.abandoned") == 1
    house.line.answers.clear()
    house.clock.now += 86400
    await house.deputy.revocation_queue.flush()
    assert house.live() == 0 and await house.deputy.revoker.retry() == []


async def test_wait_reports_each_consents_end_when_it_is_requested_again(house: House) -> None:
    """Other processes request again as soon as one has ended, faster than any poll."""
    ids = []
    for _ in range(3):
        asked = await house.ask("labels", "send", user="carol")
        ids.append(asked.id)
        await consent(house.deputy, house.sandbox, asked, deny=True)
    waiting = await house.ask("labels", "send", user="carol")
    ended = await house.deputy.wait_for_consents([*ids, waiting], timeout=0)
    assert [one.id for one in ended] == [*ids, waiting.id]
    assert [one.status for one in ended] == ["denied"] * 3 + ["pending"]
    assert all((one.scopes, one.provider) == (waiting.scopes, "google") for one in ended)


@pytest.mark.processes
async def test_wait_for_a_removed_consent_returns_failed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "deputize.core.vault.notify.POLL_INTERVAL_SECONDS", 2.0
    )  # no look between its end and its removal
    asked = await house.ask("labels", user="carol")
    waiting = asyncio.create_task(house.deputy.wait_for_consents([asked], timeout=10))
    await asyncio.sleep(0.05)
    await house.deputy.erase("carol")
    [ended] = await waiting
    assert (ended.id, ended.status) == (asked.id, "failed")


async def test_R30_tombstone_is_empty_and_the_revocation_queue_is_encrypted(house: House) -> None:
    grant = await house.grant()
    assert grant and grant.refresh_token
    house.line.answers[REVOKE] = [answer(503)]
    await house.deputy.revoke("alice", "google")
    token = grant.refresh_token.reveal().encode()
    [stone] = await house.deputy.vault.list_grants(ALICE)
    assert (stone.status, stone.scopes, stone.refresh_token) == ("revoked", frozenset(), None)
    for kind in ("grant", "outbox"):
        assert not any(token in sealed for _, sealed in await house.store.scan(kind))


async def test_R35_consent_after_a_disconnect_continues_the_generation(house: House) -> None:
    before = await house.grant()
    await house.deputy.revoke("alice", "google")
    after = await house.connected("readonly")
    assert before and after.generation == before.generation + 2 and await house.act("search", message="m9")


async def test_disconnect_of_one_account_keeps_the_other(house: House) -> None:
    other = await house.deputy.consents.require(ALICE, house.deputy.apps["google"], [READ])
    await consent(house.deputy, house.sandbox, other, as_="bob@example.test")
    assert [r.account for r in await house.deputy.revoke("alice", "google", account="bob@example.test")] == [
        "bob@example.test"
    ]
    assert [c.account for c in await house.deputy.connections("alice")] == ["alice@example.test"]
    assert await house.deputy.revoke("alice", "google", account="bob@example.test") == []


async def test_remaining_account_is_used_after_the_default_is_disconnected(house: House) -> None:
    other = await house.deputy.consents.require(ALICE, house.deputy.apps["google"], [READ])
    await consent(house.deputy, house.sandbox, other, as_="bob@example.test")
    await house.deputy.revoke("alice", "google", account="alice@example.test")
    assert await house.act("search", message="m9") is not None


async def test_failed_disconnect_can_be_repeated(house: House) -> None:
    house.store.failing["swap", "grant"] = 1
    with pytest.raises(DeputizeError):
        await house.deputy.revoke("alice", "google")
    assert [r.upstream for r in await house.deputy.revoke("alice", "google")] == ["done"]
    assert house.live() == 0 and await house.deputy.vault.scan("outbox") == []


async def test_R32_another_process_refuses_immediately_after_a_disconnect(tmp_path: Path) -> None:
    path, sandbox = tmp_path / "vault" / "vault.sqlite", Sandbox()
    one = await build(sandbox, vault=await new_vault(path, b"k" * 32), toolkits=[gmail])
    two = await build(sandbox, vault=await new_vault(path, b"k" * 32), toolkits=[gmail])
    await connect(one, sandbox, *ALL)
    assert await two.act("gmail_search", {}, user="alice")
    await one.revoke("alice", "google")
    before = sandbox.count(*GMAIL_API)
    with pytest.raises(ConsentRequired):
        await two.act("gmail_search", {}, user="alice")
    assert sandbox.count(*GMAIL_API) == before
    await one.close()
    await two.close()


async def test_act_is_audited_when_its_check_is_cancelled(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cut_off(*lacking: object) -> DeputizeError:
        raise asyncio.CancelledError

    monkeypatch.setattr(house.deputy.asking, "consent_error", cut_off)
    with pytest.raises(asyncio.CancelledError):
        await house.deputy.act("gmail_search", {}, user="bob")
    last = (await People.of(house.deputy.vault)).resolve_row(house.deputy.audit.rows()[-1])
    assert (last["event"], last["user"], last["decision"]) == ("act.result", "bob", "interrupted")


@pytest.mark.parametrize(
    "said",
    ['1\n{"event":"act.result","decision":"done"}', "\x1b[2J\r\x00", "\ud800", "x" * 1_000_000, '","mac":"0"}\n'],
    ids=["a row", "control characters", "half a character", "a megabyte", "an end"],
)
async def test_hostile_arguments_break_neither_audit_rows_nor_the_act(tmp_path: Path, said: str) -> None:
    audit = Audit(tmp_path / "audit", b"a" * 32)
    house = await House().begin(audit=audit)
    await house.connected("readonly")
    before = len(audit.rows())
    await house.deputy.act("gmail_search", {}, user="alice", agent=said, call=Call(said, said, said))
    with pytest.raises(InvalidInput):
        await house.deputy.act(said, {}, user="alice", call=Call(id=said))
    rows = audit.rows()[before:]
    await house.deputy.close()
    assert [(row["event"], row["decision"]) for row in rows] == [
        ("act.result", "done"),
        ("act.result", "invalid_input"),
    ]
    assert rows[0]["call_id"][:50] == said[:50] and len(rows[0]["call_id"]) <= 4096
    [file] = (tmp_path / "audit").glob("*.jsonl")
    assert all(line.startswith(b'{"ts":') for line in file.read_bytes().splitlines())
    assert verify(tmp_path / "audit", [b"a" * 32]).ok


# ------------------------------------------------------------- the rest of the surface


async def test_lone_surrogate_in_id_or_scope_is_a_typed_error(house: House) -> None:
    bad, deputy = "abc\ud800", house.deputy
    assert await deputy.get_consent(bad) is None and await deputy.get_approval(bad, by="alice") is None
    with pytest.raises(NotFound):
        await deputy.wait_for_consents([bad], timeout=0)
    for mandate in (None, MandateOffer(max_acts=1, expires_at=deputy.clock() + 60)):
        with pytest.raises(NotFound):
            await deputy.decide(bad, "approve", by="alice", mandate=mandate)
    with pytest.raises(InvalidInput, match="lone surrogate"):
        await deputy.connect("alice", "google", scopes=[bad])
    with pytest.raises(InvalidInput, match="lone surrogate"):
        await deputy.connect("alice", "google", scopes=["gmail.readonly"], account=bad)


@pytest.mark.parametrize(
    "other", [None, 5, b"alice", ["alice"], {"id": 1}, object()], ids=lambda other: type(other).__name__
)
async def test_argument_of_another_type_raises_type_error(house: House, other: Any) -> None:
    deputy, asked = house.deputy, await house.ask("readonly", user="bob")
    works: list[Callable[[], Awaitable[object]]] = [
        lambda: deputy.get_consent(other),
        lambda: deputy.get_approval(other, by="alice"),
        lambda: deputy.decide(other, "approve", by="alice"),
        lambda: deputy.revoke_mandate("alice", other),
        lambda: deputy.undo("alice", other),
        lambda: deputy.store_file("alice", "a.txt", other, b"x"),
        lambda: deputy.add_mcp(other),
        lambda: deputy.add_mcp("acme", other),
        lambda: deputy.wait_for_consents([asked, other]),
        lambda: deputy.check_calls([other], user="alice"),
        lambda: deputy.sources.import_tokens("alice", "google", account=other, by="operator", access_token="x"),
    ]
    if other is not None:
        works += [
            lambda: deputy.act("gmail_search", {}, user="alice", call=other),
            lambda: deputy.act("gmail_search", {}, user="alice", account=other),
            lambda: deputy.decide("x", "approve", by="alice", mandate=other),
            lambda: deputy.mark_delivered(other, user="alice"),
        ]
    for work in works:
        with pytest.raises(TypeError):
            await work()
    with pytest.raises(TypeError):
        deputy.derive_key(other)  # pyright: ignore[reportArgumentType]
    assert house.line.seen == []


@pytest.mark.parametrize(
    "mandate", ["", "\0", "abc\ud800", "../x", "x" * 100_000, "0" * 17, "0123456789ABCDEF"], ids=repr
)
async def test_malformed_mandate_id_is_not_found(house: House, mandate: str) -> None:
    with pytest.raises(NotFound):
        await house.deputy.revoke_mandate("alice", mandate)


async def test_name_with_lone_surrogate_is_unknown(house: House) -> None:
    assert await house.deputy.revoke("alice", "google", app="goo\ud800gle") == []
    assert house.deputy.derive_key("a\ud800b") != house.deputy.derive_key("a")
    with pytest.raises(InvalidInput) as caught:
        await house.deputy.connect("alice", "goo\ud800gle", app="google")
    assert f"{caught.value}{caught.value.hint}".encode()
    [grant] = await house.deputy.connections("alice")
    assert grant.provider == "google"


@pytest.mark.parametrize("forever", [10**400, math.inf], ids=["a huge number", "infinity"])
async def test_wait_timeout_of_nan_ends_immediately_and_a_huge_one_is_accepted(house: House, forever: float) -> None:
    house.deputy.policy = ask_before_sending
    consent, approval = await house.ask("readonly", user="bob"), await asked_to_send(house)
    for seconds in (math.nan, -1.0, -math.inf):
        [still] = await asyncio.wait_for(house.deputy.wait_for_consents([consent], timeout=seconds), 10)
        now = await asyncio.wait_for(house.deputy.get_approval(approval, by="alice", timeout=seconds), 10)
        assert still.status == "pending" and now and now.status == "pending"
    for waiting in (
        house.deputy.wait_for_consents([consent], timeout=forever),
        house.deputy.get_approval(approval, by="alice", timeout=forever),
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 0.05)


async def asked_to_send(house: House) -> Approval:
    """Return an approval that waits for Alice."""
    with pytest.raises(ApprovalRequired) as caught:
        await house.act("send", **MAIL)
    return caught.value.approval


async def test_wait_ends_with_the_consent_or_at_its_timeout(house: House) -> None:
    asked = await house.ask("readonly", user="bob")
    began = time.monotonic()
    [still] = await house.deputy.wait_for_consents([asked], timeout=0.1)
    assert still.status == "pending" and time.monotonic() - began < 30
    waiting = asyncio.create_task(house.deputy.wait_for_consents([asked.id], timeout=10))
    await asyncio.sleep(0.02)
    await consent(house.deputy, house.sandbox, asked, as_="bob@example.test")
    assert [c.status for c in await waiting] == ["granted"]
    with pytest.raises(NotFound):
        await house.deputy.wait_for_consents(["no such id"], timeout=0)


@pytest.mark.processes
async def test_wait_ends_when_another_link_granted_all_its_scopes(house: House) -> None:
    asked, more = await house.ask("readonly", user="bob"), await house.ask("labels", "readonly", user="bob")
    theirs = await house.ask("readonly", user="carol")
    waiting = asyncio.create_task(house.deputy.wait_for_consents([theirs, asked], timeout=1))
    await consent(house.deputy, house.sandbox, more, as_="bob@example.test")
    [still, ended] = await waiting
    assert (ended.id, ended.status, ended.reason_code) == (asked.id, "granted", "elsewhere")
    assert (still.id, still.status) == (theirs.id, "pending")


async def test_wait_ends_when_another_link_granted_an_alternative_scope(house: House) -> None:
    """A mail can be sent with the scope for sending, which is requested, or with the one for drafts."""
    with pytest.raises(ConsentRequired) as caught:
        await house.deputy.act("gmail_send", MAIL, user="bob", call=Call(id="1"))
    asked = caught.value.consent
    await house.connected("compose", user="bob", as_="bob@example.test")
    [ended] = await house.deputy.wait_for_consents([asked], timeout=0)
    assert (ended.scopes, ended.status, ended.reason_code) == ((SEND,), "granted", "elsewhere")
    assert await house.deputy.act("gmail_send", MAIL, user="bob", call=Call(id="1"))


async def test_wait_continues_while_one_requester_needs_the_scope_itself(house: House) -> None:
    with pytest.raises(ConsentRequired) as caught:
        await house.deputy.act("gmail_send", MAIL, user="bob", call=Call(id="1"))
    assert (await house.ask("send", user="bob")).id == caught.value.consent.id
    await house.connected("compose", user="bob", as_="bob@example.test")
    [still] = await house.deputy.wait_for_consents([caught.value.consent], timeout=0.2)
    assert still.status == "pending"


async def test_wait_continues_while_the_grant_lacks_a_scope_or_is_another_accounts(house: House) -> None:
    """Alice is connected with all scopes, as one account."""
    bobs, one_more = await house.ask("labels", user="bob"), (await house.ask("labels", add_account=True))
    switch = await house.ask("labels", switch_account=True)
    other = await consents_for(house, "dave@example.test")
    await house.connected("readonly", user="bob", as_="bob@example.test")
    ended = await house.deputy.wait_for_consents([bobs, one_more, switch, other], timeout=0.3)
    assert [one.status for one in ended] == ["pending"] * 4


async def test_wait_continues_when_the_provider_refused_a_granted_scope(house: House) -> None:
    house.line.answers[GMAIL_API] = [answer(403, {"error": {"errors": [{"reason": "insufficientPermissions"}]}})]
    with pytest.raises(ConsentRequired) as caught:
        await house.act("search")
    [still] = await house.deputy.wait_for_consents([caught.value.consent], timeout=0.3)
    assert (still.status, still.reason_code) == ("pending", "scope_missing")


async def test_wait_continues_while_the_complete_grant_is_lost(house: House) -> None:
    grant = await house.grant()
    assert grant
    await house.deputy.refresher.end(grant, "invalid_grant")
    with pytest.raises(ConsentRequired) as caught:
        await house.act("search")
    [still] = await house.deputy.wait_for_consents([caught.value.consent], timeout=0.3)
    assert still.status == "pending"


async def test_wait_continues_while_the_grant_has_a_conflicting_scope(house: House) -> None:
    await house.connected("send", user="bob", as_="bob@example.test")
    asked = await house.ask("labels", user="bob")
    [grant] = await house.deputy.vault.list_grants(User("bob"))
    more = grant.scopes | {f"{PREFIX}labels", f"{PREFIX}metadata"}
    assert await house.deputy.vault.replace(grant, replace(grant, scopes=more))
    [still] = await house.deputy.wait_for_consents([asked], timeout=0.2)
    assert still.status == "pending"


async def test_connect_accepts_tools_and_short_scopes_and_asks_once_per_app() -> None:
    house = await House().begin()
    [one] = await house.deputy.connect("alice", "google", scopes=["gmail.readonly"], tools=["gmail_send"])
    assert set(one.scopes) == {READ, SEND}
    await consent(house.deputy, house.sandbox, one)
    assert await house.deputy.connect("alice", tools=["gmail_send", "gmail_search"]) == []
    [more] = await house.deputy.connect("alice", tools=["gmail_label"])
    assert more.scopes == (f"{PREFIX}labels",)
    await house.deputy.close()


async def test_second_account_can_be_connected_and_selected(house: House) -> None:
    [asked] = await house.deputy.connect("alice", "google", scopes=[READ], account="bob@example.test")
    assert (await consent(house.deputy, house.sandbox, asked, as_="bob@example.test")).status == "granted"
    assert {c.account: c.default for c in await house.deputy.connections("alice")} == {
        "alice@example.test": True,
        "bob@example.test": False,
    }
    await house.deputy.act("gmail_search", {}, user="alice", account="bob@example.test")
    assert house.sandbox.requests[-1].who == "bob@example.test"


async def test_connections_show_descriptions_and_no_token(house: House) -> None:
    [one] = await house.deputy.connections("alice")
    assert (one.provider, one.account, one.status, one.default) == ("google", "alice@example.test", "active", True)
    assert "send email as you" in one.scope_descriptions and "ya29" not in repr(one)


async def test_closed_deputy_raises_and_close_may_be_repeated(house: House) -> None:
    deputy = await build(toolkits=[gmail])
    await deputy.close()
    await deputy.close()
    with pytest.raises(DeputizeError):
        await deputy.act("gmail_search", {}, user="alice")


def test_deputy_works_from_synchronous_code() -> None:
    from deputize.core.background_loop import portal

    sandbox = Sandbox()
    with portal().run(build(sandbox, toolkits=[gmail])) as deputy:
        deputy.run(connect(deputy, sandbox, *ALL))
        assert deputy.run(deputy.act("gmail_search", {}, user="alice"))


async def test_total_outage_is_reported_without_hanging(house: House) -> None:
    house.sandbox.switches.down = True
    with pytest.raises(ProviderUnavailable):
        await asyncio.wait_for(house.act("search"), 5)


# ------------------------------------------------------------- the end of a user


async def test_erased_user_leaves_no_file_result_approval_or_token(house: House) -> None:
    deputy = house.deputy
    await house.connected(*ALL, user="bob", as_="bob@example.test")
    for user in ("alice", "bob"):
        await deputy.store_file(user, "a.txt", "text/plain", b"x")
        await deputy.act("gmail_send", MAIL, user=user, call=Call("t", "m", "c"))
    ended = await deputy.erase("alice")
    assert [one.provider for one in ended] == ["google"]
    place = deputy.vault.key_prefix(ALICE)
    for kind in ("file", "filepart", "act", "approval", "consent"):
        assert await house.store.scan(kind, place) == [], kind
    assert await deputy.vault.list_grants(ALICE) == []
    assert await deputy.connections("bob") and await house.store.scan("file", deputy.vault.key_prefix(BOB))
    assert deputy.audit.rows()[-1]["event"] == "user.erased"


async def test_erasure_during_a_write_does_not_let_it_happen_twice(house: House) -> None:
    house.line.held, house.line.held_after = ("gmail.googleapis.com", "/gmail/v1/users/me/messages/send"), True
    sending = asyncio.create_task(house.deputy.act("gmail_send", MAIL, user="alice", call=Call("t", "m", "c")))
    await house.line.until_held()
    await house.deputy.erase("alice")
    house.line.release()
    first = await sending
    assert await house.deputy.act("gmail_send", MAIL, user="alice", call=Call("t", "m", "c")) == first
    assert house.line.count(GMAIL_API, "POST") == 1


async def test_checking_reads_costs_one_grant_scan_and_each_act_one_more() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "readonly")
        scan, scans = deputy.vault.store.scan, list[str]()

        async def counted(kind: str, prefix: str = "", **named: Any) -> Any:
            scans.extend([kind] if prefix else [])  # without one it is the sweeper that looks
            return await scan(kind, prefix, **named)

        deputy.vault.store.scan = counted  # type: ignore[method-assign]
        calls = [("gmail_search_emails", {"query": "x"}, Call("t", "m", str(n))) for n in range(4)]
        assert await deputy.check_calls(calls, user="alice") == [None] * 4
        assert scans == ["grant"]
        for name, arguments, call in calls:
            await deputy.act(name, arguments, user="alice", call=call)
        assert scans == ["grant"] * 5
        await deputy.revoke("alice")
        assert [type(way) for way in await deputy.check_calls(calls, user="alice")] == [ConsentRequired] * 4


async def test_write_needs_at_most_six_store_thread_hops(tmp_path: Path) -> None:
    sandbox = Sandbox()
    vault = await new_vault(tmp_path / "vault" / "vault.sqlite", b"k" * 32)
    assert isinstance(vault.store, SqliteStore)
    async with await build(sandbox, vault=vault, toolkits=[gmail], policy=allow_all) as deputy:
        await connect(deputy, sandbox, *ALL)
        await deputy.act("gmail_send", MAIL, user="alice", call=Call("t", "m", "1"))
        thread, turns = vault.store._reader._answering, list[list[str]]()
        answer = thread._answer

        def counted(asked: Sequence[Any]) -> Sequence[Any]:
            # the upkeep in the background pages through a whole kind, up to "act/\x7f": that is not the act's
            own = [str(values[0]) for _, values in asked if not any(str(v).endswith("/\x7f") for v in values)]
            kinds = [key.partition("/")[0] for key in own]
            turns.extend([kinds] if {"act", "grant", "approval", "outside"} & {*kinds} else [])
            return answer(asked)

        thread._answer = counted
        await deputy.act("gmail_send", MAIL, user="alice", call=Call("t", "m", "2"))
        assert turns[0].count("act") == 1 and len(turns) <= 6  # on a busy machine one turn answers more
        turns.clear()
        await deputy.act("gmail_send", MAIL, user="alice")
        assert len(turns) <= 5, "a call that nobody can repeat has no row to look for"
