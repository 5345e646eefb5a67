"""A third-party MCP client in its own process, its person, and a server of ours that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from deputize.core import Approval, Consent, Deputy
from deputize.core.web.app import pages_app
from deputize.core.web.local.server import serve
from deputize.sandbox import Browser, Sandbox
from tests.core.web.web_application import sign_in, signed_in
from tests.support.counterparts import mcp_before_python, mcp_python
from tests.support.mcp_process import PID, beside
from tests.support.ports import free_port
from tests.support.sandbox_deputy import PAGES, consent

ROOT: Final = Path(__file__).parents[2]


@dataclass
class Life:
    """Our server in its own process: over HTTP we start it, at the same port each time; on stdio a client does."""

    folder: Path
    google: str
    over: str
    module: str = "tests.support.mcp_process"
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def command(self) -> list[str]:
        """Return the command that starts it."""
        return [sys.executable, "-m", self.module, str(self.folder), self.google]

    @property
    def target(self) -> list[str]:
        """Return where a client finds it, or how it starts it."""
        return [f"http://127.0.0.1:{self.port}/mcp"] if self.over == "http" else self.command

    async def begin(self) -> None:
        """Start it again with nothing left of earlier processes but the vault."""
        self.process = await asyncio.create_subprocess_exec(*self.command, str(self.port), cwd=ROOT)
        await answers(self.target[0], self.process)

    async def kill(self) -> bool:
        """Kill it, as a crash would; return whether it was running. Over HTTP it restarts without notice."""
        pid = int((self.folder / PID).read_text())
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        if self.process is not None:
            await self.process.wait()
            await self.begin()
        return True

    async def end(self) -> None:
        """End it for good."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


async def answers(url: str, process: asyncio.subprocess.Process) -> None:
    """Wait until this process answers there."""
    async with httpx.AsyncClient() as http:
        while True:
            with suppress(httpx.TransportError):
                await http.get(url)
                return
            assert process.returncode is None, "the server has ended"
            await asyncio.sleep(0.05)


@dataclass
class Talk:
    """A client in its own process, the person who uses it, and their surroundings."""

    child: asyncio.subprocess.Process
    deputy: Deputy
    sandbox: Sandbox
    life: Life

    async def tell(self, **what: Any) -> dict[str, Any]:
        """Send an order or an answer; return its result."""
        assert self.child.stdin
        self.child.stdin.write(json.dumps(what).encode() + b"\n")
        return await self.heard()

    async def heard(self) -> dict[str, Any]:
        """Return the next message of the client."""
        assert self.child.stdout
        line = await asyncio.wait_for(self.child.stdout.readline(), 180)  # seconds, where the machine is busy
        found: dict[str, Any] = json.loads(line)
        return found

    async def begin_anew(self) -> None:
        """Open another connection; on stdio another server, too."""
        assert (await self.tell(restart=True))["text"] == "ready"

    async def waiting(self) -> list[Consent | Approval]:
        """Return Alice's pending requests."""
        return await self.deputy.pending("alice")

    def browser(self, user: str) -> Browser:
        """Return a browser at our pages in which this user is signed in."""
        browser = Browser(httpx.ASGITransport(pages_app(self.deputy, verifier=signed_in)), base_url=PAGES)
        sign_in(browser, user, PAGES)
        return browser

    async def consent(self, one: Consent) -> None:
        """Complete Alice's consent at our page and at the provider's."""
        async with httpx.AsyncHTTPTransport(trust_env=False) as browser:
            await consent(self.deputy, browser, one)

    async def let_expire(self, one: Consent | Approval) -> None:
        """Expire the request, as if it had waited too long."""
        vault, kind = self.deputy.vault, "approval" if isinstance(one, Approval) else "consent"
        name = "expires" if kind == "approval" else "ticket_expires"
        for record in await vault.scan(kind):
            if record.json.get("status", record.json.get("state")) in ("pending", "created"):
                assert await vault.swap(record, record.json | {name: 1.0})
        assert one not in await self.waiting()

    def sent(self, subject: str) -> list[bytes]:
        """Return the sent mails with this subject, by any user."""
        mails = [mail.raw for who in ("alice", "bob") for mail in self.sandbox.sent(f"{who}@example.test")]
        return [mail for mail in mails if f"Subject: {subject}\r\n".encode() in mail]


@asynccontextmanager
async def talking(kind: str, over: str, folder: Path) -> AsyncIterator[Talk]:
    """Start a client of this kind at a server of ours."""
    python, sandbox = mcp_before_python() if kind == "adapters" else mcp_python(), Sandbox()
    async with serve(sandbox.app) as base, await beside(folder, base) as deputy:
        life = Life(folder, base, over)
        try:
            if over == "http":
                await life.begin()
            child = await asyncio.create_subprocess_exec(
                python, "tests/support/mcp_talk.py", kind, *life.target,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT,
            )  # fmt: skip
            talk = Talk(child, deputy, sandbox, life)
            try:
                assert (await talk.heard())["text"] == "ready"
                yield talk
                assert child.stdin
                child.stdin.close()
                await asyncio.wait_for(child.wait(), 20)
            finally:
                if child.returncode is None:
                    child.kill()
                    await child.wait()
        finally:
            await life.end()
