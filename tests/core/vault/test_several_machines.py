"""Several machines with one vault in Postgres: whichever a balancer selects, it is one deputy."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest

from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.web.local.server import serve
from deputize.sandbox import Browser, Sandbox
from tests.support.machine_process import SIGNED_IN
from tests.support.postgres import postgres_server
from tests.support.sandbox_deputy import PAGES

pytestmark = pytest.mark.counterpart


class Remote:
    """A machine, from outside. ``url``: where it serves the pages."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.url = process, ""

    def begin(self) -> None:
        self.url = json.loads(self._line())

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()

    def tell(self, word: str, *arguments: object) -> Any:
        assert self.process.stdin
        self.process.stdin.write(json.dumps([word, *arguments]) + "\n")
        self.process.stdin.flush()
        return json.loads(self._line())

    async def do(self, word: str, *arguments: object) -> Any:
        return await asyncio.to_thread(self.tell, word, *arguments)


class Balancer(httpx.AsyncBaseTransport):
    """Sends requests for pages to machines by their path; all others go to their host."""

    def __init__(self, by_path: dict[str, Remote]) -> None:
        self._by_path, self._inner = by_path, httpx.AsyncHTTPTransport()
        self.served = list[tuple[str, str]]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if str(request.url).startswith(PAGES):
            first = request.url.path.split("/")[1]
            machine = self._by_path[first]
            self.served.append((first, machine.url))
            port = httpx.URL(machine.url).port
            request = httpx.Request(
                request.method, request.url.copy_with(port=port), headers=request.headers, content=await request.aread()
            )
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@contextmanager
def machine(vault: str, providers: str) -> Iterator[Remote]:
    command = [sys.executable, "-W", "error", "-m", "tests.support.machine_process", vault, providers]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Remote(process)
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait(60)
    assert process.returncode == 0


@asynccontextmanager
async def machines(count: int) -> AsyncIterator[tuple[Sandbox, list[Remote]]]:
    sandbox = Sandbox()
    with ExitStack() as ends:
        server = ends.enter_context(postgres_server())
        migrate(Address.of(server.url))
        async with serve(sandbox.app) as providers:
            made = [ends.enter_context(machine(server.url, providers)) for _ in range(count)]
            for one in made:
                await asyncio.to_thread(one.begin)
            yield sandbox, made
            await asyncio.to_thread(ends.pop_all().close)


async def visited(link: str, start: Remote, back: Remote) -> None:
    """Visit a link as Alice, served by one machine, and return to another."""
    balancer = Balancer({"connect": start, "callback": back, "done": back, "static": back})
    browser = Browser(balancer, base_url=PAGES)
    browser.cookies.take(httpx.URL(PAGES), [f"{SIGNED_IN}=alice; Path=/"])
    page = await browser.allow(link)
    assert "is connected" in page.text and {("connect", start.url), ("callback", back.url)} <= set(balancer.served)
    await balancer.aclose()


async def test_four_machines_act_as_one_deputy() -> None:
    """Connect through one, return through another, act through a third, revoke through the first; two hundred acts on
    an expired grant are one refresh."""
    async with machines(4) as (sandbox, (first, second, third, fourth)):
        asked = await first.do("connect")
        waiting = asyncio.create_task(fourth.do("wait", asked[0]))
        await visited(asked[1], first, second)
        assert await waiting == "granted"
        sent = await third.do("act", "m1")
        assert await fourth.do("act", "m1") == sent and len(sandbox.sent("alice@example.test")) == 1
        each = await asyncio.gather(*(one.do("same", 10, "m2") for one in (first, second, third, fourth)))
        assert len({id for ids in each for id in ids}) == 1 and len(sandbox.sent("alice@example.test")) == 2

        before = sandbox.count("oauth2.googleapis.com", "/token", method="POST")
        sandbox.expire_access_tokens()
        ended = await asyncio.gather(*(one.do("herd", 50, 3500.0) for one in (first, second, third, fourth)))
        assert [name for names in ended for name in names] == ["list"] * 200
        assert sandbox.count("oauth2.googleapis.com", "/token", method="POST") == before + 1

        assert await first.do("revoke") is None
        began = time.monotonic()
        refused = await asyncio.gather(*(one.do("act", "m3") for one in (second, third, fourth)))
        assert {one["error"] for one in refused} <= {"ConsentRequired", "ReconsentRequired"}
        assert time.monotonic() - began < 5 and len(sandbox.sent("alice@example.test")) == 2
