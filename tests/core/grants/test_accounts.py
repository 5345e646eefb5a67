"""Several accounts of one user: a default one acts unless another is named; adding and switching are explicit."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from deputize.core import (
    AccountMismatch,
    App,
    Call,
    Consent,
    ConsentRequired,
    Deputy,
    Effect,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Request,
    Run,
    SaveNote,
    Secret,
    Steps,
    Toolkit,
    User,
    allow_all,
    any_of,
)
from deputize.core.audit import Audit
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.consent.record import EndStatus
from deputize.core.vault.grant import Grant
from deputize.core.vault.pseudonyms import People
from deputize.core.vault.rollback import find_rolled_back, find_unaudited
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox, google
from deputize.sandbox.oauth import App as Client
from tests.support.sandbox_deputy import GMAIL, PAGES, at_provider, build, consent, google_app, new_vault

ALICE, BOB, DECOY = "alice@example.test", "bob@example.test", "decoy@example.test"
READ, SEND = f"{GMAIL}readonly", f"{GMAIL}send"

mail = Toolkit("mail", provider="google", api="gmail")


@mail.tool(needs=[any_of(READ)])
def whose() -> Steps:
    """Whose mailbox is it?"""
    return (yield Request("GET", "/users/me/profile"))["emailAddress"]


@mail.tool(needs=[any_of(READ)], effect=Effect.WRITES, shows=False)
def twice(*, run: Run) -> Steps:
    """Prepares something, and is cut off the first time."""
    if run.noted is None:
        yield SaveNote({"draft": "d1"})
        yield Request("POST", "/users/me/gone", json={})
    return "looked up"


@mail.tool(needs=[any_of(SEND)], effect=Effect.SENDS, shows=False)
def note() -> Steps:
    """Send a note to oneself."""
    yield Request("POST", "/users/me/messages/send", json={"raw": "eA"})
    return "sent"


async def house(*names: str, vault: Vault | None = None) -> tuple[Deputy, Sandbox]:
    """Return a deputy over the sandbox, with one Google app or several."""
    sandbox = Sandbox()
    apps = [google_app()]
    for name in names:
        client = Client(f"client-{name}", "secret", name, (f"{PAGES}/callback/{name}",))
        sandbox.register(replace(google.APP, client_id=client.client_id, redirect_uris=client.redirect_uris))
        apps.append(App("google", client.client_id, Secret(google.GOOGLE_CLIENT_SECRET), name))
    return await build(sandbox, vault=vault, apps=apps, toolkits=[mail], policy=allow_all), sandbox


async def added(deputy: Deputy, sandbox: Sandbox, as_: str, *scopes: str, **more: Any) -> Consent:
    """Connect an additional account; return its consent as it ended."""
    (asked,) = await deputy.connect("alice", "google", scopes=scopes or [READ], **more)
    return await consent(deputy, sandbox, asked, as_=as_)


async def acts_as(deputy: Deputy, **more: Any) -> str:
    return str(await deputy.act("mail_whose", {}, user="alice", **more))


async def defaults(deputy: Deputy) -> dict[tuple[str, str], bool]:
    return {(one.app, one.account): one.default for one in await deputy.connections("alice")}


async def grant_of(deputy: Deputy, account: str, app: str = "google") -> Grant:
    found = await deputy.vault.find_grant(User("alice"), "google", app, account)
    assert found
    return found


# ------------------------------------------------------------- choosing


async def test_first_account_acts_until_another_becomes_the_default() -> None:
    deputy, sandbox = await house()
    for one in (ALICE, BOB):
        assert (await added(deputy, sandbox, one, add_account=True)).status == "granted"
    assert await acts_as(deputy) == ALICE and await acts_as(deputy, account=BOB) == BOB
    await deputy.set_default_account("alice", "google", BOB)
    assert await acts_as(deputy) == BOB and await acts_as(deputy, account=ALICE) == ALICE
    assert await defaults(deputy) == {("google", ALICE): False, ("google", BOB): True}
    [row] = [row for row in deputy.audit.rows() if row["event"] == "account.chosen"]
    assert (await People.of(deputy.vault)).resolve_row(row)["user"] == "alice" and BOB not in repr(row)


async def test_account_is_selected_by_name_in_any_case_or_by_id() -> None:
    deputy, sandbox = await house()
    for one in (ALICE, BOB):
        await added(deputy, sandbox, one, add_account=True)
    subject = (await grant_of(deputy, BOB)).account.subject
    assert await acts_as(deputy, account=subject) == await acts_as(deputy, account="Bob@Example.Test") == BOB
    await deputy.set_default_account("alice", "google", subject)
    assert await acts_as(deputy) == BOB


async def test_unconnected_or_foreign_account_cannot_be_the_default() -> None:
    deputy, sandbox = await house()
    await added(deputy, sandbox, ALICE)
    (theirs,) = await deputy.connect("bob", "google", scopes=[READ])
    await consent(deputy, sandbox, theirs, as_=BOB)
    for name in (BOB, "", "nobody", DECOY):
        with pytest.raises(AccountMismatch):
            await deputy.set_default_account("alice", "google", name)
    assert await acts_as(deputy) == ALICE and "account.chosen" not in [r["event"] for r in deputy.audit.rows()]


async def test_accounts_of_one_name_are_selected_by_id() -> None:
    deputy, sandbox = await house()
    for one in (ALICE, BOB):
        await added(deputy, sandbox, one, add_account=True)
    theirs = await grant_of(deputy, BOB)
    await deputy.vault.replace(theirs, replace(theirs, account=replace(theirs.account, name=ALICE)))
    for name in (ALICE, ALICE.upper()):
        with pytest.raises(AccountMismatch):
            await acts_as(deputy, account=name)
        with pytest.raises(AccountMismatch):
            await deputy.set_default_account("alice", "google", name)
    assert await acts_as(deputy, account=theirs.account.subject) == BOB


async def test_connection_id_selects_the_account_everywhere() -> None:
    deputy, sandbox = await house("work")
    for one, app in ((ALICE, "google"), (BOB, "google"), (ALICE, "work")):
        await added(deputy, sandbox, one, app=app, add_account=True)
    held = {(one.app, one.account): one.id for one in await deputy.connections("alice")}
    assert len(set(held.values())) == 3 and not any(part in repr(held.values()) for part in ("alice", "bob", "google"))
    assert await acts_as(deputy, account=held["google", BOB]) == BOB
    await deputy.set_default_account("alice", "google", held["google", BOB])
    assert await acts_as(deputy) == BOB
    [ended] = await deputy.revoke("alice", account=held["google", ALICE])  # its name is the other app's, too
    assert ended.account == ALICE
    assert {one.id for one in await deputy.connections("alice")} == {held["google", BOB], held["work", ALICE]}
    assert await deputy.revoke("alice", account=held["google", ALICE]) == []
    await added(deputy, sandbox, ALICE, add_account=True)
    assert {one.id for one in await deputy.connections("alice")} == set(held.values()), "the same when it is back"


async def test_connection_id_never_matches_an_account_name() -> None:
    deputy, sandbox = await house()
    for one in (ALICE, BOB):
        await added(deputy, sandbox, one, add_account=True)
    ours, theirs = (await grant_of(deputy, ALICE)).connection_id, await grant_of(deputy, BOB)
    await deputy.vault.replace(theirs, replace(theirs, account=replace(theirs.account, name=ours)))
    assert await acts_as(deputy, account=ours) == ALICE
    assert [one.account for one in await deputy.revoke("alice", account=ours)] == [ALICE]


async def test_id_of_a_former_connection_asks_for_its_own_account() -> None:
    deputy, sandbox = await house("work")
    await added(deputy, sandbox, ALICE, app="work")
    [was] = await deputy.connections("alice")
    await deputy.revoke("alice", account=was.id)
    for one in (BOB, ALICE):
        [asked] = await deputy.connect("alice", "google", scopes=[READ], account=was.id)
        assert (asked.app, asked.account) == ("work", ALICE)  # people and providers know no id of ours
        ended = await consent(deputy, sandbox, asked, as_=one)
        assert (ended.status, ended.reason_code) == (
            ("granted", "") if one == ALICE else ("failed", "account_mismatch")
        )
    assert await acts_as(deputy, account=was.id) == ALICE


@pytest.mark.parametrize("app", ["google", "work"])
async def test_id_of_a_former_connection_never_matches_an_account_name(app: str) -> None:
    """Neither at the app it was connected through nor at another one."""
    deputy, sandbox = await house("work")
    await added(deputy, sandbox, ALICE, app=app)
    await added(deputy, sandbox, BOB, add_account=True)
    held = {one.account: one.id for one in await deputy.connections("alice")}
    theirs = await grant_of(deputy, BOB)
    await deputy.vault.replace(theirs, replace(theirs, account=replace(theirs.account, name=held[ALICE])))
    await deputy.revoke("alice", account=held[ALICE])
    with pytest.raises((AccountMismatch, ConsentRequired)):
        await acts_as(deputy, account=held[ALICE])
    with pytest.raises(AccountMismatch):
        await deputy.set_default_account("alice", "google", held[ALICE])
    assert await acts_as(deputy) == BOB


async def test_connection_id_of_another_user_matches_nothing() -> None:
    deputy, sandbox = await house()
    await added(deputy, sandbox, ALICE)
    (theirs,) = await deputy.connect("bob", "google", scopes=[READ])
    await consent(deputy, sandbox, theirs, as_=BOB)
    [bobs] = await deputy.connections("bob")
    with pytest.raises(AccountMismatch):
        await acts_as(deputy, account=bobs.id)
    with pytest.raises(AccountMismatch):
        await deputy.set_default_account("alice", "google", bobs.id)
    assert await deputy.revoke("alice", account=bobs.id) == [] and len(await deputy.connections("alice")) == 1
    assert [one.status for one in await deputy.connections("bob")] == ["active"]


async def test_one_of_many_concurrent_defaults_holds() -> None:
    deputy, sandbox = await house()
    for one in (ALICE, BOB, DECOY):
        await added(deputy, sandbox, one, add_account=True)
    await asyncio.gather(*(deputy.set_default_account("alice", "google", one) for one in (ALICE, BOB, DECOY) * 5))
    await deputy.set_default_account("alice", "google", BOB)
    assert [account for account, chosen in (await defaults(deputy)).items() if chosen] == [("google", BOB)]


async def test_setting_the_default_during_a_refresh_loses_no_token() -> None:
    deputy, sandbox = await house()
    for one in (ALICE, BOB):
        await added(deputy, sandbox, one, add_account=True)
    sandbox.expire_access_tokens()
    sandbox.switches.token_delay = 0.1
    bobs = await grant_of(deputy, BOB)
    refreshing = asyncio.create_task(deputy.refresher.get_live(bobs, bobs.access_token))
    await asyncio.sleep(0.03)
    await deputy.set_default_account("alice", "google", BOB)
    await refreshing
    assert (await grant_of(deputy, BOB)).default and await acts_as(deputy) == BOB


# ------------------------------------------------------------- one more, or another one


async def test_B9_another_account_is_refused_without_add_account() -> None:
    deputy, sandbox = await house()
    await added(deputy, sandbox, ALICE)
    assert (await added(deputy, sandbox, BOB, SEND)).reason_code == "account_mismatch"
    assert list(await defaults(deputy)) == [("google", ALICE)]


async def test_B9_switched_account_gets_the_scopes_of_the_previous_one() -> None:
    deputy, sandbox = await house()
    await added(deputy, sandbox, ALICE, READ, SEND)
    (asked,) = await deputy.connect("alice", "google", switch_account=True)
    assert set(asked.scopes) == {READ, SEND} and asked.account == ""
    assert (await consent(deputy, sandbox, asked, as_=BOB)).status == "granted"
    assert await acts_as(deputy) == BOB and (await grant_of(deputy, BOB)).scopes >= {READ, SEND}
    assert await defaults(deputy) == {("google", ALICE): False, ("google", BOB): True}
    events = [row["event"] for row in deputy.audit.rows()]
    assert events.index("account.chosen") < events.index("consent.granted", events.index("consent.granted") + 1)


async def test_switch_may_return_with_the_same_account() -> None:
    deputy, sandbox = await house()
    await added(deputy, sandbox, ALICE)
    assert (await added(deputy, sandbox, ALICE, switch_account=True)).status == "granted"
    assert await acts_as(deputy) == ALICE and await defaults(deputy) == {("google", ALICE): True}


async def test_pending_account_switch_has_its_own_link_and_keeps_the_default() -> None:
    deputy, sandbox = await house()
    await added(deputy, sandbox, ALICE)
    (plain,) = await deputy.connect("alice", "google", scopes=[SEND])
    links = {plain.link}
    ways: list[dict[str, Any]] = [{"add_account": True}, {"switch_account": True}, {"account": BOB}]
    for more in ways:
        (asked,) = await deputy.connect("alice", "google", scopes=[SEND], **more)
        links.add(asked.link)
    assert len(links) == 4 and await acts_as(deputy) == ALICE
    assert (await consent(deputy, sandbox, plain, as_=BOB)).reason_code == "account_mismatch"


async def test_provider_is_asked_to_let_the_user_select_an_account() -> None:
    deputy, _ = await house()
    prompts, ways = {}, list[dict[str, Any]](({}, {"add_account": True}, {"switch_account": True}))
    for more in ways:
        (asked,) = await deputy.connect("alice", "google", scopes=[READ], **more)
        started = await deputy.consents.start(asked.link.rpartition("/")[2], AnyLocalUser())
        prompts[str(more)] = parse_qs(urlsplit(started.url).query)["prompt"][0]
    assert list(prompts.values()) == ["consent", "select_account consent", "select_account consent"]


async def test_adding_the_same_account_with_fewer_scopes_keeps_its_grant() -> None:
    deputy, sandbox = await house()
    await added(deputy, sandbox, ALICE, READ, SEND)
    (asked,) = await deputy.connect("alice", "google", scopes=[READ], add_account=True)
    started = await deputy.consents.start(asked.link.rpartition("/")[2], AnyLocalUser())
    url = started.url.replace("include_granted_scopes=true", "include_granted_scopes=false")
    back = await at_provider(sandbox.transport(), url, as_=ALICE)
    await deputy.consents.finish("google", back, AnyLocalUser(), started.nonce.reveal())
    ended = await deputy.consents.status(asked.id)
    assert ended and (ended.status, ended.reason_code) == ("failed", "same_account")
    assert (await grant_of(deputy, ALICE)).scopes >= {READ, SEND} and await acts_as(deputy) == ALICE


async def test_add_account_with_switch_account_is_invalid() -> None:
    deputy, _ = await house()
    with pytest.raises(InvalidInput):
        await deputy.connect("alice", "google", scopes=[READ], add_account=True, switch_account=True)


async def test_switch_cancelled_at_the_last_moment_keeps_the_account() -> None:
    deputy, sandbox = await house()
    await added(deputy, sandbox, ALICE)
    (asked,) = await deputy.connect("alice", "google", switch_account=True)
    end = deputy.consents.repository.end

    async def late(record: Any, status: EndStatus, *rest: Any, **more: Any) -> Any:
        if status == "granted":
            await deputy.consents.cancel(User("alice"), "google", "google")
        return await end(record, status, *rest, **more)

    deputy.consents.repository.end = late  # type: ignore[method-assign]
    assert (await consent(deputy, sandbox, asked, as_=BOB)).status == "cancelled"
    assert await acts_as(deputy) == ALICE and await defaults(deputy) == {("google", ALICE): True}
    assert sandbox.live_tokens()[BOB] == 0


# ------------------------------------------------------------- several apps


async def test_tools_use_the_app_of_the_named_or_default_account() -> None:
    deputy, sandbox = await house("work")
    await added(deputy, sandbox, ALICE)
    await added(deputy, sandbox, BOB, app="work")
    assert await acts_as(deputy) == ALICE
    assert await acts_as(deputy, account=BOB) == await acts_as(deputy, app="work") == BOB
    assert await defaults(deputy) == {("google", ALICE): True, ("work", BOB): False}
    await deputy.set_default_account("alice", "google", BOB)
    assert await acts_as(deputy) == BOB and await acts_as(deputy, app="google") == ALICE
    assert await defaults(deputy) == {("google", ALICE): False, ("work", BOB): True}
    await deputy.set_default_account("alice", "google", ALICE)
    assert await acts_as(deputy) == ALICE


async def test_missing_scopes_are_requested_for_the_default_account_only() -> None:
    deputy, sandbox = await house("work")
    await added(deputy, sandbox, ALICE)
    await added(deputy, sandbox, BOB, app="work")
    await deputy.set_default_account("alice", "google", BOB)
    with pytest.raises(ConsentRequired) as asked:
        await deputy.act("mail_note", {}, user="alice", call=Call("t", "m", "c"))
    assert (asked.value.consent.app, asked.value.consent.account) == ("work", BOB)
    [way] = await deputy.check_calls([("mail_note", {}, Call("t", "m", "c"))], user="alice")
    assert isinstance(way, ConsentRequired) and way.consent.id == asked.value.consent.id
    (beforehand,) = await deputy.connect("alice", tools=["mail_note"])
    assert beforehand.id == asked.value.consent.id
    assert (await consent(deputy, sandbox, beforehand, as_=ALICE)).reason_code == "account_mismatch"


async def test_default_account_is_per_user() -> None:
    deputy, sandbox = await house("work")
    for user in ("alice", "carol"):
        for app, account in (("google", ALICE), ("work", BOB)):
            (asked,) = await deputy.connect(user, "google", scopes=[READ], app=app)
            await consent(deputy, sandbox, asked, as_=account)
    await deputy.set_default_account("alice", "google", BOB, app="work")
    assert await deputy.act("mail_whose", {}, user="carol") == ALICE


async def test_first_app_acts_again_after_the_default_account_is_disconnected() -> None:
    deputy, sandbox = await house("work")
    await added(deputy, sandbox, ALICE)
    await added(deputy, sandbox, BOB, app="work")
    await deputy.set_default_account("alice", "google", BOB)
    await deputy.revoke("alice", "google", app="work")
    assert await acts_as(deputy) == ALICE


async def test_default_account_survives_a_restart_and_is_erased_with_the_user(tmp_path: Path) -> None:
    deputy, sandbox = await house("work", vault=await new_vault(tmp_path / "v.sqlite", b"k" * 32))
    await added(deputy, sandbox, ALICE)
    await added(deputy, sandbox, BOB, app="work")
    await deputy.set_default_account("alice", "google", BOB)
    await deputy.close()
    vault = await new_vault(tmp_path / "v.sqlite", b"k" * 32)
    deputy = await build(sandbox, vault=vault, apps=deputy.apps.values(), toolkits=[mail], policy=allow_all)
    assert await acts_as(deputy) == BOB
    await deputy.erase("alice")
    assert await vault.scan("chosen") == []
    await deputy.close()


async def test_account_acting_after_the_default_is_gone_is_listed_as_default() -> None:
    deputy, sandbox = await house()
    for one in (ALICE, BOB, DECOY):
        await added(deputy, sandbox, one, add_account=True)
    await deputy.set_default_account("alice", "google", BOB)
    await deputy.revoke("alice", "google", account=BOB)
    acting = await acts_as(deputy)
    assert {account for (_, account), acts in (await defaults(deputy)).items() if acts} == {acting}
    await added(deputy, sandbox, BOB, add_account=True)
    assert await acts_as(deputy) == acting  # a new account changes nothing


async def test_V2_rolled_back_default_account_is_found_without_false_alarms(tmp_path: Path) -> None:
    vault = await new_vault(tmp_path / "v" / "v.sqlite", b"k" * 32)
    deputy, sandbox = await house(vault=vault)
    deputy.accounts.audit.close()
    audit = Audit(tmp_path / "audit", vault.keys.audit)
    deputy = await build(sandbox, vault=vault, audit=audit, toolkits=[mail], policy=allow_all)
    for one in (ALICE, BOB):
        await added(deputy, sandbox, one, add_account=True)
    before = [await vault.get("grant", key) for key, _ in await vault.store.scan("grant")]
    await deputy.set_default_account("alice", "google", BOB)
    audit.flush()
    assert await find_unaudited(vault, tmp_path / "audit") == await find_rolled_back(vault, tmp_path / "audit") == []
    for record in before:
        assert record and (now := await vault.get("grant", record.key))
        assert await vault.store.swap("grant", record.key, now.sealed, record.sealed)
    assert {one.account for one in await find_rolled_back(vault, tmp_path / "audit")} == {ALICE, BOB}
    await deputy.close()


async def test_connected_app_that_is_not_the_default_does_not_act() -> None:
    deputy, sandbox = await house("work")
    await added(deputy, sandbox, BOB, app="work")
    with pytest.raises(ConsentRequired) as asked:
        await acts_as(deputy)
    assert asked.value.consent.app == "google"


@pytest.mark.parametrize("app", ["nobody", "slack"])
async def test_app_of_another_provider_is_refused(app: str) -> None:
    deputy, sandbox = await house()
    deputy.registry.apps["slack"] = App("slack", "x")
    await added(deputy, sandbox, ALICE)
    for call in (acts_as(deputy, app=app), deputy.connect("alice", "google", scopes=[READ], app=app)):
        with pytest.raises(InvalidInput):
            await call


# ------------------------------------------------------------- a choice between two runs of one act


async def test_W11_act_started_as_one_account_is_not_finished_as_another() -> None:
    deputy, sandbox = await house()
    for one in (ALICE, BOB):
        await added(deputy, sandbox, one, add_account=True)
    call = Call("t", "m", "c")
    with pytest.raises(NotFound):
        await deputy.act("mail_twice", {}, user="alice", call=call)
    await deputy.set_default_account("alice", "google", BOB)
    with pytest.raises(OutcomeUnknown, match="another account"):
        await deputy.act("mail_twice", {}, user="alice", call=call)
    await deputy.set_default_account("alice", "google", ALICE)
    assert await deputy.act("mail_twice", {}, user="alice", call=call) == "looked up"
