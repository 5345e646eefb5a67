"""The steps for trying `deputize serve --http` on its page: unchanged commands, on free ports, and users at links."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest

from deputize.sandbox import Browser, Page
from tests.cli.terminal import environment
from tests.docs.blocks import ROOT, block
from tests.support.ports import free_port

PAGE: Final = "docs/serve-mcp.md"
LINK: Final = r"http://127\.0\.0\.1:\d+/connect/[\w-]{43}"


@dataclass
class Desk:
    """A folder with terminals, in which the page's ports are replaced by free ones."""

    folder: Path
    serve: int
    sandbox: int
    issuer: int

    @contextlib.contextmanager
    def terminal(self, commands: str) -> Iterator[subprocess.Popen[str]]:
        """Return a shell that runs them; programs still running at the end are told to end, which none may ignore."""
        commands = commands.replace("8000", str(self.serve))
        commands = re.sub(r"(deputize sandbox)", rf"\1 --port {self.sandbox}", commands)
        more = rf"\1 --port {self.issuer} --base-url http://127.0.0.1:{self.serve}"
        commands = re.sub(r"(examples/login_issuer\.py)", more, commands)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = environment(self.folder, PATH=path, PYTHONUNBUFFERED="1", DEPUTIZE_SERVE__DRAIN="0")
        shell = ["/bin/sh", "-ec", commands]
        with subprocess.Popen(
            shell,
            cwd=self.folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)

    def file(self, name: str, holds: str) -> None:
        """Wait until a program has written this file."""
        until(lambda: (self.folder / name).exists() and holds in (self.folder / name).read_text())


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until this is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def ready(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/readyz").text == "ok"
    return False


async def at_the_link(link: str, name: str) -> Page:
    """Sign in there under a user's name, and allow access at the provider."""
    async with httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0)) as wire:
        browser = Browser(wire)
        asked = await browser.open(link)
        [login] = asked.forms
        page = await browser.submit(asked, login, person=name)
        return await browser.allow(link, as_=f"{name}@example.test") if page.status == 200 else page


def next_link(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    for line in process.stdout:
        if found := re.search(LINK, line):
            return found[0]
    raise AssertionError("it asked for nothing")


def enter(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.processes
async def test_page_leads_to_a_server_that_answers_consenting_users(tmp_path: Path) -> None:
    desk = Desk(tmp_path, free_port(), free_port(), free_port())
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "ask.py").write_text(block(PAGE, "elicitation_callback").replace("8000", str(desk.serve)))
    sandbox, issuer = block(PAGE, "login_issuer", "bash").splitlines()
    with contextlib.ExitStack() as ends:
        ends.enter_context(desk.terminal(sandbox))
        ends.enter_context(desk.terminal(issuer))
        desk.file("sandbox.env", "SALESFORCE__CLIENT_SECRET")
        desk.file("issuer.env", "BOB=")
        ends.enter_context(desk.terminal(block(PAGE, "DEPUTIZE_HOME=$PWD", "bash")))
        until(lambda: ready(desk.serve))
        client = ends.enter_context(desk.terminal(block(PAGE, "python ask.py", "bash")))
        refused = await at_the_link(next_link(client), "bob")
        assert "This link cannot be used" in refused.text
        enter(client)
        assert "Google is connected" in (await at_the_link(next_link(client), "alice")).text
        enter(client)
        assert client.stdout and "Dinner on Friday?" in client.stdout.read()
        assert client.wait(20) == 0


def test_trial_issuer_works_on_this_machine_only(tmp_path: Path) -> None:
    port, python = free_port(), [sys.executable, str(ROOT / "examples" / "login_issuer.py")]
    elsewhere = subprocess.run(
        [*python, "--base-url", "https://agents.example.com"], capture_output=True, text=True, check=False, timeout=60
    )
    assert elsewhere.returncode == 2 and "on this machine" in elsewhere.stderr and not elsewhere.stdout
    desk = Desk(tmp_path, free_port(), free_port(), port)
    with desk.terminal(f"{sys.executable} {ROOT}/examples/login_issuer.py > issuer.env"):
        desk.file("issuer.env", "BOB=")
        for path in ("/jwks", "/register"):
            asked = httpx.post if path == "/register" else httpx.get
            other = asked(f"http://127.0.0.1:{port}{path}", headers={"host": f"elsewhere.example:{port}"})
            assert other.status_code == 400, "a name that leads here is not enough"
        assert httpx.get(f"http://127.0.0.1:{port}/jwks").status_code == 200
