"""The official conformance suite of MCP against the deputy's server: tools, requests to its user, and DNS rebinding."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from deputize.adapters.mcp import DeputyServer
from deputize.core import Approval, Deputy, Effect, InvalidInput, Request, Steps, Toolkit, any_of
from deputize.sandbox import Sandbox
from tests.support.counterparts import mcp_conformance
from tests.support.mcp_clients import served
from tests.support.sandbox_deputy import build, connect

SCOPE: Final = "https://www.googleapis.com/auth/gmail.send"
SCENARIOS: Final[Mapping[str, frozenset[str]]] = {
    "tools-list": frozenset(),
    "tools-call-simple-text": frozenset(),
    "tools-call-error": frozenset(),
    "dns-rebinding-protection": frozenset(),
    "http-header-validation": frozenset(),
    "input-required-result-request-state": frozenset(),
    "input-required-result-unsupported-methods": frozenset(),
    "input-required-result-tampered-state": frozenset(),
    "input-required-result-result-type": frozenset(),
    "input-required-result-missing-input-response": frozenset(),
    "input-required-result-validate-input": frozenset(),
    "input-required-result-ignore-extra-params": frozenset(),
    # No prompts and no resources are served: their lists are methods that are not found.
    "caching": frozenset(
        f"sep-2549-{kind}-list-caching-hints" for kind in ("prompts", "resources", "resources-templates")
    ),
    # A tool of the suite's asks for its client's model. We sample nothing: no capability of a client is ever required.
    "server-stateless": frozenset(
        {"sep-2575-server-rejects-undeclared-capability", "sep-2575-missing-capability-http-400"}
    ),
    "input-required-result-capability-check": frozenset({"sep-2322-respect-client-capabilities"}),
}
"""Scenarios that need tools and requests of the deputy, and which of their checks fail, for the given reason.

Client capabilities are tested in tests/adapters/test_mcp_rounds.py, progress in test_mcp_progress.py: what the suite
expects there comes from inside a tool, and the deputy's tools have no way to send it.
"""

suite = Toolkit("test", provider="google")


@suite.tool(needs=[any_of(SCOPE)])
def simple_text() -> Steps:
    """Tests simple text."""
    yield from ()
    return "This is a simple text response for testing."


@suite.tool(needs=[any_of(SCOPE)])
def error_handling() -> Steps:
    """Fails."""
    yield from ()
    raise InvalidInput("This tool intentionally returns an error for testing")


def asking(name: str) -> None:
    """A tool that requires approval, under the name that the suite looks for."""

    def steps() -> Steps:
        yield Request("POST", "/users/me/messages/send", json={"raw": ""})
        return "state-ok"

    steps.__name__, steps.__doc__ = name, "Needs its user."
    suite.tool(needs=[any_of(SCOPE)], effect=Effect.SENDS, shows=False)(steps)


for kind in ("request_state", "tampered_state", "elicitation", "capabilities"):
    asking(f"input_required_result_{kind}")


class Accepting(httpx.AsyncBaseTransport):
    """The sandbox, except that it accepts a mail of any form."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/messages/send"):
            return httpx.Response(200, json={"id": "1"})
        return await self.inner.handle_async_request(request)


@asynccontextmanager
async def agreeing(deputy: Deputy) -> AsyncIterator[None]:
    """A user who approves on the page, a moment after being asked."""

    async def agree() -> None:
        while True:
            await asyncio.sleep(0.1)
            for one in await deputy.pending("alice"):
                if isinstance(one, Approval):
                    await asyncio.sleep(1.0)
                    await deputy.decide(one, "approve", by="alice")

    task = asyncio.create_task(agree())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.counterpart
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_conformance_suite_accepts_the_server(scenario: str, tmp_path: Path) -> None:
    command, sandbox = mcp_conformance(), Sandbox()
    async with await build(transport=Accepting(sandbox.transport()), toolkits=[suite]) as deputy:
        await connect(deputy, sandbox, "send")
        async with served(DeputyServer(deputy).app(lambda scope: "alice")) as base, agreeing(deputy):
            asked = ["server", "--url", f"{base}/mcp", "--spec-version", "2026-07-28", "--scenario", scenario]
            child = await asyncio.create_subprocess_exec(
                *command, *asked, "-o", str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            said, _ = await asyncio.wait_for(child.communicate(), 60)
    [checks] = tmp_path.glob("*/checks.json")
    failed = {check["id"] for check in json.loads(checks.read_text()) if check["status"] == "FAILURE"}
    assert failed == SCENARIOS[scenario], said.decode()
