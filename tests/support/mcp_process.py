"""An MCP server of ours: ``python -m tests.support.mcp_process FOLDER BASE [PORT]``, with Google at BASE.

On stdio, or over HTTP at a port of loopback for whoever the bearer token is called like. ``FOLDER/server.pid`` says
which process it is, for who wants to end it in the middle. With ``SEARCH`` in its environment it lists the search;
with ``DEBUG`` all that any logger says goes to stderr.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

import httpx
import uvicorn

from deputize.adapters.mcp import DeputyServer
from deputize.core import PROVIDERS, Deputy
from tests.support.mcp_clients import by_bearer
from tests.support.sandbox_deputy import build, new_vault

KEY = bytes(range(3, 250, 7))[:32]
PID = "server.pid"


async def beside(folder: Path, base: str) -> Deputy:
    """Build a deputy over the vault in this folder, whose Google is at ``base``."""
    return await build(
        vault=await new_vault(folder / "vault", KEY),
        providers={"google": PROVIDERS["google"].moved_to(base)},
        transport=lambda: httpx.AsyncHTTPTransport(trust_env=False),
    )


async def main(folder: Path, base: str, port: int = 0) -> None:
    if "DEBUG" in os.environ:
        logging.basicConfig(level=logging.DEBUG)
    async with await beside(folder, base) as deputy:
        server = DeputyServer(deputy, tools=["gmail"], search="SEARCH" in os.environ)
        server.performing.longest_wait = 0.5
        (folder / PID).write_text(str(os.getpid()))
        if not port:
            return await server.stdio("alice")
        await uvicorn.Server(uvicorn.Config(server.app(by_bearer), port=port, log_config=None)).serve()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])))
