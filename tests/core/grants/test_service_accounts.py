"""Service accounts of an organisation: they act where the application names them, and belong to no user."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from deputize.core import (
    Act,
    ApprovalRequired,
    Audience,
    Call,
    Conflict,
    Continuation,
    Deputy,
    Effect,
    InvalidInput,
    PolicyDenied,
    Preview,
    Request,
    ResolvePerson,
    Run,
    SettingsError,
    Steps,
    TimeZone,
    Toolkit,
    User,
    UserRequired,
    Verdict,
    any_of,
    ask_before_sending,
)
from deputize.core.audit import Audit
from deputize.core.vault.rollback import find_rolled_back
from tests.support.sandbox_deputy import Clock, new_vault
from tests.support.token_sources import BOT, EXCHANGE, READ, WRITE, World, app, bot_app, deputy_with

ACME = f"Acme Ltd (service account {BOT})"


@pytest.fixture
def world() -> World:
    return World(Clock(1_800_000_000.0))


@pytest.fixture
async def deputy(world: World) -> AsyncIterator[Deputy]:
    async with await deputy_with(world, app(EXCHANGE), bot_app(world), policy=ask_before_sending) as deputy:
        world.session("alice")
        yield deputy


@pytest.mark.parametrize("signs", [True, False])
async def test_service_account_acts_when_the_application_names_it(world: World, signs: bool) -> None:
    clock = world.clock
    assert isinstance(clock, Clock)
    async with await deputy_with(world, bot_app(world, signs=signs)) as deputy:
        for name in ("alice", "bob"):
            assert (await deputy.act("notes_count_notes", {}, user=name, app="bot"))["user"] == BOT
        assert world.asked["auth.api.test/token"] == 1
        clock.now += 400
        acts = (deputy.act("notes_count_notes", {}, user="alice", app="bot") for _ in range(50))
        assert {one["user"] for one in await asyncio.gather(*acts)} == {BOT}
        assert world.asked["auth.api.test/token"] == 2
        assert world.asked["auth.api.test/me"] == 0


async def test_service_account_never_acts_unless_named(world: World, deputy: Deputy) -> None:
    assert (await deputy.act("notes_count_notes", {}, user="alice"))["user"] == "alice"
    async with await deputy_with(world, bot_app(world)) as only_bot:
        with pytest.raises(SettingsError, match="but service accounts: bot"):
            await only_bot.act("notes_count_notes", {}, user="alice")


@pytest.mark.parametrize("forged", [{"app": "bot"}, {"account": ACME}, {"organisation": "Acme Ltd"}])
async def test_model_argument_cannot_select_the_service_account(
    world: World, deputy: Deputy, forged: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput):
        await deputy.act("notes_count_notes", forged, user="alice")
    for tool in deputy.tools():
        assert {"app", "organisation", "user"}.isdisjoint(tool.parameters)
    assert world.alive == []


@pytest.mark.parametrize("tool", ["notes_post_note", "notes_ring_bell"])
async def test_approval_of_a_service_account_act_names_the_organization(deputy: Deputy, tool: str) -> None:
    arguments = {"text": "hello"} if tool == "notes_post_note" else {}
    with pytest.raises(ApprovalRequired) as asked:
        await deputy.act(tool, arguments, user="alice", app="bot", call=Call("t", "m", "1"))
    assert asked.value.approval.account == ACME
    assert arguments == {} or asked.value.approval.preview["acting for"] == f"{ACME}, not for you"


async def test_approval_of_a_users_own_act_is_not_valid_for_the_service_account(world: World, deputy: Deputy) -> None:
    call = Call("t", "m", "1")
    with pytest.raises(ApprovalRequired) as asked:
        await deputy.act("notes_post_note", {"text": "hello"}, user="alice", call=call)
    assert "acting for" not in asked.value.approval.preview
    await deputy.decide(asked.value.approval, "approve", by="alice")
    with pytest.raises(ApprovalRequired):
        await deputy.act("notes_post_note", {"text": "hello"}, user="alice", app="bot", call=call)
    assert world.posted == []


async def test_mandate_for_own_accounts_does_not_cover_the_service_account(world: World) -> None:
    telling = Toolkit("told", provider="api", api="notes", shows=True)

    @telling.tool(needs=[any_of(WRITE)], effect=Effect.SENDS)
    def bob(text: str, *, run: Run) -> Steps:
        """Tell Bob."""
        yield Preview("Tell Bob", audience=Audience.PEOPLE, people=["bob@acme.test"], text=text)
        yield Request("POST", "/notes", json={"key": run.key.uuid, "text": text}, repeat="idem")

    apps = (app(EXCHANGE), bot_app(world))
    async with await deputy_with(world, *apps, policy=ask_before_sending, toolkits=[telling]) as deputy:
        world.session("alice")
        await deputy.create_mandate(
            "alice", tools=["told_bob"], targets=["bob@acme.test"], max_acts=5, expires_at=world.clock() + 3600
        )
        await deputy.act("told_bob", {"text": "mine"}, user="alice", call=Call("t", "m", "1"))
        with pytest.raises(ApprovalRequired):
            await deputy.act("told_bob", {"text": "theirs"}, user="alice", app="bot", call=Call("t", "m", "2"))
        assert world.posted == [("alice", "mine")]


async def test_continuation_is_followed_with_its_own_account_only(world: World) -> None:
    cut = Toolkit("cut", provider="api", api="notes", cuts=True)

    @cut.tool(needs=[any_of(READ)])
    def look(offset: int = 0) -> Steps:
        """Look at something long."""
        found = yield Request("GET", "/notes")
        return {"user": found["user"], "more": Continuation("cut_look").at(offset + 10)}

    async with await deputy_with(world, app(EXCHANGE), bot_app(world), toolkits=[cut]) as deputy:
        world.session("alice")
        refs = {name: (await deputy.act("cut_look", {}, user="alice", app=name))["more"] for name in ("", "bot")}
        for name, who in (("", "alice"), ("bot", BOT)):
            assert (await deputy.act("cut_read_more", {"ref": refs[name]}, user="alice", app=name))["user"] == who
            with pytest.raises(InvalidInput, match="another account"):
                await deputy.act("cut_read_more", {"ref": refs[name]}, user="alice", app="" if name else "bot")


@pytest.mark.parametrize("first", ["", "bot"])
async def test_call_is_not_executed_or_answered_by_two_accounts(world: World, first: str) -> None:
    call, whose = Call("t", "m", "1"), BOT if first else "alice"
    async with await deputy_with(world, app(EXCHANGE), bot_app(world)) as deputy:
        world.session("alice")
        done = await deputy.act("notes_post_note", {"text": "hello"}, user="alice", app=first, call=call)
        with pytest.raises(Conflict, match="as another account"):
            await deputy.act("notes_post_note", {"text": "hello"}, user="alice", app="" if first else "bot", call=call)
        again = await deputy.act("notes_post_note", {"text": "hello"}, user="alice", app=first, call=call)
        assert again == done and world.posted == [(whose, "hello")]


async def test_calls_without_an_id_differ_by_account(deputy: Deputy) -> None:
    said: dict[str, Any] = {"tool": "notes_post_note", "arguments": {"text": "hello"}, "user": "alice", "thread": "t"}
    names = {name: await deputy.resolve_call(**said, app=name) for name in ("", "bot")}
    assert names[""] != names["bot"]
    assert {name: await deputy.resolve_call(**said, app=name) for name in names} == names
    await deputy.mark_delivered(names["bot"], user="alice")
    assert (
        await deputy.resolve_call(**said) == names[""] and await deputy.resolve_call(**said, app="bot") != names["bot"]
    )


async def test_service_account_acts_without_the_users_contacts_and_time_zone(world: World) -> None:
    card = Toolkit("cards", provider="api", api="notes")

    @card.people(needs=[any_of(READ)])
    def of(who: str) -> Steps:
        """The people of one account, who have a card of their own each."""
        mine = (yield Request("GET", "/notes"))["user"].partition("@")[0]
        return {"people": [{"name": "Bob", "addresses": [f"bob@{mine}.test"], "known": True, "id": mine}]}

    @card.tool(needs=[any_of(READ)])
    def whose(zone: str) -> Steps:
        """Who is Bob, and where is this account?"""
        yield TimeZone(zone)
        return (yield ResolvePerson("Bob", "who"))

    async with await deputy_with(world, app(EXCHANGE), bot_app(world), toolkits=[card]) as deputy:
        world.session("alice")
        for name in ("", "bot"):  # both are there
            await deputy.act("notes_count_notes", {}, user="alice", app=name)
        for name, zone, at in (("", "Asia/Tokyo", "alice"), ("bot", "Europe/Berlin", "bot")):
            assert await deputy.act("cards_whose", {"zone": zone}, user="alice", app=name) == f"bob@{at}.test"
        assert str(await deputy.services.zones.of(User("alice"))) == "Asia/Tokyo"


async def test_audit_names_the_organization_and_the_grant_source(world: World, tmp_path: Path) -> None:
    vault = await new_vault()
    audit = Audit(tmp_path, vault.keys.audit)
    async with await deputy_with(world, app(EXCHANGE), bot_app(world), vault=vault, audit=audit) as deputy:
        world.session("alice")
        await deputy.act("notes_count_notes", {}, user="alice", app="bot")
        await deputy.act("notes_count_notes", {}, user="alice")
    rows = [json.loads(line) for file in tmp_path.glob("*.jsonl") for line in file.read_text().splitlines()]
    acts = [row for row in rows if row["event"] == "act.result"]
    assert [(row.get("organisation"), row["source"]) for row in acts] == [
        ("Acme Ltd", "service_account"),
        (None, "exchange"),
    ]
    obtained = [row["source"] for row in rows if row["event"] == "grant.obtained"]
    assert obtained == ["service_account", "exchange"]


async def test_policy_can_deny_the_service_account(world: World) -> None:
    def nobody_for_acme(act: Act) -> Verdict:
        return Verdict.DENY if act.organisation == "Acme Ltd" else Verdict.ALLOW

    async with await deputy_with(world, app(EXCHANGE), bot_app(world), policy=nobody_for_acme) as deputy:
        world.session("alice")
        await deputy.act("notes_count_notes", {}, user="alice")
        with pytest.raises(PolicyDenied):
            await deputy.act("notes_count_notes", {}, user="alice", app="bot")
        assert world.alive == ["alice"]


async def test_service_account_is_not_listed_as_a_users_account(world: World, deputy: Deputy) -> None:
    await deputy.act("notes_count_notes", {}, user="alice", app="bot")
    await deputy.act("notes_count_notes", {}, user="alice")
    assert [one.account for one in await deputy.connections("alice")] == ["alice@acme.test"]
    assert [one.account for one in await deputy.revoke("alice")] == ["alice@acme.test"]
    assert world.alive == [BOT]
    await deputy.revoke_all()
    assert world.alive == []


async def test_service_account_owner_cannot_be_named_as_a_user(deputy: Deputy) -> None:
    await deputy.act("notes_count_notes", {}, user="alice", app="bot")
    for owner in ("\x1fbot", User("\x1fbot")):
        with pytest.raises(UserRequired):
            await deputy.connections(owner)


async def test_service_account_is_limited_to_its_tenant(world: World) -> None:
    async with await deputy_with(world, bot_app(world, tenant="acme")) as deputy:
        assert (await deputy.act("notes_count_notes", {}, user=User("alice", "acme"), app="bot"))["user"] == BOT
        for stranger in (User("alice"), User("alice", "globex")):
            with pytest.raises(PolicyDenied):
                await deputy.act("notes_count_notes", {}, user=stranger, app="bot")


async def test_service_account_accepts_a_broader_scope(world: World) -> None:
    either = Toolkit("either", provider="api", api="notes")

    @either.tool(needs=[any_of(WRITE, READ)])
    def look() -> Steps:
        """Look."""
        found = yield Request("GET", "/notes")
        return found

    @either.tool(needs=[any_of(WRITE)])
    def peer() -> Steps:
        """Look closely."""
        found = yield Request("GET", "/notes")
        return found

    bot = bot_app(world, scopes=frozenset({READ}))
    async with await deputy_with(world, bot, toolkits=[either]) as deputy:
        assert (await deputy.act("either_look", {}, user="alice", app="bot"))["user"] == BOT
        for _ in range(2):
            with pytest.raises(InvalidInput, match="may not have this: notes:write"):
                await deputy.act("either_peer", {}, user="alice", app="bot")
        assert world.asked["auth.api.test/token"] == 1


async def test_service_account_obtains_scopes_added_to_the_settings(world: World, tmp_path: Path) -> None:
    for scopes in ({READ}, {READ, WRITE}):
        vault = await new_vault(tmp_path / "vault.sqlite", bytes(32))
        bot = bot_app(world, scopes=frozenset(scopes))
        async with await deputy_with(world, bot, vault=vault) as deputy:
            await deputy.act("notes_count_notes", {}, user="alice", app="bot")
            if WRITE in scopes:
                assert await deputy.act("notes_ring_bell", {}, user="alice", app="bot")


async def test_service_account_does_not_use_scopes_beyond_the_settings(world: World) -> None:
    world.gives = f"{READ} {WRITE}"
    clock = world.clock
    assert isinstance(clock, Clock)
    async with await deputy_with(world, bot_app(world, scopes=frozenset({READ}))) as deputy:
        for _ in range(2):  # with what is obtained, and with what is obtained again
            with pytest.raises(InvalidInput, match="may not have this: notes:write"):
                await deputy.act("notes_ring_bell", {}, user="alice", app="bot")
            assert (await deputy.act("notes_count_notes", {}, user="alice", app="bot"))["user"] == BOT
            clock.now += 400
    assert world.posted == [] and world.asked["auth.api.test/token"] == 2


@pytest.mark.parametrize("says", [True, False])
async def test_service_account_does_not_use_scopes_removed_from_the_settings(
    world: World, tmp_path: Path, says: bool
) -> None:
    world.says_scopes = says
    for scopes in ({READ, WRITE}, {READ}):
        vault = await new_vault(tmp_path / "vault.sqlite", bytes(32))
        async with await deputy_with(world, bot_app(world, scopes=frozenset(scopes)), vault=vault) as deputy:
            await deputy.act("notes_count_notes", {}, user="alice", app="bot")
            if WRITE not in scopes:
                with pytest.raises(InvalidInput, match="may not have this: notes:write"):
                    await deputy.act("notes_ring_bell", {}, user="alice", app="bot")
    assert world.posted == [] and world.asked["auth.api.test/token"] == 2


async def test_service_account_with_fewer_scopes_is_not_requested_by_each_act(world: World) -> None:
    world.narrower = frozenset({READ})
    clock = world.clock
    assert isinstance(clock, Clock)
    async with await deputy_with(world, bot_app(world)) as deputy:
        for _ in range(10):
            with pytest.raises(InvalidInput, match="no user can grant it"):
                await deputy.act("notes_ring_bell", {}, user="alice", app="bot")
            await deputy.act("notes_count_notes", {}, user="bob", app="bot")
        assert world.asked["auth.api.test/token"] == 1 and world.asked["auth.api.test/revoke"] == 0
        world.narrower = frozenset({READ, WRITE})
        clock.now += 61
        assert await deputy.act("notes_ring_bell", {}, user="alice", app="bot")


async def test_missing_service_account_scope_is_not_requested_from_users(world: World) -> None:
    async with await deputy_with(world, bot_app(world, scopes=frozenset({READ}))) as deputy:
        with pytest.raises(InvalidInput, match="may not have this: notes:write") as refused:
            await deputy.act("notes_ring_bell", {}, user="alice", app="bot")
        assert refused.value.fix_by == "operator"
        with pytest.raises(InvalidInput):
            await deputy.connect("alice", "api", scopes=["notes:write"], app="bot")
        world.answers["api.test/v1/notes"] = 403, {"error": "insufficient_scope"}
        with pytest.raises(InvalidInput, match="no user can grant it"):
            await deputy.act("notes_count_notes", {}, user="alice", app="bot")
        assert await deputy.pending("alice") == []


async def test_refused_service_account_key_is_an_operator_error(world: World) -> None:
    world.answers["auth.api.test/token"] = 400, {"error": "invalid_grant"}
    async with await deputy_with(world, bot_app(world, signs=True)) as deputy:
        with pytest.raises(InvalidInput, match="gave no token by service account") as refused:
            await deputy.act("notes_count_notes", {}, user="alice", app="bot")
        assert refused.value.fix_by == "operator"


async def test_service_account_acts_are_not_a_sign_of_a_rolled_back_vault(world: World, tmp_path: Path) -> None:
    vault = await new_vault()
    audit = Audit(tmp_path, vault.keys.audit)
    async with await deputy_with(world, app(EXCHANGE), bot_app(world), vault=vault, audit=audit) as deputy:
        world.session("alice")
        await deputy.act("notes_count_notes", {}, user="alice")
        for tool, arguments in (("notes_count_notes", {}), ("notes_post_note", {"text": "hello"})):
            await deputy.act(tool, arguments, user="alice", app="bot", call=Call("t", "m", tool))
        await audit.settle()
        assert await find_rolled_back(vault, tmp_path) == []
        [grant] = [one for one in await vault.scan("grant") if b"service_account" in one.plain.reveal()]
        await vault.delete(grant)
        assert [one.app for one in await find_rolled_back(vault, tmp_path)] == ["bot"]
