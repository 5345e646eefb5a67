"""GitHub at a company's own host beside github.com: two providers for one toolkit, each with its own token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from deputize.core import ConsentRequired, Deputy, Request, Steps, Toolkit, User, allow_all, any_of
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.settings import Settings
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault

SITES = {"github.com": "https://api.github.com", "github.example.com": "https://github.example.com/api/v3"}
ROBOT = "acme.ghe.com"

hub = Toolkit("hub", provider="github", api="github")


@hub.tool(needs=[any_of("repo", at={"github_app": ("issues:read", "issues:write")})])
def issues() -> Steps:
    """Which issues are there?"""
    return [one["title"] for one in (yield Request("GET", "/issues"))]


class Sites(httpx.AsyncBaseTransport):
    """GitHub at three hosts. Each issues its own tokens and accepts no others."""

    def __init__(self) -> None:
        self.foreign: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host, path = request.url.host, request.url.path
        site = host.removeprefix("api.")
        if path == "/login/oauth/access_token":
            scope = "" if site == ROBOT else "repo"
            return httpx.Response(
                200, json={"access_token": f"token-of-{site}", "token_type": "bearer", "scope": scope}
            )
        if request.headers.get("authorization") != f"Bearer token-of-{site}":
            self.foreign.append(f"{host}{path}")
            return httpx.Response(401, json={"message": "Bad credentials"})
        if path.endswith("/user"):
            return httpx.Response(200, json={"id": 7, "login": "alice"})
        if path.endswith("/user/installations"):
            return httpx.Response(200, json={"installations": [{"permissions": {"issues": "write"}}]})
        return httpx.Response(200, json=[{"title": f"At {site}"}])


@pytest.fixture
def sites() -> Sites:
    return Sites()


@pytest.fixture
async def deputy(sites: Sites) -> AsyncIterator[Deputy]:
    """One app at github.com, one at a company's server, one GitHub App at another company's."""
    said = Settings.load(
        apps={
            "github": {"client_id": "a", "client_secret": "s"},
            "work": {"client_id": "b", "client_secret": "s", "provider": "github", "host": "github.example.com"},
            "robot": {"client_id": "c", "client_secret": "s", "provider": "github_app", "host": ROBOT},
        }
    )
    vault = await Vault.open(MemoryStore(), [b"keys-of-the-test" * 2])
    async with Deputy(
        vault,
        said.all_apps(),
        pages="https://deputize.example.test",
        providers=said.all_providers(),
        policy=allow_all,
        toolkits=[hub],
        transport=sites,
    ) as deputy:
        yield deputy


async def connected(deputy: Deputy, app: str) -> str:
    """Allow access as Alice, at the host where she was asked."""
    (asked,) = await deputy.connect("alice", tools=["hub_issues"], app=app)
    started = await deputy.consents.start(asked.link.rpartition("/")[2], AnyLocalUser())
    state = parse_qs(urlsplit(started.url).query)["state"][0]
    await deputy.consents.finish(app, {"code": "c", "state": state}, AnyLocalUser(), started.nonce.reveal())
    ended = await deputy.consents.status(asked.id)
    assert ended and ended.status == "granted", ended
    return str(urlsplit(started.url).hostname)


async def acted(deputy: Deputy, **more: Any) -> list[str]:
    found: list[str] = await deputy.act("hub_issues", {}, user="alice", **more)
    return found


async def test_toolkit_is_used_at_each_host_with_that_hosts_token(deputy: Deputy, sites: Sites) -> None:
    assert [await connected(deputy, app) for app in ("github", "work", "robot")] == [*SITES, ROBOT]
    assert await acted(deputy) == ["At github.com"]
    assert await acted(deputy, app="work") == ["At github.example.com"]
    assert await acted(deputy, app="robot") == [f"At {ROBOT}"]
    assert sites.foreign == []
    grants = await deputy.vault.list_grants(User("alice"))
    assert {grant.app: grant.provider for grant in grants} == {"github": "github", "work": "work", "robot": "robot"}


async def test_company_app_uses_the_scopes_of_its_base_provider(deputy: Deputy) -> None:
    (asked,) = await deputy.connect("alice", tools=["hub_issues"], app="robot")
    assert (asked.provider, asked.scopes) == ("robot", ("issues:read",))
    assert asked.scope_descriptions == ("see issues, where the app is installed",)


async def test_accounts_of_one_name_at_two_hosts_are_distinct(deputy: Deputy) -> None:
    for app in ("github", "work"):
        await connected(deputy, app)
    await deputy.set_default_account("alice", "github", "alice", app="work")
    assert await acted(deputy) == ["At github.example.com"]
    await deputy.set_default_account("alice", "work", "alice")
    assert {one.app: one.default for one in await deputy.connections("alice")} == {"github": False, "work": True}
    await deputy.revoke("alice", "work")
    assert await acted(deputy) == ["At github.com"]


async def test_disconnect_at_one_host_keeps_the_other(deputy: Deputy) -> None:
    for app in ("github", "work"):
        await connected(deputy, app)
    await deputy.revoke("alice", "github")
    assert await acted(deputy, app="work") == ["At github.example.com"]
    with pytest.raises(ConsentRequired):
        await acted(deputy)
