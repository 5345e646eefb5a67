"""Independent servers, built with the MCP SDK and with FastMCP: their tools work like built-in ones, in both eras and
forms."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client

from deputize.adapters.mcp import DeputyServer
from deputize.core import (
    App,
    ApprovalRequired,
    Call,
    ConsentRequired,
    Deputy,
    InvalidInput,
    NotFound,
    ProviderUnavailable,
    User,
)
from deputize.core.mcp_client import protocol
from deputize.core.mcp_client.authorization import API
from deputize.core.mcp_client.remote_servers import ListedTool
from deputize.core.mcp_client.server_config import McpServer, ToolOverride
from tests.support.counterparts import mcp_python
from tests.support.foreign_mcp import give, provider_at
from tests.support.mcp_clients import by_bearer, client, served
from tests.support.ports import free_port
from tests.support.sandbox_deputy import PAGES, new_vault

pytestmark = pytest.mark.counterpart

HERE = Path(__file__).parent / "mcp"
WAYS = ["sdk", "sdk --json", "fastmcp"]
ERAS = [protocol.MODERN, protocol.LEGACY]


@contextmanager
def running(way: str) -> Iterator[str]:
    """Return the address of one of them, as long as it is used."""
    port, (name, *more) = free_port(), way.split()
    python = sys.executable if name == "sdk" else mcp_python()
    command = [python, str(HERE / f"{name}_server.py"), str(port), *more]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield _answering(f"http://127.0.0.1:{port}/mcp", process)
    finally:
        process.kill()
        process.wait(10)


def _answering(url: str, process: subprocess.Popen[bytes]) -> str:
    for _ in range(300):
        assert process.poll() is None, "it did not start"
        try:
            httpx.post(url, json={}, timeout=2)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return url
    raise AssertionError("it does not answer")


@pytest.fixture(scope="module", params=WAYS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with running(request.param) as address:
        yield address


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both eras, of servers that have both: for the older one the newer one's first request is never sent."""
    if request.param == protocol.LEGACY:
        monkeypatch.setattr(protocol.Link, "open", lambda link: link._initialize())
    return str(request.param)


@asynccontextmanager
async def deputy_at(url: str, idle: float = 60.0, **more: Any) -> AsyncIterator[Deputy]:
    """Return a deputy that has pinned all listed tools; Alice has a grant there. These servers check no token."""
    reads = {name: ToolOverride(effect="reads") for name in ("look", "sent", "picture", "mute")}
    server = McpServer("other", url, tools=reads, idle_timeout_seconds=idle)
    row = provider_at(server)
    assert row.apis.roots == {API: url}
    deputy = Deputy(
        await new_vault(),
        [App("other", "client", name="other")],
        pages=PAGES,
        providers={"other": row},
        toolkits=[],
        **more,
    )
    deputy.registry.late["other"] = deputy.mcp.late(server)  # it is here already
    deputy.mcp.known["other"] = server
    await deputy.mcp.add(server)
    await give(deputy)
    looked: list[ListedTool] = await deputy.mcp.look("other", "alice")
    assert {one.state for one in looked} == {"new"}
    await deputy.mcp.pin("other", looked, by="ops")
    try:
        yield deputy
    finally:
        await deputy.close()


async def act(deputy: Deputy, tool: str, number: str, **arguments: Any) -> Any:
    return await deputy.act(f"other_{tool}", {"to": "bob"} | arguments, user="alice", call=Call("t", "m", number))


async def approved(deputy: Deputy, tool: str, number: str, **arguments: Any) -> Any:
    with pytest.raises(ApprovalRequired) as asked:
        await act(deputy, tool, number, **arguments)
    await deputy.decide(asked.value.approval, "approve", by="alice")
    return await act(deputy, tool, number, **arguments)


async def test_read_send_and_failure_work_at_a_foreign_server(url: str, era: str) -> None:
    async with deputy_at(url) as deputy:
        link = deputy.catalog.tool("other_look").links  # type: ignore[attr-defined]
        assert (await act(deputy, "look", "1"))["untrusted"] is True
        assert {one.link.version for one in link._known.values()} == {era}
        before = (await act(deputy, "sent", "2"))["data"]["id"]
        once = await approved(deputy, "send", "3")
        assert once == await act(deputy, "send", "3")
        after = (await act(deputy, "sent", "4"))["data"]["id"]
        assert after == f"{before},bob".lstrip(",")
        failed = await approved(deputy, "fail", "5")
        assert failed["failed"] is True and "no such person" in failed["text"].lower()


@pytest.mark.parametrize("way", WAYS[:2])
async def test_sdk_server_progress_headers_pages_and_elicitation_work(way: str, era: str) -> None:
    with running(way) as url:
        async with deputy_at(url) as deputy:
            assert len(deputy.tools("other")) == 11
            assert (await approved(deputy, "slow", "1", region="é"))["data"] == {"id": "slow-1"}
            assert (await act(deputy, "look", "2", region="=?base64?x?="))["data"]["id"].startswith("look")
            with pytest.raises(ApprovalRequired) as waits:
                await approved(deputy, "ask", "3")
            assert waits.value.approval.preview["it says"] == "Connect first"
            await deputy.questions.reply(waits.value.approval.id, "accept", by=User("alice"))
            assert (await act(deputy, "ask", "3"))["data"] == {"id": "ask-2"}


@pytest.mark.parametrize("way", WAYS[:2])
async def test_sdk_server_form_is_answered_once_and_can_be_declined(way: str) -> None:
    with running(way) as url:
        async with deputy_at(url) as deputy:
            for number, reply in (("1", "accept"), ("2", "decline"), ("3", "cancel")):
                with pytest.raises(ApprovalRequired) as waits:
                    await approved(deputy, "form", number)
                content = {"q": {"how": "fast"}}
                await deputy.questions.reply(waits.value.approval.id, reply, by=User("alice"), content=content)  # type: ignore[arg-type]
                done = await act(deputy, "form", number)
                assert done == await act(deputy, "form", number)
                assert done.get("failed", False) is (reply != "accept")
            assert (await act(deputy, "sent", "4"))["data"]["id"] == "bob fast"


@pytest.mark.parametrize("sign_in", ["none", "query:api_key", "header:X-Api-Key"])
async def test_fastmcp_server_is_called_with_a_key_over_the_network(sign_in: str) -> None:
    with running("fastmcp") as url:
        deputy = Deputy(await new_vault(), [], pages=PAGES, providers={})
        await deputy.add_mcp(McpServer("other", f"{url}?project=1", sign_in=sign_in))
        with pytest.raises(ConsentRequired) as asked:
            await deputy.mcp.look("other", "alice")
        started = await deputy.consents.start(asked.value.consent.link.rpartition("/")[2], User("alice"), "")
        back = {"state": started.state.reveal(), "code": "the-key"}
        await deputy.consents.finish("other", back, User("alice"), started.nonce.reveal())
        await deputy.mcp.pin("other", await deputy.mcp.look("other", "alice"), by="ops")
        got = (await approved(deputy, "headers", "1"))["data"]["id"]
        await deputy.close()
    received = json.loads(got)
    assert received["x-api-key"] == ("***" if sign_in.startswith("header") else "")
    assert received["authorization"] == "" and received["query"] == (
        "api_key=***&project=1" if sign_in.startswith("query") else "project=1"
    )


async def test_long_call_ends_only_if_it_is_silent(era: str) -> None:
    with running("sdk") as url:
        async with deputy_at(url, idle=1.0) as deputy:
            began = time.monotonic()
            assert (await approved(deputy, "long", "1"))["data"] == {"id": "long-1"}
            assert time.monotonic() - began > 2.0
            with pytest.raises(ProviderUnavailable) as silent:
                await act(deputy, "mute", "2")
            assert silent.value.reason == "silent"
            assert (await act(deputy, "sent", "3"))["data"]["id"] == "bob,mute begun"  # it was not repeated


async def test_content_of_a_fastmcp_server_reaches_mcp_clients_byte_by_byte(era: str) -> None:
    with running("fastmcp") as url:
        async with Client(url) as direct:
            came = [_plain(one) for one in (await direct.call_tool("picture", {"to": "bob"})).content]
        async with deputy_at(url) as deputy, served(DeputyServer(deputy).app(by_bearer)) as base:
            async with client(f"{base}/mcp") as alice:
                definition = next(t for t in (await alice.list_tools()).tools if t.name == "other_look")
                looked = await alice.call_tool("other_look", {"to": "bob"})
                first, *blocks = [
                    _plain(one) for one in (await alice.call_tool("other_picture", {"to": "bob"})).content
                ]
    assert [one["type"] for one in came] == ["text", "image", "audio", "resource", "resource_link"]
    assert blocks == came[1:]
    assert json.loads(first["text"]) == {"untrusted": True, "content": [came[0]]}
    assert definition.output_schema and looked.structured_content["data"] == {"id": "bob"}


def _plain(block: Any) -> dict[str, Any]:
    return dict(block.model_dump(mode="json", by_alias=True, exclude_none=True))


async def test_server_that_forgets_its_sessions_is_initialized_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol.Link, "open", lambda link: link._initialize())
    with running("sdk") as url:
        async with deputy_at(url) as deputy:
            links = deputy.catalog.tool("other_look").links  # type: ignore[attr-defined]
            await act(deputy, "look", "1")
            (known,) = links._known.values()
            known.link.session = "0" * 32
            assert (await act(deputy, "look", "2"))["data"]["id"].startswith("look")
            with pytest.raises((InvalidInput, NotFound)):
                await deputy.act("other_nothing", {}, user="alice")
