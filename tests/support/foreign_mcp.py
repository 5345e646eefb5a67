"""A foreign MCP server of either era in the tests' own process, and a deputy with its tools."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from deputize.core import Account, ApiRules, App, Deputy, OAuthEndpoints, Provider, Secret, User
from deputize.core.mcp_client.authorization import API
from deputize.core.mcp_client.pins import Pin
from deputize.core.mcp_client.rules import MCP, MCP_HEADERS
from deputize.core.mcp_client.server_config import McpServer
from deputize.core.mcp_client.tools import foreign_toolkit
from deputize.core.oauth.identity import Identity
from deputize.core.providers.origin import origin_of
from deputize.core.vault.grant import Grant
from tests.support.sandbox_deputy import PAGES, new_vault, no_sleep, public_names

URL: Final = "https://mcp.other.example/mcp"
TOKEN: Final = "tok-alice-7f3a9c"
MODERN, LEGACY = "2026-07-28", "2025-11-25"
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "to": {"type": "string", "description": "Whom."},
        "region": {"type": "string", "x-mcp-header": "Region"},
        "n": {"type": "integer"},
    },
    "required": ["to"],
    "additionalProperties": False,
}


def definition(name: str, schema: Mapping[str, Any] = SCHEMA, **more: Any) -> dict[str, Any]:
    """Return a tool as a server lists it; ``readOnlyHint=True`` and so on are its annotations."""
    hints = {hint: more.pop(hint) for hint in list(more) if hint.endswith("Hint")}
    return {"name": name, "description": f"{name} it.", "inputSchema": dict(schema), "annotations": hints} | more


def text(words: str, **more: Any) -> dict[str, Any]:
    """Return a text result."""
    return {"content": [{"type": "text", "text": words}]} | more


Reply = Callable[[Mapping[str, Any], httpx.Request], Any]


@dataclass
class Foreign(httpx.AsyncBaseTransport):
    """The server. ``era``: which it speaks; ``streams``: whether it answers in events; ``sessions``: its open ones.

    ``calls``: the tools/call that it has executed. ``reply``: what it says to one: a result, an error with ``code``, a
    response, or an exception to raise. ``tokens``: whose requests it takes.
    """

    tools: list[dict[str, Any]] = field(default_factory=list)
    era: str = MODERN
    streams: bool = False
    page: int = 100
    ttl: int | None = 60_000
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    reply: Reply = lambda params, request: text(f"did {params['name']}")
    asked: list[tuple[str, Mapping[str, Any], httpx.Request]] = field(default_factory=list)
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    answers: dict[str, list[httpx.Response]] = field(default_factory=dict)

    def count(self, method: str) -> int:
        """Return how many requests of this method arrived."""
        return sum(one == method for one, _, _ in self.asked)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        message = json.loads(await request.aread())
        method, params = message["method"], message.get("params", {})
        self.asked.append((method, params, request))
        if request.headers.get("authorization") not in {f"Bearer {one}" for one in self.tokens}:
            return httpx.Response(401, headers={"www-authenticate": 'Bearer error="invalid_token"'})
        if self.answers.get(method):
            return self.answers[method].pop(0)
        if self.era == MODERN and request.headers.get("mcp-protocol-version") != MODERN:
            return self._error(message, -32022, 400, {"supported": [MODERN]})
        if self.era == LEGACY and (refused := self._without_session(message, request)):
            return refused
        return self._handled(message, method, params, request)

    def _without_session(self, message: Mapping[str, Any], request: httpx.Request) -> httpx.Response | None:
        if message["method"] == "initialize":
            return None
        session = request.headers.get("mcp-session-id")
        if session is None:
            return httpx.Response(400, text="Bad Request: Missing session ID")
        return None if session in self.sessions else self._error(message, -32600, 404)

    def _handled(
        self, message: Mapping[str, Any], method: str, params: Mapping[str, Any], request: httpx.Request
    ) -> httpx.Response:
        match method:
            case "server/discover" if self.era == MODERN:
                return self._result(message, {"supportedVersions": [MODERN], "capabilities": {"tools": {}}})
            case "initialize" if self.era == LEGACY:
                self.sessions.add(session := f"s{len(self.sessions) + 1}")
                said = {"protocolVersion": LEGACY, "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
                return self._result(message, said, {"mcp-session-id": session})
            case "notifications/initialized":
                return httpx.Response(202)
            case "tools/list":
                return self._result(message, self._listed(int(params.get("cursor", 0))))
            case "tools/call":
                return self._called(message, params, request)
        return self._error(message, -32601, 404 if self.era == MODERN else 200)

    def _listed(self, at: int) -> dict[str, Any]:
        more = {"nextCursor": str(at + self.page)} if at + self.page < len(self.tools) else {}
        ttl = {} if self.ttl is None else {"ttlMs": self.ttl, "cacheScope": "private"}
        return {"tools": self.tools[at : at + self.page], **more, **ttl}

    def _called(self, message: Mapping[str, Any], params: Mapping[str, Any], request: httpx.Request) -> httpx.Response:
        said = self.reply(params, request)
        if isinstance(said, Exception):
            self.calls.append(params)
            raise said
        if isinstance(said, httpx.Response):
            return said
        if "code" in said:
            return self._error(
                message, said["code"], said.get("status", 200), said.get("data"), said.get("message", "")
            )
        self.calls.append(params)
        return self._result(message, said)

    def _result(
        self, message: Mapping[str, Any], result: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return self._said({"jsonrpc": "2.0", "id": message.get("id"), "result": result}, 200, headers)

    def _error(
        self, message: Mapping[str, Any], code: int, status: int, data: Any = None, words: str = "no"
    ) -> httpx.Response:
        error = {"code": code, "message": words} | ({} if data is None else {"data": data})
        return self._said({"jsonrpc": "2.0", "id": message.get("id"), "error": error}, status)

    def _said(self, message: Any, status: int, headers: Mapping[str, str] | None = None) -> httpx.Response:
        if not self.streams or status >= 400:
            return httpx.Response(status, json=message, headers=headers)
        progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
        events = "".join(f"event: message\ndata: {json.dumps(one)}\n\n" for one in (progress, message))
        more = {"content-type": "text/event-stream", **(headers or {})}
        return httpx.Response(status, content=f": ping\n\n{events}".encode(), headers=more)


def provider_at(server: McpServer) -> Provider:
    """Return its provider definition, as discovery would create it."""
    return Provider(
        name=server.name,
        label=server.name.title(),
        oauth=OAuthEndpoints(
            authorize_url=f"{server.origin}/authorize",
            token_url=f"{server.origin}/token",
        ),
        apis=ApiRules(
            roots={API: server.resource},
            hosts=frozenset({server.host}),
            identity=Identity("", "", ""),
            request_headers=MCP_HEADERS,
        ),
        rules=MCP,
        plain_http=server.local,
    )


async def give(deputy: Deputy, user: str = "alice", token: str = TOKEN, server: str = "other") -> None:
    """Store a grant for this user, as if they had consented."""
    whose = Account(f"sub-{user}", user)
    origin = origin_of(deputy.providers[server], deputy.apps[server])
    await deputy.vault.add(Grant(User(user), server, server, whose, frozenset(), Secret(token), origin=origin))


@asynccontextmanager
async def foreign_deputy(
    foreign: Foreign,
    *,
    server: McpServer | None = None,
    granted: bool = True,
    through: httpx.AsyncBaseTransport | None = None,
    **more: Any,
) -> AsyncIterator[Deputy]:
    """Build a deputy with the server's tools, all pinned as they are now.

    ``granted``: to Alice. ``through``: a transport in front of it.
    """
    server = server or McpServer("other", URL)
    pins = {one["name"]: Pin(dict(one), at=1_795_000_000.0, by="ops") for one in foreign.tools}
    deputy = Deputy(
        await new_vault(),
        [App(server.name, "client", name=server.name)],
        pages=PAGES,
        providers={server.name: provider_at(server)},
        toolkits=[foreign_toolkit(server, pins)],
        transport=through or foreign,
        sleep=no_sleep,
        resolve=public_names,
        **more,
    )
    if granted:
        await give(deputy)
    try:
        yield deputy
    finally:
        await deputy.close()
