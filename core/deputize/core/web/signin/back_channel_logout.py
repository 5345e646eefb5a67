"""Back-channel logout: the issuer reports, from server to server, that a user has signed out there.

OpenID Connect Back-Channel Logout 1.0. The issuer is trusted, by its signature, for its own sessions and this client
only. A logout token has no other use, and no other token counts as one: an id_token or an access token of the same
issuer names no such event, and an id_token has a nonce, which a logout token must not have (2.6).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from deputize.core.oauth.id_token import CLOCK_SKEW_SECONDS
from deputize.core.oauth.jose import header_of
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Secret

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
KINDS: Final = frozenset({"logout+jwt", "jwt", ""})
"""Accepted values of ``typ`` (2.4): older issuers send JWT, or nothing."""
LOGOUT_TOKEN_TTL: Final = 300.0
"""The longest lifetime of a logout token in seconds, whatever it says."""
_MAX_ID_CHARACTERS: Final = 255


@frozen
class Logout(ValueObject):
    """The content of a logout token. ``session``: the session at the issuer, "" for all of the subject's. ``subject``:
    the user, "" if only the session is named. ``id``: the ``jti``. ``until``: the expiry in Unix seconds."""

    session: str
    subject: str
    id: str
    issued: float
    until: float


def read_logout(token: Secret, claims: Mapping[str, Any], issuer: str, client_id: str, now: float) -> Logout | str:
    """Return the logout of this token, whose claims the issuer signed, or the end of a sentence that says why not."""
    events, issued, ends = claims.get("events"), claims.get("iat"), claims.get("exp")
    session, subject, name = (_text(claims.get(claim)) for claim in ("sid", "sub", "jti"))
    audience = claims.get("aud")
    if str(header_of(token.reveal()).get("typ", "")).lower() not in KINDS:
        return "is a token of another kind"
    if not isinstance(events, Mapping) or not isinstance(events.get(EVENT), Mapping):
        return "names no logout"
    if "nonce" in claims:
        return "has a nonce"
    if claims.get("iss") != issuer or client_id not in (audience if isinstance(audience, list) else [audience]):
        return "is another issuer's, or for another client"
    if not name or not (session or subject):
        return "names neither itself nor whose session it is"
    if not _is_time(issued) or not (ends is None or _is_time(ends)):
        return "does not say when it was made"
    until = min(issued + LOGOUT_TOKEN_TTL, issued + LOGOUT_TOKEN_TTL if ends is None else ends) + CLOCK_SKEW_SECONDS
    if issued > now + CLOCK_SKEW_SECONDS or until <= now:
        return "is not of now; look at the clock of this machine"
    return Logout(session, subject, name, float(issued), until)


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= _MAX_ID_CHARACTERS else ""


def _is_time(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53
