"""The command line as a person uses it: real processes, at a terminal or in a pipe, and a browser for the links."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from deputize.sandbox import Browser, Page

CLI = [sys.executable, "-W", "error", "-m", "deputize.cli"]
_OWN_TERMINAL = [
    sys.executable,
    "-c",
    "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "signal.signal(signal.SIGINT, signal.SIG_DFL); "
    f"os.execv(sys.executable, [*{CLI!r}, *sys.argv[1:]])",
]
"""The command line as the controlling process of its terminal, so that Ctrl-C works as for a person."""
LINK = r"(http://127\.0\.0\.1:\d+/connect/[\w-]+)"
PATIENCE = 40.0
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment without this machine's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DEPUTIZE_", "XDG_"))}
    kept.pop("DISPLAY", None)
    return kept | {
        "HOME": str(home),
        "DEPUTIZE_HOME": str(home / "deputize"),
        "COLUMNS": "120",
        "TERM": "xterm",
        **more,
    }


def run(*words: str, home: Path, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, without a terminal."""
    return subprocess.run(
        [*CLI, *words],
        input=stdin,
        env=environment(home, **more),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def click(link: str, *, as_: str = "alice@example.test", deny: bool = False, untick: Iterable[str] = ()) -> Page:
    """Follow a link as a person: the deputy's page, then the provider's, then back."""

    async def visit() -> Page:
        async with httpx.AsyncHTTPTransport() as transport:
            browser = Browser(transport)
            return await (browser.deny(link) if deny else browser.allow(link, as_=as_, untick=untick))

    return asyncio.run(visit())


def click_open(link: str) -> str:
    """Return what a person's browser shows at a link."""

    async def visit() -> str:
        async with httpx.AsyncHTTPTransport() as transport:
            return (await Browser(transport).open(link)).text

    return asyncio.run(visit())


class Talk:
    """An interactive command. ``terminal``: at its own terminal, else in pipes."""

    def __init__(self, *words: str, home: Path, terminal: bool, env: Mapping[str, str]) -> None:
        self.heard, self._at = "", 0
        ours, theirs = pty.openpty() if terminal else os.pipe()
        self._process = subprocess.Popen(
            [*(_OWN_TERMINAL if terminal else CLI), *words],
            stdin=theirs if terminal else subprocess.PIPE,
            stdout=theirs,
            stderr=theirs,
            env=environment(home, **env),
            cwd=home,
            start_new_session=True,
        )
        os.close(theirs)
        self._ours = ours
        self._write_to = ours if terminal else self._process.stdin.fileno() if self._process.stdin else -1

    def say(self, text: str) -> None:
        self.strike(f"{text}\n")

    def strike(self, keys: str) -> None:
        """Press these keys, one after another."""
        os.write(self._write_to, keys.encode())

    def press(self, key: str) -> None:
        """Press Ctrl and a letter, at a terminal."""
        os.write(self._write_to, bytes([ord(key.upper()) - 64]))

    def hang_up(self) -> None:
        """Close the input of a pipe."""
        assert self._process.stdin
        self._process.stdin.close()

    def hear(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """Return the output up to this pattern. Raise AssertionError if it does not arrive in time."""
        deadline = time.monotonic() + seconds
        while not (match := re.compile(pattern, re.DOTALL).search(self.heard, self._at)):
            left = deadline - time.monotonic()
            assert left > 0 and self._more(left), f"{pattern!r} was not said in:\n{self.heard}"
        self._at = match.end()
        return match

    def _more(self, seconds: float) -> bool:
        """Read what is available; return False at the end."""
        if not select.select([self._ours], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # a terminal whose other end is closed
            return False
        self.heard += _ANSI.sub("", data.decode(errors="replace")).replace("\r", "")
        return bool(data)

    def kill(self) -> None:
        """Kill it, as a power cut does."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(PATIENCE)

    def terminate(self) -> None:
        """Terminate it, as a service manager does first."""
        self._process.send_signal(signal.SIGTERM)

    def ends(self, seconds: float = PATIENCE) -> int:
        """Return the exit code, once all output was read."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._more(deadline - time.monotonic()):
            pass
        return self._process.wait(max(deadline - time.monotonic(), 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        if self._process.poll() is None:
            self.kill()
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        os.close(self._ours)


@contextmanager
def talk(*words: str, home: Path, terminal: bool = True, env: Mapping[str, str] | None = None) -> Iterator[Talk]:
    """Run an interactive command; it has ended after the block."""
    with Talk(*words, home=home, terminal=terminal, env=env or {}) as talking:
        yield talking
