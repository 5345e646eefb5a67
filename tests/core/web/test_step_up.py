"""An act that destroys something or that everybody sees is approved only soon after a new sign-in at the issuer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from deputize.core import ApprovalRequired, Call, Deputy, Secret
from deputize.core.audit import Audit
from deputize.core.providers import PROVIDERS
from deputize.core.user_requests import Approval
from deputize.core.web.app import PAGES, pages_app
from deputize.core.web.signin.base_sign_in import StepUp
from deputize.core.web.signin.sign_in import SignIn
from deputize.sandbox import Sandbox
from tests.core.web.test_sign_in import Browser, alice_at
from tests.core.web.web_application import PAGES_SESSION as SESSION
from tests.core.web.web_application import WEB, World, answered, hidden, notes, query_of
from tests.support.oidc_server import CLIENT, ISSUER, SECRET, OidcServer
from tests.support.sandbox_deputy import GMAIL, Clock, google_app, new_vault

NOTE = {"to": "bob@example.test", "subject": "News", "text": "Hello all"}
Claims = dict[str, Any]


@dataclass
class Both(httpx.AsyncBaseTransport):
    """The issuer answers for its own host, the sandbox for the providers."""

    issuer: OidcServer
    providers: httpx.AsyncBaseTransport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        there = self.issuer if str(request.url).startswith(ISSUER) else self.providers
        return await there.handle_async_request(request)


class Place:
    """Alice's browser, signed in without a time of authentication, and an approval that waits for her."""

    clock: Clock
    claims: Callable[[], Claims]
    """More claims of the next id_token."""

    def __init__(self) -> None:
        self.clock, self.claims = Clock(time.time()), dict
        self.server = OidcServer(
            claims=lambda usual: usual | {"iat": self.clock(), "exp": self.clock() + 600} | self.claims()
        )

    async def begin(self, step_up: StepUp | None) -> None:
        sandbox, vault = Sandbox(clock=self.clock), await new_vault()
        self.deputy = Deputy(
            vault,
            [google_app()],
            pages=WEB,
            providers=PROVIDERS,
            toolkits=[notes],
            transport=Both(self.server, sandbox.transport()),
            clock=self.clock,
            audit=Audit(None, vault.keys.audit, clock=self.clock),
        )
        sign_in = SignIn(self.deputy, issuer=ISSUER, client_id=CLIENT, client_secret=Secret(SECRET), step_up=step_up)
        app = pages_app(self.deputy, verifier=sign_in, sign_in=sign_in.path, pages=[*PAGES, *sign_in.pages])
        self.browser = Browser(World(self.deputy, sandbox, self.clock, app, WEB), self.server)
        [asked] = await self.deputy.connect(alice_at(), "google", scopes=[f"{GMAIL}send"])
        started = await self.deputy.consents.start(asked.link.rpartition("/")[2], alice_at())
        back = query_of(await answered(self.browser.world, started.url))
        await self.deputy.consents.finish(asked.app, back, alice_at(), started.nonce.reveal())
        await self.browser.sign_in()

    async def ask(self, **change: Any) -> str:
        """Return the path of the page of a new approval."""
        try:
            await self.deputy.act("notes_post_note", NOTE | change, user=alice_at(), call=Call(id=str(change)))
        except ApprovalRequired as asked:
            self.asked: Approval = asked.approval
            return urlsplit(asked.approval.link).path
        raise AssertionError("nothing was asked")

    async def approve(self, path: str, below: str = "", **fields: str) -> str:
        page = await self.browser.get(path)
        await self.browser.post(path + below, **({"form": hidden(page), "decision": "approve"} | fields))
        found = await self.deputy.get_approval(self.asked.id, by=alice_at())
        assert found
        return found.status

    async def step_up(self, path: str) -> httpx.Response:
        """Follow the link of the page to the issuer and back."""
        back = self.server.authorize(await self.set_out(path))
        return await self.browser.come_back(**back)

    async def set_out(self, path: str) -> str:
        link = (await self.browser.get(path)).text.partition('class="button yes" href="')[2].partition('"')[0]
        assert link.startswith("/sign-in?step_up=1&amp;next="), link
        return str((await self.browser.get(link.replace("&amp;", "&"))).headers["location"])

    def authenticates(self, ago: float = 0.0, **more: Any) -> None:
        self.claims = lambda: {"auth_time": self.clock() - ago, **more}


USUAL = StepUp(300)


async def place(step_up: StepUp | None = USUAL) -> Place:
    here = Place()
    await here.begin(step_up)
    return here


async def test_public_act_is_approved_only_after_a_new_sign_in() -> None:
    here = await place()
    path = await here.ask()
    page = await here.browser.get(path)
    assert "Sign in again to approve" in page.text and 'value="approve"' not in page.text
    assert await here.approve(path) == "pending"
    asked = query_of(await here.set_out(path))
    assert (asked["prompt"], asked["max_age"]) == ("login", "300")
    here.authenticates()
    before = here.browser.jar[SESSION]
    back = await here.step_up(path)
    assert back.headers["location"] == path and here.browser.jar[SESSION] != before
    found = await here.deputy.get_approval(here.asked.id, by=alice_at())
    assert found and found.status == "pending", "the redirect decides nothing"
    assert 'value="approve"' in (await here.browser.get(path)).text
    assert await here.approve(path) == "approved"


async def test_new_sign_in_counts_for_the_seconds_of_the_setting() -> None:
    here = await place()
    path = await here.ask()
    here.authenticates()
    await here.step_up(path)
    here.clock.now += 301
    assert await here.approve(path) == "pending"


@pytest.mark.parametrize(
    ("claims", "what"),
    [
        ({}, "no time"),
        ({"auth_time": 1.0}, "long ago"),
        ({"auth_time": "now"}, "a text"),
        ({"auth_time": True}, "a truth"),
        ({"auth_time": None}, "nothing"),
    ],
)
async def test_answer_without_a_new_authentication_is_refused(claims: Claims, what: str) -> None:
    here = await place()
    path = await here.ask()
    here.claims = lambda: claims
    before = here.browser.jar[SESSION]
    assert (await here.step_up(path)).status_code == 403, what
    assert here.browser.jar[SESSION] == before and await here.approve(path) == "pending"


async def test_authentication_in_the_future_is_refused() -> None:
    """Its time is unknown: an issuer whose clock is hours ahead says it of old authentications as well."""
    here = await place()
    path = await here.ask()
    here.authenticates(ago=-3600)
    assert (await here.step_up(path)).status_code == 403
    assert await here.approve(path) == "pending"


async def test_authentication_from_before_the_request_is_refused() -> None:
    here = await place()
    path = await here.ask()
    here.authenticates(ago=120)
    assert (await here.step_up(path)).status_code == 403
    assert await here.approve(path) == "pending"


async def test_answer_of_a_step_up_works_once_and_in_its_browser_only() -> None:
    here = await place()
    path = await here.ask()
    here.authenticates()
    back = here.server.authorize(await here.set_out(path))
    thief = Browser(here.browser.world, here.server)
    assert (await thief.come_back(**back)).status_code == 403
    assert (await here.browser.come_back(**back)).headers["location"] == path
    assert (await here.browser.come_back(**back)).status_code == 403


async def test_step_up_of_another_user_does_not_replace_the_session() -> None:
    here = await place()
    path = await here.ask()
    here.authenticates()
    here.server.userinfo = {"sub": "bob-1", "email": "bob@example.test"}
    before = here.browser.jar[SESSION]
    assert (await here.step_up(path)).status_code == 403 and here.browser.jar[SESSION] == before


async def test_plain_sign_in_does_not_pass_for_a_step_up_by_a_changed_link() -> None:
    """The user drops ``step_up`` from the link: the session is kept, and the act stays closed."""
    here = await place()
    path = await here.ask()
    assert (await here.browser.get(f"/sign-in?{urlencode({'next': path})}")).headers["location"] == path
    assert await here.approve(path) == "pending"


@pytest.mark.parametrize(("acr", "status"), [("mfa", 303), ("pwd", 403), (None, 403)])
async def test_required_means_of_authentication_are_checked(acr: str | None, status: int) -> None:
    here = await place(StepUp(300, ("mfa", "phr")))
    path = await here.ask()
    assert query_of(await here.set_out(path))["acr_values"] == "mfa phr"
    here.authenticates(acr=acr)
    assert (await here.step_up(path)).status_code == status
    assert await here.approve(path) == ("approved" if status == 303 else "pending")


async def test_mandate_is_not_given_without_a_new_sign_in() -> None:
    here = await place()
    path = await here.ask(over=False)
    assert await here.approve(path, "/more", most="5", hours="1") == "pending"
    assert await here.deputy.mandates(alice_at()) == []


async def test_rejection_needs_no_new_sign_in() -> None:
    here = await place()
    assert await here.approve(await here.ask(), decision="reject") == "rejected"


async def test_without_the_setting_nobody_signs_in_again() -> None:
    here = await place(None)
    assert await here.approve(await here.ask()) == "approved"
