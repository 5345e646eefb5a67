"""An OpenID Connect server that a test can configure, shorter than a real one: in-process, no socket.

It is strict where servers are: client authentication, PKCE, single-use codes and request URIs, a token that is bound
to a resource opens nothing else. What it says of itself is `metadata`; what it asked for and got is in `forms`.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey

from deputize.core.oauth.pkce import challenge_of

ISSUER = "https://login.example.test"
API = "https://api.example.test/v1"
SECRET = "a-client-secret"
CLIENT = "a-client"


@cache
def ec_key() -> ECKey:
    """Return the server's signing key."""
    return ECKey.generate_key("P-256", {"kid": "ec-1", "use": "sig"})


@cache
def rsa_key() -> RSAKey:
    """Return another key; it takes a moment to create."""
    return RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig"})


class Refused(Exception):
    """An error of RFC 6749 5.2. ``error``: its name."""

    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(error)
        self.error, self.status = error, status


@dataclass
class Code:
    """A code, and its authorization request."""

    params: dict[str, str]


@dataclass(repr=False)
class OidcServer(httpx.AsyncBaseTransport):
    """One server with one client. ``par``, ``bound``: it requires PAR; it binds tokens to a resource (RFC 8707).

    ``client_key``: the public key of a client that authenticates by private_key_jwt, and then in no other way.
    ``claims`` changes those of an id_token, ``sign`` makes a token of them; ``sends_id_token``: whether there is one.
    ``with_refresh``: there is one with a refresh as well.
    """

    par: bool = False
    bound: bool = False
    client_key: Key | None = None
    sends_id_token: bool = True
    with_refresh: bool = False
    said: dict[str, Any] = field(default_factory=dict)
    claims: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
    sign: Callable[[dict[str, Any]], str] = lambda claims: jwt.encode({"alg": "ES256", "kid": "ec-1"}, claims, ec_key())
    jwks: bytes | None = None
    issuer: str = ISSUER
    in_id_token: tuple[str, ...] = ("email",)
    userinfo: dict[str, Any] = field(default_factory=lambda: {"sub": "alice-1", "email": "alice@example.test"})
    forms: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    assertions: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    pushed: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, Any]:
        """Return the metadata of OpenID Connect Discovery 3; ``said`` overrides it."""
        method = "private_key_jwt" if self.client_key else "client_secret_post"
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/me",
            "revocation_endpoint": f"{self.issuer}/revoke",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [method],
            "token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "authorization_response_iss_parameter_supported": True,
            "scopes_supported": ["openid", "email", "offline_access", "api:read"],
            "pushed_authorization_request_endpoint": f"{self.issuer}/par",
            "require_pushed_authorization_requests": self.par,
        } | self.said

    # ------------------------------------------------------------- the browser

    def authorize(self, url: str) -> dict[str, str]:
        """Return what the browser brings back: the person allows everything."""
        assert url.startswith(f"{self.issuer}/auth?")
        given = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
        params = self.pushed.pop(given.get("request_uri", ""), {} if self.par else given)
        if not params or given.get("client_id") != CLIENT:
            return {"error": "invalid_request", "state": given.get("state", ""), "iss": self.issuer}
        code = secrets.token_urlsafe(16)
        self.codes[code] = Code(params)
        return {"code": code, "state": params["state"], "iss": self.issuer}

    # ------------------------------------------------------------- requests

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer by path."""
        url = f"{request.url.scheme}://{request.url.host}{request.url.path}"
        self.asked.append(url)
        place = url.removeprefix(self.issuer)
        self.bodies.append(request.content)
        if place in self.answers:
            status, answer = self.answers[place]
            return httpx.Response(status, content=answer if isinstance(answer, bytes) else json.dumps(answer).encode())
        try:
            return self._answer(place, request)
        except Refused as refused:
            return httpx.Response(refused.status, json={"error": refused.error})

    def _answer(self, place: str, request: httpx.Request) -> httpx.Response:
        if place.startswith("/.well-known/"):
            return httpx.Response(200, json=self.metadata)
        if place == "/jwks":
            keys = {"keys": [ec_key().as_dict(private=False)]}
            return httpx.Response(200, content=self.jwks if self.jwks is not None else json.dumps(keys).encode())
        if place in ("/par", "/token", "/revoke"):
            form = dict(parse_qsl(request.content.decode(), strict_parsing=True))
            self.forms.append((place, form))
            self._authenticate(request, form)
            return {"/par": self._par, "/token": self._token, "/revoke": self._revoke}[place](form)
        if place == "/me" or url_is_api(str(request.url)):
            return self._resource(place, request)
        return httpx.Response(404)

    def _authenticate(self, request: httpx.Request, form: dict[str, str]) -> None:
        if self.client_key is not None:
            self._check_assertion(form)
            return
        name, secret = form.get("client_id"), form.get("client_secret")
        if (shown := request.headers.get("authorization", "")).startswith("Basic "):
            name, secret = map(unquote, base64.b64decode(shown[6:]).decode().split(":", 1))
        if (name, secret) != (CLIENT, SECRET):
            raise Refused("invalid_client", 401)

    def _check_assertion(self, form: dict[str, str]) -> None:
        if form.get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
            raise Refused("invalid_client", 401)
        assert self.client_key is not None and "client_secret" not in form
        token = jwt.decode(form["client_assertion"], self.client_key, ["ES256", "RS256"])
        claims, now = token.claims, time.time()
        used = {one["jti"] for one in self.assertions}
        good = claims["iss"] == claims["sub"] == CLIENT and claims["jti"] not in used and now < claims["exp"] < now + 65
        if not good or claims["aud"] not in (self.issuer, f"{self.issuer}/token"):
            raise Refused("invalid_client", 401)
        self.assertions.append({**claims, "header": token.header})

    def _par(self, form: dict[str, str]) -> httpx.Response:
        """RFC 9126 2.2."""
        if "request_uri" in form or form.get("client_id") != CLIENT:
            raise Refused("invalid_request")
        uri = f"urn:ietf:params:oauth:request_uri:{secrets.token_urlsafe(12)}"
        self.pushed[uri] = form
        return httpx.Response(201, json={"request_uri": uri, "expires_in": 60})

    def _token(self, form: dict[str, str]) -> httpx.Response:
        if form["grant_type"] == "refresh_token":
            asked = self.tokens.pop(form["refresh_token"], None)
        else:
            code = self.codes.pop(form["code"], None)
            asked = code.params if code else None
            if asked and challenge_of(form["code_verifier"]) != asked["code_challenge"]:
                asked = None
        if asked is None or (self.bound and form.get("resource") != asked.get("resource")):
            raise Refused("invalid_grant")
        access, refresh = f"at-{secrets.token_urlsafe(16)}", f"rt-{secrets.token_urlsafe(16)}"
        self.tokens |= {access: asked, refresh: asked}
        reply = {"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 600}
        if self.sends_id_token and (self.with_refresh or form["grant_type"] == "authorization_code"):
            reply["id_token"] = self.sign(self.claims(self._claims(asked)))
        return httpx.Response(200, json=reply | {"scope": asked["scope"]})

    def _claims(self, asked: dict[str, str]) -> dict[str, Any]:
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": self.userinfo["sub"], "aud": CLIENT, "iat": now, "exp": now + 600}
        nonce = {"nonce": asked["nonce"]} if "nonce" in asked else {}
        return claims | nonce | {name: self.userinfo[name] for name in self.in_id_token}

    def _revoke(self, form: dict[str, str]) -> httpx.Response:
        family = self.tokens.get(form["token"])
        self.tokens = {token: asked for token, asked in self.tokens.items() if asked is not family}
        return httpx.Response(200)

    def _resource(self, place: str, request: httpx.Request) -> httpx.Response:
        asked = self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if asked is None:
            return httpx.Response(401, headers={"www-authenticate": 'Bearer error="invalid_token"'})
        if place == "/me":
            if self.bound and asked.get("resource"):
                return httpx.Response(403, headers={"www-authenticate": 'Bearer error="insufficient_scope"'})
            return httpx.Response(200, json=self.userinfo)
        if self.bound and asked.get("resource") != "https://api.example.test/":
            return httpx.Response(403)
        return httpx.Response(200, json={"name": "Alice"})


def url_is_api(url: str) -> bool:
    """Return whether this is the resource server."""
    return url.startswith(API)
