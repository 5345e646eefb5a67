"""A test's own app that people in the sandbox connect to: hand-written requests, as a real app sends them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from deputize.sandbox import Browser, Page, Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from deputize.sandbox.oauth import challenge_of

NOW: Final = 1795528800.0  # Tuesday, 24 November 2026, 14:00 UTC
ALICE: Final = "alice@example.test"
BOB: Final = "bob@example.test"
GMAIL: Final = "https://www.googleapis.com/auth/gmail."
AUTHORIZE: Final = "https://accounts.google.com/o/oauth2/v2/auth"
TOKEN: Final = "https://oauth2.googleapis.com/token"
REVOKE: Final = "https://oauth2.googleapis.com/revoke"
USERINFO: Final = "https://openidconnect.googleapis.com/v1/userinfo"
ME: Final = "https://gmail.googleapis.com/gmail/v1/users/me"
REDIRECT: Final = "http://127.0.0.1:8765/callback/google"


class Clock:
    """A clock set by a test."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class AppTransport(httpx.AsyncBaseTransport):
    """The sandbox, and the app's callback page, which a test can inspect."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox.transport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/callback"):
            return httpx.Response(200, text="<h1>done</h1>")
        return await self._sandbox.handle_async_request(request)


@dataclass
class Flow:
    """One authorization request: its link, and its PKCE verifier."""

    scopes: tuple[str, ...]
    changed: dict[str, str] = field(default_factory=dict)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    @property
    def link(self) -> str:
        """Return the authorize URL; an empty value in ``changed`` omits a parameter."""
        query = {
            "client_id": GOOGLE_CLIENT_ID,
            "redirect_uri": REDIRECT,
            "response_type": "code",
            "scope": " ".join(self.scopes),
            "state": self.state,
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
            "access_type": "offline",
            **self.changed,
        }
        return f"{AUTHORIZE}?{urlencode({name: value for name, value in query.items() if value})}"

    def form(self, code: str, /, **changed: str) -> dict[str, str]:
        """Return the token request for a code."""
        return {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": self.verifier,
            "client_id": GOOGLE_CLIENT_ID,
            "client_secret": GOOGLE_CLIENT_SECRET,
        } | changed


class TestApp:
    """Connects people and calls Google as them."""

    __test__ = False

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.http = httpx.AsyncClient(transport=sandbox.transport())

    def flow(self, *scopes: str, **changed: str) -> Flow:
        """Return a new authorization request for ``openid email`` and these Gmail scopes, given by short names."""
        return Flow(("openid", "email", *(GMAIL + scope for scope in scopes)), changed)

    async def consent(self, flow: Flow, *, as_: str = ALICE, untick: Iterable[str] = ()) -> Page:
        """Return the page on which a person ends after allowing access."""
        return await Browser(AppTransport(self.sandbox)).allow(flow.link, as_=as_, untick=untick)

    async def code(self, flow: Flow, *, as_: str = ALICE) -> str:
        """Return the code of a consent."""
        return callback(await self.consent(flow, as_=as_))["code"]

    async def connect(self, *scopes: str, as_: str = ALICE, untick: Iterable[str] = (), **changed: str) -> Any:
        """Return the token reply of a consent."""
        flow = self.flow(*scopes, **changed)
        page = await self.consent(flow, as_=as_, untick=untick)
        reply = await self.http.post(TOKEN, data=flow.form(callback(page)["code"]))
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def refresh(self, refresh_token: str, **changed: str) -> httpx.Response:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": GOOGLE_CLIENT_ID,
            "client_secret": GOOGLE_CLIENT_SECRET,
        }
        return await self.http.post(TOKEN, data=form | changed)

    async def gmail(self, *scopes: str, as_: str = ALICE) -> Gmail:
        """Return Gmail as this person, with these scopes."""
        reply = await self.connect(*scopes, as_=as_)
        return Gmail(self.http, reply["access_token"])


class Gmail:
    """Gmail's API with one token."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"}

    async def send(self, method: str, path: str, body: Any = None, **params: Any) -> httpx.Response:
        return await self._http.request(method, ME + path, json=body, params=params, headers=self._headers)

    async def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of a GET that must succeed."""
        return _json(await self.send("GET", path, **params))

    async def post(self, path: str, body: Any = None) -> Any:
        """Return the JSON of a POST that must succeed."""
        return _json(await self.send("POST", path, {} if body is None else body))

    async def ids(self, q: str = "", **params: Any) -> list[str]:
        query = {"q": q} if q else {}
        return [row["id"] for row in (await self.get("/messages", **query, **params)).get("messages", [])]

    async def subjects(self, q: str = "", **params: Any) -> list[str]:
        """Return the subjects a search finds, newest first."""
        rows = [await self.get(f"/messages/{id}", format="metadata") for id in await self.ids(q, **params)]
        return [header(row, "Subject") for row in rows]


def _json(reply: httpx.Response) -> Any:
    assert reply.is_success, reply.text
    return reply.json() if reply.content else None


def callback(page: Page) -> dict[str, str]:
    """Return the parameters with which a browser returned to the callback."""
    assert page.url.startswith(REDIRECT), page.text
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def header(message: Any, name: str) -> str:
    """Return one header of a message as the API shows it."""
    return next((str(row["value"]) for row in message["payload"]["headers"] if row["name"].lower() == name.lower()), "")


def written(to: str = BOB, subject: str = "Hello", body: str = "Hi!\n", **headers: str) -> dict[str, str]:
    """Return a mail as ``messages.send`` takes it; underscores in header names stand for dashes."""
    message = EmailMessage()
    message["To"], message["Subject"] = to, subject
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(body)
    return {"raw": base64.urlsafe_b64encode(message.as_bytes()).decode()}


def unwrapped(data: str) -> bytes:
    """Decode base64url, padded or not."""
    return base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))
