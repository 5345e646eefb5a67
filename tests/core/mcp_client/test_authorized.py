"""A user's grant at an MCP server, from its address to its end: registration, consent, step-up, refresh, revocation."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
from collections.abc import Awaitable
from typing import Any

import httpx
import pytest

from deputize.core import (
    Call,
    Consent,
    ConsentRequired,
    DeputizeError,
    Deputy,
    InvalidInput,
    ReconsentRequired,
    Request,
    ScopeNotGranted,
    Secret,
    SettingsError,
    Steps,
    Toolkit,
    User,
    allow_all,
)
from deputize.core.mcp_client.authorization import KnownServers
from deputize.core.mcp_client.lazy_provider import LateServer
from deputize.core.mcp_client.server_config import AccountTool, McpServer
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from deputize.core.web.app import pages_app
from tests.support.mcp_world import ISSUER, URL, McpWorld
from tests.support.sandbox_deputy import Clock, no_sleep, public_names

acme = Toolkit("acme", provider="acme")


def _called(name: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": {}}}


@acme.tool(needs=[])
def look() -> Steps:
    """Look."""
    found = yield Request("POST", "/v1/mcp", json=_called("look"), repeat="read")
    return found["result"]["structuredContent"]["user"]


@acme.tool(needs=[])
def send() -> Steps:
    """Send, which reads here too: what is of interest is the scope."""
    found = yield Request("POST", "/v1/mcp", json=_called("send"), repeat="read")
    return found["result"]["structuredContent"]["user"]


class House:
    """Processes that share one store, and the servers outside."""

    def __init__(self) -> None:
        self.clock, self.store = Clock(1_800_000_000.0), MemoryStore()
        self.world = McpWorld(self.clock)

    async def process(self, pages: str = "https://agents.example.test", **said: Any) -> Deputy:
        """Return a process of the deployment that knows the server by its address."""
        vault = await Vault.open(self.store, [b"k" * 32])
        more: dict[str, Any] = {"clock": self.clock, "sleep": no_sleep, "resolve": public_names, "policy": allow_all}
        more["requests_per_minute"] = math.inf
        deputy = Deputy(vault, [], pages=pages, toolkits=[acme], transport=self.world, providers={}, **more)
        late = LateServer(McpServer("acme", URL, **said), deputy.services, self.world, public_names)
        deputy.registry.expect("acme", late)
        return deputy

    async def walk(self, deputy: Deputy, consent: Consent, user: str, *, back_at: Deputy | None = None) -> Consent:
        """Complete one consent. ``back_at``: the process that the browser returns to."""
        started = await deputy.consents.start(consent.link.rpartition("/")[2], User(user))
        back = self.world.authorize(started.url, user)
        there = back_at or deputy
        await there.consents.finish("acme", back, User(user), started.nonce.reveal())
        ended = await there.consents.status(consent.id)
        assert ended is not None
        return ended

    async def connect(self, deputy: Deputy, *users: str) -> None:
        """Connect each user through the pause of an act."""
        for user in users:
            asked = await asked_by(act(deputy, user))
            assert (await self.walk(deputy, asked, user)).status == "granted"


def act(deputy: Deputy, user: str, tool: str = "look", **more: Any) -> Awaitable[Any]:
    return deputy.act(f"acme_{tool}", {}, user=user, call=Call(id=secrets.token_hex(4), **more))


async def asked_by(acting: Awaitable[Any]) -> Consent:
    with pytest.raises((ConsentRequired, ReconsentRequired)) as e:
        await acting
    assert e.value.consent is not None
    return e.value.consent


@pytest.fixture
def house() -> House:
    return House()


# ------------------------------------------------------------- the way to a grant


async def test_act_requests_consent_and_continues_afterwards(house: House) -> None:
    deputy = await house.process()
    asked = await asked_by(act(deputy, "alice"))
    assert asked.scopes == () and (await house.walk(deputy, asked, "alice")).account == "an account of Acme"
    assert await act(deputy, "alice") == "alice"
    assert [form["resource"] for form in house.world.forms] == [URL]


async def test_consent_page_names_the_sign_in_and_resource_hosts(house: House) -> None:
    """A discovered server may name any sign-in page, also a well-known one, to obtain a token of it."""
    deputy = await house.process()
    asked = await asked_by(act(deputy, "alice"))
    pages = httpx.ASGITransport(pages_app(deputy, verifier=lambda request: "alice"))
    async with httpx.AsyncClient(transport=pages, base_url="https://agents.example.test") as browser:
        shown = (await browser.get(asked.link)).text
    assert "<dt>You sign in at</dt><dd>as.example.test</dd>" in shown
    assert "<dt>What you allow is used at</dt><dd>mcp.example.test</dd>" in shown


async def test_server_is_not_contacted_before_it_is_needed(house: House) -> None:
    await house.process()
    assert house.world.asked == []


async def test_one_client_registration_serves_all_users_and_processes(house: House) -> None:
    one, two = await house.process(), await house.process()
    await asyncio.gather(*(asked_by(act(d, u)) for d in (one, two) for u in ("alice", "bob", "carol") * 5))
    (asked,) = house.world.registrations
    assert asked["redirect_uris"] == ["https://agents.example.test/callback/acme"]
    assert asked["application_type"] == "web" and asked["token_endpoint_auth_method"] == "none"
    assert asked["scope"] == "tools:read tools:write offline_access"


async def test_callback_may_arrive_at_another_process(house: House) -> None:
    one, two = await house.process(), await house.process()
    asked = await asked_by(act(one, "alice"))
    assert (await house.walk(one, asked, "alice", back_at=two)).status == "granted"
    assert await act(two, "alice") == "alice" and len(house.world.registrations) == 1


async def test_loopback_client_registers_as_native(house: House) -> None:
    for port in (8736, 8737):
        await asked_by(act(await house.process(f"http://127.0.0.1:{port}"), "alice"))
    (asked,) = house.world.registrations
    assert asked["application_type"] == "native"


@pytest.mark.parametrize("wrong", [{}, {"iss": "https://evil.example.test"}])
async def test_callback_without_the_promised_iss_is_refused(house: House, wrong: dict[str, str]) -> None:
    deputy = await house.process()
    asked = await asked_by(act(deputy, "alice"))
    started = await deputy.consents.start(asked.link.rpartition("/")[2], User("alice"))
    back = house.world.authorize(started.url, "alice")
    with pytest.raises(InvalidInput):
        rest = {name: value for name, value in back.items() if name != "iss"}
        await deputy.consents.finish("acme", rest | wrong, User("alice"), started.nonce.reveal())
    assert house.world.forms == []


# ------------------------------------------------------------- whose account it is

BY_TOOL = AccountTool("me", "user.id", "user.name")


@pytest.mark.parametrize("in_text", [False, True])
async def test_identity_tool_names_the_account(house: House, in_text: bool) -> None:
    said = house.world.me
    if in_text:
        house.world.me = lambda user: {
            "content": [{"type": "text", "text": json.dumps(said(user)["structuredContent"])}]
        }
    deputy = await house.process(identity=BY_TOOL)
    await house.connect(deputy, "alice", "bob")
    (grant,) = await deputy.vault.list_grants(User("alice"))
    assert (grant.account.subject, grant.account.name) == ("u-alice", "Alice")
    assert await act(deputy, "alice") == "alice" and await act(deputy, "bob") == "bob"


@pytest.mark.parametrize("said", [("", "id", ""), ("me", "", ""), ("me", "{id}", ""), ("me", "id", "a b")])
def test_unusable_identity_tool_is_refused_at_start(said: tuple[str, str, str]) -> None:
    with pytest.raises(SettingsError, match="identity"):
        AccountTool(*said)


async def test_reconsent_as_another_account_is_refused(house: House) -> None:
    deputy = await house.process(identity=BY_TOOL)
    await house.connect(deputy, "alice")
    asked = await asked_by(act(deputy, "alice", "send"))
    started = await deputy.consents.start(asked.link.rpartition("/")[2], User("alice"))
    back = house.world.authorize(started.url, "mallory")
    await deputy.consents.finish("acme", back, User("alice"), started.nonce.reveal())
    ended = await deputy.consents.status(asked.id)
    assert ended and (ended.status, ended.reason_code) == ("failed", "account_mismatch")
    assert await act(deputy, "alice") == "alice"


@pytest.mark.parametrize(
    "me",
    [
        {"content": [], "isError": True, "structuredContent": {"user": {"id": "u-1"}}},
        {"content": [], "structuredContent": {"user": {"id": ""}}},
        {"content": [{"type": "text", "text": "[" * 5000}]},
        {"content": [{"type": "image"}]},
        {},
    ],
)
async def test_identity_tool_without_a_name_fails_the_connection(house: House, me: dict[str, Any]) -> None:
    house.world.me = lambda user: me
    deputy = await house.process(identity=BY_TOOL)
    ended = await house.walk(deputy, await asked_by(act(deputy, "alice")), "alice")
    assert (ended.status, ended.reason_code) == ("failed", "no_identity")
    assert await deputy.vault.list_grants(User("alice")) == [] and house.world.alive == set()


async def test_server_with_unknown_protocol_version_gives_no_identity(house: House) -> None:
    house.world.versions = ("1999-12-31",)
    deputy = await house.process(identity=BY_TOOL)
    ended = await house.walk(deputy, await asked_by(act(deputy, "alice")), "alice")
    assert (ended.status, ended.reason_code) == ("failed", "no_identity")


async def test_identity_tool_without_permission_fails_the_connection(house: House) -> None:
    house.world.needs["me"] = "admin"
    deputy = await house.process(identity=BY_TOOL)
    ended = await house.walk(deputy, await asked_by(act(deputy, "alice")), "alice")
    assert ended.status == "failed" and await deputy.vault.list_grants(User("alice")) == []


# ------------------------------------------------------------- who we are there


async def test_configured_client_is_used_without_registration(house: House) -> None:
    house.world.clients["given"] = {
        "redirect_uris": ["https://agents.example.test/callback/acme"],
        "client_secret": "s3cret",
        "token_endpoint_auth_method": "client_secret_post",
    }
    house.world.said = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    deputy = await house.process(client_id="given", client_secret=Secret("s3cret"))
    await house.connect(deputy, "alice")
    assert await act(deputy, "alice") == "alice" and house.world.registrations == []


@pytest.mark.parametrize("way", ["client_secret_post", "client_secret_basic", "none"])
async def test_registered_auth_method_is_used(house: House, way: str) -> None:
    house.world.registered = {"token_endpoint_auth_method": way}
    house.world.registered |= {} if way == "none" else {"client_secret": "s3cret", "client_secret_expires_at": 0}
    deputy = await house.process()
    await house.connect(deputy, "alice")
    assert await act(await house.process(), "alice") == "alice"
    assert not [key for key, row in await house.store.scan("meta", "") if b"s3cret" in row]


@pytest.mark.parametrize(
    ("registered", "words"),
    [
        ({"client_id": "a b"}, "no usable client id"),
        ({"client_id": None}, "no usable client id"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "cannot be done"),
        ({"token_endpoint_auth_method": "client_secret_post"}, "cannot be done"),
        ({"token_endpoint_auth_method": ["none"]}, "cannot be done"),
        ({"token_endpoint_auth_method": {"a": 1}}, "cannot be done"),
        ({"redirect_uris": ["https://evil.example.test/callback"]}, "another redirect URI"),
    ],
)
async def test_unusable_registration_is_refused_with_a_message(
    house: House, registered: dict[str, Any], words: str
) -> None:
    house.world.registered = registered
    with pytest.raises(SettingsError, match=words) as e:
        await act(await house.process(), "alice")
    assert "[mcp.acme]" in e.value.hint


@pytest.mark.parametrize("expires", [-1, 10**400, True, "soon", 0])
async def test_invalid_registration_expiry_does_not_repeat_registration(house: House, expires: Any) -> None:
    house.world.registered = {
        "client_secret": "s",
        "token_endpoint_auth_method": "client_secret_post",
        "client_secret_expires_at": expires,
    }
    for _ in range(3):
        await asked_by(act(await house.process(), "alice"))
    assert len(house.world.registrations) == 1


async def test_refused_registration_logs_the_servers_reason(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.world.register_status = 400
    words = "http\nis not\x1b[31m allowed\u202e. Bearer abcd1234ABCD5678 " + "x " * 5000
    house.world.register_more = {"error_description": words}
    with pytest.raises(SettingsError) as refused:
        await act(await house.process(), "alice")
    assert "allowed" not in refused.value.message  # a model may read it
    [said] = [one.message for one in caplog.records if "says about the registration" in one.message]
    assert "acme says about the registration: http is not?[31m allowed?." in said
    assert "abcd1234" not in said and len(said) < 400


async def test_server_without_registration_is_an_operator_error(house: House) -> None:
    house.world.register_status = 400
    with pytest.raises(SettingsError, match="400 invalid_redirect_uri"):
        await act(await house.process(), "alice")
    house.world.said = {"registration_endpoint": None}
    house.store = MemoryStore()
    with pytest.raises(SettingsError) as e:
        await act(await house.process(), "alice")
    assert "https://agents.example.test/callback/acme" in e.value.hint and "client_id" in e.value.hint


async def test_client_id_metadata_document_is_used_if_supported(house: House) -> None:
    house.world.said = {"client_id_metadata_document_supported": True}
    deputy = await house.process()
    asked = await asked_by(act(deputy, "alice"))
    address = "https://agents.example.test/oauth/client.json"
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(pages_app(deputy, verifier=lambda request: "alice")),
        base_url="https://agents.example.test",
    ) as browser:
        shown = await browser.get(address)
    document = shown.json()
    assert shown.headers["content-type"].startswith("application/json") and document["client_id"] == address
    assert document["token_endpoint_auth_method"] == "none" and "client_secret" not in document
    house.world.clients[address] = document
    assert (await house.walk(deputy, asked, "alice")).status == "granted" and house.world.registrations == []


async def test_server_without_public_metadata_clients_gets_a_registration(house: House) -> None:
    house.world.said = {
        "client_id_metadata_document_supported": True,
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    }
    house.world.registered = {"client_secret": "s3cret"}
    await house.connect(await house.process(), "alice")
    assert len(house.world.registrations) == 1


async def test_forgotten_client_is_registered_again_once(house: House) -> None:
    one, two = await house.process(), await house.process()
    await house.connect(one, "alice", "bob")
    assert await act(two, "bob") == "bob"
    house.world.clients.clear()
    house.clock.now += 601
    for deputy, user in ((one, "alice"), (two, "bob")):
        with pytest.raises(DeputizeError):
            await act(deputy, user)
    assert len(house.world.registrations) == 1  # it was made a moment ago: no flood
    await _age_registration(one)
    house.clock.now += 120
    for deputy, user in ((one, "alice"), (two, "bob")):
        asked = await asked_by(act(deputy, user))
        assert asked.reason_code == "moved"
        assert (await house.walk(deputy, asked, user)).status == "granted"
        assert await act(deputy, user) == user
    assert len(house.world.registrations) == 2


async def _age_registration(deputy: Deputy) -> None:
    """Make the registration a day old."""
    for row in await deputy.vault.scan("meta", "client."):
        await deputy.vault.swap(row, row.json | {"at": row.json["at"] - 86400})


# ------------------------------------------------------------- step-up


async def test_missing_scopes_are_requested_with_the_granted_ones(house: House) -> None:
    deputy = await house.process()
    await house.connect(deputy, "alice")
    (before,) = await deputy.vault.list_grants(User("alice"))
    asked = await asked_by(act(deputy, "alice", "send"))
    assert asked.scopes == ("tools:write",)
    await house.walk(deputy, asked, "alice")
    assert await act(deputy, "alice", "send") == "alice" and await act(deputy, "alice") == "alice"
    (grant,) = [g for g in await deputy.vault.list_grants(User("alice")) if g.status == "active"]
    assert grant.scopes == {"tools:read", "tools:write", "offline_access"} and grant.account == before.account
    assert len([1 for family in set(map(id, house.world.refresh.values()))]) == 2 and len(house.world.alive) == 1


async def test_server_defined_scope_is_described_as_a_permission(house: House) -> None:
    """Otherwise scopes are verbs, and "it asks to be allowed to tools:write" is no sentence."""
    deputy = await house.process()
    await house.connect(deputy, "alice")
    asked = await asked_by(act(deputy, "alice", "send"))
    assert (
        asked.scope_descriptions == ('use the permission "tools:write"',)
        and asked.label == asked.payload()["label"] == "Acme"
    )
    pages = httpx.ASGITransport(pages_app(deputy, verifier=lambda request: "alice"))
    async with httpx.AsyncClient(transport=pages, base_url="https://agents.example.test") as browser:
        connect, own = (await browser.get(asked.link)).text, (await browser.get("/connections")).text
    for shown, scope in ((connect, "tools:write"), (own, "tools:write"), (own, "tools:read")):
        assert f"<li>use the permission &#34;{scope}&#34;</li>" in shown


async def test_all_scopes_of_a_challenge_are_requested_together(house: House) -> None:
    house.world.needs["send"] = "a b"
    deputy = await house.process()
    await house.connect(deputy, "alice")
    assert (await asked_by(act(deputy, "alice", "send"))).scopes == ("a", "b")


@pytest.mark.parametrize(
    ("challenge", "asked"),
    [
        ('error="insufficient_scope", error_description="Required scope: tools:write"', ("tools:write",)),  # the SDK's
        ('error="insufficient_scope", error_description="Required scope: a", scope="b c"', ("b", "c")),
        ('error="insufficient_scope", error_description="It is not enough."', ("tools:write",)),  # as its metadata says
        ('error="insufficient_scope"', ("tools:write",)),
    ],
)
async def test_scope_challenge_is_read_from_its_description_or_metadata(
    house: House, challenge: str, asked: tuple[str, ...]
) -> None:
    house.world.offered = ["tools:read", "tools:write"]
    house.world.challenge, house.world.first = challenge, ""
    deputy = await house.process()
    consent = await asked_by(act(deputy, "alice", thread="t", message="of one request"))
    assert consent.scopes == ("tools:read", "tools:write")  # all, where nothing says which: as the server's metadata
    house.world.allowed = ["tools:read"]  # of which the user allows one
    await house.walk(deputy, consent, "alice")
    later = act(deputy, "alice", "send", thread="t", message="of another request")
    assert (await asked_by(later)).scopes == asked


async def test_repeated_scope_challenges_end_with_an_error(house: House) -> None:
    deputy, call = await house.process(), {"thread": "t", "message": "m"}
    await house.connect(deputy, "alice")
    for number in range(3):
        house.world.needs["send"] = f"more:{number}"
        asked = await asked_by(act(deputy, "alice", "send", **call))
        await house.walk(deputy, asked, "alice")
    house.world.needs["send"] = "more:3"
    with pytest.raises(ScopeNotGranted, match="times for more scopes"):
        await act(deputy, "alice", "send", **call)


# ------------------------------------------------------------- refresh, and the end


async def test_fifty_acts_with_an_expired_token_cause_one_refresh(house: House) -> None:
    one, two = await house.process(), await house.process()
    await house.connect(one, "alice")
    house.clock.now += 601
    got = await asyncio.gather(*(act(deputy, "alice") for deputy in (one, two) for _ in range(25)))
    assert set(got) == {"alice"}
    refreshes = [form for form in house.world.forms if form["grant_type"] == "refresh_token"]
    assert len(refreshes) == 1 and refreshes[0]["resource"] == URL and house.world.alive == {"alice"}


async def test_thousand_calls_of_two_users_never_mix(house: House) -> None:
    one, two = await house.process(), await house.process()
    await house.connect(one, "alice", "bob")
    users = ["alice", "bob"] * 500
    got = await asyncio.gather(*(act((one, two)[n % 3 == 0], user) for n, user in enumerate(users)))
    assert got == users


async def test_token_family_ended_by_the_server_needs_new_consent(house: House) -> None:
    deputy = await house.process()
    await house.connect(deputy, "alice")
    for family in house.world.refresh.values():
        family.dead = True  # somebody else has used a refresh token a second time
    asked = await asked_by(act(deputy, "alice"))
    assert asked.reason_code == "invalid_grant"
    await house.walk(deputy, asked, "alice")
    assert await act(deputy, "alice") == "alice"


async def test_disconnect_from_another_process_ends_the_token_family(house: House) -> None:
    await house.connect(await house.process(), "alice", "bob")
    other = await house.process()
    (ended,) = await other.revoke("alice", "acme")
    assert ended.upstream == "done" and house.world.alive == {"bob"}
    await asked_by(act(other, "alice"))
    assert await act(other, "bob") == "bob"


async def test_unavailable_server_keeps_its_stored_metadata_for_new_processes(house: House) -> None:
    await house.connect(await house.process(), "alice")
    house.world.down = True
    late = await house.process()
    with pytest.raises(DeputizeError) as e:
        await act(late, "alice")
    assert e.value.code == "provider_unavailable"
    house.world.down = False
    assert await act(late, "alice") == "alice"


async def test_server_that_changes_its_endpoints_is_stopped(house: House) -> None:
    await house.connect(await house.process(), "alice")
    house.world.said = {"token_endpoint": f"{ISSUER}/other"}
    house.clock.now += 601
    late = await house.process()
    with pytest.raises(SettingsError, match="leads elsewhere than before") as e:
        await act(late, "alice")
    assert "deputize mcp pin acme" in e.value.hint and f"{ISSUER}/other" not in house.world.asked


async def test_changed_endpoints_are_accepted_after_the_operator_pins_them(house: House) -> None:
    deputy = await house.process()
    await house.connect(deputy, "alice")
    house.world.said = {"revocation_endpoint": f"{ISSUER}/revoke?v=2"}
    late = await house.process()
    with pytest.raises(SettingsError, match="revocation_endpoint"):
        await act(late, "alice")
    await KnownServers(late.vault).forget(McpServer("acme", URL))
    for one in (late, deputy):
        one.registry.forget("acme", expected=True)
        with pytest.raises(InvalidInput, match="was connected elsewhere"):
            await act(one, "alice")
    deputy.registry.forget("acme", expected=False)
    with pytest.raises(SettingsError, match="acme"):
        await act(deputy, "alice")


async def test_server_cannot_take_a_providers_name(house: House) -> None:
    deputy = await house.process()
    with pytest.raises(SettingsError, match="'acme'"):
        deputy.registry.expect("acme", deputy.registry.late["acme"])


# ------------------------------------------------------------- two servers


class Stranger(McpWorld):
    """The same authorization server, also named by an attacker's server."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "mcp.stranger.test" and "well-known" in request.url.path:
            return httpx.Response(200, json={"resource": STRANGER, "authorization_servers": [ISSUER]})
        if request.url.host == "mcp.stranger.test":
            self.asked.append(str(request.url))
            return httpx.Response(401)
        return await super().handle_async_request(request)


STRANGER = "https://mcp.stranger.test/mcp"


@pytest.mark.parametrize("restarted", [False, True])
async def test_server_naming_another_servers_authorization_server_is_refused(house: House, restarted: bool) -> None:
    """It may ignore `resource`: its token for the one is then valid at the other, which the attacker wants."""
    house.world = Stranger(house.clock)
    deputy = await house.process()
    await house.connect(deputy, "alice")
    deputy = await house.process() if restarted else deputy
    servers = [McpServer("stranger", STRANGER), McpServer("stranger", STRANGER, issuer=ISSUER)]
    late, believed = (LateServer(one, deputy.services, house.world, public_names) for one in servers)
    with pytest.raises(SettingsError, match="names the authorization server of acme"):
        await late.make()
    with pytest.raises(SettingsError, match="names the authorization server of acme") as refused:
        await late.make()
    assert f'issuer = "{ISSUER}" in [mcp.stranger]' in refused.value.hint
    assert len(house.world.registrations) == 1
    row, _ = await believed.make()
    assert row.oauth.issuer == ISSUER and row.apis.hosts == {"mcp.stranger.test"}
    assert (await late.make())[0].oauth.issuer == ISSUER  # as the operator believed it once
