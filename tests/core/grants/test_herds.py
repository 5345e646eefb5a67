"""A thousand concurrent acts on one expired grant, in eight programs on one Postgres: one refresh in every course.

Two of the programs are servers of one deployment that received the grant; all eight keep their vault in the same
database. Prints a line for each course.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import pytest

from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox
from tests.core.vault.test_several_machines import Remote, visited
from tests.support.postgres import postgres_server

pytestmark = [pytest.mark.counterpart, pytest.mark.processes, pytest.mark.every(4)]

PROGRAMS: Final = 8
ACTS: Final = 125
"""Acts of each program."""
EXPIRED: Final = 3600.0
"""Seconds by which clocks run ahead, so that the token has expired."""


@dataclass
class Herd:
    """The programs, and the provider they all use. ``before``: token requests of the consent."""

    sandbox: Sandbox
    programs: list[Remote]
    before: int

    @property
    def refreshes(self) -> int:
        """Return the token requests since then."""
        return self.sandbox.count("oauth2.googleapis.com", "/token") - self.before

    async def rush(self, ahead: float = 0.0, programs: list[Remote] | None = None, acts: int = ACTS) -> Counter[str]:
        """Run all acts at once; return their outcomes by type name."""
        every = await asyncio.gather(*(one.do("herd", acts, ahead) for one in programs or self.programs))
        return Counter(name for names in every for name in names)

    async def asked(self) -> None:
        """Wait until a token request has reached the provider."""
        deadline = time.monotonic() + 30
        while not self.refreshes:
            assert time.monotonic() < deadline, "nobody refreshed"
            await asyncio.sleep(0.01)


@contextmanager
def _program(vault: str, providers: str, *more: str) -> Iterator[Remote]:
    command = [sys.executable, "-W", "error", "-m", "tests.support.machine_process", vault, providers, *more]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Remote(process)
        finally:
            process.kill()


@asynccontextmanager
async def herd(*more: str) -> AsyncIterator[Herd]:
    """Eight programs, which may be dead at the end. ``more``: additional arguments of each."""
    sandbox = Sandbox()
    with ExitStack() as ends:
        server = ends.enter_context(postgres_server())
        migrate(Address.of(server.url))
        async with serve(sandbox.app) as providers:
            programs = [ends.enter_context(_program(server.url, providers, *more)) for _ in range(PROGRAMS)]
            for one in programs:
                await asyncio.to_thread(one.begin)
            yield await _connected(sandbox, programs)
            await asyncio.to_thread(ends.pop_all().close)


async def _connected(sandbox: Sandbox, programs: list[Remote]) -> Herd:
    """Alice's grant comes through two of them, at a provider that detects reuse of a refresh token."""
    sandbox.switches.rotate = sandbox.switches.reuse_kills_family = True
    asked = await programs[0].do("connect")
    await visited(asked[1], programs[0], programs[1])
    return Herd(sandbox, programs, sandbox.count("oauth2.googleapis.com", "/token"))


def tell(course: str, herd: Herd, came: Counter[str], began: float) -> None:
    print(f"\n{course:44} {came.total():5} acts  {herd.refreshes} refreshes  {time.monotonic() - began:5.1f} s  {came}")


async def test_thousand_acts_in_eight_processes_cause_one_refresh() -> None:
    async with herd() as all_:
        began = time.monotonic()
        came = await all_.rush(EXPIRED)
        tell("expired by the clock", all_, came, began)
        assert came == {"list": PROGRAMS * ACTS} and all_.refreshes == 1

        all_.sandbox.expire_access_tokens()
        began, all_.before = time.monotonic(), all_.before + 1
        came = await all_.rush()
        tell("refused with 401", all_, came, began)
        assert came == {"list": PROGRAMS * ACTS} and all_.refreshes == 1

        all_.sandbox.expire_access_tokens()
        all_.sandbox.switches.token_delay = 5.0
        began, all_.before = time.monotonic(), all_.before + 1
        came = await all_.rush()
        tell("refused, and the token endpoint takes 5 s", all_, came, began)
        assert came == {"list": PROGRAMS * ACTS} and all_.refreshes == 1


@pytest.mark.parametrize(("grace", "acts"), [(60.0, ACTS), (0.0, 10)])  # each of which asks the user in the latter
async def test_one_process_retries_when_the_refreshing_process_is_killed(grace: float, acts: int) -> None:
    """It dies with the new tokens on their way.

    If the provider still accepts the old token for a while, no caller notices; if not, the whole family has ended, and
    every caller is told that the user must reconnect. No process sends the token before the killed one's lease has
    ended, after six seconds here.
    """
    async with herd("5") as all_:
        leader, *others = all_.programs
        all_.sandbox.switches.grace, all_.sandbox.switches.token_delay = grace, 3.0
        all_.sandbox.expire_access_tokens()
        began, leading = time.monotonic(), asyncio.create_task(leader.do("herd", acts, 0.0))
        await all_.asked()
        following = asyncio.create_task(all_.rush(programs=others, acts=acts))
        await asyncio.sleep(1.0)
        all_.programs.remove(leader)
        leader.process.kill()
        await asyncio.gather(leading, return_exceptions=True)
        came = await following
        tell(f"the one that refreshes is killed, grace {grace:.0f} s", all_, came, began)
        assert came == {"list" if grace else "ReconsentRequired": (PROGRAMS - 1) * acts}
        assert all_.refreshes == 2
