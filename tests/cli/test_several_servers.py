"""Three servers behind a balancer without sticky sessions behave as one deputy, even while some of them end."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import httpx
import mcp_types as types
import pytest
from mcp import Client, MCPError

from tests.cli.serving_world import Person
from tests.cli.several_servers import Cluster, cluster
from tests.cli.test_serve import text_of
from tests.support.lanes import sample
from tests.support.mcp_clients import MODES, client

pytestmark = [pytest.mark.processes, pytest.mark.counterpart]

ROUNDS: Final = 5


def mail(subject: str) -> dict[str, Any]:
    return {"to": ["bob@example.test"], "subject": subject, "body": "Hello Bob"}


async def called(mcp: Client, person: Person, tool: str, arguments: dict[str, Any]) -> Any:
    """Make a call as clients of both kinds: older protocols show the links of an error, and repeat the call."""
    for _ in range(ROUNDS):
        try:
            return await mcp.call_tool(tool, arguments)
        except MCPError as error:
            assert error.code == -32042, error
            for one in error.data["elicitations"]:
                await person.answers(None, types.ElicitRequestURLParams(message="", elicitation_id="", url=one["url"]))
    raise AssertionError("asked for ever")


def servers_of(world: Cluster, method: str, beginning: str) -> list[str]:
    """Return which servers received requests for paths with this prefix."""
    return [server for how, path, server in world.balancer.led if how == method and path.startswith(beginning)]


@pytest.mark.parametrize("mode", sample(MODES))
async def test_each_step_may_reach_another_server(home: Path, mode: str) -> None:
    async with cluster(home, DEPUTIZE_SERVE__DRAIN="0") as all_of_it:
        world, alice = all_of_it.world, Person("alice")
        token = world.issuer.token("alice")
        async with client(f"{world.base}/mcp", token, mode=mode, elicitation_callback=alice.answers) as mcp:
            sent = await called(mcp, alice, "gmail_send_email", mail("Hello"))
            assert not sent.is_error, text_of(sent)
            assert len(world.sandbox.sent("alice@example.test")) == 1
            again = await called(mcp, alice, "gmail_search_emails", {"query": "from:bob"})
            assert not again.is_error
        assert ["/approve/" in link for link in alice.seen] == [False, True, False]
        for before, after in (
            (("GET", "/sign-in"), ("GET", "/sign-in/callback")),
            (("POST", "/connect/"), ("GET", "/callback/google")),
            (("GET", "/approve/"), ("POST", "/approve/")),
        ):
            assert servers_of(all_of_it, *before)[0] != servers_of(all_of_it, *after)[-1], (before, after)
        assert len(set(servers_of(all_of_it, "POST", "/mcp"))) == 3
        assert not all_of_it.balancer.failed


async def test_revocation_applies_at_all_servers_within_a_second(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with cluster(home, DEPUTIZE_SERVE__DRAIN="0") as all_of_it:
        world, alice = all_of_it.world, Person("alice")
        token = world.issuer.token("alice")

        async with client(f"{world.base}/mcp", token, elicitation_callback=alice.answers) as mcp:
            await mcp.call_tool("gmail_search_emails", {"query": "from:bob"})
        async with AsyncExitStack() as open_:
            each = [await open_.enter_async_context(client(f"{one.url}/mcp", token)) for one in all_of_it.servers]

            async def acts() -> list[Any]:
                calls = (mcp.call_tool("gmail_search_emails", {"query": "from:bob"}) for mcp in each)
                return await asyncio.gather(*calls)

            assert [one.is_error for one in await acts()] == [False] * 3, "the consent counts at each of them"
            page = await alice.open(f"{world.base}/connections")
            for sure in ({}, {"sure": "yes"}):
                [form] = [form for form in page.forms if form.action.endswith("/revoke")]
                page = await alice.browser.submit(page, form, **sure)
            ended = time.monotonic()
            assert [one.is_error for one in await acts()] == [True] * 3, "not one more call at any of them"
        with capsys.disabled():
            print(f"refused everywhere {time.monotonic() - ended:.2f} s after the page had said so")


@pytest.mark.every(4)
@pytest.mark.parametrize("mode", sample(MODES))
async def test_rolling_restart_keeps_every_call(home: Path, mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with cluster(home, DEPUTIZE_SERVE__DRAIN="1", DEPUTIZE_POLICY="allow_all") as all_of_it:
        world, alice = all_of_it.world, Person("alice")
        token, asked, failed = world.issuer.token("alice"), list[str](), list[str]()
        over = asyncio.Event()
        async with client(f"{world.base}/mcp", token, elicitation_callback=alice.answers) as mcp:
            assert not (await mcp.call_tool("gmail_send_email", mail("first"))).is_error

        async def busy(name: str) -> None:
            async with client(f"{world.base}/mcp", token, mode=mode) as mcp:
                number = 0
                while not over.is_set():
                    asked.append(subject := f"{name}-{number}")
                    number += 1
                    try:
                        sent = await mcp.call_tool("gmail_send_email", mail(subject))
                        if sent.is_error:
                            failed.append(f"{subject}: {text_of(sent)}")
                    except (MCPError, httpx.HTTPError) as error:
                        failed.append(f"{subject}: {error!r}")

        async with asyncio.TaskGroup() as group:
            for name in "ab":
                group.create_task(busy(name))
            for one in all_of_it.servers:
                await asyncio.sleep(0.2)
                began = time.monotonic()
                assert await one.end() == 0, one.said
                with capsys.disabled():
                    print(f"ended {time.monotonic() - began:.2f} s after SIGTERM, {len(asked)} calls so far")
                await one.start()
            await asyncio.sleep(0.2)
            over.set()
        assert not failed and not all_of_it.balancer.failed, (failed, all_of_it.balancer.failed)
        subjects = [letter.subject for letter in world.sandbox.sent("alice@example.test")]
        assert sorted(subjects) == sorted(["first", *asked])
