"""``deputize serve`` over stdio, terminated during a tool call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.terminal import CLI
from tests.faults.conftest import Row
from tests.faults.program_driver import CHECKOUT, Program, World, world

pytestmark = pytest.mark.processes

HELLO: Final = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
MAX_TAKEN: Final = 500_000
MAX_KEPT: Final = 50_000_000
"""Bytes: of requests, if no response is read, and of the server's additional memory."""
MAIL: Final = {"to": ["bob@example.test"], "subject": "a", "body": "Yes, gladly."}


class Served(Program):
    """The server, spoken to in JSON-RPC."""

    def ask(self, method: str, params: Any, id: int | None = None) -> None:
        """Send one message."""
        assert self.process.stdin
        message = {"jsonrpc": "2.0", "method": method, "params": params} | ({} if id is None else {"id": id})
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()


def _started(world: World) -> Served:
    command = [*CLI, "serve", "gmail", "--stdio", "--user", "alice"]
    pipe, env = subprocess.PIPE, world.environment()
    with _none_ignored():
        return Served(subprocess.Popen(command, cwd=CHECKOUT, env=env, stdin=pipe, stdout=pipe, text=True))


@contextmanager
def _none_ignored() -> Iterator[None]:
    """The process that starts the tests may ignore these signals, and a program inherits that; it inherits no
    handler."""
    before = {one: signal.signal(one, signal.default_int_handler) for one in (signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[Served]:
    """Return a server that is initialized."""
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


async def test_stdio_server_stopped_during_an_act_leaves_nothing_to_repeat(tmp_path: Path, row: Row) -> None:
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


@pytest.mark.parametrize("ending", ["SIGTERM", "SIGHUP", "SIGINT", "hung up"])
async def test_waiting_stdio_server_ends_on_signals_and_client_disconnect(tmp_path: Path, ending: str) -> None:
    async with world(tmp_path) as w, serving(w) as server:
        server.ask("ping", {}, 2)
        assert (await server.heard())["id"] == 2
        assert server.process.stdin
        if ending == "hung up":
            server.process.stdin.close()
        else:
            server.process.send_signal(signal.Signals[ending])
        code = 0 if ending == "hung up" else 128 + signal.Signals[ending]
        assert await asyncio.to_thread(server.process.wait, 30) == code


async def test_client_that_reads_nothing_fills_no_memory_and_does_not_block_shutdown(tmp_path: Path) -> None:
    """The client sends requests until none is accepted any more; then both pipes are full."""
    async with world(tmp_path) as w, serving(w) as server:
        assert server.process.stdin
        to, before = server.process.stdin.fileno(), memory(server.process.pid)
        os.set_blocking(to, False)
        line, taken = json.dumps({"jsonrpc": "2.0", "method": "tools/list", "params": {}, "id": 2}).encode() + b"\n", 0
        last = time.monotonic()
        while time.monotonic() - last < 3:
            try:
                taken, last = taken + os.write(to, line), time.monotonic()
            except BlockingIOError:
                await asyncio.sleep(0.05)
            assert taken < MAX_TAKEN
        assert memory(server.process.pid) - before < MAX_KEPT
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, 60) == 143
        os.set_blocking(to, True)


async def test_act_is_done_and_recorded_when_nobody_reads_its_answer(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        async with w.running() as program:
            await w.connect(program)
        async with serving(w) as server:
            for number in range(60):
                server.ask("tools/list", {}, 10 + number)
            server.ask("tools/call", {"name": "gmail_send_email", "arguments": MAIL}, 2)
            while not w.mails():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            server.process.send_signal(signal.SIGHUP)
            assert await asyncio.to_thread(server.process.wait, 60) == 128 + signal.SIGHUP
        async with w.running() as program:
            assert (await program.say("proven"))["ok"] == {"ok": True, "ends": ["done"]}
        assert w.mails() == ["a"]


def memory(pid: int) -> int:
    """Return a process's resident memory in bytes (proc(5), ``VmRSS``)."""
    [line] = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS")]
    return int(line.split()[1]) * 1024
