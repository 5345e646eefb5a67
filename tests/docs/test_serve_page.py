"""The page on MCP clients: its snippets make an application in which users sign in and clients need a token."""

from __future__ import annotations

import base64
import json
import re
import secrets
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from starlette.applications import Starlette

from deputize.cli.http_app import CLIENTS
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.adapters.test_mcp_asks import house
from tests.docs.blocks import block, blocks, run, text

PAGE: Final = "docs/serve-mcp.md"
ISSUER: Final = "https://login.example.test"
APPLICATION: Final = [block(PAGE, "SignIn(deputy"), block(PAGE, "ResourceServer(")]


def test_every_python_block_is_executed_here() -> None:
    assert len(blocks(PAGE, "python")) == len(APPLICATION) + 1
    assert block(PAGE, "elicitation_callback") not in APPLICATION  # test_serve_trying.py


def test_documented_client_table_matches_the_start_message() -> None:
    rows = dict(re.findall(r"^\| ([A-Z][\w .,]+) \| ([^|]*) \|", text(PAGE), re.MULTILINE))
    words = {"document": "metadata document", "registration": "registration", "own id": "own id"}
    for name, ways in CLIENTS.items():
        named = [row for row in rows if row.split(",")[0].split()[0] in name]
        assert named, name
        for row in named:
            assert [way for way in words if words[way] in rows[row]] == list(ways)


async def test_documented_snippets_refuse_unknown_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
    for one in APPLICATION:
        names = await run(one, names)
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


async def test_documented_legacy_client_answer_matches() -> None:
    asks: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}}
    begin = {"protocolVersion": "2025-11-25", "capabilities": asks, "clientInfo": {"name": "raw", "version": "1"}}
    search = {"name": "gmail_search_emails", "arguments": {"query": "from:bob"}}
    async with house(waits=0.1) as home, httpx.AsyncClient(timeout=60) as http:
        http.headers.update({"Authorization": "Bearer alice", "Accept": "application/json, text/event-stream"})

        async def post(number: int, method: str, params: dict[str, Any]) -> httpx.Response:
            return await http.post(home.url, json={"jsonrpc": "2.0", "id": number, "method": method, "params": params})

        session = (await post(1, "initialize", begin)).headers["mcp-session-id"]
        http.headers.update({"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"})
        [said] = re.findall(r"^data: (.+)$", (await post(2, "tools/call", search)).text, re.MULTILINE)
    [shown] = blocks(PAGE, "json")
    assert alike(json.loads(said)) == alike(json.loads(shown))


def alike(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the response without the values that differ each time, after a check of their form."""
    [one] = answer["error"]["data"]["elicitations"]
    assert re.fullmatch(r"https?://[\w.:]+/connect/[\w-]{43}", one["url"])
    assert re.fullmatch(r"[\w-]{22}", one["elicitationId"])
    one |= {"url": "", "elicitationId": ""}
    return answer
