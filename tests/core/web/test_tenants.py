"""Several issuers at one deputy: each produces users of its own tenant only, and no issuer answers for another one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from deputize.core import Deputy, Secret, SettingsError, User
from deputize.core.audit import Audit
from deputize.core.providers import PROVIDERS
from deputize.core.settings import Settings
from deputize.core.vault.vault import Vault
from deputize.core.web.app import PAGES, pages_app
from deputize.core.web.signin.from_settings import guards_from, sign_in_from
from deputize.core.web.signin.sign_in import SignIn
from deputize.core.web.signin.tenants import SignIns
from deputize.sandbox import Sandbox
from tests.core.web.web_application import PAGES_SESSION as SESSION
from tests.core.web.web_application import WEB, PlainBrowser, World, hidden, notes, query_of
from tests.support.oidc_server import CLIENT, SECRET, OidcServer
from tests.support.sandbox_deputy import GMAIL, Clock, google_app, new_vault

ACME, BETA = "https://login.acme.test", "https://login.beta.test"
LOGOUT = "/logout"


class Issuers(httpx.AsyncBaseTransport):
    """The servers of all tenants, by address."""

    def __init__(self, *issuers: str) -> None:
        self.by_url = {url: self._server(url) for url in issuers}

    @staticmethod
    def _server(url: str) -> OidcServer:
        now = int(time.time())
        server = OidcServer(issuer=url, claims=lambda usual: usual | {"iat": now, "exp": now + 600})
        server.said = {"end_session_endpoint": url + LOGOUT}
        return server

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = str(request.url)
        server = next(server for base, server in self.by_url.items() if url.startswith(base + "/"))
        return await server.handle_async_request(request)


@dataclass
class Several:
    """An application whose users come from two companies."""

    world: World
    issuers: Issuers
    vault: Vault
    sign_ins: SignIns

    def browser(self) -> Browser:
        return Browser(self.world, self.issuers)


@dataclass
class Browser(PlainBrowser):
    """A user's browser, and the issuers."""

    issuers: Issuers

    async def set_out(self, name: str, target: str = "/connections") -> str:
        return await self.redirect(f"/sign-in/{name}", next=target)

    async def sign_in(self, name: str, target: str = "/connections") -> httpx.Response:
        url = await self.set_out(name, target)
        server = next(server for base, server in self.issuers.by_url.items() if url.startswith(base))
        return await self.get(f"/sign-in/{name}/callback?{urlencode(server.authorize(url))}")


def settings(**more: Any) -> Settings:
    usual = {"client_id": CLIENT, "client_secret": SECRET}
    tables = {
        "acme": usual | {"issuer": ACME, "domains": ["acme.test"]},
        "beta": usual | {"issuer": BETA, "tenant": "org-7", "domains": ["Beta.test", "b.test"]},
    }
    return Settings.load(**{"base_url": WEB, "signin": tables} | more)


async def several(**more: Any) -> Several:
    vault, clock, issuers = await new_vault(), Clock(time.time()), Issuers(ACME, BETA)
    deputy = Deputy(
        vault,
        [google_app()],
        pages=WEB,
        providers=PROVIDERS,
        toolkits=[notes],
        transport=issuers,
        clock=clock,
        audit=Audit(None, vault.keys.audit, clock=clock),
    )
    sign_ins = sign_in_from(deputy, settings(**more))
    assert isinstance(sign_ins, SignIns)
    app = pages_app(deputy, verifier=sign_ins, sign_in=sign_ins.path, pages=[*PAGES, *sign_ins.pages])
    return Several(World(deputy, Sandbox(clock=clock), clock, app, WEB), issuers, vault, sign_ins)


@pytest.fixture
async def here() -> Several:
    return await several()


async def test_user_belongs_to_the_tenant_of_the_issuer(here: Several) -> None:
    for name, user in (("acme", User(f"{ACME}#alice-1", "acme")), ("beta", User(f"{BETA}#alice-1", "org-7"))):
        browser = here.browser()
        assert (await browser.sign_in(name)).headers["location"] == "/connections"
        [record] = [one for one in await here.vault.scan("session") if one.json["user"][0] == user.tenant]
        assert record.json["user"] == [user.tenant, user.id]
        assert user.id in (await browser.get("/connections")).text


async def test_link_of_one_tenant_is_refused_for_the_same_subject_of_another(here: Several) -> None:
    owner = User(f"{ACME}#alice-1", "acme")
    [asked] = await here.world.deputy.connect(owner, "google", scopes=[f"{GMAIL}readonly"])
    path = urlsplit(asked.link).path
    alice, stranger = here.browser(), here.browser()
    await alice.sign_in("acme")
    assert "Continue" in (await alice.get(path)).text
    await stranger.sign_in("beta")
    refused = await stranger.get(path)
    assert refused.status_code == 403 and "This link cannot be used" in refused.text


async def test_address_at_work_leads_to_its_issuer(here: Several) -> None:
    browser = here.browser()
    asked = await browser.get("/connections")
    assert asked.headers["location"] == "/sign-in?next=%2Fconnections"
    for address, path in (("Alice@ACME.test", "/sign-in/acme"), ("x@b.test", "/sign-in/beta"), ("beta.test", "")):
        page = await browser.get("/sign-in?next=/asks")
        assert page.status_code == 200 and "form-action 'self' https:;" in page.headers["content-security-policy"]
        chosen = await browser.post("/sign-in", form=hidden(page), next="/asks", email=address)
        assert chosen.headers["location"] == f"{path or '/sign-in/beta'}?next=%2Fasks"
    await browser.sign_in("acme", "/asks")
    assert (await browser.get("/sign-in?next=/asks")).headers["location"] == "/asks"


@pytest.mark.parametrize(
    "address", ["x@other.test", "x@acme.test.evil.test", "x@sub.acme.test", "x@", "", "@@", "x" * 999]
)
async def test_unknown_address_names_no_tenant(address: str, here: Several) -> None:
    browser = here.browser()
    page = await browser.get("/sign-in")
    answer = await browser.post("/sign-in", form=hidden(page), next="//evil.example", email=address)
    assert "location" not in answer.headers and "acme" not in answer.text.replace(address, "")
    assert 'value="/connections"' in answer.text, "no open redirect"
    assert (await browser.post("/sign-in", form="0" * 64, email="x@acme.test")).status_code == 403


async def test_answer_of_one_issuer_cannot_end_the_sign_in_at_another(here: Several) -> None:
    """Mix-up (RFC 9700 4.4): the code goes to the issuer that gave it, and to no other."""
    browser = here.browser()
    url = await browser.set_out("acme")
    back = here.issuers.by_url[ACME].authorize(url)
    asked = len(here.issuers.by_url[BETA].forms)
    assert (await browser.get(f"/sign-in/beta/callback?{urlencode(back)}")).status_code == 403
    assert len(here.issuers.by_url[BETA].forms) == asked and SESSION not in browser.jar
    assert query_of(url)["redirect_uri"] == f"{WEB}/sign-in/acme/callback"


async def test_issuer_signs_in_no_user_of_another_tenant(here: Several) -> None:
    beta = here.issuers.by_url[BETA]
    usual = beta.claims
    for claims in ({"iss": ACME}, {"tenant": "acme"}, {"tid": "acme"}, {"sub": f"{ACME}#alice-1"}):
        beta.claims = lambda given, claims=claims: usual(given) | claims  # type: ignore[misc]
        await here.browser().sign_in("beta")
    users = {tuple(one.json["user"]) for one in await here.vault.scan("session")}
    assert users == {("org-7", f"{BETA}#alice-1"), ("org-7", f"{BETA}#{ACME}#alice-1")}


@pytest.mark.parametrize(
    "change", [{"user": ["acme", f"{BETA}#alice-1"]}, {"issuer": ACME}, {"issuer": "https://gone.test"}]
)
async def test_session_counts_at_its_issuer_and_tenant_only(change: dict[str, Any], here: Several) -> None:
    browser = here.browser()
    await browser.sign_in("beta")
    [record] = await here.vault.scan("session")
    await here.vault.swap(record, record.json | change)
    assert (await browser.get("/connections")).status_code == 303


async def test_link_to_another_issuer_does_not_replace_the_session(here: Several) -> None:
    """Mallory runs beta's issuer, which signs any browser in as her without a question. Alice would then connect her
    accounts for Mallory's agent."""
    browser = here.browser()
    await browser.sign_in("acme")
    first = browser.jar[SESSION]
    assert await browser.redirect("/sign-in/beta", next="/connections") == "/sign-out"
    out = await browser.get("/sign-out")
    assert f"You are signed in as <strong>{ACME}#alice-1</strong>" in out.text
    assert browser.jar[SESSION] == first and "alice-1" in (await browser.get("/connections")).text
    await browser.post("/sign-out", form=hidden(out))
    assert (await browser.sign_in("beta")).status_code == 303
    [record] = await here.vault.scan("session")
    assert record.json["user"][0] == "org-7"


@pytest.mark.parametrize("step_up", [{}, {"step_up": "1"}])
async def test_late_answer_of_another_issuer_does_not_replace_the_session(step_up: dict[str, str]) -> None:
    """Beta's issuer keeps the browser that began there until Alice has signed in at acme in another tab."""
    tables = settings().signin
    here = await several(signin={name: one.model_copy(update={"step_up_seconds": 300}) for name, one in tables.items()})
    browser = here.browser()
    url = await browser.redirect("/sign-in/beta", **step_up)
    await browser.sign_in("acme")
    first = browser.jar[SESSION]
    late = await browser.get(f"/sign-in/beta/callback?{urlencode(here.issuers.by_url[BETA].authorize(url))}")
    assert late.status_code == 403 and browser.jar[SESSION] == first
    assert (await browser.get("/connections")).status_code == 200


@pytest.mark.parametrize(("name", "issuer"), [("acme", ACME), ("beta", BETA)])
async def test_sign_out_ends_the_session_here_and_at_its_own_issuer(name: str, issuer: str, here: Several) -> None:
    browser = here.browser()
    await browser.sign_in(name)
    out = await browser.post("/sign-out", form=hidden(await browser.get("/sign-out")))
    sent = query_of(out.headers["location"])
    assert out.headers["location"].startswith(f"{issuer}{LOGOUT}?") and sent["id_token_hint"].count(".") == 2
    assert sent["post_logout_redirect_uri"] == f"{WEB}/signed-out" and await here.vault.scan("session") == []


async def test_forms_of_one_tenant_do_nothing_for_a_user_of_another(here: Several) -> None:
    browser = here.browser()
    await browser.sign_in("acme")
    form = hidden(await browser.get("/sign-out"))
    await browser.post("/sign-out", form=form)
    await browser.sign_in("beta")
    assert (await browser.post("/sign-out", form=form)).status_code == 403


async def test_no_header_and_no_spelling_of_a_path_leads_to_another_tenant(here: Several) -> None:
    evil = {"host": "beta.test", "x-forwarded-host": "evil.example", "x-forwarded-prefix": "//evil.example"}
    for headers in ({"host": "DEPUTY.example.test.:443"}, evil, {"x-original-url": "/sign-in/beta"}):
        answer = await here.world.send("GET", "/sign-in/acme?next=/asks", headers=headers)
        assert answer.headers["location"].startswith(f"{ACME}/auth?")
        assert query_of(answer.headers["location"])["redirect_uri"] == f"{WEB}/sign-in/acme/callback"
        assert all(
            line.startswith("__Host-") and "Domain" not in line for line in answer.headers.get_list("set-cookie")
        )
    for path in ("/sign-in/ACME", "/sign-in/acme/", "/sign-in//acme", "/sign-in/beta/..%2facme", "/sign-in/acme%00"):
        assert (await here.world.send("GET", path)).status_code == 404
    assert (await here.world.send("GET", "/sign-in%2facme")).headers["location"].startswith(f"{ACME}/auth?")


async def test_each_issuer_guards_an_endpoint_of_its_own(here: Several) -> None:
    guards = guards_from(settings(), here.sign_ins)
    assert {path: guard.metadata["authorization_servers"] for path, guard in guards.items()} == {
        "/mcp/acme": [ACME],
        "/mcp/beta": [BETA],
    }
    assert guards["/mcp/beta"].metadata["resource"] == f"{WEB}/mcp/beta"
    assert guards["/mcp/beta"].tokens.tenant == "org-7"


USUAL = {"client_id": CLIENT, "issuer": ACME}


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"a": USUAL, "b": USUAL}, "would be in both tenants"),
        ({"a": USUAL | {"required_claims": {"hd": "a.test"}}, "b": USUAL}, "would be in both tenants"),
        (
            {"a": USUAL | {"required_claims": {"hd": "a"}}, "b": USUAL | {"required_claims": {"tid": "b"}}},
            "would be in both tenants",
        ),
        ({"a": USUAL | {"domains": ["x.test"]}, "b": USUAL | {"issuer": BETA, "domains": ["x.test"]}}, "two sign-ins"),
        ({"A b": USUAL}, "invalid name"),
        ({"callback": USUAL}, "invalid name"),
    ],
)
async def test_tenants_that_could_be_confused_are_refused(tables: dict[str, Any], says: str, here: Several) -> None:
    with pytest.raises(SettingsError, match=says):
        sign_in_from(here.world.deputy, settings(signin=tables))


async def test_one_issuer_serves_two_tenants_that_a_claim_tells_apart(here: Several) -> None:
    tables = {name: USUAL | {"required_claims": {"hd": f"{name}.test"}} for name in ("a", "b")}
    assert sign_in_from(here.world.deputy, settings(signin=tables))


def test_issuer_in_serve_and_in_signin_is_refused() -> None:
    with pytest.raises(SettingsError, match="both set"):
        settings(serve={"issuer": ACME}).sign_ins()


async def test_two_sign_ins_of_one_name_are_refused(here: Several) -> None:
    made = [
        SignIn(here.world.deputy, issuer=url, client_id=CLIENT, client_secret=Secret(SECRET), name=name)
        for url, name in ((ACME, "one"), (BETA, "one"))
    ]
    with pytest.raises(SettingsError, match="name of its own"):
        SignIns(here.world.deputy, made)
    with pytest.raises(SettingsError, match="does not exist"):
        SignIns(here.world.deputy, made[:1], {"x.test": "two"})
