"""The MCP SDK's own server as a foreign one: both eras, pages, progress, headers, questions. PORT [--json] [--events].

``--events``: its streams have ids, and can be taken up where they ended; tool ``drop`` ends its own on the way.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import mcp_types as types
import uvicorn
from mcp import MCPError
from mcp.server import Server
from mcp.server.streamable_http import EventMessage, EventStore

SENT: list[str] = []
TO: dict[str, Any] = {"type": "string"}
REGION: dict[str, Any] = {"type": "string", "x-mcp-header": "Region"}
TAKES = {
    "type": "object",
    "properties": {"to": TO, "region": REGION},
    "required": ["to"],
    "additionalProperties": False,
}
GIVES = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}


def tool(name: str, *, reads: bool | None = None) -> types.Tool:
    """Return one of its tools."""
    return types.Tool(
        name=name,
        description=f"{name}.",
        input_schema=TAKES,
        output_schema=GIVES,
        annotations=types.ToolAnnotations(read_only_hint=reads),
    )


TOOLS = [tool("look", reads=True), tool("send"), tool("slow"), tool("fail"), tool("ask"), tool("sent"), tool("form")]
TOOLS += [tool("hold"), tool("drop"), tool("long"), tool("mute")]
URL_OPENED: set[str] = set()
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"how": {"type": "string", "enum": ["fast", "slow"]}, "times": {"type": "integer"}},
    "required": ["how"],
}


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    """List four tools on a page."""
    at = int((params.cursor if params else None) or 0)
    more = str(at + 4) if at + 4 < len(TOOLS) else None
    return types.ListToolsResult(tools=TOOLS[at : at + 4], next_cursor=more, ttl_ms=60_000, cache_scope="private")


def text_of(text: str, **more: Any) -> types.CallToolResult:
    """Return a text result."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], **more)


async def call_tool(ctx: Any, params: Any) -> Any:
    """Do what the tool's name says."""
    to = (params.arguments or {}).get("to", "?")
    match params.name:
        case "fail":
            return text_of("No such person.", is_error=True)
        case "ask":
            if to not in URL_OPENED:
                URL_OPENED.add(to)  # as if they had been there by the next call
                raise MCPError(-32042, "URL elicitation required", {"elicitations": [
                    {"mode": "url", "elicitationId": "e1", "url": "https://other.example/1", "message": "Connect first"}
                ]})  # fmt: skip
        case "form":
            said = (params.input_responses or {}).get("q")
            if said is None:
                wants = types.ElicitRequestFormParams(message="How?", requested_schema=FORM)
                asks: dict[str, Any] = {"q": types.ElicitRequest(params=wants)}
                return types.InputRequiredResult(input_requests=asks, request_state=f"for {to}")
            if said.action != "accept":
                return text_of(f"You said {said.action}.", is_error=True)
            to = f"{to} {said.content['how']}"
        case "sent":
            return text_of(",".join(SENT), structured_content={"id": ",".join(SENT)})
        case "hold":
            SENT.append(f"{to} begun")
            await asyncio.sleep(1.0)
        case "drop":
            if ctx.close_sse_stream:
                await ctx.close_sse_stream()
            await asyncio.sleep(0.2)
        case "long":
            for n in range(8):
                await asyncio.sleep(0.3)
                await ctx.session.report_progress(n, 8, f"step {n}")
        case "mute":
            SENT.append("mute begun")
            await asyncio.sleep(30)
        case "slow":
            for n in (1, 2):
                await ctx.session.report_progress(n, 2, f"step {n}")
    if params.name != "look":
        SENT.append(to)
    return text_of(f"{params.name} {to}", structured_content={"id": f"{params.name}-{len(SENT)}"})


class Events(EventStore):
    """All events of this process, by their number."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self.kept.append((stream_id, message))
        return str(len(self.kept))

    async def replay_events_after(self, last_event_id: str, send_callback: Any) -> str | None:
        at = int(last_event_id)
        stream = self.kept[at - 1][0]
        for number, (of, message) in enumerate(self.kept[at:], at + 1):
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


if __name__ == "__main__":
    server = Server("counterpart", version="1.0", on_list_tools=list_tools, on_call_tool=call_tool)
    store = Events() if "--events" in sys.argv else None
    app = server.streamable_http_app(json_response="--json" in sys.argv, event_store=store, retry_interval=100)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
