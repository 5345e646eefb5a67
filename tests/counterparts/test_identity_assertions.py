"""ID-JAG over two independent servers: oidc-provider as the company's, FastMCP as the API's.

FastMCP accepts an ID-JAG once, for its own address and its own client only, and issues no refresh token.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deputize.core import (
    ApiRules,
    App,
    ConsentRequired,
    Deputy,
    Identity,
    InvalidInput,
    OAuthEndpoints,
    Provider,
    Request,
    Secret,
    Steps,
    Toolkit,
    User,
    allow_all,
    any_of,
)
from deputize.core.background_loop import portal
from deputize.core.grants.sources import assertion
from deputize.core.oauth.app import IdentityAssertion
from deputize.core.oauth.endpoint import Endpoint, Refusal
from tests.counterparts.test_token_sources import session
from tests.support.counterparts import mcp_python, require_oidc_provider
from tests.support.oidc_provider import READ, AtHome, OidcProvider, app_of, found
from tests.support.sandbox_deputy import build

pytestmark = pytest.mark.counterpart
SERVER = Path(__file__).with_name("fastmcp_identity_assertions.py")

crm = Toolkit("crm", provider="crm")


@crm.tool(needs=[any_of(READ)])
def whoami() -> Steps:
    """Who am I there?"""
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}
    headers = {"accept": "application/json, text/event-stream"}
    answer = yield Request("POST", "/mcp", json=call, headers=headers, repeat="read")
    return answer["result"]["structuredContent"]


@pytest.fixture(scope="module")
def company() -> Iterator[OidcProvider]:
    require_oidc_provider()
    with OidcProvider() as running:
        yield running


class Both(httpx.AsyncBaseTransport):
    """Routes op.test to the provider on this machine, and everything else, such as the API's server, to the network."""

    def __init__(self, company: OidcProvider) -> None:
        self.home, self.wire = AtHome(company.port), httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        there = self.home if request.url.host.endswith(".op.test") else self.wire
        return await there.handle_async_request(request)

    async def aclose(self) -> None:
        await self.home.aclose()
        await self.wire.aclose()


@dataclass
class Crm:
    """FastMCP, running. ``client``: the deputy's registration there."""

    address: str
    client: dict[str, Any]

    @property
    def row(self) -> Provider:
        """Return the provider. It has no user info: the ID-JAG names the account."""
        return Provider(
            name="crm",
            label="The CRM",
            oauth=OAuthEndpoints(
                authorize_url=f"{self.address}/authorize",
                token_url=f"{self.address}/token",
            ),
            apis=ApiRules(
                roots={"crm": self.address},
                hosts=frozenset({self.address.removeprefix("http://")}),
                identity=Identity("", "{sub}", "{sub}"),
            ),
            plain_http=True,
        )

    def app(self, **changed: str) -> App:
        """The deputy's client there, whose grants come through the company."""
        to = {"audience": f"{self.address}/", "resource": f"{self.address}/mcp"} | changed
        source = IdentityAssertion("company", to["audience"], to["resource"])
        secret = self.client.get("client_secret")
        return App("crm", self.client["client_id"], Secret(secret) if secret else None, source=source)


@pytest.fixture(scope="module")
def server(company: OidcProvider) -> Iterator[Crm]:
    jwks = f"http://127.0.0.1:{company.port}/jwks"
    command = [mcp_python(), str(SERVER), "https://exchange.op.test", jwks]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        try:
            address = process.stdout.readline().strip()
            client = registered(address)
            httpx.get(
                f"http://127.0.0.1:{company.port}/client",
                params={"audience": f"{address}/", "id": client["client_id"]},
                headers={"host": "control.op.test"},
            )
            yield Crm(address, client)
        finally:
            process.stdin.close()


def registered(address: str) -> dict[str, Any]:
    """Register a client of the deputy, once the server listens."""
    asked = {
        "client_name": "deputize",
        "redirect_uris": ["http://127.0.0.1:1/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "client_secret_post",
    }
    for _ in range(300):
        try:
            return dict(httpx.post(f"{address}/register", json=asked).raise_for_status().json())
        except httpx.ConnectError:
            time.sleep(0.1)
    raise AssertionError("FastMCP does not listen")


@asynccontextmanager
async def through_the_company(
    company: OidcProvider, server: Crm, **changed: str
) -> AsyncIterator[tuple[Deputy, dict[str, str]]]:
    """Return a deputy, and the sessions of its application by user."""
    sessions: dict[str, str] = {}
    deputy = await build(
        transport=lambda: Both(company),
        apps=[server.app(**changed), App("op", "deputy", app_of("deputy").client_secret, "company")],
        providers={"op": await found(company, "exchange"), "crm": server.row},
        toolkits=[crm],
        policy=allow_all,
    )
    deputy.sources.token_for = lambda user: sessions.get(user.id)
    try:
        async with deputy:
            yield deputy, sessions
    finally:
        await portal().hop(deputy.http.close)


async def test_two_users_reach_the_api_by_identity_assertions(company: OidcProvider, server: Crm) -> None:
    async with through_the_company(company, server) as (deputy, sessions):
        for name in ("alice", "bob"):
            sessions[name] = await session(company, name)
        for name in ("alice", "bob"):
            acts = (deputy.act("crm_whoami", {}, user=name) for _ in range(10))
            assert {one["sub"] for one in await asyncio.gather(*acts)} == {name}
            [grant] = await deputy.vault.list_grants(User(name))
            whose = f"https://exchange.op.test#{name}"
            assert (grant.account.subject, grant.account.name) == (whose, f"{name}@example.test")
            assert (grant.source, grant.refresh_token) == ("identity_assertion", None)
            assert grant.extra["company"] == "https://exchange.op.test"


async def test_each_token_uses_a_new_assertion(company: OidcProvider, server: Crm) -> None:
    async with through_the_company(company, server) as (deputy, sessions):
        sessions["carol"] = await session(company, "carol")
        await deputy.act("crm_whoami", {}, user="carol")
        [grant] = await deputy.vault.list_grants(User("carol"))
        again = await deputy.refresher.get_live(grant, failed=grant.access_token)
        assert again.access_token != grant.access_token
        assert (await deputy.act("crm_whoami", {}, user="carol"))["sub"] == "carol"


async def test_replayed_assertion_is_refused(company: OidcProvider, server: Crm) -> None:
    async with through_the_company(company, server) as (deputy, _):
        kept: list[Secret] = []
        wires = [Endpoint(deputy.http, deputy.providers[app.provider], app) for app in deputy.apps.values()]
        there, at_company = wires

        class Replayed(Endpoint):
            async def issue(self, request: Any, parse: Any, proof_key: Any = None) -> Any:
                kept.append(await at_company.issue(request, parse, proof_key) if not kept else kept[0])
                return kept[0]

        source, subject = server.app().source, Secret(await session(company, "dora"))
        assert isinstance(source, IdentityAssertion)
        replayed = Replayed(deputy.http, at_company.provider, at_company.app)
        assert await assertion.request_tokens(there, replayed, source, subject, frozenset({READ}))
        with pytest.raises(Refusal):
            await assertion.request_tokens(there, replayed, source, subject, frozenset({READ}))
        assert len(kept) == 2


@pytest.mark.parametrize(
    "changed", [{"audience": "https://elsewhere.test/"}, {"resource": "https://elsewhere.test/mcp"}]
)
async def test_foreign_assertion_grants_nothing(company: OidcProvider, server: Crm, changed: dict[str, str]) -> None:
    async with through_the_company(company, server, **changed) as (deputy, sessions):
        sessions["erin"] = await session(company, "erin")
        with pytest.raises(ConsentRequired):
            await deputy.act("crm_whoami", {}, user="erin")
        assert await deputy.vault.list_grants(User("erin")) == []


async def test_session_of_bob_for_alice_is_refused(company: OidcProvider, server: Crm) -> None:
    async with through_the_company(company, server) as (deputy, sessions):
        sessions["alice"] = await session(company, "bob")
        with pytest.raises(InvalidInput, match="not verifiably this user's"):
            await deputy.act("crm_whoami", {}, user="alice")
