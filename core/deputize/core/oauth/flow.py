"""The protocol without I/O: build what is sent to a provider, read what comes back. In the order it happens.

Requests are `httpx.Request` objects that something else sends; parameters go through Authlib's functions. Sources:
RFC 6749 (4.1, 5, 6), RFC 7636, RFC 7009, RFC 9207.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard
from urllib.parse import quote

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request

from deputize.core.errors import ProviderUnavailable
from deputize.core.failures import token_reply
from deputize.core.oauth.provider import App, Provider
from deputize.core.vault.grant import Account, Secret


def authorize_url(
    provider: Provider,
    app: App,
    *,
    redirect_uri: str,
    scopes: frozenset[str],
    state: str,
    challenge: str,
    login_hint: str = "",
) -> str:
    """Where the user's browser goes. RFC 6749 4.1.1, with PKCE S256 always (RFC 7636 4.3)."""
    wanted = [*provider.always, *sorted(scopes - set(provider.always))]
    more = {**provider.params, **provider.params_consent}
    if login_hint and provider.login_hint:
        more[provider.login_hint] = login_hint
    url: str = prepare_grant_uri(
        provider.authorize,
        client_id=app.client_id,
        response_type="code",
        redirect_uri=redirect_uri,
        scope=provider.scope_separator.join(wanted),
        state=state,
        code_challenge=challenge,
        code_challenge_method="S256",
        **more,
    )
    return url


@dataclass(frozen=True, slots=True)
class Callback:
    """What the browser brought back. ``code`` is secret until it is spent."""

    state: str
    code: Secret | None
    error: str
    iss: str


def parse_callback(params: Mapping[str, str]) -> Callback:
    """RFC 6749 4.1.2 and 4.1.2.1; RFC 9207 2 for ``iss``."""
    code = params.get("code", "")
    return Callback(
        params.get("state", ""), Secret(code) if code else None, params.get("error", ""), params.get("iss", "")
    )


def exchange(provider: Provider, app: App, *, code: Secret, verifier: Secret, redirect_uri: str) -> httpx.Request:
    """Code for tokens. RFC 6749 4.1.3, RFC 7636 4.5."""
    return _token_request(
        provider,
        app,
        "authorization_code",
        redirect_uri=redirect_uri,
        code=code.reveal(),
        code_verifier=verifier.reveal(),
    )


def refresh(provider: Provider, app: App, *, refresh_token: Secret) -> httpx.Request:
    """Refresh token for tokens, without ``scope``: it could only narrow the grant. RFC 6749 6."""
    return _token_request(provider, app, "refresh_token", refresh_token=refresh_token.reveal())


def revoke(provider: Provider, app: App, *, token: Secret) -> httpx.Request:
    """RFC 7009 2.1."""
    return _form_request(provider.revoke, provider, app, f"token={quote(token.reveal(), safe='')}")


def identity(provider: Provider, *, access_token: Secret) -> httpx.Request:
    """Whose account is it? OpenID Connect Core 5.3, or the provider's own way."""
    headers = {"authorization": f"Bearer {access_token.reveal()}", "accept": "application/json"}
    return httpx.Request("GET", provider.identity.url, headers=headers)


def _token_request(provider: Provider, app: App, grant_type: str, **params: str) -> httpx.Request:
    return _form_request(provider.token, provider, app, prepare_token_request(grant_type, **params))


def _form_request(url: str, provider: Provider, app: App, body: str) -> httpx.Request:
    """A form for the provider, with the client's credentials as it wants them. RFC 6749 2.3.1."""
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    secret = app.client_secret.reveal() if app.client_secret and provider.client_auth != "none" else ""
    if secret and provider.client_auth == "basic":
        pair = f"{quote(app.client_id, safe='')}:{quote(secret, safe='')}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    else:
        body += f"&client_id={quote(app.client_id, safe='')}"
        body += f"&client_secret={quote(secret, safe='')}" if secret else ""
    return httpx.Request("POST", url, headers=headers, content=body.encode())


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token reply. ``scopes`` None: the reply does not say. ``lifetime``: seconds, 0 for ever."""

    access: Secret
    refresh: Secret | None
    scopes: frozenset[str] | None
    lifetime: float
    extra: dict[str, str] = field(default_factory=dict)


def parse_tokens(provider: Provider, reply: Any) -> Tokens:
    """RFC 6749 5.1. Raises `ProviderUnavailable` if there is no bearer token in it."""
    reply = token_reply(provider.rules, reply) or {}
    access, kind = reply.get("access_token"), str(reply.get("token_type", "bearer")).lower()
    if not _usable(access) or kind not in ("bearer", "user"):
        raise ProviderUnavailable(f"{provider.label} answered without a usable token.")
    refresh_token, scope = reply.get("refresh_token"), reply.get("scope")
    return Tokens(
        access=Secret(access),
        refresh=Secret(refresh_token) if _usable(refresh_token) else None,
        scopes=provider.normal(scope) if isinstance(scope, str) else None,
        lifetime=_seconds(reply.get("expires_in"), provider.default_lifetime),
    )


def _usable(token: object) -> TypeGuard[str]:
    """Visible ASCII: what RFC 6749 (A.12, A.17) allows, and a header can carry."""
    return isinstance(token, str) and bool(token) and all("!" <= character <= "~" for character in token)


def _seconds(value: Any, absent: float) -> float:
    """``expires_in`` may be a string, missing, or nonsense."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return absent
    return seconds if 0 < seconds < 1e9 else absent


def parse_identity(provider: Provider, reply: Any) -> tuple[Account, dict[str, str]]:
    """The account behind a token, and what else the provider says of it. Raises `ProviderUnavailable` without one."""
    shape = provider.identity
    subject, name = _fill(shape.subject, reply), _fill(shape.name, reply)
    if not subject:
        raise ProviderUnavailable(f"{provider.label} did not say whose account this is.")
    extra = {key: value for key, template in shape.extra.items() if (value := _fill(template, reply))}
    return Account(subject, name or subject), extra


def _fill(template: str, reply: Any) -> str:
    """The template with ``{a.b}`` replaced from the reply; empty if any is missing."""
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        found = reply
        for part in match[1].split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        if not isinstance(found, str | int) or isinstance(found, bool) or found == "":
            missing = True
        return str(found)

    filled = re.sub(r"\{([\w.]+)\}", value, template)
    return "" if missing else filled
