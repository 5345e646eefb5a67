"""Clients and servers of MCP on loopback: the SDK's client at a `DeputyServer`, as the user that it names."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.types import ASGIApp, Scope

MODES: Final = ("2026-07-28", "legacy")
"""How the SDK's client is told to speak: the newest protocol, or with a handshake, that of 2025-11-25."""


def by_bearer(scope: Scope) -> str | None:
    """The user of a test: whoever the bearer token is called like. Nobody without one."""
    headers = dict(scope["headers"])
    return headers.get(b"authorization", b"").decode().removeprefix("Bearer ") or None


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The app on a free port of loopback; its address."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
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
    """The SDK's client at this address, as this user."""
    headers = {"Authorization": f"Bearer {user}"} if user else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, **more) as connected,
    ):
        yield connected
