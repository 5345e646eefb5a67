"""The web pages: consents, approvals, the redirects to the provider and back, and connected accounts.

    GET  /connect/{ticket}      the requested access; later the outcome
    POST /connect/{ticket}      Continue was pressed: redirects to the provider
    GET  /callback/{app}        back from the provider; redirects to /connect/{ticket}, so that the URL has no code
    GET  /connections           accounts, waiting consents and approvals; POST .../revoke, .../choose and .../renew
    GET  /oauth/client.json     client metadata, for servers that take its address as a client id
    GET  /approve/{approval}    one act that waits for the user's approval; POST decides
    GET  /operator              who is connected in the tenant, for its operators; POST .../disconnect
    GET  /audit                 the audit of the tenant, for its auditors; /audit/export as JSON lines
    GET  /others                acts of other users that the user's role must approve; /others/{approval} decides

On loopback, where nobody signs in, connections and approvals are below /me/{me}, and each link works in one browser:
see `deputize.core.web.pages.local_links`. Except for the callback, a GET changes nothing. All unusable requests, with
unknown, late, altered or another user's links, get the same answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from deputize.core.base_deputy import BaseDeputy
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
from deputize.core.shared_services import FixedPages
from deputize.core.web.pages.brand import Brand
from deputize.core.web.security_headers import plain_headers

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import ASGIApp, Receive, Scope, Send

    from deputize.core.web.cookies import LOOPBACK, cookies_for
    from deputize.core.web.ops.access_logs import pages_scope
    from deputize.core.web.pages import (
        account,
        activity,
        approve,
        auditor,
        common,
        consent,
        mandates,
        operator,
        request_summary,
        role_requests,
        texts,
    )
    from deputize.core.web.pages.link_binding import bind_to_browser
    from deputize.core.web.pages.rendering import put_root
    from deputize.core.web.pages.site import SIGN_OUT, Page, Site, UserVerifier, is_refusal, log, note
except ImportError as missing:
    raise SettingsError.without(missing, "web") from None

PAGES: Final = (
    *consent.PAGES,
    *account.PAGES,
    *activity.PAGES,
    *approve.PAGES,
    *mandates.PAGES,
    *role_requests.PAGES,
    *operator.PAGES,
    *auditor.PAGES,
    *request_summary.PAGES,
    *common.PAGES,
)
"""Every page there is."""

__all__ = ["PAGES", "Brand", "Page", "Site", "UserVerifier", "pages_app"]

# More than any browser sends. Servers differ: some do not limit the head of a request.
MAX_ADDRESS: Final = 16384
"""Bytes of path and query. The codes of some providers take thousands."""
MAX_HEADERS: Final = 200
MAX_HEADER_BYTES: Final = 65536
"""Bytes of all headers together. On 127.0.0.1 a browser sends the cookies of all servers there."""

_REFUSALS: Final = {414: b"This address is too long.", 431: b"These request headers are too long."}

_STATUS: Final[Mapping[type[DeputizeError], int]] = {
    UserRequired: 401,
    Conflict: 409,
    RateLimited: 429,
    ProviderUnavailable: 502,
    StoreUnavailable: 503,
    OutcomeUnknown: 503,
}


def pages_app(
    deputy: BaseDeputy,
    *,
    verifier: UserVerifier | None,
    sign_in: str = "",
    local: bool = False,
    pages: Iterable[Page] = PAGES,
    templates: Iterable[Path] = (),
    return_to: Iterable[str] = (),
    brand: Brand | None = None,
) -> ASGIApp:
    """Return the pages as an ASGI application, to be served by itself or mounted in another one.

    ``verifier``: returns the browser's user. ``sign_in``: your page for users who are not signed in; it receives
    ``?next=`` with a path on the same host. ``local``: no verifier, one person, loopback only. The deputy's
    ``base_url`` is the public address of the pages, including the path of a mount. ``pages``: all pages, as ``[*PAGES,
    Page(...)]``. ``templates``: folders with your own templates, read now; a template with the name of a built-in one
    replaces it. ``return_to``: addresses of your application, as ``["/chat", "https://app.example/"]``, to which the
    page of a consent may link at the end: the first one, or the one that its link names with ``?return_to=``.
    ``brand``: the name and look of your application on the pages. Raises `SettingsError` if a web application could not
    tell its users apart, for plain http beyond this machine, and for a missing folder.
    """
    if verifier is None and not local:
        raise SettingsError(
            "The pages need a verifier: without one, anyone with a link could connect an account for another user.",
            hint="Call pages_app(deputy, verifier=lambda request: request.session.get('user_id')), or pass your "
            "application's own function. On your own machine only: local=True.",
        )
    if verifier is not None and local:
        raise SettingsError("local=True is for one user on this machine; it cannot be combined with a verifier.")
    if sign_in and (not sign_in.startswith(("/", "https://")) or sign_in.startswith(("//", "/\\"))):
        raise SettingsError("sign_in must be a path of your application, as /login, or an https address.")
    if isinstance(deputy.pages, FixedPages):
        cookies_for(deputy.pages.url, deputy.vault.keys.web)
        if local and urlsplit(deputy.pages.url).hostname not in LOOPBACK:
            raise SettingsError("local=True is for pages on loopback only.", hint="Pass a verifier instead.")
        if not local:
            _warn_of_lost_cookies(deputy, deputy.pages.url.rstrip("/"))
    pages = tuple(pages)
    sign_out = SIGN_OUT if any(page.path == SIGN_OUT for page in pages) else ""
    return pages_scope(
        limit_request_size(_route(Site(deputy, verifier, sign_in, templates, return_to, brand, sign_out), pages))
    )


def _warn_of_lost_cookies(deputy: BaseDeputy, base_url: str) -> None:
    """Log each app that cannot be connected because its provider redirects browsers to another host."""
    for app in deputy.apps.values():
        if fault := deputy.providers[app.provider].cookie_fault(base_url):
            log.warning("The app %s cannot be connected: %s %s", app.name, fault.message, fault.hint)


def _route(site: Site, pages: Iterable[Page]) -> ASGIApp:
    below = "/me/{me}" if site.local else ""
    routes = [
        Route((below if page.own else "") + page.path, _guard(site, page), methods=[page.method])
        for page in pages
        if site.local or not page.local
    ]

    async def no_page(request: Request, e: Exception) -> Response:
        put_root(request, await site.deputy.pages.base_url())
        status: int = getattr(e, "status_code", 404)
        return site.message_page(request, status, texts.NO_PAGE)

    app = Starlette(routes=routes, exception_handlers={HTTPException: no_page})
    app.router.redirect_slashes = False  # it would be a 307, to the host in the Host header
    return app


def _guard(site: Site, page: Page) -> Callable[[Request], Awaitable[Response]]:
    """Return the page's handler, with errors turned into pages. No other function does that."""

    async def answer(request: Request) -> Response:
        try:
            put_root(request, await site.deputy.pages.base_url())
            links = site.local and (page.own or page.link)
            return await (bind_to_browser(site, page, request) if links else page.handler(site, request))
        except HTTPException:
            raise
        except Exception as e:
            note(e, f"{page.method} {page.path}")
            if is_refusal(e):
                return site.refusal_page(request, e)
            if isinstance(e, DeputizeError):
                said = texts.Message(texts.BROKEN_TITLE, texts.failure(e), e.hint)
                return site.message_page(request, _STATUS.get(type(e), 500), said)
            return site.message_page(request, 500, texts.BROKEN)

    return answer


def limit_request_size(app: ASGIApp) -> ASGIApp:
    """Return ``app``, answering 414 or 431 (RFC 9110 15.5.15, RFC 6585 5) to a request with too long a head."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        status = _excess_status(scope) if scope["type"] == "http" else 0
        if not status:
            return await app(scope, receive, send)
        await send({"type": "http.response.start", "status": status, "headers": plain_headers()})
        await send({"type": "http.response.body", "body": _REFUSALS[status]})

    return guarded


def _excess_status(scope: Scope) -> int:
    headers = scope["headers"]
    if len(scope["path"]) + len(scope["query_string"]) > MAX_ADDRESS:
        return 414
    size = sum(len(name) + len(value) for name, value in headers)
    return 431 if len(headers) > MAX_HEADERS or size > MAX_HEADER_BYTES else 0
