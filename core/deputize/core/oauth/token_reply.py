"""Replies of a token endpoint: the tokens, their scopes and their lifetime (RFC 6749 5.1)."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Any, Final, TypeGuard

from deputize.core.errors import ProviderUnavailable
from deputize.core.failures import token_reply
from deputize.core.oauth.provider import Provider
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.grant import Secret

REFRESH_LIFETIME: Final = "refresh_token_expires_in"
"""The field with the seconds of a refresh token. It is in no RFC: Google sends it for apps in testing and for access
that the user limited in time, GitHub and Entra for refresh tokens that end."""


@frozen
class Tokens(Frozen):
    """A token reply. ``scopes``: None if the reply has none. ``lifetime``: seconds, 0 for no expiry.

    ``id_token``: unverified, and only present if it is used. Its nonce must be ``nonce``, "" if none was sent.
    ``extra``: other fields stored with the grant. ``proof_key``: the key to which the tokens are bound (RFC 9449), if
    any. ``refresh_lifetime``: seconds of the refresh token, 0 if the reply does not say.
    """

    access: Secret
    refresh: Secret | None
    scopes: frozenset[str] | None
    lifetime: float
    extra: dict[str, str] = field(default_factory=dict)
    id_token: Secret | None = None
    nonce: str = ""
    proof_key: Secret | None = None
    refresh_lifetime: float = 0.0

    def refresh_end(self, asked_at: float) -> float:
        """Return the end of the refresh token in Unix seconds, 0 if it is not known. ``asked_at``: of the request."""
        return asked_at + self.refresh_lifetime if self.refresh and self.refresh_lifetime else 0.0


def parse_tokens(provider: Provider, reply: Any, proof_key: Secret | None = None) -> Tokens:
    """Return the tokens of a reply (RFC 6749 5.1). Raises `ProviderUnavailable` for a missing or invalid value.
    ``proof_key``: the proven key. The tokens are bound to it if their type says so (RFC 9449 5)."""
    tokens = _tokens(provider, reply, proof_key)
    del reply  # else the frame of an error would show it
    if isinstance(tokens, str):
        raise ProviderUnavailable(tokens)
    return tokens


def _tokens(provider: Provider, whole: Any, proof_key: Secret | None) -> Tokens | str:
    """Return the tokens of a reply, or an error text. An exception would keep the tokens in its frame."""
    reply = token_reply(provider.rules, whole) or {}
    access, kind = reply.get("access_token"), str(reply.get("token_type", "bearer")).lower()
    if not usable(access) or kind not in ("bearer", "user", *(["dpop"] if proof_key else [])):
        return f"{provider.label} answered without a usable token."
    if (extra := _kept(provider, whole)) is None:
        return f"{provider.label} named a place that is not its own."
    refresh_token, id_token = reply.get("refresh_token"), reply.get("id_token")
    return Tokens(
        access=Secret(access),
        refresh=Secret(refresh_token) if usable(refresh_token) else None,
        scopes=None if provider.apis.permissions else _scopes(provider, reply.get("scope")),
        lifetime=seconds(reply.get("expires_in"), provider.oauth.default_lifetime),
        extra=extra,
        id_token=Secret(id_token) if provider.oauth.jwks_url and usable(id_token) else None,
        proof_key=proof_key if kind == "dpop" else None,
        refresh_lifetime=seconds(reply.get(REFRESH_LIFETIME), 0.0),
    )


def _scopes(provider: Provider, scope: Any) -> frozenset[str] | None:
    """Return the scopes of a reply, a string or a list. A scope consists of visible ASCII (RFC 6749 3.3)."""
    if isinstance(scope, list):
        scope = " ".join(one for one in scope if isinstance(one, str))
    return frozenset(filter(usable, provider.oauth.normal(scope))) if isinstance(scope, str) else None


def _kept(provider: Provider, reply: Any) -> dict[str, str] | None:
    """Return the fields stored with the grant, or None if a value is invalid and could send tokens to another host."""
    kept = {name: reply[name] for name in provider.apis.kept_fields if name in reply}
    if not all(
        isinstance(value, str) and re.fullmatch(provider.apis.kept_fields[name], value) for name, value in kept.items()
    ):
        return None
    return kept


def usable(token: object) -> TypeGuard[str]:
    """Return True for visible ASCII, which RFC 6749 (A.12, A.17) allows and a header can carry."""
    return isinstance(token, str) and bool(token) and all("!" <= character <= "~" for character in token)


def seconds(value: Any, absent: float) -> float:
    """Return a lifetime in seconds. ``expires_in`` may be a string. If it is missing or nonsense: ``absent``."""
    try:
        found = absent if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):  # the last one: an integer of hundreds of digits
        return absent
    return found if 0 < found < 1e9 else absent
