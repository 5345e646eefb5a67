"""Alice and Bob through the whole deputy at emulate's GitHub, Slack, Linear and Okta.

The first user of each service is a decoy, whose data any unknown token gets at emulate: each test checks whose data it
got. The strict transport refuses what emulate lets pass, and adds rotation, revocation and expiry where emulate has
none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from deputize.core import (
    PROVIDERS,
    App,
    Consent,
    ConsentRequired,
    Deputy,
    Provider,
    ReconsentRequired,
    Request,
    ScopeNotGranted,
    Secret,
    SettingsError,
    Steps,
    Toolkit,
    User,
    allow_all,
    any_of,
)
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.from_settings import find_providers
from deputize.core.oauth.discover import discover
from deputize.core.settings import Settings
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from tests.support.counterparts import require_emulate
from tests.support.emulate import Emulate, oauth_client
from tests.support.strict_emulate import StrictTransport, answered, consent_click

pytestmark = pytest.mark.counterpart
PAGES = "https://deputize.example.test"
PEOPLE = {"alice": "alice@example.test", "bob": "bob@example.test"}
SERVICES = ("github", "slack", "linear", "okta")
ISSUER = "https://okta.example.test/oauth2/default"
SCOPES = {"github": "read:user", "slack": "users:read", "linear": "read", "okta": "profile"}
TOKEN = {
    "github": "/login/oauth/access_token",
    "slack": "/api/oauth.v2.access",
    "linear": "/oauth/token",
    "okta": "/oauth2/default/v1/token",
}

github = Toolkit("github", provider="github")
slack = Toolkit("slack", provider="slack")
linear = Toolkit("linear", provider="linear")
okta = Toolkit("okta", provider="okta")


@github.tool(needs=[any_of("read:user", "user")])
def me_at_github() -> Steps:
    """Who am I at GitHub?"""
    me = yield Request("GET", "/user")
    return me["login"]


@slack.tool(needs=[any_of("users:read")])
def me_at_slack() -> Steps:
    """Who am I at Slack?"""
    me = yield Request("POST", "/auth.test", repeat="read")
    them = yield Request("POST", "/users.info", json={"user": me["user_id"]}, repeat="read")
    return them["user"]["name"]


@slack.tool(needs=[any_of("channels:read")])
def channels() -> Steps:
    """Which channels are there?"""
    found = yield Request("POST", "/conversations.list", repeat="read")
    return [one["name"] for one in found["channels"]]


@linear.tool(needs=[any_of("read", "write")])
def me_at_linear() -> Steps:
    """Who am I at Linear?"""
    found = yield Request("POST", "/graphql", json={"query": "{ viewer { email } }"}, repeat="read")
    return found["data"]["viewer"]["email"].partition("@")[0]


@okta.tool(needs=[any_of("profile")])
def me_at_okta() -> Steps:
    """Who am I at Okta?"""
    me = yield Request("GET", "/v1/userinfo")
    return me["preferred_username"].partition("@")[0]


TOOLS = {name: f"{name}_me_at_{name}" for name in SERVICES}


@pytest.fixture(scope="module")
def emulate() -> Iterator[Emulate]:
    require_emulate()
    with Emulate(*SERVICES) as running:
        yield running


@pytest.fixture
def strict(emulate: Emulate) -> StrictTransport:
    emulate.reset()
    return StrictTransport(emulate.urls)


def app_of(service: str, **more: Any) -> App:
    """Return the client that the seed registers at a service."""
    client = oauth_client(service)
    return App(service, client.id, Secret(client.secret), **more)


async def found(transport: StrictTransport, issuer: str = ISSUER) -> Provider:
    api = {"okta": ISSUER}
    return await discover(issuer, transport=transport, name="okta", label="Okta", api=api, allow_private_network=True)


async def built(transport: StrictTransport, apps: list[App]) -> Deputy:
    return Deputy(
        await Vault.open(open_store("memory:", create=True), [bytes(range(32))]),
        apps,
        pages=PAGES,
        policy=allow_all,
        providers={**PROVIDERS, "okta": await found(transport)},
        toolkits=[github, slack, linear, okta],
        transport=transport,
    )


@pytest.fixture
async def deputy(strict: StrictTransport) -> AsyncIterator[Deputy]:
    async with await built(strict, [app_of(service) for service in SERVICES]) as deputy:
        yield deputy


async def visit(deputy: Deputy, transport: StrictTransport, consent: Consent, email: str) -> str:
    """Complete a consent at emulate; return how it ended."""
    started = await deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser())
    back = await consent_click(transport, started.url, email)
    params = dict(parse_qsl(urlsplit(back).query))
    await deputy.consents.finish(consent.app, params, AnyLocalUser(), started.nonce.reveal())
    ended = await deputy.consents.status(consent.id)
    assert ended is not None
    return ended.status


async def connect(deputy: Deputy, transport: StrictTransport, user: str, service: str, **more: Any) -> None:
    for consent in await deputy.connect(user, service, scopes=[SCOPES[service]], **more):
        assert await visit(deputy, transport, consent, PEOPLE[user]) == "granted"


@pytest.mark.parametrize("service", SERVICES)
async def test_alice_and_bob_each_get_their_own_data(deputy: Deputy, strict: StrictTransport, service: str) -> None:
    for user in PEOPLE:
        await connect(deputy, strict, user, service)
    whose = await asyncio.gather(*(deputy.act(TOOLS[service], {}, user=user) for user in PEOPLE))
    assert whose == list(PEOPLE)
    for user in PEOPLE:
        [held] = await deputy.connections(user)
        assert user in held.account.lower() and SCOPES[service] in held.scopes
    grants = [(await deputy.vault.list_grants(User(user)))[0] for user in PEOPLE]
    assert len({grant.account.subject for grant in grants}) == 2


async def test_account_subject_format_of_each_provider(deputy: Deputy, strict: StrictTransport) -> None:
    subjects = {}
    for service in SERVICES:
        await connect(deputy, strict, "alice", service)
        [grant] = await deputy.vault.list_grants(User("alice"), service, service)
        subjects[service] = grant.account
        if service == "linear":
            assert grant.extra == {"email": "alice@example.test", "organization": "acme"}
    assert subjects["github"].subject.isdigit() and subjects["github"].name == "alice"
    assert subjects["slack"].subject[0] == "T" and ":U" in subjects["slack"].subject
    assert subjects["slack"].name == "@alice in Acme"
    assert subjects["linear"].subject.count(":") == 1 and subjects["linear"].name == "Alice Adams in acme"
    assert subjects["okta"].name == "alice@example.test"


@pytest.mark.parametrize("service", SERVICES)
async def test_revocation_ends_the_grant_here_and_at_the_provider(
    deputy: Deputy, strict: StrictTransport, service: str
) -> None:
    await connect(deputy, strict, "alice", service)
    [grant] = await deputy.vault.list_grants(User("alice"))
    token = grant.access_token.reveal()
    assert [one.upstream for one in await deputy.revoke("alice", service)] == ["done"]
    with pytest.raises(ConsentRequired):
        await deputy.act(TOOLS[service], {}, user="alice")
    assert await deputy.connections("alice") == [] and strict._access[token].grant.ended


@pytest.mark.parametrize("service", SERVICES)
async def test_another_account_is_refused_and_the_grant_stays(
    deputy: Deputy, strict: StrictTransport, service: str
) -> None:
    await connect(deputy, strict, "alice", service)
    more = {"github": "repo", "slack": "channels:read", "linear": "write", "okta": "groups"}[service]
    [consent] = await deputy.connect("alice", service, scopes=[more])
    assert await visit(deputy, strict, consent, PEOPLE["bob"]) == "failed"
    assert await deputy.act(TOOLS[service], {}, user="alice") == "alice"
    lives = [issued.lives for issued in strict._access.values()]
    assert lives == sorted(lives, reverse=True) and set(lives) == {True, False}  # Alice's, then Bob's


@pytest.mark.parametrize("service", SERVICES)
async def test_expired_token_is_refreshed_once_per_expiry(emulate: Emulate, service: str) -> None:
    strict = StrictTransport(emulate.urls, access_ttl=1, rotating=True)
    async with await built(strict, [app_of(service)]) as deputy:
        await connect(deputy, strict, "alice", service)
        for _ in range(2):
            await asyncio.sleep(1.05)
            before = len(strict.ledger)
            whose = await asyncio.gather(*(deputy.act(TOOLS[service], {}, user="alice") for _ in range(20)))
            tokens = [one.status for one in strict.ledger[before:] if one.path == TOKEN[service]]
            assert set(whose) == {"alice"} and tokens == [200]
        [grant] = await deputy.vault.list_grants(User("alice"))
        assert SCOPES[service] in grant.scopes


@pytest.mark.parametrize("service", ["github", "slack"])
async def test_R30_expired_grant_is_refreshed_and_then_revoked(emulate: Emulate, service: str) -> None:
    strict = StrictTransport(emulate.urls, access_ttl=1, rotating=True)
    async with await built(strict, [app_of(service)]) as deputy:
        await connect(deputy, strict, "alice", service)
        await asyncio.sleep(1.05)
        strict.access_ttl = None
        assert [one.upstream for one in await deputy.revoke("alice", service)] == ["done"]
        assert all(issued.grant.ended for issued in strict._access.values())
        assert await deputy.vault.scan("outbox") == []


@pytest.mark.parametrize(
    ("service", "status", "body"),
    [
        ("github", 200, {"error": "bad_refresh_token"}),
        ("slack", 200, {"ok": False, "error": "invalid_refresh_token"}),
        ("linear", 400, {"error": "invalid_grant"}),
        ("okta", 400, {"error": "invalid_grant"}),
    ],
)
async def test_dead_grant_asks_once(emulate: Emulate, service: str, status: int, body: dict[str, Any]) -> None:
    strict = StrictTransport(emulate.urls, access_ttl=1, rotating=True)
    async with await built(strict, [app_of(service)]) as deputy:
        await connect(deputy, strict, "alice", service)
        await asyncio.sleep(1.05)
        strict.inject("POST", TOKEN[service], answered(status, body))
        before = len(strict.ledger)
        asked = set()
        for _ in range(3):
            with pytest.raises(ReconsentRequired) as lost:
                await deputy.act(TOOLS[service], {}, user="alice")
            asked.add(lost.value.consent.id)
        assert len(asked) == 1 and len(strict.ledger) == before + 1


async def test_calls_in_flight_recover_when_github_ends_the_old_access_token(emulate: Emulate) -> None:
    strict = StrictTransport(emulate.urls, rotating=True)
    async with await built(strict, [app_of("github")]) as deputy:
        await connect(deputy, strict, "alice", "github")
        [grant] = await deputy.vault.list_grants(User("alice"))
        strict._access[grant.access_token.reveal()].expires_at = 0.0  # refreshed by somebody else meanwhile
        before = len(strict.ledger)
        whose = await asyncio.gather(*(deputy.act(TOOLS["github"], {}, user="alice") for _ in range(10)))
        assert whose == ["alice"] * 10
        assert len([one for one in strict.ledger[before:] if one.path == TOKEN["github"]]) == 1


async def test_slack_scope_is_requested_by_name_and_step_up_keeps_the_rest(
    deputy: Deputy, strict: StrictTransport
) -> None:
    await connect(deputy, strict, "alice", "slack")
    with pytest.raises(ConsentRequired) as asked:
        await deputy.act("slack_channels", {}, user="alice")
    started = await deputy.consents.start(asked.value.consent.link.rpartition("/")[2], AnyLocalUser())
    query = parse_qs(urlsplit(started.url).query)
    assert query["user_scope"] == ["channels:read,users:read"] and "scope" not in query
    assert await visit(deputy, strict, asked.value.consent, PEOPLE["alice"]) == "granted"
    assert "eng" in await deputy.act("slack_channels", {}, user="alice")


async def test_linear_scope_refused_after_its_grant_is_not_requested_again(
    deputy: Deputy, strict: StrictTransport
) -> None:
    await connect(deputy, strict, "alice", "linear")
    strict.inject("POST", "/graphql", answered(400, {"errors": [{"message": "Invalid scope: `read` required"}]}))
    with pytest.raises(ScopeNotGranted) as refused:
        await deputy.act(TOOLS["linear"], {}, user="alice")
    assert refused.value.scopes == ("read",)


@pytest.mark.parametrize(("pkce", "sent"), [(True, True), (False, False)])
async def test_A1_slack_works_with_and_without_pkce(strict: StrictTransport, pkce: bool, sent: bool) -> None:
    async with await built(strict, [app_of("slack", pkce=pkce)]) as deputy:
        [consent] = await deputy.connect("alice", "slack", scopes=["users:read"])
        started = await deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser())
        assert ("code_challenge" in parse_qs(urlsplit(started.url).query)) is sent
        assert await visit(deputy, strict, consent, PEOPLE["alice"]) == "granted"
        assert await deputy.act(TOOLS["slack"], {}, user="alice") == "alice"


async def test_bot_token_alone_is_not_a_grant(deputy: Deputy, strict: StrictTransport) -> None:
    [consent] = await deputy.connect("alice", "slack", scopes=["users:read"])
    bot = {"ok": True, "access_token": "x" * 20, "token_type": "bot", "authed_user": {"id": "U1"}, "team": {"id": "T1"}}
    strict.inject("POST", TOKEN["slack"], answered(200, bot))
    assert await visit(deputy, strict, consent, PEOPLE["alice"]) == "failed"
    assert await deputy.connections("alice") == []


async def test_several_apps_of_one_provider_are_separate(strict: StrictTransport) -> None:
    apps = [app_of("linear"), app_of("linear", name="linear-two")]
    async with await built(strict, apps) as deputy:
        [consent] = await deputy.connect("alice", "linear", scopes=["read"], app="linear-two")
        started = await deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser())
        assert parse_qs(urlsplit(started.url).query)["redirect_uri"] == [f"{PAGES}/callback/linear-two"]
        with pytest.raises(ConsentRequired):
            await deputy.act(TOOLS["linear"], {}, user="alice")
        await connect(deputy, strict, "alice", "linear")
        assert [one.app for one in await deputy.connections("alice")] == ["linear"]


# ------------------------------------------------------------- a server from its own metadata


async def test_okta_is_configured_from_its_metadata(strict: StrictTransport) -> None:
    row = await found(strict)
    assert (row.oauth.token_url, row.oauth.revoke_url) == (f"{ISSUER}/v1/token", f"{ISSUER}/v1/revoke")
    assert row.apis.hosts == {"okta.example.test"} and row.oauth.issuer == ISSUER
    assert row.oauth.always_scopes == ("openid", "email", "profile", "offline_access")


@pytest.mark.parametrize("issuer", [f"{ISSUER}/", ISSUER.replace("okta.", "OKTA.")])
async def test_A6_issuer_with_another_spelling_is_refused(strict: StrictTransport, issuer: str) -> None:
    with pytest.raises(SettingsError):
        await found(strict, issuer)


async def test_okta_configured_by_its_issuer_serves_two_users(strict: StrictTransport) -> None:
    client = oauth_client("okta")
    said = Settings.load(
        apps={
            "okta": {
                "client_id": client.id,
                "client_secret": client.secret,
                "issuer": ISSUER,
                "label": "Acme",
                "api": {"okta": ISSUER},
                "allow_private_network": True,
            }
        }
    )
    vault = await Vault.open(open_store("memory:", create=True), [b"settings-of-okta" * 2])
    rows = await find_providers(said, vault, strict)
    async with Deputy(
        vault, said.all_apps(), pages=PAGES, policy=allow_all, providers=rows, toolkits=[okta], transport=strict
    ) as deputy:
        for user in PEOPLE:
            (consent,) = await deputy.connect(user, tools=[TOOLS["okta"]])
            assert await visit(deputy, strict, consent, PEOPLE[user]) == "granted"
        whose = await asyncio.gather(*(deputy.act(TOOLS["okta"], {}, user=user) for user in PEOPLE))
        assert whose == list(PEOPLE)
        assert [one.upstream for one in await deputy.revoke("alice", "okta")] == ["done"]


async def test_public_okta_client_connects_without_a_secret(emulate: Emulate) -> None:
    redirect = f"{PAGES}/callback/okta"
    with Emulate("okta", redirect_uris=[redirect]) as alone:
        strict = StrictTransport(alone.urls)
        async with await built(strict, [App("okta", "okta-public-client")]) as deputy:
            await connect(deputy, strict, "alice", "okta")
            assert await deputy.act(TOOLS["okta"], {}, user="alice") == "alice"
