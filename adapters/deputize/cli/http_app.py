"""The ASGI application of ``deputize serve --http``: MCP endpoint, pages with sign-in, probes.

    uvicorn deputize.cli.http_app:application --factory --workers 4 --no-access-log

This command runs it with the same settings in several workers, which share only keys and store.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from deputize.adapters.mcp import DeputyServer
from deputize.cli.doctor_findings import Finding, away, bad
from deputize.cli.graceful_shutdown import Leaving
from deputize.cli.show import counted
from deputize.core import DeputizeError, Deputy, Secret, SettingsError
from deputize.core.background_loop import portal
from deputize.core.errors import ProviderUnavailable
from deputize.core.http import Http
from deputize.core.settings import IssuerSettings, Settings, SignInSettings
from deputize.core.web.app import PAGES, pages_app
from deputize.core.web.local.server import require_host
from deputize.core.web.ops.metrics import Metrics
from deputize.core.web.ops.probes import Probes
from deputize.core.web.signals.from_settings import signals_from
from deputize.core.web.signin.from_settings import ENDPOINT, client_of, guards_from, sign_in_from
from deputize.core.web.signin.issuer import Issuer
from deputize.core.web.signin.resource_server import user_of
from deputize.core.web.signin.sign_in import sign_in_at

_LOOPBACK: Final = re.compile(r"https?://(?:127\.0\.0\.1|\[::1\]|localhost)(?::[0-9]+)?(?:/|$)")


@dataclass(frozen=True)
class Asgi:
    """An ASGI application as a route's endpoint. For a function, Starlette would expect a request handler."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def application(settings: Settings | None = None) -> Starlette:
    """Return the application that the settings describe. Its deputy, ``app.state.deputy``, is closed when it ends.

    Raises `SettingsError` for settings that cannot tell callers apart.
    """
    settings = settings or Settings.load()
    check(settings)
    deputy = Deputy.from_settings(settings)
    try:
        return served(deputy, settings)
    except BaseException:
        deputy.run(deputy.close())
        raise


def check(settings: Settings) -> None:
    """Raise `SettingsError` if a setting that identifies callers is missing, before anything is opened."""
    if settings.local:
        raise SettingsError(
            "base_url is missing: the pages of users need an address.",
            hint="Set DEPUTIZE_BASE_URL=https://agents.example.com, or pass --base-url.",
        )
    for name, given in (settings.sign_ins() or {"": settings.serve}).items():
        if not given.uses_saml:
            _check_issuer(table_of(name), given, settings.base_url)


def _check_issuer(table: str, given: IssuerSettings, base: str) -> None:
    variable = "DEPUTIZE_" + table.upper().replace(".", "__")
    for name, what in (("issuer", "says who callers are"), ("client_id", "signs people in at our pages")):
        if not getattr(given, name):
            option = f", or pass --{name.replace('_', '-')}" if table == "serve" else ""
            raise SettingsError(
                f"{table}.{name} is missing: it {what}.",
                hint=f"Set {variable}__{name.upper()}{option}. For one person on this machine: deputize serve --stdio.",
            )
    if _LOOPBACK.match(given.issuer) and not _LOOPBACK.match(base):
        raise SettingsError(
            f"{table}.issuer is {given.issuer}, but base_url is {base}: remote clients would look for the issuer on "
            "their own machine.",
            hint=f"Set {variable}__ISSUER to an address that people and clients can reach, as the issuer's metadata "
            "spells it. For this machine alone: DEPUTIZE_BASE_URL=http://127.0.0.1:PORT.",
        )


def served(deputy: Deputy, settings: Settings) -> Starlette:
    """Return the application for this deputy."""
    said, base = settings.serve, settings.base_url.rstrip("/")
    below, host = urlsplit(base).path, urlsplit(base).hostname or ""
    sign_in = sign_in_from(deputy, settings)
    guards = guards_from(settings, sign_in)
    # a client's form proves no new sign-in
    forms = said.forms and not any(one.step_up_seconds for one in settings.sign_ins().values())
    signals = signals_from(settings, sign_in)
    if said.cards_bot_token or said.cards_signing_secret:
        from deputize.chat.slack_cards import SlackCards  # imported only if it is used

        token, signing = (
            Secret(one.get_secret_value() if one else "") for one in (said.cards_bot_token, said.cards_signing_secret)
        )
        signals += SlackCards(deputy, bot_token=token, signing_secret=signing).pages
    server = DeputyServer(deputy, said.tools, search=said.search, forms=forms)
    endpoint = server.app(user_of, path=below + ENDPOINT, hosts=[host])

    probes = Probes(deputy)
    leaving = Leaving(probes.leave, server.performing.wait_no_longer)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as undo:
            undo.push_async_callback(deputy.close)
            undo.push_async_callback(deputy.http.close)  # the connections of this loop
            if isinstance(endpoint, Starlette):
                await undo.enter_async_context(endpoint.router.lifespan_context(endpoint))
            yield

    pages = pages_app(deputy, verifier=sign_in, sign_in=sign_in.path, pages=[*PAGES, *sign_in.pages, *signals])
    routes = [
        *probes.routes,
        *(Route(guard.metadata_path, guard.show_metadata) for guard in guards.values()),
        *(
            Route(below + path, Asgi(leaving.closing_streams(guard.protect(_at(below + ENDPOINT, endpoint)))))
            for path, guard in guards.items()
        ),
        Mount(below, pages),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.deputy, app.state.leaving = deputy, leaving
    return app


def numbers(deputy: Deputy, host: str) -> ASGIApp:
    """Return the app for ``/metrics`` of this process, for clients that reach ``host``.

    On loopback, any page in a browser of this machine could reach it by the page's own name (DNS rebinding), so only
    this machine's own names are accepted. Elsewhere any name is accepted, such as a service's.
    """
    app, own = Metrics(deputy).app(), {"127.0.0.1", "localhost", "[::1]"}
    here = f"[{host}]" if ":" in host else host
    return require_host(app, own | {here}) if _leads_here(host) else app


def _leads_here(host: str) -> bool:
    """Return whether this host is only reachable from this machine, in any spelling: ``127.1``, a name in `/etc/hosts`,
    an IPv6 form of an IPv4 address."""
    try:
        found = [str(place[0]) for *_, place in socket.getaddrinfo(host, None)]
    except OSError:
        return False  # nothing can listen there
    return all(ip_address(one.removeprefix("::ffff:")).is_loopback for one in found)


def _at(path: str, app: ASGIApp) -> ASGIApp:
    """Return ``app``, to which every request comes at ``path``."""

    async def moved(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    return moved


def metadata_of(name: str, given: IssuerSettings) -> Mapping[str, Any]:
    """Return the current metadata of the issuer with this name.

    Raises `SettingsError` if it cannot be used, or nobody can sign in there. Raises `ProviderUnavailable` if it cannot
    be reached.
    """
    http = Http()
    issuer = Issuer(given.issuer, http)

    async def asked() -> Mapping[str, Any]:
        try:
            return await issuer.metadata()
        finally:
            await http.close()

    try:
        metadata = portal().run(asked())
    except ProviderUnavailable as e:
        raise away(e, f"{table_of(name)}.issuer is {given.issuer}") from None
    sign_in_at(issuer, metadata, client_of(given))
    return metadata


def table_of(name: str) -> str:
    """Return the name of an issuer's table in the settings."""
    return f"signin.{name}" if name else "serve"


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield a finding on each issuer that signs users in, for ``deputize doctor``."""
    for name, given in settings.sign_ins().items():
        what = f"serve {name}".strip()
        try:
            check(settings)
            if isinstance(given, SignInSettings) and given.saml_metadata_file and given.saml_key_file:
                yield _saml_finding(what, given.saml_metadata_file, given.saml_key_file)
                continue
            ways = Counter(clients_of(metadata_of(name, given)).values())
        except DeputizeError as e:
            yield bad(what, e)
            continue
        said = ", ".join(f"{count} {way}" for way, count in ways.items())
        yield Finding(what, "ok", f"{given.issuer} signs users in. MCP clients: {said}")


def _saml_finding(what: str, metadata: Path, key: Path) -> Finding:
    """Return the finding on a SAML identity provider. Raises `SettingsError` if its metadata or our key is unusable."""
    from deputize.core.web.signin.saml.parties import IdentityProvider, read_keys  # they need an extra

    provider, _ = IdentityProvider.read(metadata), read_keys(key)
    days = (max(one.not_valid_after_utc for one in provider.certificates) - datetime.now(UTC)).days
    found = f"{provider.entity_id} signs users in by SAML; its last certificate is valid for {counted(days, 'day')}"
    if days >= CERTIFICATE_DAYS:
        return Finding(what, "ok", found)
    return Finding(what, "open" if days >= 0 else "bad", found, f"Replace {metadata} with its current metadata.")


CERTIFICATE_DAYS: Final = 30
"""Days before the end of an identity provider's certificate from which `doctor` asks for new metadata."""

CLIENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "Claude (Code, Desktop, claude.ai)": ("document", "registration", "own id"),
    "ChatGPT": ("document", "registration", "own id"),
    "VS Code": ("document", "registration", "own id"),
    "Codex": ("document", "registration", "own id"),
    "Cursor": ("registration", "own id"),
}
"""How known clients get a client id at an issuer, as of November 2026: best way first."""

WAYS: Final[Mapping[str, str]] = {
    "document": "by metadata document",
    "registration": "by registration",
    "own id": "by a client id that you register at the issuer",
}


def ways_of(metadata: Mapping[str, Any]) -> list[str]:
    """Return the ways in which unregistered clients can sign in at an issuer."""
    document = metadata.get("client_id_metadata_document_supported") is True
    public = "none" in metadata.get("token_endpoint_auth_methods_supported", ())
    found = ["document"] if document and public else []
    return [*found, *(["registration"] if metadata.get("registration_endpoint") else []), "own id"]


def clients_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return how each known client signs in at an issuer with this metadata."""
    offered = ways_of(metadata)
    return {name: WAYS[next(way for way in ways if way in offered)] for name, ways in CLIENTS.items()}
