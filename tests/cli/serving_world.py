"""``deputize serve`` on loopback, with an issuer and the sandbox's providers beside it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import mcp_types as types
from starlette.types import ASGIApp, Receive, Scope, Send

from deputize.core.settings import Settings
from deputize.core.web.local.server import serve
from deputize.sandbox import Browser, Page, Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.support.login_issuer import CLIENT, SECRET, LoginIssuer
from tests.support.ports import free_port

ONE_BY_ONE = httpx.Limits(max_keepalive_connections=0)
KEY = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@dataclass
class Overheard:
    """An application, and everything that was sent to it."""

    app: ASGIApp
    told: list[bytes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def heard() -> Any:
            message = await receive()
            self.told.append(message.get("body", b""))
            return message

        self.told.append(repr((scope.get("path"), scope.get("query_string"), scope.get("headers"))).encode())
        await self.app(scope, heard, send)


@dataclass
class Around:
    """The surroundings of a served deputy. ``base``: where it is to be served. ``told``: what it sent."""

    issuer: LoginIssuer
    sandbox: Sandbox
    base: str
    port: int
    home: Path
    environment: dict[str, str]
    told: list[bytes]

    def settings(self) -> Settings:
        """Return the settings of a process that serves there."""
        return Settings.load(
            home=self.home,
            key=KEY,
            base_url=self.base,
            sandbox_url=self.environment["DEPUTIZE_SANDBOX_URL"],
            apps={"google": {"client_id": GOOGLE_CLIENT_ID, "client_secret": GOOGLE_CLIENT_SECRET}},
            serve={
                "issuer": self.issuer.url,
                "client_id": CLIENT,
                "client_secret": SECRET,
                "scopes": ["agents"],
                "introspect": True,
                "tools": ["gmail"],
            },
        )


@dataclass
class Person:
    """A person with their own browser, who signs in by name and approves everything."""

    name: str
    browser: Browser = field(default_factory=lambda: Browser(httpx.AsyncHTTPTransport(limits=ONE_BY_ONE)))
    seen: list[str] = field(default_factory=list)

    async def open(self, url: str) -> Page:
        """Open a page of the deputy, after signing in if asked."""
        page = await self.browser.open(url)
        login = next((form for form in page.forms if form.offers("go")), None)
        return await self.browser.submit(page, login, login=self.name) if login else page

    async def answers(self, ctx: Any, asked: types.ElicitRequestParams) -> types.ElicitResult:
        """Follow a link that the MCP client shows."""
        assert isinstance(asked, types.ElicitRequestURLParams)
        self.seen.append(asked.url)
        page = await self.open(asked.url)
        if "/connect/" in asked.url:
            page = await self.browser.allow(asked.url, as_=f"{self.name}@example.test")
            assert "is connected" in page.text, page.text
        else:
            [form] = [form for form in page.forms if "approve" in form.offers("decision")]
            await self.browser.submit(page, form, decision="approve")
        return types.ElicitResult(action="accept")


@asynccontextmanager
async def around(home: Path, watched: Callable[[Sandbox], ASGIApp] | None = None) -> AsyncIterator[Around]:
    """Run an issuer and a sandbox on loopback; return the settings that name them.

    ``watched``: the sandbox as served, if something stands before it; else all its requests are recorded.
    """
    port, sandbox, told = free_port(), Sandbox(), list[bytes]()
    played_by = watched(sandbox) if watched else Overheard(sandbox.app, told)
    base = f"http://127.0.0.1:{port}"
    issuer = LoginIssuer("", pages=base, audience=f"{base}/mcp")
    async with serve(issuer) as issuer.url, serve(played_by) as played:
        environment = {
            "DEPUTIZE_KEY": KEY,
            "DEPUTIZE_BASE_URL": base,
            "DEPUTIZE_SANDBOX_URL": played,
            "DEPUTIZE_APPS__GOOGLE__CLIENT_ID": GOOGLE_CLIENT_ID,
            "DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET": GOOGLE_CLIENT_SECRET,
            "DEPUTIZE_SERVE__ISSUER": issuer.url,
            "DEPUTIZE_SERVE__CLIENT_ID": CLIENT,
            "DEPUTIZE_SERVE__CLIENT_SECRET": SECRET,
            "DEPUTIZE_SERVE__SCOPES": '["agents"]',
            "DEPUTIZE_SERVE__DRAIN": "0",
        }
        yield Around(issuer, sandbox, base, port, home, environment, told)
