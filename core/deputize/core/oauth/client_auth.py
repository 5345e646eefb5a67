"""Authentication of requests to a provider: the app by its credentials (RFC 6749 2.3.1), the user by a token."""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import quote, urlencode

import httpx

from deputize.core.errors import SettingsError
from deputize.core.http.request import JSON_HEADERS
from deputize.core.oauth.app import ServiceAccount
from deputize.core.oauth.provider import App, Provider
from deputize.core.vault.grant import Secret

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def bearer(token: Secret) -> dict[str, str]:
    """Return headers with an access token (RFC 6750 2.1)."""
    return {"authorization": f"Bearer {token.reveal()}", **JSON_HEADERS}


def form_request(url: str, provider: Provider, app: App, body: str, *, names_client: bool = False) -> httpx.Request:
    """Return a form request with the client's credentials in the form that the provider expects (RFC 6749 2.3.1).

    ``names_client``: include ``client_id`` even if the credentials do (RFC 9126 2.1). For a registration that was
    assigned Basic, it is always included (RFC 6749 3.2.1), because servers built with MCP's SDK look only there.
    """
    kind = "application/x-www-form-urlencoded"
    headers = {"content-type": kind, **JSON_HEADERS}
    way = app.client_auth or provider.oauth.client_auth
    secret = secret_of(app) if way != "none" else ""
    if app.key:
        asserted = app.key.assertion(app.client_id, provider.oauth.audience).reveal()
        body += "&" + urlencode(
            {"client_id": app.client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": asserted}
        )
    elif secret and way == "basic":
        headers["authorization"] = basic(app.client_id, secret)
        body += f"&client_id={quote(app.client_id, safe='')}" if names_client or app.client_auth else ""
    else:
        body += f"&client_id={quote(app.client_id, safe='')}"
        body += f"&client_secret={quote(secret, safe='')}" if secret else ""
    return httpx.Request("POST", url, headers=headers, content=body.encode())


def check_client(provider: Provider, app: App) -> None:
    """Raise `SettingsError` for an app that certainly cannot authenticate at its provider."""
    if isinstance(app.source, ServiceAccount) and not provider.oauth.service_accounts:
        raise SettingsError(
            f"{provider.label} has no service accounts, so the app {app.name!r} cannot be one: its tokens are users'.",
            hint=f"Remove [apps.{app.name}.source], and let users consent.",
        )
    methods, algs = provider.oauth.client_auth_methods, provider.oauth.client_auth_algs
    if not app.key:
        if provider.oauth.client_auth != "private_key_jwt":
            return
        raise SettingsError(
            f"{provider.label} accepts no client secret, and the app {app.name!r} has no key (private_key_jwt).",
            hint=f"Register a public key there, and name the private one: private_key_file in [apps.{app.name}].",
        )
    if methods and "private_key_jwt" not in methods:
        raise SettingsError(
            f"{provider.label} takes no signed assertions (private_key_jwt) of the app {app.name!r}.",
            hint=f"It takes: {', '.join(sorted(methods))}. Give the app its client_secret instead of a key.",
        )
    if algs and app.key.alg not in algs:
        raise SettingsError(
            f"{provider.label} takes no assertions signed by {app.key.alg} of the app {app.name!r}.",
            hint=f"It takes: {', '.join(sorted(algs))}. Set private_key_alg, or use another key.",
        )


def secret_of(app: App) -> str:
    """Return the client secret, "" for a public client."""
    return app.client_secret.reveal() if app.client_secret else ""


def basic(name: str, secret: str) -> str:
    """Return a Basic ``Authorization`` header, both parts form-encoded (RFC 6749 2.3.1)."""
    pair = f"{quote(name, safe='')}:{quote(secret, safe='')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
