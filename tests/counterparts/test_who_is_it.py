"""Sign-ins at oidc-provider, and opaque tokens of emulate's Okta: independent servers that identify users."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx
import pytest
from starlette.types import ASGIApp

from deputize.core import App, ApprovalRequired, Call, Deputy, Secret, User, Verdict
from deputize.core.background_loop import portal
from deputize.core.http import Http
from deputize.core.oauth import messages as flow
from deputize.core.oauth.endpoint import Endpoint
from deputize.core.oauth.pkce import new_pkce, new_state
from deputize.core.settings import Settings
from deputize.core.web.app import PAGES as OURS
from deputize.core.web.app import pages_app
from deputize.core.web.signin.access_tokens import AccessTokens, Caller
from deputize.core.web.signin.from_settings import sign_in_from
from deputize.core.web.signin.issuer import Issuer
from deputize.core.web.signin.sign_in import SignIn
from deputize.sandbox.cookies import Jar
from tests.counterparts.test_emulate_providers import ISSUER, PEOPLE, app_of, found
from tests.support.counterparts import require_emulate, require_oidc_provider
from tests.support.emulate import Emulate
from tests.support.oidc_provider import READ, WRITE, OidcProvider, Person, deputy_for
from tests.support.sandbox_deputy import PAGES, build
from tests.support.strict_emulate import StrictTransport, consent_click, forms

pytestmark = pytest.mark.counterpart


@pytest.fixture(scope="module")
def server() -> Iterator[OidcProvider]:
    require_oidc_provider()
    with OidcProvider() as running:
        yield running


@asynccontextmanager
async def pages_at(server: OidcProvider, client: str, issuer: str = "plain") -> AsyncIterator[ASGIApp]:
    """Return the deputy's pages, whose users sign in at oidc-provider as this client of it."""
    secret = None if client == "native" else Secret(f"{client}-secret-{client}-secret-32")
    deputy = await build(transport=server.keep_alive)
    try:
        async with deputy:
            sign_in = SignIn(deputy, issuer=f"https://{issuer}.op.test", client_id=client, client_secret=secret)
            yield pages_app(deputy, verifier=sign_in, sign_in=sign_in.path, pages=[*OURS, *sign_in.pages])
            await deputy.http.close()
    finally:
        await portal().hop(deputy.http.close)


class Here:
    """A user's browser at the deputy's pages."""

    def __init__(self, app: ASGIApp) -> None:
        self.wire, self.jar = httpx.ASGITransport(app), Jar()

    async def ask(self, method: str, path: str, **fields: str) -> httpx.Response:
        url = httpx.URL(urljoin(PAGES, path))
        headers = {"cookie": self.jar.header(url), "content-type": "application/x-www-form-urlencoded"}
        request = httpx.Request(method, url, headers=headers, content=urlencode(fields).encode())
        answer = await self.wire.handle_async_request(request)
        await answer.aread()
        self.jar.take(url, answer.headers.get_list("set-cookie"))
        return answer


@pytest.mark.parametrize("client", ["basic", "web", "native"])
async def test_alice_and_bob_sign_in_and_out_at_oidc_provider(server: OidcProvider, client: str) -> None:
    async with pages_at(server, client) as app:
        people = {name: (Here(app), Person(server, f"{name}-{client}")) for name in ("alice", "bob")}
        for name, (here, there) in people.items():
            start = await here.ask("GET", "/sign-in?next=/connections")
            back = await there.visit(start.headers["location"])
            landed = await here.ask("GET", f"/sign-in/callback?{urlencode(back)}")
            assert (landed.status_code, landed.headers["location"]) == (303, "/connections"), landed.text
            page = await here.ask("GET", "/connections")
            assert f"https://plain.op.test#{name}-{client}" in page.text
            again = await here.ask("GET", f"/sign-in/callback?{urlencode(back)}")
            assert again.status_code == 403
        here, there = people["alice"]
        [form] = forms((await here.ask("GET", "/sign-out")).text)
        out = await here.ask("POST", "/sign-out", **form.fields)
        assert (await here.ask("GET", "/connections")).status_code == 303
        assert await ended(there, out.headers["location"]) == f"{PAGES}/signed-out"
        assert (await people["bob"][0].ask("GET", "/connections")).status_code == 200


async def test_sign_out_at_oidc_provider_ends_sessions_by_back_channel(server: OidcProvider) -> None:
    async with pages_at(server, "hears", "logout") as app:
        alice, bob = Person(server, "alice"), Person(server, "bob")
        browsers = [(Here(app), alice), (Here(app), alice), (Here(app), bob)]
        for here, there in browsers:
            start = await here.ask("GET", "/sign-in?next=/connections")
            await here.ask("GET", f"/sign-in/callback?{urlencode(await there.visit(start.headers['location']))}")
            assert (await here.ask("GET", "/connections")).status_code == 200
        before = len(server.logouts())
        await ended(alice, "https://logout.op.test/session/end")
        [told] = server.logouts()[before:]
        assert (told["url"], told["method"]) == (f"{PAGES}/sign-in/backchannel", "POST")
        assert told["type"].startswith("application/x-www-form-urlencoded")
        issuers = Here(app)
        fields = dict(parse_qsl(told["body"], strict_parsing=True))
        for status in (200, 400):  # it holds once
            assert (await issuers.ask("POST", "/sign-in/backchannel", **fields)).status_code == status
            found = [(await here.ask("GET", "/connections")).status_code for here, _ in browsers]
            assert found == [303, 303, 200]


# ------------------------------------------------------------- two tenants

ROLES: Final = {"operator": ["groups:operators"]}


@asynccontextmanager
async def tenants_at(server: OidcProvider) -> AsyncIterator[tuple[Deputy, ASGIApp]]:
    """Return a deputy, and its pages with an issuer of oidc-provider's for each of two tenants, as settings have it."""
    usual = {"client_id": "pages", "client_secret": "pages-secret-pages-secret-32", "sign_in_scopes": ["groups"]}
    tables = {
        name: usual | {"issuer": f"https://{name}.op.test", "step_up_seconds": 300} | more
        for name, more in (("acme", {"step_up_acr": ["phr"]}), ("beta", {}))
    }
    async with deputy_for(server, "web", policy=lambda act: Verdict.ASK) as deputy:
        sign_in = sign_in_from(deputy, Settings.load(base_url=PAGES, signin=tables, roles=ROLES))
        yield deputy, pages_app(deputy, verifier=sign_in, sign_in=sign_in.path, pages=[*OURS, *sign_in.pages])
        await deputy.http.close()


async def sign_in_at(tenant: str, here: Here, there: Person, **query: str) -> httpx.Response:
    """Go from the pages to the tenant's issuer and back. Returns the answer of the callback."""
    start = await here.ask("GET", f"/sign-in/{tenant}?{urlencode(query)}")
    back = await there.visit(start.headers["location"])
    return await here.ask("GET", f"/sign-in/{tenant}/callback?{urlencode(back)}")


async def connected(server: OidcProvider, deputy: Deputy, tenant: str, name: str) -> User:
    """Return the user whom the tenant's issuer calls so, with an account."""
    user = User(f"https://{tenant}.op.test#{name}", tenant)
    for asked in await deputy.connect(user, "op", scopes=[READ, WRITE]):
        assert (await Person(server, f"{name}-of-{tenant}").consent(deputy, asked)).status == "granted"
    return user


async def test_groups_at_oidc_provider_give_roles_in_their_own_tenant_until_the_next_sign_in(
    server: OidcProvider,
) -> None:
    """Acme's groups are in the id_token, beta's at the userinfo endpoint."""
    async with tenants_at(server) as (deputy, app):
        carols = {tenant: (await connected(server, deputy, tenant, "carol")).id for tenant in ("acme", "beta")}
        for tenant, other in (("acme", "beta"), ("beta", "acme")):
            server.person("olga", "staff", "operators")
            server.person("bob", "staff", "Operators")
            people = {name: (Here(app), Person(server, name)) for name in ("olga", "bob", "nina")}
            for here, there in people.values():
                assert (await sign_in_at(tenant, here, there, next="/connections")).status_code == 303
            shown = {name: await here.ask("GET", "/operator") for name, (here, _) in people.items()}
            assert {name: page.status_code for name, page in shown.items()} == {"olga": 200, "bob": 403, "nina": 403}
            assert carols[tenant] in shown["olga"].text and carols[other] not in shown["olga"].text
            server.person("olga", "staff")
            await sign_in_at(tenant, Here(app), people["olga"][1])
            assert (await people["olga"][0].ask("GET", "/operator")).status_code == 403


@pytest.mark.parametrize("tenant", ["acme", "beta"])
async def test_step_up_at_oidc_provider_opens_the_approval_of_its_own_tenant(server: OidcProvider, tenant: str) -> None:
    """Acme requires an acr, beta a new authentication only."""
    server.person("alice", acr="pwd")
    async with tenants_at(server) as (deputy, app):
        user, here, there = await connected(server, deputy, tenant, "alice"), Here(app), Person(server, "alice")
        call: Any = ("notes_write_note", {"text": "step-up"})
        with pytest.raises(ApprovalRequired) as asked:
            await deputy.act(*call, user=user, call=Call(id=tenant))
        path = urlsplit(asked.value.approval.link).path

        async def approve() -> str:
            [form, *_] = forms((await here.ask("GET", path)).text)
            await here.ask("POST", path, **(form.fields | {"decision": "approve"}))
            found = await deputy.get_approval(asked.value.approval.id, by=user)
            assert found
            return found.status

        assert (await sign_in_at(tenant, here, there, next=path)).headers["location"] == path
        assert "Sign in again to approve" in (await here.ask("GET", path)).text and await approve() == "pending"

        start = await here.ask("GET", f"/sign-in/{tenant}?{urlencode({'next': path, 'step_up': '1'})}")
        url = httpx.URL(start.headers["location"])
        assert (url.params["prompt"], url.params["max_age"]) == ("login", "300")
        assert url.params.get("acr_values") == ("phr" if tenant == "acme" else None)
        quiet = url.copy_remove_param("prompt").copy_remove_param("max_age").copy_remove_param("acr_values")
        back = await there.visit(str(quiet))  # the user does not want to be asked: the issuer says no auth_time then
        assert (await here.ask("GET", f"/sign-in/{tenant}/callback?{urlencode(back)}")).status_code == 403
        if tenant == "acme":
            assert (await sign_in_at(tenant, here, there, next=path, step_up="1")).status_code == 403
            server.person("alice", acr="phr")
        assert await approve() == "pending"
        stranger = await sign_in_at(tenant, here, Person(server, "mallory"), next=path, step_up="1")
        assert stranger.status_code == 403 and await approve() == "pending"
        done = await sign_in_at(tenant, here, there, next=path, step_up="1")
        assert done.headers["location"] == path and await approve() == "approved"
        wrote = await deputy.act(*call, user=user, call=Call(id=tenant))
        assert wrote["user"] == f"alice-of-{tenant}"


async def test_tenant_at_oidc_provider_ends_and_begins_its_own_sessions_only(server: OidcProvider) -> None:
    """Alice has the same subject at both issuers."""
    async with tenants_at(server) as (_, app):
        at = {tenant: (Here(app), Person(server, "alice")) for tenant in ("acme", "beta")}
        for tenant, (here, there) in at.items():
            assert (await sign_in_at(tenant, here, there)).status_code == 303
            assert f"https://{tenant}.op.test#alice" in (await here.ask("GET", "/connections")).text
        new = Here(app)
        start = await new.ask("GET", "/sign-in/acme")
        back = await at["acme"][1].visit(start.headers["location"])
        for tenant, status in (("beta", 403), ("acme", 303)):
            assert (await new.ask("GET", f"/sign-in/{tenant}/callback?{urlencode(back)}")).status_code == status
        before = len(server.logouts())
        await ended(at["acme"][1], "https://acme.op.test/session/end")
        [told] = server.logouts()[before:]
        assert told["url"] == f"{PAGES}/sign-in/acme/backchannel"
        fields = dict(parse_qsl(told["body"], strict_parsing=True))
        for tenant, status in (("beta", 400), ("acme", 200)):
            assert (await new.ask("POST", f"/sign-in/{tenant}/backchannel", **fields)).status_code == status
        found = [(await here.ask("GET", "/connections")).status_code for here in (at["acme"][0], new, at["beta"][0])]
        assert found == [303, 303, 200]


async def ended(there: Person, url: str) -> str:
    """Confirm at the issuer's sign-out page; return where that leads in the end."""
    page = await there.browser.get(url)
    assert page.status_code == 200, page.text
    [form, *_] = forms(page.text)
    answer = await there.browser.post(urljoin(url, form.action), data={**form.fields, "logout": "yes"})
    return str(answer.headers["location"])


@pytest.fixture(scope="module")
def emulate() -> Iterator[Emulate]:
    require_emulate()
    with Emulate("okta") as running:
        yield running


async def test_opaque_okta_tokens_identify_their_users_until_revoked(emulate: Emulate) -> None:
    strict = StrictTransport(emulate.urls)
    app = app_of("okta")
    now = [0.0]
    issuer = Issuer(ISSUER, Http(strict), lambda: time.time() + now[0])
    tokens = AccessTokens(issuer, "api://default", app=app)
    users: dict[str, User] = {}
    for name, email in PEOPLE.items():
        given = await tokens_of(strict, app, email)
        caller = await tokens.caller(given.access)
        assert isinstance(caller, Caller), caller
        users[name] = caller.user
        assert caller.user.id.startswith(f"{ISSUER}#") and "profile" in caller.scopes
        assert given.refresh is not None and isinstance(await tokens.caller(given.refresh), str)
        assert await AccessTokens(issuer, "api://other", app=app).caller(given.access) == "is for another audience"
        assert await Endpoint(Http(strict), await found(strict), app).revoke(given.access)
        now[0] += 11
        assert await tokens.caller(given.access) == "is not active"
    assert len(set(users.values())) == 2


async def tokens_of(strict: StrictTransport, app: App, email: str) -> Any:
    """Return the tokens that a client of Okta's has for this user."""
    provider, pkce, back = await found(strict), new_pkce(), f"https://deputize.example.test/callback/{app.name}"
    url = flow.authorize_url(
        provider,
        app,
        redirect_uri=back,
        scopes=frozenset({"profile"}),
        state=new_state(),
        challenge=pkce.challenge,
    )
    landed = dict(parse_qsl(urlsplit(await consent_click(strict, url, email)).query))
    return await Endpoint(Http(strict), provider, app).exchange(Secret(landed["code"]), pkce.verifier, back)
