"""A web application with the deputy's pages, the sandbox's Google, and users with browsers."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from starlette.requests import Request as WebRequest
from starlette.types import ASGIApp

from deputize.core import (
    Audience,
    Call,
    Change,
    Consent,
    Deputy,
    Effect,
    Preview,
    Provider,
    Request,
    Run,
    Steps,
    Toolkit,
    User,
    any_of,
)
from deputize.core.audit import Audit
from deputize.core.errors import ApprovalRequired
from deputize.core.http import Transport
from deputize.core.providers import PROVIDERS
from deputize.core.user_requests import Approval
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.stores.protocol import Store
from deputize.core.vault.vault import Vault
from deputize.core.web.app import pages_app
from deputize.sandbox import Browser, Page, Sandbox
from tests.support.sandbox_deputy import GMAIL, Clock, google_app

WEB = "https://deputy.example.test"
LOCAL = "http://127.0.0.1:8736"
SESSION = "host-session"
"""The cookie of the application's own session."""
PAGES_SESSION = "__Host-deputize-session"
"""The cookie of a session at deputize's pages."""
READ, SEND = f"{GMAIL}readonly", f"{GMAIL}send"
TOKENS = ("oauth2.googleapis.com", "/token")

notes = Toolkit("notes", provider="google", api="gmail", shows=True)


@notes.tool(needs=[any_of(SEND)], effect=Effect.SENDS, shows=False)
def send_note(to: str, body: str) -> Steps:
    """Send a note."""
    mail = base64.urlsafe_b64encode(f"To: {to}\r\nSubject: A note\r\n\r\n{body}".encode()).decode()
    yield Request("POST", "/users/me/messages/send", json={"raw": mail})
    return "sent"


@dataclass(frozen=True)
class Loopback:
    """The loopback addresses of local mode's pages, without a server."""

    url: str
    local: bool = True

    async def base_url(self) -> str:
        return self.url

    async def close(self) -> None:
        """Do nothing: there is no server."""


def signed_in(request: WebRequest) -> User | None:
    """Return the application's user: its session cookie is the user's name."""
    name = request.cookies.get(SESSION)
    return User(name) if name else None


@notes.tool(needs=[any_of(SEND)], effect=Effect.SENDS)
def post_note(to: str, subject: str, text: str, over: bool = True, *, run: Run) -> Steps:
    """Post a note; ``over`` another one."""
    yield Preview(
        "Post this note",
        audience=Audience.PUBLIC,
        people=[to],
        where="the board of #general",
        destroys=over,
        priority="high",
        text=text,
        colour=Change("red", "blue"),
        subject=subject,
        to=[to],
    )
    yield Request("POST", "/users/me/messages/send", json={"raw": base64.urlsafe_b64encode(text.encode()).decode()})
    return "posted"


@notes.tool(needs=[any_of(READ)])
def list_notes() -> Steps:
    """List the notes."""
    return (yield Request("GET", "/users/me/messages")).json()


@dataclass
class World:
    """Everything, on one clock. ``app`` may be replaced, and so may the servers of hosts."""

    deputy: Deputy
    sandbox: Sandbox
    clock: Clock
    app: ASGIApp
    base: str

    def browser(self, user: str = "alice") -> Browser:
        """Return a browser in which this user is signed in to the application; empty: nobody is."""
        browser = Browser(Net(self), base_url=self.base)
        sign_in(browser, user, self.base)
        return browser

    async def send(
        self,
        method: str,
        url: str,
        *,
        user: str = "",
        cookies: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        jar = ({SESSION: user} if user else {}) | dict(cookies or {})
        given = {"cookie": "; ".join(f"{k}={v}" for k, v in jar.items())} if jar else {}
        if data is not None:
            given["content-type"] = "application/x-www-form-urlencoded"
        target = self.base + url if url.startswith("/") else url
        body = urlencode(data).encode() if data is not None else None
        request = httpx.Request(method, target, headers=given | dict(headers or {}), content=body)
        response = await Net(self).handle_async_request(request)
        await response.aread()
        return response

    async def look(self, path: str, user: str = "") -> tuple[httpx.Response, dict[str, str]]:
        """Open this page in a new browser with cookies; return its content, and the cookies."""
        jar: dict[str, str] = {}
        shown = await self.send("GET", path, user=user)
        jar |= values_of(shown)
        if shown.headers.get("location") == f"{path}?cookie=1":  # in local mode
            shown = await self.send("GET", shown.headers["location"], user=user, cookies=jar)
        return shown, jar | values_of(shown)

    async def asked(self, *scopes: str, user: str = "alice", account: str | None = None) -> Consent:
        """Return a new consent for these scopes, by their last part."""
        found = await self.deputy.connect(
            user, "google", scopes=[f"{GMAIL}{s}" for s in scopes or ("readonly",)], account=account
        )
        return found[0]

    async def connected(self, *scopes: str, as_: str = "alice@example.test") -> None:
        page = await self.browser().allow((await self.asked(*scopes)).link, as_=as_)
        assert "is connected" in page.text

    async def status(self, consent: Consent) -> tuple[str, str]:
        now = await self.deputy.consents.status(consent.id)
        assert now is not None
        return now.status, now.reason_code

    async def approval(self, body: str = "Hello Bob", call: str = "1") -> Approval:
        """Return an act of Alice's agent that waits for approval; her account must be connected with ``send``."""
        try:
            await self.act(body, call)
        except ApprovalRequired as e:
            return e.approval
        raise AssertionError("nothing was asked")

    async def act(self, body: str = "Hello Bob", call: str = "1") -> object:
        arguments = {"to": "bob@example.test", "body": body}
        return await self.deputy.act("notes_send_note", arguments, user="alice", call=Call(id=call))

    @property
    def token_requests(self) -> int:
        """Return how many codes were redeemed at the provider."""
        return self.sandbox.count(*TOKENS)

    def events(self, prefix: str = "") -> list[str]:
        """Return the audit's events, in order."""
        return [row["event"] for row in self.deputy.audit.rows() if row["event"].startswith(prefix)]


@dataclass
class PlainBrowser:
    """A browser that follows no redirects. It sends no Lax cookies with a POST from another site."""

    world: World
    jar: dict[str, str] = field(default_factory=dict, kw_only=True)

    async def get(self, path: str) -> httpx.Response:
        return self._kept(await self.world.send("GET", path, cookies=self.jar))

    async def post(self, path: str, **data: str) -> httpx.Response:
        return self._kept(await self.world.send("POST", path, cookies=self.jar, data=data))

    async def post_from_elsewhere(self, path: str, data: dict[str, str]) -> httpx.Response:
        headers = {"origin": "https://elsewhere.test", "sec-fetch-site": "cross-site"}
        return self._kept(await self.world.send("POST", path, data=data, headers=headers))

    async def redirect(self, path: str, **query: str) -> str:
        """Return the address to which this page redirects."""
        answer = await self.get(path + (f"?{urlencode(query)}" if query else ""))
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    def _kept(self, answer: httpx.Response) -> httpx.Response:
        for name, value in values_of(answer).items():
            if value in ("", '""'):
                self.jar.pop(name, None)
            else:
                self.jar[name] = value
        return answer


class Net(httpx.AsyncBaseTransport):
    """The application answers for its own host, the sandbox for everything else."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.provider = world.sandbox.transport()
        self.seen: list[tuple[httpx.Request, httpx.Response]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        ours = str(request.url).startswith(self.world.base)
        response = await (httpx.ASGITransport(self.world.app) if ours else self.provider).handle_async_request(request)
        self.seen.append((request, response))
        return response


async def make(
    *,
    local: bool = False,
    base: str = "",
    store: Store | None = None,
    sign_in: str = "",
    provider: Provider | None = None,
    transport: Transport | None = None,
    return_to: Iterable[str] = (),
    toolkits: Iterable[Toolkit] = (),
    **more: Any,
) -> World:
    """Return a world: the web application's, or the one on loopback."""
    clock = Clock(1_800_000_000.0)
    sandbox = Sandbox(clock=clock)
    base = base or (LOCAL if local else WEB)
    vault = await Vault.open(store or MemoryStore(), [secrets.token_bytes(32)])
    deputy = Deputy(
        vault,
        [google_app()],
        pages=Loopback(base) if local and base == LOCAL else base,
        providers={**PROVIDERS, "google": provider} if provider else PROVIDERS,
        toolkits=[notes, *toolkits],
        transport=transport or sandbox.transport(),
        clock=clock,
        **{"agent": "Mail helper", "audit": Audit(None, vault.keys.audit, clock=clock), **more},
    )
    app = pages_app(deputy, verifier=None if local else signed_in, sign_in=sign_in, local=local, return_to=return_to)
    return World(deputy, sandbox, clock, app, base)


def sign_in(browser: Browser, user: str, base: str = WEB) -> None:
    """Sign this user in at the application, replacing the previous one."""
    life = "" if user else "; Max-Age=0"
    browser.cookies.take(httpx.URL(base), [f"{SESSION}={user}; Path=/{life}"])


def net(browser: Browser) -> Net:
    wire = browser._transport
    assert isinstance(wire, Net)
    return wire


def path_of(consent: Consent) -> str:
    return urlsplit(consent.link).path


def cookies_of(response: httpx.Response) -> dict[str, str]:
    """Return the cookies a response sets, by name, with their attributes."""
    lines = response.headers.get_list("set-cookie")
    return {line.partition("=")[0]: line.partition("=")[2] for line in lines}


def values_of(response: httpx.Response) -> dict[str, str]:
    """Return the same, by name, with their values."""
    return {name: line.partition(";")[0] for name, line in cookies_of(response).items()}


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def words_of(page: Page | httpx.Response) -> str:
    """Return what a person reads: the page without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.text))


async def press(world: World, consent: Consent, user: str = "alice") -> tuple[str, dict[str, str]]:
    """Open the page and press Continue; return the target, and the browser's cookies."""
    opened, jar = await world.look(path_of(consent), user)
    form = hidden(opened)
    pressed = await world.send("POST", path_of(consent), user=user, cookies=jar, data={"form": form})
    assert pressed.status_code == 303, pressed.text
    return pressed.headers["location"], jar | values_of(pressed)


def hidden(page: Page | httpx.Response, field: str = "form") -> str:
    """Return the value of a hidden field, in the first form that has it."""
    found = re.search(f'name="{field}" value="([^"]*)"', page.text)
    assert found, page.text
    return found[1]


async def answered(world: World, url: str, *, as_: str = "alice@example.test") -> str:
    """Allow access at the provider; return the callback to which the browser is sent, not yet opened."""
    decided = await world.send(
        "POST", url, data={"account": as_, "decision": "allow", "scope": query_of(url)["scope"].split()[-1]}
    )
    assert decided.status_code in (302, 303), decided.text
    return str(decided.headers["location"])


def ticks(page: Page) -> Iterable[str]:
    """Return the scopes a consent page of the provider offers."""
    return [scope for form in page.forms for scope in form.offers("scope")]
