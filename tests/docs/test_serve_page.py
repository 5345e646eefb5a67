"""The page about MCP clients: its snippets make an application in which people sign in and clients need a token."""

from __future__ import annotations

import base64
import re
import secrets
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from starlette.applications import Starlette

from deputize.cli.serving import CLIENTS
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.docs.blocks import block, blocks, run, text

PAGE: Final = "docs/serve-mcp.md"
ISSUER: Final = "https://login.example.test"


def test_every_python_block_is_run_here() -> None:
    assert len(blocks(PAGE, "python")) == 2


def test_the_page_knows_the_clients_that_a_start_names() -> None:
    rows = dict(re.findall(r"^\| ([A-Z][\w .,]+) \| ([^|]*) \|", text(PAGE), re.MULTILINE))
    words = {"document": "metadata document", "registration": "registration", "own id": "own id"}
    for name, ways in CLIENTS.items():
        named = [row for row in rows if row.split(",")[0].split()[0] in name]
        assert named, name
        for row in named:
            assert [way for way in words if words[way] in rows[row]] == list(ways)


async def test_the_snippets_keep_out_whoever_is_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "HOME": str(tmp_path),
        "VAULT": "memory:",
        "KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "BASE_URL": "https://app.example.com/agents",
        "APPS__GOOGLE__CLIENT_ID": GOOGLE_CLIENT_ID,
        "APPS__GOOGLE__CLIENT_SECRET": GOOGLE_CLIENT_SECRET,
    }.items():
        monkeypatch.setenv(f"DEPUTIZE_{name}", value)
    names: dict[str, Any] = {"app": Starlette(), "ISSUER": ISSUER, "CLIENT_SECRET": "a-secret"}
    for one in blocks(PAGE, "python"):
        names = await run(one, names)
    assert block(PAGE, "SignIn(deputy") == blocks(PAGE, "python")[0]
    wire = httpx.ASGITransport(names["app"])
    try:
        async with httpx.AsyncClient(transport=wire, base_url="https://app.example.com") as client:
            page = await client.get("/agents/connections")
            assert page.headers["location"] == "/agents/sign-in?next=%2Fagents%2Fconnections"
            refused = await client.post("/tools/mcp", json={})
            assert refused.status_code == 401
            found = re.search('resource_metadata="([^"]+)"', refused.headers["www-authenticate"])
            assert found
            shown = (await client.get(found[1])).json()
            assert (shown["resource"], shown["authorization_servers"]) == (
                "https://app.example.com/tools/mcp",
                [ISSUER],
            )
    finally:
        await names["deputy"].close()
