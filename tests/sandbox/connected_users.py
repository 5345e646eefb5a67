"""Users who connect to each simulated provider through a whole deputy, and calls with their tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from deputize.core import App, Consent, Deputy, Secret, allow_all
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.vault.grant import Grant, User
from deputize.sandbox import Browser, Sandbox, slack
from deputize.sandbox.deputies import CLIENTS, PAGES, apps
from tests.support.sandbox_deputy import new_vault, no_sleep

SCOPES = {
    "google": ("https://www.googleapis.com/auth/gmail.readonly",),
    "slack": ("chat:write", "channels:read", "channels:history"),
    "github": ("repo",),
    "github_app": ("issues:write",),
    "linear": ("read", "issues:create"),
    "salesforce": ("api",),
}


class Landing(httpx.AsyncBaseTransport):
    """The sandbox, and the page to which a browser returns."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox.transport()
        self.back: dict[str, str] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/callback/"):
            self.back = dict(request.url.params)
            return httpx.Response(200, text="done")
        return await self._sandbox.handle_async_request(request)


@dataclass
class Visitor:
    """A deputy over a sandbox, whose users go to consent pages."""

    deputy: Deputy
    sandbox: Sandbox

    async def visit(self, consent: Consent, *, as_: str, deny: bool = False) -> str:
        """Complete a consent; return how it ended."""
        started = await self.deputy.consents.start(consent.link.rpartition("/")[2], AnyLocalUser())
        landing = Landing(self.sandbox)
        browser = Browser(landing)
        await (browser.deny(started.url) if deny else browser.allow(started.url, as_=as_))
        await self.deputy.consents.finish(consent.app, landing.back, AnyLocalUser(), started.nonce.reveal())
        ended = await self.deputy.consents.status(consent.id)
        assert ended is not None
        return ended.status

    async def connect(self, provider: str, *, user: str = "alice", as_: str = "", deny: bool = False) -> str:
        """Request the provider's scopes of this test; return how that ended."""
        (asked,) = await self.deputy.connect(user, provider, scopes=SCOPES[provider])
        return await self.visit(asked, as_=as_ or f"{user}@example.test", deny=deny)

    async def grant(self, provider: str, user: str = "alice") -> Grant:
        """Return the user's grant from the vault."""
        app = next(app for app in self.deputy.apps.values() if app.provider == provider)
        found = await self.deputy.vault.find_grant(User(user), provider, app.name)
        assert found is not None
        return found

    async def call(self, method: str, url: str, grant: Grant, **how: Any) -> httpx.Response:
        """Make one request with the grant's access token."""
        headers = {"authorization": f"Bearer {grant.access_token.reveal()}", "accept": "application/json"}
        async with httpx.AsyncClient(transport=self.sandbox.transport()) as http:
            return await http.request(method, url, headers=headers, **how)


@asynccontextmanager
async def visitor(sandbox: Sandbox, *more: App, pages: str = PAGES) -> AsyncIterator[Visitor]:
    """Return a deputy with the sandbox's apps, those for a provider replaced by those in ``more``."""
    taken = {app.provider for app in more}
    chosen = [app for app in apps() if app.provider not in taken] + list(more)
    deputy = Deputy(
        await new_vault(),
        chosen,
        pages=pages,
        policy=allow_all,
        transport=sandbox.transport(),
        clock=sandbox.clock,
        sleep=no_sleep,
    )
    async with deputy:
        yield Visitor(deputy, sandbox)


def client_of(provider: str) -> dict[str, str]:
    """Return the client's credentials, for a form."""
    client = CLIENTS[provider]
    return {"client_id": client.client_id, "client_secret": client.client_secret}


def plain_slack() -> App:
    """The sandbox's Slack app without PKCE."""
    return App("slack", slack.SLACK_PLAIN_CLIENT_ID, Secret(slack.SLACK_PLAIN_CLIENT_SECRET))
