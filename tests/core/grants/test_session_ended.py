"""The application, or its pages, learn that a user's session is over: its grants end, and no others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from deputize.core import ConsentRequired, Deputy, ReconsentRequired, User
from deputize.core.oauth.app import Source
from tests.support.sandbox_deputy import Clock
from tests.support.token_sources import (
    ASSERTION,
    BOT,
    EXCHANGE,
    ON_BEHALF_OF,
    READ,
    SOURCES,
    World,
    app,
    bot_app,
    deputy_with,
)


@pytest.fixture
def world() -> World:
    return World(Clock(1_800_000_000.0))


async def opened(world: World, source: Source | None) -> AsyncIterator[Deputy]:
    async with await deputy_with(world, app(source), bot_app(world)) as deputy:
        for name in ("alice", "bob"):
            world.session(name)
        yield deputy


async def acts(deputy: Deputy, user: str = "alice") -> str:
    return str((await deputy.act("notes_count_notes", {}, user=user))["user"])


@pytest.mark.parametrize("source", SOURCES)
async def test_ended_session_revokes_its_tokens_until_the_next_session(world: World, source: Source) -> None:
    async for deputy in opened(world, source):
        assert [await acts(deputy, name) for name in ("alice", "bob")] == ["alice", "bob"]
        await deputy.act("notes_count_notes", {}, user="alice", app="bot")
        world.sessions.clear()
        await deputy.sources.session_ended("alice")
        assert world.alive == ["bob", BOT], "a token that was given out by then opens nothing any more"
        with pytest.raises(ReconsentRequired, match="session has ended") as ended:
            await acts(deputy)
        assert ended.value.reason in ("session_ended", "session_needed")
        world.session("alice")
        assert await acts(deputy) == "alice", "no disconnect"
        await deputy.sources.session_ended(User("alice", "another tenant"))
        await deputy.sources.session_ended("nobody")
        assert "alice" in world.alive


@pytest.mark.parametrize("how", ["refresh token", "import", "consent"])
async def test_grants_not_bound_to_a_session_stay(world: World, how: str) -> None:
    async for deputy in opened(world, ON_BEHALF_OF if how == "refresh token" else None):
        if how == "refresh token":
            world.refreshes = True
        else:
            _, refresh = world.tokens_of("alice", READ)
            await deputy.sources.import_tokens("alice", "api", account="alice", by="ops", refresh_token=refresh)
        assert await acts(deputy) == "alice"
        world.sessions.clear()
        await deputy.sources.session_ended("alice")
        assert await acts(deputy) == "alice"


@pytest.mark.parametrize("source", [EXCHANGE, ASSERTION])
@pytest.mark.parametrize("held", [False, True])
async def test_session_end_during_a_request_wins(world: World, source: Source, held: bool) -> None:
    """During a first grant and during a renewal: the server has issued the tokens, and they have not arrived yet."""
    async for deputy in opened(world, source):
        if held:
            assert await acts(deputy) == "alice"
            clock = world.clock
            assert isinstance(clock, Clock)
            clock.now += 299
        world.hold = threading.Event()
        acting = asyncio.create_task(acts(deputy))
        assert await asyncio.to_thread(world.holding.wait, 10)
        await deputy.sources.session_ended("alice")
        world.sessions.clear()
        world.hold.set()
        (outcome,) = await asyncio.gather(acting, return_exceptions=True)
        assert isinstance(outcome, ReconsentRequired if held else ConsentRequired), outcome
        for _ in range(100):
            if not world.alive:
                break
            await asyncio.sleep(0.02)
        assert world.alive == []
        world.hold = None
        world.session("alice")
        assert await acts(deputy) == "alice"
