"""Servers of one deputy behind a balancer: processes of ``deputize serve``, each with its own home, on Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
from starlette.types import ASGIApp

from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox
from tests.cli.serving_world import Around, around
from tests.cli.terminal import CLI, environment
from tests.support.ports import free_port
from tests.support.postgres import Server as Postgres
from tests.support.postgres import postgres_server
from tests.support.round_robin import RoundRobin

COUNT: Final = 3


@dataclass
class Server:
    """One of them."""

    home: Path
    env: dict[str, str]
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        """Return what it has written on stderr: into a file, since an unread pipe fills up."""
        return (self.home / "stderr").read_text()

    async def start(self) -> None:
        self.home.mkdir(mode=0o700, exist_ok=True)
        words = [*CLI, "serve", "gmail", "--http", f"127.0.0.1:{self.port}"]
        env = environment(self.home) | self.env
        with open(self.home / "stderr", "ab") as stderr:  # noqa: ASYNC230
            self.process = await asyncio.create_subprocess_exec(*words, env=env, cwd=self.home, stderr=stderr)
        async with asyncio.timeout(120), httpx.AsyncClient() as http:
            while self.process.returncode is None:
                try:
                    if (await http.get(f"{self.url}/readyz")).text == "ok":
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        raise AssertionError(self.said)

    async def end(self) -> int:
        if self.process.returncode is None:
            self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), 60)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@dataclass
class Cluster:
    """All servers. ``world.base``: the balancer's address."""

    world: Around
    servers: list[Server]
    balancer: RoundRobin
    database: Postgres


@asynccontextmanager
async def cluster(
    home: Path, count: int = COUNT, watched: Callable[[Sandbox], ASGIApp] | None = None, **env: str
) -> AsyncIterator[Cluster]:
    """Run this many servers behind the balancer. ``env``: their settings. ``watched``: see `around`."""
    with postgres_server() as database:
        await asyncio.to_thread(migrate, Address.of(database.url))
        async with around(home, watched) as world, AsyncExitStack() as ends:
            shared = world.environment | {"DEPUTIZE_VAULT": database.url, "DEPUTIZE_SERVE__FORMS": "false"} | env
            servers = [Server(home / f"machine-{number}", shared) for number in range(count)]
            for one in servers:
                ends.push_async_callback(one.end)
            await asyncio.gather(*(one.start() for one in servers))
            balancer = RoundRobin([one.url for one in servers])
            async with balancer.running(), serve(balancer, world.port):
                while len(balancer.ready) < count:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                yield Cluster(world, servers, balancer, database)
