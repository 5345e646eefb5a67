"""One sign-in at the issuer: what ties the browser that began it to the answer it brings (login CSRF, replay).

Nothing is stored on the server, because anybody may begin one. The browser keeps one signed cookie with a random value,
the time and the target page; ``state``, ``nonce`` and PKCE's verifier are keyed digests of that random value, each for
its own purpose. So a code that was issued to another browser is useless in this one, and a copied cookie reveals
neither the verifier nor the nonce.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from typing import Final

from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Secret
from deputize.core.web.signing_key import sign

SIGN_IN_TTL: Final = 600
"""Seconds that a user may take at the issuer."""
_COOKIE: Final = re.compile(r"([A-Za-z0-9_-]{43})\.([0-9]{1,12})\.([A-Za-z0-9_=-]*)\.([0-9a-f]{64})")


@frozen
class SignInRequest(ValueObject):
    """A sign-in that has begun. ``key``: the vault's own for the web. ``target``: a checked path."""

    key: bytes
    value: str
    began: int
    target: str

    @classmethod
    def new(cls, key: bytes, now: float, target: str) -> SignInRequest:
        """Return a sign-in that begins now (Unix seconds)."""
        return cls(key, secrets.token_urlsafe(32), int(now), target)

    @classmethod
    def read(cls, key: bytes, now: float, cookie: str, state: str) -> SignInRequest | None:
        """Return the sign-in that this browser began and this ``state`` answers, or None if there is none in time."""
        found = _COOKIE.fullmatch(cookie)
        if found is None:
            return None
        signed = hmac.compare_digest(_signature(key, found[1], found[2], found[3]), found[4])
        if not signed or not 0 <= now - int(found[2]) + 1 <= SIGN_IN_TTL:
            return None
        target = base64.urlsafe_b64decode(found[3]).decode()
        request = cls(key, found[1], int(found[2]), target)
        return request if hmac.compare_digest(request.state.reveal().encode(), state.encode()) else None

    @property
    def cookie(self) -> str:
        """The value of the browser's cookie."""
        target = base64.urlsafe_b64encode(self.target.encode()).decode()
        parts = self.value, str(self.began), target
        return ".".join((*parts, _signature(self.key, *parts)))

    @property
    def state(self) -> Secret:
        """The state of RFC 6749 10.12."""
        return Secret(sign(self.key, "sign-in state", self.value))

    @property
    def nonce(self) -> str:
        """The nonce of OpenID Connect Core 3.1.2.1."""
        return sign(self.key, "sign-in nonce", self.value)

    @property
    def verifier(self) -> Secret:
        """The code verifier of RFC 7636 4.1."""
        return Secret(sign(self.key, "sign-in verifier", self.value))


def _signature(key: bytes, *parts: str) -> str:
    return sign(key, "sign-in cookie", *parts)
