"""JSON Web Signatures (RFC 7515) with public-key algorithms only, over joserfc, which is imported on use.

No ``none``, and no HMAC: a public key must never serve as an HMAC secret (RFC 8725 2.1). The caller supplies the key;
``jku``, ``jwk``, ``x5u`` and ``x5c`` of a header are ignored (RFC 8725 3.10).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OKPKey, RSAKey
    from joserfc.jws import JWSRegistry

    AnyKey = RSAKey | ECKey | OKPKey

ALGS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("RS256", "PS256", "RS384", "PS384", "RS512", "PS512"), "RSA"),
    **{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"},
    **{"EdDSA": "Ed25519", "Ed25519": "Ed25519"},
}
"""Algorithms (RFC 7518 3.1, RFC 8037, RFC 9864), each with its kind of key: RSA, or a curve."""
RSA_BITS: Final = range(2048, 8193)
_PUBLIC: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_PRIVATE: Final = {"RSA": ("d", "p", "q", "dp", "dq", "qi"), "EC": ("d",), "OKP": ("d",)}


def kind_of(jwk: Mapping[str, Any]) -> str:
    """Return ``RSA`` or the curve of a supported JSON Web Key (RFC 7517), or ""."""
    kind = jwk.get("kty")
    if kind == "RSA":
        return "RSA" if _bits(jwk.get("n")) in RSA_BITS else ""
    curve = jwk.get("crv")
    return curve if kind in ("EC", "OKP") and isinstance(curve, str) and curve in ALGS.values() else ""


def key_of(jwk: Mapping[str, Any], *, private: bool = False) -> AnyKey:
    """Return the key of a JSON Web Key. ``private``: include its private part. Raises `ValueError` if invalid."""
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    kind = str(jwk.get("kty")) if kind_of(jwk) else ""
    names = (*_PUBLIC.get(kind, ()), *(_PRIVATE.get(kind, ()) if private else ()))
    if not names or (private and not jwk.get("d")):
        raise ValueError("not such a key")
    part = {"kty": kind, **{name: jwk[name] for name in names if isinstance(jwk.get(name), str)}}
    try:
        if kind == "RSA":
            made: AnyKey = RSAKey.import_key(part)
        else:
            made = ECKey.import_key(part) if kind == "EC" else OKPKey.import_key(part)
        made.get_op_key("sign" if private else "verify")  # joserfc reads it here only
    except (JoseError, ValueError, TypeError, KeyError):
        made_of_it = None
    else:
        made_of_it = made
    if made_of_it is None:
        raise ValueError("not such a key")
    return made_of_it


def sign(header: Mapping[str, Any], claims: Mapping[str, Any], key: AnyKey) -> str:
    """Return a JSON Web Token with these claims. ``header``: contains ``alg``, one of `ALGS` that suits the key."""
    from joserfc import jws

    return jws.serialize_compact(dict(header), json.dumps(claims).encode(), key, registry=_registry(header["alg"]))


def verify(token: str, key: AnyKey, alg: str) -> bytes | None:
    """Return the content if this key signed the token with this algorithm, whatever the header claims, else None."""
    from joserfc import jws
    from joserfc.errors import JoseError

    try:
        return jws.deserialize_compact(token, key, registry=_registry(alg)).payload
    except (JoseError, ValueError):
        return None


def header_of(token: str) -> dict[str, Any]:
    """Return the unverified header of a compact serialization; empty if the string is not one."""
    return _document(token.partition(".")[0])


def content_of(token: str) -> dict[str, Any]:
    """Return the unverified claims of a signed token in compact serialization; {} if it is encrypted or another
    text."""
    return _document(token.split(".")[1]) if token.count(".") == 2 else {}


def _document(part: str) -> dict[str, Any]:
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _registry(alg: str) -> JWSRegistry:
    """Return joserfc's registry for this one algorithm. Unknown headers are accepted."""
    from joserfc.jws import JWSRegistry

    class One(JWSRegistry):
        max_header_length = 4096  # with a chain of certificates, say

        def get_alg(self, name: str) -> Any:  # joserfc's own warns of EdDSA, a name that servers still use
            return self.algorithms[name] if name == alg and name in ALGS else super().get_alg("none")

    return One(algorithms=[alg], strict_check_header=False)


def _bits(number: Any) -> int:
    """Return the bit length of a number in base64url."""
    try:
        raw = base64.urlsafe_b64decode(number + "=" * (-len(number) % 4)) if isinstance(number, str) else b""
    except (binascii.Error, ValueError):
        return 0
    return int.from_bytes(raw).bit_length()
