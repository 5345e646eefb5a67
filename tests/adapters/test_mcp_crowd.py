"""Many users of one MCP server at once: no call is lost or mixed up, and no secret can be read anywhere."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import httpx
import httpx2
import pytest

from deputize.adapters.mcp import DeputyServer
from deputize.core import PROVIDERS, allow_all
from deputize.sandbox import Sandbox
from tests.adapters.test_mcp_asks import TOOL, House, Person, played
from tests.adapters.test_mcp_rounds import ACCEPT, approve
from tests.support.canary import Wiretap, files, hits
from tests.support.graphs import SEARCH, SEND
from tests.support.mcp_clients import Raw, by_bearer, raw, served
from tests.support.mcp_crowd import WRITTEN, Echo, connected, kit, memory_of
from tests.support.mcp_matrix import ROOT, Life, answers
from tests.support.mcp_process import KEY
from tests.support.ports import free_port
from tests.support.sandbox_deputy import build, new_vault

USERS, AT_ONCE, SECONDS = 20, 200, 5.0
A_WHILE, A_MINUTE = 15.0, 60.0
GROWS: Final = 40.0
"""MB that a worker may grow between the first third and the end."""
LIMITS: Final = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
"""One connection for each call: the server may close a reused one after five idle seconds."""
NAMES: Final = [f"user{number}" for number in range(USERS)]


@dataclass
class Crowd:
    """Callers, each for one of the users, that call one server after the other without a pause."""

    http: httpx2.AsyncClient
    bases: list[str]
    ends: float
    done: Counter[str] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)

    async def calls(self, caller: int) -> None:
        """Run one caller; a missing answer, or one for another user, fails the test."""
        user, number = NAMES[caller % USERS], caller
        at = itertools.cycle(Raw(self.http, f"{base}/mcp", user) for base in self.bases)
        while time.monotonic() < self.ends:
            tool, began = "gmail_count" if number // AT_ONCE % 2 else "gmail_who", time.monotonic()
            answer = await next(at).call(tool, {"number": number})
            assert answer["structuredContent"] == {"who": user, "number": str(number)}, answer
            self.took.append(time.monotonic() - began)
            self.done[tool] += 1
            number += AT_ONCE

    async def all(self) -> None:
        """Run all callers at once, to the end."""
        await asyncio.gather(*(self.calls(caller) for caller in range(AT_ONCE)))


@pytest.mark.processes
async def test_two_hundred_concurrent_calls_of_twenty_users_are_not_lost_or_crossed() -> None:
    vault, echo = await new_vault(), Echo()
    await connected(vault, NAMES)
    made = await build(vault=vault, transport=httpx.ASGITransport(echo), toolkits=[kit], policy=allow_all)
    async with made as deputy, served(DeputyServer(deputy).app(by_bearer)) as base, many() as http:
        crowd = Crowd(http, [base], time.monotonic() + SECONDS)
        await crowd.all()
        assert await vault.scan("call") == []
    assert sum(echo.written.values()) == crowd.done["gmail_count"] == len(echo.written)
    assert crowd.done["gmail_who"] >= AT_ONCE


@pytest.mark.processes
@pytest.mark.parametrize("seconds", [A_WHILE, pytest.param(A_MINUTE, marks=pytest.mark.sweep)])
async def test_two_hundred_calls_over_two_workers_are_not_lost_or_crossed(seconds: float, tmp_path: Path) -> None:
    async with provided() as base, AsyncExitStack() as stack:
        vault = await new_vault(tmp_path / "vault", KEY)
        stack.push_async_callback(vault.close)
        await connected(vault, NAMES, PROVIDERS["google"].moved_to(base))
        lives = [Life(tmp_path, base, "http", module="tests.support.mcp_crowd") for _ in range(2)]
        for life in lives:
            stack.push_async_callback(life.end)
            await life.begin()
        pids = [life.process.pid for life in lives if life.process]
        http = await stack.enter_async_context(many())
        memory = [[memory_of(pid) for pid in pids]]
        crowd = Crowd(http, [life.target[0].removesuffix("/mcp") for life in lives], time.monotonic() + seconds)
        running = asyncio.create_task(crowd.all())
        await asyncio.wait([running], timeout=seconds / 3)
        memory.append([memory_of(pid) for pid in pids])
        await running
        memory.append([memory_of(pid) for pid in pids])
        written = (await http.get(f"{base}{WRITTEN}")).json()
        assert await vault.scan("call") == []
    parts = quantiles(crowd.took, n=100)
    shown = ", ".join(f"p{part} {parts[part - 1] * 1000:.0f} ms" for part in (50, 90, 95, 99))
    print(f"{crowd.done.total()} calls, {crowd.done.total() / seconds:.0f}/s: {shown}, max {max(crowd.took):.1f} s")
    print("MB at first, at a third, at the end:", *(" ".join(f"{one:.0f}" for one in row) for row in memory), sep="  ")
    assert len(written) == crowd.done["gmail_count"] and {times for *_, times in written} == {1}
    assert crowd.done["gmail_who"] >= AT_ONCE
    assert all(last - warm < GROWS for warm, last in zip(*memory[1:], strict=True)), memory


@asynccontextmanager
async def provided() -> AsyncIterator[str]:
    """Start the provider in its own process, and return its address."""
    port = free_port()
    words = [sys.executable, "-m", "tests.support.mcp_crowd", str(port)]
    process = await asyncio.create_subprocess_exec(*words, cwd=ROOT)
    try:
        await answers(f"http://127.0.0.1:{port}{WRITTEN}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


def many() -> httpx2.AsyncClient:
    """Return one client for all callers."""
    return httpx2.AsyncClient(timeout=60, limits=LIMITS)


@pytest.mark.processes
async def test_no_secret_reaches_clients_logs_or_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sandbox, got = Sandbox(), list[Any]()
    tap = Wiretap(sandbox.transport())
    async with await build(vault=await new_vault(tmp_path / "vault"), transport=tap) as deputy:
        server = DeputyServer(deputy, tools=["gmail"])
        server.performing.longest_wait = 0.1
        async with served(server.app(by_bearer)) as base, raw(f"{base}/mcp") as alice:
            home = House(deputy, sandbox, Person(deputy, sandbox), alice.url, server)
            first = await alice.call(TOOL, SEND["args"])
            got += [first, first["requestState"]]
            person = Person(deputy, sandbox)
            await person.visit(first["inputRequests"]["deputize"]["params"]["url"])
            got.append(await alice.call(TOOL, SEND["args"], inputResponses=ACCEPT, requestState=first["requestState"]))
            await approve(home)
            got.append(await alice.call(TOOL, SEND["args"]))
            got.append(await alice.call("gmail_search_emails", SEARCH["args"]))
            got.append(await alice.call(TOOL, SEND["args"], inputResponses=ACCEPT, requestState="v1.forged"))
            for how in ("legacy page", "text"):
                got.append((await played(home, how)).model_dump())
        assert len(sandbox.sent("alice@example.test")) == 3
        tap.secrets |= {deputy.derive_key("mcp request state").reveal(): "key", deputy.vault.keys.index.hex(): "key"}
    assert {"access_token", "refresh_token"} <= tap.kinds() and len(caplog.records) > 20
    logs = "\n".join(f"{one.getMessage()} {vars(one)}" for one in caplog.records)
    assert hits(tap.secrets, {"answers": json.dumps(got, default=repr), "logs": logs, **files(tmp_path)}) == []
