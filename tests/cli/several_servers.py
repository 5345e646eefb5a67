"""Servers of one deputy behind a balancer: processes of ``deputize serve``, each with its own home, on Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from deputize.core.vault.stores.postgres_address import Address
from deputize.core.vault.stores.postgres_schema import migrate
from deputize.core.web.local_server import serve
from tests.cli.driving import CLI, environment, free_port
from tests.cli.serving_world import Around, around
from tests.support.postgres import postgres_server
from tests.support.round_robin import RoundRobin

COUNT: Final = 3


@dataclass
class Server:
    """One of them. ``said``: what it wrote on stderr when it had ended."""

    home: Path
    env: dict[str, str]
    port: int = field(default_factory=free_port)
    said: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Wait until it is ready."""
        self.home.mkdir(mode=0o700, exist_ok=True)
        words = [*CLI, "serve", "gmail", "--http", f"127.0.0.1:{self.port}"]
        env = environment(self.home) | self.env
        self.process = await asyncio.create_subprocess_exec(
            *words, env=env, cwd=self.home, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(40), httpx.AsyncClient() as http:
            while self.process.returncode is None:
                try:
                    if (await http.get(f"{self.url}/readyz")).text == "ok":
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        raise AssertionError((await self.process.communicate())[1].decode())

    async def end(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.returncode is None:
            self.process.terminate()
        self.said += (await asyncio.wait_for(self.process.communicate(), 60))[1].decode()
        return await self.process.wait()


@dataclass
class Cluster:
    """All of it. ``world.base``: the balancer's address."""

    world: Around
    servers: list[Server]
    balancer: RoundRobin


@asynccontextmanager
async def cluster(home: Path, **env: str) -> AsyncIterator[Cluster]:
    """Three servers behind the balancer. ``env``: settings of theirs."""
    with postgres_server() as database:
        await asyncio.to_thread(migrate, Address.of(database.url))
        async with around(home) as world, AsyncExitStack() as ends:
            shared = world.environment | {"DEPUTIZE_VAULT": database.url, "DEPUTIZE_SERVE__FORMS": "false"} | env
            servers = [Server(home / f"machine-{number}", shared) for number in range(COUNT)]
            for one in servers:
                ends.push_async_callback(one.end)
            await asyncio.gather(*(one.start() for one in servers))
            balancer = RoundRobin([one.url for one in servers])
            async with balancer.running(), serve(balancer, world.port):
                while len(balancer.ready) < COUNT:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                yield Cluster(world, servers, balancer)
