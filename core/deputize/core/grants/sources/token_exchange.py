"""Exchange of a session token for a token of the API: RFC 8693, and Microsoft's on-behalf-of flow.

The server is trusted, as for every token request: it checks the session token, its audience, and the rights of this
client for the user. The user sees no page. Source of on-behalf-of:
learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import httpx

from deputize.core.errors import ProviderUnavailable
from deputize.core.oauth import messages as flow
from deputize.core.oauth.app import TokenExchange
from deputize.core.oauth.endpoint import Endpoint
from deputize.core.oauth.provider import App, Provider
from deputize.core.vault.grant import Secret

EXCHANGE_GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TYPE_OF: Final = "urn:ietf:params:oauth:token-type:"
UNSAID: Final = 300.0
"""Lifetime in seconds of a token whose lifetime the server does not name."""
_ISSUED: Final = (f"{TYPE_OF}access_token", f"{TYPE_OF}jwt")


async def request_tokens(
    endpoint: Endpoint, source: TokenExchange, subject: Secret, scopes: frozenset[str]
) -> flow.Tokens:
    """Return tokens of the API for the user of this session token. Raises `Refusal`."""
    parse = flow.parse_tokens if source.on_behalf_of else parse_exchanged
    return with_lifetime(
        await endpoint.issue(lambda: request(endpoint.provider, endpoint.app, source, subject, scopes), parse)
    )


def with_lifetime(found: flow.Tokens) -> flow.Tokens:
    """Return the tokens with a default lifetime if the server states none (RFC 8693 2.2.1 recommends one). Without a
    lifetime they would outlive every session of the user here."""
    return found if found.lifetime else replace(found, lifetime=UNSAID)


def request(
    provider: Provider, app: App, source: TokenExchange, subject: Secret, scopes: frozenset[str]
) -> httpx.Request:
    """Return the request of RFC 8693 2.1, or of RFC 7523 2.1 with Entra's parameters."""
    if source.on_behalf_of:
        return flow.by_grant(
            provider,
            app,
            JWT_GRANT,
            scopes,
            assertion=subject.reveal(),
            requested_token_use="on_behalf_of",  # noqa: S106
        )
    return exchange_request(
        provider, app, source.session, subject, scopes, "access_token", audience=source.token_audience
    )


def exchange_request(
    provider: Provider, app: App, kind: str, subject: Secret, scopes: frozenset[str], wanted: str, **targets: str
) -> httpx.Request:
    """Return the request that exchanges a token for one of the type ``wanted`` (RFC 8693 2.1). ``targets``: audience
    and resource."""
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
    """Return the tokens of the reply (RFC 8693 2.2.1). Raises `ProviderUnavailable` if they are not access tokens."""
    kind = reply.get("issued_token_type") if isinstance(reply, Mapping) else None
    if kind not in _ISSUED:
        del reply  # else a traceback shows it
        raise ProviderUnavailable(f"{provider.label} did not return an access token.")
    return flow.parse_tokens(provider, reply, proof_key)
