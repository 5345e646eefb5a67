"""One way to the issuer and back: what ties the browser that set out to the answer it brings (login CSRF, replay).

Nothing is stored for it, since anybody may set out. The browser keeps one signed cookie with a random value, the time
and where the person wanted to go; ``state``, ``nonce`` and PKCE's verifier are keyed digests of that random value, each
for its own purpose. So a code that another browser was given is of no use in this one, and a cookie that was copied
tells neither the verifier nor the nonce.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from typing import Final

from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Secret
from deputize.core.web.signing_key import proof

SIGN_IN_TTL: Final = 600
"""Seconds that a person may take at the issuer."""
_COOKIE: Final = re.compile(r"([A-Za-z0-9_-]{43})\.([0-9]{1,12})\.([A-Za-z0-9_=-]*)\.([0-9a-f]{64})")


@frozen
class SignInRequest(ValueObject):
    """A way that has begun. ``key``: the vault's own for the web. ``target``: a path that was checked."""

    key: bytes
    value: str
    began: int
    target: str

    @classmethod
    def new(cls, key: bytes, now: float, target: str) -> SignInRequest:
        """One that begins now (Unix seconds)."""
        return cls(key, secrets.token_urlsafe(32), int(now), target)

    @classmethod
    def read(cls, key: bytes, now: float, cookie: str, state: str) -> SignInRequest | None:
        """The one that this browser began and this ``state`` answers; None if there is none, or it is too old."""
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
        """What the browser keeps."""
        target = base64.urlsafe_b64encode(self.target.encode()).decode()
        parts = self.value, str(self.began), target
        return ".".join((*parts, _signature(self.key, *parts)))

    @property
    def state(self) -> Secret:
        """RFC 6749 10.12."""
        return Secret(proof(self.key, "sign-in state", self.value))

    @property
    def nonce(self) -> str:
        """OpenID Connect Core 3.1.2.1."""
        return proof(self.key, "sign-in nonce", self.value)

    @property
    def verifier(self) -> Secret:
        """RFC 7636 4.1."""
        return Secret(proof(self.key, "sign-in verifier", self.value))


def _signature(key: bytes, *parts: str) -> str:
    return proof(key, "sign-in cookie", *parts)
