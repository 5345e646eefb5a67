"""An issuer at which people sign in by typing a name: OpenID Connect for pages, access tokens for MCP clients.

    issuer = LoginIssuer("http://127.0.0.1:1234", pages="http://127.0.0.1:8000")

It is strict where servers are: redirect URIs, client authentication, PKCE, codes that are good once.
"""

from __future__ import annotations

import html
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from deputize.core.oauth.client_auth import basic
from deputize.core.oauth.pkce import challenge_of
from tests.support.token_issuer import TokenIssuer, compact

CLIENT, SECRET = "the-pages", "secret-of-the-pages"


@dataclass(repr=False)
class LoginIssuer(TokenIssuer):
    """The issuer. ``pages``: where its only client for signing people in is served, and ``path``: at which path there.
    ``more``: claims of everybody. ``codes``: those not used yet."""

    pages: str = ""
    path: str = "/sign-in"
    more: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.may_ask = CLIENT, SECRET
        self.told: list[bytes] = []
        """The headers and bodies of all requests."""

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        self.told.append(repr((str(request.url), request.headers.raw, body)).encode())
        self.said |= {
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "end_session_endpoint": f"{self.url}/logout",
            "id_token_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        form = dict(parse_qsl(body.decode()))
        path = request.url.path
        if path == "/auth":
            return self._page(dict(request.query_params)) if request.method == "GET" else self._code(form)
        if path == "/token":
            return self._tokens(request, form)
        if path == "/logout":
            return RedirectResponse(request.query_params["post_logout_redirect_uri"], 303)
        return await super()._answer(request)

    def _page(self, asked: dict[str, str]) -> Response:
        if asked["client_id"] != CLIENT or asked["redirect_uri"] != f"{self.pages}{self.path}/callback":
            return HTMLResponse("no such client", 400)
        hidden = "".join(f'<input type="hidden" name="{n}" value="{html.escape(v)}">' for n, v in asked.items())
        fields = f'{hidden}<input name="login" value=""><button name="go" value="yes">Sign in</button>'
        return HTMLResponse(f'<title>Login</title><form method="post" action="/auth">{fields}</form>')

    def _code(self, form: dict[str, str]) -> Response:
        code = secrets.token_urlsafe(16)
        self.codes[code] = form
        back = urlencode({"code": code, "state": form["state"], "iss": self.url})
        return RedirectResponse(f"{form['redirect_uri']}?{back}", 303)

    def _tokens(self, request: Request, form: dict[str, str]) -> Response:
        if request.headers.get("authorization") != basic(CLIENT, SECRET):
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self.codes.pop(form["code"], None)
        if (
            asked is None
            or asked["code_challenge"] != challenge_of(form["code_verifier"])
            or asked["redirect_uri"] != form["redirect_uri"]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        claims: dict[str, Any] = self.claims(
            asked["login"], aud=CLIENT, nonce=asked["nonce"], client_id=None, scope=None, **self.more
        )
        id_token = compact({**self.header, "typ": "JWT"}, claims, self.keys[-1])
        access = secrets.token_urlsafe(16)
        return JSONResponse({"access_token": access, "token_type": "Bearer", "expires_in": 60, "id_token": id_token})
