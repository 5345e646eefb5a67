"""An MCP server and its authorization server, in-process: strict like real ones, and configurable by tests.

Clients register, tokens are for one resource, refresh tokens rotate and a second use of one ends its family, each tool
wants its scope. What was asked is in ``asked``, forms of the token endpoint in ``forms``.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx

from deputize.core.oauth.pkce import challenge_of

URL, ISSUER = "https://mcp.example.test/v1/mcp", "https://as.example.test"
NEEDS = {"look": "tools:read", "me": "tools:read", "send": "tools:write"}


@dataclass
class Family:
    """The tokens of one consent. ``used``: refresh tokens that were exchanged."""

    user: str
    client: str
    scopes: list[str]
    used: set[str] = field(default_factory=set)
    dead: bool = False


@dataclass(repr=False)
class McpWorld(httpx.AsyncBaseTransport):
    """Both servers. ``said`` and ``registered`` change the metadata and what a registration is answered; ``issuers``:
    the authorization servers that the server names.

    ``first`` and ``challenge``: what a 401 and a 403 say of scopes, where they do not name what is missing;
    ``offered``: the scopes that the server's own metadata names; ``allowed``: what people allow, where that is not all.
    """

    now: Callable[[], float]
    said: dict[str, Any] = field(default_factory=dict)
    registered: dict[str, Any] = field(default_factory=dict)
    register_status: int = 201
    register_more: dict[str, Any] = field(default_factory=dict)
    issuers: list[str] = field(default_factory=lambda: [ISSUER])
    first: str = 'scope="tools:read"'
    challenge: str = ""
    offered: list[str] | None = None
    allowed: list[str] | None = None
    needs: dict[str, str] = field(default_factory=lambda: dict(NEEDS))
    clients: dict[str, dict[str, Any]] = field(default_factory=dict)
    codes: dict[str, tuple[dict[str, str], Family]] = field(default_factory=dict)
    access: dict[str, tuple[Family, float]] = field(default_factory=dict)
    refresh: dict[str, Family] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    registrations: list[dict[str, Any]] = field(default_factory=list)
    down: bool = False
    versions: tuple[str, ...] = ("2026-07-28",)
    me: Callable[[str], dict[str, Any]] = lambda user: {
        "content": [],
        "structuredContent": {"user": {"id": f"u-{user}", "name": user.title()}},
    }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer by address."""
        url = str(request.url)
        self.asked.append(url)
        if self.down:
            raise httpx.ConnectError("down")
        if url == URL:
            return self._call(request)
        place = urlsplit(url).path
        if url.startswith("https://mcp.example.test/.well-known/oauth-protected-resource"):
            offered = {"scopes_supported": self.offered} if self.offered else {}
            return httpx.Response(200, json={"resource": URL, "authorization_servers": self.issuers} | offered)
        if not url.startswith(ISSUER):
            return httpx.Response(404)
        if place == "/.well-known/oauth-authorization-server":
            return httpx.Response(200, json=self.metadata)
        return {"/register": self._register, "/token": self._token, "/revoke": self._revoke}[place](request)

    @property
    def metadata(self) -> dict[str, Any]:
        """RFC 8414 2; ``said`` last."""
        ends = {name: f"{ISSUER}/{name.partition('_')[0]}" for name in ("token_endpoint",)}
        return {
            "issuer": ISSUER,
            **ends,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "registration_endpoint": f"{ISSUER}/register",
            "revocation_endpoint": f"{ISSUER}/revoke",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
            "authorization_response_iss_parameter_supported": True,
            "scopes_supported": ["tools:read", "tools:write", "offline_access"],
        } | self.said

    # ------------------------------------------------------------- the browser

    def authorize(self, url: str, as_: str) -> dict[str, str]:
        """Return what this person's browser brings back: they allow everything."""
        asked = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
        client = self.clients[asked["client_id"]]
        assert asked["redirect_uri"] in client["redirect_uris"] and asked["resource"] == URL
        assert asked["code_challenge_method"] == "S256" and url.startswith(f"{ISSUER}/authorize?")
        code = secrets.token_urlsafe(16)
        scopes = [one for one in asked.get("scope", "").split() if self.allowed is None or one in self.allowed]
        self.codes[code] = asked, Family(as_, asked["client_id"], scopes)
        return {"code": code, "state": asked["state"], "iss": ISSUER}

    # ------------------------------------------------------------- requests

    def _register(self, request: httpx.Request) -> httpx.Response:
        """RFC 7591 3."""
        asked = json.loads(request.content)
        self.registrations.append(asked)
        if self.register_status != 201:
            return httpx.Response(self.register_status, json={"error": "invalid_redirect_uri", **self.register_more})
        name = f"client-{len(self.registrations)}"
        self.clients[name] = asked | {"client_id": name} | self.registered
        return httpx.Response(201, json=self.clients[name])

    def _client(self, request: httpx.Request, form: dict[str, str]) -> str | None:
        """Return the client that authenticated as registered."""
        name, method, secret = form.get("client_id", ""), "none", ""
        if (shown := request.headers.get("authorization", "")).startswith("Basic "):
            said, secret = map(unquote, base64.b64decode(shown[6:]).decode().split(":", 1))
            method = "client_secret_basic"
            if said != name:  # as MCP's Python SDK: it looks for the name in the form only
                return None
        elif "client_secret" in form:
            method, secret = "client_secret_post", form["client_secret"]
        client = self.clients.get(name)
        wanted = client["token_endpoint_auth_method"] if client else ""
        fits = client is not None and method == wanted and secret == client.get("client_secret", "")
        return name if fits else None

    def _token(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl(request.content.decode(), strict_parsing=True))
        self.forms.append(form)
        if (client := self._client(request, form)) is None:
            return httpx.Response(401, json={"error": "invalid_client"})
        family = self._refreshed(form) if form["grant_type"] == "refresh_token" else self._redeemed(form)
        if family is None or family.dead or family.client != client or form.get("resource") != URL:
            return httpx.Response(400, json={"error": "invalid_grant"})
        access, refresh = f"at-{secrets.token_urlsafe(24)}", f"rt-{secrets.token_urlsafe(24)}"
        self.access[access], self.refresh[refresh] = (family, self.now() + 600), family
        reply = {"access_token": access, "refresh_token": refresh, "token_type": "bearer", "expires_in": 600}
        return httpx.Response(200, json=reply | {"scope": " ".join(family.scopes)})

    def _redeemed(self, form: dict[str, str]) -> Family | None:
        asked, family = self.codes.pop(form["code"], ({}, None))
        fits = family and challenge_of(form["code_verifier"]) == asked["code_challenge"]
        return family if fits and form["redirect_uri"] == asked["redirect_uri"] else None

    def _refreshed(self, form: dict[str, str]) -> Family | None:
        """Exchange a refresh token, which is valid once; the second time its whole family ends (RFC 9700 4.14)."""
        family = self.refresh.get(form["refresh_token"])
        if family and form["refresh_token"] in family.used:
            family.dead = True
        if family:
            family.used.add(form["refresh_token"])
        return family

    def _revoke(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl(request.content.decode(), strict_parsing=True))
        found = self.refresh.get(form["token"]) or self.access.get(form["token"], (None, 0.0))[0]
        if found:
            found.dead = True
        return httpx.Response(200)

    def _call(self, request: httpx.Request) -> httpx.Response:
        """Call a tool: its result names the user of the token."""
        where = 'resource_metadata="https://mcp.example.test/.well-known/oauth-protected-resource/v1/mcp"'
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        family, until = self.access.get(shown, (None, 0.0))
        if family is None or family.dead or self.now() >= until:
            return httpx.Response(401, headers={"www-authenticate": f"Bearer {where}, {self.first}".rstrip(", ")})
        body = json.loads(request.content)
        if body["method"] == "server/discover":
            opened: dict[str, Any] = {"supportedVersions": self.versions, "resultType": "complete"}
            return httpx.Response(200, json={"jsonrpc": "2.0", "id": body["id"], "result": opened})
        if body["method"] == "initialize":
            result: dict[str, Any] = {"protocolVersion": self.versions[0], "capabilities": {}}
            return httpx.Response(200, json={"jsonrpc": "2.0", "id": body["id"], "result": result})
        need = self.needs[body["params"]["name"]]
        if need not in family.scopes:
            text = self.challenge or f'error="insufficient_scope", {where}, scope="{need}"'
            return httpx.Response(403, headers={"www-authenticate": f"Bearer {text}"})
        if body["params"]["name"] == "me":
            return httpx.Response(200, json={"jsonrpc": "2.0", "id": body["id"], "result": self.me(family.user)})
        result = {"content": [], "structuredContent": {"user": family.user, "tool": body["params"]["name"]}}
        return httpx.Response(200, json={"jsonrpc": "2.0", "id": body["id"], "result": result})

    @property
    def alive(self) -> set[str]:
        """Return the users of the live families."""
        return {family.user for family in self.refresh.values() if not family.dead}
