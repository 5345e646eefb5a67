"""Revocations of tokens that were not kept, at providers where one revocation ends all that an account has given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from deputize.core import App, Deputy, User
from deputize.core.errors import StoreUnavailable
from deputize.core.grants.token_families import families
from deputize.core.vault.stores import HeldLock
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from deputize.sandbox.slack import SLACK_CLIENT_ID
from tests.support.faults import REVOKE, TOKEN, USERINFO, Line, answer
from tests.support.gmail_toolkit import READ as MAIL
from tests.support.kill_points import Died, Fate, MortalStore
from tests.support.sandbox_deputy import Clock, build, consent, google_app, new_vault
from tests.support.token_families import alive

APPS = {"google": google_app(), "slack": App("slack", SLACK_CLIENT_ID, pkce=True)}
SCOPE = {"google": MAIL, "slack": "users:read"}
READ: dict[str, tuple[str, dict[str, Any]]] = {"google": ("gmail_search_emails", {}), "slack": ("slack_whoami", {})}
ENDPOINTS = {
    "google": {"revoke": REVOKE, "me": USERINFO},
    "slack": {"revoke": ("slack.com", "/api/auth.revoke"), "me": ("slack.com", "/api/auth.test")},
}
TOKENS = {"google": TOKEN, "slack": ("slack.com", "/api/oauth.v2.access")}
KEY = b"k" * 32


class Home:
    """Alice, who connects one provider, and two programs that share her vault."""

    def __init__(self, provider: str) -> None:
        self.provider, self.clock = provider, Clock(time.time())
        self.sandbox = Sandbox(clock=self.clock)
        self.line = Line(self.sandbox.transport())
        self.deputy: Deputy

    async def program(self, vault: Vault) -> Deputy:
        return await build(self.sandbox, vault=vault, transport=self.line, apps=[APPS[self.provider]], clock=self.clock)

    async def connect(self, deputy: Deputy | None = None, as_: str = "alice", **more: Any) -> str:
        one = deputy or self.deputy
        [asked] = await one.connect("alice", self.provider, scopes=[SCOPE[self.provider]], **more)
        return (await consent(one, self.sandbox, asked, as_=f"{as_}@example.test")).status

    async def die_with_tokens(self) -> None:
        """Alice consents, and the program dies when it has sealed the tokens."""
        store = MortalStore(self.deputy.vault.store, Fate(1, "before", "insert grant"))
        with suppress(Died):
            await self.connect(await self.program(await Vault.open(store, [KEY])))
        assert [one.state for one in await families(self.deputy.vault)] == ["received"]

    def fail(self, *endpoints: str) -> None:
        for name in endpoints:
            self.line.answers[ENDPOINTS[self.provider][name]] = [answer(503)] * 50

    async def read(self) -> object:
        tool, arguments = READ[self.provider]
        return await self.deputy.act(tool, arguments, user="alice")

    @property
    def families(self) -> int:
        return len(alive(self.sandbox, self.clock))


@pytest.fixture(params=sorted(APPS))
async def home(request: pytest.FixtureRequest) -> AsyncIterator[Home]:
    made = Home(request.param)
    made.deputy = await made.program(await new_vault(key=KEY))
    yield made
    await made.deputy.close()


@pytest.mark.parametrize("failing", [("revoke",), ("revoke", "me")], ids=["named", "unnamed"])
async def test_later_consent_outlives_queued_revocation(failing: tuple[str, ...], home: Home) -> None:
    await home.die_with_tokens()
    home.fail(*failing)
    await home.deputy.revoke("alice", home.provider)
    assert [one.state for one in await families(home.deputy.vault)] == ["pending_revocation"] and home.families == 1
    home.line.answers.clear()
    home.fail("revoke")  # still, when the user connects again
    assert await home.connect() == "granted"
    home.line.answers.clear()
    await home.deputy.revoker.retry()
    assert await home.read()
    await home.deputy.revoke("alice")
    assert home.families == 0 and await families(home.deputy.vault) == []


async def test_revocation_in_flight_leaves_no_dead_grant(home: Home) -> None:
    """The code is exchanged after it, and the provider has ended the code with the other grant: the user is told."""
    assert await home.connect() == "granted"
    home.line.held = ENDPOINTS[home.provider]["revoke"]
    ending = asyncio.create_task(home.deputy.revoke("alice", home.provider))
    await home.line.until_held()
    connecting = asyncio.create_task(home.connect())
    await asyncio.sleep(0.3)
    assert not connecting.done()
    home.line.release()
    assert [one.upstream for one in await ending] == ["done"]
    assert await connecting == "failed" and home.families == 0
    assert await home.connect() == "granted" and home.families == 1 and await home.read()


async def test_revocation_waits_for_an_exchange_in_flight(home: Home) -> None:
    assert await home.connect() == "granted"
    home.fail("revoke")
    await home.deputy.revoke("alice", home.provider)
    home.line.answers.clear()
    home.line.held, home.line.held_after = TOKENS[home.provider], True
    connecting = asyncio.create_task(home.connect())
    await home.line.until_held()
    retrying = asyncio.create_task(home.deputy.revoker.retry())
    await asyncio.sleep(0.3)
    assert not retrying.done()
    home.line.release()
    assert await connecting == "granted" and await retrying == ["done"]
    assert await home.read() and await families(home.deputy.vault)
    await home.deputy.revoke("alice")
    assert home.families == 0 and await families(home.deputy.vault) == []


class LosesLocks(MortalStore):
    """A store whose locks hold nobody up, as if their connection had broken. ``lost``: they notice it."""

    lost = False

    @asynccontextmanager
    async def lock(self, name: str, timeout: float) -> AsyncIterator[HeldLock | None]:
        yield self

    async def confirm(self) -> float:
        if self.lost:
            raise StoreUnavailable("The lock was lost.")
        return time.time()


async def test_consent_that_lost_its_lock_sends_no_revocation(home: Home) -> None:
    """Another program could store a grant between the last check and the revocation, which would end it."""
    store = LosesLocks(home.deputy.vault.store, Fate())
    other = await home.program(await Vault.open(store, [KEY]))
    home.line.held, home.line.held_after = TOKENS[home.provider], True
    losing = asyncio.create_task(home.connect(other))
    await home.line.until_held()
    store.lost = True
    await home.deputy.revoke("alice")  # cancels the consent, so its tokens must not be stored
    home.line.held, home.line.held_after = ENDPOINTS[home.provider]["revoke"], False
    connecting = asyncio.create_task(_connect_after(home, losing))
    await asyncio.wait([connecting], timeout=1)
    home.line.release()
    assert await losing != "granted" and await connecting == "granted"
    await home.deputy.revoker.retry()
    assert await home.read()


async def _connect_after(home: Home, other: asyncio.Task[str]) -> str:
    await asyncio.wait([other], timeout=0.3)
    return await home.connect()


async def test_hanging_exchange_does_not_hold_up_a_revocation_for_long(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deputize.core.grants.revocation_queue.EXCHANGE_TIMEOUT_SECONDS", 0.2)
    assert await home.connect() == "granted"
    home.fail("revoke")
    await home.deputy.revoke("alice", home.provider)
    home.line.answers.clear()
    home.line.held = TOKENS[home.provider]
    connecting = asyncio.create_task(home.connect())
    await home.line.until_held()
    assert await home.deputy.revoker.retry() == ["queued"]
    home.line.release()
    assert await connecting == "granted"
    assert await home.deputy.revoker.retry() == ["done"] and await home.read(), "the newer grant includes the older one"


async def test_queued_revocation_of_unnamed_tokens_is_sent_after_the_grant_was_lost(home: Home) -> None:
    await home.die_with_tokens()
    home.fail("revoke", "me")
    await home.deputy.revoke("alice")
    home.line.answers[ENDPOINTS[home.provider]["me"]] = []
    assert await home.connect() == "granted"
    home.line.answers.clear()
    [grant] = [one for one in await home.deputy.vault.list_grants(User("alice")) if one.status == "active"]
    assert await home.deputy.revoker.retry() == ["queued"] and await home.read()
    await home.deputy.refresher.end(grant, "invalid_grant")
    await home.deputy.revoker.retry()
    assert home.families == 0 and await families(home.deputy.vault) == []


async def test_disconnect_ends_unkept_tokens_of_other_account(home: Home) -> None:
    """The account is known, so its tokens do not wait for the grant of another account."""
    await home.die_with_tokens()
    home.fail("revoke")
    await home.deputy.revoke("alice")
    assert await home.connect(as_="bob") == "granted"
    home.line.answers.clear()
    assert home.families == 2 and await home.deputy.revoker.retry() == ["done"]
    assert home.families == 1 and await home.read()


async def test_late_revocation_of_unnamed_tokens_waits_for_the_grant(home: Home) -> None:
    """The provider never said whose tokens a second consent brought, and they have expired."""
    assert await home.connect() == "granted"
    home.fail("me")
    assert await home.connect(add_account=True) == "failed"
    home.line.answers.clear()
    home.fail("me")
    home.clock.now += 90_000
    await home.deputy.consents.recover()
    await home.deputy.revoker.retry()
    home.line.answers.clear()
    assert await home.read()
    await home.deputy.revoke("alice")
    assert home.families == 0 and await families(home.deputy.vault) == []


@pytest.mark.parametrize("home", ["google"], indirect=True)
async def test_later_consent_outlives_revocation_of_overtaken_refresh(home: Home) -> None:
    assert await home.connect() == "granted"
    home.clock.now += 4000
    home.line.held, home.line.held_after = TOKEN, True
    reading = asyncio.create_task(home.read())
    await home.line.until_held()
    home.fail("revoke")
    await home.deputy.revoke("alice")
    home.line.release()
    with suppress(Exception):
        await reading
    assert await home.connect() == "granted"
    home.line.answers.clear()
    await home.deputy.revoker.retry()
    assert await home.read() and await home.deputy.vault.scan("outbox") == []
    await home.deputy.revoke("alice")
    assert home.families == 0
