"""An MCP server over HTTP is killed (SIGKILL) at each step of a call; the client repeats it, and one mail is sent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deputize.core.background_loop import portal
from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox
from tests.adapters.test_mcp_asks import TOOL
from tests.adapters.test_mcp_rounds import ACCEPT, ARGS, asked, said
from tests.support.mcp_clients import Raw, raw
from tests.support.mcp_process import beside
from tests.support.ports import free_port
from tests.support.sandbox_deputy import connect


@dataclass
class Gmail:
    """A provider that kills the sending server during a mail: once it has "taken" it, or before."""

    app: ASGIApp
    when: str
    server: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not str(scope.get("path")).endswith("/send") or self.when not in ("arrives", "taken"):
            return await self.app(scope, receive, send)
        if self.when == "taken":
            await self.app(scope, receive, _nothing)
        self.when = ""
        os.kill(self.server[-1].pid, signal.SIGKILL)


async def _nothing(message: Message) -> None:
    """A response that is never read."""


@asynccontextmanager
async def server(folder: Path, base: str, gmail: Gmail) -> AsyncIterator[Raw]:
    """One run of a server."""
    port = free_port()
    words = [sys.executable, "-m", "tests.support.mcp_process", str(folder), base, str(port)]
    child = await asyncio.create_subprocess_exec(*words, cwd=Path(__file__).parents[2])
    gmail.server.append(child)
    try:
        async with raw(f"http://127.0.0.1:{port}/mcp") as alice:
            while True:
                try:
                    await alice.http.get(alice.url)
                    break
                except httpx2.TransportError:
                    assert child.returncode is None
                    await asyncio.sleep(0.05)
            yield alice
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@pytest.mark.processes
@pytest.mark.parametrize("when", ["asked", "approved", "arrives", "taken"])
async def test_killed_server_leaves_no_second_mail_and_a_true_answer(when: str, tmp_path: Path) -> None:
    sandbox = Sandbox()
    gmail = Gmail(sandbox.app, when)

    async def approve() -> None:
        [one] = await deputy.pending("alice")
        await deputy.decide(one.id, "approve", by="alice")

    async with serve(gmail) as base, await beside(tmp_path, base) as deputy:
        await connect(deputy, sandbox, "readonly", "send")
        await portal().hop(deputy.http.close)  # what the exchange of the code has left open there
        async with server(tmp_path, base, gmail) as alice:
            first = await alice.call(TOOL, ARGS)
            more = {"inputResponses": ACCEPT, "requestState": first["requestState"]}
            if when != "asked":
                await approve()
            if when in ("arrives", "taken"):
                with pytest.raises(httpx2.TransportError):
                    await alice.call(TOOL, ARGS, **more)
        async with server(tmp_path, base, gmail) as alice:
            if when == "asked":
                assert asked(await alice.call(TOOL, ARGS))["url"] == asked(first)["url"]
                await approve()
            answers = [said(await alice.call(TOOL, ARGS, **more)), said(await alice.call(TOOL, ARGS, **more))]
            if when in ("arrives", "taken"):  # nobody can know here: it is said, and nothing is sent again
                answers.append(said(await alice.call(TOOL, ARGS)))
                assert all("may have been done" in one for one in answers)
            else:
                assert all("Sent." in one for one in answers)
            assert len(sandbox.sent("alice@example.test")) == (when != "arrives")
