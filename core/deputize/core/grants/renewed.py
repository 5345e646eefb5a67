"""A grant with the tokens of a refresh in it."""

from __future__ import annotations

from dataclasses import replace

from deputize.core.oauth.flow import Tokens
from deputize.core.vault.grant import Grant, Origin


def renewed(grant: Grant, tokens: Tokens, asked_at: float, origin: Origin) -> Grant:
    """The grant with what the reply changed; what it leaves out stays as it was. ``asked_at``: Unix seconds."""
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
    )


def merged(before: Grant, current: Grant, new: Grant) -> Grant:
    """The row as it is now with the refreshed tokens; a step-up's newer access token is kept."""
    if current.access_token != before.access_token:
        return replace(current, refresh_token=new.refresh_token)
    return replace(
        current,
        access_token=new.access_token,
        refresh_token=new.refresh_token,
        proof_key=new.proof_key,
        expires_at=new.expires_at,
        obtained_at=new.obtained_at,
        extra={**current.extra, **new.extra},
    )
