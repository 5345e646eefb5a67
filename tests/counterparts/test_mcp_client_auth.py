"""MCP's official conformance suite against the deputy as a client: how it obtains a grant, in each of its scenarios.

Each scenario runs a server of the suite's own; the client is `tests/counterparts/mcp/conformance_client.py`.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from typing import Final

import pytest

from tests.support.counterparts import CHECKOUT, mcp_conformance
from tests.support.lanes import sample

pytestmark = pytest.mark.counterpart

SECONDS: Final = 90
BOTH: Final = (
    *("metadata-default", "metadata-var1", "metadata-var2", "metadata-var3", "basic-cimd", "pre-registration"),
    *("scope-from-www-authenticate", "scope-from-scopes-supported", "scope-omitted-when-undefined"),
    *("scope-step-up", "scope-retry-limit"),
    *("token-endpoint-auth-basic", "token-endpoint-auth-post", "token-endpoint-auth-none"),
)
MODERN: Final = (
    *("resource-mismatch", "offline-access-scope", "offline-access-not-supported", "authorization-server-migration"),
    *("iss-supported", "iss-not-advertised", "iss-supported-missing", "iss-wrong-issuer", "iss-unexpected"),
    *("iss-normalized", "metadata-issuer-mismatch"),
)
FIRST: Final = ("2025-03-26-oauth-metadata-backcompat", "2025-03-26-oauth-endpoint-fallback")
SCENARIOS: Final = (
    *((one, version) for one in BOTH for version in ("2025-11-25", "2026-07-28")),
    *((one, "2026-07-28") for one in MODERN),
    *((one, "2025-03-26") for one in FIRST),
)
REFUSES: Final = ("resource-mismatch", "iss-", "metadata-issuer-mismatch", "scope-retry-limit")
"""Scenarios in which the client has to refuse; in any other scenario a refusal is a failure."""


def kind(row: tuple[str, str]) -> str:
    """Return the subject of a scenario: the first of each subject always runs."""
    return row[0].partition("-")[0]


@pytest.mark.parametrize(("scenario", "version"), sample(SCENARIOS, kind, spread=True))
async def test_conformance_suite_accepts_client_authorization(scenario: str, version: str) -> None:
    command = f"{sys.executable} -m tests.counterparts.mcp.conformance_client"
    asked = (*mcp_conformance(), "client", "--scenario", f"auth/{scenario}", "--spec-version", version)
    process = await asyncio.create_subprocess_exec(
        *asked,
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
    assert process.returncode == 0 or any(scenario.startswith(one) for one in REFUSES), said[-3000:]
