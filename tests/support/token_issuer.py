"""An issuer of access tokens for tests: signs JWTs (RFC 9068), knows opaque tokens (RFC 7662), and can lie.

    issuer = TokenIssuer("https://login.example.test")
    token = issuer.token("alice", scope="agents")

It is an ASGI application, in-process by ``httpx.ASGITransport(issuer)`` or on a port of this machine.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

AUDIENCE: Final = "https://deputy.example.test/mcp"
CLIENT, SECRET = "resource-server", "secret-of-the-resource-server"


def new_key(kid: str = "one") -> ECKey:
    """Create a signing key."""
    return ECKey.generate_key("P-256", {"kid": kid})


def compact(header: dict[str, Any], claims: dict[str, Any], key: ECKey) -> str:
    """Return a signed token with any header and claims."""
    text = unsigned(claims, header)[:-1]
    signature = jws.JWSRegistry.algorithms[header["alg"]].sign(text.encode(), key)
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def unsigned(claims: dict[str, Any], header: dict[str, Any]) -> str:
    """Return a token without a signature (RFC 7515 A.5)."""
    parts = (base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in (header, claims))
    return ".".join((*parts, ""))


def signed_by_public_key(claims: dict[str, Any], header: dict[str, Any], key: RSAKey) -> str:
    """Return an HS256 token with the public key as its secret: a verifier that confuses key types accepts it (RFC 8725
    2.1)."""
    text = unsigned(claims, {**header, "alg": "HS256"})[:-1]
    signature = hmac.digest(key.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@dataclass(repr=False)
class TokenIssuer:
    """One issuer.

    ``keys``: its published keys; the last one signs. ``said``: overrides of its metadata. ``may_ask``: id and secret of
    the client that may introspect. ``instead``: what is served in its place, such as a proxy's page.
    """

    url: str
    audience: str = AUDIENCE
    keys: list[Any] = field(default_factory=lambda: [new_key()])
    said: dict[str, Any] = field(default_factory=dict)
    down: bool = False
    instead: Response | None = None
    opaque: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    now: Any = time.time
    may_ask: tuple[str, str] = (CLIENT, SECRET)

    def claims(self, subject: str, **more: Any) -> dict[str, Any]:
        """Return the claims of RFC 9068 2.2; values that are None are left out."""
        now = int(self.now())
        usual = {
            "iss": self.url,
            "sub": subject,
            "aud": self.audience,
            "client_id": "an-mcp-client",
            "iat": now,
            "exp": now + 300,
            "jti": secrets.token_hex(8),
            "scope": "agents",
        }
        return {name: value for name, value in (usual | more).items() if value is not None}

    @property
    def header(self) -> dict[str, Any]:
        """Return the header of RFC 9068 2.1."""
        return {"alg": "ES256", "typ": "at+jwt", "kid": self.keys[-1].kid}

    def token(self, subject: str, **more: Any) -> str:
        """Return a valid token, except for the claims in ``more``."""
        return compact(self.header, self.claims(subject, **more), self.keys[-1])

    def opaque_token(self, subject: str, **more: Any) -> str:
        """Return a token that only the issuer can read."""
        token = secrets.token_urlsafe(24)
        self.opaque[token] = {"active": True, **self.claims(subject, **more)}
        return token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        self.asked[request.url.path] += 1
        await (await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        if self.instead or self.down:
            return self.instead or JSONResponse({}, 503)
        if path.endswith("/.well-known/openid-configuration"):
            names = {"jwks_uri": f"{self.url}/jwks", "introspection_endpoint": f"{self.url}/introspect"}
            return JSONResponse({"issuer": self.url, **names} | self.said)
        if path.endswith("/jwks"):
            return JSONResponse({"keys": [key.as_dict(private=False) for key in self.keys]})
        if path.endswith("/introspect") and request.method == "POST":
            pair = base64.b64encode(":".join(self.may_ask).encode()).decode()
            if request.headers.get("authorization") != f"Basic {pair}":
                return JSONResponse({"error": "invalid_client"}, 401)
            form = dict(parse_qsl((await request.body()).decode()))
            return JSONResponse(self.opaque.get(form["token"], {"active": False}))
        return JSONResponse({}, 404)
