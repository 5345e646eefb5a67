"""Calls of MCP clients over HTTP. Access tokens of one issuer name the users."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import httpx2
from starlette.types import Scope

from deputize.adapters.mcp import DeputyServer
from deputize.core import Deputy
from deputize.core.http import Http
from deputize.core.web.local.server import serve
from deputize.core.web.signin.access_tokens import AccessTokens
from deputize.core.web.signin.issuer import Issuer
from deputize.core.web.signin.resource_server import ResourceServer, user_of
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND
from tests.support.identity.table import OWN, OWNER, Refused, Run, connect_all, in_turn
from tests.support.mcp_clients import Raw, served
from tests.support.mcp_matrix import Life
from tests.support.mcp_process import beside
from tests.support.sandbox_deputy import build
from tests.support.token_issuer import AUDIENCE, TokenIssuer

YES: Final = {"deputize": {"action": "accept", "content": {"decision": "approve"}}}
FORMS: Final[dict[str, Any]] = {"elicitation": {"form": {}}}
"""A client that shows forms: a decision in one counts for its user."""


@dataclass
class McpRun:
    """A call that waits for its user. ``tokens``: the bearer tokens that an identity could show."""

    deputy: Deputy
    sandbox: Sandbox
    http: httpx2.AsyncClient
    url: str
    tokens: Callable[[str], list[str]]
    lacks: Mapping[str, str] = field(default_factory=dict)
    own: frozenset[str] = OWN
    state: str = ""

    async def begin(self, who: str) -> None:
        """See `Run`."""
        for token in self.tokens(who):
            answer = await self._call(token)
            if who == OWNER:
                self.state = answer["requestState"]

    async def answer(self, who: str, approvals: Sequence[str]) -> None:
        """See `Run`: with the state of Alice's client, and a decision in its form."""
        given = {"inputResponses": YES, "requestState": self.state}
        await in_turn(*(self._call(token, **given) for token in self.tokens(who)))

    async def _call(self, token: str, **more: Any) -> dict[str, Any]:
        asking = Raw(self.http, self.url, token, FORMS).asking(SEND["name"], SEND["args"], **more)
        if not token:
            del asking["headers"]["Authorization"]
        said = await self.http.post(self.url, **asking)
        if said.status_code == 401:
            raise Refused("401")
        lines = [line[6:] for line in said.text.splitlines() if line.startswith("data: ")]
        answer: dict[str, Any] = json.loads(lines[-1] if lines else said.text)
        if "error" in answer:
            raise Refused(str(answer["error"]["code"]))
        found: dict[str, Any] = answer["result"]
        return found


@asynccontextmanager
async def calling(folder: Path) -> AsyncIterator[Run]:
    """Play a call at a server in this process, which verifies access tokens."""
    sandbox, issuer = Sandbox(), TokenIssuer("https://login.example.test")
    tokens = AccessTokens(Issuer(issuer.url, Http(httpx.ASGITransport(issuer)), time.time), AUDIENCE)
    guard = ResourceServer(tokens, resource=AUDIENCE, scopes=["agents"], name="Mail helper")

    def shown(who: str) -> list[str]:
        if who == "key":  # a program's own token: by its subject, and by what its issuer calls it
            return [issuer.token("an-mcp-client"), issuer.token(OWNER, gty="client-credentials")]
        return [issuer.token(who)] if who else ["", "forged"]

    def user(scope: Scope) -> str | None:
        found = user_of(scope)  # the issuer and the subject
        return found.id.partition("#")[2] if found else None

    async with await build(sandbox) as deputy:
        await connect_all(deputy, sandbox)
        server = DeputyServer(deputy, tools=["gmail"])
        server.performing.longest_wait = 0.1
        async with served(guard.protect(server.app(user))) as base, httpx2.AsyncClient(timeout=30) as http:
            yield McpRun(deputy, sandbox, http, f"{base}/mcp", shown)


@asynccontextmanager
async def restarted(folder: Path) -> AsyncIterator[Run]:
    """Play a call at a server in its own process, which is killed and started again before each answer."""
    sandbox = Sandbox()
    async with serve(sandbox.app) as base, await beside(folder, base) as deputy:
        await connect_all(deputy, sandbox)
        life = Life(folder, base, "http")
        try:
            await life.begin()
            async with httpx2.AsyncClient(timeout=30) as http:
                yield Restarted(deputy, sandbox, http, life.target[0], lambda who: [who], NO_TOKENS, life=life)
        finally:
            await life.end()


NO_TOKENS: Final = {"API key": "as in the row above"}


@dataclass
class Restarted(McpRun):
    """A call whose server does not survive."""

    life: Life = field(kw_only=True)

    async def answer(self, who: str, approvals: Sequence[str]) -> None:
        """See `Run`."""
        await self.life.kill()
        await super().answer(who, approvals)
