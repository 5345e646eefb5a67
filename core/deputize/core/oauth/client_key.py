"""A client's signing key instead of a secret: ``private_key_jwt`` (OpenID Connect Core 9, RFC 7523 2.2).

Each request to the token, revocation, device or PAR endpoint carries its own signed assertion. It is valid for
`ASSERTION_TTL` seconds and for one server, and its id is never reused. Nothing that leaves this machine can be reused.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from deputize.core.errors import SettingsError
from deputize.core.oauth.jose import ALGS, key_of, kind_of, sign
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.grant import Secret, SecretBytes
from deputize.core.vault.private_files import read_private

if TYPE_CHECKING:
    from deputize.core.oauth.jose import AnyKey

ASSERTION_TTL: Final = 60
"""Seconds that an assertion is valid."""
_MAX_KEY_FILE_BYTES: Final = 2**16


@frozen
class ClientKey(Frozen):
    """A private key. ``jwk``: in JSON Web Key form. ``alg``: its algorithm. ``kid``: its id at the server, or ""."""

    jwk: Secret = field(repr=False)
    alg: str
    kid: str = ""

    @classmethod
    def read(cls, path: Path, *, app: str, alg: str = "", kid: str = "") -> ClientKey:
        """Read the key from a file with mode 0600: PEM (PKCS 8, PKCS 1, SEC 1) or a JSON Web Key.

        ``alg``, ``kid``: override the values in the file. ``app``: named in the `SettingsError` for a bad file.
        """
        try:
            text = SecretBytes(read_private(path, _MAX_KEY_FILE_BYTES))
        except SettingsError as e:
            raise SettingsError(f"The private key of the app {app!r}: {e.message}", hint=e.hint) from None
        found = key_in(text, alg, kid)
        if isinstance(found, str):
            raise SettingsError(f"The private key of the app {app!r} {found}.", hint=str(path))
        return found

    def assertion(self, client_id: str, audience: str) -> Secret:
        """Return a new assertion for this server."""
        now = int(time.time())
        claims = {"iss": client_id, "sub": client_id, "aud": audience, "jti": secrets.token_urlsafe(16)}
        return self.signed(claims | {"iat": now, "exp": now + ASSERTION_TTL})

    def signed(self, claims: Mapping[str, Any]) -> Secret:
        """Return a JSON Web Token with these claims."""
        header = {"alg": self.alg, "typ": "JWT"} | ({"kid": self.kid} if self.kid else {})
        return Secret(sign(header, claims, _import_key(self.jwk)))


@lru_cache(maxsize=32)
def _import_key(jwk: Secret) -> AnyKey:
    return key_of(json.loads(jwk.reveal()), private=True)


def key_in(text: SecretBytes, alg: str = "", kid: str = "") -> ClientKey | str:
    """Return the key in PEM or a JSON Web Key, or an error text. An exception would keep the plaintext in its frame."""
    pem = b"-----BEGIN" in text.reveal()
    try:
        jwk = _jwk_from_pem(text) if pem else json.loads(text.reveal())
    except TypeError:
        return "is locked with a passphrase"
    except (ValueError, RecursionError):
        return "is neither PEM nor a JSON Web Key"
    if not isinstance(jwk, dict) or not kind_of(jwk):
        return "is none of RSA (2048 to 8192 bits), P-256, P-384, P-521 or Ed25519"
    good = [name for name, kind in ALGS.items() if kind == kind_of(jwk)]
    wanted = alg or str(jwk.get("alg") or good[0])
    if wanted not in good:
        return f"does not sign by {wanted[:20]!r}, but by {' or '.join(good)}"
    try:
        key_of(jwk, private=True)
    except ValueError:
        return "is a public key, or a damaged one"
    return ClientKey(Secret(json.dumps(jwk)), wanted, kid or str(jwk.get("kid") or ""))


def _jwk_from_pem(text: SecretBytes) -> Mapping[str, Any]:
    """Return the JSON Web Key of PEM, empty for an unsupported type. Raises TypeError if locked, or ValueError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    try:
        key = load_pem_private_key(text.reveal(), None)
    except UnsupportedAlgorithm:
        return {}
    if isinstance(key, rsa.RSAPrivateKey):
        return RSAKey.import_key(key).as_dict(private=True) if key.key_size >= 2048 else {}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return ECKey.import_key(key).as_dict(private=True) if key.curve.key_size in (256, 384, 521) else {}
    return OKPKey.import_key(key).as_dict(private=True) if isinstance(key, ed25519.Ed25519PrivateKey) else {}
