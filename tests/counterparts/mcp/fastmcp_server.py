"""A FastMCP server as a foreign server. Run with FastMCP's Python: PORT."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from fastmcp import Context, FastMCP  # type: ignore[import-not-found]
from fastmcp.server.dependencies import get_http_request  # type: ignore[import-not-found]
from fastmcp.utilities.types import Audio, Image  # type: ignore[import-not-found]
from mcp_types import EmbeddedResource, ResourceLink, TextResourceContents

mcp = FastMCP("fast")
SENT: list[str] = []
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
WAV = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0"


def look(to: str) -> dict[str, Any]:
    """Look somebody up."""
    return {"id": to}


async def send(to: str, ctx: Context) -> dict[str, Any]:
    """Send something."""
    await ctx.report_progress(1, 2)
    SENT.append(to)
    return {"id": f"send-{len(SENT)}"}


async def hold(to: str) -> dict[str, Any]:
    """Begin something, and end it a second later."""
    SENT.append(f"{to} begun")
    await asyncio.sleep(1.0)
    SENT.append(to)
    return {"id": f"hold-{len(SENT)}"}


def fail(to: str) -> str:
    """Always fail."""
    raise ValueError("no such person")


def picture(to: str) -> list[Any]:
    """Draw somebody."""
    page = EmbeddedResource(
        type="resource", resource=TextResourceContents(uri="docs://page", mime_type="text/markdown", text="# Page")
    )
    link = ResourceLink(type="resource_link", uri="docs://more", name="more.md", title="More")
    return [f"Here is {to}:", Image(data=PNG, format="png"), Audio(data=WAV, format="wav"), page, link]


def headers(to: str) -> dict[str, Any]:
    """What this request carried."""
    request = get_http_request()
    told = {name: request.headers.get(name, "") for name in ("authorization", "x-api-key")}
    return {"id": json.dumps(told | {"query": request.url.query})}


def more() -> str:
    """More of it."""
    return "# More"


def sent(to: str) -> dict[str, Any]:
    """What was sent."""
    return {"id": ",".join(SENT)}


mcp.resource("docs://more", mime_type="text/markdown")(more)
for reads in (look, sent, picture):
    mcp.tool(reads, annotations={"readOnlyHint": True})
for writes in (send, hold, fail, headers):
    mcp.tool(writes)

if __name__ == "__main__":
    mcp.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False, log_level="ERROR")
