"""Runs `tests.faults.sandbox_program` in a real process, whose home may be in small file systems of its own.

Nobody needs to be root for those: a mount namespace of the process holds them (unshare(1)), and they end with it.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.cli.terminal import click, environment
from tests.support.counterparts import require
from tests.support.ports import free_port

CHECKOUT: Final = Path(__file__).parents[2]
SIZE: Final = "1m"
"""The size of a small file system: a vault and its log, and some rows."""
NAMESPACE: Final = ("unshare", "--user", "--map-root-user", "--mount")
BALLAST: Final = "ballast"
ALICE: Final = "alice@example.test"


def _use_up(at: Path) -> None:
    with open(at, "ab", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12, 1 << 6, 1):
            while _put(ballast.fileno(), bytes(size)):
                pass


def _kept_full(at: Path, ended: threading.Event) -> None:
    with suppress(FileNotFoundError):  # the process has ended, and its file systems with it
        while not ended.wait(0.02):
            _use_up(at)


def _put(file: int, data: bytes) -> bool:
    """Return whether there was room."""
    try:
        return os.write(file, data) == len(data)
    except OSError as error:
        assert error.errno == errno.ENOSPC
        return False


@cache
def _small_disks() -> bool:
    """Return whether this system lets a process mount its own file systems."""
    if not shutil.which("unshare"):
        return False
    tried = ("sh", "-c", "mount -t tmpfs -o size=64k none /mnt")
    return subprocess.run([*NAMESPACE, *tried], capture_output=True, check=False).returncode == 0


@dataclass
class Program:
    """One process. ``say`` sends a command with its arguments, and returns the outcome."""

    process: subprocess.Popen[str]
    _full: dict[str, tuple[threading.Event, threading.Thread]] = field(default_factory=dict)

    async def say(self, word: str, *arguments: Any) -> Any:
        """Return ``{"ok": result}`` or ``{"error", "message", "hint"}``; None if the process has ended."""
        self.tell(word, *arguments)
        return await self.heard()

    def tell(self, word: str, *arguments: Any) -> None:
        """Send a command without waiting for its outcome."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps([word, *arguments]) + "\n")
        self.process.stdin.flush()

    def seen(self, folder: str) -> Path:
        """Return a folder as the process sees it, including its private mounts (proc(5), ``root``)."""
        return Path(f"/proc/{self.process.pid}/root{folder}")

    def fill(self, folder: str) -> None:
        """Fill the file system of a folder to the last byte, again after releases there, until `free`."""
        ended, at = threading.Event(), self.seen(folder) / BALLAST
        _use_up(at)
        thread = threading.Thread(target=_kept_full, args=(at, ended), daemon=True)
        thread.start()
        self._full[folder] = (ended, thread)

    def free(self, folder: str) -> None:
        """Release the space."""
        ended, thread = self._full.pop(folder)
        ended.set()
        thread.join()
        (self.seen(folder) / BALLAST).unlink()

    async def heard(self) -> Any:
        """Return the next answer."""
        assert self.process.stdout
        line = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), 60)
        return json.loads(line) if line else None

    def end(self) -> None:
        """Kill it if it still runs."""
        for ended, thread in self._full.values():
            ended.set()
            thread.join()
        self.process.kill()
        self.process.communicate(timeout=30)


@dataclass
class World:
    """A home, and the sandbox that simulates the providers on loopback.

    ``small``: folders below the home, "" for itself, each of which is its own file system.
    """

    home: Path
    sandbox: Sandbox
    base: str
    small: Sequence[str] = ()
    more: Mapping[str, str] = field(default_factory=dict)
    meanwhile: dict[str, Callable[[], None]] = field(default_factory=dict)
    """What happens while the provider processes the next request to a path with this suffix."""

    @property
    def vault(self) -> str:
        """Return the folder of the vault and the key."""
        return str(self.home / "deputize")

    @property
    def audit(self) -> str:
        """Return the folder of the audit."""
        return str(self.home / "deputize" / "audit")

    def start(self, mounted: str = "") -> Program:
        """Start a process, which first reports its start. ``mounted``: shell commands before it, in its namespace."""
        command = [sys.executable, "-W", "error", "-m", "tests.faults.sandbox_program"]
        if self.small or mounted:
            require("mount namespaces", _small_disks(), "sysctl kernel.unprivileged_userns_clone=1")
            made = [f"mkdir -p {self.vault}/{one} && chmod 700 {self.vault}/{one}" for one in self.small]
            mounts = [f"mount -t tmpfs -o size={SIZE},mode=700 none {self.vault}/{one}" for one in self.small]
            steps = [step for pair in zip(made, mounts, strict=True) for step in pair] + ([mounted] if mounted else [])
            command = [*NAMESPACE, "sh", "-c", " && ".join([*steps, 'exec "$@"']), "sh", *command]
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=self.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return Program(process)

    def environment(self) -> dict[str, str]:
        """Return the environment of a process of this world."""
        return environment(
            self.home,
            DEPUTIZE_SANDBOX_URL=self.base,
            DEPUTIZE_PORT=str(free_port()),
            DEPUTIZE_POLICY="allow_all",
            DEPUTIZE_APPS__GOOGLE__CLIENT_ID=GOOGLE_CLIENT_ID,
            DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET=GOOGLE_CLIENT_SECRET,
            PYTHONPATH=str(CHECKOUT),
            **self.more,
        )

    @asynccontextmanager
    async def running(self, mounted: str = "") -> AsyncIterator[Program]:
        """Run a process that has started successfully, and end it with the block."""
        program = self.start(mounted)
        try:
            assert await program.heard() == {"ok": None}
            yield program
        finally:
            program.end()

    async def connect(self, program: Program) -> None:
        """Consent as its user to reading and sending mail."""
        asked = await program.say("connect", "gmail.readonly", "gmail.send")
        page = await asyncio.to_thread(click, asked["ok"], as_=ALICE)
        assert "is connected" in page.text, page.text

    def mails(self) -> list[str]:
        """Return the subjects of the mails the provider has sent for the user."""
        return [mail.subject for mail in self.sandbox.sent(ALICE)]


@asynccontextmanager
async def world(home: Path, *small: str, **more: str) -> AsyncIterator[World]:
    """Return a home in this folder; ``more``: its environment."""
    made = World(home, Sandbox(), "", small, more)
    async with serve(_Providers(made)) as made.base:
        yield made


@dataclass
class _Providers:
    """The sandbox, and what happens meanwhile."""

    world: World

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        due = self.world.meanwhile
        for path in [path for path in due if scope.get("path", "").endswith(path)]:
            await asyncio.to_thread(due.pop(path))
        await self.world.sandbox.app(scope, receive, send)
