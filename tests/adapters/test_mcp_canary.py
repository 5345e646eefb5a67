"""An MCP server writes no secret anywhere, with every logger at DEBUG, over stdio and HTTP."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import httpx
import httpx2
import mcp_types as types
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from deputize.core import Consent, Deputy, User
from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox
from tests.adapters.test_mcp_asks import TOOL, text
from tests.support.canary import Wiretap, files, hits
from tests.support.graphs import SEARCH, SEND
from tests.support.mcp_clients import forms_alone
from tests.support.mcp_matrix import ROOT, answers
from tests.support.mcp_process import beside
from tests.support.ports import free_port
from tests.support.sandbox_deputy import consent

BODY: Final = "A letter that no log may hold"
MODES: Final = ("2026-07-28", "legacy forms", "legacy silent")


@dataclass
class Alice:
    """The user who is asked, and what was shown to her."""

    deputy: Deputy
    tap: Wiretap
    shown: list[str] = field(default_factory=list)

    async def answers(self, ctx: Any, asked: types.ElicitRequestParams) -> types.ElicitResult:
        """Accept every request in the client."""
        if isinstance(asked, types.ElicitRequestURLParams):
            await self.at_our_page()
            return types.ElicitResult(action="accept")
        return types.ElicitResult(action="accept", content={"decision": "approve"})

    async def at_our_page(self) -> None:
        """Approve everything that waits, on her page."""
        for one in await self.deputy.pending("alice"):
            self.shown.append(one.link.rpartition("/")[2])
            if isinstance(one, Consent):
                await consent(self.deputy, self.tap, one)
            else:
                await self.deputy.decide(one, "approve", by="alice")


@asynccontextmanager
async def connected(over: str, mode: str, alice: Alice, folder: Path, base: str) -> AsyncIterator[Client]:
    """Return a client of a server in its own process, whose stderr is written to a file in the folder."""
    words = ["-m", "tests.support.mcp_process", str(folder), base]
    async with AsyncExitStack() as stack:
        log = stack.enter_context((folder / "log").open("a"))
        if over == "stdio":
            env = {**os.environ, "DEBUG": "1"}
            where: Any = stdio_client(
                StdioServerParameters(command=sys.executable, args=words, env=env, cwd=ROOT), errlog=log
            )
        else:
            url = await stack.enter_async_context(over_http(words, log))
            http = await stack.enter_async_context(httpx2.AsyncClient(headers={"authorization": "Bearer alice"}))
            where = streamable_http_client(url, http_client=http)
        asks: Any = None if mode.endswith("silent") else alice.answers
        if mode.endswith("forms"):
            stack.enter_context(forms_alone())
        spoken: Any = mode.partition(" ")[0]
        yield await stack.enter_async_context(Client(where, mode=spoken, elicitation_callback=asks))


@asynccontextmanager
async def over_http(words: list[str], log: IO[str]) -> AsyncIterator[str]:
    port = free_port()
    env = {**os.environ, "DEBUG": "1"}
    process = await asyncio.create_subprocess_exec(sys.executable, *words, str(port), cwd=ROOT, env=env, stderr=log)
    try:
        await answers(f"http://127.0.0.1:{port}/mcp", process)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.processes
@pytest.mark.parametrize("over", ["stdio", "http"])
async def test_debug_log_contains_no_secret_link_or_mail_text(over: str, tmp_path: Path) -> None:
    sandbox, got = Sandbox(), list[Any]()
    async with serve(sandbox.app) as base, httpx.AsyncHTTPTransport(trust_env=False) as wire:
        tap = Wiretap(wire)
        async with await beside(tmp_path, base) as deputy:
            alice = Alice(deputy, tap)
            for mode in MODES:
                async with connected(over, mode, alice, tmp_path, base) as client:
                    done = await client.call_tool(TOOL, SEND["args"] | {"body": BODY, "subject": mode})
                    while done.is_error and await deputy.pending("alice"):
                        got.append(done.model_dump())
                        await alice.at_our_page()
                        done = await client.call_tool(TOOL, SEND["args"] | {"body": BODY, "subject": mode})
                    got += [
                        done.model_dump(),
                        (await client.call_tool("gmail_search_emails", SEARCH["args"])).model_dump(),
                    ]
                    assert not done.is_error, text(done)
            keys = [deputy.derive_key(f"mcp {name}").reveal() for name in ("request state", "session", "form")]
            tap.secrets |= dict.fromkeys([*keys, deputy.vault.keys.index.hex()], "key")
            for grant in await deputy.vault.list_grants(User("alice")):
                assert grant.refresh_token
                tap.secrets[grant.access_token.reveal()] = "access_token"
                tap.secrets[grant.refresh_token.reveal()] = "refresh_token"
    assert len(sandbox.sent("alice@example.test")) == len(MODES) and len(alice.shown) >= 3
    assert {"access_token", "refresh_token", "code", "state", "key"} <= tap.kinds()
    log = (tmp_path / "log").read_text()
    assert log.count("DEBUG") > 100, "it says everything"
    assert hits(tap.secrets, {"answers": repr(got), "log": log, **files(tmp_path)}) == []
    assert not [link for link in alice.shown if link in log or link in repr(got)] and BODY not in log
