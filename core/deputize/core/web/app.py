"""Our own pages: what the user is asked, the way to the provider and back, and what is connected.

    GET  /connect/{ticket}      who asks for what; later: how it went
    POST /connect/{ticket}      Continue was pressed: to the provider
    GET  /callback/{app}        back from the provider; leads to /connect/{ticket}, so that no code stays in sight
    GET  /connections           accounts, waiting consents and approvals; POST .../revoke, .../choose and .../renew
    GET  /approve/{approval}    one act that waits for the user's yes; POST decides

On loopback, where nobody signs in, the last two lie below /me/{me}: see `deputize.core.web.local_links`. A GET changes
nothing but the callback's. Whatever cannot be used, unknown, late, altered or another user's, gets one and the same
answer.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from deputize.core.deputy import Deputy
from deputize.core.engine import FixedPages
from deputize.core.errors import (
    Conflict,
    DeputizeError,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
    SettingsError,
    StoreUnavailable,
    UserRequired,
)
from deputize.core.web.signing import health

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import ASGIApp

    from deputize.core.web.browser import LOOPBACK, UserVerifier, cookies_for
    from deputize.core.web.pages import account, consent
    from deputize.core.web.rendering import json_of, style
    from deputize.core.web.site import Site, is_refusal, note
except ImportError as missing:
    raise SettingsError.without(missing, "web") from None

__all__ = ["UserVerifier", "pages_app"]

Endpoint = Callable[[Site, Request], Awaitable[Response]]

_STATUS: Final[Mapping[type[DeputizeError], int]] = {
    UserRequired: 401,
    Conflict: 409,
    RateLimited: 429,
    ProviderUnavailable: 502,
    StoreUnavailable: 503,
    OutcomeUnknown: 503,
}


def pages_app(deputy: Deputy, *, verifier: UserVerifier | None, sign_in: str = "", local: bool = False) -> ASGIApp:
    """The pages as an ASGI application, to be served by itself or mounted in another one.

    ``verifier`` says who the browser's person is; ``sign_in`` is the host's own page for those who are nobody yet, and
    gets ``?next=`` with a path on the same host. ``local``: no verifier, one person, loopback only. The deputy's
    ``base_url`` is where all this can be reached, with the path of a mount. Raises `SettingsError` for a web
    application that could not tell its users apart, and for plain http that leaves the machine.
    """
    if verifier is None and not local:
        raise SettingsError(
            "The pages need a verifier: without one, whoever holds a link could connect an account for somebody else.",
            hint="pages_app(deputy, verifier=lambda request: request.session.get('user_id')), or what in your "
            "application says who is signed in. Only on your own machine: local=True.",
        )
    if verifier is not None and local:
        raise SettingsError("local=True is for one person on this machine; it does not go with a verifier.")
    if sign_in and (not sign_in.startswith(("/", "https://")) or sign_in.startswith(("//", "/\\"))):
        raise SettingsError("sign_in is a path of your application, as /login, or an https address.")
    if isinstance(deputy.pages, FixedPages):
        cookies_for(deputy.pages.url, deputy.vault.keys.web)
        if local and urlsplit(deputy.pages.url).hostname not in LOOPBACK:
            raise SettingsError("local=True is for pages on loopback only.", hint="Give a verifier instead.")
    return _routed(Site(deputy, verifier, sign_in))


def _routed(site: Site) -> ASGIApp:
    below = "/me/{me}" if site.local else ""
    table: list[tuple[str, str, Endpoint]] = [
        ("GET", "/connect/{ticket:path}", consent.ask),
        ("POST", "/connect/{ticket:path}", consent.start),
        ("GET", "/callback/{app}", consent.callback),
        ("GET", f"{below}/connections", account.connections),
        ("POST", f"{below}/connections/revoke", account.revoke),
        ("POST", f"{below}/connections/choose", account.choose),
        ("POST", f"{below}/connections/renew", account.renew),
        ("GET", f"{below}/approve/{{approval}}", account.approval),
        ("POST", f"{below}/approve/{{approval}}", account.decide),
        ("GET", "/refused", _refused),
        ("GET", "/failed", _failed),
        ("GET", "/health", _health),
    ]
    if site.local:
        table.append(("GET", "/connections", _where))
    routes = [Route(path, _guarded(site, endpoint), methods=[method]) for method, path, endpoint in table]

    async def no_page(request: Request, e: Exception) -> Response:
        status: int = getattr(e, "status_code", 404)
        return site.say(request, status, "Nothing here", "There is no page at this address.")

    app = Starlette(routes=[*routes, Route("/style.css", style)], exception_handlers={HTTPException: no_page})
    app.router.redirect_slashes = False  # it would be a 307, to whatever the Host header says
    return app


def _guarded(site: Site, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """The one place where errors become pages."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(site, request)
        except HTTPException:
            raise
        except Exception as e:
            if is_refusal(e):
                return site.refused(request)
            note(e, endpoint.__name__)
            if isinstance(e, DeputizeError):
                return site.say(request, _STATUS.get(type(e), 500), "That did not work", e.message, e.hint)
            return site.say(request, 500, "That did not work", "Something went wrong here. It has been noted.")

    return answer


async def _refused(site: Site, request: Request) -> Response:
    return site.refused(request)


async def _failed(site: Site, request: Request) -> Response:
    """Something of ours broke on the way back from the provider."""
    return site.say(
        request, 503, "That did not work", "The provider's answer could not be used.", "Ask again in a few minutes."
    )


async def _where(site: Site, request: Request) -> Response:
    """The fixed address of local mode, which even a model may see: it opens nothing."""
    return site.say(
        request,
        200,
        "Your connections",
        "On this machine nobody signs in, so your connections have a link of their own.",
        "Run deputize connections in a terminal and open the link it shows.",
    )


async def _health(site: Site, request: Request) -> Response:
    """Whose pages these are, for another process with the same vault."""
    challenge = request.query_params.get("challenge", "")[:64]
    return json_of(json.dumps(health(site.key, challenge, local=site.local)))
