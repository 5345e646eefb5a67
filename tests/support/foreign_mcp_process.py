"""A process that calls a foreign tool, and is killed (SIGKILL) at a given step or while it waits."""

from __future__ import annotations

import asyncio
import multiprocessing
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import httpx

from deputize.core import App, Call, DeputizeError, Deputy, allow_all
from deputize.core.mcp_client import protocol
from deputize.core.mcp_client.pins import Pins
from deputize.core.mcp_client.server_config import McpServer, ToolOverride
from deputize.core.mcp_client.tools import foreign_toolkit
from deputize.core.vault.stores import open_store
from deputize.core.vault.vault import Vault
from tests.kills.killed_process import Doom, KilledStore
from tests.support.foreign_mcp import give, provider_at
from tests.support.kill_points import MortalLine, When
from tests.support.sandbox_deputy import PAGES

FORK: Final = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["tests.support.foreign_mcp_process", "tests.support.fork_preload"])
KEY: Final = b"k" * 32
PATIENCE: Final = 30.0


@dataclass(frozen=True)
class Place:
    """A folder and a server. ``era``: ``legacy`` sends no newer request first."""

    folder: Path
    url: str
    era: str

    @property
    def server(self) -> McpServer:
        """Return the server as its operator configures it."""
        return McpServer("other", self.url, tools={"sent": ToolOverride(effect="reads")})

    async def deputy(self, fate: Doom | None = None) -> Deputy:
        """Build a program on this vault, with the tools pinned there."""
        path = self.folder / "vault" / "vault.sqlite"
        store = open_store(str(path), create=not path.exists())
        vault = await Vault.open(KilledStore(store, fate) if fate else store, [KEY])

        def network() -> httpx.AsyncBaseTransport:
            wire = httpx.AsyncHTTPTransport(trust_env=False)
            return MortalLine(wire, fate) if fate else wire

        return Deputy(
            vault,
            [App("other", "client", name="other")],
            pages=PAGES,
            providers={"other": provider_at(self.server)},
            toolkits=[foreign_toolkit(self.server, await Pins(vault, lambda: 0.0).of("other"))],
            transport=network,
            policy=allow_all,
        )

    async def prepare(self, definitions: list[dict[str, Any]]) -> None:
        """Give Alice a grant, and pin these tools. The servers here check no token."""
        deputy = await self.deputy()
        await give(deputy)
        await Pins(deputy.vault, lambda: 1_795_000_000.0).put("other", definitions, by="ops")
        await deputy.close()


async def once(place: Place, tool: str, to: str, fate: Doom | None = None) -> tuple[str, str]:
    """Make the same call from any process; return how it ended, and its text."""
    deputy = await place.deputy(fate)
    if fate:
        fate.steps.clear()  # of the start
    try:
        found = await deputy.act(f"other_{tool}", {"to": to}, user="alice", call=Call("t", "m", to))
        return "done", str(found)
    except DeputizeError as e:
        return e.code, f"{e.message} {e.hint}"
    finally:
        await deputy.close()


def run(place: Place, tool: str, to: str, at: int, when: When, answer: Connection) -> None:
    """Run the process; return how many steps it took, if it survives."""
    if place.era == "legacy":
        protocol.Link.open = protocol.Link._initialize  # type: ignore[method-assign]
    fate = Doom(at, when)
    fate.trace = place.folder / "trace"
    asyncio.run(once(place, tool, to, fate))
    with suppress(BrokenPipeError):
        answer.send(len(fate.steps))


def lived(place: Place, tool: str, to: str, *, at: int = 0, when: When = "before", seconds: float = 0.0) -> int | None:
    """Make the call in another process; return how many steps it took, or None if it was killed at a step or after this
    many seconds."""
    ours, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=run, args=(place, tool, to, at, when, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if seconds and not ours.poll(seconds):
            process.kill()
        if not ours.poll(PATIENCE):
            raise TimeoutError(f"{tool} hung")
        steps: int = ours.recv()
        return steps
    except EOFError:
        return None
    finally:
        process.join()
        ours.close()
