"""One live token per grant, with any callers and any process deaths."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from deputize.core import (
    ConsentRequired,
    DeputizeError,
    Deputy,
    InvalidInput,
    ProviderUnavailable,
    RateLimited,
    ReconsentRequired,
    StoreUnavailable,
    User,
)
from deputize.core.grants import refresh
from deputize.core.vault.grant import Grant, Secret
from deputize.sandbox import Sandbox
from tests.core.consent.test_consents import House
from tests.support.faults import GMAIL_API, REVOKE, TOKEN, Meddler, answer, broken, shown
from tests.support.gmail_toolkit import ALL, gmail
from tests.support.sandbox_deputy import build, connect, new_vault, played

HOUR = 3600.0


class Refreshing(House):
    """A house with Alice connected, whose first requests are not counted."""

    async def ready(self) -> Refreshing:
        await self.begin()
        await self.connected(*ALL)
        self.forget()
        return self

    def forget(self) -> None:
        """Start counting here."""
        self.line.seen.clear()

    def expire(self) -> None:
        self.sandbox.expire_access_tokens()
        self.clock.now += HOUR

    @property
    def posts(self) -> int:
        return self.line.count(TOKEN)

    async def now(self) -> Grant:
        """Return the grant as stored in the vault."""
        found = await self.grant()
        assert found
        return found


@pytest.fixture
async def house() -> AsyncIterator[Refreshing]:
    made = await Refreshing().ready()
    made.sandbox.switches.rotate = made.sandbox.switches.reuse_kills_family = True
    yield made
    await made.deputy.close()


@pytest.fixture(autouse=True)
def quick_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    """No real waiting between two tries to save."""
    monkeypatch.setattr(refresh, "asyncio", _Quick())


class _Quick:
    """asyncio, with short sleeps."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    @staticmethod
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.002))


# ------------------------------------------------------------- R1: one process


@pytest.mark.parametrize("number", [200, 1000])
async def test_R1_many_tasks_with_an_expired_grant_cause_one_refresh(house: Refreshing, number: int) -> None:
    house.sandbox.switches.token_delay = 0.05
    house.expire()
    grant = await house.now()
    found = await asyncio.gather(*(house.deputy.refresher.get_live(grant) for _ in range(number)))
    assert house.posts == 1 and len({one.access_token for one in found}) == 1
    assert found[0].generation == grant.generation + 1


async def test_R1_two_hundred_concurrent_acts_succeed_with_one_refresh(house: Refreshing) -> None:
    house.expire()
    results = await asyncio.gather(*(house.act() for _ in range(200)))
    assert house.posts == 1 and all(result for result in results)


def test_R1_sixty_four_threads_cause_one_refresh() -> None:
    sandbox = Sandbox()
    sandbox.switches.rotate = sandbox.switches.reuse_kills_family = True
    with _blocking(build(sandbox, toolkits=[gmail])) as deputy:
        deputy.run(connect(deputy, sandbox, *ALL))
        before = sandbox.count(*TOKEN)
        sandbox.switches.access_ttl = 3599
        sandbox.expire_access_tokens()
        barrier = threading.Barrier(64)

        def act(_: int) -> Any:
            barrier.wait(10)
            return deputy.run(deputy.act("gmail_search", {}, user="alice"))

        with ThreadPoolExecutor(64) as pool:
            results = list(pool.map(act, range(64)))
        assert len(results) == 64 and all(results) and sandbox.count(*TOKEN) == before + 1


async def test_R1_threads_and_tasks_share_one_refresh(house: Refreshing) -> None:
    house.sandbox.switches.token_delay = 0.1
    house.expire()
    grant = await house.now()

    def from_thread() -> Grant:
        return asyncio.run(house.deputy.refresher.get_live(grant))

    mixed = [asyncio.to_thread(from_thread) for _ in range(4)]
    found = await asyncio.gather(*mixed, *(house.deputy.refresher.get_live(grant) for _ in range(20)))
    assert house.posts == 1 and len({one.generation for one in found}) == 1


async def test_R1_cancelled_leader_does_not_cancel_the_refresh(house: Refreshing) -> None:
    house.expire()
    house.line.held = TOKEN
    leader = asyncio.create_task(house.act())
    await house.line.until_held()
    followers = [asyncio.create_task(house.act()) for _ in range(20)]
    await asyncio.sleep(0.02)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    house.line.release()
    assert all(await asyncio.gather(*followers)) and house.posts == 1


async def test_R1_refresh_is_saved_when_all_callers_are_cancelled(house: Refreshing) -> None:
    house.expire()
    before = await house.now()
    house.line.held = TOKEN
    callers = [asyncio.create_task(house.act()) for _ in range(5)]
    await house.line.until_held()
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    house.line.release()
    assert await house.act() and house.posts == 1
    assert (await house.now()).generation == before.generation + 1


async def test_R1_finished_refresh_task_does_not_loop_its_followers(house: Refreshing) -> None:
    """A caller whose token was refused meets the task that has just obtained that very token."""
    grant, refresher = await house.now(), house.deputy.refresher
    key = house.deputy.vault.record_key(grant)

    async def meets() -> Grant:
        done: asyncio.Task[Grant] = asyncio.create_task(_value(grant))
        await done
        refresher._running[key] = done
        asyncio.get_running_loop().call_soon(refresher._running.pop, key, None)
        return await refresher._join(key, grant.access_token)

    turns = 0

    def watch(*_: object) -> Any:  # an endless loop that never yields can only be ended from inside
        nonlocal turns
        turns += 1
        if turns > 20_000:
            raise RecursionError("the event loop stands still")
        return None

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        renewed = await meets()
    finally:
        sys.settrace(before)  # a debugger's, or of whatever measures the tests
    assert renewed.access_token != grant.access_token and house.posts == 1


async def _value(grant: Grant) -> Grant:
    return grant


async def test_R13_other_grants_do_not_wait_for_a_hanging_provider(house: Refreshing) -> None:
    for n in range(8):
        await house.connected("readonly", user=f"user{n}", as_="bob@example.test")
    house.expire()
    house.forget()
    house.line.held = TOKEN
    hanging = asyncio.create_task(house.act())
    await house.line.until_held()
    house.line.held = None
    others = [house.deputy.act("gmail_search", {}, user=f"user{n}") for n in range(8)]
    await asyncio.wait_for(asyncio.gather(*others), 10)
    await hanging
    assert house.posts == 9


# ------------------------------------------------------------- R2: many processes


@contextmanager
def served(sandbox: Sandbox) -> Iterator[str]:
    """The sandbox on loopback; its base URL."""
    server = uvicorn.Server(uvicorn.Config(sandbox.app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


ACTING = """
import asyncio, os, signal, sys
from pathlib import Path
from deputize.core import PROVIDERS, DeputizeError
from deputize.core.grants import refresh
from tests.support.sandbox_deputy import build, new_vault
from tests.support.gmail_toolkit import gmail

path, base, number, die = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]

def end():
    os.kill(os.getpid(), signal.SIGKILL if die.startswith("kill") else signal.SIGSTOP)

async def main():
    deputy = await build(vault=await new_vault(path, b"k" * 32), toolkits=[gmail], transport=lambda: None,
                         providers={"google": PROVIDERS["google"].moved_to(base)})
    deputy.http = type(deputy.http)()
    object.__setattr__(deputy.services, "http", deputy.http)
    for part in (deputy.refresher, deputy.revoker):
        part.http = deputy.http
    ask = refresh.Endpoint.refresh

    async def asking(self, *tokens):
        if die.endswith("before"):
            end()
        tokens = await ask(self, *tokens)
        if die.endswith("after"):
            end()
        return tokens

    refresh.Endpoint.refresh = asking
    print("ready", flush=True)
    sys.stdin.readline()
    good, errors = 0, []
    for _ in range(number):
        try:
            good += bool(await deputy.act("gmail_search", {}, user="alice"))
        except DeputizeError as e:
            errors.append(getattr(e, "reason", e.code))
    print(good, errors, flush=True)
    await deputy.close()

asyncio.run(main())
"""


class Fleet:
    """Processes on one vault, over one sandbox server."""

    def __init__(self, path: Path, base: str) -> None:
        self.path, self.base = path, base
        self.all: list[subprocess.Popen[str]] = []

    def start(self, number: int = 1, die: str = "never") -> subprocess.Popen[str]:
        """Start one process, ready to make this many acts."""
        command = [sys.executable, "-c", ACTING, str(self.path), self.base, str(number), die]
        one = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True)
        self.all.append(one)
        return one

    async def go(self, *ones: subprocess.Popen[str]) -> list[str]:
        """Let them act; return their output."""
        for one in ones:
            assert one.stdout and await asyncio.to_thread(one.stdout.readline) == "ready\n", one.stderr
        return [out.strip() for out, _ in await asyncio.gather(*(self._ended(one) for one in ones))]

    async def _ended(self, one: subprocess.Popen[str]) -> tuple[str, str]:
        return await asyncio.to_thread(one.communicate, "\n", 60)

    def end(self) -> None:
        """Kill what still runs."""
        for one in self.all:
            one.kill()
            with suppress(ValueError):
                one.communicate(timeout=10)


@contextmanager
def _fleet(sandbox: Sandbox, path: Path) -> Iterator[Fleet]:
    with served(sandbox) as base:
        fleet = Fleet(path, base)
        try:
            yield fleet
        finally:
            fleet.end()


async def _expired(tmp_path: Path, **switches: Any) -> tuple[Sandbox, Path]:
    """A sandbox and a vault in which Alice's grant needs a refresh."""
    sandbox, path = Sandbox(), tmp_path / "vault" / "vault.sqlite"
    vault = await new_vault(path, b"k" * 32)
    deputy = await build(sandbox, vault=vault, toolkits=[gmail])
    await connect(deputy, sandbox, *ALL)
    grant = await vault.find_grant(User("alice"), "google", "google")
    assert grant
    assert await vault.replace(grant, replace(grant, expires_at=1.0, origin=played()))
    await deputy.close()
    sandbox.expire_access_tokens()
    for name, value in switches.items():
        setattr(sandbox.switches, name, value)
    return sandbox, path


@pytest.mark.processes
async def test_R2_eight_processes_with_25_acts_each_refresh_once(tmp_path: Path) -> None:
    sandbox, path = await _expired(tmp_path, rotate=True, reuse_kills_family=True, token_delay=0.2)
    before = sandbox.count(*TOKEN)
    with _fleet(sandbox, path) as fleet:
        said = await fleet.go(*(fleet.start(25) for _ in range(8)))
    assert said == ["25 []"] * 8 and sandbox.count(*TOKEN) == before + 1


@pytest.mark.processes
async def test_W2_next_process_refreshes_when_the_holder_is_killed_before_sending(tmp_path: Path) -> None:
    sandbox, path = await _expired(tmp_path, rotate=True, reuse_kills_family=True)
    before = sandbox.count(*TOKEN)
    with _fleet(sandbox, path) as fleet:
        dying = fleet.start(1, "kill-before")
        assert await fleet.go(dying) == [""] and dying.returncode == -signal.SIGKILL
        said = await fleet.go(*(fleet.start(5) for _ in range(3)))
    assert said == ["5 []"] * 3 and sandbox.count(*TOKEN) == before + 1


@pytest.mark.processes
@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({"rotate": True, "grace": 0}, "0 ['lost_rotation', 'lost_rotation']"),
        ({"rotate": True, "grace": 30}, "2 []"),
        ({"rotate": False}, "2 []"),
    ],
    ids=["rotating", "rotating with grace", "not rotating"],
)
async def test_W5_next_process_recovers_when_the_holder_is_killed_with_the_reply(
    tmp_path: Path, switches: dict[str, Any], expected: str
) -> None:
    sandbox, path = await _expired(tmp_path, **switches)
    before = sandbox.count(*TOKEN)
    with _fleet(sandbox, path) as fleet:
        assert await fleet.go(fleet.start(1, "kill-after")) == [""]
        assert await fleet.go(fleet.start(2)) == [expected]
    assert sandbox.count(*TOKEN) == before + 2


@pytest.mark.processes
async def test_R3_stopped_holder_causes_no_second_request_and_continues_later(tmp_path: Path) -> None:
    sandbox, path = await _expired(tmp_path, rotate=True, reuse_kills_family=True)
    before = sandbox.count(*TOKEN)
    with _fleet(sandbox, path) as fleet:
        stopped, other = fleet.start(1, "stop-before"), fleet.start(1)
        first = asyncio.create_task(fleet.go(stopped))
        deadline = time.monotonic() + 60
        while "T" not in _state(stopped.pid):
            assert time.monotonic() < deadline, "it has not stopped"
            await asyncio.sleep(0.02)
        second = asyncio.create_task(fleet.go(other))
        await asyncio.sleep(1.0)
        assert sandbox.count(*TOKEN) == before and not second.done()
        stopped.send_signal(signal.SIGCONT)
        assert (await first, await second) == (["1 []"], ["1 []"])
    assert sandbox.count(*TOKEN) == before + 1


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_R3_timed_out_caller_gets_an_error_or_the_old_token(
    house: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "LOCK_TIMEOUT_SECONDS", 0.05)
    key = house.deputy.vault.record_key(await house.now())
    async with house.store.lock(f"grant-{key}", 1):
        house.clock.now += HOUR - 30
        assert await house.act()  # in its last minute the old token still serves
        house.expire()
        with pytest.raises(ProviderUnavailable):
            await house.act()
    assert house.posts == 0 and await house.act() and house.posts == 1


# ------------------------------------------------------------- R4: saved before it is used


@pytest.mark.parametrize("times", [1, 5, 30])
async def test_R4_temporary_store_failure_loses_no_token(house: Refreshing, times: int) -> None:
    house.expire()
    house.store.failing["swap", "grant"] = times
    assert await house.act()
    assert house.posts == 1 and house.events().count("token.save_failed") == times
    house.expire()
    assert await house.act() and house.posts == 2  # with the rotated token, which was kept


async def test_R4_unsaved_token_is_never_used(house: Refreshing) -> None:
    house.expire()
    saved: list[int] = []

    async def look() -> None:
        saved.append(house.line.count(GMAIL_API))

    house.store.failing["swap", "grant"] = 20
    original = house.store._before

    async def before(method: str, kind: str) -> None:
        if (method, kind) == ("swap", "grant"):
            await look()
        await original(method, kind)

    house.store._before = before  # type: ignore[method-assign]
    await asyncio.gather(*(house.act() for _ in range(5)))
    assert len(saved) == 21 and set(saved) == {0}


async def test_R4_callers_are_told_that_the_new_token_cannot_be_saved(
    house: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.expire()
    house.store.failing["swap", "grant"] = 10**6
    acting = asyncio.create_task(house.act())
    while "token.save_failed" not in house.events():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    with monkeypatch.context() as patches:
        patches.setattr(refresh, "CALLER_TIMEOUT_SECONDS", 0.05)
        with pytest.raises(StoreUnavailable, match="cannot keep the new token") as caught:
            await house.act()
    assert "leave this program running" in caught.value.hint
    house.store.failing.clear()
    assert await acting and house.posts == 1


async def test_W2_refresh_is_not_sent_when_its_intent_cannot_be_stored(house: Refreshing) -> None:
    house.expire()
    house.store.failing["insert", "intent"] = 1
    with pytest.raises(DeputizeError) as caught:
        await house.act()
    assert caught.value.code == "store_unavailable" and house.posts == 0
    assert await house.act()


async def test_saved_token_survives_an_intent_that_cannot_be_removed(house: Refreshing) -> None:
    house.expire()
    house.store.failing["delete", "intent"] = 1
    with suppress(DeputizeError):
        await house.act()
    assert await house.act() and house.posts == 1
    house.expire()
    assert await house.act() and house.posts == 2


# ------------------------------------------------------------- R5: the answer is lost


@pytest.mark.parametrize("grace", [0, 30])
async def test_R5_refresh_token_is_retried_once_after_a_lost_reply(house: Refreshing, grace: float) -> None:
    house.sandbox.switches.grace = grace
    house.expire()
    house.sandbox.switches.lose_token_reply = 1
    if grace:
        assert await house.act()
    else:
        with pytest.raises(ReconsentRequired) as caught:
            await house.act()
        assert caught.value.reason == "lost_rotation"
    assert house.posts == 2


async def test_R5_lost_replies_are_retried_when_the_provider_does_not_rotate(house: Refreshing) -> None:
    house.sandbox.switches.rotate = False
    house.expire()
    house.sandbox.switches.lose_token_reply = 2
    with pytest.raises(ProviderUnavailable):
        await house.act()
    house.clock.now += 10
    assert await house.act() and house.posts == 3


async def test_R5_unsent_second_try_still_counts_the_first_as_possibly_received(
    house: Refreshing,
) -> None:
    house.expire()
    house.sandbox.switches.lose_token_reply = 1
    original = house.line.handle_async_request
    calls = 0

    async def handle(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        if request.url.path == "/token":
            calls += 1
            if calls == 2:
                raise httpx.ConnectError("refused")
        return await original(request)

    house.line.handle_async_request = handle  # type: ignore[method-assign]
    with pytest.raises(ProviderUnavailable):
        await house.act()
    house.clock.now += 10
    with pytest.raises(ReconsentRequired) as caught:
        await house.act()
    assert caught.value.reason == "lost_rotation"


@pytest.mark.parametrize("unclear", [answer(500), answer(503), lambda request: httpx.Response(200, text="<html>")])
async def test_refresh_that_may_have_spent_the_token_is_a_lost_rotation(house: Refreshing, unclear: Any) -> None:
    """Otherwise the user would read of a password change that never happened."""
    house.expire()
    house.line.answers[TOKEN] = [unclear, unclear]
    with pytest.raises(ProviderUnavailable):
        await house.act()
    assert len(await house.deputy.vault.scan("intent")) == 1
    house.clock.now += 10
    house.line.answers[TOKEN] = [broken(httpx.ConnectError), answer(400, {"error": "invalid_grant"})]
    with pytest.raises(ProviderUnavailable):
        await house.act()  # it did not leave: what was in doubt still is
    house.clock.now += 10
    with pytest.raises(ReconsentRequired) as caught:
        await house.act()
    assert caught.value.reason == "lost_rotation" and await house.deputy.vault.scan("intent") == []


def html(request: httpx.Request) -> httpx.Response:
    """Return a page that a proxy sends instead of a response."""
    return httpx.Response(200, text="<html>")


@pytest.mark.parametrize("once", [answer(500), answer(502), answer(503), html, broken(httpx.ConnectError)])
async def test_single_token_endpoint_failure_fails_no_act(house: Refreshing, once: Any) -> None:
    house.expire()
    house.line.answers[TOKEN] = [once]
    assert all(await asyncio.gather(*(house.act() for _ in range(20))))
    assert house.line.count(TOKEN) == 2 and await house.deputy.vault.scan("intent") == []


async def test_second_try_with_a_spent_token_reports_the_lost_rotation(
    house: Refreshing,
) -> None:
    house.expire()
    house.line.answers[TOKEN] = [answer(500), answer(400, {"error": "invalid_grant"})]
    with pytest.raises(ReconsentRequired) as caught:
        await house.act()
    assert caught.value.reason == "lost_rotation" and house.posts == 2


@pytest.mark.parametrize("late", [answer(504), answer(524), answer(500, {}, retry_after="3"), answer(429)])
async def test_busy_or_pausing_provider_gets_no_second_try(house: Refreshing, late: Any) -> None:
    house.expire()
    house.line.answers[TOKEN] = [late]
    with pytest.raises((ProviderUnavailable, RateLimited)):
        await house.act()
    assert house.posts == 1


async def test_broken_token_endpoint_gets_no_second_tries(house: Refreshing) -> None:
    house.expire()
    house.line.answers[TOKEN] = [answer(500)] * 100
    for expected in (2, 3, 4):
        with pytest.raises(ProviderUnavailable):
            await house.act()
        assert house.posts == expected
        house.clock.now += 10


async def test_live_token_is_used_instead_of_a_second_try(house: Refreshing) -> None:
    house.clock.now += HOUR - 50
    house.line.answers[TOKEN] = [answer(500)] * 2
    assert await house.act() and house.posts == 1


async def test_grant_ends_before_its_refresh_intent_is_removed(house: Refreshing) -> None:
    """If a process dies in between, the next one knows the right reason."""
    house.expire()
    house.sandbox.switches.lose_token_reply = 1
    order: list[tuple[str, str]] = []
    swap, delete = house.store.swap, house.store.delete

    async def swapping(kind: str, key: str, old: bytes, new: bytes) -> bool:
        order.append(("swap", kind))
        return await swap(kind, key, old, new)

    async def deleting(kind: str, key: str, old: bytes) -> bool:
        order.append(("delete", kind))
        return await delete(kind, key, old)

    house.store.swap, house.store.delete = swapping, deleting  # type: ignore[method-assign]
    with pytest.raises(ReconsentRequired):
        await house.act()
    assert order.index(("swap", "grant")) < order.index(("delete", "intent"))


# ------------------------------------------------------------- a token endpoint that takes its time


async def test_slow_token_endpoint_is_called_once_for_all_callers(
    house: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "CALLER_TIMEOUT_SECONDS", 0.05)
    house.expire()
    house.line.held = TOKEN
    for _ in range(3):
        with pytest.raises(ProviderUnavailable, match="is slow"):
            await house.act()
    assert house.posts == 1
    house.line.release()
    while house.deputy.refresher._running:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    assert await house.act() and house.posts == 1 and (await house.now()).status == "active"


async def test_live_token_is_used_during_a_slow_refresh(house: Refreshing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "CALLER_TIMEOUT_SECONDS", 0.05)
    house.clock.now += HOUR - 30  # to be refreshed, and good for half a minute
    house.line.held = TOKEN
    assert await house.act()
    house.line.release()


async def test_abandoned_token_request_is_not_resent(house: Refreshing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider may still be processing it: a second request would be a reuse."""
    monkeypatch.setattr(refresh, "REQUEST_TIMEOUT_SECONDS", 0.1)
    house.expire()
    house.line.held, house.line.held_after = TOKEN, True
    with pytest.raises(ProviderUnavailable):
        await house.act()
    house.line.release()
    assert house.posts == 1 and (await house.now()).status == "active"
    assert len(await house.deputy.vault.scan("intent")) == 1


def test_request_timeout_is_longer_than_the_caller_timeout() -> None:
    assert refresh.REQUEST_TIMEOUT_SECONDS >= 60 > refresh.CALLER_TIMEOUT_SECONDS


# ------------------------------------------------------------- R6, R7


async def test_R6_fields_missing_from_the_refresh_reply_are_kept(house: Refreshing) -> None:
    before = await house.now()
    house.sandbox.switches.omit_scope = True
    house.sandbox.switches.rotate = False
    house.expire()
    await house.act()
    after = await house.now()
    assert (after.refresh_token, after.scopes) == (before.refresh_token, before.scopes)
    assert after.access_token != before.access_token and after.account == before.account


async def test_R6_narrowed_scope_is_stored_and_requested_when_needed(house: Refreshing) -> None:
    house.line.answers[TOKEN] = [answer(200, {"access_token": "a", "token_type": "Bearer", "scope": "openid"})]
    house.line.answers[GMAIL_API] = [answer(200, {"messages": [{"id": "1"}]})]
    house.expire()
    with suppress(DeputizeError):
        await house.act()
    assert (await house.now()).scopes == {"openid"}
    with pytest.raises(ConsentRequired):
        await house.act(message="later")


@pytest.mark.parametrize("life", [30, 300, 3600])
async def test_R7_short_lived_token_is_refreshed_once_per_lifetime(house: Refreshing, life: int) -> None:
    house.sandbox.switches.access_ttl = life
    house.expire()
    assert await house.act()
    house.forget()
    for _ in range(100):
        house.clock.now += life / 20
        assert await house.act()
    assert 5 <= house.posts <= 7


async def test_R7_token_without_lifetime_does_not_expire(house: Refreshing) -> None:
    house.sandbox.switches.omit_expires_in = True
    house.sandbox.switches.access_ttl = 1e9
    house.expire()
    assert await house.act()
    house.clock.now += 100 * HOUR
    assert await house.act() and house.posts == 1


async def test_token_without_refresh_token_is_used_until_it_expires(house: Refreshing) -> None:
    grant = await house.now()
    assert await house.deputy.vault.replace(grant, replace(grant, refresh_token=None))
    house.clock.now = grant.expires_at - 20
    assert await house.act()
    house.expire()
    with pytest.raises(ReconsentRequired) as caught:
        await house.act()
    assert caught.value.reason == "expired" and house.posts == 0


# ------------------------------------------------------------- R8: refused by the API


async def test_R8_hundred_concurrent_401s_cause_one_refresh(house: Refreshing) -> None:
    house.sandbox.expire_access_tokens()
    results = await asyncio.gather(*(house.act() for _ in range(100)))
    assert all(results) and house.posts == 1


async def test_R8_hundred_concurrent_401s_in_one_act_cause_one_refresh(house: Refreshing) -> None:
    ids = await house.act()
    house.forget()
    house.sandbox.expire_access_tokens()
    assert len(await house.act("many", ids=ids[:1] * 100)) == 100 and house.posts == 1


async def test_R8_token_refused_after_its_refresh_keeps_the_grant_without_loop(house: Refreshing) -> None:
    house.line.answers[GMAIL_API] = [answer(401)] * 3
    with pytest.raises(ProviderUnavailable) as caught:
        await house.act()
    assert caught.value.reason == "token_refused"
    assert house.posts == 1 and house.line.count(GMAIL_API) == 2
    with pytest.raises(ProviderUnavailable):
        await house.act()
    assert house.posts == 1 and house.line.count(GMAIL_API) == 3
    assert (await house.now()).status == "active" and await house.act()


async def test_R8_status_403_never_refreshes(house: Refreshing) -> None:
    house.line.answers[GMAIL_API] = [answer(403, {"error": {"errors": [{"reason": "forbidden"}]}})]
    with pytest.raises(DeputizeError):
        await house.act()
    assert house.posts == 0


# ------------------------------------------------------------- R9, R10: refused by the token endpoint


async def test_R9_R10_refused_refresh_ends_the_grant_which_then_causes_no_traffic(house: Refreshing) -> None:
    house.expire()
    house.line.answers[TOKEN] = [answer(400, {"error": "invalid_grant"})]
    with pytest.raises(ReconsentRequired) as caught:
        await house.act()
    assert caught.value.reason == "invalid_grant" and house.posts == 1
    dead = await house.now()
    assert (dead.status, dead.refresh_token, bool(dead.access_token)) == ("needs_reauth", None, False)
    house.forget()
    errors = await asyncio.gather(*(house.act() for _ in range(1000)), return_exceptions=True)
    assert house.line.seen == []
    assert {type(e) for e in errors} == {ReconsentRequired}
    assert {e.consent.id for e in errors if isinstance(e, ConsentRequired)} == {caught.value.consent.id}


@pytest.mark.parametrize("before", [[], [answer(500)]], ids=["once", "after a second try"])
async def test_R9_losing_refresh_with_invalid_grant_adopts_the_winners_token(
    house: Refreshing, before: list[Any]
) -> None:
    house.expire()
    old = await house.now()
    house.line.held = TOKEN
    losing = asyncio.create_task(house.act())
    await house.line.until_held()
    winner = replace(old, access_token=Secret("won"), expires_at=house.clock.now + HOUR, obtained_at=house.clock.now)
    assert await house.deputy.vault.replace(old, winner)
    house.line.answers[TOKEN] = [*before, answer(400, {"error": "invalid_grant"})]
    house.line.answers[GMAIL_API] = [answer(200, {"messages": [{"id": "1"}]})]
    house.line.release()
    assert await losing == ["1"] and await house.deputy.vault.scan("outbox") == []
    assert (await house.now()).status == "active" and house.line.sent[-1].headers["authorization"] == "Bearer won"


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client"])
async def test_R9_refused_client_is_an_operator_error_and_the_grant_stays(house: Refreshing, error: str) -> None:
    house.expire()
    house.line.answers[TOKEN] = [answer(401, {"error": error})]
    with pytest.raises(InvalidInput) as caught:
        await house.act()
    assert caught.value.fix_by == "operator" and (await house.now()).status == "active"
    house.clock.now += 10
    assert await house.act()  # when the client is mended


async def test_R9_retry_after_pauses_refreshes_and_a_valid_token_is_used_meanwhile(house: Refreshing) -> None:
    house.clock.now += HOUR - 50  # in its last minute
    house.line.answers[TOKEN] = [answer(503, {}, retry_after="30")]
    for _ in range(20):
        assert await house.act()
    assert house.posts == 1
    house.expire()
    assert await house.act() and house.posts == 2


async def test_R9_status_503_is_raised_and_not_retried_before_its_time(house: Refreshing) -> None:
    house.expire()
    house.line.answers[TOKEN] = [answer(503, {}, retry_after="30")]
    for _ in range(20):
        with pytest.raises((RateLimited, ProviderUnavailable)):
            await house.act()
        house.clock.now += 1
    assert house.posts == 1 and (await house.now()).status == "active"
    house.clock.now += 30
    assert await house.act() and house.posts == 2


async def test_R9_refresh_pauses_grow_and_end(house: Refreshing) -> None:
    house.expire()
    house.line.answers[TOKEN] = [answer(500)] * 1000
    for _ in range(1200):
        with suppress(DeputizeError):
            await house.act()
        house.clock.now += 1
    assert 8 <= house.posts <= 16
    house.line.answers.clear()
    house.clock.now += 400
    assert await house.act()


async def test_R9_status_429_raises_rate_limited_with_retry_after(house: Refreshing) -> None:
    house.expire()
    house.line.answers[TOKEN] = [answer(429, {}, retry_after="7")]
    with pytest.raises(RateLimited) as caught:
        await house.act()
    assert caught.value.retry_after == 7


async def test_R9_refused_client_is_not_retried_by_every_caller(house: Refreshing) -> None:
    house.expire()
    house.line.answers[TOKEN] = [answer(401, {"error": "invalid_client"})] * 100
    for _ in range(50):
        with suppress(DeputizeError):
            await house.act()
    assert house.posts <= 3


# ------------------------------------------------------------- R11, R12: others write meanwhile


async def test_R12_record_touched_in_between_does_not_lose_the_rotated_token(house: Refreshing) -> None:
    house.expire()
    house.line.held, house.line.held_after = TOKEN, True
    acting = asyncio.create_task(house.act())
    await house.line.until_held()
    grant = await house.now()
    assert await house.deputy.vault.replace(grant, replace(grant, default=False))  # another account became the default
    house.line.release()
    assert await acting
    house.expire()
    house.forget()
    assert await house.act() and house.posts == 1


async def test_R12_record_touched_in_between_still_ends_when_refused(house: Refreshing) -> None:
    house.expire()
    house.line.held, house.line.answers[TOKEN] = TOKEN, [answer(400, {"error": "invalid_grant"})] * 3
    acting = asyncio.create_task(house.act())
    await house.line.until_held()
    grant = await house.now()
    assert await house.deputy.vault.replace(grant, replace(grant, default=False))
    house.line.release()
    with pytest.raises(ReconsentRequired):
        await acting


async def test_L4_refused_refresh_error_shows_no_token(house: Refreshing) -> None:
    house.expire()
    grant = await house.now()
    assert grant.refresh_token
    canaries = ["canary-access", "canary-refresh", grant.access_token.reveal(), grant.refresh_token.reveal()]
    body = {"access_token": canaries[0], "refresh_token": canaries[1], "token_type": "mac"}
    for fault in (answer(200, body), answer(400, body | {"error": "invalid_client"}), answer(503, body), broken()):
        house.line.answers[TOKEN] = [fault, fault]
        with pytest.raises(DeputizeError) as caught:
            await house.act()
        printed = shown(caught.value)
        assert [canary for canary in canaries if canary in printed] == []
        house.clock.now += 400
    assert not any(canary in json.dumps(house.deputy.audit.rows()) for canary in canaries)


# ------------------------------------------------------------- revocation and refresh, every interleaving


async def test_W9_R33_disconnect_at_any_point_of_a_refresh_wins() -> None:
    at, acted, wrong = 1, True, []
    while acted:
        house = await Refreshing().ready()
        house.sandbox.switches.rotate = True
        house.expire()
        grant = await house.now()
        meddler = Meddler(at, lambda house=house: house.deputy.revoke("alice", "google"))  # type: ignore[misc]
        house.store.meddler = house.line.meddler = meddler
        with suppress(DeputizeError, refresh.GrantLost):
            await house.deputy.refresher.get_live(grant)
        acted = meddler.acted
        if acted and (await house.grant() or house.live()):
            wrong.append((at, house.live()))
        await house.deputy.close()
        at += 1
    assert at > 6 and wrong == []


async def test_R33_refresh_at_any_point_of_a_disconnect_loses() -> None:
    at, acted, wrong = 1, True, []
    while acted:
        house = await Refreshing().ready()
        house.sandbox.switches.rotate = True
        house.expire()
        grant = await house.now()

        async def refreshing(house: House = house, grant: Grant = grant) -> None:
            with suppress(DeputizeError, refresh.GrantLost):
                await house.deputy.refresher.get_live(grant)

        meddler = house.store.meddler = house.line.meddler = Meddler(at, refreshing)
        await house.deputy.revoke("alice", "google")
        acted = meddler.acted
        if acted and (await house.grant() or house.live()):
            wrong.append((at, house.live()))
        await house.deputy.close()
        at += 1
    assert at > 4 and wrong == []


async def test_R34_losing_refresh_queues_its_token_for_revocation(house: Refreshing) -> None:
    house.expire()
    house.line.held, house.line.held_after = TOKEN, True
    acting = asyncio.create_task(house.act())
    await house.line.until_held()
    house.line.answers[REVOKE] = [answer(503)] * 2
    await house.deputy.revoke("alice", "google")
    house.line.release()
    with pytest.raises(ConsentRequired):
        await acting
    assert house.live() > 0
    house.line.answers.clear()
    await house.deputy.revoker.retry()
    assert house.live() == 0


@contextmanager
def _blocking(making: Any) -> Iterator[Deputy]:
    from deputize.core.background_loop import portal

    deputy: Deputy = portal().run(making)
    try:
        yield deputy
    finally:
        deputy.run(deputy.close())
