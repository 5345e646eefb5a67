"""Provider definitions as the engine applies them: kept fields, scopes from elsewhere, and each revocation style."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest

from deputize.core import (
    PROVIDERS,
    App,
    Consent,
    DeputizeError,
    Deputy,
    Provider,
    Request,
    Secret,
    SettingsError,
    Steps,
    Toolkit,
    User,
    allow_all,
    any_of,
)
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from tests.support.provider_fields import with_fields

ACME, OTHER = "https://acme.my.salesforce.com", "https://other.my.salesforce.com"
ALICE = User("alice")
Answer = Callable[[dict[str, str]], Any]

salesforce = Toolkit("salesforce", provider="salesforce")
github_app = Toolkit("github_app", provider="github_app", api="github")


@salesforce.tool(needs=[any_of("api", "full")])
def limits() -> Steps:
    """What is left of the day's calls?"""
    return (yield Request("GET", "/data/v68.0/limits"))


@github_app.tool(needs=[any_of("issues:read", "issues:write")])
def issues() -> Steps:
    """Which issues are there?"""
    return (yield Request("GET", "/issues"))


class Line(httpx.AsyncBaseTransport):
    """Providers made of a few responses, by method and address without its query. A list is used one at a time."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.sent = answers, list[httpx.Request]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        answer = self.answers.get(f"{request.method} {str(request.url).partition('?')[0]}", (404, {}))
        if isinstance(answer, list):
            answer = answer.pop(0)
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return httpx.Response(status, content=b"" if body is None else json.dumps(body).encode())

    def to(self, address: str) -> list[httpx.Request]:
        return [one for one in self.sent if str(one.url).startswith(address)]


class Clock:
    now = 1_795_528_800.0

    def __call__(self) -> float:
        return self.now


async def built(
    line: Line, provider: Provider, clock: Clock | None = None, pages: str = "https://deputize.example.test"
) -> Deputy:
    """Return a deputy with one app at one provider."""
    return Deputy(
        await Vault.open(open_store("memory:", create=True), [bytes(range(32))]),
        [App(provider.name, "id", Secret("s"))],
        pages=pages,
        policy=allow_all,
        providers={provider.name: provider},
        toolkits=[salesforce, github_app],
        transport=line,
        clock=clock or Clock(),
    )


async def visited(deputy: Deputy, consent: Consent) -> Consent:
    """Return the consent after a person has allowed access at the provider, whose page is not simulated."""
    started = await deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser())
    state = parse_qs(urlsplit(started.url).query)["state"][0]
    await deputy.consents.finish(consent.app, {"code": "c", "state": state}, AnyLocalUser(), started.nonce.reveal())
    ended = await deputy.consents.status(consent.id)
    assert ended is not None
    return ended


async def connected(deputy: Deputy, provider: str, *scopes: str) -> Consent:
    [consent] = await deputy.connect("alice", provider, scopes=scopes)
    return await visited(deputy, consent)


# ------------------------------------------------------------- Salesforce: an API root of the grant's own

LOGIN = "https://login.salesforce.com/services/oauth2"
SOLD: dict[str, Any] = {
    "access_token": "00D-first",
    "refresh_token": "5Aep",
    "token_type": "Bearer",
    "scope": "api refresh_token openid",
    "instance_url": ACME,
}
WHO = {"organization_id": "00D1", "user_id": "0051", "preferred_username": "alice@example.test"}


def selling(**more: Any) -> Line:
    return Line(
        {
            f"POST {LOGIN}/token": [SOLD, *({**SOLD, "access_token": f"00D-{n}"} | more for n in range(3))],
            f"GET {LOGIN}/userinfo": WHO,
            f"GET {ACME}/services/data/v68.0/limits": {"whose": "acme"},
            f"GET {OTHER}/services/data/v68.0/limits": {"whose": "other"},
            f"POST {LOGIN}/revoke": {},
        }
    )


async def test_act_goes_to_the_instance_from_the_token_reply() -> None:
    line = selling()
    async with await built(line, PROVIDERS["salesforce"]) as deputy:
        assert (await connected(deputy, "salesforce", "api")).status == "granted"
        assert await deputy.act("salesforce_limits", {}, user="alice") == {"whose": "acme"}
        [grant] = await deputy.vault.list_grants(ALICE)
        assert grant.extra == {"instance_url": ACME} and grant.account.subject == "00D1:0051"
        assert grant.expires_at == Clock.now + 7200


async def test_act_follows_an_instance_changed_by_a_refresh() -> None:
    line, clock = selling(instance_url=OTHER), Clock()
    async with await built(line, PROVIDERS["salesforce"], clock) as deputy:
        await connected(deputy, "salesforce", "api")
        clock.now += 7200
        assert await deputy.act("salesforce_limits", {}, user="alice") == {"whose": "other"}
        assert {one.headers["authorization"] for one in line.to(OTHER)} == {"Bearer 00D-0"} and line.to(ACME) == []


@pytest.mark.parametrize(
    "place", ["https://evil.test", "http://acme.my.salesforce.com", "https://acme.salesforce.com.evil.test"]
)
async def test_D1_grant_for_a_foreign_instance_is_not_stored(place: str) -> None:
    line = selling()
    line.answers[f"POST {LOGIN}/token"] = SOLD | {"instance_url": place}
    async with await built(line, PROVIDERS["salesforce"]) as deputy:
        assert (await connected(deputy, "salesforce", "api")).status == "failed"
        assert await deputy.vault.list_grants(ALICE) == [] and line.to(place) == []


async def test_D1_refresh_naming_a_foreign_instance_sends_no_token_there() -> None:
    line, clock = selling(instance_url="https://evil.test"), Clock()
    async with await built(line, PROVIDERS["salesforce"], clock) as deputy:
        await connected(deputy, "salesforce", "api")
        clock.now += 7200
        with pytest.raises(DeputizeError):
            await deputy.act("salesforce_limits", {}, user="alice")
        assert line.to("https://evil.test") == []


async def test_salesforce_revocation_sends_the_refresh_token() -> None:
    line = selling()
    async with await built(line, PROVIDERS["salesforce"]) as deputy:
        await connected(deputy, "salesforce", "api")
        assert [one.upstream for one in await deputy.revoke("alice", "salesforce")] == ["done"]
        [told] = line.to(f"{LOGIN}/revoke")
        assert dict(parse_qsl(told.content.decode()))["token"] == "5Aep"


# ------------------------------------------------------------- GitHub Apps: rights of the installation

API = "https://api.github.com"
GIVEN = {"access_token": "ghu", "token_type": "bearer", "scope": "", "expires_in": 28800, "refresh_token": "ghr"}


def hub(**rights: str) -> Line:
    return Line(
        {
            "POST https://github.com/login/oauth/access_token": [GIVEN, GIVEN | {"access_token": "ghu2"}],
            f"GET {API}/user": {"id": 7, "login": "alice"},
            f"GET {API}/user/installations": {"total_count": 1, "installations": [{"permissions": rights}]},
            f"GET {API}/issues": [{"title": "One"}],
            f"DELETE {API}/applications/id/grant": (204, None),
        }
    )


async def test_github_app_permissions_come_from_installations_and_survive_refresh() -> None:
    line, clock = hub(issues="write", metadata="read"), Clock()
    async with await built(line, PROVIDERS["github_app"], clock) as deputy:
        assert (await connected(deputy, "github_app", "issues:read")).status == "granted"
        [held] = await deputy.connections("alice")
        assert held.scopes == ("issues:write", "metadata:read")
        line.answers[f"GET {API}/issues"] = [[{"title": "One"}], [{"title": "Two"}]]
        assert await deputy.act("github_app_issues", {}, user="alice") == [{"title": "One"}]
        clock.now += 28800
        assert await deputy.act("github_app_issues", {}, user="alice") == [{"title": "Two"}]
        assert (await deputy.connections("alice"))[0].scopes == ("issues:write", "metadata:read")


def paged(*pages: int) -> list[dict[str, object]]:
    """Return pages of this many installations; the last one has a permission that no other has."""
    rows = [[{"permissions": {"metadata": "read"}} for _ in range(count)] for count in pages]
    rows[-1][-1:] = [{"permissions": {"issues": "write"}}] if pages[-1] else []
    return [{"total_count": sum(pages), "installations": row} for row in rows]


@pytest.mark.parametrize(("pages", "asked"), [((100, 3), 2), ((100, 100, 1), 3), ((100, 100, 0), 3), ((99,), 1)])
async def test_permissions_are_read_from_more_than_a_hundred_installations(pages: tuple[int, ...], asked: int) -> None:
    line = hub()
    line.answers[f"GET {API}/user/installations"] = paged(*pages)
    async with await built(line, PROVIDERS["github_app"]) as deputy:
        ended = await connected(deputy, "github_app", "issues:write")
        assert ended.status == ("granted" if pages[-1] else "partial")
        numbers = [dict(parse_qsl(one.url.query.decode())).get("page") for one in line.to(f"{API}/user/installations")]
        assert numbers == [None, "2", "3"][:asked]


async def test_installations_are_read_up_to_ten_thousand() -> None:
    line = hub()
    line.answers[f"GET {API}/user/installations"] = paged(*(100,) * 120)
    async with await built(line, PROVIDERS["github_app"]) as deputy:
        assert (await connected(deputy, "github_app", "metadata:read")).status == "granted"
        assert len(line.to(f"{API}/user/installations")) == 100


async def test_permission_without_installation_makes_the_consent_partial() -> None:
    async with await built(hub(metadata="read"), PROVIDERS["github_app"]) as deputy:
        ended = await connected(deputy, "github_app", "issues:write")
        assert ended.status == "partial"


@pytest.mark.parametrize("pages", [[], [100]], ids=["the first page", "a later page"])
async def test_grant_is_not_stored_when_its_permissions_cannot_be_read(pages: list[int]) -> None:
    line = hub()
    line.answers[f"GET {API}/user/installations"] = [*(paged(*pages) if pages else []), (503, None)]
    async with await built(line, PROVIDERS["github_app"]) as deputy:
        assert (await connected(deputy, "github_app", "issues:read")).status == "failed"
        assert await deputy.vault.list_grants(ALICE) == [] and len(line.to(f"{API}/applications")) == 1


# ------------------------------------------------------------- how tokens end


async def test_R30_github_revocation_sends_the_access_token_with_app_authentication() -> None:
    line = hub(issues="read")
    async with await built(line, PROVIDERS["github_app"]) as deputy:
        await connected(deputy, "github_app", "issues:read")
        assert [one.upstream for one in await deputy.revoke("alice", "github_app")] == ["done"]
        [told] = line.to(f"{API}/applications/id/grant")
        assert json.loads(told.content) == {"access_token": "ghu"} and told.headers["authorization"].startswith(
            "Basic "
        )


async def test_R30_expired_access_token_is_refreshed_and_then_revoked() -> None:
    line, clock = hub(issues="read"), Clock()
    line.answers[f"DELETE {API}/applications/id/grant"] = [(503, None), (204, None)]
    async with await built(line, PROVIDERS["github_app"], clock) as deputy:
        await connected(deputy, "github_app", "issues:read")
        clock.now += 30000
        assert [one.upstream for one in await deputy.revoke("alice", "github_app")] == ["queued"]
        [owed] = await deputy.vault.scan("outbox")
        assert owed.json["token"] == Secret("ghu2")
        assert await deputy.revocation_queue.retry() == ["done"]
        told = [json.loads(one.content)["access_token"] for one in line.to(f"{API}/applications")]
        assert told == ["ghu2", "ghu2"] and await deputy.vault.scan("outbox") == []
        assert len(line.to("https://github.com/login/oauth/access_token")) == 2


async def test_R30_dead_refresh_token_leaves_nothing_to_revoke() -> None:
    line, clock = hub(issues="read"), Clock()
    line.answers["POST https://github.com/login/oauth/access_token"][1] = {"error": "bad_refresh_token"}
    async with await built(line, PROVIDERS["github_app"], clock) as deputy:
        await connected(deputy, "github_app", "issues:read")
        clock.now += 30000
        assert [one.upstream for one in await deputy.revoke("alice", "github_app")] == ["done"]
        assert line.to(f"{API}/applications") == [] and await deputy.vault.scan("outbox") == []


# ------------------------------------------------------------- what a reply grants that does not say

NAMELESS = {"access_token": "at", "token_type": "bearer"}


@pytest.mark.parametrize(("absent", "status"), [("requested", "granted"), ("empty", "partial")])
async def test_A13_reply_without_scopes_grants_what_the_provider_definition_says(absent: Any, status: str) -> None:
    line = hub()
    line.answers["POST https://github.com/login/oauth/access_token"] = NAMELESS
    row = with_fields(PROVIDERS["github"], absent_scope=absent)
    async with await built(line, row) as deputy:
        assert (await connected(deputy, "github", "repo")).status == status


@pytest.mark.parametrize("granted", ["repo", "repo,public_repo"])
async def test_A13_narrow_scope_covered_by_a_granted_one_is_not_missing(granted: str) -> None:
    line = hub()
    line.answers["POST https://github.com/login/oauth/access_token"] = NAMELESS | {"scope": granted}
    async with await built(line, PROVIDERS["github"]) as deputy:
        assert (await connected(deputy, "github", "repo", "public_repo")).status == "granted"


async def test_refresh_without_scopes_keeps_them() -> None:
    line, clock = hub(), Clock()
    line.answers["POST https://github.com/login/oauth/access_token"] = [GIVEN | {"scope": "repo"}, GIVEN]
    async with await built(line, PROVIDERS["github"], clock) as deputy:
        await connected(deputy, "github", "repo")
        clock.now += 28800
        [grant] = await deputy.vault.list_grants(ALICE)
        assert (await deputy.refresher.get_live(grant)).scopes == {"repo"}


async def test_A7_slack_loopback_without_pkce_is_refused_before_the_user_leaves() -> None:
    line = Line({})
    async with await built(line, PROVIDERS["slack"], pages="http://127.0.0.1:8736") as deputy:
        [consent] = await deputy.connect("alice", "slack", scopes=["users:read"])
        with pytest.raises(SettingsError) as refused:
            await deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser())
        assert "https" in refused.value.hint and line.sent == []
