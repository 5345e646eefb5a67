"""How pages are served: headers, escaping, errors, mounting."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from deputize.core import RateLimited, StoreUnavailable, User, VaultError
from deputize.core.providers import GOOGLE
from deputize.core.shared_services import FixedPages
from deputize.core.user_requests import Consent
from deputize.core.web.app import pages_app
from deputize.core.web.pages import texts
from deputize.core.web.pages.rendering import visible
from deputize.sandbox.google import APP
from tests.core.web.web_application import (
    READ,
    SEND,
    SESSION,
    WEB,
    World,
    cookies_of,
    make,
    net,
    path_of,
    press,
    query_of,
    signed_in,
    words_of,
)
from tests.support.replace_parts import exchange

EVIL = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>{{7*7}}"


async def _all_pages(world: World) -> list[httpx.Response]:
    """Return one page of every kind, as Alice sees them."""
    await world.connected("send")
    approval, ended = await world.approval(), await world.asked("labels")
    await world.browser().deny(ended.link)
    paths = [
        path_of(await world.asked("readonly")),
        path_of(ended),
        "/connections",
        f"/approve/{approval.id}",
        "/refused",
        "/failed",
        "/nowhere",
        "/health",
    ]
    pages = [await world.send("GET", path, user="alice") for path in paths]
    return [*pages, await world.send("GET", "/connections")]


async def test_every_answer_forbids_storing_sniffing_framing_and_foreign_content(world: World) -> None:
    for page in await _all_pages(world):
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; form-action ")
        assert policy.endswith("; frame-ancestors 'none'; base-uri 'none'")
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == ("same-origin" if "<form" in page.text else "no-referrer")


async def test_pages_have_no_script_inline_style_or_foreign_resource(world: World) -> None:
    for page in await _all_pages(world):
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|<iframe|<img|@import", page.text)
        links = re.findall(r'(?:href|src|action)="([^"]*)"', page.text)
        assert all(link.startswith(("/", "https://deputy.example.test/")) for link in links), links


async def test_every_page_is_valid_english_html_with_one_heading(world: World) -> None:
    for page in await _all_pages(world):
        if page.headers["content-type"].startswith("text/html"):
            assert page.text.startswith('<!doctype html>\n<html lang="en">')
            assert page.text.count("<h1>") == 1 and "<main" in page.text
            assert '<meta name="viewport"' in page.text
            assert _Tags.left_open(page.text) == []


class _Tags(HTMLParser):
    """Collects unclosed tags, and tags closed in the wrong order."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    @classmethod
    def left_open(cls, text: str) -> list[str]:
        parser = cls()
        parser.feed(text)
        return parser.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.open.append(f"/{tag}")


async def test_stylesheet_has_dark_colours_and_a_visible_focus(world: World) -> None:
    style = await world.send("GET", "/style.css")
    assert style.status_code == 200 and style.headers["content-type"].startswith("text/css")
    assert "prefers-color-scheme: dark" in style.text and ":focus-visible" in style.text
    assert "url(" not in style.text and "@import" not in style.text


@pytest.mark.parametrize("path", ["/connections", "/refused", "/health", "/style.css", "/nowhere"])
async def test_head_answers_like_get_without_a_body(path: str, world: World) -> None:
    get, head = [await world.send(method, path, user="alice") for method in ("GET", "HEAD")]
    assert head.status_code == get.status_code and head.content == b""
    drop = {"set-cookie"}
    assert {k: v for k, v in head.headers.items() if k not in drop} == {
        k: v for k, v in get.headers.items() if k not in drop
    }


# --- what others have written --------------------------------------------------------------------------------------


def _inert(page: httpx.Response) -> None:
    """Check that the hostile text is on the page, and is nothing but text."""
    assert "&lt;script&gt;" in page.text or "&lt;img" in page.text
    assert not re.search(r"<script|<img", page.text) and "49" not in words_of(page).replace("U+", "")
    assert _Tags.left_open(page.text) == []


async def test_consent_values_are_escaped() -> None:
    evil_provider = replace(
        GOOGLE, label=EVIL, oauth=replace(GOOGLE.oauth, login_hint=""), scope_descriptions={READ: EVIL, "openid": EVIL}
    )
    world = await make(provider=evil_provider, agent=EVIL)
    app, evil_user = world.deputy.apps["google"], User("alice")
    consent = await world.deputy.consents.require(
        evil_user, app, [READ, EVIL], account=EVIL, why=EVIL, agent=f"{EVIL} agent"
    )
    page = await world.send("GET", path_of(consent), user="alice")
    _inert(page)
    assert page.text.count("&lt;script&gt;") >= 8
    _inert(await world.send("GET", "/connections", user="alice"))
    url, jar = await press(world, consent)
    back = f"/callback/google?state={query_of(url)['state']}&error=access_denied&error_description={EVIL}"
    await world.send("GET", back, user="alice", cookies=jar)
    _inert(await world.send("GET", path_of(consent), user="alice"))


async def test_account_values_are_escaped() -> None:
    world = await make(
        provider=replace(
            GOOGLE, apis=replace(GOOGLE.apis, identity=replace(GOOGLE.apis.identity, name=EVIL.replace("{{7*7}}", "")))
        )
    )
    consent = await world.asked("readonly")
    await world.browser().allow(consent.link)
    for path in (path_of(consent), "/connections", path_of(await world.asked("send"))):
        _inert(await world.send("GET", path, user="alice"))
    browser = world.browser()
    page = await browser.open("/connections")
    page = await browser.submit(page, next(f for f in page.forms if f.action.endswith("/revoke")))
    assert "Keep it" in page.text and "<script" not in page.text and "&lt;script&gt;" in page.text
    gone = await browser.submit(page, page.forms[0], sure="yes")
    assert "disconnected" in gone.text and "<script" not in gone.text and "&lt;script&gt;" in gone.text


async def test_act_values_are_escaped() -> None:
    world = await make(agent=EVIL)
    await world.connected("send")
    approval = await world.approval(EVIL)
    _inert(await world.send("GET", f"/approve/{approval.id}", user="alice"))
    _inert(await world.send("GET", "/connections", user="alice"))
    await world.deputy.decide(approval.id, "approve", by="alice")
    _inert(await world.send("GET", f"/approve/{approval.id}", user="alice"))


async def test_nested_arguments_are_all_shown(world: World) -> None:
    await world.connected("send")
    approval = await world.approval()
    record = await world.deputy.vault.get(
        "approval", world.deputy.vault.key_prefix(User("alice")) + approval.id.partition("-")[0]
    )
    assert record is not None
    arguments = {"many": ["one", {"deep": [EVIL, 7, True, 0]}], EVIL: "key"}
    await world.deputy.vault.swap(record, record.json | {"arguments": arguments})
    page = await world.send("GET", f"/approve/{approval.id}", user="alice")
    _inert(page)
    text = words_of(page)
    for part in ("many", "one", "deep", " 7,", "true", " 0]", "key"):
        assert part in text


@pytest.mark.parametrize("hidden", ["\u202e", "\u2066", "\u200b", "\u200f", "\x1b", "\x00", "\ufeff", "\U000e0041"])
def test_hiding_or_reordering_characters_are_shown_by_code_point(hidden: str) -> None:
    assert visible(f"a{hidden}b") == f"a[U+{ord(hidden):04X}]b"


def test_ordinary_characters_are_unchanged() -> None:
    text = "Zoë, 山田太郎\n\t\N{HEBREW LETTER ALEF}\N{FAMILY}\N{ZERO WIDTH JOINER}\N{FAMILY} привет"
    assert visible(text) == text and visible(7) == 7


async def test_recipient_with_reversed_text_is_made_visible(world: World) -> None:
    await world.connected("send")
    approval = await world.approval("tset.elpmaxe@\u202eecila")
    page = await world.send("GET", f"/approve/{approval.id}", user="alice")
    assert "\u202e" not in page.text and "[U+202E]" in page.text


# --- errors from below ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StoreUnavailable("The vault is locked.", hint="Wait <b>a moment</b>."), 503),
        (RateLimited("Too many.", retry_after=9.0, hint="Later."), 429),
        (VaultError("A record cannot be opened.", hint="Check the key."), 500),
    ],
)
async def test_deputize_error_page_shows_what_happened_and_what_to_do(
    error: Any, status: int, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:

    async def fails(*_: object) -> Consent:
        raise error

    monkeypatch.setattr(world.deputy.consents, "open", fails)
    page = await world.send("GET", "/connect/x", user="alice")
    assert page.status_code == status
    assert error.message in page.text and words_of(page).count(error.hint.split("<")[0].strip()) == 1
    assert "<b>" not in page.text


@pytest.mark.parametrize("path", ["/connect/x", "/connections", "/callback/google?state=a&code=canary-code"])
async def test_unexpected_error_page_and_log_omit_the_error_text(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, world: World
) -> None:

    async def fails(*_: object) -> Consent:
        raise RuntimeError("canary-secret")

    monkeypatch.setattr(world.deputy.consents, "open", fails)
    monkeypatch.setattr(world.deputy.consents, "list_pending", fails)
    monkeypatch.setattr(world.deputy.consents, "finish", fails)
    with caplog.at_level(logging.DEBUG):
        page = await world.send("GET", path, user="alice")
    assert (page.status_code, page.headers.get("location")) in ((500, None), (303, "/failed"))
    assert "canary" not in page.text + caplog.text and "Traceback" not in page.text + caplog.text
    assert "RuntimeError in test_rendering.py" in caplog.text


async def test_failing_verifier_refuses_every_request(world: World) -> None:

    def fails(_: Request) -> User:
        raise KeyError("session")

    async def nobody(_: Request) -> None:
        return None

    path = path_of(await world.asked())
    for verifier, status in ((fails, 500), (nobody, 401), (lambda _: "", 401), (lambda _: {"id": "alice"}, 401)):
        world.app = pages_app(world.deputy, verifier=verifier)  # type: ignore[arg-type]
        page = await world.send("GET", path)
        assert page.status_code == status and "Google" not in page.text


async def test_verifier_may_be_async_and_return_a_plain_id(world: World) -> None:

    async def verifier(_: Request) -> str:
        return "alice"

    world.app = pages_app(world.deputy, verifier=verifier)
    assert (await world.send("GET", path_of(await world.asked()))).status_code == 200


async def test_tenant_is_part_of_the_user(world: World) -> None:
    consent = await world.deputy.consents.require(User("alice", "acme"), world.deputy.apps["google"], [READ])
    assert (await world.send("GET", path_of(consent), user="alice")).status_code == 403


async def test_secrets_are_in_no_log_line_and_on_no_page(caplog: pytest.LogCaptureFixture, world: World) -> None:
    consent, browser = await world.asked(), world.browser()
    with caplog.at_level(logging.DEBUG):
        await browser.allow(consent.link)
        await browser.open("/callback/google?state=canary-state&code=canary-code")
    wire = net(browser).seen
    codes = [q.url.params["code"] for q, _ in wire if q.url.path == "/callback/google"]
    states = [q.url.params["state"] for q, _ in wire if q.url.path == "/callback/google"]
    grant = await world.deputy.vault.find_grant(User("alice"), "google", "google")
    assert grant and grant.refresh_token and len(codes) == 2
    secret = [*codes, *states, grant.access_token.reveal(), grant.refresh_token.reveal()]
    bodies = "".join(r.text for q, r in wire if q.url.host == "deputy.example.test")
    assert not [s for s in secret if s in caplog.text or s in bodies]


# --- mounted in another application --------------------------------------------------------------------------------


async def _mounted(sign_in: str = "") -> World:
    world = await make()
    base = "https://deputy.example.test/agents/deputy"
    world.deputy.pages = FixedPages(base)
    exchange(world.deputy, pages=world.deputy.pages)
    pages = pages_app(world.deputy, verifier=signed_in, sign_in=sign_in)
    world.app = Starlette(routes=[Mount("/agents/deputy", pages)])
    world.sandbox.register(replace(APP, redirect_uris=(f"{base}/callback/google",)))
    return world


async def test_mounted_pages_keep_every_link_and_form_below_their_path() -> None:
    world = await _mounted()
    consent, browser = await world.asked(), world.browser()
    assert consent.link.startswith("https://deputy.example.test/agents/deputy/connect/")
    page = await browser.allow(consent.link)
    assert "is connected" in words_of(page) and page.url == consent.link
    paths = {q.url.path for q, _ in net(browser).seen if q.url.host == "deputy.example.test"}
    assert all(path.startswith("/agents/deputy/") for path in paths)
    await world.asked("send")
    await world.connected("send")
    approval = await world.approval()
    for own in ("activity?all=1", "connections"):
        listed = await browser.open(f"/agents/deputy/{own}")
        links = re.findall(r'(?:href|src|action)="([^"]*)"', listed.text)
        assert listed.status == 200 and links and all("/agents/deputy/" in link for link in links), own
    asked = await browser.open(f"/agents/deputy/approve/{approval.id}")
    assert "Approved" in (await browser.submit(asked, asked.forms[0], decision="approve")).text
    page = await browser.submit(listed, next(f for f in listed.forms if f.action.endswith("/revoke")))
    assert 'href="/agents/deputy/connections"' in page.text
    assert "disconnected" in (await browser.submit(page, page.forms[0], sure="yes")).text
    assert (await browser.open("/agents/deputy/callback/google?code=x")).url.endswith("/agents/deputy/refused")


async def test_mounted_pages_give_sign_in_the_complete_path() -> None:
    world = await _mounted("/login")
    response = await world.send("GET", path_of(await world.asked()))
    assert response.headers["location"].startswith("/login?next=%2Fagents%2Fdeputy%2Fconnect%2F")


async def test_proxy_prefix_is_used_in_links() -> None:
    world = await make(base="https://deputy.example.test/agents")
    path = path_of(await world.asked())
    for asked, prefix in (
        (path, "/agents"),
        (path.removeprefix("/agents"), ""),
        (path[7:], "/agents"),
        (path[7:], "/x"),
    ):
        transport = httpx.ASGITransport(world.app, root_path=prefix)  # as servers and proxies do it, with it or without
        async with httpx.AsyncClient(transport=transport, base_url="https://deputy.example.test") as client:
            page = await client.get(asked, headers={"cookie": "host-session=alice"})
        assert f'action="{path}"' in page.text and 'href="/agents/style.css"' in page.text


@pytest.mark.parametrize(
    "prefix", ["//evil.example.test", "/\\evil.example.test", "https://evil.example.test", "/evil", "/x//", "\r\n/x"]
)
async def test_prefix_sent_by_the_client_is_ignored(prefix: str) -> None:
    world = await make(sign_in="/login")
    await world.connected("readonly")
    consent = await world.asked("send")

    async def trusting(scope: Scope, receive: Receive, send: Send) -> None:
        """A middleware that trusts X-Forwarded-Prefix, as many do."""
        await world.app({**scope, "root_path": prefix}, receive, send)

    transport = httpx.ASGITransport(trusting)
    async with httpx.AsyncClient(transport=transport, base_url=WEB) as client:
        for path in ("/", "/connections", path_of(consent), "/callback/google?state=x", "/nothing", "/connect/x"):
            for session in ("", "alice"):
                client.cookies = httpx.Cookies({SESSION: session} if session else {})
                answer = await client.get(path)
                assert "evil" not in answer.headers.get("location", "") + answer.text
                assert '"//' not in answer.text and "/x/" not in answer.text


async def test_every_answer_isolates_other_origins() -> None:
    for local in (False, True):
        world = await make(local=local)
        consent = await world.asked()
        await world.connected("send")
        paths = ("/", "/connections", "/style.css", "/favicon.svg", "/health", "/nothing", "/refused", path_of(consent))
        for path in (*paths, "/callback/google?code=x&state=y"):
            headers = (await world.send("GET", path, user="alice")).headers
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert (
                headers["x-frame-options"] == "DENY" and "frame-ancestors 'none'" in headers["content-security-policy"]
            )
            assert "camera=()" in headers["permissions-policy"] and headers["x-content-type-options"] == "nosniff"


# --- words ---------------------------------------------------------------------------------------------------------


async def test_page_during_redemption_says_to_wait(world: World) -> None:
    consent = await world.asked()
    await press(world, consent)
    (record,) = await world.deputy.vault.scan("consent")
    await world.deputy.vault.swap(record, record.json | {"status": "confirmed", "returned": world.clock.now})
    place = world.deputy.vault.key_prefix(User("alice"), "google", "google")
    async with world.deputy.vault.store.lock(f"consent-{place}", 1):
        page = await world.send("GET", path_of(consent), user="alice")
    assert "<h1>Connecting Google</h1>" in page.text and f'href="{path_of(consent)}">Look again</a>' in page.text
    assert "http-equiv" not in page.text  # a page that reloads by itself is read out from its beginning each time
    page = await world.send("GET", path_of(consent), user="alice")  # its process is gone
    assert "cut off before Google had answered" in page.text


@pytest.mark.parametrize("reason", [*texts.ENDED, "nobody-knows", ""])
async def test_every_failure_reason_has_a_text(reason: str, world: World) -> None:
    consent = await world.asked()
    (record,) = await world.deputy.vault.scan("consent")
    await world.deputy.vault.swap(record, record.json | {"status": "failed", "reason": reason, "account": "a@b.test"})
    page = await world.send("GET", path_of(consent), user="alice")
    text = words_of(page)
    assert "Google is not connected" in text
    assert texts.sentence(texts.ENDED, reason, texts.ENDED_ELSE, "Google", "a@b.test") in text
    assert "{" not in text and (not reason or reason not in text.split())


@pytest.mark.parametrize("error", ["access_denied", "server_error", "invalid_scope", "admin_policy_enforced", "odd"])
async def test_every_provider_error_has_an_outcome_and_a_text(error: str, world: World) -> None:
    consent = await world.asked()
    url, jar = await press(world, consent)
    query = f"state={query_of(url)['state']}&error={error}"
    await world.send("GET", f"/callback/google?{query}", user="alice", cookies=jar)
    page = await world.send("GET", path_of(consent), user="alice")
    assert page.status_code == 200 and error not in page.text
    assert ("You said no" in page.text) == (error == "access_denied")


def test_durations_are_whole_minutes_hours_or_days() -> None:
    assert [texts.minutes(s) for s in (0, 29, 61, 119, 600, 3600, 7199, 7200, 172799, 172800, 345600)] == [
        *["1 minute"] * 3,
        *("2 minutes", "10 minutes", "60 minutes", "120 minutes", "2 hours", "48 hours", "2 days", "4 days"),
    ]


async def test_agent_without_a_name_is_called_your_agent() -> None:
    world = await make(agent="agent")
    page = await world.send("GET", path_of(await world.asked()), user="alice")
    assert "Your agent wants to act for you at Google" in words_of(page)
    assert cookies_of(page) and SEND not in page.text
