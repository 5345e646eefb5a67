"""Deputies over a sandbox, and grants in their vaults, created without the test's event loop."""

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
from deputize.core.vault.record import Record
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
    """Return the sandbox's OAuth clients as a deputy's apps, one for each provider."""
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
    """Return a deputy over the sandbox with its vault in memory. Errors of your tools show their traceback in tests."""
    vault = _run_in_thread(Vault.open(open_store("memory:", create=True), [secrets.token_bytes(32)]))
    made = Deputy(
        vault,
        apps(sandbox),
        pages=PAGES,
        providers={**known_providers(), **{name: one.row for name, one in sandbox.played.items()}},
        transport=sandbox.transport(),
        clock=sandbox.clock,
        sleep=_no_sleep,
        resolve=_resolve,
        requests_per_minute=math.inf,
    )
    made.runner.chain_bugs = True
    return made


def register_pages(sandbox: Sandbox, *addresses: str, names: Iterable[str] = tuple(CLIENTS)) -> None:
    """Register the callbacks of a deputy's pages at these addresses, for the sandbox's clients of these names.

    Some providers compare redirect addresses exactly. Addresses such as ``https://app.example.com/agents``, or
    loopback.
    """
    registered = {app.name: app for app in apps()}
    for name in names:
        back = (PROVIDERS[name].redirect_uri(address, registered[name]) for address in addresses)
        known = CLIENTS[name]
        sandbox.register(replace(known, redirect_uris=tuple(dict.fromkeys([*known.redirect_uris, *back]))))


def new_browser(sandbox: Sandbox, deputy: Deputy) -> Browser:
    """Return a browser that reaches the deputy's pages and the simulated providers. No port is opened."""
    return Browser(_Internet(sandbox.transport(), pages_app(deputy, verifier=None, local=True)))


class _Internet(httpx.AsyncBaseTransport):
    """The sandbox, and deputize's pages at `PAGES`. At ``localhost``, callbacks are forwarded as by `LocalPages`."""

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
    """Close the deputy."""
    _run_in_thread(deputy.close())


def give_grant(
    sandbox: Sandbox, deputy: Deputy, user: str, scopes: Sequence[str], *, provider: str, email: str
) -> Grant:
    """Store the grant of this person's consent; earlier scopes stay.

    Raises LookupError for scopes of no provider or of several, or for an unknown person.
    """
    return _run_in_thread(
        _store_grant(sandbox, deputy, User.of(user), *_find_provider(deputy.providers, scopes, provider), email)
    )


async def _store_grant(
    sandbox: Sandbox, deputy: Deputy, who: User, row: Provider, named: Sequence[str], email: str
) -> Grant:
    app = next(app for app in deputy.apps.values() if app.provider == row.name)
    account = _account(sandbox, row.name, email)
    held = await deputy.vault.find_grant(who, row.name, app.name)
    before = held.scopes if held is not None and held.account == account else frozenset()
    scopes = before | row.oauth.normal(frozenset(named)) | set(row.oauth.always_scopes)
    reply = sandbox.give(row.name, email, sorted(scopes))
    lives, queue, replaced = reply["expires_in"], deputy.refresher.revocation_queue, list[Record | None]()

    async def end_replaced(old: Grant, new: Grant) -> None:
        replaced.append(await queue.enqueue_replaced(old, new))

    grant = await deputy.vault.add(
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
        ),
        end_replaced,
    )
    await queue.deliver(*filter(None, replaced))
    return grant


def _account(sandbox: Sandbox, provider: str, email: str) -> Account:
    played = sandbox.played.get(provider)
    if played is None:
        return account_of(provider, email)
    person = next((person for person in sandbox.people if person.email == email), None)
    if person is None:
        raise LookupError(f"nobody in the sandbox has the address {email}")
    return played.account(person)


def _find_provider(
    providers: Mapping[str, Provider], scopes: Iterable[str], provider: str
) -> tuple[Provider, list[str]]:
    """Return the provider and the scopes' full names. Raise LookupError unless exactly one provider has the scopes."""
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


def _run_in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine in a thread with its own event loop, and return its result."""
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


async def _resolve(host: str) -> list[str]:
    """Resolve every host to a public address: the sandbox simulates the whole internet."""
    return ["93.184.215.14"]


async def _no_sleep(seconds: float) -> None:
    """Return without waiting."""
