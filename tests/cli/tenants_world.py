"""A served deputy of two tenants, in this process, whose identity providers send signals."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from deputize.cli.http_app import application
from deputize.core import Deputy, User
from deputize.core.background_loop import portal
from deputize.core.settings import Settings
from deputize.core.web.signin.sign_in_sessions import Session, Sessions
from tests.cli.serving_world import KEY

BASE: Final = "http://127.0.0.1:8123"
NAMES: Final = ("acme", "beta")
TOKENS: Final = {name: f"{name}-" + "t" * 32 for name in NAMES}
WEBHOOKS: Final = {name: f"whsec_{base64.b64encode(os.urandom(32)).decode()}" for name in NAMES}


@dataclass
class Tenants:
    """The deputy, and a client without credentials. ``issuers``: by tenant."""

    deputy: Deputy
    http: httpx.AsyncClient
    issuers: dict[str, str]

    def user(self, name: str, tenant: str = "acme") -> User:
        return User(f"{self.issuers[tenant]}#{name}", tenant)

    async def sign_in(self, name: str, tenant: str = "acme", issued: float | None = None) -> str:
        """Begin a session of this user, and return its cookie. ``issued``: the time of the id_token; None: a second
        from now, after all that has ended sessions."""
        issued = self.deputy.clock() + 1 if issued is None else issued
        session = Session(self.user(name, tenant), names={"sub": name}, issued=issued)
        return await self._sessions(tenant).begin(session)

    async def is_signed_in(self, cookie: str, tenant: str = "acme") -> bool:
        return await self._sessions(tenant).user(cookie) is not None

    def _sessions(self, tenant: str) -> Sessions:
        return Sessions(self.deputy.vault, self.issuers[tenant], self.deputy.clock, tenant=tenant)

    async def audited(self, event: str = "user.offboarded") -> list[str]:
        """Return the causes of these events."""
        await self.deputy.audit.settle()
        return [row["cause"] for row in await asyncio.to_thread(self.deputy.audit.rows) if row["event"] == event]


def settings_of(home: Path, issuers: dict[str, str], **more: dict[str, Any]) -> Settings:
    """Return the settings. ``more``: of one tenant's table."""
    tables = {
        name: {
            **{"issuer": issuers[name], "client_id": "pages", "client_secret": "s", "scim_token": TOKENS[name]},
            **{"offboarding_secret": WEBHOOKS[name]},
            **more.get(name, {}),
        }
        for name in NAMES
    }
    return Settings.load(home=home, key=KEY, base_url=BASE, signin=tables)


@asynccontextmanager
async def tenants(home: Path, issuers: dict[str, str] | None = None, **more: dict[str, Any]) -> AsyncIterator[Tenants]:
    issuers = issuers or {name: f"https://login.{name}.test" for name in NAMES}
    app = await asyncio.to_thread(application, settings_of(home, issuers, **more))
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url=BASE) as http:
        yield Tenants(app.state.deputy, http, issuers)
    await portal().hop(app.state.deputy.http.close)
