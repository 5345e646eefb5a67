"""The account in an id_token, after all checks that OpenID Connect Core 3.1.3.7 requires.

The issuer is trusted for its own accounts, and only for tokens signed by a key of its key set (``jwks_url``) with an
algorithm in its metadata. The token only proves who consented: it is not a credential here, and is not stored.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, TypeGuard

from deputize.core.oauth.identity import MAX_OF_SUBJECT
from deputize.core.oauth.jose import ALGS, content_of, header_of, key_of, kind_of, verify
from deputize.core.oauth.provider import App, Provider
from deputize.core.vault.grant import Secret

CLOCK_SKEW_SECONDS: Final = 120.0
"""Seconds that the server's clock may differ from ours."""
MAX_KEY_SET_BYTES: Final = 2**18
"""Maximum size of a key set."""
MAX_KEYS: Final = 100
UNKNOWN_KEY: Final = "is not signed by a key of the server's"
"""Why a token is rejected that a newer key set may still verify."""
_MAX_TRIED: Final = 8
_LATEST: Final = 2**53
"""Seconds. A greater number is not a time, and may be too large for arithmetic."""
_MAX_TOKEN_CHARACTERS: Final = 2**14


def claims_of(provider: Provider, app: App, token: Secret, nonce: str, keys: Any, at: float) -> dict[str, Any] | str:
    """Return the claims of an id_token, or the end of a sentence that says why it is invalid. Never raises.

    ``nonce``: the authorization request's nonce, "" if there was none (RFC 8628). ``keys``: the key set as received.
    ``at``: when the token arrived (Unix seconds), which may be a while ago.
    """
    claims = signed_claims(token, provider.oauth.id_token_algs or {"RS256"}, keys)
    return claims if isinstance(claims, str) else _misfit(provider, app, claims, nonce, at) or claims


def signed_claims(token: Secret, algs: Collection[str], keys: Any) -> dict[str, Any] | str:
    """Return the claims, signed by a key of this set with one of these algorithms, or why they are invalid."""
    content = _signed(token, [alg for alg in ALGS if alg in algs], keys)
    if isinstance(content, str):
        return content
    try:
        claims = json.loads(content)
    except (ValueError, RecursionError):
        claims = None
    return claims if isinstance(claims, dict) else "holds no claims"


def names_another_account(provider: Provider, token: Secret, subject: str) -> bool:
    """Return True if the id_token of a refresh names another account than ``subject``.

    OpenID Connect Core 12.2. Its signature is not checked (3.1.3.7, 6): it came from the token endpoint over TLS, and a
    forged one can only end a grant. False if it cannot be read, or its ``sub`` is not the subject of accounts here.
    """
    claims = content_of(token.reveal())
    if provider.apis.identity.subject != "{sub}" or "sub" not in claims:
        return False
    return (claims.get("iss"), claims["sub"]) != (provider.oauth.issuer, subject)


def _signed(token: Secret, algs: list[str], keys: Any) -> bytes | str:
    text = token.reveal()
    if text.count(".") != 2 or len(text) > _MAX_TOKEN_CHARACTERS:
        return "is encrypted" if text.count(".") == 4 else "is no signed token"
    header = header_of(text)
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in algs:
        return f"is signed by {str(alg)[:20]!r}, not by {' or '.join(algs) or 'any algorithm that is supported'}"
    if "crit" in header:  # RFC 7515 4.1.11
        return "requires an extension that is not supported (crit)"
    found = keys.get("keys") if isinstance(keys, Mapping) else None
    if not isinstance(found, list):
        return "cannot be checked: the server shows no key set"
    if len(found) > MAX_KEYS:
        return f"cannot be checked: the server shows more than {MAX_KEYS} keys"
    for tried, jwk in enumerate(_candidates(found, alg, header.get("kid"))):
        if tried == _MAX_TRIED:
            break
        if (content := _verify_with(text, jwk, alg)) is not None:
            return content
    return UNKNOWN_KEY


def _candidates(keys: list[Any], alg: str, kid: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the keys that may have signed this: of the right type, for signatures, and with the header's key id."""
    for jwk in keys:
        if not isinstance(jwk, Mapping) or jwk.get("use", "sig") != "sig" or kind_of(jwk) != ALGS[alg]:
            continue
        if kid in (None, jwk.get("kid")):
            yield jwk


def _verify_with(text: str, jwk: Mapping[str, Any], alg: str) -> bytes | None:
    try:
        return verify(text, key_of(jwk), alg)
    except ValueError:
        return None


def _misfit(provider: Provider, app: App, claims: Mapping[str, Any], nonce: str, at: float) -> str:
    """Return the reason why claims are for another client, from another issuer or expired, or "" for valid claims."""
    if not provider.oauth.issuer or claims.get("iss") != provider.oauth.issuer:
        return "is another issuer's"
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if app.client_id not in audiences:
        return "is for another client"
    if claims.get("azp", app.client_id if len(audiences) == 1 else "") != app.client_id:
        return "was given to another client (azp)"
    if nonce and not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        return "answers another request (nonce)"
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_OF_SUBJECT:
        return "names nobody"
    return validity_fault(claims, at)


def validity_fault(claims: Mapping[str, Any], at: float) -> str:
    """Return why a token is invalid at this time (Unix seconds), as the end of a sentence, or "" for a valid token."""
    ends, issued, begins = claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)
    if not (_is_time(ends) and _is_time(issued) and _is_time(begins)):
        return "does not say how long it holds"
    if ends <= at - CLOCK_SKEW_SECONDS:
        return "has expired; if it is fresh, look at the clock of this machine"
    if max(issued, begins) > at + CLOCK_SKEW_SECONDS:
        return "comes from the future; look at the clock of this machine"
    return ""


def _is_time(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LATEST
