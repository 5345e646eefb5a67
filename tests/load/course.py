"""The course of a load test: what runs beside the callers, what is killed and restarted when, and memory use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import httpx2

from deputize.sandbox import Sandbox
from deputize.sandbox.google.gmail.seed import seed_mailboxes
from deputize.sandbox.people import Person
from tests.cli.several_servers import Cluster, Server, cluster
from tests.load import caller
from tests.load.outcomes import Log, judged
from tests.load.witness import Witness
from tests.support.mcp_crowd import memory_of

RAMP, WARM, KILLED, RESTARTED = 0.15, 0.2, 0.35, 0.55
"""When all users have begun, memory should be stable, a server is killed, Postgres is restarted: fractions of the
whole."""
DOWN: Final = 2.0
"""Seconds that Postgres is down."""
GROWS: Final = 40.0
"""MB that a server may grow between its warm-up and the end."""
SPREAD: Final = 5.0
"""Seconds before and after an outage in which replies may be lost by it."""


@dataclass(frozen=True)
class Plan:
    """``seconds`` of ``users``, who together make about ``rate`` steps a second.

    ``lives``: seconds of a token's life.
    """

    seconds: float
    users: int
    seed: int
    rate: float = 20.0
    lives: float = 45.0


@dataclass
class Report:
    """The results. ``memory``: for each life of a server, (seconds since the beginning, MB)."""

    plan: Plan
    log: Log = field(default_factory=Log)
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    troubles: list[tuple[str, float, float]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0


async def played(plan: Plan, home: Path) -> Report:
    """Run everything: callers, outages, and the verdict on the answers."""
    report, witness = Report(plan), list[Witness]()

    def watched(sandbox: Sandbox) -> Witness:
        peopled(sandbox, plan)
        witness.append(Witness(sandbox))
        return witness[0]

    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    async with (
        cluster(home, 2, watched, DEPUTIZE_SERVE__DRAIN="1") as world,
        httpx2.AsyncClient(timeout=60, limits=limits) as http,
        measured(report, world.servers),
    ):
        report.began = time.monotonic()
        ends, pause = report.began + plan.seconds, 2 * plan.users / plan.rate
        around = caller.Around(
            world.world.base, world.world.issuer, witness[0], report.log, http, ends, pause, RAMP * plan.seconds
        )
        users = [caller.Caller(around, f"user{n}", numbers(plan, n)) for n in range(plan.users)]
        async with asyncio.TaskGroup() as group:
            group.create_task(troubled(report, world, witness[0]))
            for user in users:
                group.create_task(user.lives())
        report.ended = time.monotonic()
        report.counts = dict(witness[0].counts) | {"balancer: no answer": len(world.balancer.failed)}
        report.counts["balancer: requests"] = len(world.balancer.led)
    report.wrong = judged(report.log, witness[0])
    return report


def numbers(plan: Plan, user: int) -> Random:
    """Return the source of a user's choices: the same for the same seed."""
    return Random(plan.seed * 1000 + user)  # noqa: S311


def peopled(sandbox: Sandbox, plan: Plan) -> None:
    """Set up an account for each user, short token lives, and reuse detection."""
    world = sandbox._world
    world.people += tuple(Person(f"user{n}@example.test", f"User {n}", f"2{n:020}") for n in range(plan.users))
    world.mailboxes = seed_mailboxes(world.people, world.clock())
    sandbox.switches.access_ttl, sandbox.switches.rotate = plan.lives, True
    sandbox.switches.reuse_kills_family = True


async def troubled(report: Report, world: Cluster, witness: Witness) -> None:
    """Kill a server and restart it; later, restart Postgres."""

    @asynccontextmanager
    async def trouble(name: str, part: float) -> AsyncIterator[None]:
        await asyncio.sleep(max(0.0, report.began + part * report.plan.seconds - time.monotonic()))
        began, clock = time.monotonic(), time.time()
        witness.troubles.append((clock - SPREAD, float("inf")))
        yield
        report.troubles.append((name, began, time.monotonic()))
        witness.troubles[-1] = clock - SPREAD, time.time() + SPREAD

    async with trouble("a server killed and started", KILLED):
        await world.servers[1].kill()
        await world.servers[1].start()
    async with trouble("Postgres restarted", RESTARTED):
        await asyncio.to_thread(world.database.stop)
        await asyncio.sleep(DOWN)
        await asyncio.to_thread(world.database.start)


@asynccontextmanager
async def measured(report: Report, servers: list[Server]) -> AsyncIterator[None]:
    """Measure the memory of each server sixty times meanwhile."""

    async def look() -> None:
        began = time.monotonic()
        while True:
            for number, server in enumerate(servers):
                with suppress(OSError, ValueError):  # it ends just now
                    name = f"server {number}, process {server.process.pid}"
                    row = report.memory.setdefault(name, [])
                    row.append((time.monotonic() - began, memory_of(server.process.pid)))
            await asyncio.sleep(min(10.0, report.plan.seconds / 60))

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait([looking])
