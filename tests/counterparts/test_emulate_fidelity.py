"""What emulate's Google does and does not do, and what the strict transport and Google's own documents add.

The tests of emulate alone pin the laxness of this version: when one fails after an upgrade, emulate has improved and
the strict transport can be thinned.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import anyio
import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.support.counterparts import require_emulate
from tests.support.discovery import (
    BadBody,
    BadQuery,
    Discovery,
    MissingScope,
    NoSuchMethod,
    SpecificationError,
)
from tests.support.emulate import BOBS_SECRET, Emulate, Production, oauth_client
from tests.support.strict_emulate import (
    StrictTransport,
    answered,
    consent_click,
    forms,
    lost_after_acting,
    lost_before_sending,
)

pytestmark = pytest.mark.counterpart

ALICE, BOB, DECOY = "alice@example.test", "bob@example.test", "decoy@example.test"
CONSENT, TOKEN = "https://accounts.google.com/o/oauth2/v2/auth", "https://oauth2.googleapis.com/token"
REVOKE, USERINFO = "https://oauth2.googleapis.com/revoke", "https://openidconnect.googleapis.com/v1/userinfo"
GMAIL = "https://gmail.googleapis.com/gmail/v1/users/me"
EVENTS = "https://www.googleapis.com/calendar/v3/calendars/primary/events"
SCOPE = "https://www.googleapis.com/auth/"
REDIRECT = "http://127.0.0.1:8765/callback/google"
VERIFIER, WRONG_VERIFIER = "v" * 43, "w" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
MAIL = {"raw": base64.urlsafe_b64encode(b"To: bob@example.test\r\nSubject: once\r\n\r\nhello").decode()}


@pytest.fixture
def bare(emulate_google: Emulate) -> Production:
    emulate_google.reset()
    return Production(emulate_google.urls)


@pytest.fixture(params=["bare", "strict"])
def either(request: pytest.FixtureRequest, bare: Production, strict_google: StrictTransport) -> Production:
    return bare if request.param == "bare" else strict_google


async def send(
    transport: httpx.AsyncBaseTransport, method: str, url: str, token: str = "", **how: Any
) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = await transport.handle_async_request(httpx.Request(method, url, headers=headers, **how))
    await answer.aread()
    return answer


def consent_url(**changed: str) -> str:
    asked = {
        "client_id": oauth_client("google").id,
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "scope": f"openid email {SCOPE}gmail.readonly",
        "state": "state-of-this-visit",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return f"{CONSENT}?{urlencode({k: v for k, v in {**asked, **changed}.items() if v})}"


async def callback(transport: httpx.AsyncBaseTransport, user: str = ALICE, **changed: str) -> dict[str, str]:
    location = await consent_click(transport, consent_url(**changed), user)
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


async def exchange(transport: httpx.AsyncBaseTransport, code: str, **changed: str) -> httpx.Response:
    client = oauth_client("google")
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT,
        "client_id": client.id,
        "client_secret": client.secret,
        "code_verifier": VERIFIER,
    }
    return await send(transport, "POST", TOKEN, data={k: v for k, v in {**form, **changed}.items() if v})


async def refresh(transport: httpx.AsyncBaseTransport, token: str) -> httpx.Response:
    client = oauth_client("google")
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client.id}
    return await send(transport, "POST", TOKEN, data={**form, "client_secret": client.secret})


async def login(transport: httpx.AsyncBaseTransport, user: str = ALICE, **changed: str) -> dict[str, Any]:
    reply = await exchange(transport, (await callback(transport, user, **changed))["code"])
    assert reply.status_code == 200
    return dict(reply.json())


async def owner(transport: httpx.AsyncBaseTransport, token: str) -> str:
    answer = await send(transport, "GET", USERINFO, token)
    assert answer.status_code == 200
    return str(answer.json()["email"])


# ---------------------------------------------------------------- emulate and the strict transport alike


async def test_consent_page_has_one_button_per_user_and_names_no_scope(either: Production) -> None:
    page = (await send(either, "GET", consent_url())).text
    buttons = {form.fields["email"]: form for form in forms(page)}
    assert {ALICE, BOB, DECOY} <= set(buttons)
    assert {form.action for form in buttons.values()} == {"/o/oauth2/v2/auth/callback"}
    assert "Deny" not in page
    assert not any("gmail.readonly" in word for form in forms(page) for word in form.words)


async def test_callback_has_code_and_state_without_issuer(either: Production) -> None:
    assert set(await callback(either)) == {"code", "state"}


async def test_grant_belongs_to_the_person_who_clicked(either: Production) -> None:
    for user in (ALICE, BOB):
        assert await owner(either, (await login(either, user))["access_token"]) == user


@pytest.mark.parametrize("verifier", [WRONG_VERIFIER, ""], ids=["wrong", "missing"])
async def test_code_needs_its_verifier(either: Production, verifier: str) -> None:
    refused = await exchange(either, (await callback(either))["code"], code_verifier=verifier)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


async def test_code_works_once(either: Production) -> None:
    code = (await callback(either))["code"]
    assert (await exchange(either, code)).status_code == 200
    again = await exchange(either, code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("changed", [{"client_secret": "wrong"}, {"client_id": "unknown"}], ids=["secret", "id"])
async def test_code_needs_its_client(either: Production, changed: dict[str, str]) -> None:
    refused = await exchange(either, (await callback(either))["code"], **changed)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


async def test_token_reply_has_refresh_token_one_hour_and_spaced_scopes(either: Production) -> None:
    reply = await login(either)
    assert (reply["token_type"], reply["expires_in"]) == ("Bearer", 3600)
    assert reply["scope"].split(" ") == ["openid", "email", f"{SCOPE}gmail.readonly"]
    assert reply["refresh_token"]


async def test_refresh_does_not_rotate(either: Production) -> None:
    first = await login(either)
    reply = await refresh(either, first["refresh_token"])
    assert reply.status_code == 200 and "refresh_token" not in reply.json()
    assert (await refresh(either, first["refresh_token"])).status_code == 200
    assert await owner(either, reply.json()["access_token"]) == ALICE


async def test_id_token_is_signed_with_a_published_key(either: Production) -> None:
    keys = KeySet.import_key_set((await send(either, "GET", "https://www.googleapis.com/oauth2/v3/certs")).json())
    token = jwt.decode((await login(either))["id_token"], keys, algorithms=["RS256"])
    assert (token.claims["email"], token.claims["aud"]) == (ALICE, oauth_client("google").id)


async def test_metadata_names_production_urls(either: Production) -> None:
    metadata = (await send(either, "GET", "https://accounts.google.com/.well-known/openid-configuration")).json()
    assert (metadata["issuer"], metadata["authorization_endpoint"]) == ("https://accounts.google.com", CONSENT)
    assert (metadata["token_endpoint"], metadata["userinfo_endpoint"]) == (TOKEN, USERINFO)
    assert "localhost" not in json.dumps(metadata)


async def test_alice_reads_her_mail_and_never_bobs(either: Production) -> None:
    token = (await login(either))["access_token"]
    listed = await send(either, "GET", f"{GMAIL}/messages", token)
    assert {"msg_alice_1", "msg_alice_2"} == {one["id"] for one in listed.json()["messages"]}
    for url in (f"{GMAIL}/messages/msg_bob_1", GMAIL.replace("/me", f"/{BOB}") + "/messages/msg_bob_1"):
        answer = await send(either, "GET", url, token)
        assert answer.status_code == 404 and BOBS_SECRET not in answer.text


async def test_bobs_secret_is_readable_by_bob(either: Production) -> None:
    token = (await login(either, BOB))["access_token"]
    assert BOBS_SECRET in json.dumps((await send(either, "GET", f"{GMAIL}/messages/msg_bob_1", token)).json())


async def test_list_pages_are_numbered(either: Production) -> None:
    token = (await login(either))["access_token"]
    first = (await send(either, "GET", f"{GMAIL}/messages", token, params={"maxResults": 1})).json()
    query = {"maxResults": 1, "pageToken": first["nextPageToken"]}
    second = (await send(either, "GET", f"{GMAIL}/messages", token, params=query)).json()
    assert first["nextPageToken"] == "1" and "nextPageToken" not in second
    assert first["messages"] != second["messages"]


async def test_draft_is_sent_once(either: Production) -> None:
    token = (await login(either, scope=f"{SCOPE}gmail.compose"))["access_token"]
    draft = (await send(either, "POST", f"{GMAIL}/drafts", token, json={"message": MAIL})).json()["id"]
    sent = [await send(either, "POST", f"{GMAIL}/drafts/send", token, json={"id": draft}) for _ in range(2)]
    assert [one.status_code for one in sent] == [200, 404]


async def test_event_is_deleted_once(either: Production) -> None:
    token = (await login(either, scope=f"{SCOPE}calendar.events"))["access_token"]
    deleted = [await send(either, "DELETE", f"{EVENTS}/evt_alice_1", token) for _ in range(2)]
    assert [one.status_code for one in deleted] == [204, 404]  # Google says 410


# ---------------------------------------------------------------- emulate alone: what it lets pass


async def test_bare_emulate_treats_an_unknown_token_as_the_first_user(bare: Production) -> None:
    assert await owner(bare, "rubbish") == DECOY
    listed = await send(bare, "GET", f"{GMAIL}/messages", "rubbish")
    assert listed.status_code == 200 and not listed.json().get("messages")


async def test_bare_emulate_treats_a_revoked_token_as_the_first_user(bare: Production) -> None:
    token = (await login(bare))["access_token"]
    assert (await send(bare, "POST", REVOKE, data={"token": token})).status_code == 200
    assert await owner(bare, token) == DECOY


async def test_bare_emulate_revokes_access_and_refresh_tokens_separately(bare: Production) -> None:
    reply = await login(bare)
    await send(bare, "POST", REVOKE, data={"token": reply["refresh_token"]})
    assert (await refresh(bare, reply["refresh_token"])).status_code == 400
    assert await owner(bare, reply["access_token"]) == ALICE


async def test_bare_emulate_checks_no_scope(bare: Production) -> None:
    token = (await login(bare, scope="openid"))["access_token"]
    assert (await send(bare, "POST", f"{GMAIL}/messages/send", token, json=MAIL)).status_code == 200


async def test_bare_emulate_accepts_missing_and_plain_pkce(bare: Production) -> None:
    without = await callback(bare, code_challenge="", code_challenge_method="")
    assert (await exchange(bare, without["code"], code_verifier="")).status_code == 200
    plain = await callback(bare, code_challenge=VERIFIER, code_challenge_method="plain")
    assert (await exchange(bare, plain["code"])).status_code == 200


async def test_bare_emulate_ignores_the_redirect_uri_at_the_exchange(bare: Production) -> None:
    code = (await callback(bare))["code"]
    assert (await exchange(bare, code, redirect_uri="https://elsewhere.example.test/")).status_code == 200


@pytest.mark.parametrize(
    ("redirect_uri", "status"),
    [
        (REDIRECT, 200),
        (f"{REDIRECT}?more=1", 200),
        (REDIRECT.replace("8765", "8766"), 400),
        (REDIRECT.replace("google", "other"), 400),
        (REDIRECT.replace("127.0.0.1", "localhost"), 400),
    ],
)
async def test_bare_emulate_compares_redirect_uris_by_origin_and_path(
    bare: Production, redirect_uri: str, status: int
) -> None:
    assert (await send(bare, "GET", consent_url(redirect_uri=redirect_uri))).status_code == status


async def test_bare_emulate_keeps_tokens_after_a_reset(bare: Production, emulate_google: Emulate) -> None:
    token = (await login(bare))["access_token"]
    await send(bare, "DELETE", f"{GMAIL}/messages/msg_alice_1", token)
    emulate_google.reset()
    assert (await send(bare, "GET", f"{GMAIL}/messages/msg_alice_1", token)).status_code == 200


async def test_bare_emulate_ignores_an_events_own_id(bare: Production) -> None:
    token = (await login(bare))["access_token"]
    moment = {"dateTime": "2026-03-10T09:00:00Z"}
    event = {"id": "ownid0000", "summary": "x", "start": moment, "end": moment}
    made = [(await send(bare, "POST", EVENTS, token, json=event)).json()["id"] for _ in range(2)]
    assert len({*made, "ownid0000"}) == 3  # Google answers the second with 409


async def test_bare_emulate_lacks_profile_and_event_get(bare: Production) -> None:
    token = (await login(bare))["access_token"]
    for url in (f"{GMAIL}/profile", f"{EVENTS}/evt_alice_1"):
        assert (await send(bare, "GET", url, token)).status_code == 404


async def test_redirect_uris_of_this_test_are_registered() -> None:
    require_emulate()
    own = "http://127.0.0.1:40123/callback/google"
    with Emulate("google", redirect_uris=[own]) as emulate:
        location = await consent_click(Production(emulate.urls), consent_url(redirect_uri=own), ALICE)
    assert location.startswith(f"{own}?")


# ---------------------------------------------------------------- the strict transport: what it refuses


async def test_strict_emulate_refuses_an_unknown_token(strict_google: StrictTransport) -> None:
    refused = await send(strict_google, "GET", USERINFO, "rubbish")
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["www-authenticate"] and DECOY not in refused.text


@pytest.mark.parametrize("header", ["Basic YWxpY2U6", "rubbish", "token rubbish"])
async def test_strict_emulate_accepts_bearer_tokens_only(strict_google: StrictTransport, header: str) -> None:
    request = httpx.Request("GET", USERINFO, headers={"authorization": header})
    assert (await strict_google.handle_async_request(request)).status_code == 401


async def test_strict_emulate_refuses_an_expired_token_until_refreshed(strict_google: StrictTransport) -> None:
    strict_google.access_ttl = 0
    reply = await login(strict_google)
    assert reply["expires_in"] == 0
    assert (await send(strict_google, "GET", USERINFO, reply["access_token"])).status_code == 401
    strict_google.access_ttl = 60
    renewed = (await refresh(strict_google, reply["refresh_token"])).json()
    assert renewed["expires_in"] == 60
    assert await owner(strict_google, renewed["access_token"]) == ALICE


@pytest.mark.parametrize("named", ["access_token", "refresh_token"])
async def test_strict_emulate_ends_the_whole_grant_with_either_token(
    strict_google: StrictTransport, named: str
) -> None:
    reply = await login(strict_google)
    renewed = (await refresh(strict_google, reply["refresh_token"])).json()
    assert (await send(strict_google, "POST", REVOKE, data={"token": reply[named]})).status_code == 200
    for token in (reply["access_token"], renewed["access_token"]):
        assert (await send(strict_google, "GET", USERINFO, token)).status_code == 401
    assert (await refresh(strict_google, reply["refresh_token"])).status_code == 400
    assert (await send(strict_google, "POST", REVOKE, data={"token": reply[named]})).status_code == 400


async def test_strict_emulate_enforces_scopes(strict_google: StrictTransport) -> None:
    reader = (await login(strict_google))["access_token"]
    refused = await send(strict_google, "POST", f"{GMAIL}/messages/send", reader, json=MAIL)
    assert refused.status_code == 403
    assert refused.json()["error"]["errors"][0]["reason"] == "insufficientPermissions"
    writer = (await login(strict_google, scope=f"{SCOPE}gmail.send"))["access_token"]
    assert (await send(strict_google, "POST", f"{GMAIL}/messages/send", writer, json=MAIL)).status_code == 200


async def test_strict_emulate_enforces_unticked_scopes(strict_google: StrictTransport) -> None:
    asked = consent_url(scope=f"{SCOPE}gmail.readonly {SCOPE}gmail.send")
    location = await consent_click(strict_google, asked, ALICE, unticked={f"{SCOPE}gmail.send"})
    reply = (await exchange(strict_google, parse_qs(urlsplit(location).query)["code"][0])).json()
    assert reply["scope"] == f"{SCOPE}gmail.readonly"
    refused = await send(strict_google, "POST", f"{GMAIL}/messages/send", reply["access_token"], json=MAIL)
    assert refused.status_code == 403


async def test_strict_emulate_compares_the_redirect_uri_at_the_exchange(strict_google: StrictTransport) -> None:
    code = (await callback(strict_google))["code"]
    for other in ("https://elsewhere.example.test/", REDIRECT.replace("8765", "8766"), ""):
        refused = await exchange(strict_google, code, redirect_uri=other)
        assert (refused.status_code, refused.json()["error"]) == (400, "redirect_uri_mismatch")
    assert (await exchange(strict_google, code)).status_code == 200


async def test_strict_emulate_accepts_any_loopback_port(strict_google: StrictTransport) -> None:
    for own in ("http://127.0.0.1:40123/callback/google", "http://[::1]:40124/callback/google"):
        location = await consent_click(strict_google, consent_url(redirect_uri=own), ALICE)
        assert location.startswith(f"{own}?")
        code = parse_qs(urlsplit(location).query)["code"][0]
        assert (await exchange(strict_google, code, redirect_uri=own)).status_code == 200
    elsewhere = consent_url(redirect_uri="http://127.0.0.1:40123/callback/other")
    assert (await send(strict_google, "GET", elsewhere)).status_code == 400


@pytest.mark.parametrize(
    "url",
    [
        "https://example.test/",
        "http://gmail.googleapis.com/gmail/v1/users/me/messages",
        "https://gmail.googleapis.com:8443/gmail/v1/users/me/messages",
        "https://oauth2.googleapis.com/tokeninfo",
        "https://gmail.googleapis.com.example.test/gmail/v1/users/me/messages",
        REDIRECT,
    ],
)
async def test_strict_emulate_reaches_no_other_host(strict_google: StrictTransport, url: str) -> None:
    with pytest.raises(httpx.ConnectError):
        await send(strict_google, "GET", url)
    assert not strict_google.ledger


async def test_strict_emulate_serves_a_browser_up_to_our_callback(strict_google: StrictTransport) -> None:
    arrived: list[str] = []

    def ours(request: httpx.Request) -> httpx.Response:
        arrived.append(request.url.params["state"])
        return httpx.Response(200, text="Connected")

    mounts = {"http://127.0.0.1:8765": httpx.MockTransport(ours)}
    async with httpx.AsyncClient(transport=strict_google, mounts=mounts, follow_redirects=True) as browser:
        page = await browser.get(consent_url())
        form = next(one for one in forms(page.text) if one.fields["email"] == ALICE)
        landed = await browser.post(page.url.join(form.action), data=form.fields)
    assert (landed.text, arrived) == ("Connected", ["state-of-this-visit"])


async def test_encoded_slash_stays_one_path_segment(strict_google: StrictTransport) -> None:
    token = (await login(strict_google, scope=f"{SCOPE}calendar.events"))["access_token"]
    answer = await send(strict_google, "GET", EVENTS.replace("primary", "a%2Fb"), token)
    assert answer.status_code == 404
    assert strict_google.ledger[-1].path == "/calendar/v3/calendars/a%2Fb/events"
    calendar = Discovery.of("calendar.v3")
    assert calendar.call(httpx.Request("GET", EVENTS.replace("primary", "a%2Fb"))).id == "calendar.events.list"
    with pytest.raises(NoSuchMethod):
        calendar.call(httpx.Request("GET", EVENTS.replace("primary", "a/b")))


# ---------------------------------------------------------------- ledger and faults


async def test_ledger_lists_requests_without_secrets(strict_google: StrictTransport) -> None:
    reply = await login(strict_google)
    await send(strict_google, "GET", f"{GMAIL}/messages", reply["access_token"], params={"q": "in:inbox"})
    assert strict_google.ledger == [
        ("GET", "google", "/o/oauth2/v2/auth", 200),
        ("POST", "google", "/o/oauth2/v2/auth/callback", 302),
        ("POST", "google", "/token", 200),
        ("GET", "google", "/gmail/v1/users/me/messages", 200),
    ]


async def test_faults_happen_before_or_after_the_service_acts(strict_google: StrictTransport) -> None:
    token = (await login(strict_google, scope=f"{SCOPE}gmail.modify"))["access_token"]
    path, url = "/gmail/v1/users/me/messages/send", f"{GMAIL}/messages/send"

    async def sent() -> int:
        found = await send(strict_google, "GET", f"{GMAIL}/messages", token, params={"q": "in:sent subject:once"})
        return len(found.json().get("messages", []))

    strict_google.inject("POST", path, answered(429, headers={"retry-after": "2"}), lost_before_sending)
    limited = await send(strict_google, "POST", url, token, json=MAIL)
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "2")
    with pytest.raises(httpx.ConnectError):
        await send(strict_google, "POST", url, token, json=MAIL)
    assert await sent() == 0
    strict_google.inject("POST", path, lost_after_acting)
    with pytest.raises(httpx.ReadError):
        await send(strict_google, "POST", url, token, json=MAIL)
    assert strict_google.ledger[-1] == ("POST", "google", path, None)
    assert await sent() == 1


async def test_cancelled_caller_lets_the_service_finish(strict_google: StrictTransport) -> None:
    token = (await login(strict_google))["access_token"]
    entered, go_on, acted = threading.Event(), threading.Event(), threading.Event()

    def held(request: httpx.Request, act: Any) -> httpx.Response:
        entered.set()
        go_on.wait(5)
        answer: httpx.Response = act()
        acted.set()
        return answer

    strict_google.inject("GET", "/v1/userinfo", held)
    async with anyio.create_task_group() as callers:
        callers.start_soon(send, strict_google, "GET", USERINFO, token)
        assert await asyncio.to_thread(entered.wait, 5)
        callers.cancel_scope.cancel()
    assert not acted.is_set()
    go_on.set()
    assert await asyncio.to_thread(acted.wait, 5)


def test_event_loops_and_threads_share_one_transport(strict_google: StrictTransport) -> None:
    token = asyncio.run(login(strict_google))["access_token"]
    owners: list[str] = []

    async def several() -> None:
        owners.extend(await asyncio.gather(*(owner(strict_google, token) for _ in range(5))))

    def synchronous() -> None:
        with httpx.Client(transport=strict_google) as client:
            headers = {"authorization": f"Bearer {token}"}
            owners.extend(client.get(USERINFO, headers=headers).json()["email"] for _ in range(5))

    work = [lambda: asyncio.run(several()), lambda: asyncio.run(several()), synchronous]
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert owners == [ALICE] * 15
    assert [one.status for one in strict_google.ledger if one.path == "/v1/userinfo"] == [200] * 15


# ---------------------------------------------------------------- GitHub, Slack and Linear


@pytest.fixture(scope="module")
def others() -> Iterator[Emulate]:
    require_emulate()
    with Emulate("github", "slack", "linear") as emulate:
        yield emulate


FLOWS = {
    "github": (
        "https://github.com/login/oauth/authorize",
        "https://github.com/login/oauth/access_token",
        "http://127.0.0.1:8765/callback/github",
        {"scope": "repo read:user"},
    ),
    "slack": (
        "https://slack.com/oauth/v2/authorize",
        "https://slack.com/api/oauth.v2.access",
        "http://localhost:8765/callback/slack",
        {"user_scope": "chat:write,channels:read"},
    ),
    "linear": (
        "https://linear.app/oauth/authorize",
        "https://api.linear.app/oauth/token",
        "http://127.0.0.1:8765/callback/linear",
        {"scope": "read"},
    ),
}


async def elsewhere(transport: Production, service: str, verifier: str = VERIFIER) -> list[dict[str, Any]]:
    """Return two token replies for one code at GitHub, Slack or Linear: with the given verifier, then with the right
    one."""
    page, token, redirect_uri, scopes = FLOWS[service]
    client = oauth_client(service)
    pkce = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    asked = {"client_id": client.id, "redirect_uri": redirect_uri, "response_type": "code", "state": service}
    location = await consent_click(transport, f"{page}?{urlencode({**asked, **scopes, **pkce})}", ALICE)
    form = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(location).query)["code"][0],
        "redirect_uri": redirect_uri,
        "client_id": client.id,
        "client_secret": client.secret,
    }
    answers = [await send(transport, "POST", token, data={**form, "code_verifier": v}) for v in (verifier, VERIFIER)]
    return [dict(answer.json()) for answer in answers]


@pytest.mark.parametrize("service", ["github", "slack"])
async def test_bare_github_and_slack_accept_any_verifier(others: Emulate, service: str) -> None:
    taken, _ = await elsewhere(Production(others.urls), service, WRONG_VERIFIER)
    assert "access_token" in taken


@pytest.mark.parametrize("service", FLOWS)
async def test_strict_services_check_the_verifier(others: Emulate, service: str) -> None:
    refused, granted = await elsewhere(StrictTransport(others.urls), service, WRONG_VERIFIER)
    assert "access_token" not in refused and "access_token" in granted


async def test_strict_services_refuse_unknown_tokens(others: Emulate) -> None:
    strict = StrictTransport(others.urls)
    assert (await send(strict, "GET", "https://api.github.com/user", "rubbish")).status_code == 401
    slack = await send(strict, "POST", "https://slack.com/api/auth.test", "rubbish")
    assert (slack.status_code, slack.json()) == (200, {"ok": False, "error": "invalid_auth"})
    linear = await send(strict, "POST", "https://api.linear.app/graphql", "rubbish", json={"query": "{viewer{id}}"})
    assert linear.status_code == 401


async def test_github_links_use_production_urls(others: Emulate) -> None:
    strict = StrictTransport(others.urls)
    token = (await elsewhere(strict, "github"))[0]["access_token"]
    issues = "https://api.github.com/repos/alice/hello/issues"
    for title in ("first", "second"):
        made = (await send(strict, "POST", issues, token, json={"title": title, "body": "no link"})).json()
        assert made["html_url"].startswith("https://github.com/alice/hello/issues/")
        assert made["url"] == f"{issues}/{made['number']}"
    listed = await send(strict, "GET", issues, token, params={"per_page": 1})
    assert listed.links["next"]["url"].startswith(f"{issues}?")
    assert "localhost" not in listed.text + listed.headers["link"]
    following = await send(strict, "GET", listed.links["next"]["url"], token)
    assert [one["title"] for one in following.json()] == ["first"]


# ---------------------------------------------------------------- Google's own documents


def get(url: str, **query: Any) -> httpx.Request:
    return httpx.Request("GET", url, params=query)


def post(url: str, body: Any, **query: Any) -> httpx.Request:
    return httpx.Request("POST", url, json=body, params=query)


EVENT = {"summary": "x", "start": {"dateTime": "2026-03-10T10:00:00Z"}, "end": {"dateTime": "2026-03-10T11:00:00Z"}}


@pytest.mark.parametrize(
    ("document", "request_", "method"),
    [
        (
            "gmail.v1",
            get(f"{GMAIL}/messages", q="is:unread", maxResults=5, labelIds=["INBOX", "UNREAD"]),
            "messages.list",
        ),
        ("gmail.v1", get(f"{GMAIL}/messages/m1", format="metadata", metadataHeaders=["To", "Cc"]), "messages.get"),
        ("gmail.v1", post(f"{GMAIL}/messages/send", {"raw": "abc", "threadId": "t"}), "messages.send"),
        ("gmail.v1", httpx.Request("POST", f"{GMAIL}/messages/m1/trash"), "messages.trash"),
        ("calendar.v3", post(EVENTS, EVENT, sendUpdates="all"), "events.insert"),
    ],
)
def test_valid_google_request_passes_the_check(document: str, request_: httpx.Request, method: str) -> None:
    assert Discovery.of(document).check(request_).id.endswith(method)


@pytest.mark.parametrize(
    ("document", "request_", "error"),
    [
        ("gmail.v1", get(f"{GMAIL}/messages", max_results=5), BadQuery),
        ("gmail.v1", get(f"{GMAIL}/messages", maxResults="many"), BadQuery),
        ("gmail.v1", get(f"{GMAIL}/messages", maxResults=[1, 2]), BadQuery),
        ("gmail.v1", get(f"{GMAIL}/messages", includeSpamTrash="yes"), BadQuery),
        ("gmail.v1", post(f"{GMAIL}/messages/send", {"raw": "a", "to": "x"}), BadBody),
        ("gmail.v1", post(f"{GMAIL}/messages/send", {"raw": 1}), BadBody),
        ("gmail.v1", httpx.Request("POST", f"{GMAIL}/messages/send"), BadBody),
        ("gmail.v1", httpx.Request("POST", f"{GMAIL}/messages/send", data={"raw": "a"}), BadBody),
        ("gmail.v1", post(f"{GMAIL}/messages/m1/trash", {}), BadBody),
        ("gmail.v1", get("https://www.googleapis.com/gmail/v1/users/me/messages"), NoSuchMethod),
        ("calendar.v3", post(EVENTS, EVENT, sendUpdates="everyone"), BadQuery),
        ("calendar.v3", get(EVENTS, maxResults=0), BadQuery),
        ("calendar.v3", httpx.Request("POST", f"{EVENTS}/e1/move"), BadQuery),  # no destination
        ("calendar.v3", post(EVENTS, {**EVENT, "start": "2026-03-10T10:00:00Z"}), BadBody),
        ("calendar.v3", get(f"{EVENTS}/x/y/z"), NoSuchMethod),
    ],
)
def test_invalid_google_request_fails_the_check(
    document: str, request_: httpx.Request, error: type[SpecificationError]
) -> None:
    with pytest.raises(error):
        Discovery.of(document).check(request_)


@pytest.mark.parametrize(
    ("scope", "request_", "enough"),
    [
        ("gmail.send", post(f"{GMAIL}/messages/send", {"raw": "a"}), True),
        ("gmail.readonly", post(f"{GMAIL}/messages/send", {"raw": "a"}), False),
        ("gmail.send", post(f"{GMAIL}/drafts/send", {"id": "d"}), False),
        ("gmail.compose", post(f"{GMAIL}/drafts/send", {"id": "d"}), True),
        ("gmail.metadata", get(f"{GMAIL}/messages"), True),
        ("gmail.metadata", get(f"{GMAIL}/messages", q="is:unread"), False),
        ("gmail.readonly", get(f"{GMAIL}/messages", q="is:unread"), True),
        ("gmail.metadata", get(f"{GMAIL}/messages/m1", format="metadata"), True),
        ("gmail.metadata", get(f"{GMAIL}/messages/m1", format="raw"), False),
        ("gmail.metadata", get(f"{GMAIL}/messages/m1"), False),  # full is the default
        ("gmail.metadata", get(f"{GMAIL}/threads/t1"), False),
    ],
)
def test_scope_check_follows_googles_list(scope: str, request_: httpx.Request, enough: bool) -> None:
    gmail = Discovery.of("gmail.v1")
    assert (SCOPE + scope in gmail.accepted(request_)) is enough
    if enough:
        gmail.check(request_, {SCOPE + scope})
    else:
        with pytest.raises(MissingScope):
            gmail.check(request_, {SCOPE + scope})


# ---------------------------------------------------------------- house rules


def test_emulate_ends_with_its_parent_process() -> None:
    require_emulate()
    program = (
        "import time\n"
        "from tests.support.emulate import Emulate\n"
        "with Emulate('google'):\n"
        "    print('started', flush=True)\n"
        "    time.sleep(60)\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdout=pipe, stderr=pipe, text=True) as parent:
        assert parent.stdout and parent.stdout.readline() == "started\n"
        parent.kill()
        parent.communicate(timeout=10)  # Node inherited stderr: this returns when it has ended too


@pytest.mark.parametrize("address", [("192.0.2.1", 443), ("2001:db8::1", 443)])
def test_tests_cannot_connect_beyond_this_machine(address: tuple[str, int]) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as outward, pytest.raises(pytest.fail.Exception):
        outward.connect(address)


async def test_tests_cannot_resolve_names_beyond_this_machine() -> None:
    with pytest.raises(pytest.fail.Exception):
        await asyncio.open_connection("example.test", 443)
