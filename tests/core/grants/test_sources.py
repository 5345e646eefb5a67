"""Grants from a user's session: token exchange, on-behalf-of, identity assertion. Each through the whole deputy."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from deputize.core import (
    Call,
    ConsentRequired,
    Deputy,
    InvalidInput,
    ProviderUnavailable,
    ReconsentRequired,
    User,
)
from deputize.core.oauth.app import Source, TokenExchange
from deputize.core.oauth.identity import NAMELESS
from deputize.core.vault.grant import Grant
from deputize.core.vault.vault import Vault
from tests.support.sandbox_deputy import Clock
from tests.support.token_sources import (
    ASSERTION,
    COMPANY,
    EXCHANGE,
    ISSUER,
    ON_BEHALF_OF,
    READ,
    SOURCES,
    WRITE,
    World,
    app,
    deputy_with,
    forged,
    provider,
)

kinds = pytest.mark.parametrize("source", SOURCES, ids=lambda one: one.kind)


@pytest.fixture
def world() -> World:
    return World(Clock(1_800_000_000.0))


async def grant_of(deputy: Deputy, user: str) -> Grant:
    [grant] = [one for one in await deputy.vault.list_grants(User(user)) if one.status != "revoked"]
    return grant


@kinds
async def test_two_users_act_as_themselves_without_visiting_a_page(world: World, source: Source) -> None:
    async with await deputy_with(world, app(source)) as deputy:
        for name in ("alice", "bob"):
            world.session(name)
        for name in ("alice", "bob", "alice"):
            assert (await deputy.act("notes_count_notes", {}, user=name))["user"] == name
        assert world.alive == ["alice", "bob"]
        grant = await grant_of(deputy, "alice")
        assert (grant.source, grant.scopes, grant.refresh_token) == (source.kind, frozenset({READ}), None)
        assert [one.account for one in await deputy.connections("bob")] == ["bob@acme.test"]


@kinds
async def test_expired_token_is_obtained_again_during_the_session(world: World, source: Source) -> None:
    clock = world.clock
    assert isinstance(clock, Clock)
    async with await deputy_with(world, app(source)) as deputy:
        world.session("alice", 1000)
        await deputy.act("notes_count_notes", {}, user="alice")
        clock.now += 400
        await deputy.act("notes_count_notes", {}, user="alice")
        assert world.asked["auth.api.test/token"] == 2
        clock.now += 700
        with pytest.raises(ReconsentRequired, match="sign in to the application again") as asked:
            await deputy.act("notes_count_notes", {}, user="alice")
        assert (asked.value.reason, world.asked["auth.api.test/token"]) == ("session_expired", 2)
        world.sessions.clear()
        world.session("alice")
        assert (await deputy.act("notes_count_notes", {}, user="alice"))["user"] == "alice"


async def test_user_without_a_session_gets_a_consent_link(world: World) -> None:
    async with await deputy_with(world, app(EXCHANGE)) as deputy:
        with pytest.raises(ReconsentRequired, match="sign in to the application again") as asked:
            await deputy.act("notes_count_notes", {}, user="alice")
        assert asked.value.consent.link and asked.value.reason == "session_needed"
        assert world.asked == {}


async def test_refresh_token_from_an_exchange_is_used_after_the_session(world: World) -> None:
    clock = world.clock
    assert isinstance(clock, Clock)
    world.refreshes = True
    async with await deputy_with(world, app(ON_BEHALF_OF)) as deputy:
        world.session("alice", 100)
        await deputy.act("notes_count_notes", {}, user="alice")
        clock.now += 400
        await deputy.act("notes_count_notes", {}, user="alice")
        assert [form["grant_type"].rpartition(":")[2] for form in world.forms if "grant_type" in form] == [
            "jwt-bearer",
            "refresh_token",
        ]


@kinds
async def test_fifty_concurrent_acts_cause_one_exchange(world: World, source: Source) -> None:
    clock = world.clock
    assert isinstance(clock, Clock)
    async with await deputy_with(world, app(source)) as deputy:
        world.session("alice")

        async def herd() -> None:
            await asyncio.gather(*(deputy.act("notes_count_notes", {}, user="alice") for _ in range(50)))

        await herd()
        assert world.asked["auth.api.test/token"] == 1
        clock.now += 400
        await herd()
        assert world.asked["auth.api.test/token"] == 2


@kinds
async def test_more_scopes_are_obtained_when_an_act_needs_them(world: World, source: Source) -> None:
    async with await deputy_with(world, app(source)) as deputy:
        world.session("alice")
        await deputy.act("notes_count_notes", {}, user="alice")
        await deputy.act("notes_post_note", {"text": "hello"}, user="alice", call=Call(id="1"))
        assert (await grant_of(deputy, "alice")).scopes == {READ, WRITE}
        assert world.alive == ["alice"], "what the wider token replaces has ended"


async def test_scopes_missing_from_the_exchange_reply_are_not_granted(world: World) -> None:
    world.narrower = frozenset({READ})
    async with await deputy_with(world, app(EXCHANGE)) as deputy:
        world.session("alice")
        with pytest.raises(ConsentRequired):
            await deputy.act("notes_post_note", {"text": "hello"}, user="alice")
        assert world.posted == []


@kinds
async def test_session_of_another_user_is_refused_before_anything_is_sent(world: World, source: Source) -> None:
    async with await deputy_with(world, app(source)) as deputy:
        bobs = world.session("bob")
        deputy.sources.token_for = lambda user: bobs
        with pytest.raises(InvalidInput, match="not verifiably this user's") as refused:
            await deputy.act("notes_count_notes", {}, user="alice")
        assert (refused.value.reason, refused.value.fix_by) == ("other_user", "operator")
        assert bobs not in str(refused.value) + refused.value.hint
        assert world.asked == {}


@pytest.mark.parametrize(
    ("user", "claims", "good"),
    [
        (f"{COMPANY}#alice", {}, True),
        (f"{COMPANY}#alice", {"iss": "https://evil.test"}, False),
        (f"{COMPANY}#alice", {"iss": "https://evil.test", "sub": f"{COMPANY}#alice"}, False),
        (f"{COMPANY}#alice", {"iss": None}, False),
        (f"{COMPANY}#alice", {"iss": f"{COMPANY}#alice"[:-1], "sub": "e"}, False),
        ("https://evil.test#alice", {}, False),
        ("alice", {"iss": "https://evil.test"}, True),  # ids of one issuer: the application has but that one
        ("a#b", {"sub": "a#b"}, True),
        ("a#b", {"iss": "a", "sub": "b"}, False),
    ],
)
@kinds
async def test_same_subject_at_another_issuer_is_another_user(
    world: World, source: Source, user: str, claims: dict[str, Any], good: bool
) -> None:
    async with await deputy_with(world, app(source)) as deputy:
        token = world.session("alice", 3600, **claims)
        world.sessions[token]["sub"] = "alice"  # the server knows its own
        deputy.sources.token_for = lambda _: token
        if good:
            assert (await deputy.act("notes_count_notes", {}, user=user))["user"] == "alice"
            return
        with pytest.raises(InvalidInput, match="not verifiably this user's"):
            await deputy.act("notes_count_notes", {}, user=user)
        assert world.asked == {}


async def test_same_subject_at_another_provider_is_another_account(world: World) -> None:
    """The company's provider was replaced by another: its user Alice gets nothing of the first one's."""
    row = provider(identity=NAMELESS, jwks_url="")
    async with await deputy_with(world, app(ASSERTION), row=row) as deputy:
        world.session("alice")
        await deputy.act("notes_count_notes", {}, user="alice")
        [grant] = await deputy.vault.list_grants(User("alice"))
        assert (grant.account.subject, grant.account.name) == (f"{COMPANY}#alice", "alice@acme.test")
        jag = forged(iss="https://other.test", sub="alice", aud=ISSUER, email="alice@acme.test")
        world.assertions[jag] = {"sub": "alice", "aud": ISSUER, "used": False}
        world.instead = jag
        clock = world.clock
        assert isinstance(clock, Clock)
        clock.now += 400
        with pytest.raises(ReconsentRequired) as asked:
            await deputy.act("notes_count_notes", {}, user="alice")
        assert asked.value.reason == "other_account" and world.alive == []


async def test_session_of_another_account_does_not_take_over_a_grant(world: World) -> None:
    """If the application alone is trusted: a user's grant stays bound to its account."""
    clock = world.clock
    assert isinstance(clock, Clock)
    async with await deputy_with(world, app(TokenExchange(user_claim=""))) as deputy:
        world.session("alice")
        await deputy.act("notes_count_notes", {}, user="alice")
        world.sessions.clear()
        bobs = world.session("bob")
        deputy.sources.token_for = lambda user: bobs
        clock.now += 400
        for tool in ("notes_count_notes", "notes_count_notes"):
            with pytest.raises(ReconsentRequired) as asked:
                await deputy.act(tool, {}, user="alice")
            assert asked.value.reason == "other_account"
        assert world.alive == [], "tokens of the other account have ended"


async def test_forged_session_is_refused_by_the_server(world: World) -> None:
    async with await deputy_with(world, app(EXCHANGE)) as deputy:
        deputy.sources.token_for = lambda user: forged(sub="alice", exp=world.clock() + 60)
        with pytest.raises(ConsentRequired):
            await deputy.act("notes_count_notes", {}, user="alice")
        assert world.tokens == {}


async def test_assertion_for_another_server_is_refused_there(world: World) -> None:
    async with await deputy_with(world, app(replace(ASSERTION, token_audience=f"{ISSUER}/"))) as deputy:
        world.session("alice")
        with pytest.raises(ConsentRequired):
            await deputy.act("notes_count_notes", {}, user="alice")
        assert world.tokens == {}


async def test_replayed_assertion_yields_nothing_and_each_token_uses_a_new_one(world: World) -> None:
    clock = world.clock
    assert isinstance(clock, Clock)
    async with await deputy_with(world, app(ASSERTION)) as deputy:
        world.session("alice")
        await deputy.act("notes_count_notes", {}, user="alice")
        clock.now += 400
        await deputy.act("notes_count_notes", {}, user="alice")
        assert len(world.assertions) == 2
        world.replays, clock.now = True, clock.now + 400
        await deputy.act("notes_count_notes", {}, user="alice")
        clock.now += 400
        with pytest.raises(ReconsentRequired):
            await deputy.act("notes_count_notes", {}, user="alice")


async def test_other_token_types_are_not_sent_to_an_api(world: World) -> None:
    world.issued = "id-jag"
    async with await deputy_with(world, app(EXCHANGE)) as deputy:
        world.session("alice")
        with pytest.raises(ProviderUnavailable, match="without an access token") as refused:
            await deputy.act("notes_count_notes", {}, user="alice")
        assert "issued_token_type" in refused.value.hint
        assert world.asked["api.test/v1/notes"] == world.asked["auth.api.test/me"] == 0


@kinds
async def test_disconnect_ends_an_exchanged_grant_for_later_sessions(world: World, source: Source) -> None:
    async with await deputy_with(world, app(source)) as deputy:
        world.session("alice")
        await deputy.act("notes_count_notes", {}, user="alice")
        assert [one.upstream for one in await deputy.revoke("alice")] == ["done"]
        assert world.alive == []
        with pytest.raises(ConsentRequired):
            await deputy.act("notes_count_notes", {}, user="alice")
        assert world.asked["auth.api.test/token"] == 1


async def test_disconnect_while_more_scopes_are_obtained_wins(world: World) -> None:
    async with await deputy_with(world, app(EXCHANGE)) as deputy:
        world.session("alice")
        await deputy.act("notes_count_notes", {}, user="alice")
        world.hold = threading.Event()
        act = asyncio.create_task(deputy.act("notes_post_note", {"text": "hello"}, user="alice"))
        await asyncio.to_thread(world.holding.wait, 10)
        await deputy.revoke("alice")
        world.hold.set()
        with pytest.raises(ConsentRequired):
            await act
        assert (world.alive, world.posted) == ([], [])


@kinds
@pytest.mark.parametrize("ended_by", ["revoke", "erase", "revoke_all"])
@pytest.mark.parametrize("held", [False, True])
async def test_disconnected_user_gets_no_token(world: World, source: Source, ended_by: str, held: bool) -> None:
    async with await deputy_with(world, app(source)) as deputy:
        world.session("alice")
        if held:
            await deputy.act("notes_count_notes", {}, user="alice")
        world.hold = threading.Event()
        act = asyncio.create_task(deputy.act("notes_post_note", {"text": "hello"}, user="alice"))
        await asyncio.to_thread(world.holding.wait, 10)
        if ended_by == "revoke_all":
            await deputy.revoke_all()
        else:
            await getattr(deputy, ended_by)("alice")
        world.hold.set()
        with pytest.raises(ConsentRequired):
            await act
        assert (world.alive, world.posted) == ([], [])
        left = await deputy.vault.list_grants(User("alice"))
        assert all(one.status == "revoked" for one in left) and (ended_by != "erase" or left == [])
        assert await deputy.vault.scan("obtaining") == []


async def test_disconnect_wins_while_a_grant_is_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await deputy_with(world, app(EXCHANGE)) as deputy:
        world.session("alice")
        add = Vault.add

        async def late(vault: Vault, *given: Any) -> Grant:
            await deputy.revoke("alice")
            return await add(vault, *given)

        monkeypatch.setattr(Vault, "add", late)
        with pytest.raises(ConsentRequired):
            await deputy.act("notes_count_notes", {}, user="alice")
        assert world.alive == []
        assert [one.status for one in await deputy.vault.list_grants(User("alice"))] == ["revoked"]


async def test_disconnect_of_another_user_stops_nothing(world: World) -> None:
    async with await deputy_with(world, app(EXCHANGE)) as deputy:
        world.session("alice")
        world.hold = threading.Event()
        act = asyncio.create_task(deputy.act("notes_count_notes", {}, user="alice"))
        await asyncio.to_thread(world.holding.wait, 10)
        await deputy.revoke("bob")
        await deputy.revoke_all(tenant="globex")
        world.hold.set()
        assert (await act)["user"] == "alice"
