"""Many users of one MCP server at once: no call is lost, none is another user's; and no secret can be read anywhere."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from deputize.adapters.mcp import DeputyServer
from deputize.core import PROVIDERS, Account, Effect, Request, Secret, Steps, Toolkit, User, allow_all, any_of
from deputize.core.providers.origin import origin_of
from deputize.core.vault.grant import Grant
from deputize.sandbox import Sandbox
from tests.adapters.test_mcp_asks import TOOL, House, Person, played
from tests.adapters.test_mcp_rounds import ACCEPT, approve
from tests.support.canary import Wiretap, files, hits
from tests.support.graphs import SEARCH, SEND
from tests.support.house import build, google_app, new_vault
from tests.support.mcp_clients import by_bearer, raw, served

SCOPE: Final = "https://www.googleapis.com/auth/gmail.send"
USERS, AT_ONCE, SECONDS = 20, 200, 5.0

kit = Toolkit("gmail", "google")


@kit.tool(needs=[any_of(SCOPE)])
def who(number: int) -> Steps:
    """Who am I?"""
    return (yield Request("GET", "/users/me/messages", params={"q": str(number)}))


@kit.tool(needs=[any_of(SCOPE)], effect=Effect.WRITES, shows=False)
def count(number: int) -> Steps:
    """Count this."""
    return (yield Request("POST", "/users/me/messages/send", json={"q": str(number)}))


class Echo(httpx.AsyncBaseTransport):
    """A provider that says whose token it was given, and counts what was written."""

    def __init__(self) -> None:
        self.written = Counter[tuple[str, str]]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        user = request.headers["authorization"].removeprefix("Bearer token of ")
        await asyncio.sleep(0.01)
        if request.method == "GET":
            return httpx.Response(200, json={"who": user, "number": request.url.params["q"]})
        number = json.loads(await request.aread())["q"]
        self.written[user, number] += 1
        return httpx.Response(200, json={"who": user, "number": number})


@pytest.mark.processes
async def test_two_hundred_calls_at_once_of_twenty_users_are_neither_lost_nor_crossed() -> None:
    vault, echo, app = await new_vault(), Echo(), google_app()
    names = [f"user{number}" for number in range(USERS)]
    for name in names:
        await vault.add(
            Grant(User(name), "google", "google", Account(name, f"{name}@example.test"), frozenset({SCOPE}),
                  Secret(f"token of {name}"), None, time.time() + 9999, time.time(),
                  origin=origin_of(PROVIDERS["google"], app))
        )  # fmt: skip
    done, ends = Counter[str](), time.monotonic() + SECONDS
    async with await build(vault=vault, transport=echo, toolkits=[kit], policy=allow_all) as deputy:
        async with served(DeputyServer(deputy).app(by_bearer)) as base, raw(f"{base}/mcp") as client:

            async def calls(worker: int) -> None:
                user, number = names[worker % USERS], worker
                one = type(client)(client.http, client.url, user)
                while time.monotonic() < ends:
                    tool = "gmail_count" if number // AT_ONCE % 2 else "gmail_who"
                    answer = await one.call(tool, {"number": number})
                    assert answer["structuredContent"] == {"who": user, "number": str(number)}, answer
                    done[tool] += 1
                    number += AT_ONCE

            await asyncio.gather(*(calls(worker) for worker in range(AT_ONCE)))
        assert await vault.scan("call") == []
    assert sum(echo.written.values()) == done["gmail_count"] == len(echo.written)
    assert done["gmail_who"] >= AT_ONCE


async def test_no_secret_is_in_what_clients_get_nor_in_logs_nor_on_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sandbox, got = Sandbox(), list[Any]()
    tap = Wiretap(sandbox.transport())
    async with await build(vault=await new_vault(tmp_path / "vault"), transport=tap) as deputy:
        server = DeputyServer(deputy, tools=["gmail"])
        server.performing.longest_wait = 0.1
        async with served(server.app(by_bearer)) as base, raw(f"{base}/mcp") as alice:
            home = House(deputy, sandbox, Person(deputy, sandbox), alice.url, server)
            first = await alice.call(TOOL, SEND["args"])
            got += [first, first["requestState"]]
            person = Person(deputy, sandbox)
            await person.visit(first["inputRequests"]["deputize"]["params"]["url"])
            got.append(await alice.call(TOOL, SEND["args"], inputResponses=ACCEPT, requestState=first["requestState"]))
            await approve(home)
            got.append(await alice.call(TOOL, SEND["args"]))
            got.append(await alice.call("gmail_search_emails", SEARCH["args"]))
            got.append(await alice.call(TOOL, SEND["args"], inputResponses=ACCEPT, requestState="v1.forged"))
            for how in ("legacy page", "text"):
                got.append((await played(home, how)).model_dump())
        assert len(sandbox.sent("alice@example.test")) == 3
        tap.secrets |= {deputy.key_for("mcp request state").reveal(): "key", deputy.vault.keys.index.hex(): "key"}
    assert {"access_token", "refresh_token"} <= tap.kinds() and len(caplog.records) > 20
    logs = "\n".join(f"{one.getMessage()} {vars(one)}" for one in caplog.records)
    assert hits(tap.secrets, {"answers": json.dumps(got, default=repr), "logs": logs, **files(tmp_path)}) == []
