"""Deputies over a sandbox, and grants in their vaults, made without a step of a test's own event loop."""

from __future__ import annotations

import asyncio
import math
import secrets
import threading
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import httpx

from deputize.core import PROVIDERS, Account, App, Deputy, Secret, User
from deputize.core.oauth.provider import Provider
from deputize.core.providers import known_providers
from deputize.core.providers.origin import origin_of
from deputize.core.vault.grant import NEVER, Grant
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from deputize.core.web.app import pages_app
from deputize.sandbox import Browser, Sandbox, github, google, linear, salesforce, slack
from deputize.sandbox.accounts import account_of

T = TypeVar("T")
PAGES = "http://127.0.0.1:8736"
CLIENTS = {
    "google": google.APP,
    "slack": slack.APP,
    "github": github.APP,
    "github_app": github.GITHUB_APP,
    "linear": linear.APP,
    "salesforce": salesforce.APP,
}


def apps(sandbox: Sandbox | None = None) -> list[App]:
    """The sandbox's OAuth clients, as a deputy wants them: one for each provider."""
    played = sandbox.played.values() if sandbox else ()
    return [
        *(App(one.row.name, one.app.client_id, Secret(one.app.client_secret), pkce=True) for one in played),
        *_built_in_apps(),
    ]


def _built_in_apps() -> list[App]:
    return [
        App(name, client.client_id, Secret(client.client_secret), pkce=PROVIDERS[name].oauth.pkce == "if_app_enabled")
        for name, client in CLIENTS.items()
    ]


def new_deputy(sandbox: Sandbox) -> Deputy:
    """A deputy over the sandbox with its vault in memory. A test that fails shows where a tool of its own broke."""
    vault = _finished(Vault.open(open_store("memory:", create=True), [secrets.token_bytes(32)]))
    made = Deputy(
        vault,
        apps(sandbox),
        pages=PAGES,
        providers={**known_providers(), **{name: one.row for name, one in sandbox.played.items()}},
        transport=sandbox.transport(),
        clock=sandbox.clock,
        sleep=_no_sleep,
        resolve=_resolved,
        requests_per_minute=math.inf,
    )
    made.runner.chain_bugs = True
    return made


def register_pages(sandbox: Sandbox, *addresses: str, names: Iterable[str] = tuple(CLIENTS)) -> None:
    """Register the callbacks of our pages at these addresses for the sandbox's clients of these names.

    Some providers compare redirect addresses exactly. Addresses as ``https://app.example.com/agents``, or on loopback.
    """
    registered = {app.name: app for app in apps()}
    for name in names:
        back = (PROVIDERS[name].redirect_uri(address, registered[name]) for address in addresses)
        known = CLIENTS[name]
        sandbox.register(replace(known, redirect_uris=tuple(dict.fromkeys([*known.redirect_uris, *back]))))


def new_browser(sandbox: Sandbox, deputy: Deputy) -> Browser:
    """A browser that reaches the deputy's own pages and those of the played providers. Nothing listens on a port."""
    return Browser(_Internet(sandbox.transport(), pages_app(deputy, verifier=None, local=True)))


class _Internet(httpx.AsyncBaseTransport):
    """The sandbox, and at `PAGES` our own pages. At ``localhost`` a callback is handed on, as `LocalPages` does it."""

    def __init__(self, providers: httpx.AsyncBaseTransport, pages: Any) -> None:
        self.providers, self.pages = providers, httpx.ASGITransport(pages)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url, ours = request.url, httpx.URL(PAGES)
        if (url.scheme, url.port) != (ours.scheme, ours.port) or url.host not in (ours.host, "localhost"):
            return await self.providers.handle_async_request(request)
        if url.host != ours.host:
            return httpx.Response(303, headers={"location": str(url.copy_with(host=ours.host))}, request=request)
        return await self.pages.handle_async_request(request)


def close(deputy: Deputy) -> None:
    """Let go of all that the deputy holds."""
    _finished(deputy.close())


def give_grant(
    sandbox: Sandbox, deputy: Deputy, user: str, scopes: Sequence[str], *, provider: str, email: str
) -> Grant:
    """The grant that this person's consent would have brought; scopes granted before stay.

    LookupError for scopes of no or of several providers, or a person who is not here.
    """
    return _finished(_given(sandbox, deputy, User.of(user), *_meant(deputy.providers, scopes, provider), email))


async def _given(sandbox: Sandbox, deputy: Deputy, who: User, row: Provider, named: Sequence[str], email: str) -> Grant:
    app = next(app for app in deputy.apps.values() if app.provider == row.name)
    account = _account(sandbox, row.name, email)
    held = await deputy.vault.find_grant(who, row.name, app.name)
    before = held.scopes if held is not None and held.account == account else frozenset()
    scopes = before | row.oauth.normal(frozenset(named)) | set(row.oauth.always_scopes)
    reply = sandbox.give(row.name, email, sorted(scopes))
    lives = reply["expires_in"]
    return await deputy.vault.add(
        Grant(
            who,
            row.name,
            app.name,
            account,
            row.oauth.normal(reply["scope"]),
            Secret(reply["access_token"]),
            Secret(reply["refresh_token"]) if reply["refresh_token"] else None,
            expires_at=NEVER if lives is None else sandbox.clock() + lives,
            obtained_at=sandbox.clock(),
            extra={name: reply[name] for name in ("instance_url",) if name in reply},
            origin=origin_of(deputy.providers[row.name], app),
            epoch=await deputy.vault.ended.epoch(),
        )
    )


def _account(sandbox: Sandbox, provider: str, email: str) -> Account:
    played = sandbox.played.get(provider)
    if played is None:
        return account_of(provider, email)
    person = next((person for person in sandbox.people if person.email == email), None)
    if person is None:
        raise LookupError(f"nobody in the sandbox has the address {email}")
    return played.account(person)


def _meant(providers: Mapping[str, Provider], scopes: Iterable[str], provider: str) -> tuple[Provider, list[str]]:
    """The provider, and the scopes by their whole names."""
    rows = [providers[provider]] if provider in providers else [] if provider else list(providers.values())
    found = [(row, names) for row in rows if (names := _whole(row, scopes)) is not None]
    if len(found) != 1:
        where = ", ".join(row.name for row, _ in found) or "no provider"
        raise LookupError(f"{', '.join(scopes) or 'no scope'}: {where} has this; say which with provider=...")
    return found[0]


def _whole(row: Provider, scopes: Iterable[str]) -> list[str] | None:
    full = row.scope_descriptions
    known = {scope.rpartition("/")[2]: scope for scope in full} | {scope: scope for scope in full}
    names = [known.get(scope, "") for scope in scopes]
    return names if all(names) else None


def _finished(work: Coroutine[Any, Any, T]) -> T:
    """Await it in a thread and loop of its own, whether or not a loop runs here."""
    done: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            done.append(asyncio.run(work))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return done[0]


async def _resolved(host: str) -> list[str]:
    """Every name leads to a public address: the sandbox plays the whole of the internet."""
    return ["93.184.215.14"]


async def _no_sleep(seconds: float) -> None:
    """A wait that takes no time."""
