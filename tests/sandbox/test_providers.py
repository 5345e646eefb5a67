"""Every simulated provider through a whole deputy, and the quirks of each one's tokens."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from deputize.core import Consent
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.vault.grant import Grant
from deputize.sandbox import Browser, Sandbox, Switches, github
from deputize.sandbox.accounts import account_of
from tests.sandbox.connected_users import SCOPES, Visitor, client_of, plain_slack, visitor
from tests.sandbox.registered_app import ALICE, BOB, Clock

TOKEN = {
    "slack": "https://slack.com/api/oauth.v2.access",
    "github": "https://github.com/login/oauth/access_token",
    "github_app": "https://github.com/login/oauth/access_token",
    "linear": "https://api.linear.app/oauth/token",
    "salesforce": "https://login.salesforce.com/services/oauth2/token",
}
ROTATING = ("slack", "github", "github_app", "linear", "salesforce")
DEAD = {
    "slack": (200, "invalid_refresh_token"),
    "github": (200, "bad_refresh_token"),
    "github_app": (200, "bad_refresh_token"),
    "linear": (400, "invalid_grant"),
    "salesforce": (400, "invalid_grant"),
}


@pytest.fixture
async def people(sandbox: Sandbox) -> AsyncIterator[Visitor]:
    """Users of a deputy over the sandbox."""
    async with visitor(sandbox) as one:
        yield one


async def refresh(people: Visitor, provider: str, secret: str, **more: str) -> httpx.Response:
    form = {"grant_type": "refresh_token", "refresh_token": secret, **client_of(provider), **more}
    async with httpx.AsyncClient(transport=people.sandbox.transport()) as http:
        return await http.post(TOKEN[provider], data=form, headers={"accept": "application/json"})


def of_refresh(grant: Grant) -> str:
    """Return the refresh token, which must be present."""
    assert grant.refresh_token is not None
    return grant.refresh_token.reveal()


async def whose(people: Visitor, provider: str, grant: Grant) -> Any:
    """Return the provider's answer about the grant's access token; the status if it is refused."""
    places = {
        "slack": ("POST", "https://slack.com/api/auth.test", {}),
        "github": ("GET", "https://api.github.com/user", {}),
        "github_app": ("GET", "https://api.github.com/user", {}),
        "linear": ("POST", "https://api.linear.app/graphql", {"json": {"query": "{viewer{email}}"}}),
        "salesforce": ("GET", "https://login.salesforce.com/services/oauth2/userinfo", {}),
    }
    method, url, how = places[provider]
    reply = await people.call(method, url, grant, **how)
    return reply.json() if reply.status_code == 200 and reply.json().get("ok", True) else None


@pytest.mark.parametrize("provider", SCOPES)
async def test_alice_and_bob_connect_each_as_themselves(people: Visitor, provider: str) -> None:
    for user in ("alice", "bob"):
        assert await people.connect(provider, user=user) == "granted"
        held = await people.grant(provider, user)
        assert held.account == account_of(provider, f"{user}@example.test")
        assert set(SCOPES[provider]) <= held.scopes


@pytest.mark.parametrize("provider", SCOPES)
async def test_denial_ends_the_consent_without_tokens(people: Visitor, provider: str) -> None:
    assert await people.connect(provider, deny=True) == "denied"
    assert people.sandbox.live_tokens()[ALICE] == 0


@pytest.mark.parametrize("provider", SCOPES)
async def test_switches_deny_and_swap_accounts_at_every_provider(people: Visitor, provider: str) -> None:
    people.sandbox.switches.deny = True
    assert await people.connect(provider) == "denied"
    people.sandbox.switches.deny, people.sandbox.switches.swap_account = False, BOB
    assert await people.connect(provider, user="carol", as_=ALICE) == "granted"
    assert (await people.grant(provider, "carol")).account == account_of(provider, BOB)


@pytest.mark.parametrize("provider", SCOPES)
async def test_disconnect_ends_every_token_at_the_provider(people: Visitor, provider: str) -> None:
    await people.connect(provider)
    await people.connect(provider, user="bob")
    (gone,) = await people.deputy.revoke("alice", provider)
    assert gone.upstream == "done"
    assert people.sandbox.live_tokens()[ALICE] == 0 and people.sandbox.live_tokens()[BOB] > 0


@pytest.mark.parametrize("provider", TOKEN)
async def test_consent_page_lists_the_scopes_without_boxes_to_untick(people: Visitor, provider: str) -> None:
    (asked,) = await people.deputy.connect("alice", provider, scopes=SCOPES[provider])
    page = await Browser(people.sandbox.transport()).open(await authorize_url(people, asked))
    (form,) = page.forms
    assert "Sandbox &ndash; not " in page.text and form.offers("scope") == []
    assert form.offers("account") == sorted(person.email for person in people.sandbox.people)
    assert form.offers("decision") == ["deny", "allow"] and SCOPES[provider][-1] in page.text


async def authorize_url(people: Visitor, asked: Consent) -> str:
    """Return where the connect page leads."""
    return (await people.deputy.consents.start(asked.link.rpartition("/")[2], AnyLocalUser())).url


@pytest.mark.parametrize("provider", TOKEN)
@pytest.mark.parametrize("change", ["client_id", "redirect_uri", "code_challenge"])
async def test_bad_request_ends_on_an_error_page_without_redirect(people: Visitor, provider: str, change: str) -> None:
    (asked,) = await people.deputy.connect("alice", provider, scopes=SCOPES[provider])
    url = httpx.URL(await authorize_url(people, asked)).copy_set_param(change, "wrong")
    page = await Browser(people.sandbox.transport()).open(str(url))
    assert page.status == 400 and page.forms == ()


@pytest.mark.parametrize("provider", ROTATING)
async def test_rotated_refresh_token_ends_immediately(people: Visitor, provider: str) -> None:
    people.sandbox.switches.rotate = True
    await people.connect(provider)
    first = of_refresh(await people.grant(provider))
    assert (await refresh(people, provider, first)).json()["refresh_token"] != first
    again = await refresh(people, provider, first)
    assert (again.status_code, again.json()["error"]) == DEAD[provider]


@pytest.mark.parametrize("provider", ROTATING)
async def test_switches_give_grace_or_end_the_family_on_reuse(people: Visitor, clock: Clock, provider: str) -> None:
    switches = people.sandbox.switches
    switches.rotate, switches.grace, switches.reuse_kills_family = True, 30, True
    await people.connect(provider)
    first = of_refresh(await people.grant(provider))
    for _ in range(2):
        assert "access_token" in (await refresh(people, provider, first)).json()
    clock.now += 31
    assert "error" in (await refresh(people, provider, first)).json()
    assert people.sandbox.live_tokens()[ALICE] == 0


@pytest.mark.parametrize("provider", ["github", "github_app"])
async def test_github_refresh_ends_the_old_access_token(people: Visitor, provider: str) -> None:
    people.sandbox.switches.rotate = True
    await people.connect(provider)
    before = await people.grant(provider)
    assert await whose(people, provider, before)
    await refresh(people, provider, of_refresh(before))
    assert await whose(people, provider, before) is None


@pytest.mark.parametrize("provider", ["slack", "linear", "salesforce"])
async def test_refresh_elsewhere_keeps_the_old_access_token(people: Visitor, provider: str) -> None:
    people.sandbox.switches.rotate = True
    await people.connect(provider)
    before = await people.grant(provider)
    await refresh(people, provider, of_refresh(before))
    assert await whose(people, provider, before)


@pytest.mark.parametrize(
    ("provider", "rotate", "lives", "refreshable"),
    [
        ("slack", False, 0, False),
        ("slack", True, 43200, True),
        ("github", False, 0, False),
        ("github", True, 28800, True),
        ("github_app", False, 28800, True),
        ("linear", False, 86399, True),
        ("salesforce", False, 7200, True),
    ],
)
async def test_token_lifetimes_match_the_providers(
    people: Visitor, clock: Clock, provider: str, rotate: bool, lives: float, refreshable: bool
) -> None:
    people.sandbox.switches.rotate = rotate
    await people.connect(provider)
    held = await people.grant(provider)
    assert (held.expires_at - held.obtained_at if held.expires_at else 0) == lives
    assert (held.refresh_token is not None) is refreshable
    clock.now += 86400
    assert bool(await whose(people, provider, held)) is (lives == 0)


async def test_salesforce_without_rotation_keeps_the_refresh_token(people: Visitor) -> None:
    await people.connect("salesforce")
    body = (await refresh(people, "salesforce", of_refresh(await people.grant("salesforce")))).json()
    assert "refresh_token" not in body and "expires_in" not in body
    assert body["instance_url"] == "https://acme.my.salesforce.com" and body["issued_at"].endswith("000")


async def test_slack_nests_the_users_token_and_flattens_it_after_refresh(people: Visitor, sandbox: Sandbox) -> None:
    sandbox.switches.rotate = True
    await people.connect("slack")
    body = (await refresh(people, "slack", of_refresh(await people.grant("slack")))).json()
    assert body["access_token"].startswith("xoxe.xoxp-") and body["refresh_token"].startswith("xoxe-1-")
    assert body["token_type"] == "user" and "authed_user" not in body


async def test_slack_app_without_pkce_needs_its_secret_and_https_redirects(sandbox: Sandbox) -> None:
    async with visitor(sandbox, plain_slack(), pages="https://deputy.example.test") as people:
        (asked,) = await people.deputy.connect("alice", "slack", scopes=SCOPES["slack"])
        assert "code_challenge" not in await authorize_url(people, asked)
        assert await people.visit(asked, as_=ALICE) == "granted"


async def test_github_answers_in_a_form_unless_json_is_requested(people: Visitor) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "ghr_x", **client_of("github")}
    async with httpx.AsyncClient(transport=people.sandbox.transport()) as http:
        reply = await http.post(TOKEN["github"], data=form)
    assert reply.status_code == 200 and parse_qs(reply.text)["error"] == ["bad_refresh_token"]
    assert reply.headers["content-type"].startswith("application/x-www-form-urlencoded")


async def test_github_app_can_check_and_end_its_own_tokens_only(people: Visitor) -> None:
    await people.connect("github")
    token = {"access_token": (await people.grant("github")).access_token.reveal()}
    place = f"https://api.github.com/applications/{github.GITHUB_CLIENT_ID}/token"
    auth = (github.GITHUB_CLIENT_ID, github.GITHUB_CLIENT_SECRET)
    async with httpx.AsyncClient(transport=people.sandbox.transport()) as http:
        about = (await http.post(place, json=token, auth=auth)).json()
        assert about["scopes"] == ["repo"] and about["user"]["login"] == "alice" and about["expires_at"] is None
        assert (await http.request("DELETE", place, json=token, auth=(auth[0], "wrong"))).status_code == 401
        other = place.replace(github.GITHUB_CLIENT_ID, github.GITHUB_APP_CLIENT_ID)
        others = (github.GITHUB_APP_CLIENT_ID, github.GITHUB_APP_CLIENT_SECRET)
        assert (await http.request("DELETE", other, json=token, auth=others)).status_code == 404
        assert (await http.request("DELETE", place, json=token, auth=auth)).status_code == 204
        assert (await http.request("DELETE", place, json=token, auth=auth)).status_code == 404
        assert (await http.request("DELETE", place, json={}, auth=auth)).status_code == 422


@pytest.mark.parametrize("provider", TOKEN)
async def test_wrong_secret_is_an_error_without_a_token(people: Visitor, provider: str) -> None:
    reply = await refresh(people, provider, "x", client_secret="wrong")
    assert "access_token" not in reply.json() and "client" in reply.json()["error"]


@pytest.mark.parametrize("provider", TOKEN)
@pytest.mark.parametrize("other", [*TOKEN, "google"])
async def test_token_of_one_provider_is_refused_at_another(people: Visitor, provider: str, other: str) -> None:
    if provider.removesuffix("_app") == other.removesuffix("_app"):
        return
    await people.connect(other)
    assert await whose(people, provider, await people.grant(other)) is None


async def test_lost_token_reply_was_committed(people: Visitor) -> None:
    await people.connect("linear")
    first = of_refresh(await people.grant("linear"))
    people.sandbox.switches.lose_token_reply = 1
    with pytest.raises(httpx.ReadError):
        await refresh(people, "linear", first)
    assert (await refresh(people, "linear", first)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("provider", SCOPES)
def test_granted_tokens_equal_consented_ones(sandbox: Sandbox, provider: str) -> None:
    reply = sandbox.give(provider, ALICE, SCOPES[provider])
    assert set(SCOPES[provider]) <= set(reply["scope"].split()) and reply["app"]
    assert sandbox.live_tokens()[ALICE] == (2 if reply["refresh_token"] else 1)


def test_grant_for_an_unknown_person_or_provider_is_refused(sandbox: Sandbox) -> None:
    for provider, email in (("slack", "eve@example.test"), ("myspace", ALICE)):
        with pytest.raises(LookupError):
            sandbox.give(provider, email, ["x"])


def test_state_file_keeps_workspaces_and_no_secret(tmp_path: Any, clock: Clock) -> None:
    state = tmp_path / "sandbox.json"
    before = Sandbox(state=state, clock=clock, switches=Switches(rotate=True))
    reply = before.give("slack", ALICE, ["chat:write"])
    body = {"channel": "C0ENG000001", "text": "kept"}
    headers = {"authorization": f"Bearer {reply['access_token']}"}

    async def post(sandbox: Sandbox) -> Any:
        async with httpx.AsyncClient(transport=sandbox.transport()) as http:
            return (await http.post("https://slack.com/api/chat.postMessage", json=body, headers=headers)).json()

    assert asyncio.run(post(before))["ok"]
    after = Sandbox(state=state, clock=clock)
    assert after.service("slack") == before.service("slack") and asyncio.run(post(after))["ok"]
    content = state.read_text()
    for secret in (reply["access_token"], reply["refresh_token"]):
        assert secret not in content and base64.b64encode(secret.encode()).decode() not in content
