"""How a request to a provider shows who sends it: the app by its credentials (RFC 6749 2.3.1), the user by a token."""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import quote

import httpx

from deputize.core.oauth.provider import App, Provider
from deputize.core.vault.grant import Secret

AGENT: Final = "deputize/0.1"


def bearer(token: Secret) -> dict[str, str]:
    """Headers with an access token (RFC 6750 2.1)."""
    return {"authorization": f"Bearer {token.reveal()}", "accept": "application/json", "user-agent": AGENT}


def form_request(url: str, provider: Provider, app: App, body: str, *, names_client: bool = False) -> httpx.Request:
    """A form for the provider, with the client's credentials as it wants them. RFC 6749 2.3.1.

    ``names_client``: the form says ``client_id`` even where the credentials do (RFC 9126 2.1).
    """
    kind = "application/x-www-form-urlencoded"
    headers = {"content-type": kind, "accept": "application/json", "user-agent": AGENT}
    secret = secret_of(app) if provider.client_auth != "none" else ""
    if secret and provider.client_auth == "basic":
        headers["authorization"] = basic(app.client_id, secret)
        body += f"&client_id={quote(app.client_id, safe='')}" if names_client else ""
    else:
        body += f"&client_id={quote(app.client_id, safe='')}"
        body += f"&client_secret={quote(secret, safe='')}" if secret else ""
    return httpx.Request("POST", url, headers=headers, content=body.encode())


def secret_of(app: App) -> str:
    """The client secret, "" for a public client."""
    return app.client_secret.reveal() if app.client_secret else ""


def basic(name: str, secret: str) -> str:
    """An ``Authorization`` header of the scheme Basic, both parts form-encoded (RFC 6749 2.3.1)."""
    pair = f"{quote(name, safe='')}:{quote(secret, safe='')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
