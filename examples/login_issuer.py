"""An issuer to try ``deputize serve --http`` with: a user signs in by typing a name. On this machine only.

    python examples/login_issuer.py > issuer.env
    python examples/login_issuer.py --tenant acme > acme.env      # one of several issuers: [signin.acme]

It prints the settings, and an access token each for alice and bob. Users sign in at deputize's pages with it, and MCP
clients that sign in by themselves register here. Words after the name are groups: "alice finance". It asks for no
password and keeps nothing: use a real issuer for anything but a trial. It only works for servers on loopback, and
refuses requests with another host name, such as those of a web page.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import secrets
import socket
import sys
import time
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

HERE = "127.0.0.1"
LASTS = 8 * 3600
"""Seconds until a token expires."""


class Issuer:
    """OpenID Connect for the pages at ``base``, and access tokens (RFC 9068) for its ``/mcp``. ``tenant``: its name as
    one of several issuers."""

    def __init__(self, url: str, base: str, tenant: str = "") -> None:
        self.url, self.base, self.below = url, base, f"/{tenant}" if tenant else ""
        self.key = ECKey.generate_key("P-256", {"kid": secrets.token_hex(4)})
        self.pages, self.secret = "deputize-pages", secrets.token_urlsafe(24)
        self.redirects = {self.pages: [f"{base}/sign-in{self.below}/callback"]}
        self.codes: dict[str, dict[str, str]] = {}
        routes = [
            Route("/.well-known/openid-configuration", self.metadata),
            Route("/.well-known/oauth-authorization-server", self.metadata),
            Route("/jwks", self.keys),
            Route("/register", self.register, methods=["POST"]),
            Route("/authorize", self.ask),
            Route("/authorize", self.send_back, methods=["POST"]),
            Route("/token", self.tokens, methods=["POST"]),
            Route("/sign-out", self.sign_out),
        ]
        self.app = Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HERE])])

    def signed(self, kind: str, person: str, audience: str, **more: Any) -> str:
        """Return a token about this user. ``person``: the name, and after it the groups."""
        now, (name, *groups) = int(time.time()), person.split()
        claims = {"iss": self.url, "sub": name, "groups": groups, "aud": audience, "iat": now, "exp": now + LASTS}
        claims |= more
        return jwt.encode({"alg": "ES256", "typ": kind, "kid": self.key.kid}, claims, self.key)

    def access(self, person: str, client: str) -> str:
        """Return an access token for the endpoint."""
        return self.signed("at+jwt", person, f"{self.base}/mcp{self.below}", client_id=client, jti=secrets.token_hex(8))

    async def metadata(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "registration_endpoint": f"{self.url}/register",
                "end_session_endpoint": f"{self.url}/sign-out",
                "jwks_uri": f"{self.url}/jwks",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def keys(self, request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def register(self, request: Request) -> Response:
        """Register a public client (RFC 7591)."""
        client, said = secrets.token_urlsafe(12), await request.json()
        self.redirects[client] = list(map(str, said.get("redirect_uris", ())))
        return JSONResponse({**said, "client_id": client, "token_endpoint_auth_method": "none"}, 201)

    def refused(self, asked: dict[str, str]) -> Response | None:
        """Return a refusal if the redirect URI is not registered or PKCE is missing, else None."""
        if asked.get("redirect_uri") not in self.redirects.get(asked.get("client_id", ""), ()):
            return HTMLResponse("This client or its redirect_uri is not registered.", 400)
        return None if asked.get("code_challenge") else HTMLResponse("PKCE is missing.", 400)

    async def ask(self, request: Request) -> Response:
        asked = dict(request.query_params)
        hidden = "".join(
            f'<input type="hidden" name="{html.escape(n)}" value="{html.escape(v)}">' for n, v in asked.items()
        )
        form = f'{hidden}<input name="person" placeholder="alice finance" required autofocus><button>Sign in</button>'
        page = f'<!doctype html><title>Sign in</title><h1>Who are you?</h1><form method="post">{form}</form>'
        return self.refused(asked) or HTMLResponse(page)

    async def send_back(self, request: Request) -> Response:
        asked, code = dict(parse_qsl((await request.body()).decode())), secrets.token_urlsafe(16)
        if refused := self.refused(asked):
            return refused
        self.codes[code] = asked
        back = urlencode({"code": code, "state": asked.get("state", ""), "iss": self.url})
        return RedirectResponse(f"{asked['redirect_uri']}{'&' if '?' in asked['redirect_uri'] else '?'}{back}", 303)

    async def tokens(self, request: Request) -> Response:
        said = dict(parse_qsl((await request.body()).decode()))
        asked = self.codes.pop(said.get("code", ""), {})
        digest = hashlib.sha256(said.get("code_verifier", "").encode()).digest()
        challenge, client = base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), asked.get("client_id", "")
        if asked.get("code_challenge") != challenge or asked["redirect_uri"] != said.get("redirect_uri"):
            return JSONResponse({"error": "invalid_grant"}, 400)
        answer = {"access_token": self.access(asked["person"], client), "token_type": "Bearer", "expires_in": LASTS}
        if client == self.pages:
            basic = base64.b64encode(f"{client}:{self.secret}".encode()).decode()
            if request.headers.get("authorization") != f"Basic {basic}":
                return JSONResponse({"error": "invalid_client"}, 401)
            answer["id_token"] = self.signed("JWT", asked["person"], client, nonce=asked.get("nonce", ""))
        return JSONResponse(answer)

    async def sign_out(self, request: Request) -> Response:
        return RedirectResponse(f"{self.base}/signed-out", 303)


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--port", type=int, default=8738)
    parse.add_argument("--base-url", default="http://127.0.0.1:8000", help="Where deputize serve is reached.")
    parse.add_argument("--tenant", default="", help="Its name as one of several issuers: [signin.NAME].")
    given = parse.parse_args()
    if urlsplit(given.base_url).hostname not in (HERE, "localhost", "::1"):
        parse.error("--base-url must be on this machine, because everybody could sign in there as anybody.")
    with socket.create_server((HERE, given.port)) as door:
        issuer = Issuer(f"http://{HERE}:{door.getsockname()[1]}", given.base_url.rstrip("/"), given.tenant)
        table = f"SIGNIN__{given.tenant.upper()}" if given.tenant else "SERVE"
        for name, value in {
            "DEPUTIZE_BASE_URL": issuer.base,
            f"DEPUTIZE_{table}__ISSUER": issuer.url,
            f"DEPUTIZE_{table}__CLIENT_ID": issuer.pages,
            f"DEPUTIZE_{table}__CLIENT_SECRET": issuer.secret,
            "ALICE": issuer.access("alice", "trying"),
            "BOB": issuer.access("bob", "trying"),
        }.items():
            print(f"export {name}={value}", flush=True)
        print("Anybody on this machine can sign in as anybody. Ctrl-C ends it.", file=sys.stderr)
        uvicorn.Server(uvicorn.Config(issuer.app, log_level="warning")).run(sockets=[door])


if __name__ == "__main__":
    main()
