"""Clients and servers of MCP on loopback: the SDK's client of a `DeputyServer`, as a given user."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
import mcp_types as types
import pytest
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.types import ASGIApp, Scope

MODES: Final = ("2026-07-28", "legacy")
"""Protocol modes of the SDK's client: the newest, or with a handshake that of 2025-11-25."""


def by_bearer(scope: Scope) -> str | None:
    """Return the user named by the bearer token, or None."""
    headers = dict(scope["headers"])
    return headers.get(b"authorization", b"").decode().removeprefix("Bearer ") or None


@asynccontextmanager
async def served(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """Serve the app on this port of loopback, or a free one; yield its address."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        web = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        running = asyncio.create_task(web.serve([sock]))
        while not web.started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            web.should_exit = True
            await running


@asynccontextmanager
async def client(url: str, user: str = "alice", mode: str = "2026-07-28", **more: Any) -> AsyncIterator[Client]:
    """Connect the SDK's client to this address as this user."""
    headers = {"Authorization": f"Bearer {user}"} if user else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, **more) as connected,
    ):
        yield connected


@dataclass(frozen=True)
class Raw:
    """A hand-written client of 2026-07-28: what it declares, and the exact answers it gets."""

    http: httpx2.AsyncClient
    url: str
    user: str = "alice"
    can: Mapping[str, Any] = field(default_factory=lambda: {"elicitation": {"form": {}, "url": {}}})
    name: str = "raw"

    async def call(self, tool: str, arguments: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Return the answer to one ``tools/call``: its result, or its error. ``more``: other parameters."""
        said = await self.http.post(self.url, **self.asking(tool, arguments, **more))
        lines = [line[6:] for line in said.text.splitlines() if line.startswith("data: ")]
        answer = json.loads(lines[-1] if lines else said.text)
        found: dict[str, Any] = answer.get("result") or answer["error"]
        return found

    def asking(self, tool: str, arguments: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Return the body to post."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": self.can,
            "io.modelcontextprotocol/clientInfo": {"name": self.name, "version": "1"},
            **more.pop("meta", {}),
        }
        params = {"name": tool, "arguments": arguments, "_meta": meta, **more}
        headers = {
            "Authorization": f"Bearer {self.user}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
        }
        return {"json": {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, "headers": headers}


@contextmanager
def forms_alone() -> Iterator[None]:
    """Let the SDK's client declare that it shows forms, and no links."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(types, "UrlElicitationCapability", lambda: None)
        yield


@asynccontextmanager
async def raw(url: str, **more: Any) -> AsyncIterator[Raw]:
    """Return one at this address."""
    async with httpx2.AsyncClient(timeout=60) as http:
        yield Raw(http, url, **more)
