"""Pages without a user, and the files that pages load.

    GET  /refused, /failed   targets of a callback that cannot be used, or that failed
    GET  /connections        in local mode only: how to get the link to one's own page
    GET  /health             identifies the vault of these pages, for another process with the same vault
    GET  /oauth/client.json  the client metadata document; its address is the client id
    GET  /                   redirects to /connections
    GET  /style.css, /logo, /favicon.svg, /favicon.ico

The client metadata document (draft-ietf-oauth-client-id-metadata-document, CIMD) names a callback for each server that
supports it, but none on loopback, which anybody on a machine could claim.
"""

from __future__ import annotations

import json
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from deputize.core.mcp_client.client_registration import CLIENT_NAME, DOCUMENT, document_of
from deputize.core.web.pages import texts
from deputize.core.web.pages.rendering import asset, file_of_ours, json_of, root_of, see_other
from deputize.core.web.pages.site import Page, Site
from deputize.core.web.signing_key import health


async def show_refused(site: Site, request: Request) -> Response:
    """Show that the callback cannot be used."""
    return site.refusal_page(request)


async def show_failed(site: Site, request: Request) -> Response:
    """Show that an internal error broke the callback."""
    return site.message_page(request, 503, texts.CALLBACK_FAILED)


async def explain_local_link(site: Site, request: Request) -> Response:
    """Serve the fixed address of local mode, which even a model may see because it opens nothing."""
    return site.message_page(request, 200, texts.LOCAL_CONNECTIONS)


async def serve_health(site: Site, request: Request) -> Response:
    """Prove to another process with the same vault that these are the vault's pages."""
    challenge = request.query_params.get("challenge", "")[:64]
    port = request.scope["server"][1] if site.local and request.scope.get("server") else 0
    return json_of(json.dumps(health(site.key, challenge, port=port or 0)))


async def client_document(site: Site, request: Request) -> Response:
    """Serve the client metadata document, if there is a server that supports it."""
    base, servers = site.deputy.services.home, site.deputy.registry.late
    if site.local or not servers or not (address := document_of(base)):
        raise HTTPException(404)
    said = {
        "client_id": address,
        "client_name": (site.brand and site.brand.name) or CLIENT_NAME,
        "redirect_uris": [f"{base}/callback/{name}" for name in sorted(servers)],
        "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
        "application_type": "web",
    }
    return json_of(json.dumps(said))


async def style(site: Site, request: Request) -> Response:
    """Serve the stylesheet with the brand's colour."""
    return asset(file_of_ours("style.css") + (site.brand.css.encode() if site.brand else b""), "text/css")


async def logo(site: Site, request: Request) -> Response:
    """Serve the brand's logo from the pages' own origin, because pages load nothing from other origins."""
    if not site.brand or not site.brand.image:
        raise HTTPException(404)
    return asset(site.brand.image, site.brand.media_type)


async def icon(site: Site, request: Request) -> Response:
    """Serve the icon of the browser tab."""
    return asset(file_of_ours("favicon.svg"), "image/svg+xml")


async def home(site: Site, request: Request) -> Response:
    """Redirect the root to the user's own page."""
    return see_other(f"{root_of(request)}/connections")


PAGES: Final = (
    Page("GET", "/refused", show_refused),
    Page("GET", "/failed", show_failed),
    Page("GET", "/connections", explain_local_link, local=True),
    Page("GET", "/health", serve_health),
    Page("GET", DOCUMENT, client_document),
    Page("GET", "/", home),
    Page("GET", "/style.css", style),
    Page("GET", "/logo", logo),
    Page("GET", "/favicon.svg", icon),
    Page("GET", "/favicon.ico", icon),
)
