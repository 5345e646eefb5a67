"""Two users at a FastMCP server behind OAuth, which nobody here wrote: from its address to the end of their grants."""

from __future__ import annotations

import asyncio
import math
import secrets
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize.core import Call, Consent, ConsentRequired, Deputy, ReconsentRequired, User, allow_all
from deputize.core.portal import portal
from tests.support.counterparts import CHECKOUT
from tests.support.fastmcp_oauth import FastMcpOauth
from tests.support.house import PAGES, new_vault

pytestmark = pytest.mark.counterpart

KEY = b"k" * 32
CALLS = 1000


@pytest.fixture(scope="module")
def server() -> Iterator[FastMcpOauth]:
    with FastMcpOauth() as running:
        yield running


class House:
    """A deployment with one vault. ``ahead``: seconds that its clocks are ahead."""

    def __init__(self, server: FastMcpOauth, path: Path) -> None:
        self.server, self.path, self.ahead = server, path, 0.0

    async def process(self) -> Deputy:
        """A process that knows the server by its address."""
        vault = await new_vault(self.path, KEY)
        deputy = Deputy(
            vault,
            [],
            pages=PAGES,
            policy=allow_all,
            toolkits=[],
            providers={},
            clock=lambda: time.time() + self.ahead,
            requests_per_minute=math.inf,
        )
        await deputy.add_mcp("guarded", self.server.url)
        return deputy

    async def walk(self, deputy: Deputy, asked: Consent, user: str) -> Consent:
        """A consent to its end."""
        started = await deputy.consents.start(asked.link.rpartition("/")[2], User(user))
        back = await self.server.consent(started.url)
        await deputy.consents.finish("guarded", back, User(user), started.nonce.reveal())
        ended = await deputy.consents.status(asked.id)
        assert ended is not None
        return ended

    async def ready(self, *users: str) -> Deputy:
        """A process whose operator has looked at the tools, and whose users are connected."""
        deputy = await self.process()
        for user in users:
            asked = await asked_by(deputy.mcp.look("guarded", user))
            assert (await self.walk(deputy, asked, user)).status == "granted"
        looked = await deputy.mcp.look("guarded", users[0])
        await deputy.mcp.pin("guarded", looked, by="operator", effects={"whoami": "reads", "end_all": "reads"})
        return deputy


async def ended(deputy: Deputy) -> None:
    """Let go of its connections, on the portal's loop too, where servers are asked who they are."""
    await deputy.close()
    await portal().hop(deputy.http.close)


async def asked_by(acting: Awaitable[Any]) -> Consent:
    with pytest.raises((ConsentRequired, ReconsentRequired)) as e:
        await acting
    assert e.value.consent is not None
    return e.value.consent


async def who(deputy: Deputy, user: str) -> dict[str, Any]:
    """Whose token the server saw."""
    said = await deputy.act("guarded_whoami", {}, user=user, call=Call(id=secrets.token_hex(6)))
    found: dict[str, Any] = said.get("structuredContent") or said.get("data") or said
    return found


@pytest.fixture
def house(server: FastMcpOauth, tmp_path: Path) -> House:
    return House(server, tmp_path / "vault.sqlite")


async def test_two_users_interleaved_are_never_crossed(house: House) -> None:
    deputy = await house.ready("alice", "bob")
    own = {user: (await who(deputy, user))["token"] for user in ("alice", "bob")}
    assert own["alice"] != own["bob"]
    users, limit = ["alice", "bob"] * (CALLS // 2), asyncio.Semaphore(20)

    async def one(user: str) -> str:
        async with limit:
            return str((await who(deputy, user))["token"])

    assert await asyncio.gather(*map(one, users)) == [own[user] for user in users]
    await ended(deputy)


async def test_two_processes_with_an_expired_token_cause_one_refresh(house: House) -> None:
    deputy = await house.ready("alice")
    before = await who(deputy, "alice")
    house.ahead = 3700.0
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _CHILD, str(house.path), house.server.url, str(house.ahead)),
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None and await child.stdout.readline() == b"ready\n"
    got = await asyncio.gather(*(who(deputy, "alice") for _ in range(50)))
    theirs = (await child.communicate())[0].decode().split()
    assert {one["token"] for one in got} == set(theirs) != {before["token"]} and len(theirs) == 25
    after = await who(deputy, "alice")
    assert after["refreshes"] == before["refreshes"] + 1 and after["registrations"] == before["registrations"]
    await ended(deputy)


_CHILD = textwrap.dedent(
    """
    import asyncio, pathlib, sys
    from types import SimpleNamespace
    from tests.counterparts.test_mcp_fastmcp_oauth import House, who

    async def main():
        house = House(SimpleNamespace(url=sys.argv[2]), pathlib.Path(sys.argv[1]))
        house.ahead = float(sys.argv[3])
        deputy = await house.process()
        print("ready", flush=True)
        for one in await asyncio.gather(*(who(deputy, "alice") for _ in range(25))):
            print(one["token"])
        await deputy.close()

    asyncio.run(main())
    """
)


async def test_a_disconnect_ends_the_tokens_there_and_nobody_elses(house: House) -> None:
    deputy = await house.ready("alice", "bob")
    live = (await who(deputy, "bob"))["live"]
    (gone,) = await deputy.revoke("alice", "guarded")
    assert gone.upstream == "done" and (await who(deputy, "bob"))["live"] == live - 1
    await asked_by(who(deputy, "alice"))
    await ended(deputy)


async def test_a_grant_that_the_server_ended_is_asked_for_anew(house: House) -> None:
    deputy = await house.ready("alice")
    assert await deputy.act("guarded_end_all", {}, user="alice", call=Call(id="end"))
    asked = await asked_by(who(deputy, "alice"))
    assert asked.why == "invalid_grant"
    await house.walk(deputy, asked, "alice")
    assert (await who(deputy, "alice"))["scopes"] == ["tools:read"]
    await ended(deputy)
