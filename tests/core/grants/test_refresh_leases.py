"""A refresh whose lock is lost in progress: the refresh token is sent once, and the new tokens are stored."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

import psycopg
import pytest

from deputize.core import Deputy, ProviderUnavailable, StoreUnavailable, User
from deputize.core.grants import refresh
from deputize.core.grants import refresh_intent as intent
from deputize.core.vault.grant import Grant
from deputize.core.vault.stores import Store, open_store
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.core.oauth.test_custody import LINEAR
from tests.support.cut_locks import CutLocksStore
from tests.support.faults import FaultyStore, Line, Meddler
from tests.support.postgres import Server, postgres_server
from tests.support.sandbox_deputy import build, consent
from tests.support.token_families import alive, unknown

ALICE = User("alice")
TOKEN = ("api.linear.app", "/oauth/token")
KEY = b"k" * 32


class Two:
    """Two programs on one vault, at a provider that ends a token family on refresh token reuse."""

    def __init__(self, sandbox: Sandbox, one: Deputy, other: Deputy, lines: tuple[Line, Line]) -> None:
        self.sandbox, self.one, self.other, self.lines = sandbox, one, other, lines
        self.before: Grant

    @classmethod
    async def on(cls, one: Store, other: Store) -> Two:
        """Connect Alice, and let her access token be refused."""
        sandbox = Sandbox()
        sandbox.switches.rotate = sandbox.switches.reuse_kills_family = True
        lines = Line(sandbox.transport()), Line(sandbox.transport())
        made = [
            await build(sandbox, vault=await Vault.open(store, [KEY]), transport=line, apps=[LINEAR])
            for store, line in zip((one, other), lines, strict=True)
        ]
        two = cls(sandbox, made[0], made[1], lines)
        [asked] = await two.one.connect("alice", "linear", scopes=["read"])
        assert (await consent(two.one, sandbox, asked)).status == "granted"
        two.before = await two.grant()
        for line in lines:
            line.seen.clear()
        return two

    async def grant(self) -> Grant:
        [grant] = await self.other.vault.list_grants(ALICE)
        return grant

    def refresh(self, deputy: Deputy) -> Awaitable[Grant]:
        return deputy.refresher.get_live(self.before, failed=self.before.access_token)

    async def insist(self, deputy: Deputy, seconds: float = 40.0) -> Grant:
        """Retry as callers do that are told to."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return await self.refresh(deputy)
            except (StoreUnavailable, ProviderUnavailable):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)

    @property
    def sent(self) -> int:
        """Return how often the refresh token was sent."""
        return sum(line.count(TOKEN) for line in self.lines)

    async def check(self, *came: Grant) -> None:
        """Check for one request, whose tokens are the grant's, and alive."""
        now = await self.grant()
        assert self.sent == 1, f"the refresh token was sent {self.sent} times"
        assert now.status == "active" and now.refresh_token != self.before.refresh_token
        assert {grant.access_token for grant in came} == {now.access_token}
        assert await self.one.vault.scan("intent") == []
        assert len(alive(self.sandbox, time.time)) == 1
        assert await unknown(self.one.vault, self.sandbox, time.time) == set()

    async def close(self) -> None:
        await self.one.close()
        await self.other.close()


async def test_lock_lost_at_any_point_of_a_refresh_sends_the_token_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intent, "POLL_INTERVAL_SECONDS", 0.01)
    here = asyncio.get_running_loop()  # a refresh runs on another one
    for at in range(1, 60):
        locks = CutLocksStore()
        store = FaultyStore(locks)
        two = await Two.on(store, store)
        rival: list[Future[Grant]] = []

        async def cut(locks: CutLocksStore = locks, rival: list[Future[Grant]] = rival, two: Two = two) -> None:
            locks.cut()
            rival.append(asyncio.run_coroutine_threadsafe(two.insist(two.other), here))
            await asyncio.sleep(0.05)

        meddler = store.meddler = two.lines[0].meddler = Meddler(at, cut)
        came = []
        with suppress(StoreUnavailable):  # nothing was sent then
            came.append(await two.refresh(two.one))
        if rival:
            await two.check(*came, await asyncio.wrap_future(rival[0]))
        await two.close()
        if not meddler.acted:
            assert at > 5
            return
    raise AssertionError("it never ends")


async def test_lease_of_a_dead_holder_is_taken_over_after_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed during its request: the next caller waits exactly until no request can be in progress."""
    monkeypatch.setattr(intent, "POLL_INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(intent, "LEASE_MARGIN_SECONDS", 0.2)
    monkeypatch.setattr(refresh, "REQUEST_TIMEOUT_SECONDS", 0.4)
    monkeypatch.setattr(refresh, "LOCK_TIMEOUT_SECONDS", 0.2)
    store = CutLocksStore()
    two = await Two.on(store, store)
    key = two.one.vault.record_key(two.before)
    began = time.time()
    async with store.lock(f"grant-{key}", 1) as lock:
        gone = two.one.refresher._intent(two.before, lock)
        await gone.write(began, 1)
    with pytest.raises(ProviderUnavailable, match="Another process"):
        await two.refresh(two.other)
    assert two.sent == 0
    renewed = await two.insist(two.other)
    assert time.time() - began >= 0.6
    await two.check(renewed)
    assert await two.one.vault.scan("intent") == []
    await two.close()


async def test_lease_does_not_block_its_own_process_or_stores_with_safe_locks() -> None:
    store = CutLocksStore()
    two = await Two.on(store, store)
    async with store.lock("grant", 1) as lock:
        await two.one.refresher._intent(two.before, lock).write(0.0, 0.0)
        again = two.one.refresher._intent(two.before, lock)
        await again.write(0.0, 0.0)
        assert again.reopened
        with pytest.raises(TimeoutError):
            await two.other.refresher._intent(two.before, lock).write(0.0, 0.0)
        await again.leave()
        await two.other.refresher._intent(two.before, lock).write(0.0, 0.0)
    unlosable = two.one.refresher._intent(two.before, None)
    await unlosable.write(0.0, 0.0)
    assert unlosable.reopened
    await two.close()


async def test_second_request_is_not_sent_after_the_lock_was_lost() -> None:
    store = CutLocksStore()
    two = await Two.on(store, store)
    async with store.lock("grant", 1) as lock:
        one = two.one.refresher._intent(two.before, lock)
        await one.write(0.0, 0.0)
        assert await one.allows_another()
        store.cut()
        assert not await one.allows_another()
    await two.close()


# ------------------------------------------------------------- Postgres

MOMENTS: Final = (
    "before the intent",
    "after the intent",
    "in the request",
    "before the swap",
    "in the swap",
    "after the swap",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server() as server:
        migrate(Address.of(server.url))
        yield server


def cut(server: Server) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'deputize'")


def crash(server: Server) -> None:
    server.stop(signal.SIGQUIT)
    server.start()


class Moments(FaultyStore):
    """A store in which something happens once at a given moment of a refresh."""

    def __init__(self, inner: Store, moment: str, happen: Callable[[], Awaitable[None]]) -> None:
        super().__init__(inner)
        self.moment, self.happen = moment, happen

    async def _at(self, moment: str) -> None:
        if self.moment == moment:
            self.moment = ""
            await self.happen()

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        if kind == "intent":
            await self._at("before the intent")
        done = await super().insert(kind, key, value)
        if kind == "intent":
            await self._at("after the intent")
        return done

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        if kind == "grant":
            await self._at("before the swap")
            await self._at("in the swap")
        done = await super().swap(kind, key, old, new)
        if kind == "grant":
            await self._at("after the swap")
        return done


@pytest.fixture
async def stores(server: Server) -> AsyncIterator[tuple[Store, Store]]:
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute("TRUNCATE deputize_record")
    yield open_store(server.url, create=True), open_store(server.url, create=True)


@pytest.mark.counterpart
@pytest.mark.parametrize("delay", [1.5, pytest.param(6.0, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("fault", [cut, crash])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_postgres_outage_during_a_refresh_loses_no_grant(
    server: Server, stores: tuple[Store, Store], moment: str, fault: Callable[[Server], None], delay: float
) -> None:
    rival, here = list[Future[Grant]](), asyncio.get_running_loop()

    async def happen() -> None:
        broken = asyncio.get_running_loop().run_in_executor(None, fault, server)
        await asyncio.sleep(0.05)
        rival.append(asyncio.run_coroutine_threadsafe(two.insist(two.other), here))
        await (asyncio.sleep(0) if moment.startswith("in") else broken)

    store = Moments(stores[0], "", happen)
    two = await Two.on(store, stores[1])
    two.sandbox.switches.token_delay = delay
    store.moment = moment
    refreshing = asyncio.create_task(two.insist(two.one))
    if moment == "in the request":
        while not two.sent:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(delay / 3)
        await happen()
    came = await refreshing
    assert rival, "it did not come to that moment"
    await two.check(came, await asyncio.wrap_future(rival[0]))
    await two.close()
