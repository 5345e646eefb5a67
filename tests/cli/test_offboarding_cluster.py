"""Two servers on Postgres: from a SCIM request at one of them to the end of the user's access at both and upstream."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import MCPError
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from deputize.sandbox import Sandbox
from tests.cli.serving_world import Person
from tests.cli.several_servers import Cluster, cluster
from tests.cli.test_several_servers import called
from tests.support.mcp_clients import client

TOKEN = "t" * 40
SEARCH = {"query": "from:bob"}


class Held:
    """The sandbox behind a network that loses revocations while ``free`` is not set. ``reached``: one has arrived."""

    def __init__(self) -> None:
        self.free, self.reached = asyncio.Event(), asyncio.Event()
        self.free.set()

    def __call__(self, sandbox: Sandbox) -> ASGIApp:
        async def held(scope: Scope, receive: Receive, send: Send) -> None:
            if scope.get("path", "").endswith("/revoke") and not self.free.is_set():
                self.reached.set()
                await self.free.wait()
                return await Response(status_code=503)(scope, receive, send)  # the request itself has no effect
            await sandbox.app(scope, receive, send)

        return held


async def connected(world: Cluster, name: str) -> str:
    """Connect a user by a call, and return the user's id at the SCIM endpoint of any server."""
    person, issuer = Person(name), world.world.issuer
    async with client(f"{world.world.base}/mcp", issuer.token(name), elicitation_callback=person.answers) as mcp:
        assert not (await called(mcp, person, "gmail_search_emails", SEARCH)).is_error
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}) as http:
        user = {"userName": f"{name}@example.test", "externalId": name}
        made = await http.post(f"{world.world.base}/scim/v2/Users", json=user)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])


async def deactivate(server: str, user: str) -> int:
    body: dict[str, Any] = {"Operations": [{"op": "Replace", "path": "active", "value": "False"}]}
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}, timeout=60) as http:
        return (await http.patch(f"{server}/scim/v2/Users/{user}", json=body)).status_code


async def is_refused(world: Cluster, server: str, name: str) -> bool:
    """Return True if a call at this server would need a new consent."""
    async with client(f"{server}/mcp", world.world.issuer.token(name)) as mcp:
        try:
            return bool((await mcp.call_tool("gmail_search_emails", SEARCH)).is_error)
        except MCPError as error:
            return error.code == -32042


@pytest.mark.processes
@pytest.mark.counterpart
async def test_scim_deactivation_leaves_no_living_token_even_if_a_server_is_killed(
    home: Path, record_property: Any
) -> None:
    held = Held()
    async with cluster(home, 2, held, DEPUTIZE_SERVE__SCIM_TOKEN=TOKEN) as world:
        sandbox, (first, second) = world.world.sandbox, world.servers
        alice, bob = await connected(world, "alice"), await connected(world, "bob")
        assert sandbox.live_tokens()["alice@example.test"] and sandbox.live_tokens()["bob@example.test"]

        begun = time.monotonic()
        work = asyncio.create_task(deactivate(first.url, alice))
        while sandbox.live_tokens()["alice@example.test"]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        seconds = time.monotonic() - begun
        assert await work == 200
        record_property("seconds_from_signal_to_no_living_token", f"{seconds:.3f}")
        print(f"\nfrom the signal to no living token: {seconds:.3f} s")
        assert await is_refused(world, second.url, "alice") and await is_refused(world, first.url, "alice")
        assert sandbox.live_tokens()["bob@example.test"]

        held.free.clear()
        held.reached.clear()
        dying = asyncio.create_task(deactivate(first.url, bob))
        await asyncio.wait_for(held.reached.wait(), 30)
        await first.kill()
        assert (await asyncio.gather(dying, return_exceptions=True))[0] != 200
        assert await is_refused(world, second.url, "bob"), "here it had ended before the provider was told"
        held.free.set()
        await first.start()
        async with asyncio.timeout(30):
            while sandbox.live_tokens()["bob@example.test"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert not sandbox.live_tokens()["alice@example.test"]
