"""Secrets of an authorization request: verifier, challenge and state (RFC 7636, RFC 9700)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from deputize.core.value_object import Printed, frozen
from deputize.core.vault.grant import Secret


@frozen
class Pkce(Printed):
    """A code verifier (43 unreserved characters, 256 bits) and its S256 challenge. RFC 7636, 4.1 and 4.2."""

    verifier: Secret
    challenge: str


def new_pkce() -> Pkce:
    """Return a new pair for one authorization request."""
    verifier = secrets.token_urlsafe(32)
    return Pkce(Secret(verifier), challenge_of(verifier))


def challenge_of(verifier: str) -> str:
    """Return BASE64URL(SHA256(verifier)) without padding (RFC 7636 4.2)."""
    from authlib.oauth2.rfc7636 import create_s256_code_challenge  # most processes start no consent

    made: Callable[[str], str] = create_s256_code_challenge
    return made(verifier)


def new_state() -> Secret:
    """Return 256 random bits for the ``state`` parameter or a browser's nonce."""
    return Secret(secrets.token_urlsafe(32))


def fingerprint(value: Secret | str) -> str:
    """Return the hash under which a state, nonce or ticket is stored: 64 hexadecimal characters."""
    plain = value.reveal() if isinstance(value, Secret) else value
    return hashlib.sha256(plain.encode(errors="surrogatepass")).hexdigest()  # a caller's invalid text matches nothing
