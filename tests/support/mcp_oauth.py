"""MCP servers behind third-party authorization servers, on loopback.

with McpOauth("sdk") as server:
    McpServer("guarded", server.url)
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

import httpx

from tests.support.counterparts import CHECKOUT, mcp_before_python, mcp_python
from tests.support.ports import free_port

SECONDS_TO_ANSWER: Final = 60.0
PROGRAM: Final = CHECKOUT / "tests" / "counterparts" / "mcp" / "oauth_server.py"
PYTHONS: Final[Mapping[str, Callable[[], str]]] = {
    "fastmcp": mcp_python,
    "sdk": lambda: sys.executable,
    "sdk before 2": mcp_before_python,
}


class McpOauth:
    """The server as a subprocess. ``kind``: of `PYTHONS`; the SDK before version 2 implements 2025-11-25."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __enter__(self) -> Self:
        python = PYTHONS[self.kind]()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        command = (python, str(PROGRAM), str(self.port), self.kind.partition(" ")[0])
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + SECONDS_TO_ANSWER
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.post(self.url, timeout=5.0).status_code == 401:
                    return self
            time.sleep(0.2)
        self.__exit__()
        raise RuntimeError(f"It did not start: {' '.join(command)}")

    def __exit__(self, *ended: object) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()

    async def consent(self, url: str) -> dict[str, str]:
        """Return what a browser brings back from there: this server asks nobody."""
        async with httpx.AsyncClient(timeout=20.0) as browser:
            answer = await browser.get(url)
        return dict(parse_qsl(urlsplit(answer.headers["location"]).query))
