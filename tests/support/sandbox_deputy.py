"""A complete deputy over the sandbox, in memory or on disk, with everything a test configures."""

from __future__ import annotations

import base64
import math
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any

import httpx

from deputize.core import PROVIDERS, App, Consent, Deputy, Policy, Secret, Toolkit, User, ask_before_sending
from deputize.core.audit import Audit
from deputize.core.consent.consents import AnyLocalUser
from deputize.core.http import Transport
from deputize.core.idempotency.ledger import OUTCOME_TTL
from deputize.core.oauth.discover import Resolve
from deputize.core.providers.origin import origin_of
from deputize.core.time_zones import Zone
from deputize.core.vault.grant import Origin
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from deputize.sandbox import Browser, Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET

PAGES = "http://127.0.0.1:8736"
GMAIL = "https://www.googleapis.com/auth/gmail."
KEY = base64.urlsafe_b64encode(bytes(range(7, 256, 8))).decode()


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float

    def __call__(self) -> float:
        return self.now


async def public_names(host: str) -> list[str]:
    """Resolve every name to a public address: nothing is looked up or connected."""
    return ["93.184.215.14"]


async def no_sleep(seconds: float) -> None:
    """Return immediately; the outcome records what would have been waited."""


def google_app(name: str = "google") -> App:
    """Return the sandbox's OAuth client."""
    return App("google", GOOGLE_CLIENT_ID, Secret(GOOGLE_CLIENT_SECRET), name)


def played() -> Origin:
    """Return the origin of grants that a sandbox on loopback gave."""
    return origin_of(PROVIDERS["google"].moved_to("http://127.0.0.1:1"), google_app())


async def new_vault(path: Path | None = None, key: bytes | None = None) -> Vault:
    """Open a vault in memory, or in a file that may exist."""
    store = open_store(str(path) if path else "memory:", create=path is None or not path.exists())
    return await Vault.open(store, [key or secrets.token_bytes(32)])


async def build(
    sandbox: Sandbox | None = None,
    *,
    vault: Vault | None = None,
    audit: Audit | None = None,
    policy: Policy = ask_before_sending,
    toolkits: Iterable[Toolkit] | None = None,
    transport: Transport | None = None,
    clock: Callable[[], float] | None = None,
    apps: Iterable[App] | None = None,
    providers: Mapping[str, Any] = PROVIDERS,
    resolve: Resolve = public_names,
    requests_per_minute: float = math.inf,
    outcome_retention_seconds: float = OUTCOME_TTL,
    trusted_authors: Mapping[str, str] | None = None,
    time_zone: Zone = UTC,
) -> Deputy:
    """Build a deputy over the sandbox. Pages have an address but are not served: `consent` walks through them."""
    more: dict[str, Any] = {"clock": clock} if clock else {}
    return Deputy(
        vault or await new_vault(),
        [google_app()] if apps is None else apps,
        pages=PAGES,
        audit=audit,
        policy=policy,
        toolkits=toolkits,
        transport=transport or (sandbox or Sandbox()).transport(),
        providers=providers,
        sleep=no_sleep,
        resolve=resolve,
        requests_per_minute=requests_per_minute,
        outcome_retention_seconds=outcome_retention_seconds,
        trusted_authors=trusted_authors,
        time_zone=time_zone,
        **more,
    )


async def consent(
    deputy: Deputy,
    sandbox: Sandbox | httpx.AsyncBaseTransport,
    consent: Consent,
    *,
    as_: str = "alice@example.test",
    untick: Iterable[str] = (),
    deny: bool = False,
) -> Consent:
    """Walk one consent to its end, at our page and then at the provider's; return how it ended."""
    ticket = consent.link.rpartition("/")[2]
    started = await deputy.consents.start(ticket, AnyLocalUser())
    transport = sandbox.transport() if isinstance(sandbox, Sandbox) else sandbox
    back = await at_provider(transport, started.url, as_=as_, untick=untick, deny=deny)
    await deputy.consents.finish(consent.app, back, AnyLocalUser(), started.nonce.reveal())
    ended = await deputy.consents.status(consent.id)
    assert ended is not None
    return ended


class _Landed(httpx.AsyncBaseTransport):
    """A transport to the provider, and to the empty page where the browser lands with the provider's answer."""

    def __init__(self, provider: httpx.AsyncBaseTransport) -> None:
        self.provider = provider
        self.landed: dict[str, str] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if str(request.url).startswith((PAGES, PAGES.replace("127.0.0.1", "localhost"))):
            self.landed = dict(request.url.params)
            return httpx.Response(200, text="")
        return await self.provider.handle_async_request(request)


async def at_provider(
    transport: httpx.AsyncBaseTransport, url: str, *, as_: str, untick: Iterable[str] = (), deny: bool = False
) -> dict[str, str]:
    """Return what the browser brings back from the provider's consent page."""
    place = _Landed(transport)
    browser = Browser(place)
    await (browser.deny(url) if deny else browser.allow(url, as_=as_, untick=untick))
    return place.landed


async def connect(
    deputy: Deputy, sandbox: Sandbox, *scopes: str, user: User | str = "alice", as_: str = "alice@example.test"
) -> None:
    """Give the user's grant these Gmail scopes (by their last part)."""
    for one in await deputy.connect(user, "google", scopes=[f"{GMAIL}{s}" for s in scopes]):
        assert (await consent(deputy, sandbox, one, as_=as_)).status == "granted"


@dataclass
class Recorder(httpx.AsyncBaseTransport):
    """A transport that records requests, in front of another."""

    inner: httpx.AsyncBaseTransport
    seen: list[httpx.Request] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        return await self.inner.handle_async_request(request)


def set_sleep(deputy: Deputy, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Let acts wait by this function from now on. Only tests replace anything in an services."""
    object.__setattr__(deputy.services, "sleep", sleep)
