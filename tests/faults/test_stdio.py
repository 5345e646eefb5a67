"""``deputize serve`` over stdio that is told to end while a tool is being called."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.driving import CLI
from tests.faults.conftest import Row
from tests.faults.driving import CHECKOUT, Program, World, world

pytestmark = pytest.mark.processes

HELLO: Final = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
MAIL: Final = {"to": ["bob@example.test"], "subject": "a", "body": "Yes, gladly."}


class Served(Program):
    """The server, which is spoken to in JSON-RPC."""

    def ask(self, method: str, params: Any, id: int | None = None) -> None:
        """One message."""
        assert self.process.stdin
        message = {"jsonrpc": "2.0", "method": method, "params": params} | ({} if id is None else {"id": id})
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()


def _started(world: World) -> Served:
    command = [*CLI, "serve", "gmail", "--stdio", "--user", "alice"]
    pipe, env = subprocess.PIPE, world.environment()
    return Served(subprocess.Popen(command, cwd=CHECKOUT, env=env, stdin=pipe, stdout=pipe, text=True))


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[Served]:
    """A server that has said hello."""
    server = _started(world)
    try:
        server.ask("initialize", HELLO, 1)
        assert (await server.heard())["result"]["serverInfo"]
        server.ask("notifications/initialized", {})
        yield server
    finally:
        if server.process.stdin and server.process.stdin.closed:
            server.process.stdin = None
        server.end()


async def test_a_server_over_stdio_that_is_told_to_end_leaves_no_act_to_be_done_twice(tmp_path: Path, row: Row) -> None:
    async with world(tmp_path) as w:
        async with w.running() as program:
            await w.connect(program)
        async with serving(w) as server:
            w.meanwhile["/messages/send"] = lambda: server.process.send_signal(signal.SIGTERM)
            server.ask("tools/call", {"name": "gmail_send_email", "arguments": MAIL}, 2)
            code = await asyncio.to_thread(server.process.wait, 30)
            assert code == 143 and w.mails() == ["a"]  # though its client has not hung up
        async with w.running() as program:
            proven = (await program.say("proven"))["ok"]
            assert proven == {"ok": True, "ends": ["done"]}
        row("SIGTERM over stdio in the middle of an act", "the connection ends", "once", "at the next start")


async def test_a_server_over_stdio_that_waits_ends_when_it_is_told_to_and_when_its_client_hangs_up(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        for ending in ("told", "hung up"):
            async with serving(w) as server:
                server.ask("ping", {}, 2)
                assert (await server.heard())["id"] == 2
                assert server.process.stdin
                if ending == "told":
                    server.process.send_signal(signal.SIGTERM)
                else:
                    server.process.stdin.close()
                assert await asyncio.to_thread(server.process.wait, 30) == (143 if ending == "told" else 0)
