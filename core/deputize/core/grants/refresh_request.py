"""The request that refreshes a grant, and the grant with the new tokens."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeAlias

from deputize.core.errors import ProviderUnavailable, StoreUnavailable
from deputize.core.oauth.app import RENEWED_BY_SOURCE
from deputize.core.oauth.dpop import NOT_BOUND, unbound
from deputize.core.oauth.endpoint import Endpoint
from deputize.core.oauth.id_token import names_another_account
from deputize.core.oauth.messages import Tokens
from deputize.core.oauth.provider import Provider
from deputize.core.vault.grant import Grant, Origin

GRANT_DEAD: Final = "grant_dead"
"""The token endpoint says that the refresh token, and so its family, is dead (RFC 6749 5.2)."""
LOST_ROTATION: Final = "lost_rotation"
OTHER_ACCOUNT: Final = "other_account"
TOKEN_REFUSED: Final = "token_refused"  # noqa: S105

Ask: TypeAlias = Callable[[Endpoint], Awaitable[Tokens]]
"""Sends one request for tokens at each call. Raises `Refusal`."""


def refresh_request(grant: Grant, again: Ask | None) -> Ask | None:
    """Return the function that requests new tokens: by the refresh token, else ``again``. None if both are missing."""
    token, key = grant.refresh_token, grant.proof_key
    return (lambda endpoint: endpoint.refresh(token, key)) if token and has_refresh_token(grant) else again


def has_refresh_token(grant: Grant) -> bool:
    """Return True if the refresh token can be exchanged. Some sources issue one that can only be revoked."""
    return grant.refresh_token is not None and grant.source not in RENEWED_BY_SOURCE


def must_revoke_on_end(grant: Grant) -> bool:
    """Return True if the grant has an unused refresh token that stays valid until it is revoked."""
    return grant.refresh_token is not None and grant.source in RENEWED_BY_SOURCE


def death_reason(grant: Grant, reason: str, *, unanswered: bool) -> str:
    """Return the reason why a grant is dead. ``reason``: the server's. ``unanswered``: new tokens may be lost."""
    if not has_refresh_token(grant):
        return reason
    return LOST_ROTATION if unanswered else "invalid_grant"


def refusal_reason(provider: Provider, grant: Grant, tokens: Tokens) -> str:
    """Return the reason why these tokens must not replace the grant's, or ""."""
    if unbound(provider, tokens):
        return NOT_BOUND
    named = tokens.id_token
    return OTHER_ACCOUNT if named and names_another_account(provider, named, grant.account.subject) else ""


def apply_reply(grant: Grant, tokens: Tokens, asked_at: float, origin: Origin) -> Grant:
    """Return the grant with the fields of the reply; other fields stay the same. ``asked_at``: Unix seconds."""
    return replace(
        grant,
        access_token=tokens.access,
        refresh_token=tokens.refresh or grant.refresh_token,
        scopes=tokens.scopes or grant.scopes,
        expires_at=asked_at + tokens.lifetime if tokens.lifetime else 0.0,
        obtained_at=asked_at,
        extra={**grant.extra, **tokens.extra},
        origin=origin,
        proof_key=tokens.proof_key,
        family=secrets.token_hex(16) if must_revoke_on_end(grant) else grant.family,
        refresh_ends_at=_refresh_end(grant, tokens, asked_at),
    )


def _refresh_end(grant: Grant, tokens: Tokens, asked_at: float) -> float:
    """Return the end of the refresh token after this reply. A new refresh token has a new end, or an unknown one. A
    token that still works after its end had another end, which is not known."""
    end = grant.refresh_ends_at
    if tokens.refresh_lifetime and (tokens.refresh or grant.refresh_token):
        return asked_at + tokens.refresh_lifetime
    is_new = tokens.refresh is not None and tokens.refresh != grant.refresh_token
    return 0.0 if is_new or asked_at >= end else end


def merge_refreshed(before: Grant, current: Grant, new: Grant) -> Grant:
    """Return the current grant with the refreshed tokens. An access token that a step-up stored since is kept, because
    it is newer."""
    if current.access_token != before.access_token:
        return replace(current, refresh_token=new.refresh_token, refresh_ends_at=new.refresh_ends_at)
    return replace(
        current,
        access_token=new.access_token,
        refresh_token=new.refresh_token,
        proof_key=new.proof_key,
        expires_at=new.expires_at,
        obtained_at=new.obtained_at,
        extra={**current.extra, **new.extra},
        refresh_ends_at=new.refresh_ends_at,
    )


def token_refused_error(label: str, *, refreshed: bool) -> ProviderUnavailable:
    """Return the error for callers while the provider's API refuses a token that may be valid: during an outage, an API
    may reply 401. ``refreshed``: True if the token was refreshed just before."""
    why = "although it was just refreshed" if refreshed else "and it cannot be refreshed"
    return ProviderUnavailable(
        f"{label} refuses the user's access token, {why}. The connection was kept; nothing was done.",
        hint="Try again in a few minutes. If that does not help, the user can disconnect the account and connect it "
        "again.",
        reason=TOKEN_REFUSED,
    )


def not_saved_error() -> StoreUnavailable:
    """Return the error for callers while the store does not accept a new token. This process keeps trying."""
    return StoreUnavailable(
        "The grant was refreshed, but the vault cannot keep the new token now: nothing was done.",
        hint="Free space or unlock the vault, and leave this program running: it has the only copy.",
    )
