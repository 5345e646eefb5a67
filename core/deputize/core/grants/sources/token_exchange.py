"""A session token for a token of the API: RFC 8693, and Microsoft's on-behalf-of.

The server is believed, as at every token request: it has looked at the session token, at whom it was given to, and at
what this client may have in the user's name. There is no page on which the user was asked.
Source of on-behalf-of: learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import httpx

from deputize.core.errors import ProviderUnavailable
from deputize.core.oauth import flow
from deputize.core.oauth.endpoint import Endpoint
from deputize.core.oauth.grant_sources import TokenExchange
from deputize.core.oauth.provider import App, Provider
from deputize.core.vault.grant import Secret

EXCHANGE_GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TYPE_OF: Final = "urn:ietf:params:oauth:token-type:"
UNSAID: Final = 300.0
"""Seconds that a token is used for of which the server does not say how long it lives."""
_ISSUED: Final = (f"{TYPE_OF}access_token", f"{TYPE_OF}jwt")


async def tokens(endpoint: Endpoint, source: TokenExchange, subject: Secret, scopes: frozenset[str]) -> flow.Tokens:
    """Tokens of the API for the user whose session token this is. Raises `Refusal`."""
    parse = flow.parse_tokens if source.on_behalf_of else parse_exchanged
    return bounded(
        await endpoint.issue(lambda: request(endpoint.provider, endpoint.app, source, subject, scopes), parse)
    )


def bounded(found: flow.Tokens) -> flow.Tokens:
    """With a lifetime, where the server says none (RFC 8693 2.2.1 recommends it): else they would outlive every session
    of the user's here."""
    return found if found.lifetime else replace(found, lifetime=UNSAID)


def request(
    provider: Provider, app: App, source: TokenExchange, subject: Secret, scopes: frozenset[str]
) -> httpx.Request:
    """RFC 8693 2.1; or RFC 7523 2.1 with what Entra adds to it."""
    if source.on_behalf_of:
        return flow.by_grant(
            provider,
            app,
            JWT_GRANT,
            scopes,
            assertion=subject.reveal(),
            requested_token_use="on_behalf_of",  # noqa: S106
        )
    return exchanged(provider, app, source.session, subject, scopes, "access_token", audience=source.token_audience)


def exchanged(
    provider: Provider, app: App, kind: str, subject: Secret, scopes: frozenset[str], wanted: str, **targets: str
) -> httpx.Request:
    """RFC 8693 2.1: this token, for one of the type ``wanted``. ``targets``: its audience and resource."""
    return flow.by_grant(
        provider,
        app,
        EXCHANGE_GRANT,
        scopes,
        subject_token=subject.reveal(),
        subject_token_type=TYPE_OF + kind,
        requested_token_type=TYPE_OF + wanted,
        **{name: value for name, value in targets.items() if value},
    )


def parse_exchanged(provider: Provider, reply: Any, proof_key: Secret | None) -> flow.Tokens:
    """RFC 8693 2.2.1. Raises `ProviderUnavailable` where what came is for something else than access."""
    kind = reply.get("issued_token_type") if isinstance(reply, Mapping) else None
    if kind not in _ISSUED:
        del reply  # else the frame of the error shows it
        raise ProviderUnavailable(f"{provider.label} gave another kind of token than an access token.")
    return flow.parse_tokens(provider, reply, proof_key)
