"""A temporary home folder, and a provider on loopback for the command line."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from typer.main import get_command
from typer.testing import CliRunner

from deputize.cli import show
from deputize.cli.app import app
from deputize.core import Deputy, User
from deputize.core.settings import Settings
from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.cli.terminal import click
from tests.support.ports import free_port


@dataclass(frozen=True)
class Provider:
    """The simulated provider, and the settings under which the command line uses it."""

    sandbox: Sandbox
    url: str

    def settings(self, *, port: int = 0) -> dict[str, str]:
        """Return the settings of an OAuth app at this provider."""
        return {
            "DEPUTIZE_SANDBOX_URL": self.url,
            "DEPUTIZE_PORT": str(port),
            "DEPUTIZE_APPS__GOOGLE__CLIENT_ID": GOOGLE_CLIENT_ID,
            "DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET": GOOGLE_CLIENT_SECRET,
            "DEPUTIZE_USER": "alice",
        }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder."""
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider on loopback, with its own loop and thread: the code under test may close the background loop."""
    sandbox = Sandbox()
    ready: list[str] = []
    loop, started, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def play() -> None:
        async with serve(sandbox.app) as url:
            ready.append(url)
            started.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(play(),))
    thread.start()
    assert started.wait(10)
    yield Provider(sandbox, ready[0])
    loop.call_soon_threadsafe(over.set)
    thread.join(10)
    loop.close()


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which something else listens that does not speak HTTP."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


@pytest.fixture(autouse=True)
def ports_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a demo in this process use ports of its own: it reopens the same ones."""
    monkeypatch.setattr("deputize.cli.demo.folder.PORTS", {"pages": free_port(), "sandbox": free_port()})


@pytest.fixture
def usual_ports() -> Iterator[None]:
    """The ports of a demo in its own program, for one test on this machine at a time."""
    with FileLock(Path(tempfile.gettempdir()) / f"deputize-tests-{os.getuid()}.lock", timeout=300):
        yield


Command = Callable[..., Any]
BUILT = functools.cache(get_command)
"""The built commands of an app, which Typer's runner would build again for every call; a program builds them once."""


@pytest.fixture
def cli(home: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line in this process: ``cli("accounts", DEPUTIZE_USER="alice")``.

    Its result has exit_code, stdout and stderr.
    """
    for name in [name for name in os.environ if name.startswith(("DEPUTIZE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DEPUTIZE_HOME", str(home / "deputize"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(home)
    monkeypatch.setattr("typer.testing._get_command", BUILT)
    for console in (show.out, show.err):  # made when it was imported, perhaps at a terminal; this is none
        monkeypatch.setattr(console, "_force_terminal", False)
        monkeypatch.setattr(console, "_color_system", None)

    def invoke(*words: str, stdin: str = "", **env: str) -> Any:
        return CliRunner().invoke(app, [*words], input=stdin, env=env)

    return invoke


def connected(home: Path, provider: Provider, *scopes: str, tenant: str = "") -> dict[str, str]:
    """Connect Alice's account with these scopes; return the settings under which it is connected."""
    settings = Settings.load(
        home=home / "deputize",
        sandbox_url=provider.url,
        port=0,
        apps={"google": {"client_id": GOOGLE_CLIENT_ID, "client_secret": GOOGLE_CLIENT_SECRET}},
    )
    with Deputy.from_settings(settings) as deputy:
        [consent] = deputy.run(deputy.connect(User("alice", tenant), "google", scopes=scopes))
        click(consent.link)
        [ended] = deputy.run(deputy.wait_for_consents([consent], timeout=10))
        assert ended.status == "granted"
    return provider.settings()


@pytest.fixture
def settings(home: Path, provider: Provider) -> dict[str, str]:
    """The settings under which Alice's account is connected to read mail."""
    return connected(home, provider, "gmail.readonly")
