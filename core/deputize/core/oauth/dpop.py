"""Demonstrating proof of possession (RFC 9449): a token bound to a key is useless without the key.

    consent -> new key -> token request with a proof -> bound tokens, encrypted together with the key
                          refresh, and each request with the token: a new proof by the same key

A proof is for one method and URL, one moment and one token, and its id is never reused. Proofs are only made when a
token is attached (`token_headers`) or requested (`prove`). A server may require its nonce in a proof, so that no proof
can be made in advance. The latest nonce of each server is cached in memory, separately for each key, so that nothing
passes from one user's requests to another's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx

from deputize.core.oauth.jose import key_of, sign
from deputize.core.vault.grant import Secret

if TYPE_CHECKING:
    from deputize.core.oauth.jose import AnyKey
    from deputize.core.oauth.provider import Provider
    from deputize.core.oauth.token_reply import Tokens

ALG: Final = "ES256"
"""P-256 with SHA-256 (RFC 7518 3.4): what DPoP servers accept, although RFC 9449 leaves the algorithm to them."""
NOT_BOUND: Final = "not_bound"
_WANTED: Final = "use_dpop_nonce"
_NONCE: Final = r"[!#-\[\]-~]{1,1024}"  # NQCHAR of RFC 6749 A
_MAX_NONCES: Final = 4096
_nonces: OrderedDict[tuple[str, str], str] = OrderedDict()


def new_key() -> Secret:
    """Return a new private key as a JSON Web Key (RFC 7517)."""
    from cryptography.hazmat.primitives.asymmetric import ec

    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    point, private = numbers.public_numbers, numbers.private_value
    jwk = {"kty": "EC", "crv": "P-256", "x": _number(point.x), "y": _number(point.y), "d": _number(private)}
    return Secret(json.dumps(jwk))


def _number(value: int) -> str:
    return _base64url(value.to_bytes(32))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@lru_cache(maxsize=1024)
def _import_key(key: Secret) -> tuple[AnyKey, Mapping[str, str], str]:
    """Return the signing key, its public part, and the public part's thumbprint (RFC 7638)."""
    jwk = json.loads(key.reveal())
    public = {name: str(jwk[name]) for name in ("crv", "kty", "x", "y")}
    return key_of(jwk, private=True), public, thumbprint(public)


def thumbprint(public: Mapping[str, str]) -> str:
    """Return the thumbprint of a public key (RFC 7638)."""
    return _base64url(hashlib.sha256(json.dumps(public, separators=(",", ":"), sort_keys=True).encode()).digest())


def unbound(provider: Provider, tokens: Tokens) -> bool:
    """Return True if these are bearer tokens of a provider that must bind tokens: not to be stored (RFC 9449 5)."""
    return provider.oauth.dpop and tokens.proof_key is None


def proof(key: Secret, method: str, url: str, now: float, *, token: Secret | None = None) -> str:
    """Return a proof for one request, with the latest nonce of its server (RFC 9449 4.2).

    ``url``: the exact URL of the request. ``now``: Unix seconds. ``token``: the access token in the request, if any.
    """
    private, public, key_id = _import_key(key)
    claims: dict[str, Any] = {
        "jti": secrets.token_urlsafe(16),
        "htm": method,
        "htu": _target(url),
        "iat": int(now),
    }
    if token:
        claims["ath"] = _base64url(hashlib.sha256(token.reveal().encode()).digest())
    if nonce := _nonces.get((key_id, urlsplit(url).netloc)):
        claims["nonce"] = nonce
    return sign({"typ": "dpop+jwt", "alg": ALG, "jwk": public}, claims, private)


def _target(url: str) -> str:
    """Return the URL without query and fragment, and with a path that is never empty (RFC 3986 6.2.3)."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    return bare if urlsplit(bare).path else f"{bare}/"


def prove(request: httpx.Request, key: Secret, now: float, *, token: Secret | None = None) -> None:
    """Add a proof to a request, with the access token if there is one."""
    url = str(request.url)
    if token:
        request.headers.update(token_headers(key, request.method, url, token, now))
    else:
        request.headers["dpop"] = proof(key, request.method, url, now)


def token_headers(
    key: Secret, method: str, url: str, token: Secret, now: float
) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the headers that present a bound access token to its API (RFC 9449 7.1)."""
    return (
        ("authorization", f"DPoP {token.reveal()}"),
        ("dpop", proof(key, method, url, now, token=token)),
    )


def asks_again(key: Secret, url: str, answer: httpx.Response) -> bool:
    """Store the nonce of a response. Return True if the server wants the request repeated with it (RFC 9449 8, 9).

    The nonce of any response is stored, because a successful one may carry the nonce for the next request.
    """
    nonce = answer.headers.get("dpop-nonce", "")
    if not re.fullmatch(_NONCE, nonce):
        return False
    place = (_import_key(key)[2], urlsplit(url).netloc)
    _nonces.pop(place, None)  # moves it to the end, in steps that are safe between threads
    _nonces[place] = nonce
    while len(_nonces) > _MAX_NONCES:
        _nonces.popitem(last=False)
    return answer.status_code in (400, 401) and _wants_nonce(answer)


def _wants_nonce(answer: httpx.Response) -> bool:
    if _WANTED in answer.headers.get("www-authenticate", ""):
        return True
    try:
        said = json.loads(answer.content)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("error") == _WANTED
