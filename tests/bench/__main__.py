"""What governing costs, as ratios from paired runs: ``python -m tests.bench``.

Prints one JSON line a figure. Variants alternate block by block in one process, against one minimal server on another
core; a figure is the median of the blocks' ratios of CPU time, with the second-lowest and second-highest beside it.
Not in it: the provider's latency, name look-ups, TLS, a real network. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from deputize.core import PROVIDERS, Account, App, Deputy, Request, Secret, Steps, Toolkit, User, any_of
from deputize.core.audit import Audit
from deputize.core.http import FastTransport
from deputize.core.providers.origin import origin_of
from deputize.core.vault.grant import Grant
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault

BLOCKS, CALLS = int(os.environ.get("BENCH_BLOCKS", "14")), 320
SCOPE = "https://www.googleapis.com/auth/gmail.readonly"
TOKEN = "ya29." + "x" * 180
KIT = Toolkit("gmail", "google", shows=True)
Work = Callable[[], Awaitable[Any]]


@KIT.tool(needs=[any_of(SCOPE, method="gmail.users.messages.list")])
def list_emails(query: str = "") -> Steps:
    """List emails."""
    return (yield Request("GET", "/users/me/messages", params={"q": query}))


def cpu() -> float:
    """Seconds of CPU this process has used, all its threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@asynccontextmanager
async def server() -> AsyncIterator[str]:
    """The base address of the minimal server, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.server", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout and process.stdin
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.stdin.close()
        await process.wait()


@asynccontextmanager
async def deputy(
    base: str, transport: Callable[[], httpx.AsyncBaseTransport], users: Sequence[str] = ("alice",), **more: Any
) -> AsyncIterator[Deputy]:
    """A deputy as in production: vault and audit on disk, these users connected."""
    with tempfile.TemporaryDirectory() as folder:
        vault = await Vault.open(open_store(f"{folder}/vault.sqlite", create=True), [os.urandom(32)])
        now, row, app = time.time(), PROVIDERS["google"].moved_to(base), App("google", "client", Secret("secret"))
        for user in users:
            await vault.add(
                Grant(User(user), "google", "google", Account("1", f"{user}@example.test"), frozenset({SCOPE}),
                      Secret(TOKEN), Secret("1//" + "y" * 100), now + 86400, now, origin=origin_of(row, app))
            )  # fmt: skip
        async with Deputy(
            vault,
            [app],
            pages="http://127.0.0.1:1",
            audit=Audit(Path(folder, "audit"), vault.keys.audit),
            providers={"google": row},
            toolkits=[KIT],
            transport=transport,
            requests_per_minute=1e9,
            **more,
        ) as made:
            yield made


async def block(work: Work, concurrency: int) -> float:
    """CPU seconds a call, over one block."""

    async def some(n: int) -> None:
        for _ in range(n):
            await work()

    gc.collect()
    before = cpu()
    await asyncio.gather(*(some(CALLS // concurrency) for _ in range(concurrency)))
    return (cpu() - before) / CALLS


async def paired(works: Sequence[Work], concurrency: int) -> list[list[float]]:
    """For each work its ratios to the first one, block by block, the order turning."""
    for work in works:
        await block(work, concurrency)
    ratios: list[list[float]] = [[] for _ in works]
    for turn in range(BLOCKS):
        costs = [0.0] * len(works)
        for step in range(len(works)):
            at = (turn + step) % len(works)
            costs[at] = await block(works[at], concurrency)
        for at, cost in enumerate(costs):
            ratios[at].append(cost / costs[0])
    return ratios


def say(name: str, ratios: Sequence[float], goal: float | None, **more: Any) -> None:
    """One figure as a JSON line."""
    ranked = sorted(ratios)
    print(
        json.dumps(
            {
                "figure": name,
                "median": round(statistics.median(ranked), 3),
                "low": round(ranked[1], 3),
                "high": round(ranked[-2], 3),
                "goal": goal,
                **more,
            }
        ),
        flush=True,
    )


def written_to(one: Deputy) -> Deputy:
    """The same where somebody writes to the vault between any two acts, so that each looks into it anew: in a thread,
    without which a loop may stand still with a disk."""
    one.vault.store._reader.current_cache = lambda: None  # type: ignore[attr-defined]
    return one


async def acts() -> None:
    """A full act over a bare httpx call with a static token, on httpx's own transport and on aiohttp's."""
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(server())
        url = f"{base}/gmail.googleapis.com/gmail/v1/users/me/messages"
        client = await stack.enter_async_context(httpx.AsyncClient())
        plain = await stack.enter_async_context(deputy(base, lambda: httpx.AsyncHTTPTransport(trust_env=False)))
        fast = await stack.enter_async_context(deputy(base, FastTransport))
        busy = written_to(await stack.enter_async_context(deputy(base, FastTransport)))

        async def bare() -> Any:
            headers = {"authorization": f"Bearer {TOKEN}", "accept": "application/json"}
            return (await client.get(url, params={"q": "from:bob"}, headers=headers)).json()

        def governed(one: Deputy) -> Work:
            return lambda: one.act("gmail_list_emails", {"query": "from:bob"}, user="alice")

        for concurrency, goal in ((1, 0.55), (32, 0.22)):
            ratios = await paired([bare, governed(plain), governed(fast), governed(busy)], concurrency)
            say("act over bare httpx, httpx transport", ratios[1], 1.10, concurrency=concurrency)
            say("act over bare httpx, aiohttp transport", ratios[2], goal, concurrency=concurrency)
            say("the same, somebody writes between any two", ratios[3], None, concurrency=concurrency)


def imports() -> None:
    """``import deputize.core`` over ``import httpx``, each less an empty interpreter."""

    cached = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def cost(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, env=cached)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    cost("import deputize.core")  # leaves the byte code behind, as any first run does
    ratios = []
    for _ in range(BLOCKS):
        empty = cost("pass")
        ratios.append((cost("import deputize.core") - empty) / (cost("import httpx") - empty))
    say("import deputize.core over import httpx", ratios, 2.0)


if __name__ == "__main__":
    argparse.ArgumentParser("python -m tests.bench", description=__doc__).parse_args()  # --help starts nothing
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    packages = {name: version(name) for name in ("httpx", "aiohttp", "cryptography", "pydantic")}
    print(
        json.dumps({"python": sys.version.split()[0], "load": os.getloadavg()[0], "cores": os.cpu_count(), **packages})
    )
    imports()
    asyncio.run(acts())
    from tests.bench import policy, writing

    asyncio.run(policy.reads())
    asyncio.run(writing.writes())
    asyncio.run(writing.single())
    if find_spec("llama_index"):
        from tests.bench import llamaindex

        asyncio.run(llamaindex.adapter())
    if find_spec("mcp"):
        from tests.bench import mcp

        asyncio.run(mcp.adapter())
    if find_spec("pydantic_ai"):
        from tests.bench import pydantic_ai

        asyncio.run(pydantic_ai.adapter())
    if find_spec("google") and find_spec("google.adk"):
        from tests.bench import google_adk

        asyncio.run(google_adk.adapter())
    if find_spec("agents"):
        from tests.bench import openai_agents

        asyncio.run(openai_agents.adapter())
    if find_spec("langgraph"):
        from tests.bench import langgraph

        asyncio.run(langgraph.adapters())
