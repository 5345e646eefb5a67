"""The consent page in a real browser: its CSP allows the form to lead to the provider and back, and no further."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from deputize.cli import browser as opening
from deputize.core import ApiRules, App, Consent, Deputy, Identity, OAuthEndpoints, Provider, Secret
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from deputize.core.web.local.pages import LocalPages
from deputize.core.web.local.server import serve
from tests.support.chromium import Chromium
from tests.support.provider_fields import with_fields

pytestmark = pytest.mark.browser

READS = """window.got = ''; true;
fetch('LINK', {credentials: 'include'}).then(r => r.text()).then(t => window.got = t, e => window.got = 'no'); true"""
INSIDE = (
    "(() => { try { return document.querySelector('iframe').contentDocument.body.innerText } catch { return '' } })()"
)
SENDS = """const form = document.createElement('form'), no = document.createElement('input');
form.method = 'post'; form.action = 'LINK'; no.name = 'decision'; no.value = 'cancel';
form.append(no); document.body.append(form); form.submit(); true"""


def sends_on(to: str = "") -> object:
    """A server that redirects at once: to ``to`` with the received query, or with a code to the query's target."""

    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        if scope["type"] != "http":
            return
        asked = parse_qs(scope["query_string"].decode())  # type: ignore[attr-defined]
        back = {"code": "a-code", "state": asked.get("state", [""])[0]}
        where = (
            f"{to}/workspace?{urlencode(asked, doseq=True)}" if to else f"{asked['redirect_uri'][0]}?{urlencode(back)}"
        )
        await send({"type": "http.response.start", "status": 302, "headers": [(b"location", where.encode())]})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    return app


@dataclass
class House:
    """A deputy in local mode, a provider of two hosts that remembers everyone's consent, and a browser."""

    deputy: Deputy
    browser: Chromium
    workspace: str
    spent: list[str]

    async def asked(self) -> Consent:
        (consent,) = await self.deputy.connect("alice", "acme", scopes=["read"])
        return consent

    async def pressed(self, consent: Consent) -> None:
        await self.browser.open(consent.link)
        assert await self.browser.run("document.querySelector('form button.yes').click() || true")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    spent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            spent.append(request.content.decode())
            return httpx.Response(200, json={"access_token": "a" * 20, "token_type": "bearer", "scope": "read"})
        return httpx.Response(200, json={"sub": "1", "email": "alice@example.test"})

    async with AsyncExitStack() as stack:
        browser = await stack.enter_async_context(Chromium.started())
        workspace = await stack.enter_async_context(serve(sends_on()))  # type: ignore[arg-type]
        front = await stack.enter_async_context(serve(sends_on(workspace)))  # type: ignore[arg-type]
        acme = Provider(
            name="acme",
            label="Acme",
            oauth=OAuthEndpoints(
                authorize_url=f"{front}/authorize",
                token_url=f"{front}/token",
                csp_form_targets=(workspace,),
                localhost=True,
            ),
            apis=ApiRules(
                roots={},
                hosts=frozenset({urlsplit(front).netloc}),
                identity=Identity(f"{front}/me", "{sub}", "{email}"),
            ),
            plain_http=True,
        )
        vault = await Vault.open(MemoryStore(), [secrets.token_bytes(32)])
        deputy = await stack.enter_async_context(
            Deputy(
                vault,
                [App("acme", "client", Secret("secret"))],
                pages=LocalPages,
                providers={"acme": acme},
                toolkits=[],
                transport=httpx.MockTransport(answer),
            )
        )
        yield House(deputy, browser, workspace, spent)


def without(house: House, **change: Any) -> None:
    """Return the provider's definition without these fields."""
    assert isinstance(house.deputy.providers, dict)
    house.deputy.providers["acme"] = with_fields(house.deputy.providers["acme"], **change)


async def test_chromium_follows_all_provider_hosts_and_returns_by_localhost(house: House) -> None:
    consent = await house.asked()
    await house.pressed(consent)
    assert await house.browser.until("document.body.innerText.includes('is connected')")
    assert await house.browser.run("location.href") == consent.link
    assert (await house.deputy.wait_for_consents([consent], timeout=5))[0].status == "granted" and len(house.spent) == 1
    assert "alice@example.test" in await house.browser.run("document.body.innerText")


async def test_chromium_form_does_not_reach_an_unlisted_host(house: House) -> None:
    without(house, csp_form_targets=())
    consent = await house.asked()
    await house.pressed(consent)
    assert not await house.browser.until("document.body.innerText.includes('is connected')", 3)
    assert (await house.browser.run("location.href")).startswith(consent.link) and house.spent == []


async def test_chromium_form_does_not_reach_http_under_an_https_wildcard(house: House) -> None:
    without(house, csp_form_targets=("https:",))
    consent = await house.asked()
    await house.pressed(consent)
    assert not await house.browser.until("document.body.innerText.includes('is connected')", 3)
    assert house.spent == []


async def test_opened_file_leads_to_the_link(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_place", lambda: tmp_path)
    consent = await house.asked()
    file = opening._write_redirect(consent.link)
    assert file is not None
    await house.browser.open(file.as_uri())
    assert await house.browser.until("document.body.innerText.includes('wants to act for you')")
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as stranger:
        assert (await stranger.get(consent.link)).status_code == 403
    assert await house.browser.run("document.querySelector('form button.yes').click() || true")
    assert await house.browser.until("document.body.innerText.includes('is connected')")
    assert len(house.spent) == 1


async def test_page_of_another_program_gets_nothing_from_the_links_browser(
    house: House,
) -> None:
    consent, cookies = await house.asked(), list[str]()
    await house.browser.open(consent.link)
    assert await house.browser.until("document.body.innerText.includes('wants to act for you')")

    async def other(scope: dict[str, object], receive: object, send: object) -> None:
        if scope["type"] == "http":
            cookies.extend(v.decode() for k, v in scope["headers"] if k == b"cookie")  # type: ignore[attr-defined]
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})  # type: ignore[operator]
            await send({"type": "http.response.body", "body": b"<p>other</p><iframe></iframe>"})  # type: ignore[operator]

    async with serve(other) as url:  # type: ignore[arg-type]
        await house.browser.open(url)
        assert await house.browser.until("document.body.innerText.includes('other')")
        assert cookies and not any("-link=" in line for line in cookies)  # same site, and yet not that one
        await house.browser.run(READS.replace("LINK", consent.link))
        assert await house.browser.until("window.got != ''")
        assert await house.browser.run("window.got") == "no"
        await house.browser.run(f"document.querySelector('iframe').src = {consent.link!r}; true")
        await asyncio.sleep(0.5)
        assert "wants to act" not in (await house.browser.run(INSIDE) or "")
        await house.browser.run(SENDS.replace("LINK", consent.link))
        assert await house.browser.until("document.body.innerText.includes('cannot be used')")
    status = await house.deputy.consents.status(consent.id)
    assert status and status.status == "pending"
