"""Servers behind nginx that end one after the other, with the configuration of deploy/: each call is made once."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.docs.deploying import NGINX
from tests.support.counterparts import require
from tests.support.ports import free_port

pytestmark = [pytest.mark.counterpart, pytest.mark.processes]

CALLERS = 4


class Server:
    """One server, which can be restarted at its port. ``asked``: all requests that reached it."""

    def __init__(self) -> None:
        self.port, self.asked = free_port(), list[str]()

    async def start(self) -> None:
        words = [sys.executable, "-m", "tests.support.shutdown_child", str(self.port), "0"]
        self.process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        await reached(self.port)

    async def end(self) -> None:
        """Send SIGTERM, and check that the exit code is 0."""
        if self.process.returncode is None:
            self.process.terminate()
        said, _ = await asyncio.wait_for(self.process.communicate(), 60)
        self.asked += said.decode().split()
        assert self.process.returncode == 0


async def reached(port: int) -> None:
    """Wait until a server listens there."""
    async with asyncio.timeout(40):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@asynccontextmanager
async def nginx(folder: Path, servers: list[Server]) -> AsyncIterator[str]:
    """Start nginx as configured in deploy/ in front of these, without TLS; return its address."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    require("nginx", bool(program), "apt-get install nginx-light")
    port, text = free_port(), NGINX.read_text().replace("/tmp/", f"{folder}/")  # noqa: S108
    text = re.sub(r"listen 8443 ssl;|http2 on;|ssl_\w+ .*;", "", text).replace(
        "server_tokens", f"listen {port};\nserver_tokens"
    )
    for name, one in zip(("one", "two"), servers, strict=True):
        text = text.replace(f"server {name}:8000", f"server 127.0.0.1:{one.port}")
    file = folder / "nginx.conf"
    file.write_text(text.replace("/dev/stdout", str(folder / "access.log")))
    words = [str(program), "-c", str(file), "-p", str(folder), "-e", "stderr", "-g", "daemon off;"]
    process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.DEVNULL)
    try:
        await reached(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def test_rolling_restart_loses_no_call_and_repeats_none(tmp_path: Path) -> None:
    servers, asked, failed, over = [Server(), Server()], list[str](), list[str](), asyncio.Event()

    async def busy(name: int, http: httpx.AsyncClient) -> None:
        while not over.is_set():
            asked.append(call := f"{name}-{len(asked)}")
            answer = await http.post("/call", content=call)
            if (answer.status_code, answer.text) != (200, call):
                failed.append(f"{call}: {answer.status_code}")

    async with AsyncExitStack() as ends:
        for one in servers:
            await one.start()
            ends.push_async_callback(one.end)
        base = await ends.enter_async_context(nginx(tmp_path, servers))
        async with httpx.AsyncClient(base_url=base, timeout=60) as http, asyncio.TaskGroup() as group:
            for name in range(CALLERS):
                group.create_task(busy(name, http))
            for one in servers * 2:
                await asyncio.sleep(0.5)
                await one.end()
                await one.start()
            await asyncio.sleep(0.5)
            over.set()
            group.create_task(_hidden(http))
    assert not failed
    assert Counter(call for one in servers for call in one.asked) == Counter(asked)
    log = (tmp_path / "access.log").read_text()
    assert "GET /agents/connect/- 404" in log and "a-ticket" not in log and "a-code" not in log


async def _hidden(http: httpx.AsyncClient) -> None:
    await http.get("/agents/connect/a-ticket")
    await http.get("/callback/google?code=a-code")
