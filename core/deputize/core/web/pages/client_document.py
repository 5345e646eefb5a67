"""The client metadata document, for authorization servers that take its address as a client id (CIMD).

GET /oauth/client.json document where pages are served by https; its address is the client id

Source: draft-ietf-oauth-client-id-metadata-document. It names a callback for each server that supports it, and none on
loopback, which anybody on a machine could claim.
"""

from __future__ import annotations

import json
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from deputize.core.mcp.clients import CLIENT_NAME, DOCUMENT, document_of
from deputize.core.web.pages.rendering import json_of
from deputize.core.web.pages.site import Page, Site


async def document(site: Site, request: Request) -> Response:
    """Serve the document, if there is a server that supports it."""
    base, servers = site.deputy.engine.home, site.deputy.registry.late
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


PAGES: Final = (Page("GET", DOCUMENT, document),)
