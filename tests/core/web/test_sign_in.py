"""People sign in to the pages at an issuer, in their own browser and as themselves only."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from deputize.core import Deputy, Secret, SettingsError, User
from deputize.core.audit import Audit
from deputize.core.oauth.app import App
from deputize.core.providers import PROVIDERS
from deputize.core.vault.vault import Vault
from deputize.core.web.app import PAGES, pages_app
from deputize.core.web.ops.access_logs import remove_links
from deputize.core.web.signin.issuer import user_at
from deputize.core.web.signin.sign_in import SignIn, sign_in_at
from deputize.sandbox import Sandbox
from tests.core.web.web_application import PAGES_SESSION as SESSION
from tests.core.web.web_application import WEB, PlainBrowser, World, cookies_of, hidden, notes, query_of
from tests.support.oidc_server import CLIENT, ISSUER, SECRET, OidcServer
from tests.support.sandbox_deputy import GMAIL, Clock, google_app, new_vault

LOGOUT = {"end_session_endpoint": f"{ISSUER}/logout"}


def alice_at(issuer: str = ISSUER) -> User:
    """The user whom the issuer calls alice-1."""
    user = user_at(issuer, "alice-1")
    assert user
    return user


@dataclass
class Browser(PlainBrowser):
    """A user's browser, and the issuer."""

    server: OidcServer

    async def set_out(self, target: str = "") -> str:
        return await self.redirect("/sign-in", **({"next": target} if target else {}))

    async def come_back(self, **given: str) -> httpx.Response:
        return await self.get(f"/sign-in/callback?{urlencode(given)}")

    async def sign_in(self, target: str = "") -> httpx.Response:
        return await self.come_back(**self.server.authorize(await self.set_out(target)))


@dataclass
class Place:
    """A web application that people sign in to; ``another`` is another process of it."""

    world: World
    server: OidcServer
    vault: Vault
    sign_in: SignIn

    def browser(self, world: World | None = None) -> Browser:
        return Browser(world or self.world, self.server)

    def another(self) -> World:
        return self.another_sign_in()[0]

    def another_sign_in(self, **more: Any) -> tuple[World, SignIn]:
        return _world(self.vault, self.server, self.world.clock, **more)


def _world(vault: Vault, server: OidcServer, clock: Clock, **more: Any) -> tuple[World, SignIn]:
    sandbox = Sandbox(clock=clock)
    deputy = Deputy(
        vault,
        [google_app()],
        pages=WEB,
        providers=PROVIDERS,
        toolkits=[notes],
        transport=server,
        clock=clock,
        audit=Audit(None, vault.keys.audit, clock=clock),
    )
    sign_in = SignIn(deputy, issuer=ISSUER, client_id=CLIENT, client_secret=Secret(SECRET), **more)
    app = pages_app(deputy, verifier=sign_in, sign_in=sign_in.path, pages=[*PAGES, *sign_in.pages])
    return World(deputy, sandbox, clock, app, WEB), sign_in


async def place(server: OidcServer | None = None, **more: Any) -> Place:
    vault, clock = await new_vault(), Clock(time.time())
    server = server or OidcServer(said=LOGOUT, claims=lambda usual: usual | {"iat": clock(), "exp": clock() + 600})
    world, sign_in = _world(vault, server, clock, **more)
    return Place(world, server, vault, sign_in)


@pytest.fixture
async def here() -> Place:
    return await place()


async def test_sign_in_that_began_before_an_offboarding_gives_no_session_and_no_role(here: Place) -> None:
    """The user kept the answer of the issuer, which knew nothing of the offboarding yet."""
    browser = here.browser()
    kept = here.server.authorize(await browser.set_out())
    deputy, alice = here.world.deputy, alice_at()
    await deputy.roles.learn(replace(alice, roles=frozenset({"finance"})))
    here.world.clock.now += 30
    await deputy.offboard(alice, "left")
    await browser.come_back(**kept)
    assert (await browser.get("/connections")).status_code == 303
    assert await here.vault.scan("session") == await here.vault.scan("roles") == []
    here.world.clock.now += 2
    await browser.sign_in()  # hired again
    assert (await browser.get("/connections")).status_code == 200


async def test_sign_in_goes_to_the_issuer_and_returns_as_its_user(here: Place) -> None:
    browser = here.browser()
    asked = await browser.get("/connections")
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=%2Fconnections")
    url = await browser.set_out("/connections")
    sent = query_of(url)
    assert url.startswith(f"{ISSUER}/auth?") and sent["redirect_uri"] == f"{WEB}/sign-in/callback"
    assert sent["code_challenge_method"] == "S256" and sent["scope"] == "openid" and sent["nonce"] and sent["state"]
    back = await browser.come_back(**here.server.authorize(url))
    assert (back.status_code, back.headers["location"]) == (303, "/connections")
    attributes = cookies_of(back)[SESSION]
    assert all(word in attributes for word in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"))
    assert set(browser.jar) == {SESSION}, "the cookie of the way is dropped"
    page = await browser.get("/connections")
    assert page.status_code == 200 and f"{ISSUER}#alice-1" in page.text and 'href="/sign-out"' in page.text
    assert (await browser.get("/sign-in?next=/asks")).headers["location"] == "/asks"


async def test_signed_in_person_is_the_calls_user(here: Place) -> None:
    [asked] = await here.world.deputy.connect(alice_at(), "google", scopes=[f"{GMAIL}readonly"])
    path = urlsplit(asked.link).path
    alice = here.browser()
    first = await alice.get(path)
    assert first.status_code == 303 and first.headers["location"].startswith("/sign-in?next=%2Fconnect%2F")
    back = await alice.sign_in(path)
    assert back.headers["location"] == path
    assert "Continue" in (await alice.get(path)).text
    here.server.userinfo = {"sub": "bob-1", "email": "bob@example.test"}
    bob = here.browser()
    await bob.sign_in(path)
    refused = await bob.get(path)
    assert refused.status_code == 403 and "This link cannot be used" in refused.text


async def test_code_from_another_browser_signs_nobody_in(here: Place) -> None:
    """Login CSRF: Mallory lets a victim open the end of her own sign-in."""
    mallory, victim = here.browser(), here.browser()
    back = here.server.authorize(await mallory.set_out())
    assert (await victim.come_back(**back)).status_code == 403
    mine = here.server.authorize(await victim.set_out())
    assert (await victim.come_back(**{**back, "state": mine["state"]})).status_code == 403, "the nonce, or PKCE"
    assert SESSION not in victim.jar and await here.vault.scan("session") == []


async def test_sign_in_attempt_is_usable_once_and_expires(here: Place) -> None:
    browser = here.browser()
    back = here.server.authorize(await browser.set_out())
    cookies = dict(browser.jar)
    await browser.come_back(**back)
    thief = here.browser()
    thief.jar = cookies
    assert (await thief.come_back(**back)).status_code == 403, "the code is spent"
    late = here.browser()
    back = here.server.authorize(await late.set_out())
    here.world.clock.now += 601
    assert (await late.come_back(**back)).status_code == 403
    assert len(await here.vault.scan("session")) == 1


@pytest.mark.parametrize("change", ["signature", "time", "value", "kind", "target", "none", "odd"])
async def test_altered_session_cookie_is_ignored(change: str, here: Place) -> None:
    browser = here.browser()
    back = here.server.authorize(await browser.set_out("/connections"))
    [(name, cookie)] = browser.jar.items()
    value, began, kind, target, signature = cookie.split(".")
    browser.jar[name] = {
        "signature": f"{value}.{began}.{kind}.{target}.{'0' * 64}",
        "time": f"{value}.{int(began) + 5}.{kind}.{target}.{signature}",
        "value": f"{'A' * 43}.{began}.{kind}.{target}.{signature}",
        "kind": f"{value}.{began}.step-up.{target}.{signature}",
        "target": f"{value}.{began}.{kind}.L2V2aWw=.{signature}",
        "none": "",
        "odd": "x" * 50,
    }[change]
    assert (await browser.come_back(**back)).status_code == 403 and SESSION not in browser.jar


async def test_answer_of_another_issuer_is_refused_before_its_code_is_used(here: Place) -> None:
    for iss in ("https://evil.example", ""):
        browser = here.browser()
        back = here.server.authorize(await browser.set_out()) | {"iss": iss}
        asked = len(here.server.forms)
        assert (await browser.come_back(**{name: value for name, value in back.items() if value})).status_code == 403
        assert len(here.server.forms) == asked
    browser = here.browser()
    back = here.server.authorize(await browser.set_out())
    twice = await browser.get(f"/sign-in/callback?{urlencode(back)}&code=another")
    assert twice.status_code == 403 and len(here.server.forms) == asked


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "another-client"},
        {"nonce": "another"},
        {"exp": 1},
        {"sub": ""},
        {"aud": [CLIENT, "another"]},
    ],
)
async def test_id_token_for_another_client_signs_nobody_in(claims: dict[str, Any]) -> None:
    here = await place(OidcServer(claims=lambda usual: {**usual, **claims}))
    browser = here.browser()
    answer = await browser.sign_in()
    assert answer.status_code == 403 and "not signed in" in answer.text
    assert SESSION not in browser.jar and await here.vault.scan("session") == []


async def test_denial_at_the_issuer_is_an_error_page(here: Place) -> None:
    browser = here.browser()
    state = query_of(await browser.set_out())["state"]
    answer = await browser.come_back(error="access_denied", state=state, iss=ISSUER)
    assert answer.status_code == 403 and "not signed in" in answer.text


async def test_error_of_the_issuer_cannot_forge_a_line_of_the_log(
    here: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody can begin a sign-in, and answer it with any error."""
    browser = here.browser()
    state = query_of(await browser.set_out())["state"]
    with caplog.at_level(logging.INFO, "deputize.web"):
        await browser.come_back(error="x\nERROR forged\x1b[2K", state=state, iss=ISSUER)
    [said] = [one.getMessage() for one in caplog.records if "forged" in one.getMessage()]
    assert said.isprintable()


@pytest.mark.parametrize(("verified", "status"), [(True, 303), (False, 403), (None, 403), ("true", 403), (1, 403)])
async def test_email_address_is_a_user_only_if_the_issuer_has_verified_it(verified: Any, status: int) -> None:
    """Many issuers let people enter the address of somebody else."""
    now = int(time.time())
    server = OidcServer(claims=lambda usual: usual | {"iat": now, "exp": now + 600, "email_verified": verified})
    here = await place(server, subject="email")
    assert (await here.browser().sign_in()).status_code == status


@pytest.mark.parametrize(
    "target",
    [
        *("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"),
        *("/connections/..//evil.example", "/a\nb", "http://deputy.example.test/", "///evil.example", ""),
    ],
)
async def test_return_address_after_sign_in_is_a_page_of_this_host(target: str, here: Place) -> None:
    browser = here.browser()
    assert (await browser.sign_in(target)).headers["location"] == "/connections"
    assert (await browser.get(f"/sign-in?{urlencode({'next': target})}")).headers["location"] == "/connections"


async def test_each_sign_in_creates_a_new_session_and_ends_the_old(here: Place) -> None:
    browser = here.browser()
    browser.jar[SESSION] = f"{'A' * 43}.{here.vault.key_prefix(alice_at())}"
    await browser.sign_in()
    first = browser.jar[SESSION]
    assert first.split(".")[0] != "A" * 43
    del browser.jar[SESSION]
    url = await browser.set_out()
    browser.jar[SESSION] = first
    await browser.come_back(**here.server.authorize(url))
    assert browser.jar[SESSION] != first and len(await here.vault.scan("session")) == 1
    browser.jar[SESSION] = first
    assert (await browser.get("/connections")).status_code == 303


async def test_sign_in_as_another_user_does_not_replace_the_session(here: Place) -> None:
    browser = here.browser()
    url = await browser.set_out()
    await browser.sign_in()
    first = browser.jar[SESSION]
    here.server.userinfo = {"sub": "bob-1", "email": "bob@example.test"}
    assert (await browser.come_back(**here.server.authorize(url))).status_code == 403
    assert browser.jar[SESSION] == first and "alice-1" in (await browser.get("/connections")).text


async def test_session_ends_when_idle_and_after_half_a_day(here: Place) -> None:
    browser = here.browser()
    await browser.sign_in()
    here.world.clock.now += 1801
    assert (await browser.get("/connections")).status_code == 303
    await browser.sign_in()
    for _ in range(23):
        here.world.clock.now += 1790
        assert (await browser.get("/connections")).status_code == 200
    here.world.clock.now += 1790 * 2
    assert (await browser.get("/connections")).status_code == 303
    await here.world.deputy.sweeper.turn()
    assert await here.vault.scan("session") == []


async def test_late_form_does_nothing_and_says_so(here: Place) -> None:
    """A redirect to the issuer would be blocked silently: the form's page names where it may lead (CSP)."""
    browser = here.browser()
    [asked] = await here.world.deputy.connect(alice_at(), "google", scopes=[f"{GMAIL}readonly"])
    path = urlsplit(asked.link).path
    await browser.sign_in(path)
    form = hidden(await browser.get(path))
    here.world.clock.now += 1801
    late = await browser.post(path, form=form)
    assert late.status_code == 401 and "not signed in any more" in late.text and "location" not in late.headers


async def test_another_process_knows_sessions_and_sign_in_attempts(here: Place) -> None:
    other = here.another()
    browser = here.browser()
    back = here.server.authorize(await browser.set_out())
    browser.world = other
    await browser.come_back(**back)
    browser.world = here.world
    assert (await browser.get("/connections")).status_code == 200
    await browser.post("/sign-out", form=hidden(await browser.get("/sign-out")))
    browser.world = other
    assert (await browser.get("/connections")).status_code == 303


async def test_sign_out_ends_the_session_here_and_at_the_issuer(here: Place) -> None:
    browser = here.browser()
    await browser.sign_in()
    kept = browser.jar[SESSION]
    assert (await browser.post("/sign-out", form="0" * 64)).status_code == 403
    assert (await browser.get("/connections")).status_code == 200, "no other page signs anybody out"
    page = await browser.get("/sign-out")
    assert "form-action 'self' https:;" in page.headers["content-security-policy"]
    out = await browser.post("/sign-out", form=hidden(page))
    sent = query_of(out.headers["location"])
    assert out.headers["location"].startswith(f"{ISSUER}/logout?") and sent["id_token_hint"].count(".") == 2
    assert (sent["client_id"], sent["post_logout_redirect_uri"]) == (CLIENT, f"{WEB}/signed-out")
    assert SESSION not in browser.jar and await here.vault.scan("session") == []
    browser.jar[SESSION] = kept
    assert (await browser.get("/connections")).status_code == 303
    assert "You are signed out" in (await browser.get("/signed-out")).text


async def test_sign_out_without_issuer_support_ends_the_local_session() -> None:
    here = await place(OidcServer())
    browser = here.browser()
    await browser.sign_in()
    out = await browser.post("/sign-out", form=hidden(await browser.get("/sign-out")))
    assert out.headers["location"] == "/signed-out"


async def test_session_record_is_encrypted_and_erased_with_its_user(here: Place) -> None:
    browser = here.browser()
    await browser.sign_in()
    [(key, sealed)] = await here.vault.store.scan("session", "")
    assert browser.jar[SESSION].split(".")[0] not in key and b"alice" not in sealed
    [record] = await here.vault.scan("session")
    assert isinstance(record.json["id_token"], Secret)
    await here.world.deputy.erase(alice_at())
    assert (await browser.get("/connections")).status_code == 303


async def test_session_of_another_issuer_is_ignored(here: Place) -> None:
    browser = here.browser()
    await browser.sign_in()
    [record] = await here.vault.scan("session")
    await here.vault.swap(record, record.json | {"issuer": "https://login.before.test"})
    assert (await browser.get("/connections")).status_code == 303


async def test_new_key_of_the_issuer_is_fetched() -> None:
    server = OidcServer(jwks=b'{"keys": []}')
    here = await place(server)
    assert (await here.browser().sign_in()).status_code == 403
    server.jwks = None
    here.world.clock.now += 61
    assert (await here.browser().sign_in()).status_code == 303


def test_access_log_shows_no_code_and_no_link() -> None:
    for path in ("/sign-in/callback", "/sign-in", "/sign-in/acme", "/sign-in/acme/callback"):
        line = f'"GET {path}?code=a-code&state=a-state HTTP/1.1" 303'
        assert remove_links(line) == f'"GET {path} HTTP/1.1" 303'


async def test_issuer_outage_is_reported(here: Place) -> None:
    browser = here.browser()
    url = await browser.set_out()
    here.server.answers["/token"] = (503, {})
    assert (await browser.come_back(**here.server.authorize(url))).status_code == 502


async def test_sign_in_is_refused_for_local_pages_or_an_unusable_issuer(here: Place) -> None:
    deputy = here.world.deputy
    with pytest.raises(SettingsError, match="https address"):
        SignIn(deputy, issuer="http://login.example.test", client_id=CLIENT)
    issuer, whole = here.sign_in.issuer, here.server.metadata
    for without in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        with pytest.raises(SettingsError, match=without):
            sign_in_at(issuer, whole | {without: ""}, here.sign_in.app)
    with pytest.raises(SettingsError, match="is not an https address"):
        sign_in_at(issuer, whole | {"token_endpoint": "http://login.example.test/token"}, here.sign_in.app)
    with pytest.raises(SettingsError, match="S256"):
        sign_in_at(issuer, whole | {"code_challenge_methods_supported": []}, App("sign-in", CLIENT))
