"""stdio: one process that a client has started, for one user, who is named when it starts."""

from __future__ import annotations

from typing import Any

from mcp.server import Server
from mcp.server.stdio import stdio_server

__all__ = ["serve_stdio"]


async def serve_stdio(server: Server[Any]) -> None:
    """Until the client closes its end. What else is printed meanwhile goes to stderr: stdout is the protocol's."""
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
