"""FastMCP behind its in-memory OAuth server, on loopback: MCP's SDK registers, asks and rotates there, as it does.

with FastMcpOauth() as server:
    McpServer("guarded", server.url)
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

import httpx

from tests.support.counterparts import mcp_python

SECONDS_TO_ANSWER: Final = 60.0

PROGRAM: Final = """
import hashlib
import sys

from fastmcp import FastMCP
from fastmcp.server.auth.auth import ClientRegistrationOptions, RevocationOptions
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from fastmcp.server.dependencies import get_access_token


class Counting(InMemoryOAuthProvider):
    refreshes = registrations = 0

    async def exchange_refresh_token(self, *asked):
        self.refreshes += 1
        return await super().exchange_refresh_token(*asked)

    async def register_client(self, client):
        self.registrations += 1
        await super().register_client(client)


port = int(sys.argv[1])
auth = Counting(
    base_url=f"http://127.0.0.1:{port}",
    required_scopes=["tools:read"],
    client_registration_options=ClientRegistrationOptions(
        enabled=True, valid_scopes=["tools:read", "tools:write"], default_scopes=["tools:read"]
    ),
    revocation_options=RevocationOptions(enabled=True),
)
mcp = FastMCP("guarded", auth=auth)


@mcp.tool(annotations={"readOnlyHint": True})
def whoami() -> dict:
    "Whose token came, by its digest, and how often anybody has refreshed one or registered."
    token = get_access_token()
    digest = hashlib.sha256(token.token.encode()).hexdigest()[:16]
    counts = {"refreshes": auth.refreshes, "registrations": auth.registrations, "live": len(auth.refresh_tokens)}
    return {"token": digest, "client": token.client_id, "scopes": sorted(token.scopes), **counts}


@mcp.tool(annotations={"readOnlyHint": True})
def end_all() -> str:
    "End every token there is."
    auth.access_tokens.clear()
    auth.refresh_tokens.clear()
    return "ended"


mcp.run(transport="http", host="127.0.0.1", port=port, show_banner=False, log_level="ERROR")
"""


class FastMcpOauth:
    """The server as a subprocess."""

    def __enter__(self) -> Self:
        python = mcp_python()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self._process = subprocess.Popen(
            (python, "-c", PROGRAM, str(self.port)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + SECONDS_TO_ANSWER
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.post(self.url, timeout=5.0).status_code == 401:
                    return self
            time.sleep(0.2)
        self.__exit__()
        raise RuntimeError(
            f"FastMCP did not start: {(self._process.stderr.read() if self._process.stderr else b'')[-2000:]!r}"
        )

    def __exit__(self, *ended: object) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()

    async def consent(self, url: str) -> dict[str, str]:
        """What a browser brings back from there: this server asks nobody."""
        async with httpx.AsyncClient(timeout=20.0) as browser:
            answer = await browser.get(url)
        return dict(parse_qsl(urlsplit(answer.headers["location"]).query))
