"""Providers that redirect browsers to ``localhost``: the request is forwarded to the pages, and nothing else is served
there."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest

from deputize.core import App, Deputy, Secret
from deputize.core.http import Http
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from deputize.core.web.local.pages import LocalPages
from deputize.core.web.local.server import redirect_localhost, require_host, serve
from deputize.sandbox import Browser, Sandbox, salesforce, slack
from tests.core.web.test_local_pages import _Wire

ALICE = "alice@example.test"
CLIENTS = {"slack": slack.APP, "salesforce": salesforce.APP}
SCOPES = {"slack": "users:read", "salesforce": "id"}


class Wire(_Wire):
    """Loopback by either name over the network, everything else at the sandbox; records the addresses."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self.seen: list[tuple[str, int]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        here = request.url.host in ("127.0.0.1", "localhost")
        response = await (self.real if here else self.provider).handle_async_request(request)
        self.seen.append((f"{request.url.host}{request.url.path}", response.status_code))
        return response


@pytest.fixture
async def sandbox() -> Sandbox:
    """A sandbox whose apps accept any port of localhost."""
    sandbox = Sandbox()
    for name, client in CLIENTS.items():
        sandbox.register(replace(client, redirect_uris=(f"http://localhost/callback/{name}",), any_port=True))
    return sandbox


@pytest.fixture
async def deputy(sandbox: Sandbox) -> AsyncIterator[Deputy]:
    """A deputy in local mode, with Slack's app in PKCE mode, and Salesforce's."""
    apps = [App(name, one.client_id, Secret(one.client_secret), pkce=True) for name, one in CLIENTS.items()]
    vault = await Vault.open(MemoryStore(), [secrets.token_bytes(32)])
    async with Deputy(vault, apps, pages=LocalPages, toolkits=[], transport=sandbox.transport()) as deputy:
        yield deputy


@pytest.fixture
async def base(deputy: Deputy) -> str:
    return await deputy.pages.base_url()


async def get(url: str, method: str = "GET", **headers: str) -> httpx.Response:
    http = Http()
    try:
        return await http.send(httpx.Request(method, url, headers=headers), timeout=5)
    finally:
        await http.close()


@pytest.mark.parametrize("provider", CLIENTS)
async def test_consent_at_a_provider_that_requires_localhost_completes(
    deputy: Deputy, sandbox: Sandbox, provider: str
) -> None:
    (consent,) = await deputy.connect("alice", provider, scopes=[SCOPES[provider]])
    assert consent.link.startswith("http://127.0.0.1:")
    async with Wire(sandbox) as wire:
        page = await Browser(wire).allow(consent.link, as_=ALICE)
    assert "is connected" in page.text and urlsplit(page.url).hostname == "127.0.0.1"
    path = f"/callback/{provider}"
    assert [seen for seen in wire.seen if path in seen[0]] == [(f"localhost{path}", 303), (f"127.0.0.1{path}", 303)]
    assert (await deputy.wait_for_consents([consent]))[0].status == "granted"
    assert [one.provider for one in await deputy.connections("alice")] == [provider]


async def test_denial_at_slack_returns_by_localhost(deputy: Deputy, sandbox: Sandbox) -> None:
    (consent,) = await deputy.connect("alice", "slack", scopes=["users:read"])
    async with Wire(sandbox) as wire:
        page = await Browser(wire).deny(consent.link)
    assert "You said no" in page.text
    assert (await deputy.wait_for_consents([consent]))[0].status == "denied"


async def test_localhost_forwards_the_callback_unchanged_and_shows_nothing(base: str) -> None:
    here, port = base, urlsplit(base).port
    query = "code=a%2Fb%20c+d&state=x%26y&iss=https%3A%2F%2Fslack.com"
    answer = await get(f"{here}/callback/slack?{query}", host=f"localhost:{port}")
    assert (answer.status_code, answer.content) == (303, b"")
    assert answer.headers["location"] == f"{here}/callback/slack?{query}"
    assert answer.headers["cache-control"] == "no-store" and answer.headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/connections", "/connect/x", "/health", "/style.css", "/refused", "/me/x/connections", "/callback"),
        *("/callback/", "/callback/slack/", "/callback/slack/x", "/callback/../connections", "/callback/%2e%2e"),
        *("//callback/slack", "/callback//evil.example.test", "/x/callback/slack", "/callback/slack%0d%0ax"),
    ],
)
async def test_localhost_serves_no_other_page(base: str, path: str) -> None:
    answer = await get(base, host=f"localhost:{urlsplit(base).port}")
    assert answer.status_code == 400
    at = httpx.Request("GET", base, headers={"host": f"localhost:{urlsplit(base).port}"})
    at.url = at.url.copy_with(raw_path=path.encode())
    http = Http()
    answer = await http.send(at)
    await http.close()
    assert answer.status_code == 400 and "location" not in answer.headers
    assert answer.text == "This address is not served here."


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example.test",
            "localhost.evil.example.test",
            "evil.localhost",
            "localhost",
            "localhost:1",
            "localhost:",
        ),
        *("localhost:8736@evil.example.test", "127.0.0.1.evil.example.test", "[::1]", "10.0.0.1", "localhost."),
    ],
)
async def test_rebound_or_malformed_host_is_not_forwarded(base: str, host: str) -> None:
    """DNS rebinding: another site's own name resolves to this machine."""
    for name in (host, f"{host}:{urlsplit(base).port}") if ":" not in host else (host,):
        if name == f"localhost:{urlsplit(base).port}":
            continue
        answer = await get(f"{base}/callback/slack?code=a&state=b", host=name)
        assert answer.status_code == 400 and "location" not in answer.headers


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "OPTIONS", "DELETE"])
async def test_only_get_is_forwarded(base: str, method: str) -> None:
    answer = await get(f"{base}/callback/slack?code=a&state=b", method, host=f"localhost:{urlsplit(base).port}")
    assert answer.status_code == 400 and "location" not in answer.headers


@pytest.mark.parametrize(
    "query", ["next=https://evil.example.test", "//evil.example.test", "@evil.example.test/", "%0d%0aset-cookie:x=1"]
)
async def test_query_does_not_decide_the_forwarding_target(base: str, query: str) -> None:
    answer = await get(f"{base}/callback/slack?{query}", host=f"localhost:{urlsplit(base).port}")
    target = urlsplit(answer.headers["location"])
    assert (f"{target.scheme}://{target.netloc}", target.path) == (base, "/callback/slack")
    assert "set-cookie" not in answer.headers


async def test_localhost_callback_without_the_browser_cookie_is_refused(deputy: Deputy, sandbox: Sandbox) -> None:
    (consent,) = await deputy.connect("alice", "slack", scopes=["users:read"])
    landed = ""

    class Stolen(Wire):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal landed
            if request.url.host == "localhost":
                landed = str(request.url)
                return httpx.Response(200)
            return await super().handle_async_request(request)

    async with Stolen(sandbox) as stolen:
        await Browser(stolen).allow(consent.link, as_=ALICE)
    async with Wire(sandbox) as wire:
        page = await Browser(wire).open(landed)
    assert page.status == 403
    assert (await deputy.wait_for_consents([consent]))[0].status == "failed"
    assert sandbox.count("slack.com", "/api/oauth.v2.access") == 0
    assert await deputy.connections("alice") == []


async def test_two_host_headers_or_raw_query_bytes_are_not_forwarded() -> None:
    passed = []

    async def app(scope: object, receive: object, send: object) -> None:
        passed.append(scope)

    asked = {"type": "http", "method": "GET", "raw_path": b"/callback/slack", "server": ("127.0.0.1", 8736)}
    host = (b"host", b"localhost:8736")
    for headers, query in (([host, host], b""), ([host], b"a=\r\nx"), ([host], b"a=\xff"), ([host], b"a" * 20_000)):
        scope = {**asked, "headers": headers, "query_string": query}
        await redirect_localhost(app, "/callback/[a-z]+")(scope, None, None)  # type: ignore[arg-type]
    assert len(passed) == 4


async def test_ipv6_request_is_forwarded_to_the_ipv6_address() -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        raise AssertionError("not handed on")

    async with serve(redirect_localhost(require_host(app, {"[::1]"}), "/callback/[a-z]+"), 0, "::1") as url:
        answer = await get(f"{url}/callback/x?a=b", host=f"localhost:{urlsplit(url).port}")
        assert answer.headers["location"] == f"{url}/callback/x?a=b"
