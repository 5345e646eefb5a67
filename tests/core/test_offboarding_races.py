"""An offboarding that dies at any step is completed by another process, and no consent in progress survives one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from deputize.core import Deputy, StoreUnavailable, User
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.vault.vault import Vault
from deputize.core.web.signin.sign_in_sessions import Session, Sessions
from tests.core.consent.test_consents import House
from tests.support.gmail_toolkit import gmail
from tests.support.kill_points import Fate, MortalLine, MortalStore
from tests.support.sandbox_deputy import build


@dataclass
class Meddled(Fate):
    """A process in which other ``work`` runs to its end before, or after, the ``at``-th step."""

    work: Callable[[], Awaitable[Any]] | None = None

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[None]:
        self.steps.append(name)
        due = self.work if len(self.steps) == self.at else None
        if due and self.when == "before":
            await due()
        yield
        if due and self.when == "after":
            await due()


async def another(house: House, fate: Fate) -> Deputy:
    """Return the deputy of another process."""
    vault = await Vault.open(MortalStore(house.store, fate), [b"k" * 32])
    return await build(vault=vault, transport=MortalLine(house.line, fate), clock=house.clock, toolkits=[gmail])


async def expect_nothing_alive(house: House) -> None:
    vault = house.deputy.vault
    assert house.live() == 0, "no token lives at the provider"
    assert await house.deputy.connections("alice") == []
    assert await house.deputy.pending("alice") == []
    for kind in ("session", "received", "outbox", "offboarding"):
        assert await vault.scan(kind) == [], kind


async def with_access(house: House) -> None:
    """Give Alice a grant, a waiting consent and a session."""
    await house.connected("readonly")
    await house.ask("send")
    await Sessions(house.deputy.vault, "https://login.example.com", house.clock).begin(Session(User("alice")))


async def test_killed_offboarding_is_completed_by_another_process() -> None:
    at, died = 0, 0
    while died == at:
        at += 1
        house = await House().begin()
        await with_access(house)
        fate = Fate(at)
        dying = asyncio.create_task((await another(house, fate)).offboard("alice", "left"))
        await asyncio.gather(dying, return_exceptions=True)
        died += fate.dead
        if fate.dead and at > 1:  # before the first step nothing was promised
            await house.deputy.resume_offboardings()
            await house.deputy.consents.recover()
            await expect_nothing_alive(house)
            await house.deputy.audit.settle()
            rows = [row for row in house.deputy.audit.rows() if row["event"] == "user.offboarded"]
            assert [row["cause"] for row in rows] in (["left"], []), fate.last
        await house.deputy.close()
    assert died >= 8


async def test_offboarding_that_another_process_completes_slowly_is_a_typed_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("deputize.core.acts.offboard.LOCK_TIMEOUT_SECONDS", 0.05)
    house = await House().begin()
    await with_access(house)
    slow, begun, go_on = await another(house, Fate()), asyncio.Event(), asyncio.Event()
    revoke = slow.revoker.disconnect

    async def slowly(*arguments: Any, **more: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await revoke(*arguments, **more)

    monkeypatch.setattr(slow.revoker, "disconnect", slowly)
    insert, completing = house.deputy.vault.insert, list[asyncio.Task[None]]()

    async def meddled(kind: str, *arguments: Any) -> Any:
        made = await insert(kind, *arguments)
        if kind == "offboarding":
            completing.append(asyncio.create_task(slow.resume_offboardings()))
            await begun.wait()
        return made

    monkeypatch.setattr(house.deputy.vault, "insert", meddled)
    with pytest.raises(StoreUnavailable, match="Another process is completing this offboarding"):
        await house.deputy.offboard("alice", "left")
    go_on.set()
    await completing[0]
    await expect_nothing_alive(house)
    await slow.close()
    await house.deputy.close()


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("first", ["exchange", "offboarding"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_offboarding_during_a_code_exchange_leaves_no_living_token(
    when: Literal["before", "after"], first: str, connected: bool
) -> None:
    at, done = 0, False
    while not done:
        at += 1
        house = await House().begin()
        if connected:
            await house.connected("readonly")
        asked = await house.ask("send")
        started = await house.start(asked)
        back = await house.allowed(started)
        fate = Meddled(at, when)
        other = await another(house, fate)

        def finish(deputy: Deputy, back: Any = back, started: Any = started) -> Any:
            return deputy.consents.finish("google", back, AnyLocalUser(), started.nonce.reveal())

        def end(deputy: Deputy) -> Any:
            return deputy.offboard("alice", "left")

        outer, inner = (finish, end) if first == "exchange" else (end, finish)
        fate.work = lambda house=house, inner=inner: asyncio.gather(inner(house.deputy), return_exceptions=True)
        await asyncio.gather(outer(other), return_exceptions=True)
        done = len(fate.steps) < at
        if not done:
            await other.consents.recover()
            assert house.live() == 0, (at, fate.steps)
            assert await house.deputy.connections("alice") == [], fate.steps
        await other.close()
        await house.deputy.close()
    assert at > 3
