"""An MCP server of ours on stdio: ``python -m tests.support.mcp_process FOLDER BASE``, with Google at BASE."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from deputize.adapters.mcp import DeputyServer
from deputize.core import PROVIDERS, Deputy
from tests.support.house import build, new_vault

KEY = bytes(range(3, 250, 7))[:32]


async def beside(folder: Path, base: str, clock: Callable[[], float] | None = None) -> Deputy:
    """A deputy over the vault in this folder, whose Google is at ``base``."""
    return await build(
        vault=await new_vault(folder / "vault", KEY),
        providers={"google": PROVIDERS["google"].moved_to(base)},
        transport=lambda: httpx.AsyncHTTPTransport(trust_env=False),
        clock=clock,
    )


async def main(folder: Path, base: str) -> None:
    async with await beside(folder, base) as deputy:
        server = DeputyServer(deputy, tools=["gmail"])
        server.performing.longest_wait = 1.0
        await server.stdio("alice")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
