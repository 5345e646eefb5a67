"""An API that refuses tokens: a grant never ends by that alone, whatever the API's reason."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from deputize.core import App, DeputizeError, Deputy, OrgBlocked, ProviderUnavailable, ReconsentRequired, User
from deputize.core.grants import backoff
from deputize.core.vault.grant import Grant
from deputize.sandbox import Sandbox
from deputize.sandbox.slack import SLACK_CLIENT_ID
from tests.core.oauth.test_custody import GITHUB, LINEAR, SALESFORCE
from tests.support.faults import Line
from tests.support.sandbox_deputy import Clock, build, consent
from tests.support.token_families import alive, unknown

SLACK = App("slack", SLACK_CLIENT_ID, pkce=True)
APPS = {"linear": LINEAR, "github": GITHUB, "salesforce": SALESFORCE, "slack": SLACK}
SCOPES = {"linear": "read", "github": "gist", "salesforce": "api", "slack": "users:read"}
CHECK = "/applications/"
ROUNDS = 4
HOUR = 3600.0


class Outage(Line):
    """A network on which an API answers all requests alike, and token endpoints work.

    ``status``: the response, 0 for none; ``checks``: the response to token checks. ``token_status``: the token
    endpoint's response; ``dead``: a refresh token that it calls invalid.
    """

    status = 0
    token_status = 0
    dead = ""
    body: Any = None
    headers: Mapping[str, str] = MappingProxyType({})
    checks = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if self.checks and path.startswith(CHECK) and request.method == "POST":
            return httpx.Response(self.checks, json={})
        if path.endswith("token") and request.method == "POST":
            if self.token_status:
                return httpx.Response(self.token_status, json={})
            if self.dead and self.dead in (await request.aread()).decode():
                return httpx.Response(400, json={"error": "invalid_grant"})
        if self.status and not (path.startswith(CHECK) or "oauth" in path or path.endswith("revoke")):
            return httpx.Response(self.status, json=self.body or {}, headers=self.headers)
        return await super().handle_async_request(request)

    def tokens(self) -> int:
        return sum(method == "POST" and "token" in path and CHECK not in path for method, _, path in self.seen)


class World:
    """Users at one provider."""

    def __init__(self, provider: str, deputy: Deputy, line: Outage, clock: Clock) -> None:
        self.provider, self.deputy, self.line, self.clock = provider, deputy, line, clock
        self.sandbox: Any = None
        self.events = Counter[str]()
        deputy.audit.listeners.append(lambda event: self.events.update([event.event]))

    async def connect(self, *users: str) -> None:
        for user in users:
            [asked] = await self.deputy.connect(user, self.provider, scopes=[SCOPES[self.provider]])
            assert (await consent(self.deputy, self.sandbox, asked)).status == "granted"
        self.line.seen.clear()

    async def act(self, user: str = "alice") -> Any:
        return await self.deputy.act(f"{self.provider}_whoami", {}, user=user)

    async def told(self, user: str = "alice") -> str:
        """Return the error that an act ends with, and its reason; "" if it succeeds."""
        try:
            await self.act(user)
        except DeputizeError as error:
            return " ".join(filter(None, (error.code, getattr(error, "reason", ""))))
        return ""

    async def grant(self, user: str = "alice") -> Grant:
        [found] = await self.deputy.vault.list_grants(User(user))
        return found

    async def unknown(self) -> set[str]:
        return await unknown(self.deputy.vault, self.sandbox, self.clock)


@pytest.fixture
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    provider = getattr(request, "param", "linear")
    clock = Clock(time.time())
    sandbox = Sandbox(clock=clock)
    sandbox.switches.rotate = provider == "linear"
    sandbox.switches.reuse_kills_family = True
    line = Outage(sandbox.transport())
    deputy = await build(sandbox, transport=line, apps=[APPS[provider]], clock=clock)
    made = World(provider, deputy, line, clock)
    made.sandbox = sandbox
    yield made
    await deputy.close()


async def test_outage_answering_401_disconnects_none_of_a_hundred_users(world: World) -> None:
    users = [f"user{n}" for n in range(100)]
    await world.connect(*users)
    grants = {user: await world.grant(user) for user in users}
    world.line.status = 401
    told = Counter[str]()
    for _ in range(ROUNDS):  # three seconds of it
        told += Counter(await asyncio.gather(*map(world.told, users)))
        world.clock.now += 3 / ROUNDS
    world.line.status = 0
    assert told == {"provider_unavailable token_refused": ROUNDS * len(users)}
    assert await asyncio.gather(*map(world.told, users)) == [""] * len(users)
    assert await world.deputy.vault.scan("outbox") == [] and await world.unknown() == set()
    now = {user: await world.grant(user) for user in users}
    assert {grant.status for grant in now.values()} == {"active"} and not any(one.is_suspect for one in now.values())
    assert {grant.family for grant in now.values()} == {grant.family for grant in grants.values()}
    assert len(alive(world.sandbox, world.clock)) == len(users)
    assert world.line.tokens() <= 3 * len(users)


async def test_hour_of_401s_and_500s_disconnects_only_the_dead_grant(world: World) -> None:
    """401s for an hour, then 500s, for both users. Then one user's refresh token is really dead."""
    users = [f"user{n}" for n in range(100)]
    await world.connect(*users)
    families = {user: (await world.grant(user)).family for user in users}
    for status in (401, 500):
        world.line.status, world.line.token_status = status, status
        for _ in range(4):
            assert "" not in await asyncio.gather(*map(world.told, users))
            world.clock.now += HOUR / 4
    world.line.status = world.line.token_status = 0
    world.clock.now += HOUR  # all pauses are over, and all access tokens have expired
    assert await asyncio.gather(*map(world.told, users)) == [""] * len(users)
    assert {user: (await world.grant(user)).family for user in users} == families
    assert await world.deputy.vault.scan("outbox") == [] and await world.unknown() == set()


async def test_dead_refresh_token_during_an_outage_ends_one_grant(world: World) -> None:
    users = [f"user{n}" for n in range(10)]
    await world.connect(*users)
    world.line.status = 401
    await asyncio.gather(*map(world.told, users))
    world.line.status, world.clock.now = 0, world.clock.now + 2 * 86_400
    world.line.dead = (await world.grant("user3")).refresh_token.reveal()  # type: ignore[union-attr]
    told = dict(zip(users, await asyncio.gather(*map(world.told, users)), strict=True))
    assert {user for user, error in told.items() if error} == {"user3"}
    assert told["user3"] == "reconsent_required invalid_grant"
    assert [(await world.grant(user)).status for user in users].count("needs_reauth") == 1


async def test_api_outage_refreshes_one_token_at_a_time(world: World) -> None:
    """After the refusal of five users' tokens the cause cannot be the tokens."""
    users = [f"user{n}" for n in range(40)]
    await world.connect(*users)
    world.line.status = 401
    for user in users:
        assert await world.told(user) == "provider_unavailable token_refused"
    assert world.line.tokens() <= backoff.USERS_PER_OUTAGE + 1
    for _ in range(20):
        world.clock.now += 10
        await asyncio.gather(*map(world.told, users))
    assert world.line.tokens() <= backoff.USERS_PER_OUTAGE + 10
    assert world.events["grant.suspected"] >= backoff.USERS_PER_OUTAGE and world.events["provider.refuses_tokens"] == 1
    world.line.status = 0
    assert await world.told(users[0]) == ""
    world.sandbox.expire_access_tokens()  # nothing is held back any more
    assert await asyncio.gather(*map(world.told, users)) == [""] * len(users)
    assert world.events["grant.suspected"] == world.events["grant.cleared"]


@pytest.mark.parametrize("status", [403, 500, 502])
async def test_outage_with_another_status_neither_refreshes_nor_ends_a_grant(world: World, status: int) -> None:
    await world.connect("alice")
    before = await world.grant()
    world.line.status = status
    for _ in range(3):
        assert await world.told() in ("not_found user_lacks_rights", "provider_unavailable")
    world.line.status = 0
    assert await world.grant() == before and world.line.tokens() == 0 and await world.told() == ""


async def test_refused_token_is_refreshed_once_per_growing_pause(world: World) -> None:
    await world.connect("alice")
    world.line.status, requests = 401, list[int]()
    for _ in range(60):
        assert await world.told() == "provider_unavailable token_refused"
        requests.append(world.line.tokens())
        world.clock.now += 1
    assert 4 <= requests[-1] <= 7 and requests == sorted(requests)
    with pytest.raises(ProviderUnavailable, match="although it was just refreshed") as caught:
        await world.act()
    assert "Linear" in caught.value.message and "disconnect" in caught.value.hint
    world.line.status = 0
    before = world.line.tokens()
    assert await world.told() == "" and world.line.tokens() == before


async def test_concurrent_acts_share_one_refresh_and_one_pause(world: World) -> None:
    await world.connect("alice")
    world.line.status = 401
    assert set(await asyncio.gather(*(world.told() for _ in range(50)))) == {"provider_unavailable token_refused"}
    world.clock.now += backoff.FIRST_PAUSE_SECONDS * backoff.JITTER + 0.1
    await world.told()
    assert world.line.tokens() == 2


async def test_expired_token_is_refreshed_despite_the_pause_after_refused_tokens(world: World) -> None:
    await world.connect("alice")
    world.line.status = 401
    for _ in range(8):
        await world.told()
        world.clock.now += 40
    world.line.status, world.clock.now = 0, (await world.grant()).expires_at + 1
    assert await world.told() == ""


@pytest.mark.parametrize("world", ["salesforce"], indirect=True)
async def test_grant_is_kept_when_the_provider_explains_a_second_401(world: World) -> None:
    await world.connect("alice")
    world.line.status, world.line.body = 401, [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired"}]
    with pytest.raises(OrgBlocked):
        await world.act()
    assert (await world.deputy.connections("alice"))[0].status == "suspect"
    world.line.status = 0
    assert (await world.grant()).status == "active" and await world.told() == ""
    assert (await world.deputy.connections("alice"))[0].status == "active"


# ------------------------------------------------------------- tokens that nothing refreshes


@pytest.mark.parametrize("world", ["github"], indirect=True)
@pytest.mark.parametrize("check", [0, 200, 401, 422, 500])
async def test_refused_token_without_refresh_token_keeps_its_grant(world: World, check: int) -> None:
    """GitHub answers 404 without details for a token that it has ended."""
    await world.connect("alice")
    before = await world.grant()
    assert before.refresh_token is None and not before.expires_at
    world.line.status, world.line.body, world.line.checks = 401, {"message": "Bad credentials"}, check
    with pytest.raises(ProviderUnavailable, match="and it cannot be refreshed") as caught:
        await world.act()
    assert caught.value.reason == "token_refused"
    asked = len(world.line.seen)
    assert await world.told() == "provider_unavailable token_refused" and len(world.line.seen) == asked
    suspect = await world.grant()
    assert suspect.is_suspect and suspect.access_token == before.access_token
    world.line.status = 0
    assert await world.told() == "" and not (await world.grant()).is_suspect and await world.unknown() == set()


@pytest.mark.parametrize("world", ["github"], indirect=True)
async def test_reconsent_is_required_for_a_token_its_provider_does_not_know(world: World) -> None:
    await world.connect("alice")
    before = await world.grant()
    world.sandbox._world.authority.tokens.clear()  # removed in GitHub's settings
    with pytest.raises(ReconsentRequired):
        await world.act()
    world.clock.now += 60
    with pytest.raises(ReconsentRequired) as caught:
        await world.act()
    assert caught.value.reason == "rejected"
    held = await world.grant()
    assert held.is_suspect and held.access_token == before.access_token  # an outage of GitHub's may have said so
    assert await world.deputy.vault.scan("outbox") == [] and await world.unknown() == set()
    assert (await consent(world.deputy, world.sandbox, caught.value.consent)).status == "granted"
    assert await world.told() == "" and not (await world.grant()).is_suspect


@pytest.mark.parametrize("world", ["slack"], indirect=True)
async def test_unverifiable_token_is_kept_until_the_user_reconnects(world: World) -> None:
    await world.connect("alice")
    before = await world.grant()
    assert before.refresh_token is None and not before.expires_at
    world.line.status, world.line.body = 200, {"ok": False, "error": "invalid_auth"}
    for _ in range(2):
        with pytest.raises(ReconsentRequired):
            await world.act()
    with pytest.raises(ReconsentRequired) as caught:
        await world.act()
    held = await world.grant()
    assert caught.value.reason == "rejected" and held.is_suspect and held.access_token == before.access_token
    world.line.status = 0
    assert await world.told() == "" and await world.unknown() == set()
    assert (await consent(world.deputy, world.sandbox, caught.value.consent)).status == "granted"
    assert (await world.grant()).access_token != before.access_token and await world.unknown() == set()
    await world.deputy.revoke("alice")
    assert alive(world.sandbox, world.clock) == set()


# ------------------------------------------------------------- the provider's own word


@pytest.mark.parametrize("world", ["slack"], indirect=True)
@pytest.mark.parametrize("word", ["token_revoked", "account_inactive"])
async def test_token_reported_as_revoked_is_kept_until_the_user_reconnects(world: World, word: str) -> None:
    await world.connect("alice")
    before = await world.grant()
    world.line.status, world.line.body = 200, {"ok": False, "error": word}
    with pytest.raises(ReconsentRequired):
        await world.act()
    with pytest.raises(ReconsentRequired) as caught:
        await world.act()
    held = await world.grant()
    assert held.is_suspect and held.reason == caught.value.reason and held.access_token == before.access_token
    assert await world.deputy.vault.scan("outbox") == [] and await world.unknown() == set()
    world.line.status = 0
    assert await world.told() == "" and not (await world.grant()).is_suspect  # the API was wrong
    assert (await consent(world.deputy, world.sandbox, caught.value.consent)).status == "granted"
    await world.deputy.revoke("alice")
    assert alive(world.sandbox, world.clock) == set() and await world.unknown() == set()


async def test_step_up_demand_leaves_no_unknown_token_family(world: World) -> None:
    await world.connect("alice")
    world.line.status = 401
    world.line.headers = {"www-authenticate": 'Bearer error="insufficient_user_authentication"'}
    with pytest.raises(ReconsentRequired) as caught:
        await world.act()
    assert caught.value.reason == "step_up"
    world.line.status = 0
    assert await world.told() == "" and not (await world.grant()).is_suspect  # other acts need no newer sign-in
    assert await world.unknown() == set() and len(alive(world.sandbox, world.clock)) == 1
