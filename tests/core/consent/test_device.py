"""The device flow (RFC 8628) at the sandbox's GitHub: polling, the provider's errors, and isolation of users."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from deputize.core import (
    PROVIDERS,
    Consent,
    Deputy,
    DeviceCode,
    InvalidInput,
    ProviderUnavailable,
    SettingsError,
    User,
)
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.oauth import messages as flow
from deputize.core.providers import GITHUB
from deputize.core.shared_services import FixedPages
from deputize.sandbox import Browser, Page, Sandbox
from deputize.sandbox.deputies import apps
from tests.support.replace_parts import exchange
from tests.support.sandbox_deputy import Clock, build, consent

ALICE, BOB = "alice@example.test", "bob@example.test"
POLLS = ("POST", "/login/oauth/access_token")
CODES = ("POST", "/login/device/code")


@dataclass
class Line(httpx.AsyncBaseTransport):
    """The sandbox, the requests to its token endpoint, and its observers."""

    sandbox: Sandbox
    forms: list[dict[str, list[str]]] = field(default_factory=list)
    before: Callable[[], Awaitable[None]] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.sandbox.transport().handle_async_request(request)
        if request.url.path == "/login/oauth/access_token":
            self.forms.append(parse_qs(request.content.decode()))
            if self.before:
                await self.before()
        return response


@dataclass
class House:
    """A terminal: what it shows, how long it waits, and what its user does elsewhere meanwhile."""

    deputy: Deputy
    sandbox: Sandbox
    clock: Clock
    line: Line
    shown: list[DeviceCode] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    then: dict[int, Callable[[], Awaitable[Any]]] = field(default_factory=dict)

    async def ask(self, *scopes: str, user: str = "alice", app: str = "github", **more: Any) -> Consent:
        (asked,) = await self.deputy.connect(user, app, scopes=scopes or ("gist",), **more)
        return asked

    async def sleep(self, seconds: float) -> None:
        """Advance the time; after some waits the user acts."""
        self.waits.append(seconds)
        self.clock.now += seconds
        if act := self.then.get(len(self.waits)):
            await act()

    async def run(self, asked: Consent, user: str = "alice") -> Consent:
        return await self.deputy.consents.connect_by_device_code(asked.id, User(user), self.shown.append, self.sleep)

    async def enter(self, as_: str = ALICE, decision: str = "allow", code: str = "") -> Page:
        """On another machine: enter the code, choose an account, allow or deny."""
        browser = Browser(self.sandbox.transport())
        page = await browser.open(self.shown[-1].address)
        page = await browser.submit(page, page.forms[0], user_code=code or self.shown[-1].code)
        if not page.forms:
            return page
        return await browser.submit(page, page.forms[0], account=as_, decision=decision)

    def events(self) -> list[str]:
        return [row["event"] for row in self.deputy.audit.rows()]

    def live(self, email: str = ALICE) -> int:
        return self.sandbox.live_tokens()[email]


@pytest.fixture
async def house() -> House:
    clock = Clock(1_800_000_000.0)
    sandbox = Sandbox(clock=clock)
    line = Line(sandbox)
    deputy = await build(sandbox, apps=apps(), toolkits=[], transport=line, clock=clock)
    return House(deputy, sandbox, clock, line)


# ------------------------------------------------------------- how it goes


@pytest.mark.parametrize(("app", "scope"), [("github", "gist"), ("github_app", "issues:write")])
async def test_device_code_entered_elsewhere_connects_the_user(house: House, app: str, scope: str) -> None:
    house.then[3] = house.enter
    ended = await house.run(await house.ask(scope, app=app))
    assert (ended.status, ended.account) == ("granted", "alice")
    [grant] = await house.deputy.vault.list_grants(User("alice"))
    assert scope in grant.scopes and grant.account.name == "alice" and house.live() >= 1
    assert house.waits == [5.0, 5.0, 5.0] and len(house.line.forms) == 3
    [opened] = [row for row in house.deputy.audit.rows() if row["event"] == "consent.opened"]
    assert opened["by"] == "device" and "consent.granted" in house.events()


async def test_device_code_prompt_shows_githubs_own_address_and_a_short_code(house: House) -> None:
    house.then[1] = house.enter
    await house.run(await house.ask())
    [shown] = house.shown
    assert shown.address == "https://github.com/login/device" and len(shown.code) == 9
    assert shown.expires_at == pytest.approx(house.clock.now + 895, abs=10)


async def test_device_code_step_up_requests_the_union_of_scopes(house: House) -> None:
    house.then[1] = house.enter
    await house.run(await house.ask("gist"))
    house.then[2] = house.enter
    assert (await house.run(await house.ask("repo"))).status == "granted" and len(house.waits) == 2
    [grant] = await house.deputy.vault.list_grants(User("alice"))
    assert grant.scopes >= {"gist", "repo"}


async def test_device_code_poll_slows_down_on_request(house: House) -> None:
    house.sandbox.switches.faults[POLLS] = [
        (200, {}, {"error": "authorization_pending"}),
        (200, {}, {"error": "slow_down", "interval": 20}),
        (400, {}, {"error": "slow_down"}),
        (200, {}, {"error": "slow_down", "interval": 1}),
    ]
    house.then[6] = house.enter
    assert (await house.run(await house.ask())).status == "granted"
    assert house.waits == [5.0, 5.0, 20.0, 25.0, 30.0, 30.0] and len(house.shown) == 1


async def test_device_code_poll_backs_off_during_an_outage(house: House) -> None:
    house.sandbox.switches.faults[POLLS] = [(503, {}, {}), (502, {}, b"<html>"), (429, {"retry-after": "40"}, {})]
    house.then[4] = house.enter
    assert (await house.run(await house.ask())).status == "granted"
    assert house.waits == [5.0, 10.0, 20.0, 40.0]


async def test_device_code_denial_ends_the_consent_and_is_remembered(house: House) -> None:
    house.then[2] = lambda: house.enter(decision="deny")
    ended = await house.run(await house.ask())
    assert (ended.status, ended.reason_code) == ("denied", "consent_denied")
    assert await house.deputy.connections("alice") == [] and "consent.denied" in house.events()


async def test_unused_device_code_fails_when_it_expires(house: House) -> None:
    ended = await house.run(await house.ask())
    assert (ended.status, ended.reason_code) == ("failed", "expired_code")
    assert sum(house.waits) == pytest.approx(900) and house.live() == 0


async def test_expired_code_answer_of_the_provider_ends_the_consent(house: House) -> None:
    house.sandbox.switches.faults[POLLS] = [(200, {}, {"error": "expired_token"})]
    assert (await house.run(await house.ask())).reason_code == "expired_code"


@pytest.mark.parametrize("error", ["incorrect_device_code", "incorrect_client_credentials", "unsupported_grant_type"])
async def test_any_other_device_code_error_ends_the_consent(house: House, error: str) -> None:
    house.sandbox.switches.faults[POLLS] = [(200, {}, {"error": error})]
    house.then[3] = house.enter
    ended = await house.run(await house.ask())
    assert ended.status == "failed" and ended.reason_code in ("operator", "unclassified")
    assert house.live() == 0 and len(house.waits) == 1


async def test_empty_device_code_answer_is_polled_again(house: House) -> None:
    house.sandbox.switches.faults[POLLS] = [(200, {}, []), (200, {}, b"<html>")]
    house.then[3] = house.enter
    assert (await house.run(await house.ask())).status == "granted"


async def test_app_without_device_flow_is_a_settings_error(house: House) -> None:
    house.sandbox.switches.faults[CODES] = [(200, {}, {"error": "device_flow_disabled"})]
    with pytest.raises(SettingsError):
        await house.run(await house.ask())
    assert house.shown == []


async def test_provider_without_device_codes_is_refused(house: House) -> None:
    asked = await house.ask("https://www.googleapis.com/auth/gmail.readonly", app="google")
    with pytest.raises(InvalidInput, match="no codes"):
        await house.run(asked)
    assert [name for name, row in PROVIDERS.items() if row.oauth.device_url] == ["github", "github_app"]


# ------------------------------------------------------------- attacks


async def test_only_the_requested_user_gets_a_device_code(house: House) -> None:
    asked = await house.ask()
    for user in ("bob", "mallory"):
        with pytest.raises(InvalidInput):
            await house.run(asked, user)
    with pytest.raises(InvalidInput):
        await house.deputy.consents.connect_by_device_code(
            asked.id, User("alice", "other"), house.shown.append, house.sleep
        )
    assert house.shown == [] and house.sandbox.count("github.com", "/login/device") == 0
    assert house.events().count("connect.user_mismatch") == 3
    now = await house.deputy.consents.status(asked.id)
    assert now and now.status == "pending"


async def test_B9_device_code_entered_by_another_account_grants_nothing_and_is_revoked(house: House) -> None:
    house.then[1] = house.enter
    await house.run(await house.ask("gist"))
    house.then[2] = lambda: house.enter(as_=BOB)
    ended = await house.run(await house.ask("repo"))
    assert (ended.status, ended.reason_code) == ("failed", "account_mismatch")
    [grant] = await house.deputy.vault.list_grants(User("alice"))
    assert grant.account.name == "alice" and "repo" not in grant.scopes
    assert house.live(BOB) == 0 and house.live() >= 1 and "consent.failed" in house.events()


async def test_device_code_must_be_entered_by_the_named_account(house: House) -> None:
    house.then[1] = lambda: house.enter(as_=BOB)
    ended = await house.run(await house.ask(account="alice"))
    assert (ended.status, ended.reason_code) == ("failed", "account_mismatch") and house.live(BOB) == 0


async def test_device_codes_are_refused_outside_local_mode(house: House) -> None:
    """RFC 8628 5.4: whoever enters a code they were sent connects their account to another user's agent."""
    exchange(house.deputy, pages=FixedPages("https://deputy.example.test"))
    with pytest.raises(SettingsError, match="local mode"):
        await house.run(await house.ask())
    assert house.shown == [] and house.sandbox.requests == []


async def test_device_code_yields_tokens_once(house: House) -> None:
    house.then[1] = house.enter
    asked = await house.ask()
    assert (await house.run(asked)).status == "granted"
    with pytest.raises(InvalidInput):
        await house.run(asked)
    [form] = house.line.forms
    again = httpx.Request(
        "POST", "https://github.com/login/oauth/access_token", data={k: v[0] for k, v in form.items()}
    )
    again.headers["accept"] = "application/json"
    answer = await house.sandbox.transport().handle_async_request(again)
    await answer.aread()
    assert answer.json()["error"] == "incorrect_device_code"


async def test_unissued_device_code_opens_no_page(house: House) -> None:
    house.then[1] = lambda: house.enter(code="BCDF-GHJK")
    house.then[2] = house.enter
    assert (await house.run(await house.ask())).status == "granted"


async def test_R33_disconnect_while_the_device_code_is_pending_wins(house: House) -> None:
    async def entered_and_disconnected() -> None:
        await house.enter()
        await house.deputy.revoke("alice", "github")

    house.then[2] = entered_and_disconnected
    ended = await house.run(await house.ask())
    assert ended.status == "cancelled" and len(house.line.forms) == 1
    assert await house.deputy.connections("alice") == [] and house.live() == 0


async def test_R33_disconnect_while_tokens_arrive_wins_and_revokes_them(house: House) -> None:
    async def disconnected() -> None:
        await house.deputy.revoke("alice", "github")

    house.then[1] = house.enter
    house.line.before = disconnected
    ended = await house.run(await house.ask())
    assert ended.status == "cancelled" and house.live() == 0
    assert "connect.device_code_late" in house.events() and await house.deputy.connections("alice") == []


async def test_consent_already_finished_by_its_link_is_left_unchanged(house: House) -> None:
    asked = await house.ask()

    async def by_link() -> None:
        await consent(house.deputy, house.sandbox, asked)

    house.then[2] = by_link
    ended = await house.run(asked)
    assert (ended.status, len(house.line.forms)) == ("granted", 2)  # one poll, one code


async def test_device_code_is_not_polled_while_the_link_is_redeemed(house: House) -> None:
    asked, linked = await house.ask(), list[asyncio.Task[Consent]]()
    held, released = threading.Event(), threading.Event()  # the reply may come on another loop

    async def hold_the_tokens() -> None:
        held.set()
        await asyncio.to_thread(released.wait, 10)

    async def by_link() -> None:
        house.line.before = hold_the_tokens
        linked.append(asyncio.create_task(consent(house.deputy, house.sandbox, asked)))
        await asyncio.to_thread(held.wait, 10)

    house.then[2] = by_link
    assert (await house.run(asked)).status == "pending"
    assert ["device_code" in form for form in house.line.forms] == [True, False]
    released.set()
    assert (await linked[0]).status == "granted"


async def test_erasing_the_user_ends_the_wait_for_a_device_code(house: House) -> None:
    house.then[2] = lambda: house.deputy.erase("alice")
    await house.run(await house.ask())
    assert len(house.line.forms) == 1 and await house.deputy.vault.scan("consent") == []


async def test_link_press_does_not_stop_the_device_code(house: House) -> None:
    asked = await house.ask()

    async def pressed() -> None:
        await house.deputy.consents.start(asked.link.rpartition("/")[2], AnyLocalUser())

    house.then |= {1: pressed, 2: house.enter}
    assert (await house.run(asked)).status == "granted"


async def test_newer_device_code_replaces_an_older_one(house: House) -> None:
    asked, newer = await house.ask(), list[asyncio.Task[Consent]]()
    told, entered = asyncio.Event(), asyncio.Event()

    def tell(code: DeviceCode) -> None:
        house.shown.append(code)
        told.set()

    async def sleep(seconds: float) -> None:
        await entered.wait()

    async def again() -> None:
        running = house.deputy.consents.connect_by_device_code(asked.id, User("alice"), tell, sleep)
        newer.append(asyncio.create_task(running))
        await told.wait()

    house.then[1] = again
    assert (await house.run(asked)).status == "pending" and house.line.forms == []
    await house.enter()
    entered.set()
    assert (await newer[0]).status == "granted" and len(house.shown) == 2
    assert len(await house.deputy.vault.list_grants(User("alice"))) == 1


async def test_device_code_is_not_left_in_records_or_audit(house: House) -> None:
    asked = await house.ask()
    house.then[1] = house.enter
    await house.run(asked)
    secret = house.line.forms[0]["device_code"][0]
    [record] = await house.deputy.vault.scan("consent")
    assert secret not in repr(record.json) and "device" not in record.json
    assert secret not in repr(list(house.deputy.audit.rows())) and secret not in repr(house.shown)


@pytest.mark.parametrize(
    "change",
    [
        {"user_code": "AB\x1b[2J"},
        {"user_code": "A" * 21},
        {"user_code": "WDJB MJHT"},
        {"user_code": None},
        {"device_code": ""},
        {"device_code": "a b"},
        *({"verification_uri": one} for one in ("http://github.com/login/device", "javascript:alert(1)", "", None)),
        *({"verification_uri": one} for one in ("https://github.com.evil.test/x", "https://evil.test/github.com")),
        *({"verification_uri": one} for one in ("https://a@github.com/x", "https://github.com/x?user_code=ABCD-EFGH")),
        {"verification_uri": "https://github.com/x\x1b[31m"},
    ],
)
async def test_A11_device_code_prompt_refuses_foreign_addresses_and_odd_codes(
    house: House, change: dict[str, Any]
) -> None:
    good = {"device_code": "d" * 40, "user_code": "WDJB-MJHT", "verification_uri": "https://github.com/login/device"}
    assert flow.parse_device_codes(GITHUB, good).user_code == "WDJB-MJHT"
    house.sandbox.switches.faults[CODES] = [(200, {}, good | change)]
    with pytest.raises(ProviderUnavailable):
        await house.run(await house.ask())
    assert house.shown == []


@pytest.mark.parametrize(("interval", "waited"), [(0, 5.0), (-5, 5.0), (0.001, 1.0), (10**9 - 1, 60.0), ("x", 5.0)])
def test_device_code_interval_is_clamped(interval: Any, waited: float) -> None:
    good = {"device_code": "d" * 40, "user_code": "WDJB-MJHT", "verification_uri": "https://github.com/login/device"}
    assert flow.parse_device_codes(GITHUB, good | {"interval": interval}).interval == waited


async def test_R36_device_code_tokens_are_stored_after_the_waiter_timed_out(house: House) -> None:
    asked = await house.ask()

    async def slow() -> None:
        await asyncio.sleep(0.3)

    house.then[1], house.line.before = house.enter, slow
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await house.run(asked)
    [ended] = await house.deputy.wait_for_consents([asked], timeout=5)
    assert ended.status == "granted" and house.live() >= 1


@pytest.mark.parametrize("reply", [{"access_token": "x y"}, {"access_token": "x", "token_type": "mac"}])
async def test_device_code_grant_without_usable_token_fails(house: House, reply: dict[str, str]) -> None:
    house.sandbox.switches.faults[POLLS] = [(200, {}, reply)]
    ended = await house.run(await house.ask())
    assert (ended.status, ended.reason_code) == ("failed", "no_token") and len(house.waits) == 1
