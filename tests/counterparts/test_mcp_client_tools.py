"""MCP's official conformance suite against our deputy as a client: how tools are listed and called, and users asked.

The client is `tests/counterparts/mcp/conformance_tools.py`. Authorization: `test_mcp_client_auth`. Not here is what
the suite lets servers ask on a stream (`elicitation-sep1034-client-defaults`), which we refuse, schemas with anchors,
which we leave out (`json-schema-2020-12-preservation`), and extensions.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from typing import Final

import pytest

from tests.support.counterparts import CHECKOUT, mcp_conformance

pytestmark = pytest.mark.counterpart

SECONDS: Final = 90
MODERN: Final = "2026-07-28"
SCENARIOS: Final = (
    *(("tools_call", version) for version in ("2025-06-18", "2025-11-25", MODERN)),
    ("sse-retry", "2025-11-25"),
    ("request-metadata", MODERN),
    ("sep-2322-client-request-state", MODERN),
    ("http-standard-headers", MODERN),
    ("http-custom-headers", MODERN),
    ("http-invalid-tool-headers", MODERN),
    ("json-schema-ref-no-deref", MODERN),
)


@pytest.mark.parametrize(("scenario", "version"), SCENARIOS)
async def test_conformance_suite_accepts_tool_calls(scenario: str, version: str) -> None:
    command = f"{sys.executable} -m tests.counterparts.mcp.conformance_tools"
    process = await asyncio.create_subprocess_exec(
        *(*mcp_conformance(), "client", "--scenario", scenario, "--spec-version", version),
        *("--timeout", str(SECONDS * 1000), "--command", command),
        cwd=CHECKOUT,
        env=os.environ | {"NO_COLOR": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(SECONDS + 10):
        said = (await process.communicate())[0].decode()
    judged = re.search(r"Passed: (\d+)/(\d+), 0 failed, 0 warnings", said)
    assert judged and judged[1] == judged[2] != "0", said[-3000:]
    assert process.returncode == 0, said[-3000:]
