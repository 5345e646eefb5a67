"""What the MCP adapter costs: one call of a tool over the protocol, over one of a tool that does nothing.

``python -m tests.bench`` prints it where the SDK is installed. Both servers are the SDK's, over streamable HTTP in this
process, behind a client of the same SDK, with the same schema and the same result. The act behind our tool does nothing
either, since what the core costs is a figure of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import Server

from deputize.adapters.mcp import DeputyServer
from deputize.core.http import FastTransport
from tests.bench.__main__ import deputy, paired, say

NAME = "gmail_list_emails"
GIVEN = {"query": "from:bob"}
RESULT: dict[str, Any] = {"items": []}


@asynccontextmanager
async def _client(app: Any) -> AsyncIterator[Client]:
    """A client of this app, without sockets."""
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as http,
        Client(streamable_http_client("http://127.0.0.1:8000/mcp", http_client=http), mode="2026-07-28") as client,
    ):
        await client.list_tools()
        yield client


async def adapter() -> None:
    """``call_tool`` at our server over one at a server with a no-op tool, on the loop alone."""

    async def nothing(*names: Any, **given: Any) -> Any:
        return RESULT

    async with deputy("http://127.0.0.1:1", FastTransport) as one:
        ours = DeputyServer(one, [NAME])
        [tool] = ours.tools.values()
        listed = types.Tool(name=tool.name, description=tool.description, input_schema=tool.schema)

        async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
            return types.ListToolsResult(tools=[listed], ttl_ms=60_000, cache_scope="private")

        async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
            text = types.TextContent(type="text", text='{"items":[]}')
            return types.CallToolResult(content=[text], structured_content=RESULT)

        theirs: Server[Any] = Server("no-op", on_list_tools=list_tools, on_call_tool=call_tool)
        one.act = nothing  # type: ignore[method-assign]
        apps = theirs.streamable_http_app(), ours.app(lambda scope: "alice")
        async with AsyncExitStack() as stack:
            theirs_at, ours_at = [await stack.enter_async_context(_client(app)) for app in apps]
            ratios = await paired([lambda: theirs_at.call_tool(NAME, GIVEN), lambda: ours_at.call_tool(NAME, GIVEN)], 1)
        say("MCP adapter over a no-op tool of the SDK's server", ratios[1], 1.10)
