"""Grants from a session last as long as the session, whatever the server sends with them; and a refusal reaches all
callers that wait for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deputize.core import (
    ConsentRequired,
    DeputizeError,
    InvalidInput,
    ProviderUnavailable,
    RateLimited,
    ReconsentRequired,
    User,
)
from deputize.core.grants.sources import session
from deputize.core.oauth.app import Source
from tests.support.sandbox_deputy import Clock
from tests.support.token_sources import (
    API,
    ASSERTION,
    EXCHANGE,
    ISSUER,
    SOURCES,
    World,
    app,
    bot_app,
    deputy_with,
    provider,
)

without_refresh = pytest.mark.parametrize("source", [EXCHANGE, ASSERTION], ids=lambda one: one.kind)


@pytest.fixture
def clock() -> Clock:
    return Clock(1_800_000_000.0)


@pytest.fixture
def world(clock: Clock) -> World:
    return World(clock, refreshes=True)


def grants_asked(world: World) -> list[str]:
    return [form["grant_type"] for form in world.forms if "grant_type" in form]


@without_refresh
async def test_unwanted_refresh_token_is_never_used_and_is_revoked(world: World, clock: Clock, source: Source) -> None:
    async with await deputy_with(world, app(source)) as deputy:
        world.session("alice", 1000)
        for _ in range(3):
            await deputy.act("notes_count_notes", {}, user="alice")
            assert len(world.refresh_tokens) == 1, "that of the token before has ended"
            clock.now += 310
        clock.now += 1000
        with pytest.raises(ReconsentRequired):
            await deputy.act("notes_count_notes", {}, user="alice")
        assert world.refresh_tokens == {} and "refresh_token" not in grants_asked(world)
        world.session("alice")
        world.sessions = {token: one for token, one in world.sessions.items() if one["exp"] > clock.now}
        assert (await deputy.act("notes_count_notes", {}, user="alice"))["user"] == "alice"


@without_refresh
async def test_unwanted_refresh_token_is_revoked_when_the_session_is_refused(
    world: World, clock: Clock, source: Source
) -> None:
    async with await deputy_with(world, app(source)) as deputy:
        token = world.session("alice", 10_000)
        await deputy.act("notes_count_notes", {}, user="alice")
        clock.now += 310
        world.sessions[token] = world.sessions[token] | {"aud": "another client"}
        with pytest.raises(ReconsentRequired):
            await deputy.act("notes_count_notes", {}, user="alice")
        assert world.refresh_tokens == {} and "refresh_token" not in grants_asked(world)


async def test_service_account_is_renewed_by_its_key_only(world: World, clock: Clock) -> None:
    async with await deputy_with(world, bot_app(world)) as deputy:
        for _ in range(2):
            await deputy.act("notes_count_notes", {}, user="alice", app="bot")
            clock.now += 310
        assert grants_asked(world) == ["client_credentials"] * 2 and len(world.refresh_tokens) == 1


@pytest.mark.parametrize("source", SOURCES, ids=lambda one: one.kind)
async def test_token_without_lifetime_is_obtained_again_soon(
    world: World, clock: Clock, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, world.refreshes, world.life = World._token, False, 10**9

    def unsaid(self: World, *given: Any) -> dict[str, Any]:
        return {name: value for name, value in said(self, *given).items() if name != "expires_in"}

    monkeypatch.setattr(World, "_token", unsaid)
    async with await deputy_with(world, app(source)) as deputy:
        world.session("alice", 1000)
        await deputy.act("notes_count_notes", {}, user="alice")
        [grant] = await deputy.vault.list_grants(User("alice"))
        assert 0 < grant.expires_at - clock.now <= 300
        clock.now += 2000
        with pytest.raises(ReconsentRequired):
            await deputy.act("notes_count_notes", {}, user="alice")


@pytest.mark.parametrize(
    ("status", "error", "raised"),
    [(429, "slow_down", RateLimited), (503, "", ProviderUnavailable), (400, "invalid_grant", ConsentRequired)],
)
@pytest.mark.parametrize("source", SOURCES, ids=lambda one: one.kind)
async def test_refused_exchange_is_one_request_for_fifty_acts(
    world: World, clock: Clock, source: Source, status: int, error: str, raised: type[DeputizeError]
) -> None:
    async with await deputy_with(world, app(source)) as deputy:
        first = world.session("alice")
        world.answers["auth.api.test/token"] = status, {"error": error}
        acts = (deputy.act("notes_count_notes", {}, user="alice") for _ in range(50))
        assert all(isinstance(one, raised) for one in await asyncio.gather(*acts, return_exceptions=True))
        assert world.asked["auth.api.test/token"] == 1
        world.answers.clear()
        if raised is ConsentRequired:  # another session is another question
            del world.sessions[first]
            world.session("alice", nonce="another")
        else:
            clock.now += 10
        assert (await deputy.act("notes_count_notes", {}, user="alice"))["user"] == "alice"


async def test_refused_session_of_one_user_does_not_block_others(world: World) -> None:
    async with await deputy_with(world, app(EXCHANGE)) as deputy:
        world.session("bob")
        token = world.session("alice")
        world.sessions[token] = world.sessions[token] | {"aud": "another client"}
        with pytest.raises(ConsentRequired):
            await deputy.act("notes_count_notes", {}, user="alice")
        assert (await deputy.act("notes_count_notes", {}, user="bob"))["user"] == "bob"


async def test_hanging_application_callback_times_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(user: User) -> str:
        await asyncio.sleep(3600)
        return ""

    monkeypatch.setattr(session, "SESSION_TOKEN_TIMEOUT_SECONDS", 0.05)
    async with await deputy_with(world, app(EXCHANGE)) as deputy:
        deputy.sources.token_for = never
        async with asyncio.timeout(20):
            with pytest.raises(InvalidInput, match="token_for failed: TimeoutError"):
                await deputy.act("notes_count_notes", {}, user="alice")
    assert world.asked == {}


async def test_assertion_request_names_only_the_api_scopes_and_resource(world: World) -> None:
    row = provider(always_scopes=("notes:me",))
    async with await deputy_with(world, app(ASSERTION), row=row) as deputy:
        world.session("alice")
        await deputy.act("notes_count_notes", {}, user="alice")
    asked = world.forms[0]
    assert (asked["scope"], asked["resource"], asked["audience"]) == ("notes:me notes:read", API, ISSUER)
